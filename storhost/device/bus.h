/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A device's side of the bus: guest memory copied page by page, and the accusation of a driver.
 *
 * Every copy returns false where the driver named memory that the device may not use so; what was copied
 * before that page stays copied. The machine has reported the fault by then. Host and guest are both
 * little-endian: a guest is x86 code that runs on this very processor.
 */
#ifndef STORHOST_DEVICE_BUS_H
#define STORHOST_DEVICE_BUS_H

#include <stddef.h>

#include "device/device.h"

#define BUS_PAGE 4096u

bool bus_read(const struct device_bus *bus, uint64_t addr, void *buf, size_t len);
bool bus_write(const struct device_bus *bus, uint64_t addr, const void *buf, size_t len);

/* 16-bit cells that the driver accesses at the same time; addr is even. load: acquire, store: release. */
bool bus_load16(const struct device_bus *bus, uint64_t addr, uint16_t *value);
bool bus_store16(const struct device_bus *bus, uint64_t addr, uint16_t value);

/*
 * Whether a descriptor may name [addr, addr+len) as memory to read, or to write. False: the machine has reported it.
 */
bool bus_granted(const struct device_bus *bus, uint64_t addr, uint64_t len, bool write);

/* clause: of the contract or the specification. One sentence without a full stop. */
void bus_blame(const struct device_bus *bus, enum rule rule, const char *clause, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

#endif
