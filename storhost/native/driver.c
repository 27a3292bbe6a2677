/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The driver that is linked into this program. */
#include <ntddk.h>

#include "port/image.h"

DRIVER_INITIALIZE DriverEntry;

extern const uint8_t __start_miniport[], __stop_miniport[]; /* the linker's, of the section */

__attribute__((constructor)) static void announce(void)
{
	static struct image_linked linked = { .name = STORHOST_NATIVE_NAME, .checked = DBG };

	linked.entry = (void *)(uintptr_t)DriverEntry;
	linked.start = __start_miniport;
	linked.end = __stop_miniport;
	image_linked = &linked;
}
