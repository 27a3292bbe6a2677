/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The routines of ntoskrnl.exe and hal.dll that StorPort miniports are known to import. */
#include <stdarg.h>
#include <stdio.h>

#include "nt/dispatch.h"
#include "nt/kernel.h"
#include "nt/memory.h"

void (*kernel_run_driver)(enum callback callback, void (*run)(void *opaque), void *opaque);

void kernel_call(const char *name, unsigned max_irql, enum kernel_use use, uintptr_t pc)
{
	struct cpu *cpu = cpu_self();

	if (use == KERNEL_PROHIBITED)
		verify_report(RULE_CALL_KERNEL, pc, "%s is called", name);
	if (cpu->irql > max_irql)
		verify_report(RULE_CALL_IRQL, pc, "%s is called at IRQL %u, it allows at most %u", name, cpu->irql,
			      max_irql);
	cpu_point();
}

void kernel_stop(uintptr_t pc, const char *fmt, ...)
{
	char text[480];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	verify_report(RULE_DRIVER_FAULT, pc, "%s", text);
	cpu_die("the driver stopped the machine");
	__builtin_unreachable();
}

void kernel_forget(bool leaks)
{
	dispatch_forget();
	memory_forget(leaks);
}

VOID NTAPI KeBugCheckEx(ULONG code, ULONG_PTR p1, ULONG_PTR p2, ULONG_PTR p3, ULONG_PTR p4)
{
	verify_report(RULE_DRIVER_FAULT, CALLER, "KeBugCheckEx(0x%x, 0x%llx, 0x%llx, 0x%llx, 0x%llx)", code,
		      (unsigned long long)p1, (unsigned long long)p2, (unsigned long long)p3, (unsigned long long)p4);
	cpu_die("the driver called KeBugCheckEx");
	__builtin_unreachable();
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

static const struct export_entry basic_exports[] = {
	ENTRY("KeBugCheckEx", KeBugCheckEx), ENTRY("memcmp", nt_memcmp), ENTRY("memcpy", nt_memcpy),
	ENTRY("memmove", nt_memmove),        ENTRY("memset", nt_memset), { NULL, NULL },
};

const struct export_entry *const nt_exports[] = {
	basic_exports, arithmetic_exports, debug_exports, dispatch_exports, memory_exports, print_exports,
	rtl_exports,   string_exports,     sync_exports,  time_exports,     trace_exports,  NULL,
};
