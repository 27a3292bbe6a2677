/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The routines of ntoskrnl.exe and hal.dll that StorPort miniports are known to import. */
#include <ntddk.h>
#include <stdio.h>

#include "nt/cpu.h"
#include "nt/exports.h"
#include "nt/guest.h"
#include "verify/verify.h"

#define CALLER ((uintptr_t)__builtin_return_address(0))

VOID NTAPI KeBugCheckEx(ULONG code, ULONG_PTR p1, ULONG_PTR p2, ULONG_PTR p3, ULONG_PTR p4)
{
	verify_report(RULE_DRIVER_FAULT, CALLER, "KeBugCheckEx(0x%x, 0x%llx, 0x%llx, 0x%llx, 0x%llx)", code,
		      (unsigned long long)p1, (unsigned long long)p2, (unsigned long long)p3, (unsigned long long)p4);
	cpu_die("the driver called KeBugCheckEx");
	__builtin_unreachable();
}

/* Windows 7 shows it to a debugger; a checked driver says so which assertion fails before it does. */
ULONG NTAPIV DbgPrint(PCSTR format, ...)
{
	guest_va_list ap;
	char text[512];

	guest_va_start(ap, format);
	if (guest_format(text, sizeof(text), format, &ap, CALLER))
		fprintf(stderr, "debug: %s", text);
	guest_va_end(ap);
	return 0;
}

static PVOID NTAPIV nt_memcpy(PVOID to, const void *from, SIZE_T size)
{
	guest_move(to, from, size, CALLER);
	return to;
}

static PVOID NTAPIV nt_memmove(PVOID to, const void *from, SIZE_T size)
{
	guest_move(to, from, size, CALLER);
	return to;
}

static PVOID NTAPIV nt_memset(PVOID to, int value, SIZE_T size)
{
	guest_fill(to, value, size, CALLER);
	return to;
}

static int NTAPIV nt_memcmp(const void *a, const void *b, SIZE_T size)
{
	const uint8_t *left = a, *right = b;

	for (SIZE_T i = 0; i < size; i++) {
		uint8_t x = 0, y = 0;

		if (!guest_read(&x, left + i, 1, CALLER) || !guest_read(&y, right + i, 1, CALLER))
			return 1;
		if (x != y)
			return x < y ? -1 : 1;
	}
	return 0;
}

/* A routine that is here for drivers that call it, and is not for miniports. */
static void prohibited(const char *name, uintptr_t pc)
{
	verify_report(RULE_CALL_KERNEL, pc, "%s is called", name);
}

static KIRQL NTAPI nt_get_current_irql(void)
{
	prohibited("KeGetCurrentIrql", CALLER);
	return (KIRQL)cpu_self()->irql;
}

static VOID NTAPI nt_stall(ULONG microseconds)
{
	prohibited("KeStallExecutionProcessor", CALLER);
	cpu_stall(microseconds);
}

/* x86 imports it as data, for the seed of the stack cookie. */
static volatile struct {
	ULONG low;
	LONG high1, high2;
} nt_tick_count = { 0x1234567, 0, 0 };

#define ENTRY(name, function) { name, (void *)(uintptr_t)(function) }

const struct export_entry nt_exports[] = {
	ENTRY("DbgPrint", DbgPrint),
	ENTRY("KeBugCheckEx", KeBugCheckEx),
	ENTRY("KeGetCurrentIrql", nt_get_current_irql),
	ENTRY("KeStallExecutionProcessor", nt_stall),
	{ "KeTickCount", (void *)&nt_tick_count },
	ENTRY("memcmp", nt_memcmp),
	ENTRY("memcpy", nt_memcpy),
	ENTRY("memmove", nt_memmove),
	ENTRY("memset", nt_memset),
	{ NULL, NULL },
};
