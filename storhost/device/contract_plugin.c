/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The contract device as a shared object: include/storhost-device.h by example, over the device that storhost has. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/virtio_blk.h"
#include "include/storhost-device.h"

struct storhost_device {
	struct device *dev;
	const struct storhost_machine *machine;
};

/* ---- the machine, as the device knows it ---- */

static void *bus_translate(void *opaque, uint64_t address, uint32_t length, bool write)
{
	const struct storhost_machine *machine = opaque;

	return machine->map(machine->opaque, address, length, write);
}

static bool bus_may_name(void *opaque, uint64_t address, uint32_t length, bool write)
{
	const struct storhost_machine *machine = opaque;

	return machine->granted(machine->opaque, address, length, write);
}

static void bus_set_intx(void *opaque, bool asserted)
{
	const struct storhost_machine *machine = opaque;

	machine->set_intx(machine->opaque, asserted);
}

static void bus_msi_write(void *opaque, uint64_t address, uint32_t data)
{
	const struct storhost_machine *machine = opaque;

	machine->msi_write(machine->opaque, address, data);
}

static void bus_wake(void *opaque)
{
	const struct storhost_machine *machine = opaque;

	machine->wake(machine->opaque);
}

static void bus_tell(void *opaque, enum rule rule, const char *clause, const char *text)
{
	const struct storhost_machine *machine = opaque;

	machine->blame(machine->opaque, rule_name(rule), clause, text);
}

/* ---- the device, as the machine knows it ---- */

static int say(int result, const struct error *err, char *why)
{
	if (result)
		snprintf(why, STORHOST_DEVICE_WHY, "%s", err->text);
	return result;
}

static int contract_check(const char *options, char *why)
{
	struct virtio_blk_options parsed;
	struct error err;

	virtio_blk_defaults(&parsed);
	return say(virtio_blk_parse(&parsed, options, &err), &err, why);
}

static struct storhost_device *contract_create(const char *options, const char *disk,
					       const struct storhost_machine *machine, char *why)
{
	const struct device_bus bus = {
		.opaque = (void *)(uintptr_t)machine,
		.translate = bus_translate,
		.granted = bus_may_name,
		.set_intx = bus_set_intx,
		.msi_write = bus_msi_write,
		.wake = bus_wake,
		.blame = bus_tell,
	};
	struct storhost_device *device = calloc(1, sizeof(*device));
	struct virtio_blk_options parsed;
	struct error err;
	int failed = device ? 0 : error_set(&err, "out of memory");

	virtio_blk_defaults(&parsed);
	if (!failed && !disk)
		failed = error_set(&err, "the contract device needs a disk");
	if (!failed)
		failed = virtio_blk_parse(&parsed, options, &err);
	if (!failed) {
		device->machine = machine;
		device->dev = virtio_blk_create(&parsed, disk, &err);
	}
	if (device && device->dev && !device_attach(device->dev, &bus, &err))
		return device;
	say(-1, &err, why);
	free(device);
	return NULL;
}

static void contract_destroy(struct storhost_device *device)
{
	device->dev->ops->destroy(device->dev);
	free(device);
}

static uint32_t contract_config_read(struct storhost_device *device, uint32_t offset, uint32_t width)
{
	return device->dev->ops->config_read(device->dev, offset, width);
}

static void contract_config_write(struct storhost_device *device, uint32_t offset, uint32_t width, uint32_t value)
{
	device->dev->ops->config_write(device->dev, offset, width, value);
}

static uint64_t contract_bar_length(struct storhost_device *device, uint32_t bar)
{
	return device->dev->ops->bar_length(device->dev, bar);
}

static uint64_t contract_bar_read(struct storhost_device *device, uint32_t bar, uint64_t offset, uint32_t width)
{
	return device->dev->ops->bar_read(device->dev, bar, offset, width);
}

static void contract_bar_write(struct storhost_device *device, uint32_t bar, uint64_t offset, uint32_t width,
			       uint64_t value)
{
	device->dev->ops->bar_write(device->dev, bar, offset, width, value);
}

static int contract_step(struct storhost_device *device, uint64_t random)
{
	return device->dev->ops->step(device->dev, random);
}

static void contract_power_cycle(struct storhost_device *device)
{
	device->dev->ops->power_cycle(device->dev);
}

static int contract_running(struct storhost_device *device)
{
	return device->dev->ops->running(device->dev);
}

static int contract_owes(struct storhost_device *device)
{
	return device->dev->ops->owes(device->dev);
}

static int contract_fault(struct storhost_device *device, const char *text, char *why)
{
	struct error err;

	return say(device->dev->ops->fault(device->dev, text, &err), &err, why);
}

static int contract_resize(struct storhost_device *device, uint64_t bytes, char *why)
{
	struct error err;

	return say(device->dev->ops->resize(device->dev, bytes, &err), &err, why);
}

static int contract_count(struct storhost_device *device, const char *name, uint64_t *value)
{
	const struct device_stats *stats = device->dev->ops->stats(device->dev);
	const struct {
		const char *name;
		uint64_t value;
	} rows[] = {
		{ "doorbells", stats->doorbells },         { "interrupts", stats->interrupts },
		{ "requests", stats->requests },           { "bytes_read", stats->bytes_read },
		{ "bytes_written", stats->bytes_written }, { "flushes", stats->flushes },
		{ "discards", stats->discards },           { "zeroes", stats->zeroes },
		{ "mmio_reads", stats->mmio_reads },       { "mmio_writes", stats->mmio_writes },
		{ "isr_reads", stats->isr_reads },         { "faults", stats->faults },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		*value = rows[i].value;
		if (!strcmp(rows[i].name, name))
			return 0;
	}
	return STORHOST_DEVICE_CANNOT;
}

__attribute__((visibility("default"))) const struct storhost_device_table *storhost_device_get(uint32_t version)
{
	static const struct storhost_device_table table = {
		.size = sizeof(table),
		.version = STORHOST_DEVICE_VERSION,
		.name = "contract",
		.create = contract_create,
		.destroy = contract_destroy,
		.config_read = contract_config_read,
		.config_write = contract_config_write,
		.bar_length = contract_bar_length,
		.bar_read = contract_bar_read,
		.bar_write = contract_bar_write,
		.step = contract_step,
		.power_cycle = contract_power_cycle,
		.running = contract_running,
		.owes = contract_owes,
		.check = contract_check,
		.fault = contract_fault,
		.resize = contract_resize,
		.count = contract_count,
	};

	(void)version;
	return &table;
}
