/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* SCSI commands from a socket to the port and back. */
#include "front/sg_server.h"

#include <errno.h>
#include <pthread.h>
#include <ntddscsi.h>
#include <storport.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "device/virtio_blk.h"
#include "front/sg_wire.h"

#define ACCEPT_PAUSE_US 10000 /* before the next attempt, when descriptors have run out */

struct connection {
	struct connection *next, **link;
	struct sg_server *server;
	int fd;
};

struct sg_server {
	struct port *port;
	struct device *device;
	int listener;
	pthread_t acceptor;
	pthread_mutex_t lock;
	pthread_cond_t idle; /* the last connection has ended */
	struct connection *connections;
	bool stop;
	unsigned next_cpu;
};

/* ---- one command ---- */

enum { DID_OK, DID_NO_CONNECT, DID_BUS_BUSY, DID_TIME_OUT, DID_ABORT = 5, DID_PARITY, DID_ERROR, DID_RESET };

/* What Linux's host status is for an SRB that failed without a SCSI status. */
static const struct {
	uint8_t srb_status, host_status;
} host_statuses[] = {
	{ SRB_STATUS_SUCCESS, DID_OK },
	{ SRB_STATUS_DATA_OVERRUN, DID_OK }, /* fewer bytes than the buffer has: the residual says it */
	{ SRB_STATUS_NO_DEVICE, DID_NO_CONNECT },
	{ SRB_STATUS_NO_HBA, DID_NO_CONNECT },
	{ SRB_STATUS_SELECTION_TIMEOUT, DID_NO_CONNECT },
	{ SRB_STATUS_INVALID_LUN, DID_NO_CONNECT },
	{ SRB_STATUS_INVALID_TARGET_ID, DID_NO_CONNECT },
	{ SRB_STATUS_INVALID_PATH_ID, DID_NO_CONNECT },
	{ SRB_STATUS_BUSY, DID_BUS_BUSY },
	{ SRB_STATUS_TIMEOUT, DID_TIME_OUT },
	{ SRB_STATUS_COMMAND_TIMEOUT, DID_TIME_OUT },
	{ SRB_STATUS_ABORTED, DID_ABORT },
	{ SRB_STATUS_PARITY_ERROR, DID_PARITY },
	{ SRB_STATUS_BUS_RESET, DID_RESET },
};

static uint16_t host_status(const struct port_request *request)
{
	if (request->srb_status == SRB_STATUS_ERROR && request->scsi_status)
		return DID_OK;
	for (size_t i = 0; i < sizeof(host_statuses) / sizeof(host_statuses[0]); i++) {
		if (host_statuses[i].srb_status == request->srb_status)
			return host_statuses[i].host_status;
	}
	return DID_ERROR;
}

static void fill_reply(struct sg_reply *reply, const struct port_request *request)
{
	reply->transferred = request->transferred < request->length ? request->transferred : request->length;
	reply->status = request->scsi_status;
	reply->host_status = host_status(request);
	reply->sense_length = request->sense_length;
	memcpy(reply->sense, request->sense, request->sense_length);
}

/* Linux refuses what is longer than the adapter's limit; so does Windows, for requests that come from a program. */
static void execute(struct sg_server *server, const struct sg_request *from, void *data, struct sg_reply *reply)
{
	static const enum request_direction directions[] = { DIRECTION_NONE, DIRECTION_IN, DIRECTION_OUT };
	struct port_request request = {
		.function = from->kind == SG_WIRE_IO_CONTROL ? SRB_FUNCTION_IO_CONTROL : SRB_FUNCTION_EXECUTE_SCSI,
		.cdb_length = from->cdb_length,
		.direction = directions[from->direction],
		.data = data,
		.length = from->length,
		.timeout = from->timeout,
		.cpu = __atomic_fetch_add(&server->next_cpu, 1, __ATOMIC_RELAXED) % cpu_count(),
	};

	memcpy(request.cdb, from->cdb, from->cdb_length);
	memset(reply, 0, sizeof(*reply));
	if (from->length > port_limits(server->port)->max_transfer)
		reply->error = EINVAL;
	else if (!port_execute(server->port, &request))
		reply->error = ENODEV;
	else
		fill_reply(reply, &request);
}

/* What the size is refused for is the device's own business, and the client's to ask for another. */
static void resize(struct sg_server *server, const struct sg_request *from, struct sg_reply *reply)
{
	struct error err;
	uint64_t bytes;

	memcpy(&bytes, from->cdb, sizeof(bytes));
	memset(reply, 0, sizeof(*reply));
	if (virtio_blk_resize(server->device, bytes, &err))
		reply->error = EINVAL;
}

/* ---- connections ---- */

static bool is_sound(const struct sg_request *request)
{
	if (request->magic != SG_WIRE_MAGIC || request->length > SG_WIRE_DATA_MAX || request->direction > SG_WIRE_OUT ||
	    request->cdb_length > SG_WIRE_CDB_MAX || (request->direction == SG_WIRE_NONE && request->length))
		return false;
	switch (request->kind) {
	case SG_WIRE_COMMAND:
		return request->cdb_length;
	case SG_WIRE_IO_CONTROL:
		return request->direction == SG_WIRE_IN && request->length >= sizeof(SRB_IO_CONTROL);
	case SG_WIRE_RESIZE:
		return request->direction == SG_WIRE_NONE && request->cdb_length == sizeof(uint64_t);
	default:
		return false;
	}
}

static bool sends_data(const struct sg_request *request)
{
	return request->direction == SG_WIRE_OUT || request->kind == SG_WIRE_IO_CONTROL;
}

/* Reads one request and answers it; false: the connection is of no more use. */
static bool serve_request(struct connection *connection)
{
	struct sg_request request;
	struct sg_reply reply;
	void *data;
	bool good;

	if (!sg_wire_receive(connection->fd, &request, sizeof(request)) || !is_sound(&request))
		return false;
	data = malloc(request.length ? request.length : 1);
	if (!data)
		return false;
	good = !sends_data(&request) || sg_wire_receive(connection->fd, data, request.length);
	if (good) {
		if (request.kind == SG_WIRE_RESIZE)
			resize(connection->server, &request, &reply);
		else
			execute(connection->server, &request, data, &reply);
		good = sg_wire_send(connection->fd, &reply, sizeof(reply));
		if (good && !reply.error && request.direction == SG_WIRE_IN)
			good = sg_wire_send(connection->fd, data, reply.transferred);
	}
	/* A dead machine may still point to the data: they stay. */
	if (!cpu_dead())
		free(data);
	return good;
}

static void *connection_run(void *opaque)
{
	struct connection *connection = opaque;
	struct sg_server *server = connection->server;

	while (serve_request(connection))
		;
	pthread_mutex_lock(&server->lock);
	*connection->link = connection->next;
	if (connection->next)
		connection->next->link = connection->link;
	close(connection->fd);
	free(connection);
	if (!server->connections)
		pthread_cond_signal(&server->idle);
	pthread_mutex_unlock(&server->lock);
	return NULL;
}

/* Under the server's lock: a connection whose thread could not be made is gone again. */
static void connection_start(struct sg_server *server, int fd)
{
	struct connection *connection = malloc(sizeof(*connection));
	pthread_attr_t attributes;
	pthread_t thread;

	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	if (connection)
		*connection = (struct connection){
			.next = server->connections,
			.link = &server->connections,
			.server = server,
			.fd = fd,
		};
	if (connection && !pthread_create(&thread, &attributes, connection_run, connection)) {
		if (connection->next)
			connection->next->link = &connection->next;
		server->connections = connection;
	} else {
		free(connection);
		close(fd);
	}
	pthread_attr_destroy(&attributes);
}

static void *acceptor_run(void *opaque)
{
	struct sg_server *server = opaque;

	for (;;) {
		int fd = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC);
		bool stop;

		pthread_mutex_lock(&server->lock);
		stop = server->stop;
		if (fd >= 0 && !stop)
			connection_start(server, fd);
		else if (fd >= 0)
			close(fd);
		pthread_mutex_unlock(&server->lock);
		if (stop)
			return NULL;
		if (fd < 0)
			usleep(ACCEPT_PAUSE_US);
	}
}

int sg_server_start(struct port *port, struct device *device, int listener, struct sg_server **out, struct error *err)
{
	struct sg_server *server = calloc(1, sizeof(*server));

	if (!server)
		return error_set(err, "no memory");
	server->port = port;
	server->device = device;
	server->listener = listener;
	pthread_mutex_init(&server->lock, NULL);
	pthread_cond_init(&server->idle, NULL);
	if (pthread_create(&server->acceptor, NULL, acceptor_run, server)) {
		free(server);
		return error_set(err, "cannot start a thread");
	}
	*out = server;
	return 0;
}

void sg_server_stop(struct sg_server *server)
{
	pthread_mutex_lock(&server->lock);
	server->stop = true;
	for (struct connection *connection = server->connections; connection; connection = connection->next)
		shutdown(connection->fd, SHUT_RD);
	pthread_mutex_unlock(&server->lock);
	/* Which ends accept(), too. */
	shutdown(server->listener, SHUT_RD);
	pthread_join(server->acceptor, NULL);
	pthread_mutex_lock(&server->lock);
	while (server->connections)
		pthread_cond_wait(&server->idle, &server->lock);
	pthread_mutex_unlock(&server->lock);
	close(server->listener);
	pthread_mutex_destroy(&server->lock);
	pthread_cond_destroy(&server->idle);
	free(server);
}
