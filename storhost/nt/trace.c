/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Event tracing: providers are registered, and nobody listens; and routines that a driver looks up by name. */
#include "nt/kernel.h"

static NTSTATUS NTAPI etw_register(const void *provider, void *callback, void *context, ULONGLONG *handle)
{
	static ULONGLONG next = 0x1000;
	ULONGLONG made = __atomic_add_fetch(&next, 1, __ATOMIC_RELAXED);

	(void)provider;
	(void)callback;
	(void)context;
	kernel_call("EtwRegister", IRQL_PASSIVE, KERNEL_ALLOWED, CALLER);
	return guest_write(handle, &made, sizeof(made), CALLER) ? STATUS_SUCCESS : STATUS_INVALID_PARAMETER;
}

static NTSTATUS NTAPI etw_unregister(ULONGLONG handle)
{
	(void)handle;
	kernel_call("EtwUnregister", IRQL_PASSIVE, KERNEL_ALLOWED, CALLER);
	return STATUS_SUCCESS;
}

static BOOLEAN NTAPI etw_event_enabled(ULONGLONG handle, const void *event)
{
	(void)handle;
	(void)event;
	return FALSE;
}

static BOOLEAN NTAPI etw_provider_enabled(ULONGLONG handle, UCHAR level, ULONGLONG keyword)
{
	(void)handle;
	(void)level;
	(void)keyword;
	return FALSE;
}

static NTSTATUS NTAPI etw_write(ULONGLONG handle, const void *event, const void *activity, ULONG count, void *data)
{
	(void)handle;
	(void)event;
	(void)activity;
	(void)count;
	(void)data;
	kernel_call("EtwWrite", IRQL_HIGH, KERNEL_ALLOWED, CALLER);
	return STATUS_SUCCESS;
}

static NTSTATUS NTAPI etw_write_transfer(ULONGLONG handle, const void *event, const void *activity, const void *related,
					 ULONG count, void *data)
{
	(void)handle;
	(void)event;
	(void)activity;
	(void)related;
	(void)count;
	(void)data;
	kernel_call("EtwWriteTransfer", IRQL_HIGH, KERNEL_ALLOWED, CALLER);
	return STATUS_SUCCESS;
}

static NTSTATUS NTAPI wmi_registration_control(void *device, ULONG action)
{
	(void)device;
	(void)action;
	kernel_call("IoWMIRegistrationControl", IRQL_PASSIVE, KERNEL_PROHIBITED, CALLER);
	return STATUS_SUCCESS;
}

/* No session, so that nothing of the message is read. */
static NTSTATUS NTAPIV wmi_trace_message(ULONGLONG session, ULONG flags, const void *message, USHORT number, ...)
{
	(void)session;
	(void)flags;
	(void)message;
	(void)number;
	kernel_call("WmiTraceMessage", IRQL_HIGH, KERNEL_ALLOWED, CALLER);
	return STATUS_SUCCESS;
}

static NTSTATUS NTAPI wmi_query_trace(ULONG class, void *data, ULONG length, ULONG *needed, void *buffer)
{
	(void)class;
	(void)data;
	(void)length;
	(void)needed;
	(void)buffer;
	kernel_call("WmiQueryTraceInformation", IRQL_PASSIVE, KERNEL_ALLOWED, CALLER);
	return STATUS_NOT_SUPPORTED;
}

/* One that storhost has not stops the driver when it is called, as if it had been imported. */
static PVOID NTAPI get_system_routine(const UNICODE_STRING *name)
{
	enum pe_machine machine = sizeof(void *) == 8 ? PE_X64 : PE_X86;
	UNICODE_STRING string;
	char text[128] = "";
	void *address = NULL;

	kernel_call("MmGetSystemRoutineAddress", IRQL_PASSIVE, KERNEL_PROHIBITED, CALLER);
	if (!guest_read(&string, name, sizeof(string), CALLER))
		return NULL;
	for (unsigned i = 0; i < string.Length / 2u && i + 1 < sizeof(text); i++) {
		WCHAR unit = 0;

		guest_read(&unit, string.Buffer + i, sizeof(unit), CALLER);
		text[i] = (char)unit;
	}
	if (export_find(machine, "ntoskrnl.exe", text, &address) == EXPORT_UNKNOWN)
		export_find(machine, "hal.dll", text, &address);
	return address;
}

const struct export_entry trace_exports[] = {
	ENTRY("EtwEventEnabled", etw_event_enabled),
	ENTRY("EtwProviderEnabled", etw_provider_enabled),
	ENTRY("EtwRegister", etw_register),
	ENTRY("EtwUnregister", etw_unregister),
	ENTRY("EtwWrite", etw_write),
	ENTRY("EtwWriteTransfer", etw_write_transfer),
	ENTRY("IoWMIRegistrationControl", wmi_registration_control),
	ENTRY("MmGetSystemRoutineAddress", get_system_routine),
	ENTRY("WmiQueryTraceInformation", wmi_query_trace),
	ENTRY("WmiTraceMessage", wmi_trace_message),
	{ NULL, NULL },
};
