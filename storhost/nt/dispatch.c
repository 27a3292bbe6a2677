/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * DPCs, timers, events and waits for them, of objects that drivers keep in their own memory.
 *
 * The signal state of an object is in its header, where Windows has it. What is queued, or when it is due, is kept
 * here, by the address of the object, until the driver is gone.
 */
#include <stdlib.h>
#include <string.h>

#include "base/container.h"
#include "nt/clock.h"
#include "nt/dispatch.h"
#include "nt/kernel.h"

#define OBJECTS_MAX 4096u

/* A wait looks again after so many microseconds, and for so many in all at most where it has no end of its own. */
#define WAIT_STEP_US 500u
#define WAIT_MAX_US 300000000u

typedef VOID NTAPI dpc_routine(void *dpc, void *context, void *first, void *second);

struct object {
	struct object *next;
	void *address;
	bool is_timer;
	struct work work; /* of a DPC */
	bool queued;      /* it is to run */
	bool pending;     /* its work is on a processor's list */
	dpc_routine *routine;
	void *context, *first, *second;
	struct timer timer;
	struct object *dpc; /* that the timer queues; NULL: none */
	uint64_t period;    /* microseconds; 0: once */
	unsigned target;    /* processor, plus one; 0: whichever queues it */
};

/* DISPATCHER_HEADER: the part that Windows documents by the kinds of objects. */
struct header {
	UCHAR type, absolute, size, inserted;
	LONG signal_state;
	LIST_ENTRY wait_list;
};

enum {
	TYPE_NOTIFICATION_EVENT = 0,
	TYPE_SYNCHRONIZATION_EVENT = 1,
	TYPE_SEMAPHORE = 5,
	TYPE_NOTIFICATION_TIMER = 8,
	TYPE_SYNCHRONIZATION_TIMER = 9,
};

static struct object *objects;

static struct object *object_find(const void *address, bool is_timer)
{
	struct object *object = objects;

	while (object && (object->address != address || object->is_timer != is_timer))
		object = object->next;
	return object;
}

/* The one at that address, made if need be. */
static struct object *object_at(void *address, bool is_timer, uintptr_t pc)
{
	static unsigned count;
	struct object *object;

	machine_lock();
	object = object_find(address, is_timer);
	if (!object && count < OBJECTS_MAX) {
		object = calloc(1, sizeof(*object));
		if (object) {
			object->address = address;
			object->is_timer = is_timer;
			object->next = objects;
			objects = object;
			count++;
		}
	}
	machine_unlock();
	if (!object)
		kernel_stop(pc, "there are more than %u DPCs and timers", OBJECTS_MAX);
	return object;
}

static bool header_write(void *object, UCHAR type, LONG state, uintptr_t pc)
{
	struct header header = { .type = type, .signal_state = state };

	header.wait_list.Flink = header.wait_list.Blink = &((struct header *)object)->wait_list;
	return guest_write(object, &header, sizeof(header), pc);
}

/* ---- DPCs ---- */

static void dpc_call(void *opaque)
{
	struct object *dpc = opaque;
	void *first, *second;
	bool queued;

	/* From here on it may be queued again. */
	machine_lock();
	first = dpc->first;
	second = dpc->second;
	queued = dpc->queued;
	dpc->queued = dpc->pending = false;
	machine_unlock();
	if (queued)
		dpc->routine(dpc->address, dpc->context, first, second);
}

static void dpc_run(struct work *work)
{
	kernel_run_driver(CB_DPC, dpc_call, container_of(work, struct object, work));
}

static bool dpc_queue(struct object *dpc, void *first, void *second)
{
	bool queued, defer;

	machine_lock();
	queued = !dpc->queued;
	defer = queued && !dpc->pending;
	if (queued) {
		dpc->queued = dpc->pending = true;
		dpc->first = first;
		dpc->second = second;
	}
	machine_unlock();
	if (defer)
		cpu_defer(dpc->target ? cpu_at(dpc->target - 1) : cpu_self(), &dpc->work);
	return queued;
}

static struct object *dpc_known(void *address, const char *name, uintptr_t pc)
{
	struct object *dpc;

	machine_lock();
	dpc = object_find(address, false);
	machine_unlock();
	if (!dpc || !dpc->routine) {
		verify_report(RULE_DPC_INIT, pc, "%s of a DPC at %p that was never initialised", name, address);
		return NULL;
	}
	return dpc;
}

static VOID NTAPI initialize_dpc(void *address, dpc_routine *routine, void *context)
{
	struct object *dpc;

	kernel_call("KeInitializeDpc", IRQL_HIGH, KERNEL_ALLOWED, CALLER);
	dpc = object_at(address, false, CALLER);
	dpc->work.run = dpc_run;
	dpc->routine = routine;
	dpc->context = context;
	dpc->target = 0;
}

static BOOLEAN NTAPI insert_queue_dpc(void *address, void *first, void *second)
{
	struct object *dpc;

	kernel_call("KeInsertQueueDpc", IRQL_HIGH, KERNEL_PROHIBITED, CALLER);
	dpc = dpc_known(address, "KeInsertQueueDpc", CALLER);
	return dpc && dpc_queue(dpc, first, second);
}

static BOOLEAN NTAPI remove_queue_dpc(void *address)
{
	struct object *dpc;
	bool was = false;

	kernel_call("KeRemoveQueueDpc", IRQL_HIGH, KERNEL_PROHIBITED, CALLER);
	dpc = dpc_known(address, "KeRemoveQueueDpc", CALLER);
	machine_lock();
	if (dpc) {
		was = dpc->queued;
		dpc->queued = false;
	}
	machine_unlock();
	return was;
}

/* Each is run as soon as the IRQL allows, whatever its importance. */
static VOID NTAPI set_importance(void *address, ULONG value)
{
	(void)value;
	kernel_call("KeSetImportanceDpc", IRQL_HIGH, KERNEL_ALLOWED, CALLER);
	dpc_known(address, "KeSetImportanceDpc", CALLER);
}

static VOID NTAPI set_target(void *address, CCHAR number)
{
	struct object *dpc;

	kernel_call("KeSetTargetProcessorDpc", IRQL_HIGH, KERNEL_ALLOWED, CALLER);
	dpc = dpc_known(address, "KeSetTargetProcessorDpc", CALLER);
	if (number < 0 || (unsigned)number >= cpu_count())
		verify_report(RULE_CALL_ARGUMENT, CALLER, "KeSetTargetProcessorDpc to processor %d of %u", number,
			      cpu_count());
	else if (dpc)
		dpc->target = (unsigned)number + 1;
}

static VOID NTAPI flush_queued_dpcs(void)
{
	bool queued = true;

	kernel_call("KeFlushQueuedDpcs", IRQL_PASSIVE, KERNEL_PROHIBITED, CALLER);
	while (queued) {
		queued = false;
		machine_lock();
		for (struct object *object = objects; object; object = object->next)
			queued |= object->queued;
		machine_unlock();
		cpu_lower(cpu_self()->irql);
		cpu_relax();
	}
}

/* ---- timers ---- */

static void timer_expire(struct work *work)
{
	struct object *timer = container_of(work, struct object, timer.work);

	guest_write(&((struct header *)timer->address)->signal_state, &(LONG){ 1 }, sizeof(LONG), 0);
	if (timer->dpc)
		dpc_queue(timer->dpc, NULL, NULL);
	if (timer->period)
		timer_set(&timer->timer, timer->period, timer_expire);
	cpu_wake();
}

/* 100 ns units: negative from now on, others a date. */
static uint64_t until(LONGLONG due)
{
	LONGLONG now = (LONGLONG)clock_system_time();

	if (due < 0)
		return ((uint64_t)0 - (uint64_t)due) / 10;
	return due > now ? (uint64_t)(due - now) / 10 : 0;
}

static BOOLEAN timer_start(void *address, LONGLONG due, LONG period, void *dpc, const char *name, uintptr_t pc)
{
	struct object *timer;
	BOOLEAN was;

	kernel_call(name, IRQL_DISPATCH, KERNEL_PROHIBITED, pc);
	timer = object_at(address, true, pc);
	was = timer->timer.armed;
	timer->dpc = dpc ? dpc_known(dpc, name, pc) : NULL;
	timer->period = period > 0 ? (uint64_t)period * 1000 : 0;
	guest_write(&((struct header *)address)->signal_state, &(LONG){ 0 }, sizeof(LONG), pc);
	timer_set(&timer->timer, until(due), timer_expire);
	return was;
}

static BOOLEAN NTAPI set_timer(void *address, LONGLONG due, void *dpc)
{
	return timer_start(address, due, 0, dpc, "KeSetTimer", CALLER);
}

static BOOLEAN NTAPI set_timer_ex(void *address, LONGLONG due, LONG period, void *dpc)
{
	return timer_start(address, due, period, dpc, "KeSetTimerEx", CALLER);
}

static VOID NTAPI initialize_timer(void *address)
{
	kernel_call("KeInitializeTimer", IRQL_DISPATCH, KERNEL_PROHIBITED, CALLER);
	header_write(address, TYPE_NOTIFICATION_TIMER, 0, CALLER);
}

static VOID NTAPI initialize_timer_ex(void *address, ULONG type)
{
	kernel_call("KeInitializeTimerEx", IRQL_DISPATCH, KERNEL_PROHIBITED, CALLER);
	header_write(address, type ? TYPE_SYNCHRONIZATION_TIMER : TYPE_NOTIFICATION_TIMER, 0, CALLER);
}

static BOOLEAN NTAPI cancel_timer(void *address)
{
	struct object *timer;
	BOOLEAN was;

	kernel_call("KeCancelTimer", IRQL_DISPATCH, KERNEL_PROHIBITED, CALLER);
	timer = object_at(address, true, CALLER);
	was = timer->timer.armed;
	timer_cancel(&timer->timer);
	timer->period = 0;
	return was;
}

/* ---- events and waits ---- */

static VOID NTAPI initialize_event(void *address, ULONG type, BOOLEAN state)
{
	kernel_call("KeInitializeEvent", IRQL_HIGH, KERNEL_PROHIBITED, CALLER);
	header_write(address, type ? TYPE_SYNCHRONIZATION_EVENT : TYPE_NOTIFICATION_EVENT, state != 0, CALLER);
}

/* Returns the state that was. */
static LONG signal_set(void *address, LONG state, const char *name, unsigned irql, uintptr_t pc)
{
	struct header header = { .signal_state = 0 };

	kernel_call(name, irql, KERNEL_PROHIBITED, pc);
	machine_lock();
	if (!guest_read(&header, address, sizeof(header), pc))
		header.signal_state = 0;
	else
		guest_write(&((struct header *)address)->signal_state, &state, sizeof(state), pc);
	machine_unlock();
	cpu_wake();
	return header.signal_state;
}

static LONG NTAPI set_event(void *address, LONG increment, BOOLEAN wait)
{
	(void)increment;
	(void)wait;
	return signal_set(address, 1, "KeSetEvent", IRQL_DISPATCH, CALLER);
}

static LONG NTAPI reset_event(void *address)
{
	return signal_set(address, 0, "KeResetEvent", IRQL_DISPATCH, CALLER);
}

static VOID NTAPI clear_event(void *address)
{
	signal_set(address, 0, "KeClearEvent", IRQL_DISPATCH, CALLER);
}

static LONG state_of(void *address, const char *name, uintptr_t pc)
{
	struct header header = { .signal_state = 0 };

	kernel_call(name, IRQL_DISPATCH, KERNEL_PROHIBITED, pc);
	guest_read(&header, address, sizeof(header), pc);
	return header.signal_state;
}

static LONG NTAPI read_event(void *address)
{
	return state_of(address, "KeReadStateEvent", CALLER);
}

static BOOLEAN NTAPI read_timer(void *address)
{
	return state_of(address, "KeReadStateTimer", CALLER) != 0;
}

/* Takes what the object gives to the one waiter that gets it; false: it is not signalled. */
static bool wait_satisfied(void *address, bool take, uintptr_t pc)
{
	struct header header;
	bool signalled = false;

	machine_lock();
	if (guest_read(&header, address, sizeof(header), pc) && header.signal_state > 0) {
		signalled = true;
		if (header.type == TYPE_SYNCHRONIZATION_EVENT || header.type == TYPE_SYNCHRONIZATION_TIMER)
			header.signal_state = 0;
		else if (header.type == TYPE_SEMAPHORE)
			header.signal_state--;
		if (take)
			guest_write(&((struct header *)address)->signal_state, &header.signal_state, sizeof(LONG), pc);
	}
	machine_unlock();
	return signalled;
}

/* One pass: STATUS_WAIT_0 and so on, or STATUS_TIMEOUT. */
static NTSTATUS wait_try(ULONG count, void **addresses, bool all, uintptr_t pc)
{
	ULONG ready = 0;

	for (ULONG i = 0; i < count; i++) {
		if (!wait_satisfied(addresses[i], !all, pc))
			continue;
		if (!all)
			return (NTSTATUS)i;
		ready++;
	}
	if (!all || ready < count)
		return STATUS_TIMEOUT;
	for (ULONG i = 0; i < count; i++)
		wait_satisfied(addresses[i], true, pc);
	return STATUS_SUCCESS;
}

static NTSTATUS wait_for(ULONG count, void **addresses, bool all, const LONGLONG *timeout, const char *name,
			 uintptr_t pc)
{
	LONGLONG due = 0;
	uint64_t end = clock_now() + WAIT_MAX_US;
	NTSTATUS status;

	if (timeout && !guest_read(&due, timeout, sizeof(due), pc))
		return STATUS_INVALID_PARAMETER;
	kernel_call(name, timeout && !due ? IRQL_DISPATCH : 1, KERNEL_PROHIBITED, pc);
	if (cpu_self()->irql >= IRQL_DISPATCH && !(timeout && !due))
		kernel_stop(pc, "%s waits at IRQL %u", name, cpu_self()->irql);
	if (timeout)
		end = clock_now() + until(due);
	for (;;) {
		status = wait_try(count, addresses, all, pc);
		if (status != STATUS_TIMEOUT || clock_now() >= end)
			break;
		cpu_stall(WAIT_STEP_US);
		cpu_lower(cpu_self()->irql);
	}
	if (status == STATUS_TIMEOUT && !timeout)
		kernel_stop(pc, "%s waits for ever", name);
	return status;
}

static NTSTATUS NTAPI wait_for_single(void *address, ULONG reason, UCHAR mode, BOOLEAN alertable,
				      const LONGLONG *timeout)
{
	(void)reason;
	(void)mode;
	(void)alertable;
	return wait_for(1, &address, false, timeout, "KeWaitForSingleObject", CALLER);
}

#define WAITS_MAX 64u

static NTSTATUS NTAPI wait_for_multiple(ULONG count, void **addresses, ULONG type, ULONG reason, UCHAR mode,
					BOOLEAN alertable, const LONGLONG *timeout, void *blocks)
{
	void *copy[WAITS_MAX];

	(void)reason;
	(void)mode;
	(void)alertable;
	if (!count || count > WAITS_MAX || (count > 3 && !blocks))
		kernel_stop(CALLER, "KeWaitForMultipleObjects of %u objects", count);
	if (!guest_read(copy, addresses, count * sizeof(*copy), CALLER))
		return STATUS_INVALID_PARAMETER;
	return wait_for(count, copy, type == 0, timeout, "KeWaitForMultipleObjects", CALLER);
}

static NTSTATUS NTAPI delay_execution(UCHAR mode, BOOLEAN alertable, const LONGLONG *interval)
{
	(void)mode;
	(void)alertable;
	if (wait_for(0, NULL, false, interval, "KeDelayExecutionThread", CALLER) == STATUS_INVALID_PARAMETER)
		return STATUS_INVALID_PARAMETER;
	return STATUS_SUCCESS;
}

void dispatch_forget(void)
{
	struct object *next;

	for (struct object *object = objects; object; object = next) {
		next = object->next;
		timer_cancel(&object->timer);
		free(object);
	}
	objects = NULL;
}

const struct export_entry dispatch_exports[] = {
	ENTRY("KeCancelTimer", cancel_timer),
	ENTRY("KeClearEvent", clear_event),
	ENTRY("KeDelayExecutionThread", delay_execution),
	ENTRY("KeFlushQueuedDpcs", flush_queued_dpcs),
	ENTRY("KeInitializeDpc", initialize_dpc),
	ENTRY("KeInitializeEvent", initialize_event),
	ENTRY("KeInitializeTimer", initialize_timer),
	ENTRY("KeInitializeTimerEx", initialize_timer_ex),
	ENTRY("KeInsertQueueDpc", insert_queue_dpc),
	ENTRY("KeReadStateEvent", read_event),
	ENTRY("KeReadStateTimer", read_timer),
	ENTRY("KeRemoveQueueDpc", remove_queue_dpc),
	ENTRY("KeResetEvent", reset_event),
	ENTRY("KeSetEvent", set_event),
	ENTRY("KeSetImportanceDpc", set_importance),
	ENTRY("KeSetTargetProcessorDpc", set_target),
	ENTRY("KeSetTimer", set_timer),
	ENTRY("KeSetTimerEx", set_timer_ex),
	ENTRY("KeWaitForMultipleObjects", wait_for_multiple),
	ENTRY("KeWaitForSingleObject", wait_for_single),
	{ NULL, NULL },
};
