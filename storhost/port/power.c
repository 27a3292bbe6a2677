/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Sleep and wake, rebalance, surprise removal: the order in which Windows 7 tells a miniport of them. */
#include "base/inject.h"
#include "port/internal.h"

/* Submits a request to the adapter itself and waits; its SRB status, or -1 if the machine died. */
static int adapter_request(struct port *port, uint8_t function, uint32_t action, uint32_t power_state)
{
	struct port_request request = {
		.function = function,
		.action = action,
		.power_state = power_state,
		.adapter = function == SRB_FUNCTION_PNP || function == SRB_FUNCTION_POWER,
		.own = true,
		.timeout = 60,
	};

	return port_execute(port, &request) ? request.srb_status : -1;
}

static int step_failed(struct port *port, struct error *err, const char *step, int status)
{
	/* Where requests were held for the sake of that step, they are no longer. */
	if (status >= 0)
		queue_release(port);
	if (status < 0)
		return error_set(err, "%s: %s", step, cpu_death());
	return error_set(err, "the miniport ended %s with SRB status 0x%02x", step, status);
}

/* No request starts any more; returns when none is outstanding. */
static bool drain(struct port *port)
{
	struct gate gate = { .open = false };

	if (!queue_hold(port, &gate))
		return true;
	return cpu_wait(&gate);
}

static void control(struct port *port, SCSI_ADAPTER_CONTROL_TYPE type, bool at_device_irql, bool *done)
{
	struct frame frame;
	int irql = at_device_irql ? lock_acquire(&port->interrupt_lock, 0) : -1;

	callback_enter(&frame, CB_ADAPTER_CONTROL);
	*done = port->init.HwAdapterControl(port->extension, type, NULL) == ScsiAdapterControlSuccess;
	callback_leave(&frame);
	if (irql >= 0)
		lock_release(&port->interrupt_lock, (unsigned)irql, 0);
}

struct transition {
	struct port *port;
	struct error *err;
	bool power_lost;
	int result;
};

static void stop_for_power(void *opaque)
{
	struct transition *transition = opaque;
	struct port *port = transition->port;
	bool done;

	control(port, ScsiStopAdapter, true, &done);
	adapter_stopped(port);
	transition->result = done ? 0 : error_set(transition->err, "the miniport did not stop the adapter");
}

/* Sources disagree on the level at which a restart comes: the seed decides [storport-win7 3.1]. */
static void restart_after_power(void *opaque)
{
	struct transition *transition = opaque;
	struct port *port = transition->port;
	bool done;

	if (transition->power_lost)
		port->device->ops->power_cycle(port->device);
	bus_restore(port);
	transition->result = bus_connect(port, transition->err);
	if (transition->result)
		return;
	port->stopped = false;
	control(port, ScsiRestartAdapter, port->options.seed & 16, &done);
	if (!done)
		transition->result = error_set(transition->err, "the miniport did not restart the adapter");
}

static int run_transition(struct port *port, void (*run)(void *opaque), bool power_lost, struct error *err)
{
	struct transition transition = { port, err, power_lost, -1 };

	if (!cpu_call(0, run, &transition))
		return error_set(err, "the driver did not return: %s", cpu_death());
	return transition.result;
}

/* An adapter that did not come back is gone for Windows: what waits for it fails. */
static int lose(struct port *port)
{
	port->failed = true;
	queue_release(port);
	return -1;
}

int port_sleep(struct port *port, bool hibernate, struct error *err)
{
	int status;

	if (!drain(port))
		return error_set(err, "requests were outstanding for ever: %s", cpu_death());
	status = adapter_request(port, SRB_FUNCTION_POWER, hibernate ? StorPowerActionHibernate : StorPowerActionSleep,
				 StorPowerDeviceD3);
	if (status != SRB_STATUS_SUCCESS)
		return step_failed(port, err, "the power-down request", status);
	return run_transition(port, stop_for_power, false, err) ? lose(port) : 0;
}

int port_wake(struct port *port, bool power_lost, struct error *err)
{
	int status;

	if (run_transition(port, restart_after_power, power_lost, err))
		return lose(port);
	status = adapter_request(port, SRB_FUNCTION_POWER, StorPowerActionNone, StorPowerDeviceD0);
	if (status != SRB_STATUS_SUCCESS)
		return lose(port), step_failed(port, err, "the power-up request", status);
	queue_release(port);
	return 0;
}

static void abandon(void *opaque)
{
	struct port *port = opaque;

	port->failed = true;
	queue_fail(port);
}

void port_abandon(struct port *port)
{
	cpu_call(0, abandon, port);
	queue_release(port);
}

static void restart_elsewhere(void *opaque)
{
	struct transition *transition = opaque;
	struct port *port = transition->port;

	stop_for_power(transition);
	if (transition->result)
		return;
	port->started = false;
	dpcs_await(port); /* their objects lie in what HwFindAdapter begins anew */
	bus_unmap_all(port);
	slots_destroy(port);
	bus_move(port);
	transition->result = adapter_start(port, transition->err);
}

int port_rebalance(struct port *port, bool told, struct error *err)
{
	int status;

	/* The flush does not pass the queue: it goes out before the queue is held. */
	status = port->limits.caches_data ? adapter_request(port, SRB_FUNCTION_FLUSH, 0, 0) : SRB_STATUS_SUCCESS;
	if (status != SRB_STATUS_SUCCESS)
		return step_failed(port, err, "the flush", status);
	if (!drain(port))
		return error_set(err, "requests were outstanding for ever: %s", cpu_death());
	status = told ? adapter_request(port, SRB_FUNCTION_PNP, StorStopDevice, 0) : SRB_STATUS_SUCCESS;
	if (status != SRB_STATUS_SUCCESS && status != SRB_STATUS_INVALID_REQUEST)
		return step_failed(port, err, "the stop request", status);
	if (run_transition(port, restart_elsewhere, false, err)) {
		if (!port->started)
			adapter_refused(port);
		return lose(port);
	}
	queue_release(port);
	return 0;
}

struct neighbour {
	struct port *port;
	uint64_t times;
};

static void interrupt_beside(void *opaque)
{
	struct neighbour *neighbour = opaque;

	while (neighbour->times--) {
		bus_neighbour(neighbour->port);
		cpu_point();
	}
}

int port_neighbour(struct port *port, uint64_t times, struct error *err)
{
	struct neighbour neighbour = { port, times };

	if (port->message_count)
		return error_set(err, "the adapter has messages and shares no line");
	return cpu_call(0, interrupt_beside, &neighbour) ? 0
							 : error_set(err, "the driver did not return: %s", cpu_death());
}

/* Nobody answers any more. */
static void unplug(struct port *port)
{
	const struct device_ops *ops = port->device->ops;

	port->unplugged = true;
	cpu_device_stands(); /* its last access to memory is over */
	bus_trap(port);
	if (ops->pulled_out)
		ops->pulled_out(port->device);
	bus_silence(port);
}

static void eject(void *opaque)
{
	struct transition *transition = opaque;
	struct port *port = transition->port;
	const struct device_ops *ops = port->device->ops;

	/* A register that is still laid over the region would keep it in its slot. */
	port->unplugged = true;
	bus_trap(port);
	transition->result = ops->eject ? ops->eject(port->device, transition->err) : 0;
	unplug(port);
}

static void removal_over(struct work *work)
{
	cpu_let_callbacks_end();
	container_of(work, struct port, removal_timer.work)->removal_told = true;
}

/* Callbacks that were under way on other processors may end. */
static void removal_done(struct port_request *request)
{
	timer_set(&request->port->removal_timer, 0, removal_over);
	gate_open(&request->port->removal_gate);
}

/* Tells the miniport of a surprise removal. */
static void removal_send(struct port *port)
{
	port->removal_sent = true;
	port->removal_request = (struct port_request){
		.function = SRB_FUNCTION_PNP,
		.action = StorSurpriseRemoval,
		.adapter = true,
		.own = true,
		.timeout = 60,
		.done = removal_done,
	};
	port_submit(port, &port->removal_request);
}

/* Plug and Play waits for the end of a start, and of a change of power or resources, before it tells of a removal. */
static void removal_found(struct work *work)
{
	struct port *port = container_of(work, struct port, removal_timer.work);

	if (port->started && !port->held && !port->stopping)
		removal_send(port);
}

void power_vanish(struct port *port)
{
	static const uint64_t delays[] = { 0, 300, 20000, 3000000, 95000000 };

	unplug(port);
	if (!port->dump)
		timer_set(&port->removal_timer, delays[inject_random() % 5], removal_found);
}

bool port_started(const struct port *port)
{
	return port->started;
}

bool port_unplugged(const struct port *port)
{
	return port->unplugged;
}

static void stop_absent(void *opaque)
{
	struct transition *transition = opaque;
	struct port *port = transition->port;

	stop_for_power(transition);
	port->started = false;
	dpcs_await(port);
	bus_unmap_all(port);
	/* It has no power now; it may arrive again. */
	port->device->ops->power_cycle(port->device);
	transition->result = 0;
}

int port_surprise_remove(struct port *port, struct error *err)
{
	unsigned left = 0;
	int status;

	if (!port->started)
		return 0;
	if (run_transition(port, eject, false, err))
		return -1;
	timer_cancel(&port->removal_timer);
	if (!port->removal_sent)
		removal_send(port);
	if (!cpu_wait(&port->removal_gate))
		return error_set(err, "the machine died: %s", cpu_death());
	/* What was being started or finished meanwhile, on other processors, is over once the machine rests. */
	if (!cpu_rest())
		return error_set(err, "the machine died: %s", cpu_death());
	if (port->removal_request.srb_status != SRB_STATUS_SUCCESS)
		return step_failed(port, err, "the surprise removal", port->removal_request.srb_status);
	port->removal_told = true;
	for (unsigned i = 0; i < port->slot_count; i++)
		left += port->slots[i].state == SLOT_STARTED;
	if (left)
		verify_report(RULE_SRB_REMOVED, 0, "%u SRBs are outstanding", left);
	port_abandon(port);
	status = adapter_request(port, SRB_FUNCTION_PNP, StorRemoveDevice, 0);
	if (status != SRB_STATUS_SUCCESS)
		return step_failed(port, err, "the removal", status);
	return run_transition(port, stop_absent, false, err);
}
