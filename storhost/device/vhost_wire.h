/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The vhost-user protocol, front end's side: one connection to a back end that serves one virtio-blk queue.
 *
 * vhost_open, then vhost_start and vhost_stop in turn. Every message that has an answer, or can have one, waits for it
 * at most VHOST_ANSWER_MS; a back end that does not answer, or answers nonsense, counts as one that is gone: the
 * function returns -1 with a sentence, and the caller closes the connection. [vhost-user, of QEMU's documentation]
 * Locks: none; the caller serializes.
 */
#ifndef STORHOST_DEVICE_VHOST_WIRE_H
#define STORHOST_DEVICE_VHOST_WIRE_H

#include "base/error.h"
#include "device/device.h"

#define VHOST_ANSWER_MS 5000
/* Configuration that is asked for: all that QEMU's versions of the structure share. */
#define VHOST_CONFIG_BYTES 60

struct vhost {
	int fd;        /* -1: there is no connection */
	int notice_fd; /* the back end's own messages; -1: it has none to send */
	uint64_t features;
	uint64_t protocol;
	bool has_memory;
	uint8_t config[VHOST_CONFIG_BYTES];
};

struct vhost_ring {
	uint16_t size, base;
	const void *desc, *avail, *used; /* in memory that the back end was given */
	int kick_fd, call_fd;
};

/* Connects and learns features and configuration; with no connection if that fails. */
int vhost_open(struct vhost *vhost, const char *path, struct error *err);
void vhost_close(struct vhost *vhost);
/* Rereads the configuration. */
int vhost_read_config(struct vhost *vhost, struct error *err);
int vhost_write_config(struct vhost *vhost, unsigned offset, uint8_t value, struct error *err);
/* Gives the back end its memory (once per connection), the features and the ring, and sets it to work. */
int vhost_start(struct vhost *vhost, const struct device_memory *memory, unsigned count, uint64_t features,
		const struct vhost_ring *ring, struct error *err);
/* Asks for the end of the work; the answer is a message of its own. */
int vhost_begin_stop(struct vhost *vhost, struct error *err);
int vhost_end_stop(struct vhost *vhost, struct error *err);
/* Nothing more is sent; the back end closes the connection when it has done with the memory. */
void vhost_hang_up(struct vhost *vhost);
/* Takes one message of the back end's own. Whether it says that the configuration has changed: *changed. */
int vhost_take_notice(struct vhost *vhost, bool *changed, struct error *err);

#endif
