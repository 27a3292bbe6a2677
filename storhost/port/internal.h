/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the files of port/ share: the adapter, its slots, and how driver code is entered and its calls are judged. */
#ifndef STORHOST_PORT_INTERNAL_H
#define STORHOST_PORT_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <storport.h>

#include "base/container.h"
#include "nt/guest.h"
#include "nt/interrupt.h"
#include "nt/lock.h"
#include "nt/phys.h"
#include "port/image.h"
#include "port/port.h"
#include "trap/trap.h"
#include "verify/verify.h"

#define DEFAULT_TIMEOUT_S 60u /* of a request that names none */
#define SLOTS 255u /* SRBs alive at once, at most: the deepest queue and one of the port's own; as many as tags */
#define SGL_PAGES 2u
#define SGL_MAX 320u                          /* elements a slot has room for */
#define SGL_BYTES ((SGL_MAX - 1) * PHYS_PAGE) /* of a buffer, wherever it begins; a longer one is refused */
#define BARS 6u
#define MAPPINGS 16u
#define DPCS 16u
#define EVENTS_MAX 65536u /* entries of the event log that are kept: a storm must end */
#define DEFAULT_DEPTH 20u /* before StorPortSetDeviceQueueDepth [storport-win7 3.5] */
#define MAX_DEPTH 254u

enum slot_state {
	SLOT_FREE,
	SLOT_BUILDING, /* in HwBuildIo, or between it and HwStartIo */
	SLOT_STARTED,
	SLOT_COMPLETED, /* the driver has given it back, the port has not finished with it */
};

/* One SRB with all that belongs to it. The driver's view of it exists only while the driver owns it. */
struct slot {
	struct work completion;
	struct port *port;
	struct slot *next_free;
	/* Others look at these at any time. */
	_Atomic(enum slot_state) state;
	_Atomic(struct port_request *) request; /* whose answer this is; NULL: the port has given it up */
	_Atomic uint64_t deadline, sequence;    /* sequence: in the order in which they were prepared */
	_Atomic uint64_t order;                 /* in which the miniport got them; UINT64_MAX: it has not */
	_Atomic uint32_t timeout;               /* s */
	SCSI_REQUEST_BLOCK *srb;                /* windows, unmapped while the driver does not own them */
	STOR_SCATTER_GATHER_LIST *list;
	uint8_t *sense;
	void *extension;
	SCSI_REQUEST_BLOCK sent; /* as it was given out; after completion, as it came back */
	uint8_t sense_copy[255], sense_length;
	uint64_t *pages; /* bus addresses of the data pages */
	uint32_t data_length, page_count, offset, elements;
	void *mapped;     /* window of a mapped buffer */
	uintptr_t buffer; /* where that was last, until the slot is used again */
	uint32_t buffer_pages;
	unsigned left; /* requests that this reset left outstanding */
	UCHAR tag;
	uint64_t extension_address;
};

struct mapping {
	uint8_t *base; /* trap region; NULL: free */
	struct port *port;
	unsigned bar;
	uint64_t offset, length;
	bool direct; /* the device's own registers lie over the region */
};

struct dpc {
	struct work work;
	struct port *port;
	STOR_DPC *object; /* NULL: free */
	void *routine, *arg1, *arg2;
	bool queued;      /* under the machine's lock */
	unsigned running; /* likewise: on so many processors */
	struct lock lock;
};

struct message {
	struct interrupt interrupt;
	struct lock lock;
};

struct dump;

struct port {
	struct port_options options;
	struct dump *dump; /* what a dump image has besides; NULL in the live one */
	struct rng rng;
	char name[64]; /* file name of the driver */
	struct image *image;
	HW_INITIALIZATION_DATA init;
	bool initialized; /* StorPortInitialize has accepted */
	_Atomic bool started;
	bool stopping;
	_Atomic bool stopped;      /* by ScsiStopAdapter, and not restarted */
	_Atomic bool unplugged;    /* the device was pulled out */
	bool direct;               /* the driver reaches registers that nobody here sees it reach */
	_Atomic bool removal_told; /* and the miniport knows: it may not look for it any more */
	bool removal_sent;         /* removal_request is on its way, or was */
	struct timer removal_timer;
	struct port_request removal_request;
	struct gate removal_gate; /* that is back */
	bool dpc_locked;          /* this run holds a DPC's lock while the DPC runs */
	bool bus_changed;
	PORT_CONFIGURATION_INFORMATION *config;
	PORT_CONFIGURATION_INFORMATION preset, at_uncached; /* it before HwFindAdapter, and at its call for memory */
	unsigned uncached_calls;                            /* of the present HwFindAdapter */
	ACCESS_RANGE *ranges;
	void *extension, *lu_extension;
	void *registry_buffer;
	void *driver_object, *registry_path;
	NTSTATUS entry_status;

	struct device *device;
	uint64_t bar_address[BARS], bar_length[BARS];
	bool bar_64[BARS];
	uint64_t next_low, next_high; /* where the next BAR goes */
	struct mapping mappings[MAPPINGS];

	void *uncached;
	uint64_t uncached_address;
	uint32_t uncached_pages;
	struct {
		uint8_t *region, *window; /* what the driver sees, and what is behind it */
		size_t bytes;
	} watch;

	struct lock startio, interrupt_lock;
	struct message line, messages[PORT_MESSAGES_MAX];
	bool line_asserted; /* by the device */
	struct {
		struct timer timer;
		struct interrupt *interrupt;
	} stray; /* an interrupt that comes when it is not due */
	unsigned message_count;
	struct dpc dpcs[DPCS];
	HW_PASSIVE_INITIALIZE_ROUTINE *passive;
	struct timer driver_timer;
	PHW_TIMER timer_routine;

	struct slot *slots, *free_slots, *last_free;
	unsigned slot_count;
	_Atomic uint64_t sequence, order; /* of the last slot that was prepared, and started */
	UCHAR next_tag;
	bool tag_taken[SP_UNTAGGED]; /* by a slot that is not free */
	uint8_t *srb_window, *list_window;
	uint32_t extension_pages;

	/* The queue of the one logical unit, under `queue`. */
	pthread_mutex_t queue;
	struct work dispatch_work;
	bool dispatch_posted;
	struct port_request *first, **last;
	_Atomic unsigned outstanding; /* reset.c looks at it without the lock */
	unsigned depth;
	bool inquired;    /* the unit was asked what it is */
	unsigned busy;    /* completions to wait for */
	bool backing_off; /* after a BUSY that came without StorPortBusy */
	unsigned paused;
	bool held;                      /* for a change of power or resources */
	unsigned dispatching[CPUS_MAX]; /* depth of queue_dispatch on each processor */
	struct timer pause_timer, busy_timer, tick;
	bool ticking;
	_Atomic bool resetting;
	_Atomic bool failed; /* no reset helps: requests end without the miniport */
	unsigned failed_resets;
	int countdown;
	struct port_request reset_request;
	struct gate *drained; /* opened when nothing is outstanding any more */
	_Atomic uint64_t reset_deadline;

	struct port_limits limits;
	struct port_stats stats;
	char **events;
	unsigned event_count, event_room;
	struct error refusal; /* the last event during HwFindAdapter */
};

/* ---- entering the driver, and being called by it (call.c) ---- */

struct frame {
	enum callback callback;
	unsigned irql, held;
	uint64_t waited;
};

void callback_enter(struct frame *frame, enum callback callback);
void callback_leave(const struct frame *frame);
/* A routine that the driver calls: its name, the highest IRQL and the callbacks at which it may be called. */
struct call_rule {
	const char *name;
	unsigned max_irql;
	int callbacks;
};
/* False: a dump image may not call it. */
bool call_check(const struct call_rule *rule, uintptr_t pc);
/* The driver has called from pc, or accesses a register there: ends it if its callback has taken too long. */
void callback_watch(uintptr_t pc);
/* Whether the port may call what the driver named as `what`: a finding where it is not the driver's code. */
bool call_target(const struct port *port, const void *routine, const char *what, uintptr_t pc);
const char *callback_name(enum callback callback);

/*
 * At the head of what a dump image may not call, too: false where that is so, and the caller refuses. Other exports
 * are answered as in the live image, whatever call_check says.
 */
#define CALL_REFUSED(name_, irql_, callbacks_)                                                                         \
	({                                                                                                             \
		static const struct call_rule rule_ = { name_, irql_, callbacks_ };                                    \
		!call_check(&rule_, CALLER);                                                                           \
	})

/* The adapter that a device extension belongs to; a finding, and NULL, when it is none. */
struct port *port_of(const void *extension, uintptr_t pc);
/* The one that DriverEntry is running for. */
extern struct port *port_loading;

#define CALLER ((uintptr_t)__builtin_return_address(0))
/* At the head of every export: judge the call, then let others run. */
#define CALL(name_, irql_, callbacks_)                                                                                 \
	do {                                                                                                           \
		static const struct call_rule rule_ = { name_, irql_, callbacks_ };                                    \
		call_check(&rule_, CALLER);                                                                            \
	} while (0)

/* The port that is hosted, whose exports are called: the dump image's while there is one. NULL: none. */
extern struct port *port_hosted;

/* ---- bus.c ---- */
/* The device's interrupts and wishes go to this port from here on. */
int bus_attach(struct port *port, struct error *err);
int bus_assign(struct port *port, struct error *err);
int bus_connect(struct port *port, struct error *err);
void bus_disconnect(struct port *port);
/* Calls the line's service routine for somebody else's interrupt. On a processor. */
void bus_neighbour(struct port *port);
/* Nobody asserts the line. */
void bus_silence(struct port *port);
void bus_unmap_all(struct port *port);
/* From here on every access to a register is seen here. */
void bus_trap(struct port *port);
uint32_t bus_config_read(struct port *port, unsigned offset, uint8_t *buffer, uint32_t length);
void *bus_map(struct port *port, uint64_t address, uint32_t length, uintptr_t pc);
bool bus_unmap(struct port *port, void *base, uintptr_t pc);
uint64_t bus_register_read(struct mapping *mapping, uint64_t offset, unsigned width, uintptr_t pc);
void bus_register_write(struct mapping *mapping, uint64_t offset, unsigned width, uint64_t value, uintptr_t pc);
/* The time that an access has taken, and what others do in it. */
void bus_register_after(uintptr_t pc);
struct mapping *bus_mapping(struct port *port, const volatile void *address, unsigned width, uintptr_t pc);

/* Configuration space again as bus_assign left it: after power was lost. */
void bus_restore(struct port *port);
/* Other addresses for the same function. */
void bus_move(struct port *port);

/* ---- srb.c ---- */
/* Elements that a scatter list has at most. */
uint32_t port_elements(const struct port *port);
int slots_create(struct port *port, struct error *err);
void slots_destroy(struct port *port);
struct slot *slot_prepare(struct port *port, struct port_request *request);
/* A dump image's: takes it from a miniport that was given up, or that has completed it, whose answer goes first. */
void slot_reclaim(struct slot *slot);
void slot_start(struct slot *slot);
struct slot *slot_of(struct port *port, const void *srb);
/* Makes the slot's request the caller's to finish; NULL if somebody did so before. */
struct port_request *slot_take_request(struct slot *slot);
/* The slot that any address of its windows belongs to, or NULL. */
struct slot *slot_of_address(struct port *port, uintptr_t address);
/* Whether it is one of that slot's list; and whether any SRB has it as the address of a buffer that is not mapped. */
bool slot_list_has(const struct slot *slot, uintptr_t address);
bool srb_buffer_nowhere(uintptr_t address);
void srb_complete(struct port *port, const void *srb, uintptr_t pc);
void *slot_system_address(struct slot *slot);

/* ---- watch.c ---- */
/* A region to give to the driver in place of a window; NULL: there is no memory. */
uint8_t *watch_window(struct port *port, uint8_t *window, size_t bytes);
/* The address in the window that is behind an address of the driver's, which may be any. */
const void *watch_behind(const struct port *port, const void *address);
/* The window behind a region, which is gone then; a window is what it is. */
uint8_t *watch_release(struct port *port, uint8_t *region);

/* ---- notify.c ---- */
/* Waits until no DPC is queued or runs; none comes any more. At PASSIVE_LEVEL, interrupts disconnected. */
void dpcs_await(struct port *port);

/* ---- queue.c ---- */
void queue_init(struct port *port);
void queue_dispatch(struct port *port);
void queue_dispatch_later(struct port *port);
/* A request has come back and is no longer outstanding; retry: put it at the head of the queue again. */
void queue_finished(struct port *port, struct port_request *request, bool retry);
/*
 * Keeps requests in the queue from here on. True: some are outstanding, and `drained` is opened when the last of them
 * has come back.
 */
bool queue_hold(struct port *port, struct gate *drained);
void queue_release(struct port *port);
/* A request that was outstanding is so no more, and nobody is to be told. */
void queue_forget(struct port *port);
/* Ends every waiting request without the miniport, as StorPort does for a device that is gone. */
void queue_fail(struct port *port);
void queue_pause(struct port *port, uint32_t seconds);
bool queue_resume(struct port *port);
bool queue_busy(struct port *port, uint32_t completions);
void queue_ready(struct port *port);

/* ---- reset.c ---- */
/* A request was prepared: the unit's countdown starts if it stands still. */
void reset_arm(struct port *port, const struct slot *slot);
/* How many requests the miniport has that it got before the one with that order, resets and the like left out. */
unsigned reset_left(struct port *port, uint64_t order);
/* A request came back: the countdown begins again with the time-out of the oldest one that is out, or stops. */
void reset_reload(struct port *port);

/* ---- power.c ---- */
/* The device is not there any more, and the system finds out sooner or later. Any IRQL. */
void power_vanish(struct port *port);

/* ---- log.c ---- */
void log_event(struct port *port, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- dump.c ---- */
/* Whether the dump image may call a routine; a finding where not. */
bool dump_may_call(const struct call_rule *rule, uintptr_t pc);
/* StorPortInitialize, which finds the adapter in a dump image. */
ULONG dump_initialize(struct port *port);
/* Whether so many more bytes of uncached memory are there. */
bool dump_memory(struct port *port, uint32_t bytes, uintptr_t pc);
/* Makes the buffer's pages those of the slot; false: it has more of them. */
bool dump_data(struct slot *slot, enum phys_use use);
/* A callback of a dump image has returned. */
void dump_returned(const struct port *port, enum callback callback);
/* Notifications and functions that a dump image may not use or that do nothing there: true, and *status. */
bool dump_notify(SCSI_NOTIFICATION_TYPE type, struct port *port, guest_va_list *ap, uintptr_t pc);
bool dump_function(STORPORT_FUNCTION_CODE code, struct port *port, ULONG *status, uintptr_t pc);

/* ---- init.c ---- */
/* The port of a driver whose image is mapped and whose entry was not called; *out even where that fails. */
int port_open(const char *driver, struct device *device, const struct port_options *options, struct port **out,
	      struct error *err);
/* DriverEntry. On a processor. */
void port_enter(struct port *port);
/* What HwFindAdapter is told and finds. argument: NULL for none. */
int port_objects(struct port *port, struct error *err);
int port_find(struct port *port, const char *argument, struct error *err);
void port_limits_compute(struct port *port);
void port_control_query(struct port *port);
void port_uncached_release(struct port *port);
/* Frees what is of the process and not of the machine, and the port. */
void port_close(struct port *port);
/* From HwFindAdapter to the first query of the adapter, with the resources that were assigned. On a processor. */
int adapter_start(struct port *port, struct error *err);
/* ScsiStopAdapter has returned: what must hold now, and no interrupts any more. */
void adapter_stopped(struct port *port);
/* After a start that failed Plug and Play removes the adapter [storport-win7 5.2]. Front ends only. */
void adapter_refused(struct port *port);
void *port_uncached(struct port *port, uint32_t bytes);

#endif
