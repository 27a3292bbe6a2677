/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * storhost nbd: checks what it is given, then runs nbdkit with the storhost plugin and takes its socket away afterwards.
 * nbdkit ends when this program is told to, and with it.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "front/arguments.h"
#include "front/unix_socket.h"

#define ARGUMENTS_MAX 48
#define THREADS "64" /* of nbdkit, per connection: its requests in flight */

struct nbd_arguments {
	struct machine_options machine;
	const char *socket, *report;
	char plugin[512];
	char *argv[ARGUMENTS_MAX];
	int count;
};

static void add(struct nbd_arguments *arguments, char *word)
{
	arguments->argv[arguments->count++] = word;
	arguments->argv[arguments->count] = NULL;
}

/* NAME=VALUE for the plugin. */
static int add_parameter(struct nbd_arguments *arguments, const char *name, const char *value)
{
	char *word = malloc(strlen(name) + strlen(value) + 2);

	if (!word || arguments->count + 2 >= ARGUMENTS_MAX)
		return cli_usage("too many options");
	sprintf(word, "%s=%s", name, value);
	add(arguments, word);
	return 0;
}

static int parse_option(void *command, const char *name, const char *value)
{
	struct nbd_arguments *arguments = command;
	int known = 0;

	if (!strcmp(name, "socket")) {
		arguments->socket = value;
		return 0;
	}
	if (!strcmp(name, "report"))
		arguments->report = value;
	else
		known = arguments_machine(&arguments->machine, name, value);
	return known ? known : add_parameter(arguments, name, value);
}

static int parse_arguments(struct nbd_arguments *arguments, int argc, char **argv)
{
	struct arguments words = {
		.option = parse_option,
		.command = arguments,
		.machine = &arguments->machine,
	};
	int failed = arguments_read(&words, argc, argv);

	if (!failed && arguments->machine.driver)
		failed = add_parameter(arguments, "driver", arguments->machine.driver);
	return failed;
}

/* Whether the socket can be made: by making it, and taking it away again. */
static int check_socket(const char *path, struct error *err)
{
	int fd = unix_listen(path, err);

	if (fd < 0)
		return -1;
	close(fd);
	unlink(path);
	return 0;
}

/* ---- running nbdkit ---- */

static pid_t server;

static void pass_on(int signal)
{
	if (server > 0)
		kill(server, signal);
}

static void become_nbdkit(char **argv, const sigset_t *mask)
{
	struct error err;

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	sigprocmask(SIG_SETMASK, mask, NULL);
	execvp(argv[0], argv);
	error_set(&err, "cannot start nbdkit: %s", strerror(errno));
	_exit(cli_fail(NULL, &err));
}

/* nbdkit's exit status. SIGTERM and SIGINT are its to obey: they are kept back until it is known. */
static int run_nbdkit(char **argv)
{
	struct sigaction action = { .sa_handler = pass_on };
	sigset_t ending, mask;
	struct error err;
	int status;

	sigemptyset(&ending);
	sigaddset(&ending, SIGTERM);
	sigaddset(&ending, SIGINT);
	sigprocmask(SIG_BLOCK, &ending, &mask);
	server = fork();
	if (server < 0) {
		error_set(&err, "cannot start nbdkit: %s", strerror(errno));
		return cli_fail(NULL, &err);
	}
	if (!server)
		become_nbdkit(argv, &mask);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	sigprocmask(SIG_SETMASK, &mask, NULL);
	while (waitpid(server, &status, 0) < 0)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : CLI_FINDINGS;
}

int cmd_nbd(int argc, char **argv)
{
	static char *const head[] = { "nbdkit", "--foreground", "--threads", THREADS, "--unix" };
	struct nbd_arguments arguments = { .count = 0 };
	struct error err;
	int status;

	machine_defaults(&arguments.machine);
	for (size_t i = 0; i < sizeof(head) / sizeof(head[0]); i++)
		add(&arguments, head[i]);
	add(&arguments, "");
	add(&arguments, arguments.plugin);
	status = parse_arguments(&arguments, argc, argv);
	if (status)
		return status;
	if (!arguments.socket)
		return cli_usage("--socket PATH is missing");
	arguments.argv[sizeof(head) / sizeof(head[0])] = (char *)(uintptr_t)arguments.socket;
	if (cli_library("nbdkit-storhost-plugin.so", arguments.plugin, sizeof(arguments.plugin), &err) ||
	    machine_check(&arguments.machine, &err) || (arguments.report && cli_check_output(arguments.report, &err)) ||
	    check_socket(arguments.socket, &err))
		return cli_fail(NULL, &err);
	status = run_nbdkit(arguments.argv);
	unlink(arguments.socket);
	return status;
}
