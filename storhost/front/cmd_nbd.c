/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* storhost nbd: checks what it is given, then becomes nbdkit with the storhost plugin. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "front/cli.h"
#include "front/machine.h"

#define ARGUMENTS_MAX 48
#define THREADS "64" /* of nbdkit, per connection: its requests in flight */

struct nbd_arguments {
	struct machine_options machine;
	const char *socket;
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
	if (!strcmp(name, "report"))
		return add_parameter(arguments, name, value);
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

/* Whether the socket can be made: its name fits and nothing is there. */
static int check_socket(const char *path, struct error *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd, busy;

	if (strlen(path) >= sizeof(address.sun_path))
		return error_set(err, "%s: a socket's name has at most %zu characters", path,
				 sizeof(address.sun_path) - 1);
	if (access(path, F_OK))
		return 0;
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	busy = fd >= 0 && !connect(fd, (struct sockaddr *)&address, sizeof(address));
	if (fd >= 0)
		close(fd);
	return error_set(err, busy ? "%s: another server listens there" : "%s: there is a file of that name already",
			 path);
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
	    check_socket(arguments.socket, &err))
		return cli_fail(NULL, &err);
	execvp(arguments.argv[0], arguments.argv);
	error_set(&err, "cannot start nbdkit: %s", strerror(errno));
	return cli_fail(NULL, &err);
}
