/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The lying device. */
#include <stdlib.h>
#include <string.h>

#include "base/container.h"
#include "fuzz/internal.h"
#include "nt/phys.h"

#define PATCHES 12u
#define WRITTEN 8u /* pieces of memory that one step wrote, the last of them */
#define MESSAGE_ADDRESS 0xfee00000u
#define MESSAGE_VECTOR 0x50u

/* What is read at a byte of configuration space or of a BAR differs from the truth: some reads later, some times. */
struct patch {
	bool bar;
	uint16_t offset;
	uint8_t flip, skip, times; /* times 0: for ever */
	bool used;
};

struct written {
	uint8_t *at;
	uint64_t address;
	uint32_t length;
};

struct liar {
	struct device dev;
	struct device *honest;
	struct input *input;
	struct patch patch[PATCHES];
	struct written written[WRITTEN];
	unsigned written_count;
	bool lied;
};

static struct liar *of(struct device *dev)
{
	return container_of(dev, struct liar, dev);
}

bool liar_lied(const struct device *device)
{
	return ((const struct liar *)device)->lied;
}

/* ---- what is read ---- */

static void patch_take(struct liar *liar)
{
	uint8_t what = input_byte(liar->input);
	struct patch *patch = &liar->patch[what % PATCHES];

	patch->bar = what & 0x80;
	patch->offset = (uint16_t)input_number(liar->input, patch->bar ? 2 : 1);
	patch->flip = input_byte(liar->input);
	patch->skip = what & 0x40 ? input_byte(liar->input) : 0;
	patch->times = what & 0x20 ? (uint8_t)(1 + input_byte(liar->input) % 8) : 0;
	patch->used = patch->flip != 0;
}

static uint8_t patch_byte(struct liar *liar, bool bar, uint64_t offset)
{
	uint8_t flip = 0;

	for (unsigned i = 0; i < PATCHES; i++) {
		struct patch *patch = &liar->patch[i];

		if (!patch->used || patch->bar != bar || patch->offset != offset)
			continue;
		if (patch->skip) {
			patch->skip--;
			continue;
		}
		flip ^= patch->flip;
		liar->lied = true;
		if (patch->times && !--patch->times)
			patch->used = false;
	}
	return flip;
}

static uint64_t patch_value(struct liar *liar, bool bar, uint64_t offset, unsigned width, uint64_t value)
{
	for (unsigned i = 0; i < width; i++)
		value ^= (uint64_t)patch_byte(liar, bar, offset + i) << (8 * i);
	return value;
}

static uint32_t liar_config_read(struct device *dev, unsigned offset, unsigned width)
{
	struct liar *liar = of(dev);
	uint32_t value = liar->honest->ops->config_read(liar->honest, offset, width);

	return (uint32_t)patch_value(liar, false, offset, width, value);
}

static uint64_t liar_bar_read(struct device *dev, unsigned bar, uint64_t offset, unsigned width)
{
	struct liar *liar = of(dev);
	uint64_t value = liar->honest->ops->bar_read(liar->honest, bar, offset, width);

	return patch_value(liar, true, offset, width, value);
}

/* ---- what is written to memory ---- */

static void *bus_translate(void *opaque, uint64_t address, uint32_t length, bool write)
{
	struct liar *liar = opaque;
	void *host = liar->lied ? phys_device(address, length, write)
				: liar->dev.bus.translate(liar->dev.bus.opaque, address, length, write);

	if (host && write)
		liar->written[liar->written_count++ % WRITTEN] = (struct written){ host, address, length };
	return host;
}

static bool bus_granted(void *opaque, uint64_t address, uint32_t length, bool write)
{
	struct liar *liar = opaque;

	return liar->lied || liar->dev.bus.granted(liar->dev.bus.opaque, address, length, write);
}

static void bus_set_intx(void *opaque, bool asserted)
{
	struct liar *liar = opaque;

	liar->dev.bus.set_intx(liar->dev.bus.opaque, asserted);
}

static void bus_msi_write(void *opaque, uint64_t address, uint32_t data)
{
	struct liar *liar = opaque;

	liar->dev.bus.msi_write(liar->dev.bus.opaque, address, data);
}

static void bus_wake(void *opaque)
{
	struct liar *liar = opaque;

	liar->dev.bus.wake(liar->dev.bus.opaque);
}

static void bus_blame(void *opaque, enum rule rule, const char *clause, const char *text)
{
	struct liar *liar = opaque;

	/* What it blames is then its own doing. */
	if (!liar->lied)
		liar->dev.bus.blame(liar->dev.bus.opaque, rule, clause, text);
}

/* Changes bytes of what this step wrote, before anybody else has seen them: data, status, used entries, used index. */
static void rewrite(struct liar *liar)
{
	unsigned count = liar->written_count < WRITTEN ? liar->written_count : WRITTEN;
	struct written *written = count ? &liar->written[input_below(liar->input, count)] : NULL;
	uint32_t at;

	if (!written)
		return;
	at = input_below(liar->input, written->length);
	for (unsigned left = 1 + input_below(liar->input, 4); left && at < written->length; left--, at++) {
		if (phys_device(written->address + at, 1, true))
			written->at[at] ^= input_byte(liar->input);
	}
	liar->lied = true;
}

static void interrupt(struct liar *liar, uint8_t which)
{
	const struct device_bus *bus = &liar->dev.bus;

	if (which & 1)
		bus->set_intx(bus->opaque, which & 2);
	else
		bus->msi_write(bus->opaque, MESSAGE_ADDRESS, MESSAGE_VECTOR + (which >> 2 & 3));
	liar->lied = true;
}

static bool honest_step(struct liar *liar, uint64_t random)
{
	liar->written_count = 0;
	return liar->honest->ops->step(liar->honest, random);
}

static bool liar_step(struct device *dev, uint64_t random)
{
	struct liar *liar = of(dev);
	struct error err;
	bool more;

	switch (input_byte(liar->input) & 15) {
	case 1:
	case 2:
	case 3:
		more = honest_step(liar, random);
		rewrite(liar);
		return more;
	case 4:
		interrupt(liar, input_byte(liar->input));
		return true;
	case 5:
	case 6:
		patch_take(liar);
		return true;
	case 7:
		virtio_blk_set_fault(liar->honest, (enum virtio_blk_fault)(input_byte(liar->input) % (FAULT_GONE + 1)),
				     input_below(liar->input, 4), input_below(liar->input, 4));
		liar->lied = true;
		return true;
	case 8:
		virtio_blk_resize(liar->honest, 512u * (1 + input_number(liar->input, 1)), &err);
		return true;
	case 9:
		return true; /* later */
	case 10:
		more = honest_step(liar, random);
		interrupt(liar, input_byte(liar->input));
		return more;
	default:
		return honest_step(liar, random);
	}
}

/* ---- the rest ---- */

static void liar_config_write(struct device *dev, unsigned offset, unsigned width, uint32_t value)
{
	of(dev)->honest->ops->config_write(of(dev)->honest, offset, width, value);
}

static uint64_t liar_bar_length(struct device *dev, unsigned bar)
{
	return of(dev)->honest->ops->bar_length(of(dev)->honest, bar);
}

static void liar_bar_write(struct device *dev, unsigned bar, uint64_t offset, unsigned width, uint64_t value)
{
	of(dev)->honest->ops->bar_write(of(dev)->honest, bar, offset, width, value);
}

static bool liar_owes(struct device *dev)
{
	return of(dev)->lied || of(dev)->honest->ops->owes(of(dev)->honest);
}

static bool liar_running(struct device *dev)
{
	return of(dev)->honest->ops->running(of(dev)->honest);
}

static void liar_power_cycle(struct device *dev)
{
	of(dev)->honest->ops->power_cycle(of(dev)->honest);
}

static const struct device_stats *liar_stats(struct device *dev)
{
	return of(dev)->honest->ops->stats(of(dev)->honest);
}

static void liar_destroy(struct device *dev)
{
	struct liar *liar = of(dev);

	liar->honest->ops->destroy(liar->honest);
	free(liar);
}

/* The port attaches its bus to the liar; the honest device gets it with the liar in between. */
struct device *liar_create(struct device *honest, bool lied, struct input *input)
{
	static const struct device_ops ops = {
		.name = "a device that lies",
		.config_read = liar_config_read,
		.config_write = liar_config_write,
		.bar_length = liar_bar_length,
		.bar_read = liar_bar_read,
		.bar_write = liar_bar_write,
		.step = liar_step,
		.owes = liar_owes,
		.running = liar_running,
		.power_cycle = liar_power_cycle,
		.stats = liar_stats,
		.destroy = liar_destroy,
	};
	struct liar *liar = calloc(1, sizeof(*liar));
	struct device_bus bus = {
		.opaque = liar,
		.translate = bus_translate,
		.granted = bus_granted,
		.set_intx = bus_set_intx,
		.msi_write = bus_msi_write,
		.wake = bus_wake,
		.blame = bus_blame,
	};
	struct error ignored;

	if (!liar || device_attach(honest, &bus, &ignored))
		abort();
	liar->dev.ops = &ops;
	liar->honest = honest;
	liar->input = input;
	liar->lied = lied;
	for (unsigned count = input_below(input, PATCHES + 1); count; count--)
		patch_take(liar);
	return &liar->dev;
}
