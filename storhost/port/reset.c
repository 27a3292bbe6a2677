/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Time-outs and what follows. The logical unit has one countdown in seconds: loaded when its first request starts,
 * reloaded at each completion, stopped when nothing is outstanding. At zero: event 129, then a reset of the logical
 * unit, of the target, of the bus, until one succeeds [storport-win7 4.2].
 */
#include <string.h>

#include "port/internal.h"

#define SECOND_US 1000000u
#define RESET_TIMEOUT_S 10u
#define RETURN_STALLS 1000u
#define RETURN_STALL_US 10u
#define RESETS_MAX 3u /* ladders that fail in a row before the adapter is given up */

/* Requests that should have come back by now. Those that the device still has are no fault of the driver's. */
static void check_deadlines(struct port *port)
{
	uint64_t now = clock_now();

	if (port->device->ops->owes(port->device) || port->line.interrupt.masked)
		return;

	for (unsigned i = 0; i < port->slot_count; i++) {
		struct slot *slot = &port->slots[i];

		if (slot->state != SLOT_STARTED || slot->deadline > now || !slot->request)
			continue;
		verify_report(RULE_SRB_LOST, 0, "an SRB (function 0x%02x, opcode 0x%02x) is not completed after %u s",
			      slot->sent.Function, slot->sent.Cdb[0], slot->sent.TimeOutValue);
		slot->deadline = UINT64_MAX; /* told once */
	}
}

/* What a reset ends: requests to the unit. */
static bool ended_by_reset(const struct slot *slot)
{
	switch (slot->sent.Function) {
	case SRB_FUNCTION_EXECUTE_SCSI:
	case SRB_FUNCTION_FLUSH:
	case SRB_FUNCTION_SHUTDOWN:
	case SRB_FUNCTION_IO_CONTROL:
		return true;
	}
	return false;
}

unsigned reset_left(struct port *port, uint64_t order)
{
	unsigned left = 0;

	for (unsigned i = 0; i < port->slot_count; i++) {
		const struct slot *slot = &port->slots[i];

		left += slot->state == SLOT_STARTED && slot->order < order && ended_by_reset(slot);
	}
	return left;
}

/*
 * No reset ended what is outstanding. Its callers are told; its memory stays the device's until the miniport says that
 * it is not.
 */
static void give_up(struct port *port)
{
	log_event(port, "the adapter does not recover: its requests fail");
	port->failed = true;
	for (unsigned i = 0; i < port->slot_count; i++) {
		struct slot *slot = &port->slots[i];
		struct port_request *request = slot->state == SLOT_STARTED ? slot_take_request(slot) : NULL;

		if (!request)
			continue;
		request->srb_status = SRB_STATUS_TIMEOUT;
		request->scsi_status = 0;
		request->transferred = 0;
		request->sense_length = 0;
		queue_finished(port, request, false);
	}
	queue_fail(port);
}

static void reset_over(struct port *port, bool done)
{
	port->failed_resets = done ? 0 : port->failed_resets + 1;
	if (port->failed_resets >= RESETS_MAX)
		give_up(port);
	port->resetting = false;
	queue_dispatch_later(port);
}

/*
 * Requests started before `order` that are not back. A DPC on another processor may be giving some of them back, and may
 * have been kept from it by the StartIo lock, which the port itself held: it gets a moment.
 */
static unsigned bus_reset_left(struct port *port, uint64_t order)
{
	unsigned left = reset_left(port, order);

	for (unsigned i = 0; i < RETURN_STALLS && left; i++) {
		cpu_stall(RETURN_STALL_US);
		left = reset_left(port, order);
	}
	return left;
}

static bool bus_reset(struct port *port)
{
	struct frame frame;
	unsigned left = 0;
	uint64_t order;
	BOOLEAN done;
	int irql = lock_acquire(&port->startio, 0);

	count64_add(&port->stats.resets);
	order = port->order + 1;
	callback_enter(&frame, CB_RESET_BUS);
	done = port->init.HwResetBus(port->extension, 0);
	callback_leave(&frame);
	lock_release(&port->startio, (unsigned)irql, 0);
	if (done)
		left = bus_reset_left(port, order);
	if (left)
		verify_report(RULE_RESET_OUTSTANDING, 0, "%u requests are outstanding after HwResetBus", left);
	return done && !left;
}

static void rung_done(struct port_request *request);

/* Tries one rung of the ladder: the reset request that `function` names. */
static void rung_try(struct port *port, uint8_t function)
{
	struct port_request *request = &port->reset_request;

	memset(request, 0, sizeof(*request));
	request->function = function;
	request->own = true;
	request->timeout = RESET_TIMEOUT_S;
	request->done = rung_done;
	request->cpu = cpu_self()->index;
	port->reset_deadline = clock_now() + RESET_TIMEOUT_S * (uint64_t)SECOND_US;
	port_submit(port, request);
}

static void rung_failed(struct port *port, uint8_t function)
{
	if (function == SRB_FUNCTION_RESET_LOGICAL_UNIT && port->config->ResetTargetSupported) {
		rung_try(port, SRB_FUNCTION_RESET_DEVICE);
		return;
	}
	port->reset_deadline = UINT64_MAX;
	reset_over(port, bus_reset(port));
}

static void rung_done(struct port_request *request)
{
	struct port *port = request->port;

	if (request->srb_status == SRB_STATUS_SUCCESS)
		reset_over(port, !request->left);
	else
		rung_failed(port, request->function);
}

/*
 * A reset request that does not come back is taken from the miniport as far as the ladder is concerned. What the device
 * holds is no excuse: a reset is what ends that.
 */
static void rung_check(struct port *port)
{
	uint8_t function = port->reset_request.function;

	if (!port->resetting || clock_now() < port->reset_deadline)
		return;
	for (unsigned i = 0; i < port->slot_count; i++) {
		struct slot *slot = &port->slots[i];

		if (slot->state != SLOT_STARTED || slot->request != &port->reset_request || !slot_take_request(slot))
			continue;
		verify_report(RULE_SRB_LOST, 0, "a reset request (function 0x%02x) is not completed after %u s",
			      function, RESET_TIMEOUT_S);
		queue_forget(port);
		rung_failed(port, function);
		return;
	}
}

static void ladder_start(struct port *port)
{
	log_event(port, "reset to device, \\Device\\RaidPort0, was issued (event 129)");
	count64_add(&port->stats.timeouts);
	port->resetting = true;
	rung_try(port, SRB_FUNCTION_RESET_LOGICAL_UNIT);
}

static void tick_run(struct work *work);

/* A second from now, unless the next tick is set already. */
static void tick_set(struct port *port)
{
	if (!__atomic_exchange_n(&port->ticking, true, __ATOMIC_ACQ_REL))
		timer_set(&port->tick, SECOND_US, tick_run);
}

static void tick_run(struct work *work)
{
	struct port *port = container_of(work, struct port, tick.work);

	__atomic_store_n(&port->ticking, false, __ATOMIC_SEQ_CST);
	/* Looked at after the flag was cleared: a request that starts now finds it so. */
	if (!port->outstanding || !port->started)
		return;
	rung_check(port);
	check_deadlines(port);
	if (!port->resetting && __atomic_load_n(&port->countdown, __ATOMIC_ACQUIRE) > 0 &&
	    __atomic_sub_fetch(&port->countdown, 1, __ATOMIC_ACQ_REL) == 0)
		ladder_start(port);
	tick_set(port);
}

static void countdown_load(struct port *port, const struct slot *slot)
{
	__atomic_store_n(&port->countdown, (int)slot->timeout, __ATOMIC_RELEASE);
}

void reset_arm(struct port *port, const struct slot *slot)
{
	if (__atomic_load_n(&port->countdown, __ATOMIC_ACQUIRE) <= 0)
		countdown_load(port, slot);
	tick_set(port);
}

void reset_reload(struct port *port)
{
	const struct slot *oldest = NULL;

	for (unsigned i = 0; i < port->slot_count; i++) {
		const struct slot *slot = &port->slots[i];

		if ((slot->state == SLOT_STARTED || slot->state == SLOT_BUILDING) && slot->request &&
		    (!oldest || slot->sequence < oldest->sequence))
			oldest = slot;
	}
	if (oldest)
		countdown_load(port, oldest);
	else
		__atomic_store_n(&port->countdown, 0, __ATOMIC_RELEASE);
}

struct bus_reset_call {
	struct port *port;
	bool done;
};

static void bus_reset_run(void *opaque)
{
	struct bus_reset_call *call = opaque;

	call->done = bus_reset(call->port);
}

bool port_reset_bus(struct port *port)
{
	struct bus_reset_call call = { port, false };

	return cpu_call(0, bus_reset_run, &call) && call.done;
}
