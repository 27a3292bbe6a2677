/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Claims about guarded allocations: what is found, and what is not blamed. */
#include "machine_rig.h"

#include <string.h>

#include "nt/pool.h"

#define TAG 0x74736554u
#define PC ((uintptr_t)0x1000)

static uint8_t *allocate(size_t size, enum pool_kind kind)
{
	uint8_t *block = pool_alloc(size, TAG, kind, PC);

	assert_non_null(block);
	return block;
}

static void an_allocation_ends_at_a_guard_and_is_gone_when_freed(void **state)
{
	static const size_t sizes[] = { 16, 64, 4096, 4112, 12288 };

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint8_t *block = allocate(sizes[i], POOL_NONPAGED);

		assert_int_equal((uintptr_t)block % 16, 0);
		assert_true(rig_writable(block));
		assert_true(rig_writable(block + sizes[i] - 1));
		assert_false(rig_readable(block + sizes[i]));
		assert_true(pool_free(block, POOL_NONPAGED, PC));
		assert_false(rig_readable(block));
	}
	rig_no_findings();
}

static void drivers_get_a_pattern_and_the_port_gets_zeroes(void **state)
{
	uint8_t *driver, *port;

	(void)state;
	driver = allocate(5000, POOL_NONPAGED);
	port = allocate(5000, POOL_PORT);
	for (size_t i = 0; i < 5000; i++) {
		assert_int_equal(driver[i], POOL_FILL);
		assert_int_equal(port[i], 0);
	}
}

static void sizes_that_make_no_sense_get_nothing(void **state)
{
	(void)state;
	assert_null(pool_alloc(0, TAG, POOL_NONPAGED, PC));
	assert_null(pool_alloc(SIZE_MAX, TAG, POOL_NONPAGED, PC));
	assert_null(pool_alloc(SIZE_MAX / 2 - 4096, TAG, POOL_NONPAGED, PC));
	assert_int_equal(pool_bytes(), 0);
}

static void an_overrun_into_the_slack_is_found_when_it_is_freed(void **state)
{
	uint8_t *block;

	(void)state;
	block = allocate(13, POOL_NONPAGED);
	block[13] = 0;
	rig_no_findings();
	assert_true(pool_free(block, POOL_NONPAGED, PC + 1));
	rig_only_findings(RULE_MEMORY_OVERRUN, 1);
	assert_int_equal(verify_finding(0)->pc, PC);
	assert_string_equal(verify_finding(0)->text, "byte 13 of an allocation of 13 bytes was written");
}

static void an_underrun_is_found_when_it_is_freed(void **state)
{
	uint8_t *block;

	(void)state;
	block = allocate(100, POOL_NONPAGED);
	block[-1] = 0;
	assert_true(pool_free(block, POOL_NONPAGED, PC));
	rig_only_findings(RULE_MEMORY_OVERRUN, 1);
	assert_string_equal(verify_finding(0)->text, "byte -1 of an allocation of 100 bytes was written");
}

static void contiguous_memory_begins_at_a_page_and_its_end_is_watched(void **state)
{
	uint8_t *block;

	(void)state;
	block = allocate(100, POOL_CONTIGUOUS);
	assert_int_equal((uintptr_t)block % 4096, 0);
	block[99] = 1;
	block[100] = 1;
	assert_true(pool_free(block, POOL_CONTIGUOUS, PC));
	rig_only_findings(RULE_MEMORY_OVERRUN, 1);
}

static void a_block_that_is_written_inside_is_not_blamed(void **state)
{
	uint8_t *block;

	(void)state;
	block = allocate(4099, POOL_NONPAGED);
	memset(block, 0, 4099);
	assert_true(pool_free(block, POOL_NONPAGED, PC));
	rig_no_findings();
}

static void only_what_was_allocated_so_is_freed_and_once(void **state)
{
	uint8_t *block, *other;

	(void)state;
	block = allocate(64, POOL_NONPAGED);
	other = allocate(64, POOL_NONPAGED);
	assert_false(pool_free(block + 16, POOL_NONPAGED, PC));
	assert_false(pool_free(block, POOL_CONTIGUOUS, PC + 1));
	assert_false(pool_free(&block, POOL_NONPAGED, PC + 2));
	rig_only_findings(RULE_MEMORY_FREE, 3);
	assert_true(rig_writable(block));
	assert_true(pool_free(block, POOL_NONPAGED, PC));
	assert_false(pool_free(block, POOL_NONPAGED, PC + 3));
	rig_only_findings(RULE_MEMORY_FREE, 4);
	assert_int_equal(verify_finding(3)->pc, PC + 3);
	assert_true(rig_writable(other));
}

static void what_a_driver_leaves_behind_is_reported_with_its_tag(void **state)
{
	uint8_t *kept, *contiguous;

	(void)state;
	kept = allocate(48, POOL_NONPAGED);
	contiguous = allocate(5000, POOL_CONTIGUOUS);
	allocate(100, POOL_PORT);
	assert_int_equal(pool_bytes(), 5048);
	pool_report_leaks();
	rig_only_findings(RULE_MEMORY_LEAK, 2);
	assert_string_equal(verify_finding(0)->text, "5000 bytes (tag 0x74736554) were never freed");
	assert_int_equal(pool_bytes(), 0);
	assert_false(rig_readable(kept));
	assert_false(rig_readable(contiguous));
	pool_report_leaks();
	rig_only_findings(RULE_MEMORY_LEAK, 2);
}

static void a_leaked_block_that_was_overrun_is_blamed_for_both(void **state)
{
	uint8_t *block;

	(void)state;
	block = allocate(13, POOL_REGISTRY);
	block[14] = 0;
	pool_report_leaks();
	assert_int_equal(rig_findings(RULE_MEMORY_LEAK), 1);
	assert_int_equal(rig_findings(RULE_MEMORY_OVERRUN), 1);
}

static void a_range_is_owned_if_it_lies_inside_one_block(void **state)
{
	uint8_t *block;

	(void)state;
	block = allocate(96, POOL_NONPAGED);
	assert_true(pool_owns(block, 96));
	assert_true(pool_owns(block + 95, 1));
	assert_false(pool_owns(block, 97));
	assert_false(pool_owns(block + 96, 1));
	assert_false(pool_owns(block - 1, 1));
	assert_false(pool_owns(block + 8, SIZE_MAX));
	assert_true(pool_free(block, POOL_NONPAGED, PC));
	assert_false(pool_owns(block, 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ISOLATED(an_allocation_ends_at_a_guard_and_is_gone_when_freed),
		ISOLATED(drivers_get_a_pattern_and_the_port_gets_zeroes),
		ISOLATED(sizes_that_make_no_sense_get_nothing),
		ISOLATED(an_overrun_into_the_slack_is_found_when_it_is_freed),
		ISOLATED(an_underrun_is_found_when_it_is_freed),
		ISOLATED(contiguous_memory_begins_at_a_page_and_its_end_is_watched),
		ISOLATED(a_block_that_is_written_inside_is_not_blamed),
		ISOLATED(only_what_was_allocated_so_is_freed_and_once),
		ISOLATED(what_a_driver_leaves_behind_is_reported_with_its_tag),
		ISOLATED(a_leaked_block_that_was_overrun_is_blamed_for_both),
		ISOLATED(a_range_is_owned_if_it_lies_inside_one_block),
	};

	return cmocka_run_group_tests_name("nt/pool", tests, NULL, NULL);
}
