/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Error sentences. */
#include "base/error.h"

#include <stdio.h>

int error_set(struct error *err, const char *fmt, ...)
{
	va_list ap;

	if (err) {
		va_start(ap, fmt);
		vsnprintf(err->text, sizeof(err->text), fmt, ap);
		va_end(ap);
	}
	return -1;
}
