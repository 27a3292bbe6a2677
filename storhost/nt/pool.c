/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Guarded allocations. */
#include "nt/pool.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "nt/cpu.h"
#include "verify/verify.h"

#define PAGE 4096u
#define ALIGNMENT 16u

struct block {
	struct block *next;
	uint8_t *map; /* pages, the last of which is the guard */
	size_t map_size;
	uint8_t *start;
	size_t size;
	uint32_t tag;
	enum pool_kind kind;
	uintptr_t pc;
};

static struct block *blocks;
static uint64_t driver_bytes;

void *pool_alloc(size_t size, uint32_t tag, enum pool_kind kind, uintptr_t pc)
{
	size_t room = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
	size_t pages = (room + PAGE - 1) / PAGE;
	struct block *block = size && size < SIZE_MAX / 2 ? calloc(1, sizeof(*block)) : NULL;

	if (!block)
		return NULL;
	block->map_size = (pages + 1) * PAGE;
	block->map = mmap(NULL, block->map_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (block->map == MAP_FAILED) {
		free(block);
		return NULL;
	}
	mprotect(block->map + pages * PAGE, PAGE, PROT_NONE);
	block->start = block->map + pages * PAGE - room;
	/* The executive's begins at a page where it has one or more. */
	if (kind == POOL_CONTIGUOUS || (kind == POOL_EXECUTIVE && size >= PAGE))
		block->start = block->map;
	memset(block->map, POOL_FILL, pages * PAGE);
	if (kind == POOL_PORT)
		memset(block->start, 0, size);
	block->size = size;
	block->tag = tag;
	block->kind = kind;
	block->pc = pc;
	machine_lock();
	block->next = blocks;
	blocks = block;
	driver_bytes += kind == POOL_PORT ? 0 : size;
	machine_unlock();
	return block->start;
}

/* Whether the bytes of the mapping before the block and between its end and the guard are as they were filled. */
static void block_check(const struct block *block)
{
	const uint8_t *end = block->map + block->map_size - PAGE;

	for (const uint8_t *p = block->map; p < end; p++) {
		if (p >= block->start && p < block->start + block->size)
			continue;
		if (*p == POOL_FILL)
			continue;
		verify_report(RULE_MEMORY_OVERRUN, block->pc, "byte %td of an allocation of %zu bytes was written",
			      p - block->start, block->size);
		return;
	}
}

static void block_destroy(struct block *block)
{
	block_check(block);
	munmap(block->map, block->map_size);
	free(block);
}

bool pool_free(void *address, enum pool_kind kind, uintptr_t pc)
{
	struct block **link, *block = NULL;

	machine_lock();
	for (link = &blocks; *link; link = &(*link)->next) {
		if ((*link)->start == address && (*link)->kind == kind) {
			block = *link;
			*link = block->next;
			driver_bytes -= kind == POOL_PORT ? 0 : block->size;
			break;
		}
	}
	machine_unlock();
	if (!block) {
		verify_report(RULE_MEMORY_FREE, pc,
			      "memory at %p is freed that was not allocated so, or is free already", address);
		return false;
	}
	block_destroy(block);
	return true;
}

bool pool_owns(const void *address, size_t size)
{
	const uint8_t *start = address;
	bool found = false;

	machine_lock();
	for (struct block *block = blocks; block && !found; block = block->next)
		found = start >= block->start && size <= block->size &&
			(size_t)(start - block->start) <= block->size - size;
	machine_unlock();
	return found;
}

static void free_all(bool report)
{
	while (blocks) {
		struct block *block = blocks;

		blocks = block->next;
		if (report && block->kind != POOL_PORT)
			verify_report(RULE_MEMORY_LEAK, block->pc, "%zu bytes (tag 0x%08x) were never freed",
				      block->size, block->tag);
		block_destroy(block);
	}
	driver_bytes = 0;
}

void pool_report_leaks(void)
{
	free_all(true);
}

void pool_forget(void)
{
	free_all(false);
}

uint64_t pool_bytes(void)
{
	return driver_bytes;
}
