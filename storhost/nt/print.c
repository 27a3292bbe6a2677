/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The printf family of the kernel's C library. */
#include "nt/format.h"
#include "nt/kernel.h"

struct output {
	struct format format;
	void *to;
	size_t room; /* units */
	bool wide;   /* the result is of UTF-16 */
	bool failed; /* it could not be written */
};

static void output_at(struct output *output, size_t at, uint16_t unit)
{
	size_t width = output->wide ? 2 : 1;

	if (at < output->room && !output->failed)
		output->failed = !guest_write((uint8_t *)output->to + at * width, &unit, width, output->format.pc);
}

static void output_put(struct format *format, uint16_t unit)
{
	output_at((struct output *)format, format->length, unit);
}

enum ending {
	ENDING_ALWAYS, /* sprintf: there is room */
	ENDING_ROOM,   /* _snprintf: a terminator if there is room, -1 if the text is cut */
	ENDING_SAFE,   /* sprintf_s: nothing but a terminator if the text would be cut, and -1 */
};

static int print_to(void *to, size_t room, bool wide, enum ending ending, const void *text, guest_va_list *ap,
		    uintptr_t pc)
{
	struct output output = {
		.format = { .put = output_put, .wide = wide, .pc = pc }, .to = to, .room = room, .wide = wide
	};
	bool cut;

	if (!format_run(&output.format, text, ap) || output.failed)
		return -1;
	cut = ending == ENDING_SAFE ? output.format.length >= room : output.format.length > room;
	output_at(&output, ending == ENDING_SAFE && cut ? 0 : output.format.length, 0);
	return cut || output.failed ? -1 : (int)output.format.length;
}

#define VARIADIC(function, wide_, room_, ending_, parameters)                                                          \
	static int NTAPIV function parameters                                                                          \
	{                                                                                                              \
		guest_va_list ap;                                                                                      \
		int length;                                                                                            \
                                                                                                                       \
		guest_va_start(ap, text);                                                                              \
		length = print_to(to, room_, wide_, ending_, text, &ap, CALLER);                                       \
		guest_va_end(ap);                                                                                      \
		return length;                                                                                         \
	}

VARIADIC(nt_sprintf, false, SIZE_MAX, ENDING_ALWAYS, (char *to, const char *text, ...))
VARIADIC(nt_swprintf, true, SIZE_MAX, ENDING_ALWAYS, (WCHAR * to, const WCHAR *text, ...))
VARIADIC(nt_snprintf, false, size, ENDING_ROOM, (char *to, SIZE_T size, const char *text, ...))
VARIADIC(nt_snwprintf, true, size, ENDING_ROOM, (WCHAR * to, SIZE_T size, const WCHAR *text, ...))
VARIADIC(nt_sprintf_s, false, size, ENDING_SAFE, (char *to, SIZE_T size, const char *text, ...))
VARIADIC(nt_swprintf_s, true, size, ENDING_SAFE, (WCHAR * to, SIZE_T size, const WCHAR *text, ...))

static int NTAPIV nt_vsprintf(char *to, const char *text, guest_va_list ap)
{
	return print_to(to, SIZE_MAX, false, ENDING_ALWAYS, text, &ap, CALLER);
}

static int NTAPIV nt_vsnprintf(char *to, SIZE_T size, const char *text, guest_va_list ap)
{
	return print_to(to, size, false, ENDING_ROOM, text, &ap, CALLER);
}

static int NTAPIV nt_vsnwprintf(WCHAR *to, SIZE_T size, const WCHAR *text, guest_va_list ap)
{
	return print_to(to, size, true, ENDING_ROOM, text, &ap, CALLER);
}

static int NTAPIV nt_vsprintf_s(char *to, SIZE_T size, const char *text, guest_va_list ap)
{
	return print_to(to, size, false, ENDING_SAFE, text, &ap, CALLER);
}

static int NTAPIV nt_vswprintf_s(WCHAR *to, SIZE_T size, const WCHAR *text, guest_va_list ap)
{
	return print_to(to, size, true, ENDING_SAFE, text, &ap, CALLER);
}

const struct export_entry print_exports[] = {
	ENTRY("_snprintf", nt_snprintf),     ENTRY("_snwprintf", nt_snwprintf),    ENTRY("_vsnprintf", nt_vsnprintf),
	ENTRY("_vsnwprintf", nt_vsnwprintf), ENTRY("sprintf", nt_sprintf),         ENTRY("sprintf_s", nt_sprintf_s),
	ENTRY("swprintf", nt_swprintf),      ENTRY("swprintf_s", nt_swprintf_s),   ENTRY("vsprintf", nt_vsprintf),
	ENTRY("vsprintf_s", nt_vsprintf_s),  ENTRY("vswprintf_s", nt_vswprintf_s), { NULL, NULL },
};
