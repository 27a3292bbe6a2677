/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Contiguous memory of the driver's, when the driver is gone. */
#ifndef STORHOST_NT_MEMORY_H
#define STORHOST_NT_MEMORY_H

#include <stdbool.h>

/* Frees what is left of it. leaks: each is one. */
void memory_forget(bool leaks);

#endif
