/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Requests of a script: made, sent, waited for, and held against what is expected and against the model. */
#include <ntddscsi.h>
#include <scsi.h>
#include <srb.h>
#include <stdlib.h>
#include <string.h>

#include "base/inject.h"
#include "disk/bytes.h"
#include "scenario/internal.h"

#define TIMEOUT_S 60u /* Services\Disk\TimeOutValue as Windows 7 sets it up */
#define PATTERN 0xa5u
#define UNWRITTEN 0xcc /* what nobody wrote into a buffer */
#define UNMAP 0x42
#define UNMAP_PIECES 20u /* descriptors of one command: more than one device request takes */
#define BYTCHK_ALL 2     /* [SBC-3 5.29] */

/* ---- what the port calls ---- */

bool flight_is_good(const struct flight *flight)
{
	return flight->request.srb_status == SRB_STATUS_SUCCESS &&
	       flight->request.transferred == flight->request.length;
}

/* Takes a change of blocks over into the model. Locks: run->lock. */
static void settle_change(struct flight *flight, enum change change)
{
	struct model *model = flight->run->model;

	switch (flight->transfer) {
	case TRANSFER_ZERO:
		model_zeroed(model, flight->lba, flight->blocks, flight->version, change);
		break;
	case TRANSFER_UNMAP: /* what the blocks hold then is not said: what they held, or zeroes */
		model_zeroed(model, flight->lba, flight->blocks, flight->version, CHANGE_DOUBTFUL);
		break;
	default:
		model_written(model, flight->lba, flight->blocks, flight->version, change);
	}
}

void flight_abandon(struct flight *flight)
{
	if (flight->transfer >= TRANSFER_WRITE)
		settle_change(flight, CHANGE_DOUBTFUL);
	flight->back = true;
	flight->name = "";
}

/* Takes a request's result over into the model. Locks: run->lock. */
static void settle(struct flight *flight)
{
	struct model *model = flight->run->model;
	uint64_t end = flight->lba + flight->blocks;
	uint64_t first_lost = flight->limit > flight->lba ? flight->limit : flight->lba;

	if (flight->flushes && flight_is_good(flight)) {
		model_flushed(model, flight->clock);
	} else if (flight->transfer == TRANSFER_READ && flight_is_good(flight) && flight->limit >= end) {
		flight->wrong = model_read(model, flight->lba, flight->blocks, flight->buffer, &flight->mismatch);
	} else if (flight->transfer >= TRANSFER_WRITE) {
		settle_change(flight, flight_is_good(flight) ? flight->change : CHANGE_DOUBTFUL);
		if (first_lost < end)
			model_forget(model, first_lost, end - first_lost);
	}
}

/* The gate that a `wait` wants opened now, or NULL. Locks: run->lock. */
static struct gate *count_return(struct run *run)
{
	struct gate *gate = run->wait_gate;

	if (++run->returned < run->wait_for || !gate)
		return NULL;
	run->wait_gate = NULL;
	return gate;
}

static void flight_done(struct port_request *request)
{
	struct flight *flight = request->opaque;
	struct run *run = flight->run;
	struct gate *waiting;

	pthread_mutex_lock(&run->lock);
	if (flight->load && load_retries(flight)) {
		pthread_mutex_unlock(&run->lock);
		flight_submit(flight, request->cpu);
		return;
	}
	settle(flight);
	__atomic_store_n(&flight->back, true, __ATOMIC_RELEASE);
	waiting = count_return(run);
	pthread_mutex_unlock(&run->lock);
	if (waiting)
		gate_open(waiting);
	if (flight->load)
		load_returned(flight);
	else
		gate_open(&flight->gate);
}

/* ---- making them ---- */

struct flight *flight_create(struct run *run, const struct step *step)
{
	struct flight *flight = calloc(1, sizeof(*flight));

	if (!flight)
		return NULL;
	flight->run = run;
	flight->step = step;
	flight->name = "";
	return flight;
}

static void prepare(struct flight *flight, uint8_t function)
{
	struct run *run = flight->run;
	struct port_request *request = &flight->request;

	memset(request, 0, sizeof(*request));
	request->function = function;
	request->path = run->address[0];
	request->target = run->address[1];
	request->lun = run->address[2];
	request->timeout = TIMEOUT_S;
	flight->transfer = TRANSFER_NONE;
	flight->back = flight->wrong = flight->flushes = flight->raw = false;
	flight->attempts = 0;
}

/* Operation codes of transfers, by the CDB's length; those that the Windows 7 kit has no names for are SBC-3's. */
static uint8_t operation_code(enum transfer transfer, uint8_t length)
{
	static const uint8_t codes[][4] = {
		[TRANSFER_READ] = { SCSIOP_READ6, SCSIOP_READ, SCSIOP_READ12, SCSIOP_READ16 },
		[TRANSFER_VERIFY] = { 0, SCSIOP_VERIFY, 0xaf, 0x8f },
		[TRANSFER_WRITE] = { SCSIOP_WRITE6, SCSIOP_WRITE, SCSIOP_WRITE12, SCSIOP_WRITE16 },
		[TRANSFER_WRITE_VERIFY] = { 0, SCSIOP_WRITE_VERIFY, 0xae, 0x8e },
		[TRANSFER_ZERO] = { 0, 0, 0, 0x93 },
	};

	return codes[transfer][length == 6 ? 0 : length == 10 ? 1 : length == 12 ? 2 : 3];
}

static void encode(uint8_t *cdb, uint8_t length, enum transfer transfer, uint64_t lba, uint32_t blocks)
{
	switch (length) {
	case 6:
		put_be32(cdb, (uint32_t)lba);
		cdb[4] = (uint8_t)blocks;
		break;
	case 10:
		put_be32(cdb + 2, (uint32_t)lba);
		put_be16(cdb + 7, (uint16_t)blocks);
		break;
	case 12:
		put_be32(cdb + 2, (uint32_t)lba);
		put_be32(cdb + 6, blocks);
		break;
	default:
		put_be64(cdb + 2, lba);
		put_be32(cdb + 10, blocks);
		break;
	}
	cdb[0] = operation_code(transfer, length);
}

static uint8_t cdb_length_of(enum transfer transfer, uint64_t lba, uint32_t blocks, uint8_t wanted)
{
	if (transfer == TRANSFER_ZERO)
		return 16;
	if (wanted == 6 && (transfer == TRANSFER_VERIFY || transfer == TRANSFER_WRITE_VERIFY))
		return 10;
	return wanted ? wanted : lba + blocks > UINT32_MAX ? 16 : 10;
}

/* One descriptor list over the blocks, in as many pieces as there is room for, and as there are blocks. */
static void unmap_list(struct flight *flight)
{
	uint32_t pieces = flight->blocks < UNMAP_PIECES ? flight->blocks : UNMAP_PIECES, done = 0;
	uint8_t *list = flight->buffer, *cdb = flight->request.cdb;

	flight->request.length = 8 + 16 * pieces;
	memset(list, 0, flight->request.length);
	put_be16(list, (uint16_t)(6 + 16 * pieces));
	put_be16(list + 2, (uint16_t)(16 * pieces));
	for (uint32_t i = 0; i < pieces; i++) {
		uint32_t blocks = (flight->blocks - done) / (pieces - i);

		put_be64(list + 8 + 16 * i, flight->lba + done);
		put_be32(list + 16 + 16 * i, blocks);
		done += blocks;
	}
	cdb[0] = UNMAP;
	put_be16(cdb + 7, (uint16_t)flight->request.length);
	flight->request.cdb_length = 10;
}

/* The data of a verification, where the model knows them; else the device is to look for itself. */
static void verify_data(struct flight *flight)
{
	struct port_request *request = &flight->request;

	if (!model_recall(flight->run->model, flight->lba, flight->blocks, flight->buffer))
		return;
	request->cdb[1] = BYTCHK_ALL;
	request->direction = DIRECTION_OUT;
	request->data = flight->buffer;
	request->length = flight->blocks * flight->run->block_size;
}

static void attach_blocks(struct flight *flight, bool fua)
{
	struct run *run = flight->run;
	struct port_request *request = &flight->request;

	request->direction = flight->transfer == TRANSFER_READ ? DIRECTION_IN : DIRECTION_OUT;
	request->data = flight->buffer;
	request->length = (flight->transfer == TRANSFER_ZERO ? 1 : flight->blocks) * run->block_size;
	switch (flight->transfer) {
	case TRANSFER_READ:
		memset(flight->buffer, UNWRITTEN, request->length);
		break;
	case TRANSFER_ZERO:
		memset(flight->buffer, 0, request->length);
		return;
	case TRANSFER_WRITE_VERIFY:
		model_fill(run->model, flight->lba, flight->blocks, flight->version, flight->buffer);
		return;
	default:
		model_fill(run->model, flight->lba, flight->blocks, flight->version, flight->buffer);
		break;
	}
	if (!fua)
		return;
	request->cdb[1] = 8;
	flight->change = CHANGE_DURABLE;
}

void flight_transfer(struct flight *flight, enum transfer transfer, uint64_t lba, uint32_t blocks, bool fua,
		     uint8_t cdb_length)
{
	struct run *run = flight->run;
	struct port_request *request = &flight->request;

	prepare(flight, SRB_FUNCTION_EXECUTE_SCSI);
	flight->transfer = transfer;
	flight->lba = lba;
	flight->blocks = blocks;
	flight->limit = UINT64_MAX;
	flight->change = run->write_cache ? CHANGE_MADE : CHANGE_DURABLE;
	if (transfer >= TRANSFER_WRITE)
		flight->version = model_new_version(run->model);
	if (transfer == TRANSFER_UNMAP) {
		request->direction = DIRECTION_OUT;
		request->data = flight->buffer;
		unmap_list(flight);
		return;
	}
	request->cdb_length = cdb_length_of(transfer, lba, blocks, cdb_length);
	encode(request->cdb, request->cdb_length, transfer, lba, blocks);
	if (transfer == TRANSFER_VERIFY)
		verify_data(flight);
	else
		attach_blocks(flight, fua);
}

void flight_flush(struct flight *flight, uint8_t function)
{
	prepare(flight, function);
	if (function == SRB_FUNCTION_EXECUTE_SCSI) {
		flight->request.cdb[0] = SCSIOP_SYNCHRONIZE_CACHE;
		flight->request.cdb_length = 10;
	}
	flight->flushes = true;
	flight->clock = model_clock(flight->run->model);
}

static struct model_command raw_command(const struct flight *flight)
{
	const struct step *step = flight->step;

	return (struct model_command){ step->cdb.bytes, step->cdb.length, step->bytes, step->length };
}

static bool raw_reaches(const struct flight *flight, uint64_t lba, uint64_t blocks)
{
	const struct model_command command = raw_command(flight);

	return flight->raw && model_reaches(&command, lba, blocks);
}

const struct flight *flight_overlapping(struct run *run, enum transfer transfer, uint64_t lba, uint64_t blocks)
{
	for (const struct flight *flight = run->flights; flight; flight = flight->next) {
		if (flight->back)
			continue;
		if (raw_reaches(flight, lba, blocks))
			return flight;
		if (flight->transfer == TRANSFER_NONE || lba >= flight->lba + flight->blocks ||
		    flight->lba >= lba + blocks)
			continue;
		if (transfer >= TRANSFER_WRITE || flight->transfer >= TRANSFER_WRITE)
			return flight;
	}
	return NULL;
}

/*
 * What a command may change that the model knows as it was written only, is not known any more; nor is what becomes of
 * the transfers there that are under way. Until it is back nobody chooses these blocks. Locks: run->lock.
 */
static void dispute(struct run *run, struct flight *raw)
{
	const struct model_command command = raw_command(raw);

	raw->raw = true;
	model_doubt(run->model, &command);
	for (struct flight *flight = run->flights; flight; flight = flight->next) {
		if (!flight->back && flight->transfer != TRANSFER_NONE &&
		    model_reaches(&command, flight->lba, flight->blocks))
			flight->limit = 0;
	}
}

int request_build_io(struct run *run, const struct step *step, struct flight *flight, struct error *err)
{
	enum transfer transfer = step->direction == DIRECTION_OUT ? TRANSFER_WRITE : TRANSFER_READ;
	uint64_t bytes = (uint64_t)step->blocks * run->block_size;
	uint32_t most = port_limits(run_port(run))->max_transfer;
	const struct flight *other;

	if (bytes > most)
		return error_set(err, "expected a request of at most %u bytes, got %llu", most,
				 (unsigned long long)bytes);
	flight->buffer = malloc(bytes);
	if (!flight->buffer)
		return error_set(err, "there is no memory");
	other = flight_overlapping(run, transfer, step->number, step->blocks);
	if (other)
		return error_set(err, "expected blocks that nobody is writing or reading, got those of line %u",
				 other->step->line);
	flight_transfer(flight, transfer, step->number, step->blocks, step->fua, 0);
	return 0;
}

int request_build_flush(struct run *run, const struct step *step, struct flight *flight, struct error *err)
{
	(void)run;
	(void)step;
	(void)err;
	flight_flush(flight, SRB_FUNCTION_EXECUTE_SCSI);
	return 0;
}

/* The buffer that the script describes. */
static int attach_data(const struct step *step, struct flight *flight, struct error *err)
{
	flight->request.direction = step->direction;
	flight->request.length = step->length;
	if (step->direction == DIRECTION_NONE)
		return 0;
	flight->buffer = malloc(step->length ? step->length : 1);
	if (!flight->buffer)
		return error_set(err, "there is no memory");
	memset(flight->buffer, step->direction == DIRECTION_OUT ? PATTERN : UNWRITTEN, step->length);
	if (step->bytes)
		memcpy(flight->buffer, step->bytes, step->length);
	flight->request.data = flight->buffer;
	return 0;
}

int request_build_scsi(struct run *run, const struct step *step, struct flight *flight, struct error *err)
{
	prepare(flight, SRB_FUNCTION_EXECUTE_SCSI);
	memcpy(flight->request.cdb, step->cdb.bytes, step->cdb.length);
	flight->request.cdb_length = step->cdb.length;
	if (step->direction == DIRECTION_OUT)
		dispute(run, flight);
	return attach_data(step, flight, err);
}

int request_build_function(struct run *run, const struct step *step, struct flight *flight, struct error *err)
{
	(void)run;
	prepare(flight, step->function);
	flight->request.adapter = step->flag;
	flight->request.action = step->action;
	flight->request.power_state = step->power_state;
	return attach_data(step, flight, err);
}

static struct flight *flight_named(struct run *run, const char *name)
{
	struct flight *flight = run->flights;

	while (flight && strcmp(flight->name, name))
		flight = flight->next;
	return flight;
}

int request_build_abort(struct run *run, const struct step *step, struct flight *flight, struct error *err)
{
	struct flight *victim = flight_named(run, step->name);

	if (!victim)
		return error_set(err, "expected a request '%s' that was submitted and not awaited, got none",
				 step->name);
	prepare(flight, SRB_FUNCTION_ABORT_COMMAND);
	flight->request.aborts = &victim->request;
	return 0;
}

int request_build_ioctl(struct run *run, const struct step *step, struct flight *flight, struct error *err)
{
	SRB_IO_CONTROL control = {
		.HeaderLength = step->ioctl.header,
		.Timeout = TIMEOUT_S,
		.ControlCode = step->ioctl.code,
		.Length = step->ioctl.payload,
	};
	uint32_t bytes = step->ioctl.buffer;

	(void)run;
	memcpy(control.Signature, step->name, strlen(step->name));
	prepare(flight, SRB_FUNCTION_IO_CONTROL);
	flight->buffer = malloc(bytes > sizeof(control) ? bytes : sizeof(control));
	if (!flight->buffer)
		return error_set(err, "there is no memory");
	memset(flight->buffer, UNWRITTEN, bytes);
	memcpy(flight->buffer, &control, sizeof(control));
	flight->request.direction = DIRECTION_IN;
	flight->request.data = flight->buffer;
	flight->request.length = bytes;
	return 0;
}

int request_build(struct run *run, const struct step *step, struct flight *flight, bool shared, struct error *err)
{
	int failed;

	pthread_mutex_lock(&run->lock);
	failed = step->verb->build(run, step, flight, err);
	if (!failed && shared) {
		flight->next = run->flights;
		run->flights = flight;
	}
	pthread_mutex_unlock(&run->lock);
	return failed;
}

/* ---- sending and awaiting them ---- */

void flight_submit(struct flight *flight, unsigned cpu)
{
	flight->request.opaque = flight;
	flight->request.done = flight_done;
	flight->request.cpu = cpu;
	if (flight->run->state & STATE_DUMPING)
		port_dump_execute(run_port(flight->run), &flight->request);
	else
		port_submit(run_port(flight->run), &flight->request);
}

/* What came back becomes what `bytes` and its like look at. */
static void take_data(struct run *run, const struct flight *flight)
{
	const struct port_request *request = &flight->request;
	SRB_IO_CONTROL control;

	run->has_return_code = false;
	run->data = NULL;
	run->data_length = 0;
	if (request->direction != DIRECTION_IN || (inject_has_struck() && request->srb_status != SRB_STATUS_SUCCESS))
		return;
	run->data = flight->buffer;
	run->data_length = request->transferred < request->length ? request->transferred : request->length;
	if (request->function != SRB_FUNCTION_IO_CONTROL)
		return;
	memcpy(&control, flight->buffer, sizeof(control));
	run->has_return_code = true;
	run->return_code = control.ReturnCode;
	run->data += sizeof(control);
	run->data_length = run->data_length > sizeof(control) ? run->data_length - (uint32_t)sizeof(control) : 0;
	if (control.Length < run->data_length)
		run->data_length = control.Length;
}

static int await_flight(struct run *run, struct flight *flight, const struct expect *expect, struct error *err)
{
	char got[80];

	if (run_wait(run, &flight->gate, &flight->back, "the request", err))
		return -1;
	flight->name = "";
	take_data(run, flight);
	expect_describe(&flight->request, got, sizeof(got));
	run_note(run, "    %s: %s", flight->step->verb->name, got);
	if (expect_judge(expect, &flight->request, flight->transfer != TRANSFER_NONE, err))
		return -1;
	return flight->wrong ? error_set(err, "%s", flight->mismatch.text) : 0;
}

int flight_judge(struct flight *flight, struct error *err)
{
	if (!flight->back)
		return error_set(err, "expected the request to end, got a machine that died: %s", cpu_death());
	return expect_judge(&(struct expect){ .count = 0 }, &flight->request, true, err);
}

void flight_free(struct flight *flight)
{
	free(flight->buffer);
	free(flight);
}

int request_step(struct run *run, const struct step *step, struct error *err)
{
	struct flight *flight = flight_create(run, step);

	if (!flight)
		return error_set(err, "there is no memory");
	if (!run_port(run))
		return error_set(err, "expected a dump image, got one that refused");
	if (request_build(run, step, flight, true, err))
		return -1;
	if (step->submitted)
		flight->name = step->submitted;
	flight_submit(flight, run_cpu(run));
	return step->submitted ? 0 : await_flight(run, flight, &step->expect, err);
}

/* Every request that has a name, the oldest first. */
static int await_all(struct run *run, const struct expect *expect, struct error *err)
{
	for (;;) {
		struct flight *oldest = NULL;

		for (struct flight *flight = run->flights; flight; flight = flight->next) {
			if (flight->name[0])
				oldest = flight;
		}
		if (!oldest)
			return load_await(run, err);
		if (await_flight(run, oldest, expect, err)) {
			struct error why = *err;

			return error_set(err, "%s (line %u)", why.text, oldest->step->line);
		}
	}
}

int step_await(struct run *run, const struct step *step, struct error *err)
{
	struct flight *flight;

	if (!strcmp(step->name, "all"))
		return await_all(run, &step->expect, err);
	flight = flight_named(run, step->name);
	if (!flight)
		return error_set(err, "expected a request '%s' that was submitted and not awaited, got none",
				 step->name);
	return await_flight(run, flight, &step->expect, err);
}

int run_await_all(struct run *run, struct error *err)
{
	static const struct expect good = { .count = 0 };

	return await_all(run, &good, err);
}
