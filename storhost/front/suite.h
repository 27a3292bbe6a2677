/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What the commands that run scenarios share: their words are a driver and scenarios, options of the machine, `--json`
 * and perhaps `--verbose`; their results are one for each scenario, in lines or in a JSON array.
 */
#ifndef STORHOST_FRONT_SUITE_H
#define STORHOST_FRONT_SUITE_H

#include <stdio.h>

#include "front/arguments.h"
#include "front/hosted.h"
#include "front/json.h"

struct suite;

struct suite_command {
	const char *name;
	bool may_be_verbose;
	void (*help)(void);
	/* An option of its own, as in arguments.h; NULL: it has none. */
	int (*option)(void *suite, const char *name, const char *value);
	/* Why these machine options make no sense here, or NULL. NULL: they all do. */
	const char *(*refusal)(const struct suite *suite);
	/* 0, or -1 and a sentence, before scenarios are read. NULL: nothing is to be done. */
	int (*prepare)(struct suite *suite, struct error *err);
	/* Runs scenario i and prints what came of it: into the array, or, json NULL, in lines. CLI_FAILED ends it all. */
	int (*run)(struct suite *suite, int i, struct json *json);
	/* The last line, where there is no JSON; or NULL. */
	void (*summary)(const struct suite *suite);
};

/* The command's own struct has it as its first member, with machine_defaults' options or better ones. */
struct suite {
	struct machine_options machine;
	bool json, verbose;
	bool checked; /* the driver is a checked build */
	char **file;  /* the scenarios' */
	struct scenario **scenario;
	int count;
	char repeat[ARGUMENTS_REPEAT]; /* as in arguments.h */
};

/* All of it, from the words to the exit status. */
int suite_main(struct suite *suite, const struct suite_command *command, int argc, char **argv);

/* Where a scenario's steps are told; NULL: nowhere. */
FILE *suite_transcript(const struct suite *suite);

/* Writes the words that run scenario i alone, for a shell: `verb` is a command of storhost. */
void suite_print_words(FILE *out, const struct suite *suite, const char *verb, int i, uint64_t seed);

#endif
