/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The hosted adapter's disk as Windows 7's disk.sys and classpnp.sys use it: the commands that they send to find out
 * what it is, and a block view (read, write, flush) for front ends.
 *
 * Every function here is for front ends: any number of threads at a time. A transfer is cut into requests of at most
 * what the miniport declared; all of them are outstanding together, as far as its queue allows.
 */
#ifndef STORHOST_DISK_DISK_H
#define STORHOST_DISK_DISK_H

#include "port/port.h"

struct disk_info {
	uint64_t blocks;
	uint32_t block_size, physical_block_size; /* bytes */
	bool write_cache, read_only, fua;         /* by MODE SENSE: WCE, WP, DPOFUA */
	uint8_t inquiry[96];                      /* as returned, zero beyond */
	char vendor[9], product[17], revision[5]; /* without trailing blanks */
};

struct disk;

/* Enumerates the adapter's one logical unit and reads its capacity and modes. */
int disk_attach(struct port *port, struct disk **out, struct error *err);
void disk_free(struct disk *disk);
const struct disk_info *disk_info(const struct disk *disk);
/* Reads the capacity again, as disk.sys does when it is told of a change. No transfer may be under way. */
int disk_refresh(struct disk *disk, struct error *err);

enum disk_operation { DISK_READ, DISK_WRITE };

/*
 * Transfers `length` bytes at byte `offset`; both are multiples of the block size and lie within the capacity, or the
 * answer is EINVAL. 0, or an errno value: EIO with one sentence in *err after the retries that classpnp makes.
 */
int disk_transfer(struct disk *disk, enum disk_operation operation, void *data, uint32_t length, uint64_t offset,
		  bool fua, struct error *err);
int disk_flush(struct disk *disk, struct error *err);

/* One command as given, once, without retries: *request comes back with statuses, sense and transferred length. */
bool disk_command(struct disk *disk, const uint8_t *cdb, uint8_t cdb_length, enum request_direction direction,
		  void *data, uint32_t length, struct port_request *request);

/* Whether classpnp would issue the request again: unit attentions, aborted commands, hardware errors, resets. */
bool disk_worth_retrying(const struct port_request *request);

/* "MEDIUM ERROR (03/11/00)", or what the SRB status says where there is no sense. */
void disk_describe(const struct port_request *request, char *buf, size_t size);

#endif
