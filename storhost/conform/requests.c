/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Judges the ring and the requests in it. */
#include <stdio.h>
#include <string.h>

#include "conform/prober.h"
#include "nt/phys.h"

#define SECTOR VIRTIO_BLK_SECTOR_SIZE
#define MANY 66000u /* requests: past the end of 16-bit indices */
#define TYPE_UNKNOWN 0x1234u

static void fill(struct prober *p, uint32_t length, uint8_t seed)
{
	uint8_t *data = memory(p->data);

	for (uint32_t i = 0; i < length; i++)
		data[i] = (uint8_t)(seed + i * 7 + i / 251);
}

static bool is_filled(struct prober *p, uint32_t from, uint32_t length, uint8_t seed)
{
	const uint8_t *data = memory(p->data);

	for (uint32_t i = from; i < from + length; i++)
		if (data[i] != (uint8_t)(seed + i * 7 + i / 251))
			return false;
	return true;
}

/* In sectors: the least that the device moves. */
static uint32_t block(const struct prober *p)
{
	return p->blk_size >= SECTOR && p->blk_size <= 4096 ? p->blk_size / SECTOR : 1;
}

static void judge_data(struct prober *p)
{
	uint32_t bytes = 4 * block(p) * SECTOR, piece = block(p) * SECTOR;
	int wrote, read;

	fill(p, bytes, 1);
	wrote = transfer(p, VIRTIO_BLK_T_OUT, 8 * block(p), bytes);
	fill(p, piece, 99);
	transfer(p, VIRTIO_BLK_T_OUT, 9 * block(p), piece);
	memset(memory(p->data), 0, bytes);
	read = transfer(p, VIRTIO_BLK_T_IN, 8 * block(p), bytes);
	judge(p, CLAUSE_REQUEST_STATUS, wrote <= 0 && read <= 0, "OUT ended with status %d and IN with %d", wrote,
	      read);
	judge(p, CLAUSE_REQUEST_READ,
	      wrote != VIRTIO_BLK_S_OK || read != VIRTIO_BLK_S_OK ||
		      (is_filled(p, 0, piece, 1) && is_filled(p, 2 * piece, 2 * piece, 1)),
	      "sectors read back otherwise than they were written");
	judge(p, CLAUSE_RING_INDIRECT, wrote >= 0 || read >= 0, "it is not returned");
}

static void judge_chain(struct prober *p)
{
	struct segment segment = { p->data, block(p) * SECTOR, true };
	int status = request(p, LAYOUT_CHAINED, VIRTIO_BLK_T_IN, 0, &segment, 1);

	judge(p, CLAUSE_REQUEST_STATUS, status <= 0, "a read ended with status %d", status);
	/* What comes back wrong once may be any request's fault. */
	if (status < 0)
		status = request(p, LAYOUT_CHAINED, VIRTIO_BLK_T_IN, 0, &segment, 1);
	judge(p, CLAUSE_RING_CHAIN, status >= 0, "it is not returned");
}

static void judge_segments(struct prober *p)
{
	struct segment segments[PROBE_SEGMENTS];
	unsigned most = p->size < PROBE_SEGMENTS ? p->size - 2u : PROBE_SEGMENTS - 2;
	unsigned count = p->seg_max < most ? p->seg_max : most;
	uint32_t size = block(p) * SECTOR;
	int wrote, read;

	judge(p, CLAUSE_CONFIG_SEG_MAX, p->seg_max + 2u <= p->size, "it is %u, and the queue has %u entries",
	      p->seg_max, p->size);
	if (!count)
		return;
	for (unsigned i = 0; i < count; i++)
		segments[i] = (struct segment){ p->data + (uint64_t)i * PROBE_PAGE, size, false };
	for (unsigned i = 0; i < count; i++)
		memset(memory(segments[i].address), (int)(i + 1), size);
	wrote = request(p, LAYOUT_INDIRECT, VIRTIO_BLK_T_OUT, 0, segments, count);
	for (unsigned i = 0; i < count; i++) {
		memset(memory(segments[i].address), 0, size);
		segments[i].write = true;
	}
	read = request(p, LAYOUT_INDIRECT, VIRTIO_BLK_T_IN, 0, segments, count);
	judge(p, CLAUSE_REQUEST_SEGMENTS, wrote <= 0 && read <= 0, "OUT of %u segments ends with status %d, IN with %d",
	      count, wrote, read);
	for (unsigned i = 0; i < count && !wrote && !read; i++) {
		const uint8_t *data = memory(segments[i].address);

		judge(p, CLAUSE_REQUEST_SEGMENTS, data[0] == (uint8_t)(i + 1) && data[size - 1] == (uint8_t)(i + 1),
		      "segment %u of %u has other data", i, count);
	}
}

static void judge_unaligned(struct prober *p)
{
	uint32_t bytes = 2 * block(p) * SECTOR;
	struct segment segments[3] = { { p->data, 3, false },
				       { p->data + 3, bytes - 10, false },
				       { p->data + bytes - 7, 7, false } };
	int wrote, read;

	if (p->seg_max < 3)
		return;
	for (unsigned i = 0; i < 3; i++)
		segments[i].address += 1;
	fill(p, bytes + 1, 5);
	wrote = request(p, LAYOUT_INDIRECT, VIRTIO_BLK_T_OUT, 0, segments, 3);
	memset(memory(p->data + 1), 0, bytes);
	for (unsigned i = 0; i < 3; i++)
		segments[i].write = true;
	read = request(p, LAYOUT_INDIRECT, VIRTIO_BLK_T_IN, 0, segments, 3);
	if (wrote < 0 || read < 0)
		return;
	judge(p, CLAUSE_REQUEST_UNALIGNED, !wrote && !read && is_filled(p, 1, bytes, 5),
	      "OUT ends with status %d, IN with %d, and what was written is %s", wrote, read,
	      is_filled(p, 1, bytes, 5) ? "there" : "not there");
}

static void expect(struct prober *p, enum clause clause, int status, int wanted)
{
	if (status >= 0)
		judge(p, clause, status == wanted, "the request ends with status %d and not %d", status, wanted);
}

static void judge_edges(struct prober *p)
{
	uint32_t size = block(p) * SECTOR;
	uint64_t last = p->capacity - block(p);

	if (p->capacity < block(p))
		return;
	expect(p, CLAUSE_REQUEST_LAST, transfer(p, VIRTIO_BLK_T_IN, last, size), VIRTIO_BLK_S_OK);
	expect(p, CLAUSE_REQUEST_LAST, transfer(p, VIRTIO_BLK_T_OUT, last, size), VIRTIO_BLK_S_OK);
	expect(p, CLAUSE_REQUEST_CAPACITY, transfer(p, VIRTIO_BLK_T_IN, p->capacity, size), VIRTIO_BLK_S_IOERR);
	expect(p, CLAUSE_REQUEST_CAPACITY, transfer(p, VIRTIO_BLK_T_OUT, last, 2 * size), VIRTIO_BLK_S_IOERR);
	expect(p, CLAUSE_REQUEST_CAPACITY, transfer(p, VIRTIO_BLK_T_IN, UINT64_MAX - block(p) + 1, 2 * size),
	       VIRTIO_BLK_S_IOERR);
	expect(p, CLAUSE_REQUEST_LENGTH, transfer(p, VIRTIO_BLK_T_IN, 0, 100), VIRTIO_BLK_S_IOERR);
	expect(p, CLAUSE_REQUEST_LENGTH, transfer(p, VIRTIO_BLK_T_OUT, 0, size + 100), VIRTIO_BLK_S_IOERR);
}

static void judge_types(struct prober *p)
{
	static const struct {
		uint32_t type;
		unsigned feature;
	} ranges[] = { { VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_F_DISCARD },
		       { VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_F_WRITE_ZEROES } };
	struct virtio_blk_discard_write_zeroes range = { .sector = 0, .num_sectors = 8 };
	struct segment id = { p->data, VIRTIO_BLK_ID_BYTES, true };
	struct segment list = { p->data, sizeof(range), false };

	expect(p, CLAUSE_REQUEST_FLUSH, request(p, LAYOUT_INDIRECT, VIRTIO_BLK_T_FLUSH, 0, NULL, 0), VIRTIO_BLK_S_OK);
	expect(p, CLAUSE_REQUEST_ID, request(p, LAYOUT_INDIRECT, VIRTIO_BLK_T_GET_ID, 0, &id, 1), VIRTIO_BLK_S_UNSUPP);
	expect(p, CLAUSE_REQUEST_UNKNOWN, request(p, LAYOUT_INDIRECT, TYPE_UNKNOWN, 0, NULL, 0), VIRTIO_BLK_S_UNSUPP);
	for (size_t i = 0; i < 2; i++) {
		memcpy(memory(p->data), &range, sizeof(range));
		if (!(p->features & VIRTIO_FEATURE(ranges[i].feature)))
			expect(p, CLAUSE_REQUEST_DISCARD, request(p, LAYOUT_INDIRECT, ranges[i].type, 0, &list, 1),
			       VIRTIO_BLK_S_UNSUPP);
	}
}

/* As many chains as the ring has descriptors for, made available at once: FLUSHes, which have two descriptors. */
static void judge_many(struct prober *p)
{
	unsigned count = p->size / 2, returned = 0;
	uint32_t seen[PROBE_SEGMENTS / 2] = { 0 };
	struct virtq_used_elem elem;

	if (p->lost && !set_up(p))
		return;
	for (unsigned i = 0; i < count; i++) {
		build(p, LAYOUT_CHAINED, (uint16_t)(2 * i), VIRTIO_BLK_T_FLUSH, 0, NULL, 0);
		offer(p, (uint16_t)(2 * i));
	}
	ring_doorbell(p, 4);
	while (returned < count && take_used(p, &elem)) {
		returned++;
		if (elem.id >= 2 * count || elem.id % 2 || seen[elem.id / 2]++)
			judge(p, CLAUSE_RING_ID, false, "a used entry names descriptor %u", elem.id);
	}
	judge(p, CLAUSE_RING_NOTIFY, returned > 0, "nothing is returned after a notification of 32 bits");
	judge(p, CLAUSE_RING_MANY, returned == count, "of %u requests %u are returned", count, returned);
}

static void judge_wrap(struct prober *p)
{
	unsigned most = p->dev->ops->busy ? 3u * p->size : MANY, done = 0;

	while (done < most && request(p, LAYOUT_INDIRECT, VIRTIO_BLK_T_FLUSH, 0, NULL, 0) >= 0 && !p->lost)
		done++;
	if (p->verdicts[CLAUSE_RING_ID].state == CLAUSE_HOLDS)
		judge(p, CLAUSE_RING_WRAP, done == most, "request %u of %u is not returned", done + 1, most);
}

void judge_requests(struct prober *p)
{
	if (!set_up(p))
		return;
	judge(p, CLAUSE_QUEUE_ENABLE, common_read(p, COMMON(queue_enable), 2) == 1, "it is %u after 1 was written",
	      common_read(p, COMMON(queue_enable), 2));
	judge_chain(p);
	judge_data(p);
	/* A device that has not returned a request has it still, and its memory. */
	if (p->verdicts[CLAUSE_RING_INDIRECT].state == CLAUSE_BROKEN)
		return;
	judge_segments(p);
	judge_unaligned(p);
	judge_edges(p);
	judge_types(p);
	judge_many(p);
	judge_wrap(p);
}
