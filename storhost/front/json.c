/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The JSON writer. [RFC 8259] */
#include "front/json.h"

#include <assert.h>
#include <inttypes.h>

/* Bytes of the UTF-8 sequence at s, or 0 if there is none. [Unicode 15 table 3-7] */
static unsigned utf8_length(const unsigned char *s)
{
	unsigned length = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0;

	for (unsigned i = 1; i < length; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
	    (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return length;
}

static void write_string(FILE *out, const char *string)
{
	const unsigned char *s = (const unsigned char *)string;

	fputc('"', out);
	while (*s) {
		unsigned length = utf8_length(s);

		if (!length)
			fputs("\\ufffd", out);
		else if (*s == '"' || *s == '\\')
			fprintf(out, "\\%c", *s);
		else if (*s < 0x20 || *s == 0x7f)
			fprintf(out, "\\u%04x", *s);
		else
			fwrite(s, 1, length, out);
		s += length ? length : 1;
	}
	fputc('"', out);
}

static void start_value(struct json *json, const char *key)
{
	if (json->filled[json->depth])
		fputc(',', json->out);
	json->filled[json->depth] = true;
	if (json->depth)
		fprintf(json->out, "\n%*s", (int)json->depth * 2, "");
	if (key) {
		write_string(json->out, key);
		fputs(": ", json->out);
	}
}

static void open_level(struct json *json, const char *key, char opener, char closer)
{
	assert(json->depth < JSON_DEPTH_MAX);
	start_value(json, key);
	fputc(opener, json->out);
	json->closers[json->depth++] = closer;
	json->filled[json->depth] = false;
}

void json_begin(struct json *json, FILE *out)
{
	*json = (struct json){ .out = out };
}

void json_end(struct json *json)
{
	assert(!json->depth);
	fputc('\n', json->out);
}

void json_open_object(struct json *json, const char *key)
{
	open_level(json, key, '{', '}');
}

void json_open_array(struct json *json, const char *key)
{
	open_level(json, key, '[', ']');
}

void json_close(struct json *json)
{
	bool filled = json->filled[json->depth];

	assert(json->depth);
	json->depth--;
	if (filled)
		fprintf(json->out, "\n%*s", (int)json->depth * 2, "");
	fputc(json->closers[json->depth], json->out);
}

void json_string(struct json *json, const char *key, const char *value)
{
	start_value(json, key);
	if (value)
		write_string(json->out, value);
	else
		fputs("null", json->out);
}

void json_integer(struct json *json, const char *key, int64_t value)
{
	start_value(json, key);
	fprintf(json->out, "%" PRId64, value);
}

void json_unsigned(struct json *json, const char *key, uint64_t value)
{
	start_value(json, key);
	fprintf(json->out, "%" PRIu64, value);
}

void json_bool(struct json *json, const char *key, bool value)
{
	start_value(json, key);
	fputs(value ? "true" : "false", json->out);
}
