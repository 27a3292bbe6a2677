/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The logical unit's queue: depth, pauses, busy periods, and handing requests to the miniport. */
#include <stdlib.h>

#include "port/internal.h"

#define BUSY_PAUSE_US 250000u /* BusyPauseTime, its default */
#define DISPATCH_DEPTH 2u
#define BYPASSES 4u

static void queue_lock(struct port *port)
{
	pthread_mutex_lock(&port->queue);
}

static void queue_unlock(struct port *port)
{
	pthread_mutex_unlock(&port->queue);
}

void queue_init(struct port *port)
{
	pthread_mutex_init(&port->queue, NULL);
	port->first = NULL;
	port->last = &port->first;
	port->depth = DEFAULT_DEPTH;
}

/* Requests that pass the queue: those that recover it, and those for the adapter. */
static bool request_bypasses(const struct port_request *request)
{
	switch (request->function) {
	case SRB_FUNCTION_RESET_LOGICAL_UNIT:
	case SRB_FUNCTION_RESET_DEVICE:
	case SRB_FUNCTION_RESET_BUS:
	case SRB_FUNCTION_PNP:
	case SRB_FUNCTION_POWER:
		return true;
	}
	return false;
}

/* Requests that may be outstanding: an SRB is kept for each of those that pass the queue. */
static unsigned queue_limit(const struct port *port)
{
	unsigned most = port->options.srbs ? port->options.srbs - BYPASSES : MAX_DEPTH;

	return port->depth < most ? port->depth : most;
}

/* Next request that may start now, counted as outstanding; NULL if none may. */
static struct port_request *queue_take(struct port *port)
{
	struct port_request *request;

	queue_lock(port);
	request = port->first;
	if (!request || port->held || port->paused || port->busy || port->backing_off ||
	    port->outstanding >= queue_limit(port) || port->resetting)
		request = NULL;
	if (request) {
		port->first = request->next;
		if (!port->first)
			port->last = &port->first;
		port->outstanding++;
	}
	queue_unlock(port);
	return request;
}

/* No caller of StorPort's may ask for so much, and no retry makes it less. */
static void request_refuse(struct port *port, struct port_request *request)
{
	request->srb_status = SRB_STATUS_INVALID_REQUEST;
	request->scsi_status = 0;
	request->transferred = 0;
	request->sense_length = 0;
	queue_finished(port, request, false);
}

static void request_issue(struct port *port, struct port_request *request)
{
	struct slot *slot;

	if (request->direction != DIRECTION_NONE && request->length > SGL_BYTES) {
		request_refuse(port, request);
		return;
	}
	slot = slot_prepare(port, request);

	if (!slot) {
		request->srb_status = SRB_STATUS_BUSY;
		queue_finished(port, request, true);
		return;
	}
	count64_add(&port->stats.requests);
	reset_arm(port, slot);
	slot_start(slot);
}

void queue_dispatch(struct port *port)
{
	unsigned *depth = &port->dispatching[cpu_self()->index];
	unsigned irql = cpu_raise(IRQL_DISPATCH);
	struct port_request *request;

	/* A completion inside HwStartIo comes back here; the outer loop will take the next one. */
	if (*depth < DISPATCH_DEPTH) {
		++*depth;
		while (!cpu_dead() && (request = queue_take(port)))
			request_issue(port, request);
		--*depth;
	}
	cpu_lower(irql);
}

static void dispatch_run(struct work *work)
{
	struct port *port = container_of(work, struct port, dispatch_work);

	__atomic_store_n(&port->dispatch_posted, false, __ATOMIC_RELEASE);
	queue_dispatch(port);
}

void queue_dispatch_later(struct port *port)
{
	if (__atomic_exchange_n(&port->dispatch_posted, true, __ATOMIC_ACQ_REL))
		return;
	port->dispatch_work.run = dispatch_run;
	cpu_defer(cpu_self(), &port->dispatch_work);
}

static void submit_run(struct work *work)
{
	struct port_request *request = container_of(work, struct port_request, work);
	struct port *port = request->port;
	unsigned irql;

	queue_lock(port);
	if (request_bypasses(request) && (request->own || !port->held)) {
		port->outstanding++;
		queue_unlock(port);
		irql = cpu_raise(IRQL_DISPATCH);
		request_issue(port, request);
		cpu_lower(irql);
		return;
	}
	request->next = NULL;
	*port->last = request;
	port->last = &request->next;
	queue_unlock(port);
	if (port->failed)
		queue_fail(port);
	queue_dispatch(port);
}

void port_submit(struct port *port, struct port_request *request)
{
	request->port = port;
	request->retries = 0;
	request->work.run = submit_run;
	cpu_post(request->cpu, &request->work);
}

struct execution {
	struct port_request request;
	struct gate gate;
};

static void execute_done(struct port_request *request)
{
	gate_open(&((struct execution *)request->opaque)->gate);
}

bool port_execute(struct port *port, struct port_request *request)
{
	/* Neither is on the stack: a machine that dies keeps pointing to both. */
	struct execution *execution = malloc(sizeof(*execution));
	bool done;

	if (!execution)
		return false;
	execution->request = *request;
	execution->request.opaque = execution;
	execution->request.done = execute_done;
	execution->gate = (struct gate){ .open = false };
	port_submit(port, &execution->request);
	done = cpu_wait(&execution->gate);
	*request = execution->request;
	if (done)
		free(execution);
	return done;
}

void queue_forget(struct port *port)
{
	queue_lock(port);
	port->outstanding--;
	queue_unlock(port);
}

void queue_fail(struct port *port)
{
	struct port_request *request;

	for (;;) {
		queue_lock(port);
		request = port->first;
		if (request)
			port->first = request->next;
		if (!port->first)
			port->last = &port->first;
		queue_unlock(port);
		if (!request)
			return;
		request->srb_status = SRB_STATUS_NO_DEVICE;
		request->transferred = 0;
		request->sense_length = 0;
		request->done(request);
	}
}

/* The time that the last pause named is over, and with it every pause. */
static void pause_over(struct work *work)
{
	struct port *port = container_of(work, struct port, pause_timer.work);

	queue_lock(port);
	port->paused = 0;
	queue_unlock(port);
	queue_dispatch(port);
}

static void back_off_over(struct work *work)
{
	struct port *port = container_of(work, struct port, busy_timer.work);

	queue_lock(port);
	port->backing_off = false;
	queue_unlock(port);
	queue_dispatch(port);
}

/* Puts a request that was refused as busy at the head again; whether the queue must be held for a while. */
static bool queue_put_back(struct port *port, struct port_request *request)
{
	count64_add(&port->stats.busy);
	request->retries++;
	request->next = port->first;
	if (!port->first)
		port->last = &request->next;
	port->first = request;
	if (port->busy || port->backing_off)
		return false;
	port->backing_off = true;
	return true;
}

void queue_finished(struct port *port, struct port_request *request, bool retry)
{
	struct gate *drained;
	bool hold = false;

	/* What passes the queue cannot wait in it: its caller gets the BUSY. */
	retry = retry && !request_bypasses(request);
	/* Before it stops counting: a queue that is drained may lose its slots. */
	reset_reload(port);
	queue_lock(port);
	port->outstanding--;
	if (port->busy && !retry)
		port->busy--;
	if (!port->outstanding)
		port->busy = 0;
	if (retry)
		hold = queue_put_back(port, request);
	drained = port->outstanding ? NULL : port->drained;
	if (drained)
		port->drained = NULL;
	queue_unlock(port);
	if (drained)
		gate_open(drained);
	if (hold)
		timer_set(&port->busy_timer, BUSY_PAUSE_US, back_off_over);
	if (!retry)
		request->done(request);
	queue_dispatch(port);
}

void queue_pause(struct port *port, uint32_t seconds)
{
	queue_lock(port);
	port->paused++;
	queue_unlock(port);
	timer_set(&port->pause_timer, (uint64_t)seconds * 1000000, pause_over);
}

bool queue_resume(struct port *port)
{
	queue_lock(port);
	if (port->paused)
		port->paused--;
	queue_unlock(port);
	queue_dispatch_later(port);
	return true;
}

bool queue_hold(struct port *port, struct gate *drained)
{
	bool wait;

	queue_lock(port);
	port->held = true;
	wait = port->outstanding != 0;
	if (wait)
		port->drained = drained;
	queue_unlock(port);
	return wait;
}

static void release_run(void *opaque)
{
	struct port *port = opaque;

	queue_lock(port);
	port->held = false;
	queue_unlock(port);
	if (port->failed)
		queue_fail(port);
	queue_dispatch(port);
}

void queue_release(struct port *port)
{
	cpu_call(0, release_run, port);
}

bool queue_busy(struct port *port, uint32_t completions)
{
	queue_lock(port);
	port->busy = completions < port->outstanding ? completions : port->outstanding;
	queue_unlock(port);
	return true;
}

void queue_ready(struct port *port)
{
	queue_lock(port);
	port->busy = 0;
	queue_unlock(port);
	queue_dispatch_later(port);
}
