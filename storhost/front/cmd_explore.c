/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* storhost explore: a scenario under every schedule up to a bound. */
#include <stdlib.h>
#include <string.h>

#include "front/arguments.h"
#include "front/explorer.h"
#include "front/hosted.h"

#define LIMIT_DEFAULT 100000u

struct explore_arguments {
	struct machine_options machine;
	struct hosted_set set;
	uint64_t preemptions, limit, random;
	bool bounded, json; /* bounded: preemptions was given */
	bool checked;       /* the driver is a checked build */
	char repeat[ARGUMENTS_REPEAT];
};

/* ---- the command line ---- */

static void print_help(void)
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
}

static int parse_option(void *command, const char *name, const char *value)
{
	struct explore_arguments *arguments = command;

	if (!strcmp(name, "preemptions")) {
		arguments->bounded = true;
		return arguments_number(name, value, 0, SCENARIO_PREEMPTIONS_MAX, &arguments->preemptions);
	}
	if (!strcmp(name, "limit"))
		return arguments_number(name, value, 0, UINT32_MAX, &arguments->limit);
	if (!strcmp(name, "random"))
		return arguments_number(name, value, 0, UINT32_MAX, &arguments->random);
	if (!strcmp(name, "schedule"))
		return cli_usage("explore makes the schedules by itself: --schedule is for 'storhost run'");
	return ARGUMENT_UNKNOWN;
}

static int parse_arguments(struct explore_arguments *arguments, int argc, char **argv)
{
	const struct argument_flag flags[] = { { "--json", &arguments->json }, { NULL, NULL } };
	struct arguments words = {
		.help = print_help,
		.flags = flags,
		.option = parse_option,
		.operand = arguments->set.file,
		.command = arguments,
		.machine = &arguments->machine,
	};
	int failed = arguments_read(&words, argc, argv);

	if (failed)
		return failed;
	arguments->set.count = words.operand_count;
	if (!arguments->set.count)
		return cli_usage(
			"explore needs a driver and at least one scenario; 'storhost explore --help' says more");
	if (arguments->machine.cpus.threads)
		return cli_usage("threads follow no schedule: explore needs threads=0");
	arguments->machine.port.quiet = true;
	strcpy(arguments->repeat, words.repeat);
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
	fprintf(out, "%s --seed %llu --schedule ", arguments->repeat, (unsigned long long)exploration->outcome.seed);
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

static int explore_file(const struct explore_arguments *arguments, int i, struct json *json)
{
	static struct exploration exploration;
	struct machine_options options = arguments->machine;
	const char *file = arguments->set.file[i];
	struct hosted hosted;
	char *command = NULL;
	struct error err;
	int status = CLI_OK;

	memset(&exploration, 0, sizeof(exploration));
	machine_schedule(&options, &exploration.schedule);
	exploration.scenario = arguments->set.scenario[i];
	hosted_init(&hosted, &options, arguments->checked);
	exploration.host = hosted.host;
	exploration.preemptions =
		arguments->bounded ? (unsigned)arguments->preemptions : scenario_preemptions(exploration.scenario);
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
	return status;
}

static int explore_all(const struct explore_arguments *arguments)
{
	struct json json;
	int status = CLI_OK;

	if (arguments->json) {
		json_begin(&json, stdout);
		json_open_array(&json, NULL);
	}
	for (int i = 0; i < arguments->set.count && status != CLI_FAILED; i++) {
		int one = explore_file(arguments, i, arguments->json ? &json : NULL);

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
	struct error err;
	int status;

	machine_defaults(&arguments.machine);
	arguments.machine.cpus.seed = 1;
	if (hosted_set_make(&arguments.set, argc, &err))
		status = cli_fail(NULL, &err);
	else
		status = parse_arguments(&arguments, argc, argv);
	if (!status && (machine_check_driver(&arguments.machine, &arguments.checked, &err) ||
			hosted_set_load(&arguments.set, &arguments.machine, &err)))
		status = cli_fail(NULL, &err);
	if (!status)
		status = explore_all(&arguments);
	hosted_set_free(&arguments.set);
	return status;
}
