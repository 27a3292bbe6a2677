/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The exports of storport.sys that are neither notifications nor extended functions, and the table of them all. */
#include "base/inject.h"
#include "nt/clock.h"
#include "nt/debug.h"
#include "nt/exports.h"
#include "nt/format.h"
#include "nt/guest.h"
#include "nt/pool.h"
#include "nt/registry.h"
#include "port/internal.h"

#define CB_SETUP CB_FIND_ADAPTER
#define CB_RUNNING                                                                                                     \
	(CB_BUILD_IO | CB_START_IO | CB_INTERRUPT | CB_MS_INTERRUPT | CB_DPC | CB_TIMER | CB_RESET_BUS |               \
	 CB_ADAPTER_CONTROL | CB_SYNCHRONIZE | CB_INITIALIZE | CB_PASSIVE_INITIALIZE)

/* VIRTUAL_HW_INITIALIZATION_DATA has five more callbacks. */
#define VIRTUAL_DATA_BYTES (sizeof(HW_INITIALIZATION_DATA) + 5 * sizeof(void *))

/* ---- set-up ---- */

static bool init_data_complete(const HW_INITIALIZATION_DATA *data)
{
	return data->AdapterInterfaceType == PCIBus && !data->HwDmaStarted && !data->HwAdapterState &&
	       data->NeedPhysicalAddresses && data->TaggedQueuing && data->AutoRequestSense &&
	       data->MultipleRequestPerLu && data->MapBuffers <= STOR_MAP_NON_READ_WRITE_BUFFERS;
}

static bool init_callbacks_good(const struct port *port, const HW_INITIALIZATION_DATA *data, uintptr_t pc)
{
	const struct {
		const char *name;
		void *routine;
		bool optional;
	} callbacks[] = {
		{ "HwFindAdapter", (void *)(uintptr_t)data->HwFindAdapter, false },
		{ "HwInitialize", (void *)(uintptr_t)data->HwInitialize, false },
		{ "HwStartIo", (void *)(uintptr_t)data->HwStartIo, false },
		{ "HwInterrupt", (void *)(uintptr_t)data->HwInterrupt, false },
		{ "HwResetBus", (void *)(uintptr_t)data->HwResetBus, false },
		{ "HwAdapterControl", (void *)(uintptr_t)data->HwAdapterControl, false },
		{ "HwBuildIo", (void *)(uintptr_t)data->HwBuildIo, true },
	};
	bool good = true;

	for (size_t i = 0; i < sizeof(callbacks) / sizeof(callbacks[0]); i++) {
		if (callbacks[i].routine || !callbacks[i].optional)
			good &= call_target(port, callbacks[i].routine, callbacks[i].name, pc);
	}
	return good;
}

ULONG NTAPI StorPortInitialize(PVOID driver_object, PVOID registry_path, PHW_INITIALIZATION_DATA data, PVOID context)
{
	struct port *port = port_loading;
	HW_INITIALIZATION_DATA copy;

	CALL("StorPortInitialize", IRQL_PASSIVE, CB_DRIVER_ENTRY);
	(void)context;
	if (!port || !guest_read(&copy, data, sizeof(copy), CALLER))
		return (ULONG)STATUS_INVALID_PARAMETER;
	if (driver_object != port->driver_object || registry_path != port->registry_path)
		verify_report(RULE_INIT_DATA, CALLER, "StorPortInitialize does not get DriverEntry's own arguments");
	if (copy.HwInitializationDataSize == VIRTUAL_DATA_BYTES) {
		verify_report(RULE_DRIVER_STOPPED, CALLER,
			      "a virtual miniport (VIRTUAL_HW_INITIALIZATION_DATA): storhost hosts PCI functions only");
		return (ULONG)STATUS_NOT_SUPPORTED;
	}
	if (copy.HwInitializationDataSize != sizeof(copy)) {
		verify_report(RULE_INIT_DATA, CALLER, "HwInitializationDataSize is 0x%x, Windows 7 knows 0x%zx",
			      copy.HwInitializationDataSize, sizeof(copy));
		return (ULONG)STATUS_REVISION_MISMATCH;
	}
	if (!init_data_complete(&copy)) {
		verify_report(RULE_INIT_DATA, CALLER, "a member that StorPort requires is missing or wrong");
		return (ULONG)STATUS_INVALID_PARAMETER;
	}
	if (!init_callbacks_good(port, &copy, CALLER))
		return (ULONG)STATUS_INVALID_PARAMETER;
	if (inject(INJECT_CALL, "StorPortInitialize"))
		return (ULONG)STATUS_INSUFFICIENT_RESOURCES;
	port->init = copy;
	port->initialized = true;
	return port->dump ? dump_initialize(port) : (ULONG)STATUS_SUCCESS;
}

ULONG NTAPI StorPortGetBusData(PVOID extension, ULONG type, ULONG bus, ULONG slot, PVOID buffer, ULONG length)
{
	struct port *port = port_of(extension, CALLER);
	uint8_t bytes[256];

	CALL("StorPortGetBusData", IRQL_PASSIVE, CB_SETUP | CB_ADAPTER_CONTROL);
	(void)slot;
	if (!port || type != PCIConfiguration || bus != port->config->SystemIoBusNumber)
		return 0;
	/* No such bus, or no device in the slot. */
	if (inject(INJECT_CALL, "StorPortGetBusData"))
		return inject_random() & 1 && guest_write(buffer, "\xff\xff", 2, CALLER) ? 2 : 0;
	if (length > sizeof(bytes))
		length = sizeof(bytes);
	bus_config_read(port, 0, bytes, length);
	return guest_write(buffer, bytes, length, CALLER) ? length : 0;
}

ULONG NTAPI StorPortSetBusDataByOffset(PVOID extension, ULONG type, ULONG bus, ULONG slot, PVOID buffer, ULONG offset,
				       ULONG length)
{
	struct port *port = port_of(extension, CALLER);
	uint8_t byte;

	CALL("StorPortSetBusDataByOffset", IRQL_PASSIVE, CB_SETUP | CB_ADAPTER_CONTROL);
	(void)slot;
	if (!port || type != PCIConfiguration || bus != port->config->SystemIoBusNumber ||
	    inject(INJECT_CALL, "StorPortSetBusDataByOffset"))
		return 0;
	for (ULONG i = 0; i < length; i++) {
		if (offset + i > 255 || !guest_read(&byte, (uint8_t *)buffer + i, 1, CALLER))
			return i;
		port->device->ops->config_write(port->device, offset + i, 1, byte);
	}
	return length;
}

PVOID NTAPI StorPortGetDeviceBase(PVOID extension, INTERFACE_TYPE type, ULONG bus, STOR_PHYSICAL_ADDRESS address,
				  ULONG length, BOOLEAN in_io_space)
{
	struct port *port = port_of(extension, CALLER);

	CALL("StorPortGetDeviceBase", IRQL_PASSIVE, CB_SETUP);
	(void)type;
	(void)bus;
	if (!port || in_io_space) {
		verify_report(RULE_MMIO_MAPPING, CALLER, "port space is mapped, but the function has none");
		return NULL;
	}
	if (inject(INJECT_CALL, "StorPortGetDeviceBase"))
		return NULL;
	return bus_map(port, (uint64_t)address.QuadPart, length, CALLER);
}

VOID NTAPI StorPortFreeDeviceBase(PVOID extension, PVOID base)
{
	struct port *port = port_of(extension, CALLER);

	CALL("StorPortFreeDeviceBase", IRQL_PASSIVE, CB_SETUP);
	if (port)
		bus_unmap(port, base, CALLER);
}

BOOLEAN NTAPI StorPortValidateRange(PVOID extension, INTERFACE_TYPE type, ULONG bus, STOR_PHYSICAL_ADDRESS address,
				    ULONG length, BOOLEAN in_io_space)
{
	(void)extension;
	(void)type;
	(void)bus;
	(void)address;
	(void)length;
	(void)in_io_space;
	cpu_point();
	verify_report(RULE_CALL_OBSOLETE, CALLER, "StorPortValidateRange is called");
	return TRUE;
}

PVOID NTAPI StorPortGetUncachedExtension(PVOID extension, PPORT_CONFIGURATION_INFORMATION config, ULONG bytes)
{
	struct port *port = port_of(extension, CALLER);

	CALL("StorPortGetUncachedExtension", IRQL_PASSIVE, CB_SETUP);
	if (!port || config != port->config || !bytes || inject(INJECT_MEMORY, "StorPortGetUncachedExtension"))
		return NULL;
	if (port->uncached_calls++)
		verify_report(RULE_UNCACHED_ONCE, CALLER, "StorPortGetUncachedExtension is called again");
	port->at_uncached = *port->config;
	/* A second call: the kit's page says NULL, the present one says the same memory; the seed decides. */
	if (port->uncached)
		return port->options.seed & 2 ? port->uncached : NULL;
	return port->dump && !dump_memory(port, bytes, CALLER) ? NULL : port_uncached(port, bytes);
}

/* ---- addresses ---- */

STOR_PHYSICAL_ADDRESS_RETURN NTAPI StorPortGetPhysicalAddress(PVOID extension, PSCSI_REQUEST_BLOCK srb, PVOID address,
							      ULONG *length)
{
	struct port *port = port_of(extension, CALLER);
	uint32_t contiguous = 0;
	uint64_t physical;

	CALL("StorPortGetPhysicalAddress", IRQL_DEVICE, CB_RUNNING | CB_SETUP);
	if (!port)
		return 0;
	physical = phys_of(watch_behind(port, address), &contiguous);
	if (!physical || (srb && !slot_of(port, srb)))
		verify_report(RULE_CALL_ARGUMENT, CALLER,
			      "StorPortGetPhysicalAddress of %p, which is not common memory", address);
	if (inject(INJECT_CALL, "StorPortGetPhysicalAddress")) {
		/* Nobody says whether the length is written then. */
		if (inject_random() & 1)
			return 0;
		contiguous = 0;
		physical = 0;
	}
	if (length)
		guest_write(length, &contiguous, sizeof(*length), CALLER);
	return (LONGLONG)physical;
}

PVOID NTAPI StorPortGetVirtualAddress(PVOID extension, STOR_PHYSICAL_ADDRESS address)
{
	struct port *port = port_of(extension, CALLER);
	uint64_t offset;

	CALL("StorPortGetVirtualAddress", IRQL_DEVICE, CB_RUNNING | CB_SETUP);
	if (!port)
		return NULL;
	offset = (uint64_t)address.QuadPart - port->uncached_address;
	return port->uncached && offset < (uint64_t)port->uncached_pages * PHYS_PAGE
		       ? (uint8_t *)port->uncached + offset
		       : NULL;
}

STOR_PHYSICAL_ADDRESS_RETURN NTAPI StorPortConvertUlongToPhysicalAddress(ULONG_PTR address)
{
	return (LONGLONG)address;
}

PSTOR_SCATTER_GATHER_LIST NTAPI StorPortGetScatterGatherList(PVOID extension, PSCSI_REQUEST_BLOCK srb)
{
	struct port *port = port_of(extension, CALLER);
	struct slot *slot = port ? slot_of(port, srb) : NULL;

	CALL("StorPortGetScatterGatherList", IRQL_DISPATCH, CB_BUILD_IO | CB_START_IO);
	if (!slot || (slot->state != SLOT_BUILDING && slot->state != SLOT_STARTED)) {
		verify_report(RULE_CALL_ARGUMENT, CALLER,
			      "StorPortGetScatterGatherList for an SRB that is not the driver's");
		return NULL;
	}
	if (inject(INJECT_CALL, "StorPortGetScatterGatherList"))
		return NULL;
	return slot->elements ? slot->list : NULL;
}

PVOID NTAPI StorPortGetLogicalUnit(PVOID extension, UCHAR path, UCHAR target, UCHAR lun)
{
	struct port *port = port_of(extension, CALLER);

	CALL("StorPortGetLogicalUnit", IRQL_DEVICE, CB_RUNNING);
	return port && !path && !target && !lun ? port->lu_extension : NULL;
}

PSCSI_REQUEST_BLOCK NTAPI StorPortGetSrb(PVOID extension, UCHAR path, UCHAR target, UCHAR lun, LONG tag)
{
	struct port *port = port_of(extension, CALLER);

	CALL("StorPortGetSrb", IRQL_DEVICE, CB_RUNNING);
	for (unsigned i = 0; port && port->slots && i < port->slot_count; i++) {
		struct slot *slot = &port->slots[i];

		if (slot->state == SLOT_STARTED && slot->sent.QueueTag == (UCHAR)tag && !path && !target && !lun)
			return slot->srb;
	}
	return NULL;
}

VOID NTAPI StorPortCompleteRequest(PVOID extension, UCHAR path, UCHAR target, UCHAR lun, UCHAR status)
{
	struct port *port = port_of(extension, CALLER);

	(void)path;
	(void)target;
	(void)lun;
	cpu_point();
	verify_report(RULE_CALL_OBSOLETE, CALLER, "StorPortCompleteRequest is called");
	for (unsigned i = 0; port && port->slots && i < port->slot_count; i++) {
		if (port->slots[i].state != SLOT_STARTED)
			continue;
		port->slots[i].srb->SrbStatus = status;
		srb_complete(port, port->slots[i].srb, CALLER);
	}
}

/* ---- queues ---- */

BOOLEAN NTAPI StorPortSetDeviceQueueDepth(PVOID extension, UCHAR path, UCHAR target, UCHAR lun, ULONG depth)
{
	struct port *port = port_of(extension, CALLER);

	CALL("StorPortSetDeviceQueueDepth", IRQL_DISPATCH, CB_RUNNING);
	if (depth < 1 || depth > MAX_DEPTH) {
		verify_report(RULE_QUEUE_DEPTH, CALLER, "the queue depth is set to %u", depth);
		return FALSE;
	}
	if (!port || path || target || lun || inject(INJECT_CALL, "StorPortSetDeviceQueueDepth"))
		return FALSE;
	if (!port->inquired) {
		verify_report(RULE_QUEUE_EARLY, CALLER, "the queue depth is set before the unit's first INQUIRY");
		return FALSE;
	}
	__atomic_store_n(&port->depth, depth, __ATOMIC_RELEASE);
	return TRUE;
}

#define QUEUE_EXPORT(name, parameters, action)                                                                         \
	BOOLEAN NTAPI name parameters                                                                                  \
	{                                                                                                              \
		struct port *port = port_of(extension, CALLER);                                                        \
                                                                                                                       \
		CALL(#name, IRQL_DEVICE, CB_RUNNING);                                                                  \
		if (!port || port->dump || inject(INJECT_CALL, #name))                                                 \
			return FALSE;                                                                                  \
		action;                                                                                                \
		return TRUE;                                                                                           \
	}

#define ONE_UNIT (void)path, (void)target, (void)lun

QUEUE_EXPORT(StorPortPause, (PVOID extension, ULONG seconds), queue_pause(port, seconds))
QUEUE_EXPORT(StorPortResume, (PVOID extension), queue_resume(port))
QUEUE_EXPORT(StorPortPauseDevice, (PVOID extension, UCHAR path, UCHAR target, UCHAR lun, ULONG seconds),
	     (ONE_UNIT, queue_pause(port, seconds)))
QUEUE_EXPORT(StorPortResumeDevice, (PVOID extension, UCHAR path, UCHAR target, UCHAR lun),
	     (ONE_UNIT, queue_resume(port)))
QUEUE_EXPORT(StorPortBusy, (PVOID extension, ULONG requests), queue_busy(port, requests))
QUEUE_EXPORT(StorPortReady, (PVOID extension), queue_ready(port))
QUEUE_EXPORT(StorPortDeviceBusy, (PVOID extension, UCHAR path, UCHAR target, UCHAR lun, ULONG requests),
	     (ONE_UNIT, queue_busy(port, requests)))
QUEUE_EXPORT(StorPortDeviceReady, (PVOID extension, UCHAR path, UCHAR target, UCHAR lun), (ONE_UNIT, queue_ready(port)))

/* ---- synchronisation, time, log ---- */

BOOLEAN NTAPI StorPortSynchronizeAccess(PVOID extension, PSTOR_SYNCHRONIZED_ACCESS routine, PVOID context)
{
	struct port *port = port_of(extension, CALLER);
	struct frame frame;
	BOOLEAN result;
	int irql;

	CALL("StorPortSynchronizeAccess", IRQL_DISPATCH,
	     CB_RUNNING & ~(CB_INTERRUPT | CB_MS_INTERRUPT | CB_INITIALIZE));
	if (!port || !call_target(port, (void *)(uintptr_t)routine, "the routine of StorPortSynchronizeAccess", CALLER))
		return FALSE;
	irql = port->dump ? -1 : lock_acquire(&port->interrupt_lock, CALLER);
	callback_enter(&frame, CB_SYNCHRONIZE);
	result = routine(extension, context);
	callback_leave(&frame);
	if (irql >= 0)
		lock_release(&port->interrupt_lock, (unsigned)irql, CALLER);
	return result;
}

VOID NTAPI StorPortStallExecution(ULONG microseconds)
{
	bool dumping = port_hosted && port_hosted->dump;
	struct cpu *cpu = cpu_self();

	callback_watch(CALLER);
	/* In a dump image nobody else is kept waiting, and there is no other time to wait. */
	if (!dumping && cpu->callback == CB_START_IO)
		verify_report(RULE_STARTIO_WAIT, CALLER, "HwStartIo stalls for %u microseconds", microseconds);
	if (!dumping && cpu->callback & (CB_INTERRUPT | CB_MS_INTERRUPT | CB_SYNCHRONIZE))
		verify_report(RULE_STALL_INTERRUPT, CALLER, "%s stalls for %u microseconds",
			      callback_name(cpu->callback), microseconds);
	if (microseconds > 1000)
		verify_report(RULE_STALL_LONG, CALLER, "a stall of %u microseconds", microseconds);
	cpu_stall(microseconds);
	cpu_point();
}

VOID NTAPI StorPortQuerySystemTime(PLARGE_INTEGER time_out)
{
	LONGLONG now = (LONGLONG)clock_system_time();

	if (CALL_REFUSED("StorPortQuerySystemTime", IRQL_DEVICE, CB_ANY))
		now = 0;
	guest_write(time_out, &now, sizeof(now), CALLER);
}

VOID NTAPI StorPortLogError(PVOID extension, PSCSI_REQUEST_BLOCK srb, UCHAR path, UCHAR target, UCHAR lun, ULONG code,
			    ULONG id)
{
	struct port *port = port_of(extension, CALLER);

	(void)srb;
	(void)path;
	(void)target;
	(void)lun;
	if (CALL_REFUSED("StorPortLogError", IRQL_DEVICE, CB_ANY))
		return;
	verify_report(RULE_CALL_OBSOLETE, CALLER, "StorPortLogError is called");
	if (port)
		log_event(port, "error 0x%x, id %u", code, id);
}

VOID NTAPIV StorPortDebugPrint(ULONG level, PCCHAR format, ...)
{
	char text[512];
	guest_va_list ap;

	(void)level;
	cpu_point();
	guest_va_start(ap, format);
	format_cut(text, sizeof(text), format, &ap, NULL, CALLER);
	guest_va_end(ap);
	if (debug_shown)
		debug_text(text);
}

/* ---- registry ---- */

PUCHAR NTAPI StorPortAllocateRegistryBuffer(PVOID extension, PULONG length)
{
	struct port *port = port_of(extension, CALLER);
	ULONG size;

	if (CALL_REFUSED("StorPortAllocateRegistryBuffer", IRQL_PASSIVE, CB_SETUP | CB_PASSIVE_INITIALIZE) || !port ||
	    port->registry_buffer || !guest_read(&size, length, sizeof(size), CALLER) ||
	    inject(INJECT_MEMORY, "StorPortAllocateRegistryBuffer"))
		return NULL;
	port->registry_buffer = pool_alloc(size, 0, POOL_REGISTRY, CALLER);
	return port->registry_buffer;
}

VOID NTAPI StorPortFreeRegistryBuffer(PVOID extension, PUCHAR buffer)
{
	struct port *port = port_of(extension, CALLER);

	if (CALL_REFUSED("StorPortFreeRegistryBuffer", IRQL_PASSIVE, CB_SETUP | CB_PASSIVE_INITIALIZE))
		return;
	if (port && pool_free(buffer, POOL_REGISTRY, CALLER))
		port->registry_buffer = NULL;
}

BOOLEAN NTAPI StorPortRegistryRead(PVOID extension, PUCHAR name, ULONG global, ULONG type, PUCHAR buffer, PULONG length)
{
	const struct registry_value *value;
	char text[128];
	ULONG room;

	if (CALL_REFUSED("StorPortRegistryRead", IRQL_PASSIVE, CB_SETUP | CB_PASSIVE_INITIALIZE) ||
	    !port_of(extension, CALLER) || !guest_string(text, (char *)name, sizeof(text), CALLER) ||
	    !guest_read(&room, length, sizeof(room), CALLER))
		return FALSE;
	if (inject(INJECT_CALL, "StorPortRegistryRead")) {
		guest_write(length, &(ULONG){ 0 }, sizeof(ULONG), CALLER);
		return FALSE;
	}
	value = registry_find(text, global != 0);
	/* Windows 7 says TRUE and changes nothing when there is no such value [storport-win7 1.3]. */
	if (!value)
		return TRUE;
	if (value->type != type || value->size > room) {
		guest_write(length, &(ULONG){ value->type == type ? (ULONG)value->size : 0 }, sizeof(ULONG), CALLER);
		return FALSE;
	}
	guest_write(length, &(ULONG){ (ULONG)value->size }, sizeof(ULONG), CALLER);
	return guest_write(buffer, value->data, value->size, CALLER);
}

BOOLEAN NTAPI StorPortRegistryWrite(PVOID extension, PUCHAR name, ULONG global, ULONG type, PUCHAR buffer, ULONG length)
{
	char text[128];
	uint8_t data[REGISTRY_DATA_MAX];

	if (CALL_REFUSED("StorPortRegistryWrite", IRQL_PASSIVE, CB_SETUP | CB_PASSIVE_INITIALIZE) ||
	    !port_of(extension, CALLER) || length > sizeof(data) ||
	    !guest_string(text, (char *)name, sizeof(text), CALLER) || !guest_read(data, buffer, length, CALLER) ||
	    inject(INJECT_CALL, "StorPortRegistryWrite"))
		return FALSE;
	return (BOOLEAN)registry_set(text, global != 0, type, data, length);
}

/* ---- memory and registers ---- */

VOID NTAPI StorPortMoveMemory(PVOID to, PVOID from, ULONG length)
{
	CALL("StorPortMoveMemory", IRQL_DEVICE, CB_ANY);
	guest_move(to, from, length, CALLER);
}

VOID NTAPI ScsiPortMoveMemory(PVOID to, PVOID from, ULONG length)
{
	CALL("ScsiPortMoveMemory", IRQL_DEVICE, CB_ANY);
	guest_move(to, from, length, CALLER);
}

static uint64_t register_read(void *extension, const volatile void *address, unsigned width, uintptr_t pc)
{
	struct port *port = port_of(extension, pc);
	struct mapping *mapping = port ? bus_mapping(port, address, width, pc) : NULL;
	uint64_t value = ~0ull;

	if (mapping)
		value = bus_register_read(mapping, (uintptr_t)address - (uintptr_t)mapping->base, width, pc);
	bus_register_after(pc);
	return value;
}

static void register_write(void *extension, volatile void *address, unsigned width, uint64_t value, uintptr_t pc)
{
	struct port *port = port_of(extension, pc);
	struct mapping *mapping = port ? bus_mapping(port, address, width, pc) : NULL;

	if (mapping)
		bus_register_write(mapping, (uintptr_t)address - (uintptr_t)mapping->base, width, value, pc);
	bus_register_after(pc);
}

#define REGISTER_EXPORTS(Name, TYPE)                                                                                   \
	TYPE NTAPI StorPortReadRegister##Name(PVOID extension, volatile TYPE *address)                                 \
	{                                                                                                              \
		return (TYPE)register_read(extension, address, sizeof(TYPE), CALLER);                                  \
	}                                                                                                              \
	VOID NTAPI StorPortWriteRegister##Name(PVOID extension, volatile TYPE *address, TYPE value)                    \
	{                                                                                                              \
		register_write(extension, address, sizeof(TYPE), value, CALLER);                                       \
	}                                                                                                              \
	VOID NTAPI StorPortReadRegisterBuffer##Name(PVOID extension, volatile TYPE *address, TYPE *buffer, ULONG n)    \
	{                                                                                                              \
		for (ULONG i = 0; i < n; i++) {                                                                        \
			TYPE value = (TYPE)register_read(extension, address + i, sizeof(TYPE), CALLER);                \
                                                                                                                       \
			guest_write(buffer + i, &value, sizeof(value), CALLER);                                        \
		}                                                                                                      \
	}                                                                                                              \
	VOID NTAPI StorPortWriteRegisterBuffer##Name(PVOID extension, volatile TYPE *address, TYPE *buffer, ULONG n)   \
	{                                                                                                              \
		for (ULONG i = 0; i < n; i++) {                                                                        \
			TYPE value;                                                                                    \
                                                                                                                       \
			if (guest_read(&value, buffer + i, sizeof(value), CALLER))                                     \
				register_write(extension, address + i, sizeof(TYPE), value, CALLER);                   \
		}                                                                                                      \
	}

REGISTER_EXPORTS(Uchar, UCHAR)
REGISTER_EXPORTS(Ushort, USHORT)
REGISTER_EXPORTS(Ulong, ULONG)

/*
 * Every name of storport.sys has a line; those of port space have none, for no hosted function has port space: they
 * stop with their name (nt/exports.c).
 */
#define ENTRY(name) { #name, (void *)(uintptr_t)name }

const struct export_entry port_exports[] = {
	ENTRY(ScsiPortMoveMemory),
	ENTRY(ScsiPortNotification),
	ENTRY(StorPortAllocateRegistryBuffer),
	ENTRY(StorPortBusy),
	ENTRY(StorPortCompleteRequest),
	ENTRY(StorPortConvertUlongToPhysicalAddress),
	ENTRY(StorPortDebugPrint),
	ENTRY(StorPortDeviceBusy),
	ENTRY(StorPortDeviceReady),
	ENTRY(StorPortExtendedFunction),
	ENTRY(StorPortFreeDeviceBase),
	ENTRY(StorPortFreeRegistryBuffer),
	ENTRY(StorPortGetBusData),
	ENTRY(StorPortGetDeviceBase),
	ENTRY(StorPortGetLogicalUnit),
	ENTRY(StorPortGetPhysicalAddress),
	ENTRY(StorPortGetScatterGatherList),
	ENTRY(StorPortGetSrb),
	ENTRY(StorPortGetUncachedExtension),
	ENTRY(StorPortGetVirtualAddress),
	ENTRY(StorPortInitialize),
	ENTRY(StorPortLogError),
	ENTRY(StorPortMoveMemory),
	ENTRY(StorPortNotification),
	ENTRY(StorPortPause),
	ENTRY(StorPortPauseDevice),
	ENTRY(StorPortQuerySystemTime),
	ENTRY(StorPortReadRegisterBufferUchar),
	ENTRY(StorPortReadRegisterBufferUlong),
	ENTRY(StorPortReadRegisterBufferUshort),
	ENTRY(StorPortReadRegisterUchar),
	ENTRY(StorPortReadRegisterUlong),
	ENTRY(StorPortReadRegisterUshort),
	ENTRY(StorPortReady),
	ENTRY(StorPortRegistryRead),
	ENTRY(StorPortRegistryWrite),
	ENTRY(StorPortResume),
	ENTRY(StorPortResumeDevice),
	ENTRY(StorPortSetBusDataByOffset),
	ENTRY(StorPortSetDeviceQueueDepth),
	ENTRY(StorPortStallExecution),
	ENTRY(StorPortSynchronizeAccess),
	ENTRY(StorPortValidateRange),
	ENTRY(StorPortWriteRegisterBufferUchar),
	ENTRY(StorPortWriteRegisterBufferUlong),
	ENTRY(StorPortWriteRegisterBufferUshort),
	ENTRY(StorPortWriteRegisterUchar),
	ENTRY(StorPortWriteRegisterUlong),
	ENTRY(StorPortWriteRegisterUshort),
	{ NULL, NULL },
};
