/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* storhost run: scenarios against the hosted driver. */
#include <stdlib.h>
#include <string.h>

#include "front/cli.h"
#include "front/hosted.h"

struct run_arguments {
	struct machine_options machine;
	char **files; /* scenarios */
	struct scenario **scenarios;
	int count;
	bool json, verbose;
	bool checked; /* the driver is a checked build */
};

/* ---- the command line ---- */

static int print_help(void)
{
	printf("Usage: storhost run FILE.sys SCENARIO... [--disk IMAGE] [--json] [--verbose] [--OPTION VALUE]...\n\n"
	       "Runs each scenario against the driver in a process of its own, and prints PASS, FAIL or SKIP with its\n"
	       "claim. Exit status 1: one failed; 2: one is no scenario, and none was run.\n\nMachine options:\n");
	machine_help(stdout);
	putchar('\n');
	scenario_help(stdout);
	return CLI_OK;
}

static int parse_option(struct run_arguments *arguments, const char *name, const char *value)
{
	struct error err;
	int known = machine_option(&arguments->machine, name, value, &err);

	if (known < 0 || known == MACHINE_CANNOT)
		return cli_fail(NULL, &err);
	return known ? cli_usage("there is no option --%s", name) : 0;
}

static int parse_arguments(struct run_arguments *arguments, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		int failed = 0;

		if (!strcmp(argv[i], "--json")) {
			arguments->json = true;
		} else if (!strcmp(argv[i], "--verbose")) {
			arguments->verbose = true;
		} else if (!strncmp(argv[i], "--", 2)) {
			if (i + 1 >= argc)
				return cli_usage("%s needs a value", argv[i]);
			failed = parse_option(arguments, argv[i] + 2, argv[i + 1]);
			i++;
		} else if (!arguments->machine.driver) {
			arguments->machine.driver = argv[i];
		} else {
			arguments->files[arguments->count++] = argv[i];
		}
		if (failed)
			return failed;
	}
	if (!arguments->count)
		return cli_usage("run needs a driver and at least one scenario; 'storhost run --help' says more");
	arguments->machine.port.quiet = true; /* the transcript has the event log */
	return 0;
}

static int load_all(struct run_arguments *arguments)
{
	struct error err;

	if (machine_check_driver(&arguments->machine, &arguments->checked, &err) ||
	    device_check(&arguments->machine.device, &err))
		return cli_fail(NULL, &err);
	for (int i = 0; i < arguments->count; i++) {
		arguments->scenarios[i] = hosted_load(&arguments->machine, arguments->files[i], &err);
		if (!arguments->scenarios[i])
			return cli_fail(NULL, &err);
	}
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
	for (int i = 0; i < arguments->count; i++) {
		hosted_init(&hosted, &arguments->machine, arguments->checked);
		scenario_run(arguments->scenarios[i], &hosted.host, transcript, &outcome);
		if (outcome.verdict == SCENARIO_FAIL)
			status = CLI_FINDINGS;
		if (arguments->json)
			print_member(&json, arguments->files[i], arguments->scenarios[i], &outcome);
		else
			print_line(arguments->scenarios[i], &outcome);
	}
	if (arguments->json) {
		json_close(&json);
		json_end(&json);
	}
	return status;
}

int cmd_run(int argc, char **argv)
{
	struct run_arguments arguments = { .count = 0 };
	int status;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--help"))
			return print_help();
	}
	machine_defaults(&arguments.machine);
	arguments.files = calloc((size_t)argc, sizeof(*arguments.files));
	arguments.scenarios = calloc((size_t)argc, sizeof(struct scenario *));
	if (!arguments.files || !arguments.scenarios)
		status = cli_usage("there is no memory");
	else
		status = parse_arguments(&arguments, argc, argv);
	if (!status)
		status = load_all(&arguments);
	if (!status)
		status = run_all(&arguments);
	for (int i = 0; i < arguments.count && arguments.scenarios; i++)
		scenario_free(arguments.scenarios[i]);
	free(arguments.scenarios);
	free(arguments.files);
	return status;
}
