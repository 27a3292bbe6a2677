/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* storhost explore: a scenario under every schedule up to a bound. */
#include <stdlib.h>
#include <string.h>

#include "base/container.h"
#include "front/explorer.h"
#include "front/suite.h"

#define LIMIT_DEFAULT 100000u

struct exploring {
	struct suite suite;
	uint64_t preemptions, limit, random;
	bool bounded; /* preemptions was given */
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

static int parse_option(void *suite, const char *name, const char *value)
{
	struct exploring *exploring = container_of(suite, struct exploring, suite);

	if (!strcmp(name, "preemptions")) {
		exploring->bounded = true;
		return arguments_number(name, value, 0, SCENARIO_PREEMPTIONS_MAX, &exploring->preemptions);
	}
	if (!strcmp(name, "limit"))
		return arguments_number(name, value, 0, UINT32_MAX, &exploring->limit);
	if (!strcmp(name, "random"))
		return arguments_number(name, value, 0, UINT32_MAX, &exploring->random);
	if (!strcmp(name, "schedule"))
		return cli_usage("explore makes the schedules by itself: --schedule is for 'storhost run'");
	return ARGUMENT_UNKNOWN;
}

static const char *refusal(const struct suite *suite)
{
	return suite->machine.cpus.threads ? "threads follow no schedule: explore needs threads=0" : NULL;
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
static char *repeating(const struct suite *suite, int i, const struct exploration *exploration)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	suite_print_words(out, suite, "run", i, exploration->outcome.seed);
	fputs(" --schedule ", out);
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

static int explore_one(struct suite *suite, int i, struct json *json)
{
	static struct exploration exploration;
	const struct exploring *exploring = container_of(suite, struct exploring, suite);
	struct machine_options options = suite->machine;
	struct hosted hosted;
	char *command = NULL;
	struct error err;

	memset(&exploration, 0, sizeof(exploration));
	machine_schedule(&options, &exploration.schedule);
	exploration.scenario = suite->scenario[i];
	hosted_init(&hosted, &options, suite->checked);
	exploration.host = hosted.host;
	exploration.preemptions =
		exploring->bounded ? (unsigned)exploring->preemptions : scenario_preemptions(exploration.scenario);
	exploration.limit = exploring->limit;
	exploration.random = exploring->random;
	if (!explore(&exploration, options.cpus.seed, &err))
		return cli_fail(suite->file[i], &err);
	if (exploration.outcome.verdict == SCENARIO_FAIL)
		command = repeating(suite, i, &exploration);
	if (json)
		print_member(json, suite->file[i], &exploration, exploration.preemptions, command);
	else
		print_line(&exploration, exploration.preemptions, command);
	free(command);
	return exploration.outcome.verdict == SCENARIO_FAIL ? CLI_FINDINGS : CLI_OK;
}

int cmd_explore(int argc, char **argv)
{
	static const struct suite_command command = {
		.name = "explore",
		.help = print_help,
		.option = parse_option,
		.refusal = refusal,
		.run = explore_one,
	};
	struct exploring exploring = { .limit = LIMIT_DEFAULT };

	machine_defaults(&exploring.suite.machine);
	exploring.suite.machine.cpus.seed = 1;
	return suite_main(&exploring.suite, &command, argc, argv);
}
