/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A machine's life: idle times, bursts of load, and what happens to a disk in between, by chance, until so much of the
 * machine's time is over. What each happening may do to requests is said in one table; anything else is a failure.
 */
#include <srb.h>
#include <scsi.h>
#include <stdlib.h>
#include <string.h>

#include "scenario/internal.h"

#define SECOND_US 1000000u
#define QUIET_SHARE 3u /* of bursts, two in so many have nothing happen to them */
#define BURST_MAX 600u /* requests */
#define NOTES 20u      /* of the progress, evenly spread */
#define TIMEOUT_S 60u

struct live;

/* What a happening may do. */
enum {
	MAY_FAIL = 1,     /* requests end badly even when they are tried again */
	MAY_TIME_OUT = 2, /* event 129 */
	ALONE = 4,        /* it happens between bursts */
	ASKS = 8,         /* only a device that can go wrong by request takes part */
};

struct happening {
	const char *name;
	unsigned weight, may;
	int (*happen)(struct live *live, const struct happening *happening, struct error *err);
	const char *detail;
	uint32_t number;
};

struct live {
	struct run *run;
	const struct step *step;
	uint64_t start, end;              /* microseconds */
	uint64_t bytes_least, bytes_most; /* of the disk */
	uint64_t time_outs;               /* of the port as it is now */
	uint64_t bursts, all_time_outs;
	unsigned noted;
	const char *now; /* what is happening */
	struct step burst, wait;
};

static struct port *port_in(const struct live *live)
{
	return run_port(live->run);
}

static uint64_t below(struct live *live, uint64_t n)
{
	return rng_below(&live->run->rng, n);
}

/* ---- time and load ---- */

/* Microseconds, mostly short, at times very long. */
static uint64_t choose_idle(struct live *live)
{
	switch (below(live, 8)) {
	case 0:
		return below(live, 600ull * SECOND_US);
	case 1:
	case 2:
	case 3:
		return below(live, 60ull * SECOND_US);
	default:
		return below(live, SECOND_US);
	}
}

static int idle(struct live *live, uint64_t microseconds, struct error *err)
{
	struct step step = { .number = microseconds };

	return step_advance(live->run, &step, err);
}

static uint64_t time_left(const struct live *live)
{
	uint64_t now = clock_now();

	return now < live->end ? live->end - now : 0;
}

static int burst_begin(struct live *live, unsigned may, struct error *err)
{
	struct step *burst = &live->burst;

	memset(burst, 0, sizeof(*burst));
	burst->verb = live->step->verb;
	burst->text = "load";
	burst->line = live->step->line;
	burst->number = 1 + below(live, BURST_MAX);
	burst->load.depth = 1 + (uint32_t)below(live, below(live, 4) ? 8 : LOAD_DEPTH_MAX);
	burst->load.reads = (uint32_t)below(live, 101);
	burst->load.bytes = 4096u << below(live, 9);
	burst->load.retry = true;
	burst->load.fails = may & MAY_FAIL;
	burst->load.sequential = below(live, 3) == 0;
	burst->load.quiet = burst->load.background = true;
	live->bursts++;
	return load_step(live->run, burst, err);
}

/* Until some of the burst is over. */
static int burst_partly(struct live *live, struct error *err)
{
	live->wait.number = 1 + below(live, (live->burst.number + 1) / 2);
	return step_wait(live->run, &live->wait, err);
}

/* ---- what happens ---- */

static int reset_by_request(struct live *live, const struct happening *happening, struct error *err)
{
	struct port_request request = {
		.function = (uint8_t)happening->number,
		.timeout = TIMEOUT_S,
		.cpu = run_cpu(live->run),
	};

	if (!port_execute(port_in(live), &request))
		return error_set(err, "expected the reset to end, got a death: %s", cpu_death());
	return request.srb_status == SRB_STATUS_SUCCESS
		       ? 0
		       : error_set(err, "expected the reset to succeed, got SRB status 0x%02x", request.srb_status);
}

static int reset_bus(struct live *live, const struct happening *happening, struct error *err)
{
	struct step step = { .flag = false };

	(void)happening;
	return step_reset_bus(live->run, &step, err);
}

/* Some request under way; it may be over before the miniport sees the abort. */
static struct flight *choose_victim(struct live *live)
{
	struct run *run = live->run;
	struct flight *victim = NULL;
	unsigned count = 0;

	pthread_mutex_lock(&run->lock);
	for (struct flight *flight = run->flights; flight; flight = flight->next) {
		if (flight->load && !flight->back && below(live, ++count) == 0)
			victim = flight;
	}
	pthread_mutex_unlock(&run->lock);
	return victim;
}

/* However it is answered, both come back. */
static int abort_one(struct live *live, const struct happening *happening, struct error *err)
{
	struct flight *victim = choose_victim(live);
	struct port_request request = {
		.function = SRB_FUNCTION_ABORT_COMMAND,
		.timeout = TIMEOUT_S,
		.cpu = run_cpu(live->run),
		.aborts = victim ? &victim->request : NULL,
	};

	(void)happening;
	if (!victim || port_execute(port_in(live), &request))
		return 0;
	return error_set(err, "expected the abort to end, got a death: %s", cpu_death());
}

/* A new adapter has its own statistics. */
static int start_again(struct live *live, struct error *err)
{
	struct step step = { .name = NULL };

	if (model_compare(live->run->model, err) || idle(live, choose_idle(live), err))
		return -1;
	live->time_outs = 0;
	return step_start(live->run, &step, err);
}

static int disable(struct live *live, const struct happening *happening, struct error *err)
{
	struct step step = { .number = 0 };

	(void)happening;
	return step_stop(live->run, &step, err) ? -1 : start_again(live, err);
}

static int pull(struct live *live, const struct happening *happening, struct error *err)
{
	struct step step = { .number = 0 };

	if (step_surprise_remove(live->run, &step, err) || load_await(live->run, err))
		return -1;
	return disable(live, happening, err);
}

/* Where the machine is, it stops; it writes a dump; it comes back. */
static int crash(struct live *live, const struct happening *happening, struct error *err)
{
	struct run *run = live->run;
	struct step step = { .number = below(live, 3000) }, dump = live->burst;

	(void)happening;
	dump.number = (1 + below(live, 64)) * 4096u;
	dump.operand = below(live, (live->bytes_least - dump.number) / run->block_size);
	if (step_crash(run, &step, err) || step_dump(run, &dump, err) || step_reboot(run, &step, err))
		return -1;
	return start_again(live, err);
}

static int send_flush(struct live *live, struct error *err)
{
	return disk_flush(live->run->host->attached(live->run->host->opaque), err);
}

/* detail: what becomes of the power. Windows flushes before; a machine that had no time to does not. */
static int sleep_and_wake(struct live *live, const struct happening *happening, struct error *err)
{
	struct run *run = live->run;
	struct step step = { .flag = happening->number };
	bool calm = below(live, 2), lost = !strcmp(happening->detail, "lost");

	if (calm && load_await(run, err))
		return -1;
	if ((below(live, 2) && send_flush(live, err)) || step_sleep(run, &step, err) ||
	    idle(live, choose_idle(live), err))
		return -1;
	step.flag = lost;
	if (step_wake(run, &step, err))
		return -1;
	return calm && lost ? model_compare(run->model, err) : 0;
}

static int rebalance(struct live *live, const struct happening *happening, struct error *err)
{
	struct step step = { .number = 0 };

	(void)happening;
	return step_rebalance(live->run, &step, err);
}

static int resize(struct live *live, uint64_t bytes, struct error *err)
{
	struct run *run = live->run;
	struct step step = { .number = bytes - bytes % run->block_size };

	if (step_resize(run, &step, err) || load_await(run, err))
		return -1;
	return step_capacity(run, &step, err);
}

static int grow(struct live *live, const struct happening *happening, struct error *err)
{
	uint64_t now = live->run->disk_bytes;

	(void)happening;
	return resize(live, now + below(live, live->bytes_most - now + 1), err);
}

static int shrink(struct live *live, const struct happening *happening, struct error *err)
{
	uint64_t now = live->run->disk_bytes;

	(void)happening;
	return resize(live, now - below(live, now - live->bytes_least + 1), err);
}

/* At once, so that no later flush makes up for one that was forgotten. */
static int lose_power(struct live *live, struct error *err)
{
	struct step step = { .flag = false };

	if (step_sleep(live->run, &step, err))
		return -1;
	step.flag = true;
	return step_wake(live->run, &step, err) ? -1 : model_compare(live->run->model, err);
}

/* MODE SELECT(6) of the caching page, where the disk lets it be changed: all that was written before is then safe. */
static int change_cache(struct live *live, const struct happening *happening, struct error *err)
{
	static const uint8_t select[6] = { SCSIOP_MODE_SELECT, 0x10, 0, 0, 24, 0 };
	struct run *run = live->run;
	uint8_t list[24] = { [4] = 8, [5] = 18, [6] = run->write_cache ? 0 : 4 };
	uint32_t clock = model_clock(run->model);
	struct port_request request;

	(void)happening;
	if (!disk_command(run->host->attached(run->host->opaque), select, 6, DIRECTION_OUT, list, sizeof(list),
			  &request))
		return error_set(err, "expected MODE SELECT to end, got a death: %s", cpu_death());
	if (request.srb_status != SRB_STATUS_SUCCESS)
		return 0;
	run->write_cache = !run->write_cache;
	if (run->write_cache)
		return 0;
	model_flushed(run->model, clock);
	return below(live, 2) ? lose_power(live, err) : 0;
}

/* detail: the fault; it strikes from some request on, number: how often at most; then it is over. */
static int device_fault(struct live *live, const struct happening *happening, struct error *err)
{
	const struct scenario_host *host = live->run->host;
	char spec[80];

	snprintf(spec, sizeof(spec), "fault=%s,fault-after=%u,fault-every=%u", happening->detail,
		 (unsigned)below(live, 40), happening->number ? happening->number + (unsigned)below(live, 100) : 0);
	if (host->fault(host->opaque, spec, err) || load_await(live->run, err))
		return -1;
	return host->fault(host->opaque, "fault=none", err);
}

/* The storage behind the device goes away for a while, long enough for time-outs or not. */
static int outage(struct live *live, const struct happening *happening, struct error *err)
{
	const struct scenario_host *host = live->run->host;

	(void)happening;
	if (host->fault(host->opaque, "fault=pause", err) || idle(live, below(live, 150ull * SECOND_US), err))
		return -1;
	return host->fault(host->opaque, "fault=none", err);
}

static const struct happening happenings[] = {
	{ "reset-unit", 3, 0, reset_by_request, "", SRB_FUNCTION_RESET_LOGICAL_UNIT },
	{ "reset-target", 3, 0, reset_by_request, "", SRB_FUNCTION_RESET_DEVICE },
	{ "reset-bus", 3, 0, reset_by_request, "", SRB_FUNCTION_RESET_BUS },
	{ "hw-reset-bus", 3, 0, reset_bus, "", 0 },
	{ "abort", 4, 0, abort_one, "", 0 },
	{ "disable", 3, ALONE, disable, "", 0 },
	{ "pull", 3, MAY_FAIL, pull, "", 0 },
	{ "crash", 3, 0, crash, "", 0 },
	{ "sleep", 2, 0, sleep_and_wake, "", false },
	{ "sleep-lost", 4, 0, sleep_and_wake, "lost", false },
	{ "hibernate", 2, 0, sleep_and_wake, "", true },
	{ "hibernate-lost", 4, 0, sleep_and_wake, "lost", true },
	{ "rebalance", 2, 0, rebalance, "", 0 },
	{ "grow", 3, ASKS, grow, "", 0 },
	{ "shrink", 3, MAY_FAIL | ASKS, shrink, "", 0 },
	{ "cache", 2, ALONE, change_cache, "", 0 },
	{ "outage", 2, MAY_TIME_OUT | ASKS, outage, "", 0 },
	{ "stall", 2, MAY_TIME_OUT | ASKS, device_fault, "stall", 0 },
	{ "lost-interrupt", 3, MAY_TIME_OUT | ASKS, device_fault, "lost-interrupt", 0 },
	{ "spurious-interrupt", 2, ASKS, device_fault, "spurious-interrupt", 3 },
	{ "io-error", 3, MAY_FAIL | ASKS, device_fault, "io-error", 3 },
	{ "bad-status", 1, MAY_FAIL | ASKS, device_fault, "bad-status", 3 },
	{ "no-status", 1, ASKS, device_fault, "no-status", 0 },
	{ "needs-reset", 2, ASKS, device_fault, "needs-reset", 0 },
	{ "used-bad-id", 1, ASKS, device_fault, "used-bad-id", 0 },
	{ "used-free-id", 1, ASKS, device_fault, "used-free-id", 0 },
	{ "used-twice", 1, ASKS, device_fault, "used-twice", 0 },
	{ "used-jump", 1, ASKS, device_fault, "used-jump", 0 },
	{ "used-length", 1, ASKS, device_fault, "used-length", 3 },
};

#define HAPPENINGS (sizeof(happenings) / sizeof(happenings[0]))

int live_named(const char *name)
{
	for (unsigned i = 0; i < HAPPENINGS; i++) {
		if (!strcmp(happenings[i].name, name))
			return (int)i;
	}
	return -1;
}

/* ---- the course of it ---- */

static const struct happening *choose_happening(struct live *live)
{
	uint64_t chosen = live->step->operand, total = 0, n;

	for (unsigned i = 0; i < HAPPENINGS; i++)
		total += chosen >> i & 1 ? happenings[i].weight : 0;
	if (!total || below(live, QUIET_SHARE))
		return NULL;
	n = below(live, total);
	for (unsigned i = 0;; i++) {
		uint64_t weight = chosen >> i & 1 ? happenings[i].weight : 0;

		if (n < weight)
			return &happenings[i];
		n -= weight;
	}
}

/* Time-outs that nothing which happened excuses. */
static int check_time_outs(struct live *live, unsigned may, struct error *err)
{
	uint64_t now = port_stats(port_in(live)).timeouts, before = live->time_outs;

	live->time_outs = now;
	live->all_time_outs += now - before;
	return now == before || (may & MAY_TIME_OUT) ? 0 : error_set(err, "expected no time-out, got event 129");
}

static int burst(struct live *live, struct error *err)
{
	const struct happening *happening = choose_happening(live);
	unsigned may = happening ? happening->may : 0;

	live->now = happening ? happening->name : "a burst";
	if (happening && (may & ALONE) && happening->happen(live, happening, err))
		return -1;
	if (burst_begin(live, may, err))
		return -1;
	if (happening && !(may & ALONE) && (burst_partly(live, err) || happening->happen(live, happening, err)))
		return -1;
	if (load_await(live->run, err))
		return -1;
	if (happening)
		live->run->lived[happening - happenings]++;
	return check_time_outs(live, may, err);
}

static void note_progress(struct live *live)
{
	uint64_t length = live->end - live->start, done = clock_now() - live->start;

	while (live->noted < NOTES && done >= length / NOTES * (live->noted + 1)) {
		live->noted++;
		run_note(live->run, "    %llu of %llu seconds", (unsigned long long)(done / SECOND_US),
			 (unsigned long long)(length / SECOND_US));
	}
}

static uint64_t counter(const struct live *live, const char *name)
{
	const struct scenario_host *host = live->run->host;
	uint64_t value = 0;
	struct error none;

	return host->counter(host->opaque, name, &value, &none) ? 0 : value;
}

static void note_end(const struct live *live)
{
	char text[1200];
	int used = snprintf(text, sizeof(text), "seconds %llu, bursts %llu",
			    (unsigned long long)((clock_now() - live->start) / SECOND_US),
			    (unsigned long long)live->bursts);

	for (unsigned i = 0; i < 5; i++) {
		static const char *const names[] = { "requests", "bytes_read", "bytes_written", "flushes", "faults" };

		used += snprintf(text + used, sizeof(text) - (size_t)used, ", %s %llu", names[i],
				 (unsigned long long)counter(live, names[i]));
	}
	used += snprintf(text + used, sizeof(text) - (size_t)used, ", time-outs %llu",
			 (unsigned long long)live->all_time_outs);
	for (unsigned i = 0; i < HAPPENINGS; i++)
		used += snprintf(text + used, sizeof(text) - (size_t)used, ", %s %u", happenings[i].name,
				 live->run->lived[i]);
	run_note(live->run, "    lived: %s", text);
}

static int live_on(struct live *live, struct error *err)
{
	while (time_left(live)) {
		uint64_t pause = choose_idle(live), left = time_left(live);

		live->now = "an idle time";
		if (idle(live, pause < left ? pause : left, err) || (time_left(live) && burst(live, err)) ||
		    run_findings(live->run, err))
			return -1;
		note_progress(live);
	}
	return 0;
}

static bool can_happen(struct run *run, const struct step *step, struct error *err)
{
	for (unsigned i = 0; i < HAPPENINGS; i++) {
		if (!(step->operand >> i & 1) || !(happenings[i].may & ASKS) ||
		    run->host->every_fault(run->host->opaque))
			continue;
		error_set(err, "the device cannot be told to live through '%s'", happenings[i].name);
		return false;
	}
	return true;
}

int step_live(struct run *run, const struct step *step, struct error *err)
{
	struct live *live; /* its steps are those of flights, which live on */
	struct error why;

	if (!can_happen(run, step, err))
		return SCENARIO_CANNOT;
	live = calloc(1, sizeof(*live));
	if (!live)
		return error_set(err, "there is no memory");
	live->run = run;
	live->step = step;
	live->start = clock_now();
	live->end = live->start + step->number * SECOND_US;
	live->bytes_most = run->disk_bytes;
	live->bytes_least = run->disk_bytes / 2;
	live->time_outs = port_stats(port_in(live)).timeouts;
	if (!live_on(live, &why)) {
		note_end(live);
		return 0;
	}
	return error_set(err, "after %llu seconds, in %s: %s",
			 (unsigned long long)((clock_now() - live->start) / SECOND_US), live->now, why.text);
}
