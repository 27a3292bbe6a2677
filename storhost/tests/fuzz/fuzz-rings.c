/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Fuzz target: a driver that lies to the device model, in registers, configuration space, descriptors and rings. The
 * device must stay whole, reach no memory that is not the guest's, and say what it saw; what it said of all inputs is
 * printed at the end.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "device/virtio_blk.h"
#include "fuzz/input.h"
#include "target.h"
#include "virtio_spec.h"

#define PAGE 4096u
#define PAGES 16u
#define BASE 0x100000000ull
#define QUEUE 16u
#define DESC BASE
#define AVAIL (BASE + PAGE)
#define USED (BASE + 2 * PAGE)
#define DISK_BYTES 65536
#define STEPS_MAX 200u
#define CLAUSES 64u

static uint8_t memory[PAGES][PAGE];
static const char *clauses[CLAUSES];
static unsigned clause_count;

static void *translate(void *opaque, uint64_t address, uint32_t length, bool write)
{
	uint64_t offset = address - BASE;

	(void)opaque;
	(void)write;
	if (!length || offset % PAGE + length > PAGE)
		abort(); /* device.h: page by page */
	return address >= BASE && offset < sizeof(memory) ? &memory[offset / PAGE][offset % PAGE] : NULL;
}

static bool granted(void *opaque, uint64_t address, uint32_t length, bool write)
{
	return translate(opaque, address, length, write) != NULL;
}

static void set_intx(void *opaque, bool asserted)
{
	(void)opaque;
	(void)asserted;
}

static void msi_write(void *opaque, uint64_t address, uint32_t data)
{
	(void)opaque;
	(void)address;
	(void)data;
}

static void wake(void *opaque)
{
	(void)opaque;
}

static void print_clauses(void)
{
	printf("violations seen: %u:", clause_count);
	for (unsigned i = 0; i < clause_count; i++)
		printf(" [%s]", clauses[i]);
	putchar('\n');
}

static void blame(void *opaque, enum rule rule, const char *clause, const char *text)
{
	(void)opaque;
	(void)rule;
	if (!text[0])
		abort();
	for (unsigned i = 0; i < clause_count; i++) {
		if (!strcmp(clauses[i], clause))
			return;
	}
	if (!clause_count)
		atexit(print_clauses);
	if (clause_count < CLAUSES)
		clauses[clause_count++] = strdup(clause);
}

static void common_write(struct device *device, size_t offset, unsigned width, uint64_t value)
{
	device->ops->bar_write(device, 0, offset, width, value);
}

#define WRITE(device, field, value)                                                                                    \
	common_write(device, offsetof(struct virtio_pci_common_cfg, field),                                            \
		     sizeof(((struct virtio_pci_common_cfg *)0)->field), value)

/* As a driver does it that keeps to the protocol. */
static void bring_up(struct device *device, uint32_t features)
{
	device->ops->config_write(device, 4, 2, 6);
	WRITE(device, device_status, 0);
	WRITE(device, device_status, 1);
	WRITE(device, device_status, 3);
	WRITE(device, driver_feature_select, 0);
	WRITE(device, driver_feature, features);
	WRITE(device, driver_feature_select, 1);
	WRITE(device, driver_feature, 1);
	WRITE(device, device_status, 11);
	WRITE(device, queue_select, 0);
	WRITE(device, queue_size, QUEUE);
	common_write(device, offsetof(struct virtio_pci_common_cfg, queue_desc), 4, (uint32_t)DESC);
	common_write(device, offsetof(struct virtio_pci_common_cfg, queue_desc) + 4, 4, DESC >> 32);
	common_write(device, offsetof(struct virtio_pci_common_cfg, queue_driver), 4, (uint32_t)AVAIL);
	common_write(device, offsetof(struct virtio_pci_common_cfg, queue_driver) + 4, 4, AVAIL >> 32);
	common_write(device, offsetof(struct virtio_pci_common_cfg, queue_device), 4, (uint32_t)USED);
	common_write(device, offsetof(struct virtio_pci_common_cfg, queue_device) + 4, 4, USED >> 32);
	WRITE(device, queue_enable, 1);
	WRITE(device, device_status, 15);
}

static void put(uint8_t *to, uint64_t value, unsigned width)
{
	for (unsigned i = 0; i < width; i++)
		to[i] = (uint8_t)(value >> 8 * i);
}

/* A descriptor somewhere in memory: an address that is mostly the guest's, a length that is mostly small. */
static void write_descriptor(struct input *input)
{
	uint8_t *at = &memory[input_byte(input) & 7][16 * (input_byte(input) & 31)];
	uint8_t far = input_byte(input);

	put(at, far == 0xff ? input_number(input, 8) : BASE + input_number(input, 2), 8);
	put(at + 8, far & 0x80 ? input_number(input, 4) : input_number(input, 1) << (far & 7), 4);
	put(at + 12, input_byte(input), 2);
	put(at + 14, input_byte(input) & 31, 2);
}

static void offer(struct input *input)
{
	uint16_t index = (uint16_t)(memory[1][2] | memory[1][3] << 8);

	put(&memory[1][4 + 2 * (index % QUEUE)], input_byte(input) & 31, 2);
	put(&memory[1][2], index + 1 + input_below(input, 3), 2);
}

static void turn(struct device *device, struct input *input)
{
	static const unsigned widths[] = { 1, 2, 4, 4 };
	uint8_t what = input_byte(input);
	unsigned width = widths[what >> 6];

	switch (what & 7) {
	case 0:
		device->ops->step(device, input_byte(input));
		break;
	case 1:
		write_descriptor(input);
		break;
	case 2:
		offer(input);
		device->ops->bar_write(device, 0, 0x1000, 2, 0);
		break;
	case 3:
		memory[input_byte(input) % PAGES][input_below(input, PAGE)] = input_byte(input);
		break;
	case 4:
		device->ops->bar_write(device, what >> 3 & 1, input_number(input, 2), width,
				       input_number(input, width));
		break;
	case 5:
		device->ops->bar_read(device, what >> 3 & 1, input_number(input, 2), width);
		break;
	case 6:
		device->ops->config_write(device, input_byte(input) & ~(width - 1), width,
					  (uint32_t)input_number(input, width));
		break;
	default:
		device->ops->config_read(device, input_byte(input) & ~(width - 1), width);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	const struct device_bus bus = {
		.translate = translate,
		.granted = granted,
		.set_intx = set_intx,
		.msi_write = msi_write,
		.wake = wake,
		.blame = blame,
	};
	struct input input = { bytes, size };
	struct virtio_blk_options options;
	static int disk = -1;
	struct device *device;
	struct error err;
	char text[64];

	if (disk < 0 && ((disk = memfd_create("disk", MFD_CLOEXEC)) < 0 || ftruncate(disk, DISK_BYTES)))
		abort();
	virtio_blk_defaults(&options);
	for (unsigned i = input_below(&input, 6); i; i--) {
		unsigned n = input_byte(&input);

		virtio_blk_sample(n, input_number(&input, 4), text, sizeof(text));
		virtio_blk_parse(&options, text, &err);
	}
	snprintf(text, sizeof(text), "/proc/self/fd/%d", disk);
	device = virtio_blk_create(&options, text, &err);
	if (!device)
		return 0;
	memset(memory, 0, sizeof(memory));
	if (device_attach(device, &bus, &err))
		abort();
	bring_up(device, (uint32_t)input_number(&input, 4) | 1u << 28);
	for (unsigned i = 0; i < STEPS_MAX && input_more(&input); i++)
		turn(device, &input);
	for (unsigned i = 0; i < STEPS_MAX && device->ops->step(device, i); i++)
		;
	device->ops->destroy(device);
	return 0;
}
