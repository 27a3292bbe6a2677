/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Serves SCSI commands from other processes: each connection is a thread that sends what it reads (sg_wire.h) to the
 * hosted driver as SRBs, and answers with statuses as Linux's sg driver would have them.
 */
#ifndef STORHOST_FRONT_SG_SERVER_H
#define STORHOST_FRONT_SG_SERVER_H

#include "base/error.h"
#include "port/port.h"

struct sg_server;

/* Serves connections at a listening socket, which becomes the server's. The device is the port's. */
int sg_server_start(struct port *port, struct device *device, int listener, struct sg_server **out, struct error *err);
/* Ends every connection after its current command, and waits for that. */
void sg_server_stop(struct sg_server *server);

#endif
