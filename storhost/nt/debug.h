/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Where the text goes that drivers print for a debugger. */
#ifndef STORHOST_NT_DEBUG_H
#define STORHOST_NT_DEBUG_H

#include <stdbool.h>

extern bool debug_shown; /* the user asked for it */

/* One call's text, to standard error: a page of it, or a megabyte if it was asked for; the rest is not shown. */
void debug_text(const char *text);

#endif
