/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Fuzz target: what Windows asks of the linked-in driver, byte by byte. */
#include "fuzz/fuzz.h"
#include "port/image.h"
#include "target.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static bool open;
	struct error err;

	if (!open && fuzz_open(IMAGE_LINKED, &err))
		abort();
	open = true;
	fuzz_verbose = getenv("FUZZ_VERBOSE") != NULL;
	if (!fuzz_run(FUZZ_WINDOWS, bytes, size))
		abort();
	return 0;
}
