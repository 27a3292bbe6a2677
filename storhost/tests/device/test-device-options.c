/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Claims about how a device is made: options, the disk that is refused, its lock, and every way of being
 * broken.
 */
#include "rig.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Options */

static void the_defaults_are_the_contract(void **state)
{
	struct virtio_blk_options defaults, parsed;
	struct error err;

	(void)state;
	memset(&defaults, 0, sizeof(defaults));
	memset(&parsed, 0, sizeof(parsed));
	virtio_blk_defaults(&defaults);
	assert_int_equal(virtio_blk_parse(&parsed, "contract", &err), 0);
	assert_int_equal(parsed.pci.queue_size, defaults.pci.queue_size);
	assert_true(parsed.pci.features == defaults.pci.features);
	assert_int_equal(virtio_blk_parse(&parsed, "", &err), 0);
	assert_int_equal(parsed.pci.queue_size, 128);
}

static void keys_are_parsed(void **state)
{
	struct virtio_blk_options o;
	struct error err;

	(void)state;
	virtio_blk_defaults(&o);
	assert_int_equal(
		virtio_blk_parse(&o,
				 "contract,queue-size=64,seg-max=30,blk-size=4096,features=-indirect+event_idx+bit63,"
				 "revision=2,bar0-length=0x2000,caps=loop,msix-vectors=3,msi=4,reorder=1",
				 &err),
		0);
	assert_int_equal(o.pci.queue_size, 64);
	assert_int_equal(o.seg_max, 30);
	assert_int_equal(o.blk_size, 4096);
	assert_int_equal(o.pci.identity.revision, 2);
	assert_int_equal(o.pci.bar_length, 0x2000);
	assert_int_equal(o.pci.caps, CAPS_LOOP);
	assert_int_equal(o.pci.msix_vectors, 3);
	assert_int_equal(o.pci.msi_vectors, 4);
	assert_true(o.reorder);
	assert_true(o.pci.features == (1ull << 63 | 1ull << 32 | 1ull << 29 | 1ull << 2 | 1ull << 6 | 1ull << 9));
}

static void what_is_not_understood_is_named_and_changes_nothing(void **state)
{
	static const struct {
		const char *spec, *named;
	} bad[] = {
		{ "contrakt", "contrakt" },
		{ "contract,", "''" },
		{ "queue-siez=1", "queue-siez" },
		{ "seg-max=5,queue-size=many", "many" },
		{ "queue-size=32769", "32768" },
		{ "queue-size=-1", "-1" },
		{ "queue-size=", "queue-size" },
		{ "seg-max=4294967296", "4294967296" },
		{ "seg-max=99999999999999999999", "99999999999999999999" },
		{ "seg-max=5x", "5x" },
		{ "seg-max= 5", " 5" },
		{ "features=indirect", "indirect" },
		{ "features=", "features" },
		{ "features=+", "+" },
		{ "features=+bit64", "bit64" },
		{ "features=-nonsense", "-nonsense" },
		{ "caps=bent", "bent" },
		{ "serial=123456789012345678901", "serial" },
	};
	struct virtio_blk_options o;
	struct error err;

	(void)state;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		virtio_blk_defaults(&o);
		err.text[0] = '\0';
		assert_int_equal(virtio_blk_parse(&o, bad[i].spec, &err), -1);
		if (!strstr(err.text, bad[i].named))
			fail_msg("'%s' gave: %s", bad[i].spec, err.text);
		assert_int_equal(o.seg_max, 126);
	}
}

static void every_key_that_help_prints_is_understood(void **state)
{
	char *text = NULL, *save = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	unsigned lines = 0;

	(void)state;
	virtio_blk_help(out);
	fclose(out);
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save), lines++) {
		struct virtio_blk_options o;
		struct error err;
		char spec[64], *value;

		sscanf(line, "%63s", spec);
		assert_true(strlen(line) > 34 && line[32] == ' ' && line[33] != ' ');
		value = strchr(spec, '=');
		if (value && !strcmp(value, "=N"))
			strcpy(value, "=1");
		if (value && !strcmp(value, "=+NAME-NAME"))
			strcpy(value, "=+ro-flush");
		if (!strcmp(spec, "bar0-length=1"))
			strcpy(spec, "bar0-length=4096");
		virtio_blk_defaults(&o);
		if (virtio_blk_parse(&o, spec, &err))
			fail_msg("'%s': %s", spec, err.text);
	}
	assert_true(lines > 80);
	free(text);
}

/* Creation */

static void refused(const char *spec, const char *disk, const char *text)
{
	struct virtio_blk_options o;
	struct error err = { "" };
	struct device *dev;

	virtio_blk_defaults(&o);
	assert_int_equal(virtio_blk_parse(&o, spec, &err), 0);
	dev = virtio_blk_create(&o, disk, &err);
	assert_null(dev);
	if (!strstr(err.text, text))
		fail_msg("'%s' with %s gave: %s", spec, disk, err.text);
}

static void disks_that_cannot_be_served_are_refused_by_name(void **state)
{
	char path[64];

	(void)state;
	refused("contract", "/nonexistent/disk.img", "/nonexistent/disk.img");
	refused("contract", "/tmp", "/tmp");
	refused("contract,read-only=1", "/tmp", "'/tmp' is neither a file nor a block device");
	refused("contract", "/dev/null", "'/dev/null' is neither a file nor a block device");
	rig_make_disk(path, 512);
	assert_int_equal(truncate(path, 0), 0);
	refused("contract", path, "is empty");
	refused("contract", path, path);
	assert_int_equal(truncate(path, 1000), 0);
	refused("contract", path, "1000 bytes, is not a multiple of 512");
	refused("contract", path, path);
	unlink(path);
}

static void options_that_no_function_can_have_are_refused(void **state)
{
	char path[64];

	(void)state;
	rig_make_disk(path, 512);
	refused("bar0-length=0x3000", path, "0x3000 is not a power of two");
	refused("msi=3", path, "msi=3");
	refused("bar=5", path, "bar=5");
	refused("msix-vectors=65", path, "msix-vectors=65");
	refused("qemu-layout,bar=0", path, "bar=0");
	unlink(path);
}

static void extreme_options_make_a_device(void **state)
{
	static const char *const specs[] = {
		"queue-size=0",
		"queue-size=32768,seg-max=32766",
		"bar=2",
		"bar=5,bar-kind=32",
		"qemu-layout,bar=1",
		"qemu-layout,msix-vectors=2048",
		"msix-vectors=64,msi=32,config-window=1,caps=duplicate",
		"outstanding=1024",
		"bar0-length=0x1000",
		"common=0xFFFFFFFF,common-length=0xFFFFFFFF",
		"caps=past-end,msi=32,config-window=1",
		"multiplier=0",
		"notify-off=65535,multiplier=0xFFFFFFFF",
	};
	char path[64];

	(void)state;
	rig_make_disk(path, 512);
	for (unsigned i = 0; i < sizeof(specs) / sizeof(specs[0]); i++) {
		struct virtio_blk_options o;
		struct error err = { "" };
		struct device *dev;

		virtio_blk_defaults(&o);
		assert_int_equal(virtio_blk_parse(&o, specs[i], &err), 0);
		dev = virtio_blk_create(&o, path, &err);
		if (!dev)
			fail_msg("'%s': %s", specs[i], err.text);
		for (unsigned at = 0; at < 256; at += 4)
			dev->ops->config_read(dev, at, 4);
		dev->ops->destroy(dev);
	}
	unlink(path);
}

static void an_image_is_locked_while_a_device_has_it(void **state)
{
	struct virtio_blk_options o;
	struct error err = { "" };
	struct device *first, *second;
	char path[64];

	(void)state;
	rig_make_disk(path, 512);
	virtio_blk_defaults(&o);
	first = virtio_blk_create(&o, path, &err);
	assert_non_null(first);
	refused("contract", path, "is in use by another process");
	refused("contract", path, path);
	refused("contract,read-only=1", path, "is in use by another process");
	first->ops->destroy(first);
	o.read_only = true;
	first = virtio_blk_create(&o, path, &err);
	second = virtio_blk_create(&o, path, &err);
	assert_non_null(first);
	assert_non_null(second);
	refused("contract", path, "is in use by another process");
	first->ops->destroy(first);
	second->ops->destroy(second);
	unlink(path);
}

/* Broken capability lists, judged by a parser that knows contract §1.3 only. */

enum verdict { SOUND, NO_LIST, BAD_POINTER, LOOP, TRUNCATED, MISSING, UNUSABLE };

static enum verdict judge_cap(struct rig *rig, unsigned at, unsigned *seen)
{
	unsigned len = rig_cfg(rig, at + 2, 1), type = rig_cfg(rig, at + 3, 1), bar;
	uint64_t end, have;

	if (at + 16 > 256 || len < 16 || (type == 2 && len < 20))
		return TRUNCATED;
	bar = rig_cfg(rig, at + 4, 1);
	if (type < 1 || type > 4 || bar > 5 || *seen & 1u << type)
		return SOUND;
	end = (uint64_t)rig_cfg(rig, at + 8, 4) + rig_cfg(rig, at + 12, 4);
	have = rig->dev->ops->bar_length(rig->dev, bar);
	if (end > have || (type == 1 && rig_cfg(rig, at + 12, 4) < 0x38))
		return UNUSABLE;
	*seen |= 1u << type;
	return SOUND;
}

static enum verdict judge_list(struct rig *rig)
{
	unsigned at = rig_cfg(rig, 0x34, 1), seen = 0;

	if (!(rig_cfg(rig, 0x06, 2) & 0x10) || !at)
		return NO_LIST;
	for (unsigned hops = 0; at; hops++, at = rig_cfg(rig, at + 1, 1)) {
		enum verdict verdict = SOUND;

		if (hops == 48)
			return LOOP;
		if (at % 4 || at < 0x40)
			return BAD_POINTER;
		if (rig_cfg(rig, at, 1) == 0x09)
			verdict = judge_cap(rig, at, &seen);
		if (verdict != SOUND)
			return verdict;
	}
	return seen == 0x1E ? SOUND : MISSING;
}

static void each_capability_fault_is_the_one_it_says(void **state)
{
	static const struct {
		const char *caps;
		enum verdict verdict;
	} rows[] = {
		{ "sound", SOUND },
		{ "missing-common", MISSING },
		{ "missing-notify", MISSING },
		{ "missing-isr", MISSING },
		{ "missing-device", MISSING },
		{ "no-list", NO_LIST },
		{ "empty", NO_LIST },
		{ "loop", LOOP },
		{ "self", LOOP },
		{ "misaligned", BAD_POINTER },
		{ "in-header", BAD_POINTER },
		{ "short-common", TRUNCATED },
		{ "short-notify", TRUNCATED },
		{ "past-end", TRUNCATED },
		{ "reserved-bar", MISSING },
		{ "absent-bar", UNUSABLE },
		{ "beyond-bar", UNUSABLE },
		{ "wrapping", UNUSABLE },
		{ "short-region", UNUSABLE },
		{ "duplicate", SOUND },
		{ "unknown-first", SOUND },
	};
	static const char *const layouts[] = { "contract", "qemu-layout,msi=2" };

	(void)state;
	for (unsigned i = 0; i < 2 * sizeof(rows) / sizeof(rows[0]); i++) {
		char spec[64];
		void *rig = spec;

		snprintf(spec, sizeof(spec), "%s,caps=%s", layouts[i % 2], rows[i / 2].caps);
		rig_setup(&rig);
		if (judge_list(rig) != rows[i / 2].verdict)
			fail_msg("'%s': verdict %d", spec, judge_list(rig));
		rig_teardown(&rig);
	}
}

static void a_permissive_placement_works(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(rig->region[2].bar, 2);
	assert_int_equal(rig->region[2].offset, 0x800);
	assert_int_equal(rig->multiplier, 16);
	rig_bring_up(rig, 0);
	assert_int_equal(RIG_READ(rig, queue_notify_off), 3);
	assert_int_equal(rig_request(rig, VIRTIO_BLK_T_IN, 0, rig_alloc(rig, 512, 8), 512), VIRTIO_BLK_S_OK);
	rig_no_blame(rig);
}

/* Broken registers */

static void features_refused(void **state)
{
	struct rig *rig = *state;

	rig_negotiate(rig, rig_offered(rig));
	assert_int_equal(RIG_READ(rig, device_status), 3);
	rig_no_blame(rig);
}

static void vector_refused(void **state)
{
	struct rig *rig = *state;

	rig_enable_msix(rig);
	RIG_WRITE(rig, config_msix_vector, 0);
	assert_int_equal(RIG_READ(rig, config_msix_vector), 0xFFFF);
}

static void reset_stuck(void **state)
{
	struct rig *rig = *state;

	RIG_WRITE(rig, device_status, 0);
	for (unsigned i = 0; i < 1000; i++)
		assert_int_not_equal(RIG_READ(rig, device_status), 0);
}

static void reset_stuck_running(void **state)
{
	struct rig *rig = *state;

	rig_bring_up(rig, 0);
	RIG_WRITE(rig, device_status, 0);
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(RIG_READ(rig, device_status), 0xF);
	rig->dev->ops->power_cycle(rig->dev);
	rig_cfg_write(rig, 0x04, 2, 0x0006);
	assert_int_equal(RIG_READ(rig, device_status), 0);
}

static void generation_unstable(void **state)
{
	struct rig *rig = *state;
	uint32_t before = RIG_READ(rig, config_generation);

	rig_device_config(rig, 0, 4);
	assert_int_not_equal(RIG_READ(rig, config_generation), before);
}

static void queue_enabled(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(RIG_READ(rig, queue_enable), 1);
}

static void queue_size_fixed(void **state)
{
	struct rig *rig = *state;

	RIG_WRITE(rig, queue_size, 16);
	assert_int_equal(RIG_READ(rig, queue_size), 128);
	rig_no_blame(rig);
}

static void isr_reserved(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(rig_reg(rig, VIRTIO_PCI_CAP_ISR_CFG, 0, 1), 0);
	rig_bring_up(rig, 0);
	rig_request(rig, VIRTIO_BLK_T_IN, 0, rig_alloc(rig, 512, 8), 512);
	assert_int_equal(rig_reg(rig, VIRTIO_PCI_CAP_ISR_CFG, 0, 1), 0xFD);
}

static void a_queue_of_size_0_is_unavailable(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(RIG_READ(rig, queue_size), 0);
}

static void no_interrupt_can_be_ignored(void **state)
{
	struct rig *rig = *state;

	rig_bring_up(rig, 0);
	rig_put16(rig, rig->avail, VIRTQ_AVAIL_F_NO_INTERRUPT);
	rig_request(rig, VIRTIO_BLK_T_IN, 0, rig_alloc(rig, 512, 8), 512);
	assert_int_equal(rig->intx_edges, 1);
}

/* Broken requests: the first goes well, the second is struck, the third goes well where there can be one. */

static uint64_t data_page(struct rig *rig)
{
	rig_bring_up(rig, 0);
	return rig_alloc(rig, 512, 512);
}

static struct rig_io run_two(struct rig *rig)
{
	uint64_t data = data_page(rig);
	struct rig_io io;

	assert_int_equal(rig_request(rig, VIRTIO_BLK_T_IN, 0, data, 512), VIRTIO_BLK_S_OK);
	rig_reg(rig, VIRTIO_PCI_CAP_ISR_CFG, 0, 1);
	io = rig_submit(rig, VIRTIO_BLK_T_IN, 0, data, 512);
	rig_kick(rig);
	rig_run(rig);
	return io;
}

static void fault_status(struct rig *rig, uint8_t status)
{
	struct rig_io io = run_two(rig);

	assert_int_equal(rig_used_idx(rig), 2);
	assert_int_equal(rig_status(rig, &io), status);
	rig->used_next++;
	assert_int_equal(rig_request(rig, VIRTIO_BLK_T_IN, 0, io.data, 512), VIRTIO_BLK_S_OK);
}

static void fault_io_error(void **state)
{
	fault_status(*state, VIRTIO_BLK_S_IOERR);
}

static void fault_bad_status(void **state)
{
	fault_status(*state, 0x55);
}

static void fault_no_status(void **state)
{
	fault_status(*state, 0xEE);
}

static void second_used(struct rig *rig, uint32_t *id, uint32_t *len)
{
	assert_true(rig_pop(rig, id, len));
}

static void fault_used_bad_id(void **state)
{
	struct rig *rig = *state;
	uint32_t id, len;

	run_two(rig);
	second_used(rig, &id, &len);
	assert_int_equal(id, 128);
}

static void fault_used_free_id(void **state)
{
	struct rig *rig = *state;
	struct rig_io io = run_two(rig);
	uint32_t id, len;

	second_used(rig, &id, &len);
	assert_true(id < 128 && (id < io.head || id > io.head + 2u));
}

static void fault_used_twice(void **state)
{
	struct rig *rig = *state;
	struct rig_io io = run_two(rig);
	uint32_t id, len;

	second_used(rig, &id, &len);
	assert_int_equal(id, io.head);
	second_used(rig, &id, &len);
	assert_int_equal(id, io.head);
	assert_int_equal(rig_used_idx(rig), 3);
}

static void fault_used_jump(void **state)
{
	struct rig *rig = *state;

	run_two(rig);
	assert_int_equal(rig_used_idx(rig), 1 + 129);
}

static void fault_used_length(void **state)
{
	struct rig *rig = *state;
	uint32_t id, len;

	run_two(rig);
	second_used(rig, &id, &len);
	assert_int_equal(len, 0xFFFFFFFF);
}

static void fault_lost_interrupt(void **state)
{
	struct rig *rig = *state;

	run_two(rig);
	assert_int_equal(rig_used_idx(rig), 2);
	assert_int_equal(rig->intx_edges, 1);
}

static void fault_spurious_interrupt(void **state)
{
	struct rig *rig = *state;

	rig_enable_msix(rig);
	rig_bring_up(rig, 0);
	RIG_WRITE(rig, queue_msix_vector, 0);
	rig_request(rig, VIRTIO_BLK_T_IN, 0, rig_alloc(rig, 512, 8), 512);
	assert_int_equal(rig->messages, 1);
	rig_request(rig, VIRTIO_BLK_T_IN, 0, rig_alloc(rig, 512, 8), 512);
	assert_int_equal(rig->messages, 3);
}

static void fault_stall(void **state)
{
	struct rig *rig = *state;
	struct rig_io io = run_two(rig);

	rig_submit(rig, VIRTIO_BLK_T_IN, 0, io.data, 512);
	rig_kick(rig);
	rig_run(rig);
	assert_int_equal(rig_used_idx(rig), 1);
	assert_int_equal(RIG_READ(rig, device_status), 0xF);
	rig_bring_up(rig, 0);
	assert_int_equal(rig_request(rig, VIRTIO_BLK_T_IN, 0, io.data, 512), VIRTIO_BLK_S_OK);
}

static void fault_needs_reset(void **state)
{
	struct rig *rig = *state;

	run_two(rig);
	assert_int_equal(RIG_READ(rig, device_status), 0x4F);
	assert_int_equal(rig_reg(rig, VIRTIO_PCI_CAP_ISR_CFG, 0, 1) & 2, 2);
	rig_no_blame(rig);
	RIG_WRITE(rig, device_status, 0x8F); /* FAILED, by a driver that had not read the bit yet */
	rig_no_blame(rig);
}

static void fault_gone(void **state)
{
	struct rig *rig = *state;

	run_two(rig);
	assert_int_equal(RIG_READ(rig, device_status), 0xFF);
	assert_int_equal(rig_cfg(rig, 0, 4), 0xFFFFFFFF);
	RIG_WRITE(rig, device_status, 0);
	assert_int_equal(RIG_READ(rig, device_status), 0xFF);
	assert_false(rig->intx);
	assert_false(rig_step(rig));
}

static void fault_every_strikes_again(void **state)
{
	struct rig *rig = *state;
	uint64_t data = data_page(rig);

	for (unsigned i = 0; i < 12; i++)
		assert_int_equal(rig_request(rig, VIRTIO_BLK_T_IN, 0, data, 512),
				 i >= 2 && (i - 2) % 3 == 0 ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_defaults_are_the_contract),
		cmocka_unit_test(keys_are_parsed),
		cmocka_unit_test(what_is_not_understood_is_named_and_changes_nothing),
		cmocka_unit_test(every_key_that_help_prints_is_understood),
		cmocka_unit_test(disks_that_cannot_be_served_are_refused_by_name),
		cmocka_unit_test(options_that_no_function_can_have_are_refused),
		cmocka_unit_test(extreme_options_make_a_device),
		cmocka_unit_test(an_image_is_locked_while_a_device_has_it),
		cmocka_unit_test(each_capability_fault_is_the_one_it_says),
		RIG_TEST(a_permissive_placement_works,
			 "bar=2,bar-kind=32,common=0x200,isr=0x400,device-config=0x600,notify=0x800,"
			 "multiplier=16,notify-off=3"),
		RIG_TEST(features_refused, "registers=features-refused"),
		RIG_TEST(vector_refused, "registers=vector-refused"),
		RIG_TEST(reset_stuck, "registers=reset-stuck"),
		RIG_TEST(reset_stuck_running, "registers=reset-stuck-running"),
		RIG_TEST(generation_unstable, "registers=generation-unstable"),
		RIG_TEST(queue_enabled, "registers=queue-enabled"),
		RIG_TEST(queue_size_fixed, "registers=queue-size-fixed"),
		RIG_TEST(isr_reserved, "registers=isr-reserved"),
		RIG_TEST(a_queue_of_size_0_is_unavailable, "queue-size=0"),
		RIG_TEST(no_interrupt_can_be_ignored, "no-interrupt=ignored"),
		RIG_TEST(fault_io_error, "fault=io-error,fault-after=1"),
		RIG_TEST(fault_bad_status, "fault=bad-status,fault-after=1"),
		RIG_TEST(fault_no_status, "fault=no-status,fault-after=1"),
		RIG_TEST(fault_used_bad_id, "fault=used-bad-id,fault-after=1"),
		RIG_TEST(fault_used_free_id, "fault=used-free-id,fault-after=1"),
		RIG_TEST(fault_used_twice, "fault=used-twice,fault-after=1"),
		RIG_TEST(fault_used_jump, "fault=used-jump,fault-after=1"),
		RIG_TEST(fault_used_length, "fault=used-length,fault-after=1"),
		RIG_TEST(fault_lost_interrupt, "fault=lost-interrupt,fault-after=1"),
		RIG_TEST(fault_spurious_interrupt, "fault=spurious-interrupt,fault-after=1"),
		RIG_TEST(fault_stall, "fault=stall,fault-after=1"),
		RIG_TEST(fault_needs_reset, "fault=needs-reset,fault-after=1"),
		RIG_TEST(fault_gone, "fault=gone,fault-after=1"),
		RIG_TEST(fault_every_strikes_again, "fault=io-error,fault-after=2,fault-every=3"),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
