/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What a run does with its machine: the fixed job of the device side, the free order of the Windows side. */
#include <stdlib.h>

#include "disk/bytes.h"
#include "fuzz/internal.h"
#include "scenario/model.h"

#define STEPS_MAX 64u

/* Power and Plug and Play as Windows orders them; a step that the driver fails ends the run. */
static void transition(struct fuzz *fuzz, unsigned which)
{
	static const char *const names[] = { "bus reset", "sleep", "hibernation", "rebalance", "restart", "removal" };
	struct error err;
	bool good = true;

	fuzz_note("transition: %s", names[which < 5 ? which : 5]);
	switch (which) {
	case 0:
		port_reset_bus(fuzz->port);
		break;
	case 1:
		good = !port_sleep(fuzz->port, false, &err) && !port_wake(fuzz->port, false, &err);
		break;
	case 2:
		good = !port_sleep(fuzz->port, true, &err);
		if (good && fuzz->model)
			model_power_lost(fuzz->model);
		good = good && !port_wake(fuzz->port, true, &err);
		break;
	case 3:
		good = !port_rebalance(fuzz->port, true, &err);
		break;
	case 4:
		if (!ask_await(fuzz))
			return;
		fuzz_stop(fuzz);
		good = !cpu_dead() && fuzz_start(fuzz);
		break;
	default:
		good = false;
		port_surprise_remove(fuzz->port, &err);
		if (fuzz->model)
			model_power_lost(fuzz->model);
		break;
	}
	fuzz->running = good && !cpu_dead();
}

/* ---- the device lies ---- */

void side_device(struct fuzz *fuzz)
{
	static const struct {
		uint8_t cdb[16], length;
	} commands[] = {
		{ { 0x12, 0, 0, 0, 96 }, 96 },          /* INQUIRY */
		{ { 0x9e, 0x10, [13] = 32 }, 32 },      /* READ CAPACITY (16) */
		{ { 0x12, 1, 0x80, 0, 64 }, 64 },       /* the serial number, by GET_ID */
		{ { 0x12, 1, 0xb0, 0, 64 }, 64 },       /* block limits */
		{ { 0x5a, 0, 0x3f, [8] = 192 }, 192 },  /* MODE SENSE (10) */
		{ { 0x93, 8, [9] = 8, [13] = 16 }, 0 }, /* WRITE SAME (16) with UNMAP and no data */
		{ { 0x35 }, 0 },                        /* SYNCHRONIZE CACHE (10) */
	};
	uint8_t plan = input_byte(fuzz->input);

	for (unsigned i = 0; i < sizeof(commands) / sizeof(commands[0]) && fuzz->running; i++) {
		if (fuzz->block_size && fuzz->block_size <= DATA_MAX / 4)
			ask_io(fuzz, i & 1, i, 1 + (i & 2), i == 3, 10);
		ask_command(fuzz, commands[i].cdb, sizeof(commands[i].cdb), commands[i].length);
		if (i == 2 && (plan & 8))
			transition(fuzz, plan & 7);
	}
	if (!cpu_dead())
		ask_await(fuzz);
	if (fuzz->running && (plan & 0x80)) {
		transition(fuzz, plan >> 4 & 7);
		if (fuzz->running)
			ask_command(fuzz, commands[0].cdb, 6, 96);
	}
	if (!cpu_dead())
		ask_await(fuzz);
}

/* ---- Windows asks ---- */

/* What the disk says of itself. */
static void measure(struct fuzz *fuzz)
{
	static const uint8_t read_capacity[10] = { 0x25 };
	const uint8_t *answer = ask_command(fuzz, read_capacity, sizeof(read_capacity), 8);

	if (!ask_await(fuzz))
		return;
	fuzz->blocks = get_be32(answer) + 1ull;
	fuzz->block_size = get_be32(answer + 4);
	if (fuzz->block_size < 512 || fuzz->block_size > DATA_MAX || fuzz->blocks * fuzz->block_size != DISK_BYTES)
		fuzz->block_size = 0; /* a device that says something odd: nothing is read or written by blocks */
	else
		fuzz->model = model_create(fuzz->block_size, fuzz_disk(), true);
}

static void resize(struct fuzz *fuzz)
{
	struct error err;

	ask_await(fuzz);
	model_free(fuzz->model);
	fuzz->model = NULL;
	virtio_blk_resize(fuzz->device, 512u * (1 + input_below(fuzz->input, 1024)), &err);
}

static void step(struct fuzz *fuzz)
{
	uint8_t what = input_byte(fuzz->input) % 32;

	if (what < 10)
		ask(fuzz, ASK_IO);
	else if (what < 18)
		ask(fuzz, ASK_SCSI);
	else if (what < 22)
		ask(fuzz, ASK_FUNCTION);
	else if (what < 25)
		ask(fuzz, ASK_IOCTL);
	else if (what < 26)
		ask(fuzz, ASK_ABORT);
	else if (what < 28)
		ask_await(fuzz);
	else if (what < 29)
		cpu_rest();
	else if (what < 30)
		resize(fuzz);
	else
		transition(fuzz, input_byte(fuzz->input) % 6);
}

void side_windows(struct fuzz *fuzz)
{
	measure(fuzz);
	for (unsigned i = 0; i < STEPS_MAX && fuzz->running && !cpu_dead() && input_more(fuzz->input); i++)
		step(fuzz);
	if (!cpu_dead())
		ask_await(fuzz);
}
