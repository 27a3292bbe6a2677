/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Making a socket to listen at, whatever is there already. */
#include "front/unix_socket.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* Whether nobody listens at a socket that is there: its server was killed. */
static bool is_stale(int fd, const struct sockaddr_un *address)
{
	struct stat st;

	return !lstat(address->sun_path, &st) && S_ISSOCK(st.st_mode) &&
	       connect(fd, (const struct sockaddr *)address, sizeof(*address)) && errno == ECONNREFUSED;
}

static int bind_to(int fd, const struct sockaddr_un *address)
{
	if (!bind(fd, (const struct sockaddr *)address, sizeof(*address)))
		return 0;
	if (errno != EADDRINUSE || !is_stale(fd, address))
		return -1;
	unlink(address->sun_path);
	return bind(fd, (const struct sockaddr *)address, sizeof(*address));
}

int unix_listen(const char *path, struct error *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd;

	if (strlen(path) >= sizeof(address.sun_path))
		return error_set(err, "%s: a socket's name has at most %zu characters", path,
				 sizeof(address.sun_path) - 1);
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && !bind_to(fd, &address) && !listen(fd, SOMAXCONN))
		return fd;
	if (errno == EADDRINUSE || errno == EISCONN)
		error_set(err, "%s is in use: a server listens there, or it is no socket", path);
	else
		error_set(err, "%s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}
