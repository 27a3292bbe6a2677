/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The machine that a front end lends to a scenario, and the scenario's file. */
#ifndef STORHOST_FRONT_HOSTED_H
#define STORHOST_FRONT_HOSTED_H

#include "front/machine.h"
#include "scenario/scenario.h"

/* The machine of one scenario. In its own process the options are its own, too. */
struct hosted {
	struct machine_options options;
	struct machine machine;
	bool started, checked;
	bool dumping; /* the dump image takes requests */
};

/* What the scenario asks of it; *hosted is the opaque of that. */
struct scenario_host hosted_start(struct hosted *hosted, const struct machine_options *options);

/* Reads, parses and checks a scenario; NULL and a sentence for what is none. */
struct scenario *hosted_scenario(const struct machine_options *options, const char *path, struct error *err);

#endif
