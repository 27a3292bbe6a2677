/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* storhost run: scenarios against the hosted driver. */
#include "front/suite.h"

static void print_help(void)
{
	printf("Usage: storhost run FILE.sys SCENARIO... [--disk IMAGE] [--json] [--verbose] [--OPTION VALUE]...\n\n"
	       "Runs each scenario against the driver in a process of its own, and prints PASS, FAIL or SKIP with its\n"
	       "claim. Exit status 1: one failed; 2: one is no scenario, and none was run.\n\nMachine options:\n");
	machine_help(stdout);
	putchar('\n');
	scenario_help(stdout);
}

static const char *const verdicts[] = {
	[SCENARIO_PASS] = "PASS",
	[SCENARIO_FAIL] = "FAIL",
	[SCENARIO_SKIP] = "SKIP",
};

static void print_line(const struct scenario *scenario, const struct scenario_outcome *outcome)
{
	printf("%s ", verdicts[outcome->verdict]);
	cli_print_text(stdout, scenario_claim(scenario));
	if (outcome->reason[0])
		fputs(": ", stdout);
	cli_print_text(stdout, outcome->reason);
	if (outcome->verdict == SCENARIO_FAIL)
		printf(" (seed %llu)", (unsigned long long)outcome->seed);
	putchar('\n');
	fflush(stdout);
}

static void print_member(struct json *json, const char *file, const struct scenario *scenario,
			 const struct scenario_outcome *outcome)
{
	json_open_object(json, NULL);
	json_string(json, "file", file);
	json_string(json, "claim", scenario_claim(scenario));
	json_string(json, "verdict", verdicts[outcome->verdict]);
	json_string(json, "reason", outcome->reason[0] ? outcome->reason : NULL);
	json_unsigned(json, "line", outcome->line);
	json_unsigned(json, "seed", outcome->seed);
	json_close(json);
}

static int check_device(struct suite *suite, struct error *err)
{
	return device_check(&suite->machine.device, err);
}

static int run_one(struct suite *suite, int i, struct json *json)
{
	struct scenario_outcome outcome;
	struct hosted hosted;

	hosted_init(&hosted, &suite->machine, suite->checked);
	scenario_run(suite->scenario[i], &hosted.host, suite_transcript(suite), &outcome);
	if (json)
		print_member(json, suite->file[i], suite->scenario[i], &outcome);
	else
		print_line(suite->scenario[i], &outcome);
	return outcome.verdict == SCENARIO_FAIL ? CLI_FINDINGS : CLI_OK;
}

int cmd_run(int argc, char **argv)
{
	static const struct suite_command command = {
		.name = "run",
		.may_be_verbose = true,
		.help = print_help,
		.prepare = check_device,
		.run = run_one,
	};
	struct suite suite = { .json = false };

	machine_defaults(&suite.machine);
	return suite_main(&suite, &command, argc, argv);
}
