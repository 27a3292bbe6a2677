/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What lost power would bring back: the durable content of each unit that was written since. */
#ifndef _FILE_OFFSET_BITS
#define _FILE_OFFSET_BITS 64
#endif
#include "device/write_cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#define BUCKETS 4096u

struct unit {
	struct unit *next;
	uint64_t offset;
	bool under_way; /* its last write was not returned */
	uint8_t durable[];
};

struct write_cache {
	int fd;
	uint32_t unit;
	struct unit *bucket[BUCKETS];
};

struct write_cache *write_cache_create(int fd, uint32_t unit)
{
	struct write_cache *cache = calloc(1, sizeof(*cache));

	if (!cache)
		return NULL;
	cache->fd = fd;
	cache->unit = unit;
	return cache;
}

/* Drops the units for which drop returns true. */
static void drop_units(struct write_cache *cache,
		       bool (*drop)(struct write_cache *cache, struct unit *unit, void *with), void *with)
{
	for (unsigned i = 0; i < BUCKETS; i++) {
		struct unit **link = &cache->bucket[i];

		while (*link) {
			struct unit *unit = *link;

			if (!drop(cache, unit, with)) {
				link = &unit->next;
				continue;
			}
			*link = unit->next;
			free(unit);
		}
	}
}

static bool any_unit(struct write_cache *cache, struct unit *unit, void *with)
{
	(void)cache;
	(void)unit;
	(void)with;
	return true;
}

void write_cache_free(struct write_cache *cache)
{
	if (cache)
		drop_units(cache, any_unit, NULL);
	free(cache);
}

/* Where the link to a unit is, or would be. */
static struct unit **unit_link(struct write_cache *cache, uint64_t offset)
{
	struct unit **link = &cache->bucket[offset / cache->unit % BUCKETS];

	while (*link && (*link)->offset != offset)
		link = &(*link)->next;
	return link;
}

static bool unit_keep(struct write_cache *cache, uint64_t offset)
{
	struct unit **link = unit_link(cache, offset), *unit = *link;

	if (!unit) {
		ssize_t got;

		unit = calloc(1, sizeof(*unit) + cache->unit);
		if (!unit)
			return false;
		unit->offset = offset;
		do
			got = pread(cache->fd, unit->durable, cache->unit, (off_t)offset);
		while (got < 0 && errno == EINTR);
		if (got < 0) {
			free(unit);
			return false;
		}
		*link = unit;
	}
	unit->under_way = true;
	return true;
}

bool write_cache_keep(struct write_cache *cache, uint64_t offset, uint64_t length)
{
	uint64_t end = offset + length;

	for (offset -= offset % cache->unit; offset < end; offset += cache->unit) {
		if (!unit_keep(cache, offset))
			return false;
	}
	return true;
}

void write_cache_return(struct write_cache *cache, uint64_t offset, uint64_t length)
{
	uint64_t end = offset + length;

	for (offset -= offset % cache->unit; offset < end; offset += cache->unit) {
		struct unit *unit = *unit_link(cache, offset);

		if (unit)
			unit->under_way = false;
	}
}

static bool returned(struct write_cache *cache, struct unit *unit, void *with)
{
	(void)cache;
	(void)with;
	unit->under_way = false;
	return false;
}

void write_cache_return_all(struct write_cache *cache)
{
	drop_units(cache, returned, NULL);
}

void write_cache_settle(struct write_cache *cache, uint64_t offset, uint64_t length)
{
	uint64_t end = offset + length;

	for (offset -= offset % cache->unit; offset < end; offset += cache->unit) {
		struct unit **link = unit_link(cache, offset), *unit = *link;

		if (unit) {
			*link = unit->next;
			free(unit);
		}
	}
}

static bool flushed(struct write_cache *cache, struct unit *unit, void *with)
{
	(void)cache;
	(void)with;
	return !unit->under_way;
}

void write_cache_flush(struct write_cache *cache)
{
	drop_units(cache, flushed, NULL);
}

struct loss {
	unsigned percent;
	uint64_t random;
};

static bool lost(struct write_cache *cache, struct unit *unit, void *with)
{
	struct loss *loss = with;

	loss->random = loss->random * 6364136223846793005u + 1442695040888963407u;
	/* A unit that cannot be written keeps what it has, as one of the lucky ones. */
	if ((loss->random >> 33) % 100 < loss->percent)
		(void)!pwrite(cache->fd, unit->durable, cache->unit, (off_t)unit->offset);
	return true;
}

void write_cache_lose(struct write_cache *cache, unsigned percent, uint64_t random)
{
	drop_units(cache, lost, &(struct loss){ percent, random });
}

static bool beyond(struct write_cache *cache, struct unit *unit, void *with)
{
	return unit->offset + cache->unit > *(uint64_t *)with;
}

void write_cache_cut(struct write_cache *cache, uint64_t end)
{
	drop_units(cache, beyond, &end);
}
