/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The adapter's life: load, start, stop, unload. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>

#include "nt/clock.h"
#include "nt/debug.h"
#include "nt/exports.h"
#include "nt/kernel.h"
#include "nt/pool.h"
#include "nt/registry.h"
#include "port/internal.h"
#include "trap/trap.h"

/* Sizes of objects that a miniport gets pointers to and must not look into. */
#define DRIVER_OBJECT_BYTES 0x150u
#define CONFIG_TAIL 0x40u /* Windows 8 wrote here; on Windows 7 it is somebody else's pool */

typedef NTSTATUS NTAPI driver_entry_routine(void *driver_object, void *registry_path);

struct port *port_loading;
struct port *port_hosted;

struct port *port_of(const void *extension, uintptr_t pc)
{
	if (port_hosted && extension && port_hosted->extension == extension)
		return port_hosted;
	verify_report(RULE_CALL_ARGUMENT, pc, "%p is not a device extension", extension);
	return NULL;
}

static void describe_pc(uintptr_t pc, char *buf, size_t size)
{
	uintptr_t offset;
	char symbol[128];

	if (!port_hosted || !port_hosted->image || !image_contains(port_hosted->image, (void *)pc, &offset))
		snprintf(buf, size, "0x%llx", (unsigned long long)pc);
	else if (image_symbol(port_hosted->image, offset, symbol, sizeof(symbol)))
		snprintf(buf, size, "%s+0x%llx (%s)", port_hosted->name, (unsigned long long)offset, symbol);
	else
		snprintf(buf, size, "%s+0x%llx", port_hosted->name, (unsigned long long)offset);
}

static void describe_call(char *buf, size_t size)
{
	const struct cpu *cpu = cpu_self();

	if (cpu && cpu->callback != CB_NONE)
		snprintf(buf, size, "%s", callback_name(cpu->callback));
}

static void describe_step(char *buf, size_t size)
{
	if (!port_hosted)
		return;
	snprintf(buf, size, "seed %llu, step %llu", (unsigned long long)port_hosted->options.seed,
		 (unsigned long long)cpu_steps());
}

static const struct verify_scene scene = { describe_pc, describe_call, describe_step };

static bool is_driver_code(uintptr_t pc)
{
	return port_hosted && port_hosted->image && image_contains(port_hosted->image, (void *)pc, NULL);
}

static void driver_fault(const struct trap_fault *fault)
{
	static const char *const kinds[] = {
		[TRAP_ACCESS] = "an access to memory that is not there",
		[TRAP_UNDECODED] = "a register access that is not understood",
		[TRAP_ILLEGAL] = "an illegal instruction",
		[TRAP_BREAKPOINT] = "a breakpoint",
		[TRAP_FASTFAIL] = "a fast fail",
		[TRAP_PRIVILEGED] = "a privileged instruction",
		[TRAP_ARITHMETIC] = "an arithmetic fault",
		[TRAP_STACK] = "a stack overflow",
	};
	struct slot *slot = slot_of_address(port_hosted, fault->address);
	bool ended = slot && (slot->state == SLOT_FREE || slot->state == SLOT_COMPLETED);

	if (fault->kind == TRAP_ENDLESS) {
		callback_watch(fault->pc);
	} else if (export_variable(fault->address)) {
		verify_report(RULE_DRIVER_STOPPED, fault->pc, "the driver uses the variable %s, which storhost has not",
			      export_variable(fault->address));
	} else if (ended) {
		verify_report(RULE_SRB_AFTER, fault->pc, "%s: 0x%llx belongs to an SRB that was completed", fault->text,
			      (unsigned long long)fault->address);
	} else if (slot && fault->write && slot_list_has(slot, fault->address)) {
		verify_report(RULE_SRB_LIST, fault->pc, "%s: 0x%llx belongs to a scatter/gather list", fault->text,
			      (unsigned long long)fault->address);
	} else if (fault->kind == TRAP_ACCESS && srb_buffer_nowhere(fault->address)) {
		verify_report(RULE_SRB_BUFFER, fault->pc, "%s: 0x%llx is a DataBuffer that is not mapped", fault->text,
			      (unsigned long long)fault->address);
	} else if (fault->kind == TRAP_ASSERTION) {
		verify_report(RULE_DRIVER_FAULT, fault->pc, "assertion failed");
	} else {
		verify_report(RULE_DRIVER_FAULT, fault->pc, "%s: %s, address 0x%llx", kinds[fault->kind], fault->text,
			      (unsigned long long)fault->address);
	}
	cpu_die("the driver crashed");
}

static void stub_called(const char *dll, const char *name, uintptr_t pc)
{
	enum rule rule = strncasecmp(dll, "storport", 8) ? RULE_CALL_KERNEL : RULE_DRIVER_STOPPED;

	verify_report(rule, pc, "the driver called %s of %s, which storhost has not", name, dll);
	cpu_die("the driver called what storhost has not");
}

/* ---- load ---- */

void port_enter(struct port *port)
{
	driver_entry_routine *entry = (driver_entry_routine *)image_entry(port->image);
	struct frame frame;

	callback_enter(&frame, CB_DRIVER_ENTRY);
	port->entry_status = entry(port->driver_object, port->registry_path);
	callback_leave(&frame);
}

static void entry_run(void *opaque)
{
	port_enter(opaque);
}

static void *registry_path_create(void)
{
	static const char path[] = "\\Registry\\Machine\\System\\CurrentControlSet\\Services\\miniport";
	UNICODE_STRING *string = pool_alloc(sizeof(*string) + 2 * sizeof(path), 0, POOL_PORT, 0);

	if (!string)
		return NULL;
	string->Buffer = (WCHAR *)(string + 1);
	string->Length = (USHORT)(2 * (sizeof(path) - 1));
	string->MaximumLength = (USHORT)(2 * sizeof(path));
	for (size_t i = 0; i < sizeof(path); i++)
		string->Buffer[i] = (WCHAR)path[i];
	return string;
}

static struct port *port_create(const char *driver, struct device *device, const struct port_options *options)
{
	struct port *port = calloc(1, sizeof(*port));
	const char *name = image_linked && !strcmp(driver, IMAGE_LINKED) ? image_linked->name : driver;

	if (!port)
		return NULL;
	port->options = *options;
	port->rng.state = options->seed ^ 0x706f7274;
	port->dpc_locked = options->seed >> 2 & 1;
	port->device = device;
	port->slot_count = options->srbs ? options->srbs : SLOTS;
	snprintf(port->name, sizeof(port->name), "%s", strrchr(name, '/') ? strrchr(name, '/') + 1 : name);
	port->startio = (struct lock){ .name = "StartIo", .rank = LOCK_STARTIO, .irql = IRQL_DISPATCH };
	port->interrupt_lock = (struct lock){ .name = "Interrupt", .rank = LOCK_INTERRUPT, .irql = IRQL_DEVICE };
	queue_init(port);
	return port;
}

static void run_driver(enum callback callback, void (*run)(void *opaque), void *opaque)
{
	struct frame frame;

	callback_enter(&frame, callback);
	run(opaque);
	callback_leave(&frame);
}

/* A second load finds the handlers of the first. */
static int traps_install(struct error *err)
{
	static bool installed;

	if (!installed && trap_init(is_driver_code, driver_fault, err))
		return -1;
	installed = true;
	return clock_share(err);
}

int port_open(const char *driver, struct device *device, const struct port_options *options, struct port **out,
	      struct error *err)
{
	struct port *port = port_create(driver, device, options);

	if (!port)
		return error_set(err, "no memory");
	port_hosted = port_loading = port;
	debug_shown = options->debug;
	kernel_run_driver = run_driver;
	*out = port;
	verify_scene = &scene;
	export_stub_called = stub_called;
	return traps_install(err) || image_load(driver, &port->image, err) ? -1 : 0;
}

int port_load(const char *driver, struct device *device, const struct port_options *options, struct port **out,
	      struct error *err)
{
	struct port *port;

	if (port_open(driver, device, options, out, err))
		return -1;
	port = *out;
	port->driver_object = pool_alloc(DRIVER_OBJECT_BYTES, 0, POOL_PORT, 0);
	port->registry_path = registry_path_create();
	if (!port->driver_object || !port->registry_path)
		return error_set(err, "no memory");
	if (options->parameter)
		registry_set("DriverParameter", true, MINIPORT_REG_SZ, options->parameter,
			     strlen(options->parameter) + 1);
	if (!cpu_call(0, entry_run, port))
		return error_set(err, "DriverEntry did not return: %s", cpu_death());
	image_discard(port->image);
	if (port->initialized && port->entry_status)
		verify_report(RULE_INIT_RESULT, 0, "StorPortInitialize succeeded and DriverEntry returned 0x%x",
			      (unsigned)port->entry_status);
	if (!port->initialized || port->entry_status)
		return error_set(err, "DriverEntry failed with status 0x%08x", (unsigned)port->entry_status);
	return 0;
}

/* ---- start ---- */

void *port_uncached(struct port *port, uint32_t bytes)
{
	/* The start of the memory is not aligned to a page: nobody promises that. */
	uint32_t lead = (uint32_t)rng_below(&port->rng, 4) * 0x40u, pages = (lead + bytes + PHYS_PAGE - 1) / PHYS_PAGE;
	bool low = port->config->Dma64BitAddresses != SCSI_DMA64_MINIPORT_FULL64BIT_SUPPORTED;
	uint64_t first = phys_alloc_contiguous(pages, PHYS_COMMON, low), *addresses = calloc(pages, sizeof(*addresses));
	uint8_t *window = NULL;

	for (uint32_t i = 0; addresses && first && i < pages; i++)
		addresses[i] = first + (uint64_t)i * PHYS_PAGE;
	if (addresses && first)
		window = phys_map(addresses, pages);
	free(addresses);
	if (!window)
		return NULL;
	memset(window, 0xcd, (size_t)pages * PHYS_PAGE);
	if (port->options.ring_points)
		window = watch_window(port, window, (size_t)pages * PHYS_PAGE);
	port->uncached = window ? window + lead : NULL;
	port->uncached_address = first + lead;
	port->uncached_pages = pages;
	return port->uncached;
}

/* Not while a device that no reset has stopped may still reach it. */
void port_uncached_release(struct port *port)
{
	uint8_t *window = (uint8_t *)((uintptr_t)port->uncached & ~(uintptr_t)(PHYS_PAGE - 1));

	if (!port->uncached || port->failed)
		return;
	phys_free(port->uncached_address & ~(uint64_t)(PHYS_PAGE - 1), port->uncached_pages);
	phys_unmap(watch_release(port, window), port->uncached_pages);
	port->uncached = NULL;
}

static bool ranges_create(struct port *port)
{
	unsigned count = port->init.NumberOfAccessRanges, used = 0;

	port->ranges = pool_alloc((count ? count : 1) * sizeof(*port->ranges), 0, POOL_PORT, 0);
	for (unsigned bar = 0; port->ranges && bar < BARS; bar++) {
		if (!port->bar_length[bar] || used == count)
			continue;
		port->ranges[used].RangeStart.QuadPart = (LONGLONG)port->bar_address[bar];
		port->ranges[used].RangeLength = (ULONG)port->bar_length[bar];
		port->ranges[used++].RangeInMemory = TRUE;
	}
	return port->ranges != NULL;
}

/* What Windows 7 puts into the structure before HwFindAdapter [storport-win7 2.1]. */
static void config_preset(struct port *port)
{
	PORT_CONFIGURATION_INFORMATION *config = port->config;

	config->Length = sizeof(*config);
	config->AdapterInterfaceType = PCIBus;
	config->BusInterruptLevel = IRQL_DEVICE;
	config->BusInterruptVector = 0x50;
	config->InterruptMode = port->options.interrupts == INTERRUPT_LINE ? LevelSensitive : Latched;
	config->MaximumTransferLength = SP_UNINITIALIZED_VALUE;
	/* Pages disagree on this preset; the seed decides. */
	config->NumberOfPhysicalBreaks = port->options.seed & 8 ? 0x11 : SP_UNINITIALIZED_VALUE;
	config->DmaChannel = config->DmaPort = SP_UNINITIALIZED_VALUE;
	config->NumberOfAccessRanges = port->init.NumberOfAccessRanges;
	config->AccessRanges = (void *)port->ranges;
	memset(config->InitiatorBusId, 0xff, sizeof(config->InitiatorBusId));
	config->ScatterGather = config->Master = config->Dma32BitAddresses = TRUE;
	config->NeedPhysicalAddresses = config->TaggedQueuing = config->AutoRequestSense = TRUE;
	config->MultipleRequestPerLu = config->WmiDataProvider = TRUE;
	config->MapBuffers = port->init.MapBuffers;
	config->DeviceExtensionSize = port->init.DeviceExtensionSize;
	config->SpecificLuExtensionSize = port->init.SpecificLuExtensionSize;
	config->SrbExtensionSize = port->init.SrbExtensionSize;
	config->MaximumNumberOfLogicalUnits = 8;
	config->SlotNumber = port->options.slot;
	config->Dma64BitAddresses = SCSI_DMA64_SYSTEM_SUPPORTED;
	config->MaxNumberOfIO = 1000;
}

int port_objects(struct port *port, struct error *err)
{
	uint8_t *config = pool_alloc(sizeof(*port->config) + CONFIG_TAIL, 0, POOL_PORT, 0);

	port->config = (void *)config;
	/* One that was started before keeps its extension as it left it. */
	if (!port->extension)
		port->extension = pool_alloc(port->init.DeviceExtensionSize ? port->init.DeviceExtensionSize : 1, 0,
					     POOL_PORT, 0);
	if (!config || !port->extension || !ranges_create(port))
		return error_set(err, "no memory");
	memset(config + sizeof(*port->config), 0xa5, CONFIG_TAIL);
	if (port->init.SpecificLuExtensionSize && !port->lu_extension)
		port->lu_extension = pool_alloc(port->init.SpecificLuExtensionSize, 0, POOL_PORT, 0);
	config_preset(port);
	return 0;
}

/* The members that are the port's [storport-win7 2.1]. */
static void config_check_readonly(const struct port *port)
{
	const struct {
		const char *name;
		size_t offset, size;
	} members[] = {
#define MEMBER(name)                                                                                                   \
	{ #name, offsetof(PORT_CONFIGURATION_INFORMATION, name), sizeof(((PORT_CONFIGURATION_INFORMATION *)0)->name) }
		MEMBER(Length),
		MEMBER(SystemIoBusNumber),
		MEMBER(AdapterInterfaceType),
		MEMBER(BusInterruptLevel),
		MEMBER(BusInterruptVector),
		MEMBER(InterruptMode),
		MEMBER(AccessRanges),
		MEMBER(ReceiveEvent),
		MEMBER(RealModeInitialized),
		MEMBER(BufferAccessScsiPortControlled),
		MEMBER(SlotNumber),
		MEMBER(DumpRegion),
#undef MEMBER
	};

	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
		if (memcmp((const char *)port->config + members[i].offset,
			   (const char *)&port->preset + members[i].offset, members[i].size))
			verify_report(RULE_CONFIG_READONLY, 0, "%s was changed", members[i].name);
	}
}

static void config_check_uncached(const struct port *port)
{
	const PORT_CONFIGURATION_INFORMATION *then = &port->at_uncached, *now = port->config;

	if (!port->uncached_calls)
		return;
	if (!then->Master)
		verify_report(RULE_UNCACHED_FINAL, 0, "StorPortGetUncachedExtension is called while Master is FALSE");
	if (then->SrbExtensionSize != now->SrbExtensionSize || then->Dma64BitAddresses != now->Dma64BitAddresses)
		verify_report(RULE_UNCACHED_FINAL, 0,
			      "SrbExtensionSize was %u and is %u, Dma64BitAddresses was 0x%x and is 0x%x",
			      then->SrbExtensionSize, now->SrbExtensionSize, then->Dma64BitAddresses,
			      now->Dma64BitAddresses);
}

static void config_check(struct port *port)
{
	const PORT_CONFIGURATION_INFORMATION *config = port->config;
	const uint8_t *tail = (const uint8_t *)(config + 1);

	config_check_readonly(port);
	config_check_uncached(port);

	for (unsigned i = 0; i < CONFIG_TAIL; i++) {
		if (tail[i] == 0xa5)
			continue;
		verify_report(RULE_CONFIG_OVERRUN, 0, "offset 0x%zx was written", sizeof(*config) + i);
		break;
	}
	if (config->MaximumTransferLength == SP_UNINITIALIZED_VALUE ||
	    config->NumberOfPhysicalBreaks == SP_UNINITIALIZED_VALUE || !config->NumberOfPhysicalBreaks)
		verify_report(RULE_CONFIG_LIMITS, 0, "MaximumTransferLength is 0x%x, NumberOfPhysicalBreaks 0x%x",
			      config->MaximumTransferLength, config->NumberOfPhysicalBreaks);
	if (config->SynchronizationModel != StorSynchronizeFullDuplex)
		verify_report(RULE_CONFIG_DUPLEX, 0, "SynchronizationModel is %d", (int)config->SynchronizationModel);
	if (config->VirtualDevice)
		verify_report(RULE_CONFIG_VIRTUAL, 0, "VirtualDevice is TRUE");
	if (!config->NumberOfBuses)
		verify_report(RULE_CONFIG_BUSES, 0, "NumberOfBuses is 0");
}

/* As a class driver computes it: a request whose buffer starts anywhere in a page fits [storport-win7 3.6]. */
void port_limits_compute(struct port *port)
{
	const PORT_CONFIGURATION_INFORMATION *config = port->config;
	uint64_t by_breaks = ((uint64_t)port_elements(port) - 1) * PHYS_PAGE;
	uint64_t most = (uint64_t)(SGL_MAX - 1) * PHYS_PAGE;

	if (config->MaximumTransferLength < by_breaks)
		by_breaks = config->MaximumTransferLength;
	if (by_breaks > most)
		by_breaks = most;
	port->limits.max_transfer = by_breaks < PHYS_PAGE ? PHYS_PAGE : (uint32_t)by_breaks & ~(PHYS_PAGE - 1);
	port->limits.physical_breaks = config->NumberOfPhysicalBreaks;
	port->limits.alignment_mask = config->AlignmentMask;
	port->limits.dma64 = config->Dma64BitAddresses == SCSI_DMA64_MINIPORT_SUPPORTED ||
			     config->Dma64BitAddresses == SCSI_DMA64_MINIPORT_FULL64BIT_SUPPORTED;
	port->limits.caches_data = config->CachesData;
	port->limits.messages = port->message_count;
}

int port_find(struct port *port, const char *text, struct error *err)
{
	static const char *const answers[] = { "NOT_FOUND", "FOUND", "ERROR", "BAD_CONFIG" };
	char *argument = text ? pool_alloc(strlen(text) + 1, 0, POOL_PORT, 0) : NULL;
	struct frame frame;
	BOOLEAN again = FALSE;
	ULONG answer;

	if (argument)
		memcpy(argument, text, strlen(text) + 1);
	port->preset = *port->config;
	port->uncached_calls = 0;
	callback_enter(&frame, CB_FIND_ADAPTER);
	answer = port->init.HwFindAdapter(port->extension, NULL, NULL, argument, port->config, &again);
	callback_leave(&frame);
	if (answer == SP_RETURN_FOUND) {
		config_check(port);
		return 0;
	}
	bus_unmap_all(port);
	if (answer > SP_RETURN_BAD_CONFIG) {
		verify_report(RULE_FIND_RESULT, 0, "HwFindAdapter returned %u", answer);
		return error_set(err, "HwFindAdapter returned %u", answer);
	}
	return error_set(err, "the driver refused the device (SP_RETURN_%s): %s", answers[answer],
			 port->refusal.text[0] ? port->refusal.text : "it gave no reason");
}

/* As it is in the registry: with its final zero. */
static const char *driver_parameter(void)
{
	const struct registry_value *parameter = registry_find("DriverParameter", true);

	return parameter ? (const char *)parameter->data : NULL;
}

static bool hardware_initialize(struct port *port)
{
	struct frame frame;
	BOOLEAN done;
	int irql = lock_acquire(&port->interrupt_lock, 0);

	callback_enter(&frame, CB_INITIALIZE);
	done = port->init.HwInitialize(port->extension);
	callback_leave(&frame);
	lock_release(&port->interrupt_lock, (unsigned)irql, 0);
	if (!done || !port->passive)
		return done;
	callback_enter(&frame, CB_PASSIVE_INITIALIZE);
	done = port->passive(port->extension);
	callback_leave(&frame);
	return done;
}

void port_control_query(struct port *port)
{
	enum { TYPES = 5, SPARE = 16 };
	struct {
		ULONG max;
		BOOLEAN supported[TYPES + SPARE];
	} *list = pool_alloc(sizeof(*list), 0, POOL_PORT, 0);
	struct frame frame;

	list->max = TYPES;
	memset(&list->supported[TYPES], 0xa5, SPARE);
	callback_enter(&frame, CB_ADAPTER_CONTROL);
	port->init.HwAdapterControl(port->extension, ScsiQuerySupportedControlTypes, list);
	callback_leave(&frame);
	for (unsigned i = TYPES; i < TYPES + SPARE; i++) {
		if (list->supported[i] == 0xa5)
			continue;
		verify_report(RULE_CONTROL_LIST, 0, "entry %u of a list of %u was written", i, TYPES);
		break;
	}
	if (!list->supported[ScsiStopAdapter] || !list->supported[ScsiRestartAdapter])
		verify_report(RULE_CONTROL_TYPES, 0, "stop %u, restart %u", list->supported[ScsiStopAdapter],
			      list->supported[ScsiRestartAdapter]);
	pool_free(list, POOL_PORT, 0);
}

static void timers_cancel(struct port *port)
{
	timer_cancel(&port->driver_timer);
	timer_cancel(&port->stray.timer);
	timer_cancel(&port->removal_timer);
	timer_cancel(&port->pause_timer);
	timer_cancel(&port->busy_timer);
	timer_cancel(&port->tick);
}

struct start {
	struct port *port;
	struct error *err;
	int result;
};

int adapter_start(struct port *port, struct error *err)
{
	port->stopped = false;
	if (port_objects(port, err) || port_find(port, driver_parameter(), err) || slots_create(port, err) ||
	    bus_connect(port, err))
		return -1;
	port->started = true;
	port_limits_compute(port);
	port->refusal.text[0] = '\0';
	if (!hardware_initialize(port)) {
		port->started = false;
		bus_disconnect(port);
		timers_cancel(port);
		return error_set(err, "the driver could not initialise the device: %s",
				 port->refusal.text[0] ? port->refusal.text : "it gave no reason");
	}
	port_control_query(port);
	return 0;
}

static void submit_simple(struct port *port, uint8_t function, uint32_t action)
{
	struct port_request request = {
		.function = function,
		.action = action,
		.adapter = function == SRB_FUNCTION_PNP,
		.own = true,
		.timeout = 60,
	};

	port_execute(port, &request);
}

void adapter_refused(struct port *port)
{
	/* Without HwFindAdapter's answer nobody knows how large an SRB extension is. */
	if (port->slots && !cpu_dead())
		submit_simple(port, SRB_FUNCTION_PNP, StorRemoveDevice);
}

static void start_run(void *opaque)
{
	struct start *start = opaque;

	start->result = adapter_start(start->port, start->err);
}

int port_start(struct port *port, struct error *err)
{
	struct start start = { port, err, -1 };

	if (bus_assign(port, err))
		return -1;
	if (!cpu_call(0, start_run, &start))
		return error_set(err, "the driver did not start: %s", cpu_death());
	if (start.result)
		adapter_refused(port);
	return start.result;
}

/* ---- stop ---- */

void adapter_stopped(struct port *port)
{
	if (!port->unplugged && port->device->ops->running(port->device))
		verify_report(RULE_MMIO_RUNNING, 0, "the device still runs after ScsiStopAdapter");
	bus_disconnect(port);
	port->stopped = true;
}

static void stop_run(void *opaque)
{
	struct port *port = opaque;
	struct frame frame;
	int irql = lock_acquire(&port->interrupt_lock, 0);

	callback_enter(&frame, CB_ADAPTER_CONTROL);
	port->init.HwAdapterControl(port->extension, ScsiStopAdapter, NULL);
	callback_leave(&frame);
	lock_release(&port->interrupt_lock, (unsigned)irql, 0);
	adapter_stopped(port);
	port->started = false;
	dpcs_await(port);
	timers_cancel(port);
	bus_unmap_all(port);
}

void port_stop(struct port *port)
{
	if (!port->started || cpu_dead())
		return;
	port->stopping = true;
	if (port->limits.caches_data) {
		submit_simple(port, SRB_FUNCTION_FLUSH, 0);
		submit_simple(port, SRB_FUNCTION_SHUTDOWN, 0);
	}
	submit_simple(port, SRB_FUNCTION_PNP, StorRemoveDevice);
	if (!cpu_dead())
		cpu_call(0, stop_run, port);
}

void port_close(struct port *port)
{
	bus_unmap_all(port); /* a start that failed left its mappings, as StorPort lets it */
	image_free(port->image);
	for (unsigned i = 0; i < port->event_count; i++)
		free(port->events[i]);
	free(port->events);
	free(port);
}

void port_free(struct port *port)
{
	/* A dead machine may still be running somewhere in the driver: all that it can reach stays. */
	if (!port || cpu_dead())
		return;
	/* What an adapter that was pulled out had set, stop_run has not seen. */
	timers_cancel(port);
	kernel_forget(true);
	/* One that was pulled out while it was being started, too, has no power before it arrives again. */
	if (port->unplugged)
		port->device->ops->power_cycle(port->device);
	pool_report_leaks();
	if (port->unplugged)
		port->failed = false; /* what has no power reaches no memory */
	slots_destroy(port);
	port_uncached_release(port);
	port_hosted = NULL;
	cpu_set_device(NULL, NULL, NULL);
	port_close(port);
}

void port_forget(struct port *port)
{
	kernel_forget(false);
	pool_forget();
	port_hosted = NULL;
	cpu_set_device(NULL, NULL, NULL);
	if (!port)
		return;
	port->failed = false; /* nothing can write to its memory after power was off */
	slots_destroy(port);
	port_uncached_release(port);
	port_close(port);
}

const struct port_limits *port_limits(const struct port *port)
{
	((struct port *)port)->limits.queue_depth = __atomic_load_n(&port->depth, __ATOMIC_ACQUIRE);
	return &port->limits;
}

struct port_stats port_stats(const struct port *port)
{
	struct port_stats stats;
	const uint64_t *from = (const uint64_t *)&port->stats;
	uint64_t *to = (uint64_t *)&stats;

	for (size_t i = 0; i < sizeof(stats) / sizeof(*to); i++)
		to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
	/* Of accesses that nobody saw there is no number. */
	if (port->direct)
		stats.mmio_reads = stats.mmio_writes = DEVICE_UNCOUNTED;
	return stats;
}
