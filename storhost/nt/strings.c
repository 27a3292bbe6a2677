/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Strings of the kernel's C library, in the driver's memory, of bytes and of UTF-16. */
#include "nt/kernel.h"

#define STRING_MAX (1u << 20) /* units: one that is not terminated ends in a finding or here */

/* ---- one unit ---- */

static unsigned unit_at(const void *text, size_t at, bool wide, uintptr_t pc)
{
	uint16_t unit = 0;
	size_t width = wide ? 2 : 1;

	if (!guest_read(&unit, (const uint8_t *)text + at * width, width, pc))
		return 0;
	return unit;
}

static bool unit_put(void *text, size_t at, unsigned value, bool wide, uintptr_t pc)
{
	uint16_t unit = (uint16_t)value;
	size_t width = wide ? 2 : 1;

	return guest_write((uint8_t *)text + at * width, &unit, width, pc);
}

static unsigned lower(unsigned unit)
{
	return unit >= 'A' && unit <= 'Z' ? unit + ('a' - 'A') : unit;
}

static unsigned upper(unsigned unit)
{
	return unit >= 'a' && unit <= 'z' ? unit - ('a' - 'A') : unit;
}

/* ---- of both kinds ---- */

static size_t length_of(const void *text, size_t most, bool wide, uintptr_t pc)
{
	size_t length = 0;

	while (length < most && length < STRING_MAX && unit_at(text, length, wide, pc))
		length++;
	return length;
}

static int compare(const void *left, const void *right, size_t most, bool wide, bool fold, uintptr_t pc)
{
	for (size_t i = 0; i < most && i < STRING_MAX; i++) {
		unsigned a = unit_at(left, i, wide, pc), b = unit_at(right, i, wide, pc);

		if (fold) {
			a = lower(a);
			b = lower(b);
		}
		if (a != b)
			return a < b ? -1 : 1;
		if (!a)
			break;
	}
	return 0;
}

enum fill { FILL_NONE, FILL_ZEROES, FILL_TERMINATOR };

/* Copies up to `most` units to unit `at` of `to`; what stands behind them then is as `fill` says. */
static void *copy(void *to, size_t at, const void *from, size_t most, enum fill fill, bool wide, uintptr_t pc)
{
	unsigned unit = 1;
	size_t i;

	for (i = 0; i < most && i < STRING_MAX && unit; i++) {
		unit = unit_at(from, i, wide, pc);
		if (!unit_put(to, at + i, unit, wide, pc))
			return to;
	}
	if (unit && fill == FILL_TERMINATOR)
		unit_put(to, at + i, 0, wide, pc);
	for (; fill == FILL_ZEROES && i < most && i < STRING_MAX; i++) {
		if (!unit_put(to, at + i, 0, wide, pc))
			break;
	}
	return to;
}

/* The first or last unit of that value, or NULL; the terminator counts. */
static void *find_unit(const void *text, unsigned value, bool last, bool wide, uintptr_t pc)
{
	const uint8_t *found = NULL;
	unsigned unit = 1;

	for (size_t i = 0; unit && i < STRING_MAX; i++) {
		unit = unit_at(text, i, wide, pc);
		if (unit != value)
			continue;
		found = (const uint8_t *)text + (wide ? 2 * i : i);
		if (!last)
			break;
	}
	return (void *)(uintptr_t)found;
}

static void *find_string(const void *text, const void *what, bool wide, uintptr_t pc)
{
	size_t length = length_of(what, STRING_MAX, wide, pc);
	const uint8_t *at = text;

	for (size_t i = 0; i < STRING_MAX; i++, at += wide ? 2 : 1) {
		if (!compare(at, what, length, wide, false, pc))
			return (void *)(uintptr_t)at;
		if (!unit_at(at, 0, wide, pc))
			break;
	}
	return NULL;
}

static void *change_case(void *text, unsigned (*change)(unsigned unit), bool wide, uintptr_t pc)
{
	for (size_t i = 0; i < STRING_MAX; i++) {
		unsigned unit = unit_at(text, i, wide, pc);

		if (!unit || !unit_put(text, i, change(unit), wide, pc))
			break;
	}
	return text;
}

/* ---- the exports, by kind: bytes and UTF-16 ---- */

#define STRING_EXPORTS(kind, TYPE, UNIT, wide)                                                                         \
	static SIZE_T NTAPIV kind##_length(const TYPE *text)                                                           \
	{                                                                                                              \
		return length_of(text, STRING_MAX, wide, CALLER);                                                      \
	}                                                                                                              \
	static SIZE_T NTAPIV kind##_length_n(const TYPE *text, SIZE_T most)                                            \
	{                                                                                                              \
		return length_of(text, most, wide, CALLER);                                                            \
	}                                                                                                              \
	static int NTAPIV kind##_compare(const TYPE *left, const TYPE *right)                                          \
	{                                                                                                              \
		return compare(left, right, STRING_MAX, wide, false, CALLER);                                          \
	}                                                                                                              \
	static int NTAPIV kind##_compare_n(const TYPE *left, const TYPE *right, SIZE_T most)                           \
	{                                                                                                              \
		return compare(left, right, most, wide, false, CALLER);                                                \
	}                                                                                                              \
	static int NTAPIV kind##_compare_i(const TYPE *left, const TYPE *right)                                        \
	{                                                                                                              \
		return compare(left, right, STRING_MAX, wide, true, CALLER);                                           \
	}                                                                                                              \
	static int NTAPIV kind##_compare_ni(const TYPE *left, const TYPE *right, SIZE_T most)                          \
	{                                                                                                              \
		return compare(left, right, most, wide, true, CALLER);                                                 \
	}                                                                                                              \
	static void *NTAPIV kind##_copy(TYPE *to, const TYPE *from)                                                    \
	{                                                                                                              \
		return copy(to, 0, from, STRING_MAX, FILL_NONE, wide, CALLER);                                         \
	}                                                                                                              \
	static void *NTAPIV kind##_copy_n(TYPE *to, const TYPE *from, SIZE_T most)                                     \
	{                                                                                                              \
		return copy(to, 0, from, most, FILL_ZEROES, wide, CALLER);                                             \
	}                                                                                                              \
	static void *NTAPIV kind##_append(TYPE *to, const TYPE *from)                                                  \
	{                                                                                                              \
		return copy(to, length_of(to, STRING_MAX, wide, CALLER), from, STRING_MAX, FILL_NONE, wide, CALLER);   \
	}                                                                                                              \
	static void *NTAPIV kind##_append_n(TYPE *to, const TYPE *from, SIZE_T most)                                   \
	{                                                                                                              \
		return copy(to, length_of(to, STRING_MAX, wide, CALLER), from, most, FILL_TERMINATOR, wide, CALLER);   \
	}                                                                                                              \
	static void *NTAPIV kind##_find(const TYPE *text, int value)                                                   \
	{                                                                                                              \
		return find_unit(text, (UNIT)value, false, wide, CALLER);                                              \
	}                                                                                                              \
	static void *NTAPIV kind##_find_last(const TYPE *text, int value)                                              \
	{                                                                                                              \
		return find_unit(text, (UNIT)value, true, wide, CALLER);                                               \
	}                                                                                                              \
	static void *NTAPIV kind##_find_string(const TYPE *text, const TYPE *what)                                     \
	{                                                                                                              \
		return find_string(text, what, wide, CALLER);                                                          \
	}                                                                                                              \
	static void *NTAPIV kind##_lower(TYPE *text)                                                                   \
	{                                                                                                              \
		return change_case(text, lower, wide, CALLER);                                                         \
	}                                                                                                              \
	static void *NTAPIV kind##_upper(TYPE *text)                                                                   \
	{                                                                                                              \
		return change_case(text, upper, wide, CALLER);                                                         \
	}

STRING_EXPORTS(str, char, uint8_t, false)
STRING_EXPORTS(wcs, WCHAR, uint16_t, true)

static int NTAPIV nt_tolower(int c)
{
	return (int)lower((unsigned)c);
}

static int NTAPIV nt_toupper(int c)
{
	return (int)upper((unsigned)c);
}

static int NTAPIV nt_isdigit(int c)
{
	return c >= '0' && c <= '9';
}

static int NTAPIV nt_isspace(int c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static int NTAPIV nt_isxdigit(int c)
{
	return nt_isdigit(c) || (lower((unsigned)c) >= 'a' && lower((unsigned)c) <= 'f');
}

static int NTAPIV nt_atoi(const char *text)
{
	unsigned value = 0, c;
	bool negative;
	size_t at = 0;

	while (nt_isspace((int)unit_at(text, at, false, CALLER)))
		at++;
	c = unit_at(text, at, false, CALLER);
	negative = c == '-';
	for (at += c == '-' || c == '+'; nt_isdigit((int)(c = unit_at(text, at, false, CALLER))); at++)
		value = value * 10 + (c - '0');
	return (int)(negative ? 0 - value : value);
}

const struct export_entry string_exports[] = {
	ENTRY("_stricmp", str_compare_i),
	ENTRY("_strlwr", str_lower),
	ENTRY("_strnicmp", str_compare_ni),
	ENTRY("_strupr", str_upper),
	ENTRY("_wcsicmp", wcs_compare_i),
	ENTRY("_wcslwr", wcs_lower),
	ENTRY("_wcsnicmp", wcs_compare_ni),
	ENTRY("_wcsupr", wcs_upper),
	ENTRY("atoi", nt_atoi),
	ENTRY("atol", nt_atoi),
	ENTRY("isdigit", nt_isdigit),
	ENTRY("isspace", nt_isspace),
	ENTRY("isxdigit", nt_isxdigit),
	ENTRY("strcat", str_append),
	ENTRY("strchr", str_find),
	ENTRY("strcmp", str_compare),
	ENTRY("strcpy", str_copy),
	ENTRY("strlen", str_length),
	ENTRY("strncat", str_append_n),
	ENTRY("strncmp", str_compare_n),
	ENTRY("strncpy", str_copy_n),
	ENTRY("strnlen", str_length_n),
	ENTRY("strrchr", str_find_last),
	ENTRY("strstr", str_find_string),
	ENTRY("tolower", nt_tolower),
	ENTRY("toupper", nt_toupper),
	ENTRY("wcscat", wcs_append),
	ENTRY("wcschr", wcs_find),
	ENTRY("wcscmp", wcs_compare),
	ENTRY("wcscpy", wcs_copy),
	ENTRY("wcslen", wcs_length),
	ENTRY("wcsncat", wcs_append_n),
	ENTRY("wcsncmp", wcs_compare_n),
	ENTRY("wcsncpy", wcs_copy_n),
	ENTRY("wcsnlen", wcs_length_n),
	ENTRY("wcsrchr", wcs_find_last),
	ENTRY("wcsstr", wcs_find_string),
	{ NULL, NULL },
};
