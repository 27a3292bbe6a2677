/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A whole simulated computer: memory, processors, the device over its disk image, and Windows 7's storage stack with a
 * driver in it. One per process. Every front end makes it from the same options and reports on it in the same way.
 */
#ifndef STORHOST_FRONT_MACHINE_H
#define STORHOST_FRONT_MACHINE_H

#include "base/error.h"
#include "device/open.h"
#include "disk/disk.h"
#include "front/json.h"
#include "nt/phys.h"
#include "port/port.h"

struct machine_options {
	const char *driver, *disk; /* paths */
	struct device_choice device;
	struct port_options port;
	struct cpu_config cpus;
	uint64_t ram, memory_at[PHYS_RANGES]; /* bytes; physical memory for it: phys_start_at */
};

struct machine {
	struct device *device;
	struct port *port;
	struct port *dump;            /* the last dump image, until there is another */
	struct port_stats dump_stats; /* of the last one */
	struct disk *disk;
	uint64_t seed;
	bool crashed;
};

void machine_defaults(struct machine_options *options);
/*
 * Sets one option by the name that the command line (--NAME VALUE) and nbdkit (NAME=VALUE) share. 0; 1 if there is no
 * such option; -1 and a sentence if the value is wrong; MACHINE_CANNOT and a sentence if the device has no such thing.
 * The value must outlive the machine.
 */
#define MACHINE_CANNOT 2
int machine_option(struct machine_options *options, const char *name, const char *value, struct error *err);
/* Runs by a schedule, in a machine with little memory: making that is much of a short run. */
void machine_schedule(struct machine_options *options, struct schedule *schedule);
/* One line per option. */
void machine_help(FILE *out);

/*
 * Opens what the options name without starting anything: a wrong file is found before a front end commits itself.
 */
int machine_check(const struct machine_options *options, struct error *err);
/* The same for the driver alone. *checked: whether it is a checked build. */
int machine_check_driver(const struct machine_options *options, bool *checked, struct error *err);
/* -1; or MACHINE_CANNOT: the device is not what its options ask for. */
int machine_start(struct machine *machine, const struct machine_options *options, struct error *err);
/* Disables the device, whose driver is stopped and unloaded, in a machine that goes on; and enables it again. */
void machine_disable(struct machine *machine);
int machine_enable(struct machine *machine, const struct machine_options *options, struct error *err);
/* The computer without a driver, as machine_start; machine_enable may follow. */
int machine_power_on(struct machine *machine, const struct machine_options *options, struct error *err);
/*
 * The driver's dump image is started: after a crash, which finds the machine wherever it is, or for hibernation, after
 * port_sleep. machine_dump_end: it is gone, and what crashed is as after machine_power_on.
 */
int machine_dump(struct machine *machine, const struct machine_options *options, bool crash, struct error *err);
int machine_dump_end(struct machine *machine, struct error *err);
/* From now on the device has the faults of the spec, or the medium that size. -1, or MACHINE_CANNOT, and a sentence. */
int machine_fault(struct machine *machine, const char *spec, struct error *err);
int machine_resize(struct machine *machine, uint64_t bytes, struct error *err);
/* Stops what runs. Safe on a machine that started only partly, or died. */
void machine_stop(struct machine *machine);

/* The process ends with the machine as it is: what works for its device outside is told so. */
void machine_abandon(struct machine *machine);

/* Members of an open JSON object: seed, limits, counters, events, findings. Call it before machine_stop's free. */
void machine_report(const struct machine *machine, struct json *json);
/* The same as an object of its own, in a file. */
int machine_report_file(const struct machine *machine, const char *path, struct error *err);
/*
 * One number of the report by its name, or "events", how many there are. -1: there is none of that name;
 * MACHINE_CANNOT and a sentence: the device does not know it.
 */
int machine_counter(const struct machine *machine, const char *name, uint64_t *value, struct error *err);
/* One line of the same for people. */
void machine_summary(const struct machine *machine, FILE *out);
void machine_free(struct machine *machine);

#endif
