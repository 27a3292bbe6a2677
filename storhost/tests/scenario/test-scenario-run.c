/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The process of a scenario: whatever becomes of it is one verdict, with the line that it was at. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <stdnoreturn.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "scenario/internal.h"

/* A machine without a driver, which does at its start what the parameter says. */
struct fake {
	char parameter[32];
	uint64_t seed;
};

/* What a scenario's process makes of an exit with status 0, as a sanitizer does that has found something. */
#define NEVER (-1)
static int leave_with;

noreturn void __real__exit(int status);
noreturn void __wrap__exit(int status); /* -Wl,--wrap=_exit */

void __wrap__exit(int status)
{
	while (leave_with == NEVER)
		pause();
	__real__exit(status ? status : leave_with);
}

static int fake_option(void *opaque, const char *name, const char *value, struct error *err)
{
	struct fake *fake = opaque;

	if (!strcmp(name, "seed"))
		fake->seed = strtoull(value, NULL, 0);
	else if (!strcmp(name, "parameter"))
		snprintf(fake->parameter, sizeof(fake->parameter), "%s", value);
	else if (!strcmp(name, "device"))
		return error_set(err, "a fake cannot be told '%s'", value), SCENARIO_CANNOT;
	else
		return error_set(err, "there is no option '%s'", name);
	return 0;
}

static bool fake_is(void *opaque, const char *word)
{
	(void)opaque;
	return !strcmp(word, "fre");
}

static uint64_t fake_seed(void *opaque)
{
	return ((struct fake *)opaque)->seed;
}

static int fake_start(void *opaque, const char *disk, struct error *err)
{
	struct fake *fake = opaque;

	(void)disk;
	if (!strcmp(fake->parameter, "crash"))
		raise(SIGKILL);
	if (!strcmp(fake->parameter, "exit"))
		_exit(3);
	if (!strcmp(fake->parameter, "exit late"))
		leave_with = 7;
	if (!strcmp(fake->parameter, "hang late"))
		leave_with = NEVER;
	if (!strcmp(fake->parameter, "hang"))
		pause();
	if (!strcmp(fake->parameter, "finding"))
		verify_report(RULE_SRB_TWICE, 0, "twice");
	return error_set(err, "no,\nnot today\x1b");
}

static struct port *fake_port(void *opaque)
{
	(void)opaque;
	return NULL;
}

static void fake_end(void *opaque)
{
	(void)opaque;
}

static int fake_counter(void *opaque, const char *name, uint64_t *value, struct error *err)
{
	*value = ((struct fake *)opaque)->seed;
	if (!strcmp(name, "doorbells"))
		return error_set(err, "a fake cannot be asked for that number"), SCENARIO_CANNOT;
	return strcmp(name, "seed") ? error_set(err, "expected a counter '%s', got none of that name", name) : 0;
}

static struct scenario_outcome run(const char *text, FILE *transcript)
{
	struct fake fake = { .parameter = "", .seed = 5 };
	struct scenario_host host = {
		.opaque = &fake,
		.option = fake_option,
		.is = fake_is,
		.seed = fake_seed,
		.start = fake_start,
		.port = fake_port,
		.stop = fake_end,
		.end = fake_end,
		.quit = fake_end,
		.counter = fake_counter,
	};
	struct scenario_outcome outcome;
	struct scenario *scenario;
	struct error err;

	scenario = scenario_parse("x", text, strlen(text), &err);
	if (!scenario)
		fail_msg("%s", err.text);
	scenario_run(scenario, &host, transcript, &outcome);
	scenario_free(scenario);
	return outcome;
}

static void expect_failure(const char *text, unsigned line, const char *reason)
{
	struct scenario_outcome outcome = run(text, NULL);

	assert_int_equal(outcome.verdict, SCENARIO_FAIL);
	assert_int_equal(outcome.line, line);
	assert_string_equal(outcome.reason, reason);
}

static void test_a_scenario_that_goes_well_passes(void **state)
{
	struct scenario_outcome outcome = run("# c\nstart fails \"not today\"\nexpect seed == 5\n", NULL);

	(void)state;
	assert_int_equal(outcome.verdict, SCENARIO_PASS);
	assert_string_equal(outcome.reason, "");
	assert_int_equal(outcome.seed, 5);
}

static void test_a_step_that_fails_is_the_last(void **state)
{
	(void)state;
	expect_failure("# c\nexpect seed == 4\noption parameter crash\nstart\n", 2, "x:2: expected seed == 4, got 5");
	expect_failure("# c\nstart\n", 2, "x:2: expected the driver to start, got: no,?not today?");
	expect_failure("# c\nstart fails \"tomorrow\"\n", 2,
		       "x:2: expected a refusal with 'tomorrow', got: no,?not today?");
	expect_failure("# c\nexpect requests == 4\n", 2, "x:2: expected a counter 'requests', got none of that name");
}

static void test_a_step_out_of_its_time_fails(void **state)
{
	(void)state;
	expect_failure("# c\nread 0 1\n", 2, "x:2: expected a time for 'read', got it when the driver is not started");
	expect_failure("# c\nstart fails \"\"\nsleep\n", 3,
		       "x:3: expected a time for 'sleep', got it when the driver refused to start");
	expect_failure("# c\nbytes 0 00\n", 2, "x:2: expected a step with data before, got none");
}

static void test_a_death_is_a_failure_of_its_step(void **state)
{
	(void)state;
	expect_failure("# c\noption parameter crash\nstart\n", 3,
		       "x:3: expected an end, got the death of storhost by signal 9 (Killed)");
	expect_failure("# c\noption parameter exit\nstart\n", 3,
		       "x:3: expected an end, got storhost's exit with status 3");
}

static void test_a_death_after_the_last_step_is_no_pass(void **state)
{
	(void)state;
	expect_failure("# c\noption parameter \"exit late\"\nstart fails \"not\"\n", 0,
		       "x: at the end: expected an end, got storhost's exit with status 7");
	expect_failure("# c\nlimit 1\noption parameter \"hang late\"\nstart fails \"not\"\n", 0,
		       "x: at the end: expected an end within 1 seconds, got none");
	expect_failure("# c\noption parameter \"exit late\"\nstart\n", 3,
		       "x:3: expected the driver to start, got: no,?not today?");
}

static void test_a_scenario_without_end_fails_at_its_limit(void **state)
{
	time_t start = time(NULL);

	(void)state;
	expect_failure("# c\nlimit 1\noption parameter hang\nstart\n", 4,
		       "x:4: expected an end within 1 seconds, got none");
	assert_true(time(NULL) - start < 3);
}

static void test_a_finding_fails_unless_it_is_announced(void **state)
{
	struct scenario_outcome outcome;

	(void)state;
	expect_failure("# c\noption parameter finding\nstart fails \"not\"\n", 3,
		       "x:3: expected no finding, got SRB-TWICE: twice");
	outcome = run("# c\noption parameter finding\nstart fails \"not\"\nfinding SRB-TWICE\n", NULL);
	assert_int_equal(outcome.verdict, SCENARIO_PASS);
	expect_failure("# c\nfinding SRB-TWICE\nstart fails \"not\"\n", 0,
		       "x: at the end: expected the finding SRB-TWICE, got none");
}

static void test_a_scenario_for_another_driver_is_skipped(void **state)
{
	struct scenario_outcome outcome = run("# c\ndriver fre\ndriver chk\noption parameter crash\nstart\n", NULL);

	(void)state;
	assert_int_equal(outcome.verdict, SCENARIO_SKIP);
	assert_int_equal(outcome.line, 3);
	assert_string_equal(outcome.reason, "x:3: the driver is no chk build");
}

static void test_what_a_device_does_not_have_is_skipped_with_its_reason(void **state)
{
	struct scenario_outcome outcome = run("# c\noption seed 7\ndevice blk-size=4096\nstart\n", NULL);

	(void)state;
	assert_int_equal(outcome.verdict, SCENARIO_SKIP);
	assert_int_equal(outcome.line, 3);
	assert_string_equal(outcome.reason, "x:3: a fake cannot be told 'blk-size=4096'");
	outcome = run("# c\nexpect doorbells == 5\n", NULL);
	assert_int_equal(outcome.verdict, SCENARIO_SKIP);
	assert_string_equal(outcome.reason, "x:2: a fake cannot be asked for that number");
}

static void test_the_seed_is_the_scenario_s_if_it_sets_one(void **state)
{
	struct scenario_outcome outcome = run("# c\noption seed 77\nexpect seed == 77\n", NULL);

	(void)state;
	assert_int_equal(outcome.verdict, SCENARIO_PASS);
	assert_int_equal(outcome.seed, 77);
}

static void test_the_transcript_has_each_step(void **state)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	(void)state;
	run("# c\nstart   fails \"not\" # x\nexpect seed == 5\n", out);
	fclose(out);
	assert_string_equal(text, "2: start fails \"not\"\n    refused: no,?not today?\n3: expect seed == 5\n"
				  "    seed is 5\nend\n");
	free(text);
}

static void test_an_option_that_the_machine_has_not_is_told_with_its_line(void **state)
{
	static const char text[] = "# c\n\noption colour blue\nstart\n";
	struct fake fake = { .parameter = "", .seed = 5 };
	struct scenario_host host = { .opaque = &fake, .option = fake_option };
	struct error err = { "" };
	struct scenario *scenario = scenario_parse("x", text, strlen(text), &err);

	(void)state;
	assert_non_null(scenario);
	assert_int_equal(scenario_check(scenario, &host, &err), -1);
	assert_string_equal(err.text, "x:3: there is no option 'colour'");
	scenario_free(scenario);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_scenario_that_goes_well_passes),
		cmocka_unit_test(test_a_step_that_fails_is_the_last),
		cmocka_unit_test(test_a_step_out_of_its_time_fails),
		cmocka_unit_test(test_a_death_is_a_failure_of_its_step),
		cmocka_unit_test(test_a_death_after_the_last_step_is_no_pass),
		cmocka_unit_test(test_a_scenario_without_end_fails_at_its_limit),
		cmocka_unit_test(test_a_finding_fails_unless_it_is_announced),
		cmocka_unit_test(test_a_scenario_for_another_driver_is_skipped),
		cmocka_unit_test(test_what_a_device_does_not_have_is_skipped_with_its_reason),
		cmocka_unit_test(test_the_seed_is_the_scenario_s_if_it_sets_one),
		cmocka_unit_test(test_the_transcript_has_each_step),
		cmocka_unit_test(test_an_option_that_the_machine_has_not_is_told_with_its_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
