/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A scenario under an injected fault. Up to the fault everything is as it is without one. From there on a step may come
 * to any honest end, Windows does about the adapter what it does about a failed one, and at the end the disk works
 * again: at once, or, where the driver says that it is gone, after it was disabled and enabled.
 */
#include <srb.h>
#include <stdlib.h>
#include <string.h>

#include "base/inject.h"
#include "scenario/internal.h"

#define ATTEMPTS 8u       /* classpnp's NUM_IO_RETRIES */
#define RETRY_US 1000000u /* and what passes between two of them */
#define PROBE_LBA 900u
#define PROBE_BLOCKS 3u
#define HEAD_BLOCKS 64u

static struct port *port_in(struct run *run)
{
	return run->host->port(run->host->opaque);
}

/* ---- steps ---- */

static bool is_about(const struct step *step, const char *const *verb)
{
	while (*verb && strcmp(*verb, step->verb->name))
		verb++;
	return *verb != NULL;
}

/* The dump image refused: it takes no requests. */
static bool has_no_image(const struct run *run)
{
	return run->state & STATE_DUMPING && !run->host->dump_port(run->host->opaque);
}

bool strain_skips(const struct run *run, const struct step *step)
{
	static const char *const accounts[] = { "event", "no-event", "expect", "finding", NULL };
	bool looks_at_data =
		step->verb->run == step_bytes || step->verb->run == step_value || step->verb->run == step_return_code;

	if (!inject_has_struck())
		return false;
	if (has_no_image(run) && strcmp(step->verb->name, "reboot") && strcmp(step->verb->name, "wake"))
		return true;
	return !(step->verb->states & run->state) || is_about(step, accounts) ||
	       (looks_at_data && (!run->data || inject_kind() == INJECT_READ));
}

/* Where nobody can be told why, or nobody has to be. */
static bool is_silent(const struct run *run)
{
	static const char *const places[] = { "StorPortInitialize", "StorPortLogSystemEvent", NULL };
	const char *const *place = places;

	while (*place && strcmp(*place, inject_place()))
		place++;
	return *place || port_unplugged(run->host->port(run->host->opaque));
}

/* The adapter did not start. */
static int settle_refusal(struct run *run, struct error *err)
{
	struct error why = *err;

	run->state = STATE_REFUSED;
	run_note(run, "    not started: %s", why.text);
	if (!port_event(port_in(run), 0) && !is_silent(run))
		return error_set(err, "expected an event that says why the adapter does not start, got none: %s",
				 why.text);
	return 0;
}

/* What became of a step that failed. */
static int settle_failure(struct run *run, const struct step *step, struct error *err)
{
	static const char *const excused[] = { "wait", "capacity", NULL };

	if (cpu_dead())
		return -1;
	if (!strcmp(step->verb->name, "rebalance")) {
		if (port_started(port_in(run)))
			return 0; /* the flush before it failed: it did not begin */
		port_abandon(port_in(run));
		return settle_refusal(run, err);
	}
	if (!strcmp(step->verb->name, "start"))
		return settle_refusal(run, err);
	if (!strcmp(step->verb->name, "wake")) {
		run_note(run, "    given up: %s", err->text);
		port_abandon(port_in(run));
		run->state = STATE_REMOVED;
		return 0;
	}
	/* In a dump there is nobody to tell why. */
	if (has_no_image(run) || !strcmp(step->verb->name, "reset"))
		return strain_costs_disk() ? 0 : -1;
	return is_about(step, excused) ? 0 : -1;
}

/* A device that was pulled out keeps no more than its medium, whenever it arrives again. */
static void lose_power(struct run *run)
{
	if (inject_has_struck() && inject_kind() == INJECT_REMOVE && run->model)
		run_lose_power(run);
}

int strain_settle(struct run *run, const struct step *step, int failed, struct error *err)
{
	struct port *port;

	if (!inject_has_struck())
		return failed;
	if (failed && settle_failure(run, step, err))
		return -1;
	/* What was in flight comes back to nobody. */
	if (!strcmp(step->verb->name, "crash"))
		inject_tell();
	lose_power(run);
	port = port_in(run);
	if (!port || !port_unplugged(port) || run->removed || run->state & (STATE_ASLEEP | STATE_DUMPING))
		return 0;
	run_note(run, "    the device is gone");
	run->removed = true;
	if (port_surprise_remove(port, err))
		return -1;
	lose_power(run);
	if (run->state == STATE_RUNNING)
		run->state = STATE_REMOVED;
	return 0;
}

bool strain_costs_disk(void)
{
	switch (inject_kind()) {
	case INJECT_MEMORY:
	case INJECT_CALL:
	case INJECT_READ:
	case INJECT_REMOVE:
		return true;
	default:
		return false;
	}
}

bool strain_excuses(enum rule rule)
{
	static const struct {
		enum inject_kind kind;
		enum rule rule;
		const char *place; /* NULL: any */
	} excuses[] = {
		/* Who is told nothing does nothing. */
		{ INJECT_INTERRUPT_DROP, RULE_SRB_LOST, NULL },
		{ INJECT_INTERRUPT_DELAY, RULE_SRB_LOST, NULL },
		{ INJECT_READ, RULE_SRB_LOST, "HwInterrupt" },
		{ INJECT_REMOVE, RULE_SRB_LOST, NULL },
		/* A status of all ones is a device that is not there, and gets none; a limit may be any number. */
		{ INJECT_READ, RULE_STATUS_ORDER, NULL },
		{ INJECT_READ, RULE_BLOCK_CAPACITY, NULL },
		{ INJECT_READ, RULE_BLOCK_DATA, NULL },
		{ INJECT_READ, RULE_BLOCK_FIELDS, NULL },
	};

	for (size_t i = 0; inject_place() && i < sizeof(excuses) / sizeof(excuses[0]); i++) {
		if (excuses[i].kind == inject_kind() && excuses[i].rule == rule &&
		    (!excuses[i].place || !strcmp(excuses[i].place, inject_place())))
			return true;
	}
	return false;
}

/* ---- the end ---- */

static const struct verb *verb_of(const char *name)
{
	const struct verb *verb = verbs;

	while (strcmp(verb->name, name))
		verb++;
	return verb;
}

static int let_pass(struct run *run, uint64_t microseconds, struct error *err)
{
	const struct step step = { .number = microseconds };

	return step_advance(run, &step, err);
}

enum answer { ANSWER_GOOD, ANSWER_GONE, ANSWER_FAILED };

/* One request, again and again as a class driver tries it. -1: what came back was wrong. */
static int ask(struct run *run, const struct step *step, enum answer *answer, struct error *err)
{
	struct flight *flight;
	char got[80];

	for (unsigned attempt = 0; attempt <= ATTEMPTS; attempt++) {
		if (attempt && let_pass(run, RETRY_US, err))
			return -1;
		flight = flight_create(run, step);
		if (!flight)
			return error_set(err, "there is no memory");
		if (request_build(run, step, flight, false, err))
			return -1;
		flight_submit(flight, run_cpu(run));
		if (run_wait(run, &flight->gate, &flight->back, "the request", err))
			return -1;
		expect_describe(&flight->request, got, sizeof(got));
		run_note(run, "    %s: %s", step->verb->name, got);
		if (flight->wrong)
			return error_set(err, "%s", flight->mismatch.text);
		*answer = flight_is_good(flight) ? ANSWER_GOOD : ANSWER_FAILED;
		if (flight->request.srb_status == SRB_STATUS_NO_DEVICE)
			*answer = ANSWER_GONE;
		if (*answer == ANSWER_GOOD || !disk_worth_retrying(&flight->request))
			break;
	}
	return *answer == ANSWER_FAILED ? error_set(err, "expected a disk that works again, got %s", got) : 0;
}

/* Whether the disk works: a write, what was written, a flush, and what was written before. */
static int probe(struct run *run, enum answer *answer, struct error *err)
{
	uint64_t blocks = run_blocks(run), lba = blocks > PROBE_LBA + PROBE_BLOCKS ? PROBE_LBA : 0;
	uint32_t head = blocks > HEAD_BLOCKS ? HEAD_BLOCKS : PROBE_BLOCKS;
	const struct step steps[] = {
		{ .verb = verb_of("write"), .number = lba, .blocks = PROBE_BLOCKS, .direction = DIRECTION_OUT },
		{ .verb = verb_of("read"), .number = lba, .blocks = PROBE_BLOCKS, .direction = DIRECTION_IN },
		{ .verb = verb_of("flush") },
		{ .verb = verb_of("read"), .number = 0, .blocks = head, .direction = DIRECTION_IN },
	};

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		if (ask(run, &steps[i], answer, err))
			return -1;
		if (*answer != ANSWER_GOOD)
			break;
	}
	return 0;
}

/* Disabled and enabled, the disk works whatever was wrong before. */
static int start_again(struct run *run, struct error *err)
{
	static const struct step start = { .text = "start", .verb = NULL };
	enum answer answer;

	run_note(run, "    disabled and enabled");
	if (run->state & STATE_STARTED)
		run->host->stop(run->host->opaque);
	if (cpu_dead())
		return error_set(err, "expected the driver to stop, got its death: %s", cpu_death());
	lose_power(run);
	inject_over();
	if (step_start(run, &start, err) || probe(run, &answer, err))
		return -1;
	return answer == ANSWER_GOOD ? 0 : error_set(err, "expected a disk after the driver's start, got none");
}

/* The fault has not struck yet: it will when the driver is stopped. */
static int stop_and_start(struct run *run, struct error *err)
{
	if (run->state & STATE_STARTED)
		run->host->stop(run->host->opaque);
	if (cpu_dead())
		return error_set(err, "expected the driver to stop, got its death: %s", cpu_death());
	run->state = STATE_STOPPED;
	if (!inject_place())
		return error_set(err, "expected the occasion of a fault, got none: runs do not repeat");
	return start_again(run, err);
}

/* -1 and *answer ANSWER_FAILED: it does not work and does not say so either. */
static int probe_after_fault(struct run *run, enum answer *answer, struct error *err)
{
	int failed = probe(run, answer, err);

	/* What the driver was told of the device is wrong for as long as it runs. */
	if (failed && !cpu_dead() && inject_kind() == INJECT_READ && *answer == ANSWER_FAILED) {
		*answer = ANSWER_GONE;
		return 0;
	}
	if (!failed && *answer == ANSWER_GONE && !strain_costs_disk())
		return error_set(err, "expected a disk that works again, got NO_DEVICE");
	if (!failed && *answer == ANSWER_GONE && !port_event(port_in(run), 0))
		return error_set(err, "expected an event that says why the disk is gone, got none");
	return failed;
}

/* A request that the device did not carry out, or said so of, was somebody's; but for the driver's own. */
static int check_told(struct error *err)
{
	switch (inject_kind()) {
	case INJECT_REQUEST_REFUSED:
	case INJECT_REQUEST_ERROR:
	case INJECT_REQUEST_UNSUPPORTED:
	case INJECT_REQUEST_UNDEFINED:
	case INJECT_REQUEST_SILENT:
		break;
	default:
		return 0;
	}
	if (inject_was_told() || !strcmp(inject_place(), "a GET_ID"))
		return 0;
	return error_set(err, "expected a request that failed, since %s did, got none", inject_place());
}

int strain_end(struct run *run, struct error *err)
{
	const struct step waking = { .text = "wake", .verb = verb_of("wake") };
	enum answer answer = ANSWER_GONE;

	if (run->state == STATE_CRASHED && step_reboot(run, &waking, err))
		return -1;
	if (run->state & (STATE_ASLEEP | STATE_HIBERNATING) &&
	    strain_settle(run, &waking, step_wake(run, &waking, err), err))
		return -1;
	if (run_await_all(run, err))
		return -1;
	if (!inject_place())
		return stop_and_start(run, err);
	if (check_told(err) || run->host->fault(run->host->opaque, "fault=none", err))
		return -1;
	if (run->state == STATE_RUNNING && probe_after_fault(run, &answer, err))
		return -1;
	if (answer != ANSWER_GOOD)
		return start_again(run, err);
	inject_over();
	return probe(run, &answer, err);
}
