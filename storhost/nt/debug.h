/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Where the text goes that drivers print for a debugger. */
#ifndef STORHOST_NT_DEBUG_H
#define STORHOST_NT_DEBUG_H

#include <stdbool.h>

extern bool debug_shown; /* print it on standard error */

/* One call's text. What a driver has printed after a megabyte of it is not shown. */
void debug_text(const char *text);

#endif
