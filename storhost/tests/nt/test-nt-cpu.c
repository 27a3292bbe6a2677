/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Claims about processors: what runs where and when, what a seed decides, the clock, gates, and death. */
#include "machine_rig.h"

#include <pthread.h>
#include <string.h>
#include <unistd.h>

#define CPUS 4u
#define TRACE 4096u

static struct {
	unsigned order[64], irql[64], cpu[64];
	unsigned count;
	uint64_t at[64];
	unsigned reached;
} seen;

static void note(unsigned what)
{
	unsigned at = __atomic_fetch_add(&seen.count, 1, __ATOMIC_ACQ_REL);

	seen.order[at] = what;
	seen.irql[at] = cpu_self()->irql;
	seen.cpu[at] = cpu_self()->index;
	seen.at[at] = clock_now();
}

struct noting {
	struct work work;
	unsigned what;
};

static void noting_run(struct work *work)
{
	note(((struct noting *)work)->what);
}

static void nothing(void *opaque)
{
	(void)opaque;
}

/* ---- work ---- */

static void work_runs_in_the_order_of_posting(bool threads)
{
	static struct noting works[20];

	rig_machine(CPUS, threads, 3);
	for (unsigned i = 0; i < 20; i++) {
		works[i] = (struct noting){ { NULL, noting_run }, i };
		cpu_post(2, &works[i].work);
	}
	rig_on(2, nothing, NULL);
	assert_int_equal(seen.count, 20);
	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(seen.order[i], i);
		assert_int_equal(seen.irql[i], IRQL_PASSIVE);
		assert_int_equal(seen.cpu[i], 2);
	}
}

static void posted_work_runs_in_order_at_passive_level_where_it_was_posted(void **state)
{
	(void)state;
	work_runs_in_the_order_of_posting(false);
}

static struct noting deferred[4];

static void defer_from_dispatch(void *opaque)
{
	(void)opaque;
	for (unsigned i = 0; i < 3; i++)
		deferred[i] = (struct noting){ { NULL, noting_run }, 10 + i };
	cpu_raise(IRQL_DISPATCH);
	for (unsigned i = 0; i < 3; i++)
		cpu_defer(cpu_self(), &deferred[i].work);
	for (unsigned i = 0; i < 100; i++)
		cpu_point();
	cpu_raise(IRQL_DEVICE);
	cpu_lower(IRQL_DISPATCH);
	note(1);
	cpu_lower(IRQL_PASSIVE);
	note(2);
}

static void deferred_work_waits(bool threads)
{
	static const unsigned order[] = { 1, 10, 11, 12, 2 };

	rig_machine(1, threads, 3);
	rig_on(0, defer_from_dispatch, NULL);
	assert_int_equal(seen.count, 5);
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(seen.order[i], order[i]);
		assert_int_equal(seen.irql[i], i < 4 ? IRQL_DISPATCH : IRQL_PASSIVE);
	}
}

static void deferred_work_waits_for_an_irql_below_dispatch_level(void **state)
{
	(void)state;
	deferred_work_waits(false);
}

static struct cpu *others[CPUS];

static void remember_cpu(void *opaque)
{
	(void)opaque;
	others[cpu_self()->index] = cpu_self();
}

static void defer_to_another(void *opaque)
{
	(void)opaque;
	deferred[0] = (struct noting){ { NULL, noting_run }, 7 };
	cpu_defer(others[3], &deferred[0].work);
}

static void deferred_work_runs_on_the_processor_that_was_named(void **state)
{
	(void)state;
	rig_machine(CPUS, false, 3);
	rig_on(3, remember_cpu, NULL);
	rig_on(0, defer_to_another, NULL);
	rig_on(3, nothing, NULL);
	assert_int_equal(seen.count, 1);
	assert_int_equal(seen.cpu[0], 3);
	assert_int_equal(seen.irql[0], IRQL_DISPATCH);
}

static void raise_and_lower(void *opaque)
{
	(void)opaque;
	note(cpu_raise(IRQL_DEVICE));
	note(cpu_raise(IRQL_DISPATCH));
	cpu_lower(IRQL_PASSIVE);
	note(cpu_self()->irql);
}

static void raising_never_lowers(void **state)
{
	(void)state;
	rig_machine(1, false, 3);
	rig_on(0, raise_and_lower, NULL);
	assert_int_equal(seen.order[0], IRQL_PASSIVE);
	assert_int_equal(seen.irql[0], IRQL_DEVICE);
	assert_int_equal(seen.order[1], IRQL_DEVICE);
	assert_int_equal(seen.irql[1], IRQL_DEVICE);
	assert_int_equal(seen.order[2], IRQL_PASSIVE);
}

static void outside_the_machine_there_is_no_processor(void **state)
{
	(void)state;
	assert_null(cpu_self());
	cpu_point();
	rig_machine(CPUS, false, 3);
	assert_null(cpu_self());
	assert_int_equal(cpu_count(), CPUS);
}

static void a_machine_has_1_to_32_processors(void **state)
{
	struct cpu_config config = { .cpus = 0 };
	struct error err = { "" };

	(void)state;
	assert_int_equal(cpus_start(&config, &err), -1);
	assert_string_equal(err.text, "the number of processors must be 1 to 32");
	config.cpus = 33;
	assert_int_equal(cpus_start(&config, &err), -1);
	config.cpus = 32;
	assert_int_equal(cpus_start(&config, &err), 0);
	rig_on(31, nothing, NULL);
}

/* ---- what a seed decides ---- */

/* One run: who ran at each turn, with the device as CPUS, and how far the machine came. */
struct run {
	uint64_t seed;
	uint64_t steps, clock, last;
	unsigned count;
	uint8_t trace[TRACE];
};

static struct run *running;
static unsigned still_running;
static struct gate all_done;

static void trace(unsigned who)
{
	if (running->count < TRACE)
		running->trace[running->count++] = (uint8_t)who;
}

static bool trace_device(void *opaque, uint64_t random)
{
	(void)opaque;
	trace(CPUS);
	return random & 1;
}

static void walk(struct work *work)
{
	(void)work;
	for (unsigned i = 0; i < 200; i++) {
		trace(cpu_self()->index);
		cpu_point();
		if (cpu_random() % 8 == 0)
			cpu_wake_device();
		if (cpu_random() % 32 == 0)
			cpu_stall(3);
	}
	if (!--still_running)
		gate_open(&all_done);
}

static void run_walkers(void *opaque)
{
	static struct work works[CPUS];

	running = opaque;
	rig_machine(CPUS, false, running->seed);
	cpu_set_device(trace_device, NULL, NULL);
	still_running = CPUS;
	for (unsigned i = 0; i < CPUS; i++) {
		works[i].run = walk;
		cpu_post(i, &works[i]);
	}
	if (!cpu_wait(&all_done))
		abort();
	cpus_stop();
	running->steps = cpu_steps();
	running->clock = clock_now();
	running->last = cpu_random();
}

static struct run *run_of(uint64_t seed)
{
	struct run *run = rig_shared(sizeof(*run));

	run->seed = seed;
	rig_fork(run_walkers, run);
	assert_true(run->count > CPUS * 200);
	assert_true(run->count < TRACE);
	return run;
}

static void the_same_seed_gives_the_same_run(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed < 6; seed++) {
		struct run *a = run_of(seed), *b = run_of(seed);

		assert_int_equal(a->count, b->count);
		assert_memory_equal(a->trace, b->trace, a->count);
		assert_int_equal(a->steps, b->steps);
		assert_int_equal(a->clock, b->clock);
		assert_int_equal(a->last, b->last);
	}
}

static void another_seed_gives_another_run(void **state)
{
	struct run *a, *b;

	(void)state;
	a = run_of(1);
	b = run_of(2);
	assert_true(a->count != b->count || memcmp(a->trace, b->trace, a->count));
	assert_true(a->steps != b->steps || a->last != b->last);
}

static void processors_and_device_really_take_turns(void **state)
{
	struct run *run;
	unsigned turns[CPUS + 1] = { 0 }, switches = 0;

	(void)state;
	run = run_of(1);
	for (unsigned i = 0; i < run->count; i++) {
		turns[run->trace[i]]++;
		switches += i && run->trace[i] != run->trace[i - 1];
	}
	for (unsigned i = 0; i < CPUS; i++)
		assert_int_equal(turns[i], 200);
	assert_true(turns[CPUS] > 20);
	assert_true(switches > 100);
}

/* A front end that is let on while its processor is still at work, and comes back at once or after a while. */
static struct {
	useconds_t nap;
	uint64_t steps;
} *slow_front;
static struct gate early;

static void open_early(struct work *work)
{
	(void)work;
	gate_open(&early);
	usleep(5000);
	for (unsigned i = 0; i < 50; i++)
		cpu_point();
}

static void points(void *opaque)
{
	(void)opaque;
	for (unsigned i = 0; i < 50; i++)
		cpu_point();
}

static void front_run(void *opaque)
{
	static struct work work = { NULL, open_early };

	slow_front = opaque;
	rig_machine(2, false, 9);
	cpu_post(0, &work);
	if (!cpu_wait(&early))
		abort();
	usleep(slow_front->nap);
	rig_on(1, points, NULL);
	cpus_stop();
	slow_front->steps = cpu_steps();
}

static void the_same_seed_gives_the_same_run_however_quick_the_front_end_is(void **state)
{
	uint64_t steps;

	(void)state;
	slow_front = rig_shared(sizeof(*slow_front));
	rig_fork(front_run, slow_front);
	steps = slow_front->steps;
	slow_front->nap = 20000;
	rig_fork(front_run, slow_front);
	assert_int_equal(slow_front->steps, steps);
}

/* ---- the clock ---- */

static struct {
	struct timer timer;
	unsigned what;
} timers[5];

static void timer_note(struct work *work)
{
	for (unsigned i = 0; i < 5; i++) {
		if (work == &timers[i].timer.work)
			note(i);
	}
}

static void timers_run_in_the_order_of_their_time_and_the_clock_jumps(void **state)
{
	static const uint64_t delays[] = { 3000000, 1000000, 2000000, 1000000, 3600000000 };
	static const unsigned order[] = { 1, 3, 2, 0, 4 };

	(void)state;
	rig_machine(2, false, 1);
	for (unsigned i = 0; i < 5; i++)
		timer_set(&timers[i].timer, delays[i], timer_note);
	rig_sleep(4000000000);
	assert_int_equal(seen.count, 5);
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(seen.order[i], order[i]);
		assert_int_equal(seen.irql[i], IRQL_DISPATCH);
		assert_in_range(seen.at[i], delays[order[i]], delays[order[i]] + 100);
	}
	assert_true(clock_now() >= 4000000000);
}

static void a_timer_that_is_cancelled_does_not_run_and_one_set_again_runs_once(void **state)
{
	(void)state;
	rig_machine(1, false, 1);
	timer_set(&timers[0].timer, 1000, timer_note);
	timer_set(&timers[1].timer, 1000, timer_note);
	timer_set(&timers[1].timer, 5000, timer_note);
	timer_set(&timers[2].timer, 1000, timer_note);
	timer_cancel(&timers[0].timer);
	timer_cancel(&timers[3].timer);
	rig_sleep(10000);
	assert_int_equal(seen.count, 2);
	assert_int_equal(seen.order[0], 2);
	assert_int_equal(seen.order[1], 1);
	assert_true(seen.at[1] >= 5000);
	timer_set(&timers[1].timer, 1000, timer_note);
	rig_sleep(10000);
	assert_int_equal(seen.count, 3);
}

static struct {
	struct timer timer;
	uint64_t fired_at, waited;
} spent;

static void stall(void *opaque)
{
	note(0);
	cpu_stall(*(uint64_t *)opaque);
	note(1);
}

static void a_stall_moves_the_clock_and_takes_no_real_time(void **state)
{
	uint64_t hour = 3600000000;

	(void)state;
	rig_machine(1, false, 1);
	rig_on(0, stall, &hour);
	assert_in_range(seen.at[1] - seen.at[0], hour, hour + 100);
}

#define DELAY 1000000u

static void note_time(struct work *work)
{
	(void)work;
	spent.fired_at = clock_now();
}

/* What a driver does that polls a register. */
static void spend(void *opaque)
{
	(void)opaque;
	timer_set(&spent.timer, 500, note_time);
	for (int i = 0; i < 1000; i++) {
		cpu_spend(1);
		cpu_point();
	}
	spent.waited = cpu_self()->waited;
}

static void work_that_takes_time_moves_the_clock_and_lets_timers_come(void **state)
{
	uint64_t before;

	(void)state;
	rig_machine(2, false, 1);
	before = clock_now();
	rig_on(1, spend, NULL);
	/* Whoever else runs takes a little, too. */
	assert_in_range(clock_now() - before, 1000, 2000);
	assert_in_range(spent.fired_at - before, 500, 1000);
	assert_int_equal(spent.waited, 1000);
}

static void stall_often(void *opaque)
{
	(void)opaque;
	timer_set(&timers[0].timer, DELAY, timer_note);
	for (unsigned i = 0; i < 5000; i++) {
		cpu_stall(1000);
		cpu_point();
	}
	note(9);
}

static void one_timer_ran_when_due(uint64_t delay, uint64_t late)
{
	assert_int_equal(seen.count, 2);
	assert_int_equal(seen.order[0], 0);
	assert_int_equal(seen.order[1], 9);
	assert_int_equal(seen.cpu[0], 0);
	assert_int_equal(seen.irql[0], IRQL_DISPATCH);
	assert_in_range(seen.at[0], delay, delay + late);
}

static void a_timer_runs_when_it_is_due_although_a_processor_stalls_again_and_again(void **state)
{
	(void)state;
	rig_machine(2, false, 1);
	rig_on(1, stall_often, NULL);
	one_timer_ran_when_due(DELAY, 10000);
}

static void work_at_length(struct work *work)
{
	(void)work;
	while (clock_now() < 2000)
		cpu_point();
}

static void note_after_work(void *opaque)
{
	(void)opaque;
	note(9);
}

static void a_timer_runs_when_it_is_due_although_processors_work_without_a_stall(void **state)
{
	static struct work works[2] = { { NULL, work_at_length }, { NULL, work_at_length } };

	(void)state;
	rig_machine(3, false, 1);
	timer_set(&timers[0].timer, 500, timer_note);
	cpu_post(1, &works[0]);
	cpu_post(2, &works[1]);
	rig_on(1, note_after_work, NULL);
	assert_true(seen.at[1] >= 2000);
	one_timer_ran_when_due(500, 100);
}

/* ---- gates ---- */

static struct gate gate;

static void open_gate(void *opaque)
{
	(void)opaque;
	gate_open(&gate);
}

static void a_gate_that_is_open_is_not_waited_for(void **state)
{
	(void)state;
	rig_machine(1, false, 1);
	rig_on(0, open_gate, NULL);
	assert_true(cpu_wait(&gate));
	assert_true(cpu_wait(&gate));
	assert_null(cpu_death());
}

static unsigned calls;

static void call_count(void *opaque)
{
	(void)opaque;
	cpu_point();
	__atomic_add_fetch(&calls, 1, __ATOMIC_ACQ_REL);
}

static void *call_often(void *opaque)
{
	for (unsigned i = 0; i < 100; i++) {
		if (!cpu_call((unsigned)(uintptr_t)opaque, call_count, NULL))
			return NULL;
	}
	return opaque;
}

static void front_ends_call(bool threads)
{
	pthread_t front[CPUS];

	rig_machine(CPUS, threads, 1);
	for (unsigned i = 0; i < CPUS; i++)
		assert_int_equal(pthread_create(&front[i], NULL, call_often, (void *)(uintptr_t)(i + 1)), 0);
	for (unsigned i = 0; i < CPUS; i++) {
		void *result = NULL;

		pthread_join(front[i], &result);
		assert_non_null(result);
	}
	assert_int_equal(calls, CPUS * 100);
}

static void each_front_end_is_let_on_by_its_own_gate(void **state)
{
	(void)state;
	front_ends_call(false);
}

static void a_machine_that_nobody_waits_for_stands_still(void **state)
{
	static struct noting work = { { NULL, noting_run }, 1 };

	(void)state;
	rig_machine(1, false, 1);
	cpu_post(0, &work.work);
	usleep(20000);
	assert_int_equal(seen.count, 0);
	rig_on(0, nothing, NULL);
	assert_int_equal(seen.count, 1);
}

static void a_free_running_machine_needs_nobody_to_wait(void **state)
{
	static struct noting work = { { NULL, noting_run }, 1 };
	const struct cpu_config config = { .cpus = 1, .free_running = true, .seed = 1 };

	(void)state;
	assert_int_equal(cpus_start(&config, NULL), 0);
	cpu_post(0, &work.work);
	rig_until(&seen.count, 1);
	cpus_stop();
}

/* ---- the device ---- */

static unsigned device_left, device_steps;

static bool device_step(void *opaque, uint64_t random)
{
	(void)random;
	if (opaque != &device_left || cpu_self())
		abort();
	__atomic_add_fetch(&device_steps, 1, __ATOMIC_ACQ_REL);
	return --device_left;
}

static void device_works(bool threads)
{
	rig_machine(2, threads, 1);
	cpu_set_device(device_step, NULL, &device_left);
	for (unsigned round = 1; round <= 3; round++) {
		device_left = 10;
		cpu_wake_device();
		rig_sleep(100);
		rig_until(&device_steps, 10 * round);
	}
	rig_sleep(1000);
	assert_int_equal(device_steps, 30);
}

static void a_device_that_was_woken_steps_until_it_has_nothing_to_do(void **state)
{
	(void)state;
	device_works(false);
}

/* ---- death ---- */

static void *wait_for_ever(void *opaque)
{
	struct gate *never = opaque;

	return cpu_wait(never) ? never : NULL;
}

static void die(struct work *work)
{
	(void)work;
	/* Others come to wait meanwhile. */
	usleep(50000);
	cpu_die("the test wants it so");
	seen.reached = 1;
}

static void death_releases_everybody(bool threads)
{
	static struct work work = { NULL, die };
	static struct gate never[3];
	pthread_t front[3];

	rig_machine(2, threads, 1);
	cpu_post(0, &work);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&front[i], NULL, wait_for_ever, &never[i]), 0);
	for (unsigned i = 0; i < 3; i++) {
		void *result = &never[i];

		pthread_join(front[i], &result);
		assert_null(result);
	}
	assert_true(cpu_dead());
	assert_string_equal(cpu_death(), "the test wants it so");
	assert_false(cpu_call(1, nothing, NULL));
	cpu_die("later");
	assert_string_equal(cpu_death(), "the test wants it so");
	cpus_stop();
	assert_int_equal(seen.reached, 0);
}

static void death_releases_every_waiter_and_the_processor_never_runs_again(void **state)
{
	(void)state;
	death_releases_everybody(false);
}

static void a_machine_in_which_nothing_can_move_dies_and_says_so(void **state)
{
	static struct gate never;

	(void)state;
	rig_machine(2, false, 1);
	assert_false(cpu_wait(&never));
	assert_string_equal(cpu_death(), "nothing in the machine can move any more");
}

/* ---- threads ---- */

static void threads_run_posted_work_in_order(void **state)
{
	(void)state;
	work_runs_in_the_order_of_posting(true);
	cpus_stop();
}

static void threads_hold_deferred_work_back(void **state)
{
	(void)state;
	deferred_work_waits(true);
	cpus_stop();
}

static void threads_serve_many_front_ends(void **state)
{
	(void)state;
	front_ends_call(true);
	cpus_stop();
}

static void threads_let_the_device_work(void **state)
{
	(void)state;
	device_works(true);
	cpus_stop();
}

static void threads_are_released_by_death(void **state)
{
	(void)state;
	death_releases_everybody(true);
}

static void threads_fire_timers_in_real_time(void **state)
{
	uint64_t before;

	(void)state;
	rig_machine(1, true, 1);
	before = clock_now();
	timer_set(&timers[0].timer, 40000, timer_note);
	timer_set(&timers[1].timer, 20000, timer_note);
	rig_sleep(60000);
	assert_int_equal(seen.count, 2);
	assert_int_equal(seen.order[0], 1);
	assert_int_equal(seen.order[1], 0);
	assert_true(seen.at[0] - before >= 20000);
	assert_true(seen.at[1] - before >= 40000);
	cpus_stop();
}

/* ---- threads that the host does not let run ---- */

static unsigned held_back[2]; /* 0 at first; 1: at work; 2: done */
static unsigned seen_by_staller;

static void hold_back(unsigned *state)
{
	__atomic_store_n(state, 1, __ATOMIC_RELEASE);
	usleep(100000);
	__atomic_store_n(state, 2, __ATOMIC_RELEASE);
}

static bool device_held_back(void *opaque, uint64_t random)
{
	(void)random;
	hold_back(opaque);
	return false;
}

static void work_held_back(struct work *work)
{
	(void)work;
	hold_back(&held_back[1]);
}

static void await_work(unsigned *state)
{
	while (!__atomic_load_n(state, __ATOMIC_ACQUIRE))
		usleep(100);
}

static void stall_briefly(void *state)
{
	await_work(state);
	cpu_stall(10);
	seen_by_staller = __atomic_load_n((unsigned *)state, __ATOMIC_ACQUIRE);
}

static void a_stall_waits_for_a_device_that_is_at_work(void **state)
{
	(void)state;
	rig_machine(2, true, 1);
	cpu_set_device(device_held_back, NULL, &held_back[0]);
	cpu_wake_device();
	rig_on(0, stall_briefly, &held_back[0]);
	assert_int_equal(seen_by_staller, 2);
	cpus_stop();
}

static void a_stall_waits_for_a_processor_that_is_at_work(void **state)
{
	static struct work work = { NULL, work_held_back };

	(void)state;
	rig_machine(2, true, 1);
	cpu_post(1, &work);
	rig_on(0, stall_briefly, &held_back[1]);
	assert_int_equal(seen_by_staller, 2);
	cpus_stop();
}

static void work_for_the_staller(struct work *work)
{
	(void)work;
	__atomic_store_n(&held_back[0], 1, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&seen_by_staller, __ATOMIC_ACQUIRE))
		usleep(1000);
}

static void stall_beside_one_who_waits(void *opaque)
{
	(void)opaque;
	await_work(&held_back[0]);
	cpu_stall(10);
	__atomic_store_n(&seen_by_staller, 1, __ATOMIC_RELEASE);
}

static void a_stall_ends_beside_one_who_never_moves(void **state)
{
	static struct work work = { NULL, work_for_the_staller };

	(void)state;
	rig_machine(2, true, 1);
	cpu_post(1, &work);
	rig_on(0, stall_beside_one_who_waits, NULL);
	assert_int_equal(seen_by_staller, 1);
	cpus_stop();
}

static void threads_rest_when_nobody_is_at_work(void **state)
{
	static struct work work = { NULL, work_held_back };

	(void)state;
	rig_machine(2, true, 1);
	cpu_set_device(device_held_back, NULL, &held_back[0]);
	cpu_wake_device();
	assert_true(cpu_rest());
	assert_int_equal(held_back[0], 2);
	cpu_post(1, &work);
	assert_true(cpu_rest());
	assert_int_equal(held_back[1], 2);
	cpus_stop();
}

/* ---- callbacks of others ---- */

static unsigned point_in_callback, points_seen;

static void pass_points(struct work *work)
{
	(void)work;
	for (unsigned i = 0; i < 1000; i++) {
		__atomic_store_n(&point_in_callback, i, __ATOMIC_RELEASE);
		cpu_point();
		if (clock_is_real() && i % 100 == 0)
			usleep(1000);
	}
	if (clock_is_real())
		return;
	/* As callback_leave does; what comes then is not waited for. */
	cpu_self()->left++;
	while (!points_seen)
		cpu_relax();
}

static void see_callbacks_end(void *opaque)
{
	(void)opaque;
	while (!__atomic_load_n(&point_in_callback, __ATOMIC_ACQUIRE))
		cpu_relax();
	cpu_let_callbacks_end();
	__atomic_store_n(&points_seen, __atomic_load_n(&point_in_callback, __ATOMIC_ACQUIRE), __ATOMIC_RELEASE);
}

static void callbacks_end_elsewhere(bool threads)
{
	static struct work work = { NULL, pass_points };

	rig_machine(3, threads, 1);
	cpu_post(1, &work);
	rig_on(0, see_callbacks_end, NULL);
	assert_int_equal(points_seen, 999);
	cpus_stop();
}

static void what_runs_on_other_processors_is_let_end(void **state)
{
	(void)state;
	callbacks_end_elsewhere(false);
}

static void what_runs_on_other_threads_is_let_end(void **state)
{
	(void)state;
	callbacks_end_elsewhere(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ISOLATED(posted_work_runs_in_order_at_passive_level_where_it_was_posted),
		ISOLATED(deferred_work_waits_for_an_irql_below_dispatch_level),
		ISOLATED(deferred_work_runs_on_the_processor_that_was_named),
		ISOLATED(raising_never_lowers),
		ISOLATED(outside_the_machine_there_is_no_processor),
		ISOLATED(a_machine_has_1_to_32_processors),
		ISOLATED(the_same_seed_gives_the_same_run),
		ISOLATED(another_seed_gives_another_run),
		ISOLATED(the_same_seed_gives_the_same_run_however_quick_the_front_end_is),
		ISOLATED(processors_and_device_really_take_turns),
		ISOLATED(timers_run_in_the_order_of_their_time_and_the_clock_jumps),
		ISOLATED(a_timer_that_is_cancelled_does_not_run_and_one_set_again_runs_once),
		ISOLATED(a_stall_moves_the_clock_and_takes_no_real_time),
		ISOLATED(work_that_takes_time_moves_the_clock_and_lets_timers_come),
		ISOLATED(a_timer_runs_when_it_is_due_although_a_processor_stalls_again_and_again),
		ISOLATED(a_timer_runs_when_it_is_due_although_processors_work_without_a_stall),
		ISOLATED(a_gate_that_is_open_is_not_waited_for),
		ISOLATED(each_front_end_is_let_on_by_its_own_gate),
		ISOLATED(a_machine_that_nobody_waits_for_stands_still),
		ISOLATED(a_free_running_machine_needs_nobody_to_wait),
		ISOLATED(a_device_that_was_woken_steps_until_it_has_nothing_to_do),
		ISOLATED(death_releases_every_waiter_and_the_processor_never_runs_again),
		ISOLATED(a_machine_in_which_nothing_can_move_dies_and_says_so),
		ISOLATED(threads_run_posted_work_in_order),
		ISOLATED(threads_hold_deferred_work_back),
		ISOLATED(threads_serve_many_front_ends),
		ISOLATED(threads_let_the_device_work),
		ISOLATED(threads_are_released_by_death),
		ISOLATED(threads_fire_timers_in_real_time),
		ISOLATED(a_stall_waits_for_a_device_that_is_at_work),
		ISOLATED(a_stall_waits_for_a_processor_that_is_at_work),
		ISOLATED(a_stall_ends_beside_one_who_never_moves),
		ISOLATED(threads_rest_when_nobody_is_at_work),
		ISOLATED(what_runs_on_other_processors_is_let_end),
		ISOLATED(what_runs_on_other_threads_is_let_end),
	};

	return cmocka_run_group_tests_name("nt/cpu", tests, NULL, NULL);
}
