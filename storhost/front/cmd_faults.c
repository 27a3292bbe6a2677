/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* storhost faults: scenarios, each once for every fault that can strike it. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/container.h"
#include "base/inject.h"
#include "front/suite.h"

#define RAM_BYTES ((uint64_t)192 << 20) /* making it is much of a run */

struct tally {
	uint64_t runs, failed;
};

struct faulting {
	struct suite suite;
	int kind; /* -1: all */
	uint64_t every, at;
	struct tally total;
};

/* ---- the command line ---- */

static void print_help(void)
{
	printf("Usage: storhost faults FILE.sys SCENARIO... [--kind KIND] [--every M | --at N] [--json] [--verbose]\n"
	       "                       [--OPTION VALUE]...\n\n"
	       "Runs each scenario once without a fault, which counts the occasions of each kind, and then once for each\n"
	       "occasion, at which a fault strikes. Up to there everything must be as the scenario expects it. From there\n"
	       "on requests may fail, if they say so; but each comes back once, no data are wrong, no rule is broken,\n"
	       "nothing is leaked, and in the end the disk works, if need be after it was disabled and enabled. Exit\n"
	       "status 1: it was not so once; that is printed with the command that repeats it.\n\n"
	       "  --every M  every Mth occasion of each kind only, the first one as the seed says\n"
	       "  --at N     the Nth occasion only\n\nKinds:\n");
	for (unsigned kind = 0; kind < INJECT_KINDS; kind++)
		printf("  %-20s %s\n", inject_name(kind), inject_meaning(kind));
	printf("\nMachine options:\n");
	machine_help(stdout);
}

static int parse_kind(struct faulting *faulting, const char *value)
{
	for (int kind = 0; kind < INJECT_KINDS; kind++) {
		if (!strcmp(inject_name(kind), value)) {
			faulting->kind = kind;
			return 0;
		}
	}
	return cli_usage("there is no kind of fault '%s'; 'storhost faults --help' has them all", value);
}

static int parse_option(void *suite, const char *name, const char *value)
{
	struct faulting *faulting = container_of(suite, struct faulting, suite);

	if (!strcmp(name, "kind"))
		return parse_kind(faulting, value);
	if (!strcmp(name, "every"))
		return arguments_number(name, value, 1, UINT64_MAX, &faulting->every);
	if (!strcmp(name, "at"))
		return arguments_number(name, value, 1, UINT64_MAX, &faulting->at);
	return ARGUMENT_UNKNOWN;
}

static const char *refusal(const struct suite *suite)
{
	if (suite->machine.disk)
		return "faults has a disk of its own for each run";
	return suite->machine.cpus.threads ? "runs in real threads do not repeat: faults needs threads=0" : NULL;
}

/* ---- runs ---- */

/* One run; what it says on standard error, findings above all, is for --verbose. */
static void run_once(const struct suite *suite, int i, struct scenario_outcome *outcome)
{
	int told = suite->verbose ? -1 : dup(STDERR_FILENO), nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
	struct hosted hosted;

	hosted_init(&hosted, &suite->machine, suite->checked);
	if (told >= 0 && nowhere >= 0)
		dup2(nowhere, STDERR_FILENO);
	scenario_run(suite->scenario[i], &hosted.host, suite_transcript(suite), outcome);
	if (told >= 0)
		dup2(told, STDERR_FILENO);
	if (told >= 0)
		close(told);
	if (nowhere >= 0)
		close(nowhere);
}

/* The command that repeats a run, in memory of its own, or NULL; kind NULL: the one without a fault. */
static char *command_of(const struct suite *suite, int i, const char *kind, uint64_t at)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	suite_print_words(out, suite, kind ? "faults" : "run", i, suite->machine.cpus.seed);
	fputs(" --verbose", out);
	if (kind)
		fprintf(out, " --kind %s --at %llu", kind, (unsigned long long)at);
	fclose(out);
	return text;
}

static void print_failure(const struct suite *suite, int i, const char *what, const struct scenario_outcome *outcome,
			  const char *command)
{
	printf("FAIL ");
	cli_print_text(stdout, scenario_claim(suite->scenario[i]));
	printf(", %s: ", what);
	cli_print_text(stdout, outcome->reason);
	printf("\n     %s\n", command ? command : "");
	fflush(stdout);
}

static void tell_failure(const struct suite *suite, int i, uint64_t at, const struct scenario_outcome *outcome,
			 struct json *json)
{
	const char *place = inject_place() ? inject_place() : "it did not strike", *kind = inject_name(inject_kind());
	char *command = command_of(suite, i, kind, at);
	char what[120];

	if (json) {
		json_open_object(json, NULL);
		json_unsigned(json, "at", at);
		json_string(json, "place", place);
		json_string(json, "reason", outcome->reason);
		json_string(json, "command", command);
		json_close(json);
	} else {
		snprintf(what, sizeof(what), "%s %llu (%s)", kind, (unsigned long long)at, place);
		print_failure(suite, i, what, outcome, command);
	}
	free(command);
}

/* The first occasion that is looked at: every seed looks at others, and each kind has one. */
static uint64_t first_occasion(const struct faulting *faulting, enum inject_kind kind, uint64_t occasions)
{
	uint64_t most = faulting->every < occasions ? faulting->every : occasions;

	if (faulting->at)
		return faulting->at;
	inject_arm(kind, occasions);
	return most ? 1 + inject_random() % most : 1;
}

static void run_kind(const struct faulting *faulting, int i, enum inject_kind kind, uint64_t occasions,
		     struct json *json, struct tally *tally)
{
	struct scenario_outcome outcome;

	for (uint64_t n = first_occasion(faulting, kind, occasions); n <= occasions; n += faulting->every) {
		inject_arm(kind, n);
		run_once(&faulting->suite, i, &outcome);
		tally->runs++;
		if (outcome.verdict == SCENARIO_FAIL) {
			tally->failed++;
			tell_failure(&faulting->suite, i, n, &outcome, json);
		}
		if (faulting->at)
			break;
	}
}

static void run_kinds(const struct faulting *faulting, int i, struct json *json, struct tally *total)
{
	uint64_t occasions[INJECT_KINDS];

	for (unsigned kind = 0; kind < INJECT_KINDS; kind++)
		occasions[kind] = inject_occasions(kind);
	for (unsigned kind = 0; kind < INJECT_KINDS; kind++) {
		struct tally tally = { 0, 0 };

		if (faulting->kind >= 0 && (unsigned)faulting->kind != kind)
			continue;
		if (json) {
			json_open_object(json, NULL);
			json_string(json, "kind", inject_name(kind));
			json_unsigned(json, "occasions", occasions[kind]);
			json_open_array(json, "failures");
		}
		run_kind(faulting, i, kind, occasions[kind], json, &tally);
		if (json) {
			json_close(json);
			json_unsigned(json, "runs", tally.runs);
			json_close(json);
		}
		total->runs += tally.runs;
		total->failed += tally.failed;
	}
}

static void tell_unharmed_failure(const struct suite *suite, int i, const struct scenario_outcome *outcome)
{
	char *command = command_of(suite, i, NULL, 0);

	print_failure(suite, i, "without a fault", outcome, command);
	free(command);
}

/* A scenario without a fault, and with each. */
static int run_one(struct suite *suite, int i, struct json *json)
{
	struct faulting *faulting = container_of(suite, struct faulting, suite);
	struct scenario_outcome outcome;
	struct tally tally = { 1, 0 };

	inject_count();
	run_once(suite, i, &outcome);
	if (json) {
		json_open_object(json, NULL);
		json_string(json, "file", suite->file[i]);
		json_string(json, "claim", scenario_claim(suite->scenario[i]));
		json_string(json, "reason", outcome.reason[0] ? outcome.reason : NULL);
		json_open_array(json, "kinds");
	} else if (outcome.verdict == SCENARIO_FAIL) {
		tell_unharmed_failure(suite, i, &outcome);
	}
	tally.failed += outcome.verdict == SCENARIO_FAIL;
	if (outcome.verdict == SCENARIO_PASS)
		run_kinds(faulting, i, json, &tally);
	if (json) {
		json_close(json);
		json_close(json);
	} else {
		printf("%6llu runs, %llu failed: ", (unsigned long long)tally.runs, (unsigned long long)tally.failed);
		cli_print_text(stdout, scenario_claim(suite->scenario[i]));
		putchar('\n');
		fflush(stdout);
	}
	faulting->total.runs += tally.runs;
	faulting->total.failed += tally.failed;
	return tally.failed ? CLI_FINDINGS : CLI_OK;
}

static int prepare(struct suite *suite, struct error *err)
{
	return inject_start(suite->machine.cpus.seed, err);
}

static void summary(const struct suite *suite)
{
	const struct tally *total = &container_of(suite, struct faulting, suite)->total;

	printf("%llu runs, %llu failed (seed %llu)\n", (unsigned long long)total->runs,
	       (unsigned long long)total->failed, (unsigned long long)suite->machine.cpus.seed);
}

int cmd_faults(int argc, char **argv)
{
	static const struct suite_command command = {
		.name = "faults",
		.may_be_verbose = true,
		.help = print_help,
		.option = parse_option,
		.refusal = refusal,
		.prepare = prepare,
		.run = run_one,
		.summary = summary,
	};
	struct faulting faulting = { .kind = -1, .every = 1 };

	machine_defaults(&faulting.suite.machine);
	faulting.suite.machine.ram = RAM_BYTES;
	return suite_main(&faulting.suite, &command, argc, argv);
}
