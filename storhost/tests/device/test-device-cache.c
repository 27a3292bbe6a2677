/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Claims about the volatile cache: what lost power takes back, and what it may not; and about storage that pauses. */
#include "rig.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "device/write_cache.h"

#define FLUSH_LESS (VIRTIO_FEATURE(VIRTIO_F_VERSION_1))

static uint64_t ones(struct rig *rig, uint32_t bytes)
{
	uint64_t at = rig_alloc(rig, bytes, 512);

	for (uint32_t i = 0; i < bytes; i += 512) {
		uint8_t data[512];

		memset(data, 0x11, sizeof(data));
		rig_put(rig, at + i, data, sizeof(data));
	}
	return at;
}

static void write_ones(struct rig *rig, uint64_t sector, uint32_t sectors)
{
	assert_int_equal(rig_request(rig, VIRTIO_BLK_T_OUT, sector, ones(rig, 512 * sectors), 512 * sectors),
			 VIRTIO_BLK_S_OK);
}

static void flush(struct rig *rig)
{
	assert_int_equal(rig_request(rig, VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_OK);
}

/* Of sectors that were written with ones, how many are what the disk held at first. */
static unsigned old_sectors(struct rig *rig, uint64_t sector, unsigned count)
{
	unsigned old = 0;

	for (unsigned i = 0; i < count; i++) {
		uint64_t at = (sector + i) * 512;
		bool is_old = rig_disk_byte(rig, at) != 0x11 || rig_disk_byte(rig, at + 1) != 0x11;

		for (unsigned n = 0; n < 512; n++)
			assert_int_equal(rig_disk_byte(rig, at + n), is_old ? rig_pattern(at + n) : 0x11);
		old += is_old;
	}
	return old;
}

static void what_was_flushed_outlives_lost_power_and_the_rest_does_not(void **state)
{
	struct rig *rig = *state;

	rig_bring_up(rig, 0);
	write_ones(rig, 0, 4);
	flush(rig);
	write_ones(rig, 8, 4);
	assert_int_equal(old_sectors(rig, 8, 4), 0);
	rig->dev->ops->power_cycle(rig->dev);
	assert_int_equal(old_sectors(rig, 0, 4), 0);
	assert_int_equal(old_sectors(rig, 8, 4), 4);
}

static void a_part_may_be_lost_block_by_block(void **state)
{
	struct rig *rig = *state;
	unsigned old;

	rig_bring_up(rig, 0);
	write_ones(rig, 0, 128);
	rig->dev->ops->power_cycle(rig->dev);
	old = old_sectors(rig, 0, 128);
	assert_in_range(old, 16, 112);
	for (unsigned i = 0; i < 128; i += 8)
		assert_int_equal(old_sectors(rig, i, 8) % 8, 0);
}

static void a_reset_loses_nothing(void **state)
{
	struct rig *rig = *state;

	rig_bring_up(rig, 0);
	write_ones(rig, 0, 4);
	rig_reset(rig);
	assert_int_equal(old_sectors(rig, 0, 4), 0);
	rig_start(rig, 0);
	flush(rig);
	rig->dev->ops->power_cycle(rig->dev);
	assert_int_equal(old_sectors(rig, 0, 4), 0);
}

static void a_driver_that_cannot_flush_loses_nothing(void **state)
{
	struct rig *rig = *state;

	rig_bring_up(rig, FLUSH_LESS);
	write_ones(rig, 0, 4);
	rig->dev->ops->power_cycle(rig->dev);
	assert_int_equal(old_sectors(rig, 0, 4), 0);
}

static void a_cache_that_writes_through_loses_nothing(void **state)
{
	struct rig *rig = *state;

	rig_bring_up(rig, 0);
	write_ones(rig, 0, 4);
	rig->dev->ops->power_cycle(rig->dev);
	assert_int_equal(old_sectors(rig, 0, 4), 0);
}

static void blocks_taken_away_come_back_if_that_was_not_flushed(void **state)
{
	struct virtio_blk_discard_write_zeroes range = { .sector = 0, .num_sectors = 4 };
	struct rig *rig = *state;
	uint64_t at;

	rig_bring_up(rig, 0);
	write_ones(rig, 0, 4);
	flush(rig);
	at = rig_alloc(rig, sizeof(range), 16);
	rig_put(rig, at, &range, sizeof(range));
	assert_int_equal(rig_request(rig, VIRTIO_BLK_T_DISCARD, 0, at, sizeof(range)), VIRTIO_BLK_S_OK);
	assert_int_equal(rig_disk_byte(rig, 7), 0);
	rig->dev->ops->power_cycle(rig->dev);
	assert_int_equal(old_sectors(rig, 0, 4), 0);
}

static void a_flush_covers_only_what_was_returned(void **state)
{
	int disk = memfd_create("disk", 0);
	struct write_cache *cache;
	uint8_t byte = 0;

	(void)state;
	assert_int_equal(ftruncate(disk, 2048), 0);
	cache = write_cache_create(disk, 512);
	assert_true(write_cache_keep(cache, 0, 1024));
	assert_int_equal(pwrite(disk, "x", 1, 0), 1);
	assert_int_equal(pwrite(disk, "x", 1, 512), 1);
	write_cache_return(cache, 0, 512);
	write_cache_flush(cache);
	write_cache_lose(cache, 100, 0);
	assert_int_equal(pread(disk, &byte, 1, 0), 1);
	assert_int_equal(byte, 'x');
	assert_int_equal(pread(disk, &byte, 1, 512), 1);
	assert_int_equal(byte, 0);
	write_cache_free(cache);
	close(disk);
}

static void while_storage_pauses_nothing_returns_and_then_everything_does(void **state)
{
	struct rig *rig = *state;
	struct rig_io io;

	rig_bring_up(rig, 0);
	virtio_blk_set_fault(rig->dev, FAULT_PAUSE, 0, 0);
	io = rig_submit(rig, VIRTIO_BLK_T_IN, 1, rig_alloc(rig, 512, 512), 512);
	rig_kick(rig);
	rig_run(rig);
	assert_int_equal(rig_used_idx(rig), 0);
	assert_true(rig->dev->ops->owes(rig->dev));
	rig->wakes = 0;
	virtio_blk_set_fault(rig->dev, FAULT_NONE, 0, 0);
	assert_int_equal(rig->wakes, 1);
	rig_run(rig);
	assert_int_equal(rig_status(rig, &io), VIRTIO_BLK_S_OK);
	assert_false(rig->dev->ops->owes(rig->dev));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(what_was_flushed_outlives_lost_power_and_the_rest_does_not, "contract,volatile=100"),
		RIG_TEST(a_part_may_be_lost_block_by_block, "contract,volatile=50,blk-size=4096"),
		RIG_TEST(a_reset_loses_nothing, "contract,volatile=100"),
		RIG_TEST(a_driver_that_cannot_flush_loses_nothing, "contract,volatile=100"),
		RIG_TEST(a_driver_that_cannot_flush_loses_nothing, "contract,volatile=100,features=-flush"),
		RIG_TEST(a_cache_that_writes_through_loses_nothing, "qemu-layout,volatile=100,cache=through"),
		RIG_TEST(blocks_taken_away_come_back_if_that_was_not_flushed,
			 "contract,volatile=100,features=+discard"),
		cmocka_unit_test(a_flush_covers_only_what_was_returned),
		RIG_TEST(while_storage_pauses_nothing_returns_and_then_everything_does, "contract"),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
