/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A virtio block device over a file or a block device: the contract's, QEMU's layout of it, and broken ones.
 *
 * virtio_blk_defaults, virtio_blk_parse (any number of times), virtio_blk_create; then struct device as
 * device.h has it.
 *
 * Threads: every operation takes the device's one lock, and the calls into the bus are made while it is held,
 * so that they come in the order of the events: a callback must not call the device, nor wait for a thread
 * that does. Reading, writing and flushing the medium happen without the lock: as many threads as there are
 * in step() at one time.
 */
#ifndef STORHOST_DEVICE_VIRTIO_BLK_H
#define STORHOST_DEVICE_VIRTIO_BLK_H

#include <stdio.h>

#include "base/error.h"
#include "device/virtio_pci.h"

/* What goes wrong with a request, once it is its turn; virtio_blk_help prints what each means. */
enum virtio_blk_fault {
	FAULT_NONE,
	FAULT_IO_ERROR,
	FAULT_BAD_STATUS,
	FAULT_NO_STATUS,
	FAULT_USED_BAD_ID,
	FAULT_USED_FREE_ID,
	FAULT_USED_TWICE,
	FAULT_USED_JUMP,
	FAULT_USED_LENGTH,
	FAULT_DROP,
	FAULT_DELAY,
	FAULT_LOST_INTERRUPT,
	FAULT_SPURIOUS_INTERRUPT,
	FAULT_CONFIG_INTERRUPT,
	FAULT_STALL,
	FAULT_RESUME,
	FAULT_PAUSE,
	FAULT_NEEDS_RESET,
	FAULT_GONE,
};

/* What becomes of GET_ID; each does so ever again. */
enum virtio_blk_id {
	ID_SOUND,
	ID_FAILS,
	ID_FAILS_ONCE,
	ID_NEVER, /* it is not returned before the next reset */
};

struct virtio_blk_options {
	struct virtio_pci_options pci;
	uint32_t seg_max;  /* data segments per request */
	uint32_t blk_size; /* bytes */
	uint32_t size_max; /* bytes of a data segment */
	uint8_t physical_exp, alignment;
	uint16_t min_io;
	uint32_t opt_io;
	uint32_t discard_sectors, discard_seg, discard_alignment;
	uint32_t zeroes_sectors, zeroes_seg;
	bool zeroes_may_unmap;
	bool writethrough;         /* `writeback` is 0 from a reset on */
	bool cache_stuck;          /* and keeps its value whatever is written */
	uint32_t volatile_percent; /* of what was written and not flushed, lost with power */
	uint32_t outstanding;      /* requests fetched and not returned, at most */
	uint32_t batch;            /* returned requests per interrupt, at most */
	bool reorder;
	bool used_len; /* used.len counts what the chain has to write, as in QEMU; else it is 0 */
	bool read_only;
	char serial[21]; /* of GET_ID; empty: the type is unsupported */
	enum virtio_blk_id id;
	uint32_t id_delay; /* steps that a GET_ID takes */
	enum virtio_blk_fault fault;
	uint32_t fault_after; /* requests that go well first */
	uint32_t fault_every; /* 0: the fault strikes once; n: again after every n requests */
	uint32_t grow_at;     /* register access before which the disk grows by a mebibyte; 0: it does not */
};

/* The layout `contract`. */
void virtio_blk_defaults(struct virtio_blk_options *o);
/* Changes *o by "word,key=value,…"; -1 and a sentence for what is not understood, with *o as it was. */
int virtio_blk_parse(struct virtio_blk_options *o, const char *spec, struct error *err);
/*
 * Writes the n-th of the "key=value" that virtio_blk_parse knows (n wraps around); where the value is a number or a
 * list, `number` chooses among all that are valid.
 */
void virtio_blk_sample(unsigned n, uint64_t number, char *buf, size_t size);
/* Every word and key that virtio_blk_parse knows. */
void virtio_blk_help(FILE *out);

/*
 * Opens and locks the disk: no other process, and no other device, has it open through here at the same time
 * (shared by readers where it is read-only). NULL and a sentence that names it if that cannot be.
 */
struct device *virtio_blk_create(const struct virtio_blk_options *o, const char *disk_path, struct error *err);

/* The structure's fields, for struct virtio_pci_type. */
unsigned virtio_blk_config_field(unsigned offset);
bool virtio_blk_config_wide(unsigned offset);

/* Changes what goes wrong from now on: `after` counts requests from here. */
void virtio_blk_set_fault(struct device *dev, enum virtio_blk_fault fault, uint32_t after, uint32_t every);

/* Changes how the registers are wrong from now on. */
void virtio_blk_set_registers(struct device *dev, enum virtio_pci_register_fault registers);

/* Grows or shrinks the file, and tells the driver. bytes: a multiple of 512, not 0. */
int virtio_blk_resize(struct device *dev, uint64_t bytes, struct error *err);

#endif
