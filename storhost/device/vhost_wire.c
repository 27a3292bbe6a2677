/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* vhost-user messages: sending with file descriptors, answers with a deadline, and what each of them carries. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "device/vhost_wire.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum request {
	GET_FEATURES = 1,
	SET_FEATURES = 2,
	SET_OWNER = 3,
	SET_MEM_TABLE = 5,
	SET_VRING_NUM = 8,
	SET_VRING_ADDR = 9,
	SET_VRING_BASE = 10,
	GET_VRING_BASE = 11,
	SET_VRING_KICK = 12,
	SET_VRING_CALL = 13,
	GET_PROTOCOL_FEATURES = 15,
	SET_PROTOCOL_FEATURES = 16,
	SET_VRING_ENABLE = 18,
	SET_BACKEND_FD = 21,
	GET_CONFIG = 24,
	SET_CONFIG = 25,
};

#define NOTICE_CONFIG_CHANGED 2u

#define FLAGS_VERSION 0x1u
#define FLAGS_VERSION_MASK 0x3u
#define FLAGS_ANSWER 0x4u
#define FLAGS_WANT_ANSWER 0x8u

#define FEATURE_PROTOCOL (1ull << 30)
#define PROTOCOL_ANSWERS (1ull << 3)
#define PROTOCOL_BACKEND_FD (1ull << 5)
#define PROTOCOL_CONFIG (1ull << 9)

#define REGIONS_MAX 8u
#define FDS_MAX REGIONS_MAX

struct region {
	uint64_t guest, size, user, offset;
};

struct message {
	uint32_t request, flags, size;
	union {
		uint64_t number;
		struct {
			uint32_t index, number;
		} state;
		struct {
			uint32_t index, flags;
			uint64_t desc, used, avail, log;
		} addresses;
		struct {
			uint32_t count, padding;
			struct region region[REGIONS_MAX];
		} memory;
		struct {
			uint32_t offset, size, flags;
			uint8_t bytes[VHOST_CONFIG_BYTES];
		} config;
		uint8_t bytes[1];
	};
} __attribute__((packed));

#define HEAD offsetof(struct message, bytes)
#define CONFIG_HEAD 12u

/* ---- bytes ---- */

static int lost(struct error *err, const char *what)
{
	return error_set(err, "the vhost-user back end %s", what);
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int send_message(int fd, const struct message *message, const int *fds, unsigned count, struct error *err)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(FDS_MAX * sizeof(int))];
	} control;
	struct iovec iov = { .iov_base = (void *)(uintptr_t)message, .iov_len = HEAD + message->size };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t sent;

	if (count) {
		memset(&control, 0, sizeof(control));
		msg.msg_control = control.space;
		msg.msg_controllen = CMSG_SPACE(count * sizeof(int));
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(&control.header), fds, count * sizeof(int));
	}
	do
		sent = sendmsg(fd, &msg, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return sent == (ssize_t)iov.iov_len ? 0 : lost(err, "takes no messages any more");
}

static int receive_bytes(int fd, void *to, size_t size, int64_t end, struct error *err)
{
	uint8_t *at = to;

	while (size) {
		struct pollfd poller = { .fd = fd, .events = POLLIN };
		int64_t left = end - now_ms();
		ssize_t got;

		if (left <= 0)
			return lost(err, "does not answer");
		if (poll(&poller, 1, (int)left) <= 0)
			continue;
		got = recv(fd, at, size, MSG_DONTWAIT);
		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (got <= 0)
			return lost(err, "has gone");
		at += got;
		size -= (size_t)got;
	}
	return 0;
}

static int receive_message(int fd, struct message *message, struct error *err)
{
	int64_t end = now_ms() + VHOST_ANSWER_MS;

	if (receive_bytes(fd, message, HEAD, end, err))
		return -1;
	if ((message->flags & FLAGS_VERSION_MASK) != FLAGS_VERSION || message->size > sizeof(*message) - HEAD)
		return lost(err, "speaks another protocol");
	return receive_bytes(fd, message->bytes, message->size, end, err);
}

static int receive_answer(struct vhost *vhost, uint32_t request, uint32_t size, struct message *message,
			  struct error *err)
{
	if (receive_message(vhost->fd, message, err))
		return -1;
	if (message->request != request || !(message->flags & FLAGS_ANSWER) || message->size < size)
		return lost(err, "gives an answer to something else");
	return 0;
}

/* ---- requests ---- */

/* One that has no answer of its own: it gets one where the back end can. */
static int tell(struct vhost *vhost, struct message *message, uint32_t size, const int *fds, unsigned count,
		struct error *err)
{
	bool answered = vhost->protocol & PROTOCOL_ANSWERS;
	uint32_t request = message->request;

	message->flags = FLAGS_VERSION | (answered ? FLAGS_WANT_ANSWER : 0);
	message->size = size;
	if (send_message(vhost->fd, message, fds, count, err))
		return -1;
	if (!answered)
		return 0;
	if (receive_answer(vhost, request, sizeof(message->number), message, err))
		return -1;
	return message->number ? error_set(err, "the vhost-user back end refuses request %u", request) : 0;
}

static int tell_number(struct vhost *vhost, enum request request, uint64_t number, struct error *err)
{
	struct message message = { .request = request, .number = number };

	return tell(vhost, &message, sizeof(message.number), NULL, 0, err);
}

static int tell_state(struct vhost *vhost, enum request request, uint32_t number, struct error *err)
{
	struct message message = { .request = request, .state = { 0, number } };

	return tell(vhost, &message, sizeof(message.state), NULL, 0, err);
}

static int tell_fd(struct vhost *vhost, enum request request, int fd, struct error *err)
{
	struct message message = { .request = request };

	return tell(vhost, &message, sizeof(message.number), &fd, 1, err);
}

static int ask(struct vhost *vhost, enum request request, uint64_t *number, struct error *err)
{
	struct message message = { .request = request, .flags = FLAGS_VERSION };

	if (send_message(vhost->fd, &message, NULL, 0, err) ||
	    receive_answer(vhost, request, sizeof(message.number), &message, err))
		return -1;
	*number = message.number;
	return 0;
}

int vhost_read_config(struct vhost *vhost, struct error *err)
{
	struct message message = {
		.request = GET_CONFIG,
		.flags = FLAGS_VERSION,
		.size = CONFIG_HEAD + VHOST_CONFIG_BYTES,
		.config = { .size = VHOST_CONFIG_BYTES },
	};

	if (send_message(vhost->fd, &message, NULL, 0, err) || receive_answer(vhost, GET_CONFIG, 0, &message, err))
		return -1;
	if (message.size != CONFIG_HEAD + VHOST_CONFIG_BYTES)
		return lost(err, "does not tell its configuration");
	memcpy(vhost->config, message.config.bytes, sizeof(vhost->config));
	return 0;
}

int vhost_write_config(struct vhost *vhost, unsigned offset, uint8_t value, struct error *err)
{
	struct message message = {
		.request = SET_CONFIG,
		.config = { .offset = offset, .size = 1, .bytes = { value } },
	};

	return tell(vhost, &message, CONFIG_HEAD + 1, NULL, 0, err);
}

/* ---- connection ---- */

static int connect_to(const char *path, struct error *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd;

	if (strlen(path) >= sizeof(address.sun_path))
		return error_set(err, "%s: a socket's name has at most %zu characters", path,
				 sizeof(address.sun_path) - 1);
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && !connect(fd, (const struct sockaddr *)&address, sizeof(address)))
		return fd;
	error_set(err, "cannot reach a vhost-user back end at '%s': %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

static int open_notices(struct vhost *vhost, struct error *err)
{
	int ends[2], failed;

	if (!(vhost->protocol & PROTOCOL_BACKEND_FD))
		return 0;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
		return error_set(err, "cannot make a socket: %s", strerror(errno));
	vhost->notice_fd = ends[0];
	failed = tell_fd(vhost, SET_BACKEND_FD, ends[1], err);
	close(ends[1]);
	return failed;
}

static int introduce(struct vhost *vhost, struct error *err)
{
	struct message owner = { .request = SET_OWNER };
	uint64_t offered = 0;

	if (tell(vhost, &owner, 0, NULL, 0, err) || ask(vhost, GET_FEATURES, &vhost->features, err))
		return -1;
	if (vhost->features & FEATURE_PROTOCOL && ask(vhost, GET_PROTOCOL_FEATURES, &offered, err))
		return -1;
	if (!(offered & PROTOCOL_CONFIG))
		return lost(err, "has no configuration: it is no block device");
	offered &= PROTOCOL_ANSWERS | PROTOCOL_BACKEND_FD | PROTOCOL_CONFIG;
	if (tell_number(vhost, SET_PROTOCOL_FEATURES, offered, err))
		return -1;
	vhost->protocol = offered;
	return open_notices(vhost, err) || vhost_read_config(vhost, err) ? -1 : 0;
}

int vhost_open(struct vhost *vhost, const char *path, struct error *err)
{
	*vhost = (struct vhost){ .notice_fd = -1 };
	vhost->fd = connect_to(path, err);
	if (vhost->fd < 0)
		return -1;
	if (!introduce(vhost, err))
		return 0;
	vhost_close(vhost);
	return -1;
}

void vhost_close(struct vhost *vhost)
{
	if (vhost->fd >= 0)
		close(vhost->fd);
	if (vhost->notice_fd >= 0)
		close(vhost->notice_fd);
	vhost->fd = -1;
	vhost->notice_fd = -1;
	vhost->has_memory = false;
}

/* ---- work ---- */

static int tell_memory(struct vhost *vhost, const struct device_memory *memory, unsigned count, struct error *err)
{
	struct message message = { .request = SET_MEM_TABLE };
	int fds[REGIONS_MAX];

	if (vhost->has_memory)
		return 0;
	if (!count || count > REGIONS_MAX)
		return error_set(err, "a vhost-user back end takes 1 to %u ranges of memory, not %u", REGIONS_MAX,
				 count);
	message.memory.count = count;
	for (unsigned i = 0; i < count; i++) {
		message.memory.region[i] = (struct region){
			.guest = memory[i].addr,
			.size = memory[i].length,
			.user = (uintptr_t)memory[i].host,
			.offset = memory[i].offset,
		};
		fds[i] = memory[i].fd;
	}
	if (tell(vhost, &message, (uint32_t)(8 + count * sizeof(struct region)), fds, count, err))
		return -1;
	vhost->has_memory = true;
	return 0;
}

static int tell_addresses(struct vhost *vhost, const struct vhost_ring *ring, struct error *err)
{
	struct message message = {
		.request = SET_VRING_ADDR,
		.addresses = { .desc = (uintptr_t)ring->desc,
			       .used = (uintptr_t)ring->used,
			       .avail = (uintptr_t)ring->avail },
	};

	return tell(vhost, &message, sizeof(message.addresses), NULL, 0, err);
}

int vhost_start(struct vhost *vhost, const struct device_memory *memory, unsigned count, uint64_t features,
		const struct vhost_ring *ring, struct error *err)
{
	return tell_number(vhost, SET_FEATURES, features | FEATURE_PROTOCOL, err) ||
			       tell_memory(vhost, memory, count, err) ||
			       tell_state(vhost, SET_VRING_NUM, ring->size, err) ||
			       tell_state(vhost, SET_VRING_BASE, ring->base, err) || tell_addresses(vhost, ring, err) ||
			       tell_fd(vhost, SET_VRING_CALL, ring->call_fd, err) ||
			       tell_fd(vhost, SET_VRING_KICK, ring->kick_fd, err) ||
			       tell_state(vhost, SET_VRING_ENABLE, 1, err)
		       ? -1
		       : 0;
}

int vhost_begin_stop(struct vhost *vhost, struct error *err)
{
	struct message message = {
		.request = GET_VRING_BASE,
		.flags = FLAGS_VERSION,
		.size = sizeof(message.state),
	};

	return send_message(vhost->fd, &message, NULL, 0, err);
}

int vhost_end_stop(struct vhost *vhost, struct error *err)
{
	struct message message;

	return receive_answer(vhost, GET_VRING_BASE, sizeof(message.state), &message, err);
}

void vhost_hang_up(struct vhost *vhost)
{
	shutdown(vhost->fd, SHUT_WR);
}

int vhost_take_notice(struct vhost *vhost, bool *changed, struct error *err)
{
	struct message message;
	bool answer;

	if (receive_message(vhost->notice_fd, &message, err))
		return -1;
	*changed = message.request == NOTICE_CONFIG_CHANGED;
	answer = message.flags & FLAGS_WANT_ANSWER;
	if (!answer)
		return 0;
	message.flags = FLAGS_VERSION | FLAGS_ANSWER;
	message.size = sizeof(message.number);
	message.number = *changed ? 0 : 1;
	return send_message(vhost->notice_fd, &message, NULL, 0, err);
}
