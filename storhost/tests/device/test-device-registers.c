/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Claims about the virtio registers, one sentence of contract §1.4 to §1.8 and §4 each. */
#include "rig.h"

#include <string.h>

#define NEXT VIRTQ_DESC_F_NEXT

static void contract_1_4_undefined_offsets_read_0_and_ignore_writes(void **state)
{
	struct rig *rig = *state;
	const uint8_t types[] = { VIRTIO_PCI_CAP_COMMON_CFG, VIRTIO_PCI_CAP_NOTIFY_CFG, VIRTIO_PCI_CAP_ISR_CFG,
				  VIRTIO_PCI_CAP_DEVICE_CFG };
	const uint32_t defined[] = { 0x38, 0x100, 1, sizeof(struct virtio_blk_config) };

	for (unsigned i = 0; i < 4; i++) {
		for (uint64_t at = defined[i]; at < rig->region[types[i]].length; at++) {
			rig_reg_write(rig, types[i], at, 1, 0xFF);
			assert_int_equal(rig_reg(rig, types[i], at, 1), 0);
		}
	}
	/* Between the regions. */
	rig->dev->ops->bar_write(rig->dev, 0, 0x200, 4, 0xFFFFFFFF);
	assert_int_equal(rig->dev->ops->bar_read(rig->dev, 0, 0x200, 4), 0);
	rig_no_blame(rig);
}

static void contract_1_5_selects_are_read_write(void **state)
{
	struct rig *rig = *state;

	RIG_WRITE(rig, device_feature_select, 0x12345678);
	RIG_WRITE(rig, driver_feature_select, 0x87654321);
	RIG_WRITE(rig, queue_select, 0x1234);
	assert_int_equal(RIG_READ(rig, device_feature_select), 0x12345678);
	assert_int_equal(RIG_READ(rig, driver_feature_select), 0x87654321);
	assert_int_equal(RIG_READ(rig, queue_select), 0x1234);
}

static void contract_1_5_selects_other_than_0_and_1_read_0_and_ignore_writes(void **state)
{
	struct rig *rig = *state;

	rig_reset(rig);
	RIG_WRITE(rig, device_feature_select, 0);
	assert_int_not_equal(RIG_READ(rig, device_feature), 0);
	RIG_WRITE(rig, device_feature_select, 2);
	assert_int_equal(RIG_READ(rig, device_feature), 0);
	RIG_WRITE(rig, device_feature_select, 0xFFFFFFFF);
	assert_int_equal(RIG_READ(rig, device_feature), 0);
	RIG_WRITE(rig, driver_feature_select, 0);
	RIG_WRITE(rig, driver_feature, 0x44);
	RIG_WRITE(rig, driver_feature_select, 2);
	RIG_WRITE(rig, driver_feature, 0);
	assert_int_equal(RIG_READ(rig, driver_feature), 0);
	RIG_WRITE(rig, driver_feature_select, 0);
	assert_int_equal(RIG_READ(rig, driver_feature), 0x44);
}

static void read_only_fields_are_blamed_when_written(void **state)
{
	struct rig *rig = *state;
	const struct {
		unsigned offset, width;
	} fields[] = {
		{ COMMON(device_feature), 4 },
		{ COMMON(num_queues), 2 },
		{ COMMON(config_generation), 1 },
		{ COMMON(queue_notify_off), 2 },
	};

	for (unsigned i = 0; i < 4; i++) {
		uint64_t before = rig_reg(rig, VIRTIO_PCI_CAP_COMMON_CFG, fields[i].offset, fields[i].width);

		rig_reg_write(rig, VIRTIO_PCI_CAP_COMMON_CFG, fields[i].offset, fields[i].width, ~before);
		rig_one_blame(rig, "virtio 4.1.4.3.2");
		assert_int_equal(rig_reg(rig, VIRTIO_PCI_CAP_COMMON_CFG, fields[i].offset, fields[i].width), before);
	}
}

static void virtio_4_1_3_1_a_field_has_one_width(void **state)
{
	struct rig *rig = *state;

	rig_negotiate(rig, rig_offered(rig));
	assert_int_equal(rig_reg(rig, 1, COMMON(device_status), 2) & 0xFF, 0xB);
	rig_one_blame(rig, "virtio 4.1.3.1");
	rig_reg_write(rig, 1, COMMON(device_status), 4, 0);
	rig_one_blame(rig, "virtio 4.1.3.1");
	assert_int_equal(RIG_READ(rig, device_status), 0xB);
	rig_reg_write(rig, 1, COMMON(queue_size), 1, 8);
	rig_one_blame(rig, "virtio 4.1.3.1");
	assert_int_equal(RIG_READ(rig, queue_size), 128);
	rig_reg(rig, 1, COMMON(queue_desc), 4);
	rig_no_blame(rig);
	rig_reg(rig, 1, COMMON(queue_desc), 2);
	rig_one_blame(rig, "virtio 4.1.3.1");
}

static void virtio_4_1_3_1_a_64_bit_access_is_blamed_and_done_by_halves(void **state)
{
	struct rig *rig = *state;

	rig_negotiate(rig, rig_offered(rig));
	rig_reg_write(rig, 1, COMMON(queue_desc), 8, 0x123456789ABCDEF0);
	rig_one_blame(rig, "virtio 4.1.3.1");
	assert_int_equal(rig_reg(rig, 1, COMMON(queue_desc) + 4, 4), 0x12345678);
	assert_true(rig_reg(rig, 1, COMMON(queue_desc), 8) == 0x123456789ABCDEF0);
	rig_one_blame(rig, "virtio 4.1.3.1");
}

static void virtio_4_1_3_1_device_configuration_has_widths_too(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(rig_device_config(rig, 0, 4), RIG_SECTORS);
	rig_no_blame(rig);
	assert_int_equal(rig_device_config(rig, 0, 2), RIG_SECTORS & 0xFFFF);
	rig_one_blame(rig, "virtio 4.1.3.1");
	rig_reg_write(rig, VIRTIO_PCI_CAP_DEVICE_CFG, 0, 4, 1);
	rig_one_blame(rig, "virtio 5.2.4");
	assert_int_equal(rig_device_config(rig, 0, 4), RIG_SECTORS);
}

static void contract_1_5_version_1_is_offered_and_must_be_accepted(void **state)
{
	struct rig *rig = *state;
	uint64_t offered = rig_offered(rig);

	assert_true(offered & VIRTIO_FEATURE(VIRTIO_F_VERSION_1));
	rig_negotiate(rig, offered & ~VIRTIO_FEATURE(VIRTIO_F_VERSION_1));
	rig_one_blame(rig, "contract 1.5");
	assert_int_equal(RIG_READ(rig, device_status), 0x3);
}

static void contract_1_5_features_ok_is_cleared_when_the_set_was_not_offered(void **state)
{
	struct rig *rig = *state;

	rig_negotiate(rig, rig_offered(rig) | VIRTIO_FEATURE(VIRTIO_F_EVENT_IDX));
	rig_one_blame(rig, "virtio 2.2.1");
	assert_int_equal(RIG_READ(rig, device_status), 0x3);
}

static void a_subset_of_the_features_is_accepted(void **state)
{
	struct rig *rig = *state;

	rig_reset(rig);
	rig_negotiate(rig, VIRTIO_FEATURE(VIRTIO_F_VERSION_1));
	assert_int_equal(RIG_READ(rig, device_status), 0xB);
	rig_no_blame(rig);
}

static void features_are_fixed_after_features_ok(void **state)
{
	struct rig *rig = *state;

	rig_negotiate(rig, rig_offered(rig));
	RIG_WRITE(rig, driver_feature_select, 0);
	RIG_WRITE(rig, driver_feature, 0);
	rig_one_blame(rig, "virtio 3.1.1");
	assert_int_not_equal(RIG_READ(rig, driver_feature), 0);
}

static void virtio_3_1_1_status_bits_come_in_order(void **state)
{
	struct rig *rig = *state;

	RIG_WRITE(rig, device_status, 2);
	rig_one_blame(rig, "virtio 3.1.1");
	rig_reset(rig);
	RIG_WRITE(rig, device_status, 7);
	rig_one_blame(rig, "virtio 3.1.1");
	assert_int_equal(RIG_READ(rig, device_status), 3);
}

static void virtio_2_1_1_status_bits_are_cleared_by_a_reset_only(void **state)
{
	struct rig *rig = *state;

	rig_bring_up(rig, 0);
	RIG_WRITE(rig, device_status, 0x1);
	rig_one_blame(rig, "virtio 2.1.1");
	assert_int_equal(RIG_READ(rig, device_status), 0xF);
	RIG_WRITE(rig, device_status, 0x1F);
	rig_one_blame(rig, "virtio 2.1");
	assert_int_equal(RIG_READ(rig, device_status), 0xF);
}

static void virtio_2_1_1_after_failed_comes_a_reset(void **state)
{
	struct rig *rig = *state;

	RIG_WRITE(rig, device_status, 0x81);
	rig_no_blame(rig);
	RIG_WRITE(rig, device_status, 0x83);
	rig_one_blame(rig, "virtio 2.1.1");
	rig_reset(rig);
	rig_bring_up(rig, 0);
}

static void contract_1_5_writing_status_0_resets(void **state)
{
	struct rig *rig = *state;

	rig_enable_msix(rig);
	rig_bring_up(rig, 0);
	RIG_WRITE(rig, config_msix_vector, 0);
	RIG_WRITE(rig, queue_msix_vector, 1);
	rig_reset(rig);
	assert_int_equal(RIG_READ(rig, queue_enable), 0);
	assert_int_equal(RIG_READ(rig, queue_size), 128);
	assert_int_equal(RIG_READ(rig, queue_msix_vector), 0xFFFF);
	assert_int_equal(RIG_READ(rig, config_msix_vector), 0xFFFF);
	for (unsigned at = COMMON(queue_desc); at < 0x38; at += 4)
		assert_int_equal(rig_reg(rig, 1, at, 4), 0);
	RIG_WRITE(rig, driver_feature_select, 0);
	assert_int_equal(RIG_READ(rig, driver_feature), 0);
	RIG_WRITE(rig, driver_feature_select, 1);
	assert_int_equal(RIG_READ(rig, driver_feature), 0);
	rig_no_blame(rig);
	rig_bring_up(rig, 0);
	assert_int_equal(rig_request(rig, VIRTIO_BLK_T_IN, 0, rig_alloc(rig, 512, 512), 512), VIRTIO_BLK_S_OK);
}

static void contract_1_5_a_reset_clears_isr_and_releases_inta(void **state)
{
	struct rig *rig = *state;

	rig_bring_up(rig, 0);
	rig_request(rig, VIRTIO_BLK_T_IN, 0, rig_alloc(rig, 512, 512), 512);
	assert_true(rig->intx);
	rig_reset(rig);
	assert_false(rig->intx);
	assert_int_equal(rig_reg(rig, VIRTIO_PCI_CAP_ISR_CFG, 0, 1), 0);
}

static void a_reset_drops_requests_that_the_device_had_not_returned(void **state)
{
	struct rig *rig = *state;
	struct rig_io io;

	rig_bring_up(rig, 0);
	io = rig_submit(rig, VIRTIO_BLK_T_IN, 0, rig_alloc(rig, 512, 512), 512);
	rig_kick(rig);
	assert_true(rig_step(rig)); /* fetched */
	rig_reset(rig);
	rig_run(rig);
	assert_int_equal(rig_used_idx(rig), 0);
	assert_int_equal(rig_status(rig, &io), 0xEE);
	assert_int_equal(rig->intx_edges, 0);
}

static void virtio_4_1_4_3_2_the_driver_reads_0_before_it_begins_again(void **state)
{
	struct rig *rig = *state;

	RIG_WRITE(rig, device_status, 1);
	RIG_WRITE(rig, device_status, 0);
	RIG_WRITE(rig, device_status, 1);
	rig_one_blame(rig, "virtio 4.1.4.3.2");
}

static void contract_1_5_there_is_one_queue_of_128(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(RIG_READ(rig, num_queues), 1);
	assert_int_equal(RIG_READ(rig, queue_size), 128);
	assert_int_equal(RIG_READ(rig, queue_notify_off), 0);
}

static void contract_1_5_queues_that_do_not_exist_read_0_and_ignore_writes(void **state)
{
	struct rig *rig = *state;

	rig_negotiate(rig, rig_offered(rig));
	RIG_WRITE(rig, queue_select, 1);
	RIG_WRITE(rig, queue_size, 8);
	rig_write64(rig, COMMON(queue_desc), 0x1000);
	RIG_WRITE(rig, queue_enable, 1);
	assert_int_equal(RIG_READ(rig, queue_size), 0);
	assert_int_equal(RIG_READ(rig, queue_notify_off), 0);
	assert_int_equal(RIG_READ(rig, queue_enable), 0);
	assert_int_equal(rig_reg(rig, 1, COMMON(queue_desc), 4), 0);
	RIG_WRITE(rig, queue_select, 0);
	assert_int_equal(RIG_READ(rig, queue_size), 128);
	assert_int_equal(rig_reg(rig, 1, COMMON(queue_desc), 4), 0);
	rig_no_blame(rig);
}

static void queue_size_can_be_lowered_to_a_power_of_two(void **state)
{
	struct rig *rig = *state;

	RIG_WRITE(rig, queue_size, 16);
	assert_int_equal(RIG_READ(rig, queue_size), 16);
	rig_no_blame(rig);
	RIG_WRITE(rig, queue_size, 24);
	rig_one_blame(rig, "virtio 4.1.4.3.2");
	RIG_WRITE(rig, queue_size, 0);
	rig_one_blame(rig, "virtio 4.1.4.3.2");
	RIG_WRITE(rig, queue_size, 256);
	rig_one_blame(rig, "virtio 4.1.4.3");
	assert_int_equal(RIG_READ(rig, queue_size), 16);
}

static void a_smaller_queue_works_and_wraps(void **state)
{
	struct rig *rig = *state;
	uint64_t data = rig_alloc(rig, 512, 512);

	rig_negotiate(rig, rig_offered(rig));
	rig_place_ring(rig, 4);
	RIG_WRITE(rig, queue_enable, 1);
	RIG_WRITE(rig, device_status, 0xF);
	for (unsigned i = 0; i < 50; i++)
		assert_int_equal(rig_request(rig, VIRTIO_BLK_T_IN, i, data, 512), VIRTIO_BLK_S_OK);
	rig_no_blame(rig);
}

static void virtio_4_1_4_3_2_a_queue_is_enabled_once_and_never_disabled(void **state)
{
	struct rig *rig = *state;

	rig_reset(rig);
	rig_negotiate(rig, rig_offered(rig));
	rig_place_ring(rig, 128);
	for (unsigned value = 0; value < 4; value += 2) {
		RIG_WRITE(rig, queue_enable, value);
		rig_one_blame(rig, "virtio 4.1.4.3.2");
		assert_int_equal(RIG_READ(rig, queue_enable), 0);
	}
	rig_bring_up(rig, 0);
	RIG_WRITE(rig, queue_enable, 1);
	rig_one_blame(rig, "virtio 4.1.4.3.2");
	RIG_WRITE(rig, queue_enable, 0);
	rig_one_blame(rig, "virtio 4.1.4.3.2");
	assert_int_equal(RIG_READ(rig, queue_enable), 1);
	RIG_WRITE(rig, queue_size, 64);
	rig_one_blame(rig, "virtio 4.1.4.3.2");
	rig_reg_write(rig, 1, COMMON(queue_driver), 4, 0);
	rig_one_blame(rig, "virtio 4.1.4.3.2");
	assert_int_equal(RIG_READ(rig, queue_size), 128);
	assert_int_equal(rig_reg(rig, 1, COMMON(queue_driver), 4), (uint32_t)rig->avail);
}

static void a_queue_is_not_enabled_before_features_ok(void **state)
{
	struct rig *rig = *state;

	RIG_WRITE(rig, device_status, 1);
	RIG_WRITE(rig, device_status, 3);
	rig_place_ring(rig, 128);
	rig_no_blame(rig);
	RIG_WRITE(rig, queue_enable, 1);
	rig_one_blame(rig, "virtio 3.1.1");
}

static void contract_2_rings_are_aligned_to_16_2_and_4(void **state)
{
	struct rig *rig = *state;
	const struct {
		unsigned field, align;
	} parts[] = { { COMMON(queue_desc), 16 }, { COMMON(queue_driver), 2 }, { COMMON(queue_device), 4 } };

	rig_negotiate(rig, rig_offered(rig));
	for (unsigned i = 0; i < 3; i++) {
		rig_place_ring(rig, 128);
		rig_write64(rig, parts[i].field, RIG_BASE + 0x10000 + parts[i].align / 2);
		RIG_WRITE(rig, queue_enable, 1);
		rig_one_blame(rig, "virtio 2.7.1");
		assert_int_equal(RIG_READ(rig, queue_enable), 0);
		rig_write64(rig, parts[i].field, 0);
		RIG_WRITE(rig, queue_enable, 1);
		rig_one_blame(rig, "virtio 4.1.4.3.2");
		assert_int_equal(RIG_READ(rig, queue_enable), 0);
	}
	rig_place_ring(rig, 128);
	rig_write64(rig, COMMON(queue_desc), rig->desc + 16);
	rig_write64(rig, COMMON(queue_driver), rig->avail + 2);
	rig_write64(rig, COMMON(queue_device), rig->used + 4);
	RIG_WRITE(rig, queue_enable, 1);
	assert_int_equal(RIG_READ(rig, queue_enable), 1);
	rig_no_blame(rig);
}

static void contract_1_5_a_vector_is_confirmed_by_reading_it_back(void **state)
{
	struct rig *rig = *state;

	rig_enable_msix(rig);
	assert_int_equal(RIG_READ(rig, config_msix_vector), 0xFFFF);
	assert_int_equal(RIG_READ(rig, queue_msix_vector), 0xFFFF);
	RIG_WRITE(rig, config_msix_vector, 1);
	assert_int_equal(RIG_READ(rig, config_msix_vector), 1);
	RIG_WRITE(rig, config_msix_vector, 2);
	assert_int_equal(RIG_READ(rig, config_msix_vector), 0xFFFF);
	RIG_WRITE(rig, queue_msix_vector, 0);
	assert_int_equal(RIG_READ(rig, queue_msix_vector), 0);
	RIG_WRITE(rig, queue_msix_vector, 0xFFFF);
	assert_int_equal(RIG_READ(rig, queue_msix_vector), 0xFFFF);
	rig_no_blame(rig);
	RIG_WRITE(rig, queue_msix_vector, 0x800);
	rig_one_blame(rig, "virtio 4.1.5.1.2");
}

static void what_the_device_may_refuse_is_read_back_before_driver_ok(void **state)
{
	struct rig *rig = *state;

	rig_negotiate(rig, rig_offered(rig));
	rig_place_ring(rig, 128);
	RIG_WRITE(rig, queue_enable, 1);
	RIG_WRITE(rig, config_msix_vector, 0);
	RIG_WRITE(rig, queue_msix_vector, 0);
	assert_int_equal(RIG_READ(rig, queue_msix_vector), 0);
	RIG_WRITE(rig, device_status, 0xF);
	rig_one_blame(rig, "virtio 4.1.5.1.2.1");
	rig_reset(rig);
	RIG_WRITE(rig, device_status, 1);
	RIG_WRITE(rig, device_status, 3);
	RIG_WRITE(rig, driver_feature_select, 1);
	RIG_WRITE(rig, driver_feature, 1);
	RIG_WRITE(rig, device_status, 0xB);
	RIG_WRITE(rig, device_status, 0xF);
	rig_one_blame(rig, "virtio 3.1.1");
}

static void half_of_a_64_bit_field_is_read_between_two_generations(void **state)
{
	struct rig *rig = *state;

	rig_reg(rig, VIRTIO_PCI_CAP_DEVICE_CFG, 0x14, 4);
	rig_no_blame(rig);
	rig_reg(rig, VIRTIO_PCI_CAP_DEVICE_CFG, 4, 4);
	rig_one_blame(rig, "virtio 2.5.3");
	RIG_WRITE(rig, device_status, 1);
	rig_one_blame(rig, "virtio 2.5.3");
	(void)RIG_READ(rig, config_generation);
	rig_reg(rig, VIRTIO_PCI_CAP_DEVICE_CFG, 0, 4);
	rig_reg(rig, VIRTIO_PCI_CAP_DEVICE_CFG, 4, 4);
	(void)RIG_READ(rig, config_generation);
	RIG_WRITE(rig, device_status, 3);
	rig_no_blame(rig);
}

static void without_msix_no_vector_is_confirmed(void **state)
{
	struct rig *rig = *state;

	RIG_WRITE(rig, config_msix_vector, 0);
	assert_int_equal(RIG_READ(rig, config_msix_vector), 0xFFFF);
}

static void contract_1_6_16_and_32_bit_notifications_are_accepted(void **state)
{
	struct rig *rig = *state;
	uint64_t data = rig_alloc(rig, 512, 512);

	rig_bring_up(rig, 0);
	rig_submit(rig, VIRTIO_BLK_T_IN, 0, data, 512);
	rig_reg_write(rig, VIRTIO_PCI_CAP_NOTIFY_CFG, 0, 2, 0);
	assert_int_equal(rig->wakes, 1);
	rig_run(rig);
	assert_int_equal(rig_used_idx(rig), 1);
	rig_submit(rig, VIRTIO_BLK_T_IN, 0, data, 512);
	rig_reg_write(rig, VIRTIO_PCI_CAP_NOTIFY_CFG, 0, 4, 0);
	rig_run(rig);
	assert_int_equal(rig_used_idx(rig), 2);
	rig_no_blame(rig);
	assert_int_equal(rig->dev->ops->stats(rig->dev)->doorbells, 2);
}

static void contract_1_6_other_notifications_are_blamed_and_ignored(void **state)
{
	struct rig *rig = *state;

	rig_bring_up(rig, 0);
	rig_submit(rig, VIRTIO_BLK_T_IN, 0, rig_alloc(rig, 512, 512), 512);
	rig_reg_write(rig, VIRTIO_PCI_CAP_NOTIFY_CFG, 0, 1, 0);
	rig_one_blame(rig, "virtio 4.1.3.1");
	rig_reg_write(rig, VIRTIO_PCI_CAP_NOTIFY_CFG, 0, 2, 1);
	rig_one_blame(rig, "contract 1.6");
	rig_reg_write(rig, VIRTIO_PCI_CAP_NOTIFY_CFG, 4, 2, 1);
	rig_one_blame(rig, "contract 1.6");
	rig_run(rig);
	assert_int_equal(rig_used_idx(rig), 0);
}

static void no_notification_before_driver_ok_or_without_a_queue(void **state)
{
	struct rig *rig = *state;

	rig_negotiate(rig, rig_offered(rig));
	rig_place_ring(rig, 128);
	rig_submit(rig, VIRTIO_BLK_T_IN, 0, rig_alloc(rig, 512, 512), 512);
	rig_kick(rig);
	rig_one_blame(rig, "virtio 3.1.1");
	RIG_WRITE(rig, device_status, 0xF);
	rig_kick(rig);
	rig_one_blame(rig, "virtio 4.1.5.2");
	rig_run(rig);
	assert_int_equal(rig_used_idx(rig), 0);
}

static void a_doorbell_only_marks_work(void **state)
{
	struct rig *rig = *state;

	rig_bring_up(rig, 0);
	rig_submit(rig, VIRTIO_BLK_T_IN, 0, rig_alloc(rig, 512, 512), 512);
	rig_kick(rig);
	assert_int_equal(rig_used_idx(rig), 0);
	assert_int_equal(rig->wakes, 1);
}

static void contract_1_7_reading_isr_returns_clears_and_deasserts(void **state)
{
	struct rig *rig = *state;

	rig_bring_up(rig, 0);
	rig_request(rig, VIRTIO_BLK_T_IN, 0, rig_alloc(rig, 512, 512), 512);
	assert_true(rig->intx);
	assert_int_equal(rig_reg(rig, VIRTIO_PCI_CAP_ISR_CFG, 0, 1), 1);
	assert_false(rig->intx);
	assert_int_equal(rig_reg(rig, VIRTIO_PCI_CAP_ISR_CFG, 0, 1), 0);
	rig_no_blame(rig);
	rig_reg(rig, VIRTIO_PCI_CAP_ISR_CFG, 0, 4);
	rig_one_blame(rig, "virtio 4.1.3.1");
	rig_reg_write(rig, VIRTIO_PCI_CAP_ISR_CFG, 0, 1, 1);
	rig_one_blame(rig, "contract 1.7");
}

static void contract_1_7_bit_1_is_a_configuration_change(void **state)
{
	struct rig *rig = *state;
	struct error err;

	rig_bring_up(rig, 0);
	assert_int_equal(virtio_blk_resize(rig->dev, RIG_DISK_BYTES * 2, &err), 0);
	assert_true(rig->intx);
	rig_request(rig, VIRTIO_BLK_T_IN, 0, rig_alloc(rig, 512, 512), 512);
	assert_int_equal(rig->intx_edges, 1); /* a level: it is up already */
	assert_int_equal(rig_reg(rig, VIRTIO_PCI_CAP_ISR_CFG, 0, 1), 3);
	assert_false(rig->intx);
}

static void contract_1_5_config_generation_changes_with_the_configuration(void **state)
{
	struct rig *rig = *state;
	uint32_t before = RIG_READ(rig, config_generation);
	struct error err;

	rig_device_config(rig, 0, 4);
	assert_int_equal(RIG_READ(rig, config_generation), before);
	assert_int_equal(virtio_blk_resize(rig->dev, RIG_DISK_BYTES, &err), 0); /* the size it has */
	assert_int_equal(RIG_READ(rig, config_generation), before);
	assert_int_equal(virtio_blk_resize(rig->dev, RIG_DISK_BYTES + 512, &err), 0);
	assert_int_not_equal(RIG_READ(rig, config_generation), before);
	assert_int_equal(rig_device_config(rig, 0, 4), RIG_SECTORS + 1);
	assert_int_equal(rig->intx_edges, 0); /* before DRIVER_OK there is nobody to tell */
}

static void contract_1_8_with_msix_each_source_has_its_vector_and_intx_is_silent(void **state)
{
	struct rig *rig = *state;
	struct error err;

	rig_enable_msix(rig);
	rig_bring_up(rig, 0);
	RIG_WRITE(rig, config_msix_vector, 0);
	RIG_WRITE(rig, queue_msix_vector, 1);
	rig_request(rig, VIRTIO_BLK_T_IN, 0, rig_alloc(rig, 512, 512), 512);
	assert_int_equal(rig->messages, 1);
	assert_int_equal(rig->message[0].addr, 0xFEE00000);
	assert_int_equal(rig->message[0].data, 0x41);
	assert_int_equal(virtio_blk_resize(rig->dev, RIG_DISK_BYTES * 2, &err), 0);
	assert_int_equal(rig->messages, 2);
	assert_int_equal(rig->message[1].data, 0x40);
	assert_int_equal(rig->intx_edges, 0);
	assert_int_equal(rig->dev->ops->stats(rig->dev)->interrupts, 2);
}

static void contract_1_8_both_sources_may_share_a_vector(void **state)
{
	struct rig *rig = *state;
	struct error err;

	rig_enable_msix(rig);
	rig_bring_up(rig, 0);
	RIG_WRITE(rig, config_msix_vector, 0);
	RIG_WRITE(rig, queue_msix_vector, 0);
	rig_request(rig, VIRTIO_BLK_T_IN, 0, rig_alloc(rig, 512, 512), 512);
	assert_int_equal(virtio_blk_resize(rig->dev, RIG_DISK_BYTES * 2, &err), 0);
	assert_int_equal(rig->messages, 2);
	assert_int_equal(rig->message[0].data, 0x40);
	assert_int_equal(rig->message[1].data, 0x40);
}

static void contract_1_8_an_unmapped_source_is_silent(void **state)
{
	struct rig *rig = *state;
	struct error err;

	rig_enable_msix(rig);
	rig_bring_up(rig, 0);
	rig_request(rig, VIRTIO_BLK_T_IN, 0, rig_alloc(rig, 512, 512), 512);
	assert_int_equal(virtio_blk_resize(rig->dev, RIG_DISK_BYTES * 2, &err), 0);
	assert_int_equal(rig->messages, 0);
	assert_int_equal(rig->intx_edges, 0);
}

static void virtio_4_1_4_5_1_with_msix_the_queue_bit_of_isr_stays_clear(void **state)
{
	struct rig *rig = *state;

	rig_enable_msix(rig);
	rig_bring_up(rig, 0);
	RIG_WRITE(rig, queue_msix_vector, 1);
	rig_request(rig, VIRTIO_BLK_T_IN, 0, rig_alloc(rig, 512, 512), 512);
	assert_int_equal(rig_reg(rig, VIRTIO_PCI_CAP_ISR_CFG, 0, 1), 0);
}

static void contract_1_8_no_interrupt_is_honoured(void **state)
{
	struct rig *rig = *state;

	rig_bring_up(rig, 0);
	rig_put16(rig, rig->avail, VIRTQ_AVAIL_F_NO_INTERRUPT);
	rig_request(rig, VIRTIO_BLK_T_IN, 0, rig_alloc(rig, 512, 512), 512);
	assert_int_equal(rig->intx_edges, 0);
	rig_put16(rig, rig->avail, 0);
	rig_request(rig, VIRTIO_BLK_T_IN, 0, rig_alloc(rig, 512, 512), 512);
	assert_int_equal(rig->intx_edges, 1);
	rig_no_blame(rig);
}

static void a_reset_may_take_several_reads(void **state)
{
	struct rig *rig = *state;

	rig_bring_up(rig, 0);
	RIG_WRITE(rig, device_status, 0);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(RIG_READ(rig, device_status), 0xF);
	assert_int_equal(RIG_READ(rig, device_status), 0);
	rig_no_blame(rig);
	RIG_WRITE(rig, device_status, 0);
	RIG_WRITE(rig, queue_select, 0);
	rig_one_blame(rig, "virtio 4.1.4.3.2");
}

static void stats_count_register_accesses(void **state)
{
	struct rig *rig = *state;
	const struct device_stats *stats = rig->dev->ops->stats(rig->dev);

	assert_int_equal(RIG_READ(rig, device_status), 0);
	RIG_WRITE(rig, queue_select, 0);
	RIG_WRITE(rig, queue_select, 0);
	assert_int_equal(stats->mmio_reads, 1);
	assert_int_equal(stats->mmio_writes, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(contract_1_4_undefined_offsets_read_0_and_ignore_writes, "contract"),
		RIG_TEST(contract_1_5_selects_are_read_write, "contract"),
		RIG_TEST(contract_1_5_selects_other_than_0_and_1_read_0_and_ignore_writes, "contract"),
		RIG_TEST(read_only_fields_are_blamed_when_written, "contract"),
		RIG_TEST(virtio_4_1_3_1_a_field_has_one_width, "contract"),
		RIG_TEST(virtio_4_1_3_1_a_64_bit_access_is_blamed_and_done_by_halves, "contract"),
		RIG_TEST(virtio_4_1_3_1_device_configuration_has_widths_too, "contract"),
		RIG_TEST(contract_1_5_version_1_is_offered_and_must_be_accepted, "contract"),
		RIG_TEST(contract_1_5_features_ok_is_cleared_when_the_set_was_not_offered, "contract"),
		RIG_TEST(a_subset_of_the_features_is_accepted, "contract"),
		RIG_TEST(features_are_fixed_after_features_ok, "contract"),
		RIG_TEST(virtio_3_1_1_status_bits_come_in_order, "contract"),
		RIG_TEST(virtio_2_1_1_status_bits_are_cleared_by_a_reset_only, "contract"),
		RIG_TEST(virtio_2_1_1_after_failed_comes_a_reset, "contract"),
		RIG_TEST(contract_1_5_writing_status_0_resets, "contract"),
		RIG_TEST(contract_1_5_a_reset_clears_isr_and_releases_inta, "contract"),
		RIG_TEST(a_reset_drops_requests_that_the_device_had_not_returned, "contract"),
		RIG_TEST(virtio_4_1_4_3_2_the_driver_reads_0_before_it_begins_again, "contract"),
		RIG_TEST(contract_1_5_there_is_one_queue_of_128, "contract"),
		RIG_TEST(contract_1_5_queues_that_do_not_exist_read_0_and_ignore_writes, "contract"),
		RIG_TEST(queue_size_can_be_lowered_to_a_power_of_two, "contract"),
		RIG_TEST(a_smaller_queue_works_and_wraps, "contract"),
		RIG_TEST(virtio_4_1_4_3_2_a_queue_is_enabled_once_and_never_disabled, "contract"),
		RIG_TEST(a_queue_is_not_enabled_before_features_ok, "contract"),
		RIG_TEST(contract_2_rings_are_aligned_to_16_2_and_4, "contract"),
		RIG_TEST(contract_1_5_a_vector_is_confirmed_by_reading_it_back, "contract,msix-vectors=2"),
		RIG_TEST(what_the_device_may_refuse_is_read_back_before_driver_ok, "contract"),
		RIG_TEST(half_of_a_64_bit_field_is_read_between_two_generations, "contract"),
		RIG_TEST(without_msix_no_vector_is_confirmed, "contract,msix-vectors=0"),
		RIG_TEST(contract_1_6_16_and_32_bit_notifications_are_accepted, "contract"),
		RIG_TEST(contract_1_6_other_notifications_are_blamed_and_ignored, "contract"),
		RIG_TEST(no_notification_before_driver_ok_or_without_a_queue, "contract"),
		RIG_TEST(a_doorbell_only_marks_work, "contract"),
		RIG_TEST(contract_1_7_reading_isr_returns_clears_and_deasserts, "contract"),
		RIG_TEST(contract_1_7_bit_1_is_a_configuration_change, "contract"),
		RIG_TEST(contract_1_5_config_generation_changes_with_the_configuration, "contract"),
		RIG_TEST(contract_1_8_with_msix_each_source_has_its_vector_and_intx_is_silent, "contract"),
		RIG_TEST(contract_1_8_both_sources_may_share_a_vector, "contract,msix-vectors=1"),
		RIG_TEST(contract_1_8_an_unmapped_source_is_silent, "contract"),
		RIG_TEST(virtio_4_1_4_5_1_with_msix_the_queue_bit_of_isr_stays_clear, "contract"),
		RIG_TEST(contract_1_8_no_interrupt_is_honoured, "contract"),
		RIG_TEST(a_reset_may_take_several_reads, "contract,reset-reads=5"),
		RIG_TEST(stats_count_register_accesses, "contract"),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
