/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The routines of ntoskrnl.exe and hal.dll that StorPort miniports are known to import. */
#include <ntddk.h>
#include <stdio.h>
#include <string.h>

#include "nt/cpu.h"
#include "nt/exports.h"
#include "verify/verify.h"

#define CALLER ((uintptr_t)__builtin_return_address(0))

VOID NTAPI KeBugCheckEx(ULONG code, ULONG_PTR p1, ULONG_PTR p2, ULONG_PTR p3, ULONG_PTR p4)
{
	verify_report(RULE_DRIVER_FAULT, CALLER, "KeBugCheckEx(0x%x, 0x%llx, 0x%llx, 0x%llx, 0x%llx)", code,
		      (unsigned long long)p1, (unsigned long long)p2, (unsigned long long)p3, (unsigned long long)p4);
	cpu_die("the driver called KeBugCheckEx");
	__builtin_unreachable();
}

static PVOID NTAPIV nt_memcpy(PVOID to, const void *from, SIZE_T size)
{
	return memcpy(to, from, size);
}

static PVOID NTAPIV nt_memmove(PVOID to, const void *from, SIZE_T size)
{
	return memmove(to, from, size);
}

static PVOID NTAPIV nt_memset(PVOID to, int value, SIZE_T size)
{
	return memset(to, value, size);
}

static int NTAPIV nt_memcmp(const void *a, const void *b, SIZE_T size)
{
	return memcmp(a, b, size);
}

static KIRQL NTAPI nt_get_current_irql(void)
{
	return (KIRQL)cpu_self()->irql;
}

static VOID NTAPI nt_stall(ULONG microseconds)
{
	cpu_stall(microseconds);
}

/* x86 imports it as data, for the seed of the stack cookie. */
static volatile struct {
	ULONG low;
	LONG high1, high2;
} nt_tick_count = { 0x1234567, 0, 0 };

#define ENTRY(name, function) { name, (void *)(uintptr_t)(function) }

const struct export_entry nt_exports[] = {
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
