/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Judges interrupts, and what a reset leaves behind. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conform/prober.h"
#include "nt/phys.h"

#define SECTOR VIRTIO_BLK_SECTOR_SIZE
#define NOWHERE 0x7ff000000000ull /* bus address that no memory has */

static unsigned count(const unsigned *counter)
{
	return __atomic_load_n(counter, __ATOMIC_ACQUIRE);
}

static bool line(const struct prober *p)
{
	return __atomic_load_n(&p->line, __ATOMIC_ACQUIRE);
}

/* Waits for the line, or for a message of that vector. */
static bool comes(struct prober *p, const unsigned *messages)
{
	for (unsigned tries = 0; tries < PROBE_WAIT_MS; tries++) {
		if (messages ? count(messages) : line(p))
			return true;
		let_work(p, 1);
	}
	return false;
}

/* A FLUSH, and time for what it brings with it. */
static int flush(struct prober *p)
{
	int status = request(p, LAYOUT_INDIRECT, VIRTIO_BLK_T_FLUSH, 0, NULL, 0);

	let_work(p, PROBE_QUIET_MS);
	return status;
}

static uint8_t read_isr(struct prober *p)
{
	return (uint8_t)region_read(p, VIRTIO_PCI_CAP_ISR_CFG, 0, 1);
}

static void set_no_interrupt(struct prober *p, bool on)
{
	struct virtq_avail *avail = memory(p->ring + PROBE_PAGE);

	__atomic_store_n(&avail->flags, on ? VIRTQ_AVAIL_F_NO_INTERRUPT : 0, __ATOMIC_SEQ_CST);
}

static void judge_line(struct prober *p)
{
	uint8_t isr, again;
	unsigned before;

	if (!set_up(p))
		return;
	read_isr(p);
	if (flush(p) < 0)
		return;
	judge(p, CLAUSE_LINE_ASSERTED, comes(p, NULL), "INTA# stays as it was");
	isr = read_isr(p);
	judge(p, CLAUSE_LINE_ASSERTED, isr & VIRTIO_PCI_ISR_QUEUE, "ISR status reads 0x%02x", isr);
	judge(p, CLAUSE_ISR_RESERVED, !(isr & ~(VIRTIO_PCI_ISR_QUEUE | VIRTIO_PCI_ISR_CONFIG)), "it reads 0x%02x", isr);
	again = read_isr(p);
	judge(p, CLAUSE_LINE_CLEARED, !again && !line(p), "it reads 0x%02x again, and INTA# is %s", again,
	      line(p) ? "asserted" : "not asserted");
	set_no_interrupt(p, true);
	before = count(&p->line_rises);
	flush(p);
	judge(p, CLAUSE_INTERRUPT_SUPPRESSED, count(&p->line_rises) == before, "INTA# is asserted");
	set_no_interrupt(p, false);
	read_isr(p);
}

/* Ready with messages on, the vectors being these. */
static bool set_up_messages(struct prober *p, uint16_t config, uint16_t queue)
{
	if (!prepare(p))
		return false;
	enable_messages(p, config, queue);
	common_write(p, COMMON(queue_enable), 2, 1);
	common_write(p, COMMON(device_status), 1,
		     VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK |
			     VIRTIO_STATUS_DRIVER_OK);
	memset(p->messages, 0, sizeof(p->messages));
	p->stray_messages = p->line_rises = 0;
	return true;
}

static void judge_messages(struct prober *p)
{
	unsigned queue = p->msix_count > 1 ? 1 : 0;

	if (!set_up_messages(p, 0, (uint16_t)queue) || flush(p) < 0)
		return;
	judge(p, CLAUSE_MESSAGE_QUEUE, comes(p, &p->messages[queue]) && (!queue || !count(&p->messages[0])),
	      "of vector 0 there are %u messages, of vector %u there are %u", count(&p->messages[0]), queue,
	      count(&p->messages[queue]));
	if (!count(&p->messages[queue]))
		return;
	judge(p, CLAUSE_MESSAGE_QUEUE, !p->stray_messages, "there are %u messages of no vector", p->stray_messages);
	mask_vector(p, queue, true);
	memset(p->messages, 0, sizeof(p->messages));
	flush(p);
	judge(p, CLAUSE_MESSAGE_MASKED, !count(&p->messages[queue]), "a masked vector sends its message");
	mask_vector(p, queue, false);
	judge(p, CLAUSE_MESSAGE_MASKED, comes(p, &p->messages[queue]), "nothing is sent when it is unmasked");
	set_no_interrupt(p, true);
	memset(p->messages, 0, sizeof(p->messages));
	flush(p);
	judge(p, CLAUSE_INTERRUPT_SUPPRESSED, !count(&p->messages[queue]), "a message is sent");
	set_no_interrupt(p, false);
	judge(p, CLAUSE_MESSAGE_ALONE, !count(&p->line_rises), "INTA# was asserted %u times", count(&p->line_rises));
	if (!set_up_messages(p, VIRTIO_MSI_NO_VECTOR, VIRTIO_MSI_NO_VECTOR) || flush(p) < 0)
		return;
	judge(p, CLAUSE_MESSAGE_NONE, !count(&p->messages[0]) && !count(&p->messages[queue]) && !p->stray_messages,
	      "a message is sent");
	judge(p, CLAUSE_MESSAGE_ALONE, !count(&p->line_rises), "INTA# is asserted where there is no vector");
}

void judge_interrupts(struct prober *p)
{
	judge_line(p);
	if (!p->msix || p->verdicts[CLAUSE_VECTOR_KEPT].state == CLAUSE_BROKEN)
		return;
	judge_messages(p);
	reset(p);
	disable_messages(p);
}

/* ---- resets ---- */

static void judge_cleared(struct prober *p)
{
	uint32_t vectors[2];

	if (!set_up(p) || flush(p) < 0 || !reset(p))
		return;
	common_write(p, COMMON(driver_feature_select), 4, 0);
	vectors[0] = common_read(p, COMMON(config_msix_vector), 2);
	common_write(p, COMMON(queue_select), 2, 0);
	vectors[1] = common_read(p, COMMON(queue_msix_vector), 2);
	judge(p, CLAUSE_RESET_CLEARS, !common_read(p, COMMON(driver_feature), 4), "driver_feature reads 0x%x",
	      common_read(p, COMMON(driver_feature), 4));
	judge(p, CLAUSE_RESET_CLEARS, vectors[0] == VIRTIO_MSI_NO_VECTOR && vectors[1] == VIRTIO_MSI_NO_VECTOR,
	      "the vectors read 0x%x and 0x%x", vectors[0], vectors[1]);
	if (p->verdicts[CLAUSE_QUEUE_ENABLE].state == CLAUSE_HOLDS)
		judge(p, CLAUSE_RESET_CLEARS, !common_read(p, COMMON(queue_enable), 2), "queue_enable is 1");
	judge(p, CLAUSE_RESET_CLEARS, !line(p), "INTA# is asserted");
	judge(p, CLAUSE_RESET_CLEARS, !read_isr(p), "ISR status is not 0");
}

/* Every byte that a device could still write to must stay. */
static void judge_in_flight(struct prober *p)
{
	size_t bytes = (size_t)2 * PROBE_SEGMENTS * PROBE_PAGE;
	uint8_t *before = malloc(bytes + 3 * PROBE_PAGE);
	struct segment segment = { p->data, 64 * SECTOR, true };
	unsigned interrupts;
	bool done;

	if (!before || !set_up(p)) {
		free(before);
		return;
	}
	for (unsigned i = 0; i < p->size / 4u; i++) {
		build(p, LAYOUT_CHAINED, (uint16_t)(4 * i), VIRTIO_BLK_T_IN, 0, &segment, 1);
		offer(p, (uint16_t)(4 * i));
	}
	ring_doorbell(p, 2);
	done = reset(p);
	judge(p, CLAUSE_RESET_IN_FLIGHT, done, "device_status reads 0x%02x for two seconds",
	      common_read(p, COMMON(device_status), 1));
	interrupts = count(&p->line_rises);
	memset(memory(p->data), 0x5a, bytes);
	memcpy(before, memory(p->data), bytes);
	memcpy(before + bytes, memory(p->ring), 3 * PROBE_PAGE);
	let_work(p, PROBE_QUIET_MS);
	judge(p, CLAUSE_RESET_IN_FLIGHT,
	      !done || (!memcmp(before, memory(p->data), bytes) &&
			!memcmp(before + bytes, memory(p->ring), 3 * PROBE_PAGE)),
	      "memory was written after the reset");
	judge(p, CLAUSE_RESET_IN_FLIGHT, !done || count(&p->line_rises) == interrupts,
	      "INTA# is asserted after the reset");
	free(before);
}

/* What no driver should do. The device may do what it likes but hang, or touch what it was not given. */
static void judge_broken(struct prober *p)
{
	struct segment nowhere = { NOWHERE, SECTOR, true };
	struct virtq_desc *ring = memory(p->ring);

	if (!set_up(p))
		return;
	build(p, LAYOUT_CHAINED, 0, VIRTIO_BLK_T_IN, 0, &nowhere, 1);
	offer(p, 0);
	ring_doorbell(p, 2);
	let_work(p, PROBE_QUIET_MS);
	judge(p, CLAUSE_RING_BROKEN, reset(p), "after a descriptor of no memory device_status does not read 0");
	if (!set_up(p)) {
		judge(p, CLAUSE_RING_BROKEN, false, "after a descriptor of no memory the device cannot be set up");
		return;
	}
	build(p, LAYOUT_CHAINED, 0, VIRTIO_BLK_T_IN, 0, NULL, 0);
	ring[1] = (struct virtq_desc){ p->data, SECTOR, VIRTQ_DESC_F_WRITE | VIRTQ_DESC_F_NEXT, 1 };
	offer(p, 0);
	ring_doorbell(p, 2);
	let_work(p, PROBE_QUIET_MS);
	judge(p, CLAUSE_RING_BROKEN, reset(p), "after a chain that loops device_status does not read 0");
}

void judge_resets(struct prober *p)
{
	unsigned strays;

	judge_cleared(p);
	judge_in_flight(p);
	if (set_up(p)) {
		int status = flush(p);

		judge(p, CLAUSE_RESET_AGAIN, status >= 0, "a FLUSH is not returned");
		if (p->verdicts[CLAUSE_LINE_ASSERTED].state == CLAUSE_HOLDS)
			judge(p, CLAUSE_RESET_AGAIN, comes(p, NULL), "a FLUSH is returned, and INTA# is not asserted");
		read_isr(p);
	} else if (p->verdicts[CLAUSE_RESET_ZERO].state == CLAUSE_HOLDS) {
		judge(p, CLAUSE_RESET_AGAIN, false, "it cannot be set up");
	}
	strays = count(&p->strays);
	judge(p, CLAUSE_RING_MEMORY, !strays, "%s", p->stray);
	judge_broken(p);
	reset(p);
}
