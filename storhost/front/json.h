/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Writing JSON to a file, one value after the other.
 *
 * json_begin, then json_open/json_close in pairs around members, then json_end, which writes the final line break. In
 * an object every value has a key; in an array, and for the outermost value, key is NULL. Strings may hold any bytes:
 * what is no UTF-8 becomes U+FFFD. Write errors are left to the stream (ferror).
 */
#ifndef STORHOST_FRONT_JSON_H
#define STORHOST_FRONT_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define JSON_DEPTH_MAX 16

struct json {
	FILE *out;
	unsigned depth;
	char closers[JSON_DEPTH_MAX];
	bool filled[JSON_DEPTH_MAX + 1]; /* whether a level has a value already */
};

void json_begin(struct json *json, FILE *out);
void json_end(struct json *json);

void json_open_object(struct json *json, const char *key);
void json_open_array(struct json *json, const char *key);
void json_close(struct json *json);

void json_string(struct json *json, const char *key, const char *value); /* value NULL: null */
void json_integer(struct json *json, const char *key, int64_t value);
void json_unsigned(struct json *json, const char *key, uint64_t value);
void json_bool(struct json *json, const char *key, bool value);

#endif
