/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* storhost conform: a device, with no driver, by the device side of the contract. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "conform/conform.h"
#include "front/arguments.h"

#define SCRATCH_BYTES (8u << 20)

struct conform_arguments {
	struct machine_options machine;
	bool allowed[CLAUSE_COUNT];
	bool json;
};

static void print_help(void)
{
	printf("Usage: storhost conform [--device SPEC] [--disk IMAGE] [--allow CLAUSE,...] [--seed N] [--json]\n\n"
	       "Judges a device by the contract's clauses, one line each: ok, FAIL, differs (broken, and allowed) or\n"
	       "none (not judged, and why). What the disk holds is overwritten; without an image there is a scratch disk.\n"
	       "Exit status 1: a clause is broken that was not allowed.\n\nClauses:\n");
	for (unsigned clause = 0; clause < CLAUSE_COUNT; clause++)
		printf("  %-20s %s [%s]\n", clause_name(clause), clause_text(clause), clause_source(clause));
}

static int set_allowed(struct conform_arguments *arguments, const char *list)
{
	char name[64];

	while (*list) {
		size_t length = strcspn(list, ",");
		enum clause clause;

		snprintf(name, sizeof(name), "%.*s", (int)length, list);
		clause = clause_find(name);
		if (clause == CLAUSE_COUNT)
			return cli_usage("there is no clause '%s'; 'storhost conform --help' has them all", name);
		arguments->allowed[clause] = true;
		list += length + (list[length] == ',');
	}
	return 0;
}

static int parse_option(void *command, const char *name, const char *value)
{
	static const char *const options[] = { "device", "disk", "seed" };
	struct conform_arguments *arguments = command;

	if (!strcmp(name, "allow"))
		return set_allowed(arguments, value);
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		if (!strcmp(options[i], name))
			return arguments_machine(&arguments->machine, name, value);
	}
	return ARGUMENT_UNKNOWN;
}

static int parse_arguments(struct conform_arguments *arguments, int argc, char **argv)
{
	const struct argument_flag flags[] = { { "--json", &arguments->json }, { NULL, NULL } };
	struct arguments words = {
		.help = print_help,
		.flags = flags,
		.option = parse_option,
		.command = arguments,
	};

	return arguments_read(&words, argc, argv);
}

/* The scratch disk lives in memory and ends with the process. */
static struct device *open_device(const struct conform_arguments *arguments, struct error *err)
{
	const struct device_choice *choice = &arguments->machine.device;
	char path[64];
	int fd;

	if (arguments->machine.disk || choice->kind->own_disk)
		return device_create(choice, arguments->machine.disk, err);
	fd = memfd_create("scratch-disk", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, SCRATCH_BYTES)) {
		error_set(err, "cannot make a scratch disk: %s", strerror(errno));
		return NULL;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return device_create(choice, path, err);
}

static const char *outcome(const struct conform_arguments *arguments, enum clause clause, const struct verdict *verdict)
{
	if (verdict->state == CLAUSE_BROKEN)
		return arguments->allowed[clause] ? "differs" : "FAIL";
	return verdict->state == CLAUSE_HOLDS ? "ok" : "none";
}

static void print_line(const char *word, enum clause clause, const struct verdict *verdict)
{
	printf("%-7s %s: %s", word, clause_name(clause), clause_text(clause));
	if (verdict->text[0])
		fputs(": ", stdout);
	cli_print_text(stdout, verdict->text);
	printf(" [%s]\n", clause_source(clause));
}

static void print_member(struct json *json, const char *word, enum clause clause, const struct verdict *verdict)
{
	json_open_object(json, NULL);
	json_string(json, "clause", clause_name(clause));
	json_string(json, "outcome", word);
	json_string(json, "text", clause_text(clause));
	json_string(json, "source", clause_source(clause));
	json_string(json, "seen", verdict->text[0] ? verdict->text : NULL);
	json_close(json);
}

static int report(const struct conform_arguments *arguments, const struct verdict *verdicts)
{
	int status = CLI_OK;
	struct json json;

	if (arguments->json) {
		json_begin(&json, stdout);
		json_open_array(&json, NULL);
	}
	for (unsigned clause = 0; clause < CLAUSE_COUNT; clause++) {
		const char *word = outcome(arguments, clause, &verdicts[clause]);

		if (arguments->json)
			print_member(&json, word, clause, &verdicts[clause]);
		else
			print_line(word, clause, &verdicts[clause]);
		if (!strcmp(word, "FAIL"))
			status = CLI_FINDINGS;
	}
	if (arguments->json) {
		json_close(&json);
		json_end(&json);
	}
	return status;
}

int cmd_conform(int argc, char **argv)
{
	struct conform_arguments arguments = { .json = false };
	struct verdict verdicts[CLAUSE_COUNT];
	struct device *device;
	struct error err;
	int status;

	machine_defaults(&arguments.machine);
	status = parse_arguments(&arguments, argc, argv);
	if (status)
		return status;
	device = open_device(&arguments, &err);
	if (!device)
		return cli_fail(NULL, &err);
	if (conform_judge(device, arguments.machine.cpus.seed, verdicts, &err))
		status = cli_fail(NULL, &err);
	else
		status = report(&arguments, verdicts);
	device->ops->destroy(device);
	return status;
}
