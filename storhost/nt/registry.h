/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The values under the service's Parameters key that a miniport can see. */
#ifndef STORHOST_NT_REGISTRY_H
#define STORHOST_NT_REGISTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REGISTRY_DATA_MAX 256u

struct registry_value {
	char name[64];
	bool global; /* Parameters\Device, not Parameters\Device<n> */
	uint32_t type;
	size_t size;
	uint8_t data[REGISTRY_DATA_MAX];
};

/* Names are compared without case. NULL: no such value. */
const struct registry_value *registry_find(const char *name, bool global);
void registry_clear(void);
bool registry_set(const char *name, bool global, uint32_t type, const void *data, size_t size);

#endif
