/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The command line: `storhost COMMAND ARGUMENT…`.
 *
 * A command is a function like main(), with its own name as argv[0]; its row in main.c's table is all that else it
 * needs. It returns one of the exit statuses below; a command that cannot go on says why in one sentence, with
 * cli_fail() or cli_usage(), and returns what they return.
 */
#ifndef STORHOST_FRONT_CLI_H
#define STORHOST_FRONT_CLI_H

#include <stdbool.h>
#include <stdio.h>

#include "base/error.h"

enum cli_status {
	CLI_OK = 0,
	CLI_FINDINGS = 1, /* the command did its work and found something wrong */
	CLI_FAILED = 2,   /* wrong usage or bad input */
	CLI_HELPED = -1,  /* the command printed its help, and did nothing else; to the shell it is CLI_OK */
};

struct cli_command {
	const char *name;
	const char *arguments;
	const char *summary;
	int (*run)(int argc, char **argv);
};

int cmd_explore(int argc, char **argv);
int cmd_info(int argc, char **argv);
int cmd_conform(int argc, char **argv);
int cmd_exports(int argc, char **argv);
int cmd_imports(int argc, char **argv);
int cmd_fuzz(int argc, char **argv);
int cmd_run(int argc, char **argv);
int cmd_faults(int argc, char **argv);
int cmd_nbd(int argc, char **argv);
int cmd_rules(int argc, char **argv);
int cmd_scsi(int argc, char **argv);
int cmd_sg(int argc, char **argv);

/* "storhost: SUBJECT: sentence" on standard error; subject NULL: without. */
int cli_fail(const char *subject, const struct error *err);
int cli_usage(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* What the table says of a command. */
void cli_print_usage(const char *command);

struct pe_file;

/*
 * A command `COMMAND FILE [--json]` that says something of an image: opens it and has it printed. Both functions return
 * how many findings there were; what the command is to return.
 */
int cli_image_command(int argc, char **argv, unsigned (*print)(const struct pe_file *file),
		      unsigned (*write_json)(const struct pe_file *file));

/* The path of a shared library as built or installed: beside this program, in ../lib. 0, or -1 and a sentence. */
int cli_library(const char *name, char *path, size_t size, struct error *err);

/* Whether a file can be written, by opening it. One that was not there stays away until there is something in it. */
int cli_check_output(const char *path, struct error *err);

/* Prints text that came from a file: bytes that a terminal may obey, or that are no ASCII, as \xNN. */
void cli_print_text(FILE *out, const char *text);

#endif
