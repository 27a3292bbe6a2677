/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Claims about schedules: their text, and what is chosen where. */
#include "machine_rig.h"

#include <stdlib.h>

#include "nt/schedule.h"

static struct schedule *schedule_of(const char *text)
{
	struct schedule *schedule = calloc(1, sizeof(*schedule));
	struct error err;

	assert_non_null(schedule);
	assert_int_equal(schedule_parse(schedule, text, &err), 0);
	return schedule;
}

static void a_text_names_points_in_ascending_order(void **state)
{
	static const char *const wrong[] = { "",        "1",       "1:",      "1:0", "1:1,",  ",1:1",
					     "2:1,1:1", "1:1,1:2", "1:1 2:1", "--",  "1:256", "4294967296:1",
					     "-1:1",    "+1:1",    "0x1:1",   " 1:1" };
	struct schedule *schedule = schedule_of("0:1,7:255,4294967295:3");
	struct error err;

	(void)state;
	assert_int_equal(schedule->count, 3);
	assert_int_equal(schedule->departure[1].point, 7);
	assert_int_equal(schedule->departure[1].choice, 255);
	assert_int_equal(schedule->departure[2].point, UINT32_MAX);
	assert_int_equal(schedule_of("-")->count, 0);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(schedule_parse(schedule, wrong[i], &err), -1);
}

static void it_departs_where_it_says_and_nowhere_else(void **state)
{
	(void)state;
	assert_false(schedule_decides());
	schedule_follow(schedule_of("1:2,3:1"));
	assert_true(schedule_decides());
	assert_int_equal(schedule_choose(3, false), 0);
	assert_int_equal(schedule_choose(3, false), 2);
	assert_int_equal(schedule_choose(3, false), 0);
	assert_int_equal(schedule_choose(2, true), 1);
	assert_int_equal(schedule_choose(2, true), 0);
}

static void what_is_no_choice_is_no_point(void **state)
{
	(void)state;
	schedule_follow(schedule_of("1:1"));
	assert_int_equal(schedule_choose(2, false), 0);
	assert_int_equal(schedule_choose(1, false), 0);
	schedule_window(false);
	assert_int_equal(schedule_choose(2, false), 0);
	schedule_window(true);
	assert_int_equal(schedule_choose(2, false), 1);
}

static void a_choice_that_there_is_not_is_one_of_the_unusual(void **state)
{
	(void)state;
	schedule_follow(schedule_of("0:1,1:2,2:3,3:4"));
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(schedule_choose(3, false), 1 + i % 2);
}

static void the_trace_has_every_point_with_its_choices(void **state)
{
	static struct schedule_trace trace;
	struct schedule *schedule = schedule_of("1:1");

	(void)state;
	schedule->trace = &trace;
	schedule_follow(schedule);
	schedule_choose(2, false);
	schedule_choose(5, true);
	schedule_choose(1, true);
	assert_int_equal(trace.points, 2);
	assert_int_equal(trace.point[0].count, 2);
	assert_false(trace.point[0].forced);
	assert_int_equal(trace.point[1].count, 5);
	assert_true(trace.point[1].forced);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ISOLATED(a_text_names_points_in_ascending_order),
		ISOLATED(it_departs_where_it_says_and_nowhere_else),
		ISOLATED(what_is_no_choice_is_no_point),
		ISOLATED(a_choice_that_there_is_not_is_one_of_the_unusual),
		ISOLATED(the_trace_has_every_point_with_its_choices),
	};

	return cmocka_run_group_tests_name("nt/schedule", tests, NULL, NULL);
}
