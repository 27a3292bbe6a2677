/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Schedules: what the deterministic machine does where it could go on in more than one way, written down.
 *
 * Each such place is a point, counted from 0, with its choices, counted from 0. Choice 0 is always the usual one: the
 * processor that runs goes on; where it cannot, the next actor in turn runs. A schedule names the points where something
 * else is chosen. Its text is "POINT:CHOICE,..." in ascending order, or "-" where it never departs from the usual.
 */
#ifndef STORHOST_NT_SCHEDULE_H
#define STORHOST_NT_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define SCHEDULE_POINTS_MAX (1u << 20)
#define SCHEDULE_DEPARTURES_MAX 4096u

struct departure {
	uint32_t point;
	uint32_t choice; /* not 0; where there are fewer it wraps around among what is not usual */
};

/* What a run passed, for those who try the others: in memory that outlives its process. */
struct schedule_trace {
	uint32_t points; /* the first SCHEDULE_POINTS_MAX of them are below */
	struct schedule_point {
		uint8_t count;  /* choices, at least 2 */
		uint8_t forced; /* who ran before could not go on: every choice is as usual as 0 */
	} point[SCHEDULE_POINTS_MAX];
};

struct schedule {
	struct schedule_trace *trace; /* or NULL */
	unsigned count;
	struct departure departure[SCHEDULE_DEPARTURES_MAX];
};

/* Fails with a sentence. */
int schedule_parse(struct schedule *schedule, const char *text, struct error *err);

/* The machine follows it from point 0 on; NULL: nobody decides here. It outlives the machine. */
void schedule_follow(const struct schedule *schedule);
/* While it is shut everything is as usual and no points are counted. Open unless it is said otherwise. */
void schedule_window(bool open);
/* Whether there is a schedule that wants to be asked. */
bool schedule_decides(void);
/* One of count ways to go on (at least 1). On the machine's thread. */
unsigned schedule_choose(unsigned count, bool forced);

#endif
