/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The split virtqueue, device side: chains out of the available ring, entries into the used ring.
 *
 * Call order: vring_init once, then vring_start when the driver has enabled the queue and vring_stop when the
 * device is reset, any number of times. In between vring_fetch until VRING_EMPTY, vring_arm (and fetch again
 * if it says so); vring_publish for each finished chain; vring_interrupt_due after one or more publishes.
 *
 * Trust: nothing the driver wrote is used before it was checked or read twice; what decides something (which
 * descriptors are out, and how they link) is kept in owner[] and link[], outside of guest memory. The first
 * violation is blamed and latches `broken`: from then on fetch returns VRING_BROKEN and publish does nothing,
 * until vring_stop.
 * Locks: none; the caller serializes.
 */
#ifndef STORHOST_DEVICE_VRING_H
#define STORHOST_DEVICE_VRING_H

#include <stddef.h>

#include "device/device.h"

/* A piece of a chain in guest memory; len is not 0. */
struct vring_segment {
	uint64_t addr;
	uint32_t len;
};

struct vring_chain {
	uint16_t head;
	unsigned readable; /* segments that the device reads; they come first */
	unsigned writable; /* segments that the device writes */
	uint64_t readable_bytes;
	uint64_t writable_bytes;
	struct vring_segment *segment;
	unsigned capacity; /* of segment[], which the chain owns and keeps for the next fetch */
};

/* As the driver programmed and negotiated it. */
struct vring_setup {
	uint16_t size;      /* descriptors, not 0 */
	uint16_t chain_max; /* longest chain, indirect ones included */
	uint64_t desc;
	uint64_t avail;
	uint64_t used;
	bool indirect;
	bool event_idx;
	bool suppress;      /* ask for no doorbells between vring_fetch and vring_arm */
	bool always_signal; /* interrupt whatever the driver asks for */
};

struct vring {
	const struct device_bus *bus;
	struct vring_setup setup;
	bool running;
	bool broken;
	bool looked;         /* the used ring's flags were seen before the device wrote them */
	bool quiet;          /* doorbells are suppressed */
	uint16_t avail_next; /* free-running: next entry to fetch */
	uint16_t used_next;  /* free-running: next entry to publish */
	uint16_t signalled;  /* used_next at the last interrupt decision */
	uint16_t told;       /* available index at the last doorbell */
	uint64_t untold;     /* entries so far, less doorbells: whoever rings has made one of them available */
	uint16_t in_flight;  /* chains */
	uint16_t *owner;     /* of descriptor i: head + 1 of the chain in flight that it belongs to, or 0 */
	uint16_t *link;      /* of descriptor i in flight: the next one, or itself at the end */
};

enum vring_result {
	VRING_FETCHED,
	VRING_EMPTY,
	VRING_BROKEN,
};

void vring_init(struct vring *ring, const struct device_bus *bus);
/* -1: no memory. */
int vring_start(struct vring *ring, const struct vring_setup *setup);
void vring_stop(struct vring *ring);

/* The driver has rung. */
void vring_doorbell(struct vring *ring);
enum vring_result vring_fetch(struct vring *ring, struct vring_chain *chain);
/* Asks for a doorbell at the next chain. True: one is there already, no doorbell will come for it. */
bool vring_arm(struct vring *ring);
/*
 * Returns the chain to the driver: entry, then index. What the device wrote into it must be in memory
 * already.
 */
void vring_publish(struct vring *ring, uint16_t head, uint32_t len);
/* Whether the driver wants an interrupt for what was published since the last call. */
bool vring_interrupt_due(struct vring *ring);

/* A used entry that no honest device would write, and the index moved on by `advance`. */
void vring_forge(struct vring *ring, uint32_t id, uint32_t len, uint16_t advance);

/*
 * Bytes of a chain as the two streams that its segments make, one to read and one to write; the caller stays
 * inside.
 * False: the driver named memory that the device may not use.
 */
bool vring_chain_read(const struct vring *ring, const struct vring_chain *chain, uint64_t offset, void *buf,
		      size_t len);
bool vring_chain_write(const struct vring *ring, const struct vring_chain *chain, uint64_t offset, const void *buf,
		       size_t len);
void vring_chain_free(struct vring_chain *chain);

#endif
