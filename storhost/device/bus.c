/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Guest memory copied page by page, and the accusation of a driver. */
#include "device/bus.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/race.h"

static size_t page_part(uint64_t addr, size_t len)
{
	size_t room = BUS_PAGE - (size_t)(addr % BUS_PAGE);

	return len < room ? len : room;
}

bool bus_read(const struct device_bus *bus, uint64_t addr, void *buf, size_t len)
{
	uint8_t *to = buf;

	while (len) {
		size_t part = page_part(addr, len);
		const void *from = bus->translate(bus->opaque, addr, (uint32_t)part, false);

		if (!from)
			return false;
		memcpy(to, from, part);
		to += part;
		addr += part;
		len -= part;
	}
	return true;
}

bool bus_write(const struct device_bus *bus, uint64_t addr, const void *buf, size_t len)
{
	const uint8_t *from = buf;

	while (len) {
		size_t part = page_part(addr, len);
		void *to = bus->translate(bus->opaque, addr, (uint32_t)part, true);

		if (!to)
			return false;
		memcpy(to, from, part);
		from += part;
		addr += part;
		len -= part;
	}
	return true;
}

bool bus_granted(const struct device_bus *bus, uint64_t addr, uint64_t len, bool write)
{
	while (len) {
		uint32_t part = (uint32_t)page_part(addr, len < BUS_PAGE ? (size_t)len : BUS_PAGE);

		if (!bus->granted(bus->opaque, addr, part, write))
			return false;
		addr += part;
		len -= part;
	}
	return true;
}

bool bus_load16(const struct device_bus *bus, uint64_t addr, uint16_t *value)
{
	const uint16_t *cell = bus->translate(bus->opaque, addr, sizeof(*cell), false);

	if (!cell)
		return false;
	*value = __atomic_load_n(cell, __ATOMIC_ACQUIRE);
	race_observe();
	return true;
}

bool bus_store16(const struct device_bus *bus, uint64_t addr, uint16_t value)
{
	uint16_t *cell = bus->translate(bus->opaque, addr, sizeof(*cell), true);

	if (!cell)
		return false;
	race_publish();
	__atomic_store_n(cell, value, __ATOMIC_RELEASE);
	return true;
}

void bus_blame(const struct device_bus *bus, enum rule rule, const char *clause, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	bus->blame(bus->opaque, rule, clause, text);
}
