/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * storhost sg: hosts the driver for Linux's SCSI tools, which reach it through storhost-sg.so; as long as a command
 * runs, or until it is told to end.
 */
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "front/arguments.h"
#include "front/sg_server.h"
#include "front/sg_wire.h"
#include "front/unix_socket.h"
#include "verify/verify.h"

#define NOT_FOUND 127 /* as shells have it */
#define SIGNALLED 128 /* plus the signal's number */

struct sg_arguments {
	struct machine_options machine;
	const char *socket, *report;
	char **command; /* and its arguments; NULL: serve */
	char directory[40], made_socket[60], library[512];
};

static int parse_option(void *command, const char *name, const char *value)
{
	struct sg_arguments *arguments = command;

	if (strcmp(name, "socket") && strcmp(name, "report"))
		return ARGUMENT_UNKNOWN;
	*(*name == 's' ? &arguments->socket : &arguments->report) = value;
	return 0;
}

static int parse_arguments(struct sg_arguments *arguments, int argc, char **argv)
{
	struct arguments words = {
		.option = parse_option,
		.command = arguments,
		.machine = &arguments->machine,
		.takes_rest = true,
	};
	int failed;

	memset(arguments, 0, sizeof(*arguments));
	machine_defaults(&arguments->machine);
	arguments->machine.cpus.free_running = true;
	failed = arguments_read(&words, argc, argv);
	if (failed)
		return failed;
	arguments->command = words.rest_count ? words.rest : NULL;
	if (!arguments->command && !arguments->socket)
		return cli_usage("--socket PATH is missing, or a command after '--'");
	return 0;
}

/* Where the library lies, if LD_PRELOAD can say it: its names end at a blank or a colon. */
static int find_library(struct sg_arguments *arguments, struct error *err)
{
	if (cli_library("storhost-sg.so", arguments->library, sizeof(arguments->library), err))
		return -1;
	if (strpbrk(arguments->library, " :"))
		return error_set(err, "%s: LD_PRELOAD takes no path with a blank or a colon in it", arguments->library);
	return 0;
}

/* ---- while the machine runs ---- */

/* Without a --socket, one in a directory of its own. */
static int make_socket(struct sg_arguments *arguments, struct error *err)
{
	if (arguments->socket)
		return unix_listen(arguments->socket, err);
	strcpy(arguments->directory, "/tmp/storhost-sg-XXXXXX");
	if (!mkdtemp(arguments->directory)) {
		arguments->directory[0] = '\0';
		return error_set(err, "/tmp: %s", strerror(errno));
	}
	snprintf(arguments->made_socket, sizeof(arguments->made_socket), "%s/socket", arguments->directory);
	arguments->socket = arguments->made_socket;
	return unix_listen(arguments->socket, err);
}

static void remove_socket(const struct sg_arguments *arguments)
{
	unlink(arguments->socket);
	if (arguments->directory[0])
		rmdir(arguments->directory);
}

/* The command's environment: the library before others that are preloaded. */
static void prepare_environment(const struct sg_arguments *arguments)
{
	const char *others = getenv("LD_PRELOAD");
	char *value = malloc(strlen(arguments->library) + (others ? strlen(others) : 0) + 2);

	setenv(SG_WIRE_SOCKET, arguments->socket, 1);
	if (!value)
		return;
	sprintf(value, "%s%s%s", arguments->library, others ? ":" : "", others ? others : "");
	setenv("LD_PRELOAD", value, 1);
	free(value);
}

/* Its exit status. SIGTERM is passed on; SIGINT comes from a terminal, which has told the command too. */
static int wait_for(pid_t command, const sigset_t *signals)
{
	int signal, status = 0;

	do {
		sigwait(signals, &signal);
		if (signal == SIGTERM)
			kill(command, SIGTERM);
	} while (waitpid(command, &status, WNOHANG) != command);
	return WIFEXITED(status) ? WEXITSTATUS(status) : SIGNALLED + WTERMSIG(status);
}

static int run_command(const struct sg_arguments *arguments, const sigset_t *signals, const sigset_t *mask)
{
	posix_spawnattr_t attributes;
	pid_t command;
	int failed;

	prepare_environment(arguments);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setsigmask(&attributes, mask);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
	failed = posix_spawnp(&command, arguments->command[0], NULL, &attributes, arguments->command, environ);
	posix_spawnattr_destroy(&attributes);
	if (!failed)
		return wait_for(command, signals);
	cli_usage("cannot run %s: %s", arguments->command[0], strerror(failed));
	return NOT_FOUND;
}

static void wait_for_the_end(const sigset_t *signals)
{
	int signal;

	do
		sigwait(signals, &signal);
	while (signal == SIGCHLD);
}

/* Serves as long as it should: the command's exit status, or 0 when a signal asks for the end. */
static int serve(const struct sg_arguments *arguments, struct machine *machine, int listener, const sigset_t *signals,
		 const sigset_t *mask)
{
	struct sg_server *server;
	struct error err;
	int status = 0;

	if (sg_server_start(machine->port, machine->device, listener, &server, &err)) {
		close(listener);
		return cli_fail(NULL, &err);
	}
	if (arguments->command)
		status = run_command(arguments, signals, mask);
	else
		wait_for_the_end(signals);
	sg_server_stop(server);
	return status;
}

static int host(const struct sg_arguments *arguments, int listener)
{
	struct machine machine;
	sigset_t signals, mask;
	struct error err;
	int status;

	/* Blocked in every thread: this one waits for them. */
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGCHLD);
	pthread_sigmask(SIG_BLOCK, &signals, &mask);
	if (machine_start(&machine, &arguments->machine, &err)) {
		/* The input was good: it is the driver, or the device, that would not have it. */
		cli_fail(arguments->machine.driver, &err);
		close(listener);
		status = CLI_FINDINGS;
	} else {
		status = serve(arguments, &machine, listener, &signals, &mask);
	}
	machine_stop(&machine);
	if (arguments->report && machine_report_file(&machine, arguments->report, &err))
		status = cli_fail(NULL, &err);
	machine_summary(&machine, stderr);
	machine_free(&machine);
	return status == CLI_OK && verify_findings() ? CLI_FINDINGS : status;
}

int cmd_sg(int argc, char **argv)
{
	struct sg_arguments arguments;
	struct error err;
	int listener, status = parse_arguments(&arguments, argc, argv);

	if (status)
		return status;
	if (find_library(&arguments, &err) || machine_check(&arguments.machine, &err) ||
	    (arguments.report && cli_check_output(arguments.report, &err)))
		return cli_fail(NULL, &err);
	listener = make_socket(&arguments, &err);
	if (listener < 0) {
		if (arguments.directory[0])
			rmdir(arguments.directory);
		return cli_fail(NULL, &err);
	}
	status = host(&arguments, listener);
	remove_socket(&arguments);
	return status;
}
