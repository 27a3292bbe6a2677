/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Counted strings, memory, and the version of Windows, as the run-time library has them. */
#include <string.h>

#include "nt/kernel.h"
#include "nt/pool.h"

#define UNITS_MAX 0x7ffeu /* of a counted string */

/* A counted string of either kind: ANSI_STRING and UNICODE_STRING have the same members. */
struct counted {
	UNICODE_STRING string;
	unsigned width; /* of a unit, bytes */
};

static bool counted_read(struct counted *to, const void *from, unsigned width, uintptr_t pc)
{
	to->width = width;
	return guest_read(&to->string, from, sizeof(to->string), pc);
}

static unsigned unit_of(const struct counted *from, unsigned at, uintptr_t pc)
{
	uint16_t unit = 0;

	guest_read(&unit, (const uint8_t *)from->string.Buffer + (size_t)at * from->width, from->width, pc);
	return unit;
}

static bool unit_set(const struct counted *to, unsigned at, unsigned value, uintptr_t pc)
{
	uint16_t unit = (uint16_t)value;

	return guest_write((uint8_t *)to->string.Buffer + (size_t)at * to->width, &unit, to->width, pc);
}

static unsigned units_of(const struct counted *from)
{
	return from->string.Length / from->width;
}

static unsigned upcase(unsigned unit)
{
	return unit >= 'a' && unit <= 'z' ? unit - ('a' - 'A') : unit;
}

/* ---- initialisation ---- */

static void string_init(UNICODE_STRING *string, const void *text, unsigned width, uintptr_t pc)
{
	struct counted made = { .string = { .Buffer = (WCHAR *)(uintptr_t)text }, .width = width };
	unsigned units = 0;

	while (text && units < UNITS_MAX && unit_of(&made, units, pc))
		units++;
	made.string.Length = (USHORT)(units * width);
	made.string.MaximumLength = text ? (USHORT)(made.string.Length + width) : 0;
	guest_write(string, &made.string, sizeof(made.string), pc);
}

static VOID NTAPI init_unicode_string(UNICODE_STRING *string, const WCHAR *text)
{
	string_init(string, text, 2, CALLER);
}

static VOID NTAPI init_ansi_string(UNICODE_STRING *string, const char *text)
{
	string_init(string, text, 1, CALLER);
}

/* ---- copies ---- */

static NTSTATUS append(UNICODE_STRING *to, const struct counted *from, uintptr_t pc)
{
	struct counted target;
	unsigned units = units_of(from), have;

	if (!counted_read(&target, to, 2, pc))
		return STATUS_INVALID_PARAMETER;
	have = units_of(&target);
	if (units > (unsigned)(target.string.MaximumLength - target.string.Length) / 2)
		return STATUS_BUFFER_TOO_SMALL;
	for (unsigned i = 0; i < units; i++) {
		if (!unit_set(&target, have + i, unit_of(from, i, pc), pc))
			return STATUS_INVALID_PARAMETER;
	}
	target.string.Length = (USHORT)((have + units) * 2);
	/* Terminated where there is room. */
	if (target.string.Length + 2u <= target.string.MaximumLength)
		unit_set(&target, have + units, 0, pc);
	guest_write(to, &target.string, sizeof(target.string), pc);
	return STATUS_SUCCESS;
}

static VOID NTAPI copy_unicode_string(UNICODE_STRING *to, const UNICODE_STRING *from)
{
	struct counted source = { .width = 2 };
	USHORT most;

	if (!guest_write(&to->Length, &(USHORT){ 0 }, sizeof(USHORT), CALLER) || !from ||
	    !counted_read(&source, from, 2, CALLER) || !guest_read(&most, &to->MaximumLength, sizeof(most), CALLER))
		return;
	if (source.string.Length > most)
		source.string.Length = most & 0xfffe;
	append(to, &source, CALLER);
}

static NTSTATUS NTAPI append_unicode_string(UNICODE_STRING *to, const UNICODE_STRING *from)
{
	struct counted source;

	return counted_read(&source, from, 2, CALLER) ? append(to, &source, CALLER) : STATUS_INVALID_PARAMETER;
}

static NTSTATUS NTAPI append_unicode_text(UNICODE_STRING *to, const WCHAR *text)
{
	struct counted source = { .width = 2 };

	if (text)
		string_init(&source.string, text, 2, CALLER);
	return append(to, &source, CALLER);
}

/* ---- comparisons ---- */

static LONG compare(const void *left, const void *right, BOOLEAN fold, unsigned width, uintptr_t pc)
{
	struct counted a, b;

	if (!counted_read(&a, left, width, pc) || !counted_read(&b, right, width, pc))
		return 1;
	for (unsigned i = 0; i < units_of(&a) && i < units_of(&b); i++) {
		unsigned x = unit_of(&a, i, pc), y = unit_of(&b, i, pc);

		if (fold) {
			x = upcase(x);
			y = upcase(y);
		}
		if (x != y)
			return (LONG)x - (LONG)y;
	}
	return (LONG)units_of(&a) - (LONG)units_of(&b);
}

static LONG NTAPI compare_unicode(const void *left, const void *right, BOOLEAN fold)
{
	return compare(left, right, fold, 2, CALLER);
}

static BOOLEAN NTAPI equal_unicode(const void *left, const void *right, BOOLEAN fold)
{
	return !compare(left, right, fold, 2, CALLER);
}

static LONG NTAPI compare_ansi(const void *left, const void *right, BOOLEAN fold)
{
	return compare(left, right, fold, 1, CALLER);
}

static BOOLEAN NTAPI equal_ansi(const void *left, const void *right, BOOLEAN fold)
{
	return !compare(left, right, fold, 1, CALLER);
}

static WCHAR NTAPI upcase_character(WCHAR unit)
{
	return (WCHAR)upcase(unit);
}

/* ---- numbers ---- */

static bool digit_of(unsigned unit, unsigned base, unsigned *digit)
{
	unit = upcase(unit);
	*digit = unit >= 'A' ? unit - 'A' + 10 : unit - '0';
	return *digit < base && ((unit >= '0' && unit <= '9') || unit >= 'A');
}

/* base 0: 2, 8 or 16 by a prefix 0b, 0o or 0x, and else 10. */
static NTSTATUS NTAPI unicode_to_integer(const UNICODE_STRING *from, ULONG base, ULONG *value)
{
	struct counted text;
	ULONG number = 0;
	unsigned at = 0, digit, prefix;
	bool negative = false;

	if (!counted_read(&text, from, 2, CALLER) || (base && base != 2 && base != 8 && base != 10 && base != 16))
		return STATUS_INVALID_PARAMETER;
	while (at < units_of(&text) && unit_of(&text, at, CALLER) <= ' ')
		at++;
	if (at < units_of(&text) && (unit_of(&text, at, CALLER) == '-' || unit_of(&text, at, CALLER) == '+'))
		negative = unit_of(&text, at++, CALLER) == '-';
	if (!base && at + 1 < units_of(&text) && unit_of(&text, at, CALLER) == '0') {
		prefix = unit_of(&text, at + 1, CALLER);
		base = prefix == 'x' ? 16 : prefix == 'o' ? 8 : prefix == 'b' ? 2 : 0;
		at += base ? 2 : 0;
	}
	if (!base)
		base = 10;
	for (; at < units_of(&text) && digit_of(unit_of(&text, at, CALLER), base, &digit); at++)
		number = number * base + digit;
	if (negative)
		number = 0 - number;
	return guest_write(value, &number, sizeof(number), CALLER) ? STATUS_SUCCESS : STATUS_INVALID_PARAMETER;
}

static NTSTATUS NTAPI integer_to_unicode(ULONG value, ULONG base, UNICODE_STRING *to)
{
	struct counted target;
	uint8_t digits[32];
	unsigned count = 0;

	if (!base)
		base = 10;
	if ((base != 2 && base != 8 && base != 10 && base != 16) || !counted_read(&target, to, 2, CALLER))
		return STATUS_INVALID_PARAMETER;
	do
		digits[count++] = (uint8_t)"0123456789ABCDEF"[value % base];
	while (value /= base);
	if (2 * count > target.string.MaximumLength)
		return STATUS_BUFFER_OVERFLOW;
	for (unsigned i = 0; i < count; i++)
		unit_set(&target, i, digits[count - 1 - i], CALLER);
	target.string.Length = (USHORT)(2 * count);
	if (target.string.Length + 2u <= target.string.MaximumLength)
		unit_set(&target, count, 0, CALLER);
	guest_write(to, &target.string, sizeof(target.string), CALLER);
	return STATUS_SUCCESS;
}

/* ---- from one kind to the other ---- */

static NTSTATUS convert(UNICODE_STRING *to, unsigned to_width, const void *from, unsigned from_width, BOOLEAN allocate,
			uintptr_t pc)
{
	struct counted source, target;
	unsigned units;

	if (!counted_read(&source, from, from_width, pc) || !counted_read(&target, to, to_width, pc))
		return STATUS_INVALID_PARAMETER;
	units = units_of(&source);
	if (allocate) {
		target.string.MaximumLength = (USHORT)((units + 1) * to_width);
		target.string.Buffer = pool_alloc((units + 1) * to_width, 0, POOL_STRING, pc);
		if (!target.string.Buffer)
			return STATUS_INSUFFICIENT_RESOURCES;
	}
	if ((units + 1) * to_width > target.string.MaximumLength)
		return STATUS_BUFFER_OVERFLOW;
	for (unsigned i = 0; i < units; i++) {
		unsigned unit = unit_of(&source, i, pc);

		unit_set(&target, i, to_width == 1 && unit > 0x7f ? '?' : unit, pc);
	}
	unit_set(&target, units, 0, pc);
	target.string.Length = (USHORT)(units * to_width);
	guest_write(to, &target.string, sizeof(target.string), pc);
	return STATUS_SUCCESS;
}

static NTSTATUS NTAPI ansi_to_unicode(UNICODE_STRING *to, const void *from, BOOLEAN allocate)
{
	kernel_call("RtlAnsiStringToUnicodeString", IRQL_PASSIVE, KERNEL_ALLOWED, CALLER);
	return convert(to, 2, from, 1, allocate, CALLER);
}

static NTSTATUS NTAPI unicode_to_ansi(UNICODE_STRING *to, const void *from, BOOLEAN allocate)
{
	kernel_call("RtlUnicodeStringToAnsiString", IRQL_PASSIVE, KERNEL_ALLOWED, CALLER);
	return convert(to, 1, from, 2, allocate, CALLER);
}

static VOID NTAPI free_string(UNICODE_STRING *string)
{
	UNICODE_STRING old, none = { 0 };

	if (!guest_read(&old, string, sizeof(old), CALLER) || !old.Buffer)
		return;
	pool_free(old.Buffer, POOL_STRING, CALLER);
	guest_write(string, &none, sizeof(none), CALLER);
}

/* ---- memory ---- */

static SIZE_T NTAPI compare_memory(const void *left, const void *right, SIZE_T size)
{
	for (SIZE_T i = 0; i < size; i++) {
		uint8_t a = 0, b = 0;

		if (!guest_read(&a, (const uint8_t *)left + i, 1, CALLER) ||
		    !guest_read(&b, (const uint8_t *)right + i, 1, CALLER) || a != b)
			return i;
	}
	return size;
}

static VOID NTAPI move_memory(void *to, const void *from, SIZE_T size)
{
	guest_move(to, from, size, CALLER);
}

static VOID NTAPI fill_memory(void *to, SIZE_T size, UCHAR value)
{
	guest_fill(to, value, size, CALLER);
}

static VOID NTAPI zero_memory(void *to, SIZE_T size)
{
	guest_fill(to, 0, size, CALLER);
}

/* ---- version ---- */

struct version { /* RTL_OSVERSIONINFOEXW */
	ULONG size, major, minor, build, platform;
	WCHAR pack[128];
	USHORT pack_major, pack_minor, suite;
	UCHAR product, reserved;
};

#define VERSION_BASIC offsetof(struct version, pack_major) /* RTL_OSVERSIONINFOW */

static NTSTATUS NTAPI get_version(struct version *to)
{
	struct version version = {
		.major = 6, .minor = 1, .build = 7601, .platform = 2, .pack_major = 1, .product = 1
	};
	static const char pack[] = "Service Pack 1";

	kernel_call("RtlGetVersion", IRQL_PASSIVE, KERNEL_ALLOWED, CALLER);
	if (!guest_read(&version.size, &to->size, sizeof(version.size), CALLER))
		return STATUS_INVALID_PARAMETER;
	for (size_t i = 0; i < sizeof(pack); i++)
		version.pack[i] = (WCHAR)pack[i];
	guest_write(to, &version, version.size == sizeof(version) ? sizeof(version) : VERSION_BASIC, CALLER);
	return STATUS_SUCCESS;
}

static void put_ulong(ULONG *to, ULONG value, uintptr_t pc)
{
	if (to)
		guest_write(to, &value, sizeof(value), pc);
}

static BOOLEAN NTAPI ps_get_version(ULONG *major, ULONG *minor, ULONG *build, UNICODE_STRING *pack)
{
	kernel_call("PsGetVersion", IRQL_PASSIVE, KERNEL_PROHIBITED, CALLER);
	put_ulong(major, 6, CALLER);
	put_ulong(minor, 1, CALLER);
	put_ulong(build, 7601, CALLER);
	if (pack)
		guest_write(pack, &(UNICODE_STRING){ 0 }, sizeof(*pack), CALLER);
	return FALSE; /* no checked build */
}

const struct export_entry rtl_exports[] = {
	ENTRY("PsGetVersion", ps_get_version),
	ENTRY("RtlAnsiStringToUnicodeString", ansi_to_unicode),
	ENTRY("RtlAppendUnicodeStringToString", append_unicode_string),
	ENTRY("RtlAppendUnicodeToString", append_unicode_text),
	ENTRY("RtlCompareMemory", compare_memory),
	ENTRY("RtlCompareString", compare_ansi),
	ENTRY("RtlCompareUnicodeString", compare_unicode),
	ENTRY("RtlCopyMemory", move_memory),
	ENTRY("RtlCopyUnicodeString", copy_unicode_string),
	ENTRY("RtlEqualString", equal_ansi),
	ENTRY("RtlEqualUnicodeString", equal_unicode),
	ENTRY("RtlFillMemory", fill_memory),
	ENTRY("RtlFreeAnsiString", free_string),
	ENTRY("RtlFreeUnicodeString", free_string),
	ENTRY("RtlGetVersion", get_version),
	ENTRY("RtlInitAnsiString", init_ansi_string),
	ENTRY("RtlInitString", init_ansi_string),
	ENTRY("RtlInitUnicodeString", init_unicode_string),
	ENTRY("RtlIntegerToUnicodeString", integer_to_unicode),
	ENTRY("RtlMoveMemory", move_memory),
	ENTRY("RtlUnicodeStringToAnsiString", unicode_to_ansi),
	ENTRY("RtlUnicodeStringToInteger", unicode_to_integer),
	ENTRY("RtlUpcaseUnicodeChar", upcase_character),
	ENTRY("RtlZeroMemory", zero_memory),
	{ NULL, NULL },
};
