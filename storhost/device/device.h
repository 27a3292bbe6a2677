/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The seam between a PCI function and the machine it is plugged into.
 *
 * A device knows no guest: it answers configuration and BAR accesses, moves bytes in guest memory through
 * `translate`, and signals interrupts. The machine (port/) plays firmware and operating system: it assigns BAR
 * addresses, programs MSI or MSI-X, and decides when the device may work.
 *
 * Order of use: create (device_create of open.h) → device_attach → config and BAR accesses, device_step, in any
 * order and from any thread → device_destroy. Nothing may be called after destroy, and destroy waits for nobody: the
 * machine has stopped its threads before.
 *
 * Work is asynchronous. A register write never completes a request inside the call: it marks work and calls
 * bus->wake(). The machine then calls device_step() until it returns false; one step fetches, or performs, or finishes
 * one request. The random number that it passes decides everything that a real device leaves to chance (which of the
 * ready requests finishes first, how many are fetched before one finishes), so a run can be repeated from its seed.
 */
#ifndef STORHOST_DEVICE_DEVICE_H
#define STORHOST_DEVICE_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/count.h"
#include "base/error.h"
#include "verify/verify.h"

struct device;

/* What else than 0 and -1 an operation returns: this device has no such thing, and *err says what it cannot. */
#define DEVICE_CANNOT 1
/* In place of a number of struct device_stats that the device does not know. */
#define DEVICE_UNCOUNTED UINT64_MAX

/* A range of guest RAM: bus addresses [addr, addr+length) are `host` here, and the file fd from offset on. */
struct device_memory {
	uint64_t addr, length;
	void *host;
	int fd;
	uint64_t offset;
	bool physical; /* addr is what the bus of the machine that storhost runs on has there, too */
};

/*
 * What the machine offers a device. All are called from inside device functions, on any thread, with the device's lock
 * held so that they come in the order of the events: they return, do not call the device, and wait for no lock whose
 * holder may be calling it.
 */
struct device_bus {
	void *opaque;
	/*
	 * Host address of guest bytes [addr, addr+len), or NULL where the guest has no memory that the device may use so
	 * (the machine reports that as the driver's fault). write: the device will write. Guest memory may be scattered:
	 * a device asks page by page (no call may cross a 4 KiB boundary). Valid until the next call.
	 */
	void *(*translate)(void *opaque, uint64_t addr, uint32_t len, bool write);
	/*
	 * Whether a descriptor may name [addr, addr+len), inside one page, as memory for the device to read or write.
	 * False is reported as the driver's fault.
	 */
	bool (*granted)(void *opaque, uint64_t addr, uint32_t len, bool write);
	void (*set_intx)(void *opaque, bool asserted);                 /* level of INTA# */
	void (*msi_write)(void *opaque, uint64_t addr, uint32_t data); /* one message, MSI or MSI-X */
	void (*wake)(void *opaque);                                    /* device_step has something to do */
	/* The device saw the driver break a rule. clause: of the contract or the specification. */
	void (*blame)(void *opaque, enum rule rule, const char *clause, const char *text);
	/*
	 * All of guest RAM, for a device that cannot ask page by page: somebody else moves its data. Such a device sees
	 * through `granted` whether a descriptor is right, and never what is done with it.
	 */
	const struct device_memory *memory;
	unsigned memory_count;
	/* Whether the driver has requests that it has not given back; NULL: nobody knows. */
	bool (*expects)(void *opaque);
};

/* Counters, never reset, each its number or DEVICE_UNCOUNTED. Read them when the device is quiet. */
struct device_stats {
	count64 doorbells;  /* writes to a notify register */
	count64 interrupts; /* messages written, or rising edges of INTA# */
	count64 requests;   /* completed, whatever their status */
	count64 bytes_read; /* from the medium */
	count64 bytes_written;
	count64 flushes;
	count64 discards;   /* ranges taken away */
	count64 zeroes;     /* ranges overwritten with zeroes */
	count64 mmio_reads; /* BAR accesses other than the MSI-X table */
	count64 mmio_writes;
	count64 isr_reads; /* of ISR status, among the reads */
	count64 faults;    /* that it was built to have, and had */
};

struct device_ops {
	const char *name;
	/* width 1, 2 or 4; offset below 256, naturally aligned; all-ones where there is nothing. */
	uint32_t (*config_read)(struct device *dev, unsigned offset, unsigned width);
	void (*config_write)(struct device *dev, unsigned offset, unsigned width, uint32_t value);
	/* Length in bytes of memory BAR n (0..5); 0 if it is absent or the upper half of a 64-bit one. */
	uint64_t (*bar_length)(struct device *dev, unsigned bar);
	uint64_t (*bar_read)(struct device *dev, unsigned bar, uint64_t offset, unsigned width);
	void (*bar_write)(struct device *dev, unsigned bar, uint64_t offset, unsigned width, uint64_t value);
	/* At most one unit of work; false when there is nothing to do until the next wake(). */
	bool (*step)(struct device *dev, uint64_t random);
	/*
	 * Whether a request that does not come back is the device's doing: it was told of it and holds it, or it does
	 * what it was built to do wrong.
	 */
	bool (*owes)(struct device *dev);
	/* Whether the driver has set it to work, so that it may reach memory and interrupt. */
	bool (*running)(struct device *dev);
	/* Power was lost and came back: everything but the medium is as after power-on. */
	void (*power_cycle)(struct device *dev);
	const struct device_stats *(*stats)(struct device *dev);
	void (*destroy)(struct device *dev);

	/* What follows may be NULL. */

	/* What its options ask for, which is for somebody else to say, and is not so; NULL: nothing. */
	const char *(*lacks)(struct device *dev);
	/* The bus is there: called by each device_attach, of which the last one holds. */
	int (*attached)(struct device *dev, struct error *err);
	/*
	 * Whether somebody outside of the machine works for it just now, so that wake() may come by itself. While that
	 * is so and nobody in the machine can run, the machine's time passes with the real one, instead of jumping to the
	 * next timer. False once nothing is to be expected, or the machine never rests.
	 */
	bool (*busy)(struct device *dev);
	/* It was pulled out: from the return on it reaches no memory. power_cycle comes before it is there again. */
	void (*pulled_out)(struct device *dev);
	/* What goes wrong from now on, by the keys fault… of the contract device. NULL: nothing ever does. */
	int (*fault)(struct device *dev, const char *spec, struct error *err);
	bool every_fault; /* it can have any fault that the contract device can */
	/* The medium has that size from now on, and the driver is told. */
	int (*resize)(struct device *dev, uint64_t bytes, struct error *err);
	/*
	 * Lays [offset, offset+length) of a BAR over the pages at `at`, so that accesses there reach it without bar_read
	 * and bar_write. False: they do not.
	 */
	bool (*bar_map)(struct device *dev, unsigned bar, uint64_t offset, uint64_t length, void *at);
	/* Before pulled_out, where somebody can do it: it leaves its slot, in the middle of whatever it does. */
	int (*eject)(struct device *dev, struct error *err);
	/*
	 * INTA# was served. For a device whose line can be seen to rise but not to fall: it takes the line down, and
	 * raises it again if it is still up.
	 */
	void (*intx_served)(struct device *dev);
};

struct device {
	const struct device_ops *ops;
	struct device_bus bus;
};

static inline int device_attach(struct device *dev, const struct device_bus *bus, struct error *err)
{
	dev->bus = *bus;
	return dev->ops->attached ? dev->ops->attached(dev, err) : 0;
}

#endif
