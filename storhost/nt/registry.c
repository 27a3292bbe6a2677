/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Registry values. */
#include "nt/registry.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define VALUES_MAX 32u

static struct registry_value values[VALUES_MAX];

static struct registry_value *value_named(const char *name, bool global)
{
	for (size_t i = 0; i < VALUES_MAX; i++) {
		if (values[i].name[0] && values[i].global == global && !strcasecmp(values[i].name, name))
			return &values[i];
	}
	return NULL;
}

const struct registry_value *registry_find(const char *name, bool global)
{
	return value_named(name, global);
}

void registry_clear(void)
{
	memset(values, 0, sizeof(values));
}

bool registry_set(const char *name, bool global, uint32_t type, const void *data, size_t size)
{
	struct registry_value *value = value_named(name, global);

	for (size_t i = 0; !value && i < VALUES_MAX; i++)
		value = values[i].name[0] ? NULL : &values[i];
	if (!value || size > sizeof(value->data) || strlen(name) >= sizeof(value->name) || !name[0])
		return false;
	snprintf(value->name, sizeof(value->name), "%s", name);
	value->global = global;
	value->type = type;
	value->size = size;
	memcpy(value->data, data, size);
	return true;
}
