/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Physical memory of the simulated machine.
 *
 * RAM is one file in memory, seen by the guest at bus addresses in several ranges, most of them above 4 GiB and none
 * equal to any host address. The device reaches it through phys_device(), which knows for every page whether the driver
 * has given it to the device at that moment and in which direction. Drivers see pages through windows: virtually
 * contiguous, physically as scattered as their owner asked for, with unmapped guard pages around.
 */
#ifndef STORHOST_NT_PHYS_H
#define STORHOST_NT_PHYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define PHYS_PAGE 4096u

enum phys_use {
	PHYS_FREE,
	PHYS_PRIVATE,     /* the driver's or the port's, never the device's */
	PHYS_COMMON,      /* common buffer: both ways, as long as it exists */
	PHYS_TO_DEVICE,   /* data of a request that the device may read */
	PHYS_FROM_DEVICE, /* … may write */
	PHYS_BOTH,
};

int phys_start(uint64_t bytes, uint64_t seed, struct error *err);
/*
 * The same in physical memory of the machine that storhost runs on, which Linux was told to leave alone (memmap= of its
 * command line): a third in each place, at that very bus address.
 */
#define PHYS_RANGES 3
int phys_start_at(uint64_t bytes, const uint64_t *places, uint64_t seed, struct error *err);
/* Memory of the same size for another machine: nothing is allocated, and no window is open any more. */
void phys_restart(uint64_t seed);
void phys_stop(void);

/* Allocates one page anywhere (below 4 GiB if low); its bus address, or 0. */
uint64_t phys_alloc(enum phys_use use, bool low);
/* Allocates adjacent pages that do not cross a 4 GiB boundary; address of the first, or 0. */
uint64_t phys_alloc_contiguous(size_t pages, enum phys_use use, bool low);
void phys_free(uint64_t address, size_t pages);
void phys_set_use(uint64_t address, size_t pages, enum phys_use use);

/* The machine's own view of a page's bytes from `address` on. */
void *phys_host(uint64_t address);
/* The device's view: NULL where it may not go so. */
void *phys_device(uint64_t address, uint32_t length, bool write);
const char *phys_use_name(uint64_t address);

/* RAM's ranges of bus addresses, each `length` long: where range n begins, in bytes of the file, and `host`. */
struct phys_range {
	uint64_t address, length, offset;
	void *host;
	int fd;
	bool physical; /* the file is the memory of the machine that storhost runs on, by the same addresses */
};
/* False: there is no range n. */
bool phys_range(unsigned n, struct phys_range *range);

/* A window on `count` pages; page n of it shows addresses[n]. NULL if the host refuses. */
void *phys_map(const uint64_t *addresses, size_t count);
void phys_unmap(void *window, size_t count);
/* Bus address behind an address inside a live window, and how far it is contiguous; 0 if there is none. */
uint64_t phys_of(const void *address, uint32_t *contiguous);

#endif
