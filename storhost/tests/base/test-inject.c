/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Injected faults: counted where nothing is to fail, once where something is, and shared with child processes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/inject.h"

static int strikes(enum inject_kind kind, unsigned occasions)
{
	int at = 0;

	for (unsigned i = 1; i <= occasions; i++) {
		if (inject(kind, "here")) {
			assert_int_equal(at, 0);
			at = (int)i;
		}
	}
	return at;
}

static void test_nothing_is_counted_before_a_campaign(void **state)
{
	(void)state;
	assert_int_equal(strikes(INJECT_READ, 5), 0);
	assert_false(inject_is_armed());
	assert_false(inject_has_struck());
	assert_null(inject_place());
}

static void test_a_counting_run_has_no_fault(void **state)
{
	(void)state;
	inject_count();
	assert_int_equal(strikes(INJECT_READ, 5), 0);
	assert_int_equal(strikes(INJECT_CALL, 2), 0);
	assert_int_equal(inject_occasions(INJECT_READ), 5);
	assert_int_equal(inject_occasions(INJECT_CALL), 2);
	assert_int_equal(inject_occasions(INJECT_MEMORY), 0);
	assert_false(inject_is_armed());
}

static void test_the_nth_occasion_of_the_kind_strikes_once(void **state)
{
	(void)state;
	inject_arm(INJECT_READ, 3);
	assert_true(inject_is_armed());
	assert_int_equal(strikes(INJECT_CALL, 5), 0);
	assert_false(inject_has_struck());
	assert_int_equal(strikes(INJECT_READ, 9), 3);
	assert_true(inject_has_struck());
	assert_string_equal(inject_place(), "here");
	inject_over();
	assert_false(inject_has_struck());
	assert_string_equal(inject_place(), "here");
	inject_arm(INJECT_READ, 1);
	assert_null(inject_place());
	assert_int_equal(strikes(INJECT_READ, 1), 1);
}

static void test_only_what_fails_after_the_fault_was_told(void **state)
{
	(void)state;
	inject_arm(INJECT_READ, 1);
	inject_tell();
	assert_false(inject_was_told());
	strikes(INJECT_READ, 1);
	assert_false(inject_was_told());
	inject_tell();
	assert_true(inject_was_told());
}

static void test_a_parent_sees_what_its_child_counted(void **state)
{
	int status;
	pid_t child;

	(void)state;
	inject_arm(INJECT_REMOVE, 2);
	child = fork();
	if (child == 0)
		_exit(strikes(INJECT_REMOVE, 4));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(WEXITSTATUS(status), 2);
	assert_int_equal(inject_occasions(INJECT_REMOVE), 4);
	assert_true(inject_has_struck());
}

static void test_chance_belongs_to_the_fault(void **state)
{
	uint64_t first;

	(void)state;
	inject_arm(INJECT_READ, 1);
	first = inject_random();
	assert_int_equal(inject_random(), first);
	inject_arm(INJECT_READ, 2);
	assert_int_not_equal(inject_random(), first);
	inject_arm(INJECT_CALL, 1);
	assert_int_not_equal(inject_random(), first);
	inject_arm(INJECT_READ, 1);
	assert_int_equal(inject_random(), first);
}

static int start(void **state)
{
	(void)state;
	return inject_start(7, NULL);
}

int main(void)
{
	const struct CMUnitTest before[] = { cmocka_unit_test(test_nothing_is_counted_before_a_campaign) };
	const struct CMUnitTest within[] = {
		cmocka_unit_test(test_a_counting_run_has_no_fault),
		cmocka_unit_test(test_the_nth_occasion_of_the_kind_strikes_once),
		cmocka_unit_test(test_only_what_fails_after_the_fault_was_told),
		cmocka_unit_test(test_a_parent_sees_what_its_child_counted),
		cmocka_unit_test(test_chance_belongs_to_the_fault),
	};
	int failed = cmocka_run_group_tests_name("before a campaign", before, NULL, NULL);

	return failed + cmocka_run_group_tests_name("in a campaign", within, start, NULL);
}
