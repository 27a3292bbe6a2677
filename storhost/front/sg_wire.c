/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Both ends of a connection between sg_preload.c and sg_server.c. */
#include "front/sg_wire.h"

#include <errno.h>
#include <sys/socket.h>

bool sg_wire_receive(int fd, void *data, size_t length)
{
	char *bytes = data;

	while (length) {
		ssize_t got = recv(fd, bytes, length, MSG_WAITALL);

		if (got == 0 || (got < 0 && errno != EINTR))
			return false;
		if (got < 0)
			continue;
		bytes += got;
		length -= (size_t)got;
	}
	return true;
}

bool sg_wire_send(int fd, const void *data, size_t length)
{
	const char *bytes = data;

	while (length) {
		ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL);

		if (sent < 0 && errno != EINTR)
			return false;
		if (sent < 0)
			continue;
		bytes += sent;
		length -= (size_t)sent;
	}
	return true;
}
