/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A run from power-on to removal, and what is held against the driver in it. */
#include "fuzz/fuzz.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz/internal.h"
#include "nt/clock.h"
#include "nt/phys.h"
#include "nt/pool.h"
#include "nt/registry.h"
#include "scenario/model.h"
#include "trap/trap.h"
#include "verify/verify.h"

#define RAM_BYTES (16u << 20)
#define SRBS 14u
#define OPTIONS_MAX 7u
#define PARAMETER_MAX 63u
#define DELAY_MAX 100u /* steps or reads; more is the same, later */

static struct {
	const char *driver;
	int disk;
	char disk_path[32];
	unsigned regions; /* that stay mapped */
	struct fuzz *current;
} self;

bool fuzz_verbose;

void fuzz_note(const char *fmt, ...)
{
	va_list ap;

	if (!fuzz_verbose)
		return;
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

int fuzz_disk(void)
{
	return self.disk;
}

int fuzz_open(const char *driver, struct error *err)
{
	self.driver = driver;
	self.disk = memfd_create("storhost-fuzz", MFD_CLOEXEC);
	if (self.disk < 0)
		return error_set(err, "there is no memory for a disk");
	snprintf(self.disk_path, sizeof(self.disk_path), "/proc/self/fd/%d", self.disk);
	if (clock_share(err)) /* stays mapped for good */
		return -1;
	self.regions = trap_regions_forget();
	return phys_start(RAM_BYTES, 0, err);
}

/* What a lying device makes the honest one behind it do, or leave undone, which looks like the driver's fault. */
static bool excuses(enum rule rule)
{
	const struct fuzz *fuzz = self.current;

	if (!fuzz->liar || !liar_lied(fuzz->liar))
		return false;
	switch (rule) {
	case RULE_DATA_OVERRUN:
	case RULE_DMA_DESCRIPTOR:
	case RULE_DMA_MEMORY:
	case RULE_IRQ_FOREIGN:
	case RULE_IRQ_STORM:
	case RULE_MMIO_RUNNING:
	case RULE_SRB_LOST:
		return true;
	default:
		return false;
	}
}

/* ---- set-up ---- */

/* Whether the device is not what its configuration says, wherever it may say so. */
static bool is_dishonest(const struct virtio_blk_options *options)
{
	return options->fault || options->pci.caps || options->pci.registers ||
	       virtio_pci_regions_overlap(&options->pci);
}

static struct device *create_device(struct fuzz *fuzz, bool lies)
{
	unsigned count = input_below(fuzz->input, OPTIONS_MAX + 1);
	struct virtio_blk_options options, next;
	struct device *device;
	struct error err;
	char item[64];

	virtio_blk_defaults(&options);
	while (count--) {
		unsigned n = input_byte(fuzz->input);

		virtio_blk_sample(n, input_number(fuzz->input, 4), item, sizeof(item));
		next = options;
		if (virtio_blk_parse(&next, item, &err) || (!lies && is_dishonest(&next)))
			continue;
		fuzz_note("device: %s", item);
		options = next;
	}
	fuzz->broken = is_dishonest(&options) || options.id;
	options.id_delay %= DELAY_MAX;
	options.pci.reset_reads %= DELAY_MAX;
	if (fuzz->port_options.interrupts == INTERRUPT_MSI && !options.pci.msi_vectors)
		options.pci.msi_vectors = 4;
	if (ftruncate(self.disk, 0) || ftruncate(self.disk, DISK_BYTES))
		return NULL;
	device = virtio_blk_create(&options, self.disk_path, &err);
	fuzz->block_size = options.blk_size;
	fuzz->blocks = options.blk_size ? DISK_BYTES / options.blk_size : 0;
	return device;
}

/* The registry value: bytes as they come, or a name that some driver may know. */
static const char *take_parameter(struct input *input, char *text)
{
	unsigned length = input_below(input, PARAMETER_MAX + 1);

	if (!length)
		return NULL;
	for (unsigned i = 0; i < length; i++)
		text[i] = (char)input_byte(input);
	text[length] = '\0';
	return text;
}

bool fuzz_start(struct fuzz *fuzz)
{
	struct error err;

	fuzz_note("start");
	fuzz->running = !port_load(self.driver, fuzz->liar ? fuzz->liar : fuzz->device, &fuzz->port_options,
				   &fuzz->port, &err) &&
			!port_start(fuzz->port, &err);
	if (!fuzz->running)
		fuzz_note("it does not start: %s", err.text);
	return fuzz->running;
}

void fuzz_stop(struct fuzz *fuzz)
{
	if (!fuzz->port)
		return;
	fuzz_note("stop");
	port_stop(fuzz->port);
	if (!cpu_rest())
		return;
	port_free(fuzz->port);
	fuzz->port = NULL;
	fuzz->running = false;
}

/* ---- a run ---- */

static int power_on(struct fuzz *fuzz, struct error *err)
{
	uint8_t switches = input_byte(fuzz->input);
	struct cpu_config cpus = {
		.cpus = switches & 4 ? 2 : 1,
		.lent = true,
		.seed = input_number(fuzz->input, 2),
	};

	fuzz->port_options = (struct port_options){
		.interrupts = (switches & 3) == 3   ? INTERRUPT_LINE
			      : (switches & 3) == 2 ? INTERRUPT_MSI
						    : INTERRUPT_MSIX,
		.messages = (switches & 3) == 1 ? 1 : 2,
		.parameter = fuzz->parameter,
		.seed = cpus.seed,
		.srbs = SRBS,
		.quiet = true,
	};
	fuzz_note("interrupts %d, %u messages, %u processors, seed %llu, parameter '%s'",
		  (int)fuzz->port_options.interrupts, fuzz->port_options.messages, cpus.cpus,
		  (unsigned long long)cpus.seed, fuzz->parameter ? fuzz->parameter : "");
	verify_clear();
	registry_clear();
	phys_restart(cpus.seed);
	return cpus_start(&cpus, err);
}

/* False: something is mapped for ever. The first run leaves what all of them share. */
static bool power_off(struct fuzz *fuzz)
{
	struct device *device = fuzz->liar ? fuzz->liar : fuzz->device;
	unsigned mapped;

	if (device)
		device->ops->destroy(device);
	cpus_stop();
	mapped = trap_regions_forget();
	model_free(fuzz->model);
	if (mapped > self.regions)
		fprintf(stderr, "fuzz: the adapter is gone, and something of it is still mapped\n");
	return mapped <= self.regions;
}

static void play(struct fuzz *fuzz, enum fuzz_side side)
{
	fuzz->device = create_device(fuzz, side == FUZZ_DEVICE);
	if (!fuzz->device)
		return;
	if (side == FUZZ_DEVICE)
		fuzz->liar = liar_create(fuzz->device, fuzz->broken, fuzz->input);
	if (fuzz_start(fuzz))
		side == FUZZ_DEVICE ? side_device(fuzz) : side_windows(fuzz);
	if (!cpu_dead())
		fuzz_stop(fuzz);
}

bool fuzz_run(enum fuzz_side side, const uint8_t *bytes, size_t size)
{
	struct input input = { bytes, size < FUZZ_INPUT_MAX ? size : FUZZ_INPUT_MAX };
	struct fuzz fuzz = { .input = &input };
	char parameter[PARAMETER_MAX + 1];
	struct error err;
	bool good;

	self.current = &fuzz;
	verify_excuses = excuses;
	fuzz.parameter = take_parameter(&input, parameter);
	if (power_on(&fuzz, &err)) {
		fprintf(stderr, "fuzz: %s\n", err.text);
		return false;
	}
	play(&fuzz, side);
	if (cpu_dead()) {
		fprintf(stderr, "fuzz: the machine died: %s\n", cpu_death());
		return false;
	}
	good = ask_settle(&fuzz) && !verify_findings();
	return power_off(&fuzz) && good;
}
