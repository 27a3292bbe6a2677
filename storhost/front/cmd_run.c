/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* storhost run: scenarios against the hosted driver. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "front/cli.h"
#include "front/machine.h"
#include "pe/pe.h"
#include "scenario/scenario.h"

#define FILE_MAX (1u << 20) /* a longer file is refused by the parser */
#define VERSION_DEBUG 1u    /* VS_FF_DEBUG */

struct run_arguments {
	struct machine_options machine;
	char **files; /* scenarios */
	struct scenario **scenarios;
	int count;
	bool json, verbose, checked;
};

/* The machine of one scenario. In its own process the options are its own, too. */
struct hosted {
	struct machine_options options;
	struct machine machine;
	bool started, checked;
	bool dumping; /* the dump image takes requests */
};

/* ---- what a scenario asks of the machine ---- */

static int host_option(void *opaque, const char *name, const char *value, struct error *err)
{
	struct hosted *hosted = opaque;
	int known = machine_option(&hosted->options, name, value, err);

	if (known == MACHINE_CANNOT)
		return SCENARIO_CANNOT;
	return known > 0 ? error_set(err, "there is no option '%s'", name) : known;
}

static bool host_is(void *opaque, const char *word)
{
	const struct hosted *hosted = opaque;

	if (word[0] == 'x')
		return !strcmp(word, sizeof(void *) == 8 ? "x64" : "x86");
	return !strcmp(word, hosted->checked ? "chk" : "fre");
}

static uint64_t host_seed(void *opaque)
{
	return ((struct hosted *)opaque)->options.cpus.seed;
}

static int host_start(void *opaque, const char *disk, struct error *err)
{
	struct hosted *hosted = opaque;
	int failed;

	if (hosted->started) {
		machine_disable(&hosted->machine);
		return machine_enable(&hosted->machine, &hosted->options, err);
	}
	hosted->started = true;
	hosted->options.disk = disk;
	failed = machine_start(&hosted->machine, &hosted->options, err);
	return failed == MACHINE_CANNOT ? SCENARIO_CANNOT : failed;
}

static int host_dump(void *opaque, const char *disk, bool crash, struct error *err)
{
	struct hosted *hosted = opaque;
	int failed;

	if (!hosted->started) {
		hosted->started = true;
		hosted->options.disk = disk;
		failed = machine_power_on(&hosted->machine, &hosted->options, err);
		if (failed)
			return failed == MACHINE_CANNOT ? SCENARIO_CANNOT : failed;
	}
	hosted->dumping = !machine_dump(&hosted->machine, &hosted->options, crash, err);
	return hosted->dumping ? 0 : -1;
}

static int host_dump_end(void *opaque, struct error *err)
{
	struct hosted *hosted = opaque;

	hosted->dumping = false;
	return machine_dump_end(&hosted->machine, err);
}

static struct port *host_dump_port(void *opaque)
{
	struct hosted *hosted = opaque;

	return hosted->dumping ? hosted->machine.dump : NULL;
}

static struct port *host_port(void *opaque)
{
	return ((struct hosted *)opaque)->machine.port;
}

static struct disk *host_attached(void *opaque)
{
	return ((struct hosted *)opaque)->machine.disk;
}

static void host_stop(void *opaque)
{
	machine_disable(&((struct hosted *)opaque)->machine);
}

static void host_end(void *opaque)
{
	struct hosted *hosted = opaque;

	machine_stop(&hosted->machine);
	machine_free(&hosted->machine);
}

static void host_quit(void *opaque)
{
	machine_abandon(&((struct hosted *)opaque)->machine);
}

static int host_fault(void *opaque, const char *spec, struct error *err)
{
	int failed = machine_fault(&((struct hosted *)opaque)->machine, spec, err);

	return failed == MACHINE_CANNOT ? SCENARIO_CANNOT : failed;
}

static int host_resize(void *opaque, uint64_t bytes, struct error *err)
{
	int failed = machine_resize(&((struct hosted *)opaque)->machine, bytes, err);

	return failed == MACHINE_CANNOT ? SCENARIO_CANNOT : failed;
}

static bool host_forgets(void *opaque)
{
	return device_forgets(&((struct hosted *)opaque)->options.device);
}

static int host_counter(void *opaque, const char *name, uint64_t *value, struct error *err)
{
	int failed = machine_counter(&((struct hosted *)opaque)->machine, name, value, err);

	return failed == MACHINE_CANNOT ? SCENARIO_CANNOT : failed;
}

static bool host_every_fault(void *opaque)
{
	const struct device *device = ((struct hosted *)opaque)->machine.device;

	return device->ops->every_fault && device->ops->resize;
}

static struct scenario_host host_of(struct hosted *hosted, const struct run_arguments *arguments)
{
	memset(hosted, 0, sizeof(*hosted));
	hosted->options = arguments->machine;
	hosted->checked = arguments->checked;
	return (struct scenario_host){
		.opaque = hosted,
		.option = host_option,
		.is = host_is,
		.seed = host_seed,
		.disk = arguments->machine.disk,
		.own_disk = arguments->machine.device.kind->own_disk,
		.start = host_start,
		.port = host_port,
		.attached = host_attached,
		.dump = host_dump,
		.dump_end = host_dump_end,
		.dump_port = host_dump_port,
		.stop = host_stop,
		.end = host_end,
		.quit = host_quit,
		.fault = host_fault,
		.resize = host_resize,
		.forgets = host_forgets,
		.every_fault = host_every_fault,
		.counter = host_counter,
	};
}

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

/* ---- files ---- */

static struct scenario *load_scenario(const struct run_arguments *arguments, const char *path, struct error *err)
{
	FILE *file = fopen(path, "rb");
	char *text = malloc(FILE_MAX + 1);
	struct scenario *scenario = NULL;
	struct scenario_host host;
	struct hosted hosted;
	size_t size;

	if (!file || !text) {
		error_set(err, "%s: %s", path, strerror(errno));
	} else {
		size = fread(text, 1, FILE_MAX + 1, file);
		if (ferror(file))
			error_set(err, "%s: %s", path, strerror(errno));
		else
			scenario = scenario_parse(path, text, size, err);
	}
	if (file)
		fclose(file);
	free(text);
	host = host_of(&hosted, arguments);
	if (!scenario || !scenario_check(scenario, &host, err))
		return scenario;
	scenario_free(scenario);
	return NULL;
}

static int load_all(struct run_arguments *arguments)
{
	struct pe_file *file;
	struct error err;

	if (machine_check_driver(&arguments->machine, &err) || device_check(&arguments->machine.device, &err))
		return cli_fail(NULL, &err);
	if (!pe_open(arguments->machine.driver, &file, &err)) {
		arguments->checked = pe_version_flags(file) & VERSION_DEBUG;
		pe_close(file);
	}
	for (int i = 0; i < arguments->count; i++) {
		arguments->scenarios[i] = load_scenario(arguments, arguments->files[i], &err);
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
	struct scenario_host host;
	struct hosted hosted;
	struct json json;
	int status = CLI_OK;

	if (arguments->json) {
		json_begin(&json, stdout);
		json_open_array(&json, NULL);
	}
	for (int i = 0; i < arguments->count; i++) {
		host = host_of(&hosted, arguments);
		scenario_run(arguments->scenarios[i], &host, transcript, &outcome);
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
