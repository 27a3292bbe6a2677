/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the files of scenario/ share: steps, what they expect, requests under way, and the model of the medium. */
#ifndef STORHOST_SCENARIO_INTERNAL_H
#define STORHOST_SCENARIO_INTERNAL_H

#include <pthread.h>

#include "base/container.h"
#include "nt/cpu.h"
#include "nt/rng.h"
#include "port/port.h"
#include "scenario/model.h"
#include "scenario/scenario.h"
#include "verify/verify.h"

#define NAME_MAX_LENGTH 31u
#define DATA_MAX (1u << 20) /* bytes of one request */
#define ALTERNATIVES 4u
#define LOAD_DEPTH_MAX 64u
#define MARKS_MAX 16u
#define LIVED_MAX 64u

/* ---- expect.c: how a request may come back ---- */

struct alternative {
	bool any;
	bool has_srb, has_transferred, has_sense;
	uint8_t srb_status;
	uint8_t key, asc, ascq;
	uint32_t transferred;
};

/* count 0: what the verb expects by itself. */
struct expect {
	struct alternative alternative[ALTERNATIVES];
	unsigned count;
};

struct words;

/* The words behind "->". */
int expect_parse(struct words *words, struct expect *expect);
/* Whether the request is as expected; if not, "expected …, got …". whole: good means all of its length. */
int expect_judge(const struct expect *expect, const struct port_request *request, bool whole, struct error *err);
/* "good, 36 bytes", "sense 05/24/00, 0 bytes", "srb BUS_RESET, 0 bytes" */
void expect_describe(const struct port_request *request, char *buf, size_t size);
/* Prints the names of SRB statuses. */
void expect_help(FILE *out);

/* ---- parse.c: words of a line ---- */

#define WORDS_MAX 600u

struct words {
	struct scenario *scenario;
	struct error *err;
	unsigned line, count, at;
	const char *word[WORDS_MAX];
	bool quoted[WORDS_MAX];
};

int words_fail(struct words *words, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The next word, or NULL. */
const char *words_peek(const struct words *words);
const char *words_next(struct words *words);
/* Takes the next word if it is this one. */
bool words_take(struct words *words, const char *word);
/* Each of these fails, with a sentence that says `what` is missing or wrong. */
int words_text(struct words *words, const char *what, const char **text);
int words_name(struct words *words, const char *what, const char **name);
int words_number(struct words *words, const char *what, uint64_t least, uint64_t most, uint64_t *number);
int words_size(struct words *words, uint64_t *bytes); /* 64M, 3T, 4096 */
/* Bytes in hexadecimal up to a word that is none; wild: "??" stands for any, and `known` gets 0 for it. */
int words_bytes(struct words *words, uint32_t most, bool wild, uint8_t **bytes, uint8_t **known, uint32_t *count);
void *words_keep(struct words *words, size_t size); /* zeroed memory that lives as long as the scenario, or NULL */

/* ---- verbs.c ---- */

struct run;
struct step;
struct flight;

/* When a verb makes sense. */
enum state {
	STATE_NEW = 1,
	STATE_RUNNING = 2,
	STATE_ASLEEP = 4,
	STATE_STOPPED = 8,
	STATE_REMOVED = 16,
	STATE_REFUSED = 32,      /* the driver would not start */
	STATE_CRASHED = 64,      /* and the dump image takes requests */
	STATE_HIBERNATING = 128, /* likewise */
	STATE_DUMPING = STATE_CRASHED | STATE_HIBERNATING,
	STATE_STARTED = STATE_RUNNING | STATE_ASLEEP | STATE_REMOVED,
	STATE_REQUESTS = STATE_STARTED | STATE_DUMPING,
	STATE_ANY = 255,
};

struct verb {
	const char *name, *grammar, *help;
	int (*parse)(struct words *words, struct step *step);
	/* A request to be sent, or something to be done at once. */
	int (*build)(struct run *run, const struct step *step, struct flight *flight, struct error *err);
	int (*run)(struct run *run, const struct step *step, struct error *err);
	unsigned states;
};

extern const struct verb verbs[];
extern const unsigned verb_count;

enum comparison { EQUAL, NOT_EQUAL, LESS, LESS_EQUAL, GREATER, GREATER_EQUAL };
enum transfer {
	TRANSFER_NONE,
	TRANSFER_READ,
	TRANSFER_VERIFY,
	TRANSFER_WRITE, /* this and what follows changes blocks */
	TRANSFER_WRITE_VERIFY,
	TRANSFER_ZERO, /* WRITE SAME */
	TRANSFER_UNMAP,
};

struct step {
	const struct verb *verb;
	const char *text; /* the line as it was written */
	unsigned line;
	const char *submitted; /* the name that the request gets; NULL: it is waited for at once */
	struct expect expect;
	/* What the verb's grammar names; those of other verbs are zero. */
	const char *name, *value;
	uint64_t number; /* size, count, microseconds, limit, lba, offset: the one the verb has */
	uint64_t operand;
	uint32_t blocks;
	bool fua, flag, direct; /* direct: not by a request, though others of its verb are */
	enum comparison comparison;
	uint8_t address[3]; /* path, target, lun */
	struct {
		uint8_t bytes[16], length;
	} cdb;
	enum request_direction direction;
	uint8_t *bytes, *known;
	uint32_t length;
	uint8_t function;
	uint32_t action, power_state;
	struct {
		uint32_t code, payload, header, buffer;
	} ioctl;
	struct {
		uint32_t depth, reads, bytes; /* reads: percent */
		bool retry, fails, background, sequential, quiet;
	} load;
};

struct scenario {
	char *file, *claim;
	struct step *steps;
	unsigned step_count, step_room;
	unsigned limit;       /* seconds */
	unsigned preemptions; /* that it is to be explored with */
	struct kept *kept;
};

/* ---- run.c, requests.c: a scenario under way ---- */

/* A request of the script, from its submission on. Lives as long as its process. */
struct flight {
	struct port_request request;
	struct gate gate; /* opened when it is back, unless it belongs to a load */
	struct run *run;
	struct load *load;
	const struct step *step;
	struct flight *next;
	const char *name; /* "": nobody can ask for it (any more) */
	enum transfer transfer;
	uint64_t lba, limit; /* limit: blocks from there on were cut off, or changed, while it was under way */
	uint32_t blocks, version;
	bool flushes;
	bool raw;           /* a command that the model knows as it was written only */
	enum change change; /* what a good one makes */
	uint32_t clock;     /* of the model, when it was sent: a flush covers what was before */
	unsigned attempts;
	uint8_t *buffer;
	bool of_load; /* of a load, which `load` is while it lasts */
	bool back;
	bool wrong; /* a good read returned what the model does not know */
	struct error mismatch;
};

struct run {
	const struct scenario *scenario;
	const struct scenario_host *host;
	FILE *out;                 /* records for the parent */
	_Atomic(enum state) state; /* loads look at it */
	bool started;              /* at least once */
	bool removed;              /* the device went away by itself, and the driver was told */
	struct model *model;       /* from the first start on */
	struct rng rng;
	unsigned next_cpu;
	int disk_fd;
	uint64_t disk_bytes; /* as the script knows it */
	uint32_t block_size;
	bool volatile_disk;               /* it is in the driver's memory: the image stays as it was */
	bool write_cache, unmaps, zeroes; /* the disk says that it has these */
	uint8_t address[3];
	pthread_mutex_t lock; /* model, flights and loads, which completions change */
	struct flight *flights;
	struct load *loads;
	uint64_t returned; /* requests that came back */
	uint64_t wait_for; /* of them, until wait_gate is opened */
	struct gate *wait_gate;
	const uint8_t *data; /* what came last */
	uint32_t data_length;
	bool has_return_code;
	uint32_t return_code;
	bool *event_used;          /* each: it answered a check */
	unsigned events;           /* elements of event_used */
	unsigned lived[LIVED_MAX]; /* how often each thing happened */
	struct {
		const char *counter;
		uint64_t value;
	} mark[MARKS_MAX]; /* where counters stood; the first without a name ends them */
};

/* Does a step that is a request: submits it, and waits for it unless the step names it. */
int request_step(struct run *run, const struct step *step, struct error *err);
/*
 * Makes the flight, which has a buffer, a transfer: CDB of so many bytes (6, 10, 12, 16, or 0: as a class driver
 * chooses) and data. Its completion goes to the model. Locks: run->lock.
 */
void flight_transfer(struct flight *flight, enum transfer transfer, uint64_t lba, uint32_t blocks, bool fua,
		     uint8_t cdb_length);
/* SYNCHRONIZE CACHE, or another function that flushes. Locks: run->lock. */
void flight_flush(struct flight *flight, uint8_t function);
/* -1 and "expected good, got …" if one that is in no list did not come back so; and its end. */
int flight_judge(struct flight *flight, struct error *err);
void flight_free(struct flight *flight);
/* It never comes back: a write happened or did not. Locks: run->lock. */
void flight_abandon(struct flight *flight);
struct flight *flight_create(struct run *run, const struct step *step);
/* Sends it to the port; a dump image answers before this returns. Locks: none. */
void flight_submit(struct flight *flight, unsigned cpu);
/* Whether a request ended as it should have if nothing went wrong. */
bool flight_is_good(const struct flight *flight);
/* Some request under way that touches these blocks, where one of the two writes. Locks: run->lock. */
const struct flight *flight_overlapping(struct run *run, enum transfer transfer, uint64_t lba, uint64_t blocks);
/* Waits for a gate, at most an hour of the machine's time. open: what the gate's opener has set by then. */
int run_wait(struct run *run, struct gate *gate, const bool *open, const char *what, struct error *err);
void run_note(struct run *run, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Whom requests go to: the driver, or its dump image. NULL: there is none. */
struct port *run_port(struct run *run);
/* Opens the image, or makes the scratch disk, the first time; path gets its name. */
int run_medium(struct run *run, char *path, size_t size, struct error *err);
/* What the script may know of the disk from here on. */
int run_adopt(struct run *run, uint64_t blocks, uint32_t block_size, struct error *err);
uint64_t run_blocks(struct run *run);
/* The next processor in turn. */
unsigned run_cpu(struct run *run);

/*
 * Builds what the step's verb sends. shared: from then on the flight is one of the run's, and loads choose other blocks
 * than its.
 */
int request_build(struct run *run, const struct step *step, struct flight *flight, bool shared, struct error *err);
/* What verbs build. Locks: run->lock. */
int request_build_io(struct run *run, const struct step *step, struct flight *flight, struct error *err);
int request_build_flush(struct run *run, const struct step *step, struct flight *flight, struct error *err);
int request_build_scsi(struct run *run, const struct step *step, struct flight *flight, struct error *err);
int request_build_function(struct run *run, const struct step *step, struct flight *flight, struct error *err);
int request_build_abort(struct run *run, const struct step *step, struct flight *flight, struct error *err);
int request_build_ioctl(struct run *run, const struct step *step, struct flight *flight, struct error *err);

/* ---- dump.c ---- */

int step_crash(struct run *run, const struct step *step, struct error *err);
int step_dump(struct run *run, const struct step *step, struct error *err);
int step_reboot(struct run *run, const struct step *step, struct error *err);
/* Starts the image for hibernation, after port_sleep; and ends it, before port_wake. */
int dump_hibernate(struct run *run, const struct step *step, struct error *err);
int dump_resume(struct run *run, struct error *err);

/* ---- load.c ---- */

int load_step(struct run *run, const struct step *step, struct error *err);
/* Waits for loads in the background. */
int load_await(struct run *run, struct error *err);
/* The machine crashed: their requests never come back. Locks: run->lock. */
void load_forget(struct run *run);
/* A load in the background that failed already: -1 and its sentence. */
int load_check(struct run *run, struct error *err);
/* Whether a request of a load is to be tried again. Locks: run->lock. */
bool load_retries(struct flight *flight);
/* A request of a load is back: the next one, or the load's end. */
void load_returned(struct flight *flight);

/* ---- live.c ---- */

int step_live(struct run *run, const struct step *step, struct error *err);
/* The number of what can happen, as a bit of step->operand; -1: there is none of that name. */
int live_named(const char *name);

/* ---- steps.c ---- */

int step_disk(struct run *run, const struct step *step, struct error *err);
int step_option(struct run *run, const struct step *step, struct error *err);
int step_nothing(struct run *run, const struct step *step, struct error *err);
int step_volatile(struct run *run, const struct step *step, struct error *err);
int step_start(struct run *run, const struct step *step, struct error *err);
int step_stop(struct run *run, const struct step *step, struct error *err);
int step_lun(struct run *run, const struct step *step, struct error *err);
int step_bytes(struct run *run, const struct step *step, struct error *err);
int step_value(struct run *run, const struct step *step, struct error *err);
int step_return_code(struct run *run, const struct step *step, struct error *err);
int step_await(struct run *run, const struct step *step, struct error *err);
int step_wait(struct run *run, const struct step *step, struct error *err);
int step_reset_bus(struct run *run, const struct step *step, struct error *err);
int step_fault(struct run *run, const struct step *step, struct error *err);
int step_resize(struct run *run, const struct step *step, struct error *err);
int step_capacity(struct run *run, const struct step *step, struct error *err);
int step_explore(struct run *run, const struct step *step, struct error *err);
int step_sleep(struct run *run, const struct step *step, struct error *err);
int step_wake(struct run *run, const struct step *step, struct error *err);
int step_rebalance(struct run *run, const struct step *step, struct error *err);
int step_surprise_remove(struct run *run, const struct step *step, struct error *err);
int step_advance(struct run *run, const struct step *step, struct error *err);
int step_event(struct run *run, const struct step *step, struct error *err);
int step_expect(struct run *run, const struct step *step, struct error *err);
int step_mark(struct run *run, const struct step *step, struct error *err);
int step_neighbour(struct run *run, const struct step *step, struct error *err);

/* What the disk's cache held may be gone. */
void run_lose_power(struct run *run);

/* ---- strain.c: under an injected fault ---- */

/* Whether the fault that has struck leaves no sense in a step. */
bool strain_skips(const struct run *run, const struct step *step);
/* After a step that failed or not: what the fault excuses is excused, and what Windows does about it is done. */
int strain_settle(struct run *run, const struct step *step, int failed, struct error *err);
/* Whether the fault can cost the disk, until it is enabled again: it strikes what a start or a restart is made of. */
bool strain_costs_disk(void);
/* A finding that the fault explains. */
bool strain_excuses(enum rule rule);
/* Whether the disk works again. */
int strain_end(struct run *run, struct error *err);

/* Waits for whatever is under way, which must end well. */
int run_await_all(struct run *run, struct error *err);
/* The implied end of a scenario that went well so far. */
int run_end(struct run *run, struct error *err);
/* A finding that the scenario does not announce. */
int run_findings(struct run *run, struct error *err);

#endif
