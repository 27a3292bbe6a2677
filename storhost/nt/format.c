/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Formats of the kernel's printf family, with every argument read from the driver's memory. */
#include "nt/format.h"

#include <ntddk.h>
#include <string.h>

#define FORMAT_MAX 4096u /* units of a format, and of a string in it: a missing terminator ends */
#define PADDING_MAX 512u /* of a width or precision */
#define DIGITS_MAX 32u

enum size { SIZE_DEFAULT, SIZE_SHORT, SIZE_LONG, SIZE_WIDE, SIZE_POINTER, SIZE_32, SIZE_64 };

struct conversion {
	bool left, plus, space, zero, alternate, precise;
	unsigned width, precision;
	enum size size;
	uint16_t type;
};

static void put(struct format *format, uint16_t unit)
{
	format->put(format, unit);
	format->length++;
}

static bool next_unit(const struct format *format, const uint8_t **text, uint16_t *unit)
{
	size_t width = format->wide ? 2 : 1;

	*unit = 0;
	if (!guest_read(unit, *text, width, format->pc))
		return false;
	*text += width;
	return true;
}

static void pad(struct format *format, unsigned width, size_t length, char with)
{
	for (; length < width; length++)
		put(format, (uint16_t)with);
}

/* ---- numbers ---- */

static void put_number(struct format *format, const struct conversion *c, uint64_t value, unsigned base, bool negative)
{
	const char *digits = c->type == 'X' || c->type == 'p' ? "0123456789ABCDEF" : "0123456789abcdef";
	char number[DIGITS_MAX], sign[3] = "";
	unsigned count = 0, least = c->precise ? c->precision : 1, signs = 0;
	bool zero = c->zero && !c->left && !c->precise;

	for (; value; value /= base)
		number[count++] = digits[value % base];
	if (negative || c->plus || c->space)
		sign[signs++] = negative ? '-' : c->plus ? '+' : ' ';
	if (c->alternate && base == 16 && count) {
		sign[signs++] = '0';
		sign[signs++] = c->type == 'X' ? 'X' : 'x';
	}
	if (c->alternate && base == 8 && count >= least)
		least = count + 1;
	if (zero && c->width > signs && c->width - signs > least)
		least = c->width - signs;
	if (!c->left)
		pad(format, c->width, signs + (count > least ? count : least), ' ');
	for (unsigned i = 0; i < signs; i++)
		put(format, (uint16_t)sign[i]);
	pad(format, least, count, '0');
	for (unsigned i = count; i > 0; i--)
		put(format, (uint16_t)number[i - 1]);
	if (c->left)
		pad(format, c->width, signs + (count > least ? count : least), ' ');
}

static uint64_t integer_argument(const struct conversion *c, guest_va_list *ap)
{
	bool wide = c->size == SIZE_64 || (c->size == SIZE_POINTER && sizeof(void *) == 8);

	if (wide)
		return (uint64_t)guest_va_arg(*ap, long long);
	if (c->size == SIZE_SHORT)
		return (uint64_t)(int64_t)(int16_t)guest_va_arg(*ap, int);
	return (uint64_t)(int64_t)guest_va_arg(*ap, int);
}

static void put_integer(struct format *format, const struct conversion *c, guest_va_list *ap)
{
	bool is_signed = c->type == 'd' || c->type == 'i';
	uint64_t value = integer_argument(c, ap);
	bool negative = is_signed && (int64_t)value < 0;

	if (negative)
		value = 0 - value;
	else if (c->size == SIZE_SHORT)
		value = (uint16_t)value;
	else if (c->size != SIZE_64 && !(c->size == SIZE_POINTER && sizeof(void *) == 8))
		value = (uint32_t)value;
	put_number(format, c, value, c->type == 'o' ? 8 : c->type == 'x' || c->type == 'X' ? 16 : 10, negative);
}

static void put_pointer(struct format *format, struct conversion c, guest_va_list *ap)
{
	c.precise = true;
	c.precision = 2 * sizeof(void *);
	c.alternate = c.plus = c.space = false;
	put_number(format, &c, (uintptr_t)guest_va_arg(*ap, void *), 16, false);
}

/* ---- text ---- */

/* Whether s, c or Z of this kind is of UTF-16: capital letters are of the other kind than the format. */
static bool is_wide(const struct format *format, const struct conversion *c)
{
	bool capital = c->type == 'S' || c->type == 'C';

	if (c->size == SIZE_LONG || c->size == SIZE_WIDE)
		return true;
	if (c->size == SIZE_SHORT || c->type == 'Z')
		return false;
	return format->wide != capital;
}

/* length: units to print, SIZE_MAX up to the terminator. */
static void put_text(struct format *format, const struct conversion *c, const void *text, size_t length, bool wide)
{
	uint16_t units[FORMAT_MAX];
	size_t most = c->precise ? c->precision : FORMAT_MAX, count = 0;

	if (most > FORMAT_MAX)
		most = FORMAT_MAX;
	format->converted |= wide;
	for (; count < most && count < length; count++) {
		const uint8_t *from = (const uint8_t *)text + (wide ? 2 * count : count);

		units[count] = 0;
		if (!guest_read(&units[count], from, wide ? 2 : 1, format->pc))
			break;
		if (!units[count] && length == SIZE_MAX)
			break;
	}
	if (!c->left)
		pad(format, c->width, count, c->zero ? '0' : ' ');
	for (size_t i = 0; i < count; i++)
		put(format, units[i]);
	if (c->left)
		pad(format, c->width, count, ' ');
}

static void put_string(struct format *format, const struct conversion *c, guest_va_list *ap)
{
	static const char null_text[] = "(null)";
	const void *text = guest_va_arg(*ap, void *);

	if (text)
		put_text(format, c, text, SIZE_MAX, is_wide(format, c));
	else
		put_text(format, c, null_text, sizeof(null_text) - 1, false);
}

static void put_counted(struct format *format, const struct conversion *c, guest_va_list *ap)
{
	const void *argument = guest_va_arg(*ap, void *);
	bool wide = is_wide(format, c);
	UNICODE_STRING string;

	if (!argument)
		put_text(format, c, "(null)", 6, false);
	else if (guest_read(&string, argument, sizeof(string), format->pc))
		put_text(format, c, string.Buffer, string.Buffer ? (wide ? string.Length / 2u : string.Length) : 0,
			 wide);
}

static void put_character(struct format *format, const struct conversion *c, guest_va_list *ap)
{
	bool wide = is_wide(format, c);
	uint16_t unit = (uint16_t)guest_va_arg(*ap, int);

	format->converted |= wide;
	if (!wide)
		unit &= 0xff;
	if (!c->left)
		pad(format, c->width, 1, ' ');
	put(format, unit);
	if (c->left)
		pad(format, c->width, 1, ' ');
}

/* ---- parsing ---- */

/* Each returns false where the format cannot be read any further. *unit: the one to look at next. */
static bool parse_flags(struct format *format, struct conversion *c, const uint8_t **text, uint16_t *unit)
{
	for (;;) {
		if (!next_unit(format, text, unit))
			return false;
		switch (*unit) {
		case '-':
			c->left = true;
			break;
		case '+':
			c->plus = true;
			break;
		case ' ':
			c->space = true;
			break;
		case '0':
			c->zero = true;
			break;
		case '#':
			c->alternate = true;
			break;
		default:
			return true;
		}
	}
}

/* *negative: it came as a negative argument. */
static bool parse_number(struct format *format, guest_va_list *ap, unsigned *value, bool *negative,
			 const uint8_t **text, uint16_t *unit)
{
	int argument;

	*negative = false;
	if (*unit == '*') {
		argument = guest_va_arg(*ap, int);
		*negative = argument < 0;
		*value = argument < 0 ? 0u - (unsigned)argument : (unsigned)argument;
		if (!next_unit(format, text, unit))
			return false;
	} else {
		for (*value = 0; *unit >= '0' && *unit <= '9';) {
			*value = *value < PADDING_MAX ? *value * 10 + (*unit - '0') : PADDING_MAX;
			if (!next_unit(format, text, unit))
				return false;
		}
	}
	if (*value > PADDING_MAX)
		*value = PADDING_MAX;
	return true;
}

/* I, I32 and I64; what follows I is looked at without being taken. */
static bool parse_I(struct format *format, struct conversion *c, const uint8_t **text)
{
	const uint8_t *ahead = *text;
	uint16_t first, second;

	c->size = SIZE_POINTER;
	if (!next_unit(format, &ahead, &first))
		return false;
	if (first != '6' && first != '3')
		return true;
	if (!next_unit(format, &ahead, &second))
		return false;
	if ((first == '6' && second != '4') || (first == '3' && second != '2'))
		return true;
	c->size = first == '6' ? SIZE_64 : SIZE_32;
	*text = ahead;
	return true;
}

static bool parse_size(struct format *format, struct conversion *c, const uint8_t **text, uint16_t *unit)
{
	for (;;) {
		switch (*unit) {
		case 'h':
			c->size = SIZE_SHORT;
			break;
		case 'l':
			c->size = c->size == SIZE_LONG ? SIZE_64 : SIZE_LONG;
			break;
		case 'L':
			c->size = SIZE_64;
			break;
		case 'w':
			c->size = SIZE_WIDE;
			break;
		case 'I':
			if (!parse_I(format, c, text))
				return false;
			break;
		default:
			return true;
		}
		if (!next_unit(format, text, unit))
			return false;
	}
}

static void convert(struct format *format, const struct conversion *c, guest_va_list *ap)
{
	switch (c->type) {
	case 'd':
	case 'i':
	case 'u':
	case 'o':
	case 'x':
	case 'X':
		put_integer(format, c, ap);
		break;
	case 'p':
		put_pointer(format, *c, ap);
		break;
	case 's':
	case 'S':
		put_string(format, c, ap);
		break;
	case 'c':
	case 'C':
		put_character(format, c, ap);
		break;
	case 'Z':
		put_counted(format, c, ap);
		break;
	case 'e':
	case 'E':
	case 'f':
	case 'g':
	case 'G':
		/* Its place in the argument list is that of 64 bits. */
		(void)guest_va_arg(*ap, long long);
		break;
	default:
		put(format, c->type);
		break;
	}
}

static bool parse_conversion(struct format *format, const uint8_t **text, guest_va_list *ap)
{
	struct conversion c = { .size = SIZE_DEFAULT };
	uint16_t unit;
	bool negative;

	if (!parse_flags(format, &c, text, &unit) || !parse_number(format, ap, &c.width, &negative, text, &unit))
		return false;
	c.left |= negative;
	if (unit == '.') {
		if (!next_unit(format, text, &unit) || !parse_number(format, ap, &c.precision, &negative, text, &unit))
			return false;
		c.precise = !negative;
	}
	if (!parse_size(format, &c, text, &unit))
		return false;
	c.type = unit;
	if (unit)
		convert(format, &c, ap);
	else
		*text -= format->wide ? 2 : 1;
	return true;
}

bool format_run(struct format *format, const void *text, guest_va_list *ap)
{
	const uint8_t *at = text;
	uint16_t unit;

	for (unsigned i = 0; i < FORMAT_MAX; i++) {
		if (!next_unit(format, &at, &unit))
			return false;
		if (!unit)
			return true;
		if (unit != '%')
			put(format, unit);
		else if (!parse_conversion(format, &at, ap))
			return false;
	}
	return true;
}

struct cut {
	struct format format;
	char *to;
	size_t size;
};

static void cut_put(struct format *format, uint16_t unit)
{
	struct cut *cut = (struct cut *)format;

	if (format->length + 1 < cut->size)
		cut->to[format->length] = (char)(unit < 0x80 && unit ? unit : '?');
}

size_t format_cut(char *to, size_t size, const char *text, guest_va_list *ap, bool *converted, uintptr_t pc)
{
	struct cut cut = { .format = { .put = cut_put, .pc = pc }, .to = to, .size = size };
	size_t length;

	format_run(&cut.format, text, ap);
	length = cut.format.length;
	to[length < size ? length : size - 1] = '\0';
	if (converted)
		*converted = cut.format.converted;
	return length;
}
