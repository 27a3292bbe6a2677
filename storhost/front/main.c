/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The storhost program: its table of commands. */
#include <string.h>

#include "front/cli.h"

#ifndef STORHOST_VERSION
#define STORHOST_VERSION "unreleased"
#endif

static const struct cli_command commands[] = {
	{ "info", "FILE [--json]", "what a driver's headers say, and what Windows 7 would refuse", cmd_info },
	{ "imports", "FILE [--json]", "what a driver imports, and from where it gets it", cmd_imports },
	{ "scsi", "FILE --disk IMAGE [--json] -- BYTE...", "one SCSI command through the hosted driver", cmd_scsi },
	{ "exports", "[--json|--markdown]", "what drivers may import from Windows 7, and what of it storhost has",
	  cmd_exports },
	{ "run", "FILE SCENARIO... [--disk IMAGE] [--json] [--verbose]",
	  "scripts of what Windows does to the hosted driver", cmd_run },
	{ "faults", "FILE SCENARIO... [--kind KIND] [--every M | --at N] [--json] [--verbose]",
	  "the same, with a fault at every place where one can strike", cmd_faults },
	{ "explore", "FILE SCENARIO... [--preemptions P] [--limit N] [--random N] [--json]",
	  "the same in every order in which processors and device can take turns", cmd_explore },
	{ "fuzz", "FILE [--side device|windows] [--seed N] [--runs N] [--verbose] [INPUT...]",
	  "a lying device, and a Windows that asks anything", cmd_fuzz },
	{ "sg", "FILE --disk IMAGE [--socket PATH] [-- COMMAND...]", "lets Linux's SCSI tools reach the hosted driver",
	  cmd_sg },
	{ "rules", "[RULE] [--json|--markdown]", "the rules that a driver is held to, or one of them", cmd_rules },
	{ "conform", "[--device SPEC] [--disk IMAGE] [--allow CLAUSE,...] [--json]",
	  "what a device, without a driver, is by the contract", cmd_conform },
	{ "nbd", "FILE --disk IMAGE --socket PATH", "serves the hosted driver's disk to NBD clients", cmd_nbd },
};

#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

static void print_help(void)
{
	printf("storhost gives a Windows 7 StorPort driver its Windows 7.\n\nUsage: storhost COMMAND ARGUMENT...\n");
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		printf("\n  %s %s\n        %s\n", commands[i].name, commands[i].arguments, commands[i].summary);
	printf("\nExit status: 0 all is well, 1 something was found, 2 wrong usage or bad input.\n");
}

/* Output that did not reach its file is an error, not a result. */
static int finish(int status)
{
	if (fflush(stdout) || ferror(stdout))
		return cli_usage("cannot write to standard output");
	return status == CLI_HELPED ? CLI_OK : status;
}

void cli_print_usage(const char *command)
{
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		if (!strcmp(command, commands[i].name))
			printf("Usage: storhost %s %s\n\nWhat it is for: %s.\n", command, commands[i].arguments,
			       commands[i].summary);
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return cli_usage("which command? Try 'storhost help'");
	if (!strcmp(argv[1], "help") || !strcmp(argv[1], "--help")) {
		print_help();
		return finish(CLI_OK);
	}
	if (!strcmp(argv[1], "--version")) {
		printf("storhost %s\n", STORHOST_VERSION);
		return finish(CLI_OK);
	}
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		if (!strcmp(argv[1], commands[i].name))
			return finish(commands[i].run(argc - 1, argv + 1));
	return cli_usage("there is no command '%s'; try 'storhost help'", argv[1]);
}
