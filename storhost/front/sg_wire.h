/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What a client of the hosted disk (sg_preload.c, inside a SCSI tool; the tests' driver for Wine) and sg_server.c, inside
 * storhost, say to each other over a UNIX socket.
 *
 * A connection carries requests one after the other: struct sg_request, its data if the direction is out, and back
 * struct sg_reply with the data that came in. Closing a connection abandons nothing. Both ends are on one machine, but
 * not always of one width.
 */
#ifndef STORHOST_FRONT_SG_WIRE_H
#define STORHOST_FRONT_SG_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SG_WIRE_SOCKET "STORHOST_SG"        /* in the environment: where the server listens */
#define SG_WIRE_DEVICE "STORHOST_SG_DEVICE" /* in the environment: the path that tools open */
#define SG_WIRE_DEVICE_DEFAULT "/dev/sg-storhost"

#define SG_WIRE_MAGIC 0x73672d31u
#define SG_WIRE_CDB_MAX 16u
#define SG_WIRE_DATA_MAX (16u << 20)
#define SG_WIRE_SENSE_MAX 255u

enum sg_wire_kind {
	SG_WIRE_COMMAND, /* a SCSI command */
	SG_WIRE_IO_CONTROL, /* IOCTL_SCSI_MINIPORT: its buffer as data, which also follow the request; direction in, no CDB */
	SG_WIRE_RESIZE, /* not for the driver: the disk gets the size in bytes in the CDB's first eight, little-endian */
};

enum sg_wire_direction { SG_WIRE_NONE, SG_WIRE_IN, SG_WIRE_OUT };

struct sg_request {
	uint32_t magic;
	uint32_t length;  /* bytes of data */
	uint32_t timeout; /* seconds */
	uint8_t direction, cdb_length, kind, reserved;
	uint8_t cdb[SG_WIRE_CDB_MAX];
};

struct sg_reply {
	uint32_t error;       /* errno value; nothing else counts unless it is 0 */
	uint32_t transferred; /* bytes; those of direction in follow */
	uint8_t status, sense_length;
	uint16_t host_status; /* Linux's DID_* */
	uint8_t sense[SG_WIRE_SENSE_MAX + 1];
};

_Static_assert(sizeof(struct sg_request) == 32 && sizeof(struct sg_reply) == 268, "the same for 32 and 64 bits");

/* All of it, whatever signals come meanwhile. False: the other side is gone. */
__attribute__((visibility("hidden"))) bool sg_wire_receive(int fd, void *data, size_t length);
__attribute__((visibility("hidden"))) bool sg_wire_send(int fd, const void *data, size_t length);

#endif
