/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * StorPort as Windows 7 has it, hosting one miniport on one PCI function.
 *
 * A front end (outside the machine) goes through
 *   port_load      maps the .sys, binds its imports, runs DriverEntry
 *   port_start     assigns resources, HwFindAdapter, interrupts, HwInitialize, passive initialisation
 *   port_submit    any number of requests at a time, from any thread; each is called back when done
 *   port_stop      drains, stops and removes the adapter, checks what was left behind
 * Each returns 0, or -1 with one sentence in *err; a miniport that refuses its device has said why in the event log,
 * and the sentence quotes it. Findings are counted elsewhere (verify/).
 */
#ifndef STORHOST_PORT_PORT_H
#define STORHOST_PORT_PORT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/count.h"
#include "base/error.h"
#include "device/device.h"
#include "nt/cpu.h"

#define PORT_MESSAGES_MAX 32u
#define PORT_DUMP_MEMORY (32u << 10) /* bytes of uncached memory that a miniport may use in dump mode */
#define PORT_DUMP_REGION_MAX (1u << 20)

enum interrupt_mode { INTERRUPT_LINE, INTERRUPT_MSI, INTERRUPT_MSIX };

struct port_options {
	enum interrupt_mode interrupts;
	unsigned messages;     /* granted, with MSI or MSI-X */
	unsigned slot;         /* PCI device number */
	const char *parameter; /* registry value Parameters\Device\DriverParameter, or NULL */
	uint64_t seed;
	unsigned srbs;        /* alive at once, more than 4; 0: as many as Windows can have. Fewer start faster */
	bool ring_points;     /* the driver's accesses to common memory are scheduling points, too; not on x86 */
	bool quiet;           /* do not print the event log as it is written */
	bool debug;           /* print what the driver prints for a debugger */
	uint32_t dump_memory; /* bytes of uncached memory in dump mode */
};

enum request_direction { DIRECTION_NONE, DIRECTION_IN, DIRECTION_OUT };

struct port;

/* What a request is, as the SRB will say it. `done` is called on a processor and may submit again. */
struct port_request {
	uint8_t function; /* SRB_FUNCTION_* */
	uint8_t path, target, lun;
	uint8_t cdb[16], cdb_length;
	enum request_direction direction;
	void *data; /* `length` bytes; written when the direction is in */
	uint32_t length;
	uint32_t timeout; /* seconds */
	uint32_t action;  /* PnPAction or PowerAction */
	uint32_t power_state;
	uint32_t flags;              /* SRB_FLAGS_* beyond those that the rest implies */
	uint8_t queue_action;        /* 0: SRB_SIMPLE_TAG_REQUEST */
	uint8_t sense_cut;           /* bytes that the sense buffer is shorter than 255; at 255 there is none */
	uint8_t wmi_subfunction;     /* of a WMI request */
	bool adapter;                /* a PNP or POWER request for the adapter itself */
	bool own;                    /* the port makes it: it starts even while others wait for a change of power */
	struct port_request *aborts; /* what an ABORT_COMMAND is about */
	unsigned cpu;                /* where it is issued */
	void (*done)(struct port_request *request);
	void *opaque;

	uint8_t srb_status; /* flags masked off */
	uint8_t scsi_status;
	uint32_t transferred; /* DataTransferLength on return */
	uint8_t sense[255];
	uint8_t sense_length; /* 0 without valid sense */

	/* The port's own. */
	struct work work;
	struct port *port;
	struct port_request *next;
	unsigned retries;
	unsigned left; /* requests that a reset which succeeded left outstanding */
};

/* What the miniport declared, and what a class driver makes of it. */
/* A start computes them while others look. */
struct port_limits {
	_Atomic uint32_t max_transfer; /* bytes, of one request, whatever its buffer's alignment */
	_Atomic uint32_t physical_breaks;
	_Atomic uint32_t alignment_mask;
	_Atomic uint32_t dma64; /* 1: data above 4 GiB need no copy */
	_Atomic uint32_t queue_depth;
	_Atomic bool caches_data;
	_Atomic uint32_t messages; /* granted and connected; 0 with a line */
};

struct gate;

struct port_stats {
	count64 requests, busy, resets, timeouts;
	count64 interrupts; /* service routine calls */
	count64 refused;    /* of the line's, that were answered with FALSE */
	count64 dpcs;
	count64 mmio_reads, mmio_writes; /* by the driver */
	count64 dump_memory;             /* bytes of uncached memory that a dump image has */
	count64 dump_extensions;         /* bytes of its extensions: adapter, unit, SRB */
};

int port_load(const char *driver, struct device *device, const struct port_options *options, struct port **out,
	      struct error *err);
int port_start(struct port *port, struct error *err);
void port_submit(struct port *port, struct port_request *request);
/* Submits and waits; false if the machine died. Front ends only. */
bool port_execute(struct port *port, struct port_request *request);
/* HwResetBus, as after a time-out that nothing else ended. */
bool port_reset_bus(struct port *port);
/*
 * Power and Plug and Play, as Windows 7 drives them [storport-win7 5.2]. Each waits for outstanding requests where
 * Windows does; requests submitted meanwhile wait in the queue. -1 and a sentence when the miniport fails a step.
 *
 * port_sleep ends with the adapter stopped; port_wake restarts it, after power was lost (the device forgot everything)
 * or not. port_rebalance stops it, gives it other resources and starts it again from HwFindAdapter, with the device
 * extension as it was left; told: by StorStopDevice first, which no source promises. port_surprise_remove pulls the
 * device out under load: every request comes back.
 */
int port_sleep(struct port *port, bool hibernate, struct error *err);
int port_wake(struct port *port, bool power_lost, struct error *err);
int port_rebalance(struct port *port, bool told, struct error *err);
int port_surprise_remove(struct port *port, struct error *err);
/* Another device that shares the line interrupts so many times. */
int port_neighbour(struct port *port, uint64_t times, struct error *err);
/* Whether the adapter is started: neither refused nor stopped for good. */
bool port_started(const struct port *port);
/* Whether the device was pulled out; the miniport may not know yet, until port_surprise_remove ends its removal. */
bool port_unplugged(const struct port *port);
/* The adapter is lost to the system, which did not get through a change of power or resources: requests fail. */
void port_abandon(struct port *port);
void port_stop(struct port *port);
void port_free(struct port *port);
/*
 * Crash dumps and hibernation files [storport-win7 6]: a second image of the driver, with variables of its own, on the
 * device of `live` (NULL: no driver was loaded), which stays as it is, in the middle of whatever it does. The processors
 * are frozen (nt/cpu.h) from port_dump_load on, whether it succeeds or not. *out is set even where the image refuses.
 *
 * port_dump_execute gives it one request and polls until that comes back or its time-out is over; false: the machine
 * died. After a hibernation port_dump_leave lets the processors and `live` go on, for port_wake, which stops what the
 * image left running; port_dump_free comes after that. After a crash and the device's power cycle it comes before
 * cpu_restart and port_forget, which leaves nothing of `live` (NULL: none).
 */
int port_dump_load(const char *driver, struct device *device, const struct port_options *options, struct port *live,
		   bool hibernation, struct port **out, struct error *err);
bool port_dump_execute(struct port *port, struct port_request *request);
bool port_dump_reset_bus(struct port *port);
void port_dump_leave(struct port *port);
void port_dump_free(struct port *port);
void port_forget(struct port *live);

bool port_is_dump(const struct port *port);

const struct port_limits *port_limits(const struct port *port);
struct port_stats port_stats(const struct port *port);
/* Text of the n-th event log entry, NULL past the last. */
const char *port_event(const struct port *port, unsigned n);

#endif
