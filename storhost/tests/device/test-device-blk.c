/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Claims about virtio-blk requests and configuration, contract §3.1, and about resets while requests run. */
#include "rig.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* The device's fdatasync, in place of the C library's. */
static struct {
	struct rig *rig;
	unsigned calls;
	uint16_t used; /* index at the last call */
	int result;
} synced;

int fdatasync(int fd)
{
	(void)fd;
	synced.calls++;
	if (synced.rig)
		synced.used = rig_used_idx(synced.rig);
	if (synced.result)
		errno = EIO;
	return synced.result;
}

static void watch_sync(struct rig *rig, int result)
{
	synced.rig = rig;
	synced.calls = 0;
	synced.result = result;
}

/* The device's pread, in place of the C library's: it waits while the gate is closed. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t moved;
	bool closed;
	bool waiting; /* a read stands before the gate */
} gate = { .lock = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER };

ssize_t pread64(int fd, void *buf, size_t len, off_t offset)
{
	struct iovec piece = { .iov_base = buf, .iov_len = len };

	pthread_mutex_lock(&gate.lock);
	while (gate.closed) {
		gate.waiting = true;
		pthread_cond_broadcast(&gate.moved);
		pthread_cond_wait(&gate.moved, &gate.lock);
	}
	gate.waiting = false;
	pthread_mutex_unlock(&gate.lock);
	return preadv(fd, &piece, 1, offset);
}

static void close_gate(void)
{
	pthread_mutex_lock(&gate.lock);
	gate.closed = true;
	pthread_mutex_unlock(&gate.lock);
}

static void open_gate(void)
{
	pthread_mutex_lock(&gate.lock);
	gate.closed = false;
	pthread_cond_broadcast(&gate.moved);
	pthread_mutex_unlock(&gate.lock);
}

static void wait_at_gate(void)
{
	pthread_mutex_lock(&gate.lock);
	while (!gate.waiting)
		pthread_cond_wait(&gate.moved, &gate.lock);
	pthread_mutex_unlock(&gate.lock);
}

#define NEXT VIRTQ_DESC_F_NEXT
#define WRITE VIRTQ_DESC_F_WRITE

static uint64_t buffer(struct rig *rig, uint32_t bytes)
{
	return rig_alloc(rig, bytes, 512);
}

static void fill(struct rig *rig, uint64_t addr, uint32_t bytes, uint8_t value)
{
	for (uint32_t i = 0; i < bytes; i++)
		rig_put(rig, addr + i, &value, 1);
}

static void assert_pattern(struct rig *rig, uint64_t addr, uint64_t offset, uint32_t bytes)
{
	for (uint32_t i = 0; i < bytes; i++) {
		uint8_t byte;

		rig_get(rig, addr + i, &byte, 1);
		assert_int_equal(byte, rig_pattern(offset + i));
	}
}

static void contract_3_1_the_features_of_a_contract_device(void **state)
{
	struct rig *rig = *state;

	assert_true(rig_offered(rig) == (1ull << 32 | 1ull << 28 | 1ull << 2 | 1ull << 6 | 1ull << 9));
}

static void contract_3_1_the_configuration_structure(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(rig_device_config(rig, 0x00, 4), RIG_SECTORS);
	assert_int_equal(rig_device_config(rig, 0x04, 4), 0);
	assert_int_equal(rig_device_config(rig, 0x08, 4), 0);
	assert_int_equal(rig_device_config(rig, 0x0C, 4), 126);
	assert_int_equal(rig_device_config(rig, 0x10, 2), 0);
	assert_int_equal(rig_device_config(rig, 0x12, 1), 0);
	assert_int_equal(rig_device_config(rig, 0x13, 1), 0);
	assert_int_equal(rig_device_config(rig, 0x14, 4), 512);
	for (unsigned at = 0x48; at < 0x100; at++)
		assert_int_equal(rig_device_config(rig, at, 1), 0);
	rig_no_blame(rig);
	for (unsigned at = 0x18; at < 0x48; at++)
		assert_int_equal(rig_device_config(rig, at, 1), 0);
}

static void qemu_layout_fills_the_fields_of_the_features_it_offers(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(RIG_READ(rig, queue_size), 256);
	assert_true(rig_offered(rig) & VIRTIO_FEATURE(VIRTIO_F_EVENT_IDX));
	assert_true(rig_offered(rig) & VIRTIO_FEATURE(VIRTIO_BLK_F_TOPOLOGY));
	assert_true(rig_offered(rig) & VIRTIO_FEATURE(VIRTIO_BLK_F_CONFIG_WCE));
	assert_int_equal(rig_device_config(rig, 0x0C, 4), 254);
	assert_int_equal(rig_device_config(rig, 0x1A, 2), 1);
	assert_int_equal(rig_device_config(rig, 0x20, 1), 1);
}

static void contract_3_1_in_reads_sectors(void **state)
{
	struct rig *rig = *state;
	uint64_t data = buffer(rig, 3 * 512);

	rig_bring_up(rig, 0);
	assert_int_equal(rig_request(rig, VIRTIO_BLK_T_IN, 17, data, 3 * 512), VIRTIO_BLK_S_OK);
	assert_pattern(rig, data, 17 * 512, 3 * 512);
	assert_int_equal(rig->dev->ops->stats(rig->dev)->bytes_read, 3 * 512);
	assert_int_equal(rig->dev->ops->stats(rig->dev)->requests, 1);
	rig_no_blame(rig);
}

static void contract_3_1_out_writes_sectors_and_only_those(void **state)
{
	struct rig *rig = *state;
	uint64_t data = buffer(rig, 2 * 512);

	rig_bring_up(rig, 0);
	fill(rig, data, 2 * 512, 0xA5);
	assert_int_equal(rig_request(rig, VIRTIO_BLK_T_OUT, 5, data, 2 * 512), VIRTIO_BLK_S_OK);
	assert_int_equal(rig_disk_byte(rig, 5 * 512 - 1), rig_pattern(5 * 512 - 1));
	assert_int_equal(rig_disk_byte(rig, 5 * 512), 0xA5);
	assert_int_equal(rig_disk_byte(rig, 7 * 512 - 1), 0xA5);
	assert_int_equal(rig_disk_byte(rig, 7 * 512), rig_pattern(7 * 512));
	assert_int_equal(rig->dev->ops->stats(rig->dev)->bytes_written, 2 * 512);
	rig_no_blame(rig);
}

static void a_transfer_longer_than_the_devices_chunk_is_whole(void **state)
{
	struct rig *rig = *state;
	uint32_t bytes = RIG_DISK_BYTES;
	uint64_t data = buffer(rig, bytes);

	rig_bring_up(rig, 0);
	assert_int_equal(rig_request(rig, VIRTIO_BLK_T_IN, 0, data, bytes), VIRTIO_BLK_S_OK);
	assert_pattern(rig, data, 0, bytes);
	fill(rig, data, bytes, 0x3C);
	assert_int_equal(rig_request(rig, VIRTIO_BLK_T_OUT, 0, data, bytes), VIRTIO_BLK_S_OK);
	for (uint64_t at = 0; at < bytes; at += 4093)
		assert_int_equal(rig_disk_byte(rig, at), 0x3C);
}

static void a_write_takes_its_data_when_it_is_performed(void **state)
{
	struct rig *rig = *state;
	uint64_t data = buffer(rig, 512);

	rig_bring_up(rig, 0);
	fill(rig, data, 512, 0x11);
	rig_submit(rig, VIRTIO_BLK_T_OUT, 0, data, 512);
	rig_kick(rig);
	assert_true(rig_step(rig)); /* fetched */
	fill(rig, data, 512, 0x22);
	rig_run(rig);
	assert_int_equal(rig_disk_byte(rig, 0), 0x22);
}

static void contract_3_1_flush_completes_ok(void **state)
{
	struct rig *rig = *state;
	struct virtio_blk_req header = { .type = VIRTIO_BLK_T_FLUSH, .sector = 1 };
	struct rig_io io;

	rig_bring_up(rig, 0);
	assert_int_equal(rig_request(rig, VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_OK);
	assert_int_equal(rig->dev->ops->stats(rig->dev)->flushes, 1);
	rig_no_blame(rig);
	io = rig_submit(rig, VIRTIO_BLK_T_FLUSH, 0, 0, 0);
	rig_put(rig, io.header, &header, sizeof(header));
	rig_kick(rig);
	rig_run(rig);
	rig_one_blame(rig, "virtio 5.2.6.1");
}

static void contract_3_1_flush_completes_when_prior_completed_writes_are_durable(void **state)
{
	struct rig *rig = *state;
	uint64_t data = buffer(rig, 512);

	rig_bring_up(rig, 0);
	watch_sync(rig, 0);
	assert_int_equal(rig_request(rig, VIRTIO_BLK_T_OUT, 0, data, 512), VIRTIO_BLK_S_OK);
	assert_int_equal(synced.calls, 0);
	assert_int_equal(rig_request(rig, VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_OK);
	assert_int_equal(synced.calls, 1);
	assert_int_equal(synced.used, 1); /* after the write, before the flush was returned */
	watch_sync(rig, -1);
	assert_int_equal(rig_request(rig, VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_IOERR);
	watch_sync(NULL, 0);
}

static void a_writethrough_write_is_durable_when_it_completes(void **state)
{
	struct rig *rig = *state;
	uint64_t data = buffer(rig, 512);

	rig_bring_up(rig, 0);
	rig_reg_write(rig, VIRTIO_PCI_CAP_DEVICE_CFG, 0x20, 1, 0);
	watch_sync(rig, 0);
	assert_int_equal(rig_request(rig, VIRTIO_BLK_T_OUT, 0, data, 512), VIRTIO_BLK_S_OK);
	assert_int_equal(synced.calls, 1);
	assert_int_equal(synced.used, 0);
	rig_reg_write(rig, VIRTIO_PCI_CAP_DEVICE_CFG, 0x20, 1, 1);
	assert_int_equal(rig_request(rig, VIRTIO_BLK_T_OUT, 0, data, 512), VIRTIO_BLK_S_OK);
	assert_int_equal(synced.calls, 1);
	watch_sync(NULL, 0);
}

static void virtio_5_2_6_2_a_driver_that_declines_flush_gets_durable_writes(void **state)
{
	struct rig *rig = *state;
	uint64_t data = buffer(rig, 512);

	rig_bring_up(rig, rig_offered(rig) & ~VIRTIO_FEATURE(VIRTIO_BLK_F_FLUSH));
	watch_sync(rig, 0);
	assert_int_equal(rig_request(rig, VIRTIO_BLK_T_OUT, 0, data, 512), VIRTIO_BLK_S_OK);
	assert_int_equal(synced.calls, 1);
	watch_sync(NULL, 0);
}

static void flush_that_is_not_offered_is_unsupported(void **state)
{
	struct rig *rig = *state;

	rig_bring_up(rig, 0);
	assert_int_equal(rig_request(rig, VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(rig->dev->ops->stats(rig->dev)->flushes, 0);
}

static void contract_3_1_every_other_type_is_unsupported(void **state)
{
	struct rig *rig = *state;
	const uint32_t types[] = { 2, 3, 5, 6, 7, 8, 9, 10, 11, 13, 14, 0x80000000, 0xFFFFFFFF };
	uint64_t data = buffer(rig, 512);

	rig_bring_up(rig, 0);
	for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		assert_int_equal(rig_request(rig, types[i], 0, data, 512), VIRTIO_BLK_S_UNSUPP);
	rig_no_blame(rig);
}

static void get_id_returns_the_serial_where_there_is_one(void **state)
{
	struct rig *rig = *state;
	uint64_t data = buffer(rig, 512);
	char id[20];

	rig_bring_up(rig, 0);
	fill(rig, data, 20, 0xFF);
	assert_int_equal(rig_request(rig, VIRTIO_BLK_T_GET_ID, 0, data, 20), VIRTIO_BLK_S_OK);
	rig_get(rig, data, id, 20);
	assert_memory_equal(id, "W7-0001\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
	rig_no_blame(rig);
	assert_int_equal(rig_request(rig, VIRTIO_BLK_T_GET_ID, 0, data, 21), VIRTIO_BLK_S_IOERR);
	rig_one_blame(rig, "virtio 5.2.6.1");
}

static uint8_t ranges(struct rig *rig, uint32_t type, const struct virtio_blk_discard_write_zeroes *range,
		      unsigned count)
{
	uint64_t header = rig_alloc(rig, sizeof(struct virtio_blk_req), 16), status = rig_alloc(rig, 1, 1);
	uint64_t data = rig_alloc(rig, count * (uint32_t)sizeof(*range), 16);
	struct virtio_blk_req req = { .type = type };
	uint32_t id, len;
	uint8_t answer = 0xFF;

	rig_put(rig, header, &req, sizeof(req));
	rig_put(rig, data, range, count * (uint32_t)sizeof(*range));
	rig_desc(rig, 0, header, sizeof(req), NEXT, 1);
	rig_desc(rig, 1, data, count * (uint32_t)sizeof(*range), NEXT, 2);
	rig_desc(rig, 2, status, 1, WRITE, 0);
	rig_offer(rig, 0);
	rig_kick(rig);
	rig_run(rig);
	assert_true(rig_pop(rig, &id, &len));
	rig_get(rig, status, &answer, 1);
	return answer;
}

static void ranges_that_are_taken_away_read_as_zeroes_and_no_others(void **state)
{
	static const struct virtio_blk_discard_write_zeroes two[2] = { { .sector = 3, .num_sectors = 2 },
								       { .sector = 9, .num_sectors = 1 } };
	struct rig *rig = *state;

	rig_bring_up(rig, 0);
	assert_int_equal(ranges(rig, VIRTIO_BLK_T_DISCARD, two, 2), VIRTIO_BLK_S_OK);
	assert_int_equal(ranges(rig, VIRTIO_BLK_T_WRITE_ZEROES, two + 1, 1), VIRTIO_BLK_S_OK);
	rig_no_blame(rig);
	for (uint64_t i = 0; i < 12 * 512; i++) {
		bool gone = i / 512 == 3 || i / 512 == 4 || i / 512 == 9;

		assert_int_equal(rig_disk_byte(rig, i), gone ? 0 : rig_pattern(i));
	}
}

static void ranges_beyond_a_limit_are_blamed(void **state)
{
	static const struct virtio_blk_discard_write_zeroes bad[] = {
		{ .sector = 0, .num_sectors = 9 },
		{ .sector = 0, .num_sectors = 0 },
		{ .sector = RIG_SECTORS - 1, .num_sectors = 2 },
		{ .sector = UINT64_MAX, .num_sectors = 1 },
		{ .sector = 0, .num_sectors = 1, .flags = 1 },
	};
	struct rig *rig = *state;

	rig_bring_up(rig, 0);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(ranges(rig, VIRTIO_BLK_T_DISCARD, &bad[i], 1), VIRTIO_BLK_S_IOERR);
		rig_one_blame(rig, "virtio 5.2.6.1");
	}
	assert_int_equal(ranges(rig, VIRTIO_BLK_T_DISCARD, bad, 3), VIRTIO_BLK_S_IOERR);
	rig_one_blame(rig, "virtio 5.2.6.1");
	assert_int_equal(rig_disk_byte(rig, 5), rig_pattern(5));
}

static void ranges_of_a_feature_that_was_not_negotiated_are_blamed(void **state)
{
	static const struct virtio_blk_discard_write_zeroes one = { .sector = 0, .num_sectors = 1 };
	struct rig *rig = *state;

	rig_bring_up(rig, VIRTIO_FEATURE(VIRTIO_F_VERSION_1));
	assert_int_equal(ranges(rig, VIRTIO_BLK_T_DISCARD, &one, 1), VIRTIO_BLK_S_UNSUPP);
	rig_one_blame(rig, "virtio 5.2.6.1");
}

static void a_segment_longer_than_size_max_is_blamed(void **state)
{
	struct rig *rig = *state;
	uint64_t data = buffer(rig, 1024);

	rig_bring_up(rig, 0);
	assert_int_equal(rig_request(rig, VIRTIO_BLK_T_IN, 0, data, 512), VIRTIO_BLK_S_OK);
	rig_no_blame(rig);
	assert_int_equal(rig_request(rig, VIRTIO_BLK_T_IN, 0, data, 1024), VIRTIO_BLK_S_IOERR);
	rig_one_blame(rig, "virtio 5.2.6.1");
}

static void a_piece_of_a_block_is_blamed(void **state)
{
	struct rig *rig = *state;
	uint64_t data = buffer(rig, 4096);

	rig_bring_up(rig, 0);
	assert_int_equal(rig_request(rig, VIRTIO_BLK_T_IN, 8, data, 4096), VIRTIO_BLK_S_OK);
	rig_no_blame(rig);
	assert_int_equal(rig_request(rig, VIRTIO_BLK_T_IN, 8, data, 512), VIRTIO_BLK_S_IOERR);
	rig_one_blame(rig, "virtio 5.2.5");
	assert_int_equal(rig_request(rig, VIRTIO_BLK_T_IN, 1, data, 4096), VIRTIO_BLK_S_IOERR);
	rig_one_blame(rig, "virtio 5.2.5");
}

static void contract_3_1_the_last_sector_can_be_read_and_written(void **state)
{
	struct rig *rig = *state;
	uint64_t data = buffer(rig, 1024);

	rig_bring_up(rig, 0);
	assert_int_equal(rig_request(rig, VIRTIO_BLK_T_IN, RIG_SECTORS - 1, data, 512), VIRTIO_BLK_S_OK);
	assert_pattern(rig, data, RIG_DISK_BYTES - 512, 512);
	assert_int_equal(rig_request(rig, VIRTIO_BLK_T_OUT, RIG_SECTORS - 1, data, 512), VIRTIO_BLK_S_OK);
	rig_no_blame(rig);
}

static void contract_3_1_past_the_capacity_is_ioerr(void **state)
{
	struct rig *rig = *state;
	const uint64_t sectors[] = { RIG_SECTORS - 1, RIG_SECTORS, 1ull << 40, UINT64_MAX, UINT64_MAX / 512 + 1 };
	uint64_t data = buffer(rig, 1024);

	rig_bring_up(rig, 0);
	for (unsigned i = 0; i < sizeof(sectors) / sizeof(sectors[0]); i++) {
		fill(rig, data, 1024, 0x99);
		assert_int_equal(rig_request(rig, VIRTIO_BLK_T_IN, sectors[i], data, 1024), VIRTIO_BLK_S_IOERR);
		rig_one_blame(rig, "virtio 5.2.6.1");
		assert_int_equal(rig_request(rig, VIRTIO_BLK_T_OUT, sectors[i], data, 1024), VIRTIO_BLK_S_IOERR);
		rig_one_blame(rig, "virtio 5.2.6.1");
	}
	assert_int_equal(rig_disk_byte(rig, RIG_DISK_BYTES - 1), rig_pattern(RIG_DISK_BYTES - 1));
	assert_int_equal(RIG_READ(rig, device_status), 0xF);
}

static void contract_3_1_a_total_that_is_no_multiple_of_512_is_ioerr(void **state)
{
	struct rig *rig = *state;
	const uint32_t bytes[] = { 1, 511, 513, 1000 };
	uint64_t data = buffer(rig, 1024);

	rig_bring_up(rig, 0);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(rig_request(rig, VIRTIO_BLK_T_IN, 0, data, bytes[i]), VIRTIO_BLK_S_IOERR);
		rig_one_blame(rig, "contract 3.1");
		assert_int_equal(rig_request(rig, VIRTIO_BLK_T_OUT, 0, data, bytes[i]), VIRTIO_BLK_S_IOERR);
		rig_one_blame(rig, "contract 3.1");
	}
}

/* One request with `count` data segments that add up to one sector. */
static uint8_t scattered(struct rig *rig, uint32_t type, unsigned count)
{
	struct virtio_blk_req header = { .type = type };
	uint16_t flags = NEXT | (type == VIRTIO_BLK_T_IN ? WRITE : 0);
	uint64_t at_header = rig_alloc(rig, 16, 8), data = buffer(rig, 512), status = rig_alloc(rig, 1, 1);
	uint32_t id, len;
	uint8_t value;

	rig_put(rig, at_header, &header, sizeof(header));
	rig_desc(rig, 0, at_header, 16, NEXT, 1);
	for (unsigned i = 0; i < count; i++)
		rig_desc(rig, (uint16_t)(1 + i), data + i, i == count - 1 ? 512 - i : 1, flags, (uint16_t)(2 + i));
	rig_desc(rig, (uint16_t)(1 + count), status, 1, WRITE, 0);
	rig_offer(rig, 0);
	rig_kick(rig);
	rig_run(rig);
	assert_true(rig_pop(rig, &id, &len));
	rig_get(rig, status, &value, 1);
	return value;
}

static void contract_3_1_there_are_1_to_seg_max_data_segments(void **state)
{
	struct rig *rig = *state;

	rig_bring_up(rig, 0);
	for (uint32_t type = VIRTIO_BLK_T_IN; type <= VIRTIO_BLK_T_OUT; type++) {
		assert_int_equal(scattered(rig, type, 1), VIRTIO_BLK_S_OK);
		assert_int_equal(scattered(rig, type, 30), VIRTIO_BLK_S_OK);
		rig_no_blame(rig);
		assert_int_equal(scattered(rig, type, 31), VIRTIO_BLK_S_IOERR);
		rig_one_blame(rig, "contract 3.1");
		assert_int_equal(scattered(rig, type, 0), VIRTIO_BLK_S_IOERR);
		rig_one_blame(rig, "contract 3.1");
	}
}

static void contract_3_1_ioprio_is_0(void **state)
{
	struct rig *rig = *state;
	struct virtio_blk_req header = { .type = VIRTIO_BLK_T_IN, .reserved = 1 };
	struct rig_io io;

	rig_bring_up(rig, 0);
	io = rig_submit(rig, VIRTIO_BLK_T_IN, 0, buffer(rig, 512), 512);
	rig_put(rig, io.header, &header, sizeof(header));
	rig_kick(rig);
	rig_run(rig);
	rig_one_blame(rig, "contract 3.1");
	assert_int_equal(rig_status(rig, &io), VIRTIO_BLK_S_OK);
}

static void contract_3_1_a_request_has_a_header_and_a_status(void **state)
{
	struct rig *rig = *state;
	uint64_t part;

	rig_bring_up(rig, 0);
	part = rig_alloc(rig, 512, 8);
	rig_desc(rig, 0, part, 15, NEXT, 1);
	rig_desc(rig, 1, part + 100, 1, WRITE, 0);
	rig_offer(rig, 0);
	rig_kick(rig);
	rig_run(rig);
	rig_one_blame(rig, "virtio 5.2.6");
	assert_int_equal(RIG_READ(rig, device_status), 0x4F);
	rig_bring_up(rig, 0);
	rig_desc(rig, 0, part, 16, 0, 0);
	rig_offer(rig, 0);
	rig_kick(rig);
	rig_run(rig);
	rig_one_blame(rig, "virtio 5.2.6");
}

static void data_of_the_other_direction_is_refused(void **state)
{
	struct rig *rig = *state;
	struct virtio_blk_req header = { .type = VIRTIO_BLK_T_OUT };
	struct rig_io io;

	rig_bring_up(rig, 0);
	io = rig_submit(rig, VIRTIO_BLK_T_IN, 0, buffer(rig, 512), 512);
	rig_put(rig, io.header, &header, sizeof(header));
	rig_kick(rig);
	rig_run(rig);
	rig_one_blame(rig, "virtio 5.2.6");
	assert_int_equal(rig_status(rig, &io), VIRTIO_BLK_S_IOERR);
	assert_int_equal(rig_disk_byte(rig, 1), rig_pattern(1));
}

static void contract_3_1_the_status_is_written_before_the_used_entry(void **state)
{
	struct rig *rig = *state;
	struct rig_io io;

	rig_bring_up(rig, 0);
	io = rig_submit(rig, VIRTIO_BLK_T_IN, 0, buffer(rig, 512), 512);
	rig->hold_status = true;
	rig->status_watched = io.status;
	rig_kick(rig);
	rig_run(rig);
	assert_int_equal(rig_used_idx(rig), 1);
}

static void used_len_is(struct rig *rig, uint32_t type, uint32_t bytes, uint32_t expected)
{
	uint32_t id, len;

	rig_submit(rig, type, 0, buffer(rig, 512), bytes);
	rig_kick(rig);
	rig_run(rig);
	assert_true(rig_pop(rig, &id, &len));
	assert_int_equal(len, expected);
}

static void contract_3_1_used_len_is_0_always(void **state)
{
	struct rig *rig = *state;

	rig_bring_up(rig, 0);
	used_len_is(rig, VIRTIO_BLK_T_IN, 512, 0);
	used_len_is(rig, VIRTIO_BLK_T_OUT, 512, 0);
	used_len_is(rig, VIRTIO_BLK_T_FLUSH, 0, 0);
}

static void qemu_counts_what_the_chain_has_to_write(void **state)
{
	struct rig *rig = *state;

	rig_bring_up(rig, 0);
	used_len_is(rig, VIRTIO_BLK_T_IN, 512, 513);
	used_len_is(rig, VIRTIO_BLK_T_OUT, 512, 1);
	used_len_is(rig, VIRTIO_BLK_T_FLUSH, 0, 1);
}

static void a_read_only_disk_refuses_writes(void **state)
{
	struct rig *rig = *state;
	uint64_t data = buffer(rig, 512);

	assert_true(rig_offered(rig) & VIRTIO_FEATURE(VIRTIO_BLK_F_RO));
	rig_bring_up(rig, 0);
	fill(rig, data, 512, 0x77);
	assert_int_equal(rig_request(rig, VIRTIO_BLK_T_OUT, 0, data, 512), VIRTIO_BLK_S_IOERR);
	assert_int_equal(rig_disk_byte(rig, 0), rig_pattern(0));
	assert_int_equal(rig_request(rig, VIRTIO_BLK_T_IN, 0, data, 512), VIRTIO_BLK_S_OK);
	rig_no_blame(rig);
}

static void writeback_can_be_written_where_it_was_negotiated(void **state)
{
	struct rig *rig = *state;
	uint64_t wce = VIRTIO_FEATURE(VIRTIO_BLK_F_CONFIG_WCE);

	rig_bring_up(rig, 0);
	rig_reg_write(rig, VIRTIO_PCI_CAP_DEVICE_CFG, 0x20, 1, 0);
	assert_int_equal(rig_device_config(rig, 0x20, 1), 0);
	rig_no_blame(rig);
	rig_bring_up(rig, rig_offered(rig) & ~wce);
	assert_int_equal(rig_device_config(rig, 0x20, 1), 1);
	rig_reg_write(rig, VIRTIO_PCI_CAP_DEVICE_CFG, 0x20, 1, 0);
	rig_one_blame(rig, "virtio 5.2.4");
	assert_int_equal(rig_device_config(rig, 0x20, 1), 1);
}

static void virtio_5_2_5_2_without_flush_the_cache_is_writethrough(void **state)
{
	struct rig *rig = *state;

	rig_bring_up(rig, rig_offered(rig) & ~VIRTIO_FEATURE(VIRTIO_BLK_F_FLUSH));
	assert_int_equal(rig_device_config(rig, 0x20, 1), 0);
}

static void resize_shows_in_the_configuration_and_in_what_can_be_reached(void **state)
{
	struct rig *rig = *state;
	uint64_t data = buffer(rig, 512);
	struct error err;

	rig_bring_up(rig, 0);
	assert_int_equal(virtio_blk_resize(rig->dev, RIG_DISK_BYTES + 512, &err), 0);
	assert_int_equal(rig_device_config(rig, 0, 4), RIG_SECTORS + 1);
	assert_int_equal(rig_request(rig, VIRTIO_BLK_T_OUT, RIG_SECTORS, data, 512), VIRTIO_BLK_S_OK);
	assert_int_equal(virtio_blk_resize(rig->dev, RIG_DISK_BYTES / 2, &err), 0);
	assert_int_equal(rig_device_config(rig, 0, 4), RIG_SECTORS / 2);
	/* The driver may not have heard yet: an error, and nobody's fault. */
	assert_int_equal(rig_request(rig, VIRTIO_BLK_T_OUT, RIG_SECTORS / 2, data, 512), VIRTIO_BLK_S_IOERR);
	rig_no_blame(rig);
	assert_int_equal(virtio_blk_resize(rig->dev, 0, &err), -1);
	assert_int_equal(virtio_blk_resize(rig->dev, 1000, &err), -1);
	assert_non_null(strstr(err.text, "1000"));
	rig_bring_up(rig, 0);
	assert_int_equal(rig_request(rig, VIRTIO_BLK_T_IN, RIG_SECTORS / 2, data, 512), VIRTIO_BLK_S_IOERR);
	rig_one_blame(rig, "virtio 5.2.6.1");
}

static void a_shrunk_disk_is_not_grown_by_a_write_that_was_fetched_before(void **state)
{
	struct rig *rig = *state;
	struct rig_io io;
	struct error err;
	struct stat st;

	rig_bring_up(rig, 0);
	io = rig_submit(rig, VIRTIO_BLK_T_OUT, RIG_SECTORS - 1, buffer(rig, 512), 512);
	rig_kick(rig);
	assert_true(rig_step(rig));
	assert_int_equal(virtio_blk_resize(rig->dev, RIG_DISK_BYTES / 2, &err), 0);
	rig_run(rig);
	assert_int_equal(rig_status(rig, &io), VIRTIO_BLK_S_IOERR);
	assert_int_equal(stat(rig->disk, &st), 0);
	assert_int_equal(st.st_size, RIG_DISK_BYTES / 2);
}

/*
 * Submits n one-sector reads of sectors 0 to n - 1 at once. The number of them that came back out of order.
 */
static unsigned batch(struct rig *rig, unsigned n)
{
	uint32_t id, len, next = rig->desc_next;
	unsigned odd = 0, count = 0;
	uint64_t data = buffer(rig, n * 512);

	for (unsigned i = 0; i < n; i++)
		rig_submit(rig, VIRTIO_BLK_T_IN, i, data + i * 512, 512);
	rig_kick(rig);
	rig_run(rig);
	while (rig_pop(rig, &id, &len)) {
		odd += id != next;
		next = (next + 3) % rig->ring_size;
		count++;
	}
	assert_int_equal(count, n);
	assert_pattern(rig, data, 0, n * 512);
	return odd;
}

static void without_reorder_requests_come_back_in_order(void **state)
{
	struct rig *rig = *state;

	rig_bring_up(rig, 0);
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(batch(rig, 30), 0);
}

static void with_reorder_they_come_back_in_any_order_that_the_seed_repeats(void **state)
{
	struct rig *rig = *state;
	unsigned first;

	rig_bring_up(rig, 0);
	rig->random = 42;
	first = batch(rig, 30);
	assert_true(first > 0);
	rig_bring_up(rig, 0);
	rig->random = 42;
	assert_int_equal(batch(rig, 30), first);
}

static void no_more_requests_are_outstanding_than_the_option_says(void **state)
{
	struct rig *rig = *state;
	const struct device_stats *stats = rig->dev->ops->stats(rig->dev);
	unsigned steps = 0;

	rig_bring_up(rig, 0);
	for (unsigned i = 0; i < 20; i++)
		rig_submit(rig, VIRTIO_BLK_T_IN, i, buffer(rig, 512), 512);
	rig_kick(rig);
	/* One request at a time takes exactly three steps: fetched, performed, returned. */
	while (stats->requests < 20) {
		assert_true(rig_step(rig));
		assert_int_equal(stats->requests, ++steps / 3);
	}
}

static void a_batch_shares_an_interrupt(void **state)
{
	struct rig *rig = *state;

	rig_enable_msix(rig);
	rig_bring_up(rig, 0);
	RIG_WRITE(rig, queue_msix_vector, 1);
	batch(rig, 32);
	assert_int_equal(rig->messages, 4);
	batch(rig, 3); /* fewer than a batch are not held back */
	assert_int_equal(rig->messages, 5);
}

/* Threads */

struct workers {
	struct rig *rig;
	pthread_t thread[4];
	bool stop;
};

static void *worker(void *arg)
{
	struct workers *w = arg;
	uint64_t random = (uint64_t)(uintptr_t)&random;

	while (!__atomic_load_n(&w->stop, __ATOMIC_RELAXED)) {
		random = random * 6364136223846793005ull + 1442695040888963407ull;
		if (!w->rig->dev->ops->step(w->rig->dev, random >> 33))
			usleep(20);
	}
	return NULL;
}

static void start_workers(struct workers *w, struct rig *rig)
{
	w->rig = rig;
	w->stop = false;
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&w->thread[i], NULL, worker, w), 0);
}

static void stop_workers(struct workers *w)
{
	__atomic_store_n(&w->stop, true, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < 4; i++)
		pthread_join(w->thread[i], NULL);
}

/* A sum of guest memory, all of it. */
static uint64_t digest(const struct rig *rig)
{
	const uint64_t *word = (const uint64_t *)(const void *)rig->host;
	uint64_t sum = 0;

	for (size_t i = 0; i < RIG_PAGES * 4096u / sizeof(*word); i++)
		sum = sum * 31 + word[i];
	return sum;
}

static void after_a_reset_has_shown_nothing_is_written_to_the_guest(void **state)
{
	struct rig *rig = *state;
	struct workers workers;

	start_workers(&workers, rig);
	for (unsigned round = 0; round < 30; round++) {
		uint64_t before;

		rig->brk = RIG_BASE;
		rig_bring_up(rig, 0);
		for (unsigned i = 0; i < 3; i++)
			rig_submit(rig, VIRTIO_BLK_T_IN, 0, buffer(rig, RIG_DISK_BYTES), RIG_DISK_BYTES);
		rig_kick(rig);
		usleep(round * 40);
		RIG_WRITE(rig, device_status, 0);
		while (RIG_READ(rig, device_status) != 0)
			;
		before = digest(rig);
		usleep(300);
		assert_true(digest(rig) == before);
		memset(rig->host, 0, RIG_PAGES * 4096u);
		rig_no_blame(rig);
	}
	stop_workers(&workers);
}

static void a_reset_shows_when_the_running_request_has_ended(void **state)
{
	struct rig *rig = *state;
	struct workers workers;
	struct rig_io io;
	uint8_t byte;

	rig_bring_up(rig, 0);
	io = rig_submit(rig, VIRTIO_BLK_T_IN, 1, buffer(rig, 512), 512);
	close_gate();
	start_workers(&workers, rig);
	rig_kick(rig);
	wait_at_gate();
	RIG_WRITE(rig, device_status, 0);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(RIG_READ(rig, device_status), 0xF);
	open_gate();
	while (RIG_READ(rig, device_status) != 0)
		usleep(50);
	stop_workers(&workers);
	rig_get(rig, io.data + 3, &byte, 1);
	assert_int_equal(byte, 0);
	assert_int_equal(rig_status(rig, &io), 0xEE);
	assert_int_equal(rig_used_idx(rig), 0);
	assert_int_equal(rig->intx_edges, 0);
	rig_start(rig, 0);
	assert_int_equal(rig_request(rig, VIRTIO_BLK_T_IN, 1, io.data, 512), VIRTIO_BLK_S_OK);
	assert_int_equal(rig_used_idx(rig), 1); /* nothing of the old ring comes back */
	rig_no_blame(rig);
}

static void *lose_power(void *arg)
{
	struct rig *rig = arg;

	rig->dev->ops->power_cycle(rig->dev);
	return NULL;
}

static void power_comes_back_when_the_running_request_has_ended(void **state)
{
	struct rig *rig = *state;
	struct workers workers;
	struct rig_io io;
	pthread_t power;
	uint8_t byte;

	rig_bring_up(rig, 0);
	io = rig_submit(rig, VIRTIO_BLK_T_IN, 1, buffer(rig, 512), 512);
	close_gate();
	start_workers(&workers, rig);
	rig_kick(rig);
	wait_at_gate();
	assert_int_equal(pthread_create(&power, NULL, lose_power, rig), 0);
	usleep(20000);
	assert_int_equal(RIG_READ(rig, device_status), 0xF); /* it waits */
	open_gate();
	pthread_join(power, NULL);
	stop_workers(&workers);
	rig_get(rig, io.data + 3, &byte, 1);
	assert_int_equal(byte, 0);
	assert_int_equal(rig_used_idx(rig), 0);
	assert_int_equal(rig_cfg(rig, 0x04, 2), 0);
}

static void without_bus_mastering_a_running_request_waits_and_runs_again(void **state)
{
	struct rig *rig = *state;
	struct workers workers;
	struct rig_io io;
	uint8_t byte;

	rig_bring_up(rig, 0);
	io = rig_submit(rig, VIRTIO_BLK_T_IN, 1, buffer(rig, 512), 512);
	close_gate();
	start_workers(&workers, rig);
	rig_kick(rig);
	wait_at_gate();
	rig_cfg_write(rig, 0x04, 2, 0x0002);
	open_gate();
	usleep(20000);
	stop_workers(&workers);
	rig_get(rig, io.data + 3, &byte, 1);
	assert_int_equal(byte, 0);
	assert_int_equal(rig_status(rig, &io), 0xEE);
	rig_cfg_write(rig, 0x04, 2, 0x0006);
	rig_run(rig);
	assert_int_equal(rig_status(rig, &io), VIRTIO_BLK_S_OK);
	assert_pattern(rig, io.data, 512, 512);
}

static void several_threads_serve_one_queue(void **state)
{
	struct rig *rig = *state;
	struct workers workers;
	unsigned returned = 0;
	uint64_t data = buffer(rig, 32 * 512);

	rig_bring_up(rig, 0);
	start_workers(&workers, rig);
	for (unsigned round = 0; round < 50; round++) {
		uint32_t id, len;
		unsigned waits = 0;

		for (unsigned i = 0; i < 32; i++)
			rig_submit(rig, VIRTIO_BLK_T_IN, i, data + i * 512, 512);
		rig_kick(rig);
		while (returned < 32 * (round + 1)) {
			if (rig_pop(rig, &id, &len))
				returned++;
			else
				assert_true((usleep(50), ++waits) < 100000);
		}
		assert_pattern(rig, data, 0, 32 * 512);
	}
	stop_workers(&workers);
	rig_no_blame(rig);
}

static void power_can_be_lost_while_requests_run(void **state)
{
	struct rig *rig = *state;
	struct workers workers;

	start_workers(&workers, rig);
	for (unsigned round = 0; round < 15; round++) {
		uint64_t before;

		rig->brk = RIG_BASE;
		rig_cfg_write(rig, 0x04, 2, 0x0006);
		rig_bring_up(rig, 0);
		for (unsigned i = 0; i < 3; i++)
			rig_submit(rig, VIRTIO_BLK_T_IN, 0, buffer(rig, RIG_DISK_BYTES), RIG_DISK_BYTES);
		rig_kick(rig);
		usleep(round * 40);
		rig->dev->ops->power_cycle(rig->dev);
		before = digest(rig);
		usleep(300);
		assert_true(digest(rig) == before);
		memset(rig->host, 0, RIG_PAGES * 4096u);
	}
	stop_workers(&workers);
	rig_no_blame(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(contract_3_1_the_features_of_a_contract_device, "contract"),
		RIG_TEST(contract_3_1_the_configuration_structure, "contract"),
		RIG_TEST(qemu_layout_fills_the_fields_of_the_features_it_offers, "qemu-layout"),
		RIG_TEST(contract_3_1_in_reads_sectors, "contract"),
		RIG_TEST(contract_3_1_out_writes_sectors_and_only_those, "contract"),
		RIG_TEST(a_transfer_longer_than_the_devices_chunk_is_whole, "contract"),
		RIG_TEST(a_write_takes_its_data_when_it_is_performed, "contract"),
		RIG_TEST(contract_3_1_flush_completes_ok, "contract"),
		RIG_TEST(contract_3_1_flush_completes_when_prior_completed_writes_are_durable, "contract"),
		RIG_TEST(a_writethrough_write_is_durable_when_it_completes, "qemu-layout"),
		RIG_TEST(virtio_5_2_6_2_a_driver_that_declines_flush_gets_durable_writes, "contract"),
		RIG_TEST(flush_that_is_not_offered_is_unsupported, "contract,features=-flush"),
		RIG_TEST(contract_3_1_every_other_type_is_unsupported, "contract"),
		RIG_TEST(get_id_returns_the_serial_where_there_is_one, "contract,serial=W7-0001"),
		RIG_TEST(contract_3_1_the_last_sector_can_be_read_and_written, "contract"),
		RIG_TEST(contract_3_1_past_the_capacity_is_ioerr, "contract"),
		RIG_TEST(contract_3_1_a_total_that_is_no_multiple_of_512_is_ioerr, "contract"),
		RIG_TEST(contract_3_1_there_are_1_to_seg_max_data_segments, "contract,seg-max=30"),
		RIG_TEST(ranges_that_are_taken_away_read_as_zeroes_and_no_others,
			 "contract,features=+discard+write_zeroes,discard-seg=2"),
		RIG_TEST(ranges_beyond_a_limit_are_blamed,
			 "contract,features=+discard,discard-seg=2,discard-sectors=8"),
		RIG_TEST(ranges_of_a_feature_that_was_not_negotiated_are_blamed, "contract,features=+discard"),
		RIG_TEST(a_segment_longer_than_size_max_is_blamed, "contract,features=+size_max,size-max=512"),
		RIG_TEST(a_piece_of_a_block_is_blamed, "contract,blk-size=4096"),
		RIG_TEST(contract_3_1_ioprio_is_0, "contract"),
		RIG_TEST(contract_3_1_a_request_has_a_header_and_a_status, "contract"),
		RIG_TEST(data_of_the_other_direction_is_refused, "contract"),
		RIG_TEST(contract_3_1_the_status_is_written_before_the_used_entry, "contract"),
		RIG_TEST(contract_3_1_used_len_is_0_always, "contract"),
		RIG_TEST(qemu_counts_what_the_chain_has_to_write, "qemu-layout"),
		RIG_TEST(a_read_only_disk_refuses_writes, "contract,read-only=1"),
		RIG_TEST(a_read_only_disk_refuses_writes, "contract,features=+ro"),
		RIG_TEST(writeback_can_be_written_where_it_was_negotiated, "qemu-layout"),
		RIG_TEST(virtio_5_2_5_2_without_flush_the_cache_is_writethrough, "qemu-layout"),
		RIG_TEST(resize_shows_in_the_configuration_and_in_what_can_be_reached, "contract"),
		RIG_TEST(a_shrunk_disk_is_not_grown_by_a_write_that_was_fetched_before, "contract"),
		RIG_TEST(without_reorder_requests_come_back_in_order, "contract"),
		RIG_TEST(with_reorder_they_come_back_in_any_order_that_the_seed_repeats, "contract,reorder=1"),
		RIG_TEST(no_more_requests_are_outstanding_than_the_option_says, "contract,outstanding=1"),
		RIG_TEST(a_batch_shares_an_interrupt, "contract,batch=8"),
		RIG_TEST(a_reset_shows_when_the_running_request_has_ended, "contract"),
		RIG_TEST(power_comes_back_when_the_running_request_has_ended, "contract"),
		RIG_TEST(without_bus_mastering_a_running_request_waits_and_runs_again, "contract"),
		RIG_TEST(after_a_reset_has_shown_nothing_is_written_to_the_guest, "contract"),
		RIG_TEST(several_threads_serve_one_queue, "contract,reorder=1"),
		RIG_TEST(power_can_be_lost_while_requests_run, "contract"),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
