/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Virtual processors: queues of work, the deterministic scheduler, the threaded one, and the clock of both. */
#include "nt/cpu.h"

#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <ucontext.h>

#include "base/container.h"
#include "nt/interrupt.h"
#include "nt/schedule.h"
#include "trap/trap.h"

#define FIBER_STACK (512u << 10)
#define STACK_GUARD 4096u
#define IDLE_TICK_US 2000u
/*
 * A second of the machine's in so many real ones while it waits for somebody outside: a host that is busy with other
 * things must not look like a device that has stalled.
 */
#define OUTSIDE_SLOWNESS 8u
/* A machine in which nothing has moved for so long rests, whatever is expected from outside of it. */
#define OUTSIDE_REST_US 2000000u
/* Threads that are never all idle are taken to rest after so long, by the host's clock. */
#define THREADS_REST_US 10000000u
#define THREADS_LOOK_US 1000u
/* The host keeps no thread from running for longer, or something else is wrong with it. */
#define STARVATION_US 2000000u
/* A processor that is held up is so for up to this time. */
#define HOLD_UP_NS 1000000

#define TICKS_PER_SECOND 20u /* of the watchdog */
#define NOBODY UINT_MAX

struct queue {
	struct work *first, **last;
};

/* A front end inside cpu_wait, on its own stack. */
struct waiter {
	struct waiter *next, **link;
	pthread_cond_t wake;
};

struct processor {
	struct cpu cpu; /* first: a struct cpu * is a struct processor * */
	struct queue inbox, deferred;
	bool idle, parked;
	unsigned watched, ticks; /* cpu.entries at the watchdog's last tick, and how many there were since it changed */
	struct cpu *const *awaits; /* the owner of the lock that it waits for, or NULL */
	uint64_t looked;           /* machine.moves when it last looked in vain for what it waits for */
	ucontext_t context;        /* deterministic mode */
	void *stack;
	pthread_t thread; /* threaded mode */
	bool started;
	unsigned turns; /* threaded mode: how often it has got somewhere */
	struct rng rng; /* threaded mode: where it is held up */
};

static struct {
	struct cpu_config config;
	pthread_mutex_t lock;
	pthread_cond_t wake;    /* the machine: there may be something to do */
	struct waiter *waiters; /* front ends inside cpu_wait */
	struct gate *rest;      /* deterministic mode: opened when the machine comes to rest */
	unsigned goals;         /* those of them whose gate is shut */
	bool parked;            /* deterministic mode: the machine stands still, with nobody's gate to open */
	struct processor cpus[CPUS_MAX];
	struct processor survivor; /* who runs when the others are frozen */
	bool frozen;
	uint64_t pause; /* the step at which a cpu_run is over */
	ucontext_t scheduler;
	unsigned last,
		next;  /* by a schedule: the actor that ran last, and the one that was chosen to run now or NOBODY */
	bool going_on; /* and who ran last could have gone on */
	pthread_t engine, device_thread;
	bool engine_started, device_started;
	bool stop, dead;
	char death[160];
	bool (*device_step)(void *opaque, uint64_t random);
	bool (*device_busy)(void *opaque);
	void *device_opaque;
	bool device_awake;
	_Atomic unsigned device_turns; /* threaded mode: steps begun and ended; odd while it is in one */
	struct rng rng;
	uint64_t clock, epoch, steps;
	uint64_t moves; /* deterministic mode: what somebody who waits may see is as it was while this is, and not 0 */
	uint64_t outside; /* microseconds that only somebody outside of the machine may have moved something */
	struct timer *timers;
} machine;

static pthread_mutex_t tables_lock = PTHREAD_MUTEX_INITIALIZER;
static __thread struct processor *current;

struct cpu *cpu_self(void)
{
	return current ? &current->cpu : NULL;
}

unsigned cpu_count(void)
{
	return machine.config.cpus;
}

struct cpu *cpu_at(unsigned index)
{
	return &machine.cpus[index % machine.config.cpus].cpu;
}

uint64_t cpu_random(void)
{
	uint64_t value;

	if (!machine.config.threads)
		return rng_next(&machine.rng);
	pthread_mutex_lock(&machine.lock);
	value = rng_next(&machine.rng);
	pthread_mutex_unlock(&machine.lock);
	return value;
}

unsigned cpu_choose(unsigned count)
{
	if (count < 2)
		return 0;
	return schedule_decides() ? schedule_choose(count, false) : (unsigned)(cpu_random() % count);
}

void machine_lock(void)
{
	pthread_mutex_lock(&tables_lock);
}

void machine_unlock(void)
{
	pthread_mutex_unlock(&tables_lock);
}

bool cpu_dead(void)
{
	return __atomic_load_n(&machine.dead, __ATOMIC_ACQUIRE);
}

static void queue_init(struct queue *queue)
{
	queue->first = NULL;
	queue->last = &queue->first;
}

static void queue_push(struct queue *queue, struct work *work)
{
	pthread_mutex_lock(&machine.lock);
	work->next = NULL;
	__atomic_store_n(queue->last, work, __ATOMIC_RELEASE);
	queue->last = &work->next;
	pthread_cond_broadcast(&machine.wake);
	pthread_mutex_unlock(&machine.lock);
}

static bool queue_empty(struct queue *queue)
{
	return !__atomic_load_n(&queue->first, __ATOMIC_ACQUIRE);
}

static struct work *queue_pop(struct queue *queue)
{
	struct work *work;

	if (queue_empty(queue))
		return NULL;
	pthread_mutex_lock(&machine.lock);
	work = queue->first;
	if (work) {
		__atomic_store_n(&queue->first, work->next, __ATOMIC_RELEASE);
		if (!work->next)
			queue->last = &queue->first;
	}
	pthread_mutex_unlock(&machine.lock);
	return work;
}

/* How often it has left the outermost of its callbacks. */
static unsigned cpu_left(const struct processor *p)
{
	return __atomic_load_n(&p->cpu.left, __ATOMIC_ACQUIRE);
}

void cpu_post(unsigned index, struct work *work)
{
	queue_push(&machine.cpus[index % machine.config.cpus].inbox, work);
}

void cpu_defer(struct cpu *cpu, struct work *work)
{
	queue_push(&((struct processor *)cpu)->deferred, work);
}

static void machine_moved(void)
{
	if (!machine.config.threads)
		machine.moves++;
}

/* ---- the clock ---- */

static uint64_t monotonic_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

uint64_t clock_now(void)
{
	return machine.config.threads ? monotonic_us() - machine.epoch : machine.clock;
}

/* Under machine.lock. */
static void timer_unlink(struct timer *timer)
{
	struct timer **link = &machine.timers;

	while (*link && *link != timer)
		link = &(*link)->next;
	if (*link)
		__atomic_store_n(link, timer->next, __ATOMIC_RELEASE);
	timer->armed = false;
}

void timer_set(struct timer *timer, uint64_t delay, void (*run)(struct work *work))
{
	struct timer **link = &machine.timers;

	pthread_mutex_lock(&machine.lock);
	if (timer->armed)
		timer_unlink(timer);
	timer->due = clock_now() + delay;
	timer->work.run = run;
	timer->armed = true;
	while (*link && (*link)->due <= timer->due)
		link = &(*link)->next;
	timer->next = *link;
	__atomic_store_n(link, timer, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&machine.lock);
}

void timer_cancel(struct timer *timer)
{
	pthread_mutex_lock(&machine.lock);
	if (timer->armed)
		timer_unlink(timer);
	pthread_mutex_unlock(&machine.lock);
}

/* Hands every timer that is due to processor 0. jump: move the virtual clock to the first one. */
static bool timers_fire(bool jump)
{
	bool fired = false;

	while (__atomic_load_n(&machine.timers, __ATOMIC_ACQUIRE)) {
		struct timer *timer;

		pthread_mutex_lock(&machine.lock);
		timer = machine.timers;
		if (timer && jump && !fired && timer->due > machine.clock)
			machine.clock = timer->due;
		if (!timer || timer->due > clock_now()) {
			pthread_mutex_unlock(&machine.lock);
			return fired;
		}
		timer_unlink(timer);
		pthread_mutex_unlock(&machine.lock);
		cpu_defer(&machine.cpus[0].cpu, &timer->work);
		machine_moved();
		fired = true;
	}
	return fired;
}

/* ---- what a processor does ---- */

/* Runs one piece of waiting work at the present IRQL; false if there is none. */
static bool processor_deferred(struct processor *p)
{
	unsigned irql = p->cpu.irql;
	struct work *work = irql < IRQL_DISPATCH ? queue_pop(&p->deferred) : NULL;

	if (!work)
		return false;
	p->cpu.irql = IRQL_DISPATCH;
	work->run(work);
	p->cpu.irql = irql;
	return true;
}

static bool processor_turn(struct processor *p)
{
	struct work *work;

	if (interrupt_take() || processor_deferred(p))
		return true;
	work = queue_pop(&p->inbox);
	if (!work)
		return false;
	work->run(work);
	return true;
}

unsigned cpu_raise(unsigned irql)
{
	unsigned old = current->cpu.irql;

	if (irql > old)
		current->cpu.irql = irql;
	return old;
}

void cpu_lower(unsigned irql)
{
	current->cpu.irql = irql;
	while (interrupt_take() || processor_deferred(current))
		machine_moved();
}

/* ---- the watchdog ---- */

/*
 * Each tick finds some processor at work on the thread that has run for so long, and is charged to its callback: other
 * processors of the same thread are not.
 */
static bool watchdog_tick(void)
{
	struct processor *p = current;

	if (!p)
		return false;
	if (p->watched != p->cpu.entries || p->cpu.callback == CB_NONE)
		p->ticks = 0;
	p->watched = p->cpu.entries;
	p->ticks++;
	return cpu_overdue();
}

bool cpu_overdue(void)
{
	return current && machine.config.watchdog && current->watched == current->cpu.entries &&
	       current->ticks > machine.config.watchdog * TICKS_PER_SECOND;
}

unsigned cpu_watchdog(void)
{
	return machine.config.watchdog;
}

static int machine_thread_init(struct error *err)
{
	if (trap_thread_init(err))
		return -1;
	return machine.config.watchdog ? trap_thread_watch(1000 / TICKS_PER_SECOND, watchdog_tick, err) : 0;
}

/* ---- deterministic mode ---- */

static bool processor_has_work(struct processor *p)
{
	return !queue_empty(&p->inbox) || !queue_empty(&p->deferred);
}

static bool processor_runnable(struct processor *p)
{
	if (p->parked)
		return false;
	return !p->idle || processor_has_work(p) || interrupt_waiting(p->cpu.irql);
}

static bool device_runnable(void)
{
	return __atomic_load_n(&machine.device_step, __ATOMIC_ACQUIRE) &&
	       __atomic_load_n(&machine.device_awake, __ATOMIC_ACQUIRE);
}

/* Those that are not frozen. */
static struct processor *processors(unsigned *count)
{
	*count = machine.frozen ? 1 : machine.config.cpus;
	return machine.frozen ? &machine.survivor : machine.cpus;
}

/* Whether anybody but `but` could be switched to. */
static bool others_runnable(const struct processor *but)
{
	unsigned count;
	struct processor *all = processors(&count);

	if (device_runnable())
		return true;
	for (unsigned i = 0; i < count; i++) {
		if (&all[i] != but && processor_runnable(&all[i]))
			return true;
	}
	return false;
}

static void fiber_switch_out(void)
{
	struct processor *p = current;

	current = NULL;
	swapcontext(&p->context, &machine.scheduler);
	current = p;
}

/* Nothing but an interrupt, perhaps. */
static bool processor_spare(struct processor *p)
{
	return p->idle && !processor_has_work(p);
}

/* Actors are the processors, by index, and then the device. blocked: one that would wait in vain is ready, too. */
static bool actor_ready(unsigned actor, bool blocked)
{
	unsigned device;
	struct processor *p = processors(&device) + actor;

	if (actor == device)
		return device_runnable();
	return processor_runnable(p) && (blocked || ((!p->awaits || !*p->awaits) && p->looked != machine.moves));
}

/* Lists the actors but one that are ready, in turn behind the one that ran last. */
static unsigned actors_ready(unsigned but, bool blocked, unsigned *ready)
{
	unsigned device, count = 0;
	struct processor *all = processors(&device);
	bool spare = false;

	for (unsigned i = 1; i <= device + 1; i++) {
		unsigned actor = (machine.last + i) % (device + 1);
		bool is_spare = actor < device && processor_spare(&all[actor]);

		/* Of those that have nothing but an interrupt to do one is as good as another. */
		if (actor == but || !actor_ready(actor, blocked) || (is_spare && spare))
			continue;
		spare |= is_spare;
		ready[count++] = actor;
	}
	return count;
}

/* By a schedule others may run before a processor goes on with what it has to do next. */
static void between_turns(void)
{
	unsigned ready[CPUS_MAX + 1];
	unsigned choice;

	if (!schedule_decides() || !(processor_has_work(current) || interrupt_waiting(IRQL_PASSIVE)))
		return;
	choice = schedule_choose(1 + actors_ready(current->cpu.index, false, ready), false);
	if (!choice)
		return;
	machine.next = ready[choice - 1];
	fiber_switch_out();
}

static void fiber_main(void)
{
	current->idle = false;
	for (;;) {
		if (processor_turn(current)) {
			machine_moved();
			between_turns();
			continue;
		}
		current->idle = true;
		fiber_switch_out();
		current->idle = false;
	}
}

static bool device_step(uint64_t random)
{
	bool (*step)(void *opaque, uint64_t random) = __atomic_load_n(&machine.device_step, __ATOMIC_SEQ_CST);

	return step && step(machine.device_opaque, random);
}

static void device_turn(void)
{
	__atomic_store_n(&machine.device_awake, false, __ATOMIC_RELEASE);
	/* By a schedule it takes what comes first. */
	if (device_step(schedule_decides() ? 0 : rng_next(&machine.rng)))
		cpu_wake_device();
}

/* Until something wakes the machine, at most so long. Under machine.lock. */
static void sleep_us(uint64_t microseconds)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += (time_t)(microseconds / 1000000);
	until.tv_nsec += (long)(microseconds % 1000000) * 1000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	pthread_cond_timedwait(&machine.wake, &machine.lock, &until);
}

/*
 * Where somebody outside works for the device and nobody but `but` can run: until that changes, or a timer is due, or
 * `most` is over, the machine's time passes with the real one. False: there is nobody to wait for.
 */
static bool pass_real_time(const struct processor *but, uint64_t most)
{
	uint64_t began;

	if (!machine.device_busy || !machine.device_busy(machine.device_opaque))
		return false;
	pthread_mutex_lock(&machine.lock);
	if (machine.timers && machine.timers->due - machine.clock < most)
		most = machine.timers->due > machine.clock ? machine.timers->due - machine.clock : 0;
	began = monotonic_us();
	if (most && !machine.stop && !others_runnable(but))
		sleep_us(most * OUTSIDE_SLOWNESS);
	began = monotonic_us() - began;
	machine.clock += most < began / OUTSIDE_SLOWNESS ? most : began / OUTSIDE_SLOWNESS;
	machine.outside = others_runnable(but) ? 0 : machine.outside + began;
	pthread_mutex_unlock(&machine.lock);
	timers_fire(false);
	return true;
}

/* The actor that the schedule has run now, or NOBODY. */
static unsigned next_by_schedule(void)
{
	unsigned ready[CPUS_MAX + 1];
	unsigned next = machine.next, count;

	if (next == NOBODY) {
		count = actors_ready(NOBODY, false, ready);
		if (count)
			next = ready[schedule_choose(count, !machine.going_on)];
		else if (actors_ready(NOBODY, true, ready))
			next = ready[0]; /* whose patience may end */
	}
	if (next != NOBODY)
		machine.last = next;
	machine.next = NOBODY;
	machine.going_on = false;
	return next;
}

/* The actor that the generator has run now, or NOBODY. */
static unsigned next_by_chance(void)
{
	unsigned ready[CPUS_MAX + 1];
	unsigned count = 0, device;
	struct processor *all = processors(&device);

	for (unsigned i = 0; i < device; i++) {
		if (processor_runnable(&all[i]))
			ready[count++] = i;
	}
	if (device_runnable())
		ready[count++] = device;
	if (!count)
		return NOBODY;
	return ready[count > 1 ? rng_below(&machine.rng, count) : 0];
}

/* Runs one actor; false if nobody can run. */
static bool schedule_one(void)
{
	unsigned next = schedule_decides() ? next_by_schedule() : next_by_chance(), device;
	struct processor *all = processors(&device);

	if (next == NOBODY)
		return false;
	machine.steps++;
	machine.clock++;
	timers_fire(false);
	if (next == device) {
		machine_moved();
		device_turn();
		/* By a schedule it goes on before others do, as a processor does. */
		machine.going_on = device_runnable();
		machine.last -= machine.going_on;
		return true;
	}
	current = &all[next];
	swapcontext(&machine.scheduler, &all[next].context);
	current = NULL;
	return true;
}

/* Under machine.lock. */
static void waiters_signal(void)
{
	for (struct waiter *waiter = machine.waiters; waiter; waiter = waiter->next)
		pthread_cond_signal(&waiter->wake);
}

static bool engine_should_run(void)
{
	return !machine.dead && (machine.goals || machine.config.free_running);
}

/* Nobody can run, or a pause was reached: those who waited for that are told. */
static bool rest_reached(void)
{
	struct gate *rest;

	if (machine.outside < OUTSIDE_REST_US && machine.steps < machine.pause && machine.device_busy &&
	    machine.device_busy(machine.device_opaque))
		return false;
	rest = __atomic_exchange_n(&machine.rest, NULL, __ATOMIC_ACQ_REL);

	if (rest)
		gate_open(rest);
	return rest != NULL;
}

/* Lets somebody move. Under machine.lock, which is not held meanwhile. */
static void engine_turn(void)
{
	bool moved;

	pthread_mutex_unlock(&machine.lock);
	moved = machine.steps >= machine.pause
			? rest_reached()
			: schedule_one() || rest_reached() || pass_real_time(NULL, IDLE_TICK_US) || timers_fire(true);
	pthread_mutex_lock(&machine.lock);
	if (moved || others_runnable(NULL))
		return;
	if (machine.config.free_running) {
		if (!machine.stop)
			pthread_cond_wait(&machine.wake, &machine.lock);
	} else if (machine.goals) {
		pthread_mutex_unlock(&machine.lock);
		cpu_die("nothing in the machine can move any more");
		pthread_mutex_lock(&machine.lock);
	}
}

static void *engine_main(void *arg)
{
	struct error err;

	(void)arg;
	if (machine_thread_init(&err))
		cpu_die(err.text);
	pthread_mutex_lock(&machine.lock);
	while (!machine.stop) {
		if (engine_should_run()) {
			engine_turn();
			continue;
		}
		machine.parked = true;
		waiters_signal();
		pthread_cond_wait(&machine.wake, &machine.lock);
	}
	pthread_mutex_unlock(&machine.lock);
	trap_thread_exit();
	return NULL;
}

static int fiber_create(struct processor *p, struct error *err)
{
	p->stack = mmap(NULL, FIBER_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p->stack == MAP_FAILED) {
		p->stack = NULL;
		return error_set(err, "no memory for a processor's stack");
	}
	mprotect(p->stack, STACK_GUARD, PROT_NONE);
	getcontext(&p->context);
	p->context.uc_stack.ss_sp = p->stack;
	p->context.uc_stack.ss_size = FIBER_STACK;
	p->context.uc_link = NULL;
	makecontext(&p->context, fiber_main, 0);
	p->idle = true;
	return 0;
}

/* ---- threaded mode ---- */

static void idle_set(struct processor *p, bool idle)
{
	__atomic_store_n(&p->idle, idle, __ATOMIC_RELEASE);
}

/* The calling processor has got somewhere. */
static void turn_over(void)
{
	__atomic_fetch_add(&current->turns, 1, __ATOMIC_RELEASE);
}

/* How far everybody had come. */
struct progress {
	unsigned turns[CPUS_MAX];
	unsigned device_turns;
};

static void progress_note(struct progress *then)
{
	for (unsigned i = 0; i < machine.config.cpus; i++)
		then->turns[i] = __atomic_load_n(&machine.cpus[i].turns, __ATOMIC_ACQUIRE);
	then->device_turns = machine.device_turns;
}

static bool processor_busy(struct processor *p)
{
	return !__atomic_load_n(&p->idle, __ATOMIC_ACQUIRE) || processor_has_work(p) || interrupt_waiting(IRQL_PASSIVE);
}

static bool device_busy(void)
{
	return machine.device_turns & 1 || device_runnable();
}

/* Whether some other actor that has something to do is where it was then: the host has not let it run. */
static bool somebody_starves(const struct progress *then)
{
	if (machine.device_turns == then->device_turns && device_busy())
		return true;
	for (unsigned i = 0; i < machine.config.cpus; i++) {
		struct processor *p = &machine.cpus[i];

		if (p != current && __atomic_load_n(&p->turns, __ATOMIC_ACQUIRE) == then->turns[i] && processor_busy(p))
			return true;
	}
	return false;
}

/* Whether nobody had anything to do all the while that it looked. */
static bool threads_rest(void)
{
	struct progress before = { { 0 }, 0 }, after = { { 0 }, 0 };
	bool busy;

	progress_note(&before);
	busy = device_busy();
	for (unsigned i = 0; i < machine.config.cpus; i++)
		busy |= processor_busy(&machine.cpus[i]);
	progress_note(&after);
	return !busy && !memcmp(&before, &after, sizeof(before));
}

static bool threads_rest_wait(void)
{
	const struct timespec look = { .tv_nsec = THREADS_LOOK_US * 1000 };
	uint64_t end = clock_now() + THREADS_REST_US;

	while (!cpu_dead() && !threads_rest() && clock_now() < end)
		nanosleep(&look, NULL);
	return !cpu_dead();
}

static void *processor_main(void *arg)
{
	struct processor *p = arg;
	struct error err;

	current = p;
	if (machine_thread_init(&err))
		cpu_die(err.text);
	while (!__atomic_load_n(&machine.stop, __ATOMIC_ACQUIRE) && !cpu_dead()) {
		turn_over();
		if (processor_turn(p))
			continue;
		if (p->cpu.index == 0 && timers_fire(false))
			continue;
		pthread_mutex_lock(&machine.lock);
		idle_set(p, true);
		if (!processor_has_work(p) && !interrupt_waiting(IRQL_PASSIVE) && !machine.stop)
			sleep_us(IDLE_TICK_US);
		idle_set(p, false);
		pthread_mutex_unlock(&machine.lock);
	}
	idle_set(p, true);
	trap_thread_exit();
	return NULL;
}

static void *device_main(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&machine.lock);
	while (!machine.stop) {
		if (!device_runnable()) {
			pthread_cond_wait(&machine.wake, &machine.lock);
			continue;
		}
		pthread_mutex_unlock(&machine.lock);
		__atomic_store_n(&machine.device_awake, false, __ATOMIC_RELEASE);
		machine.device_turns++;
		/* It may have been taken away just now. */
		if (device_step(cpu_random()))
			cpu_wake_device();
		machine.device_turns++;
		pthread_mutex_lock(&machine.lock);
	}
	pthread_mutex_unlock(&machine.lock);
	return NULL;
}

/* ---- scheduling points ---- */

/* The calling processor is finished for good. */
static void processor_park(void)
{
	current->parked = true;
	if (!machine.config.threads)
		fiber_switch_out();
	for (;;) {
		struct timespec ts = { .tv_sec = 1 };

		nanosleep(&ts, NULL);
	}
}

/* Others move. going_on: though the calling processor could go on as well. */
static void relax(bool going_on)
{
	if (cpu_dead())
		processor_park();
	if (machine.config.threads) {
		turn_over();
		sched_yield();
	} else if (others_runnable(current)) {
		machine.going_on = going_on;
		fiber_switch_out();
	}
}

void cpu_relax(void)
{
	current->looked = machine.moves;
	relax(false);
}

void cpu_let_callbacks_end(void)
{
	unsigned then[CPUS_MAX];

	for (unsigned i = 0; i < machine.config.cpus; i++)
		then[i] = cpu_left(&machine.cpus[i]);
	for (unsigned i = 0; i < machine.config.cpus; i++) {
		struct processor *p = &machine.cpus[i];

		while (p != current && cpu_left(p) == then[i] && !__atomic_load_n(&p->idle, __ATOMIC_ACQUIRE))
			cpu_relax();
	}
}

void cpu_await(struct cpu *const *owner)
{
	current->awaits = owner;
	cpu_relax();
	current->awaits = NULL;
}

/* The processor goes on, takes an interrupt, or another actor runs. */
static void point_by_schedule(void)
{
	unsigned ready[CPUS_MAX + 1];
	unsigned takes = interrupt_waiting(current->cpu.irql);
	unsigned count = actors_ready(current->cpu.index, false, ready);
	unsigned choice = schedule_choose(1 + takes + count, false);

	if (!choice)
		return;
	if (choice <= takes) {
		if (interrupt_take())
			cpu_lower(current->cpu.irql);
		return;
	}
	machine.next = ready[choice - 1 - takes];
	fiber_switch_out();
}

/* Anybody can be held up anywhere: only then do others come far enough to meet what it has begun. */
static void hold_up(void)
{
	uint64_t random = rng_next(&current->rng);
	struct timespec time = { .tv_nsec = (long)((random >> 32) % HOLD_UP_NS) };

	if (random % machine.config.hold_up == 0)
		nanosleep(&time, NULL);
}

void cpu_point(void)
{
	uint64_t random;

	if (!current)
		return;
	if (cpu_dead())
		processor_park();
	if (machine.config.threads) {
		turn_over();
		if (machine.config.hold_up)
			hold_up();
		if (interrupt_take())
			cpu_lower(current->cpu.irql);
		return;
	}
	machine_moved();
	if (++machine.steps == machine.pause)
		fiber_switch_out();
	if (schedule_decides()) {
		point_by_schedule();
		return;
	}
	random = rng_next(&machine.rng);
	if ((random & 3) && interrupt_take())
		cpu_lower(current->cpu.irql);
	if (((random >> 2) & 3) == 0)
		cpu_relax();
}

/* What a driver stalls for is given the chance to happen: a thread that does not run is no slow device. */
static void stall_beside_threads(uint64_t end)
{
	struct progress then;

	progress_note(&then);
	do {
		timers_fire(false);
		relax(true);
	} while (clock_now() < end || (clock_now() < end + STARVATION_US && somebody_starves(&then)));
}

void cpu_stall(uint64_t microseconds)
{
	uint64_t end = clock_now() + microseconds;

	current->cpu.waited += microseconds;
	if (machine.config.threads) {
		stall_beside_threads(end);
		return;
	}
	machine_moved();
	if (!pass_real_time(current, microseconds))
		machine.clock = end;
	for (;;) {
		timers_fire(false);
		relax(true);
		if (clock_now() >= end)
			break;
		if (!pass_real_time(current, end - machine.clock))
			machine.clock = end;
	}
}

void cpu_spend(uint64_t microseconds)
{
	if (!current)
		return;
	current->cpu.waited += microseconds;
	if (machine.config.threads)
		return;
	machine.clock += microseconds;
	timers_fire(false);
}

void cpu_set_device(bool (*step)(void *opaque, uint64_t random), bool (*busy)(void *opaque), void *opaque)
{
	__atomic_store_n(&machine.device_step, NULL, __ATOMIC_SEQ_CST);
	cpu_device_stands();
	machine.device_busy = busy;
	machine.device_opaque = opaque;
	__atomic_store_n(&machine.device_step, step, __ATOMIC_SEQ_CST);
}

void cpu_wake_device(void)
{
	__atomic_store_n(&machine.device_awake, true, __ATOMIC_RELEASE);
	cpu_wake();
}

void cpu_device_stands(void)
{
	unsigned then = machine.device_turns;

	while (then & 1 && machine.device_turns == then)
		sched_yield();
}

void cpu_wake(void)
{
	if (current && !machine.config.threads)
		return;
	pthread_mutex_lock(&machine.lock);
	pthread_cond_broadcast(&machine.wake);
	pthread_mutex_unlock(&machine.lock);
}

/* ---- front ends ---- */

/*
 * Whether a front end whose gate is open may go on. In the deterministic mode it waits until the machine stands still:
 * what it posts next must not depend on how fast it was.
 */
static bool waiter_released(void)
{
	return machine.config.threads || machine.config.free_running || machine.parked;
}

void gate_open(struct gate *gate)
{
	pthread_mutex_lock(&machine.lock);
	gate->open = true;
	if (gate->waiter) {
		machine.goals--;
		pthread_cond_signal(&gate->waiter->wake);
	}
	pthread_mutex_unlock(&machine.lock);
}

/* Under machine.lock. */
static void waiter_enter(struct waiter *waiter, struct gate *gate)
{
	gate->waiter = waiter;
	waiter->next = machine.waiters;
	waiter->link = &machine.waiters;
	if (waiter->next)
		waiter->next->link = &waiter->next;
	machine.waiters = waiter;
	machine.goals++;
	machine.parked = false;
	pthread_cond_broadcast(&machine.wake);
}

static void waiter_leave(struct waiter *waiter, struct gate *gate)
{
	gate->waiter = NULL;
	*waiter->link = waiter->next;
	if (waiter->next)
		waiter->next->link = waiter->link;
}

bool cpu_wait(struct gate *gate)
{
	struct waiter waiter = { .wake = PTHREAD_COND_INITIALIZER };
	bool open;

	pthread_mutex_lock(&machine.lock);
	if (!gate->open && !machine.dead) {
		waiter_enter(&waiter, gate);
		while (machine.config.lent && engine_should_run())
			engine_turn();
		while (!machine.config.lent && !machine.dead && !(gate->open && waiter_released()))
			pthread_cond_wait(&waiter.wake, &machine.lock);
		waiter_leave(&waiter, gate);
	}
	open = gate->open;
	pthread_mutex_unlock(&machine.lock);
	pthread_cond_destroy(&waiter.wake);
	return open;
}

/* until: the step at which it is over at the latest. */
static bool rest_wait(uint64_t until)
{
	/* Not on the stack, as in cpu_call. */
	struct gate *gate;
	bool done;

	if (machine.config.threads)
		return threads_rest_wait();
	gate = calloc(1, sizeof(*gate));
	if (!gate)
		return false;
	machine.pause = until;
	__atomic_store_n(&machine.rest, gate, __ATOMIC_RELEASE);
	done = cpu_wait(gate);
	machine.pause = UINT64_MAX;
	if (done)
		free(gate);
	return done;
}

bool cpu_rest(void)
{
	return rest_wait(UINT64_MAX);
}

bool clock_is_real(void)
{
	return machine.config.threads;
}

bool cpu_run(uint64_t steps)
{
	return rest_wait(machine.steps + steps);
}

struct call {
	struct work work;
	struct gate gate;
	void (*fn)(void *opaque);
	void *opaque;
};

static void call_run(struct work *work)
{
	struct call *call = (struct call *)work;

	call->fn(call->opaque);
	gate_open(&call->gate);
}

static bool call(struct processor *p, void (*fn)(void *opaque), void *opaque)
{
	/* Not on the stack: if the machine dies the work stays queued. */
	struct call *call = calloc(1, sizeof(*call));
	bool done;

	if (!call)
		return false;
	call->work.run = call_run;
	call->fn = fn;
	call->opaque = opaque;
	queue_push(&p->inbox, &call->work);
	done = cpu_wait(&call->gate);
	if (done)
		free(call);
	return done;
}

bool cpu_call(unsigned index, void (*fn)(void *opaque), void *opaque)
{
	return call(&machine.cpus[index % machine.config.cpus], fn, opaque);
}

bool cpu_call_frozen(void (*fn)(void *opaque), void *opaque)
{
	return call(&machine.survivor, fn, opaque);
}

void cpu_die(const char *why)
{
	pthread_mutex_lock(&machine.lock);
	if (!machine.dead)
		snprintf(machine.death, sizeof(machine.death), "%s", why);
	__atomic_store_n(&machine.dead, true, __ATOMIC_RELEASE);
	waiters_signal();
	pthread_cond_broadcast(&machine.wake);
	pthread_mutex_unlock(&machine.lock);
	if (current)
		processor_park();
}

const char *cpu_death(void)
{
	return cpu_dead() ? machine.death : NULL;
}

/* ---- life ---- */

static void processor_clear(struct processor *p, unsigned index)
{
	memset(p, 0, sizeof(*p));
	p->cpu.index = index;
	p->rng.state = machine.config.seed + index;
	queue_init(&p->inbox);
	queue_init(&p->deferred);
}

static int processor_start(struct processor *p, struct error *err)
{
	if (!machine.config.threads)
		return fiber_create(p, err);
	if (pthread_create(&p->thread, NULL, processor_main, p))
		return error_set(err, "cannot start a thread for a processor");
	p->started = true;
	return 0;
}

static int machine_threads(struct error *err)
{
	if (!machine.config.threads) {
		machine.engine_started = !pthread_create(&machine.engine, NULL, engine_main, NULL);
		return machine.engine_started ? 0 : error_set(err, "cannot start the machine's thread");
	}
	machine.device_started = !pthread_create(&machine.device_thread, NULL, device_main, NULL);
	return machine.device_started ? 0 : error_set(err, "cannot start the device's thread");
}

int cpus_start(const struct cpu_config *config, struct error *err)
{
	if (config->cpus < 1 || config->cpus > CPUS_MAX)
		return error_set(err, "the number of processors must be 1 to %d", CPUS_MAX);
	if (config->schedule && config->threads)
		return error_set(err, "threads follow no schedule");
	if (config->hold_up && !config->threads)
		return error_set(err, "only threads are held up: hold-up needs threads=1");
	memset(&machine, 0, sizeof(machine));
	machine.config = *config;
	machine.rng.state = config->seed;
	machine.pause = UINT64_MAX;
	machine.next = NOBODY;
	machine.moves = 1;
	schedule_follow(config->schedule);
	machine.epoch = monotonic_us();
	pthread_mutex_init(&machine.lock, NULL);
	pthread_cond_init(&machine.wake, NULL);
	for (unsigned i = 0; i < config->cpus; i++)
		processor_clear(&machine.cpus[i], i);
	for (unsigned i = 0; i < config->cpus; i++) {
		if (processor_start(&machine.cpus[i], err))
			return -1;
	}
	return config->lent ? trap_thread_init(err) : machine_threads(err);
}

/* ---- frozen ---- */

/* Its stack is left in the middle of whatever it did. */
static void processor_end(struct processor *p)
{
	if (p->stack)
		munmap(p->stack, FIBER_STACK);
	p->stack = NULL;
}

int cpu_freeze(unsigned irql, struct error *err)
{
	processor_clear(&machine.survivor, 0);
	if (processor_start(&machine.survivor, err))
		return -1;
	machine.survivor.cpu.irql = irql;
	machine.frozen = true;
	return 0;
}

void cpu_thaw(void)
{
	machine.frozen = false;
	processor_end(&machine.survivor);
}

int cpu_restart(struct error *err)
{
	cpu_thaw();
	machine.timers = NULL;
	interrupt_forget();
	for (unsigned i = 0; i < machine.config.cpus; i++) {
		processor_end(&machine.cpus[i]);
		processor_clear(&machine.cpus[i], i);
		if (processor_start(&machine.cpus[i], err))
			return -1;
	}
	return 0;
}

void cpus_stop(void)
{
	pthread_mutex_lock(&machine.lock);
	__atomic_store_n(&machine.stop, true, __ATOMIC_RELEASE);
	pthread_cond_broadcast(&machine.wake);
	pthread_mutex_unlock(&machine.lock);
	if (machine.engine_started)
		pthread_join(machine.engine, NULL);
	if (machine.device_started)
		pthread_join(machine.device_thread, NULL);
	for (unsigned i = 0; i < machine.config.cpus; i++) {
		struct processor *p = &machine.cpus[i];

		/* One of a dead machine may be anywhere in the driver, and stays there. */
		if (p->started && !machine.dead)
			pthread_join(p->thread, NULL);
		if (p->stack && !machine.dead)
			munmap(p->stack, FIBER_STACK);
	}
}

uint64_t cpu_steps(void)
{
	return machine.steps;
}
