/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* StorPortNotification: completions, DPCs, locks, timers. */
#include "base/inject.h"
#include "port/internal.h"
#include "nt/guest.h"

/* No processor's stack is larger. */
#define STACK_BYTES (512u << 10)

static void dpc_run(struct work *work)
{
	struct dpc *dpc = container_of(work, struct dpc, work);
	struct port *port = dpc->port;
	HW_DPC_ROUTINE *routine = (HW_DPC_ROUTINE *)dpc->routine;
	struct frame frame;
	void *arg1, *arg2;
	int irql;

	/* From here on the DPC may be queued again, and may run on another processor at the same time. */
	machine_lock();
	arg1 = dpc->arg1;
	arg2 = dpc->arg2;
	dpc->queued = false;
	dpc->running++;
	machine_unlock();
	/* Whether the port holds the DPC's own lock meanwhile is told differently by different pages: both are tried. */
	irql = port->dpc_locked ? lock_acquire(&dpc->lock, 0) : -1;
	count64_add(&port->stats.dpcs);
	callback_enter(&frame, CB_DPC);
	if (port->started)
		routine(dpc->object, port->extension, arg1, arg2);
	callback_leave(&frame);
	if (irql >= 0)
		lock_release(&dpc->lock, (unsigned)irql, 0);
	machine_lock();
	dpc->running--;
	machine_unlock();
}

void dpcs_await(struct port *port)
{
	for (bool busy = true; busy && !cpu_dead();) {
		busy = false;
		machine_lock();
		for (unsigned i = 0; i < DPCS; i++)
			busy |= port->dpcs[i].queued || port->dpcs[i].running;
		machine_unlock();
		cpu_lower(cpu_self()->irql);
		if (busy)
			cpu_relax();
	}
}

static struct dpc *dpc_find(struct port *port, const STOR_DPC *object)
{
	for (unsigned i = 0; i < DPCS; i++) {
		if (port->dpcs[i].object == object)
			return &port->dpcs[i];
	}
	return NULL;
}

static void dpc_initialize(struct port *port, STOR_DPC *object, void *routine, uintptr_t pc)
{
	static const struct call_rule rule = { "StorPortInitializeDpc", IRQL_PASSIVE, CB_PASSIVE_INITIALIZE };
	struct dpc *dpc = dpc_find(port, object);

	call_check(&rule, pc);
	if (!dpc)
		dpc = dpc_find(port, NULL);
	if (!call_target(port, routine, "the routine of a DPC", pc))
		return;
	if (!dpc || !object) {
		verify_report(RULE_CALL_ARGUMENT, pc, "StorPortInitializeDpc of %p, after %u others", (void *)object,
			      DPCS);
		return;
	}
	dpc->port = port;
	dpc->object = object;
	dpc->routine = routine;
	dpc->work.run = dpc_run;
	dpc->lock.name = "DPC";
	dpc->lock.rank = LOCK_DPC;
	dpc->lock.irql = IRQL_DISPATCH;
}

static bool dpc_issue(struct port *port, STOR_DPC *object, void *arg1, void *arg2, uintptr_t pc)
{
	struct dpc *dpc = object ? dpc_find(port, object) : NULL;
	bool queued;

	if (!dpc) {
		verify_report(RULE_DPC_INIT, pc, "a DPC at %p is issued that was never initialised", (void *)object);
		return false;
	}
	machine_lock();
	queued = !dpc->queued;
	if (queued) {
		dpc->queued = true;
		dpc->arg1 = arg1;
		dpc->arg2 = arg2;
	}
	machine_unlock();
	if (queued)
		cpu_defer(cpu_self(), &dpc->work);
	return queued;
}

static struct lock *spin_lock(struct port *port, STOR_SPINLOCK which, const void *context, uintptr_t pc)
{
	struct dpc *dpc;

	switch (which) {
	case StartIoLock:
		return &port->startio;
	case InterruptLock:
		return &port->interrupt_lock;
	case DpcLock:
		dpc = context ? dpc_find(port, context) : NULL;
		if (dpc)
			return &dpc->lock;
		break;
	default:
		break;
	}
	verify_report(RULE_CALL_ARGUMENT, pc, "there is no spin lock %d with context %p", (int)which, context);
	return NULL;
}

/*
 * Which callbacks may take which lock [storport-win7 3.2]. Interrupt routines may take none; HwInitialize and a stop of
 * the adapter hold the interrupt lock, which the order of ranks finds.
 */
static void spin_acquire(struct port *port, STOR_SPINLOCK which, void *context, STOR_LOCK_HANDLE *handle, uintptr_t pc)
{
	static const struct call_rule rule = { "StorPortAcquireSpinLock", IRQL_DEVICE,
					       CB_PASSIVE_INITIALIZE | CB_BUILD_IO | CB_START_IO | CB_DPC | CB_TIMER |
						       CB_RESET_BUS | CB_ADAPTER_CONTROL };
	struct lock *lock = spin_lock(port, which, context, pc);
	STOR_LOCK_HANDLE filled = { .Lock = which };
	int irql;

	call_check(&rule, pc);
	if (!lock)
		return;
	if ((uintptr_t)handle - (uintptr_t)__builtin_frame_address(0) >= STACK_BYTES)
		verify_report(RULE_LOCK_HANDLE, pc, "the handle of the %s lock at %p is not on the stack", lock->name,
			      (void *)handle);
	irql = lock_acquire(lock, pc);
	filled.Context.LockQueue.Lock = lock;
	filled.Context.OldIrql = (KIRQL)irql;
	guest_write(handle, &filled, sizeof(filled), pc);
}

static void spin_release(struct port *port, STOR_LOCK_HANDLE *handle, uintptr_t pc)
{
	STOR_LOCK_HANDLE filled;
	struct lock *lock = NULL;

	if (!guest_read(&filled, handle, sizeof(filled), pc))
		return;
	lock = filled.Context.LockQueue.Lock;
	if (lock != &port->startio && lock != &port->interrupt_lock) {
		lock = NULL;
		for (unsigned i = 0; i < DPCS; i++) {
			if (filled.Context.LockQueue.Lock == (void *)&port->dpcs[i].lock)
				lock = &port->dpcs[i].lock;
		}
	}
	if (!lock) {
		verify_report(RULE_LOCK_RELEASE, pc, "a lock handle is released that holds no lock");
		return;
	}
	filled.Context.LockQueue.Lock = NULL;
	guest_write(handle, &filled, sizeof(filled), pc);
	lock_release(lock, filled.Context.OldIrql, pc);
	cpu_point();
}

static void timer_run(struct work *work)
{
	struct port *port = container_of(work, struct port, driver_timer.work);
	struct frame frame;
	int irql = lock_acquire(&port->startio, 0);

	callback_enter(&frame, CB_TIMER);
	if (port->started && port->timer_routine)
		port->timer_routine(port->extension);
	callback_leave(&frame);
	lock_release(&port->startio, (unsigned)irql, 0);
}

static void timer_request(struct port *port, PHW_TIMER routine, ULONG microseconds, uintptr_t pc)
{
	if (microseconds && !call_target(port, (void *)(uintptr_t)routine, "the routine of RequestTimerCall", pc))
		return;
	port->timer_routine = routine;
	if (microseconds)
		timer_set(&port->driver_timer, microseconds, timer_run);
	else
		timer_cancel(&port->driver_timer);
}

static void passive_enable(struct port *port, HW_PASSIVE_INITIALIZE_ROUTINE *routine, LONG *accepted, uintptr_t pc)
{
	enum callback callback = cpu_self()->callback;
	LONG yes = callback == CB_INITIALIZE &&
		   call_target(port, (void *)(uintptr_t)routine, "the passive initialization routine", pc) &&
		   !inject(INJECT_CALL, "StorPortEnablePassiveInitialization");

	if (callback != CB_INITIALIZE)
		verify_report(RULE_PASSIVE_ENABLE, pc, "StorPortEnablePassiveInitialization is called from %s",
			      callback_name(callback));
	if (yes)
		port->passive = routine;
	guest_write(accepted, &yes, sizeof(yes), pc);
}

/* Those that only inform. False: no such notification. */
static bool notify_event(struct port *port, SCSI_NOTIFICATION_TYPE type, guest_va_list *ap, uintptr_t pc)
{
	unsigned path;

	switch (type) {
	case ResetDetected:
		log_event(port, "the miniport reported a bus reset");
		return true;
	case BusChangeDetected:
		path = (unsigned)guest_va_arg(*ap, int) & 0xffu;
		if (path >= port->config->NumberOfBuses)
			verify_report(RULE_CALL_ARGUMENT, pc, "BusChangeDetected of path %u, and there are %u", path,
				      port->config->NumberOfBuses);
		__atomic_store_n(&port->bus_changed, true, __ATOMIC_RELEASE);
		return true;
	case LinkDown:
		queue_pause(port, 30);
		return true;
	case LinkUp:
		queue_resume(port);
		return true;
	case WMIEvent:
	case WMIReregister:
		return true;
	case BufferOverrunDetected:
		verify_report(RULE_DRIVER_FAULT, pc, "the miniport reported a buffer overrun");
		cpu_die("the miniport reported a buffer overrun");
		return true;
	default:
		return false;
	}
}

static void notify(SCSI_NOTIFICATION_TYPE type, struct port *port, guest_va_list *ap, uintptr_t pc)
{
	void *first, *second, *third;
	LONG queued;

	if (port->dump && dump_notify(type, port, ap, pc))
		return;
	switch ((int)type) {
	case RequestComplete:
		srb_complete(port, guest_va_arg(*ap, void *), pc);
		return;
	case RequestTimerCall:
		first = guest_va_arg(*ap, void *);
		timer_request(port, (PHW_TIMER)first, guest_va_arg(*ap, ULONG), pc);
		return;
	case QueryTickCount:
		first = guest_va_arg(*ap, void *);
		guest_write(first, &(LONGLONG){ (LONGLONG)(clock_now() / 15625) }, sizeof(LONGLONG), pc);
		return;
	case EnablePassiveInitialization:
		first = guest_va_arg(*ap, void *);
		passive_enable(port, (HW_PASSIVE_INITIALIZE_ROUTINE *)first, guest_va_arg(*ap, LONG *), pc);
		return;
	case InitializeDpc:
		first = guest_va_arg(*ap, void *);
		dpc_initialize(port, first, guest_va_arg(*ap, void *), pc);
		return;
	case IssueDpc:
		first = guest_va_arg(*ap, void *);
		second = guest_va_arg(*ap, void *);
		third = guest_va_arg(*ap, void *);
		queued = dpc_issue(port, first, second, third, pc);
		guest_write(guest_va_arg(*ap, LONG *), &queued, sizeof(queued), pc);
		return;
	case AcquireSpinLock:
		queued = guest_va_arg(*ap, int);
		first = guest_va_arg(*ap, void *);
		spin_acquire(port, (STOR_SPINLOCK)queued, first, guest_va_arg(*ap, STOR_LOCK_HANDLE *), pc);
		return;
	case ReleaseSpinLock:
		spin_release(port, guest_va_arg(*ap, STOR_LOCK_HANDLE *), pc);
		return;
	}
	if (notify_event(port, type, ap, pc))
		return;
	verify_report((int)type > ReleaseSpinLock ? RULE_CALL_WINDOWS8 : RULE_CALL_NOTIFICATION, pc,
		      "StorPortNotification with type 0x%x", (unsigned)type);
}

VOID NTAPIV StorPortNotification(SCSI_NOTIFICATION_TYPE type, PVOID extension, ...)
{
	static const struct call_rule rule = { "StorPortNotification", IRQL_DEVICE, ~CB_DRIVER_ENTRY };
	struct port *port = port_of(extension, CALLER);
	guest_va_list ap;

	call_check(&rule, CALLER);
	if (!port)
		return;
	guest_va_start(ap, extension);
	notify(type, port, &ap, CALLER);
	guest_va_end(ap);
}

/* The old name of the same routine, kept by StorPort. */
VOID NTAPIV ScsiPortNotification(SCSI_NOTIFICATION_TYPE type, PVOID extension, ...)
{
	struct port *port = port_of(extension, CALLER);
	guest_va_list ap;

	cpu_point();
	if (!port)
		return;
	guest_va_start(ap, extension);
	notify(type, port, &ap, CALLER);
	guest_va_end(ap);
}
