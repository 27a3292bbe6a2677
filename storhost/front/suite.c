/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A driver and scenarios on a command line. */
#include "front/suite.h"

#include <stdlib.h>
#include <string.h>

static int read_words(struct suite *suite, const struct suite_command *command, int argc, char **argv)
{
	const struct argument_flag flags[] = {
		{ "--json", &suite->json },
		{ command->may_be_verbose ? "--verbose" : NULL, &suite->verbose },
		{ NULL, NULL },
	};
	struct arguments words = {
		.help = command->help,
		.flags = flags,
		.option = command->option,
		.operand = suite->file,
		.command = suite,
		.machine = &suite->machine,
	};
	int failed = arguments_read(&words, argc, argv);
	const char *refusal;

	if (failed)
		return failed;
	suite->count = words.operand_count;
	if (!suite->count)
		return cli_usage("%s needs a driver and at least one scenario; 'storhost %s --help' says more",
				 command->name, command->name);
	refusal = command->refusal ? command->refusal(suite) : NULL;
	if (refusal)
		return cli_usage("%s", refusal);
	suite->machine.port.quiet = true; /* the transcript has the event log */
	strcpy(suite->repeat, words.repeat);
	return 0;
}

static int load(struct suite *suite, const struct suite_command *command)
{
	struct error err;

	if (machine_check_driver(&suite->machine, &suite->checked, &err) ||
	    (command->prepare && command->prepare(suite, &err)))
		return cli_fail(NULL, &err);
	for (int i = 0; i < suite->count; i++) {
		suite->scenario[i] = hosted_load(&suite->machine, suite->file[i], &err);
		if (!suite->scenario[i])
			return cli_fail(NULL, &err);
	}
	return 0;
}

static int run(struct suite *suite, const struct suite_command *command)
{
	struct json json;
	int status = CLI_OK;

	if (suite->json) {
		json_begin(&json, stdout);
		json_open_array(&json, NULL);
	}
	for (int i = 0; i < suite->count && status != CLI_FAILED; i++) {
		int one = command->run(suite, i, suite->json ? &json : NULL);

		status = one > status ? one : status;
	}
	if (suite->json) {
		json_close(&json);
		json_end(&json);
	} else if (command->summary) {
		command->summary(suite);
	}
	return status;
}

int suite_main(struct suite *suite, const struct suite_command *command, int argc, char **argv)
{
	int status;

	suite->file = calloc((size_t)argc, sizeof(*suite->file));
	suite->scenario = calloc((size_t)argc, sizeof(struct scenario *));
	if (suite->file && suite->scenario)
		status = read_words(suite, command, argc, argv);
	else
		status = cli_usage("there is no memory");
	if (!status)
		status = load(suite, command);
	if (!status)
		status = run(suite, command);
	for (int i = 0; i < suite->count; i++)
		scenario_free(suite->scenario[i]);
	free(suite->scenario);
	free(suite->file);
	return status;
}

FILE *suite_transcript(const struct suite *suite)
{
	return !suite->verbose ? NULL : suite->json ? stderr : stdout;
}

static void print_word(FILE *out, const char *word)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_./+,:=@%";
	bool quoted = word[strspn(word, plain)] || !*word;

	fputs(quoted ? " '" : " ", out);
	for (; *word; word++)
		fprintf(out, *word == '\'' ? "'\\''" : "%c", *word);
	fputs(quoted ? "'" : "", out);
}

void suite_print_words(FILE *out, const struct suite *suite, const char *verb, int i, uint64_t seed)
{
	fprintf(out, "%s %s", sizeof(void *) == 8 ? "storhost" : "storhost-x86", verb);
	print_word(out, suite->machine.driver);
	print_word(out, suite->file[i]);
	fprintf(out, "%s --seed %llu", suite->repeat, (unsigned long long)seed);
}
