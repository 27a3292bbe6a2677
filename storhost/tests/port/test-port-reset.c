/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Claims about time-outs and the resets that follow: unit, target, bus, and what must be true afterwards. */
#include "port_rig.h"

#include <string.h>

#define RESET_UNIT SRB_FUNCTION_RESET_LOGICAL_UNIT
#define RESET_TARGET SRB_FUNCTION_RESET_DEVICE
#define RESET_BUS 0xff

/* What the miniport does with a reset: whether it succeeds, and whether it gives back what it holds. */
static struct {
	bool unit, target, bus;
	bool keep;
	uint64_t first; /* when the first was asked for */
	unsigned held_then;
} reset;

static void give_back(void)
{
	unsigned count = rig.held_count;

	reset.held_then = count;
	if (reset.keep)
		return;
	rig.held_count = 0;
	for (unsigned i = 0; i < count; i++)
		rig_complete(rig.held[i], SRB_STATUS_BUS_RESET);
}

static void start_or_reset(SCSI_REQUEST_BLOCK *srb)
{
	bool succeeds = srb->Function == RESET_UNIT ? reset.unit : reset.target;

	if (srb->Function != RESET_UNIT && srb->Function != RESET_TARGET) {
		rig.held[rig.held_count++] = srb;
		return;
	}
	if (!reset.first)
		reset.first = clock_now();
	if (succeeds)
		give_back();
	rig_complete(srb, succeeds ? SRB_STATUS_SUCCESS : SRB_STATUS_ERROR);
}

static BOOLEAN reset_bus(void)
{
	if (reset.bus)
		give_back();
	return reset.bus;
}

static void no_target_reset(PORT_CONFIGURATION_INFORMATION *config)
{
	config->ResetTargetSupported = FALSE;
}

static void start_port(void)
{
	rig.start_io = start_or_reset;
	rig.reset_bus = reset_bus;
	rig_port();
}

static unsigned events_129(void)
{
	unsigned count = 0;

	for (unsigned n = 0; port_event(rig.port, n); n++)
		count += strstr(port_event(rig.port, n), "129") != NULL;
	return count;
}

static void expect_ladder(const UCHAR *functions, unsigned count)
{
	assert_int_equal(rig.function_count, count);
	assert_memory_equal(rig.functions, functions, count);
}

/* Request 0, which the miniport never completes by itself, and the time that its time-out takes. */
static void lose_one(void)
{
	start_port();
	rig_submit(rig_request(0));
	rig_sleep(9000000);
	assert_int_equal(rig.function_count, 0);
	rig_sleep(4000000);
	assert_int_equal(events_129(), 1);
	assert_int_equal(port_stats(rig.port).timeouts, 1);
}

static void a_request_that_is_lost_leads_to_a_reset_of_the_unit(void **state)
{
	(void)state;
	reset.unit = true;
	lose_one();
	expect_ladder((UCHAR[]){ RESET_UNIT }, 1);
	assert_in_range(reset.first, 9900000, 11000000);
	assert_int_equal(rig_requests[0].done, 1);
	assert_int_equal(rig_requests[0].request.srb_status, SRB_STATUS_BUS_RESET);
	assert_int_equal(port_stats(rig.port).resets, 0);
	rig_only_findings(RULE_SRB_LOST, 1);
	/* The queue goes on. */
	rig_submit(rig_request(1));
	assert_int_equal(rig.held_count, 1);
}

static void a_request_that_the_device_keeps_is_not_the_drivers_fault(void **state)
{
	(void)state;
	rig.device_owes = true;
	reset.unit = true;
	lose_one();
	expect_ladder((UCHAR[]){ RESET_UNIT }, 1);
	rig_no_findings();
}

static void a_unit_that_cannot_be_reset_leads_to_a_reset_of_the_target(void **state)
{
	(void)state;
	reset.target = true;
	lose_one();
	expect_ladder((UCHAR[]){ RESET_UNIT, RESET_TARGET }, 2);
	assert_int_equal(rig_done(), 1);
	rig_only_findings(RULE_SRB_LOST, 1);
}

static void a_target_that_cannot_be_reset_leads_to_a_reset_of_the_bus(void **state)
{
	(void)state;
	reset.bus = true;
	lose_one();
	expect_ladder((UCHAR[]){ RESET_UNIT, RESET_TARGET, RESET_BUS }, 3);
	assert_int_equal(rig_done(), 1);
	assert_int_equal(port_stats(rig.port).resets, 1);
	rig_only_findings(RULE_SRB_LOST, 1);
}

static void a_miniport_without_target_resets_is_asked_for_none(void **state)
{
	(void)state;
	rig.configure = no_target_reset;
	reset.bus = true;
	lose_one();
	expect_ladder((UCHAR[]){ RESET_UNIT, RESET_BUS }, 2);
	assert_int_equal(rig_done(), 1);
}

static void requests_outstanding_after_a_reset_are_found(void **state)
{
	(void)state;
	reset.unit = reset.keep = true;
	lose_one();
	assert_int_equal(rig_findings(RULE_RESET_OUTSTANDING), 1);
	assert_int_equal(rig_findings(RULE_SRB_LOST), 1);
	assert_int_equal(rig_done(), 0);
}

static void requests_outstanding_after_a_bus_reset_are_found(void **state)
{
	(void)state;
	reset.bus = reset.keep = true;
	lose_one();
	assert_int_equal(rig_findings(RULE_RESET_OUTSTANDING), 1);
}

static void a_bus_reset_that_failed_promises_nothing(void **state)
{
	(void)state;
	lose_one();
	expect_ladder((UCHAR[]){ RESET_UNIT, RESET_TARGET, RESET_BUS }, 3);
	rig_only_findings(RULE_SRB_LOST, 1);
}

static void requests_completed_in_time_lead_to_nothing(void **state)
{
	(void)state;
	start_port();
	for (unsigned n = 0; n < 5; n++) {
		rig_submit(rig_request(n));
		rig_sleep(8000000);
		rig_in_dpc(rig_complete_all);
	}
	rig_sleep(60000000);
	assert_int_equal(rig_done(), 5);
	assert_int_equal(rig.function_count, 0);
	assert_int_equal(events_129(), 0);
	rig_no_findings();
}

static void start_slow_reset(SCSI_REQUEST_BLOCK *srb)
{
	/* The reset, too, is held for a while. */
	rig.held[rig.held_count++] = srb;
}

static void nothing_new_is_started_while_a_reset_is_under_way(void **state)
{
	(void)state;
	rig.start_io = start_slow_reset;
	rig_port();
	rig_submit(rig_request(0));
	rig_sleep(11500000);
	assert_int_equal(rig.started, 2);
	assert_int_equal(rig.functions[0], RESET_UNIT);
	rig_submit(rig_request(1));
	assert_int_equal(rig.started, 2);
	/* Both are given back, the reset last. */
	rig_in_dpc(rig_complete_all);
	assert_int_equal(rig.started, 3);
	assert_int_equal(rig_done(), 1);
	rig_only_findings(RULE_SRB_LOST, 1);
}

static void a_bus_reset_that_is_asked_for_reaches_the_miniport(void **state)
{
	(void)state;
	reset.bus = true;
	start_port();
	rig_submit(rig_request(0));
	assert_true(port_reset_bus(rig.port));
	rig_settle();
	expect_ladder((UCHAR[]){ RESET_BUS }, 1);
	assert_int_equal(rig_requests[0].request.srb_status, SRB_STATUS_BUS_RESET);
	assert_int_equal(port_stats(rig.port).resets, 1);
	assert_int_equal(port_stats(rig.port).timeouts, 0);
	reset.bus = false;
	assert_false(port_reset_bus(rig.port));
	rig_no_findings();
}

static void a_bus_reset_that_is_asked_for_is_judged_too(void **state)
{
	(void)state;
	reset.bus = reset.keep = true;
	start_port();
	rig_submit(rig_request(0));
	assert_true(port_reset_bus(rig.port));
	rig_only_findings(RULE_RESET_OUTSTANDING, 1);
}

static void a_stopped_adapter_left_nothing_behind(void **state)
{
	(void)state;
	rig.start_io = rig_start_and_succeed;
	rig_port();
	for (unsigned n = 0; n < 50; n++)
		rig_submit(rig_data_request(n, DIRECTION_OUT, 4096));
	port_stop(rig.port);
	assert_int_equal(rig.functions[0], SRB_FUNCTION_PNP);
	port_free(rig.port);
	rig_no_findings();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ISOLATED(a_request_that_is_lost_leads_to_a_reset_of_the_unit),
		ISOLATED(a_request_that_the_device_keeps_is_not_the_drivers_fault),
		ISOLATED(a_unit_that_cannot_be_reset_leads_to_a_reset_of_the_target),
		ISOLATED(a_target_that_cannot_be_reset_leads_to_a_reset_of_the_bus),
		ISOLATED(a_miniport_without_target_resets_is_asked_for_none),
		ISOLATED(requests_outstanding_after_a_reset_are_found),
		ISOLATED(requests_outstanding_after_a_bus_reset_are_found),
		ISOLATED(a_bus_reset_that_failed_promises_nothing),
		ISOLATED(requests_completed_in_time_lead_to_nothing),
		ISOLATED(nothing_new_is_started_while_a_reset_is_under_way),
		ISOLATED(a_bus_reset_that_is_asked_for_reaches_the_miniport),
		ISOLATED(a_bus_reset_that_is_asked_for_is_judged_too),
		ISOLATED(a_stopped_adapter_left_nothing_behind),
	};

	return cmocka_run_group_tests_name("port/reset", tests, NULL, NULL);
}
