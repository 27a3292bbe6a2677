/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The processors of the simulated machine: IRQL, deferred work, and who runs when.
 *
 * Everything that executes driver code does so on a virtual processor. There are two ways to run them:
 *
 *   deterministic (default)  One thread. Each processor is a stack of its own, and the device is one more actor. At
 *                            every scheduling point (an export's entry, a register access, waiting for a lock) the
 *                            seeded generator, or a schedule, may switch to another actor. The clock is virtual: it
 *                            moves by stalls and, when nobody can run, jumps to the next timer. The same seed and
 *                            schedule give the same run, unless somebody outside of the machine works for the device,
 *                            in real time: as long as he does, an idle machine's clock follows the real one, at an
 *                            eighth of its speed.
 *   threads                  Each processor is a thread, the device has one of its own, the clock is real. A stall ends
 *                            when its time is over and all others have got somewhere: a thread that the host keeps from
 *                            running is no slow device.
 *
 * Front ends live outside the machine: they post work to a processor and wait for a gate that the work opens. In the
 * deterministic mode the machine moves only while a front end waits (or always, when `free_running`).
 *
 * Work at PASSIVE_LEVEL comes from front ends. Deferred work (DPCs, completions, timers) runs at DISPATCH_LEVEL as soon
 * as the processor's IRQL falls below it. Interrupts are taken at scheduling points when the IRQL allows.
 */
#ifndef STORHOST_NT_CPU_H
#define STORHOST_NT_CPU_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "nt/rng.h"

enum { IRQL_PASSIVE = 0, IRQL_DISPATCH = 2, IRQL_DEVICE = 9, IRQL_HIGH = 15 };

/* The driver callback that a processor is in, innermost. Values are bits so that tables can name sets of them. */
enum callback {
	CB_NONE = 0,
	CB_DRIVER_ENTRY = 1 << 0,
	CB_FIND_ADAPTER = 1 << 1,
	CB_INITIALIZE = 1 << 2,
	CB_PASSIVE_INITIALIZE = 1 << 3,
	CB_BUILD_IO = 1 << 4,
	CB_START_IO = 1 << 5,
	CB_INTERRUPT = 1 << 6,
	CB_MS_INTERRUPT = 1 << 7,
	CB_DPC = 1 << 8,
	CB_TIMER = 1 << 9,
	CB_RESET_BUS = 1 << 10,
	CB_ADAPTER_CONTROL = 1 << 11,
	CB_SYNCHRONIZE = 1 << 12,
	CB_ANY = -1,
};

#define CPU_LOCKS_MAX 8

struct lock;
struct schedule;

struct work {
	struct work *next;
	void (*run)(struct work *work);
};

struct cpu {
	unsigned index;
	unsigned irql;
	enum callback callback;
	struct lock *held[CPU_LOCKS_MAX];
	unsigned held_count;
	uint64_t waited;  /* microseconds of stalls and register accesses in the present callback */
	unsigned entries; /* callbacks entered and left: whether it is still the same one */
	unsigned left;    /* how often it has left the outermost of them; others look at it */
};

struct cpu_config {
	unsigned cpus; /* 1 to CPUS_MAX */
	bool threads;
	unsigned hold_up;  /* with threads: one scheduling point in so many takes its time, up to a millisecond; or 0 */
	bool free_running; /* deterministic mode: run without a waiting front end */
	bool lent;         /* deterministic mode: run on the thread of the only front end, while that waits */
	unsigned watchdog; /* seconds of processor time that one callback may take; 0: any */
	uint64_t seed;
	const struct schedule *schedule; /* deterministic mode: who runs when, instead of the generator; or NULL */
};

#define CPUS_MAX 32

/* The processor that runs the calling code; NULL in a front end or device thread. */
struct cpu *cpu_self(void);
unsigned cpu_count(void);
struct cpu *cpu_at(unsigned index); /* modulo their number */
uint64_t cpu_random(void);          /* from the machine's generator; on a processor only */
/* One of count ways to go on, all of them right: 0 to count - 1. On a processor only. */
unsigned cpu_choose(unsigned count);

/* May come again after cpus_stop, unless the machine died. */
int cpus_start(const struct cpu_config *config, struct error *err);
void cpus_stop(void);

/* Post work from any thread or processor. The processor is woken. */
void cpu_post(unsigned index, struct work *work);   /* runs at PASSIVE_LEVEL */
void cpu_defer(struct cpu *cpu, struct work *work); /* runs at DISPATCH_LEVEL */

/*
 * A gate is opened once, by the machine, and waited for by one front end thread. cpu_wait returns false if the machine
 * died first.
 */
struct gate {
	bool open;
	struct waiter *waiter; /* the front end, while it waits */
};
void gate_open(struct gate *gate);
bool cpu_wait(struct gate *gate);

/* Waits until nothing moves but timers (with threads: ten seconds at most); false if the machine died. Front ends only. */
bool cpu_rest(void);

/* Runs fn on a processor at PASSIVE_LEVEL and waits for its end; false if the machine died. Front ends only. */
bool cpu_call(unsigned index, void (*fn)(void *opaque), void *opaque);

/*
 * A crash, or hibernation; front ends only, and not with threads. From cpu_freeze on the processors stand still,
 * wherever they are, and one more executes by itself, at `irql` and without interrupts, what cpu_call_frozen gives it.
 * The device goes on. Then cpu_thaw: they go on, too; or cpu_restart: they begin anew, and what they were doing, their
 * timers and interrupts are forgotten.
 */
int cpu_freeze(unsigned irql, struct error *err);
bool cpu_call_frozen(void (*fn)(void *opaque), void *opaque);
void cpu_thaw(void);
int cpu_restart(struct error *err);
/* Lets the machine pass so many scheduling points, or fewer if nothing moves but timers; false if it died. */
bool cpu_run(uint64_t steps);

/* A scheduling point: interrupts may be taken, others may run. Callable at any IRQL on a processor. */
void cpu_point(void);
/* The calling processor can do nothing until another actor has moved; */
void cpu_relax(void);
/* or until *owner is NULL, as far as a schedule decides: it may return before. */
void cpu_await(struct cpu *const *owner);
/* Waits for the end of the callbacks that run on other processors now. On a processor that holds no lock. */
void cpu_let_callbacks_end(void);
/* Raising is free; lowering runs what had been waiting for it. */
unsigned cpu_raise(unsigned irql);
void cpu_lower(unsigned irql);
void cpu_stall(uint64_t microseconds); /* waits while the clock runs and others may move */
/* What the driver does takes so long. The real clock, where there is one, knows that by itself. */
void cpu_spend(uint64_t microseconds);

/* Whether the calling processor's callback has taken more processor time than the watchdog lets it, and how much that is. */
bool cpu_overdue(void);
unsigned cpu_watchdog(void);

/*
 * The device as an actor: step performs one piece of work and says whether there may be more. NULL: there is none.
 * busy (may be NULL): somebody outside works for the device, in real time, so that the clock does not jump.
 */
void cpu_set_device(bool (*step)(void *opaque, uint64_t random), bool (*busy)(void *opaque), void *opaque);
void cpu_wake_device(void);
/* Waits for the end of a step that is under way: what the caller changed before, the next step sees. On a processor. */
void cpu_device_stands(void);
/* Something that a processor looks at has changed. */
void cpu_wake(void);

/*
 * Ends the hosted driver's life after a crash: the calling processor never runs again, every gate fails, front ends go
 * on. Returns only to a caller that is not on a processor.
 */
void cpu_die(const char *why);
bool cpu_dead(void);
const char *cpu_death(void); /* why, or NULL */
uint64_t cpu_steps(void);    /* scheduling points passed so far: how far a deterministic run has come */

/* One lock for the machine's own tables. Never held while driver code runs or a scheduling point is passed. */
void machine_lock(void);
void machine_unlock(void);

/* The clock, in microseconds since the machine started. */
uint64_t clock_now(void);
/* Whether it goes on whoever waits: with threads. */
bool clock_is_real(void);

struct timer {
	struct timer *next;
	uint64_t due;
	bool armed;
	struct work work; /* deferred to a processor when due */
};
void timer_set(struct timer *timer, uint64_t delay, void (*run)(struct work *work));
void timer_cancel(struct timer *timer);

#endif
