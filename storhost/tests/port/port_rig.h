/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A started port with a miniport that is part of the test: its callbacks are the rig's, which record what they get and
 * then do what the test's hooks say. The PCI function behind it has no registers and one interrupt line.
 *
 * Hooks run on processors: they must not assert.
 */
#ifndef STORHOST_TESTS_PORT_PORT_RIG_H
#define STORHOST_TESTS_PORT_PORT_RIG_H

#include "machine_rig.h"

#include "port/internal.h"

#define RIG_REQUESTS 512u

struct rig_request {
	struct port_request request;
	unsigned done;
	unsigned irql;          /* at which `done` ran */
	enum callback callback; /* and in which callback of the miniport */
	uint8_t data[128u << 10];
};

struct rig {
	/* To be set before rig_port(). */
	HW_INITIALIZATION_DATA init;
	void (*configure)(PORT_CONFIGURATION_INFORMATION *config);
	uint64_t seed;
	unsigned cpus;
	bool threads;

	/* Hooks; NULL: as said. */
	BOOLEAN (*build_io)(SCSI_REQUEST_BLOCK *srb); /* TRUE */
	void (*start_io)(SCSI_REQUEST_BLOCK *srb);    /* keeps it in `held` */
	BOOLEAN (*reset_bus)(void);                   /* TRUE */
	void (*pulled_out)(void);                     /* nothing */

	struct port *port;
	void *extension;
	struct device device;
	bool device_owes; /* a request that does not come back is the device's doing */
	SCSI_REQUEST_BLOCK *held[RIG_REQUESTS];
	unsigned held_count; /* the oldest first */
	unsigned built, started;
	UCHAR functions[64]; /* of SRBs that were no SCSI request, in order; 0xff: HwResetBus */
	unsigned function_count;
};

extern struct rig rig;
extern struct rig_request rig_requests[RIG_REQUESTS];

/* Starts a machine and the port; findings until here fail the test. */
void rig_port(void);
/* Prepares request n, to be changed before it is submitted: SCSI, without data, on processor 0, 10 seconds. */
struct rig_request *rig_request(unsigned n);
/* The same with data, byte i of which is rig_pattern(n, i). */
struct rig_request *rig_data_request(unsigned n, enum request_direction direction, uint32_t length);
uint8_t rig_pattern(unsigned n, uint32_t i);
/* Submits and lets the machine come to rest, without moving its clock to a timer. */
void rig_submit(struct rig_request *request);
void rig_settle(void);
unsigned rig_done(void);

/* Runs fn where a miniport would: in its DPC, or in HwInterrupt; then lets the machine come to rest. */
void rig_in_dpc(void (*fn)(void));
void rig_in_interrupt(void (*fn)(void));

/* For hooks. */
void rig_complete(SCSI_REQUEST_BLOCK *srb, UCHAR status);
void rig_complete_all(void);
void rig_start_and_succeed(SCSI_REQUEST_BLOCK *srb);

#endif
