/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The model of the medium: it sees each way in which data can be wrong, and nothing else. */
#define _FILE_OFFSET_BITS 64
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "scenario/internal.h"

#define SIZE 512u
#define BLOCKS 256u

struct bench {
	struct model *model;
	int fd;
	uint8_t data[BLOCKS * SIZE];
};

static int setup(void **state)
{
	struct bench *bench = calloc(1, sizeof(*bench));

	bench->fd = memfd_create("medium", 0);
	assert_int_equal(ftruncate(bench->fd, BLOCKS * SIZE), 0);
	bench->model = model_create(SIZE, bench->fd, true);
	*state = bench;
	return bench->model ? 0 : -1;
}

static int teardown(void **state)
{
	struct bench *bench = *state;

	model_free(bench->model);
	close(bench->fd);
	free(bench);
	return 0;
}

/* A write that the model is told of; the medium gets it if `lands`. */
static uint32_t put(struct bench *bench, uint64_t lba, uint32_t blocks, bool good, bool lands)
{
	uint32_t version = model_new_version(bench->model);

	model_fill(bench->model, lba, blocks, version, bench->data);
	if (lands)
		assert_int_equal(pwrite(bench->fd, bench->data, blocks * SIZE, (off_t)(lba * SIZE)), blocks * SIZE);
	model_written(bench->model, lba, blocks, version, good ? CHANGE_MADE : CHANGE_DOUBTFUL);
	return version;
}

/* "" if the medium's blocks are what the model says, else its sentence. */
static const char *get(struct bench *bench, uint64_t lba, uint32_t blocks)
{
	static struct error err;

	assert_int_equal(pread(bench->fd, bench->data, blocks * SIZE, (off_t)(lba * SIZE)), blocks * SIZE);
	return model_read(bench->model, lba, blocks, bench->data, &err) ? err.text : "";
}

static const char *compared(struct bench *bench)
{
	static struct error err;

	return model_compare(bench->model, &err) ? err.text : "";
}

static void test_what_was_written_is_read(void **state)
{
	struct bench *bench = *state;

	assert_string_equal(get(bench, 0, BLOCKS), "");
	put(bench, 3, 100, true, true);
	put(bench, 50, 2, true, true);
	assert_string_equal(get(bench, 0, BLOCKS), "");
	assert_string_equal(compared(bench), "");
}

static void test_a_lost_write_is_seen(void **state)
{
	struct bench *bench = *state;

	put(bench, 3, 2, true, true);
	put(bench, 4, 1, true, false);
	assert_string_equal(get(bench, 3, 2), "expected version 2 in block 4, got version 1 of block 4");
	assert_string_equal(compared(bench), "on the medium, expected version 2 in block 4, got version 1 of block 4");
}

static void test_a_write_to_the_wrong_place_is_seen_at_both(void **state)
{
	struct bench *bench = *state;
	uint32_t version = model_new_version(bench->model);

	model_fill(bench->model, 10, 1, version, bench->data);
	assert_int_equal(pwrite(bench->fd, bench->data, SIZE, 11 * SIZE), SIZE);
	model_written(bench->model, 10, 1, version, CHANGE_MADE);
	assert_string_equal(get(bench, 10, 1), "expected version 1 in block 10, got zeroes");
	assert_string_equal(get(bench, 11, 1), "expected version 0 in block 11, got version 1 of block 10");
}

static void test_a_stray_write_is_found_on_the_medium(void **state)
{
	struct bench *bench = *state;

	assert_int_equal(pwrite(bench->fd, "x", 1, 200 * SIZE + 511), 1);
	assert_string_equal(compared(bench),
			    "on the medium, expected version 0 in block 200, got data that nobody wrote");
}

static void test_one_wrong_byte_is_seen(void **state)
{
	struct bench *bench = *state;

	put(bench, 0, 4, true, true);
	assert_int_equal(pwrite(bench->fd, "x", 1, 3 * SIZE + 511), 1);
	assert_string_equal(get(bench, 0, 4), "expected version 1 in block 3, got version 1 of block 3, damaged");
}

static void test_a_failed_write_leaves_old_or_new(void **state)
{
	struct bench *bench = *state;

	put(bench, 0, 2, true, true);
	put(bench, 0, 1, false, true);
	put(bench, 1, 1, false, false);
	assert_string_equal(get(bench, 0, 2), "");
	put(bench, 2, 1, false, false);
	assert_int_equal(pwrite(bench->fd, "x", 1, 2 * SIZE), 1);
	assert_string_equal(get(bench, 2, 1), "expected version 0 or 4 in block 2, got data that nobody wrote");
}

static void test_what_was_read_after_a_failed_write_stays(void **state)
{
	struct bench *bench = *state;
	uint8_t old[SIZE];

	put(bench, 0, 1, true, true);
	memcpy(old, bench->data, SIZE);
	put(bench, 0, 1, false, true);
	assert_string_equal(get(bench, 0, 1), "");
	assert_int_equal(pwrite(bench->fd, old, SIZE, 0), SIZE);
	assert_string_equal(get(bench, 0, 1), "expected version 2 in block 0, got version 1 of block 0");
}

static void test_what_was_cut_off_comes_back_as_zeroes(void **state)
{
	struct bench *bench = *state;

	put(bench, 0, BLOCKS, true, true);
	model_cut(bench->model, 100);
	assert_string_equal(get(bench, 99, 1), "");
	assert_string_equal(get(bench, 100, 1), "expected version 2 in block 100, got version 1 of block 100");
	assert_int_equal(ftruncate(bench->fd, 100 * SIZE), 0);
	assert_string_equal(compared(bench), "");
	assert_int_equal(ftruncate(bench->fd, BLOCKS * SIZE), 0);
	assert_string_equal(get(bench, 0, BLOCKS), "");
}

/* What the medium holds there, so that it can come back. */
static void recall(struct bench *bench, uint64_t lba, uint8_t *data)
{
	assert_int_equal(pread(bench->fd, data, SIZE, (off_t)(lba * SIZE)), SIZE);
}

static void bring_back(struct bench *bench, uint64_t lba, const uint8_t *data)
{
	assert_int_equal(pwrite(bench->fd, data, SIZE, (off_t)(lba * SIZE)), SIZE);
}

static void test_lost_power_takes_back_what_was_not_flushed_and_no_more(void **state)
{
	struct bench *bench = *state;
	uint8_t first[SIZE], second[SIZE];

	put(bench, 0, 2, true, true);
	recall(bench, 0, first);
	model_flushed(bench->model, model_clock(bench->model));
	put(bench, 0, 1, true, true);
	recall(bench, 0, second);
	put(bench, 0, 1, true, true);
	bring_back(bench, 0, second);
	assert_string_equal(get(bench, 0, 1), "expected version 3 in block 0, got version 2 of block 0");
	model_power_lost(bench->model);
	assert_string_equal(get(bench, 0, 2), "");
	bring_back(bench, 0, first); /* what was read was on the medium */
	assert_string_equal(get(bench, 0, 1), "expected version 2 in block 0, got version 1 of block 0");
}

static void test_a_lost_flush_is_seen_once_power_is_lost(void **state)
{
	static const uint8_t zeroes[SIZE];
	struct bench *bench = *state;
	uint8_t first[SIZE];

	put(bench, 0, 1, true, true);
	recall(bench, 0, first);
	put(bench, 0, 1, true, true);
	model_flushed(bench->model, model_clock(bench->model));
	put(bench, 0, 1, true, true);
	model_power_lost(bench->model);
	bring_back(bench, 0, zeroes);
	assert_string_equal(get(bench, 0, 1), "expected version 2 or later in block 0, got zeroes");
	bring_back(bench, 0, first);
	assert_string_equal(get(bench, 0, 1), "expected version 2 or later in block 0, got version 1 of block 0");
}

static void test_a_flush_does_not_cover_what_came_after_it_was_sent(void **state)
{
	static const uint8_t zeroes[SIZE];
	struct bench *bench = *state;
	uint32_t clock = model_clock(bench->model);

	put(bench, 0, 1, true, true);
	model_flushed(bench->model, clock);
	model_power_lost(bench->model);
	bring_back(bench, 0, zeroes);
	assert_string_equal(get(bench, 0, 1), "");
}

static void test_a_durable_write_outlives_lost_power(void **state)
{
	static const uint8_t zeroes[SIZE];
	struct bench *bench = *state;
	uint32_t version = model_new_version(bench->model);

	model_written(bench->model, 0, 1, version, CHANGE_DURABLE);
	model_power_lost(bench->model);
	bring_back(bench, 0, zeroes);
	assert_string_equal(get(bench, 0, 1), "expected version 1 in block 0, got zeroes");
}

static void test_blocks_that_were_zeroed_are_zeroes(void **state)
{
	static const uint8_t zeroes[SIZE];
	struct bench *bench = *state;
	uint32_t version;

	put(bench, 0, 3, true, true);
	version = model_new_version(bench->model);
	model_zeroed(bench->model, 0, 1, version, CHANGE_MADE);
	model_zeroed(bench->model, 1, 1, version, CHANGE_DOUBTFUL);
	assert_string_equal(get(bench, 0, 1), "expected version 2 in block 0, got version 1 of block 0");
	assert_string_equal(get(bench, 1, 1), "");
	bring_back(bench, 0, zeroes);
	bring_back(bench, 2, zeroes);
	assert_string_equal(get(bench, 0, 2), "");
	assert_string_equal(get(bench, 2, 1), "expected version 1 in block 2, got zeroes");
}

static void test_of_many_failed_writes_each_is_possible_and_nothing_older(void **state)
{
	static const uint8_t zeroes[SIZE];
	struct bench *bench = *state;

	put(bench, 0, 1, true, true);
	for (unsigned i = 0; i < 8; i++)
		put(bench, 0, 1, false, i == 5);
	assert_string_equal(get(bench, 0, 1), "");
	put(bench, 1, 1, true, true);
	for (unsigned i = 0; i < 8; i++)
		put(bench, 1, 1, false, false);
	bring_back(bench, 1, zeroes);
	assert_string_equal(get(bench, 1, 1), "expected version 10 or later in block 1, got zeroes");
}

static void test_only_what_leaves_no_choice_is_recalled(void **state)
{
	struct bench *bench = *state;
	uint8_t data[3 * SIZE];

	put(bench, 1, 1, true, true);
	assert_true(model_recall(bench->model, 0, 3, data));
	assert_int_equal(pread(bench->fd, bench->data, sizeof(data), 0), sizeof(data));
	assert_memory_equal(data, bench->data, sizeof(data));
	put(bench, 1, 1, false, true);
	assert_false(model_recall(bench->model, 0, 3, data));
}

static void doubt(struct bench *bench, const uint8_t *cdb, uint8_t length, const uint8_t *list, uint32_t list_length)
{
	const struct model_command command = { cdb, length, list, list_length };

	model_doubt(bench->model, &command);
}

static void test_what_a_raw_command_may_have_changed_is_not_judged(void **state)
{
	struct bench *bench = *state;
	static const uint8_t write10[10] = { 0x2a, 0, 0, 0, 0, 7, 0, 0, 2 }, unmap[10] = { 0x42 },
			     list[24] = { 0, 22, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1 },
			     format[6] = { 0x04 };

	put(bench, 7, 3, true, false);
	doubt(bench, write10, sizeof(write10), NULL, 0);
	assert_string_equal(get(bench, 7, 2), "");
	assert_string_not_equal(get(bench, 9, 1), "");
	assert_int_equal(pwrite(bench->fd, "x", 1, 100 * SIZE), 1);
	assert_string_not_equal(compared(bench), "");
	doubt(bench, unmap, sizeof(unmap), list, sizeof(list));
	assert_string_equal(get(bench, 9, 1), "");
	assert_string_not_equal(compared(bench), "");
	doubt(bench, format, sizeof(format), NULL, 0);
	assert_string_equal(compared(bench), "");
	put(bench, 7, 1, true, false);
	assert_string_not_equal(get(bench, 7, 1), "");
}

static void test_a_raw_command_reaches_the_blocks_that_it_names(void **state)
{
	static const uint8_t write10[10] = { 0x2a, 0, 0, 0, 0, 7, 0, 0, 2 }, unmap[10] = { 0x42 },
			     list[24] = { 0, 22, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1 },
			     format[6] = { 0x04 }, read10[10] = { 0x28, 0, 0, 0, 0, 7, 0, 0, 2 };
	const struct model_command commands[] = { { write10, 10, NULL, 0 },
						  { unmap, 10, list, sizeof(list) },
						  { format, 6, NULL, 0 },
						  { read10, 10, NULL, 0 } };
	static const struct {
		unsigned command;
		uint64_t lba, blocks;
		bool reached;
	} cases[] = {
		{ 0, 6, 1, false }, { 0, 6, 2, true },   { 0, 8, 5, true },
		{ 0, 9, 1, false }, { 0, 0, 100, true }, { 1, 9, 1, true },
		{ 1, 8, 1, false }, { 2, 0, 1, true },   { 2, UINT64_MAX / 2, 1, true },
		{ 3, 7, 1, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(model_reaches(&commands[cases[i].command], cases[i].lba, cases[i].blocks),
				 cases[i].reached);
}

static void test_blocks_that_no_file_has_are_no_blocks(void **state)
{
	struct bench *bench = *state;
	static const uint8_t far[16] = { 0x8e, 0, 0x54, 0, 0, 0, 0, 0, 0, 0x1e, 0, 0, 0, 4 };

	put(bench, 0, 1, true, true);
	doubt(bench, far, sizeof(far), NULL, 0);
	assert_string_equal(compared(bench), "");
}

static void test_a_given_image_is_what_it_was(void **state)
{
	struct bench *bench = *state;
	struct model *model;
	struct error err;

	assert_int_equal(pwrite(bench->fd, "anything", 8, 5 * SIZE), 8);
	model = model_create(SIZE, bench->fd, false);
	assert_non_null(model);
	assert_int_equal(pread(bench->fd, bench->data, SIZE, 5 * SIZE), SIZE);
	assert_int_equal(model_read(model, 5, 1, bench->data, &err), 0);
	bench->data[8] ^= 1;
	assert_int_equal(model_read(model, 5, 1, bench->data, &err), -1);
	model_free(model);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_what_was_written_is_read),
		TEST(test_a_lost_write_is_seen),
		TEST(test_a_write_to_the_wrong_place_is_seen_at_both),
		TEST(test_a_stray_write_is_found_on_the_medium),
		TEST(test_one_wrong_byte_is_seen),
		TEST(test_a_failed_write_leaves_old_or_new),
		TEST(test_what_was_read_after_a_failed_write_stays),
		TEST(test_what_was_cut_off_comes_back_as_zeroes),
		TEST(test_lost_power_takes_back_what_was_not_flushed_and_no_more),
		TEST(test_a_lost_flush_is_seen_once_power_is_lost),
		TEST(test_a_flush_does_not_cover_what_came_after_it_was_sent),
		TEST(test_a_durable_write_outlives_lost_power),
		TEST(test_blocks_that_were_zeroed_are_zeroes),
		TEST(test_of_many_failed_writes_each_is_possible_and_nothing_older),
		TEST(test_only_what_leaves_no_choice_is_recalled),
		TEST(test_what_a_raw_command_may_have_changed_is_not_judged),
		TEST(test_a_raw_command_reaches_the_blocks_that_it_names),
		TEST(test_blocks_that_no_file_has_are_no_blocks),
		TEST(test_a_given_image_is_what_it_was),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
