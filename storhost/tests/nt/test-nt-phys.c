/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Claims about simulated memory: where pages lie, who may touch them when, and what a driver's window shows. */
#include "machine_rig.h"

#include <string.h>

#include "nt/phys.h"

#define RAM_BYTES ((uint64_t)24 << 20)
#define PAGES (RAM_BYTES / PHYS_PAGE)
#define FOUR_GIB ((uint64_t)1 << 32)
#define FAR_UP ((uint64_t)1 << 43)

static void ram(void)
{
	struct error err = { "" };

	if (phys_start(RAM_BYTES, 11, &err))
		fail_msg("%s", err.text);
}

/* Every page that single allocations give, in the order in which they came. */
static unsigned take_all(uint64_t *pages, bool low)
{
	unsigned count = 0;

	while (count < PAGES && (pages[count] = phys_alloc(PHYS_BOTH, low)))
		count++;
	return count;
}

static void no_bus_address_is_the_host_address_of_its_page(void **state)
{
	static uint64_t pages[PAGES];
	unsigned count;

	(void)state;
	ram();
	count = take_all(pages, false);
	for (unsigned i = 0; i < count; i++) {
		uintptr_t host = (uintptr_t)phys_host(pages[i]);
		void *window = phys_map(&pages[i], 1);

		assert_true(host != pages[i]);
		assert_true((uintptr_t)window != pages[i]);
		/* A pointer that a driver hands to the device leads nowhere. */
		assert_null(phys_device(host, 1, false));
		assert_null(phys_device((uintptr_t)window, 1, false));
		phys_unmap(window, 1);
	}
}

static void pages_lie_below_4_gib_above_it_and_far_up(void **state)
{
	static uint64_t pages[PAGES];
	unsigned count, low = 0, middle = 0, high = 0;

	(void)state;
	ram();
	count = take_all(pages, false);
	for (unsigned i = 0; i < count; i++) {
		assert_int_equal(pages[i] % PHYS_PAGE, 0);
		low += pages[i] < FOUR_GIB;
		middle += pages[i] >= FOUR_GIB && pages[i] < FAR_UP;
		high += pages[i] >= FAR_UP;
	}
	assert_true(low > PAGES / 4);
	assert_true(middle > PAGES / 4);
	assert_true(high > PAGES / 4);
}

static int address_order(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void no_page_is_given_twice_and_neighbours_are_rare(void **state)
{
	static uint64_t pages[PAGES];
	unsigned count, neighbours = 0;

	(void)state;
	ram();
	count = take_all(pages, false);
	for (unsigned i = 1; i < count; i++)
		neighbours += pages[i] == pages[i - 1] + PHYS_PAGE;
	assert_true(neighbours < count / 100);
	qsort(pages, count, sizeof(*pages), address_order);
	for (unsigned i = 1; i < count; i++)
		assert_true(pages[i] != pages[i - 1]);
}

static void a_contiguous_run_is_adjacent_and_stays_inside_4_gib(void **state)
{
	unsigned runs = 0;

	(void)state;
	ram();
	for (size_t pages = 1; pages < 40; pages++) {
		uint64_t first = phys_alloc_contiguous(pages, PHYS_COMMON, false),
			 last = first + (pages - 1) * PHYS_PAGE;
		uint8_t *host = phys_host(first);

		if (!first)
			break;
		runs++;
		assert_int_equal(first >> 32, (last + PHYS_PAGE - 1) >> 32);
		assert_ptr_equal(phys_host(last), host + (pages - 1) * PHYS_PAGE);
		/* Nobody else has one of its pages: each is marked once. */
		for (size_t i = 0; i < pages; i++) {
			uint8_t *mark = (uint8_t *)phys_device(first + i * PHYS_PAGE, 1, true);

			assert_non_null(mark);
			assert_int_equal(*mark, 0);
			*mark = 1;
		}
	}
	assert_true(runs > 10);
}

static void low_memory_is_below_4_gib(void **state)
{
	static uint64_t pages[PAGES];
	unsigned count;
	uint64_t run;

	(void)state;
	ram();
	for (run = phys_alloc_contiguous(3, PHYS_COMMON, true); run; run = phys_alloc_contiguous(3, PHYS_COMMON, true))
		assert_true(run + 3 * PHYS_PAGE <= FOUR_GIB);
	count = take_all(pages, true);
	assert_true(count > PAGES / 4);
	qsort(pages, count, sizeof(*pages), address_order);
	for (unsigned i = 0; i < count; i++) {
		assert_true(pages[i] + PHYS_PAGE <= FOUR_GIB);
		assert_true(!i || pages[i] != pages[i - 1]);
	}
	/* It is used up, and the rest is not. */
	assert_int_equal(phys_alloc(PHYS_BOTH, true), 0);
	assert_true(phys_alloc(PHYS_BOTH, false) >= FOUR_GIB);
	assert_true(phys_alloc_contiguous(3, PHYS_COMMON, false) >= FOUR_GIB);
}

static void memory_that_is_used_up_is_address_0_until_some_is_freed(void **state)
{
	static uint64_t pages[PAGES];
	unsigned count;

	(void)state;
	ram();
	count = take_all(pages, false);
	assert_int_equal(phys_alloc(PHYS_BOTH, false), 0);
	phys_free(pages[count / 2], 1);
	assert_int_equal(phys_alloc(PHYS_BOTH, false), pages[count / 2]);
	assert_int_equal(phys_alloc(PHYS_BOTH, false), 0);
	assert_int_equal(phys_alloc_contiguous(PAGES, PHYS_COMMON, false), 0);
}

static void a_contiguous_run_that_is_freed_can_be_had_again(void **state)
{
	uint64_t first = 0, last = 0, next;

	(void)state;
	ram();
	while ((next = phys_alloc_contiguous(8, PHYS_COMMON, true))) {
		first = first ? first : next;
		last = next;
	}
	assert_true(first != last);
	phys_free(first, 8);
	assert_int_equal(phys_alloc_contiguous(8, PHYS_COMMON, true), first);
	assert_int_equal(phys_alloc_contiguous(8, PHYS_COMMON, true), 0);
}

static void the_device_goes_where_the_use_of_a_page_lets_it(void **state)
{
	static const struct {
		enum phys_use use;
		bool reads, writes;
	} rows[] = {
		{ PHYS_FREE, false, false },     { PHYS_PRIVATE, false, false },    { PHYS_COMMON, true, true },
		{ PHYS_TO_DEVICE, true, false }, { PHYS_FROM_DEVICE, false, true }, { PHYS_BOTH, true, true },
	};
	uint64_t page;

	(void)state;
	ram();
	page = phys_alloc(PHYS_PRIVATE, false);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		phys_set_use(page, 1, rows[i].use);
		assert_ptr_equal(phys_device(page + 8, 8, false),
				 rows[i].reads ? (uint8_t *)phys_host(page) + 8 : NULL);
		assert_ptr_equal(phys_device(page + 8, 8, true),
				 rows[i].writes ? (uint8_t *)phys_host(page) + 8 : NULL);
	}
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t fresh = phys_alloc(rows[i].use, false);

		assert_int_equal(!!phys_device(fresh, PHYS_PAGE, false), rows[i].reads);
		assert_int_equal(!!phys_device(fresh, PHYS_PAGE, true), rows[i].writes);
	}
}

static void a_use_is_set_on_exactly_the_pages_named(void **state)
{
	uint64_t run;

	(void)state;
	ram();
	run = phys_alloc_contiguous(4, PHYS_COMMON, false);
	phys_set_use(run + PHYS_PAGE, 2, PHYS_PRIVATE);
	assert_non_null(phys_device(run, 1, false));
	assert_null(phys_device(run + PHYS_PAGE, 1, false));
	assert_null(phys_device(run + 2 * PHYS_PAGE, 1, false));
	assert_non_null(phys_device(run + 3 * PHYS_PAGE, 1, false));
}

static void one_device_access_stays_inside_a_page_and_inside_memory(void **state)
{
	uint64_t run;

	(void)state;
	ram();
	run = phys_alloc_contiguous(2, PHYS_BOTH, false);
	assert_non_null(phys_device(run + PHYS_PAGE - 4, 4, true));
	assert_null(phys_device(run + PHYS_PAGE - 4, 5, true));
	assert_null(phys_device(run, 0, false));
	assert_null(phys_device(run, UINT32_MAX, false));
	assert_null(phys_device(0, 1, false));
	assert_null(phys_device(FOUR_GIB, 1, false));
	assert_null(phys_device(UINT64_MAX, 1, false));
	assert_null(phys_host(FOUR_GIB));
}

static void freed_pages_refuse_the_device(void **state)
{
	uint64_t page, run;

	(void)state;
	ram();
	page = phys_alloc(PHYS_BOTH, false);
	run = phys_alloc_contiguous(3, PHYS_COMMON, false);
	phys_free(page, 1);
	phys_free(run, 3);
	for (unsigned write = 0; write < 2; write++) {
		assert_null(phys_device(page, 1, write));
		for (unsigned i = 0; i < 3; i++)
			assert_null(phys_device(run + i * PHYS_PAGE, 1, write));
	}
}

static void the_use_of_an_address_has_a_name(void **state)
{
	uint64_t page;

	(void)state;
	ram();
	page = phys_alloc(PHYS_PRIVATE, false);
	assert_string_equal(phys_use_name(page), "memory that is not for the device");
	phys_free(page, 1);
	assert_string_equal(phys_use_name(page), "memory that belongs to nobody");
	assert_string_equal(phys_use_name(3), "no memory at all");
}

/* ---- windows ---- */

static void a_window_shows_scattered_pages_in_a_row(void **state)
{
	uint64_t pages[20];
	uint8_t *window;

	(void)state;
	ram();
	for (unsigned i = 0; i < 20; i++)
		pages[i] = phys_alloc(PHYS_BOTH, false);
	window = phys_map(pages, 20);
	assert_non_null(window);
	for (size_t i = 0; i < 20 * PHYS_PAGE; i++)
		window[i] = (uint8_t)(i * 7 + i / PHYS_PAGE);
	for (size_t i = 0; i < 20 * PHYS_PAGE; i++) {
		const uint8_t *byte = (uint8_t *)phys_host(pages[i / PHYS_PAGE]) + i % PHYS_PAGE;

		if (*byte != (uint8_t)(i * 7 + i / PHYS_PAGE))
			fail_msg("byte %zu of the window is not in its page", i);
	}
	*(uint8_t *)phys_device(pages[13] + 5, 1, true) = 0x5a;
	assert_int_equal(window[13 * PHYS_PAGE + 5], 0x5a);
}

static void guards_surround_a_window_and_an_unmapped_one_is_gone(void **state)
{
	uint64_t pages[3];
	uint8_t *windows[50];

	(void)state;
	ram();
	for (unsigned i = 0; i < 3; i++)
		pages[i] = phys_alloc(PHYS_BOTH, false);
	for (unsigned n = 0; n < 50; n++)
		windows[n] = phys_map(pages, 1 + n % 3);
	for (unsigned n = 0; n < 50; n++) {
		size_t bytes = (1 + n % 3) * PHYS_PAGE;

		assert_false(rig_readable(windows[n] - 1));
		assert_true(rig_writable(windows[n]));
		assert_true(rig_writable(windows[n] + bytes - 1));
		assert_false(rig_readable(windows[n] + bytes));
	}
	phys_unmap(windows[7], 1 + 7 % 3);
	assert_false(rig_readable(windows[7]));
	assert_true(rig_readable(windows[6]));
	assert_true(rig_readable(windows[8]));
}

static void windows_can_be_made_as_long_as_they_are_given_back(void **state)
{
	enum { LENGTH = 240 };
	uint64_t pages[LENGTH];

	(void)state;
	ram();
	pages[0] = phys_alloc_contiguous(LENGTH, PHYS_COMMON, false);
	assert_int_not_equal(pages[0], 0);
	for (unsigned i = 1; i < LENGTH; i++)
		pages[i] = pages[0] + i * PHYS_PAGE;
	/* More pages in all than the arena has. */
	for (unsigned n = 0; n < 6000; n++) {
		void *window = phys_map(pages, LENGTH);

		assert_non_null(window);
		phys_unmap(window, LENGTH);
	}
}

static void a_window_address_leads_to_its_bus_address(void **state)
{
	uint64_t pages[4], run;
	uint32_t contiguous = 0;
	uint8_t *window;

	(void)state;
	ram();
	run = phys_alloc_contiguous(2, PHYS_COMMON, false);
	pages[0] = phys_alloc(PHYS_BOTH, false);
	pages[1] = run;
	pages[2] = run + PHYS_PAGE;
	pages[3] = phys_alloc(PHYS_BOTH, false);
	window = phys_map(pages, 4);
	assert_int_equal(phys_of(window, &contiguous), pages[0]);
	assert_int_equal(contiguous, PHYS_PAGE);
	assert_int_equal(phys_of(window + PHYS_PAGE + 16, &contiguous), run + 16);
	assert_int_equal(contiguous, 2 * PHYS_PAGE - 16);
	assert_int_equal(phys_of(window + 3 * PHYS_PAGE - 1, &contiguous), run + 2 * PHYS_PAGE - 1);
	assert_int_equal(contiguous, 1);
	assert_int_equal(phys_of(window + 3 * PHYS_PAGE, NULL), pages[3]);
}

static void an_address_outside_live_windows_has_no_bus_address(void **state)
{
	uint64_t page;
	uint8_t *window;

	(void)state;
	ram();
	page = phys_alloc(PHYS_BOTH, false);
	window = phys_map(&page, 1);
	assert_int_equal(phys_of(window - 1, NULL), 0);
	assert_int_equal(phys_of(window + PHYS_PAGE, NULL), 0);
	assert_int_equal(phys_of(phys_host(page), NULL), 0);
	assert_int_equal(phys_of(&page, NULL), 0);
	assert_int_equal(phys_of(NULL, NULL), 0);
	phys_unmap(window, 1);
	assert_int_equal(phys_of(window, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ISOLATED(no_bus_address_is_the_host_address_of_its_page),
		ISOLATED(pages_lie_below_4_gib_above_it_and_far_up),
		ISOLATED(no_page_is_given_twice_and_neighbours_are_rare),
		ISOLATED(a_contiguous_run_is_adjacent_and_stays_inside_4_gib),
		ISOLATED(low_memory_is_below_4_gib),
		ISOLATED(memory_that_is_used_up_is_address_0_until_some_is_freed),
		ISOLATED(a_contiguous_run_that_is_freed_can_be_had_again),
		ISOLATED(the_device_goes_where_the_use_of_a_page_lets_it),
		ISOLATED(a_use_is_set_on_exactly_the_pages_named),
		ISOLATED(one_device_access_stays_inside_a_page_and_inside_memory),
		ISOLATED(freed_pages_refuse_the_device),
		ISOLATED(the_use_of_an_address_has_a_name),
		ISOLATED(a_window_shows_scattered_pages_in_a_row),
		ISOLATED(guards_surround_a_window_and_an_unmapped_one_is_gone),
		ISOLATED(windows_can_be_made_as_long_as_they_are_given_back),
		ISOLATED(a_window_address_leads_to_its_bus_address),
		ISOLATED(an_address_outside_live_windows_has_no_bus_address),
	};

	return cmocka_run_group_tests_name("nt/phys", tests, NULL, NULL);
}
