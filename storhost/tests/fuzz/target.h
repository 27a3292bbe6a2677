/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What every fuzz target has: libFuzzer's entry, and what the sanitizers are told. */
#ifndef STORHOST_TESTS_FUZZ_TARGET_H
#define STORHOST_TESTS_FUZZ_TARGET_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
const char *__asan_default_options(void);

/* A run's own stacks and memory come and go with it: freed memory need not be kept for long. */
__attribute__((visibility("default"), used)) const char *__asan_default_options(void)
{
	return "quarantine_size_mb=8:malloc_context_size=8:detect_stack_use_after_return=0";
}

#endif
