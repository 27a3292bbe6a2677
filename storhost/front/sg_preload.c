/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * storhost-sg.so, for LD_PRELOAD: gives a program one more SCSI generic device, the disk of a driver that `storhost sg`
 * hosts, so that tools for Linux's sg devices run as they are.
 *
 * The environment names the server's socket (STORHOST_SG) and, if it is not to be /dev/sg-storhost, the path that stands
 * for the device (STORHOST_SG_DEVICE). A descriptor of the device is a connection whose own end has a name with a mark
 * in it: it is known again after dup, fork and exec, and there is no table to keep. Each SG_IO takes a connection of its
 * own, so threads and processes may share a descriptor.
 *
 * A request that is written is done when write() returns, and waits for its read().
 *
 * What sg has and this has not: poll(), SIGIO, mmap()ed transfers, resets, interface 4. They fail, or say nothing.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <scsi/scsi.h>
#include <scsi/scsi_ioctl.h>
#include <scsi/sg.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "front/sg_wire.h"

#define EXPORT __attribute__((visibility("default")))
#define NEXT(name) ((__typeof__(&(name)))dlsym(RTLD_NEXT, #name))

#define MARK "storhost-sg/" /* how names of our descriptors begin, after the byte 0 of abstract names */
#define NAMES_MAX 65536u
#define SG_MAJOR 21
#ifndef SG_FLAG_MMAP_IO /* not in glibc's header */
#define SG_FLAG_MMAP_IO 4
#endif
#define SG_VERSION 30536 /* sg's since Linux 2.6.38 */
#define DRIVER_SENSE 8
#define TIMEOUT_DEFAULT_S 60u
#define UNLIMITED_MS UINT32_MAX

/* ---- the device and its descriptors ---- */

static bool is_device(const char *path)
{
	const char *device = getenv(SG_WIRE_DEVICE);

	return path && getenv(SG_WIRE_SOCKET) && !strcmp(path, device ? device : SG_WIRE_DEVICE_DEFAULT);
}

/* Leaves errno as it is: the question is ours, not the caller's. */
static bool is_ours(int fd)
{
	struct sockaddr_un name;
	socklen_t length = sizeof(name);
	int before = errno;
	bool ours = !getsockname(fd, (struct sockaddr *)&name, &length) && name.sun_family == AF_UNIX &&
		    length >= offsetof(struct sockaddr_un, sun_path) + sizeof(MARK) &&
		    !memcmp(name.sun_path, "\0" MARK, sizeof(MARK));

	errno = before;
	return ours;
}

/* A name that no other descriptor has. */
static int mark(int fd)
{
	for (unsigned i = 0; i < NAMES_MAX; i++) {
		struct sockaddr_un name = { .sun_family = AF_UNIX };
		int length = snprintf(name.sun_path + 1, sizeof(name.sun_path) - 1, MARK "%d/%u", (int)getpid(), i);

		if (!bind(fd, (struct sockaddr *)&name,
			  (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length)))
			return 0;
		if (errno != EADDRINUSE)
			return -1;
	}
	return -1;
}

/* A connection to the server; one that is to be a descriptor of the device has a mark. */
static int connect_server(bool marked, int flags)
{
	const char *path = getenv(SG_WIRE_SOCKET);
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd;

	if (!path || strlen(path) >= sizeof(address.sun_path)) {
		errno = ENXIO;
		return -1;
	}
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | flags, 0);
	if (fd < 0)
		return -1;
	if ((marked && mark(fd)) || connect(fd, (struct sockaddr *)&address, sizeof(address))) {
		close(fd);
		errno = ENXIO;
		return -1;
	}
	return fd;
}

static int open_device(int flags)
{
	return connect_server(true, flags & O_CLOEXEC ? SOCK_CLOEXEC : 0);
}

static void describe_device(struct stat *st)
{
	memset(st, 0, sizeof(*st));
	st->st_mode = S_IFCHR | 0660;
	st->st_nlink = 1;
	st->st_rdev = makedev(SG_MAJOR, 0);
	st->st_blksize = 4096;
}

/* ---- SG_IO ---- */

/* 0, or the errno value that sg has for what is wrong with the caller's structure. */
static int build_request(const struct sg_io_hdr *hdr, struct sg_request *request)
{
	memset(request, 0, sizeof(*request));
	if (hdr->interface_id != 'S')
		return ENOSYS;
	if (!hdr->cmdp || !hdr->cmd_len || hdr->cmd_len > SG_WIRE_CDB_MAX)
		return EMSGSIZE;
	if (hdr->flags & SG_FLAG_MMAP_IO || hdr->dxfer_len > SG_WIRE_DATA_MAX)
		return EINVAL;
	request->magic = SG_WIRE_MAGIC;
	request->cdb_length = hdr->cmd_len;
	memcpy(request->cdb, hdr->cmdp, hdr->cmd_len);
	if (hdr->timeout == UNLIMITED_MS || !hdr->timeout)
		request->timeout = TIMEOUT_DEFAULT_S;
	else
		request->timeout = (hdr->timeout + 999) / 1000;
	if (hdr->dxfer_direction == SG_DXFER_NONE || !hdr->dxfer_len)
		return 0;
	request->length = hdr->dxfer_len;
	request->direction = hdr->dxfer_direction == SG_DXFER_TO_DEV ? SG_WIRE_OUT : SG_WIRE_IN;
	return hdr->dxferp ? 0 : EINVAL;
}

/* Between one buffer of dxfer_len bytes and the caller's pieces of it. */
static void copy_pieces(const struct sg_io_hdr *hdr, char *data, size_t length, bool to_caller)
{
	const struct sg_iovec *pieces = hdr->dxferp;

	for (unsigned i = 0; i < hdr->iovec_count && length; i++) {
		size_t now = pieces[i].iov_len < length ? pieces[i].iov_len : length;

		memcpy(to_caller ? pieces[i].iov_base : data, to_caller ? data : pieces[i].iov_base, now);
		data += now;
		length -= now;
	}
}

static void take_reply(struct sg_io_hdr *hdr, const struct sg_reply *reply)
{
	hdr->status = reply->status;
	hdr->masked_status = (reply->status >> 1) & 0x1f;
	hdr->msg_status = 0;
	hdr->host_status = reply->host_status;
	hdr->driver_status = reply->sense_length ? DRIVER_SENSE : 0;
	hdr->resid = (int)(hdr->dxfer_len - reply->transferred);
	hdr->sb_len_wr = reply->sense_length < hdr->mx_sb_len ? reply->sense_length : hdr->mx_sb_len;
	if (hdr->sb_len_wr && hdr->sbp)
		memcpy(hdr->sbp, reply->sense, hdr->sb_len_wr);
	hdr->info = hdr->masked_status || hdr->host_status || hdr->driver_status ? SG_INFO_CHECK : SG_INFO_OK;
}

/* 0 or an errno value; `data` has the request's length. */
static int exchange(struct sg_io_hdr *hdr, const struct sg_request *request, char *data)
{
	int fd = connect_server(false, SOCK_CLOEXEC), result = ENODEV;
	struct sg_reply reply;

	if (fd < 0)
		return ENODEV;
	if (sg_wire_send(fd, request, sizeof(*request)) &&
	    (request->direction != SG_WIRE_OUT || sg_wire_send(fd, data, request->length)) &&
	    sg_wire_receive(fd, &reply, sizeof(reply)))
		result = (int)reply.error;
	if (!result && request->direction == SG_WIRE_IN && !sg_wire_receive(fd, data, reply.transferred))
		result = ENODEV;
	if (!result)
		take_reply(hdr, &reply);
	close(fd);
	return result;
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int sg_io(struct sg_io_hdr *hdr)
{
	struct sg_request request;
	int64_t begun = now_ms();
	char *data = hdr->dxferp;
	int result = build_request(hdr, &request);

	if (result)
		return result;
	if (hdr->iovec_count) {
		data = calloc(1, request.length ? request.length : 1);
		if (!data)
			return ENOMEM;
		if (request.direction == SG_WIRE_OUT)
			copy_pieces(hdr, data, request.length, false);
	}
	result = exchange(hdr, &request, data);
	if (hdr->iovec_count) {
		if (!result && request.direction == SG_WIRE_IN)
			copy_pieces(hdr, data, request.length - (size_t)hdr->resid, true);
		free(data);
	}
	hdr->duration = (unsigned)(now_ms() - begun);
	return result;
}

/* ---- write() and read() ---- */

/* A request that was written to a descriptor and is done, in the order of the writes. */
struct written {
	struct written *next;
	ino_t descriptor; /* by its socket, which its duplicates share */
	struct sg_io_hdr hdr;
};

static struct {
	pthread_mutex_t lock;
	struct written *first, **last;
	bool by_pack_id; /* SG_SET_FORCE_PACK_ID */
} queue = { .lock = PTHREAD_MUTEX_INITIALIZER, .last = &queue.first };

static ino_t socket_of(int fd)
{
	struct stat st;

	return NEXT(fstat)(fd, &st) ? 0 : st.st_ino;
}

/* 0 or an errno value. */
static int write_request(int fd, const void *bytes, size_t size)
{
	struct written *written;
	int result;

	if (size < sizeof(written->hdr))
		return EIO;
	written = calloc(1, sizeof(*written));
	if (!written)
		return ENOMEM;
	memcpy(&written->hdr, bytes, sizeof(written->hdr));
	written->descriptor = socket_of(fd);
	result = sg_io(&written->hdr);
	if (result) {
		free(written);
		return result;
	}
	pthread_mutex_lock(&queue.lock);
	*queue.last = written;
	queue.last = &written->next;
	pthread_mutex_unlock(&queue.lock);
	return 0;
}

/* The oldest of the descriptor, with that pack_id if it is not -1; NULL: there is none. Under the lock. */
static struct written **find_written(ino_t descriptor, int pack_id)
{
	struct written **link = &queue.first;

	while (*link && ((*link)->descriptor != descriptor || (pack_id != -1 && (*link)->hdr.pack_id != pack_id)))
		link = &(*link)->next;
	return *link ? link : NULL;
}

static int read_answer(int fd, void *bytes, size_t size)
{
	struct written **link, *found = NULL;
	struct sg_io_hdr wanted;

	if (size < sizeof(wanted))
		return EIO;
	memcpy(&wanted, bytes, sizeof(wanted));
	pthread_mutex_lock(&queue.lock);
	link = find_written(socket_of(fd), queue.by_pack_id ? wanted.pack_id : -1);
	if (link) {
		found = *link;
		*link = found->next;
		if (!found->next)
			queue.last = link;
	}
	pthread_mutex_unlock(&queue.lock);
	if (!found)
		return EAGAIN;
	memcpy(bytes, &found->hdr, sizeof(found->hdr));
	free(found);
	return 0;
}

static ssize_t done(int result, size_t size)
{
	if (!result)
		return (ssize_t)size;
	errno = result;
	return -1;
}

EXPORT ssize_t write(int fd, const void *bytes, size_t size)
{
	return is_ours(fd) ? done(write_request(fd, bytes, size), size) : NEXT(write)(fd, bytes, size);
}

EXPORT ssize_t read(int fd, void *bytes, size_t size)
{
	return is_ours(fd) ? done(read_answer(fd, bytes, size), size) : NEXT(read)(fd, bytes, size);
}

EXPORT ssize_t __read_chk(int fd, void *bytes, size_t size, size_t room);
EXPORT ssize_t __read_chk(int fd, void *bytes, size_t size, size_t room)
{
	return is_ours(fd) && size <= room ? done(read_answer(fd, bytes, size), size)
					   : NEXT(__read_chk)(fd, bytes, size, room);
}

/* How many wait to be read, or the pack_id of the next of them, -1 for none. */
static int waiting(int fd, bool count)
{
	ino_t descriptor = socket_of(fd);
	struct written **link;
	int value = 0;

	pthread_mutex_lock(&queue.lock);
	link = find_written(descriptor, -1);
	if (!count)
		value = link ? (*link)->hdr.pack_id : -1;
	for (struct written *written = queue.first; count && written; written = written->next)
		value += written->descriptor == descriptor;
	pthread_mutex_unlock(&queue.lock);
	return value;
}

/* ---- what else sg answers ---- */

/* Requests whose answer is one int, the same for every descriptor. */
static const struct {
	unsigned long request;
	int answer;
} constants[] = {
	{ SG_GET_VERSION_NUM, SG_VERSION }, { SG_GET_RESERVED_SIZE, 0 }, { SG_EMULATED_HOST, 0 },
	{ SCSI_IOCTL_GET_BUS_NUMBER, 0 },   { SG_GET_COMMAND_Q, 1 },
};

static int device_ioctl(int fd, unsigned long request, void *argument)
{
	switch (request) {
	case SG_IO:
		return sg_io(argument);
	case SG_SET_TIMEOUT: /* each request has its own */
	case SG_SET_RESERVED_SIZE:
	case SG_SET_COMMAND_Q:
		return 0;
	case SG_SET_FORCE_PACK_ID:
		queue.by_pack_id = *(int *)argument != 0;
		return 0;
	case SG_GET_NUM_WAITING:
	case SG_GET_PACK_ID:
		*(int *)argument = waiting(fd, request == SG_GET_NUM_WAITING);
		return 0;
	case SG_GET_SCSI_ID:
		memset(argument, 0, sizeof(struct sg_scsi_id));
		return 0;
	case SCSI_IOCTL_GET_IDLUN: /* id, lun, channel and host number, one byte each; then a number of the host's own */
		memset(argument, 0, 2 * sizeof(int));
		return 0;
	}
	for (size_t i = 0; i < sizeof(constants) / sizeof(constants[0]); i++) {
		if (constants[i].request == request) {
			memcpy(argument, &constants[i].answer, sizeof(int));
			return 0;
		}
	}
	return ENOTTY;
}

EXPORT int ioctl(int fd, unsigned long request, ...)
{
	void *argument;
	va_list ap;
	int result;

	va_start(ap, request);
	argument = va_arg(ap, void *);
	va_end(ap);
	if (!is_ours(fd))
		return NEXT(ioctl)(fd, request, argument);
	result = device_ioctl(fd, request, argument);
	if (result)
		errno = result;
	return result ? -1 : 0;
}

/* ---- opening and looking ---- */

#define OPEN_MODE(mode, flags)                                                                                         \
	do {                                                                                                           \
		va_list ap;                                                                                            \
		va_start(ap, flags);                                                                                   \
		mode = (flags) & (O_CREAT | O_TMPFILE) ? va_arg(ap, mode_t) : 0;                                       \
		va_end(ap);                                                                                            \
	} while (0)

EXPORT int open(const char *path, int flags, ...)
{
	mode_t mode;

	OPEN_MODE(mode, flags);
	return is_device(path) ? open_device(flags) : NEXT(open)(path, flags, mode);
}

EXPORT int openat(int directory, const char *path, int flags, ...)
{
	mode_t mode;

	OPEN_MODE(mode, flags);
	return is_device(path) ? open_device(flags) : NEXT(openat)(directory, path, flags, mode);
}

EXPORT int __open_2(const char *path, int flags);
EXPORT int __open_2(const char *path, int flags)
{
	return is_device(path) ? open_device(flags) : NEXT(__open_2)(path, flags);
}

EXPORT int stat(const char *path, struct stat *st)
{
	if (!is_device(path))
		return NEXT(stat)(path, st);
	describe_device(st);
	return 0;
}

EXPORT int lstat(const char *path, struct stat *st)
{
	if (!is_device(path))
		return NEXT(lstat)(path, st);
	describe_device(st);
	return 0;
}

EXPORT int fstat(int fd, struct stat *st)
{
	if (!is_ours(fd))
		return NEXT(fstat)(fd, st);
	describe_device(st);
	return 0;
}

EXPORT int fstatat(int directory, const char *path, struct stat *st, int flags)
{
	if (!is_device(path))
		return NEXT(fstatat)(directory, path, st, flags);
	describe_device(st);
	return 0;
}

EXPORT int access(const char *path, int mode)
{
	return is_device(path) ? 0 : NEXT(access)(path, mode);
}

/* The names of the same for files beyond 2 GiB: on 64 bits they are the same. */
#define ALIAS(name) EXPORT __attribute__((alias(name)))

_Static_assert(sizeof(struct stat) == sizeof(struct stat64) && sizeof(off_t) == sizeof(off64_t), "64 bits");

ALIAS("open") int open64(const char *path, int flags, ...);
ALIAS("openat") int openat64(int directory, const char *path, int flags, ...);
ALIAS("__open_2") int __open64_2(const char *path, int flags);
ALIAS("stat") int stat64(const char *path, struct stat64 *st);
ALIAS("lstat") int lstat64(const char *path, struct stat64 *st);
ALIAS("fstat") int fstat64(int fd, struct stat64 *st);
ALIAS("fstatat") int fstatat64(int directory, const char *path, struct stat64 *st, int flags);
