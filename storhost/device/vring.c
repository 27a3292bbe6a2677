/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Fetching chains from a split ring with every check that a device can make, and publishing used entries. */
#include "device/vring.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/bus.h"
#include "virtio_spec.h"

/* Longest chain in bytes. [virtio 2.7.5.2] */
#define CHAIN_BYTES_MAX (1ull << 32)

void vring_init(struct vring *ring, const struct device_bus *bus)
{
	memset(ring, 0, sizeof(*ring));
	ring->bus = bus;
}

int vring_start(struct vring *ring, const struct vring_setup *setup)
{
	const struct device_bus *bus = ring->bus;

	vring_stop(ring);
	vring_init(ring, bus);
	ring->setup = *setup;
	ring->owner = calloc(setup->size, sizeof(*ring->owner));
	ring->link = calloc(setup->size, sizeof(*ring->link));
	if (!ring->owner || !ring->link) {
		vring_stop(ring);
		return -1;
	}
	ring->running = true;
	return 0;
}

void vring_stop(struct vring *ring)
{
	free(ring->owner);
	free(ring->link);
	ring->owner = NULL;
	ring->link = NULL;
	ring->running = false;
	ring->in_flight = 0;
}

void vring_chain_free(struct vring_chain *chain)
{
	free(chain->segment);
	memset(chain, 0, sizeof(*chain));
}

/* The bytes from `offset` of the segments on: into buf, or, `out`, from there. */
static bool move(const struct vring *ring, const struct vring_segment *segment, uint64_t offset, uint8_t *buf,
		 size_t len, bool out)
{
	for (; len; segment++) {
		size_t part;

		if (offset >= segment->len) {
			offset -= segment->len;
			continue;
		}
		part = segment->len - (size_t)offset;
		part = part < len ? part : len;
		if (out ? !bus_write(ring->bus, segment->addr + offset, buf, part)
			: !bus_read(ring->bus, segment->addr + offset, buf, part))
			return false;
		buf += part;
		len -= part;
		offset = 0;
	}
	return true;
}

bool vring_chain_read(const struct vring *ring, const struct vring_chain *chain, uint64_t offset, void *buf, size_t len)
{
	return move(ring, chain->segment, offset, buf, len, false);
}

bool vring_chain_write(const struct vring *ring, const struct vring_chain *chain, uint64_t offset, const void *buf,
		       size_t len)
{
	return move(ring, chain->segment + chain->readable, offset, (uint8_t *)buf, len, true);
}

/* Latches `broken` without a word, where the machine has spoken already. Returns false. */
static bool broken(struct vring *ring)
{
	ring->broken = true;
	return false;
}

__attribute__((format(printf, 4, 5))) static bool violation(struct vring *ring, enum rule rule, const char *clause,
							    const char *fmt, ...)
{
	char text[200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	bus_blame(ring->bus, rule, clause, "%s", text);
	return broken(ring);
}

static uint64_t avail_idx(const struct vring *ring)
{
	return ring->setup.avail + offsetof(struct virtq_avail, idx);
}

static uint64_t avail_entry(const struct vring *ring, unsigned slot)
{
	return ring->setup.avail + offsetof(struct virtq_avail, ring) + sizeof(le16) * slot;
}

static uint64_t used_event(const struct vring *ring)
{
	return avail_entry(ring, ring->setup.size);
}

static uint64_t used_entry(const struct vring *ring, unsigned slot)
{
	return ring->setup.used + offsetof(struct virtq_used, ring) + sizeof(struct virtq_used_elem) * slot;
}

static uint64_t avail_event(const struct vring *ring)
{
	return used_entry(ring, ring->setup.size);
}

/* Chains that the driver has made available and the device has not fetched. False: broken. */
static bool pending(struct vring *ring, uint16_t *count)
{
	uint16_t idx;

	if (!bus_load16(ring->bus, avail_idx(ring), &idx))
		return broken(ring);
	*count = (uint16_t)(idx - ring->avail_next);
	if (*count > ring->setup.size)
		return violation(ring, RULE_RING_INDEX, "virtio 2.7.6.1",
				 "the available index went from %u to %u, and the queue has "
				 "%u entries",
				 ring->avail_next, idx, ring->setup.size);
	return true;
}

/* The used ring's flags are the driver's to clear before the device owns them. [virtio 2.7.10.1] */
static bool check_used_flags(struct vring *ring)
{
	uint16_t flags;

	if (ring->looked)
		return true;
	if (!bus_load16(ring->bus, ring->setup.used, &flags))
		return broken(ring);
	ring->looked = true;
	if (flags)
		bus_blame(ring->bus, RULE_RING_FLAGS, "virtio 2.7.10.1",
			  "the used ring's flags were 0x%x and not 0 when the queue "
			  "was enabled",
			  flags);
	return true;
}

/* A hint, so that it may fail: the fetch that follows finds the same memory missing. */
static void suppress_doorbells(struct vring *ring)
{
	if (ring->quiet || !ring->setup.suppress)
		return;
	ring->quiet = true;
	if (!ring->setup.event_idx && !bus_store16(ring->bus, ring->setup.used, VIRTQ_USED_F_NO_NOTIFY))
		broken(ring);
}

bool vring_arm(struct vring *ring)
{
	uint16_t count;

	if (!ring->running || ring->broken)
		return false;
	if (ring->setup.event_idx) {
		if (!bus_store16(ring->bus, avail_event(ring), ring->avail_next))
			return broken(ring);
	} else if (ring->quiet && !bus_store16(ring->bus, ring->setup.used, 0)) {
		return broken(ring);
	}
	ring->quiet = false;
	/* Full barrier: the request for a doorbell, above, against the read of the available index, below. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return pending(ring, &count) && count;
}

static bool add_segment(struct vring *ring, struct vring_chain *chain, const struct virtq_desc *desc)
{
	bool writable = desc->flags & VIRTQ_DESC_F_WRITE;
	unsigned count = chain->readable + chain->writable;

	if (desc->len == 0)
		return violation(ring, RULE_RING_BUFFER, "virtio 2.7.5", "a descriptor of chain %u has length 0",
				 chain->head);
	if (desc->addr + desc->len < desc->addr)
		return violation(ring, RULE_RING_BUFFER, "contract 2",
				 "a descriptor of chain %u wraps around the end of memory", chain->head);
	if (!writable && chain->writable)
		return violation(ring, RULE_RING_ORDER, "virtio 2.7.4.2",
				 "chain %u has a readable descriptor after a writable one", chain->head);
	if (chain->readable_bytes + chain->writable_bytes + desc->len > CHAIN_BYTES_MAX)
		return violation(ring, RULE_RING_BUFFER, "virtio 2.7.5.2", "chain %u is longer than 4 GiB in total",
				 chain->head);
	if (!bus_granted(ring->bus, desc->addr, desc->len, writable))
		return broken(ring);
	if (count == chain->capacity) {
		unsigned capacity = count ? 2 * count : 8;
		struct vring_segment *grown = realloc(chain->segment, capacity * sizeof(*grown));

		if (!grown)
			return broken(ring);
		chain->segment = grown;
		chain->capacity = capacity;
	}
	chain->segment[count] = (struct vring_segment){ .addr = desc->addr, .len = desc->len };
	if (writable) {
		chain->writable++;
		chain->writable_bytes += desc->len;
	} else {
		chain->readable++;
		chain->readable_bytes += desc->len;
	}
	return true;
}

/*
 * Follows one indirect table, which is always the end of its chain. depth: descriptors that came before it.
 */
static bool fetch_indirect(struct vring *ring, struct vring_chain *chain, const struct virtq_desc *table,
			   unsigned depth)
{
	unsigned entries = table->len / (unsigned)sizeof(struct virtq_desc);
	unsigned next = 0;

	if (!ring->setup.indirect)
		return violation(ring, RULE_RING_INDIRECT, "virtio 2.7.5.3.1",
				 "chain %u is indirect, which was not negotiated", chain->head);
	if (table->flags & VIRTQ_DESC_F_NEXT)
		return violation(ring, RULE_RING_INDIRECT, "virtio 2.7.5.3.1",
				 "chain %u has NEXT and INDIRECT in one descriptor", chain->head);
	if (entries == 0 || table->len % sizeof(struct virtq_desc))
		return violation(ring, RULE_RING_INDIRECT, "virtio 2.7.5.3",
				 "the indirect table of chain %u is %u bytes long, not a "
				 "multiple of 16",
				 chain->head, table->len);
	if (!bus_granted(ring->bus, table->addr, table->len, false))
		return broken(ring);
	for (unsigned walked = 0;; walked++) {
		struct virtq_desc desc;

		if (walked == entries)
			return violation(ring, RULE_RING_LOOP, "virtio 2.7.5.2", "the indirect table of chain %u loops",
					 chain->head);
		if (depth + walked == ring->setup.chain_max)
			return violation(ring, RULE_RING_LENGTH, "virtio 2.7.5.3.1",
					 "chain %u is longer than the queue size %u", chain->head,
					 ring->setup.chain_max);
		if (!bus_read(ring->bus, table->addr + sizeof(desc) * next, &desc, sizeof(desc)))
			return broken(ring);
		if (desc.flags & VIRTQ_DESC_F_INDIRECT)
			return violation(ring, RULE_RING_INDIRECT, "virtio 2.7.5.3.1",
					 "chain %u has an indirect table inside another", chain->head);
		if (!add_segment(ring, chain, &desc))
			return false;
		if (!(desc.flags & VIRTQ_DESC_F_NEXT))
			return true;
		if (desc.next >= entries)
			return violation(ring, RULE_RING_HEAD, "contract 2",
					 "chain %u links to entry %u of an indirect table of %u", chain->head,
					 desc.next, entries);
		next = desc.next;
	}
}

/* Takes descriptor i for the chain and reads it. */
static bool claim(struct vring *ring, const struct vring_chain *chain, uint16_t i, struct virtq_desc *desc)
{
	if (i >= ring->setup.size)
		return violation(ring, RULE_RING_HEAD, "contract 2", "chain %u names descriptor %u of %u", chain->head,
				 i, ring->setup.size);
	if (ring->owner[i] == chain->head + 1)
		return violation(ring, RULE_RING_LOOP, "virtio 2.7.5.2", "chain %u loops at descriptor %u", chain->head,
				 i);
	if (ring->owner[i])
		return violation(ring, RULE_RING_OWNED, "virtio 2.7.13",
				 "descriptor %u of chain %u still belongs to chain %u, which "
				 "the device has not returned",
				 i, chain->head, ring->owner[i] - 1);
	ring->owner[i] = (uint16_t)(chain->head + 1);
	ring->link[i] = i;
	return bus_read(ring->bus, ring->setup.desc + sizeof(*desc) * i, desc, sizeof(*desc)) || broken(ring);
}

static bool fetch_chain(struct vring *ring, struct vring_chain *chain)
{
	uint16_t i = chain->head;

	/*
	 * The head is named before it is claimed; one in flight is the same violation as a descriptor that
	 * is.
	 */
	if (i < ring->setup.size && ring->owner[i])
		return violation(ring, RULE_RING_OWNED, "virtio 2.7.13",
				 "chain %u was made available again before the device had "
				 "returned it",
				 i);
	for (unsigned depth = 0;; depth++) {
		struct virtq_desc desc;

		if (!claim(ring, chain, i, &desc))
			return false;
		if (desc.flags & VIRTQ_DESC_F_INDIRECT)
			return fetch_indirect(ring, chain, &desc, depth);
		if (!add_segment(ring, chain, &desc))
			return false;
		if (!(desc.flags & VIRTQ_DESC_F_NEXT))
			return true;
		if (desc.next < ring->setup.size)
			ring->link[i] = desc.next;
		i = desc.next;
	}
}

enum vring_result vring_fetch(struct vring *ring, struct vring_chain *chain)
{
	uint16_t count;

	if (!ring->running)
		return VRING_EMPTY;
	if (ring->broken || !check_used_flags(ring) || !pending(ring, &count))
		return VRING_BROKEN;
	if (!count)
		return VRING_EMPTY;
	suppress_doorbells(ring);
	chain->readable = 0;
	chain->writable = 0;
	chain->readable_bytes = 0;
	chain->writable_bytes = 0;
	if (!bus_read(ring->bus, avail_entry(ring, ring->avail_next % ring->setup.size), &chain->head,
		      sizeof(chain->head)))
		broken(ring);
	if (ring->broken || !fetch_chain(ring, chain))
		return VRING_BROKEN;
	ring->avail_next++;
	ring->in_flight++;
	if (ring->setup.event_idx && !ring->quiet && !bus_store16(ring->bus, avail_event(ring), ring->avail_next)) {
		broken(ring);
		return VRING_BROKEN;
	}
	return VRING_FETCHED;
}

void vring_doorbell(struct vring *ring)
{
	uint16_t idx;

	if (ring->broken || !bus_load16(ring->bus, avail_idx(ring), &idx))
		return;
	ring->untold += (uint16_t)(idx - ring->told);
	ring->told = idx;
	if (ring->untold)
		ring->untold--;
	else
		bus_blame(ring->bus, RULE_RING_BARRIER, "virtio 2.7.13.4",
			  "a doorbell rings, and the available index is %u as it was before", idx);
}

static void release(struct vring *ring, uint16_t head)
{
	uint16_t i = head;

	for (;;) {
		uint16_t next = ring->link[i];

		ring->owner[i] = 0;
		if (next == i)
			break;
		i = next;
	}
	ring->in_flight--;
}

void vring_forge(struct vring *ring, uint32_t id, uint32_t len, uint16_t advance)
{
	struct virtq_used_elem elem = { .id = id, .len = len };

	if (!ring->running || ring->broken)
		return;
	if (!bus_write(ring->bus, used_entry(ring, ring->used_next % ring->setup.size), &elem, sizeof(elem))) {
		broken(ring);
		return;
	}
	ring->used_next = (uint16_t)(ring->used_next + advance);
	/*
	 * Release: the entry, and all that the device wrote into the chain, before the index that shows them.
	 */
	if (!bus_store16(ring->bus, ring->setup.used + offsetof(struct virtq_used, idx), ring->used_next))
		broken(ring);
}

void vring_publish(struct vring *ring, uint16_t head, uint32_t len)
{
	if (!ring->running || ring->broken)
		return;
	release(ring, head);
	vring_forge(ring, head, len, 1);
}

/*
 * Whether the used index, going from before to now, passed the entry that the driver waits for. [virtio
 * 2.7.7.2]
 */
static bool passed(uint16_t event, uint16_t before, uint16_t now)
{
	return (uint16_t)(now - event - 1) < (uint16_t)(now - before);
}

bool vring_interrupt_due(struct vring *ring)
{
	uint16_t before = ring->signalled;
	uint16_t flags, event;

	if (!ring->running || ring->broken)
		return false;
	ring->signalled = ring->used_next;
	/* Full barrier: the store of the used index against the reads of what the driver wants to be told. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!bus_load16(ring->bus, ring->setup.avail, &flags))
		return broken(ring);
	if (flags & ~(ring->setup.event_idx ? 0u : (unsigned)VIRTQ_AVAIL_F_NO_INTERRUPT))
		bus_blame(ring->bus, RULE_RING_FLAGS, "virtio 2.7.7.1", "the available ring's flags are 0x%x", flags);
	if (ring->setup.always_signal)
		return true;
	if (!ring->setup.event_idx)
		return !(flags & VIRTQ_AVAIL_F_NO_INTERRUPT);
	if (!bus_load16(ring->bus, used_event(ring), &event))
		return broken(ring);
	return passed(event, before, ring->used_next);
}
