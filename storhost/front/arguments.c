/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Reading the words behind a command's name. */
#include "front/arguments.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int arguments_machine(struct machine_options *machine, const char *name, const char *value)
{
	struct error err;
	int known = machine_option(machine, name, value, &err);

	if (known < 0 || known == MACHINE_CANNOT)
		return cli_fail(NULL, &err);
	return known ? ARGUMENT_UNKNOWN : 0;
}

int arguments_number(const char *name, const char *value, uint64_t least, uint64_t most, uint64_t *number)
{
	char *end;

	errno = 0;
	*number = strtoull(value, &end, 0);
	if (*value >= '0' && *value <= '9' && !*end && !errno && *number >= least && *number <= most)
		return 0;
	if (most == UINT64_MAX)
		return cli_usage("--%s must be a number from %llu on, not '%s'", name, (unsigned long long)least,
				 value);
	return cli_usage("--%s must be a number from %llu to %llu, not '%s'", name, (unsigned long long)least,
			 (unsigned long long)most, value);
}

/* A quotation mark ends the quotation, stands by itself, and begins another: four characters. */
static int remember(struct arguments *arguments, const char *name, const char *value)
{
	size_t used = strlen(arguments->repeat);
	char *at = arguments->repeat + used;

	if (used + strlen(name) + 4 * strlen(value) + sizeof(" -- ''") > sizeof(arguments->repeat))
		return cli_usage("--%s makes the machine's options longer than a command that repeats a run can be",
				 name);
	at += sprintf(at, " --%s '", name);
	for (; *value; value++)
		at += sprintf(at, *value == '\'' ? "'\\''" : "%c", *value);
	strcpy(at, "'");
	return 0;
}

static int read_option(struct arguments *arguments, const char *name, const char *value)
{
	int known = arguments->option ? arguments->option(arguments->command, name, value) : ARGUMENT_UNKNOWN;

	if (known == ARGUMENT_UNKNOWN && arguments->machine) {
		known = arguments_machine(arguments->machine, name, value);
		if (!known && strcmp(name, "seed"))
			return remember(arguments, name, value);
	}
	return known == ARGUMENT_UNKNOWN ? cli_usage("there is no option --%s", name) : known;
}

static int read_operand(struct arguments *arguments, char *word)
{
	if (arguments->machine && !arguments->machine->driver) {
		arguments->machine->driver = word;
		return 0;
	}
	if (arguments->operand) {
		arguments->operand[arguments->operand_count++] = word;
		return 0;
	}
	return cli_usage("'%s' is one argument too many%s", word,
			 arguments->takes_rest ? "; a command comes after '--'" : "");
}

static bool read_flag(const struct arguments *arguments, const char *word)
{
	for (const struct argument_flag *flag = arguments->flags; flag && flag->name; flag++) {
		if (!strcmp(flag->name, word)) {
			*flag->set = true;
			return true;
		}
	}
	return false;
}

static int print_help(const struct arguments *arguments, const char *command)
{
	if (arguments->help) {
		arguments->help();
	} else {
		cli_print_usage(command);
		printf("\nMachine options:\n");
		machine_help(stdout);
	}
	return CLI_HELPED;
}

int arguments_read(struct arguments *arguments, int argc, char **argv)
{
	int end = 1, failed = 0;

	for (; end < argc && strcmp(argv[end], "--"); end++) {
		if (!strcmp(argv[end], "--help"))
			return print_help(arguments, argv[0]);
	}
	for (int i = 1; i < end && !failed; i++) {
		if (read_flag(arguments, argv[i]))
			continue;
		if (strncmp(argv[i], "--", 2))
			failed = read_operand(arguments, argv[i]);
		else if (i + 1 < end)
			failed = read_option(arguments, argv[i] + 2, argv[i + 1]), i++;
		else
			failed = cli_usage("%s needs a value", argv[i]);
	}
	arguments->rest = argv + end + (end < argc);
	arguments->rest_count = argc - end - (end < argc);
	for (int i = 0; i < arguments->rest_count && !failed && !arguments->takes_rest; i++)
		failed = read_operand(arguments, arguments->rest[i]);
	return failed;
}
