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
	bool hold_unit;     /* a reset of the unit is held like any request */
	UCHAR refusal;      /* the status of one that fails; 0: SRB_STATUS_ERROR */
	uint64_t first;     /* when the first was asked for */
	uint64_t at_target; /* and when one of the target was */
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

	if (!reset.first && (srb->Function == RESET_UNIT || srb->Function == RESET_TARGET))
		reset.first = clock_now();
	if (!reset.at_target && srb->Function == RESET_TARGET)
		reset.at_target = clock_now();
	if ((srb->Function != RESET_UNIT || reset.hold_unit) && srb->Function != RESET_TARGET) {
		rig.held[rig.held_count++] = srb;
		return;
	}
	if (succeeds)
		give_back();
	if (succeeds)
		rig_complete(srb, SRB_STATUS_SUCCESS);
	else
		rig_complete(srb, reset.refusal ? reset.refusal : SRB_STATUS_ERROR);
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

static void a_unit_reset_that_is_refused_as_busy_leads_to_a_reset_of_the_target(void **state)
{
	(void)state;
	reset.target = true;
	reset.refusal = SRB_STATUS_BUSY;
	lose_one();
	expect_ladder((UCHAR[]){ RESET_UNIT, RESET_TARGET }, 2);
	assert_int_equal(rig_done(), 1);
	rig_only_findings(RULE_SRB_LOST, 1);
	/* Nor is it tried again later. */
	rig_sleep(5000000);
	assert_int_equal(rig.function_count, 2);
}

static bool finding_says(enum rule rule, const char *text)
{
	for (unsigned i = 0; verify_finding(i); i++) {
		if (verify_finding(i)->rule == rule && strstr(verify_finding(i)->text, text))
			return true;
	}
	return false;
}

static void a_unit_reset_that_is_lost_is_found_and_leads_to_a_reset_of_the_target(void **state)
{
	(void)state;
	reset.target = reset.hold_unit = true;
	lose_one();
	expect_ladder((UCHAR[]){ RESET_UNIT }, 1);
	assert_false(finding_says(RULE_SRB_LOST, "function 0x20"));
	rig_sleep(12000000);
	expect_ladder((UCHAR[]){ RESET_UNIT, RESET_TARGET }, 2);
	assert_in_range(reset.at_target - reset.first, 10000000, 11100000);
	assert_true(finding_says(RULE_SRB_LOST, "function 0x20"));
	assert_int_equal(rig_findings(RULE_RESET_OUTSTANDING), 0);
	assert_int_equal(rig_done(), 1);
	assert_int_equal(rig_requests[0].request.srb_status, SRB_STATUS_BUS_RESET);
	/* The queue goes on. */
	rig_submit(rig_request(1));
	assert_int_equal(rig.held_count, 1);
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

static void complete_first(void)
{
	SCSI_REQUEST_BLOCK *srb = rig.held[0];

	rig.held_count--;
	memmove(rig.held, rig.held + 1, rig.held_count * sizeof(srb));
	rig_complete(srb, SRB_STATUS_SUCCESS);
}

static void a_completion_reloads_the_countdown_with_the_time_out_of_the_oldest_that_is_out(void **state)
{
	static const uint32_t timeouts[] = { 10, 30, 60, 60 };

	(void)state;
	reset.unit = true;
	start_port();
	/* So many before that the slot of the oldest is neither the first nor the last there is. */
	for (unsigned n = 0; n < SLOTS - 3; n++) {
		rig_submit(rig_request(n));
		rig_in_dpc(complete_first);
	}
	for (unsigned n = 0; n < 4; n++) {
		struct rig_request *request = rig_request(n);

		request->request.timeout = timeouts[n];
		rig_submit(request);
	}
	rig_sleep(9000000);
	rig_in_dpc(complete_first);
	rig_sleep(29000000);
	assert_int_equal(rig.function_count, 0);
	rig_sleep(4000000);
	expect_ladder((UCHAR[]){ RESET_UNIT }, 1);
	assert_in_range(reset.first, 38900000, 40100000);
}

static void requests_that_start_do_not_put_off_the_time_out_of_one_that_is_lost(void **state)
{
	(void)state;
	reset.unit = true;
	start_port();
	for (unsigned n = 0; n < 4; n++) {
		rig_submit(rig_request(n));
		rig_sleep(3000000);
	}
	expect_ladder((UCHAR[]){ RESET_UNIT }, 1);
	assert_in_range(reset.first, 9900000, 11000000);
	assert_int_equal(rig_done(), 4);
	rig_only_findings(RULE_SRB_LOST, 1);
}

static BOOLEAN build_and_keep(SCSI_REQUEST_BLOCK *srb)
{
	if (srb->Function != SRB_FUNCTION_EXECUTE_SCSI)
		return TRUE;
	rig.held[rig.held_count++] = srb;
	return FALSE;
}

static void a_request_that_is_lost_in_build_io_is_found(void **state)
{
	(void)state;
	rig.build_io = build_and_keep;
	reset.unit = true;
	lose_one();
	expect_ladder((UCHAR[]){ RESET_UNIT }, 1);
	assert_int_equal(rig_done(), 1);
	rig_only_findings(RULE_SRB_LOST, 1);
}

static void lose(SCSI_REQUEST_BLOCK *srb)
{
	(void)srb;
}

static void a_miniport_that_loses_everything_even_resets_is_given_up(void **state)
{
	static const UCHAR ladders[] = { RESET_UNIT, RESET_TARGET, RESET_BUS,    RESET_UNIT, RESET_TARGET,
					 RESET_BUS,  RESET_UNIT,   RESET_TARGET, RESET_BUS };
	struct rig_request *late;

	(void)state;
	rig.start_io = lose;
	rig_port();
	for (unsigned n = 0; n < 3; n++)
		rig_submit(rig_request(n));
	/* Three countdowns, and two resets after each that do not come back, of 10 s. */
	rig_sleep(100000000);
	assert_int_equal(rig_done(), 3);
	for (unsigned n = 0; n < 3; n++)
		assert_int_equal(rig_requests[n].request.srb_status, SRB_STATUS_TIMEOUT);
	expect_ladder(ladders, sizeof(ladders));
	assert_true(rig_findings(RULE_SRB_LOST) > 0);
	assert_int_equal(rig_findings(RULE_RESET_OUTSTANDING), 3);
	/* What comes later fails at once, and the miniport is left in peace. */
	late = rig_request(3);
	rig_submit(late);
	assert_int_equal(late->done, 1);
	assert_int_equal(late->request.srb_status, SRB_STATUS_NO_DEVICE);
	rig_sleep(100000000);
	assert_int_equal(rig.function_count, sizeof(ladders));
	assert_int_equal(rig_done(), 4);
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
	assert_false(port_reset_bus(rig.port));
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

static uint8_t *uncached;

static void take_uncached(PORT_CONFIGURATION_INFORMATION *config)
{
	uncached = StorPortGetUncachedExtension(rig.extension, config, 10000);
}

static void an_adapter_that_is_freed_gives_its_uncached_memory_back(void **state)
{
	(void)state;
	rig.configure = take_uncached;
	rig_port();
	assert_non_null(uncached);
	assert_true(rig_writable(uncached + 9999));
	port_stop(rig.port);
	port_free(rig.port);
	assert_false(rig_readable(uncached));
	rig_no_findings();
}

static void hw_timer(void *extension)
{
	(void)extension;
}

static void set_all_timers(void)
{
	StorPortNotification(RequestTimerCall, rig.extension, hw_timer, 3000000);
	StorPortPause(rig.extension, 5);
	/* For the time until the next try. */
	rig_complete(rig.held[0], SRB_STATUS_BUSY);
}

static void no_timer_of_the_port_outlives_it(void **state)
{
	(void)state;
	rig_port();
	rig_submit(rig_request(0));
	rig_in_dpc(set_all_timers);
	port_stop(rig.port);
	port_free(rig.port);
	/* Freed memory is watched by the sanitizer. */
	rig_sleep(10000000);
	rig_no_findings();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ISOLATED(a_request_that_is_lost_leads_to_a_reset_of_the_unit),
		ISOLATED(a_request_that_the_device_keeps_is_not_the_drivers_fault),
		ISOLATED(a_unit_that_cannot_be_reset_leads_to_a_reset_of_the_target),
		ISOLATED(a_unit_reset_that_is_refused_as_busy_leads_to_a_reset_of_the_target),
		ISOLATED(a_unit_reset_that_is_lost_is_found_and_leads_to_a_reset_of_the_target),
		ISOLATED(a_target_that_cannot_be_reset_leads_to_a_reset_of_the_bus),
		ISOLATED(a_miniport_without_target_resets_is_asked_for_none),
		ISOLATED(requests_outstanding_after_a_reset_are_found),
		ISOLATED(requests_outstanding_after_a_bus_reset_are_found),
		ISOLATED(a_bus_reset_that_failed_promises_nothing),
		ISOLATED(requests_completed_in_time_lead_to_nothing),
		ISOLATED(a_completion_reloads_the_countdown_with_the_time_out_of_the_oldest_that_is_out),
		ISOLATED(requests_that_start_do_not_put_off_the_time_out_of_one_that_is_lost),
		ISOLATED(a_request_that_is_lost_in_build_io_is_found),
		ISOLATED(a_miniport_that_loses_everything_even_resets_is_given_up),
		ISOLATED(nothing_new_is_started_while_a_reset_is_under_way),
		ISOLATED(a_bus_reset_that_is_asked_for_reaches_the_miniport),
		ISOLATED(a_bus_reset_that_is_asked_for_is_judged_too),
		ISOLATED(a_stopped_adapter_left_nothing_behind),
		ISOLATED(an_adapter_that_is_freed_gives_its_uncached_memory_back),
		ISOLATED(no_timer_of_the_port_outlives_it),
	};

	return cmocka_run_group_tests_name("port/reset", tests, NULL, NULL);
}
