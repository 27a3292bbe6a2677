/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* From a member to what it is a member of. */
#ifndef STORHOST_BASE_CONTAINER_H
#define STORHOST_BASE_CONTAINER_H

#include <stddef.h>

#define container_of(pointer, type, member) ((type *)((char *)(pointer) - offsetof(type, member)))

#endif
