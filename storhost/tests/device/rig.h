/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What the device tests share: a small machine that records what the device does to it, and a driver that
 * brings the device up register by register and knows it from its configuration space alone.
 *
 * Guest memory is RIG_PAGES pages from RIG_BASE on, above 4 GiB, in shuffled host pages: an access across a
 * page boundary hits the wrong one, and fails the test besides.
 */
#ifndef STORHOST_TESTS_DEVICE_RIG_H
#define STORHOST_TESTS_DEVICE_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "device/virtio_blk.h"
#include "virtio_blk_spec.h"
#include "virtio_spec.h"

#define RIG_PAGES 1024u
#define RIG_BASE 0x700000000ull
#define RIG_DISK_BYTES (1024u * 1024)
#define RIG_SECTORS (RIG_DISK_BYTES / 512)
/* Where the rig maps BAR n, as firmware would. */
#define RIG_BAR(n) (0xE0000000ull + 0x01000000ull * (n))

struct rig_blame {
	char clause[32];
	char text[256];
};

struct rig_message {
	uint64_t addr;
	uint32_t data;
};

struct rig_region {
	unsigned bar;
	uint32_t offset;
	uint32_t length;
};

struct rig {
	struct device *dev;
	char disk[64];
	uint8_t *host;
	uint16_t page[RIG_PAGES];
	uint8_t access[RIG_PAGES]; /* 1: the device may read, 2: write */
	uint64_t brk;              /* next free guest address */
	struct rig_blame blame[64];
	unsigned blames;
	struct rig_message message[512];
	unsigned messages;
	unsigned intx_edges;
	bool intx;
	unsigned wakes;
	unsigned refused;            /* translations that gave NULL */
	bool boundless;              /* descriptors may name memory that is not there, as long as nobody uses it */
	struct rig_region region[5]; /* by cfg_type */
	uint32_t multiplier;
	uint16_t ring_size;
	uint64_t desc, avail, used;
	uint16_t avail_next, used_next, desc_next;
	uint64_t random;
	bool hold_status; /* set: publishing before the status byte fails the test */
	uint64_t status_watched;
};

/* Fixture: *state is the option string, then the rig. */
int rig_setup(void **state);
int rig_teardown(void **state);
#define RIG_TEST(f, spec) { #f " (" spec ")", f, rig_setup, rig_teardown, (void *)(uintptr_t)(spec) }

/* A disk of `bytes` whose byte i is rig_pattern(i); the name goes to path. */
void rig_make_disk(char path[64], uint64_t bytes);
uint8_t rig_pattern(uint64_t offset);
uint8_t rig_disk_byte(const struct rig *rig, uint64_t offset);

uint32_t rig_cfg(struct rig *rig, unsigned offset, unsigned width);
void rig_cfg_write(struct rig *rig, unsigned offset, unsigned width, uint32_t value);
/* cfg_type of a region, offset in it. */
uint64_t rig_reg(struct rig *rig, unsigned type, uint64_t offset, unsigned width);
void rig_reg_write(struct rig *rig, unsigned type, uint64_t offset, unsigned width, uint64_t value);
#define COMMON(field) offsetof(struct virtio_pci_common_cfg, field)
#define RIG_READ(rig, field)                                                                                           \
	((uint32_t)rig_reg(rig, VIRTIO_PCI_CAP_COMMON_CFG, COMMON(field),                                              \
			   sizeof(((struct virtio_pci_common_cfg *)0)->field)))
#define RIG_WRITE(rig, field, value)                                                                                   \
	rig_reg_write(rig, VIRTIO_PCI_CAP_COMMON_CFG, COMMON(field),                                                   \
		      sizeof(((struct virtio_pci_common_cfg *)0)->field), value)
/* As drivers read it: between two reads of config_generation. */
uint32_t rig_device_config(struct rig *rig, unsigned offset, unsigned width);
void rig_write64(struct rig *rig, unsigned offset, uint64_t value);
/* Offset of the first capability with this id (and cfg_type, if it is not 0); 0 if there is none. */
unsigned rig_find_cap(struct rig *rig, uint8_t id, uint8_t type);

/* Guest memory. */
uint64_t rig_alloc(struct rig *rig, uint32_t bytes, uint32_t align);
void rig_put(struct rig *rig, uint64_t addr, const void *buf, uint32_t len);
void rig_get(struct rig *rig, uint64_t addr, void *buf, uint32_t len);
uint16_t rig_get16(struct rig *rig, uint64_t addr);
void rig_put16(struct rig *rig, uint64_t addr, uint16_t value);

/* Bringing up, in steps and in one. Features 0 in the latter: all that are offered. */
uint64_t rig_offered(struct rig *rig);
void rig_reset(struct rig *rig);
void rig_negotiate(struct rig *rig, uint64_t features);
void rig_place_ring(struct rig *rig, uint16_t size);
void rig_bring_up(struct rig *rig, uint64_t features);
/* The same from the state after a reset. */
void rig_start(struct rig *rig, uint64_t features);
/* MSI-X on: vector n has address 0xFEE00000 and data n + 0x40. */
void rig_enable_msix(struct rig *rig);

/* The ring. */
void rig_desc_at(struct rig *rig, uint64_t table, uint16_t i, uint64_t addr, uint32_t len, uint16_t flags,
		 uint16_t next);
void rig_desc(struct rig *rig, uint16_t i, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next);
void rig_offer(struct rig *rig, uint16_t head);
void rig_kick(struct rig *rig);
/* Steps until there is nothing to do. */
void rig_run(struct rig *rig);
bool rig_step(struct rig *rig);
uint16_t rig_used_idx(struct rig *rig);
bool rig_pop(struct rig *rig, uint32_t *id, uint32_t *len);

/* One request in ring descriptors of its own, offered but not notified. */
struct rig_io {
	uint16_t head;
	uint64_t header, data, status;
	uint32_t bytes;
};
struct rig_io rig_submit(struct rig *rig, uint32_t type, uint64_t sector, uint64_t data, uint32_t bytes);
uint8_t rig_status(struct rig *rig, const struct rig_io *io);
/* Submits, notifies, runs, pops. The status byte. */
uint8_t rig_request(struct rig *rig, uint32_t type, uint64_t sector, uint64_t data, uint32_t bytes);

void rig_no_blame(struct rig *rig);
/* Exactly one accusation, of this clause; forgets it. */
void rig_one_blame(struct rig *rig, const char *clause);
void rig_any_blame(struct rig *rig, const char *clause);

#endif
