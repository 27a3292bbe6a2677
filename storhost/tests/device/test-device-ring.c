/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Claims about the split ring, contract §2: what the device takes, and that each violation is blamed and
 * survived.
 */
#include "rig.h"

#include <string.h>

#define NEXT VIRTQ_DESC_F_NEXT
#define WRITE VIRTQ_DESC_F_WRITE
#define INDIRECT VIRTQ_DESC_F_INDIRECT

/* A read of one sector laid out by hand: where its parts are. */
struct parts {
	uint64_t header, data, status, table;
};

static struct parts make_read(struct rig *rig)
{
	struct virtio_blk_req header = { .type = VIRTIO_BLK_T_IN, .sector = 3 };
	struct parts p = {
		.header = rig_alloc(rig, 16, 8),
		.data = rig_alloc(rig, 512, 8),
		.status = rig_alloc(rig, 1, 1),
		.table = rig_alloc(rig, 256 * 16, 16),
	};

	rig_put(rig, p.header, &header, sizeof(header));
	return p;
}

/*
 * After a violation: the device wants a reset, told so once, touches nothing more, and works after the reset.
 */
static void expect_broken(struct rig *rig, const char *clause)
{
	uint16_t used = rig_used_idx(rig);

	rig_kick(rig);
	rig_run(rig);
	rig_one_blame(rig, clause);
	assert_int_equal(RIG_READ(rig, device_status), 0x4F);
	assert_int_equal(rig_used_idx(rig), used);
	assert_int_equal(rig_reg(rig, VIRTIO_PCI_CAP_ISR_CFG, 0, 1) & 2, 2);
	rig_kick(rig);
	rig_run(rig);
	rig_no_blame(rig);
	rig_bring_up(rig, 0);
	assert_int_equal(rig_request(rig, VIRTIO_BLK_T_IN, 0, rig_alloc(rig, 512, 8), 512), VIRTIO_BLK_S_OK);
	rig_no_blame(rig);
}

static void expect_read(struct rig *rig, const struct parts *p, uint32_t head)
{
	uint8_t status = 0xEE, byte;
	uint32_t id, len;

	rig_put(rig, p->status, &status, 1);
	rig_offer(rig, (uint16_t)head);
	rig_kick(rig);
	rig_run(rig);
	rig_no_blame(rig);
	assert_true(rig_pop(rig, &id, &len));
	assert_int_equal(id, head);
	rig_get(rig, p->status, &status, 1);
	assert_int_equal(status, VIRTIO_BLK_S_OK);
	for (unsigned i = 0; i < 512; i += 37) {
		rig_get(rig, p->data + i, &byte, 1);
		assert_int_equal(byte, rig_pattern(3 * 512 + i));
	}
}

static void a_direct_chain_in_any_order_of_descriptors_is_served(void **state)
{
	struct rig *rig = *state;
	struct parts p;

	rig_bring_up(rig, 0);
	p = make_read(rig);
	rig_desc(rig, 127, p.header, 16, NEXT, 0);
	rig_desc(rig, 0, p.data, 512, NEXT | WRITE, 64);
	rig_desc(rig, 64, p.status, 1, WRITE, 999); /* next counts only with NEXT */
	expect_read(rig, &p, 127);
}

static void contract_2_an_indirect_chain_is_served(void **state)
{
	struct rig *rig = *state;
	struct parts p;

	rig_bring_up(rig, 0);
	p = make_read(rig);
	rig_desc_at(rig, p.table, 0, p.header, 16, NEXT, 2);
	rig_desc_at(rig, p.table, 2, p.data, 512, NEXT | WRITE, 1);
	rig_desc_at(rig, p.table, 1, p.status, 1, WRITE, 0);
	rig_desc(rig, 5, p.table, 3 * 16, INDIRECT, 0);
	expect_read(rig, &p, 5);
}

static void virtio_2_7_5_3_2_an_indirect_table_may_end_a_direct_chain(void **state)
{
	struct rig *rig = *state;
	struct parts p;

	rig_bring_up(rig, 0);
	p = make_read(rig);
	rig_desc(rig, 9, p.header, 16, NEXT, 8);
	rig_desc(rig, 8, p.table, 2 * 16, INDIRECT | WRITE, 0); /* WRITE is ignored here */
	rig_desc_at(rig, p.table, 0, p.data, 512, NEXT | WRITE, 1);
	rig_desc_at(rig, p.table, 1, p.status, 1, WRITE, 0);
	expect_read(rig, &p, 9);
}

static void virtio_2_7_4_1_framing_is_the_drivers_choice(void **state)
{
	struct rig *rig = *state;
	struct parts p;
	uint64_t rest;
	uint8_t bytes[413];

	rig_bring_up(rig, 0);
	p = make_read(rig);
	rest = rig_alloc(rig, sizeof(bytes), 1);
	rig_desc(rig, 0, p.header, 7, NEXT, 1);
	rig_desc(rig, 1, p.header + 7, 9, NEXT, 2);
	rig_desc(rig, 2, p.data, 100, NEXT | WRITE, 3);
	rig_desc(rig, 3, rest, sizeof(bytes), WRITE, 0); /* 412 of data and the status behind them */
	memset(bytes, 0xEE, sizeof(bytes));
	rig_put(rig, rest, bytes, sizeof(bytes));
	rig_offer(rig, 0);
	rig_kick(rig);
	rig_run(rig);
	rig_no_blame(rig);
	rig_get(rig, rest, bytes, sizeof(bytes));
	assert_int_equal(bytes[412], VIRTIO_BLK_S_OK);
	for (unsigned i = 0; i < 412; i++)
		assert_int_equal(bytes[i], rig_pattern(3 * 512 + 100 + i));
	rig_get(rig, p.data, bytes, 101);
	assert_int_equal(bytes[99], rig_pattern(3 * 512 + 99));
	assert_int_equal(bytes[100], 0);
}

static void contract_2_buffers_may_be_unaligned_and_cross_pages(void **state)
{
	struct rig *rig = *state;
	struct parts p;

	rig_bring_up(rig, 0);
	p = make_read(rig);
	p.data = rig_alloc(rig, 2 * 4096, 4096) + 4096 - 101;
	rig_desc(rig, 0, p.header, 16, NEXT, 1);
	rig_desc(rig, 1, p.data, 512, NEXT | WRITE, 2);
	rig_desc(rig, 2, p.status, 1, WRITE, 0);
	expect_read(rig, &p, 0);
}

static void contract_2_a_table_may_cross_pages(void **state)
{
	struct rig *rig = *state;
	struct parts p;

	rig_bring_up(rig, 0);
	p = make_read(rig);
	p.table = rig_alloc(rig, 2 * 4096, 4096) + 4096 - 24; /* not aligned to a descriptor either */
	rig_desc_at(rig, p.table, 0, p.header, 16, NEXT, 1);
	rig_desc_at(rig, p.table, 1, p.data, 512, NEXT | WRITE, 2);
	rig_desc_at(rig, p.table, 2, p.status, 1, WRITE, 0);
	rig_desc(rig, 0, p.table, 3 * 16, INDIRECT, 0);
	expect_read(rig, &p, 0);
}

static void the_available_index_may_not_run_ahead_of_the_ring(void **state)
{
	struct rig *rig = *state;

	rig_bring_up(rig, 0);
	rig_put16(rig, rig->avail + 2, 129);
	expect_broken(rig, "virtio 2.7.6.1");
}

static void a_head_beyond_the_table_is_blamed(void **state)
{
	struct rig *rig = *state;

	rig_bring_up(rig, 0);
	rig_offer(rig, 128);
	expect_broken(rig, "contract 2");
}

static void a_next_beyond_the_table_is_blamed(void **state)
{
	struct rig *rig = *state;
	struct parts p;

	rig_bring_up(rig, 0);
	p = make_read(rig);
	rig_desc(rig, 0, p.header, 16, NEXT, 128);
	rig_offer(rig, 0);
	expect_broken(rig, "contract 2");
}

static void a_loop_is_blamed(void **state)
{
	struct rig *rig = *state;
	struct parts p;

	rig_bring_up(rig, 0);
	p = make_read(rig);
	rig_desc(rig, 0, p.header, 16, NEXT, 1);
	rig_desc(rig, 1, p.data, 512, NEXT | WRITE, 2);
	rig_desc(rig, 2, p.data, 512, NEXT | WRITE, 1);
	rig_offer(rig, 0);
	expect_broken(rig, "virtio 2.7.5.2");
}

static void a_head_in_flight_may_not_be_offered_again(void **state)
{
	struct rig *rig = *state;
	struct rig_io io;

	rig_bring_up(rig, 0);
	io = rig_submit(rig, VIRTIO_BLK_T_IN, 0, rig_alloc(rig, 512, 8), 512);
	rig_offer(rig, io.head);
	rig_kick(rig);
	while (!rig->blames)
		assert_true(rig_step(rig));
	rig_one_blame(rig, "virtio 2.7.13");
	assert_int_equal(RIG_READ(rig, device_status), 0x4F);
}

static void a_descriptor_in_flight_may_not_be_in_another_chain(void **state)
{
	struct rig *rig = *state;
	struct parts p;

	rig_bring_up(rig, 0);
	rig_submit(rig, VIRTIO_BLK_T_IN, 0, rig_alloc(rig, 512, 8), 512); /* descriptors 0, 1 and 2 */
	p = make_read(rig);
	rig_desc(rig, 9, p.header, 16, NEXT, 2);
	rig_offer(rig, 9);
	rig_kick(rig);
	while (!rig->blames)
		assert_true(rig_step(rig));
	rig_one_blame(rig, "virtio 2.7.13");
}

static void a_returned_descriptor_may_be_used_again(void **state)
{
	struct rig *rig = *state;
	uint64_t data;

	rig_bring_up(rig, 0);
	data = rig_alloc(rig, 512, 8);
	for (unsigned i = 0; i < 300; i++) {
		rig->desc_next = 0;
		assert_int_equal(rig_request(rig, VIRTIO_BLK_T_IN, i, data, 512), VIRTIO_BLK_S_OK);
	}
	rig_no_blame(rig);
}

static void virtio_2_7_5_3_1_indirect_needs_its_feature(void **state)
{
	struct rig *rig = *state;
	struct parts p;

	rig_reset(rig);
	rig_bring_up(rig, VIRTIO_FEATURE(VIRTIO_F_VERSION_1));
	p = make_read(rig);
	rig_desc_at(rig, p.table, 0, p.header, 16, NEXT, 1);
	rig_desc_at(rig, p.table, 1, p.status, 1, WRITE, 0);
	rig_desc(rig, 0, p.table, 2 * 16, INDIRECT, 0);
	rig_offer(rig, 0);
	expect_broken(rig, "virtio 2.7.5.3.1");
}

static void virtio_2_7_5_3_1_indirect_tables_do_not_nest(void **state)
{
	struct rig *rig = *state;
	struct parts p;

	rig_bring_up(rig, 0);
	p = make_read(rig);
	rig_desc_at(rig, p.table, 0, p.header, 16, NEXT, 1);
	rig_desc_at(rig, p.table, 1, p.table + 0x100, 2 * 16, INDIRECT, 0);
	rig_desc(rig, 0, p.table, 2 * 16, INDIRECT, 0);
	rig_offer(rig, 0);
	expect_broken(rig, "virtio 2.7.5.3.1");
}

static void virtio_2_7_5_3_1_indirect_does_not_go_with_next(void **state)
{
	struct rig *rig = *state;
	struct parts p;

	rig_bring_up(rig, 0);
	p = make_read(rig);
	rig_desc_at(rig, p.table, 0, p.header, 16, NEXT, 1);
	rig_desc_at(rig, p.table, 1, p.status, 1, WRITE, 0);
	rig_desc(rig, 0, p.table, 2 * 16, INDIRECT | NEXT, 1);
	rig_offer(rig, 0);
	expect_broken(rig, "virtio 2.7.5.3.1");
}

static void an_indirect_table_is_a_whole_number_of_descriptors(void **state)
{
	struct rig *rig = *state;
	struct parts p;
	const uint32_t lengths[] = { 0, 8, 47 };

	for (unsigned i = 0; i < 3; i++) {
		rig_bring_up(rig, 0);
		p = make_read(rig);
		rig_desc_at(rig, p.table, 0, p.header, 16, NEXT, 1);
		rig_desc_at(rig, p.table, 1, p.status, 1, WRITE, 0);
		rig_desc(rig, 0, p.table, lengths[i], INDIRECT, 0);
		rig_offer(rig, 0);
		expect_broken(rig, "virtio 2.7.5.3");
	}
}

static void an_indirect_next_beyond_its_table_is_blamed(void **state)
{
	struct rig *rig = *state;
	struct parts p;

	rig_bring_up(rig, 0);
	p = make_read(rig);
	rig_desc_at(rig, p.table, 0, p.header, 16, NEXT, 2);
	rig_desc(rig, 0, p.table, 2 * 16, INDIRECT, 0);
	rig_offer(rig, 0);
	expect_broken(rig, "contract 2");
}

static void a_loop_in_an_indirect_table_is_blamed(void **state)
{
	struct rig *rig = *state;
	struct parts p;

	rig_bring_up(rig, 0);
	p = make_read(rig);
	rig_desc_at(rig, p.table, 0, p.header, 16, NEXT, 1);
	rig_desc_at(rig, p.table, 1, p.data, 512, NEXT, 0);
	rig_desc(rig, 0, p.table, 2 * 16, INDIRECT, 0);
	rig_offer(rig, 0);
	expect_broken(rig, "virtio 2.7.5.2");
}

/* A read with as many descriptors as the queue has, header and status included; extra: more of them. */
static struct parts make_long_read(struct rig *rig, unsigned extra)
{
	struct parts p = make_read(rig);
	unsigned total = 128 + extra;

	rig_desc_at(rig, p.table, 0, p.header, 16, NEXT, 1);
	for (unsigned i = 1; i < total - 1; i++) {
		uint32_t at = (i - 1) * 4, len = i == total - 2 ? 512 - at : 4;

		rig_desc_at(rig, p.table, (uint16_t)i, p.data + at, len, NEXT | WRITE, (uint16_t)(i + 1));
	}
	rig_desc_at(rig, p.table, (uint16_t)(total - 1), p.status, 1, WRITE, 0);
	rig_desc(rig, 0, p.table, total * 16, INDIRECT, 0);
	return p;
}

static void virtio_2_7_5_3_1_a_chain_is_at_most_as_long_as_the_queue(void **state)
{
	struct rig *rig = *state;
	struct parts p;

	rig_bring_up(rig, 0);
	p = make_long_read(rig, 0);
	expect_read(rig, &p, 0);
	make_long_read(rig, 1);
	rig_offer(rig, 0);
	expect_broken(rig, "virtio 2.7.5.3.1");
}

static void virtio_2_7_4_2_readable_after_writable_is_blamed(void **state)
{
	struct rig *rig = *state;
	struct parts p;

	rig_bring_up(rig, 0);
	p = make_read(rig);
	rig_desc(rig, 0, p.header, 16, NEXT, 1);
	rig_desc(rig, 1, p.status, 1, NEXT | WRITE, 2);
	rig_desc(rig, 2, p.data, 512, 0, 0);
	rig_offer(rig, 0);
	expect_broken(rig, "virtio 2.7.4.2");
}

static void a_descriptor_of_length_0_is_blamed(void **state)
{
	struct rig *rig = *state;
	struct parts p;

	rig_bring_up(rig, 0);
	p = make_read(rig);
	rig_desc(rig, 0, p.header, 16, NEXT, 1);
	rig_desc(rig, 1, p.data, 0, NEXT | WRITE, 2);
	rig_desc(rig, 2, p.status, 1, WRITE, 0);
	rig_offer(rig, 0);
	expect_broken(rig, "virtio 2.7.5");
}

static void a_descriptor_that_wraps_around_memory_is_blamed(void **state)
{
	struct rig *rig = *state;
	struct parts p;

	rig_bring_up(rig, 0);
	p = make_read(rig);
	rig_desc(rig, 0, p.header, 16, NEXT, 1);
	rig_desc(rig, 1, 0xFFFFFFFFFFFFFF00, 512, NEXT | WRITE, 2);
	rig_desc(rig, 2, p.status, 1, WRITE, 0);
	rig_offer(rig, 0);
	expect_broken(rig, "contract 2");
}

static void virtio_2_7_5_2_a_chain_is_at_most_4_gib_long(void **state)
{
	struct rig *rig = *state;
	struct parts p;

	rig_bring_up(rig, 0);
	rig->boundless = true;
	p = make_read(rig);
	rig_desc(rig, 0, p.header, 16, NEXT, 1);
	rig_desc(rig, 1, p.data, 0xFFFFFFEF, NEXT | WRITE, 2);
	rig_desc(rig, 2, p.status, 1, WRITE, 0); /* 4 GiB in all: only not a multiple of 512 */
	rig_offer(rig, 0);
	rig_kick(rig);
	rig_run(rig);
	rig_one_blame(rig, "contract 3.1");
	assert_int_equal(RIG_READ(rig, device_status), 0xF);
	rig_desc(rig, 1, p.data, 0xFFFFFFF0, NEXT | WRITE, 2);
	rig_reg(rig, VIRTIO_PCI_CAP_ISR_CFG, 0, 1);
	rig_offer(rig, 0);
	expect_broken(rig, "virtio 2.7.5.2");
}

/* Memory that the driver does not own: the machine reports it, the device says nothing and wants a reset. */
static void expect_refused(struct rig *rig)
{
	rig_kick(rig);
	rig_run(rig);
	assert_true(rig->refused > 0);
	rig_no_blame(rig);
	assert_int_equal(RIG_READ(rig, device_status), 0x4F);
}

static uint8_t *access_of(struct rig *rig, uint64_t addr)
{
	return &rig->access[(addr - RIG_BASE) / 4096];
}

static void foreign_memory_for_data_stops_the_device(void **state)
{
	struct rig *rig = *state;
	uint64_t data;

	rig_bring_up(rig, 0);
	data = rig_alloc(rig, 4096, 4096);
	*access_of(rig, data) = 1; /* readable, and a read request writes it */
	rig_submit(rig, VIRTIO_BLK_T_IN, 0, data, 512);
	expect_refused(rig);
	assert_int_equal(rig_used_idx(rig), 0);
}

static void memory_that_is_only_read_need_only_be_readable(void **state)
{
	struct rig *rig = *state;
	uint64_t data;

	rig_bring_up(rig, 0);
	data = rig_alloc(rig, 4096, 4096);
	*access_of(rig, data) = 1;
	assert_int_equal(rig_request(rig, VIRTIO_BLK_T_OUT, 0, data, 512), VIRTIO_BLK_S_OK);
	assert_int_equal(rig->refused, 0);
}

static void foreign_memory_for_a_header_stops_the_device(void **state)
{
	struct rig *rig = *state;
	struct parts p;

	rig_bring_up(rig, 0);
	p = make_read(rig);
	rig_desc(rig, 0, 0x1000, 16, NEXT, 1);
	rig_desc(rig, 1, p.status, 1, WRITE, 0);
	rig_offer(rig, 0);
	expect_refused(rig);
}

static void foreign_memory_for_the_status_stops_the_device(void **state)
{
	struct rig *rig = *state;
	struct parts p;

	rig_bring_up(rig, 0);
	p = make_read(rig);
	rig_desc(rig, 0, p.header, 16, NEXT, 1);
	rig_desc(rig, 1, p.data, 512, NEXT | WRITE, 2);
	rig_desc(rig, 2, 0x1000, 1, WRITE, 0);
	rig_offer(rig, 0);
	expect_refused(rig);
	assert_int_equal(rig_used_idx(rig), 0);
}

static void a_foreign_ring_stops_the_device(void **state)
{
	struct rig *rig = *state;

	rig_reset(rig);
	rig_negotiate(rig, rig_offered(rig));
	rig_place_ring(rig, 128);
	rig_write64(rig, COMMON(queue_driver), 0x2000);
	RIG_WRITE(rig, queue_enable, 1);
	RIG_WRITE(rig, device_status, 0xF);
	expect_refused(rig);
}

static void foreign_memory_in_a_descriptor_stops_the_device_before_it_is_used(void **state)
{
	struct rig *rig = *state;
	struct parts p;

	rig_bring_up(rig, 0);
	p = make_read(rig);
	/* The last page of the data, of a request that fails before it moves any. */
	rig_desc(rig, 0, p.header, 16, NEXT, 1);
	rig_desc(rig, 1, 0x2000, 513, NEXT | WRITE, 2);
	rig_desc(rig, 2, p.status, 1, WRITE, 0);
	rig_offer(rig, 0);
	expect_refused(rig);
	assert_int_equal(rig_used_idx(rig), 0);
}

static void a_doorbell_comes_after_what_it_tells_of(void **state)
{
	struct rig *rig = *state;

	rig_bring_up(rig, 0);
	rig_kick(rig);
	rig_one_blame(rig, "virtio 2.7.13.4");
	/* Two processors may each ring for their own entry after both have made it available. */
	for (int n = 0; n < 2; n++)
		rig_submit(rig, VIRTIO_BLK_T_IN, 0, rig_alloc(rig, 512, 512), 512);
	rig_kick(rig);
	rig_run(rig);
	rig_kick(rig);
	rig_no_blame(rig);
	rig_kick(rig);
	rig_one_blame(rig, "virtio 2.7.13.4");
}

static void virtio_2_7_10_1_used_flags_start_as_0(void **state)
{
	struct rig *rig = *state;

	rig_bring_up(rig, 0);
	rig_put16(rig, rig->used, 1);
	rig_request(rig, VIRTIO_BLK_T_IN, 0, rig_alloc(rig, 512, 8), 512);
	rig_one_blame(rig, "virtio 2.7.10.1");
}

static void virtio_2_7_7_1_available_flags_are_0_or_1(void **state)
{
	struct rig *rig = *state;

	rig_bring_up(rig, 0);
	rig_put16(rig, rig->avail, 2);
	rig_request(rig, VIRTIO_BLK_T_IN, 0, rig_alloc(rig, 512, 8), 512);
	rig_one_blame(rig, "virtio 2.7.7.1");
}

static void while_the_device_works_it_asks_for_no_doorbells(void **state)
{
	struct rig *rig = *state;
	uint64_t data = rig_alloc(rig, 512, 8);

	rig_bring_up(rig, 0);
	rig_submit(rig, VIRTIO_BLK_T_IN, 0, data, 512);
	rig_kick(rig);
	while (rig_get16(rig, rig->used) == 0)
		assert_true(rig_step(rig));
	rig_submit(rig, VIRTIO_BLK_T_IN, 0, data, 512); /* no doorbell for this one */
	rig_run(rig);
	assert_int_equal(rig_used_idx(rig), 2);
	assert_int_equal(rig_get16(rig, rig->used), 0);
}

static void a_device_may_want_every_doorbell(void **state)
{
	struct rig *rig = *state;

	rig_bring_up(rig, 0);
	rig_submit(rig, VIRTIO_BLK_T_IN, 0, rig_alloc(rig, 512, 8), 512);
	rig_kick(rig);
	while (rig_step(rig))
		assert_int_equal(rig_get16(rig, rig->used), 0);
}

static uint64_t used_event(const struct rig *rig)
{
	return rig->avail + 4 + 2u * rig->ring_size;
}

static uint64_t avail_event(const struct rig *rig)
{
	return rig->used + 4 + 8u * rig->ring_size;
}

static void event_idx_an_interrupt_comes_when_the_used_index_passes_used_event(void **state)
{
	struct rig *rig = *state;
	uint64_t data = rig_alloc(rig, 512, 8);

	rig_bring_up(rig, 0);
	rig_put16(rig, used_event(rig), 2);
	for (unsigned i = 0; i < 2; i++) {
		rig_request(rig, VIRTIO_BLK_T_IN, 0, data, 512);
		assert_int_equal(rig->intx_edges, 0);
	}
	rig_request(rig, VIRTIO_BLK_T_IN, 0, data, 512);
	assert_int_equal(rig->intx_edges, 1);
	rig_reg(rig, VIRTIO_PCI_CAP_ISR_CFG, 0, 1);
	rig_request(rig, VIRTIO_BLK_T_IN, 0, data, 512);
	assert_int_equal(rig->intx_edges, 1);
	rig_no_blame(rig);
}

static void event_idx_the_device_asks_for_a_doorbell_at_the_next_chain(void **state)
{
	struct rig *rig = *state;
	uint64_t data = rig_alloc(rig, 512, 8);

	rig_bring_up(rig, 0);
	for (uint16_t i = 1; i < 5; i++) {
		rig_request(rig, VIRTIO_BLK_T_IN, 0, data, 512);
		assert_int_equal(rig_get16(rig, avail_event(rig)), i);
		assert_int_equal(rig_get16(rig, rig->used), 0);
	}
}

static void event_idx_no_interrupt_flag_is_ignored_and_blamed(void **state)
{
	struct rig *rig = *state;

	rig_bring_up(rig, 0);
	rig_put16(rig, rig->avail, 1);
	rig_request(rig, VIRTIO_BLK_T_IN, 0, rig_alloc(rig, 512, 8), 512);
	rig_one_blame(rig, "virtio 2.7.7.1");
	assert_int_equal(rig->intx_edges, 1);
}

static void the_indexes_wrap_at_65536(void **state)
{
	struct rig *rig = *state;
	uint64_t data = rig_alloc(rig, 512, 8), brk;
	unsigned messages;

	rig_enable_msix(rig);
	rig_bring_up(rig, 0);
	RIG_WRITE(rig, queue_msix_vector, 1);
	brk = rig->brk;
	for (unsigned i = 0; i < 65536 + 300; i++) {
		rig->brk = brk;
		rig_put16(rig, used_event(rig), rig->used_next);
		messages = rig->messages;
		assert_int_equal(rig_request(rig, VIRTIO_BLK_T_IN, 0, data, 512), VIRTIO_BLK_S_OK);
		assert_int_equal(rig->messages, messages + 1);
	}
	rig_no_blame(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(a_direct_chain_in_any_order_of_descriptors_is_served, "contract"),
		RIG_TEST(contract_2_an_indirect_chain_is_served, "contract"),
		RIG_TEST(virtio_2_7_5_3_2_an_indirect_table_may_end_a_direct_chain, "contract"),
		RIG_TEST(virtio_2_7_4_1_framing_is_the_drivers_choice, "contract"),
		RIG_TEST(contract_2_buffers_may_be_unaligned_and_cross_pages, "contract"),
		RIG_TEST(contract_2_a_table_may_cross_pages, "contract"),
		RIG_TEST(the_available_index_may_not_run_ahead_of_the_ring, "contract"),
		RIG_TEST(a_head_beyond_the_table_is_blamed, "contract"),
		RIG_TEST(a_next_beyond_the_table_is_blamed, "contract"),
		RIG_TEST(a_loop_is_blamed, "contract"),
		RIG_TEST(a_head_in_flight_may_not_be_offered_again, "contract"),
		RIG_TEST(a_descriptor_in_flight_may_not_be_in_another_chain, "contract"),
		RIG_TEST(a_returned_descriptor_may_be_used_again, "contract"),
		RIG_TEST(virtio_2_7_5_3_1_indirect_needs_its_feature, "contract"),
		RIG_TEST(virtio_2_7_5_3_1_indirect_tables_do_not_nest, "contract"),
		RIG_TEST(virtio_2_7_5_3_1_indirect_does_not_go_with_next, "contract"),
		RIG_TEST(an_indirect_table_is_a_whole_number_of_descriptors, "contract"),
		RIG_TEST(an_indirect_next_beyond_its_table_is_blamed, "contract"),
		RIG_TEST(a_loop_in_an_indirect_table_is_blamed, "contract"),
		RIG_TEST(virtio_2_7_5_3_1_a_chain_is_at_most_as_long_as_the_queue, "contract"),
		RIG_TEST(virtio_2_7_4_2_readable_after_writable_is_blamed, "contract"),
		RIG_TEST(a_descriptor_of_length_0_is_blamed, "contract"),
		RIG_TEST(a_descriptor_that_wraps_around_memory_is_blamed, "contract"),
		RIG_TEST(virtio_2_7_5_2_a_chain_is_at_most_4_gib_long, "contract"),
		RIG_TEST(foreign_memory_for_data_stops_the_device, "contract"),
		RIG_TEST(memory_that_is_only_read_need_only_be_readable, "contract"),
		RIG_TEST(foreign_memory_for_a_header_stops_the_device, "contract"),
		RIG_TEST(foreign_memory_for_the_status_stops_the_device, "contract"),
		RIG_TEST(a_foreign_ring_stops_the_device, "contract"),
		RIG_TEST(foreign_memory_in_a_descriptor_stops_the_device_before_it_is_used, "contract"),
		RIG_TEST(a_doorbell_comes_after_what_it_tells_of, "contract"),
		RIG_TEST(virtio_2_7_10_1_used_flags_start_as_0, "contract"),
		RIG_TEST(virtio_2_7_7_1_available_flags_are_0_or_1, "contract"),
		RIG_TEST(while_the_device_works_it_asks_for_no_doorbells, "contract"),
		RIG_TEST(a_device_may_want_every_doorbell, "contract,suppress-doorbells=0"),
		RIG_TEST(event_idx_an_interrupt_comes_when_the_used_index_passes_used_event, "qemu-layout"),
		RIG_TEST(event_idx_the_device_asks_for_a_doorbell_at_the_next_chain, "qemu-layout"),
		RIG_TEST(event_idx_the_device_asks_for_a_doorbell_at_the_next_chain,
			 "qemu-layout,suppress-doorbells=0"),
		RIG_TEST(event_idx_no_interrupt_flag_is_ignored_and_blamed, "qemu-layout"),
		RIG_TEST(the_indexes_wrap_at_65536, "qemu-layout"),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
