/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Load: random reads, writes and flushes, as many at a time as its depth, each held against the model. */
#include <srb.h>
#include <stdlib.h>
#include <string.h>

#include "scenario/internal.h"

#define RETRIES 8u       /* classpnp's NUM_IO_RETRIES */
#define HOT_BLOCKS 2048u /* half of the requests go there, so that blocks are written and read again */
#define SIZE_STEPS 12u   /* sizes from one block to 2 to the power of this, less one, each about as often */
#define PLACES 16u       /* tried for one that no other request uses */
#define FLUSH_SHARE 8u   /* of what is no read, one in so many flushes */
#define FUA_SHARE 8u     /* of writes, one in so many */
#define VERIFY_SHARE 16u /* of reads, and of writes, one in so many has the device look at the medium, too */
#define ZERO_SHARE 8u    /* of writes, one in so many writes zeroes, or takes blocks away, where the disk can do that */

struct load {
	struct load *next;
	struct run *run;
	const struct step *step;
	struct rng rng;
	struct gate gate;
	bool over;
	uint64_t left;   /* to be sent */
	uint64_t place;  /* block, where they are taken one after the other */
	uint64_t blocks; /* of the disk when it began: who uses a disk learns only later that it grew */
	unsigned under_way;
	unsigned reads, writes, flushes, retries, failures;
	bool failed;
	struct error failure;
};

/* ---- choosing a request; locks: run->lock ---- */

/* Blocks from 0 on that it may touch. */
static uint64_t room(const struct load *load)
{
	uint64_t blocks = run_blocks(load->run), within = load->step->operand;

	if (load->blocks < blocks)
		blocks = load->blocks;
	return within && within < blocks ? within : blocks;
}

static uint32_t choose_blocks(struct load *load)
{
	struct run *run = load->run;
	uint32_t bytes = port_limits(run_port(run))->max_transfer;
	uint32_t size = run->block_size, most, blocks;

	if (bytes > load->step->load.bytes)
		bytes = load->step->load.bytes;
	most = bytes / size ? bytes / size : 1;
	blocks = 1 + (uint32_t)rng_below(&load->rng, (uint64_t)1 << rng_below(&load->rng, SIZE_STEPS));
	if (blocks > most)
		blocks = most;
	return blocks > room(load) ? (uint32_t)room(load) : blocks;
}

static uint8_t choose_cdb_length(struct load *load, uint64_t lba, uint32_t blocks, bool fua)
{
	uint8_t length = (uint8_t[]){ 6, 10, 10, 12, 16, 0, 0, 0 }[rng_below(&load->rng, 8)];

	if (length == 6 && (fua || blocks > 255 || lba + blocks > 1u << 21))
		return 0;
	return lba + blocks > UINT32_MAX ? 0 : length;
}

/* A transfer somewhere; false: everywhere it looked somebody else is busy. */
static bool choose_transfer(struct load *load, struct flight *flight, enum transfer transfer)
{
	bool fua = rng_below(&load->rng, FUA_SHARE) == 0;

	for (unsigned i = 0; i < PLACES; i++) {
		uint32_t blocks = choose_blocks(load);
		uint64_t places = room(load) - blocks + 1, lba;

		if (rng_below(&load->rng, 2) && places > HOT_BLOCKS)
			places = HOT_BLOCKS;
		lba = load->step->load.sequential ? load->place % places : rng_below(&load->rng, places);
		load->place = lba + blocks;
		if (flight_overlapping(load->run, transfer, lba, blocks))
			continue;
		flight_transfer(flight, transfer, lba, blocks, fua, choose_cdb_length(load, lba, blocks, fua));
		return true;
	}
	return false;
}

static bool one_in(struct load *load, unsigned share)
{
	return rng_below(&load->rng, share) == 0;
}

static enum transfer choose_write(struct load *load)
{
	const struct run *run = load->run;

	if (one_in(load, VERIFY_SHARE))
		return TRANSFER_WRITE_VERIFY;
	if ((!run->unmaps && !run->zeroes) || !one_in(load, ZERO_SHARE))
		return TRANSFER_WRITE;
	return !run->zeroes || (run->unmaps && one_in(load, 2)) ? TRANSFER_UNMAP : TRANSFER_ZERO;
}

/* Windows flushes by command; StorPort has functions for it, too. */
static uint8_t choose_flush(struct load *load)
{
	static const uint8_t functions[] = { SRB_FUNCTION_EXECUTE_SCSI, SRB_FUNCTION_EXECUTE_SCSI, SRB_FUNCTION_FLUSH,
					     SRB_FUNCTION_SHUTDOWN };

	return functions[rng_below(&load->rng, sizeof(functions))];
}

static void choose(struct load *load, struct flight *flight)
{
	if (rng_below(&load->rng, 100) < load->step->load.reads) {
		if (choose_transfer(load, flight, one_in(load, VERIFY_SHARE) ? TRANSFER_VERIFY : TRANSFER_READ)) {
			load->reads++;
			return;
		}
	} else if (!one_in(load, FLUSH_SHARE) && choose_transfer(load, flight, choose_write(load))) {
		load->writes++;
		return;
	}
	flight_flush(flight, choose_flush(load));
	load->flushes++;
}

/* Chooses the next request; false: there is no more. */
static bool next_request(struct load *load, struct flight *flight)
{
	bool more;

	pthread_mutex_lock(&load->run->lock);
	more = load->left != 0;
	if (more) {
		load->left--;
		load->under_way++;
		choose(load, flight);
	}
	pthread_mutex_unlock(&load->run->lock);
	return more;
}

/* ---- its course ---- */

bool load_retries(struct flight *flight)
{
	struct load *load = flight->load;

	if (!load->step->load.retry || flight_is_good(flight) || flight->attempts >= RETRIES ||
	    !disk_worth_retrying(&flight->request))
		return false;
	flight->attempts++;
	load->retries++;
	return true;
}

/* Whether it found other data than it was to find, in blocks that were changed meanwhile. Locks: run->lock. */
static bool was_outrun(const struct flight *flight)
{
	static const struct expect miscompare = { .count = 1,
						  .alternative = { { .has_sense = true, .key = 0x0e, .asc = 0x1d } } };
	struct error why;

	return flight->transfer != TRANSFER_NONE && flight->limit < flight->lba + flight->blocks &&
	       !expect_judge(&miscompare, &flight->request, true, &why);
}

/* Locks: run->lock. */
static void judge(struct load *load, const struct flight *flight)
{
	struct error why = flight->mismatch;

	if (!flight->wrong) {
		if (flight_is_good(flight))
			return;
		load->failures++;
		if (load->step->load.fails || was_outrun(flight) ||
		    !expect_judge(&(struct expect){ .count = 0 }, &flight->request, true, &why))
			return;
	}
	if (!load->failed)
		error_set(&load->failure, "%s (opcode 0x%02x, %u blocks at %llu)", why.text, flight->request.cdb[0],
			  flight->transfer == TRANSFER_NONE ? 0 : flight->blocks,
			  (unsigned long long)(flight->transfer == TRANSFER_NONE ? 0 : flight->lba));
	load->failed = true;
	load->left = 0;
}

void load_returned(struct flight *flight)
{
	struct load *load = flight->load;
	struct run *run = load->run;
	bool over;

	pthread_mutex_lock(&run->lock);
	judge(load, flight);
	load->under_way--;
	over = !load->left && !load->under_way;
	if (over)
		load->over = true;
	pthread_mutex_unlock(&run->lock);
	if (over)
		gate_open(&load->gate);
	else if (next_request(load, flight))
		flight_submit(flight, flight->request.cpu);
}

/* Its flights are there for the next load. Locks: run->lock. */
static void release_flights(struct load *load)
{
	for (struct flight *flight = load->run->flights; flight; flight = flight->next) {
		if (flight->load == load)
			flight->load = NULL;
	}
}

static int load_end(struct load *load)
{
	pthread_mutex_lock(&load->run->lock);
	release_flights(load);
	pthread_mutex_unlock(&load->run->lock);
	free(load);
	return 0;
}

static int load_wait(struct run *run, struct load *load, struct error *err)
{
	if (run_wait(run, &load->gate, &load->over, "the load", err))
		return -1;
	if (!load->step->load.quiet)
		run_note(run, "    load: %u reads, %u writes, %u flushes, %u retries, %u failures", load->reads,
			 load->writes, load->flushes, load->retries, load->failures);
	return load->failed ? error_set(err, "%s", load->failure.text) : load_end(load);
}

int load_await(struct run *run, struct error *err)
{
	while (run->loads) {
		struct load *next = run->loads->next;

		if (load_wait(run, run->loads, err))
			return -1;
		run->loads = next;
	}
	return 0;
}

void load_forget(struct run *run)
{
	while (run->loads) {
		struct load *load = run->loads;

		run->loads = load->next;
		release_flights(load);
		free(load);
	}
}

int load_check(struct run *run, struct error *err)
{
	int result = 0;

	pthread_mutex_lock(&run->lock);
	for (const struct load *load = run->loads; load && !result; load = load->next)
		result = load->failed ? error_set(err, "%s", load->failure.text) : 0;
	pthread_mutex_unlock(&run->lock);
	return result;
}

static struct load *load_create(struct run *run, const struct step *step)
{
	struct load *load = calloc(1, sizeof(*load));

	if (!load)
		return NULL;
	load->run = run;
	load->step = step;
	load->left = step->number;
	load->blocks = run_blocks(run);
	load->rng.state = rng_next(&run->rng);
	return load;
}

/* A flight of an earlier load, or NULL. */
static struct flight *idle_flight(struct run *run)
{
	struct flight *flight;

	pthread_mutex_lock(&run->lock);
	flight = run->flights;
	while (flight && (flight->load || !flight->of_load))
		flight = flight->next;
	pthread_mutex_unlock(&run->lock);
	return flight;
}

static struct flight *new_flight(struct load *load)
{
	struct flight *flight = flight_create(load->run, load->step);

	if (!flight)
		return NULL;
	flight->buffer = malloc(DATA_MAX);
	if (!flight->buffer) {
		free(flight);
		return NULL;
	}
	flight->back = flight->of_load = true;
	pthread_mutex_lock(&load->run->lock);
	flight->next = load->run->flights;
	load->run->flights = flight;
	pthread_mutex_unlock(&load->run->lock);
	return flight;
}

/* One of the requests that are under way together, with room for any. */
static struct flight *load_flight(struct load *load)
{
	struct flight *flight = idle_flight(load->run);

	if (!flight)
		flight = new_flight(load);
	if (flight) {
		flight->step = load->step;
		flight->load = load;
	}
	return flight;
}

int load_step(struct run *run, const struct step *step, struct error *err)
{
	struct load *load = load_create(run, step);

	if (!load)
		return error_set(err, "there is no memory");
	for (unsigned i = 0; i < step->load.depth; i++) {
		struct flight *flight = load_flight(load);

		if (!flight)
			return error_set(err, "there is no memory");
		if (!next_request(load, flight))
			break;
		flight_submit(flight, run_cpu(run));
	}
	if (!step->load.background)
		return load_wait(run, load, err);
	load->next = run->loads;
	run->loads = load;
	return 0;
}
