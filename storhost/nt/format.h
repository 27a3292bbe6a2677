/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Formatting as the Windows kernel does it: the types of its C library, Z (a counted string) and I, I32, I64; no
 * floating point, which a kernel has not.
 */
#ifndef STORHOST_NT_FORMAT_H
#define STORHOST_NT_FORMAT_H

#include "nt/guest.h"

struct format {
	void (*put)(struct format *format, uint16_t unit); /* one character or UTF-16 unit of the result */
	bool wide;      /* the format is a UTF-16 string, and s and c are of that kind where they do not say so */
	bool converted; /* there was a conversion between the two, which is for PASSIVE_LEVEL */
	size_t length;  /* units put so far */
	uintptr_t pc;   /* whose strings they are */
};

/* False: the format cannot be read. Other memory that cannot is a finding, and nothing of it appears. */
bool format_run(struct format *format, const void *text, guest_va_list *ap);

/* The same into `size` characters, cut where they end and always terminated; the length of all. */
size_t format_cut(char *to, size_t size, const char *text, guest_va_list *ap, bool *converted, uintptr_t pc);

#endif
