/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The instructions that test-trap-forms runs, in machine code and as text. */
#ifndef STORHOST_TESTS_FORMS_H
#define STORHOST_TESTS_FORMS_H

#include <stdint.h>

/* Each ends in `ret`; rdi points into the memory that it accesses, rsi into plain memory. */
struct form {
	const void *code;
	const char *text;
};

extern const struct form forms[], forms_end[];

/* The bounds of all code that counts as the driver's. */
extern const char driver_text_begin[], driver_text_end[];

#endif
