/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The interface between storhost and a PCI device model in a shared object: `--device so:PATH[,OPTION,…]`.
 *
 * The object exports one function, storhost_device_get. Everything else goes through two tables of functions: the
 * device's, and the machine's. Numbers are little-endian as on the bus; a `bool` is an int that is 0 or not.
 *
 * Calls come from any thread, also from several at a time: a device that keeps state takes a lock. It may call the
 * machine's functions with its lock held; none of them calls the device or waits for anybody who does.
 *
 * A register write completes no request: it notes the work and calls wake(). The machine then calls step() until that
 * returns 0; one step does one piece of work. So a run can be repeated: a device asks nobody for the time or for chance,
 * which it gets as `random`.
 *
 * A table begins with its size in bytes. Later versions with the same STORHOST_DEVICE_VERSION only append functions; a
 * function beyond `size` is not there, nor is one that is NULL where that is allowed.
 */
#ifndef STORHOST_DEVICE_ABI_H
#define STORHOST_DEVICE_ABI_H

#include <stddef.h>
#include <stdint.h>

#define STORHOST_DEVICE_VERSION 1u
#define STORHOST_DEVICE_ENTRY "storhost_device_get"

/* An answer that is no failure: the device has no such thing. */
#define STORHOST_DEVICE_CANNOT 1
/* Bytes of a sentence, its NUL included. Whoever fails with -1 or CANNOT has written one, without a full stop. */
#define STORHOST_DEVICE_WHY 480

/* The device's own; storhost only hands it on. */
struct storhost_device;

/* The machine, for the device: valid from create to destroy; to be called from the first access on. */
struct storhost_machine {
	uint32_t size;
	void *opaque; /* the first argument of all functions */
	/* Guest memory by bus address; 0, or -1 where the guest has none that the device may use so (and is told). */
	int (*read)(void *opaque, uint64_t address, void *data, uint32_t length);
	int (*write)(void *opaque, uint64_t address, const void *data, uint32_t length);
	/* The same bytes in place, for what the driver accesses at the same time: inside one page of 4 KiB; or NULL. */
	void *(*map)(void *opaque, uint64_t address, uint32_t length, int write);
	/* Whether a descriptor may name these bytes for the device to read, or to write. A 0 has been told the driver. */
	int (*granted)(void *opaque, uint64_t address, uint64_t length, int write);
	void (*set_intx)(void *opaque, int asserted);                     /* the level of INTA# */
	void (*msi_write)(void *opaque, uint64_t address, uint32_t data); /* one message, MSI or MSI-X */
	void (*wake)(void *opaque);                                       /* step() has something to do */
	/* The driver broke a rule (`storhost rules` has their names) as this clause of a specification has it. */
	void (*blame)(void *opaque, const char *rule, const char *clause, const char *sentence);
};

struct storhost_device_table {
	uint32_t size;
	uint32_t version; /* STORHOST_DEVICE_VERSION */
	const char *name; /* one word */
	/*
	 * options: what follows PATH, with its commas, or ""; disk: the file that is the medium, or NULL. NULL, with a
	 * sentence in why, if the device cannot be had.
	 */
	struct storhost_device *(*create)(const char *options, const char *disk, const struct storhost_machine *machine,
					  char *why);
	void (*destroy)(struct storhost_device *device);
	/* width: 1, 2 or 4; offset below 256, aligned. All ones where there is nothing. */
	uint32_t (*config_read)(struct storhost_device *device, uint32_t offset, uint32_t width);
	void (*config_write)(struct storhost_device *device, uint32_t offset, uint32_t width, uint32_t value);
	/* Bytes of memory BAR 0 to 5; 0 if there is none, or it is the upper half of a 64-bit one. */
	uint64_t (*bar_length)(struct storhost_device *device, uint32_t bar);
	/* width: 1, 2, 4 or 8. */
	uint64_t (*bar_read)(struct storhost_device *device, uint32_t bar, uint64_t offset, uint32_t width);
	void (*bar_write)(struct storhost_device *device, uint32_t bar, uint64_t offset, uint32_t width,
			  uint64_t value);
	int (*step)(struct storhost_device *device, uint64_t random);
	/* Power was lost and has come back: all but the medium is as after power-on, and no memory is touched any more. */
	void (*power_cycle)(struct storhost_device *device);
	/* Whether the driver has set it to work (for virtio: DRIVER_OK, and no reset since). */
	int (*running)(struct storhost_device *device);
	/* Whether it has requests that it was told of and has not returned. */
	int (*owes)(struct storhost_device *device);

	/* What follows may be NULL. */

	/* Whether create() would take these options: 0, -1 or CANNOT. NULL: it takes any. */
	int (*check)(const char *options, char *why);
	/* What goes wrong from now on, in the words that `fault` of a scenario uses: 0, -1 or CANNOT. */
	int (*fault)(struct storhost_device *device, const char *text, char *why);
	/* The medium has so many bytes from now on, and the driver is told. */
	int (*resize)(struct storhost_device *device, uint64_t bytes, char *why);
	/* A number of the machine's report by its name ("flushes"): 0, or CANNOT if it is not counted. */
	int (*count)(struct storhost_device *device, const char *name, uint64_t *value);
};

/* The one function that is exported. A device that does not know the version returns its own table all the same. */
const struct storhost_device_table *storhost_device_get(uint32_t version);

#endif
