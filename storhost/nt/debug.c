/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Text for a debugger, breakpoints and assertions of the kernel, and the debugger that is not there. */
#include "nt/debug.h"

#include <stdio.h>
#include <string.h>

#include "nt/format.h"
#include "nt/kernel.h"

#define TEXT_MAX 512u /* characters that one call transmits [ddi DbgPrint] */
/* Characters in all that are shown, where the user asked for them and where not: what comes before an assertion fails. */
#define SHOWN_ASKED (1u << 20)
#define SHOWN_ELSE (1u << 12)

/* DPFLTR_ERROR_LEVEL, which is always shown: a filter below it is the debugger's, and there is none. */
#define COMPONENTS 256u

bool debug_shown;

void debug_text(const char *text)
{
	static unsigned shown;
	unsigned before = __atomic_fetch_add(&shown, (unsigned)strlen(text), __ATOMIC_RELAXED);
	unsigned most = debug_shown ? SHOWN_ASKED : SHOWN_ELSE;
	size_t length = strlen(text);

	if (before > most)
		return;
	fprintf(stderr, "debug: %s%s", text, length && text[length - 1] == '\n' ? "" : "\n");
	if (before + length > most)
		fprintf(stderr, "debug: what the driver prints from here on is not shown\n");
}

static ULONG print(const char *name, const char *prefix, const char *text, guest_va_list *ap, uintptr_t pc)
{
	char line[2 * TEXT_MAX] = "";
	bool converted = false;
	size_t used = 0;

	kernel_call(name, IRQL_DEVICE, KERNEL_ALLOWED, pc);
	if (prefix && guest_string(line, prefix, TEXT_MAX, pc))
		used = strlen(line);
	format_cut(line + used, TEXT_MAX - used, text, ap, &converted, pc);
	if (converted && cpu_self() && cpu_self()->irql > IRQL_PASSIVE)
		verify_report(RULE_CALL_IRQL, pc, "%s prints a Unicode string at IRQL %u, which is for 0", name,
			      cpu_self()->irql);
	debug_text(line);
	return (ULONG)STATUS_SUCCESS;
}

ULONG NTAPIV DbgPrint(PCSTR text, ...)
{
	guest_va_list ap;

	guest_va_start(ap, text);
	print("DbgPrint", NULL, text, &ap, CALLER);
	guest_va_end(ap);
	return (ULONG)STATUS_SUCCESS;
}

static ULONG NTAPIV dbg_print_ex(ULONG component, ULONG level, const char *text, ...)
{
	guest_va_list ap;

	(void)component;
	(void)level;
	guest_va_start(ap, text);
	print("DbgPrintEx", NULL, text, &ap, CALLER);
	guest_va_end(ap);
	return (ULONG)STATUS_SUCCESS;
}

static ULONG NTAPI v_dbg_print_ex(ULONG component, ULONG level, const char *text, guest_va_list ap)
{
	(void)component;
	(void)level;
	return print("vDbgPrintEx", NULL, text, &ap, CALLER);
}

static ULONG NTAPI v_dbg_print_ex_with_prefix(const char *prefix, ULONG component, ULONG level, const char *text,
					      guest_va_list ap)
{
	(void)component;
	(void)level;
	return print("vDbgPrintExWithPrefix", prefix, text, &ap, CALLER);
}

/* Filters are kept for the driver that asks for them: what it prints is shown in any case. */
static UCHAR filters[COMPONENTS];

static NTSTATUS NTAPI query_filter(ULONG component, ULONG level)
{
	return component < COMPONENTS && level < 8 && filters[component] >> level & 1;
}

static NTSTATUS NTAPI set_filter(ULONG component, ULONG level, BOOLEAN state)
{
	if (component >= COMPONENTS || level >= 8)
		return STATUS_INVALID_PARAMETER;
	filters[component] = (UCHAR)((filters[component] & ~(1u << level)) | (state ? 1u << level : 0));
	return STATUS_SUCCESS;
}

/* ---- ends ---- */

static VOID NTAPI break_point(void)
{
	kernel_stop(CALLER, "DbgBreakPoint is called, and no debugger is there");
}

static VOID NTAPI break_point_with_status(ULONG status)
{
	kernel_stop(CALLER, "DbgBreakPointWithStatus(0x%x) is called, and no debugger is there", status);
}

static ULONG NTAPI prompt(const char *text, char *response, ULONG length)
{
	(void)text;
	(void)response;
	(void)length;
	kernel_call("DbgPrompt", IRQL_DEVICE, KERNEL_ALLOWED, CALLER);
	return 0;
}

static VOID NTAPI assert_failed(const char *assertion, const char *file, ULONG line, const char *message)
{
	char what[200] = "?", where[100] = "?", more[100] = "";

	guest_string(what, assertion, sizeof(what), CALLER);
	guest_string(where, file, sizeof(where), CALLER);
	if (message)
		guest_string(more, message, sizeof(more), CALLER);
	kernel_stop(CALLER, "assertion failed: %s, %s line %u%s%s", what, where, line, more[0] ? ": " : "", more);
}

static VOID NTAPI bug_check(ULONG code)
{
	kernel_stop(CALLER, "KeBugCheck(0x%x)", code);
}

static BOOLEAN NTAPI refresh_not_present(void)
{
	return TRUE;
}

static BOOLEAN debugger_enabled;
static BOOLEAN debugger_not_present = TRUE;

const struct export_entry debug_exports[] = {
	ENTRY("DbgBreakPoint", break_point),
	ENTRY("DbgBreakPointWithStatus", break_point_with_status),
	ENTRY("DbgPrint", DbgPrint),
	ENTRY("DbgPrintEx", dbg_print_ex),
	ENTRY("DbgPrompt", prompt),
	ENTRY("DbgQueryDebugFilterState", query_filter),
	ENTRY("DbgSetDebugFilterState", set_filter),
	{ "KdDebuggerEnabled", &debugger_enabled },
	{ "KdDebuggerNotPresent", &debugger_not_present },
	ENTRY("KdRefreshDebuggerNotPresent", refresh_not_present),
	ENTRY("KeBugCheck", bug_check),
	ENTRY("RtlAssert", assert_failed),
	ENTRY("vDbgPrintEx", v_dbg_print_ex),
	ENTRY("vDbgPrintExWithPrefix", v_dbg_print_ex_with_prefix),
	{ NULL, NULL },
};
