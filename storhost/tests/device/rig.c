/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The recording machine and the little driver that the device tests share. */
#include "rig.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PAGE 4096u

static void *translate(void *opaque, uint64_t addr, uint32_t len, bool write)
{
	struct rig *rig = opaque;
	uint64_t n = (addr - RIG_BASE) / PAGE;

	if (len == 0 || len > PAGE - addr % PAGE)
		fail_msg("a translation of %u bytes at %llx crosses a page", len, (unsigned long long)addr);
	if (addr < RIG_BASE || n >= RIG_PAGES || !(rig->access[n] & (write ? 2 : 1))) {
		rig->refused++;
		return NULL;
	}
	if (write && rig->hold_status && addr == rig->used + 2) {
		uint8_t status;

		rig_get(rig, rig->status_watched, &status, 1);
		if (status == 0xEE)
			fail_msg("the used index is published before the status byte");
	}
	return rig->host + (size_t)rig->page[n] * PAGE + addr % PAGE;
}

static bool granted(void *opaque, uint64_t addr, uint32_t len, bool write)
{
	return ((struct rig *)opaque)->boundless || translate(opaque, addr, len, write);
}

static void set_intx(void *opaque, bool asserted)
{
	struct rig *rig = opaque;

	assert_true(rig->intx != asserted);
	rig->intx = asserted;
	rig->intx_edges += asserted;
}

static void msi_write(void *opaque, uint64_t addr, uint32_t data)
{
	struct rig *rig = opaque;

	if (rig->messages < sizeof(rig->message) / sizeof(rig->message[0]))
		rig->message[rig->messages] = (struct rig_message){ addr, data };
	rig->messages++;
}

static void wake(void *opaque)
{
	struct rig *rig = opaque;

	rig->wakes++;
}

static void blame(void *opaque, enum rule rule, const char *clause, const char *text)
{
	struct rig *rig = opaque;

	(void)rule;

	if (rig->blames < sizeof(rig->blame) / sizeof(rig->blame[0])) {
		snprintf(rig->blame[rig->blames].clause, sizeof(rig->blame[0].clause), "%s", clause);
		snprintf(rig->blame[rig->blames].text, sizeof(rig->blame[0].text), "%s", text);
	}
	rig->blames++;
}

uint8_t rig_pattern(uint64_t offset)
{
	return (uint8_t)(offset ^ offset >> 8 ^ offset >> 15);
}

void rig_make_disk(char path[64], uint64_t bytes)
{
	uint8_t sector[512];
	int fd;

	strcpy(path, "/tmp/test-device-XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	for (uint64_t at = 0; at < bytes; at += sizeof(sector)) {
		for (unsigned i = 0; i < sizeof(sector); i++)
			sector[i] = rig_pattern(at + i);
		assert_int_equal(write(fd, sector, sizeof(sector)), sizeof(sector));
	}
	close(fd);
}

uint8_t rig_disk_byte(const struct rig *rig, uint64_t offset)
{
	int fd = open(rig->disk, O_RDONLY);
	uint8_t byte = 0;

	assert_int_equal(pread(fd, &byte, 1, (off_t)offset), 1);
	close(fd);
	return byte;
}

uint32_t rig_cfg(struct rig *rig, unsigned offset, unsigned width)
{
	return rig->dev->ops->config_read(rig->dev, offset, width);
}

void rig_cfg_write(struct rig *rig, unsigned offset, unsigned width, uint32_t value)
{
	rig->dev->ops->config_write(rig->dev, offset, width, value);
}

uint64_t rig_reg(struct rig *rig, unsigned type, uint64_t offset, unsigned width)
{
	return rig->dev->ops->bar_read(rig->dev, rig->region[type].bar, rig->region[type].offset + offset, width);
}

void rig_reg_write(struct rig *rig, unsigned type, uint64_t offset, unsigned width, uint64_t value)
{
	rig->dev->ops->bar_write(rig->dev, rig->region[type].bar, rig->region[type].offset + offset, width, value);
}

uint32_t rig_device_config(struct rig *rig, unsigned offset, unsigned width)
{
	uint32_t value;

	(void)RIG_READ(rig, config_generation);
	value = (uint32_t)rig_reg(rig, VIRTIO_PCI_CAP_DEVICE_CFG, offset, width);
	(void)RIG_READ(rig, config_generation);
	return value;
}

void rig_write64(struct rig *rig, unsigned offset, uint64_t value)
{
	rig_reg_write(rig, VIRTIO_PCI_CAP_COMMON_CFG, offset, 4, (uint32_t)value);
	rig_reg_write(rig, VIRTIO_PCI_CAP_COMMON_CFG, offset + 4, 4, value >> 32);
}

unsigned rig_find_cap(struct rig *rig, uint8_t id, uint8_t type)
{
	unsigned at = rig_cfg(rig, 0x34, 1);

	for (unsigned hops = 0; at && hops < 48; hops++) {
		if (rig_cfg(rig, at, 1) == id && (!type || rig_cfg(rig, at + 3, 1) == type))
			return at;
		at = rig_cfg(rig, at + 1, 1);
	}
	return 0;
}

static void shuffle_pages(struct rig *rig)
{
	for (unsigned i = 0; i < RIG_PAGES; i++) {
		rig->page[i] = (uint16_t)((i * 389 + 77) % RIG_PAGES);
		rig->access[i] = 3;
	}
}

/* As firmware and operating system do before a driver sees the function. */
static void assign(struct rig *rig)
{
	for (unsigned bar = 0; bar < 6; bar++)
		if (rig->dev->ops->bar_length(rig->dev, bar))
			rig_cfg_write(rig, 0x10 + 4 * bar, 4, (uint32_t)RIG_BAR(bar));
	rig_cfg_write(rig, 0x04, 2, 0x0006);
	for (uint8_t type = VIRTIO_PCI_CAP_COMMON_CFG; type <= VIRTIO_PCI_CAP_DEVICE_CFG; type++) {
		unsigned at = rig_find_cap(rig, VIRTIO_PCI_CAP_VNDR, type);

		if (!at)
			continue;
		rig->region[type].bar = rig_cfg(rig, at + 4, 1);
		rig->region[type].offset = rig_cfg(rig, at + 8, 4);
		rig->region[type].length = rig_cfg(rig, at + 12, 4);
		if (type == VIRTIO_PCI_CAP_NOTIFY_CFG)
			rig->multiplier = rig_cfg(rig, at + 16, 4);
	}
}

int rig_setup(void **state)
{
	const char *spec = *state;
	struct rig *rig = calloc(1, sizeof(*rig));
	struct virtio_blk_options options;
	struct error err = { "" };
	struct device_bus bus = {
		.opaque = rig,
		.translate = translate,
		.granted = granted,
		.set_intx = set_intx,
		.msi_write = msi_write,
		.wake = wake,
		.blame = blame,
	};

	rig->host = calloc(RIG_PAGES, PAGE);
	rig->brk = RIG_BASE;
	rig->random = 1;
	shuffle_pages(rig);
	rig_make_disk(rig->disk, RIG_DISK_BYTES);
	virtio_blk_defaults(&options);
	if (virtio_blk_parse(&options, spec, &err))
		fail_msg("%s", err.text);
	rig->dev = virtio_blk_create(&options, rig->disk, &err);
	if (!rig->dev)
		fail_msg("%s", err.text);
	device_attach(rig->dev, &bus, &err);
	assign(rig);
	*state = rig;
	return 0;
}

int rig_teardown(void **state)
{
	struct rig *rig = *state;

	rig->dev->ops->destroy(rig->dev);
	unlink(rig->disk);
	free(rig->host);
	free(rig);
	return 0;
}

uint64_t rig_alloc(struct rig *rig, uint32_t bytes, uint32_t align)
{
	uint64_t at = (rig->brk + align - 1) / align * align;

	rig->brk = at + bytes;
	assert_true(rig->brk <= RIG_BASE + RIG_PAGES * PAGE);
	return at;
}

static uint8_t *host_byte(struct rig *rig, uint64_t addr)
{
	uint64_t n = (addr - RIG_BASE) / PAGE;

	assert_true(n < RIG_PAGES);
	return rig->host + (size_t)rig->page[n] * PAGE + addr % PAGE;
}

void rig_put(struct rig *rig, uint64_t addr, const void *buf, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		*host_byte(rig, addr + i) = ((const uint8_t *)buf)[i];
}

void rig_get(struct rig *rig, uint64_t addr, void *buf, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		((uint8_t *)buf)[i] = *host_byte(rig, addr + i);
}

uint16_t rig_get16(struct rig *rig, uint64_t addr)
{
	return __atomic_load_n((uint16_t *)(void *)host_byte(rig, addr), __ATOMIC_ACQUIRE);
}

void rig_put16(struct rig *rig, uint64_t addr, uint16_t value)
{
	__atomic_store_n((uint16_t *)(void *)host_byte(rig, addr), value, __ATOMIC_RELEASE);
}

uint64_t rig_offered(struct rig *rig)
{
	uint64_t features;

	RIG_WRITE(rig, device_feature_select, 0);
	features = RIG_READ(rig, device_feature);
	RIG_WRITE(rig, device_feature_select, 1);
	return features | (uint64_t)RIG_READ(rig, device_feature) << 32;
}

void rig_reset(struct rig *rig)
{
	unsigned reads = 0;

	RIG_WRITE(rig, device_status, 0);
	while (RIG_READ(rig, device_status) != 0)
		assert_true(++reads < 1000);
}

void rig_negotiate(struct rig *rig, uint64_t features)
{
	RIG_WRITE(rig, device_status, 1);
	RIG_WRITE(rig, device_status, 3);
	RIG_WRITE(rig, driver_feature_select, 0);
	RIG_WRITE(rig, driver_feature, (uint32_t)features);
	RIG_WRITE(rig, driver_feature_select, 1);
	RIG_WRITE(rig, driver_feature, features >> 32);
	RIG_WRITE(rig, device_status, 0xB);
	(void)RIG_READ(rig, device_status);
}

void rig_place_ring(struct rig *rig, uint16_t size)
{
	rig->ring_size = size;
	rig->desc = rig_alloc(rig, 16u * size, 4096);
	rig->avail = rig_alloc(rig, 6 + 2u * size, 2);
	rig->used = rig_alloc(rig, 6 + 8u * size, 4);
	rig->avail_next = 0;
	rig->used_next = 0;
	rig->desc_next = 0;
	RIG_WRITE(rig, queue_select, 0);
	RIG_WRITE(rig, queue_size, size);
	rig_write64(rig, COMMON(queue_desc), rig->desc);
	rig_write64(rig, COMMON(queue_driver), rig->avail);
	rig_write64(rig, COMMON(queue_device), rig->used);
}

void rig_bring_up(struct rig *rig, uint64_t features)
{
	rig_reset(rig);
	rig_start(rig, features);
}

void rig_start(struct rig *rig, uint64_t features)
{
	rig_negotiate(rig, features ? features : rig_offered(rig));
	assert_int_equal(RIG_READ(rig, device_status), 0xB);
	RIG_WRITE(rig, queue_select, 0);
	rig_place_ring(rig, (uint16_t)RIG_READ(rig, queue_size));
	RIG_WRITE(rig, queue_enable, 1);
	assert_int_equal(RIG_READ(rig, queue_enable), 1);
	RIG_WRITE(rig, device_status, 0xF);
	assert_int_equal(RIG_READ(rig, device_status), 0xF);
	rig_no_blame(rig);
}

void rig_enable_msix(struct rig *rig)
{
	unsigned cap = rig_find_cap(rig, PCI_CAP_ID_MSIX, 0);
	unsigned count = (rig_cfg(rig, cap + 2, 2) & 0x7FF) + 1;
	uint32_t table = rig_cfg(rig, cap + 4, 4);

	assert_true(cap != 0);
	for (unsigned n = 0; n < count; n++) {
		uint64_t at = (table & ~7u) + 16 * n;

		rig->dev->ops->bar_write(rig->dev, table & 7, at, 4, 0xFEE00000);
		rig->dev->ops->bar_write(rig->dev, table & 7, at + 4, 4, 0);
		rig->dev->ops->bar_write(rig->dev, table & 7, at + 8, 4, n + 0x40);
		rig->dev->ops->bar_write(rig->dev, table & 7, at + 12, 4, 0);
	}
	rig_cfg_write(rig, cap + 2, 2, 0x8000);
}

void rig_desc_at(struct rig *rig, uint64_t table, uint16_t i, uint64_t addr, uint32_t len, uint16_t flags,
		 uint16_t next)
{
	struct virtq_desc desc = { .addr = addr, .len = len, .flags = flags, .next = next };

	rig_put(rig, table + 16u * i, &desc, sizeof(desc));
}

void rig_desc(struct rig *rig, uint16_t i, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	rig_desc_at(rig, rig->desc, i, addr, len, flags, next);
}

void rig_offer(struct rig *rig, uint16_t head)
{
	rig_put16(rig, rig->avail + 4 + 2u * (rig->avail_next % rig->ring_size), head);
	rig->avail_next++;
	rig_put16(rig, rig->avail + 2, rig->avail_next);
}

void rig_kick(struct rig *rig)
{
	RIG_WRITE(rig, queue_select, 0);
	rig_reg_write(rig, VIRTIO_PCI_CAP_NOTIFY_CFG, RIG_READ(rig, queue_notify_off) * rig->multiplier, 2, 0);
}

bool rig_step(struct rig *rig)
{
	rig->random = rig->random * 6364136223846793005ull + 1442695040888963407ull;
	return rig->dev->ops->step(rig->dev, rig->random >> 33);
}

void rig_run(struct rig *rig)
{
	for (unsigned steps = 0; rig_step(rig); steps++)
		assert_true(steps < 100000);
}

uint16_t rig_used_idx(struct rig *rig)
{
	return rig_get16(rig, rig->used + 2);
}

bool rig_pop(struct rig *rig, uint32_t *id, uint32_t *len)
{
	struct virtq_used_elem elem;

	if (rig_used_idx(rig) == rig->used_next)
		return false;
	rig_get(rig, rig->used + 4 + 8u * (rig->used_next % rig->ring_size), &elem, sizeof(elem));
	rig->used_next++;
	*id = elem.id;
	*len = elem.len;
	return true;
}

struct rig_io rig_submit(struct rig *rig, uint32_t type, uint64_t sector, uint64_t data, uint32_t bytes)
{
	struct virtio_blk_req header = { .type = type, .sector = sector };
	uint16_t i = rig->desc_next, size = rig->ring_size;
	bool out = type == VIRTIO_BLK_T_OUT || type == VIRTIO_BLK_T_DISCARD || type == VIRTIO_BLK_T_WRITE_ZEROES;
	uint16_t write = out ? 0 : VIRTQ_DESC_F_WRITE;
	uint8_t unwritten = 0xEE;
	struct rig_io io = {
		.head = i,
		.header = rig_alloc(rig, sizeof(header), 8),
		.data = data,
		.status = rig_alloc(rig, 1, 1),
		.bytes = bytes,
	};

	rig_put(rig, io.header, &header, sizeof(header));
	rig_put(rig, io.status, &unwritten, 1);
	rig_desc(rig, i, io.header, sizeof(header), VIRTQ_DESC_F_NEXT, (uint16_t)((i + 1) % size));
	if (bytes) {
		i = (uint16_t)((i + 1) % size);
		rig_desc(rig, i, data, bytes, VIRTQ_DESC_F_NEXT | write, (uint16_t)((i + 1) % size));
	}
	i = (uint16_t)((i + 1) % size);
	rig_desc(rig, i, io.status, 1, VIRTQ_DESC_F_WRITE, 0);
	rig->desc_next = (uint16_t)((i + 1) % size);
	rig_offer(rig, io.head);
	return io;
}

uint8_t rig_status(struct rig *rig, const struct rig_io *io)
{
	uint8_t status;

	rig_get(rig, io->status, &status, 1);
	return status;
}

uint8_t rig_request(struct rig *rig, uint32_t type, uint64_t sector, uint64_t data, uint32_t bytes)
{
	struct rig_io io = rig_submit(rig, type, sector, data, bytes);
	uint32_t id, len;

	rig_kick(rig);
	rig_run(rig);
	assert_true(rig_pop(rig, &id, &len));
	assert_int_equal(id, io.head);
	return rig_status(rig, &io);
}

void rig_no_blame(struct rig *rig)
{
	if (rig->blames)
		fail_msg("blamed: [%s] %s", rig->blame[0].clause, rig->blame[0].text);
}

void rig_any_blame(struct rig *rig, const char *clause)
{
	for (unsigned i = 0; i < rig->blames; i++) {
		if (!strcmp(rig->blame[i].clause, clause)) {
			rig->blames = 0;
			return;
		}
	}
	fail_msg("nobody was blamed for [%s] (%u accusations, first [%s])", clause, rig->blames,
		 rig->blames ? rig->blame[0].clause : "none");
}

void rig_one_blame(struct rig *rig, const char *clause)
{
	unsigned blames = rig->blames;

	if (blames > 1)
		fail_msg("two accusations: [%s] %s; [%s] %s", rig->blame[0].clause, rig->blame[0].text,
			 rig->blame[1].clause, rig->blame[1].text);
	rig_any_blame(rig, clause);
}
