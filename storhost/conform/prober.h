/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The prober's hands: registers by name, memory, the ring, interrupts that it counts, and requests one by one.
 *
 * A wait ends when what it waits for has come, when a device that works by steps has no more of them, or after
 * PROBE_WAIT_MS for one that works by itself. Nothing here judges but the memory that was touched.
 */
#ifndef STORHOST_CONFORM_PROBER_H
#define STORHOST_CONFORM_PROBER_H

#include "conform/conform.h"
#include "virtio_blk_spec.h"
#include "virtio_spec.h"

#define PROBE_WAIT_MS 2000
#define PROBE_QUIET_MS 30 /* for nothing to happen in */
#define PROBE_VECTORS 4
#define PROBE_SEGMENTS 128
#define PROBE_PAGE 4096u

#define COMMON(field) ((unsigned)offsetof(struct virtio_pci_common_cfg, field))

struct prober_region {
	bool there;
	unsigned bar;
	uint32_t offset, length;
};

struct segment {
	uint64_t address;
	uint32_t length;
	bool write; /* the device writes it */
};

struct prober {
	struct device *dev;
	struct verdict *verdicts;
	uint64_t random;
	struct prober_region region[VIRTIO_PCI_CAP_DEVICE_CFG + 1]; /* by cfg_type */
	uint32_t multiplier;
	unsigned msix;       /* offset of its capability, 0: none */
	unsigned msix_count; /* entries of its table */
	/* What the device did; changed on any of its threads. */
	bool woken, line;
	unsigned line_rises, messages[PROBE_VECTORS], stray_messages, strays;
	char stray[120]; /* the first touch of memory that was not given */
	/* The queue as it is set up. */
	uint64_t ring; /* three pages: descriptors, available, used */
	uint16_t size, avail, used;
	bool lost; /* a request went wrong so that the next one needs a reset first */
	/* A page each. */
	uint64_t head, status, table, data;
	uint64_t capacity; /* sectors */
	uint32_t seg_max, blk_size;
	uint64_t features; /* as offered */
};

/* The first thing that breaks a clause is kept. */
void judge(struct prober *p, enum clause clause, bool holds, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

int prober_start(struct prober *p, struct device *dev, uint64_t seed, struct verdict *verdicts, struct error *err);
/* The function is as after power-on, with its BARs placed and memory and bus mastering on. */
void prober_place(struct prober *p);

uint32_t config_read(struct prober *p, unsigned offset, unsigned width);
void config_write(struct prober *p, unsigned offset, unsigned width, uint32_t value);
uint64_t region_read(struct prober *p, unsigned type, uint32_t offset, unsigned width);
void region_write(struct prober *p, unsigned type, uint32_t offset, unsigned width, uint64_t value);
uint32_t common_read(struct prober *p, unsigned offset, unsigned width);
void common_write(struct prober *p, unsigned offset, unsigned width, uint32_t value);
void common_write64(struct prober *p, unsigned offset, uint64_t value);
uint64_t common_read64(struct prober *p, unsigned offset);
uint64_t config_field(struct prober *p, unsigned offset, unsigned width);
uint64_t offered(struct prober *p);
void accept(struct prober *p, uint64_t features);

/* Lets the device work: until cell differs from `was`, or for the whole wait. Whether it does. */
bool await_change(struct prober *p, const volatile uint16_t *cell, uint16_t was, unsigned ms);
/* … or with nothing to wait for. */
void let_work(struct prober *p, unsigned ms);

/* device_status 0, and until it reads so; false: it does not. */
bool reset(struct prober *p);
/* Reset, negotiation of what the contract offers, and queue 0; without DRIVER_OK. False: it does not come so far. */
bool prepare(struct prober *p);
/* And DRIVER_OK, with no vectors. */
bool set_up(struct prober *p);
/* MSI-X on, with the vectors of configuration and queue. */
void enable_messages(struct prober *p, uint16_t config, uint16_t queue);
void disable_messages(struct prober *p);
void mask_vector(struct prober *p, unsigned vector, bool masked);

void *memory(uint64_t address);
/* How descriptors are laid. */
enum layout { LAYOUT_CHAINED, LAYOUT_INDIRECT };
/*
 * A request of that type: header, the segments, status. Its chain begins at descriptor `first`. offer: makes it
 * available; ring_doorbell: tells of it.
 */
void build(struct prober *p, enum layout layout, uint16_t first, uint32_t type, uint64_t sector,
	   const struct segment *segments, unsigned count);
void offer(struct prober *p, uint16_t head);
void ring_doorbell(struct prober *p, unsigned width);
/* Takes a used entry; false: none has come. */
bool take_used(struct prober *p, struct virtq_used_elem *elem);
/* All of that: the status; or -1 if it did not come back, which is judged as the used entry is. */
int request(struct prober *p, enum layout layout, uint32_t type, uint64_t sector, const struct segment *segments,
	    unsigned count);
/* One segment of the data page. */
int transfer(struct prober *p, uint32_t type, uint64_t sector, uint32_t length);

/* function.c, requests.c, interrupts.c: the judges, in this order. */
void judge_function(struct prober *p);
void judge_registers(struct prober *p);
void judge_requests(struct prober *p);
void judge_interrupts(struct prober *p);
void judge_resets(struct prober *p);

#endif
