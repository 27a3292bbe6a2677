/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A device behind the interface of include/storhost-device.h: loading it, and handing calls through in both ways. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "device/plugin.h"

#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/bus.h"
#include "include/storhost-device.h"

struct plugin {
	struct device dev;
	struct device_ops ops;
	struct device_stats stats;
	struct storhost_machine machine;
	struct storhost_device_table table; /* as far as the object's reaches; the rest is NULL */
	struct storhost_device *device;
	void *object;
};

static struct plugin *of(struct device *dev)
{
	return (struct plugin *)(void *)((char *)dev - offsetof(struct plugin, dev));
}

static const struct device_bus *bus_of(void *opaque)
{
	return &((struct plugin *)opaque)->dev.bus;
}

/* ---- the machine, for the device ---- */

static int machine_read(void *opaque, uint64_t address, void *data, uint32_t length)
{
	return bus_read(bus_of(opaque), address, data, length) ? 0 : -1;
}

static int machine_write(void *opaque, uint64_t address, const void *data, uint32_t length)
{
	return bus_write(bus_of(opaque), address, data, length) ? 0 : -1;
}

static void *machine_map(void *opaque, uint64_t address, uint32_t length, int write)
{
	const struct device_bus *bus = bus_of(opaque);

	return bus->translate(bus->opaque, address, length, write);
}

static int machine_granted(void *opaque, uint64_t address, uint64_t length, int write)
{
	return bus_granted(bus_of(opaque), address, length, write);
}

static void machine_set_intx(void *opaque, int asserted)
{
	const struct device_bus *bus = bus_of(opaque);

	bus->set_intx(bus->opaque, asserted);
}

static void machine_msi_write(void *opaque, uint64_t address, uint32_t data)
{
	const struct device_bus *bus = bus_of(opaque);

	bus->msi_write(bus->opaque, address, data);
}

static void machine_wake(void *opaque)
{
	const struct device_bus *bus = bus_of(opaque);

	bus->wake(bus->opaque);
}

/* A rule that this storhost does not know is told as the one that says least. */
static void machine_blame(void *opaque, const char *rule, const char *clause, const char *sentence)
{
	enum rule known = rule_find(rule);

	bus_blame(bus_of(opaque), known == RULE_COUNT ? RULE_BLOCK_REQUEST : known, clause, "%s", sentence);
}

/* ---- the device, for the machine ---- */

static uint32_t plugin_config_read(struct device *dev, unsigned offset, unsigned width)
{
	return of(dev)->table.config_read(of(dev)->device, offset, width);
}

static void plugin_config_write(struct device *dev, unsigned offset, unsigned width, uint32_t value)
{
	of(dev)->table.config_write(of(dev)->device, offset, width, value);
}

static uint64_t plugin_bar_length(struct device *dev, unsigned bar)
{
	return of(dev)->table.bar_length(of(dev)->device, bar);
}

static uint64_t plugin_bar_read(struct device *dev, unsigned bar, uint64_t offset, unsigned width)
{
	return of(dev)->table.bar_read(of(dev)->device, bar, offset, width);
}

static void plugin_bar_write(struct device *dev, unsigned bar, uint64_t offset, unsigned width, uint64_t value)
{
	of(dev)->table.bar_write(of(dev)->device, bar, offset, width, value);
}

static bool plugin_step(struct device *dev, uint64_t random)
{
	return of(dev)->table.step(of(dev)->device, random);
}

static bool plugin_owes(struct device *dev)
{
	return of(dev)->table.owes(of(dev)->device);
}

static bool plugin_running(struct device *dev)
{
	return of(dev)->table.running(of(dev)->device);
}

static void plugin_power_cycle(struct device *dev)
{
	of(dev)->table.power_cycle(of(dev)->device);
}

static const struct device_stats *plugin_stats(struct device *dev)
{
	static const struct {
		const char *name;
		size_t member;
	} rows[] = {
#define COUNTED(member) { #member, offsetof(struct device_stats, member) }
		COUNTED(doorbells),     COUNTED(interrupts),  COUNTED(requests),  COUNTED(bytes_read),
		COUNTED(bytes_written), COUNTED(flushes),     COUNTED(discards),  COUNTED(zeroes),
		COUNTED(mmio_reads),    COUNTED(mmio_writes), COUNTED(isr_reads), COUNTED(faults),
	};
	struct plugin *plugin = of(dev);

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t value = DEVICE_UNCOUNTED;

		if (!plugin->table.count || plugin->table.count(plugin->device, rows[i].name, &value))
			value = DEVICE_UNCOUNTED;
		memcpy((char *)&plugin->stats + rows[i].member, &value, sizeof(value));
	}
	return &plugin->stats;
}

static int told(int result, const char *why, struct error *err)
{
	if (result)
		error_set(err, "%s", why);
	return result == 0 || result == STORHOST_DEVICE_CANNOT ? result * DEVICE_CANNOT : -1;
}

static int plugin_fault(struct device *dev, const char *spec, struct error *err)
{
	char why[STORHOST_DEVICE_WHY] = "";

	return told(of(dev)->table.fault(of(dev)->device, spec, why), why, err);
}

static int plugin_resize(struct device *dev, uint64_t bytes, struct error *err)
{
	char why[STORHOST_DEVICE_WHY] = "";

	return told(of(dev)->table.resize(of(dev)->device, bytes, why), why, err);
}

static void plugin_destroy(struct device *dev)
{
	struct plugin *plugin = of(dev);

	if (plugin->device)
		plugin->table.destroy(plugin->device);
	if (plugin->object)
		dlclose(plugin->object);
	free(plugin);
}

static const struct device_ops plugin_ops = {
	.config_read = plugin_config_read,
	.config_write = plugin_config_write,
	.bar_length = plugin_bar_length,
	.bar_read = plugin_bar_read,
	.bar_write = plugin_bar_write,
	.step = plugin_step,
	.owes = plugin_owes,
	.running = plugin_running,
	.power_cycle = plugin_power_cycle,
	.stats = plugin_stats,
	.destroy = plugin_destroy,
	.fault = plugin_fault,
	.every_fault = true,
	.resize = plugin_resize,
};

/* ---- loading ---- */

static bool is_complete(const struct storhost_device_table *table)
{
	return table->name && table->create && table->destroy && table->config_read && table->config_write &&
	       table->bar_length && table->bar_read && table->bar_write && table->step && table->power_cycle &&
	       table->running && table->owes;
}

/* The object's table, and a hold on the object. */
static int load(const char *path, void **object, struct storhost_device_table *table, struct error *err)
{
	const struct storhost_device_table *(*get)(uint32_t version), *found;
	void *loaded = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	int rc = 0;

	if (!loaded)
		return error_set(err, "cannot load the device: %s", dlerror());
	get = (const struct storhost_device_table *(*)(uint32_t))(uintptr_t)dlsym(loaded, STORHOST_DEVICE_ENTRY);
	found = get ? get(STORHOST_DEVICE_VERSION) : NULL;
	memset(table, 0, sizeof(*table));
	if (!get)
		rc = error_set(err, "'%s' is no device: it has no %s", path, STORHOST_DEVICE_ENTRY);
	else if (!found || found->version != STORHOST_DEVICE_VERSION)
		rc = error_set(err, "'%s' is a device for version %u of the interface, and this is version %u", path,
			       found ? found->version : 0, STORHOST_DEVICE_VERSION);
	else
		memcpy(table, found, found->size < sizeof(*table) ? found->size : sizeof(*table));
	if (!rc && !is_complete(table))
		rc = error_set(err, "'%s' is an incomplete device: a function that it must have is missing", path);
	if (rc)
		dlclose(loaded);
	*object = rc ? NULL : loaded;
	return rc;
}

static int check(const struct device_choice *choice, struct error *err)
{
	struct storhost_device_table table;
	char why[STORHOST_DEVICE_WHY] = "";
	void *object;
	int rc;

	if (load(choice->place, &object, &table, err))
		return -1;
	rc = table.check ? told(table.check(choice->words, why), why, err) : 0;
	dlclose(object);
	return rc;
}

int plugin_check(const struct device_choice *choice, struct error *err)
{
	int rc = check(choice, err);

	return rc ? -1 : 0;
}

int plugin_parse(struct device_choice *choice, const char *options, struct error *err)
{
	return device_add_words(choice, options, err) ? -1 : check(choice, err);
}

/* An option of the device's own, where it takes it. */
static void offer_msi(struct device_choice *choice)
{
	struct device_choice more = *choice;
	char words[32];

	snprintf(words, sizeof(words), "msi=%u", choice->model.pci.msi_vectors);
	if (choice->model.pci.msi_vectors && !plugin_parse(&more, words, NULL))
		*choice = more;
}

struct device *plugin_open(const struct device_choice *choice, const char *disk, struct error *err)
{
	struct plugin *plugin = calloc(1, sizeof(*plugin));
	struct device_choice complete = *choice;
	char why[STORHOST_DEVICE_WHY] = "";

	if (!plugin) {
		error_set(err, "out of memory");
		return NULL;
	}
	offer_msi(&complete);
	plugin->ops = plugin_ops;
	plugin->dev.ops = &plugin->ops;
	plugin->machine = (struct storhost_machine){
		.size = sizeof(plugin->machine),
		.opaque = plugin,
		.read = machine_read,
		.write = machine_write,
		.map = machine_map,
		.granted = machine_granted,
		.set_intx = machine_set_intx,
		.msi_write = machine_msi_write,
		.wake = machine_wake,
		.blame = machine_blame,
	};
	if (!load(complete.place, &plugin->object, &plugin->table, err)) {
		plugin->ops.name = plugin->table.name;
		plugin->ops.every_fault = plugin->table.fault;
		plugin->ops.fault = plugin->table.fault ? plugin_fault : NULL;
		plugin->ops.resize = plugin->table.resize ? plugin_resize : NULL;
		plugin->device = plugin->table.create(complete.words, disk, &plugin->machine, why);
		if (plugin->device)
			return &plugin->dev;
		error_set(err, "%s", why[0] ? why : "the device cannot be had");
	}
	plugin_destroy(&plugin->dev);
	return NULL;
}
