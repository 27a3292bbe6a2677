/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The machine that a front end lends to scenarios. In a scenario's own process the options are its own, too.
 *
 * machine_check_driver once, then hosted_load, and for each run of a scenario hosted_init and scenario_run with the host.
 */
#ifndef STORHOST_FRONT_HOSTED_H
#define STORHOST_FRONT_HOSTED_H

#include "front/machine.h"
#include "scenario/scenario.h"

struct hosted {
	struct machine_options options;
	struct machine machine;
	struct scenario_host host;
	bool started, checked;
	bool dumping; /* the dump image takes requests */
};

/* options: copied. The struct stays where it is. */
void hosted_init(struct hosted *hosted, const struct machine_options *options, bool checked);

/* Reads a scenario, and checks it for that machine; NULL and a sentence if it is none. */
struct scenario *hosted_load(const struct machine_options *options, const char *path, struct error *err);

#endif
