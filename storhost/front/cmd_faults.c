/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* storhost faults: scenarios, each once for every fault that can strike it. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/inject.h"
#include "front/arguments.h"
#include "front/hosted.h"

#define RAM_BYTES ((uint64_t)192 << 20) /* making it is much of a run */

struct faults_arguments {
	struct machine_options machine;
	struct hosted_set set;
	int kind; /* -1: all */
	uint64_t every, at;
	bool json, verbose, checked;
	char repeat[ARGUMENTS_REPEAT];
};

struct tally {
	uint64_t runs, failed;
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

static int parse_kind(struct faults_arguments *arguments, const char *value)
{
	for (int kind = 0; kind < INJECT_KINDS; kind++) {
		if (!strcmp(inject_name(kind), value)) {
			arguments->kind = kind;
			return 0;
		}
	}
	return cli_usage("there is no kind of fault '%s'; 'storhost faults --help' has them all", value);
}

static int parse_option(void *command, const char *name, const char *value)
{
	struct faults_arguments *arguments = command;

	if (!strcmp(name, "kind"))
		return parse_kind(arguments, value);
	if (!strcmp(name, "every"))
		return arguments_number(name, value, 1, UINT64_MAX, &arguments->every);
	if (!strcmp(name, "at"))
		return arguments_number(name, value, 1, UINT64_MAX, &arguments->at);
	return ARGUMENT_UNKNOWN;
}

static int parse_arguments(struct faults_arguments *arguments, int argc, char **argv)
{
	const struct argument_flag flags[] = {
		{ "--json", &arguments->json },
		{ "--verbose", &arguments->verbose },
		{ NULL, NULL },
	};
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
		return cli_usage("faults needs a driver and at least one scenario; 'storhost faults --help' says more");
	if (arguments->machine.disk)
		return cli_usage("faults has a disk of its own for each run");
	if (arguments->machine.cpus.threads)
		return cli_usage("runs in real threads do not repeat: faults needs threads=0");
	arguments->machine.port.quiet = true;
	strcpy(arguments->repeat, words.repeat);
	return 0;
}

/* ---- runs ---- */

/* One run; what it says on standard error, findings above all, is for --verbose. */
static void run_once(const struct faults_arguments *arguments, int i, struct scenario_outcome *outcome)
{
	FILE *transcript = !arguments->verbose ? NULL : arguments->json ? stderr : stdout;
	int told = arguments->verbose ? -1 : dup(STDERR_FILENO), nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
	struct hosted hosted;

	hosted_init(&hosted, &arguments->machine, arguments->checked);
	if (told >= 0 && nowhere >= 0)
		dup2(nowhere, STDERR_FILENO);
	scenario_run(arguments->set.scenario[i], &hosted.host, transcript, outcome);
	if (told >= 0)
		dup2(told, STDERR_FILENO);
	if (told >= 0)
		close(told);
	if (nowhere >= 0)
		close(nowhere);
}

/* The command that repeats a run; kind NULL: the one without a fault. */
static const char *command_of(const struct faults_arguments *arguments, int i, const char *kind, uint64_t at)
{
	static char text[ARGUMENTS_REPEAT + 9000];
	int used = snprintf(text, sizeof(text), "%s %s %s %s --seed %llu%s --verbose",
			    sizeof(void *) == 8 ? "storhost" : "storhost-x86", kind ? "faults" : "run",
			    arguments->machine.driver, arguments->set.file[i],
			    (unsigned long long)arguments->machine.cpus.seed, arguments->repeat);

	if (kind && used > 0 && (size_t)used < sizeof(text))
		snprintf(text + used, sizeof(text) - (size_t)used, " --kind %s --at %llu", kind,
			 (unsigned long long)at);
	return text;
}

static void print_failure(const struct faults_arguments *arguments, int i, const char *what,
			  const struct scenario_outcome *outcome, const char *command)
{
	printf("FAIL ");
	cli_print_text(stdout, scenario_claim(arguments->set.scenario[i]));
	printf(", %s: ", what);
	cli_print_text(stdout, outcome->reason);
	printf("\n     %s\n", command);
	fflush(stdout);
}

static void tell_failure(const struct faults_arguments *arguments, int i, uint64_t at,
			 const struct scenario_outcome *outcome, struct json *json)
{
	const char *kind = inject_name(inject_kind()), *command = command_of(arguments, i, kind, at);
	const char *place = inject_place() ? inject_place() : "it did not strike";
	char what[120];

	if (arguments->json) {
		json_open_object(json, NULL);
		json_unsigned(json, "at", at);
		json_string(json, "place", place);
		json_string(json, "reason", outcome->reason);
		json_string(json, "command", command);
		json_close(json);
		return;
	}
	snprintf(what, sizeof(what), "%s %llu (%s)", kind, (unsigned long long)at, place);
	print_failure(arguments, i, what, outcome, command);
}

/* The first occasion that is looked at: every seed looks at others, and each kind has one. */
static uint64_t first_occasion(const struct faults_arguments *arguments, enum inject_kind kind, uint64_t occasions)
{
	uint64_t most = arguments->every < occasions ? arguments->every : occasions;

	if (arguments->at)
		return arguments->at;
	inject_arm(kind, occasions);
	return most ? 1 + inject_random() % most : 1;
}

static void run_kind(const struct faults_arguments *arguments, int i, enum inject_kind kind, uint64_t occasions,
		     struct json *json, struct tally *tally)
{
	struct scenario_outcome outcome;

	for (uint64_t n = first_occasion(arguments, kind, occasions); n <= occasions; n += arguments->every) {
		inject_arm(kind, n);
		run_once(arguments, i, &outcome);
		tally->runs++;
		if (outcome.verdict == SCENARIO_FAIL) {
			tally->failed++;
			tell_failure(arguments, i, n, &outcome, json);
		}
		if (arguments->at)
			break;
	}
}

static void run_kinds(const struct faults_arguments *arguments, int i, struct json *json, struct tally *total)
{
	uint64_t occasions[INJECT_KINDS];

	for (unsigned kind = 0; kind < INJECT_KINDS; kind++)
		occasions[kind] = inject_occasions(kind);
	for (unsigned kind = 0; kind < INJECT_KINDS; kind++) {
		struct tally tally = { 0, 0 };

		if (arguments->kind >= 0 && (unsigned)arguments->kind != kind)
			continue;
		if (arguments->json) {
			json_open_object(json, NULL);
			json_string(json, "kind", inject_name(kind));
			json_unsigned(json, "occasions", occasions[kind]);
			json_open_array(json, "failures");
		}
		run_kind(arguments, i, kind, occasions[kind], json, &tally);
		if (arguments->json) {
			json_close(json);
			json_unsigned(json, "runs", tally.runs);
			json_close(json);
		}
		total->runs += tally.runs;
		total->failed += tally.failed;
	}
}

/* A scenario without a fault, and with each. */
static void run_scenario(const struct faults_arguments *arguments, int i, struct json *json, struct tally *total)
{
	struct scenario_outcome outcome;
	struct tally tally = { 1, 0 };

	inject_count();
	run_once(arguments, i, &outcome);
	if (arguments->json) {
		json_open_object(json, NULL);
		json_string(json, "file", arguments->set.file[i]);
		json_string(json, "claim", scenario_claim(arguments->set.scenario[i]));
		json_string(json, "reason", outcome.reason[0] ? outcome.reason : NULL);
		json_open_array(json, "kinds");
	} else if (outcome.verdict == SCENARIO_FAIL) {
		print_failure(arguments, i, "without a fault", &outcome, command_of(arguments, i, NULL, 0));
	}
	tally.failed += outcome.verdict == SCENARIO_FAIL;
	if (outcome.verdict == SCENARIO_PASS)
		run_kinds(arguments, i, json, &tally);
	if (arguments->json) {
		json_close(json);
		json_close(json);
	} else {
		printf("%6llu runs, %llu failed: ", (unsigned long long)tally.runs, (unsigned long long)tally.failed);
		cli_print_text(stdout, scenario_claim(arguments->set.scenario[i]));
		putchar('\n');
		fflush(stdout);
	}
	total->runs += tally.runs;
	total->failed += tally.failed;
}

static int run_all(const struct faults_arguments *arguments)
{
	struct tally total = { 0, 0 };
	struct json json;

	if (arguments->json) {
		json_begin(&json, stdout);
		json_open_array(&json, NULL);
	}
	for (int i = 0; i < arguments->set.count; i++)
		run_scenario(arguments, i, &json, &total);
	if (arguments->json) {
		json_close(&json);
		json_end(&json);
	} else {
		printf("%llu runs, %llu failed (seed %llu)\n", (unsigned long long)total.runs,
		       (unsigned long long)total.failed, (unsigned long long)arguments->machine.cpus.seed);
	}
	return total.failed ? CLI_FINDINGS : CLI_OK;
}

int cmd_faults(int argc, char **argv)
{
	struct faults_arguments arguments = { .kind = -1, .every = 1 };
	struct error err;
	int status;

	machine_defaults(&arguments.machine);
	arguments.machine.ram = RAM_BYTES;
	if (hosted_set_make(&arguments.set, argc, &err))
		status = cli_fail(NULL, &err);
	else
		status = parse_arguments(&arguments, argc, argv);
	if (!status && (machine_check_driver(&arguments.machine, &arguments.checked, &err) ||
			inject_start(arguments.machine.cpus.seed, &err) ||
			hosted_set_load(&arguments.set, &arguments.machine, &err)))
		status = cli_fail(NULL, &err);
	if (!status)
		status = run_all(&arguments);
	hosted_set_free(&arguments.set);
	return status;
}
