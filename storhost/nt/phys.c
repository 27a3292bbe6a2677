/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Simulated RAM: one memory file, its bus addresses, who may touch which page, and windows on it. */
#define _FILE_OFFSET_BITS 64 /* of physical memory */
#include "nt/phys.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "nt/rng.h"

/* Windows live in one arena, so that an address leads to its page by one look. */
#if UINTPTR_MAX > 0xffffffffu
#define ARENA_PAGES (1u << 20)
#else
#define ARENA_PAGES (1u << 15)
#endif

/* Bus address ranges: below 4 GiB, just above it, and far up, where an address cut to 32 or 40 bits is wrong. */
static const uint64_t own_base[PHYS_RANGES] = { 0x0000000001000000, 0x0000000140000000, 0x00000a5000000000 };
#define RANGES PHYS_RANGES

/* How Linux shows physical memory that it does not use. */
#define PHYSICAL_MEMORY "/dev/mem"

static struct {
	pthread_mutex_t lock;
	int fd;
	bool physical;
	uint64_t base[RANGES];
	uint8_t *host; /* all of RAM, linear */
	uint32_t pages, per_range;
	uint8_t *use;        /* enum phys_use of each page */
	uint32_t *free_list; /* page numbers, shuffled; single pages are taken from its end */
	uint32_t free_count;
	uint32_t run_start; /* pages [run_start, run_end) of each range are kept for contiguous runs */
	uint8_t *arena;
	uint64_t *arena_page;            /* bus address shown at each arena page, 0 if none */
	uint32_t arena_next, arena_high; /* high: beyond the last page that was ever in a window */
	struct rng rng;
} ram = { .lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1 };

static uint64_t page_address(uint32_t page)
{
	return ram.base[page / ram.per_range] + (uint64_t)(page % ram.per_range) * PHYS_PAGE;
}

/* Where it is in the file. */
static uint64_t page_offset(uint32_t page)
{
	return ram.physical ? page_address(page) : (uint64_t)page * PHYS_PAGE;
}

/* Page number of a bus address, or UINT32_MAX. */
static uint32_t address_page(uint64_t address)
{
	for (uint32_t r = 0; r < RANGES; r++) {
		uint64_t offset = address - ram.base[r];

		if (address >= ram.base[r] && offset < (uint64_t)ram.per_range * PHYS_PAGE)
			return r * ram.per_range + (uint32_t)(offset / PHYS_PAGE);
	}
	return UINT32_MAX;
}

/* The device looks at it at any time. */
static void use_set(uint32_t page, size_t pages, enum phys_use use)
{
	for (size_t i = 0; i < pages; i++)
		__atomic_store_n(&ram.use[page + i], (uint8_t)use, __ATOMIC_RELEASE);
}

static void free_list_fill(void)
{
	for (uint32_t page = 0; page < ram.pages; page++) {
		if (page % ram.per_range < ram.run_start)
			ram.free_list[ram.free_count++] = page;
	}
	for (uint32_t i = ram.free_count; i > 1; i--) {
		uint32_t other = (uint32_t)rng_below(&ram.rng, i), page = ram.free_list[i - 1];

		ram.free_list[i - 1] = ram.free_list[other];
		ram.free_list[other] = page;
	}
}

static int open_ram(struct error *err)
{
	ram.fd = ram.physical ? open(PHYSICAL_MEMORY, O_RDWR | O_CLOEXEC) : memfd_create("storhost-ram", MFD_CLOEXEC);
	if (ram.fd < 0 && ram.physical)
		return error_set(err, "%s: %s", PHYSICAL_MEMORY, strerror(errno));
	if (ram.fd < 0 || (!ram.physical && ftruncate(ram.fd, (off_t)ram.pages * PHYS_PAGE)))
		return error_set(err, "cannot make the simulated memory of %llu bytes",
				 (unsigned long long)ram.pages * PHYS_PAGE);
	return 0;
}

/* The ranges one behind the other. */
static int map_ram(struct error *err)
{
	size_t length = (size_t)ram.per_range * PHYS_PAGE;

	ram.host = mmap(NULL, RANGES * length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	for (unsigned r = 0; r < RANGES && ram.host != MAP_FAILED; r++) {
		if (mmap(ram.host + r * length, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, ram.fd,
			 (off_t)page_offset(r * ram.per_range)) != MAP_FAILED)
			continue;
		return error_set(err, "the memory at 0x%llx cannot be mapped: %s", (unsigned long long)ram.base[r],
				 strerror(errno));
	}
	return 0;
}

static int ram_create(struct error *err)
{
	size_t arena_bytes = (size_t)ARENA_PAGES * PHYS_PAGE;

	if (open_ram(err) || map_ram(err))
		return -1;
	ram.arena = mmap(NULL, arena_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ram.use = calloc(ram.pages, 1);
	ram.free_list = calloc(ram.pages, sizeof(*ram.free_list));
	ram.arena_page = calloc(ARENA_PAGES, sizeof(*ram.arena_page));
	if (ram.host == MAP_FAILED || ram.arena == MAP_FAILED || !ram.use || !ram.free_list || !ram.arena_page)
		return error_set(err, "cannot map the simulated memory of %llu bytes",
				 (unsigned long long)ram.pages * PHYS_PAGE);
	return 0;
}

static int start(uint64_t bytes, const uint64_t *places, bool physical, uint64_t seed, struct error *err)
{
	ram.physical = physical;
	memcpy(ram.base, places, sizeof(ram.base));
	ram.per_range = (uint32_t)(bytes / PHYS_PAGE / RANGES);
	ram.pages = ram.per_range * RANGES;
	ram.run_start = ram.per_range / 8 * 7;
	if (ram_create(err))
		return -1;
	phys_restart(seed);
	return 0;
}

int phys_start(uint64_t bytes, uint64_t seed, struct error *err)
{
	return start(bytes, own_base, false, seed, err);
}

int phys_start_at(uint64_t bytes, const uint64_t *places, uint64_t seed, struct error *err)
{
	return start(bytes, places, true, seed, err);
}

void phys_restart(uint64_t seed)
{
	if (ram.arena_high)
		mmap(ram.arena, (size_t)ram.arena_high * PHYS_PAGE, PROT_NONE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
	memset(ram.arena_page, 0, ram.arena_high * sizeof(*ram.arena_page));
	memset(ram.use, PHYS_FREE, ram.pages);
	ram.arena_high = ram.arena_next = 0;
	ram.rng.state = seed;
	ram.free_count = 0;
	free_list_fill();
}

void phys_stop(void)
{
	munmap(ram.host, (size_t)ram.pages * PHYS_PAGE);
	munmap(ram.arena, (size_t)ARENA_PAGES * PHYS_PAGE);
	close(ram.fd);
	free(ram.use);
	free(ram.free_list);
	free(ram.arena_page);
	ram.arena_high = 0;
}

/* Takes entry i out of the free list. Under the lock. */
static uint32_t free_list_take(uint32_t i)
{
	uint32_t page = ram.free_list[i];

	ram.free_list[i] = ram.free_list[--ram.free_count];
	return page;
}

uint64_t phys_alloc(enum phys_use use, bool low)
{
	uint64_t address = 0;

	pthread_mutex_lock(&ram.lock);
	for (uint32_t i = ram.free_count; i > 0; i--) {
		if (low && ram.free_list[i - 1] >= ram.per_range)
			continue;
		address = page_address(free_list_take(i - 1));
		use_set(address_page(address), 1, use);
		break;
	}
	pthread_mutex_unlock(&ram.lock);
	return address;
}

/* First page of `pages` unused ones in the run area of range r, or UINT32_MAX. */
static uint32_t run_find(uint32_t r, size_t pages)
{
	uint32_t found = 0;

	for (uint32_t i = ram.run_start; i < ram.per_range; i++) {
		found = ram.use[r * ram.per_range + i] == PHYS_FREE ? found + 1 : 0;
		if (found == pages)
			return r * ram.per_range + i + 1 - found;
	}
	return UINT32_MAX;
}

uint64_t phys_alloc_contiguous(size_t pages, enum phys_use use, bool low)
{
	uint32_t first = UINT32_MAX;

	pthread_mutex_lock(&ram.lock);
	for (uint32_t r = low ? 1 : RANGES; r > 0 && first == UINT32_MAX; r--)
		first = run_find(r - 1, pages);
	if (first != UINT32_MAX)
		use_set(first, pages, use);
	pthread_mutex_unlock(&ram.lock);
	return first == UINT32_MAX ? 0 : page_address(first);
}

void phys_free(uint64_t address, size_t pages)
{
	uint32_t first = address_page(address);

	pthread_mutex_lock(&ram.lock);
	use_set(first, pages, PHYS_FREE);
	if (first % ram.per_range < ram.run_start) {
		/* Put back at a random place, so that the next requests do not see the same pages again. */
		uint32_t at = (uint32_t)rng_below(&ram.rng, ram.free_count + 1);

		ram.free_list[ram.free_count++] = ram.free_list[at];
		ram.free_list[at] = first;
	}
	pthread_mutex_unlock(&ram.lock);
}

void phys_set_use(uint64_t address, size_t pages, enum phys_use use)
{
	use_set(address_page(address), pages, use);
}

void *phys_host(uint64_t address)
{
	uint32_t page = address_page(address);

	return page == UINT32_MAX ? NULL : ram.host + (size_t)page * PHYS_PAGE + address % PHYS_PAGE;
}

void *phys_device(uint64_t address, uint32_t length, bool write)
{
	uint32_t page = address_page(address);
	enum phys_use use;

	if (page == UINT32_MAX || !length || address % PHYS_PAGE + length > PHYS_PAGE)
		return NULL;
	use = (enum phys_use)__atomic_load_n(&ram.use[page], __ATOMIC_ACQUIRE);
	if (use == PHYS_FREE || use == PHYS_PRIVATE || use == (write ? PHYS_TO_DEVICE : PHYS_FROM_DEVICE))
		return NULL;
	return ram.host + (size_t)page * PHYS_PAGE + address % PHYS_PAGE;
}

bool phys_range(unsigned n, struct phys_range *range)
{
	uint64_t length = (uint64_t)ram.per_range * PHYS_PAGE;

	if (n >= RANGES)
		return false;
	*range = (struct phys_range){ ram.base[n],           length, page_offset(n * ram.per_range),
				      ram.host + n * length, ram.fd, ram.physical };
	return true;
}

const char *phys_use_name(uint64_t address)
{
	static const char *const names[] = {
		[PHYS_FREE] = "memory that belongs to nobody",
		[PHYS_PRIVATE] = "memory that is not for the device",
		[PHYS_COMMON] = "the common buffer",
		[PHYS_TO_DEVICE] = "data that the device may only read",
		[PHYS_FROM_DEVICE] = "data that the device may only write",
		[PHYS_BOTH] = "memory of a live request",
	};
	uint32_t page = address_page(address);

	return page == UINT32_MAX ? "no memory at all" : names[ram.use[page]];
}

/* ---- windows ---- */

/* Finds `count` unused arena pages with a guard page on either side; index of the first, or 0. Under the lock. */
static uint32_t arena_find(size_t count)
{
	for (int pass = 0; pass < 2; pass++) {
		uint32_t found = 0;

		for (uint32_t i = pass ? 0 : ram.arena_next; i < ARENA_PAGES; i++) {
			found = ram.arena_page[i] ? 0 : found + 1;
			if (found == count + 2) {
				ram.arena_next = i;
				return (uint32_t)(i - count);
			}
		}
	}
	return 0;
}

void *phys_map(const uint64_t *addresses, size_t count)
{
	uint32_t first;
	size_t done = 0;

	pthread_mutex_lock(&ram.lock);
	first = arena_find(count);
	if (first + count > ram.arena_high)
		ram.arena_high = (uint32_t)(first + count);
	while (first && done < count) {
		size_t run = 1;
		uint32_t page = address_page(addresses[done]);

		while (done + run < count && addresses[done + run] == addresses[done] + run * PHYS_PAGE)
			run++;
		if (mmap(ram.arena + (size_t)(first + done) * PHYS_PAGE, run * PHYS_PAGE, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_FIXED, ram.fd, (off_t)page_offset(page)) == MAP_FAILED) {
			first = 0;
			break;
		}
		for (size_t i = 0; i < run; i++)
			ram.arena_page[first + done + i] = addresses[done + i];
		done += run;
	}
	pthread_mutex_unlock(&ram.lock);
	return first ? ram.arena + (size_t)first * PHYS_PAGE : NULL;
}

void phys_unmap(void *window, size_t count)
{
	size_t first = (size_t)((uint8_t *)window - ram.arena) / PHYS_PAGE;

	pthread_mutex_lock(&ram.lock);
	mmap(window, count * PHYS_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
	memset(&ram.arena_page[first], 0, count * sizeof(*ram.arena_page));
	pthread_mutex_unlock(&ram.lock);
}

uint64_t phys_of(const void *address, uint32_t *contiguous)
{
	uintptr_t offset = (uintptr_t)address - (uintptr_t)ram.arena;
	size_t index = offset / PHYS_PAGE;
	uint32_t length = PHYS_PAGE - offset % PHYS_PAGE;
	uint64_t base;

	if (index >= ARENA_PAGES || !ram.arena_page[index])
		return 0;
	base = ram.arena_page[index];
	for (size_t i = 1; index + i < ARENA_PAGES && ram.arena_page[index + i] == base + i * PHYS_PAGE; i++)
		length += PHYS_PAGE;
	if (contiguous)
		*contiguous = length;
	return base + offset % PHYS_PAGE;
}
