/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A volatile write cache over a file, kept the other way round: the file always holds what the guest reads, and the
 * cache what lost power would bring back, which is what the file held when it was last made durable.
 *
 * write_cache_keep before the file is changed, write_cache_return when the guest was told of it, write_cache_settle
 * when it asks for durability, write_cache_lose when power is lost. Locks: the caller's.
 */
#ifndef STORHOST_DEVICE_WRITE_CACHE_H
#define STORHOST_DEVICE_WRITE_CACHE_H

#include <stdbool.h>
#include <stdint.h>

struct write_cache;

/* unit: bytes that are lost or kept together. NULL: no memory. */
struct write_cache *write_cache_create(int fd, uint32_t unit);
void write_cache_free(struct write_cache *cache);

/* Bytes [offset, offset + length) are about to change. False: no memory, or the file cannot be read. */
bool write_cache_keep(struct write_cache *cache, uint64_t offset, uint64_t length);
/* The write of these bytes was returned: from now on a flush makes them durable. */
void write_cache_return(struct write_cache *cache, uint64_t offset, uint64_t length);
/* No write is under way any more. */
void write_cache_return_all(struct write_cache *cache);
/* These bytes are durable. */
void write_cache_settle(struct write_cache *cache, uint64_t offset, uint64_t length);
/* All is that was returned. */
void write_cache_flush(struct write_cache *cache);
/* So many percent of the units that are not durable, by chance, are again what they were. */
void write_cache_lose(struct write_cache *cache, unsigned percent, uint64_t random);
/* The file ends here now. */
void write_cache_cut(struct write_cache *cache, uint64_t end);

#endif
