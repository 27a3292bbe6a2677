/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The dump port: what Windows 7 has in StorPort's place while it writes a crash dump or the hibernation file. It hosts a
 * second image of the miniport on one processor, without interrupts, gives it one SRB at a time and asks its interrupt
 * routine until that comes back [storport-win7 6].
 */
#include <stdlib.h>
#include <string.h>

#include "nt/pool.h"
#include "port/internal.h"

#define DATA_PAGES 16u
#define TIMEOUT_DEFAULT_S 60u
/* Between two polls: the time doubles, so that neither a fast device waits nor a dead one costs many polls. */
#define POLL_FIRST_US 10u
#define POLL_LAST_US 50000u

struct dump {
	struct port *live; /* NULL: the driver was not loaded */
	bool hibernation;
	uint32_t room; /* bytes of uncached memory that are left */
	uint64_t data; /* bus address of the buffer: all that is ever read or written */
	void *region;  /* DumpRegion */
	uint32_t region_pages;
	unsigned locks; /* spin locks that the miniport has */
	struct error refusal;
};

/* ---- what a dump image may call [storport-win7 6.3] ---- */

/* What needs a system that runs. What is in neither list there is answered without effect. */
static const char *const forbidden[] = {
	"StorPortAllocateRegistryBuffer", "StorPortFreeRegistryBuffer", "StorPortRegistryRead",
	"StorPortRegistryWrite",          "StorPortQuerySystemTime",    "StorPortLogError",
};

static const struct {
	SCSI_NOTIFICATION_TYPE type;
	const char *name;
} forbidden_notifications[] = {
	{ EnablePassiveInitialization, "StorPortEnablePassiveInitialization" },
	{ InitializeDpc, "StorPortInitializeDpc" },
	{ IssueDpc, "StorPortIssueDpc" },
	{ QueryTickCount, "QueryTickCount" },
};

static const struct {
	STORPORT_FUNCTION_CODE code;
	const char *name;
} forbidden_functions[] = {
	{ ExtFunctionAllocatePool, "StorPortAllocatePool" },
	{ ExtFunctionFreePool, "StorPortFreePool" },
	{ ExtFunctionAllocateContiguousMemorySpecifyCacheNode, "StorPortAllocateContiguousMemorySpecifyCacheNode" },
	{ ExtFunctionFreeContiguousMemorySpecifyCache, "StorPortFreeContiguousMemorySpecifyCache" },
	{ ExtFunctionGetMessageInterruptInformation, "StorPortGetMSIInfo" },
	{ ExtFunctionInitializePerformanceOptimizations, "StorPortInitializePerfOpts" },
	{ ExtFunctionLogSystemEvent, "StorPortLogSystemEvent" },
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static bool refuse(const char *name, uintptr_t pc)
{
	verify_report(RULE_DUMP_CALL, pc, "%s is called from %s of a dump image", name,
		      callback_name(cpu_self()->callback));
	return false;
}

bool dump_may_call(const struct call_rule *rule, uintptr_t pc)
{
	for (size_t i = 0; i < COUNT(forbidden); i++) {
		if (!strcmp(forbidden[i], rule->name))
			return refuse(rule->name, pc);
	}
	return true;
}

/* There is one processor and nothing to be locked out: a lock is only remembered. */
static void lock_notified(SCSI_NOTIFICATION_TYPE type, struct port *port, guest_va_list *ap, uintptr_t pc)
{
	STOR_LOCK_HANDLE handle = { .Lock = StartIoLock };

	if (type == ReleaseSpinLock) {
		if (port->dump->locks)
			port->dump->locks--;
		else
			verify_report(RULE_LOCK_RELEASE, pc, "a lock handle is released that holds no lock");
		return;
	}
	handle.Lock = (STOR_SPINLOCK)guest_va_arg(*ap, int);
	(void)guest_va_arg(*ap, void *);
	if (guest_write(guest_va_arg(*ap, void *), &handle, sizeof(handle), pc))
		port->dump->locks++;
}

bool dump_notify(SCSI_NOTIFICATION_TYPE type, struct port *port, guest_va_list *ap, uintptr_t pc)
{
	const LONG no = FALSE;

	if (type == RequestComplete)
		return false;
	for (size_t i = 0; i < COUNT(forbidden_notifications); i++) {
		if (forbidden_notifications[i].type == type)
			refuse(forbidden_notifications[i].name, pc);
	}
	switch ((int)type) {
	case AcquireSpinLock:
	case ReleaseSpinLock:
		lock_notified(type, port, ap, pc);
		break;
	case IssueDpc:
		(void)guest_va_arg(*ap, void *);
		(void)guest_va_arg(*ap, void *);
		(void)guest_va_arg(*ap, void *);
		guest_write(guest_va_arg(*ap, void *), &no, sizeof(no), pc);
		break;
	case EnablePassiveInitialization:
		(void)guest_va_arg(*ap, void *);
		guest_write(guest_va_arg(*ap, void *), &no, sizeof(no), pc);
		break;
	}
	return true;
}

/* Of the functions only those that are about the request itself work. */
bool dump_function(STORPORT_FUNCTION_CODE code, struct port *port, ULONG *status, uintptr_t pc)
{
	(void)port;
	if (code == ExtFunctionGetSystemAddress)
		return false;
	*status = (ULONG)STOR_STATUS_NOT_IMPLEMENTED;
	for (size_t i = 0; i < COUNT(forbidden_functions); i++) {
		if (forbidden_functions[i].code == code)
			refuse(forbidden_functions[i].name, pc);
	}
	return true;
}

void dump_returned(const struct port *port, enum callback callback)
{
	if (port->dump->locks)
		verify_report(RULE_CALLBACK_LOCK, 0, "%s of a dump image returned with %u spin locks",
			      callback_name(callback), port->dump->locks);
	port->dump->locks = 0;
}

/* ---- memory ---- */

bool dump_memory(struct port *port, uint32_t bytes, uintptr_t pc)
{
	struct dump *dump = port->dump;
	uint32_t allowed = PORT_DUMP_MEMORY + dump->region_pages * PHYS_PAGE;

	if (bytes > allowed)
		verify_report(RULE_DUMP_MEMORY, pc, "%u bytes are asked for, and %u may be", bytes, allowed);
	if (bytes > dump->room)
		return false;
	dump->room -= bytes;
	port->stats.dump_memory += bytes;
	return true;
}

bool dump_data(struct slot *slot, enum phys_use use)
{
	if (slot->page_count > DATA_PAGES)
		return false;
	for (uint32_t i = 0; i < slot->page_count; i++)
		slot->pages[i] = slot->port->dump->data + (uint64_t)i * PHYS_PAGE;
	if (slot->page_count)
		phys_set_use(slot->port->dump->data, slot->page_count, use);
	return true;
}

/* Contiguous pages and a window on them; NULL: there are none. */
static void *contiguous(uint32_t pages, enum phys_use use, uint64_t *address)
{
	uint64_t addresses[pages];

	*address = phys_alloc_contiguous(pages, use, true);
	for (uint32_t i = 0; i < pages; i++)
		addresses[i] = *address + (uint64_t)i * PHYS_PAGE;
	return *address ? phys_map(addresses, pages) : NULL;
}

/* What the live instance asked for in its HwFindAdapter. */
static int region_create(struct port *port, struct error *err)
{
	struct dump *dump = port->dump;
	uint32_t bytes = dump->live && dump->live->config ? dump->live->config->RequestedDumpBufferSize : 0;
	uint64_t address;

	if (!bytes)
		return 0;
	if (bytes > PORT_DUMP_REGION_MAX)
		return error_set(err, "a dump buffer of %u bytes is more than there can be", bytes);
	dump->region_pages = (bytes + PHYS_PAGE - 1) / PHYS_PAGE;
	dump->region = contiguous(dump->region_pages, PHYS_COMMON, &address);
	if (!dump->region)
		return error_set(err, "no memory for a dump buffer of %u bytes", bytes);
	dump->room += dump->region_pages * PHYS_PAGE;
	port->config->DumpRegion.VirtualBase = dump->region;
	port->config->DumpRegion.PhysicalBase.QuadPart = (LONGLONG)address;
	port->config->DumpRegion.Length = bytes;
	return 0;
}

static void pages_release(void *window, uint64_t address, uint32_t pages)
{
	phys_free(address, pages);
	phys_unmap(window, pages);
}

/* ---- start ---- */

/* The resources are the live instance's. Without one, or where it was stopped, they are set up as for one. */
static int resources_take(struct port *port, struct error *err)
{
	const struct port *live = port->dump->live;

	if (!live)
		return bus_assign(port, err);
	memcpy(port->bar_address, live->bar_address, sizeof(port->bar_address));
	memcpy(port->bar_length, live->bar_length, sizeof(port->bar_length));
	memcpy(port->bar_64, live->bar_64, sizeof(port->bar_64));
	if (bus_attach(port, err))
		return -1;
	if (port->dump->hibernation || !live->started)
		bus_restore(port);
	return 0;
}

ULONG dump_initialize(struct port *port)
{
	struct error *err = &port->dump->refusal;

	if (port_objects(port, err) || region_create(port, err) || port_find(port, "dump=1", err))
		return (ULONG)STATUS_UNSUCCESSFUL;
	return STATUS_SUCCESS;
}

static int image_start(struct port *port, struct error *err)
{
	struct frame frame;
	BOOLEAN ready;

	if (resources_take(port, err))
		return -1;
	port_enter(port);
	image_discard(port->image);
	if (!port->initialized || port->entry_status)
		return error_set(err, "%s",
				 port->dump->refusal.text[0] ? port->dump->refusal.text : "DriverEntry failed");
	if (slots_create(port, err))
		return -1;
	port->stats.dump_extensions =
		port->init.DeviceExtensionSize + port->init.SpecificLuExtensionSize + port->config->SrbExtensionSize;
	port_limits_compute(port);
	if (port->limits.max_transfer > DATA_PAGES * PHYS_PAGE)
		port->limits.max_transfer = DATA_PAGES * PHYS_PAGE;
	callback_enter(&frame, CB_INITIALIZE);
	ready = port->init.HwInitialize(port->extension);
	callback_leave(&frame);
	if (!ready)
		return error_set(err, "the driver could not initialise the device for a dump");
	port->started = true;
	if (port->options.seed & 256)
		port_control_query(port);
	return 0;
}

struct start {
	struct port *port;
	struct error *err;
	int result;
};

static void start_run(void *opaque)
{
	struct start *start = opaque;

	start->result = image_start(start->port, start->err);
}

static struct dump *dump_create(const struct port_options *options, struct port *live, bool hibernation)
{
	struct dump *dump = calloc(1, sizeof(*dump));

	if (!dump)
		return NULL;
	dump->live = live;
	dump->hibernation = hibernation;
	dump->room = options->dump_memory;
	dump->data = phys_alloc_contiguous(DATA_PAGES, PHYS_PRIVATE, true);
	return dump;
}

int port_dump_load(const char *driver, struct device *device, const struct port_options *options, struct port *live,
		   bool hibernation, struct port **out, struct error *err)
{
	struct start start = { NULL, err, -1 };
	char name[sizeof(start.port->name)];
	int mapped;

	if (cpu_freeze(hibernation ? IRQL_DISPATCH : IRQL_HIGH, err))
		return -1;
	mapped = port_open(driver, device, options, out, err);
	start.port = *out;
	if (!start.port)
		return -1;
	snprintf(name, sizeof(name), "%s_%.50s", hibernation ? "hiber" : "dump", start.port->name);
	memcpy(start.port->name, name, sizeof(name));
	start.port->slot_count = 1;
	start.port->dump = dump_create(options, live, hibernation);
	if (!start.port->dump || !start.port->dump->data)
		return error_set(err, "no memory for a dump");
	if (mapped)
		return -1;
	if (!cpu_call_frozen(start_run, &start))
		return error_set(err, "the dump image did not start: %s", cpu_death());
	return start.result;
}

/* ---- requests ---- */

static enum slot_state state_of(const struct slot *slot)
{
	return slot->state;
}

/* Some dump ports call HwStartIo whatever HwBuildIo has returned and done: the seed decides [storport-win7 6.2]. */
static void hand_over(struct port *port, struct slot *slot)
{
	bool always = port->options.seed & 32;
	enum slot_state building = SLOT_BUILDING;
	struct frame frame;
	BOOLEAN start = TRUE;

	if (port->init.HwBuildIo) {
		callback_enter(&frame, CB_BUILD_IO);
		start = port->init.HwBuildIo(port->extension, slot->srb);
		callback_leave(&frame);
	}
	atomic_compare_exchange_strong(&slot->state, &building, SLOT_STARTED);
	if (!start && !always)
		return;
	callback_enter(&frame, CB_START_IO);
	port->init.HwStartIo(port->extension, slot->srb);
	callback_leave(&frame);
}

/* Which of the two routines is asked is told differently: the seed decides. */
static void poll(struct port *port)
{
	bool message = port->config->HwMSInterruptRoutine && port->options.seed & 128;
	struct frame frame;

	port->stats.interrupts++;
	callback_enter(&frame, message ? CB_MS_INTERRUPT : CB_INTERRUPT);
	if (message)
		port->config->HwMSInterruptRoutine(port->extension, 0);
	else
		port->init.HwInterrupt(port->extension);
	callback_leave(&frame);
}

/* The request ends without the miniport, which keeps the SRB until the next request takes it. */
static void give_up(struct port *port, struct slot *slot, uint32_t seconds)
{
	struct port_request *request = slot_take_request(slot);

	if (!port->device->ops->owes(port->device))
		verify_report(RULE_SRB_LOST, 0,
			      "an SRB (function 0x%02x, opcode 0x%02x) is not completed after %u s of polling",
			      slot->sent.Function, slot->sent.Cdb[0], seconds);
	log_event(port, "a request was given up after %u s", seconds);
	port->stats.timeouts++;
	request->srb_status = SRB_STATUS_TIMEOUT;
	request->scsi_status = 0;
	request->transferred = 0;
	request->sense_length = 0;
}

static void execute_run(void *opaque)
{
	struct port_request *request = opaque;
	struct port *port = request->port;
	uint32_t seconds = request->timeout ? request->timeout : TIMEOUT_DEFAULT_S;
	uint64_t deadline = clock_now() + seconds * UINT64_C(1000000), stall = POLL_FIRST_US;
	struct slot *slot = &port->slots[0];

	slot_reclaim(slot);
	slot = slot_prepare(port, request);
	if (!slot) {
		request->srb_status = SRB_STATUS_BUSY;
		request->transferred = 0;
		return;
	}
	port->stats.requests++;
	hand_over(port, slot);
	while (state_of(slot) == SLOT_STARTED && clock_now() < deadline) {
		poll(port);
		if (state_of(slot) != SLOT_STARTED)
			break;
		cpu_stall(stall);
		stall = stall < POLL_LAST_US ? 2 * stall : POLL_LAST_US;
	}
	if (state_of(slot) == SLOT_STARTED)
		give_up(port, slot, seconds);
	else
		slot_reclaim(slot);
}

bool port_dump_execute(struct port *port, struct port_request *request)
{
	request->port = port;
	request->retries = 0;
	if (!cpu_call_frozen(execute_run, request))
		return false;
	request->done(request);
	return true;
}

bool port_is_dump(const struct port *port)
{
	return port->dump != NULL;
}

struct bus_reset {
	struct port *port;
	BOOLEAN done;
};

static void bus_reset_run(void *opaque)
{
	struct bus_reset *reset = opaque;
	struct frame frame;

	callback_enter(&frame, CB_RESET_BUS);
	reset->done = reset->port->init.HwResetBus(reset->port->extension, 0);
	callback_leave(&frame);
}

bool port_dump_reset_bus(struct port *port)
{
	struct bus_reset reset = { port, FALSE };

	return cpu_call_frozen(bus_reset_run, &reset) && reset.done;
}

/* ---- end ---- */

static void objects_release(struct port *port)
{
	void *const objects[] = { port->config, port->ranges, port->extension, port->lu_extension };

	for (size_t i = 0; i < COUNT(objects); i++) {
		if (objects[i])
			pool_free(objects[i], POOL_PORT, 0);
	}
}

void port_dump_leave(struct port *port)
{
	struct error err;

	port_hosted = port->dump->live;
	port_hosted->unplugged |= port->unplugged;
	if (bus_attach(port_hosted, &err))
		log_event(port_hosted, "%s", err.text);
	cpu_thaw();
}

void port_dump_free(struct port *port)
{
	struct dump *dump = port->dump;

	if (cpu_dead())
		return;
	slots_destroy(port);
	port_uncached_release(port);
	objects_release(port);
	if (dump && dump->region)
		pages_release(dump->region, phys_of(dump->region, NULL), dump->region_pages);
	if (dump && dump->data)
		phys_free(dump->data, DATA_PAGES);
	port_close(port);
	free(dump);
}
