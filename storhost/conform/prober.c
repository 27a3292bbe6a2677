/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Registers, memory, the ring and requests, as a driver without any cares would have them. */
#include "conform/prober.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "nt/phys.h"

#define RAM_BYTES (48u << 20)
#define RANGES 8u
#define COMMAND 0x04u
#define COMMAND_MEMORY_AND_MASTER 0x0006u
#define COMMAND_LINE_OFF 0x0400u
#define BARS 6u
#define BAR0 0x10u
#define FIRST_ADDRESS 0xe0000000u
#define MESSAGE_ADDRESS 0xfee00000u
#define MESSAGE_DATA 0x40u
#define UNTOUCHED 0xee

void judge(struct prober *p, enum clause clause, bool holds, const char *fmt, ...)
{
	struct verdict *verdict = &p->verdicts[clause];
	va_list ap;

	if (verdict->state == CLAUSE_BROKEN)
		return;
	verdict->state = holds ? CLAUSE_HOLDS : CLAUSE_BROKEN;
	verdict->text[0] = '\0';
	if (holds)
		return;
	va_start(ap, fmt);
	vsnprintf(verdict->text, sizeof(verdict->text), fmt, ap);
	va_end(ap);
}

/* ---- the bus ---- */

static void *bus_translate(void *opaque, uint64_t address, uint32_t length, bool write)
{
	struct prober *p = opaque;
	void *host = phys_device(address, length, write);

	if (!host && !__atomic_fetch_add(&p->strays, 1, __ATOMIC_RELAXED))
		snprintf(p->stray, sizeof(p->stray), "%u bytes at 0x%llx were to be %s", length,
			 (unsigned long long)address, write ? "written" : "read");
	return host;
}

static bool bus_may_name(void *opaque, uint64_t address, uint32_t length, bool write)
{
	(void)opaque;
	return phys_device(address, length, write);
}

static void bus_set_intx(void *opaque, bool asserted)
{
	struct prober *p = opaque;

	if (asserted && !__atomic_exchange_n(&p->line, true, __ATOMIC_ACQ_REL))
		__atomic_fetch_add(&p->line_rises, 1, __ATOMIC_RELAXED);
	else if (!asserted)
		__atomic_store_n(&p->line, false, __ATOMIC_RELEASE);
}

static void bus_msi_write(void *opaque, uint64_t address, uint32_t data)
{
	struct prober *p = opaque;
	uint32_t vector = data - MESSAGE_DATA;

	if (address == MESSAGE_ADDRESS && vector < PROBE_VECTORS)
		__atomic_fetch_add(&p->messages[vector], 1, __ATOMIC_RELAXED);
	else
		__atomic_fetch_add(&p->stray_messages, 1, __ATOMIC_RELAXED);
}

static void bus_wake(void *opaque)
{
	__atomic_store_n(&((struct prober *)opaque)->woken, true, __ATOMIC_RELEASE);
}

/* What the device thinks of the prober is its own affair: some of it is done to be refused. */
static void bus_blame(void *opaque, enum rule rule, const char *clause, const char *text)
{
	(void)opaque;
	(void)rule;
	(void)clause;
	(void)text;
}

static unsigned memory_ranges(struct device_memory *ranges)
{
	struct phys_range range;
	unsigned n;

	for (n = 0; n < RANGES && phys_range(n, &range); n++)
		ranges[n] = (struct device_memory){ range.address, range.length, range.host,
						    range.fd,      range.offset, range.physical };
	return n;
}

int prober_start(struct prober *p, struct device *dev, uint64_t seed, struct verdict *verdicts, struct error *err)
{
	static struct device_memory ranges[RANGES];
	struct device_bus bus = {
		.opaque = p,
		.translate = bus_translate,
		.granted = bus_may_name,
		.set_intx = bus_set_intx,
		.msi_write = bus_msi_write,
		.wake = bus_wake,
		.blame = bus_blame,
	};

	memset(p, 0, sizeof(*p));
	p->dev = dev;
	p->verdicts = verdicts;
	p->random = seed;
	if (phys_start(RAM_BYTES, seed, err))
		return -1;
	bus.memory = ranges;
	bus.memory_count = memory_ranges(ranges);
	if (device_attach(dev, &bus, err))
		return -1;
	p->ring = phys_alloc_contiguous(3, PHYS_COMMON, false);
	p->head = phys_alloc(PHYS_COMMON, false);
	p->status = phys_alloc(PHYS_COMMON, false);
	p->table = phys_alloc(PHYS_COMMON, false);
	p->data = phys_alloc_contiguous(2 * PROBE_SEGMENTS, PHYS_COMMON, false);
	return p->ring && p->head && p->status && p->table && p->data ? 0 : error_set(err, "there is no memory");
}

void *memory(uint64_t address)
{
	return phys_host(address);
}

/* ---- registers ---- */

uint32_t config_read(struct prober *p, unsigned offset, unsigned width)
{
	return p->dev->ops->config_read(p->dev, offset, width);
}

void config_write(struct prober *p, unsigned offset, unsigned width, uint32_t value)
{
	p->dev->ops->config_write(p->dev, offset, width, value);
}

void prober_place(struct prober *p)
{
	uint64_t next = FIRST_ADDRESS;

	p->dev->ops->power_cycle(p->dev);
	for (unsigned bar = 0; bar < BARS; bar++) {
		uint64_t length = p->dev->ops->bar_length(p->dev, bar);

		if (!length)
			continue;
		next = (next + length - 1) & ~(length - 1);
		config_write(p, BAR0 + 4 * bar, 4, (uint32_t)next);
		if ((config_read(p, BAR0 + 4 * bar, 4) & 6) == 4)
			config_write(p, BAR0 + 4 * bar + 4, 4, (uint32_t)(next >> 32));
		next += length;
	}
	config_write(p, COMMAND, 2, COMMAND_MEMORY_AND_MASTER);
}

uint64_t region_read(struct prober *p, unsigned type, uint32_t offset, unsigned width)
{
	const struct prober_region *region = &p->region[type];

	return p->dev->ops->bar_read(p->dev, region->bar, (uint64_t)region->offset + offset, width);
}

void region_write(struct prober *p, unsigned type, uint32_t offset, unsigned width, uint64_t value)
{
	const struct prober_region *region = &p->region[type];

	p->dev->ops->bar_write(p->dev, region->bar, (uint64_t)region->offset + offset, width, value);
}

uint32_t common_read(struct prober *p, unsigned offset, unsigned width)
{
	return (uint32_t)region_read(p, VIRTIO_PCI_CAP_COMMON_CFG, offset, width);
}

void common_write(struct prober *p, unsigned offset, unsigned width, uint32_t value)
{
	region_write(p, VIRTIO_PCI_CAP_COMMON_CFG, offset, width, value);
}

void common_write64(struct prober *p, unsigned offset, uint64_t value)
{
	common_write(p, offset, 4, (uint32_t)value);
	common_write(p, offset + 4, 4, (uint32_t)(value >> 32));
}

uint64_t common_read64(struct prober *p, unsigned offset)
{
	return common_read(p, offset, 4) | (uint64_t)common_read(p, offset + 4, 4) << 32;
}

uint64_t config_field(struct prober *p, unsigned offset, unsigned width)
{
	if (width == 8)
		return config_field(p, offset, 4) | config_field(p, offset + 4, 4) << 32;
	return region_read(p, VIRTIO_PCI_CAP_DEVICE_CFG, offset, width);
}

uint64_t offered(struct prober *p)
{
	uint64_t features;

	common_write(p, COMMON(device_feature_select), 4, 1);
	features = (uint64_t)common_read(p, COMMON(device_feature), 4) << 32;
	common_write(p, COMMON(device_feature_select), 4, 0);
	return features | common_read(p, COMMON(device_feature), 4);
}

void accept(struct prober *p, uint64_t features)
{
	for (unsigned word = 0; word < 2; word++) {
		common_write(p, COMMON(driver_feature_select), 4, word);
		common_write(p, COMMON(driver_feature), 4, (uint32_t)(features >> (32 * word)));
	}
}

/* ---- time ---- */

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Whether the device did something, or may yet. */
static bool work(struct prober *p)
{
	bool woken = __atomic_exchange_n(&p->woken, false, __ATOMIC_ACQ_REL), worked;

	p->random = p->random * 6364136223846793005u + 1442695040888963407u;
	worked = p->dev->ops->step(p->dev, p->random);
	return woken || worked;
}

bool await_change(struct prober *p, const volatile uint16_t *cell, uint16_t was, unsigned ms)
{
	int64_t end = now_ms() + ms;

	for (;;) {
		bool worked = work(p);

		if (cell && __atomic_load_n(cell, __ATOMIC_ACQUIRE) != was)
			return true;
		if (worked && now_ms() < end)
			continue;
		/* One that works by steps alone has nothing left to do. */
		if (!p->dev->ops->busy || now_ms() >= end)
			return false;
		usleep(200);
	}
}

void let_work(struct prober *p, unsigned ms)
{
	await_change(p, NULL, 0, ms);
}

/* ---- from reset to DRIVER_OK ---- */

bool reset(struct prober *p)
{
	int64_t end = now_ms() + PROBE_WAIT_MS;

	common_write(p, COMMON(device_status), 1, 0);
	for (unsigned reads = 0; common_read(p, COMMON(device_status), 1); reads++) {
		if (now_ms() >= end)
			return false;
		work(p);
		if (reads > 100)
			usleep(500);
	}
	return true;
}

static const uint64_t wanted = VIRTIO_FEATURE(VIRTIO_F_VERSION_1) | VIRTIO_FEATURE(VIRTIO_F_INDIRECT_DESC) |
			       VIRTIO_FEATURE(VIRTIO_BLK_F_SEG_MAX) | VIRTIO_FEATURE(VIRTIO_BLK_F_BLK_SIZE) |
			       VIRTIO_FEATURE(VIRTIO_BLK_F_FLUSH);

bool prepare(struct prober *p)
{
	if (!reset(p)) {
		judge(p, CLAUSE_RESET_ZERO, false, "once it has worked it reads 0x%02x for two seconds",
		      common_read(p, COMMON(device_status), 1));
		return false;
	}
	p->lost = false;
	memset(memory(p->ring), 0, 3 * PROBE_PAGE);
	p->avail = p->used = 0;
	common_write(p, COMMON(device_status), 1, VIRTIO_STATUS_ACKNOWLEDGE);
	common_write(p, COMMON(device_status), 1, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER);
	accept(p, offered(p) & (wanted | VIRTIO_FEATURE(VIRTIO_F_ACCESS_PLATFORM)));
	common_write(p, COMMON(device_status), 1,
		     VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK);
	if (!(common_read(p, COMMON(device_status), 1) & VIRTIO_STATUS_FEATURES_OK))
		return false;
	common_write(p, COMMON(queue_select), 2, 0);
	p->size = (uint16_t)common_read(p, COMMON(queue_size), 2);
	if (p->size > PROBE_SEGMENTS) {
		common_write(p, COMMON(queue_size), 2, PROBE_SEGMENTS);
		p->size = (uint16_t)common_read(p, COMMON(queue_size), 2);
	}
	if (!p->size || p->size > PROBE_SEGMENTS)
		return false;
	common_write64(p, COMMON(queue_desc), p->ring);
	common_write64(p, COMMON(queue_driver), p->ring + PROBE_PAGE);
	common_write64(p, COMMON(queue_device), p->ring + 2 * PROBE_PAGE);
	return true;
}

static bool go(struct prober *p)
{
	common_write(p, COMMON(queue_enable), 2, 1);
	common_write(p, COMMON(device_status), 1,
		     VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK |
			     VIRTIO_STATUS_DRIVER_OK);
	return common_read(p, COMMON(device_status), 1) & VIRTIO_STATUS_DRIVER_OK;
}

bool set_up(struct prober *p)
{
	return prepare(p) && go(p);
}

static void table_write(struct prober *p, unsigned vector, unsigned field, uint32_t value)
{
	uint32_t table = config_read(p, p->msix + 4, 4);

	p->dev->ops->bar_write(p->dev, table & 7, (table & ~7u) + 16ull * vector + field, 4, value);
}

void mask_vector(struct prober *p, unsigned vector, bool masked)
{
	table_write(p, vector, 12, masked);
}

void enable_messages(struct prober *p, uint16_t config, uint16_t queue)
{
	uint32_t control = config_read(p, p->msix + 2, 2);

	config_write(p, COMMAND, 2, COMMAND_MEMORY_AND_MASTER | COMMAND_LINE_OFF);
	config_write(p, p->msix + 2, 2, (control & 0x3fffu) | 0xc000u);
	for (unsigned vector = 0; vector < p->msix_count && vector < PROBE_VECTORS; vector++) {
		table_write(p, vector, 0, MESSAGE_ADDRESS);
		table_write(p, vector, 4, 0);
		table_write(p, vector, 8, MESSAGE_DATA + vector);
		mask_vector(p, vector, false);
	}
	config_write(p, p->msix + 2, 2, (control & 0x3fffu) | 0x8000u);
	common_write(p, COMMON(config_msix_vector), 2, config);
	common_read(p, COMMON(config_msix_vector), 2);
	common_write(p, COMMON(queue_select), 2, 0);
	common_write(p, COMMON(queue_msix_vector), 2, queue);
	common_read(p, COMMON(queue_msix_vector), 2);
}

void disable_messages(struct prober *p)
{
	config_write(p, p->msix + 2, 2, config_read(p, p->msix + 2, 2) & 0x3fffu);
	config_write(p, COMMAND, 2, COMMAND_MEMORY_AND_MASTER);
}

/* ---- requests ---- */

static struct virtq_avail *avail_ring(struct prober *p)
{
	return memory(p->ring + PROBE_PAGE);
}

static struct virtq_used *used_ring(struct prober *p)
{
	return memory(p->ring + 2 * PROBE_PAGE);
}

void build(struct prober *p, enum layout layout, uint16_t first, uint32_t type, uint64_t sector,
	   const struct segment *segments, unsigned count)
{
	struct virtq_desc *ring = memory(p->ring), *desc = layout == LAYOUT_INDIRECT ? memory(p->table) : ring + first;
	uint16_t base = layout == LAYOUT_INDIRECT ? 0 : first;
	struct virtio_blk_req *head = memory(p->head);

	*head = (struct virtio_blk_req){ .type = type, .sector = sector };
	*(uint8_t *)memory(p->status) = UNTOUCHED;
	desc[0] = (struct virtq_desc){ p->head, sizeof(*head), VIRTQ_DESC_F_NEXT, (uint16_t)(base + 1) };
	for (unsigned i = 0; i < count; i++)
		desc[i + 1] = (struct virtq_desc){ segments[i].address, segments[i].length,
						   (uint16_t)(VIRTQ_DESC_F_NEXT |
							      (segments[i].write ? VIRTQ_DESC_F_WRITE : 0)),
						   (uint16_t)(base + i + 2) };
	desc[count + 1] = (struct virtq_desc){ p->status, 1, VIRTQ_DESC_F_WRITE, 0 };
	if (layout == LAYOUT_INDIRECT)
		ring[first] = (struct virtq_desc){ p->table, (uint32_t)((count + 2) * sizeof(*desc)),
						   VIRTQ_DESC_F_INDIRECT, 0 };
}

void offer(struct prober *p, uint16_t head)
{
	struct virtq_avail *avail = avail_ring(p);

	avail->ring[p->avail % p->size] = head;
	__atomic_store_n(&avail->idx, ++p->avail, __ATOMIC_RELEASE);
}

void ring_doorbell(struct prober *p, unsigned width)
{
	uint32_t offset;

	common_write(p, COMMON(queue_select), 2, 0);
	offset = common_read(p, COMMON(queue_notify_off), 2) * p->multiplier;
	region_write(p, VIRTIO_PCI_CAP_NOTIFY_CFG, offset, width, 0);
}

bool take_used(struct prober *p, struct virtq_used_elem *elem)
{
	struct virtq_used *used = used_ring(p);

	if (!await_change(p, &used->idx, p->used, PROBE_WAIT_MS))
		return false;
	*elem = used->ring[p->used++ % p->size];
	return true;
}

int request(struct prober *p, enum layout layout, uint32_t type, uint64_t sector, const struct segment *segments,
	    unsigned count)
{
	struct virtq_used *used = used_ring(p);
	struct virtq_used_elem elem;
	uint8_t status;

	if (p->lost && !set_up(p))
		return -1;
	build(p, layout, 0, type, sector, segments, count);
	offer(p, 0);
	ring_doorbell(p, 2);
	p->lost = !take_used(p, &elem);
	judge(p, CLAUSE_REQUEST_RETURNED, !p->lost, "one of type %u is not", type);
	if (p->lost)
		return -1;
	p->lost = elem.id != 0 || used->idx != p->used;
	status = *(uint8_t *)memory(p->status);
	judge(p, CLAUSE_RING_ID, elem.id == 0, "a used entry names descriptor %u, and the request began at 0", elem.id);
	judge(p, CLAUSE_REQUEST_USED_LENGTH, elem.len == 0, "used.len is %u", elem.len);
	judge(p, CLAUSE_REQUEST_STATUS, status <= VIRTIO_BLK_S_UNSUPP,
	      "a request of type %u was returned with status 0x%02x", type, status);
	judge(p, CLAUSE_RING_ID, __atomic_load_n(&used->idx, __ATOMIC_ACQUIRE) == p->used,
	      "one request was returned %u times", (uint16_t)(used->idx - p->used) + 1u);
	p->used = used->idx;
	return status;
}

int transfer(struct prober *p, uint32_t type, uint64_t sector, uint32_t length)
{
	struct segment segment = { p->data, length, type == VIRTIO_BLK_T_IN };

	return request(p, LAYOUT_INDIRECT, type, sector, &segment, 1);
}
