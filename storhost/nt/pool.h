/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Non-paged pool and other memory that is the driver's but never the device's. Each allocation ends at an unmapped
 * page, starts uninitialised (filled with a pattern), and is known by tag and owner until it is freed.
 */
#ifndef STORHOST_NT_POOL_H
#define STORHOST_NT_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum pool_kind { POOL_NONPAGED, POOL_CONTIGUOUS, POOL_MDL, POOL_REGISTRY, POOL_PORT, POOL_EXECUTIVE, POOL_STRING };

#define POOL_FILL 0xcd

/* NULL when there is no memory. pc: who asked; 0 for the port's own. POOL_PORT memory is zeroed. */
void *pool_alloc(size_t size, uint32_t tag, enum pool_kind kind, uintptr_t pc);
/* False (and a finding) if block is not a live allocation of that kind. */
bool pool_free(void *block, enum pool_kind kind, uintptr_t pc);
bool pool_owns(const void *address, size_t size);
/* Reports each allocation that a driver left behind, and frees it. */
void pool_report_leaks(void);
/* Frees everything: nobody is left to whom it belongs. */
void pool_forget(void);
uint64_t pool_bytes(void);

#endif
