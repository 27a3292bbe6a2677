/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* One clear sentence that says what went wrong, carried from where it happened to whoever tells the user. */
#ifndef STORHOST_BASE_ERROR_H
#define STORHOST_BASE_ERROR_H

#include <stdarg.h>

struct error {
	char text[480];
};

/*
 * Fills *err (which may be NULL) with one sentence, without a trailing newline or full stop, and returns -1, so that
 * a function can end with `return error_set(err, "...")`.
 */
int error_set(struct error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
