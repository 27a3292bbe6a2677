/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * storhost nbd: checks what it is given, then runs nbdkit with the storhost plugin and takes its socket away afterwards.
 * nbdkit ends when this program is told to, and with it.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "front/cli.h"
#include "front/machine.h"

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

static int parse_option(struct nbd_arguments *arguments, const char *name, const char *value)
{
	struct error err;
	int known;

	if (!strcmp(name, "socket")) {
		arguments->socket = value;
		return 0;
	}
	if (!strcmp(name, "report")) {
		arguments->report = value;
		return add_parameter(arguments, name, value);
	}
	known = machine_option(&arguments->machine, name, value, &err);
	if (known < 0)
		return cli_fail(NULL, &err);
	if (known > 0)
		return cli_usage("there is no option --%s", name);
	return add_parameter(arguments, name, value);
}

static int parse_arguments(struct nbd_arguments *arguments, int argc, char **argv)
{
	int failed = 0;

	for (int i = 1; i < argc && !failed; i++) {
		if (!strncmp(argv[i], "--", 2)) {
			if (i + 1 >= argc)
				return cli_usage("%s needs a value", argv[i]);
			failed = parse_option(arguments, argv[i] + 2, argv[i + 1]);
			i++;
		} else if (!arguments->machine.driver) {
			failed = parse_option(arguments, "driver", argv[i]);
		} else {
			return cli_usage("'%s' is one argument too many", argv[i]);
		}
	}
	return failed;
}

/* The plugin as built or installed: beside this program, in ../lib. */
static int find_plugin(struct nbd_arguments *arguments, struct error *err)
{
	char self[400];
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	self[length > 0 ? length : 0] = '\0';
	slash = strrchr(self, '/');
	if (!slash)
		return error_set(err, "cannot tell where this program lies");
	*slash = '\0';
	snprintf(arguments->plugin, sizeof(arguments->plugin), "%s/../lib/nbdkit-storhost-plugin.so", self);
	if (access(arguments->plugin, R_OK))
		return error_set(err, "%s: %s", arguments->plugin, strerror(errno));
	return 0;
}

/* Whether nobody listens at a socket that is there: its server was killed. */
static bool is_stale(int fd, const struct sockaddr_un *address)
{
	struct stat st;

	return !lstat(address->sun_path, &st) && S_ISSOCK(st.st_mode) &&
	       connect(fd, (const struct sockaddr *)address, sizeof(*address)) && errno == ECONNREFUSED;
}

/* Whether the socket can be made: by making it, and taking it away again. */
static int check_socket(const char *path, struct error *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd, result = 0;

	if (strlen(path) >= sizeof(address.sun_path))
		return error_set(err, "%s: a socket's name has at most %zu characters", path,
				 sizeof(address.sun_path) - 1);
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return error_set(err, "%s: %s", path, strerror(errno));
	if (!bind(fd, (struct sockaddr *)&address, sizeof(address)) || (errno == EADDRINUSE && is_stale(fd, &address)))
		unlink(path);
	else if (errno == EADDRINUSE || errno == EISCONN)
		result = error_set(err, "%s is in use: a server listens there, or it is no socket", path);
	else
		result = error_set(err, "%s: %s", path, strerror(errno));
	close(fd);
	return result;
}

/* Whether the report can be written: by opening it. One that was not there stays away until there is something in it. */
static int check_report(const char *path, struct error *err)
{
	bool there = !access(path, F_OK);
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);

	if (fd < 0)
		return error_set(err, "%s: %s", path, strerror(errno));
	close(fd);
	if (!there)
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
	if (find_plugin(&arguments, &err) || machine_check(&arguments.machine, &err) ||
	    (arguments.report && check_report(arguments.report, &err)) || check_socket(arguments.socket, &err))
		return cli_fail(NULL, &err);
	status = run_nbdkit(arguments.argv);
	unlink(arguments.socket);
	return status;
}
