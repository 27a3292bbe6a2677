/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Judges what a function is before anybody drives it: identity, BARs, capabilities; and its registers. */
#include <stdio.h>
#include <string.h>

#include "conform/prober.h"

#define VENDOR 0x00u
#define DEVICE 0x02u
#define COMMAND 0x04u
#define STATUS 0x06u
#define STATUS_LIST 0x10u
#define REVISION 0x08u
#define BAR0 0x10u
#define BARS 6u
#define SUBSYSTEM_VENDOR 0x2cu
#define SUBSYSTEM 0x2eu
#define LIST 0x34u
#define LINE_PIN 0x3du
#define CAPABILITIES_MAX 48u
#define CAP_MSIX 0x11u

/* ---- configuration space ---- */

static void judge_identity(struct prober *p)
{
	uint32_t vendor = config_read(p, VENDOR, 2), device = config_read(p, DEVICE, 2);
	uint32_t sub_vendor = config_read(p, SUBSYSTEM_VENDOR, 2), sub = config_read(p, SUBSYSTEM, 2);
	uint32_t revision = config_read(p, REVISION, 1);

	judge(p, CLAUSE_PCI_ID, vendor == VIRTIO_PCI_VENDOR_ID && device == VIRTIO_PCI_DEVICE_ID_BASE + VIRTIO_ID_BLOCK,
	      "it is vendor 0x%04x, device 0x%04x", vendor, device);
	judge(p, CLAUSE_PCI_REVISION, revision == 1, "it is 0x%02x", revision);
	judge(p, CLAUSE_PCI_SUBSYSTEM, sub_vendor == VIRTIO_PCI_VENDOR_ID && sub == 2, "it is vendor 0x%04x, id 0x%04x",
	      sub_vendor, sub);
	judge(p, CLAUSE_PCI_LINE, config_read(p, LINE_PIN, 1) == 1, "the interrupt pin is %u",
	      config_read(p, LINE_PIN, 1));
}

/* Bytes by writing ones, as firmware does. */
static uint64_t bar_sizing(struct prober *p, unsigned bar, bool wide)
{
	uint64_t mask;

	config_write(p, BAR0 + 4 * bar, 4, ~0u);
	if (wide)
		config_write(p, BAR0 + 4 * bar + 4, 4, ~0u);
	mask = config_read(p, BAR0 + 4 * bar, 4) & ~15u;
	mask |= (uint64_t)(wide ? config_read(p, BAR0 + 4 * bar + 4, 4) : ~0u) << 32;
	return ~mask + 1;
}

static void judge_bars(struct prober *p)
{
	uint64_t length = p->dev->ops->bar_length(p->dev, 0), sizing;
	bool wide = (config_read(p, BAR0, 4) & 7) == 4;

	judge(p, CLAUSE_BAR_ONE, length != 0, "there is no BAR0");
	for (unsigned bar = 1; bar < BARS; bar++)
		judge(p, CLAUSE_BAR_ONE,
		      !p->dev->ops->bar_length(p->dev, bar) && (config_read(p, BAR0 + 4 * bar, 4) == 0 || bar == 1),
		      "there is a BAR%u of 0x%llx bytes", bar,
		      (unsigned long long)p->dev->ops->bar_length(p->dev, bar));
	judge(p, CLAUSE_BAR_KIND, wide, "its low bits are 0x%x", config_read(p, BAR0, 4) & 15);
	sizing = bar_sizing(p, 0, wide);
	judge(p, CLAUSE_BAR_LENGTH, length == 0x4000 && sizing == length,
	      "its length is 0x%llx, and 0x%llx by its sizing", (unsigned long long)length, (unsigned long long)sizing);
}

/* One vendor capability: a usable region of its type, the first of which counts. */
static void take_region(struct prober *p, unsigned at)
{
	unsigned length = config_read(p, at + 2, 1), type = config_read(p, at + 3, 1);
	struct prober_region region = { true, config_read(p, at + 4, 1), config_read(p, at + 8, 4),
					config_read(p, at + 12, 4) };
	unsigned least = type == VIRTIO_PCI_CAP_NOTIFY_CFG ? 20 : 16;

	if (type < VIRTIO_PCI_CAP_COMMON_CFG || type > VIRTIO_PCI_CAP_DEVICE_CFG || p->region[type].there)
		return;
	if (length < least || at + length > 256 || region.bar >= BARS ||
	    region.offset + (uint64_t)region.length > p->dev->ops->bar_length(p->dev, region.bar)) {
		judge(p, CLAUSE_CAP_REQUIRED, false, "the capability of type %u at 0x%02x cannot be used", type, at);
		return;
	}
	p->region[type] = region;
	if (type == VIRTIO_PCI_CAP_NOTIFY_CFG)
		p->multiplier = config_read(p, at + 16, 4);
}

static void take_capability(struct prober *p, unsigned at)
{
	unsigned id = config_read(p, at, 1);

	if (id == VIRTIO_PCI_CAP_VNDR)
		take_region(p, at);
	if (id != CAP_MSIX || p->msix)
		return;
	p->msix = at;
	p->msix_count = (config_read(p, at + 2, 2) & 0x7ffu) + 1;
}

static void judge_capabilities(struct prober *p)
{
	static const unsigned least[] = { [VIRTIO_PCI_CAP_COMMON_CFG] = sizeof(struct virtio_pci_common_cfg),
					  [VIRTIO_PCI_CAP_NOTIFY_CFG] = 2,
					  [VIRTIO_PCI_CAP_ISR_CFG] = 1,
					  [VIRTIO_PCI_CAP_DEVICE_CFG] = 0x18 };
	unsigned at = config_read(p, LIST, 1), count = 0;

	judge(p, CLAUSE_CAP_LIST, config_read(p, STATUS, 2) & STATUS_LIST, "status bit 4 is clear");
	while (at && count++ < CAPABILITIES_MAX) {
		judge(p, CLAUSE_CAP_LIST, at >= 0x40 && at % 4 == 0, "a capability lies at 0x%02x", at);
		if (at < 0x40)
			break;
		take_capability(p, at & ~3u);
		at = config_read(p, (at & ~3u) + 1, 1);
	}
	judge(p, CLAUSE_CAP_LIST, count > 0 && count <= CAPABILITIES_MAX,
	      count ? "the list does not end" : "the list is empty");
	for (unsigned type = VIRTIO_PCI_CAP_COMMON_CFG; type <= VIRTIO_PCI_CAP_DEVICE_CFG; type++)
		judge(p, CLAUSE_CAP_REQUIRED, p->region[type].there && p->region[type].length >= least[type],
		      "type %u is missing or too short", type);
}

static void judge_layout(struct prober *p)
{
	static const struct {
		enum clause clause;
		unsigned type;
		uint32_t offset, length;
	} rows[] = {
		{ CLAUSE_LAYOUT_COMMON, VIRTIO_PCI_CAP_COMMON_CFG, 0x0000, 0x0100 },
		{ CLAUSE_LAYOUT_NOTIFY, VIRTIO_PCI_CAP_NOTIFY_CFG, 0x1000, 0x0100 },
		{ CLAUSE_LAYOUT_ISR, VIRTIO_PCI_CAP_ISR_CFG, 0x2000, 0x0020 },
		{ CLAUSE_LAYOUT_DEVICE, VIRTIO_PCI_CAP_DEVICE_CFG, 0x3000, 0x0100 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct prober_region *region = &p->region[rows[i].type];

		if (region->there)
			judge(p, rows[i].clause,
			      !region->bar && region->offset == rows[i].offset && region->length == rows[i].length,
			      "it lies in BAR%u at 0x%04x, 0x%04x bytes", region->bar, region->offset, region->length);
	}
	if (p->region[VIRTIO_PCI_CAP_NOTIFY_CFG].there)
		judge(p, CLAUSE_NOTIFY_MULTIPLIER, p->multiplier == 4, "it is %u", p->multiplier);
}

void judge_function(struct prober *p)
{
	p->dev->ops->power_cycle(p->dev);
	judge_identity(p);
	judge_bars(p);
	judge_capabilities(p);
	judge_layout(p);
	prober_place(p);
}

/* ---- registers ---- */

static const uint64_t required = VIRTIO_FEATURE(VIRTIO_F_VERSION_1) | VIRTIO_FEATURE(VIRTIO_F_INDIRECT_DESC) |
				 VIRTIO_FEATURE(VIRTIO_BLK_F_SEG_MAX) | VIRTIO_FEATURE(VIRTIO_BLK_F_BLK_SIZE) |
				 VIRTIO_FEATURE(VIRTIO_BLK_F_FLUSH);

static void begin(struct prober *p)
{
	reset(p);
	common_write(p, COMMON(device_status), 1, VIRTIO_STATUS_ACKNOWLEDGE);
	common_write(p, COMMON(device_status), 1, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER);
}

static uint8_t set_features_ok(struct prober *p, uint64_t features)
{
	begin(p);
	accept(p, features);
	common_write(p, COMMON(device_status), 1,
		     VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK);
	return (uint8_t)common_read(p, COMMON(device_status), 1);
}

static void judge_features(struct prober *p)
{
	uint64_t other;
	uint32_t beyond, kept;

	begin(p);
	p->features = offered(p);
	judge(p, CLAUSE_FEATURE_OFFERED, (p->features & required) == required, "0x%llx are offered",
	      (unsigned long long)p->features);
	other = p->features & ~required;
	judge(p, CLAUSE_FEATURE_OTHER, !other, "0x%llx are offered besides", (unsigned long long)other);
	common_write(p, COMMON(device_feature_select), 4, 2);
	beyond = common_read(p, COMMON(device_feature), 4);
	judge(p, CLAUSE_FEATURE_SELECT, !beyond && common_read(p, COMMON(device_feature_select), 4) == 2,
	      "word 2 reads 0x%x, its selector %u", beyond, common_read(p, COMMON(device_feature_select), 4));
	accept(p, p->features & required);
	common_write(p, COMMON(driver_feature_select), 4, 2);
	common_write(p, COMMON(driver_feature), 4, 0xffffffff);
	judge(p, CLAUSE_FEATURE_KEPT, common_read(p, COMMON(driver_feature), 4) == 0, "word 2 keeps 0x%x",
	      common_read(p, COMMON(driver_feature), 4));
	common_write(p, COMMON(driver_feature_select), 4, 0);
	kept = common_read(p, COMMON(driver_feature), 4);
	judge(p, CLAUSE_FEATURE_KEPT, kept == (uint32_t)(p->features & required), "word 0 reads 0x%x", kept);
}

static void judge_status(struct prober *p)
{
	uint64_t odd = VIRTIO_FEATURE(VIRTIO_F_RING_PACKED);
	/* A device may insist on ACCESS_PLATFORM, which is a difference already. [virtio 6.2] */
	uint64_t wanted = p->features & (required | VIRTIO_FEATURE(VIRTIO_F_ACCESS_PLATFORM));
	uint8_t status;

	begin(p);
	status = (uint8_t)common_read(p, COMMON(device_status), 1);
	judge(p, CLAUSE_STATUS_BITS, status == (VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER), "it reads 0x%02x",
	      status);
	status = set_features_ok(p, wanted);
	judge(p, CLAUSE_FEATURE_ACCEPTED, status & VIRTIO_STATUS_FEATURES_OK, "device_status reads 0x%02x", status);
	status = set_features_ok(p, wanted & ~VIRTIO_FEATURE(VIRTIO_F_VERSION_1));
	judge(p, CLAUSE_FEATURE_REFUSED, !(status & VIRTIO_STATUS_FEATURES_OK),
	      "without VERSION_1 device_status reads 0x%02x", status);
	if (p->features & odd)
		return;
	status = set_features_ok(p, wanted | odd);
	judge(p, CLAUSE_FEATURE_REFUSED, !(status & VIRTIO_STATUS_FEATURES_OK),
	      "with a bit that was not offered device_status reads 0x%02x", status);
}

static void judge_read_only(struct prober *p)
{
	static const struct {
		unsigned offset, width;
	} fields[] = { { COMMON(device_feature), 4 },
		       { COMMON(num_queues), 2 },
		       { COMMON(config_generation), 1 },
		       { COMMON(queue_notify_off), 2 } };

	begin(p);
	common_write(p, COMMON(device_feature_select), 4, 0);
	common_write(p, COMMON(queue_select), 2, 0);
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		uint32_t before = common_read(p, fields[i].offset, fields[i].width), after;

		common_write(p, fields[i].offset, fields[i].width, ~before);
		after = common_read(p, fields[i].offset, fields[i].width);
		judge(p, CLAUSE_COMMON_READ_ONLY, before == after, "0x%02x went from 0x%x to 0x%x", fields[i].offset,
		      before, after);
	}
}

static void judge_queue(struct prober *p)
{
	uint32_t size, value;

	set_features_ok(p, p->features & required);
	value = common_read(p, COMMON(num_queues), 2);
	judge(p, CLAUSE_QUEUE_COUNT, value == 1, "num_queues is %u", value);
	common_write(p, COMMON(queue_select), 2, (uint16_t)value);
	common_write(p, COMMON(queue_size), 2, 16);
	judge(p, CLAUSE_QUEUE_ABSENT,
	      !common_read(p, COMMON(queue_size), 2) && !common_read(p, COMMON(queue_notify_off), 2),
	      "queue %u has size %u and notify_off %u", value, common_read(p, COMMON(queue_size), 2),
	      common_read(p, COMMON(queue_notify_off), 2));
	common_write(p, COMMON(queue_select), 2, 0);
	size = common_read(p, COMMON(queue_size), 2);
	judge(p, CLAUSE_QUEUE_SIZE, size == 128, "it has %u", size);
	value = common_read(p, COMMON(queue_notify_off), 2);
	judge(p, CLAUSE_NOTIFY_OFFSET, value == 0, "it is %u", value);
	judge(p, CLAUSE_QUEUE_ENABLE, !common_read(p, COMMON(queue_enable), 2), "it is %u after a reset",
	      common_read(p, COMMON(queue_enable), 2));
	for (unsigned at = COMMON(queue_desc); at <= COMMON(queue_device); at += 8) {
		common_write64(p, at, 0x0123456789abc000ull + at * 0x1000ull);
		judge(p, CLAUSE_QUEUE_ADDRESS, common_read64(p, at) == 0x0123456789abc000ull + at * 0x1000ull,
		      "0x%02x reads 0x%llx", at, (unsigned long long)common_read64(p, at));
	}
	common_write(p, COMMON(queue_size), 2, size / 2);
	value = common_read(p, COMMON(queue_size), 2);
	judge(p, CLAUSE_QUEUE_SMALLER, value == size / 2, "%u was written, and %u is read", size / 2, value);
}

static void judge_vectors(struct prober *p)
{
	static const unsigned fields[] = { COMMON(config_msix_vector), COMMON(queue_msix_vector) };

	if (!p->msix)
		return;
	set_features_ok(p, p->features & required);
	common_write(p, COMMON(queue_select), 2, 0);
	enable_messages(p, VIRTIO_MSI_NO_VECTOR, VIRTIO_MSI_NO_VECTOR);
	for (size_t i = 0; i < 2; i++) {
		uint32_t good, bad;

		common_write(p, fields[i], 2, p->msix_count - 1);
		good = common_read(p, fields[i], 2);
		judge(p, CLAUSE_VECTOR_KEPT, good == p->msix_count - 1, "%u was written, and 0x%x is read",
		      p->msix_count - 1, good);
		common_write(p, fields[i], 2, p->msix_count);
		bad = common_read(p, fields[i], 2);
		judge(p, CLAUSE_VECTOR_REFUSED, bad == VIRTIO_MSI_NO_VECTOR, "%u was written, and 0x%x is read",
		      p->msix_count, bad);
		common_write(p, fields[i], 2, VIRTIO_MSI_NO_VECTOR);
	}
	reset(p);
	disable_messages(p);
}

static void judge_config(struct prober *p)
{
	unsigned generation = common_read(p, COMMON(config_generation), 1);
	bool wide = p->region[VIRTIO_PCI_CAP_DEVICE_CFG].length >= sizeof(struct virtio_blk_config);

	p->capacity = config_field(p, offsetof(struct virtio_blk_config, capacity), 8);
	p->seg_max = (uint32_t)config_field(p, offsetof(struct virtio_blk_config, seg_max), 4);
	p->blk_size = (uint32_t)config_field(p, offsetof(struct virtio_blk_config, blk_size), 4);
	judge(p, CLAUSE_CONFIG_CAPACITY, p->capacity, "it is 0");
	judge(p, CLAUSE_CONFIG_SEG_MAX, p->seg_max >= 1, "it is 0");
	judge(p, CLAUSE_CONFIG_BLK_SIZE,
	      p->blk_size >= 512 && p->blk_size <= 4096 && !(p->blk_size & (p->blk_size - 1)), "it is %u", p->blk_size);
	for (unsigned at = 0x08; wide && at < sizeof(struct virtio_blk_config); at += 4) {
		uint64_t value = at == 0x0c || at == 0x14 ? 0 : config_field(p, at, 4);

		judge(p, CLAUSE_CONFIG_REST, !value, "0x%02x reads 0x%llx", at, (unsigned long long)value);
	}
	judge(p, CLAUSE_CONFIG_STABLE, common_read(p, COMMON(config_generation), 1) == generation,
	      "it went from %u to %u", generation, common_read(p, COMMON(config_generation), 1));
}

/* Where nothing is: behind the common configuration's fields, beside ISR status, and behind the regions. */
static void judge_rest(struct prober *p)
{
	static const unsigned rows[][2] = { { VIRTIO_PCI_CAP_COMMON_CFG, 0x40 },
					    { VIRTIO_PCI_CAP_COMMON_CFG, 0xfc },
					    { VIRTIO_PCI_CAP_ISR_CFG, 0x04 },
					    { VIRTIO_PCI_CAP_ISR_CFG, 0x1c },
					    { VIRTIO_PCI_CAP_DEVICE_CFG, 0xfc } };

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t before, after;

		if (rows[i][1] + 4 > p->region[rows[i][0]].length)
			continue;
		before = region_read(p, rows[i][0], rows[i][1], 4);
		region_write(p, rows[i][0], rows[i][1], 4, 0x5a5a5a5a);
		after = region_read(p, rows[i][0], rows[i][1], 4);
		judge(p, CLAUSE_LAYOUT_REST, !before && !after, "0x%02x of the region of type %u reads 0x%llx, 0x%llx",
		      rows[i][1], rows[i][0], (unsigned long long)before, (unsigned long long)after);
	}
}

void judge_registers(struct prober *p)
{
	bool back = reset(p);

	judge(p, CLAUSE_RESET_ZERO, back, "it reads 0x%02x for two seconds", common_read(p, COMMON(device_status), 1));
	if (!back)
		return;
	judge_features(p);
	judge_status(p);
	judge_read_only(p);
	judge_queue(p);
	judge_vectors(p);
	judge_config(p);
	judge_rest(p);
	reset(p);
}
