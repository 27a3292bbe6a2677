/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The machine that a front end lends to scenarios. In a scenario's own process the options are its own, too.
 *
 * machine_check_driver once, then hosted_set_load, and for each run of a scenario hosted_init and scenario_run with the
 * host.
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

/* The scenarios of a command line. */
struct hosted_set {
	char **file; /* room for as many as it was made for */
	struct scenario **scenario;
	int count;
};

/* 0, or -1 and a sentence. hosted_set_free is for either. */
int hosted_set_make(struct hosted_set *set, int most, struct error *err);
/* Reads each file, and checks it for that machine. */
int hosted_set_load(struct hosted_set *set, const struct machine_options *options, struct error *err);
void hosted_set_free(struct hosted_set *set);

#endif
