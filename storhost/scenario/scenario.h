/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Scenarios: scripts that drive the hosted driver as Windows 7 would, and say what has to come out.
 *
 * A front end parses a file (scenario_parse), checks its options (scenario_check), and runs it (scenario_run), which
 * takes a process of its own: the machine is one per process, and a scenario that crashes or hangs it is one failure.
 *
 * The text has one step per line, words separated by blanks, "text" in quotes, and comments from '#' to the end of the
 * line. The first comment (after the license) is the claim that the scenario proves. scenario_help prints the verbs.
 *
 * What every scenario claims without saying so: it ends with the adapter stopped, nothing leaked, no finding that was
 * not announced, every request returned, and a medium that holds what the model of it says.
 */
#ifndef STORHOST_SCENARIO_SCENARIO_H
#define STORHOST_SCENARIO_SCENARIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"
#include "disk/disk.h"

struct scenario;

/*
 * Bounded in every respect, whatever the bytes are: NULL and "FILE:LINE: sentence" in *err for what is no scenario.
 * Copies what it keeps.
 */
struct scenario *scenario_parse(const char *file, const char *text, size_t size, struct error *err);
void scenario_free(struct scenario *scenario);
const char *scenario_claim(const struct scenario *scenario);
/* With how many preemptions it is to be explored: 1 unless it says otherwise. */
#define SCENARIO_PREEMPTIONS_MAX 100u
unsigned scenario_preemptions(const struct scenario *scenario);
/* Every verb with its grammar, and what can be expected. */
void scenario_help(FILE *out);

/* What a scenario asks for is nothing that this device has: *err says what, and the scenario is skipped. */
#define SCENARIO_CANNOT 3

/*
 * The machine, as the front end puts it together. All but `option` and `is` are called in the scenario's own process.
 * Numbers returned are 0, or -1 with a sentence in *err, or, where a device is asked, SCENARIO_CANNOT.
 */
struct scenario_host {
	void *opaque;
	/* Sets a machine option before the first start; the value outlives the machine. */
	int (*option)(void *opaque, const char *name, const char *value, struct error *err);
	/* Whether the driver is a "fre", "chk", "x64" or "x86" build. */
	bool (*is)(void *opaque, const char *word);
	uint64_t (*seed)(void *opaque);
	/* The image that the user named; NULL: each scenario has a scratch disk. */
	const char *disk;
	/* The device brings its own medium: no disk is made for it, and it cannot be looked at unless `disk` is it. */
	bool own_disk;
	/* Loads and starts the driver, the first time with the whole machine around it. */
	int (*start)(void *opaque, const char *disk, struct error *err);
	struct port *(*port)(void *opaque);
	struct disk *(*attached)(void *opaque);
	/*
	 * Starts the driver's dump image, the first time with the whole machine around it: after a crash, wherever the
	 * machine is, or after port_sleep. dump_end: it is gone, and a machine that crashed is as after power-on.
	 */
	int (*dump)(void *opaque, const char *disk, bool crash, struct error *err);
	int (*dump_end)(void *opaque, struct error *err);
	/* NULL: there is none, or it refused. */
	struct port *(*dump_port)(void *opaque);
	/* Stops, removes and unloads the driver; start may follow. */
	void (*stop)(void *opaque);
	/* The machine's end. */
	void (*end)(void *opaque);
	/* The process ends with the machine as it is: nobody outside is left working for it. */
	void (*quit)(void *opaque);
	int (*fault)(void *opaque, const char *spec, struct error *err);
	int (*resize)(void *opaque, uint64_t bytes, struct error *err);
	/* Whether lost power takes back what was not flushed. */
	bool (*forgets)(void *opaque);
	/* Whether anything that can happen to a disk can happen to this one, of its own doing. */
	bool (*every_fault)(void *opaque);
	/* A number of the machine's report. */
	int (*counter)(void *opaque, const char *name, uint64_t *value, struct error *err);
};

/* Tries every `option` of the scenario: -1 and "FILE:LINE: sentence" for one that is none. */
int scenario_check(const struct scenario *scenario, const struct scenario_host *host, struct error *err);

enum scenario_verdict { SCENARIO_PASS, SCENARIO_FAIL, SCENARIO_SKIP };

struct scenario_outcome {
	enum scenario_verdict verdict;
	unsigned line; /* of the step that failed or that says why it was skipped; 0: none */
	uint64_t seed;
	char reason[1024]; /* "FILE:LINE: sentence"; empty after a pass */
};

/*
 * Runs it in a process of its own and waits for it, at most as long as the scenario's limit (seconds of real time, 60
 * if it sets none). transcript (may be NULL) gets each step with its result: the same for the same seed. Until it
 * returns the caller has no other threads.
 */
void scenario_run(const struct scenario *scenario, const struct scenario_host *host, FILE *transcript,
		  struct scenario_outcome *outcome);

#endif
