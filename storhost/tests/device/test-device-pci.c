/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Claims about configuration space, BARs, the capability list, INTx, MSI and MSI-X. */
#include "rig.h"

#include <string.h>

#define COMMAND 0x04
#define STATUS 0x06

static void contract_1_1_identity_is_1af4_1042_revision_1_subsystem_1af4_0002(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(rig_cfg(rig, 0x00, 2), 0x1AF4);
	assert_int_equal(rig_cfg(rig, 0x02, 2), 0x1042);
	assert_int_equal(rig_cfg(rig, 0x08, 1), 0x01);
	assert_int_equal(rig_cfg(rig, 0x2C, 2), 0x1AF4);
	assert_int_equal(rig_cfg(rig, 0x2E, 2), 0x0002);
	assert_int_equal(rig_cfg(rig, 0x0B, 1), 0x01); /* mass storage */
	assert_int_equal(rig_cfg(rig, 0x3D, 1), 1);    /* INTA# */
}

static void identity_cannot_be_written(void **state)
{
	struct rig *rig = *state;

	for (unsigned at = 0; at < 0x40; at += 4)
		if (at != 0x04 && at != 0x0C && at != 0x10 && at != 0x14 && at != 0x3C)
			rig_cfg_write(rig, at, 4, 0xFFFFFFFF);
	contract_1_1_identity_is_1af4_1042_revision_1_subsystem_1af4_0002(state);
	assert_int_equal(rig_cfg(rig, 0x34, 1), 0x40);
}

static void interrupt_line_is_a_scratch_byte(void **state)
{
	struct rig *rig = *state;

	rig_cfg_write(rig, 0x3C, 1, 0x0B);
	assert_int_equal(rig_cfg(rig, 0x3C, 2), 0x010B);
}

static void contract_1_2_bar0_is_64_bit_memory_of_0x4000_bytes_and_the_only_one(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(rig_cfg(rig, 0x10, 4) & 0xF, 0x4);
	assert_true(rig->dev->ops->bar_length(rig->dev, 0) == 0x4000);
	for (unsigned bar = 1; bar < 6; bar++) {
		assert_true(rig->dev->ops->bar_length(rig->dev, bar) == 0);
		rig_cfg_write(rig, 0x10 + 4 * bar, 4, 0xFFFFFFFF);
		assert_int_equal(rig_cfg(rig, 0x10 + 4 * bar, 4), bar == 1 ? 0xFFFFFFFF : 0);
	}
}

static void bar_sizing_reads_back_the_length_as_a_mask(void **state)
{
	struct rig *rig = *state;

	rig_cfg_write(rig, 0x10, 4, 0xFFFFFFFF);
	rig_cfg_write(rig, 0x14, 4, 0xFFFFFFFF);
	assert_int_equal(rig_cfg(rig, 0x10, 4), 0xFFFFC004);
	assert_int_equal(rig_cfg(rig, 0x14, 4), 0xFFFFFFFF);
	rig_cfg_write(rig, 0x10, 4, 0xC1234567);
	rig_cfg_write(rig, 0x14, 4, 0x12);
	assert_int_equal(rig_cfg(rig, 0x10, 4), 0xC1234004);
	assert_int_equal(rig_cfg(rig, 0x14, 4), 0x12);
}

static void configuration_space_is_readable_by_bytes_words_and_dwords(void **state)
{
	struct rig *rig = *state;

	for (unsigned at = 0; at < 256; at += 4) {
		uint32_t dword = rig_cfg(rig, at, 4);

		assert_int_equal(rig_cfg(rig, at + 2, 2), dword >> 16);
		assert_int_equal(rig_cfg(rig, at + 1, 1), dword >> 8 & 0xFF);
	}
}

static void contract_1_3_the_list_is_acyclic_aligned_and_has_the_four_capabilities(void **state)
{
	struct rig *rig = *state;
	unsigned at = rig_cfg(rig, 0x34, 1), hops = 0, seen = 0;

	assert_int_equal(rig_cfg(rig, STATUS, 2) & 0x10, 0x10);
	for (; at; at = rig_cfg(rig, at + 1, 1)) {
		unsigned type = rig_cfg(rig, at + 3, 1), len = rig_cfg(rig, at + 2, 1);

		assert_true(++hops <= 48);
		assert_true(at >= 0x40 && at % 4 == 0);
		if (rig_cfg(rig, at, 1) != 0x09)
			continue;
		assert_true(len >= 16 && at + len <= 256);
		assert_true(type != 2 || len >= 20);
		seen |= 1u << type;
	}
	assert_int_equal(seen & 0x1E, 0x1E);
}

static void contract_1_4_the_four_regions_lie_where_the_table_says(void **state)
{
	static const struct rig_region table[5] = {
		[1] = { 0, 0x0000, 0x0100 },
		[2] = { 0, 0x1000, 0x0100 },
		[3] = { 0, 0x2000, 0x0020 },
		[4] = { 0, 0x3000, 0x0100 },
	};
	struct rig *rig = *state;

	for (unsigned type = 1; type <= 4; type++) {
		assert_int_equal(rig->region[type].bar, table[type].bar);
		assert_int_equal(rig->region[type].offset, table[type].offset);
		assert_int_equal(rig->region[type].length, table[type].length);
	}
	assert_int_equal(rig->multiplier, 4);
}

static void contract_1_4_qemu_has_its_regions_in_bar4_and_msix_in_bar1(void **state)
{
	struct rig *rig = *state;
	unsigned msix = rig_find_cap(rig, PCI_CAP_ID_MSIX, 0);

	assert_int_equal(rig_cfg(rig, 0x02, 2), 0x1042);
	assert_int_equal(rig_cfg(rig, 0x08, 1), 0x01);
	assert_int_equal(rig_cfg(rig, 0x10, 4), 0);
	assert_int_equal(rig_cfg(rig, 0x20, 4) & 0xF, 0xC);
	assert_true(rig->dev->ops->bar_length(rig->dev, 4) == 0x4000);
	assert_int_equal(rig_cfg(rig, 0x14, 4) & 0xF, 0);
	assert_int_equal(rig_cfg(rig, msix + 4, 4) & 7, 1);
	assert_int_equal(rig->region[1].offset, 0x0000);
	assert_int_equal(rig->region[1].length, 0x1000);
	assert_int_equal(rig->region[3].offset, 0x1000);
	assert_int_equal(rig->region[4].offset, 0x2000);
	assert_int_equal(rig->region[2].offset, 0x3000);
	for (unsigned type = 1; type <= 4; type++)
		assert_int_equal(rig->region[type].bar, 4);
	assert_int_equal(rig->multiplier, 4);
}

static void with_memory_disabled_a_bar_reads_all_ones_and_ignores_writes(void **state)
{
	struct rig *rig = *state;

	RIG_WRITE(rig, device_status, 1);
	rig_cfg_write(rig, COMMAND, 2, 0x0004);
	assert_int_equal(RIG_READ(rig, device_status), 0xFF);
	assert_true(rig_reg(rig, 1, 0, 8) == UINT64_MAX);
	RIG_WRITE(rig, device_status, 3);
	rig_cfg_write(rig, COMMAND, 2, 0x0006);
	assert_int_equal(RIG_READ(rig, device_status), 1);
	rig_no_blame(rig);
}

static void beyond_its_length_a_bar_reads_all_ones(void **state)
{
	struct rig *rig = *state;

	assert_true(rig->dev->ops->bar_read(rig->dev, 0, 0x4000, 4) == 0xFFFFFFFF);
	assert_true(rig->dev->ops->bar_read(rig->dev, 3, 0, 2) == 0xFFFF);
}

static void without_bus_mastering_there_is_no_dma_and_with_it_work_goes_on(void **state)
{
	struct rig *rig = *state;
	struct rig_io io;

	rig_bring_up(rig, 0);
	io = rig_submit(rig, VIRTIO_BLK_T_IN, 0, rig_alloc(rig, 512, 512), 512);
	rig_cfg_write(rig, COMMAND, 2, 0x0002);
	rig_kick(rig);
	rig_run(rig);
	assert_int_equal(rig_used_idx(rig), 0);
	assert_int_equal(rig_status(rig, &io), 0xEE);
	rig->wakes = 0;
	rig_cfg_write(rig, COMMAND, 2, 0x0006);
	assert_int_equal(rig->wakes, 1);
	rig_run(rig);
	assert_int_equal(rig_used_idx(rig), 1);
	rig_no_blame(rig);
}

static void without_bus_mastering_no_message_is_sent(void **state)
{
	struct rig *rig = *state;
	struct error err;

	rig_enable_msix(rig);
	RIG_WRITE(rig, config_msix_vector, 0);
	rig_bring_up(rig, 0);
	RIG_WRITE(rig, config_msix_vector, 0);
	rig_cfg_write(rig, COMMAND, 2, 0x0002);
	assert_int_equal(virtio_blk_resize(rig->dev, RIG_DISK_BYTES / 2, &err), 0);
	assert_int_equal(rig->messages, 0);
}

static void intx_disable_silences_the_wire_and_the_status_bit_still_tells(void **state)
{
	struct rig *rig = *state;

	rig_bring_up(rig, 0);
	assert_int_equal(rig_request(rig, VIRTIO_BLK_T_IN, 0, rig_alloc(rig, 512, 512), 512), VIRTIO_BLK_S_OK);
	assert_true(rig->intx);
	assert_int_equal(rig_cfg(rig, STATUS, 2) & 0x08, 0x08);
	rig_cfg_write(rig, COMMAND, 2, 0x0406);
	assert_false(rig->intx);
	assert_int_equal(rig_cfg(rig, STATUS, 2) & 0x08, 0x08);
	rig_cfg_write(rig, COMMAND, 2, 0x0006);
	assert_true(rig->intx);
	rig_reg(rig, VIRTIO_PCI_CAP_ISR_CFG, 0, 1);
	assert_int_equal(rig_cfg(rig, STATUS, 2) & 0x08, 0);
}

static uint32_t table_read(struct rig *rig, unsigned vector, unsigned field)
{
	uint32_t table = rig_cfg(rig, rig_find_cap(rig, PCI_CAP_ID_MSIX, 0) + 4, 4);

	return (uint32_t)rig->dev->ops->bar_read(rig->dev, table & 7, (table & ~7u) + 16 * vector + 4 * field, 4);
}

static void table_write(struct rig *rig, unsigned vector, unsigned field, uint32_t value)
{
	uint32_t table = rig_cfg(rig, rig_find_cap(rig, PCI_CAP_ID_MSIX, 0) + 4, 4);

	rig->dev->ops->bar_write(rig->dev, table & 7, (table & ~7u) + 16 * vector + 4 * field, 4, value);
}

static uint32_t pending_bits(struct rig *rig)
{
	uint32_t pba = rig_cfg(rig, rig_find_cap(rig, PCI_CAP_ID_MSIX, 0) + 8, 4);

	return (uint32_t)rig->dev->ops->bar_read(rig->dev, pba & 7, pba & ~7u, 4);
}

static void msix_table_holds_what_is_written_and_starts_masked(void **state)
{
	struct rig *rig = *state;
	unsigned cap = rig_find_cap(rig, PCI_CAP_ID_MSIX, 0);

	assert_int_equal(rig_cfg(rig, cap + 2, 2), 3 - 1);
	for (unsigned n = 0; n < 3; n++)
		assert_int_equal(table_read(rig, n, 3), 1);
	table_write(rig, 2, 0, 0xFEE01003);
	table_write(rig, 2, 1, 0x12);
	table_write(rig, 2, 2, 0x5678);
	table_write(rig, 2, 3, 0xFFFFFFFE);
	assert_int_equal(table_read(rig, 2, 0), 0xFEE01000);
	assert_int_equal(table_read(rig, 2, 1), 0x12);
	assert_int_equal(table_read(rig, 2, 2), 0x5678);
	assert_int_equal(table_read(rig, 2, 3), 0);
	assert_int_equal(table_read(rig, 1, 3), 1);
	assert_int_equal(rig->dev->ops->stats(rig->dev)->mmio_reads, 0);
	assert_int_equal(rig->dev->ops->stats(rig->dev)->mmio_writes, 0);
}

/* Brings the device up with vector 0 for configuration changes and 1 for the queue. */
static void bring_up_msix(struct rig *rig)
{
	rig_enable_msix(rig);
	rig_bring_up(rig, 0);
	RIG_WRITE(rig, config_msix_vector, 0);
	RIG_WRITE(rig, queue_msix_vector, 1);
}

static void one_read(struct rig *rig)
{
	assert_int_equal(rig_request(rig, VIRTIO_BLK_T_IN, 0, rig_alloc(rig, 512, 512), 512), VIRTIO_BLK_S_OK);
}

static void a_masked_vector_pends_and_is_sent_once_when_unmasked(void **state)
{
	struct rig *rig = *state;

	bring_up_msix(rig);
	table_write(rig, 1, 3, 1);
	one_read(rig);
	one_read(rig);
	assert_int_equal(rig->messages, 0);
	assert_int_equal(pending_bits(rig), 1u << 1);
	table_write(rig, 1, 3, 0);
	assert_int_equal(rig->messages, 1);
	assert_int_equal(rig->message[0].data, 0x41);
	assert_int_equal(pending_bits(rig), 0);
	assert_int_equal(rig->intx_edges, 0);
}

static void the_function_mask_holds_every_vector_back(void **state)
{
	struct rig *rig = *state;
	unsigned cap = rig_find_cap(rig, PCI_CAP_ID_MSIX, 0);

	bring_up_msix(rig);
	rig_cfg_write(rig, cap + 2, 2, 0xC000);
	one_read(rig);
	assert_int_equal(rig->messages, 0);
	assert_int_equal(pending_bits(rig), 1u << 1);
	rig_cfg_write(rig, cap + 2, 2, 0x8000);
	assert_int_equal(rig->messages, 1);
}

static void pending_bits_cannot_be_written(void **state)
{
	struct rig *rig = *state;
	uint32_t pba = rig_cfg(rig, rig_find_cap(rig, PCI_CAP_ID_MSIX, 0) + 8, 4);

	rig->dev->ops->bar_write(rig->dev, pba & 7, pba & ~7u, 4, 0xFFFFFFFF);
	assert_int_equal(pending_bits(rig), 0);
}

static void msi_sends_the_data_with_the_message_number_in_its_low_bits(void **state)
{
	struct rig *rig = *state;
	unsigned cap = rig_find_cap(rig, PCI_CAP_ID_MSI, 0);

	assert_true(cap != 0);
	assert_int_equal(rig_cfg(rig, cap + 2, 2) & 0x0E, 2 << 1); /* four messages */
	rig_cfg_write(rig, cap + 4, 4, 0xFEE00000);
	rig_cfg_write(rig, cap + 12, 2, 0x30);
	rig_cfg_write(rig, cap + 2, 2, 0x0001 | 2 << 4);
	rig_bring_up(rig, 0);
	RIG_WRITE(rig, queue_msix_vector, 3);
	assert_int_equal(RIG_READ(rig, queue_msix_vector), 3);
	one_read(rig);
	assert_int_equal(rig->messages, 1);
	assert_int_equal(rig->message[0].addr, 0xFEE00000);
	assert_int_equal(rig->message[0].data, 0x33);
	assert_int_equal(rig->intx_edges, 0);
}

static void msi_messages_that_were_not_granted_cannot_be_mapped(void **state)
{
	struct rig *rig = *state;
	unsigned cap = rig_find_cap(rig, PCI_CAP_ID_MSI, 0);

	rig_cfg_write(rig, cap + 2, 2, 0x0001 | 0 << 4);
	rig_bring_up(rig, 0);
	RIG_WRITE(rig, queue_msix_vector, 1);
	assert_int_equal(RIG_READ(rig, queue_msix_vector), 0xFFFF);
	RIG_WRITE(rig, queue_msix_vector, 0);
	assert_int_equal(RIG_READ(rig, queue_msix_vector), 0);
}

static void a_masked_msi_pends_and_is_sent_when_unmasked(void **state)
{
	struct rig *rig = *state;
	unsigned cap = rig_find_cap(rig, PCI_CAP_ID_MSI, 0);

	rig_cfg_write(rig, cap + 2, 2, 0x0001 | 2 << 4);
	rig_cfg_write(rig, cap + 16, 4, 1u << 2);
	rig_bring_up(rig, 0);
	RIG_WRITE(rig, queue_msix_vector, 2);
	one_read(rig);
	assert_int_equal(rig->messages, 0);
	assert_int_equal(rig_cfg(rig, cap + 20, 4), 1u << 2);
	rig_cfg_write(rig, cap + 16, 4, 0);
	assert_int_equal(rig->messages, 1);
	assert_int_equal(rig_cfg(rig, cap + 20, 4), 0);
}

static void virtio_4_1_4_9_the_window_reaches_the_registers(void **state)
{
	struct rig *rig = *state;
	unsigned cap = rig_find_cap(rig, 0x09, VIRTIO_PCI_CAP_PCI_CFG);

	assert_true(cap != 0);
	RIG_WRITE(rig, device_status, 1);
	rig_cfg_write(rig, cap + 4, 1, 4);
	rig_cfg_write(rig, cap + 8, 4, 0x14);
	rig_cfg_write(rig, cap + 12, 4, 1);
	assert_int_equal(rig_cfg(rig, cap + 16, 1), 1);
	rig_cfg_write(rig, cap + 16, 1, 3);
	assert_int_equal(RIG_READ(rig, device_status), 3);
	rig_no_blame(rig);
}

static void power_cycle_resets_everything_but_the_medium(void **state)
{
	struct rig *rig = *state;
	unsigned cap = rig_find_cap(rig, PCI_CAP_ID_MSIX, 0);
	uint64_t data = rig_alloc(rig, 512, 512);
	uint8_t byte = 0x5A;

	bring_up_msix(rig);
	rig_put(rig, data, &byte, 1);
	assert_int_equal(rig_request(rig, VIRTIO_BLK_T_OUT, 0, data, 512), VIRTIO_BLK_S_OK);
	rig_submit(rig, VIRTIO_BLK_T_OUT, 1, data, 512);
	rig_kick(rig);
	assert_true(rig_step(rig)); /* fetched */
	rig->dev->ops->power_cycle(rig->dev);
	assert_int_equal(rig_cfg(rig, COMMAND, 2), 0);
	assert_int_equal(rig_cfg(rig, 0x10, 4), 0x4);
	assert_int_equal(rig_cfg(rig, 0x14, 4), 0);
	assert_int_equal(rig_cfg(rig, cap + 2, 2), 1);
	rig_cfg_write(rig, COMMAND, 2, 0x0006);
	assert_int_equal(RIG_READ(rig, device_status), 0);
	assert_int_equal(RIG_READ(rig, config_msix_vector), 0xFFFF);
	assert_int_equal(table_read(rig, 1, 3), 1);
	assert_int_equal(table_read(rig, 1, 2), 0);
	rig_start(rig, 0);
	rig_run(rig);
	assert_int_equal(rig_used_idx(rig), 0);
	assert_int_equal(rig_disk_byte(rig, 0), 0x5A);
	assert_int_equal(rig_disk_byte(rig, 512), rig_pattern(512));
}

static void power_cycle_releases_inta(void **state)
{
	struct rig *rig = *state;

	rig_bring_up(rig, 0);
	one_read(rig);
	assert_true(rig->intx);
	rig->dev->ops->power_cycle(rig->dev);
	assert_false(rig->intx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(contract_1_1_identity_is_1af4_1042_revision_1_subsystem_1af4_0002, "contract"),
		RIG_TEST(identity_cannot_be_written, "contract"),
		RIG_TEST(interrupt_line_is_a_scratch_byte, "contract"),
		RIG_TEST(contract_1_2_bar0_is_64_bit_memory_of_0x4000_bytes_and_the_only_one, "contract"),
		RIG_TEST(bar_sizing_reads_back_the_length_as_a_mask, "contract"),
		RIG_TEST(configuration_space_is_readable_by_bytes_words_and_dwords, "qemu-layout,msi=4"),
		RIG_TEST(contract_1_3_the_list_is_acyclic_aligned_and_has_the_four_capabilities, "contract"),
		RIG_TEST(contract_1_3_the_list_is_acyclic_aligned_and_has_the_four_capabilities, "qemu-layout,msi=1"),
		RIG_TEST(contract_1_4_the_four_regions_lie_where_the_table_says, "contract"),
		RIG_TEST(contract_1_4_qemu_has_its_regions_in_bar4_and_msix_in_bar1, "qemu-layout"),
		RIG_TEST(with_memory_disabled_a_bar_reads_all_ones_and_ignores_writes, "contract"),
		RIG_TEST(beyond_its_length_a_bar_reads_all_ones, "contract"),
		RIG_TEST(without_bus_mastering_there_is_no_dma_and_with_it_work_goes_on, "contract"),
		RIG_TEST(without_bus_mastering_no_message_is_sent, "contract"),
		RIG_TEST(intx_disable_silences_the_wire_and_the_status_bit_still_tells, "contract"),
		RIG_TEST(msix_table_holds_what_is_written_and_starts_masked, "contract,msix-vectors=3"),
		RIG_TEST(msix_table_holds_what_is_written_and_starts_masked, "qemu-layout,msix-vectors=3"),
		RIG_TEST(a_masked_vector_pends_and_is_sent_once_when_unmasked, "contract"),
		RIG_TEST(a_masked_vector_pends_and_is_sent_once_when_unmasked, "qemu-layout,features=-event_idx"),
		RIG_TEST(the_function_mask_holds_every_vector_back, "contract"),
		RIG_TEST(pending_bits_cannot_be_written, "contract"),
		RIG_TEST(msi_sends_the_data_with_the_message_number_in_its_low_bits, "contract,msix-vectors=0,msi=4"),
		RIG_TEST(msi_messages_that_were_not_granted_cannot_be_mapped, "contract,msi=4"),
		RIG_TEST(a_masked_msi_pends_and_is_sent_when_unmasked, "contract,msix-vectors=0,msi=4"),
		RIG_TEST(virtio_4_1_4_9_the_window_reaches_the_registers, "qemu-layout"),
		RIG_TEST(power_cycle_resets_everything_but_the_medium, "contract"),
		RIG_TEST(power_cycle_releases_inta, "contract"),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
