/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Requests as the input describes them, and what has to be true of each once the run is over. */
#include <ntddscsi.h>
#include <scsi.h>
#include <srb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disk/bytes.h"
#include "fuzz/internal.h"
#include "scenario/model.h"

#define TIMEOUT_S 60u
#define UNWRITTEN 0xcc

struct asked {
	struct port_request request;
	struct fuzz *fuzz;
	struct asked *next;
	unsigned back; /* how often */
	bool io, write;
	uint64_t lba;
	uint32_t blocks, version;
	uint8_t data[];
};

/* Opened when none is under way any more. */
static struct {
	unsigned under_way;
	bool wrong;
	struct gate *gate;
} now;

static void settle(struct asked *asked)
{
	const struct port_request *request = &asked->request;
	bool good = request->srb_status == SRB_STATUS_SUCCESS && request->transferred == request->length;
	struct model *model = asked->fuzz->model;
	struct error err;

	if (!asked->io || !model)
		return;
	if (asked->write) {
		model_written(model, asked->lba, asked->blocks, asked->version, good ? CHANGE_MADE : CHANGE_DOUBTFUL);
	} else if (good && model_read(model, asked->lba, asked->blocks, asked->data, &err)) {
		fprintf(stderr, "fuzz: a good read: %s\n", err.text);
		now.wrong = true;
	}
}

static void done(struct port_request *request)
{
	struct asked *asked = request->opaque;
	struct gate *gate = now.gate;

	fuzz_note("back: function 0x%02x, opcode 0x%02x: srb status 0x%02x, scsi status 0x%02x, %u bytes",
		  request->function, request->cdb[0], request->srb_status, request->scsi_status, request->transferred);
	if (!asked->back++) {
		settle(asked);
		now.under_way--;
	}
	if (!now.under_way && gate) {
		now.gate = NULL;
		gate_open(gate);
	}
}

bool ask_await(struct fuzz *fuzz)
{
	struct gate gate = { .open = false };

	(void)fuzz;
	if (!now.under_way)
		return !cpu_dead();
	now.gate = &gate;
	return cpu_wait(&gate);
}

static struct asked *prepare(struct fuzz *fuzz, uint8_t function, uint32_t length)
{
	struct asked *asked = calloc(1, sizeof(*asked) + length);

	if (!asked)
		abort();
	asked->fuzz = fuzz;
	asked->next = fuzz->asked;
	fuzz->asked = asked;
	asked->request = (struct port_request){
		.function = function,
		.timeout = TIMEOUT_S,
		.length = length,
		.data = asked->data,
		.done = done,
		.opaque = asked,
	};
	memset(asked->data, UNWRITTEN, length);
	return asked;
}

static void send(struct asked *asked)
{
	const struct port_request *request = &asked->request;
	char cdb[3 * sizeof(request->cdb) + 1] = "";

	for (unsigned i = 0; fuzz_verbose && i < request->cdb_length && i < sizeof(request->cdb); i++)
		snprintf(cdb + 3 * i, 4, " %02x", request->cdb[i]);
	fuzz_note("request: function 0x%02x,%s direction %d, %u bytes, timeout %u, action %u, flags 0x%x",
		  request->function, cdb, (int)request->direction, request->length, request->timeout, request->action,
		  request->flags);
	now.under_way++;
	port_submit(asked->fuzz->port, &asked->request);
}

/* ---- reads and writes of the medium ---- */

static void encode(uint8_t *cdb, uint8_t length, bool write, uint64_t lba, uint32_t blocks, bool fua)
{
	switch (length) {
	case 6:
		put_be32(cdb, (uint32_t)lba);
		cdb[0] = write ? SCSIOP_WRITE6 : SCSIOP_READ6;
		cdb[4] = (uint8_t)blocks;
		return;
	case 10:
		cdb[0] = write ? SCSIOP_WRITE : SCSIOP_READ;
		put_be32(cdb + 2, (uint32_t)lba);
		put_be16(cdb + 7, (uint16_t)blocks);
		break;
	case 12:
		cdb[0] = write ? SCSIOP_WRITE12 : SCSIOP_READ12;
		put_be32(cdb + 2, (uint32_t)lba);
		put_be32(cdb + 6, blocks);
		break;
	default:
		cdb[0] = write ? SCSIOP_WRITE16 : SCSIOP_READ16;
		put_be64(cdb + 2, lba);
		put_be32(cdb + 10, blocks);
		break;
	}
	cdb[1] = fua ? 8 : 0;
}

/* Requests that touch the same blocks have no order, so that nobody could say what a read has to return. */
static bool overlaps(const struct fuzz *fuzz, bool write, uint64_t lba, uint32_t blocks)
{
	for (const struct asked *asked = fuzz->asked; asked; asked = asked->next) {
		if (asked->io && !asked->back && (write || asked->write) && lba < asked->lba + asked->blocks &&
		    asked->lba < lba + blocks)
			return true;
	}
	return false;
}

void ask_io(struct fuzz *fuzz, bool write, uint64_t lba, uint32_t blocks, bool fua, uint8_t cdb_length)
{
	struct asked *asked;

	if (overlaps(fuzz, write, lba, blocks) && !ask_await(fuzz))
		return;
	asked = prepare(fuzz, SRB_FUNCTION_EXECUTE_SCSI, blocks * fuzz->block_size);
	asked->io = true;
	asked->write = write;
	asked->lba = lba;
	asked->blocks = blocks;
	asked->request.cpu = (unsigned)lba & 1;
	asked->request.direction = write ? DIRECTION_OUT : DIRECTION_IN;
	asked->request.cdb_length = cdb_length;
	encode(asked->request.cdb, cdb_length, write, lba, blocks, fua);
	if (write && fuzz->model) {
		asked->version = model_new_version(fuzz->model);
		model_fill(fuzz->model, lba, blocks, asked->version, asked->data);
	}
	send(asked);
}

static void ask_input_io(struct fuzz *fuzz)
{
	static const uint8_t lengths[] = { 10, 16, 12, 6 };
	uint8_t what = input_byte(fuzz->input);
	uint32_t most = fuzz->block_size ? DATA_MAX / fuzz->block_size : 0;
	uint32_t blocks, limit = port_limits(fuzz->port)->max_transfer / (fuzz->block_size ? fuzz->block_size : 1);

	most = most < limit ? most : limit;
	blocks = 1 + input_below(fuzz->input, most ? most : 1);
	if (!most || blocks > fuzz->blocks)
		return;
	ask_io(fuzz, what & 1, input_below(fuzz->input, (uint32_t)fuzz->blocks), blocks, what & 2,
	       lengths[what >> 2 & 3]);
}

/* ---- whatever else Windows may send ---- */

static uint32_t take_length(struct input *input)
{
	static const uint32_t lengths[] = { 0, 1, 4, 8, 12, 24, 36, 96, 255, 256, 512, 4096 };
	uint8_t n = input_byte(input);

	if (n < sizeof(lengths) / sizeof(lengths[0]))
		return lengths[n];
	return n < 0xf0 ? n : input_below(input, DATA_MAX + 1);
}

static void take_address(struct input *input, struct port_request *request)
{
	uint8_t which = input_byte(input);

	/* The one logical unit, as a rule. */
	if (which < 0xe0)
		return;
	request->path = which & 1 ? input_byte(input) : 0;
	request->target = which & 2 ? input_byte(input) : 0;
	request->lun = which & 4 ? input_byte(input) : 0;
}

static void take_data(struct asked *asked)
{
	struct input *input = asked->fuzz->input;
	uint32_t bytes = input_below(input, 65);

	for (uint32_t i = 0; i < bytes && i < asked->request.length; i++)
		asked->data[i] = input_byte(input);
}

/* What only few requests have other than usual. */
static void take_rarities(struct input *input, struct port_request *request)
{
	uint8_t rare = input_byte(input);

	if (rare & 1)
		request->sense_cut = input_byte(input);
	if (rare & 2)
		request->flags = (uint32_t)input_number(input, 4) & ~(uint32_t)(SRB_FLAGS_DATA_IN | SRB_FLAGS_DATA_OUT);
	if (rare & 4)
		request->queue_action = input_byte(input);
	if (rare & 8)
		request->timeout = input_byte(input);
	request->cpu = rare >> 4 & 1;
}

/* By operation code: WRITE, WRITE AND VERIFY, WRITE SAME, UNMAP, FORMAT UNIT. */
static bool changes_medium(const uint8_t *cdb)
{
	uint8_t code = cdb[0] & 0x1f;

	return code == 0x0a || code == 0x0e || cdb[0] == 0x41 || cdb[0] == 0x42 || cdb[0] == 0x93 || cdb[0] == 0x04;
}

/* What it changes, and what is written meanwhile, the model cannot say: nothing runs beside it. */
static void send_command(struct asked *asked)
{
	struct fuzz *fuzz = asked->fuzz;
	const struct model_command command = { asked->request.cdb, asked->request.cdb_length, asked->data,
					       asked->request.length };
	bool alone = fuzz->model && changes_medium(asked->request.cdb);

	if (alone)
		ask_await(fuzz);
	if (alone)
		model_doubt(fuzz->model, &command);
	send(asked);
	if (alone)
		ask_await(fuzz);
}

const uint8_t *ask_command(struct fuzz *fuzz, const uint8_t *cdb, uint8_t cdb_length, uint32_t length)
{
	struct asked *asked = prepare(fuzz, SRB_FUNCTION_EXECUTE_SCSI, length);

	asked->request.direction = length ? DIRECTION_IN : DIRECTION_NONE;
	asked->request.cdb_length = cdb_length;
	memcpy(asked->request.cdb, cdb, cdb_length);
	send_command(asked);
	return asked->data;
}

static void ask_scsi(struct fuzz *fuzz)
{
	struct input *input = fuzz->input;
	uint8_t what = input_byte(input);
	struct asked *asked = prepare(fuzz, SRB_FUNCTION_EXECUTE_SCSI, take_length(input));
	struct port_request *request = &asked->request;

	request->direction = (enum request_direction)((what & 3) % 3);
	request->cdb_length = what & 4 ? input_byte(input) % 17 : 16;
	for (unsigned i = 0; i < 16; i++)
		request->cdb[i] = input_byte(input);
	if (!(what & 4))
		request->cdb_length = request->cdb[0] < 0x20   ? 6
				      : request->cdb[0] < 0x60 ? 10
				      : request->cdb[0] < 0xa0 ? 16
							       : 12;
	take_address(input, request);
	take_rarities(input, request);
	take_data(asked);
	send_command(asked);
}

static void ask_function(struct fuzz *fuzz)
{
	static const uint8_t functions[] = {
		SRB_FUNCTION_FLUSH,
		SRB_FUNCTION_SHUTDOWN,
		SRB_FUNCTION_RESET_LOGICAL_UNIT,
		SRB_FUNCTION_RESET_DEVICE,
		SRB_FUNCTION_RESET_BUS,
		SRB_FUNCTION_PNP,
		SRB_FUNCTION_POWER,
		SRB_FUNCTION_WMI,
		SRB_FUNCTION_DUMP_POINTERS,
		SRB_FUNCTION_LOCK_QUEUE,
		SRB_FUNCTION_UNLOCK_QUEUE,
		SRB_FUNCTION_RELEASE_QUEUE,
		SRB_FUNCTION_CLAIM_DEVICE,
		SRB_FUNCTION_RELEASE_DEVICE,
	};
	struct input *input = fuzz->input;
	uint8_t n = input_byte(input), what = input_byte(input);
	uint8_t function = n < sizeof(functions) ? functions[n] : n;
	struct asked *asked = prepare(fuzz, function, take_length(input));
	struct port_request *request = &asked->request;

	request->direction = (enum request_direction)((what & 3) % 3);
	request->adapter = what & 4;
	request->action = what & 8 ? (uint32_t)input_number(input, 4) : input_below(input, 16);
	request->power_state = what & 16 ? (uint32_t)input_number(input, 4) : input_below(input, 6);
	request->wmi_subfunction = input_byte(input);
	take_address(input, request);
	take_rarities(input, request);
	take_data(asked);
	send(asked);
}

static void ask_ioctl(struct fuzz *fuzz)
{
	struct input *input = fuzz->input;
	uint8_t what = input_byte(input), odd = what & 15;
	struct asked *asked = prepare(fuzz, SRB_FUNCTION_IO_CONTROL, take_length(input));
	SRB_IO_CONTROL control = {
		.HeaderLength = odd == 1 ? (ULONG)input_number(input, 4) : sizeof(control),
		.Timeout = TIMEOUT_S,
		.ControlCode = odd == 2 ? (ULONG)input_number(input, 4) : 0x8000a001u + (what >> 7),
		.Length = odd == 3 ? (ULONG)input_number(input, 4) : input_byte(input),
	};

	memcpy(control.Signature, "AEROVBLK", sizeof(control.Signature));
	if (odd == 4)
		control.Signature[input_below(input, 8)] = input_byte(input);
	memcpy(asked->data, &control,
	       asked->request.length < sizeof(control) ? asked->request.length : sizeof(control));
	asked->request.direction = what & 16 ? DIRECTION_OUT : DIRECTION_IN;
	take_address(input, &asked->request);
	take_rarities(input, &asked->request);
	send(asked);
}

/* Of a request that is under way, if there is one. */
static void ask_abort(struct fuzz *fuzz)
{
	unsigned n = input_below(fuzz->input, 8);
	struct asked *asked, *victim = fuzz->asked;

	while (victim && (n || victim->back)) {
		n -= n && !victim->back;
		victim = victim->next;
	}
	if (!victim)
		return;
	asked = prepare(fuzz, SRB_FUNCTION_ABORT_COMMAND, 0);
	asked->request.aborts = &victim->request;
	send(asked);
}

void ask(struct fuzz *fuzz, enum ask kind)
{
	switch (kind) {
	case ASK_IO:
		ask_input_io(fuzz);
		break;
	case ASK_SCSI:
		ask_scsi(fuzz);
		break;
	case ASK_FUNCTION:
		ask_function(fuzz);
		break;
	case ASK_IOCTL:
		ask_ioctl(fuzz);
		break;
	default:
		ask_abort(fuzz);
		break;
	}
}

bool ask_settle(struct fuzz *fuzz)
{
	bool good = !now.wrong;
	struct asked *next;
	struct error err;

	if (fuzz->model && model_compare(fuzz->model, &err)) {
		fprintf(stderr, "fuzz: the medium: %s\n", err.text);
		good = false;
	}
	for (struct asked *asked = fuzz->asked; asked; asked = next) {
		next = asked->next;
		if (asked->back != 1) {
			fprintf(stderr, "fuzz: a request (function 0x%02x, opcode 0x%02x) came back %u times\n",
				asked->request.function, asked->request.cdb[0], asked->back);
			good = false;
		}
		free(asked);
	}
	now.under_way = 0;
	now.wrong = false;
	return good;
}
