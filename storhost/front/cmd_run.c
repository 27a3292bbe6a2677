/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* storhost run: scenarios against the hosted driver. */
#include "front/arguments.h"
#include "front/hosted.h"

struct run_arguments {
	struct machine_options machine;
	struct hosted_set set;
	bool json, verbose;
	bool checked; /* the driver is a checked build */
};

/* ---- the command line ---- */

static void print_help(void)
{
	printf("Usage: storhost run FILE.sys SCENARIO... [--disk IMAGE] [--json] [--verbose] [--OPTION VALUE]...\n\n"
	       "Runs each scenario against the driver in a process of its own, and prints PASS, FAIL or SKIP with its\n"
	       "claim. Exit status 1: one failed; 2: one is no scenario, and none was run.\n\nMachine options:\n");
	machine_help(stdout);
	putchar('\n');
	scenario_help(stdout);
}

static int parse_arguments(struct run_arguments *arguments, int argc, char **argv)
{
	const struct argument_flag flags[] = {
		{ "--json", &arguments->json },
		{ "--verbose", &arguments->verbose },
		{ NULL, NULL },
	};
	struct arguments words = {
		.help = print_help,
		.flags = flags,
		.operand = arguments->set.file,
		.command = arguments,
		.machine = &arguments->machine,
	};
	int failed = arguments_read(&words, argc, argv);

	if (failed)
		return failed;
	arguments->set.count = words.operand_count;
	if (!arguments->set.count)
		return cli_usage("run needs a driver and at least one scenario; 'storhost run --help' says more");
	arguments->machine.port.quiet = true; /* the transcript has the event log */
	return 0;
}

/* ---- results ---- */

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

static int run_all(const struct run_arguments *arguments)
{
	FILE *transcript = !arguments->verbose ? NULL : arguments->json ? stderr : stdout;
	struct scenario_outcome outcome;
	struct hosted hosted;
	struct json json;
	int status = CLI_OK;

	if (arguments->json) {
		json_begin(&json, stdout);
		json_open_array(&json, NULL);
	}
	for (int i = 0; i < arguments->set.count; i++) {
		hosted_init(&hosted, &arguments->machine, arguments->checked);
		scenario_run(arguments->set.scenario[i], &hosted.host, transcript, &outcome);
		if (outcome.verdict == SCENARIO_FAIL)
			status = CLI_FINDINGS;
		if (arguments->json)
			print_member(&json, arguments->set.file[i], arguments->set.scenario[i], &outcome);
		else
			print_line(arguments->set.scenario[i], &outcome);
	}
	if (arguments->json) {
		json_close(&json);
		json_end(&json);
	}
	return status;
}

int cmd_run(int argc, char **argv)
{
	struct run_arguments arguments = { .json = false };
	struct error err;
	int status;

	machine_defaults(&arguments.machine);
	if (hosted_set_make(&arguments.set, argc, &err))
		status = cli_fail(NULL, &err);
	else
		status = parse_arguments(&arguments, argc, argv);
	if (!status && (machine_check_driver(&arguments.machine, &arguments.checked, &err) ||
			device_check(&arguments.machine.device, &err) ||
			hosted_set_load(&arguments.set, &arguments.machine, &err)))
		status = cli_fail(NULL, &err);
	if (!status)
		status = run_all(&arguments);
	hosted_set_free(&arguments.set);
	return status;
}
