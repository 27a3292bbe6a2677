/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* StorPortExtendedFunction: the codes that Windows 7 knows. */
#include "base/inject.h"
#include "port/internal.h"
#include "nt/pool.h"
#include "nt/guest.h"

#define STATUS(name) ((ULONG)STOR_STATUS_##name)

static ULONG put_pointer(void *out, void *value, uintptr_t pc)
{
	guest_write(out, &value, sizeof(value), pc);
	return value ? STATUS(SUCCESS) : STATUS(INSUFFICIENT_RESOURCES);
}

static ULONG pool_allocate(ULONG bytes, ULONG tag, void *out, enum pool_kind kind, uintptr_t pc)
{
	if (cpu_self()->callback == CB_START_IO)
		verify_report(RULE_STARTIO_WAIT, pc, "%u bytes are allocated in HwStartIo", bytes);
	if (cpu_self()->irql > IRQL_DISPATCH)
		return STATUS(INVALID_IRQL);
	if (inject(INJECT_MEMORY, kind == POOL_CONTIGUOUS ? "StorPortAllocateContiguousMemorySpecifyCacheNode"
							  : "StorPortAllocatePool"))
		return put_pointer(out, NULL, pc);
	return put_pointer(out, pool_alloc(bytes, tag, kind, pc), pc);
}

static ULONG pool_release(void *block, enum pool_kind kind, uintptr_t pc)
{
	return pool_free(block, kind, pc) ? STATUS(SUCCESS) : STATUS(INVALID_PARAMETER);
}

static ULONG system_address(struct port *port, const void *srb, void *out, uintptr_t pc)
{
	struct slot *slot = slot_of(port, srb);

	if (!slot || slot->state == SLOT_FREE || slot->state == SLOT_COMPLETED)
		return STATUS(INVALID_PARAMETER);
	if (inject(INJECT_CALL, "StorPortGetSystemAddress"))
		return put_pointer(out, NULL, pc);
	return put_pointer(out, slot_system_address(slot), pc);
}

static ULONG message_information(struct port *port, ULONG id, void *out, uintptr_t pc)
{
	MESSAGE_INTERRUPT_INFORMATION information = {
		.MessageId = id,
		.MessageData = 0x50 + id,
		.MessageAddress.QuadPart = 0xfee00000,
		.InterruptVector = 0x50 + id,
		.InterruptLevel = IRQL_DEVICE,
		.InterruptMode = Latched,
	};

	if (!port->message_count)
		return STATUS(INVALID_DEVICE_REQUEST);
	if (id >= port->message_count)
		return STATUS(INVALID_PARAMETER);
	guest_write(out, &information, sizeof(information), pc);
	return STATUS(SUCCESS);
}

static ULONG message_lock(struct port *port, ULONG id, guest_va_list *ap, bool acquire, uintptr_t pc)
{
	ULONG irql;

	if (port->config->InterruptSynchronizationMode != InterruptSynchronizePerMessage || id >= port->message_count) {
		verify_report(RULE_LOCK_MSI, pc, "the lock of message %u is used without per-message synchronisation",
			      id);
		return STATUS(INVALID_PARAMETER);
	}
	if (acquire) {
		irql = (ULONG)lock_acquire(&port->messages[id].lock, 0);
		guest_write(guest_va_arg(*ap, void *), &irql, sizeof(irql), pc);
		return STATUS(SUCCESS);
	}
	irql = guest_va_arg(*ap, ULONG);
	return lock_release(&port->messages[id].lock, irql, pc) ? STATUS(SUCCESS) : STATUS(INVALID_PARAMETER);
}

static ULONG perf_options(BOOLEAN query, void *data, uintptr_t pc)
{
	static const struct call_rule rule = { "StorPortInitializePerfOpts", IRQL_DEVICE,
					       CB_INITIALIZE | CB_PASSIVE_INITIALIZE };
	const ULONG supported = STOR_PERF_DPC_REDIRECTION | STOR_PERF_INTERRUPT_MESSAGE_RANGES;
	PERF_CONFIGURATION_DATA options;

	call_check(&rule, pc);
	if (!data) {
		verify_report(RULE_PERF_OPTIONS, pc, "StorPortInitializePerfOpts gets no PERF_CONFIGURATION_DATA");
		return STATUS(INVALID_PARAMETER);
	}
	if (!guest_read(&options, data, sizeof(options), pc))
		return STATUS(INVALID_PARAMETER);
	if (options.Version != STOR_PERF_VERSION_3 || options.Size != sizeof(options)) {
		verify_report(RULE_PERF_OPTIONS, pc, "PERF_CONFIGURATION_DATA has version %u and size %u",
			      options.Version, options.Size);
		return STATUS(UNSUCCESSFUL);
	}
	if (inject(INJECT_CALL, "StorPortInitializePerfOpts"))
		return STATUS(UNSUCCESSFUL);
	if (!query)
		return options.Flags & ~supported ? STATUS(UNSUCCESSFUL) : STATUS(SUCCESS);
	options.Flags = supported;
	guest_write(data, &options, sizeof(options), pc);
	return STATUS(SUCCESS);
}

static ULONG log_system_event(struct port *port, const void *details, void *maximum, uintptr_t pc)
{
	STOR_LOG_EVENT_DETAILS event;
	const uint16_t *text;
	char line[300] = "";

	(void)maximum;
	if (cpu_self()->irql > IRQL_DISPATCH)
		return STATUS(INVALID_IRQL);
	if (!details || !guest_read(&event, details, sizeof(event), pc))
		return STATUS(INVALID_PARAMETER);
	if ((event.InterfaceRevision & ~0xffu) != STOR_CURRENT_LOG_INTERFACE_REVISION || event.Size != sizeof(event))
		return STATUS(UNSUPPORTED_VERSION);
	if (inject(INJECT_CALL, "StorPortLogSystemEvent"))
		return STATUS(INSUFFICIENT_RESOURCES);
	if (event.StringCount && guest_read(&text, event.StringList, sizeof(text), pc))
		guest_wide_string(line, text, sizeof(line), pc);
	log_event(port, "%s (code 0x%x, id %u)", line[0] ? line : "an event without text", event.ErrorCode,
		  event.UniqueId);
	return STATUS(SUCCESS);
}

static ULONG put(void *out, const void *value, size_t size, uintptr_t pc)
{
	return guest_write(out, value, size, pc) ? STATUS(SUCCESS) : STATUS(INVALID_PARAMETER);
}

static ULONG start_io_parameters(struct port *port, const void *srb, void *out, uintptr_t pc)
{
	static const struct call_rule rule = { "StorPortGetStartIoPerfParams", IRQL_DEVICE, CB_START_IO };
	STARTIO_PERFORMANCE_PARAMETERS parameters;

	call_check(&rule, pc);
	if (!guest_read(&parameters, out, sizeof(parameters), pc))
		return STATUS(INVALID_PARAMETER);
	if (!slot_of(port, srb) || parameters.Size != sizeof(parameters)) {
		verify_report(RULE_CALL_ARGUMENT, pc,
			      "StorPortGetStartIoPerfParams of SRB %p and parameters of size %u", srb, parameters.Size);
		return STATUS(INVALID_PARAMETER);
	}
	parameters = (STARTIO_PERFORMANCE_PARAMETERS){ .Size = sizeof(parameters) };
	return put(out, &parameters, sizeof(parameters), pc);
}

/* The machine's processors: one group, one node. */
static ULONG topology(STORPORT_FUNCTION_CODE code, guest_va_list *ap, uintptr_t pc)
{
	const GROUP_AFFINITY all = { .Mask = ((KAFFINITY)1 << cpu_count()) - 1 };
	ULONG which;

	switch ((int)code) {
	case ExtFunctionGetCurrentProcessorNumber:
		return put(guest_va_arg(*ap, void *), &(PROCESSOR_NUMBER){ .Number = (UCHAR)cpu_self()->index },
			   sizeof(PROCESSOR_NUMBER), pc);
	case ExtFunctionGetActiveGroupCount:
		return put(guest_va_arg(*ap, void *), &(USHORT){ 1 }, sizeof(USHORT), pc);
	case ExtFunctionGetGroupAffinity:
		which = (ULONG)guest_va_arg(*ap, int);
		return which ? STATUS(UNSUCCESSFUL) : put(guest_va_arg(*ap, void *), &all.Mask, sizeof(all.Mask), pc);
	case ExtFunctionGetActiveNodeCount:
		return put(guest_va_arg(*ap, void *), &(ULONG){ 1 }, sizeof(ULONG), pc);
	case ExtFunctionGetNodeAffinity:
		which = guest_va_arg(*ap, ULONG);
		return which ? STATUS(INVALID_PARAMETER) : put(guest_va_arg(*ap, void *), &all, sizeof(all), pc);
	case ExtFunctionGetHighestNodeNumber:
		return put(guest_va_arg(*ap, void *), &(ULONG){ 0 }, sizeof(ULONG), pc);
	}
	return STATUS(NOT_IMPLEMENTED);
}

/* Memory and requests. */
static ULONG resources(STORPORT_FUNCTION_CODE code, struct port *port, guest_va_list *ap, uintptr_t pc)
{
	void *block;
	ULONG bytes;

	switch ((int)code) {
	case ExtFunctionAllocatePool:
		bytes = guest_va_arg(*ap, ULONG);
		block = (void *)(uintptr_t)guest_va_arg(*ap, ULONG);
		return pool_allocate(bytes, (ULONG)(uintptr_t)block, guest_va_arg(*ap, void *), POOL_NONPAGED, pc);
	case ExtFunctionFreePool:
		return pool_release(guest_va_arg(*ap, void *), POOL_NONPAGED, pc);
	case ExtFunctionGetSystemAddress:
		block = guest_va_arg(*ap, void *);
		return system_address(port, block, guest_va_arg(*ap, void *), pc);
	case ExtFunctionAllocateContiguousMemorySpecifyCacheNode:
		bytes = (ULONG)guest_va_arg(*ap, SIZE_T);
		(void)guest_va_arg(*ap, LONGLONG);
		(void)guest_va_arg(*ap, LONGLONG);
		(void)guest_va_arg(*ap, LONGLONG);
		(void)guest_va_arg(*ap, int);
		(void)guest_va_arg(*ap, ULONG);
		return pool_allocate(bytes, 0, guest_va_arg(*ap, void *), POOL_CONTIGUOUS, pc);
	case ExtFunctionFreeContiguousMemorySpecifyCache:
		return pool_release(guest_va_arg(*ap, void *), POOL_CONTIGUOUS, pc);
	}
	return topology(code, ap, pc);
}

static ULONG extended(STORPORT_FUNCTION_CODE code, struct port *port, guest_va_list *ap, uintptr_t pc)
{
	void *first;
	ULONG id;

	switch ((int)code) {
	case ExtFunctionGetMessageInterruptInformation:
		id = guest_va_arg(*ap, ULONG);
		return message_information(port, id, guest_va_arg(*ap, void *), pc);
	case ExtFunctionAcquireMSISpinLock:
	case ExtFunctionReleaseMSISpinLock:
		id = guest_va_arg(*ap, ULONG);
		return message_lock(port, id, ap, code == ExtFunctionAcquireMSISpinLock, pc);
	case ExtFunctionInitializePerformanceOptimizations:
		id = (ULONG)guest_va_arg(*ap, int);
		return perf_options((BOOLEAN)id, guest_va_arg(*ap, void *), pc);
	case ExtFunctionGetStartIoPerformanceParameters:
		first = guest_va_arg(*ap, void *);
		return start_io_parameters(port, first, guest_va_arg(*ap, void *), pc);
	case ExtFunctionLogSystemEvent:
		first = guest_va_arg(*ap, void *);
		return log_system_event(port, first, guest_va_arg(*ap, void *), pc);
	}
	return resources(code, port, ap, pc);
}

/*
 * A code that Windows 7 knows and storhost has not stops the driver: an answer would be an invention. One that is newer
 * is answered as Windows 7 answers it.
 */
ULONG NTAPIV StorPortExtendedFunction(STORPORT_FUNCTION_CODE code, PVOID extension, ...)
{
	static const struct call_rule rule = { "StorPortExtendedFunction", IRQL_DEVICE, ~CB_DRIVER_ENTRY };
	struct port *port = port_of(extension, CALLER);
	guest_va_list ap;
	ULONG status;

	call_check(&rule, CALLER);
	if (!port)
		return STATUS(INVALID_PARAMETER);
	if (port->dump && dump_function(code, port, &status, CALLER))
		return status;
	if ((unsigned)code > ExtFunctionFreeContiguousMemorySpecifyCache) {
		verify_report(RULE_CALL_WINDOWS8, CALLER, "StorPortExtendedFunction with code %u", (unsigned)code);
		return STATUS(NOT_IMPLEMENTED);
	}
	guest_va_start(ap, extension);
	status = extended(code, port, &ap, CALLER);
	guest_va_end(ap);
	if (status == STATUS(NOT_IMPLEMENTED)) {
		verify_report(RULE_DRIVER_STOPPED, CALLER, "StorPortExtendedFunction code %u is not implemented",
			      (unsigned)code);
		cpu_die("the driver called what storhost has not");
	}
	return status;
}
