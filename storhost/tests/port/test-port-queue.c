/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Claims about the logical unit's queue: depth, busy, pause, retries, and where completions run. */
#include "port_rig.h"

#include <string.h>

static void submit(unsigned from, unsigned count)
{
	for (unsigned n = from; n < from + count; n++)
		port_submit(rig.port, &rig_request(n)->request);
	rig_settle();
}

static void complete_one(void)
{
	SCSI_REQUEST_BLOCK *srb = rig.held[0];

	rig.held_count--;
	memmove(rig.held, rig.held + 1, rig.held_count * sizeof(srb));
	rig_complete(srb, SRB_STATUS_SUCCESS);
}

static void start_at_passive(void *opaque)
{
	struct frame frame;

	/* Any callback will do that may call what the test calls. */
	callback_enter(&frame, CB_TIMER);
	((void (*)(void))(uintptr_t)opaque)();
	callback_leave(&frame);
}

/* Runs fn in a callback that needs no interrupt. */
static void in_callback(void (*fn)(void))
{
	rig_on(0, start_at_passive, (void *)(uintptr_t)fn);
	rig_settle();
}

/* ---- depth ---- */

static ULONG depth;
static BOOLEAN answer;

static void set_depth(void)
{
	answer = StorPortSetDeviceQueueDepth(rig.extension, 0, 0, 0, depth);
}

static void a_unit_has_20_requests_outstanding_until_its_depth_is_set(void **state)
{
	(void)state;
	rig_port();
	submit(0, 30);
	assert_int_equal(rig.started, 20);
	rig_in_dpc(complete_one);
	assert_int_equal(rig.started, 21);
	assert_int_equal(rig_done(), 1);
	rig_no_findings();
}

static void no_more_requests_are_outstanding_than_the_depth_that_is_set(void **state)
{
	static const ULONG depths[] = { 1, 7, 254 };

	(void)state;
	rig_port();
	for (unsigned i = 0; i < 3; i++) {
		depth = depths[i];
		in_callback(set_depth);
		assert_true(answer);
		assert_int_equal(port_limits(rig.port)->queue_depth, depth);
		rig.started = 0;
		submit(0, 260);
		assert_int_equal(rig.started, depth);
		while (rig.held_count)
			rig_in_dpc(rig_complete_all);
		assert_int_equal(rig_done(), 260);
	}
	rig_no_findings();
}

static void a_request_that_no_scatter_list_can_describe_is_refused(void **state)
{
	static uint8_t data[2u << 20];
	struct rig_request *slot;
	struct port_request *request;

	(void)state;
	rig_port();
	slot = rig_request(0);
	request = &slot->request;
	request->direction = DIRECTION_OUT;
	request->data = data;
	request->length = sizeof(data);
	rig_submit(slot);
	assert_int_equal(rig.started, 0);
	assert_int_equal(rig_done(), 1);
	assert_int_equal(request->srb_status, SRB_STATUS_INVALID_REQUEST);
	rig_no_findings();
}

static void depths_that_are_none_are_found_and_refused(void **state)
{
	(void)state;
	rig_port();
	for (unsigned i = 0; i < 2; i++) {
		depth = i ? 255 : 0;
		in_callback(set_depth);
		assert_false(answer);
		rig_only_findings(RULE_QUEUE_DEPTH, i + 1);
	}
	assert_int_equal(port_limits(rig.port)->queue_depth, DEFAULT_DEPTH);
}

static UCHAR order[64];
static unsigned ordered;

static void start_and_note(SCSI_REQUEST_BLOCK *srb)
{
	order[ordered++] = srb->Cdb[5];
	rig.held[rig.held_count++] = srb;
}

static void requests_start_in_the_order_in_which_they_were_submitted(void **state)
{
	(void)state;
	rig.start_io = start_and_note;
	rig_port();
	for (unsigned n = 0; n < 50; n++) {
		struct rig_request *request = rig_request(n);

		request->request.cdb[5] = (uint8_t)n;
		port_submit(rig.port, &request->request);
	}
	rig_settle();
	while (rig.held_count)
		rig_in_dpc(complete_one);
	assert_int_equal(ordered, 50);
	for (unsigned n = 0; n < 50; n++)
		assert_int_equal(order[n], n);
}

/* ---- busy ---- */

static ULONG busy_for;

static void be_busy(void)
{
	answer = StorPortBusy(rig.extension, busy_for);
}

static void be_device_busy(void)
{
	answer = StorPortDeviceBusy(rig.extension, 0, 0, 0, busy_for);
}

static void be_ready(void)
{
	answer = StorPortReady(rig.extension);
}

static void busy_holds_for(void (*busy)(void), ULONG completions, unsigned expected)
{
	submit(0, 5);
	busy_for = completions;
	in_callback(busy);
	assert_true(answer);
	submit(5, 3);
	for (unsigned i = 0; i < expected; i++) {
		assert_int_equal(rig.started, 5);
		rig_in_dpc(complete_one);
	}
	assert_int_equal(rig.started, 8);
	rig_no_findings();
}

static void busy_holds_requests_until_that_many_are_completed(void **state)
{
	(void)state;
	rig_port();
	busy_holds_for(be_busy, 2, 2);
}

static void device_busy_holds_requests_until_that_many_are_completed(void **state)
{
	(void)state;
	rig_port();
	busy_holds_for(be_device_busy, 3, 3);
}

static void busy_for_more_than_are_outstanding_waits_for_all_of_them(void **state)
{
	(void)state;
	rig_port();
	busy_holds_for(be_busy, 100, 5);
}

static void ready_ends_busy(void **state)
{
	(void)state;
	rig_port();
	submit(0, 3);
	busy_for = 3;
	in_callback(be_busy);
	submit(3, 2);
	assert_int_equal(rig.started, 3);
	in_callback(be_ready);
	assert_int_equal(rig.started, 5);
}

static void busy_with_nothing_outstanding_holds_nothing(void **state)
{
	(void)state;
	rig_port();
	busy_for = 4;
	in_callback(be_busy);
	submit(0, 1);
	assert_int_equal(rig.started, 1);
}

/* ---- refused as BUSY ---- */

#define LENGTH 9000u

static struct {
	SCSI_REQUEST_BLOCK as_sent[8];
	uint64_t at[8];
	unsigned count, refusals;
	bool spoiled; /* something of the first try was left in a later one */
	bool announce;
} attempts;

static void start_and_refuse(SCSI_REQUEST_BLOCK *srb)
{
	const STOR_SCATTER_GATHER_LIST *list = StorPortGetScatterGatherList(rig.extension, srb);
	uint8_t *extension = srb->SrbExtension;
	unsigned at = attempts.count++;

	attempts.as_sent[at] = *srb;
	attempts.at[at] = clock_now();
	for (unsigned i = 0; i < 16; i++)
		attempts.spoiled |= extension[i] != 0xcc;
	for (uint32_t e = 0, i = 0; list && e < list->NumberOfElements; e++) {
		uint64_t address = (uint64_t)list->List[e].PhysicalAddress.QuadPart;

		for (uint32_t k = 0; k < list->List[e].Length; k++, i++)
			attempts.spoiled |= *(uint8_t *)phys_host(address + k) != rig_pattern(0, i);
	}
	memset(extension, 0, 16);
	if (at >= attempts.refusals) {
		rig_complete(srb, SRB_STATUS_SUCCESS);
		return;
	}
	srb->ScsiStatus = SCSISTAT_BUSY;
	if (attempts.announce)
		StorPortBusy(rig.extension, 1);
	rig_complete(srb, SRB_STATUS_BUSY);
}

static void a_request_refused_as_busy_is_built_anew_and_tried_after_a_pause(void **state)
{
	struct rig_request *request;

	(void)state;
	rig.start_io = start_and_refuse;
	attempts.refusals = 3;
	rig_port();
	request = rig_data_request(0, DIRECTION_OUT, LENGTH);
	rig_submit(request);
	assert_int_equal(attempts.count, 1);
	rig_sleep(2000000);
	assert_int_equal(attempts.count, 4);
	assert_int_equal(rig.built, 4);
	assert_int_equal(request->done, 1);
	assert_int_equal(request->request.srb_status, SRB_STATUS_SUCCESS);
	assert_int_equal(request->request.scsi_status, 0);
	assert_int_equal(request->request.transferred, LENGTH);
	assert_int_equal(request->request.retries, 3);
	assert_int_equal(port_stats(rig.port).busy, 3);
	assert_false(attempts.spoiled);
	for (unsigned i = 1; i < 4; i++) {
		assert_in_range(attempts.at[i] - attempts.at[i - 1], 250000, 260000);
		assert_int_equal(attempts.as_sent[i].SrbStatus, 0);
		assert_int_equal(attempts.as_sent[i].ScsiStatus, 0);
		assert_int_equal(attempts.as_sent[i].DataTransferLength, LENGTH);
		assert_int_equal(attempts.as_sent[i].SrbFlags, attempts.as_sent[0].SrbFlags);
		assert_memory_equal(attempts.as_sent[i].Cdb, attempts.as_sent[0].Cdb, 16);
	}
	rig_no_findings();
}

static bool hold_back;

static void hold_then_refuse(SCSI_REQUEST_BLOCK *srb)
{
	if (hold_back)
		start_and_refuse(srb);
	else
		rig.held[rig.held_count++] = srb;
}

static void a_refusal_that_was_announced_waits_for_completions_and_for_no_clock(void **state)
{
	uint64_t before;

	(void)state;
	rig.start_io = hold_then_refuse;
	attempts.refusals = 1;
	attempts.announce = true;
	rig_port();
	submit(1, 3);
	hold_back = true;
	rig_submit(rig_data_request(0, DIRECTION_OUT, 512));
	submit(4, 1);
	assert_int_equal(attempts.count, 1);
	before = clock_now();
	rig_in_dpc(complete_one);
	assert_int_equal(attempts.count, 3);
	assert_int_equal(attempts.as_sent[1].DataTransferLength, 512);
	assert_in_range(clock_now() - before, 0, 10000);
	rig_no_findings();
}

/* ---- pause ---- */

static ULONG pause_for;

static void pause_adapter(void)
{
	answer = StorPortPause(rig.extension, pause_for);
}

static void resume_adapter(void)
{
	answer = StorPortResume(rig.extension);
}

static void pause_unit(void)
{
	answer = StorPortPauseDevice(rig.extension, 0, 0, 0, pause_for);
}

static void resume_unit(void)
{
	answer = StorPortResumeDevice(rig.extension, 0, 0, 0);
}

static void pause_holds_until(void (*pause)(void), void (*resume)(void))
{
	pause_for = 60;
	in_callback(pause);
	assert_true(answer);
	submit(0, 3);
	rig_sleep(30000000);
	assert_int_equal(rig.started, 0);
	in_callback(resume);
	assert_true(answer);
	assert_int_equal(rig.started, 3);
	rig_in_dpc(rig_complete_all);
	/* The pause's own end does no harm afterwards. */
	rig_sleep(60000000);
	submit(3, 1);
	assert_int_equal(rig.started, 4);
	rig_in_dpc(rig_complete_all);
	rig_no_findings();
}

static void a_pause_holds_requests_until_it_is_resumed(void **state)
{
	(void)state;
	rig_port();
	pause_holds_until(pause_adapter, resume_adapter);
}

static void a_pause_of_the_unit_holds_requests_until_it_is_resumed(void **state)
{
	(void)state;
	rig_port();
	pause_holds_until(pause_unit, resume_unit);
}

static void a_pause_ends_by_itself_after_its_seconds(void **state)
{
	(void)state;
	rig_port();
	pause_for = 5;
	in_callback(pause_adapter);
	submit(0, 3);
	rig_sleep(4900000);
	assert_int_equal(rig.started, 0);
	rig_sleep(200000);
	assert_int_equal(rig.started, 3);
	rig_no_findings();
}

static void two_pauses_end_by_themselves(void **state)
{
	(void)state;
	rig_port();
	pause_for = 5;
	in_callback(pause_adapter);
	in_callback(pause_unit);
	submit(0, 3);
	rig_sleep(4900000);
	assert_int_equal(rig.started, 0);
	rig_sleep(200000);
	assert_int_equal(rig.started, 3);
	rig_in_dpc(rig_complete_all);
	assert_int_equal(rig_done(), 3);
	rig_no_findings();
}

static void a_pause_leaves_outstanding_requests_alone(void **state)
{
	(void)state;
	rig_port();
	submit(0, 2);
	pause_for = 60;
	in_callback(pause_adapter);
	submit(2, 2);
	rig_in_dpc(rig_complete_all);
	assert_int_equal(rig_done(), 2);
	assert_int_equal(rig.started, 2);
}

static bool hold_first;

static void hold_the_first(SCSI_REQUEST_BLOCK *srb)
{
	order[ordered++] = srb->Cdb[0];
	if (hold_first)
		rig.held[rig.held_count++] = srb;
	else
		rig_complete(srb, SRB_STATUS_SUCCESS);
	hold_first = false;
}

static void refuse_held(void)
{
	rig_complete(rig.held[0], SRB_STATUS_BUSY);
}

static void a_refused_request_stays_before_those_that_came_later(void **state)
{
	static const UCHAR expected[] = { 1, 1, 2, 3, 4 };

	(void)state;
	rig.start_io = hold_the_first;
	rig_port();
	/* The first is refused while the others wait behind it. */
	depth = 1;
	in_callback(set_depth);
	hold_first = true;
	for (unsigned n = 0; n < 4; n++) {
		struct rig_request *request = rig_request(n);

		request->request.cdb[0] = (uint8_t)(n + 1);
		rig_submit(request);
	}
	assert_int_equal(ordered, 1);
	rig_in_dpc(refuse_held);
	assert_int_equal(ordered, 1);
	rig_sleep(1000000);
	assert_int_equal(rig_done(), 4);
	assert_memory_equal(order, expected, sizeof(expected));
}

static void recovery_and_adapter_requests_pass_a_queue_that_is_held(void **state)
{
	static const uint8_t functions[] = { SRB_FUNCTION_RESET_LOGICAL_UNIT, SRB_FUNCTION_RESET_DEVICE,
					     SRB_FUNCTION_RESET_BUS, SRB_FUNCTION_POWER, SRB_FUNCTION_PNP };

	(void)state;
	rig.start_io = rig_start_and_succeed;
	rig_port();
	pause_for = 60;
	in_callback(pause_adapter);
	submit(0, 1);
	for (unsigned i = 0; i < sizeof(functions); i++) {
		struct rig_request *request = rig_request(1 + i);

		request->request.function = functions[i];
		rig_submit(request);
		assert_int_equal(request->done, 1);
		assert_int_equal(request->request.srb_status, SRB_STATUS_SUCCESS);
		assert_int_equal(rig.functions[i], functions[i]);
	}
	assert_int_equal(rig.started, sizeof(functions));
	rig_no_findings();
}

static void start_and_be_busy(SCSI_REQUEST_BLOCK *srb)
{
	rig_complete(srb, SRB_STATUS_BUSY);
}

static void a_busy_for_a_request_that_passes_the_queue_goes_to_its_caller(void **state)
{
	static const uint8_t functions[] = { SRB_FUNCTION_RESET_LOGICAL_UNIT, SRB_FUNCTION_RESET_DEVICE,
					     SRB_FUNCTION_RESET_BUS, SRB_FUNCTION_POWER };

	(void)state;
	rig.start_io = start_and_be_busy;
	rig_port();
	for (unsigned i = 0; i < sizeof(functions); i++) {
		struct rig_request *request = rig_request(i);

		request->request.function = functions[i];
		rig_submit(request);
		assert_int_equal(request->done, 1);
		assert_int_equal(request->request.srb_status, SRB_STATUS_BUSY);
		assert_int_equal(request->request.retries, 0);
	}
	rig_sleep(1000000);
	assert_int_equal(rig.started, sizeof(functions));
	assert_int_equal(rig_done(), sizeof(functions));
	rig_no_findings();
}

/* ---- where completions run ---- */

static unsigned done_in_interrupt;

static void complete_in_interrupt(void)
{
	rig_complete_all();
	done_in_interrupt = rig_done();
}

static void a_completion_at_device_irql_is_finished_at_dispatch_level_later(void **state)
{
	(void)state;
	rig_port();
	submit(0, 5);
	rig_in_interrupt(complete_in_interrupt);
	assert_int_equal(done_in_interrupt, 0);
	assert_int_equal(rig_done(), 5);
	for (unsigned n = 0; n < 5; n++) {
		assert_int_equal(rig_requests[n].irql, IRQL_DISPATCH);
		assert_int_equal(rig_requests[n].callback, CB_NONE);
	}
	rig_no_findings();
}

static unsigned nesting, deepest;

static void start_nested(SCSI_REQUEST_BLOCK *srb)
{
	if (++nesting > deepest)
		deepest = nesting;
	rig_complete(srb, SRB_STATUS_SUCCESS);
	nesting--;
}

static void completions_inside_start_io_do_not_nest(void **state)
{
	(void)state;
	rig.start_io = start_nested;
	rig_port();
	pause_for = 60;
	in_callback(pause_adapter);
	submit(0, RIG_REQUESTS);
	in_callback(resume_adapter);
	assert_int_equal(rig_done(), RIG_REQUESTS);
	assert_int_equal(deepest, 1);
	rig_no_findings();
}

/* ---- many at once ---- */

struct storm {
	uint64_t seed;
	bool threads;
	uint64_t steps, clock;
	unsigned done, findings, retried;
};

static void start_at_random(SCSI_REQUEST_BLOCK *srb)
{
	switch (cpu_random() % 8) {
	case 0:
		/* A pause follows, which takes real time with threads. */
		rig_complete(srb, rig.threads ? SRB_STATUS_SUCCESS : SRB_STATUS_BUSY);
		break;
	case 1:
		StorPortBusy(rig.extension, 2);
		rig_complete(srb, SRB_STATUS_BUSY);
		break;
	case 2:
		StorPortPause(rig.extension, 1);
		rig_complete(srb, SRB_STATUS_SUCCESS);
		StorPortResume(rig.extension);
		break;
	default:
		rig_complete(srb, SRB_STATUS_SUCCESS);
	}
}

static unsigned left;
static struct gate storm_over;

static void storm_done(struct port_request *request)
{
	(void)request;
	if (!__atomic_sub_fetch(&left, 1, __ATOMIC_ACQ_REL))
		gate_open(&storm_over);
}

static void storm_run(void *opaque)
{
	struct storm *storm = opaque;

	rig.seed = storm->seed;
	rig.threads = storm->threads;
	rig.cpus = 4;
	rig.start_io = start_at_random;
	rig_port();
	left = 400;
	for (unsigned n = 0; n < 400; n++) {
		struct rig_request *request = rig_data_request(n, n & 1 ? DIRECTION_IN : DIRECTION_OUT, 512 * (n % 40));

		request->request.cpu = n;
		request->request.done = storm_done;
		port_submit(rig.port, &request->request);
	}
	if (!cpu_wait(&storm_over))
		fail_msg("the machine died: %s", cpu_death());
	cpus_stop();
	storm->done = 400 - left;
	storm->findings = verify_findings();
	storm->retried = (unsigned)port_stats(rig.port).busy;
	storm->steps = cpu_steps();
	storm->clock = clock_now();
}

static void every_request_of_four_processors_comes_back_once(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 8; seed++) {
		struct storm *storm = rig_shared(sizeof(*storm));

		storm->seed = seed;
		rig_fork(storm_run, storm);
		assert_int_equal(storm->done, 400);
		assert_int_equal(storm->findings, 0);
		assert_true(storm->retried > 0);
	}
}

static void every_request_comes_back_once_with_threads(void **state)
{
	struct storm *storm;

	(void)state;
	storm = rig_shared(sizeof(*storm));
	storm->threads = true;
	storm->seed = 1;
	rig_fork(storm_run, storm);
	assert_int_equal(storm->done, 400);
	assert_int_equal(storm->findings, 0);
}

static void the_same_seed_gives_the_same_run(void **state)
{
	struct storm *a, *b;

	(void)state;
	a = rig_shared(sizeof(*a));
	b = rig_shared(sizeof(*b));
	a->seed = b->seed = 7;
	rig_fork(storm_run, a);
	rig_fork(storm_run, b);
	assert_int_equal(a->steps, b->steps);
	assert_int_equal(a->clock, b->clock);
	assert_int_equal(a->retried, b->retried);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ISOLATED(a_unit_has_20_requests_outstanding_until_its_depth_is_set),
		ISOLATED(no_more_requests_are_outstanding_than_the_depth_that_is_set),
		ISOLATED(a_request_that_no_scatter_list_can_describe_is_refused),
		ISOLATED(depths_that_are_none_are_found_and_refused),
		ISOLATED(requests_start_in_the_order_in_which_they_were_submitted),
		ISOLATED(busy_holds_requests_until_that_many_are_completed),
		ISOLATED(device_busy_holds_requests_until_that_many_are_completed),
		ISOLATED(busy_for_more_than_are_outstanding_waits_for_all_of_them),
		ISOLATED(ready_ends_busy),
		ISOLATED(busy_with_nothing_outstanding_holds_nothing),
		ISOLATED(a_request_refused_as_busy_is_built_anew_and_tried_after_a_pause),
		ISOLATED(a_refused_request_stays_before_those_that_came_later),
		ISOLATED(a_refusal_that_was_announced_waits_for_completions_and_for_no_clock),
		ISOLATED(a_pause_holds_requests_until_it_is_resumed),
		ISOLATED(a_pause_of_the_unit_holds_requests_until_it_is_resumed),
		ISOLATED(a_pause_ends_by_itself_after_its_seconds),
		ISOLATED(two_pauses_end_by_themselves),
		ISOLATED(a_pause_leaves_outstanding_requests_alone),
		ISOLATED(recovery_and_adapter_requests_pass_a_queue_that_is_held),
		ISOLATED(a_busy_for_a_request_that_passes_the_queue_goes_to_its_caller),
		ISOLATED(a_completion_at_device_irql_is_finished_at_dispatch_level_later),
		ISOLATED(completions_inside_start_io_do_not_nest),
		ISOLATED(every_request_of_four_processors_comes_back_once),
		ISOLATED(every_request_comes_back_once_with_threads),
		ISOLATED(the_same_seed_gives_the_same_run),
	};

	return cmocka_run_group_tests_name("port/queue", tests, NULL, NULL);
}
