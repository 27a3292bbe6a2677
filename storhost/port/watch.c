/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Common memory that the driver reaches through a trap region, so that each of its accesses is a scheduling point: what
 * the device does to the ring can then come between any two of them.
 */
#include <string.h>

#include "port/internal.h"

static uint64_t watch_read(void *opaque, uint64_t offset, unsigned width)
{
	const uint8_t *cell = ((struct port *)opaque)->watch.window + offset;
	uint64_t value = 0;

	memcpy(&value, cell, width);
	return value;
}

static void watch_write(void *opaque, uint64_t offset, unsigned width, uint64_t value)
{
	memcpy(((struct port *)opaque)->watch.window + offset, &value, width);
}

static void watch_after(void *opaque)
{
	(void)opaque;
	cpu_point();
}

uint8_t *watch_window(struct port *port, uint8_t *window, size_t bytes)
{
	static const struct trap_region_ops ops = { watch_read, watch_write, watch_after };
	struct error ignored;

	port->watch.window = window;
	port->watch.bytes = bytes;
	port->watch.region = trap_region_create(bytes, &ops, port, &ignored);
	return port->watch.region;
}

const void *watch_behind(const struct port *port, const void *address)
{
	uintptr_t offset = (uintptr_t)address - (uintptr_t)port->watch.region;

	return port->watch.region && offset < port->watch.bytes ? port->watch.window + offset : address;
}

uint8_t *watch_release(struct port *port, uint8_t *region)
{
	if (!port->watch.region || region != port->watch.region)
		return region;
	trap_region_destroy(region);
	port->watch.region = NULL;
	return port->watch.window;
}
