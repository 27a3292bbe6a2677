/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the files of fuzz/ share: the machine of a run, the lying device, and requests. */
#ifndef STORHOST_FUZZ_INTERNAL_H
#define STORHOST_FUZZ_INTERNAL_H

#include "device/virtio_blk.h"
#include "fuzz/fuzz.h"
#include "fuzz/input.h"
#include "port/port.h"

#define DISK_BYTES (256u << 10)
#define DATA_MAX (32u << 10) /* bytes of one request */

/* ---- fuzz.c ---- */

struct fuzz {
	struct input *input;
	struct device *device; /* the honest one */
	struct device *liar;   /* in front of it, or NULL */
	struct port *port;
	const char *parameter;
	struct port_options port_options;
	struct asked *asked; /* every request of the run */
	struct model *model; /* NULL: what the medium holds is not looked at */
	uint64_t blocks;
	uint32_t block_size;
	bool broken;  /* the honest one is told to be wrong in some respect */
	bool running; /* the driver takes requests */
};

void fuzz_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Loads and starts the driver; false: it refused, or the device could not be. */
bool fuzz_start(struct fuzz *fuzz);
/* Stops and unloads it; the machine goes on. */
void fuzz_stop(struct fuzz *fuzz);
/* The disk's image. */
int fuzz_disk(void);

/* ---- liar.c ---- */

/*
 * A device that is `honest` but for what the input says: it changes bytes of what is read and of what was written to
 * memory, raises interrupts, holds work back. lied: it is not honest to begin with. Owns honest.
 */
struct device *liar_create(struct device *honest, bool lied, struct input *input);
/* Whether memory or protocol can still be blamed on the driver: not once the device has lied about what it owns. */
bool liar_lied(const struct device *device);

/* ---- requests.c ---- */

enum ask { ASK_IO, ASK_SCSI, ASK_FUNCTION, ASK_IOCTL, ASK_ABORT, ASK_KINDS };

/* Sends a request that the input describes. */
void ask(struct fuzz *fuzz, enum ask kind);
/* One read or write of the medium. */
void ask_io(struct fuzz *fuzz, bool write, uint64_t lba, uint32_t blocks, bool fua, uint8_t cdb_length);
/* A command without data or with so many bytes to come, which are in the answer when it is back. */
const uint8_t *ask_command(struct fuzz *fuzz, const uint8_t *cdb, uint8_t cdb_length, uint32_t length);
/* Waits until none is under way; false if the machine died. */
bool ask_await(struct fuzz *fuzz);
/* Whether each came back once, with data that somebody wrote; prints what did not. Frees them. */
bool ask_settle(struct fuzz *fuzz);

/* ---- sides ---- */

/* What the run does with the started machine. */
void side_device(struct fuzz *fuzz);
void side_windows(struct fuzz *fuzz);

#endif
