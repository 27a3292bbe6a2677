/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The virtio block device: the disk file, its configuration structure, and requests from fetch to completion.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#ifndef _FILE_OFFSET_BITS
#define _FILE_OFFSET_BITS 64
#endif
#include "device/virtio_blk.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/inject.h"
#include "device/bus.h"
#include "device/write_cache.h"
#include "virtio_blk_spec.h"
#include "virtio_spec.h"

#define SECTOR VIRTIO_BLK_SECTOR_SIZE
#define QUEUE 0u
/* Bytes moved between the medium and the guest at a time. */
#define CHUNK (256u * 1024)
#define BAD_STATUS 0x55
#define GROWTH (1u << 20) /* bytes */
#define DELAY_STEPS 1000u

enum request_state {
	REQUEST_FREE,
	REQUEST_FETCHED, /* waits to be performed */
	REQUEST_RUNNING, /* a thread performs it, without the lock */
	REQUEST_DONE,    /* waits to be returned */
};

struct request {
	enum request_state state;
	uint64_t order; /* of the fetch */
	struct vring_chain chain;
	uint32_t type;
	uint64_t sector;
	uint64_t bytes; /* of data */
	uint8_t status;
	uint32_t delay; /* steps before it is returned */
	bool delayed;   /* it was struck by that: no other fault */
};

struct virtio_blk {
	struct device dev;
	struct device_stats stats;
	struct virtio_blk_options options;
	struct virtio_pci vp;
	int fd;
	bool is_file;
	pthread_mutex_t lock;    /* everything below, vp and stats */
	pthread_cond_t changed;  /* running or frozen changed */
	uint64_t capacity;       /* sectors */
	uint64_t capacity_shown; /* largest since the last reset: what a driver can have read */
	bool writeback;
	bool id_failed;   /* a GET_ID has */
	uint32_t id_wait; /* steps left of a GET_ID */
	bool kicked;      /* the ring may have chains that were not fetched */
	bool stalled;
	bool paused;               /* FAULT_PAUSE has struck, and lasts */
	bool wronged;              /* since the last reset, in a way that can lose a request */
	struct write_cache *cache; /* NULL: power can be lost without a loss */
	uint64_t chance;           /* of the last step */
	bool frozen;               /* no request may begin to run */
	bool powerless;            /* nothing may reach the guest any more */
	unsigned running;
	unsigned unsignalled;     /* requests returned since the last interrupt */
	uint64_t fetched;         /* counts requests, for their order */
	uint64_t returned;        /* counts requests, for the fault */
	struct request request[]; /* options.outstanding elements */
};

static struct virtio_blk *of(struct device *dev)
{
	return (struct virtio_blk *)(void *)((char *)dev - offsetof(struct virtio_blk, dev));
}

static bool offers(const struct virtio_blk *blk, unsigned feature)
{
	return blk->options.pci.features & VIRTIO_FEATURE(feature);
}

/* Locks: held. The ring, as long as requests may be served. */
static struct vring *live(struct virtio_blk *blk)
{
	return blk->powerless || blk->stalled || blk->paused ? NULL : virtio_pci_queue(&blk->vp, QUEUE);
}

/* Device configuration */

unsigned virtio_blk_config_field(unsigned offset)
{
	static const uint8_t width[sizeof(struct virtio_blk_config)] = {
		[offsetof(struct virtio_blk_config, capacity)] = 4,
		[offsetof(struct virtio_blk_config, capacity) + 4] = 4,
		[offsetof(struct virtio_blk_config, size_max)] = 4,
		[offsetof(struct virtio_blk_config, seg_max)] = 4,
		[offsetof(struct virtio_blk_config, geometry.cylinders)] = 2,
		[offsetof(struct virtio_blk_config, geometry.heads)] = 1,
		[offsetof(struct virtio_blk_config, geometry.sectors)] = 1,
		[offsetof(struct virtio_blk_config, blk_size)] = 4,
		[offsetof(struct virtio_blk_config, topology.physical_block_exp)] = 1,
		[offsetof(struct virtio_blk_config, topology.alignment_offset)] = 1,
		[offsetof(struct virtio_blk_config, topology.min_io_size)] = 2,
		[offsetof(struct virtio_blk_config, topology.opt_io_size)] = 4,
		[offsetof(struct virtio_blk_config, writeback)] = 1,
		[offsetof(struct virtio_blk_config, unused0)] = 1,
		[offsetof(struct virtio_blk_config, num_queues)] = 2,
		[offsetof(struct virtio_blk_config, max_discard_sectors)] = 4,
		[offsetof(struct virtio_blk_config, max_discard_seg)] = 4,
		[offsetof(struct virtio_blk_config, discard_sector_alignment)] = 4,
		[offsetof(struct virtio_blk_config, max_write_zeroes_sectors)] = 4,
		[offsetof(struct virtio_blk_config, max_write_zeroes_seg)] = 4,
		[offsetof(struct virtio_blk_config, write_zeroes_may_unmap)] = 1,
		[offsetof(struct virtio_blk_config, unused1)] = 1,
		[offsetof(struct virtio_blk_config, unused1) + 1] = 1,
		[offsetof(struct virtio_blk_config, unused1) + 2] = 1,
		[offsetof(struct virtio_blk_config, max_secure_erase_sectors)] = 4,
		[offsetof(struct virtio_blk_config, max_secure_erase_seg)] = 4,
		[offsetof(struct virtio_blk_config, secure_erase_sector_alignment)] = 4,
	};

	return offset < sizeof(width) ? width[offset] : 0;
}

/* [virtio 5.2.4] */
bool virtio_blk_config_wide(unsigned offset)
{
	return offset < offsetof(struct virtio_blk_config, size_max);
}

static uint8_t blk_config_read(void *opaque, unsigned offset)
{
	const struct virtio_blk *blk = opaque;
	struct virtio_blk_config config = { .capacity = blk->capacity };
	const struct virtio_blk_options *o = &blk->options;

	if (offers(blk, VIRTIO_BLK_F_SEG_MAX))
		config.seg_max = o->seg_max;
	if (offers(blk, VIRTIO_BLK_F_BLK_SIZE))
		config.blk_size = o->blk_size;
	if (offers(blk, VIRTIO_BLK_F_SIZE_MAX))
		config.size_max = o->size_max;
	if (offers(blk, VIRTIO_BLK_F_TOPOLOGY)) {
		config.topology.physical_block_exp = o->physical_exp;
		config.topology.alignment_offset = o->alignment;
		config.topology.min_io_size = o->min_io;
		config.topology.opt_io_size = o->opt_io;
	}
	if (offers(blk, VIRTIO_BLK_F_DISCARD)) {
		config.max_discard_sectors = o->discard_sectors;
		config.max_discard_seg = o->discard_seg;
		config.discard_sector_alignment = o->discard_alignment;
	}
	if (offers(blk, VIRTIO_BLK_F_WRITE_ZEROES)) {
		config.max_write_zeroes_sectors = o->zeroes_sectors;
		config.max_write_zeroes_seg = o->zeroes_seg;
		config.write_zeroes_may_unmap = o->zeroes_may_unmap;
	}
	if (offers(blk, VIRTIO_BLK_F_CONFIG_WCE))
		config.writeback = blk->writeback;
	if (offers(blk, VIRTIO_BLK_F_MQ))
		config.num_queues = (le16)blk->options.pci.num_queues;
	return ((const uint8_t *)&config)[offset];
}

static bool blk_config_write(void *opaque, unsigned offset, unsigned width, uint32_t value)
{
	struct virtio_blk *blk = opaque;

	if (offset != offsetof(struct virtio_blk_config, writeback) || width != 1 ||
	    !virtio_pci_negotiated(&blk->vp, VIRTIO_BLK_F_CONFIG_WCE))
		return false;
	if (!blk->options.cache_stuck)
		blk->writeback = value & 1;
	return true;
}

/* [virtio 5.2.5.2] */
static void blk_negotiated(void *opaque)
{
	struct virtio_blk *blk = opaque;

	blk->wronged = false;
	if (virtio_pci_negotiated(&blk->vp, VIRTIO_BLK_F_CONFIG_WCE) &&
	    !virtio_pci_negotiated(&blk->vp, VIRTIO_BLK_F_FLUSH))
		blk->writeback = false;
}

/* Whether a write must be durable before it completes. [virtio 5.2.6.2] */
static bool write_through(struct virtio_blk *blk)
{
	if (virtio_pci_negotiated(&blk->vp, VIRTIO_BLK_F_CONFIG_WCE))
		return !blk->writeback;
	return offers(blk, VIRTIO_BLK_F_FLUSH) && !virtio_pci_negotiated(&blk->vp, VIRTIO_BLK_F_FLUSH);
}

/* Whether what is written may be lost with power: the driver can flush, and need not have it durable at once. */
static bool may_lose(struct virtio_blk *blk)
{
	return blk->cache && virtio_pci_negotiated(&blk->vp, VIRTIO_BLK_F_FLUSH) && !write_through(blk);
}

/* Doorbell and reset */

static void blk_notified(void *opaque, unsigned queue)
{
	struct virtio_blk *blk = opaque;

	(void)queue;
	blk->kicked = true;
	if (live(blk))
		blk->dev.bus.wake(blk->dev.bus.opaque);
}

/* Forgets every request but those that run, which end as free ones. */
static bool blk_stop(void *opaque)
{
	struct virtio_blk *blk = opaque;

	for (unsigned i = 0; i < blk->options.outstanding; i++)
		if (blk->request[i].state != REQUEST_RUNNING)
			blk->request[i].state = REQUEST_FREE;
	blk->kicked = false;
	blk->stalled = false;
	blk->unsignalled = 0;
	if (blk->cache)
		write_cache_return_all(blk->cache);
	blk->writeback = !blk->options.writethrough;
	blk->capacity_shown = blk->capacity;
	return blk->running == 0;
}

static const struct virtio_pci_type blk_type = {
	.config_length = sizeof(struct virtio_blk_config),
	.config_field = virtio_blk_config_field,
	.config_wide = virtio_blk_config_wide,
	.config_read = blk_config_read,
	.config_write = blk_config_write,
	.negotiated = blk_negotiated,
	.notified = blk_notified,
	.stop = blk_stop,
};

/* Fetching */

static bool is_block_size(uint32_t bytes)
{
	return bytes >= SECTOR && bytes <= 4096 && (bytes & (bytes - 1)) == 0;
}

/* A driver may drive a block size that is none in sectors. */
static uint32_t block_bytes(const struct virtio_blk *blk)
{
	return offers(blk, VIRTIO_BLK_F_BLK_SIZE) && is_block_size(blk->options.blk_size) ? blk->options.blk_size
											  : SECTOR;
}

/* Data segments: those with a byte of the stream before its status, or behind its header. */
static unsigned data_segments(const struct request *r, bool write)
{
	const struct vring_segment *segment = r->chain.segment;
	uint64_t end = 0;
	unsigned count = 0;

	if (!write) {
		count = r->chain.writable;
		return segment[r->chain.readable + count - 1].len == 1 ? count - 1 : count;
	}
	for (unsigned i = 0; i < r->chain.readable; i++) {
		end += segment[i].len;
		count += end > sizeof(struct virtio_blk_req);
	}
	return count;
}

static bool past(const struct request *r, uint64_t capacity)
{
	uint64_t sectors = r->bytes / SECTOR;

	return r->sector > capacity || sectors > capacity - r->sector;
}

/* Whether no data segment is longer than size_max, and the whole is blocks. */
static bool segments_fit(struct virtio_blk *blk, const struct request *r, bool write)
{
	const struct vring_segment *segment = r->chain.segment + (write ? 0 : r->chain.readable);
	unsigned count = write ? r->chain.readable : r->chain.writable;
	uint32_t block = block_bytes(blk);

	for (unsigned i = 0; virtio_pci_negotiated(&blk->vp, VIRTIO_BLK_F_SIZE_MAX) && i < count; i++) {
		/* The header and the status byte may share a segment with data. */
		uint32_t besides = write && i == 0 ? sizeof(struct virtio_blk_req) : !write && i == count - 1;

		if (segment[i].len <= (uint64_t)blk->options.size_max + besides)
			continue;
		bus_blame(&blk->dev.bus, RULE_BLOCK_DATA, "virtio 5.2.6.1",
			  "a data segment has %u bytes, size_max is %u", segment[i].len, blk->options.size_max);
		return false;
	}
	if (r->sector * SECTOR % block == 0 && r->bytes % block == 0)
		return true;
	bus_blame(&blk->dev.bus, RULE_BLOCK_DATA, "virtio 5.2.5",
		  "a request of %llu bytes at sector %llu is not whole blocks of %u", (unsigned long long)r->bytes,
		  (unsigned long long)r->sector, block);
	return false;
}

/* Status of a read or write before it is performed, which looks at the capacity again. [contract 3.1] */
static uint8_t judge_transfer(struct virtio_blk *blk, const struct request *r)
{
	const struct device_bus *bus = &blk->dev.bus;
	bool write = r->type == VIRTIO_BLK_T_OUT;
	unsigned segments = data_segments(r, write);
	/* The least that moves data: a device that says 0 has said nothing. */
	uint32_t seg_max = blk->options.seg_max ? blk->options.seg_max : 1;

	if (write ? r->chain.writable_bytes != 1 : r->chain.readable_bytes != sizeof(struct virtio_blk_req)) {
		bus_blame(bus, RULE_BLOCK_REQUEST, "virtio 5.2.6", "request type %u has data of the other direction",
			  r->type);
		return VIRTIO_BLK_S_IOERR;
	}
	if (segments == 0 || (offers(blk, VIRTIO_BLK_F_SEG_MAX) && segments > seg_max)) {
		bus_blame(bus, RULE_BLOCK_DATA, "contract 3.1", "a request has %u data segments, seg_max is %u",
			  segments, blk->options.seg_max);
		return VIRTIO_BLK_S_IOERR;
	}
	if (r->bytes % SECTOR) {
		bus_blame(bus, RULE_BLOCK_DATA, "contract 3.1",
			  "a request has %llu bytes of data, not a multiple of 512", (unsigned long long)r->bytes);
		return VIRTIO_BLK_S_IOERR;
	}
	if (!segments_fit(blk, r, write))
		return VIRTIO_BLK_S_IOERR;
	if (past(r, blk->capacity_shown))
		bus_blame(bus, RULE_BLOCK_CAPACITY, "virtio 5.2.6.1",
			  "a request goes past the capacity: sector %llu, %llu bytes", (unsigned long long)r->sector,
			  (unsigned long long)r->bytes);
	if (write && offers(blk, VIRTIO_BLK_F_RO))
		return VIRTIO_BLK_S_IOERR;
	return VIRTIO_BLK_S_OK;
}

/* [virtio 5.2.6.1, 5.2.6.2] */
static uint8_t judge_ranges(struct virtio_blk *blk, const struct request *r, uint64_t bytes)
{
	const struct device_bus *bus = &blk->dev.bus;
	bool discard = r->type == VIRTIO_BLK_T_DISCARD;
	uint32_t limit = discard ? blk->options.discard_seg : blk->options.zeroes_seg;

	if (!offers(blk, discard ? VIRTIO_BLK_F_DISCARD : VIRTIO_BLK_F_WRITE_ZEROES))
		return VIRTIO_BLK_S_UNSUPP;
	if (!virtio_pci_negotiated(&blk->vp, discard ? VIRTIO_BLK_F_DISCARD : VIRTIO_BLK_F_WRITE_ZEROES)) {
		bus_blame(bus, RULE_BLOCK_FEATURE, "virtio 5.2.6.1", "request type %u was not negotiated", r->type);
		return VIRTIO_BLK_S_UNSUPP;
	}
	if (r->sector || r->chain.writable_bytes != 1 || !bytes ||
	    bytes % sizeof(struct virtio_blk_discard_write_zeroes) ||
	    bytes / sizeof(struct virtio_blk_discard_write_zeroes) > limit) {
		bus_blame(bus, RULE_BLOCK_FIELDS, "virtio 5.2.6.1",
			  "request type %u has sector %llu and %llu bytes of ranges, of which %u go", r->type,
			  (unsigned long long)r->sector, (unsigned long long)bytes, limit);
		return VIRTIO_BLK_S_IOERR;
	}
	return offers(blk, VIRTIO_BLK_F_RO) ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK;
}

static uint8_t judge_id(struct virtio_blk *blk, uint64_t writable)
{
	if (blk->options.id == ID_FAILS || (blk->options.id == ID_FAILS_ONCE && !blk->id_failed)) {
		blk->id_failed = true;
		return VIRTIO_BLK_S_IOERR;
	}
	if (!blk->options.serial[0])
		return VIRTIO_BLK_S_UNSUPP;
	if (writable == VIRTIO_BLK_ID_BYTES)
		return VIRTIO_BLK_S_OK;
	bus_blame(&blk->dev.bus, RULE_BLOCK_DATA, "virtio 5.2.6.1", "GET_ID has %llu bytes of data and not 20",
		  (unsigned long long)writable);
	return VIRTIO_BLK_S_IOERR;
}

static uint8_t judge(struct virtio_blk *blk, struct request *r)
{
	const struct device_bus *bus = &blk->dev.bus;
	uint64_t readable = r->chain.readable_bytes - sizeof(struct virtio_blk_req);
	uint64_t writable = r->chain.writable_bytes - 1;

	switch (r->type) {
	case VIRTIO_BLK_T_IN:
		r->bytes = writable;
		return judge_transfer(blk, r);
	case VIRTIO_BLK_T_OUT:
		r->bytes = readable;
		return judge_transfer(blk, r);
	case VIRTIO_BLK_T_FLUSH:
		if (!offers(blk, VIRTIO_BLK_F_FLUSH))
			return VIRTIO_BLK_S_UNSUPP;
		if (r->sector)
			bus_blame(bus, RULE_BLOCK_FIELDS, "virtio 5.2.6.1", "a FLUSH has sector %llu and not 0",
				  (unsigned long long)r->sector);
		if (readable || writable)
			bus_blame(bus, RULE_BLOCK_FIELDS, "virtio 5.2.6.1", "a FLUSH has data");
		return VIRTIO_BLK_S_OK;
	case VIRTIO_BLK_T_GET_ID:
		return judge_id(blk, writable);
	case VIRTIO_BLK_T_DISCARD:
	case VIRTIO_BLK_T_WRITE_ZEROES:
		r->bytes = readable;
		return judge_ranges(blk, r, readable);
	default:
		return VIRTIO_BLK_S_UNSUPP;
	}
}

/* Breaks the ring: the chain is not a request, and there is no status byte to say so. */
static void refuse_chain(struct virtio_blk *blk, struct vring *ring, const struct vring_chain *chain)
{
	bus_blame(&blk->dev.bus, RULE_BLOCK_REQUEST, "virtio 5.2.6",
		  "chain %u has %llu bytes to read and %llu to write: not a request", chain->head,
		  (unsigned long long)chain->readable_bytes, (unsigned long long)chain->writable_bytes);
	ring->broken = true;
}

/* Locks: held. */
static void fetch(struct virtio_blk *blk, struct vring *ring, struct request *r)
{
	struct virtio_blk_req header;

	switch (vring_fetch(ring, &r->chain)) {
	case VRING_BROKEN:
		return;
	case VRING_EMPTY:
		blk->kicked = vring_arm(ring);
		return;
	case VRING_FETCHED:
		break;
	}
	if (r->chain.readable_bytes < sizeof(header) || r->chain.writable_bytes < 1) {
		refuse_chain(blk, ring, &r->chain);
		return;
	}
	if (!vring_chain_read(ring, &r->chain, 0, &header, sizeof(header))) {
		ring->broken = true;
		return;
	}
	if (header.reserved)
		bus_blame(&blk->dev.bus, RULE_BLOCK_FIELDS, "contract 3.1", "a request has ioprio 0x%x and not 0",
			  header.reserved);
	r->type = header.type;
	r->sector = header.sector;
	r->bytes = 0;
	r->delay = 0;
	r->delayed = false;
	r->order = blk->fetched++;
	r->status = judge(blk, r);
	if (r->type == VIRTIO_BLK_T_GET_ID)
		blk->id_wait = blk->options.id_delay;
	/* A GET_ID that never returns stays in the ring's hands and nowhere else. */
	if (r->type != VIRTIO_BLK_T_GET_ID || blk->options.id != ID_NEVER)
		r->state = REQUEST_FETCHED;
}

/* Performing */

/* The whole of buf; false: an error, or the end of the medium. */
static bool medium_io(const struct virtio_blk *blk, bool write, uint8_t *buf, size_t len, uint64_t offset)
{
	while (len) {
		ssize_t n = write ? pwrite(blk->fd, buf, len, (off_t)offset) : pread(blk->fd, buf, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		buf += n;
		len -= (size_t)n;
		offset += (uint64_t)n;
	}
	return true;
}

/*
 * Locks: held, dropped around the medium. Moves one chunk; false: the guest's memory is out of reach (the
 * ring broke, the queue is not live any more), and the request has no outcome.
 */
static bool transfer_chunk(struct virtio_blk *blk, struct request *r, uint64_t done, uint8_t *buf, size_t len)
{
	bool write = r->type == VIRTIO_BLK_T_OUT;
	struct vring *ring = live(blk);
	bool ok;

	if (!ring)
		return false;
	if (write && !vring_chain_read(ring, &r->chain, sizeof(struct virtio_blk_req) + done, buf, len)) {
		ring->broken = true;
		return false;
	}
	if (write && may_lose(blk) && !write_cache_keep(blk->cache, r->sector * SECTOR + done, len)) {
		r->status = VIRTIO_BLK_S_IOERR;
		return true;
	}
	pthread_mutex_unlock(&blk->lock);
	ok = medium_io(blk, write, buf, len, r->sector * SECTOR + done);
	pthread_mutex_lock(&blk->lock);
	ring = live(blk);
	if (!ring)
		return false;
	if (!ok) {
		r->status = VIRTIO_BLK_S_IOERR;
		return true;
	}
	if (!write && !vring_chain_write(ring, &r->chain, done, buf, len)) {
		ring->broken = true;
		return false;
	}
	if (write)
		blk->stats.bytes_written += len;
	else
		blk->stats.bytes_read += len;
	return true;
}

/* Locks: held, dropped around the medium. */
static bool transfer(struct virtio_blk *blk, struct request *r)
{
	size_t room = r->bytes < CHUNK ? (size_t)r->bytes : CHUNK;
	uint8_t *buf = malloc(room);
	bool alive = true;

	if (!buf)
		r->status = VIRTIO_BLK_S_IOERR;
	for (uint64_t done = 0; alive && r->status == VIRTIO_BLK_S_OK && done < r->bytes; done += room) {
		size_t len = r->bytes - done < room ? (size_t)(r->bytes - done) : room;

		alive = transfer_chunk(blk, r, done, buf, len);
	}
	free(buf);
	return alive;
}

/* Locks: held, dropped around the medium. */
static void sync_medium(struct virtio_blk *blk, struct request *r)
{
	int rc;

	pthread_mutex_unlock(&blk->lock);
	rc = fdatasync(blk->fd);
	pthread_mutex_lock(&blk->lock);
	if (rc)
		r->status = VIRTIO_BLK_S_IOERR;
}

/* Locks: held, dropped around the medium. What may not be lost is durable before it is told. */
static void end_write(struct virtio_blk *blk, struct request *r)
{
	if (write_through(blk))
		sync_medium(blk, r);
	if (blk->cache && !may_lose(blk))
		write_cache_settle(blk->cache, r->sector * SECTOR, r->bytes);
}

/* Locks: none. Zeroes that range: a driver that names the wrong one destroys data. False: an error. */
static bool clear_range(const struct virtio_blk *blk, uint64_t offset, uint64_t left)
{
	static uint8_t zeroes[CHUNK];

	if (!fallocate(blk->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)left))
		return true;
	while (left) {
		size_t len = left < CHUNK ? (size_t)left : CHUNK;

		if (!medium_io(blk, true, zeroes, len, offset))
			return false;
		offset += len;
		left -= len;
	}
	return true;
}

/* Locks: held, dropped around the medium. */
static bool clear_sectors(struct virtio_blk *blk, uint64_t sector, uint32_t count)
{
	uint64_t offset = sector * SECTOR, length = (uint64_t)count * SECTOR;
	bool ok;

	if (may_lose(blk) && !write_cache_keep(blk->cache, offset, length))
		return false;
	pthread_mutex_unlock(&blk->lock);
	ok = clear_range(blk, offset, length);
	pthread_mutex_lock(&blk->lock);
	if (ok && blk->cache && may_lose(blk))
		write_cache_return(blk->cache, offset, length);
	else if (ok && blk->cache)
		write_cache_settle(blk->cache, offset, length);
	return ok;
}

static bool range_past(const struct virtio_blk_discard_write_zeroes *range, uint64_t capacity)
{
	return range->sector > capacity || range->num_sectors > capacity - range->sector;
}

/* Locks: held, dropped around the medium. False: the guest's memory is out of reach. */
static bool serve_ranges(struct virtio_blk *blk, struct request *r)
{
	bool discard = r->type == VIRTIO_BLK_T_DISCARD;
	uint32_t most = discard ? blk->options.discard_sectors : blk->options.zeroes_sectors;
	struct virtio_blk_discard_write_zeroes range;

	for (uint64_t at = 0; at < r->bytes && r->status == VIRTIO_BLK_S_OK; at += sizeof(range)) {
		struct vring *ring = live(blk);

		if (!ring)
			return false;
		if (!vring_chain_read(ring, &r->chain, sizeof(struct virtio_blk_req) + at, &range, sizeof(range))) {
			ring->broken = true;
			return false;
		}
		if (!range.num_sectors || range.num_sectors > most || (range.flags & (discard ? ~0u : ~1u)) ||
		    range_past(&range, blk->capacity_shown)) {
			bus_blame(&blk->dev.bus, RULE_BLOCK_DATA, "virtio 5.2.6.1",
				  "request type %u has a range of %u sectors at %llu with flags 0x%x", r->type,
				  range.num_sectors, (unsigned long long)range.sector, range.flags);
			r->status = VIRTIO_BLK_S_IOERR;
			return true;
		}
		if (range_past(&range, blk->capacity) || !clear_sectors(blk, range.sector, range.num_sectors))
			r->status = VIRTIO_BLK_S_IOERR;
		blk->stats.discards += discard;
		blk->stats.zeroes += !discard;
	}
	return true;
}

/* Locks: held, dropped around the medium. False: no outcome. */
static bool serve(struct virtio_blk *blk, struct request *r)
{
	char serial[VIRTIO_BLK_ID_BYTES];

	switch (r->type) {
	case VIRTIO_BLK_T_IN:
	case VIRTIO_BLK_T_OUT:
		if (past(r, blk->capacity)) {
			r->status = VIRTIO_BLK_S_IOERR;
			return true;
		}
		if (!transfer(blk, r))
			return false;
		if (r->type == VIRTIO_BLK_T_OUT && r->status == VIRTIO_BLK_S_OK)
			end_write(blk, r);
		break;
	case VIRTIO_BLK_T_FLUSH:
		blk->stats.flushes++;
		sync_medium(blk, r);
		if (blk->cache)
			write_cache_flush(blk->cache);
		break;
	case VIRTIO_BLK_T_DISCARD:
	case VIRTIO_BLK_T_WRITE_ZEROES:
		if (!serve_ranges(blk, r))
			return false;
		break;
	default:
		memcpy(serial, blk->options.serial, sizeof(serial));
		if (!vring_chain_write(&blk->vp.queue[QUEUE].ring, &r->chain, 0, serial, sizeof(serial))) {
			blk->vp.queue[QUEUE].ring.broken = true;
			return false;
		}
		break;
	}
	return live(blk) != NULL;
}

/* What a request is called where a fault strikes it. */
static const char *request_name(const struct request *r)
{
	switch (r->type) {
	case VIRTIO_BLK_T_IN:
		return "a read";
	case VIRTIO_BLK_T_OUT:
		return "a write";
	case VIRTIO_BLK_T_FLUSH:
		return "a flush";
	case VIRTIO_BLK_T_GET_ID:
		return "a GET_ID";
	case VIRTIO_BLK_T_DISCARD:
		return "a discard";
	case VIRTIO_BLK_T_WRITE_ZEROES:
		return "a write of zeroes";
	default:
		return "a request of unknown type";
	}
}

/* An injected fault may end the request before it is carried out. */
static void refuse(struct request *r)
{
	static const struct {
		enum inject_kind kind;
		uint8_t status;
	} refusals[] = {
		{ INJECT_REQUEST_REFUSED, VIRTIO_BLK_S_IOERR },
		{ INJECT_REQUEST_UNSUPPORTED, VIRTIO_BLK_S_UNSUPP },
		{ INJECT_REQUEST_UNDEFINED, BAD_STATUS },
	};

	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		if (inject(refusals[i].kind, request_name(r)))
			r->status = refusals[i].status;
	}
}

/* Locks: held, dropped around the medium. */
static void perform(struct virtio_blk *blk, struct request *r)
{
	bool outcome;

	if (inject_active)
		refuse(r);
	r->state = REQUEST_RUNNING;
	blk->running++;
	outcome = r->status != VIRTIO_BLK_S_OK || serve(blk, r);
	blk->running--;
	if (blk->vp.stopping || blk->powerless)
		r->state = REQUEST_FREE;
	else
		r->state = outcome ? REQUEST_DONE : REQUEST_FETCHED;
	if (blk->running == 0) {
		if (r->state == REQUEST_FREE && blk->cache)
			write_cache_return_all(blk->cache);
		if (blk->vp.stopping)
			virtio_pci_stopped(&blk->vp);
		pthread_cond_broadcast(&blk->changed);
	}
}

/* Returning */

static void signal_returned(struct virtio_blk *blk, struct vring *ring)
{
	if (!blk->unsignalled)
		return;
	blk->unsignalled = 0;
	if (vring_interrupt_due(ring))
		virtio_pci_queue_interrupt(&blk->vp, QUEUE);
}

static bool loses_requests(enum virtio_blk_fault fault)
{
	switch (fault) {
	case FAULT_NONE:
	case FAULT_IO_ERROR:
	case FAULT_BAD_STATUS:
	case FAULT_SPURIOUS_INTERRUPT:
	case FAULT_CONFIG_INTERRUPT:
	case FAULT_PAUSE:
		return false;
	default:
		return true;
	}
}

static enum virtio_blk_fault injected(const struct request *r)
{
	static const struct {
		enum inject_kind kind;
		enum virtio_blk_fault fault;
	} faults[] = {
		{ INJECT_COMPLETION_DROP, FAULT_DROP },        { INJECT_COMPLETION_DELAY, FAULT_DELAY },
		{ INJECT_COMPLETION_TWICE, FAULT_USED_TWICE }, { INJECT_REQUEST_ERROR, FAULT_IO_ERROR },
		{ INJECT_REQUEST_SILENT, FAULT_NO_STATUS },    { INJECT_USED_BAD_ID, FAULT_USED_BAD_ID },
		{ INJECT_USED_FREE_ID, FAULT_USED_FREE_ID },   { INJECT_USED_JUMP, FAULT_USED_JUMP },
		{ INJECT_USED_LENGTH, FAULT_USED_LENGTH },     { INJECT_NEEDS_RESET, FAULT_NEEDS_RESET },
	};
	enum virtio_blk_fault fault = FAULT_NONE;

	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		if (inject(faults[i].kind, request_name(r)))
			fault = faults[i].fault;
	}
	return fault;
}

/* Counts a request that is about to be returned. The fault that strikes it, if any. */
static enum virtio_blk_fault strike(struct virtio_blk *blk, const struct request *r)
{
	uint64_t n = blk->returned++;
	uint32_t after = blk->options.fault_after, every = blk->options.fault_every;
	enum virtio_blk_fault fault = inject_active ? injected(r) : FAULT_NONE;

	if (fault != FAULT_NONE)
		return fault;
	if (n < after || (every ? (n - after) % every != 0 : n != after))
		return FAULT_NONE;
	blk->stats.faults += blk->options.fault != FAULT_NONE;
	blk->wronged |= loses_requests(blk->options.fault);
	return blk->options.fault;
}

/* A descriptor that belongs to no chain in flight; where there is none, one that there is not. */
static uint16_t free_descriptor(const struct vring *ring)
{
	for (uint16_t i = 0; i < ring->setup.size; i++)
		if (!ring->owner[i])
			return i;
	return ring->setup.size;
}

static void publish(struct virtio_blk *blk, struct vring *ring, const struct request *r, enum virtio_blk_fault fault)
{
	uint32_t len = blk->options.used_len ? (uint32_t)r->chain.writable_bytes : 0;

	switch (fault) {
	case FAULT_USED_BAD_ID:
		vring_forge(ring, ring->setup.size, len, 1);
		break;
	case FAULT_USED_FREE_ID:
		vring_forge(ring, free_descriptor(ring), len, 1);
		break;
	case FAULT_USED_TWICE:
		vring_publish(ring, r->chain.head, len);
		vring_forge(ring, r->chain.head, len, 1);
		break;
	case FAULT_USED_JUMP:
		vring_forge(ring, r->chain.head, len, (uint16_t)(ring->setup.size + 1));
		break;
	case FAULT_USED_LENGTH:
		vring_publish(ring, r->chain.head, UINT32_MAX);
		break;
	default:
		vring_publish(ring, r->chain.head, len);
		break;
	}
}

/* The part of a fault that comes after its request was returned. */
static void aftermath(struct virtio_blk *blk, enum virtio_blk_fault fault)
{
	switch (fault) {
	case FAULT_LOST_INTERRUPT:
		blk->unsignalled = 0;
		break;
	case FAULT_CONFIG_INTERRUPT:
		virtio_pci_config_interrupt(&blk->vp);
		break;
	case FAULT_NEEDS_RESET:
		virtio_pci_needs_reset(&blk->vp);
		break;
	case FAULT_GONE:
		blk_stop(blk);
		virtio_pci_pull_out(&blk->vp);
		break;
	default:
		break;
	}
}

/* Locks: held. The status byte, the used entry, the interrupt, in this order. [contract 3.1] */
static void give_back(struct virtio_blk *blk, struct vring *ring, struct request *r)
{
	enum virtio_blk_fault fault = r->delayed ? FAULT_NONE : strike(blk, r);
	uint8_t status = r->status;

	if (fault == FAULT_DELAY) {
		r->delay = DELAY_STEPS;
		r->delayed = true;
		return;
	}
	if (fault == FAULT_DROP) {
		r->state = REQUEST_FREE; /* and is left in the ring's hands */
		return;
	}

	if (fault == FAULT_STALL || fault == FAULT_PAUSE) {
		signal_returned(blk, ring);
		blk->stalled = fault == FAULT_STALL;
		blk->paused = fault == FAULT_PAUSE;
		return;
	}
	if (fault == FAULT_IO_ERROR)
		status = VIRTIO_BLK_S_IOERR;
	if (fault == FAULT_BAD_STATUS)
		status = BAD_STATUS;
	if (fault == FAULT_SPURIOUS_INTERRUPT)
		virtio_pci_queue_interrupt(&blk->vp, QUEUE);
	if (fault != FAULT_NO_STATUS &&
	    !vring_chain_write(ring, &r->chain, r->chain.writable_bytes - 1, &status, sizeof(status))) {
		ring->broken = true;
		return;
	}
	publish(blk, ring, r, fault);
	r->state = REQUEST_FREE;
	if (blk->cache && r->type == VIRTIO_BLK_T_OUT)
		write_cache_return(blk->cache, r->sector * SECTOR, r->bytes);
	blk->stats.requests++;
	blk->unsignalled++;
	aftermath(blk, fault);
	if (blk->unsignalled >= blk->options.batch)
		signal_returned(blk, ring);
}

/* One unit of work */

static struct request *free_request(struct virtio_blk *blk)
{
	for (unsigned i = 0; i < blk->options.outstanding; i++)
		if (blk->request[i].state == REQUEST_FREE)
			return &blk->request[i];
	return NULL;
}

/* The request to advance when they finish in the order of their fetch, or NULL. */
static struct request *next_in_order(struct virtio_blk *blk)
{
	struct request *oldest = NULL, *waiting = NULL;

	for (unsigned i = 0; i < blk->options.outstanding; i++) {
		struct request *r = &blk->request[i];

		if (r->state == REQUEST_FREE)
			continue;
		if (!oldest || r->order < oldest->order)
			oldest = r;
		if (r->state == REQUEST_FETCHED && (!waiting || r->order < waiting->order))
			waiting = r;
	}
	return oldest && oldest->state == REQUEST_DONE ? oldest : waiting;
}

static bool is_ready(const struct request *r)
{
	return r->state == REQUEST_FETCHED || r->state == REQUEST_DONE;
}

/* The nth of the requests that can be advanced. */
static struct request *nth_ready(struct virtio_blk *blk, uint64_t n)
{
	struct request *r = blk->request;

	while (!is_ready(r) || n--)
		r++;
	return r;
}

static unsigned count_ready(const struct virtio_blk *blk)
{
	unsigned count = 0;

	for (unsigned i = 0; i < blk->options.outstanding; i++)
		count += is_ready(&blk->request[i]);
	return count;
}

/* Locks: held, dropped around the medium. False: there is nothing to do. */
static bool work(struct virtio_blk *blk, struct vring *ring, uint64_t random)
{
	struct request *spare = blk->kicked ? free_request(blk) : NULL;
	struct request *next = blk->options.reorder ? NULL : next_in_order(blk);
	unsigned ready = blk->options.reorder ? count_ready(blk) : next != NULL;
	uint64_t choice;

	if (!ready && !spare) {
		signal_returned(blk, ring);
		return false;
	}
	choice = random % (ready + (spare != NULL));
	if (choice == ready) {
		fetch(blk, ring, spare);
		return true;
	}
	if (!next)
		next = nth_ready(blk, choice);
	if (next->state == REQUEST_FETCHED && next->type == VIRTIO_BLK_T_GET_ID && blk->id_wait)
		blk->id_wait--;
	else if (next->state == REQUEST_FETCHED)
		perform(blk, next);
	else if (next->delay)
		next->delay--;
	else
		give_back(blk, ring, next);
	return true;
}

static bool blk_step(struct device *dev, uint64_t random)
{
	struct virtio_blk *blk = of(dev);
	struct vring *ring;
	bool worked = false;

	pthread_mutex_lock(&blk->lock);
	while (blk->frozen)
		pthread_cond_wait(&blk->changed, &blk->lock);
	blk->chance = random;
	ring = live(blk);
	if (ring)
		worked = work(blk, ring, random);
	/*
	 * The one place that turns a broken ring into DEVICE_NEEDS_RESET; the ring is another's after a
	 * reset.
	 */
	if (blk->vp.queue[QUEUE].ring.running && blk->vp.queue[QUEUE].ring.broken)
		virtio_pci_needs_reset(&blk->vp);
	pthread_mutex_unlock(&blk->lock);
	return worked;
}

/* Accesses */

static uint32_t blk_pci_read(struct device *dev, unsigned offset, unsigned width)
{
	struct virtio_blk *blk = of(dev);
	uint32_t value;

	pthread_mutex_lock(&blk->lock);
	value = virtio_pci_config_read(&blk->vp, offset, width);
	pthread_mutex_unlock(&blk->lock);
	return value;
}

static void blk_pci_write(struct device *dev, unsigned offset, unsigned width, uint32_t value)
{
	struct virtio_blk *blk = of(dev);
	bool was_live;

	pthread_mutex_lock(&blk->lock);
	was_live = live(blk) != NULL;
	virtio_pci_config_write(&blk->vp, offset, width, value);
	/* Bus mastering came back: what it held up goes on. */
	if (!was_live && live(blk))
		dev->bus.wake(dev->bus.opaque);
	pthread_mutex_unlock(&blk->lock);
}

static uint64_t blk_bar_length(struct device *dev, unsigned bar)
{
	return virtio_pci_bar_length(&of(dev)->vp, bar);
}

/* Locks: held. The medium has that size now. */
static int set_capacity(struct virtio_blk *blk, uint64_t bytes)
{
	if (ftruncate(blk->fd, (off_t)bytes))
		return -1;
	if (bytes / SECTOR == blk->capacity)
		return 0;
	if (blk->cache)
		write_cache_cut(blk->cache, bytes);
	blk->capacity = bytes / SECTOR;
	if (blk->capacity > blk->capacity_shown)
		blk->capacity_shown = blk->capacity;
	virtio_pci_config_changed(&blk->vp);
	return 0;
}

/* Locks: held. A register is about to be accessed: the disk that was told to grows now. */
static void count_access(struct virtio_blk *blk)
{
	if (blk->options.grow_at && blk->stats.mmio_reads + blk->stats.mmio_writes + 1 >= blk->options.grow_at &&
	    !set_capacity(blk, blk->capacity * SECTOR + GROWTH))
		blk->options.grow_at = 0;
}

static uint64_t blk_bar_read(struct device *dev, unsigned bar, uint64_t offset, unsigned width)
{
	struct virtio_blk *blk = of(dev);
	uint64_t value;

	pthread_mutex_lock(&blk->lock);
	count_access(blk);
	value = virtio_pci_bar_read(&blk->vp, bar, offset, width);
	pthread_mutex_unlock(&blk->lock);
	return value;
}

static void blk_bar_write(struct device *dev, unsigned bar, uint64_t offset, unsigned width, uint64_t value)
{
	struct virtio_blk *blk = of(dev);

	pthread_mutex_lock(&blk->lock);
	count_access(blk);
	virtio_pci_bar_write(&blk->vp, bar, offset, width, value);
	pthread_mutex_unlock(&blk->lock);
}

static const struct device_stats *blk_stats(struct device *dev)
{
	return &of(dev)->stats;
}

/* Locks: held, dropped while it waits. Until thaw() no request runs. */
static void freeze(struct virtio_blk *blk)
{
	while (blk->frozen)
		pthread_cond_wait(&blk->changed, &blk->lock);
	blk->frozen = true;
	while (blk->running)
		pthread_cond_wait(&blk->changed, &blk->lock);
}

static void thaw(struct virtio_blk *blk)
{
	blk->frozen = false;
	pthread_cond_broadcast(&blk->changed);
}

static bool blk_owes(struct device *dev)
{
	struct virtio_blk *blk = of(dev);
	struct vring *ring;
	bool owes;

	pthread_mutex_lock(&blk->lock);
	ring = live(blk);
	owes = blk->powerless || blk->stalled || blk->paused || blk->wronged ||
	       (ring && (ring->in_flight || blk->kicked)) ||
	       (virtio_pci_driver_ok(&blk->vp) && blk->vp.queue[QUEUE].ring.broken);
	pthread_mutex_unlock(&blk->lock);
	return owes;
}

static bool blk_running(struct device *dev)
{
	struct virtio_blk *blk = of(dev);
	bool running;

	pthread_mutex_lock(&blk->lock);
	running = !blk->powerless && virtio_pci_driver_ok(&blk->vp);
	pthread_mutex_unlock(&blk->lock);
	return running;
}

static void blk_power_cycle(struct device *dev)
{
	struct virtio_blk *blk = of(dev);

	pthread_mutex_lock(&blk->lock);
	blk->powerless = true;
	freeze(blk);
	blk_stop(blk);
	if (blk->cache)
		write_cache_lose(blk->cache, blk->options.volatile_percent, blk->chance);
	virtio_pci_power_on(&blk->vp);
	blk->powerless = false;
	thaw(blk);
	pthread_mutex_unlock(&blk->lock);
}

/* Faults by their text; from the options that it makes, whose other keys are refused. */
static int blk_fault(struct device *dev, const char *spec, struct error *err)
{
	struct virtio_blk_options options;

	for (const char *item = spec; item; item = strchr(item, ',')) {
		item += *item == ',';
		if (strncmp(item, "fault", 5))
			return error_set(err, "'%s' is not only about faults", spec);
	}
	virtio_blk_defaults(&options);
	if (virtio_blk_parse(&options, spec, err))
		return -1;
	if (strstr(spec, "fault-registers="))
		virtio_blk_set_registers(dev, options.pci.registers);
	else
		virtio_blk_set_fault(dev, options.fault, options.fault_after, options.fault_every);
	return 0;
}

/* Construction */

static void blk_destroy(struct device *dev)
{
	struct virtio_blk *blk = of(dev);

	virtio_pci_free(&blk->vp);
	for (unsigned i = 0; i < blk->options.outstanding; i++)
		vring_chain_free(&blk->request[i].chain);
	pthread_cond_destroy(&blk->changed);
	pthread_mutex_destroy(&blk->lock);
	write_cache_free(blk->cache);
	if (blk->fd >= 0)
		close(blk->fd);
	free(blk);
}

static const struct device_ops blk_ops = {
	.name = "contract",
	.config_read = blk_pci_read,
	.config_write = blk_pci_write,
	.bar_length = blk_bar_length,
	.bar_read = blk_bar_read,
	.bar_write = blk_bar_write,
	.step = blk_step,
	.owes = blk_owes,
	.running = blk_running,
	.power_cycle = blk_power_cycle,
	.stats = blk_stats,
	.destroy = blk_destroy,
	.fault = blk_fault,
	.every_fault = true,
	.resize = virtio_blk_resize,
};

/* Bytes of the open disk; -1 and a sentence if it is none that can be served. */
static int measure(struct virtio_blk *blk, const char *path, uint64_t *bytes, struct error *err)
{
	struct stat st;

	if (fstat(blk->fd, &st))
		return error_set(err, "cannot examine disk '%s': %s", path, strerror(errno));
	blk->is_file = S_ISREG(st.st_mode);
	*bytes = (uint64_t)st.st_size;
	if (S_ISBLK(st.st_mode)) {
		if (ioctl(blk->fd, BLKGETSIZE64, bytes))
			return error_set(err, "cannot tell the size of disk '%s': %s", path, strerror(errno));
	} else if (!blk->is_file) {
		return error_set(err, "disk '%s' is neither a file nor a block device", path);
	}
	if (*bytes == 0)
		return error_set(err, "disk '%s' is empty", path);
	if (*bytes % SECTOR)
		return error_set(err, "the size of disk '%s', %llu bytes, is not a multiple of 512", path,
				 (unsigned long long)*bytes);
	return 0;
}

static int open_disk(struct virtio_blk *blk, const char *path, struct error *err)
{
	bool read_only = blk->options.read_only;
	struct flock lock = { .l_type = read_only ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET };
	uint64_t bytes;

	blk->fd = open(path, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	if (blk->fd < 0)
		return error_set(err, "cannot open disk '%s': %s", path, strerror(errno));
	if (measure(blk, path, &bytes, err))
		return -1;
	if (fcntl(blk->fd, F_OFD_SETLK, &lock)) {
		if (errno == EAGAIN || errno == EACCES)
			return error_set(err, "disk '%s' is in use by another process", path);
		return error_set(err, "cannot lock disk '%s': %s", path, strerror(errno));
	}
	blk->capacity = bytes / SECTOR;
	blk->capacity_shown = blk->capacity;
	return 0;
}

static int add_cache(struct virtio_blk *blk, struct error *err)
{
	if (!blk->options.volatile_percent)
		return 0;
	blk->cache = write_cache_create(blk->fd, block_bytes(blk));
	return blk->cache ? 0 : error_set(err, "out of memory");
}

struct device *virtio_blk_create(const struct virtio_blk_options *o, const char *disk_path, struct error *err)
{
	struct virtio_blk_options complete = *o;
	struct virtio_blk *blk;

	if (complete.read_only)
		complete.pci.features |= VIRTIO_FEATURE(VIRTIO_BLK_F_RO);
	if (virtio_pci_complete(&complete.pci, err))
		return NULL;
	blk = calloc(1, sizeof(*blk) + complete.outstanding * sizeof(blk->request[0]));
	if (!blk) {
		error_set(err, "out of memory");
		return NULL;
	}
	blk->dev.ops = &blk_ops;
	blk->options = complete;
	blk->writeback = !complete.writethrough;
	blk->fd = -1;
	pthread_mutex_init(&blk->lock, NULL);
	pthread_cond_init(&blk->changed, NULL);
	if (virtio_pci_init(&blk->vp, &blk->options.pci, &blk_type, blk, &blk->dev.bus, &blk->stats)) {
		error_set(err, "out of memory");
		blk_destroy(&blk->dev);
		return NULL;
	}
	if (open_disk(blk, disk_path, err) || add_cache(blk, err)) {
		blk_destroy(&blk->dev);
		return NULL;
	}
	return &blk->dev;
}

void virtio_blk_set_fault(struct device *dev, enum virtio_blk_fault fault, uint32_t after, uint32_t every)
{
	struct virtio_blk *blk = of(dev);

	pthread_mutex_lock(&blk->lock);
	if (fault == FAULT_RESUME) {
		blk->stalled = false;
		fault = FAULT_NONE;
	}
	blk->options.fault = fault;
	blk->options.fault_after = after;
	blk->options.fault_every = every;
	blk->returned = 0;
	blk->paused = false;
	if (live(blk))
		dev->bus.wake(dev->bus.opaque);
	pthread_mutex_unlock(&blk->lock);
}

void virtio_blk_set_registers(struct device *dev, enum virtio_pci_register_fault registers)
{
	struct virtio_blk *blk = of(dev);

	pthread_mutex_lock(&blk->lock);
	virtio_pci_set_registers(&blk->vp, registers);
	pthread_mutex_unlock(&blk->lock);
}

int virtio_blk_resize(struct device *dev, uint64_t bytes, struct error *err)
{
	struct virtio_blk *blk = of(dev);
	int rc = 0;

	if (!bytes || bytes % SECTOR)
		return error_set(err, "a disk cannot be resized to %llu bytes, which is not a positive multiple of 512",
				 (unsigned long long)bytes);
	if (!blk->is_file || blk->options.read_only)
		return error_set(err, "the disk cannot be resized: it is %s",
				 blk->is_file ? "read-only" : "not a file");
	pthread_mutex_lock(&blk->lock);
	freeze(blk);
	if (set_capacity(blk, bytes))
		rc = error_set(err, "the disk cannot be resized to %llu bytes: %s", (unsigned long long)bytes,
			       strerror(errno));
	thaw(blk);
	pthread_mutex_unlock(&blk->lock);
	return rc;
}
