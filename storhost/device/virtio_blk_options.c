/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What a virtio block device can be told to be: the two layouts, every key, and their text form. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "device/virtio_blk.h"
#include "virtio_blk_spec.h"
#include "virtio_spec.h"

enum option_kind {
	OPTION_NUMBER, /* low to high */
	OPTION_CHOICE, /* `word` stores low */
	OPTION_FEATURES,
	OPTION_TEXT, /* high characters at most */
};

struct option {
	const char *key;
	const char *word; /* a choice's value; else what help shows for it */
	enum option_kind kind;
	size_t offset, size; /* of the member of struct virtio_blk_options */
	uint64_t low, high;
	const char *meaning;
};

#define MEMBER(m) offsetof(struct virtio_blk_options, m), sizeof(((struct virtio_blk_options *)0)->m)
#define NUMBER(key, m, low, high, meaning) { key, "N", OPTION_NUMBER, MEMBER(m), low, high, meaning }
#define CHOICE(key, word, m, value, meaning) { key, word, OPTION_CHOICE, MEMBER(m), value, 0, meaning }

static const struct option options[] = {
	NUMBER("queue-size", pci.queue_size, 0, VIRTQ_SIZE_LIMIT, "descriptors of the queue; 0: there is no queue"),
	NUMBER("num-queues", pci.num_queues, 0, 0xFFFF, "the num_queues register; only queue 0 works"),
	NUMBER("seg-max", seg_max, 0, UINT32_MAX, "data segments per request"),
	NUMBER("blk-size", blk_size, 0, UINT32_MAX, "bytes of a logical block, as the configuration says"),
	NUMBER("size-max", size_max, 0, UINT32_MAX, "bytes of a data segment, as the configuration says"),
	NUMBER("physical-exp", physical_exp, 0, 0xFF, "TOPOLOGY: log2 of logical blocks per physical block"),
	NUMBER("alignment", alignment, 0, 0xFF, "TOPOLOGY: alignment_offset in logical blocks"),
	NUMBER("min-io", min_io, 0, 0xFFFF, "TOPOLOGY: min_io_size in logical blocks"),
	NUMBER("opt-io", opt_io, 0, UINT32_MAX, "TOPOLOGY: opt_io_size in logical blocks"),
	NUMBER("discard-sectors", discard_sectors, 0, UINT32_MAX, "max_discard_sectors"),
	NUMBER("discard-seg", discard_seg, 0, UINT32_MAX, "max_discard_seg"),
	NUMBER("discard-alignment", discard_alignment, 0, UINT32_MAX, "discard_sector_alignment"),
	NUMBER("zeroes-sectors", zeroes_sectors, 0, UINT32_MAX, "max_write_zeroes_sectors"),
	NUMBER("zeroes-seg", zeroes_seg, 0, UINT32_MAX, "max_write_zeroes_seg"),
	NUMBER("zeroes-may-unmap", zeroes_may_unmap, 0, 1, "write_zeroes_may_unmap"),
	CHOICE("cache", "back", writethrough, 0, "writeback is 1 from a reset on"),
	CHOICE("cache", "through", writethrough, 1, "writeback is 0 from a reset on"),
	CHOICE("cache-mode", "written", cache_stuck, 0, "writeback is what the driver writes"),
	CHOICE("cache-mode", "stuck", cache_stuck, 1, "writeback keeps its value whatever is written"),
	NUMBER("volatile", volatile_percent, 0, 100, "percent of the blocks not flushed that lost power takes back"),
	{ "features", "+NAME-NAME", OPTION_FEATURES, MEMBER(pci.features), 0, 0,
	  "offers (+) or withholds (-) indirect, event_idx, version_1, size_max, seg_max, geometry, ro, "
	  "blk_size, flush, topology, config_wce, mq, discard, write_zeroes, access_platform, packed, order_platform, or bitN" },
	{ "serial", "TEXT", OPTION_TEXT, MEMBER(serial), 0, VIRTIO_BLK_ID_BYTES, "GET_ID works and returns this" },
	CHOICE("get-id", "sound", id, ID_SOUND, "GET_ID works as serial says"),
	CHOICE("get-id", "fails", id, ID_FAILS, "GET_ID ends with IOERR"),
	CHOICE("get-id", "fails-once", id, ID_FAILS_ONCE, "the first GET_ID ends with IOERR"),
	CHOICE("get-id", "never", id, ID_NEVER, "GET_ID is not returned before the next reset"),
	NUMBER("id-delay", id_delay, 0, UINT32_MAX, "steps of the device that a GET_ID takes"),
	NUMBER("read-only", read_only, 0, 1, "1: offers RO and never writes the disk"),
	NUMBER("reorder", reorder, 0, 1, "1: requests finish in any order"),
	NUMBER("outstanding", outstanding, 1, 1024, "requests fetched and not returned, at most"),
	NUMBER("batch", batch, 1, 1024, "returned requests per interrupt, at most"),
	NUMBER("suppress-doorbells", pci.suppress_doorbells, 0, 1, "0: wants a doorbell even while it is working"),
	CHOICE("used-len", "zero", used_len, 0, "used.len is 0, as the contract has it"),
	CHOICE("used-len", "written", used_len, 1, "used.len is all the chain can take, as QEMU has it"),
	CHOICE("no-interrupt", "honoured", pci.always_signal, 0, "no interrupt where the driver asks for none"),
	CHOICE("no-interrupt", "ignored", pci.always_signal, 1, "interrupts whatever the driver asks for"),

	NUMBER("revision", pci.identity.revision, 0, 0xFF, "PCI revision id"),
	NUMBER("device", pci.identity.device, 0, 0xFFFF, "PCI device id"),
	NUMBER("subsystem", pci.identity.subsystem, 0, 0xFFFF, "PCI subsystem id"),
	NUMBER("msix-vectors", pci.msix_vectors, 0, PCI_MSIX_MAX, "entries of the MSI-X table; 0: no MSI-X"),
	NUMBER("msi", pci.msi_vectors, 0, PCI_MSI_MAX, "messages of an MSI capability, a power of two; 0: no MSI"),
	NUMBER("bar", pci.bar, 0, PCI_BARS - 1, "BAR that holds the four regions"),
	CHOICE("bar-kind", "32", pci.bar_kind, PCI_BAR_MEMORY32, "that BAR is 32-bit memory"),
	CHOICE("bar-kind", "64", pci.bar_kind, PCI_BAR_MEMORY64, "that BAR is 64-bit memory"),
	CHOICE("bar-kind", "64-prefetch", pci.bar_kind, PCI_BAR_MEMORY64_PREFETCH, "64-bit and prefetchable"),
	NUMBER("bar0-length", pci.bar_length, 0x1000, 0x1000000, "bytes of that BAR (BAR0 in the contract's layout)"),
	NUMBER("common", pci.common.offset, 0, UINT32_MAX, "offset of the common configuration"),
	NUMBER("common-length", pci.common.length, 0, UINT32_MAX, "its length"),
	NUMBER("notify", pci.notify.offset, 0, UINT32_MAX, "offset of the notification region"),
	NUMBER("notify-length", pci.notify.length, 0, UINT32_MAX, "its length"),
	NUMBER("isr", pci.isr.offset, 0, UINT32_MAX, "offset of ISR status"),
	NUMBER("isr-length", pci.isr.length, 0, UINT32_MAX, "its length"),
	NUMBER("device-config", pci.device.offset, 0, UINT32_MAX, "offset of the device configuration"),
	NUMBER("device-config-length", pci.device.length, 0, UINT32_MAX, "its length"),
	NUMBER("multiplier", pci.multiplier, 0, UINT32_MAX, "notify_off_multiplier"),
	NUMBER("notify-off", pci.notify_off, 0, 0xFFFF, "queue_notify_off of queue 0"),
	NUMBER("config-window", pci.config_window, 0, 1, "1: also offers PCI_CFG, registers by configuration space"),
	NUMBER("reset-reads", pci.reset_reads, 0, UINT32_MAX, "device_status reads that every reset outlives"),

	CHOICE("caps", "sound", pci.caps, CAPS_SOUND, "the capability list is right"),
	CHOICE("caps", "missing-common", pci.caps, CAPS_MISSING_COMMON, "no COMMON_CFG"),
	CHOICE("caps", "missing-notify", pci.caps, CAPS_MISSING_NOTIFY, "no NOTIFY_CFG"),
	CHOICE("caps", "missing-isr", pci.caps, CAPS_MISSING_ISR, "no ISR_CFG"),
	CHOICE("caps", "missing-device", pci.caps, CAPS_MISSING_DEVICE, "no DEVICE_CFG"),
	CHOICE("caps", "no-list", pci.caps, CAPS_NO_LIST, "status bit 4 is clear"),
	CHOICE("caps", "empty", pci.caps, CAPS_EMPTY, "the list pointer is 0"),
	CHOICE("caps", "loop", pci.caps, CAPS_LOOP, "the last capability links to the first"),
	CHOICE("caps", "self", pci.caps, CAPS_SELF, "the first capability links to itself"),
	CHOICE("caps", "misaligned", pci.caps, CAPS_MISALIGNED, "the list pointer is not a multiple of 4"),
	CHOICE("caps", "in-header", pci.caps, CAPS_IN_HEADER, "the list pointer points into the header"),
	CHOICE("caps", "short-common", pci.caps, CAPS_SHORT_COMMON, "COMMON_CFG has cap_len 12"),
	CHOICE("caps", "short-notify", pci.caps, CAPS_SHORT_NOTIFY, "NOTIFY_CFG has cap_len 16: no multiplier"),
	CHOICE("caps", "past-end", pci.caps, CAPS_PAST_END, "DEVICE_CFG starts at 0xFC and does not fit"),
	CHOICE("caps", "reserved-bar", pci.caps, CAPS_RESERVED_BAR, "COMMON_CFG names BAR 7"),
	CHOICE("caps", "absent-bar", pci.caps, CAPS_ABSENT_BAR, "ISR_CFG names a BAR that is not there"),
	CHOICE("caps", "beyond-bar", pci.caps, CAPS_BEYOND_BAR, "DEVICE_CFG begins where its BAR ends"),
	CHOICE("caps", "wrapping", pci.caps, CAPS_WRAPPING, "NOTIFY_CFG: offset plus length wraps around 32 bits"),
	CHOICE("caps", "short-region", pci.caps, CAPS_SHORT_REGION, "COMMON_CFG is shorter than its registers"),
	CHOICE("caps", "duplicate", pci.caps, CAPS_DUPLICATE, "an unusable COMMON_CFG comes before the usable one"),
	CHOICE("caps", "unknown-first", pci.caps, CAPS_UNKNOWN_FIRST, "an unknown type comes first; all else is right"),

	CHOICE("registers", "sound", pci.registers, REGISTERS_SOUND, "the registers are right"),
	CHOICE("registers", "features-refused", pci.registers, REGISTERS_FEATURES_REFUSED, "FEATURES_OK never sticks"),
	CHOICE("registers", "vector-refused", pci.registers, REGISTERS_VECTOR_REFUSED, "vectors read back 0xFFFF"),
	CHOICE("registers", "queue-vector-refused", pci.registers, REGISTERS_QUEUE_VECTOR_REFUSED,
	       "the queue's vector reads back 0xFFFF"),
	CHOICE("registers", "reset-stuck", pci.registers, REGISTERS_RESET_STUCK, "no reset ever completes"),
	CHOICE("registers", "reset-stuck-running", pci.registers, REGISTERS_RESET_STUCK_RUNNING,
	       "a reset after DRIVER_OK never completes"),
	CHOICE("registers", "generation-unstable", pci.registers, REGISTERS_GENERATION_UNSTABLE,
	       "config_generation changes with every read of the configuration"),
	CHOICE("registers", "queue-enabled", pci.registers, REGISTERS_QUEUE_ENABLED, "queue_enable reads 1 from reset"),
	CHOICE("registers", "queue-size-fixed", pci.registers, REGISTERS_QUEUE_SIZE_FIXED,
	       "queue_size keeps its value whatever is written"),
	CHOICE("registers", "isr-reserved", pci.registers, REGISTERS_ISR_RESERVED, "ISR status has reserved bits set"),

	CHOICE("fault", "none", fault, FAULT_NONE, "requests go well"),
	CHOICE("fault", "io-error", fault, FAULT_IO_ERROR, "a request ends with IOERR"),
	CHOICE("fault", "bad-status", fault, FAULT_BAD_STATUS, "a request ends with status 0x55"),
	CHOICE("fault", "no-status", fault, FAULT_NO_STATUS, "a request is returned with its status not written"),
	CHOICE("fault", "used-bad-id", fault, FAULT_USED_BAD_ID, "a used entry names a descriptor beyond the queue"),
	CHOICE("fault", "used-free-id", fault, FAULT_USED_FREE_ID, "a used entry names a descriptor not in flight"),
	CHOICE("fault", "used-twice", fault, FAULT_USED_TWICE, "a request is returned twice"),
	CHOICE("fault", "used-jump", fault, FAULT_USED_JUMP, "the used index jumps by more than the queue size"),
	CHOICE("fault", "used-length", fault, FAULT_USED_LENGTH, "used.len is 0xFFFFFFFF"),
	CHOICE("fault", "drop", fault, FAULT_DROP, "a request is not returned before the next reset"),
	CHOICE("fault", "delay", fault, FAULT_DELAY, "a request is returned a millisecond later"),
	CHOICE("fault", "lost-interrupt", fault, FAULT_LOST_INTERRUPT, "a request is returned without an interrupt"),
	CHOICE("fault", "spurious-interrupt", fault, FAULT_SPURIOUS_INTERRUPT,
	       "an interrupt comes before its request is returned, and again after it"),
	CHOICE("fault", "config-interrupt", fault, FAULT_CONFIG_INTERRUPT,
	       "a configuration interrupt comes, and nothing has changed"),
	CHOICE("fault", "stall", fault, FAULT_STALL, "no request is returned any more until the next reset"),
	CHOICE("fault", "resume", fault, FAULT_RESUME, "requests go well, and what had stalled goes on"),
	CHOICE("fault", "pause", fault, FAULT_PAUSE, "no request is returned, through resets, until the fault changes"),
	CHOICE("fault", "needs-reset", fault, FAULT_NEEDS_RESET, "the device sets DEVICE_NEEDS_RESET"),
	CHOICE("fault", "gone", fault, FAULT_GONE, "the device is pulled out: all ones everywhere"),
	NUMBER("fault-after", fault_after, 0, UINT32_MAX, "requests that go well before the fault"),
	NUMBER("fault-every", fault_every, 0, UINT32_MAX, "0: the fault strikes once; N: at every Nth request"),
	CHOICE("fault-registers", "sound", pci.registers, REGISTERS_SOUND, "the registers are right"),
	CHOICE("fault-registers", "features-refused", pci.registers, REGISTERS_FEATURES_REFUSED,
	       "FEATURES_OK never sticks"),
	CHOICE("fault-registers", "vector-refused", pci.registers, REGISTERS_VECTOR_REFUSED,
	       "vectors read back 0xFFFF"),
	CHOICE("fault-registers", "reset-stuck", pci.registers, REGISTERS_RESET_STUCK,
	       "no reset completes until they are sound again"),
	NUMBER("grow-at", grow_at, 0, UINT32_MAX, "register access before which the disk grows by 1 MiB; 0: none"),
};

#define OPTIONS (sizeof(options) / sizeof(options[0]))

static const struct {
	const char *name;
	unsigned bit;
} features[] = {
	{ "size_max", VIRTIO_BLK_F_SIZE_MAX },
	{ "seg_max", VIRTIO_BLK_F_SEG_MAX },
	{ "geometry", VIRTIO_BLK_F_GEOMETRY },
	{ "ro", VIRTIO_BLK_F_RO },
	{ "blk_size", VIRTIO_BLK_F_BLK_SIZE },
	{ "flush", VIRTIO_BLK_F_FLUSH },
	{ "topology", VIRTIO_BLK_F_TOPOLOGY },
	{ "config_wce", VIRTIO_BLK_F_CONFIG_WCE },
	{ "mq", VIRTIO_BLK_F_MQ },
	{ "discard", VIRTIO_BLK_F_DISCARD },
	{ "write_zeroes", VIRTIO_BLK_F_WRITE_ZEROES },
	{ "indirect", VIRTIO_F_INDIRECT_DESC },
	{ "event_idx", VIRTIO_F_EVENT_IDX },
	{ "version_1", VIRTIO_F_VERSION_1 },
	{ "access_platform", VIRTIO_F_ACCESS_PLATFORM },
	{ "packed", VIRTIO_F_RING_PACKED },
	{ "order_platform", VIRTIO_F_ORDER_PLATFORM },
};

#define CONTRACT_FEATURES                                                                                              \
	(VIRTIO_FEATURE(VIRTIO_F_VERSION_1) | VIRTIO_FEATURE(VIRTIO_F_INDIRECT_DESC) |                                 \
	 VIRTIO_FEATURE(VIRTIO_BLK_F_SEG_MAX) | VIRTIO_FEATURE(VIRTIO_BLK_F_BLK_SIZE) |                                \
	 VIRTIO_FEATURE(VIRTIO_BLK_F_FLUSH))

/* [contract 1.1, 1.2, 1.4, 3.1] */
void virtio_blk_defaults(struct virtio_blk_options *o)
{
	*o = (struct virtio_blk_options){
		.pci = {
			.identity = {
				.vendor = VIRTIO_PCI_VENDOR_ID,
				.device = VIRTIO_PCI_DEVICE_ID_BASE + VIRTIO_ID_BLOCK,
				.subsystem_vendor = VIRTIO_PCI_VENDOR_ID,
				.subsystem = 0x0002,
				.revision = 0x01,
				.class_code = 0x010000,
			},
			.bar = 0,
			.bar_kind = PCI_BAR_MEMORY64,
			.bar_length = 0x4000,
			.common = { 0x0000, 0x0100 },
			.notify = { 0x1000, 0x0100 },
			.isr = { 0x2000, 0x0020 },
			.device = { 0x3000, 0x0100 },
			.multiplier = 4,
			.msix_vectors = 2,
			.msix_bar = 0,
			.num_queues = 1,
			.queue_size = 128,
			.features = CONTRACT_FEATURES,
			.suppress_doorbells = true,
		},
		.seg_max = 126,
		.blk_size = 512,
		.min_io = 1,
		.discard_sectors = 4194303,
		.discard_seg = 1,
		.discard_alignment = 1,
		.zeroes_sectors = 4194303,
		.zeroes_seg = 1,
		.outstanding = 32,
		.batch = 1,
	};
}

/*
 * QEMU 7.2 with disable-legacy=on; of its features those that this device fills with the truth. [contract
 * 1.4]
 */
static void qemu_layout(struct virtio_blk_options *o)
{
	virtio_blk_defaults(o);
	o->pci.identity.subsystem = 0x1100;
	o->pci.bar = 4;
	o->pci.bar_kind = PCI_BAR_MEMORY64_PREFETCH;
	o->pci.common = (struct virtio_pci_region){ 0x0000, 0x1000 };
	o->pci.isr = (struct virtio_pci_region){ 0x1000, 0x1000 };
	o->pci.device = (struct virtio_pci_region){ 0x2000, 0x1000 };
	o->pci.notify = (struct virtio_pci_region){ 0x3000, 0x1000 };
	o->pci.config_window = true;
	o->pci.msix_bar = 1;
	o->pci.queue_size = 256;
	o->pci.features |= VIRTIO_FEATURE(VIRTIO_F_EVENT_IDX) | VIRTIO_FEATURE(VIRTIO_BLK_F_TOPOLOGY) |
			   VIRTIO_FEATURE(VIRTIO_BLK_F_CONFIG_WCE);
	o->seg_max = 254;
	o->used_len = true;
}

static const struct {
	const char *word;
	void (*apply)(struct virtio_blk_options *o);
	const char *meaning;
} layouts[] = {
	{ "contract", virtio_blk_defaults, "AERO-W7-VIRTIO contract v1 (the default)" },
	{ "qemu-layout", qemu_layout, "registers, features and queue as QEMU 7.2 with disable-legacy=on has them" },
};

static int set_layout(struct virtio_blk_options *o, const char *word, struct error *err)
{
	for (size_t i = 0; i < sizeof(layouts) / sizeof(layouts[0]); i++) {
		if (!strcmp(word, layouts[i].word)) {
			layouts[i].apply(o);
			return 0;
		}
	}
	return error_set(err, "'%s' is no device layout (contract or qemu-layout) and not of the form key=value", word);
}

static void store(struct virtio_blk_options *o, const struct option *option, uint64_t value)
{
	char *at = (char *)o + option->offset;
	uint8_t value8 = (uint8_t)value;
	uint16_t value16 = (uint16_t)value;
	uint32_t value32 = (uint32_t)value;

	switch (option->size) {
	case sizeof(value8):
		memcpy(at, &value8, sizeof(value8));
		break;
	case sizeof(value16):
		memcpy(at, &value16, sizeof(value16));
		break;
	case sizeof(value32):
		memcpy(at, &value32, sizeof(value32));
		break;
	default:
		memcpy(at, &value, sizeof(value));
		break;
	}
}

static int set_number(struct virtio_blk_options *o, const struct option *option, const char *text, struct error *err)
{
	char *end;
	unsigned long long value = strtoull(text, &end, 0);

	if (*text < '0' || *text > '9' || *end || value < option->low || value > option->high)
		return error_set(err, "device option %s is a number from %llu to %llu, not '%s'", option->key,
				 (unsigned long long)option->low, (unsigned long long)option->high, text);
	store(o, option, value);
	return 0;
}

/* Bit number of a feature name of length len, or -1. */
static int feature_bit(const char *name, size_t len)
{
	unsigned bit = 0;
	size_t i;

	for (i = 0; i < sizeof(features) / sizeof(features[0]); i++)
		if (strlen(features[i].name) == len && !memcmp(features[i].name, name, len))
			return (int)features[i].bit;
	if (len < 4 || len > 5 || memcmp(name, "bit", 3))
		return -1;
	for (i = 3; i < len; i++) {
		if (name[i] < '0' || name[i] > '9')
			return -1;
		bit = 10 * bit + (unsigned)(name[i] - '0');
	}
	return bit < 64 ? (int)bit : -1;
}

static int set_features(struct virtio_blk_options *o, const char *text, struct error *err)
{
	if (!*text)
		return error_set(err, "device option features is a list such as -indirect+event_idx, and not empty");
	while (*text) {
		size_t len = strcspn(text + 1, "+-");
		int bit = *text == '+' || *text == '-' ? feature_bit(text + 1, len) : -1;

		if (bit < 0)
			return error_set(err, "device option features does not know '%.*s'", (int)len + 1, text);
		if (*text == '+')
			o->pci.features |= VIRTIO_FEATURE(bit);
		else
			o->pci.features &= ~VIRTIO_FEATURE(bit);
		text += 1 + len;
	}
	return 0;
}

static int set_option(struct virtio_blk_options *o, const char *key, const char *value, struct error *err)
{
	bool known = false;

	for (size_t i = 0; i < OPTIONS; i++) {
		const struct option *option = &options[i];

		if (strcmp(key, option->key))
			continue;
		known = true;
		switch (option->kind) {
		case OPTION_NUMBER:
			return set_number(o, option, value, err);
		case OPTION_FEATURES:
			return set_features(o, value, err);
		case OPTION_TEXT:
			if (strlen(value) > option->high)
				return error_set(err, "device option %s has at most %llu characters", key,
						 (unsigned long long)option->high);
			memset((char *)o + option->offset, 0, option->size);
			memcpy((char *)o + option->offset, value, strlen(value));
			return 0;
		case OPTION_CHOICE:
			if (!strcmp(value, option->word)) {
				store(o, option, option->low);
				return 0;
			}
		}
	}
	return known ? error_set(err, "device option %s has no value '%s'", key, value)
		     : error_set(err, "there is no device option '%s'", key);
}

int virtio_blk_parse(struct virtio_blk_options *o, const char *spec, struct error *err)
{
	struct virtio_blk_options parsed = *o;
	char *copy = strdup(spec), *next = copy, *item;
	int rc = copy ? 0 : error_set(err, "out of memory");

	while (!rc && *spec && (item = strsep(&next, ","))) {
		char *value = strchr(item, '=');

		if (value)
			*value++ = '\0';
		rc = value ? set_option(&parsed, item, value, err) : set_layout(&parsed, item, err);
	}
	free(copy);
	if (!rc)
		*o = parsed;
	return rc;
}

void virtio_blk_sample(unsigned n, uint64_t number, char *buf, size_t size)
{
	const struct option *option = &options[n % OPTIONS];
	uint64_t span = option->high - option->low + 1;

	switch (option->kind) {
	case OPTION_NUMBER:
		if (number < option->low || number > option->high)
			number = option->low + number % span;
		snprintf(buf, size, "%s=%llu", option->key, (unsigned long long)number);
		break;
	case OPTION_FEATURES:
		snprintf(buf, size, "%s=%cbit%u", option->key, number & 64 ? '-' : '+', (unsigned)(number & 63));
		break;
	case OPTION_TEXT:
		snprintf(buf, size, "%s=%0*llx", option->key, (int)(number % (option->high + 1)),
			 (unsigned long long)number & 0xff);
		break;
	case OPTION_CHOICE:
		snprintf(buf, size, "%s=%s", option->key, option->word);
		break;
	}
}

void virtio_blk_help(FILE *out)
{
	for (size_t i = 0; i < sizeof(layouts) / sizeof(layouts[0]); i++)
		fprintf(out, "%-32s %s\n", layouts[i].word, layouts[i].meaning);
	for (size_t i = 0; i < OPTIONS; i++)
		fprintf(out, "%s=%-*s %s\n", options[i].key, 31 - (int)strlen(options[i].key), options[i].word,
			options[i].meaning);
}
