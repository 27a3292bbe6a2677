/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* storhost fuzz: bytes by seed, or from files, as a lying device or as what Windows asks. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "front/arguments.h"
#include "fuzz/fuzz.h"
#include "nt/rng.h"
#include "port/image.h"

/* Where the length of each lies, if that of the first is 0. */
enum { PARAMETER_AT = 0, OPTIONS_AT = 4 };

#define HANG_S 60u /* of real time that one run may take */

struct fuzz_arguments {
	const char *driver;
	char **files, **inputs; /* inputs: those behind the driver */
	int input_count;
	bool side_given, verbose;
	enum fuzz_side side;
	uint64_t seed, runs;
};

static const char *const side_names[] = { [FUZZ_DEVICE] = "device", [FUZZ_WINDOWS] = "windows" };

static void print_help(void)
{
	printf("Usage: storhost fuzz FILE.sys [--side device|windows] [--seed N] [--runs N] [--verbose] [INPUT...]\n\n"
	       "Runs the driver against a device that lies (device), or has Windows ask anything of it in any order\n"
	       "(windows), as random bytes or those of each INPUT decide. A run that is found bad ends the command, with\n"
	       "the words that repeat it.\n\n"
	       "  --side     one side only; needed with INPUT (both, in turn)\n"
	       "  --seed N   of the first run; the next run has the next seed (1)\n"
	       "  --runs N   how many (1000)\n"
	       "  --verbose  each thing that a run does\n\n"
	       "Exit status 1: a run was bad.\n");
}

static int parse_side(struct fuzz_arguments *arguments, const char *value)
{
	arguments->side_given = true;
	for (size_t i = 0; i < sizeof(side_names) / sizeof(side_names[0]); i++) {
		arguments->side = (enum fuzz_side)i;
		if (!strcmp(value, side_names[i]))
			return 0;
	}
	return cli_usage("--side is device or windows, not '%s'", value);
}

static int parse_option(void *command, const char *name, const char *value)
{
	struct fuzz_arguments *arguments = command;

	if (!strcmp(name, "side"))
		return parse_side(arguments, value);
	if (!strcmp(name, "seed"))
		return arguments_number(name, value, 0, UINT64_MAX, &arguments->seed);
	if (!strcmp(name, "runs"))
		return arguments_number(name, value, 0, UINT64_MAX, &arguments->runs);
	return ARGUMENT_UNKNOWN;
}

static int parse_arguments(struct fuzz_arguments *arguments, int argc, char **argv)
{
	const struct argument_flag flags[] = { { "--verbose", &arguments->verbose }, { NULL, NULL } };
	struct arguments words = {
		.help = print_help,
		.flags = flags,
		.option = parse_option,
		.operand = arguments->files,
		.command = arguments,
	};
	int failed = arguments_read(&words, argc, argv);

	if (failed)
		return failed;
	if (!words.operand_count)
		return cli_usage("fuzz needs a driver; 'storhost fuzz --help' says more");
	arguments->driver = arguments->files[0];
	arguments->inputs = arguments->files + 1;
	arguments->input_count = words.operand_count - 1;
	if (arguments->input_count && !arguments->side_given)
		return cli_usage("which side is the input for? --side device or --side windows");
	return 0;
}

/*
 * A mixture: much of it 0, where the peer is as usual, and small numbers, which name things; the rest anything. At the
 * head lie the registry value and the device's options (fuzz.c), of which few drivers stand many.
 */
static size_t make_input(uint64_t seed, uint8_t *bytes)
{
	struct rng rng = { .state = seed ^ 0x66757a7a };
	size_t size = rng_below(&rng, 1 + rng_below(&rng, FUZZ_INPUT_MAX));
	uint64_t usual = rng_below(&rng, 8);

	for (size_t i = 0; i < size; i++) {
		uint64_t random = rng_next(&rng);

		bytes[i] = (random & 7) < usual ? 0 : random & 8 ? (uint8_t)(random >> 8 & 31) : (uint8_t)(random >> 8);
	}
	if (size > OPTIONS_AT && rng_below(&rng, 8)) {
		bytes[PARAMETER_AT] = 0;
		bytes[OPTIONS_AT] = (uint8_t)(rng_below(&rng, 4) * rng_below(&rng, 2));
	}
	return size;
}

/* A hang ends like any other bad run. */
static void hung(int signal)
{
	static const char text[] = "fuzz: the run does not end\n";
	ssize_t ignored = write(STDERR_FILENO, text, sizeof(text) - 1);

	(void)signal;
	(void)ignored;
	_exit(CLI_FINDINGS);
}

/* Where the runs are, for whoever has to say how to repeat the bad one. Shared with the process that makes them. */
struct progress {
	enum fuzz_side side;
	uint64_t seed, done;
	const char *input;
};

static int one_run(struct progress *progress, const uint8_t *bytes, size_t size)
{
	alarm(HANG_S);
	if (!fuzz_run(progress->side, bytes, size))
		return CLI_FINDINGS;
	progress->done++;
	return CLI_OK;
}

static int run_input(struct progress *progress)
{
	FILE *file = fopen(progress->input, "rb");
	uint8_t bytes[FUZZ_INPUT_MAX];
	size_t size;

	if (!file)
		return cli_usage("%s: %s", progress->input, strerror(errno));
	size = fread(bytes, 1, sizeof(bytes), file);
	fclose(file);
	return one_run(progress, bytes, size);
}

static int run_seed(const struct fuzz_arguments *arguments, struct progress *progress)
{
	uint8_t bytes[FUZZ_INPUT_MAX];
	size_t size = make_input(progress->seed, bytes);
	int status = CLI_OK;

	for (unsigned side = FUZZ_DEVICE; side <= FUZZ_WINDOWS && !status; side++) {
		if (arguments->side_given && side != arguments->side)
			continue;
		progress->side = (enum fuzz_side)side;
		status = one_run(progress, bytes, size);
	}
	return status;
}

static int run_all(const struct fuzz_arguments *arguments, struct progress *progress)
{
	struct error err;
	int status = CLI_OK;

	signal(SIGALRM, hung);
	fuzz_verbose = arguments->verbose;
	if (fuzz_open(arguments->driver, &err))
		return cli_fail(NULL, &err);
	progress->side = arguments->side;
	for (int i = 0; i < arguments->input_count && !status; i++) {
		progress->input = arguments->inputs[i];
		status = run_input(progress);
	}
	if (arguments->input_count)
		return status;
	for (uint64_t i = 0; i < arguments->runs && !status; i++) {
		progress->seed = arguments->seed + i;
		status = run_seed(arguments, progress);
	}
	return status;
}

/* In a process of its own, which may die of what it does. */
static int supervise(const struct fuzz_arguments *arguments)
{
	struct progress *progress =
		mmap(NULL, sizeof(*progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status = 0, result;
	pid_t child;

	if (progress == MAP_FAILED)
		return cli_usage("there is no memory");
	fflush(NULL);
	child = fork();
	if (child == 0) {
		result = run_all(arguments, progress);
		fflush(NULL);
		_exit(result);
	}
	if (child < 0 || waitpid(child, &status, 0) < 0)
		return cli_usage("there is no process to run in");
	result = WIFEXITED(status) ? WEXITSTATUS(status) : CLI_FINDINGS;
	if (WIFSIGNALED(status))
		fprintf(stderr, "fuzz: storhost died by signal %d (%s)\n", WTERMSIG(status),
			strsignal(WTERMSIG(status)));
	if (result == CLI_FINDINGS && progress->input)
		printf("bad: storhost fuzz %s --side %s --verbose %s\n", arguments->driver, side_names[progress->side],
		       progress->input);
	else if (result == CLI_FINDINGS)
		printf("bad: storhost fuzz %s --side %s --seed %llu --runs 1 --verbose\n", arguments->driver,
		       side_names[progress->side], (unsigned long long)progress->seed);
	else if (result == CLI_OK)
		printf("%llu runs, nothing found\n", (unsigned long long)progress->done);
	return result;
}

int cmd_fuzz(int argc, char **argv)
{
	struct fuzz_arguments arguments = { .seed = 1, .runs = 1000 };
	struct image_facts facts;
	struct error err;
	int status;

	arguments.files = calloc((size_t)argc, sizeof(*arguments.files));
	if (!arguments.files)
		return cli_usage("there is no memory");
	status = parse_arguments(&arguments, argc, argv);
	if (!status && image_inspect(arguments.driver, &facts, &err))
		status = cli_fail(NULL, &err);
	if (!status)
		status = supervise(&arguments);
	free(arguments.files);
	return status;
}
