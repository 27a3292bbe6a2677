/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The words behind a command's name, read alike for all commands.
 *
 * A flag is `--NAME`, an option `--NAME VALUE`, in any order; any other word is an operand, and so is everything behind
 * `--`, where no rest is taken. `--help` before that wins over all. A command that hosts a driver has the machine's
 * options beside its own, and the driver is its first operand.
 */
#ifndef STORHOST_FRONT_ARGUMENTS_H
#define STORHOST_FRONT_ARGUMENTS_H

#include <stdbool.h>

#include "front/cli.h"
#include "front/machine.h"

#define ARGUMENT_UNKNOWN (-1)
#define ARGUMENTS_REPEAT 20000u /* characters: some paths, with every character of them quoted */

struct argument_flag {
	const char *name; /* with its "--"; NULL behind the last */
	bool *set;
};

struct arguments {
	void (*help)(void);                /* NULL: its row of main.c's table, and the machine's options, say it all */
	const struct argument_flag *flags; /* or NULL */
	/* One option, its name without "--": 0, ARGUMENT_UNKNOWN, or what the command returns. NULL: it has none. */
	int (*option)(void *command, const char *name, const char *value);
	void *command;
	struct machine_options *machine; /* or NULL: none, or the command's own affair */
	char **operand;  /* room for those behind the driver, as many as there are words; NULL: it has none */
	bool takes_rest; /* what is behind "--" is another program's, or a CDB */

	int operand_count;
	char **rest;
	int rest_count;
	/* The machine's options but the seed, as a shell takes them, a blank before each. */
	char repeat[ARGUMENTS_REPEAT];
};

/* 0, or what the command returns at once: it was told why, or got its help (CLI_HELPED). */
int arguments_read(struct arguments *arguments, int argc, char **argv);

/* One option of the machine: 0, ARGUMENT_UNKNOWN, or what the command returns. */
int arguments_machine(struct machine_options *machine, const char *name, const char *value);

/* A number from least to most, which is UINT64_MAX where there is no most. 0, or what the command returns. */
int arguments_number(const char *name, const char *value, uint64_t least, uint64_t most, uint64_t *number);

#endif
