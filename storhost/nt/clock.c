/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Dates, counters and ticks, by export and (x64) by the memory and registers that the kit's inline routines read. */
#include "nt/clock.h"

#include <string.h>

#include "base/inject.h"
#include "nt/kernel.h"
#include "nt/sync.h"
#include "trap/trap.h"

#define START_TIME 131000000000000000ull /* 2016 */
#define TICK_US 15625u
#define TICK_UNITS (TICK_US * 10u)
#define COUNTER_FREQUENCY 10000000u /* per second */

#define KUSER_BASE 0xfffff78000000000ull
#define PAGE 4096u

uint64_t clock_system_time(void)
{
	return START_TIME + clock_now() * 10;
}

/* x86 imports it as data, for the seed of the stack cookie too; KSYSTEM_TIME. */
static volatile struct {
	ULONG low;
	LONG high1, high2;
} tick_count = { 0x1234567, 0, 0 };

static uint64_t ticks(void)
{
	return 0x1234567 + clock_now() / TICK_US;
}

static void write_time(LONGLONG *to, uint64_t value, const char *name, uintptr_t pc)
{
	kernel_call(name, IRQL_HIGH, KERNEL_ALLOWED, pc);
	guest_write(to, &value, sizeof(value), pc);
}

static VOID NTAPI query_system_time(LONGLONG *time_out)
{
	verify_report(RULE_CALL_KERNEL, CALLER, "KeQuerySystemTime is called");
	write_time(time_out, clock_system_time(), "KeQuerySystemTime", CALLER);
}

static VOID NTAPI query_tick_count(LONGLONG *count)
{
	write_time(count, ticks(), "KeQueryTickCount", CALLER);
}

static ULONGLONG NTAPI query_interrupt_time(void)
{
	kernel_call("KeQueryInterruptTime", IRQL_HIGH, KERNEL_ALLOWED, CALLER);
	return clock_now() * 10;
}

static ULONG NTAPI query_time_increment(void)
{
	return TICK_UNITS;
}

/* The union comes back in EDX:EAX on x86, as a number of 64 bits does. */
static LONGLONG NTAPI query_performance_counter(LONGLONG *frequency)
{
	LONGLONG per_second = COUNTER_FREQUENCY;

	kernel_call("KeQueryPerformanceCounter", IRQL_HIGH, KERNEL_ALLOWED, CALLER);
	if (frequency)
		guest_write(frequency, &per_second, sizeof(per_second), CALLER);
	return (LONGLONG)clock_now() * (COUNTER_FREQUENCY / 1000000);
}

static VOID NTAPI stall(ULONG microseconds)
{
	kernel_call("KeStallExecutionProcessor", IRQL_HIGH, KERNEL_PROHIBITED, CALLER);
	cpu_stall(microseconds);
}

/* ---- dates ---- */

struct time_fields {
	CSHORT year, month, day, hour, minute, second, milliseconds, weekday;
};

#define DAY_MS 86400000ull
#define DAYS_400_YEARS 146097u
#define MONDAY 1u /* 1 January 1601 */

static bool is_leap(unsigned year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static unsigned month_days(unsigned year, unsigned month)
{
	static const uint8_t days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

	return days[month] + (month == 1 && is_leap(year));
}

static VOID NTAPI time_to_fields(const LONGLONG *from, struct time_fields *to)
{
	struct time_fields fields = { 0 };
	unsigned year, month = 0, days, ms;
	LONGLONG units;

	if (!guest_read(&units, from, sizeof(units), CALLER))
		return;
	days = (unsigned)((uint64_t)units / 10000 / DAY_MS);
	ms = (unsigned)((uint64_t)units / 10000 % DAY_MS);
	fields.weekday = (CSHORT)((days + MONDAY) % 7);
	year = 1601 + days / DAYS_400_YEARS * 400;
	for (days %= DAYS_400_YEARS; days >= 365u + is_leap(year); year++)
		days -= 365u + is_leap(year);
	for (; days >= month_days(year, month); month++)
		days -= month_days(year, month);
	fields.year = (CSHORT)year;
	fields.month = (CSHORT)(month + 1);
	fields.day = (CSHORT)(days + 1);
	fields.hour = (CSHORT)(ms / 3600000);
	fields.minute = (CSHORT)(ms / 60000 % 60);
	fields.second = (CSHORT)(ms / 1000 % 60);
	fields.milliseconds = (CSHORT)(ms % 1000);
	guest_write(to, &fields, sizeof(fields), CALLER);
}

/* The machine stands in Greenwich. */
static VOID NTAPI same_time(const LONGLONG *from, LONGLONG *to)
{
	LONGLONG units;

	if (guest_read(&units, from, sizeof(units), CALLER))
		guest_write(to, &units, sizeof(units), CALLER);
}

/* ---- processors ---- */

static CCHAR number_of_processors = 1;

static KAFFINITY NTAPI active_processors(void)
{
	kernel_call("KeQueryActiveProcessors", IRQL_HIGH, KERNEL_PROHIBITED, CALLER);
	return ((KAFFINITY)1 << (cpu_count() - 1) << 1) - 1;
}

static ULONG NTAPI active_processor_count(KAFFINITY *mask)
{
	KAFFINITY all = ((KAFFINITY)1 << (cpu_count() - 1) << 1) - 1;

	kernel_call("KeQueryActiveProcessorCount", IRQL_HIGH, KERNEL_ALLOWED, CALLER);
	if (mask)
		guest_write(mask, &all, sizeof(all), CALLER);
	return cpu_count();
}

/* One group. */
static ULONG NTAPI processor_count_of_group(USHORT group)
{
	kernel_call("KeQueryActiveProcessorCountEx", IRQL_HIGH, KERNEL_ALLOWED, CALLER);
	return group == 0 || group == 0xffff ? cpu_count() : 0;
}

static ULONG NTAPI maximum_processor_count(void)
{
	return cpu_count();
}

static USHORT NTAPI group_count(void)
{
	return 1;
}

/*
 * The kit's PF_* that an x64 machine always has: CMPXCHG8B, MMX, SSE, RDTSC, PAE, SSE2 and NX. Some x86 machine may have
 * none of them, which is a fault to inject.
 */
static BOOLEAN NTAPI processor_feature(ULONG feature)
{
	static const uint64_t features = 1 << 2 | 1 << 3 | 1 << 6 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 12;

	kernel_call("ExIsProcessorFeaturePresent", IRQL_HIGH, KERNEL_ALLOWED, CALLER);
	if (sizeof(void *) == 4 && inject(INJECT_CALL, "ExIsProcessorFeaturePresent"))
		return false;
	return feature < 64 && features >> feature & 1;
}

static ULONG NTAPI current_processor(PROCESSOR_NUMBER *number)
{
	PROCESSOR_NUMBER here = { .Number = (UCHAR)cpu_self()->index };

	kernel_call("KeGetCurrentProcessorNumberEx", IRQL_HIGH, KERNEL_ALLOWED, CALLER);
	if (number)
		guest_write(number, &here, sizeof(here), CALLER);
	return cpu_self()->index;
}

const struct export_entry time_exports[] = {
	ENTRY("ExLocalTimeToSystemTime", same_time),
	ENTRY("ExSystemTimeToLocalTime", same_time),
	ENTRY("ExIsProcessorFeaturePresent", processor_feature),
	ENTRY("KeGetCurrentProcessorNumberEx", current_processor),
	{ "KeNumberProcessors", &number_of_processors },
	ENTRY("KeQueryActiveGroupCount", group_count),
	ENTRY("KeQueryActiveProcessorCount", active_processor_count),
	ENTRY("KeQueryActiveProcessorCountEx", processor_count_of_group),
	ENTRY("KeQueryActiveProcessors", active_processors),
	ENTRY("KeQueryInterruptTime", query_interrupt_time),
	ENTRY("KeQueryMaximumGroupCount", group_count),
	ENTRY("KeQueryMaximumProcessorCount", maximum_processor_count),
	ENTRY("KeQueryMaximumProcessorCountEx", processor_count_of_group),
	ENTRY("KeQueryPerformanceCounter", query_performance_counter),
	ENTRY("KeQuerySystemTime", query_system_time),
	ENTRY("KeQueryTickCount", query_tick_count),
	ENTRY("KeQueryTimeIncrement", query_time_increment),
	ENTRY("KeStallExecutionProcessor", stall),
	{ "KeTickCount", (void *)&tick_count },
	ENTRY("RtlTimeToTimeFields", time_to_fields),
	{ NULL, NULL },
};

/* ---- what x64 code reads without a call ---- */

#ifdef __x86_64__
/* Bytes of `value` from `offset - at` on, where at..at+8 is the field; false: it is another. */
static bool field(uint64_t offset, uint64_t at, unsigned size, uint64_t value, uint64_t *out)
{
	if (offset < at || offset >= at + size)
		return false;
	*out = value >> 8 * (offset - at);
	return true;
}

/* KSYSTEM_TIME: the low half, the high half, and the high half again. */
static bool system_time_field(uint64_t offset, uint64_t at, uint64_t value, uint64_t *out)
{
	return field(offset, at, 8, value, out) || field(offset, at + 8, 4, value >> 32, out);
}

/* Offsets: the kit's KUSER_SHARED_DATA. */
static uint64_t shared_read(void *opaque, uint64_t offset, unsigned width)
{
	uint64_t value;

	(void)opaque;
	(void)width;
	if (offset >= 0x14 && offset < 0x20)
		verify_report(RULE_CALL_KERNEL, trap_pc(), "KeQuerySystemTime is called");
	if (system_time_field(offset, 0x008, clock_now() * 10, &value) ||    /* InterruptTime */
	    system_time_field(offset, 0x014, clock_system_time(), &value) || /* SystemTime */
	    system_time_field(offset, 0x020, 0, &value) ||                   /* TimeZoneBias */
	    field(offset, 0x004, 4, 0x0fa00000, &value) ||                   /* TickCountMultiplier */
	    field(offset, 0x264, 4, 1, &value) ||                            /* NtProductType: a workstation */
	    field(offset, 0x268, 1, 1, &value) ||                            /* ProductTypeIsValid */
	    field(offset, 0x26c, 8, 6 | 1ull << 32, &value) ||               /* NtMajorVersion, NtMinorVersion */
	    field(offset, 0x2d4, 1, 0, &value) ||                            /* KdDebuggerEnabled */
	    system_time_field(offset, 0x320, ticks(), &value) ||             /* TickCount */
	    field(offset, 0x3c0, 4, cpu_count(), &value))                    /* ActiveProcessorCount */
		return value;
	verify_report(RULE_DRIVER_STOPPED, trap_pc(),
		      "the driver reads offset 0x%llx of KUSER_SHARED_DATA, which storhost has not",
		      (unsigned long long)offset);
	return 0;
}

static void shared_write(void *opaque, uint64_t offset, unsigned width, uint64_t value)
{
	(void)opaque;
	verify_report(RULE_DRIVER_FAULT, trap_pc(), "offset 0x%llx of KUSER_SHARED_DATA is written (%u bytes, 0x%llx)",
		      (unsigned long long)offset, width, (unsigned long long)value);
}

/* KPCR: the number of the processor, as two versions of the kit read it. */
static uint64_t processor_read(void *opaque, uint64_t offset, unsigned width)
{
	(void)opaque;
	(void)width;
	if (offset == 0x184 || offset == 0x1a4)
		return cpu_self()->index;
	verify_report(RULE_DRIVER_STOPPED, trap_pc(), "the driver reads gs:[0x%llx], which storhost has not",
		      (unsigned long long)offset);
	return 0;
}

static void processor_write(void *opaque, uint64_t offset, unsigned width, uint64_t value)
{
	(void)opaque;
	verify_report(RULE_DRIVER_FAULT, trap_pc(), "gs:[0x%llx] is written (%u bytes, 0x%llx)",
		      (unsigned long long)offset, width, (unsigned long long)value);
}

static int share(struct error *err)
{
	static const struct trap_region_ops shared = { shared_read, shared_write, NULL };
	static const struct trap_region_ops processor = { processor_read, processor_write, NULL };
	static struct trap_kernel kernel = { NULL, sync_irql, sync_set_irql };

	if (kernel.segment)
		return 0;
	kernel.segment = trap_region_create(4 * PAGE, &processor, NULL, err);
	if (!kernel.segment || trap_region_at(KUSER_BASE, PAGE, &shared, NULL, err))
		return -1;
	trap_set_kernel(&kernel);
	return 0;
}
#else
static int share(struct error *err)
{
	(void)err;
	return 0;
}
#endif

int clock_share(struct error *err)
{
	number_of_processors = (CCHAR)cpu_count();
	return share(err);
}
