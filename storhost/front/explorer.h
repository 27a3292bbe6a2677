/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Running one scenario under one schedule after the other.
 *
 * A schedule is a set of departures from the usual course. The explorer runs the scenario from its start without any,
 * and learns from the trace where the next ones can be: behind the last departure, at each point, each other choice.
 * So every schedule comes up once. A departure where the processor could have gone on is a preemption; those where it
 * could not are free. Schedules with fewer preemptions come first.
 */
#ifndef STORHOST_FRONT_EXPLORER_H
#define STORHOST_FRONT_EXPLORER_H

#include "front/hosted.h"
#include "nt/schedule.h"

struct exploration {
	const struct scenario *scenario;
	struct scenario_host host;
	struct schedule schedule; /* what the machine of the host follows */

	unsigned preemptions; /* the bound */
	uint64_t limit;       /* schedules, at most */
	uint64_t random;      /* that many more, of any number of departures */

	uint64_t tried, tried_random;
	uint32_t points;      /* of the usual course */
	unsigned bounds_done; /* every schedule with fewer preemptions was tried */
	/* Of the first schedule that failed, which is then in `schedule` without what it does not need. */
	struct scenario_outcome outcome;
};

/* hosted->options.cpus.schedule leads to exploration->schedule. Whether it could be done; false: a sentence. */
bool explore(struct exploration *exploration, uint64_t seed, struct error *err);

#endif
