/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A virtio PCI function through VFIO: its configuration space, registers, interrupts and the IOMMU in front of it. */
#define _FILE_OFFSET_BITS 64 /* of the regions of a VFIO device */
#include "device/vfio.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "virtio_spec.h"

#define CONFIG_BYTES 256u
#define BARS 6u
#define PAGE 4096u
#define VECTORS_MAX 64u
#define ENTRY_WORDS 4u

/* [PCI 6.1, 6.7, 6.8] */
#define PCI_COMMAND 0x04u
#define PCI_STATUS 0x06u
#define PCI_CAPABILITIES 0x34u
#define COMMAND_MEMORY 0x0002u
#define COMMAND_MASTER 0x0004u
#define STATUS_CAPABILITIES 0x0010u
#define CAPABILITY_VENDOR 0x09u
#define CAPABILITY_MSIX 0x11u
#define MSIX_ENABLE 0x8000u
#define MSIX_MASK_ALL 0x4000u
#define MSIX_ENTRIES 0x07ffu

#define VIRTIO_VENDOR 0x1af4u
#define RESET_POLLS 1000u
#define RESET_POLL_US 1000u

/* Of whoever pulls out, plugs in and resizes, and of Linux, which follows him. */
#define ANSWER_MS 30000
#define ARRIVAL_POLLS 300u
#define ARRIVAL_POLL_US 50000u

enum irq_mode { IRQ_NONE, IRQ_LINE, IRQ_MSIX };

/* What the listener waits for: vectors after these. */
enum event { EVENT_END, EVENT_EJECT, EVENT_LINE, EVENT_VECTORS };

struct region {
	uint64_t length, offset;
	volatile uint8_t *host; /* NULL: it can only be read and written by system calls */
};

struct entry {
	uint32_t word[ENTRY_WORDS]; /* of the MSI-X table: address, its upper half, data, control */
	bool pending;
};

struct place {
	unsigned bar;
	uint64_t offset, length;
};

struct vfio {
	struct device device; /* first: a struct device * is a struct vfio * */
	char name[16];        /* the function's address */
	int container, group, fd;
	struct region config, bar[BARS];
	unsigned msix, msix_bar, vectors; /* the capability's offset (0: none), the table's BAR, its length */
	uint64_t msix_table;
	uint16_t msix_control;
	struct entry entry[VECTORS_MAX];
	struct place common, notify, isr; /* virtio's registers */
	bool seen;                        /* the driver's accesses are to come by here, although that takes longer */
	bool platform;                    /* it offers ACCESS_PLATFORM: its addresses pass the IOMMU */
	bool listening, mapped;
	bool decodes; /* it answers at its BARs: an access to one that does not is a bus error here */
	enum irq_mode mode;
	int event[EVENT_VECTORS + VECTORS_MAX];
	int control;  /* a line to whoever has the function in his hands, or -1 */
	bool ejected; /* it was pulled out of this machine */
	pthread_t listener;
	pthread_mutex_t lock;
	struct device_stats stats;
};

static struct vfio *vfio_of(struct device *dev)
{
	return (struct vfio *)dev;
}

/* ---- configuration space ---- */

static uint32_t config_get(struct vfio *vfio, unsigned offset, unsigned width)
{
	uint32_t value = 0;

	if (offset + width > CONFIG_BYTES ||
	    pread(vfio->fd, &value, width, (off_t)(vfio->config.offset + offset)) != (ssize_t)width)
		return width == 4 ? ~0u : (1u << 8 * width) - 1;
	return value;
}

static void config_set(struct vfio *vfio, unsigned offset, unsigned width, uint32_t value)
{
	if (offset == PCI_COMMAND)
		vfio->decodes = value & COMMAND_MEMORY;
	/* Nothing can be done about a function that takes no write, and all that follows shows it. */
	ssize_t ignored = pwrite(vfio->fd, &value, width, (off_t)(vfio->config.offset + offset));

	(void)ignored;
}

/* Offset of the next capability of that kind after `last` (0: of the first), 0 if there is none. */
static unsigned capability_after(struct vfio *vfio, unsigned last, unsigned id)
{
	unsigned offset = config_get(vfio, last ? last + 1 : PCI_CAPABILITIES, 1) & 0xfcu;

	if (!(config_get(vfio, PCI_STATUS, 2) & STATUS_CAPABILITIES))
		return 0;
	for (unsigned i = 0; offset >= 0x40 && i < 48; i++) {
		if (config_get(vfio, offset, 1) == id)
			return offset;
		offset = config_get(vfio, offset + 1, 1) & 0xfcu;
	}
	return 0;
}

/* ---- registers ---- */

static uint64_t load(const volatile void *at, unsigned width)
{
	switch (width) {
	case 1:
		return *(const volatile uint8_t *)at;
	case 2:
		return *(const volatile uint16_t *)at;
	case 4:
		return *(const volatile uint32_t *)at;
	default:
		return *(const volatile uint64_t *)at;
	}
}

static void store(volatile void *at, unsigned width, uint64_t value)
{
	switch (width) {
	case 1:
		*(volatile uint8_t *)at = (uint8_t)value;
		break;
	case 2:
		*(volatile uint16_t *)at = (uint16_t)value;
		break;
	case 4:
		*(volatile uint32_t *)at = (uint32_t)value;
		break;
	default:
		*(volatile uint64_t *)at = value;
		break;
	}
}

static bool in_region(const struct region *region, uint64_t offset, unsigned width)
{
	return offset < region->length && width <= region->length - offset && offset % width == 0;
}

static uint64_t region_read(struct vfio *vfio, const struct region *region, uint64_t offset, unsigned width)
{
	uint64_t value = 0;

	if (!in_region(region, offset, width) || !vfio->decodes)
		return ~0ull;
	if (region->host)
		return load(region->host + offset, width);
	return pread(vfio->fd, &value, width, (off_t)(region->offset + offset)) == (ssize_t)width ? value : ~0ull;
}

static void region_write(struct vfio *vfio, const struct region *region, uint64_t offset, unsigned width,
			 uint64_t value)
{
	ssize_t ignored;

	if (!in_region(region, offset, width) || !vfio->decodes)
		return;
	if (region->host) {
		store(region->host + offset, width, value);
	} else {
		ignored = pwrite(vfio->fd, &value, width, (off_t)(region->offset + offset));
		(void)ignored;
	}
}

static uint32_t common_get(struct vfio *vfio, unsigned offset, unsigned width)
{
	return (uint32_t)region_read(vfio, &vfio->bar[vfio->common.bar], vfio->common.offset + offset, width);
}

static void common_set(struct vfio *vfio, unsigned offset, unsigned width, uint32_t value)
{
	region_write(vfio, &vfio->bar[vfio->common.bar], vfio->common.offset + offset, width, value);
}

/* ---- interrupts ---- */

static int set_irqs(struct vfio *vfio, unsigned index, uint32_t action, const int *events, unsigned count)
{
	union {
		struct vfio_irq_set head;
		uint8_t bytes[sizeof(struct vfio_irq_set) + VECTORS_MAX * sizeof(int32_t)];
	} set = { .head = { .index = index, .count = count } };
	size_t data = events ? count * sizeof(*events) : 0;

	set.head.argsz = (uint32_t)(sizeof(set.head) + data);
	set.head.flags = action | (events ? VFIO_IRQ_SET_DATA_EVENTFD : VFIO_IRQ_SET_DATA_NONE);
	if (data)
		memcpy(set.bytes + sizeof(set.head), events, data);
	return ioctl(vfio->fd, VFIO_DEVICE_SET_IRQS, &set);
}

/* VFIO has one kind of interrupts on at a time. */
static void set_mode(struct vfio *vfio, enum irq_mode mode)
{
	if (mode == vfio->mode)
		return;
	if (vfio->mode != IRQ_NONE)
		set_irqs(vfio, vfio->mode == IRQ_MSIX ? VFIO_PCI_MSIX_IRQ_INDEX : VFIO_PCI_INTX_IRQ_INDEX,
			 VFIO_IRQ_SET_ACTION_TRIGGER, NULL, 0);
	if (mode == IRQ_MSIX)
		set_irqs(vfio, VFIO_PCI_MSIX_IRQ_INDEX, VFIO_IRQ_SET_ACTION_TRIGGER, &vfio->event[EVENT_VECTORS],
			 vfio->vectors);
	else if (mode == IRQ_LINE)
		set_irqs(vfio, VFIO_PCI_INTX_IRQ_INDEX, VFIO_IRQ_SET_ACTION_TRIGGER, &vfio->event[EVENT_LINE], 1);
	vfio->mode = mode;
}

/* As after power-on. */
static void forget_interrupts(struct vfio *vfio)
{
	vfio->mode = IRQ_NONE;
	vfio->msix_control &= MSIX_ENTRIES;
	memset(vfio->entry, 0, sizeof(vfio->entry));
}

static void deliver(struct vfio *vfio, unsigned vector)
{
	struct entry *entry = &vfio->entry[vector];

	entry->pending = entry->word[3] & 1;
	if (entry->pending)
		return;
	vfio->stats.interrupts++;
	vfio->device.bus.msi_write(vfio->device.bus.opaque, (uint64_t)entry->word[1] << 32 | entry->word[0],
				   entry->word[2]);
}

static void *listen_main(void *opaque)
{
	struct vfio *vfio = opaque;
	unsigned count = EVENT_VECTORS + vfio->vectors;
	struct pollfd poller[EVENT_VECTORS + VECTORS_MAX];
	uint64_t times;

	for (unsigned i = 0; i < count; i++)
		poller[i] = (struct pollfd){ .fd = vfio->event[i], .events = POLLIN };
	poller[EVENT_EJECT].fd = -1; /* of whoever had it pulled out */
	while (poll(poller, count, -1) >= 0 || errno == EINTR) {
		if (poller[EVENT_END].revents)
			break;
		pthread_mutex_lock(&vfio->lock);
		for (unsigned i = EVENT_LINE; i < count; i++) {
			if (!poller[i].revents || read(vfio->event[i], &times, sizeof(times)) != sizeof(times))
				continue;
			if (i >= EVENT_VECTORS) {
				deliver(vfio, i - EVENT_VECTORS);
				continue;
			}
			vfio->stats.interrupts++;
			vfio->device.bus.set_intx(vfio->device.bus.opaque, true);
		}
		pthread_mutex_unlock(&vfio->lock);
	}
	return NULL;
}

static int listen_start(struct vfio *vfio, struct error *err)
{
	sigset_t all, mask;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &mask);
	vfio->listening = !pthread_create(&vfio->listener, NULL, listen_main, vfio);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	return vfio->listening ? 0 : error_set(err, "cannot start a thread for the interrupts of %s", vfio->name);
}

/* The line was served: VFIO masked it when it rose, and says so again if it is still up. */
static void vfio_intx_served(struct device *dev)
{
	struct vfio *vfio = vfio_of(dev);

	pthread_mutex_lock(&vfio->lock);
	dev->bus.set_intx(dev->bus.opaque, false);
	if (vfio->mode == IRQ_LINE)
		set_irqs(vfio, VFIO_PCI_INTX_IRQ_INDEX, VFIO_IRQ_SET_ACTION_UNMASK, NULL, 1);
	pthread_mutex_unlock(&vfio->lock);
}

/* ---- the device ---- */

static uint32_t vfio_config_read(struct device *dev, unsigned offset, unsigned width)
{
	struct vfio *vfio = vfio_of(dev);
	uint32_t value = config_get(vfio, offset, width);
	unsigned control = vfio->msix + 2;

	/* The table is ours, and so is the word that switches it. */
	if (!vfio->msix || offset + width <= control || offset >= control + 2)
		return value;
	for (unsigned i = 0; i < width; i++) {
		unsigned byte = offset + i - control;

		if (byte < 2)
			value = (value & ~(0xffu << 8 * i)) | (uint32_t)(vfio->msix_control >> 8 * byte & 0xff)
								      << 8 * i;
	}
	return value;
}

static void vfio_config_write(struct device *dev, unsigned offset, unsigned width, uint32_t value)
{
	struct vfio *vfio = vfio_of(dev);
	unsigned control = vfio->msix + 2;

	pthread_mutex_lock(&vfio->lock);
	if (vfio->msix && offset <= control + 1 && offset + width > control + 1) {
		uint16_t high = (uint16_t)(value >> 8 * (control + 1 - offset) & 0xff);

		vfio->msix_control =
			(uint16_t)((vfio->msix_control & MSIX_ENTRIES) | (high << 8 & (MSIX_ENABLE | MSIX_MASK_ALL)));
	} else if (!vfio->msix || offset + width <= control || offset > control + 1) {
		config_set(vfio, offset, width, value);
	}
	if ((vfio->msix_control & (MSIX_ENABLE | MSIX_MASK_ALL)) == MSIX_ENABLE)
		set_mode(vfio, IRQ_MSIX);
	else if (offset == PCI_COMMAND)
		set_mode(vfio, value & COMMAND_MASTER && !(vfio->msix_control & MSIX_ENABLE) ? IRQ_LINE : IRQ_NONE);
	pthread_mutex_unlock(&vfio->lock);
}

static uint64_t vfio_bar_length(struct device *dev, unsigned bar)
{
	return bar < BARS ? vfio_of(dev)->bar[bar].length : 0;
}

/* The word of the MSI-X table that the offset is in, or NULL. */
static struct entry *entry_at(struct vfio *vfio, unsigned bar, uint64_t offset, unsigned *word)
{
	uint64_t at = offset - vfio->msix_table;

	if (!vfio->msix || bar != vfio->msix_bar || offset < vfio->msix_table || at >= 16ull * vfio->vectors)
		return NULL;
	*word = at / 4 % ENTRY_WORDS;
	return &vfio->entry[at / 16];
}

static bool is_at(const struct place *place, unsigned bar, uint64_t offset)
{
	return bar == place->bar && offset - place->offset < place->length && offset >= place->offset;
}

/* Of what not all came by here there is no number. */
static void count(count64 *number)
{
	if (*number != DEVICE_UNCOUNTED)
		count64_add(number);
}

static uint64_t vfio_bar_read(struct device *dev, unsigned bar, uint64_t offset, unsigned width)
{
	struct vfio *vfio = vfio_of(dev);
	struct entry *entry;
	unsigned word;
	uint64_t value;

	if (bar >= BARS)
		return ~0ull;
	entry = entry_at(vfio, bar, offset, &word);
	if (entry)
		return entry->word[word];
	count64_add(&vfio->stats.mmio_reads);
	value = region_read(vfio, &vfio->bar[bar], offset, width);
	if (is_at(&vfio->isr, bar, offset)) {
		count(&vfio->stats.isr_reads);
		vfio_intx_served(dev); /* which takes the line down, as the read did */
	}
	return value;
}

static void vfio_bar_write(struct device *dev, unsigned bar, uint64_t offset, unsigned width, uint64_t value)
{
	struct vfio *vfio = vfio_of(dev);
	struct entry *entry;
	unsigned word;

	if (bar >= BARS)
		return;
	entry = entry_at(vfio, bar, offset, &word);
	if (!entry) {
		count64_add(&vfio->stats.mmio_writes);
		if (is_at(&vfio->notify, bar, offset))
			count(&vfio->stats.doorbells);
		region_write(vfio, &vfio->bar[bar], offset, width, value);
		return;
	}
	pthread_mutex_lock(&vfio->lock);
	entry->word[word] = (uint32_t)value;
	if (word == 3 && entry->pending && !(value & 1))
		deliver(vfio, (unsigned)(entry - vfio->entry));
	pthread_mutex_unlock(&vfio->lock);
}

static bool vfio_bar_map(struct device *dev, unsigned bar, uint64_t offset, uint64_t length, void *at)
{
	struct vfio *vfio = vfio_of(dev);
	const struct region *region = &vfio->bar[bar];

	/* Of what VFIO lends whole pages, and the MSI-X table is not to be written behind our back. */
	if (vfio->seen || !region->host || (vfio->msix && bar == vfio->msix_bar) || offset % PAGE ||
	    offset + length > region->length)
		return false;
	if (mmap(at, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, vfio->fd,
		 (off_t)(region->offset + offset)) == MAP_FAILED)
		return false;
	/* Whether the driver touches them itself, or through StorPort, it alone knows. */
	vfio->stats.doorbells = vfio->stats.isr_reads = DEVICE_UNCOUNTED;
	return true;
}

/* All its work is done by somebody else. */
static bool vfio_step(struct device *dev, uint64_t random)
{
	(void)dev;
	(void)random;
	return false;
}

static bool vfio_running(struct device *dev)
{
	struct vfio *vfio = vfio_of(dev);
	uint32_t status = common_get(vfio, offsetof(struct virtio_pci_common_cfg, device_status), 1);

	return status != VIRTIO_STATUS_ABSENT && status & VIRTIO_STATUS_DRIVER_OK;
}

static bool vfio_busy(struct device *dev)
{
	return dev->bus.expects && dev->bus.expects(dev->bus.opaque);
}

/* Bounded: of a device that does not stop we have the IOMMU. */
static void stop_virtio(struct vfio *vfio)
{
	unsigned status = offsetof(struct virtio_pci_common_cfg, device_status);

	common_set(vfio, status, 1, 0);
	for (unsigned i = 0; i < RESET_POLLS && common_get(vfio, status, 1); i++)
		usleep(RESET_POLL_US);
}

static void vfio_power_cycle(struct device *dev)
{
	struct vfio *vfio = vfio_of(dev);

	if (vfio->fd < 0)
		return;
	pthread_mutex_lock(&vfio->lock);
	set_mode(vfio, IRQ_NONE);
	forget_interrupts(vfio);
	/* A function that cannot be reset alone is at least stopped, which needs its registers. */
	config_set(vfio, PCI_COMMAND, 2, COMMAND_MEMORY);
	stop_virtio(vfio);
	config_set(vfio, PCI_COMMAND, 2, 0);
	ioctl(vfio->fd, VFIO_DEVICE_RESET);
	pthread_mutex_unlock(&vfio->lock);
}

/* ---- what somebody else does to it ---- */

/* The last part of what a link of the function's in sysfs leads to. */
static int read_link(const struct vfio *vfio, const char *link, char *name, size_t size)
{
	char path[80], target[512];
	const char *last;
	ssize_t length;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", vfio->name, link);
	length = readlink(path, target, sizeof(target) - 1);
	if (length < 0)
		return -1;
	target[length] = '\0';
	last = strrchr(target, '/');
	last = last ? last + 1 : target;
	if (strlen(last) >= size)
		return -1;
	strcpy(name, last);
	return 0;
}

static int open_control(struct vfio *vfio, const char *path, struct error *err)
{
	struct termios mode;

	vfio->control = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (vfio->control < 0)
		return error_set(err, "%s: %s", path, strerror(errno));
	if (!tcgetattr(vfio->control, &mode)) {
		cfmakeraw(&mode);
		tcsetattr(vfio->control, TCSANOW, &mode);
	}
	return 0;
}

static int tell(struct vfio *vfio, const char *verb, uint64_t number, struct error *err)
{
	char line[80];
	int length = snprintf(line, sizeof(line), "%s %s %llu\n", verb, vfio->name, (unsigned long long)number);

	if (write(vfio->control, line, (size_t)length) == length)
		return 0;
	return error_set(err, "nobody can be told to %s %s: %s", verb, vfio->name, strerror(errno));
}

/* The answer is a line: "ok", or why not. */
static int hear(struct vfio *vfio, const char *verb, struct error *err)
{
	struct pollfd poller = { .fd = vfio->control, .events = POLLIN };
	char line[160];
	size_t length = 0;

	while (length + 1 < sizeof(line)) {
		if (poll(&poller, 1, ANSWER_MS) <= 0 || read(vfio->control, line + length, 1) != 1)
			return error_set(err, "nobody answers to '%s %s'", verb, vfio->name);
		if (line[length] == '\n')
			break;
		length++;
	}
	line[length] = '\0';
	return strcmp(line, "ok") ? error_set(err, "'%s %s' is answered by: %s", verb, vfio->name, line) : 0;
}

static uint64_t interrupts_of(struct vfio *vfio)
{
	uint64_t count;

	pthread_mutex_lock(&vfio->lock);
	count = vfio->stats.interrupts;
	pthread_mutex_unlock(&vfio->lock);
	return count;
}

/* What a driver that runs is told of it has come, as a rule, when this returns. */
static int vfio_resize(struct device *dev, uint64_t bytes, struct error *err)
{
	struct vfio *vfio = vfio_of(dev);
	uint64_t before = interrupts_of(vfio);

	if (vfio->control < 0) {
		error_set(err, "nobody is there to resize %s: it has no control=", vfio->name);
		return DEVICE_CANNOT;
	}
	if (tell(vfio, "resize", bytes, err) || hear(vfio, "resize", err))
		return -1;
	for (unsigned i = 0; i < ARRIVAL_POLLS && vfio_running(dev) && interrupts_of(vfio) == before; i++)
		usleep(RESET_POLL_US);
	return 0;
}

/* Nothing of it is left here; its registers read all ones. */
static void let_go(struct vfio *vfio)
{
	uint64_t one = 1;

	if (vfio->listening && write(vfio->event[EVENT_END], &one, sizeof(one)) == sizeof(one))
		pthread_join(vfio->listener, NULL);
	vfio->listening = false;
	for (unsigned bar = 0; bar < BARS; bar++) {
		if (vfio->bar[bar].host)
			munmap((void *)(uintptr_t)vfio->bar[bar].host, vfio->bar[bar].length);
		vfio->bar[bar].host = NULL;
	}
	for (unsigned i = 0; i < EVENT_VECTORS + VECTORS_MAX; i++) {
		if (vfio->event[i] >= 0)
			close(vfio->event[i]);
		vfio->event[i] = -1;
	}
	/* The last of these stops the function and takes the memory out of the IOMMU. */
	if (vfio->fd >= 0)
		close(vfio->fd);
	if (vfio->group >= 0)
		close(vfio->group);
	if (vfio->container >= 0)
		close(vfio->container);
	vfio->container = vfio->group = vfio->fd = -1;
	vfio->mapped = vfio->decodes = false;
	forget_interrupts(vfio);
}

/* Whoever can pulls it out, with what it has in flight: Linux asks us to let it go, and waits for that. */
static int vfio_eject(struct device *dev, struct error *err)
{
	struct vfio *vfio = vfio_of(dev);
	struct pollfd poller = { .fd = vfio->event[EVENT_EJECT], .events = POLLIN };

	if (vfio->control < 0)
		return 0;
	if (tell(vfio, "pull", 0, err))
		return -1;
	poll(&poller, 1, ANSWER_MS);
	let_go(vfio);
	if (hear(vfio, "pull", err))
		return -1;
	vfio->ejected = true;
	return 0;
}

static int open_all(struct vfio *vfio, struct error *err);

static int plug_in(struct vfio *vfio, struct error *err)
{
	struct error why;

	if ((tell(vfio, "plug", 0, err) || hear(vfio, "plug", err)))
		return -1;
	vfio->ejected = false;
	for (unsigned i = 0; i < ARRIVAL_POLLS && open_all(vfio, &why); i++) {
		let_go(vfio);
		usleep(ARRIVAL_POLL_US);
	}
	return vfio->fd < 0 ? error_set(err, "%s is not back: %s", vfio->name, why.text) : 0;
}

static const struct device_stats *vfio_stats(struct device *dev)
{
	return &vfio_of(dev)->stats;
}

static void vfio_destroy(struct device *dev)
{
	struct vfio *vfio = vfio_of(dev);

	let_go(vfio);
	if (vfio->control >= 0)
		close(vfio->control);
	pthread_mutex_destroy(&vfio->lock);
	free(vfio);
}

static int map_memory(struct vfio *vfio, const struct device_memory *memory, struct error *err)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)memory->host,
		.iova = memory->addr,
		.size = memory->length,
	};

	if (!ioctl(vfio->container, VFIO_IOMMU_MAP_DMA, &map))
		return 0;
	return error_set(err, "the IOMMU does not take %llu bytes at bus address 0x%llx: %s",
			 (unsigned long long)memory->length, (unsigned long long)memory->addr, strerror(errno));
}

static int vfio_attached(struct device *dev, struct error *err)
{
	struct vfio *vfio = vfio_of(dev);

	if (vfio->ejected && plug_in(vfio, err))
		return -1;
	for (unsigned i = 0; i < dev->bus.memory_count && !vfio->mapped; i++) {
		const struct device_memory *memory = &dev->bus.memory[i];

		if (!vfio->platform && !memory->physical)
			return error_set(
				err,
				"%s does not offer ACCESS_PLATFORM, so it passes the IOMMU by: it needs --memory "
				"at physical addresses that are reserved for it",
				vfio->name);
		if (vfio->platform && map_memory(vfio, memory, err))
			return -1;
	}
	vfio->mapped = true;
	return vfio->listening ? 0 : listen_start(vfio, err);
}

static const struct device_ops vfio_ops = {
	.name = "vfio",
	.config_read = vfio_config_read,
	.config_write = vfio_config_write,
	.bar_length = vfio_bar_length,
	.bar_read = vfio_bar_read,
	.bar_write = vfio_bar_write,
	.step = vfio_step,
	.owes = vfio_busy,
	.running = vfio_running,
	.power_cycle = vfio_power_cycle,
	.stats = vfio_stats,
	.destroy = vfio_destroy,
	.attached = vfio_attached,
	.busy = vfio_busy,
	.bar_map = vfio_bar_map,
	.resize = vfio_resize,
	.eject = vfio_eject,
	.pulled_out = vfio_power_cycle,
	.intx_served = vfio_intx_served,
};

/* ---- how it is had ---- */

static int parse_address(struct vfio *vfio, const char *spec, struct error *err)
{
	unsigned domain = 0, bus, slot, function;
	int end = 0;

	if ((sscanf(spec, "%4x:%2x:%2x.%1x%n", &domain, &bus, &slot, &function, &end) != 4 &&
	     (domain = 0, sscanf(spec, "%2x:%2x.%1x%n", &bus, &slot, &function, &end) != 3)) ||
	    spec[end] || slot > 31 || function > 7)
		return error_set(
			err, "a function is named [DOMAIN:]BUS:DEVICE.FUNCTION, such as 0000:01:00.0, not '%s'", spec);
	snprintf(vfio->name, sizeof(vfio->name), "%04x:%02x:%02x.%x", domain & 0xffff, bus & 0xff, slot, function);
	return 0;
}

static int open_group(struct vfio *vfio, struct error *err)
{
	struct vfio_group_status status = { .argsz = sizeof(status) };
	char path[80], driver[40], group[40];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s", vfio->name);
	if (access(path, F_OK))
		return error_set(err, "this machine has no PCI function %s", vfio->name);
	if (read_link(vfio, "driver", driver, sizeof(driver)) || strcmp(driver, "vfio-pci"))
		return error_set(err, "%s is not bound to vfio-pci", vfio->name);
	if (read_link(vfio, "iommu_group", group, sizeof(group)))
		return error_set(err, "%s is behind no IOMMU", vfio->name);
	snprintf(path, sizeof(path), "/dev/vfio/%s", group);
	vfio->group = open(path, O_RDWR | O_CLOEXEC);
	if (vfio->group < 0)
		return error_set(err, "%s: %s", path, strerror(errno));
	if (ioctl(vfio->group, VFIO_GROUP_GET_STATUS, &status) || !(status.flags & VFIO_GROUP_FLAGS_VIABLE))
		return error_set(err, "%s shares its IOMMU group with functions that are not bound to vfio-pci",
				 vfio->name);
	return 0;
}

static int open_device(struct vfio *vfio, struct error *err)
{
	if (open_group(vfio, err))
		return -1;
	vfio->container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	if (vfio->container < 0)
		return error_set(err, "/dev/vfio/vfio: %s", strerror(errno));
	if (ioctl(vfio->group, VFIO_GROUP_SET_CONTAINER, &vfio->container) ||
	    ioctl(vfio->container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		return error_set(err, "the IOMMU in front of %s cannot be had: %s", vfio->name, strerror(errno));
	vfio->fd = ioctl(vfio->group, VFIO_GROUP_GET_DEVICE_FD, vfio->name);
	return vfio->fd < 0 ? error_set(err, "%s cannot be had: %s", vfio->name, strerror(errno)) : 0;
}

static int open_region(struct vfio *vfio, unsigned index, struct region *region, struct error *err)
{
	struct vfio_region_info info = { .argsz = sizeof(info), .index = index };
	void *host;

	if (ioctl(vfio->fd, VFIO_DEVICE_GET_REGION_INFO, &info))
		return error_set(err, "%s has no region %u: %s", vfio->name, index, strerror(errno));
	region->length = info.size;
	region->offset = info.offset;
	if (!info.size || !(info.flags & VFIO_REGION_INFO_FLAG_MMAP))
		return 0;
	host = mmap(NULL, info.size, PROT_READ | PROT_WRITE, MAP_SHARED, vfio->fd, (off_t)info.offset);
	if (host == MAP_FAILED)
		return error_set(err, "BAR %u of %s cannot be mapped: %s", index, vfio->name, strerror(errno));
	region->host = host;
	return 0;
}

static void find_msix(struct vfio *vfio)
{
	uint32_t table;

	vfio->msix = capability_after(vfio, 0, CAPABILITY_MSIX);
	if (!vfio->msix)
		return;
	table = config_get(vfio, vfio->msix + 4, 4);
	vfio->msix_control = (uint16_t)(config_get(vfio, vfio->msix + 2, 2) & MSIX_ENTRIES);
	vfio->msix_bar = table & 7;
	vfio->msix_table = table & ~7u;
	vfio->vectors = vfio->msix_control + 1u;
	if (vfio->vectors > VECTORS_MAX)
		vfio->vectors = VECTORS_MAX;
}

/* Registers of that kind; with a length of 0 if there are none. [virtio 4.1.4] */
static struct place find_registers(struct vfio *vfio, unsigned kind)
{
	struct place place = { .length = 0 };
	unsigned at = 0;

	do
		at = capability_after(vfio, at, CAPABILITY_VENDOR);
	while (at && config_get(vfio, at + 3, 1) != kind);
	if (!at)
		return place;
	place = (struct place){ config_get(vfio, at + 4, 1), config_get(vfio, at + 8, 4),
				config_get(vfio, at + 12, 4) };
	if (place.bar >= BARS || place.offset + place.length > vfio->bar[place.bar].length)
		place.length = 0;
	return place;
}

/* Where virtio's registers are, and what the device says in them. */
static int find_virtio(struct vfio *vfio, struct error *err)
{
	if (config_get(vfio, 0, 2) != VIRTIO_VENDOR)
		return error_set(err, "%s is no virtio device: its vendor is 0x%04x", vfio->name,
				 config_get(vfio, 0, 2));
	vfio->common = find_registers(vfio, VIRTIO_PCI_CAP_COMMON_CFG);
	vfio->notify = find_registers(vfio, VIRTIO_PCI_CAP_NOTIFY_CFG);
	vfio->isr = find_registers(vfio, VIRTIO_PCI_CAP_ISR_CFG);
	if (vfio->common.length < sizeof(struct virtio_pci_common_cfg))
		return error_set(err, "%s has no modern virtio registers", vfio->name);
	/* Registers answer while the function decodes memory. */
	config_set(vfio, PCI_COMMAND, 2, COMMAND_MEMORY);
	common_set(vfio, offsetof(struct virtio_pci_common_cfg, device_feature_select), 4, 1);
	vfio->platform = common_get(vfio, offsetof(struct virtio_pci_common_cfg, device_feature), 4) &
			 VIRTIO_FEATURE(VIRTIO_F_ACCESS_PLATFORM) >> 32;
	common_set(vfio, offsetof(struct virtio_pci_common_cfg, device_feature_select), 4, 0);
	config_set(vfio, PCI_COMMAND, 2, 0);
	return 0;
}

static int open_events(struct vfio *vfio, struct error *err)
{
	for (unsigned i = 0; i < EVENT_VECTORS + vfio->vectors; i++) {
		vfio->event[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (vfio->event[i] < 0)
			return error_set(err, "no event for the interrupts of %s: %s", vfio->name, strerror(errno));
	}
	return 0;
}

static int open_all(struct vfio *vfio, struct error *err)
{
	if (open_device(vfio, err) || open_region(vfio, VFIO_PCI_CONFIG_REGION_INDEX, &vfio->config, err))
		return -1;
	for (unsigned bar = 0; bar < BARS; bar++) {
		if (open_region(vfio, VFIO_PCI_BAR0_REGION_INDEX + bar, &vfio->bar[bar], err))
			return -1;
	}
	find_msix(vfio);
	if (find_virtio(vfio, err) || open_events(vfio, err))
		return -1;
	set_irqs(vfio, VFIO_PCI_REQ_IRQ_INDEX, VFIO_IRQ_SET_ACTION_TRIGGER, &vfio->event[EVENT_EJECT], 1);
	return 0;
}

struct device *vfio_create(const char *address, const char *control, bool seen, struct error *err)
{
	struct vfio *vfio = calloc(1, sizeof(*vfio));

	if (!vfio) {
		error_set(err, "there is no memory");
		return NULL;
	}
	vfio->device.ops = &vfio_ops;
	vfio->seen = seen;
	vfio->container = vfio->group = vfio->fd = vfio->control = -1;
	for (unsigned i = 0; i < EVENT_VECTORS + VECTORS_MAX; i++)
		vfio->event[i] = -1;
	vfio->stats = (struct device_stats){
		.requests = DEVICE_UNCOUNTED,
		.bytes_read = DEVICE_UNCOUNTED,
		.bytes_written = DEVICE_UNCOUNTED,
		.flushes = DEVICE_UNCOUNTED,
		.discards = DEVICE_UNCOUNTED,
		.zeroes = DEVICE_UNCOUNTED,
		.faults = DEVICE_UNCOUNTED,
	};
	pthread_mutex_init(&vfio->lock, NULL);
	if (!parse_address(vfio, address, err) && !(*control && open_control(vfio, control, err)) &&
	    !open_all(vfio, err))
		return &vfio->device;
	vfio_destroy(&vfio->device);
	return NULL;
}
