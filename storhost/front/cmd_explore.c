/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* storhost explore: a scenario under every schedule up to a bound. */
#include <stdlib.h>
#include <string.h>

#include "front/cli.h"
#include "front/explorer.h"

#define LIMIT_DEFAULT 100000u

struct explore_arguments {
	struct machine_options machine;
	char **files;   /* scenarios */
	char **options; /* of the machine: name and value in turn */
	int count, option_count;
	uint64_t preemptions, limit, random;
	bool bounded, json; /* bounded: preemptions was given */
	bool checked;       /* the driver is a checked build */
};

/* ---- the command line ---- */

static int print_help(void)
{
	printf("Usage: storhost explore FILE.sys SCENARIO... [--preemptions P] [--limit N] [--random N] [--json]\n"
	       "                       [--OPTION VALUE]...\n\n"
	       "Runs each scenario again and again, each time with another schedule: at every point (a call of the driver's,\n"
	       "the end of a callback, a register access, a wait) another processor or the device may run, or an interrupt\n"
	       "may come. Exit status 1: one failed under some schedule, which is printed; run and explore take it again.\n\n"
	       "  --preemptions P  every schedule with at most P turns taken from a processor that could go on (what the\n"
	       "                   scenario says, or 1); what follows when it cannot go on is free: every order is tried\n"
	       "  --limit N        at most N of them, those with fewer preemptions first (%u)\n"
	       "  --random N       then N random ones, with few preemptions or many (0)\n\nMachine options:\n",
	       LIMIT_DEFAULT);
	machine_help(stdout);
	printf("\nA scenario says with 'explore begin' and 'explore end' which part of it is meant.\n");
	return CLI_OK;
}

static int parse_count(const char *name, const char *value, uint64_t most, uint64_t *count)
{
	char *end;
	unsigned long long number = strtoull(value, &end, 10);

	if (*value < '0' || *value > '9' || *end || number > most)
		return cli_usage("%s must be a number from 0 to %llu, not '%s'", name, (unsigned long long)most, value);
	*count = number;
	return 0;
}

static int parse_option(struct explore_arguments *arguments, char *name, char *value)
{
	struct error err;
	int known;

	if (!strcmp(name, "--preemptions")) {
		arguments->bounded = true;
		return parse_count(name, value, SCENARIO_PREEMPTIONS_MAX, &arguments->preemptions);
	}
	if (!strcmp(name, "--limit"))
		return parse_count(name, value, UINT32_MAX, &arguments->limit);
	if (!strcmp(name, "--random"))
		return parse_count(name, value, UINT32_MAX, &arguments->random);
	known = machine_option(&arguments->machine, name + 2, value, &err);
	if (known < 0)
		return cli_fail(NULL, &err);
	if (known)
		return cli_usage("there is no option %s", name);
	if (!strcmp(name, "--schedule") || arguments->machine.cpus.threads)
		return cli_usage("explore makes the schedules by itself: %s is for 'storhost run'", name);
	if (strcmp(name, "--seed")) {
		arguments->options[arguments->option_count++] = name;
		arguments->options[arguments->option_count++] = value;
	}
	return 0;
}

static int parse_arguments(struct explore_arguments *arguments, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		int failed = 0;

		if (!strcmp(argv[i], "--json")) {
			arguments->json = true;
		} else if (!strncmp(argv[i], "--", 2)) {
			if (i + 1 >= argc)
				return cli_usage("%s needs a value", argv[i]);
			failed = parse_option(arguments, argv[i], argv[i + 1]);
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
		return cli_usage(
			"explore needs a driver and at least one scenario; 'storhost explore --help' says more");
	arguments->machine.port.quiet = true;
	return 0;
}

/* ---- results ---- */

static void print_schedule(FILE *out, const struct schedule *schedule)
{
	for (unsigned i = 0; i < schedule->count; i++)
		fprintf(out, "%s%u:%u", i ? "," : "", schedule->departure[i].point, schedule->departure[i].choice);
	if (!schedule->count)
		fputc('-', out);
}

/* The command that repeats the failure, in memory of its own; NULL: there is none. */
static char *repeating(const struct explore_arguments *arguments, const char *file,
		       const struct exploration *exploration)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	fprintf(out, "%s run %s %s", sizeof(void *) == 8 ? "storhost" : "storhost-x86", arguments->machine.driver,
		file);
	for (int i = 0; i < arguments->option_count; i++)
		fprintf(out, " %s", arguments->options[i]);
	fprintf(out, " --seed %llu --schedule ", (unsigned long long)exploration->outcome.seed);
	print_schedule(out, &exploration->schedule);
	fclose(out);
	return text;
}

static const char *verdict_name(enum scenario_verdict verdict)
{
	return verdict == SCENARIO_PASS ? "PASS" : verdict == SCENARIO_FAIL ? "FAIL" : "SKIP";
}

static void print_line(const struct exploration *exploration, unsigned bound, const char *command)
{
	const struct scenario_outcome *outcome = &exploration->outcome;

	printf("%s ", verdict_name(outcome->verdict));
	cli_print_text(stdout, scenario_claim(exploration->scenario));
	if (outcome->verdict != SCENARIO_SKIP)
		printf(": %llu schedules", (unsigned long long)exploration->tried);
	if (outcome->verdict == SCENARIO_PASS)
		printf(exploration->bounds_done > bound ? ", all with at most %u preemptions"
							: ", not all of those with at most %u preemptions",
		       bound);
	if (exploration->tried_random)
		printf(", and %llu random ones", (unsigned long long)exploration->tried_random);
	if (outcome->reason[0])
		fputs(": ", stdout);
	cli_print_text(stdout, outcome->reason);
	putchar('\n');
	if (command)
		printf("  again: %s\n", command);
	fflush(stdout);
}

static void print_member(struct json *json, const char *file, const struct exploration *exploration, unsigned bound,
			 const char *command)
{
	const struct scenario_outcome *outcome = &exploration->outcome;

	json_open_object(json, NULL);
	json_string(json, "file", file);
	json_string(json, "claim", scenario_claim(exploration->scenario));
	json_string(json, "verdict", verdict_name(outcome->verdict));
	json_string(json, "reason", outcome->reason[0] ? outcome->reason : NULL);
	json_unsigned(json, "seed", outcome->seed);
	json_unsigned(json, "points", exploration->points);
	json_unsigned(json, "schedules", exploration->tried);
	json_unsigned(json, "random", exploration->tried_random);
	json_unsigned(json, "preemptions", bound);
	json_bool(json, "exhausted", exploration->bounds_done > bound);
	json_string(json, "again", command);
	json_close(json);
}

/* ---- exploring ---- */

static int explore_file(const struct explore_arguments *arguments, const char *file, struct json *json)
{
	static struct exploration exploration;
	struct machine_options options = arguments->machine;
	struct scenario *scenario;
	struct hosted hosted;
	char *command = NULL;
	struct error err;
	int status = CLI_OK;

	machine_schedule(&options, &exploration.schedule);
	scenario = hosted_load(&options, file, &err);
	if (!scenario)
		return cli_fail(NULL, &err);
	memset(&exploration, 0, sizeof(exploration));
	exploration.scenario = scenario;
	hosted_init(&hosted, &options, arguments->checked);
	exploration.host = hosted.host;
	exploration.preemptions =
		arguments->bounded ? (unsigned)arguments->preemptions : scenario_preemptions(scenario);
	exploration.limit = arguments->limit;
	exploration.random = arguments->random;
	if (!explore(&exploration, options.cpus.seed, &err)) {
		status = cli_fail(file, &err);
	} else {
		if (exploration.outcome.verdict == SCENARIO_FAIL) {
			status = CLI_FINDINGS;
			command = repeating(arguments, file, &exploration);
		}
		if (json)
			print_member(json, file, &exploration, exploration.preemptions, command);
		else
			print_line(&exploration, exploration.preemptions, command);
	}
	free(command);
	scenario_free(scenario);
	return status;
}

static int explore_all(struct explore_arguments *arguments)
{
	struct json json;
	struct error err;
	int status = CLI_OK;

	if (machine_check_driver(&arguments->machine, &arguments->checked, &err))
		return cli_fail(NULL, &err);
	if (arguments->json) {
		json_begin(&json, stdout);
		json_open_array(&json, NULL);
	}
	for (int i = 0; i < arguments->count && status != CLI_FAILED; i++) {
		int one = explore_file(arguments, arguments->files[i], arguments->json ? &json : NULL);

		status = one > status ? one : status;
	}
	if (arguments->json) {
		json_close(&json);
		json_end(&json);
	}
	return status;
}

int cmd_explore(int argc, char **argv)
{
	struct explore_arguments arguments = { .limit = LIMIT_DEFAULT };
	int status;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--help"))
			return print_help();
	}
	machine_defaults(&arguments.machine);
	arguments.machine.cpus.seed = 1;
	arguments.files = calloc((size_t)argc, sizeof(*arguments.files));
	arguments.options = calloc((size_t)argc, sizeof(*arguments.options));
	if (!arguments.files || !arguments.options)
		status = cli_usage("there is no memory");
	else
		status = parse_arguments(&arguments, argc, argv);
	if (!status)
		status = explore_all(&arguments);
	free(arguments.options);
	free(arguments.files);
	return status;
}
