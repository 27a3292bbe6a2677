/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Putting a machine together, and telling what became of it. */
#include "front/machine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "nt/phys.h"
#include "nt/schedule.h"
#include "port/image.h"
#include "verify/verify.h"

#define RAM_BYTES (UINTPTR_MAX > 0xffffffffu ? (uint64_t)1 << 30 : (uint64_t)192 << 20)
#define RAM_MIB_LEAST 48u
#define RAM_MIB_MOST 1024u
/* A machine that follows a schedule is started thousands of times: it is a small one. */
#define RAM_BYTES_SMALL ((uint64_t)48 << 20)
#define SRBS_SMALL 32u

static uint64_t random_seed(void)
{
	uint32_t seed = 1;

	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		seed = (uint32_t)getpid();
	return seed;
}

void machine_defaults(struct machine_options *options)
{
	memset(options, 0, sizeof(*options));
	device_defaults(&options->device);
	options->port.interrupts = INTERRUPT_MSIX;
	options->port.messages = 2;
	options->port.slot = 3;
	options->port.dump_memory = PORT_DUMP_MEMORY;
	options->cpus.cpus = 1;
	options->ram = RAM_BYTES;
	options->cpus.seed = random_seed();
	options->cpus.watchdog = 20;
}

/* ---- options ---- */

static int parse_number(const char *name, const char *value, uint64_t least, uint64_t most, uint64_t *out,
			struct error *err)
{
	char *end;
	unsigned long long number = strtoull(value, &end, 0);

	if (!*value || *end || *value == '-' || number < least || number > most)
		return error_set(err, "%s must be a number from %llu to %llu, not '%s'", name,
				 (unsigned long long)least, (unsigned long long)most, value);
	*out = number;
	return 0;
}

static int set_driver(struct machine_options *options, const char *value, struct error *err)
{
	(void)err;
	options->driver = value;
	return 0;
}

static int set_disk(struct machine_options *options, const char *value, struct error *err)
{
	(void)err;
	options->disk = value;
	return 0;
}

static int set_device(struct machine_options *options, const char *value, struct error *err)
{
	int failed = device_parse(&options->device, value, err);

	return failed == DEVICE_CANNOT ? MACHINE_CANNOT : failed;
}

static int set_interrupts(struct machine_options *options, const char *value, struct error *err)
{
	uint64_t messages = 0;

	if (!strcmp(value, "intx")) {
		options->port.interrupts = INTERRUPT_LINE;
	} else if (!strncmp(value, "msi:", 4) || !strncmp(value, "msix:", 5)) {
		if (parse_number("the number of messages", strchr(value, ':') + 1, 1, PORT_MESSAGES_MAX, &messages,
				 err))
			return -1;
		options->port.interrupts = value[3] == 'x' ? INTERRUPT_MSIX : INTERRUPT_MSI;
	} else {
		return error_set(err, "interrupts must be intx, msi:N or msix:N, not '%s'", value);
	}
	options->port.messages = (unsigned)messages;
	return 0;
}

static int set_unsigned(unsigned *field, const char *what, const char *value, unsigned least, unsigned most,
			struct error *err)
{
	uint64_t number = 0;

	if (parse_number(what, value, least, most, &number, err))
		return -1;
	*field = (unsigned)number;
	return 0;
}

static int set_flag(bool *field, const char *what, const char *value, struct error *err)
{
	unsigned number = 0;

	if (set_unsigned(&number, what, value, 0, 1, err))
		return -1;
	*field = number;
	return 0;
}

static int set_cpus(struct machine_options *options, const char *value, struct error *err)
{
	return set_unsigned(&options->cpus.cpus, "the number of processors", value, 1, CPUS_MAX, err);
}

static int set_seed(struct machine_options *options, const char *value, struct error *err)
{
	return parse_number("the seed", value, 0, UINT64_MAX, &options->cpus.seed, err);
}

static int set_threads(struct machine_options *options, const char *value, struct error *err)
{
	return set_flag(&options->cpus.threads, "threads", value, err);
}

static int set_hold_up(struct machine_options *options, const char *value, struct error *err)
{
	return set_unsigned(&options->cpus.hold_up, "hold-up", value, 0, UINT32_MAX, err);
}

static int set_watchdog(struct machine_options *options, const char *value, struct error *err)
{
	return set_unsigned(&options->cpus.watchdog, "the watchdog", value, 0, 3600, err);
}

void machine_schedule(struct machine_options *options, struct schedule *schedule)
{
	options->cpus.schedule = schedule;
	options->ram = RAM_BYTES_SMALL;
}

static int set_schedule(struct machine_options *options, const char *value, struct error *err)
{
	struct schedule *schedule = calloc(1, sizeof(*schedule));

	machine_schedule(options, schedule);
	return schedule ? schedule_parse(schedule, value, err) : error_set(err, "there is no memory");
}

static int set_parameter(struct machine_options *options, const char *value, struct error *err)
{
	if (strlen(value) > 200)
		return error_set(err, "the driver parameter is longer than 200 characters");
	options->port.parameter = value;
	return 0;
}

static int set_slot(struct machine_options *options, const char *value, struct error *err)
{
	return set_unsigned(&options->port.slot, "the slot", value, 0, 31, err);
}

/* SIZE[@ADDRESS,ADDRESS,ADDRESS], the size in MiB. */
static int set_memory(struct machine_options *options, const char *value, struct error *err)
{
	uint64_t at[PHYS_RANGES] = { 0 };
	char *end;
	uint64_t size = strtoull(value, &end, 10);
	unsigned count = 0;

	for (; *end == (count ? ',' : '@') && count < PHYS_RANGES; count++)
		at[count] = strtoull(end + 1, &end, 0);
	if (*end || size < RAM_MIB_LEAST || size > RAM_MIB_MOST || (count && count < PHYS_RANGES) ||
	    (count && (!at[0] || at[0] >> 32 || (at[0] | at[1] | at[2]) % PHYS_PAGE)))
		return error_set(
			err,
			"memory is a number of MiB from %u to %u, which @ADDRESS,ADDRESS,ADDRESS may follow, the first "
			"below 4 GiB; not '%s'",
			RAM_MIB_LEAST, RAM_MIB_MOST, value);
	options->ram = size << 20;
	memcpy(options->memory_at, at, sizeof(at));
	return 0;
}

static int set_ring_points(struct machine_options *options, const char *value, struct error *err)
{
	return set_flag(&options->port.ring_points, "ring-points", value, err);
}

static int set_debug(struct machine_options *options, const char *value, struct error *err)
{
	return set_flag(&options->port.debug, "debug", value, err);
}

static int set_dump_memory(struct machine_options *options, const char *value, struct error *err)
{
	return set_unsigned(&options->port.dump_memory, "dump-memory", value, 0, PORT_DUMP_REGION_MAX, err);
}

static const struct machine_option_row {
	const char *name, *argument, *meaning;
	int (*set)(struct machine_options *options, const char *value, struct error *err);
} option_rows[] = {
	{ "driver", "FILE", "the miniport's .sys", set_driver },
	{ "disk", "FILE", "disk image or block device behind the device", set_disk },
	{ "device", "SPEC", "contract (default) or qemu-layout, and what differs; or a device of others", set_device },
	{ "interrupts", "MODE", "intx, msi:N or msix:N messages granted (msix:2)", set_interrupts },
	{ "cpus", "N", "processors (1)", set_cpus },
	{ "seed", "N", "what chance decides; a run repeats with it (random, printed)", set_seed },
	{ "schedule", "LIST", "what is chosen where the machine can go on in several ways, as explore prints it",
	  set_schedule },
	{ "threads", "0|1", "1: real threads instead of the deterministic machine (0)", set_threads },
	{ "hold-up", "N", "with threads, a processor stops for a moment at one scheduling point in N; 0: at none (0)",
	  set_hold_up },
	{ "watchdog", "SEC", "processor time after which a callback is said not to return; 0: never (20)",
	  set_watchdog },
	{ "parameter", "TEXT", "registry value Parameters\\Device\\DriverParameter", set_parameter },
	{ "slot", "N", "PCI device number (3)", set_slot },
	{ "memory", "MIB", "simulated RAM (1024; x86: 192); @A,B,C: physical memory, a third at each address",
	  set_memory },
	{ "ring-points", "0|1", "1: each access to the ring is a point for a schedule or for chance, too; x64 (0)",
	  set_ring_points },
	{ "dump-memory", "N", "bytes of uncached memory in dump mode (32768)", set_dump_memory },
	{ "debug", "0|1", "1: print what the driver prints (0)", set_debug },
};

#define OPTION_ROWS (sizeof(option_rows) / sizeof(option_rows[0]))

int machine_option(struct machine_options *options, const char *name, const char *value, struct error *err)
{
	for (size_t i = 0; i < OPTION_ROWS; i++) {
		if (!strcmp(option_rows[i].name, name))
			return option_rows[i].set(options, value, err);
	}
	return 1;
}

void machine_help(FILE *out)
{
	for (size_t i = 0; i < OPTION_ROWS; i++)
		fprintf(out, "  %-11s %-6s %s\n", option_rows[i].name, option_rows[i].argument, option_rows[i].meaning);
	fprintf(out, "\nDevices of others (--device):\n");
	device_help(out);
}

/* ---- life ---- */

static struct device *create_device(const struct machine_options *options, struct error *err)
{
	struct device_choice device = options->device;

	if (options->port.interrupts == INTERRUPT_MSI)
		device_offer_msi(&device, options->port.messages);
	return device_create(&device, options->disk, err);
}

static bool has_disk(const struct machine_options *options)
{
	return options->disk || options->device.kind->own_disk;
}

int machine_check_driver(const struct machine_options *options, bool *checked, struct error *err)
{
	struct image_facts facts;

	if (!options->driver)
		return error_set(err, "no driver is named");
	if (image_inspect(options->driver, &facts, err))
		return -1;
	*checked = facts.checked;
	return 0;
}

int machine_check(const struct machine_options *options, struct error *err)
{
	struct device *device;
	bool checked;

	if (options->driver && !has_disk(options))
		return error_set(err, "no disk is named");
	if (machine_check_driver(options, &checked, err))
		return -1;
	device = create_device(options, err);
	if (!device)
		return -1;
	device->ops->destroy(device);
	return 0;
}

int machine_enable(struct machine *machine, const struct machine_options *options, struct error *err)
{
	struct port_options port = options->port;

	port.seed = machine->seed;
	if (options->cpus.schedule)
		port.srbs = SRBS_SMALL;
	if (port_load(options->driver, machine->device, &port, &machine->port, err) || port_start(machine->port, err))
		return -1;
	return disk_attach(machine->port, &machine->disk, err);
}

static void dump_free(struct machine *machine)
{
	if (machine->dump) {
		machine->dump_stats = port_stats(machine->dump);
		port_dump_free(machine->dump);
	}
	machine->dump = NULL;
}

int machine_power_on(struct machine *machine, const struct machine_options *options, struct error *err)
{
	uint64_t seed = options->cpus.seed ^ 0x7068797300;
	const char *lack;

	memset(machine, 0, sizeof(*machine));
	machine->seed = options->cpus.seed;
	if (!options->driver || !has_disk(options))
		return machine_check(options, err);
	if (options->port.ring_points && sizeof(void *) < 8)
		return error_set(err, "ring-points are for x64 drivers: this storhost decodes no instructions");
	machine->device = create_device(options, err);
	if (!machine->device)
		return -1;
	lack = machine->device->ops->lacks ? machine->device->ops->lacks(machine->device) : NULL;
	if (lack) {
		error_set(err, "%s", lack);
		return MACHINE_CANNOT;
	}
	if (options->memory_at[0] ? phys_start_at(options->ram, options->memory_at, seed, err)
				  : phys_start(options->ram, seed, err))
		return -1;
	return cpus_start(&options->cpus, err);
}

int machine_start(struct machine *machine, const struct machine_options *options, struct error *err)
{
	int failed = machine_power_on(machine, options, err);

	return failed ? failed : machine_enable(machine, options, err);
}

int machine_dump(struct machine *machine, const struct machine_options *options, bool crash, struct error *err)
{
	struct port_options port = options->port;

	port.seed = machine->seed;
	dump_free(machine);
	machine->crashed = crash;
	return port_dump_load(options->driver, machine->device, &port, machine->port, !crash, &machine->dump, err);
}

int machine_dump_end(struct machine *machine, struct error *err)
{
	if (!machine->crashed) {
		port_dump_leave(machine->dump);
		return 0;
	}
	machine->crashed = false;
	machine->device->ops->power_cycle(machine->device);
	dump_free(machine);
	if (cpu_restart(err))
		return -1;
	disk_free(machine->disk);
	port_forget(machine->port);
	machine->disk = NULL;
	machine->port = NULL;
	return 0;
}

void machine_disable(struct machine *machine)
{
	if (machine->port)
		port_stop(machine->port);
	/* What the last of it left to be run later has run once the machine rests. */
	if (!cpu_rest())
		return;
	dump_free(machine);
	disk_free(machine->disk);
	port_free(machine->port);
	machine->disk = NULL;
	machine->port = NULL;
}

void machine_stop(struct machine *machine)
{
	if (machine->port && !machine->crashed)
		port_stop(machine->port);
	cpus_stop();
}

static int cannot(const struct device *device, const char *what, struct error *err)
{
	error_set(err, "a %s device cannot %s", device->ops->name, what);
	return MACHINE_CANNOT;
}

int machine_fault(struct machine *machine, const char *spec, struct error *err)
{
	const struct device_ops *ops = machine->device->ops;
	int failed = ops->fault ? ops->fault(machine->device, spec, err) : DEVICE_CANNOT;

	if (!ops->fault)
		return cannot(machine->device, "be told to go wrong", err);
	return failed == DEVICE_CANNOT ? MACHINE_CANNOT : failed;
}

int machine_resize(struct machine *machine, uint64_t bytes, struct error *err)
{
	const struct device_ops *ops = machine->device->ops;
	int failed = ops->resize ? ops->resize(machine->device, bytes, err) : DEVICE_CANNOT;

	if (!ops->resize)
		return cannot(machine->device, "be resized from here", err);
	return failed == DEVICE_CANNOT ? MACHINE_CANNOT : failed;
}

void machine_abandon(struct machine *machine)
{
	if (machine->device && machine->device->ops->pulled_out && !cpu_dead())
		machine->device->ops->pulled_out(machine->device);
}

void machine_free(struct machine *machine)
{
	disk_free(machine->disk);
	/* What crashed stays in the middle of what it does. */
	if (!machine->crashed) {
		dump_free(machine);
		port_free(machine->port);
	}
	/* A dead machine's device may be in the middle of an access: it stays. */
	if (machine->device && !cpu_dead())
		machine->device->ops->destroy(machine->device);
	memset(machine, 0, sizeof(*machine));
}

/* ---- reports ---- */

static void report_findings(struct json *json)
{
	const struct finding *finding;

	json_unsigned(json, "findings", verify_findings());
	json_open_array(json, "finding");
	for (unsigned i = 0; (finding = verify_finding(i)) != NULL; i++) {
		json_open_object(json, NULL);
		json_string(json, "rule", rule_name(finding->rule));
		json_string(json, "text", finding->text);
		json_string(json, "where", finding->where[0] ? finding->where : NULL);
		json_string(json, "call", finding->call[0] ? finding->call : NULL);
		json_string(json, "step", finding->step[0] ? finding->step : NULL);
		json_unsigned(json, "count", finding->count);
		json_close(json);
	}
	json_close(json);
}

/* The report's numbers, in its order. */
static const struct counter {
	const char *name;
	enum { OF_DEVICE, OF_LIMITS, OF_PORT, OF_DUMP } of;
	size_t offset;
} counters[] = {
#define COUNTER(name, of, type, member) { name, of, offsetof(struct type, member) }
	COUNTER("doorbells", OF_DEVICE, device_stats, doorbells),
	COUNTER("interrupts", OF_DEVICE, device_stats, interrupts),
	COUNTER("requests", OF_DEVICE, device_stats, requests),
	COUNTER("bytes_read", OF_DEVICE, device_stats, bytes_read),
	COUNTER("bytes_written", OF_DEVICE, device_stats, bytes_written),
	COUNTER("flushes", OF_DEVICE, device_stats, flushes),
	COUNTER("discards", OF_DEVICE, device_stats, discards),
	COUNTER("zeroes", OF_DEVICE, device_stats, zeroes),
	COUNTER("isr_reads", OF_DEVICE, device_stats, isr_reads),
	COUNTER("faults", OF_DEVICE, device_stats, faults),
	COUNTER("max_transfer", OF_LIMITS, port_limits, max_transfer),
	COUNTER("physical_breaks", OF_LIMITS, port_limits, physical_breaks),
	COUNTER("alignment_mask", OF_LIMITS, port_limits, alignment_mask),
	COUNTER("dma64", OF_LIMITS, port_limits, dma64),
	COUNTER("queue_depth", OF_LIMITS, port_limits, queue_depth),
	COUNTER("messages", OF_LIMITS, port_limits, messages),
	COUNTER("srbs", OF_PORT, port_stats, requests),
	COUNTER("busy", OF_PORT, port_stats, busy),
	COUNTER("resets", OF_PORT, port_stats, resets),
	COUNTER("timeouts", OF_PORT, port_stats, timeouts),
	COUNTER("interrupts_served", OF_PORT, port_stats, interrupts),
	COUNTER("refused", OF_PORT, port_stats, refused),
	COUNTER("dpcs", OF_PORT, port_stats, dpcs),
	COUNTER("driver_mmio_reads", OF_PORT, port_stats, mmio_reads),
	COUNTER("driver_mmio_writes", OF_PORT, port_stats, mmio_writes),
	COUNTER("dump_srbs", OF_DUMP, port_stats, requests),
	COUNTER("dump_timeouts", OF_DUMP, port_stats, timeouts),
	COUNTER("dump_polls", OF_DUMP, port_stats, interrupts),
	COUNTER("dump_memory", OF_DUMP, port_stats, dump_memory),
	COUNTER("dump_extensions", OF_DUMP, port_stats, dump_extensions),
};

#define COUNTERS (sizeof(counters) / sizeof(counters[0]))

/* False: what it is a number of is not there. */
static bool counter_read(const struct machine *machine, const struct counter *counter, uint64_t *value)
{
	struct port_stats stats;
	uint32_t limit;

	if (counter->of != OF_DUMP && (counter->of == OF_DEVICE ? !machine->device : !machine->port))
		return false;
	switch (counter->of) {
	case OF_DEVICE:
		memcpy(value, (const char *)machine->device->ops->stats(machine->device) + counter->offset,
		       sizeof(*value));
		break;
	case OF_LIMITS:
		memcpy(&limit, (const char *)port_limits(machine->port) + counter->offset, sizeof(limit));
		*value = limit;
		break;
	case OF_PORT:
		stats = port_stats(machine->port);
		memcpy(value, (const char *)&stats + counter->offset, sizeof(*value));
		break;
	case OF_DUMP:
		stats = machine->dump ? port_stats(machine->dump) : machine->dump_stats;
		memcpy(value, (const char *)&stats + counter->offset, sizeof(*value));
		break;
	}
	return true;
}

static unsigned event_count(const struct machine *machine)
{
	unsigned count = 0;

	while (machine->port && port_event(machine->port, count))
		count++;
	return count;
}

int machine_counter(const struct machine *machine, const char *name, uint64_t *value, struct error *err)
{
	if (!strcmp(name, "findings"))
		*value = verify_findings();
	else if (!strcmp(name, "events"))
		*value = event_count(machine);
	else
		*value = DEVICE_UNCOUNTED;
	for (size_t i = 0; i < COUNTERS; i++) {
		if (strcmp(counters[i].name, name))
			continue;
		if (!counter_read(machine, &counters[i], value))
			break;
		return *value == DEVICE_UNCOUNTED ? cannot(machine->device, "be asked for that number", err) : 0;
	}
	return *value == DEVICE_UNCOUNTED ? error_set(err, "expected a counter '%s', got none of that name", name) : 0;
}

void machine_report(const struct machine *machine, struct json *json)
{
	uint64_t value;

	json_unsigned(json, "seed", machine->seed);
	json_string(json, "death", cpu_death());
	json_unsigned(json, "steps", cpu_steps());
	for (size_t i = 0; i < COUNTERS; i++) {
		if (counter_read(machine, &counters[i], &value) && value != DEVICE_UNCOUNTED)
			json_unsigned(json, counters[i].name, value);
	}
	if (machine->port) {
		json_open_array(json, "events");
		for (unsigned i = 0; port_event(machine->port, i); i++)
			json_string(json, NULL, port_event(machine->port, i));
		json_close(json);
	}
	report_findings(json);
}

int machine_report_file(const struct machine *machine, const char *path, struct error *err)
{
	FILE *out = fopen(path, "w");
	struct json json;

	if (!out)
		return error_set(err, "%s: %s", path, strerror(errno));
	json_begin(&json, out);
	json_open_object(&json, NULL);
	machine_report(machine, &json);
	json_close(&json);
	json_end(&json);
	if (fclose(out))
		return error_set(err, "%s: %s", path, strerror(errno));
	return 0;
}

void machine_summary(const struct machine *machine, FILE *out)
{
	static const struct {
		const char *counter, *words;
	} told[] = {
		{ "requests", "requests" }, { "bytes_read", "bytes read" }, { "bytes_written", "written" },
		{ "flushes", "flushes" },   { "doorbells", "doorbells" },   { "interrupts", "interrupts" },
	};
	struct error err;
	uint64_t value;

	for (size_t i = 0; i < sizeof(told) / sizeof(told[0]) && machine->device; i++) {
		if (!machine_counter(machine, told[i].counter, &value, &err))
			fprintf(out, "%llu %s, ", (unsigned long long)value, told[i].words);
	}
	fprintf(out, "%u findings (seed %llu)\n", verify_findings(), (unsigned long long)machine->seed);
}
