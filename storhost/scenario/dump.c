/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Crashes, hibernation files, and what is written by the dump image. */
#include <scsi.h>
#include <srb.h>
#include <string.h>

#include "disk/bytes.h"
#include "scenario/internal.h"

#define PAGE_BYTES 4096u
#define TIMEOUT_S 60u
#define CAPACITY_BYTES 8u

/* Nothing that is under way comes back: reads have no result, and writes happened or did not. */
static void forget_flights(struct run *run)
{
	pthread_mutex_lock(&run->lock);
	for (struct flight *flight = run->flights; flight; flight = flight->next) {
		if (!flight->back)
			flight_abandon(flight);
	}
	load_forget(run);
	pthread_mutex_unlock(&run->lock);
}

static void capacity_done(struct port_request *request)
{
	(void)request;
}

/* Where no driver has run before, the dump image says how large the disk is. */
static int adopt_capacity(struct run *run, struct error *err)
{
	uint8_t data[CAPACITY_BYTES] = { 0 };
	struct port_request request = {
		.function = SRB_FUNCTION_EXECUTE_SCSI,
		.cdb = { SCSIOP_READ_CAPACITY },
		.cdb_length = 10,
		.direction = DIRECTION_IN,
		.data = data,
		.length = sizeof(data),
		.timeout = TIMEOUT_S,
		.done = capacity_done,
	};

	if (!port_dump_execute(run_port(run), &request) || request.srb_status != SRB_STATUS_SUCCESS)
		return error_set(err, "expected the dump image to tell the disk's capacity, got SRB status 0x%02x",
				 request.srb_status);
	return run_adopt(run, (uint64_t)get_be32(data) + 1, get_be32(data + 4), err);
}

/* Starts the image, which refuses if the step says so. */
static int image_start(struct run *run, const struct step *step, bool crash, struct error *err)
{
	char path[4096] = "";
	struct error why;
	int failed;

	if (clock_is_real())
		return error_set(err, "a machine of threads does not stop: crash and hibernate it without threads");
	if (run_medium(run, path, sizeof(path), err))
		return -1;
	failed = run->host->dump(run->host->opaque, path, crash, &why);
	if (failed == SCENARIO_CANNOT) {
		*err = why;
		return failed;
	}
	run->state = crash ? STATE_CRASHED : STATE_HIBERNATING;
	if (failed)
		run_note(run, "    refused: %s", why.text);
	if (step->name && !failed)
		return error_set(err, "expected the dump image to refuse with '%s', got a start", step->name);
	if (step->name)
		return strstr(why.text, step->name)
			       ? 0
			       : error_set(err, "expected a refusal with '%s', got: %s", step->name, why.text);
	return failed ? error_set(err, "expected the dump image to start, got: %s", why.text) : 0;
}

int step_crash(struct run *run, const struct step *step, struct error *err)
{
	int failed;

	if (step->number && run->state == STATE_RUNNING && !cpu_run(step->number))
		return error_set(err, "expected the machine to live, got its death: %s", cpu_death());
	failed = image_start(run, step, true, err);
	if (run->state != STATE_CRASHED)
		return failed; /* and what is in flight may come back */
	forget_flights(run);
	run->write_cache = true; /* the image has not been told to do without */
	if (failed)
		return failed;
	return run->model || step->name ? 0 : adopt_capacity(run, err);
}

int dump_hibernate(struct run *run, const struct step *step, struct error *err)
{
	return image_start(run, step, false, err);
}

int dump_resume(struct run *run, struct error *err)
{
	run->state = STATE_ASLEEP;
	return run->host->dump_end(run->host->opaque, err);
}

int step_reboot(struct run *run, const struct step *step, struct error *err)
{
	(void)step;
	run->state = STATE_STOPPED;
	run_lose_power(run);
	return run->host->dump_end(run->host->opaque, err);
}

/* One piece of a dump, as a request of its own. */
static int write_piece(struct run *run, const struct step *step, uint64_t lba, uint32_t blocks, struct error *err)
{
	struct step piece = { .verb = step->verb, .number = lba, .blocks = blocks, .direction = DIRECTION_OUT };
	struct flight *flight = flight_create(run, step);
	int failed;

	if (!flight)
		return error_set(err, "there is no memory");
	pthread_mutex_lock(&run->lock);
	failed = request_build_io(run, &piece, flight, err);
	pthread_mutex_unlock(&run->lock);
	if (!failed) {
		flight_submit(flight, 0);
		failed = flight_judge(flight, err);
	}
	if (!cpu_dead())
		flight_free(flight);
	return failed;
}

int step_dump(struct run *run, const struct step *step, struct error *err)
{
	uint32_t most, left = (uint32_t)(step->number / run->block_size), blocks, page = PAGE_BYTES / run->block_size;
	uint64_t lba = step->operand;

	if (!run_port(run))
		return error_set(err, "expected a dump image, got one that refused");
	most = port_limits(run_port(run))->max_transfer / PAGE_BYTES;
	while (left) {
		blocks = page * (step->flag ? most : 1 + (uint32_t)rng_below(&run->rng, most));
		if (blocks > left)
			blocks = left;
		if (write_piece(run, step, lba, blocks, err))
			return -1;
		lba += blocks;
		left -= blocks;
	}
	return 0;
}
