/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Numbers that several threads add to.
 *
 * On a 32-bit host a uint64_t in a structure may lie across two cache lines, where each addition stops all processors of
 * the machine, and of its host. A count64 does not.
 */
#ifndef STORHOST_BASE_COUNT_H
#define STORHOST_BASE_COUNT_H

#include <stdint.h>

typedef uint64_t count64 __attribute__((aligned(8)));

/* Returns the new number. */
static inline uint64_t count64_add(count64 *number)
{
	return __atomic_add_fetch(number, 1, __ATOMIC_ACQ_REL);
}

#endif
