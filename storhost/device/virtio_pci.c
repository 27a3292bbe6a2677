/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The modern virtio-pci transport: capabilities, common configuration, notifications, ISR, interrupts, reset.
 */
#include "device/virtio_pci.h"

#include <string.h>

#include "device/bus.h"
#include "virtio_spec.h"

#define COMMON(field) ((unsigned)offsetof(struct virtio_pci_common_cfg, field))
#define STATUS_KNOWN                                                                                                   \
	(VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_DRIVER_OK | VIRTIO_STATUS_FEATURES_OK |      \
	 VIRTIO_STATUS_DEVICE_NEEDS_RESET | VIRTIO_STATUS_FAILED)
/* Table entry numbers end here. [virtio 4.1.5.1.2] */
#define VECTOR_MAX 0x7FF
/* Where the MSI-X structures lie when they share the regions' BAR: in its last 2 KiB. See place_msix. */
#define MSIX_SHARED_BYTES 0x800u

struct field {
	uint8_t offset;
	uint8_t width;
	bool read_only;
	const char *name;
};

/*
 * Every access unit of the common configuration; 64-bit fields are accessed by halves. [virtio 4.1.3.1,
 * 4.1.4.3]
 */
static const struct field common_fields[] = {
	{ COMMON(device_feature_select), 4, false, "device_feature_select" },
	{ COMMON(device_feature), 4, true, "device_feature" },
	{ COMMON(driver_feature_select), 4, false, "driver_feature_select" },
	{ COMMON(driver_feature), 4, false, "driver_feature" },
	{ COMMON(config_msix_vector), 2, false, "config_msix_vector" },
	{ COMMON(num_queues), 2, true, "num_queues" },
	{ COMMON(device_status), 1, false, "device_status" },
	{ COMMON(config_generation), 1, true, "config_generation" },
	{ COMMON(queue_select), 2, false, "queue_select" },
	{ COMMON(queue_size), 2, false, "queue_size" },
	{ COMMON(queue_msix_vector), 2, false, "queue_msix_vector" },
	{ COMMON(queue_enable), 2, false, "queue_enable" },
	{ COMMON(queue_notify_off), 2, true, "queue_notify_off" },
	{ COMMON(queue_desc), 4, false, "queue_desc" },
	{ COMMON(queue_desc) + 4, 4, false, "queue_desc" },
	{ COMMON(queue_driver), 4, false, "queue_driver" },
	{ COMMON(queue_driver) + 4, 4, false, "queue_driver" },
	{ COMMON(queue_device), 4, false, "queue_device" },
	{ COMMON(queue_device) + 4, 4, false, "queue_device" },
};

/* Capabilities */

static void spoil_region(const struct virtio_pci *vp, struct virtio_pci_notify_cap *body)
{
	struct virtio_pci_cap *cap = &body->cap;
	uint8_t type = cap->cfg_type;

	switch (vp->options.caps) {
	case CAPS_SHORT_COMMON:
		if (type == VIRTIO_PCI_CAP_COMMON_CFG)
			cap->cap_len = sizeof(*cap) - sizeof(cap->length);
		break;
	case CAPS_SHORT_NOTIFY:
		if (type == VIRTIO_PCI_CAP_NOTIFY_CFG)
			cap->cap_len = sizeof(*cap);
		break;
	case CAPS_RESERVED_BAR:
		if (type == VIRTIO_PCI_CAP_COMMON_CFG)
			cap->bar = PCI_BARS + 1;
		break;
	case CAPS_ABSENT_BAR:
		for (u8 bar = 0; type == VIRTIO_PCI_CAP_ISR_CFG && bar < PCI_BARS; bar++)
			if (!pci_bar_length(&vp->pci, bar))
				cap->bar = bar;
		break;
	case CAPS_BEYOND_BAR:
		if (type == VIRTIO_PCI_CAP_DEVICE_CFG)
			cap->offset = (le32)vp->options.bar_length;
		break;
	case CAPS_WRAPPING:
		if (type == VIRTIO_PCI_CAP_NOTIFY_CFG) {
			cap->offset = 0xFFFFF000;
			cap->length = 0x2000;
		}
		break;
	case CAPS_SHORT_REGION:
		if (type == VIRTIO_PCI_CAP_COMMON_CFG)
			cap->length = COMMON(queue_enable);
		break;
	default:
		break;
	}
}

bool virtio_pci_regions_overlap(const struct virtio_pci_options *options)
{
	const struct virtio_pci_region *const regions[] = { &options->common, &options->notify, &options->isr,
							    &options->device };
	const size_t count = sizeof(regions) / sizeof(regions[0]);

	for (size_t i = 0; i < count; i++) {
		for (size_t j = 0; j < count; j++) {
			if (i != j && regions[i]->offset >= regions[j]->offset &&
			    regions[i]->offset - regions[j]->offset < regions[j]->length)
				return true;
		}
	}
	return false;
}

static unsigned add_region(struct virtio_pci *vp, uint8_t type, const struct virtio_pci_region *region)
{
	bool notify = type == VIRTIO_PCI_CAP_NOTIFY_CFG;
	struct virtio_pci_notify_cap body = {
		.cap = {
			.cap_len = notify ? sizeof(body) : sizeof(body.cap),
			.cfg_type = type,
			.bar = (u8)vp->options.bar,
			.offset = region->offset,
			.length = region->length,
		},
		.notify_off_multiplier = vp->options.multiplier,
	};
	unsigned bytes = body.cap.cap_len;

	spoil_region(vp, &body);
	return pci_add_capability(&vp->pci, PCI_CAP_ID_VENDOR, (const u8 *)&body + 2, bytes - 2);
}

/* A capability of this type that no driver can use: its BAR number is reserved. */
static void add_decoy(struct virtio_pci *vp, uint8_t type)
{
	struct virtio_pci_cap body = { .cap_len = sizeof(body), .cfg_type = type, .bar = PCI_BARS, .length = 0x1000 };

	pci_add_capability(&vp->pci, PCI_CAP_ID_VENDOR, (const u8 *)&body + 2, sizeof(body) - 2);
}

static void add_window(struct virtio_pci *vp)
{
	struct virtio_pci_notify_cap body = {
		/* the same size: four bytes of data follow the capability */
		.cap = { .cap_len = sizeof(body), .cfg_type = VIRTIO_PCI_CAP_PCI_CFG },
	};

	vp->window = pci_add_capability(&vp->pci, PCI_CAP_ID_VENDOR, (const u8 *)&body + 2, sizeof(body) - 2);
	pci_allow_writes(&vp->pci, vp->window + offsetof(struct virtio_pci_cap, bar), 1, 0xFF);
	pci_allow_writes(&vp->pci, vp->window + offsetof(struct virtio_pci_cap, offset), 4, ~0u);
	pci_allow_writes(&vp->pci, vp->window + offsetof(struct virtio_pci_cap, length), 4, ~0u);
	pci_allow_writes(&vp->pci, vp->window + sizeof(struct virtio_pci_cap), 4, ~0u);
}

#define CAP_POINTER 0x34u
#define CAP_STATUS 0x06u
#define CAP_AT_END 0xFCu

/* Spoils the links of a list that begins at first and whose last member is last. */
static void spoil_list(struct virtio_pci *vp, unsigned first, unsigned last)
{
	switch (vp->options.caps) {
	case CAPS_NO_LIST:
		pci_patch(&vp->pci, CAP_STATUS, 1, 0);
		break;
	case CAPS_EMPTY:
		pci_patch(&vp->pci, CAP_POINTER, 1, 0);
		break;
	case CAPS_LOOP:
		pci_patch(&vp->pci, last + 1, 1, first);
		break;
	case CAPS_SELF:
		pci_patch(&vp->pci, first + 1, 1, first);
		break;
	case CAPS_MISALIGNED:
		pci_patch(&vp->pci, CAP_POINTER, 1, first + 2);
		break;
	case CAPS_IN_HEADER:
		pci_patch(&vp->pci, CAP_POINTER, 1, 0x10);
		break;
	case CAPS_PAST_END:
		pci_patch(&vp->pci, last + 1, 1, CAP_AT_END);
		pci_patch(&vp->pci, CAP_AT_END, 4,
			  VIRTIO_PCI_CAP_VNDR | sizeof(struct virtio_pci_cap) << 16 |
				  (uint32_t)VIRTIO_PCI_CAP_DEVICE_CFG << 24);
		break;
	default:
		break;
	}
}

static int add_capabilities(struct virtio_pci *vp)
{
	static const struct {
		uint8_t type;
		size_t region; /* offset in struct virtio_pci_options */
		enum virtio_pci_caps_fault missing;
	} rows[] = {
		{ VIRTIO_PCI_CAP_COMMON_CFG, offsetof(struct virtio_pci_options, common), CAPS_MISSING_COMMON },
		{ VIRTIO_PCI_CAP_NOTIFY_CFG, offsetof(struct virtio_pci_options, notify), CAPS_MISSING_NOTIFY },
		{ VIRTIO_PCI_CAP_ISR_CFG, offsetof(struct virtio_pci_options, isr), CAPS_MISSING_ISR },
		{ VIRTIO_PCI_CAP_DEVICE_CFG, offsetof(struct virtio_pci_options, device), CAPS_MISSING_DEVICE },
	};
	const struct virtio_pci_options *o = &vp->options;
	unsigned first, last = 0;

	if (o->caps == CAPS_DUPLICATE)
		add_decoy(vp, VIRTIO_PCI_CAP_COMMON_CFG);
	if (o->caps == CAPS_UNKNOWN_FIRST)
		add_decoy(vp, VIRTIO_PCI_CAP_VENDOR_CFG);
	if (o->msix_vectors && pci_add_msix(&vp->pci, o->msix_vectors, o->msix_bar, o->msix_table, o->msix_pba))
		return -1;
	if (o->msi_vectors)
		pci_add_msi(&vp->pci, o->msi_vectors);
	if (o->config_window)
		add_window(vp);
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bool past_end = o->caps == CAPS_PAST_END && rows[i].type == VIRTIO_PCI_CAP_DEVICE_CFG;

		if (o->caps != rows[i].missing && !past_end)
			last = add_region(vp, rows[i].type, (const void *)((const char *)o + rows[i].region));
	}
	first = pci_config_read(&vp->pci, CAP_POINTER, 1);
	spoil_list(vp, first, last);
	return 0;
}

/* Reset */

static void stop_queues(struct virtio_pci *vp)
{
	for (unsigned n = 0; n < VIRTIO_PCI_QUEUES; n++) {
		struct virtio_pci_queue *queue = &vp->queue[n];

		vring_stop(&queue->ring);
		queue->size = vp->options.queue_size;
		queue->vector = VIRTIO_MSI_NO_VECTOR;
		queue->vector_unread = false;
		queue->desc = 0;
		queue->avail = 0;
		queue->used = 0;
	}
}

/*
 * All that a reset clears but device_status, which tells when the reset is complete. [virtio 2.4.1,
 * 4.1.4.3.1]
 */
static void clear_registers(struct virtio_pci *vp)
{
	stop_queues(vp);
	vp->device_feature_select = 0;
	vp->driver_feature_select = 0;
	vp->driver_features = 0;
	vp->config_vector = VIRTIO_MSI_NO_VECTOR;
	vp->vector_unread = false;
	vp->features_unread = false;
	vp->config_guard = CONFIG_UNGUARDED;
	vp->queue_select = 0;
	vp->isr = 0;
	pci_set_intx(&vp->pci, false);
}

static void finish_reset(struct virtio_pci *vp)
{
	if (!vp->stopping || vp->type_busy || vp->stuck || vp->reset_reads)
		return;
	vp->stopping = false;
	vp->status = 0;
}

static void begin_reset(struct virtio_pci *vp)
{
	vp->reset_unseen = true;
	if (vp->stopping)
		return;
	vp->stuck = vp->options.registers == REGISTERS_RESET_STUCK ||
		    (vp->options.registers == REGISTERS_RESET_STUCK_RUNNING && virtio_pci_driver_ok(vp));
	vp->stopping = true;
	vp->reset_reads = vp->options.reset_reads;
	clear_registers(vp);
	vp->type_busy = !vp->type->stop(vp->opaque);
	finish_reset(vp);
}

void virtio_pci_set_registers(struct virtio_pci *vp, enum virtio_pci_register_fault registers)
{
	vp->options.registers = registers;
	vp->stuck = vp->stopping && registers == REGISTERS_RESET_STUCK;
	finish_reset(vp);
}

void virtio_pci_stopped(struct virtio_pci *vp)
{
	vp->type_busy = false;
	finish_reset(vp);
}

void virtio_pci_power_on(struct virtio_pci *vp)
{
	clear_registers(vp);
	pci_power_on(&vp->pci);
	vp->status = 0;
	vp->stopping = false;
	vp->type_busy = false;
	vp->stuck = false;
	vp->reset_unseen = false;
	vp->reset_reads = 0;
}

int virtio_pci_init(struct virtio_pci *vp, const struct virtio_pci_options *options, const struct virtio_pci_type *type,
		    void *opaque, const struct device_bus *bus, struct device_stats *stats)
{
	memset(vp, 0, sizeof(*vp));
	vp->bus = bus;
	vp->stats = stats;
	vp->type = type;
	vp->opaque = opaque;
	vp->options = *options;
	vp->config_vector = VIRTIO_MSI_NO_VECTOR;
	pci_init(&vp->pci, &options->identity, bus, stats);
	pci_add_bar(&vp->pci, options->bar, options->bar_kind, options->bar_length);
	if (options->msix_vectors && options->msix_bar != options->bar)
		pci_add_bar(&vp->pci, options->msix_bar, PCI_BAR_MEMORY32, options->msix_bar_length);
	for (unsigned n = 0; n < VIRTIO_PCI_QUEUES; n++)
		vring_init(&vp->queue[n].ring, bus);
	stop_queues(vp);
	if (add_capabilities(vp))
		return -1;
	pci_seal(&vp->pci);
	return 0;
}

void virtio_pci_free(struct virtio_pci *vp)
{
	stop_queues(vp);
	pci_free(&vp->pci);
}

void virtio_pci_pull_out(struct virtio_pci *vp)
{
	clear_registers(vp);
	vp->gone = true;
}

/* Interrupts */

static bool has_messages(const struct virtio_pci *vp)
{
	return pci_msix_enabled(&vp->pci) || pci_msi_enabled(&vp->pci);
}

static void interrupt(struct virtio_pci *vp, uint8_t isr, uint16_t vector)
{
	bool messages = has_messages(vp);

	/* The queue bit exists for INTx alone, the configuration bit always. [virtio 4.1.4.5.1] */
	if (!messages || isr == VIRTIO_PCI_ISR_CONFIG)
		vp->isr |= isr;
	pci_set_intx(&vp->pci, vp->isr != 0);
	if (messages && vector != VIRTIO_MSI_NO_VECTOR)
		pci_signal(&vp->pci, vector);
}

void virtio_pci_queue_interrupt(struct virtio_pci *vp, unsigned n)
{
	if (virtio_pci_driver_ok(vp))
		interrupt(vp, VIRTIO_PCI_ISR_QUEUE, vp->queue[n].vector);
}

void virtio_pci_config_interrupt(struct virtio_pci *vp)
{
	if (virtio_pci_driver_ok(vp))
		interrupt(vp, VIRTIO_PCI_ISR_CONFIG, vp->config_vector);
}

void virtio_pci_config_changed(struct virtio_pci *vp)
{
	vp->generation++;
	virtio_pci_config_interrupt(vp);
}

void virtio_pci_needs_reset(struct virtio_pci *vp)
{
	bool told = vp->status & VIRTIO_STATUS_DEVICE_NEEDS_RESET;

	if (vp->stopping || told)
		return;
	vp->status |= VIRTIO_STATUS_DEVICE_NEEDS_RESET;
	virtio_pci_config_interrupt(vp);
}

/* What the type may do */

bool virtio_pci_driver_ok(const struct virtio_pci *vp)
{
	return (vp->status & VIRTIO_STATUS_DRIVER_OK) && !vp->stopping && !vp->gone;
}

bool virtio_pci_negotiated(const struct virtio_pci *vp, unsigned feature)
{
	return (vp->status & VIRTIO_STATUS_FEATURES_OK) && (vp->driver_features & VIRTIO_FEATURE(feature));
}

struct vring *virtio_pci_queue(struct virtio_pci *vp, unsigned n)
{
	struct virtio_pci_queue *queue = &vp->queue[n];

	if (!virtio_pci_driver_ok(vp) || (vp->status & VIRTIO_STATUS_DEVICE_NEEDS_RESET))
		return NULL;
	if (!queue->ring.running || queue->ring.broken || !pci_bus_master(&vp->pci))
		return NULL;
	return &queue->ring;
}

/* Common configuration: status and features */

/* DRIVER_OK says that what the device may have refused was looked at. */
static void blame_unread(struct virtio_pci *vp)
{
	bool vectors = vp->vector_unread;

	for (unsigned n = 0; n < VIRTIO_PCI_QUEUES; n++)
		vectors |= vp->queue[n].vector_unread;
	if (vp->features_unread)
		bus_blame(vp->bus, RULE_STATUS_UNREAD, "virtio 3.1.1",
			  "DRIVER_OK was set, and FEATURES_OK was not read back");
	if (vectors)
		bus_blame(vp->bus, RULE_VECTOR_UNREAD, "virtio 4.1.5.1.2.1",
			  "DRIVER_OK was set, and a vector was not read back");
}

/* The bits that a write of device_status sets for the first time, as far as the protocol lets them. */
static uint8_t accept_status(struct virtio_pci *vp, uint8_t set)
{
	uint64_t odd = vp->driver_features & ~vp->options.features;

	if ((set & VIRTIO_STATUS_DRIVER) && !((vp->status | set) & VIRTIO_STATUS_ACKNOWLEDGE))
		bus_blame(vp->bus, RULE_STATUS_ORDER, "virtio 3.1.1", "DRIVER was set before ACKNOWLEDGE");
	if (set & VIRTIO_STATUS_FEATURES_OK) {
		if (!((vp->status | set) & VIRTIO_STATUS_DRIVER))
			bus_blame(vp->bus, RULE_STATUS_ORDER, "virtio 3.1.1", "FEATURES_OK was set before DRIVER");
		if (!(vp->driver_features & VIRTIO_FEATURE(VIRTIO_F_VERSION_1)))
			bus_blame(vp->bus, RULE_FEATURE_VERSION, "contract 1.5",
				  "FEATURES_OK was set without accepting VERSION_1");
		if (odd || !(vp->driver_features & VIRTIO_FEATURE(VIRTIO_F_VERSION_1)) ||
		    vp->options.registers == REGISTERS_FEATURES_REFUSED)
			set &= (uint8_t)~VIRTIO_STATUS_FEATURES_OK;
	}
	if ((set & VIRTIO_STATUS_DRIVER_OK) && !((vp->status | set) & VIRTIO_STATUS_FEATURES_OK)) {
		bus_blame(vp->bus, RULE_STATUS_ORDER, "virtio 3.1.1", "DRIVER_OK was set without FEATURES_OK");
		set &= (uint8_t)~VIRTIO_STATUS_DRIVER_OK;
	}
	if (set & VIRTIO_STATUS_DRIVER_OK)
		blame_unread(vp);
	return set;
}

static void write_status(struct virtio_pci *vp, uint8_t value)
{
	/* The device's own bit changes without the driver, which may write either value. */
	uint8_t mine = VIRTIO_STATUS_DEVICE_NEEDS_RESET;
	uint8_t cleared = vp->status & (uint8_t)~value & (uint8_t)~mine;
	uint8_t set = value & (uint8_t)~vp->status & (uint8_t)~mine;

	if (value == 0) {
		begin_reset(vp);
		return;
	}
	if (cleared)
		bus_blame(vp->bus, RULE_STATUS_BITS, "virtio 2.1.1",
			  "status 0x%02x was written where it was 0x%02x: bits are cleared by a "
			  "reset only",
			  value, vp->status);
	if (set & ~STATUS_KNOWN)
		bus_blame(vp->bus, RULE_STATUS_BITS, "virtio 2.1", "status 0x%02x has reserved bits", value);
	if (set && (vp->status & VIRTIO_STATUS_FAILED))
		bus_blame(vp->bus, RULE_STATUS_BITS, "virtio 2.1.1",
			  "status 0x%02x was written after FAILED, without a reset", value);
	if (set & VIRTIO_STATUS_FEATURES_OK)
		vp->features_unread = true;
	set = accept_status(vp, set & STATUS_KNOWN);
	vp->status |= set;
	if (set & VIRTIO_STATUS_FEATURES_OK)
		vp->type->negotiated(vp->opaque);
}

static uint8_t read_status(struct virtio_pci *vp)
{
	if (vp->stopping && vp->reset_reads && !vp->type_busy) {
		vp->reset_reads--;
		return vp->status ? vp->status : VIRTIO_STATUS_ACKNOWLEDGE;
	}
	finish_reset(vp);
	if (vp->stopping)
		return vp->status ? vp->status : VIRTIO_STATUS_ACKNOWLEDGE;
	vp->features_unread = false;
	if (vp->status == 0)
		vp->reset_unseen = false;
	return vp->status;
}

static uint32_t feature_word(uint64_t features, uint32_t select)
{
	return select < 2 ? (uint32_t)(features >> (32 * select)) : 0;
}

static void write_driver_feature(struct virtio_pci *vp, uint32_t value)
{
	uint32_t select = vp->driver_feature_select;
	uint32_t odd = value & ~feature_word(vp->options.features, select);

	if (vp->status & VIRTIO_STATUS_FEATURES_OK) {
		bus_blame(vp->bus, RULE_FEATURE_LATE, "virtio 3.1.1", "driver_feature was written after FEATURES_OK");
		return;
	}
	if (select >= 2)
		return;
	if (odd)
		bus_blame(vp->bus, RULE_FEATURE_OFFERED, "virtio 2.2.1",
			  "feature bits were accepted that were not offered: 0x%x in word %u", odd, select);
	vp->driver_features &= ~(0xFFFFFFFFull << (32 * select));
	vp->driver_features |= (uint64_t)value << (32 * select);
}

/* Common configuration: the selected queue */

static struct virtio_pci_queue *selected(struct virtio_pci *vp)
{
	if (vp->queue_select >= vp->options.num_queues || vp->queue_select >= VIRTIO_PCI_QUEUES)
		return NULL;
	return &vp->queue[vp->queue_select];
}

static uint16_t confirm_vector(struct virtio_pci *vp, uint16_t vector)
{
	if (vector == VIRTIO_MSI_NO_VECTOR)
		return vector;
	if (vector > VECTOR_MAX)
		bus_blame(vp->bus, RULE_VECTOR_VALUE, "virtio 4.1.5.1.2",
			  "vector 0x%x is neither a table entry nor NO_VECTOR", vector);
	if (vector >= pci_messages(&vp->pci) || vp->options.registers == REGISTERS_VECTOR_REFUSED)
		return VIRTIO_MSI_NO_VECTOR;
	return vector;
}

static bool is_power_of_two(uint64_t value)
{
	return value && (value & (value - 1)) == 0;
}

static void write_queue_size(struct virtio_pci *vp, struct virtio_pci_queue *queue, uint16_t value)
{
	if (value != vp->options.queue_size && !is_power_of_two(value))
		bus_blame(vp->bus, RULE_QUEUE_SIZE, "virtio 4.1.4.3.2", "queue_size was set to %u, not a power of two",
			  value);
	else if (value > vp->options.queue_size)
		bus_blame(vp->bus, RULE_QUEUE_SIZE, "virtio 4.1.4.3", "queue_size was raised to %u, the device has %u",
			  value, vp->options.queue_size);
	else if (vp->options.registers != REGISTERS_QUEUE_SIZE_FIXED)
		queue->size = value;
}

static bool ring_is_sound(struct virtio_pci *vp, const struct virtio_pci_queue *queue)
{
	static const struct {
		const char *name;
		size_t member;
		unsigned align;
	} parts[] = {
		{ "queue_desc", offsetof(struct virtio_pci_queue, desc), VIRTQ_DESC_ALIGN },
		{ "queue_driver", offsetof(struct virtio_pci_queue, avail), VIRTQ_AVAIL_ALIGN },
		{ "queue_device", offsetof(struct virtio_pci_queue, used), VIRTQ_USED_ALIGN },
	};
	bool sound = true;

	for (unsigned i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		uint64_t addr = *(const uint64_t *)(const void *)((const char *)queue + parts[i].member);

		if (addr % parts[i].align) {
			bus_blame(vp->bus, RULE_QUEUE_ADDRESS, "virtio 2.7.1", "%s is 0x%llx, not a multiple of %u",
				  parts[i].name, (unsigned long long)addr, parts[i].align);
			sound = false;
		} else if (!addr) {
			bus_blame(vp->bus, RULE_QUEUE_ADDRESS, "virtio 4.1.4.3.2",
				  "the queue was enabled before %s was set", parts[i].name);
			sound = false;
		}
	}
	return sound;
}

static void enable_queue(struct virtio_pci *vp, struct virtio_pci_queue *queue, uint16_t value)
{
	struct vring_setup setup = {
		.size = queue->size,
		.chain_max = vp->options.queue_size,
		.desc = queue->desc,
		.avail = queue->avail,
		.used = queue->used,
		.indirect = virtio_pci_negotiated(vp, VIRTIO_F_INDIRECT_DESC),
		.event_idx = virtio_pci_negotiated(vp, VIRTIO_F_EVENT_IDX),
		.suppress = vp->options.suppress_doorbells,
		.always_signal = vp->options.always_signal,
	};

	if (value != 1) {
		bus_blame(vp->bus, RULE_QUEUE_ENABLE, "virtio 4.1.4.3.2", "%u was written to queue_enable", value);
		return;
	}
	if (queue->ring.running) {
		bus_blame(vp->bus, RULE_QUEUE_ENABLE, "virtio 4.1.4.3.2", "the queue was enabled twice");
		return;
	}
	if (!(vp->status & VIRTIO_STATUS_FEATURES_OK))
		bus_blame(vp->bus, RULE_QUEUE_ENABLE, "virtio 3.1.1", "the queue was enabled before FEATURES_OK");
	if (!queue->size || !ring_is_sound(vp, queue))
		return;
	if (vring_start(&queue->ring, &setup))
		virtio_pci_needs_reset(vp);
}

static void write_half(uint64_t *field, unsigned half, uint32_t value)
{
	unsigned shift = half ? 32 : 0;

	*field = (*field & ~(0xFFFFFFFFull << shift)) | (uint64_t)value << shift;
}

static void write_queue_field(struct virtio_pci *vp, const struct field *field, uint32_t value)
{
	struct virtio_pci_queue *queue = selected(vp);
	bool fixed = field->offset != COMMON(queue_enable) && field->offset != COMMON(queue_msix_vector);

	if (!queue)
		return;
	if (fixed && queue->ring.running) {
		bus_blame(vp->bus, RULE_QUEUE_FIXED, "virtio 4.1.4.3.2", "%s was written while the queue was enabled",
			  field->name);
		return;
	}
	switch (field->offset) {
	case COMMON(queue_size):
		write_queue_size(vp, queue, (uint16_t)value);
		break;
	case COMMON(queue_msix_vector):
		queue->vector = vp->options.registers == REGISTERS_QUEUE_VECTOR_REFUSED
					? VIRTIO_MSI_NO_VECTOR
					: confirm_vector(vp, (uint16_t)value);
		queue->vector_unread = value != VIRTIO_MSI_NO_VECTOR;
		break;
	case COMMON(queue_enable):
		enable_queue(vp, queue, (uint16_t)value);
		break;
	case COMMON(queue_desc):
	case COMMON(queue_desc) + 4:
		write_half(&queue->desc, field->offset != COMMON(queue_desc), value);
		break;
	case COMMON(queue_driver):
	case COMMON(queue_driver) + 4:
		write_half(&queue->avail, field->offset != COMMON(queue_driver), value);
		break;
	default:
		write_half(&queue->used, field->offset != COMMON(queue_device), value);
		break;
	}
}

static uint32_t read_queue_field(struct virtio_pci *vp, unsigned offset)
{
	struct virtio_pci_queue *queue = selected(vp);

	if (!queue)
		return offset == COMMON(queue_msix_vector) ? VIRTIO_MSI_NO_VECTOR : 0;
	switch (offset) {
	case COMMON(queue_size):
		return queue->size;
	case COMMON(queue_msix_vector):
		queue->vector_unread = false;
		return queue->vector;
	case COMMON(queue_enable):
		return queue->ring.running || vp->options.registers == REGISTERS_QUEUE_ENABLED;
	case COMMON(queue_notify_off):
		return (uint16_t)(vp->options.notify_off + vp->queue_select);
	case COMMON(queue_desc):
		return (uint32_t)queue->desc;
	case COMMON(queue_desc) + 4:
		return (uint32_t)(queue->desc >> 32);
	case COMMON(queue_driver):
		return (uint32_t)queue->avail;
	case COMMON(queue_driver) + 4:
		return (uint32_t)(queue->avail >> 32);
	case COMMON(queue_device):
		return (uint32_t)queue->used;
	default:
		return (uint32_t)(queue->used >> 32);
	}
}

/* Common configuration: access */

static uint32_t read_common_field(struct virtio_pci *vp, unsigned offset)
{
	switch (offset) {
	case COMMON(device_feature_select):
		return vp->device_feature_select;
	case COMMON(device_feature):
		return feature_word(vp->options.features, vp->device_feature_select);
	case COMMON(driver_feature_select):
		return vp->driver_feature_select;
	case COMMON(driver_feature):
		return feature_word(vp->driver_features, vp->driver_feature_select);
	case COMMON(config_msix_vector):
		vp->vector_unread = false;
		return vp->config_vector;
	case COMMON(num_queues):
		return vp->options.num_queues;
	case COMMON(device_status):
		return read_status(vp);
	case COMMON(config_generation):
		vp->config_guard = CONFIG_GUARDED;
		return vp->generation;
	case COMMON(queue_select):
		return vp->queue_select;
	default:
		return read_queue_field(vp, offset);
	}
}

static void write_common_field(struct virtio_pci *vp, const struct field *field, uint32_t value)
{
	bool resets = field->offset == COMMON(device_status) && (uint8_t)value == 0;

	if (field->read_only) {
		bus_blame(vp->bus, RULE_MMIO_READONLY, "virtio 4.1.4.3.2", "%s was written, which is read-only",
			  field->name);
		return;
	}
	if (vp->reset_unseen && !resets) {
		bus_blame(vp->bus, RULE_MMIO_RESET, "virtio 4.1.4.3.2",
			  "%s was written after a reset, before device_status had read as 0", field->name);
		if (vp->stopping)
			return;
		vp->reset_unseen = false;
	}
	if (vp->config_guard == CONFIG_READ && !resets)
		bus_blame(vp->bus, RULE_CONFIG_TORN, "virtio 2.5.3",
			  "a 64-bit field was read, and config_generation was not read afterwards");
	vp->config_guard = CONFIG_UNGUARDED;
	switch (field->offset) {
	case COMMON(device_feature_select):
		vp->device_feature_select = value;
		break;
	case COMMON(driver_feature_select):
		vp->driver_feature_select = value;
		break;
	case COMMON(driver_feature):
		write_driver_feature(vp, value);
		break;
	case COMMON(config_msix_vector):
		vp->config_vector = confirm_vector(vp, (uint16_t)value);
		vp->vector_unread = value != VIRTIO_MSI_NO_VECTOR;
		break;
	case COMMON(device_status):
		write_status(vp, (uint8_t)value);
		break;
	case COMMON(queue_select):
		vp->queue_select = (uint16_t)value;
		break;
	default:
		write_queue_field(vp, field, value);
		break;
	}
}

/* The field that holds byte `offset`, or NULL. */
static const struct field *common_field(uint64_t offset)
{
	for (unsigned i = 0; i < sizeof(common_fields) / sizeof(common_fields[0]); i++)
		if (offset - common_fields[i].offset < common_fields[i].width)
			return &common_fields[i];
	return NULL;
}

static void blame_width(const struct virtio_pci *vp, const char *what, uint64_t offset, unsigned width)
{
	bus_blame(vp->bus, RULE_MMIO_WIDTH, "virtio 4.1.3.1",
		  "%s was accessed at 0x%llx with %u bytes, which is not a field", what, (unsigned long long)offset,
		  width);
}

static uint32_t read_common(struct virtio_pci *vp, uint64_t offset, unsigned width)
{
	const struct field *field = common_field(offset);
	uint32_t value = 0;
	bool defined = false;

	if (field && field->offset == offset && field->width == width)
		return read_common_field(vp, field->offset);
	for (unsigned i = 0; i < width; i++) {
		field = common_field(offset + i);
		if (!field)
			continue;
		defined = true;
		value |= (read_common_field(vp, field->offset) >> (8 * (offset + i - field->offset)) & 0xFF) << (8 * i);
	}
	if (defined)
		blame_width(vp, "the common configuration", offset, width);
	return value;
}

static void write_common(struct virtio_pci *vp, uint64_t offset, unsigned width, uint32_t value)
{
	const struct field *field = common_field(offset);

	if (field && field->offset == offset && field->width == width)
		write_common_field(vp, field, value);
	else if (field || common_field(offset + width - 1))
		blame_width(vp, "the common configuration", offset, width);
}

/* The other regions */

/* Part of a 64-bit field is read. */
static void read_half(struct virtio_pci *vp, uint64_t offset)
{
	if (vp->config_guard == CONFIG_UNGUARDED)
		bus_blame(vp->bus, RULE_CONFIG_TORN, "virtio 2.5.3",
			  "half of a 64-bit field was read at 0x%llx, and config_generation was not read before",
			  (unsigned long long)offset);
	vp->config_guard = CONFIG_READ;
}

static uint32_t read_device(struct virtio_pci *vp, uint64_t offset, unsigned width)
{
	uint32_t value = 0;

	if (offset >= vp->type->config_length)
		return 0;
	if (vp->type->config_field((unsigned)offset) != width)
		blame_width(vp, "the device configuration", offset, width);
	for (unsigned i = 0; i < width; i++)
		if (offset + i < vp->type->config_length)
			value |= (uint32_t)vp->type->config_read(vp->opaque, (unsigned)offset + i) << (8 * i);
	if (vp->type->config_wide((unsigned)offset))
		read_half(vp, offset);
	if (vp->options.registers == REGISTERS_GENERATION_UNSTABLE)
		vp->generation++;
	return value;
}

static void write_device(struct virtio_pci *vp, uint64_t offset, unsigned width, uint32_t value)
{
	if (offset >= vp->type->config_length)
		return;
	if (vp->type->config_field((unsigned)offset) != width)
		blame_width(vp, "the device configuration", offset, width);
	else if (!vp->type->config_write(vp->opaque, (unsigned)offset, width, value))
		bus_blame(vp->bus, RULE_MMIO_READONLY, "virtio 5.2.4",
			  "the device configuration was written at 0x%llx, which is read-only",
			  (unsigned long long)offset);
}

static uint32_t read_isr(struct virtio_pci *vp, uint64_t offset, unsigned width)
{
	uint32_t value = vp->isr;

	if (offset)
		return 0;
	vp->stats->isr_reads++;
	if (width != 1)
		blame_width(vp, "ISR status", offset, width);
	if (value && vp->options.registers == REGISTERS_ISR_RESERVED)
		value |= 0xFC;
	vp->isr = 0;
	pci_set_intx(&vp->pci, false);
	return value;
}

static void notified(struct virtio_pci *vp, unsigned n)
{
	vring_doorbell(&vp->queue[n].ring);
	vp->type->notified(vp->opaque, n);
}

static void write_notify(struct virtio_pci *vp, uint64_t offset, unsigned width, uint32_t value)
{
	unsigned n = 0;

	while (n < VIRTIO_PCI_QUEUES && (uint64_t)(vp->options.notify_off + n) * vp->options.multiplier != offset)
		n++;
	vp->stats->doorbells++;
	if (width == 1)
		blame_width(vp, "a notification", offset, width);
	else if (n == VIRTIO_PCI_QUEUES || n >= vp->options.num_queues)
		bus_blame(vp->bus, RULE_NOTIFY_TARGET, "contract 1.6",
			  "a notification was written at 0x%llx, where no queue has its own",
			  (unsigned long long)offset);
	else if (!virtio_pci_driver_ok(vp))
		bus_blame(vp->bus, RULE_NOTIFY_EARLY, "virtio 3.1.1", "queue %u was notified before DRIVER_OK", n);
	else if (!vp->queue[n].ring.running)
		bus_blame(vp->bus, RULE_NOTIFY_EARLY, "virtio 4.1.5.2", "queue %u was notified and is not enabled", n);
	else if (value != n)
		bus_blame(vp->bus, RULE_NOTIFY_TARGET, "contract 1.6", "0x%x was written where queue %u is notified",
			  value, n);
	else
		notified(vp, n);
}

/* BAR access */

static bool inside(const struct virtio_pci_region *region, uint64_t offset)
{
	return offset >= region->offset && offset - region->offset < region->length;
}

static uint32_t region_read(struct virtio_pci *vp, unsigned bar, uint64_t offset, unsigned width)
{
	const struct virtio_pci_options *o = &vp->options;

	if (bar != o->bar)
		return 0;
	if (inside(&o->common, offset))
		return read_common(vp, offset - o->common.offset, width);
	if (inside(&o->isr, offset))
		return read_isr(vp, offset - o->isr.offset, width);
	if (inside(&o->device, offset))
		return read_device(vp, offset - o->device.offset, width);
	return 0;
}

static void region_write(struct virtio_pci *vp, unsigned bar, uint64_t offset, unsigned width, uint32_t value)
{
	const struct virtio_pci_options *o = &vp->options;

	if (bar != o->bar)
		return;
	if (inside(&o->notify, offset))
		write_notify(vp, offset - o->notify.offset, width, value);
	else if (inside(&o->common, offset))
		write_common(vp, offset - o->common.offset, width, value);
	else if (inside(&o->device, offset))
		write_device(vp, offset - o->device.offset, width, value);
	else if (offset == o->isr.offset)
		bus_blame(vp->bus, RULE_MMIO_READONLY, "contract 1.7", "ISR status was written, which is read-only");
}

static bool decodes(const struct virtio_pci *vp, unsigned bar, uint64_t offset, unsigned width)
{
	uint64_t length = pci_bar_length(&vp->pci, bar);

	return !vp->gone && pci_memory_enabled(&vp->pci) && offset < length && width <= length - offset;
}

uint64_t virtio_pci_bar_read(struct virtio_pci *vp, unsigned bar, uint64_t offset, unsigned width)
{
	if (width == 8) {
		if (!pci_msix_claims(&vp->pci, bar, offset) && decodes(vp, bar, offset, width))
			blame_width(vp, "a register", offset, width);
		return virtio_pci_bar_read(vp, bar, offset, 4) | virtio_pci_bar_read(vp, bar, offset + 4, 4) << 32;
	}
	if (!decodes(vp, bar, offset, width))
		return UINT32_MAX >> (32 - 8 * width);
	if (pci_msix_claims(&vp->pci, bar, offset))
		return pci_msix_read(&vp->pci, offset, width);
	vp->stats->mmio_reads++;
	return region_read(vp, bar, offset, width);
}

void virtio_pci_bar_write(struct virtio_pci *vp, unsigned bar, uint64_t offset, unsigned width, uint64_t value)
{
	if (width == 8) {
		if (!pci_msix_claims(&vp->pci, bar, offset) && decodes(vp, bar, offset, width))
			blame_width(vp, "a register", offset, width);
		virtio_pci_bar_write(vp, bar, offset, 4, value & UINT32_MAX);
		virtio_pci_bar_write(vp, bar, offset + 4, 4, value >> 32);
		return;
	}
	if (!decodes(vp, bar, offset, width))
		return;
	value &= UINT32_MAX >> (32 - 8 * width);
	if (pci_msix_claims(&vp->pci, bar, offset)) {
		pci_msix_write(&vp->pci, offset, width, (uint32_t)value);
		return;
	}
	vp->stats->mmio_writes++;
	region_write(vp, bar, offset, width, (uint32_t)value);
}

uint64_t virtio_pci_bar_length(const struct virtio_pci *vp, unsigned bar)
{
	return pci_bar_length(&vp->pci, bar);
}

/* Configuration space */

/*
 * Whether the access touches the data of the PCI_CFG capability, and where the window looks. [virtio 4.1.4.9]
 */
static bool through_window(const struct virtio_pci *vp, unsigned offset, unsigned width, struct virtio_pci_cap *cap)
{
	unsigned data = vp->window + sizeof(*cap);

	if (!vp->window || vp->gone || offset + width <= data || offset >= data + 4)
		return false;
	cap->bar = (u8)pci_config_read(&vp->pci, vp->window + offsetof(struct virtio_pci_cap, bar), 1);
	cap->offset = pci_config_read(&vp->pci, vp->window + offsetof(struct virtio_pci_cap, offset), 4);
	cap->length = pci_config_read(&vp->pci, vp->window + offsetof(struct virtio_pci_cap, length), 4);
	return (cap->length == 1 || cap->length == 2 || cap->length == 4) && cap->offset % cap->length == 0;
}

uint32_t virtio_pci_config_read(struct virtio_pci *vp, unsigned offset, unsigned width)
{
	struct virtio_pci_cap cap;

	if (vp->gone)
		return UINT32_MAX >> (32 - 8 * width);
	if (through_window(vp, offset, width, &cap))
		pci_patch(&vp->pci, vp->window + sizeof(cap), cap.length,
			  region_read(vp, cap.bar, cap.offset, cap.length));
	return pci_config_read(&vp->pci, offset, width);
}

void virtio_pci_config_write(struct virtio_pci *vp, unsigned offset, unsigned width, uint32_t value)
{
	struct virtio_pci_cap cap;

	if (vp->gone)
		return;
	pci_config_write(&vp->pci, offset, width, value);
	if (through_window(vp, offset, width, &cap))
		region_write(vp, cap.bar, cap.offset, cap.length,
			     pci_config_read(&vp->pci, vp->window + sizeof(cap), cap.length));
}

/* Options */

/*
 * MSI-X structures that share the regions' BAR take its last 2 KiB, table first: above all four regions, on
 * the page of the device configuration, which nobody touches while requests run. Otherwise they have a BAR of
 * their own, half of it table, half pending bits, of 4 KiB or as much more as the table needs.
 */
static int place_msix(struct virtio_pci_options *p, struct error *err)
{
	uint64_t length = 4096;

	if (!p->msix_vectors)
		return 0;
	if (p->msix_bar == p->bar) {
		p->msix_table = (uint32_t)(p->bar_length - MSIX_SHARED_BYTES);
		p->msix_pba = p->msix_table + MSIX_SHARED_BYTES / 2;
		if (PCI_MSIX_TABLE_BYTES(p->msix_vectors) > MSIX_SHARED_BYTES / 2)
			return error_set(err, "msix-vectors=%u: BAR%u has room for %u", p->msix_vectors, p->bar,
					 MSIX_SHARED_BYTES / 2 / 16);
		return 0;
	}
	if (p->bar_kind != PCI_BAR_MEMORY32 && p->msix_bar == p->bar + 1)
		return error_set(err, "bar=%u: BAR%u would be its upper half, and the MSI-X table lies there", p->bar,
				 p->msix_bar);
	while (length < 2 * PCI_MSIX_TABLE_BYTES(p->msix_vectors))
		length *= 2;
	p->msix_bar_length = length;
	p->msix_table = 0;
	p->msix_pba = (uint32_t)(length / 2);
	return 0;
}

int virtio_pci_complete(struct virtio_pci_options *p, struct error *err)
{
	if (!is_power_of_two(p->bar_length))
		return error_set(err, "bar0-length=0x%llx is not a power of two", (unsigned long long)p->bar_length);
	if (p->msi_vectors && !is_power_of_two(p->msi_vectors))
		return error_set(err, "msi=%u is not a power of two", p->msi_vectors);
	if (p->bar_kind != PCI_BAR_MEMORY32 && p->bar == PCI_BARS - 1)
		return error_set(err, "bar=5: a 64-bit BAR needs the one behind it");
	return place_msix(p, err);
}
