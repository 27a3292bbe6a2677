/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Judges a device by the device side of the contract, clause by clause, with no driver: a prober of its own sets the
 * device up through the device seam, sends it requests, and looks at what comes back.
 *
 * What the medium holds is overwritten. One device at a time, and one in a process's life: guest memory is nt/phys's.
 */
#ifndef STORHOST_CONFORM_CONFORM_H
#define STORHOST_CONFORM_CONFORM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "device/device.h"

enum clause {
#define CLAUSE(id, text, source) CLAUSE_##id,
#include "conform/clauses.def"
#undef CLAUSE
	CLAUSE_COUNT
};

const char *clause_name(enum clause clause); /* "PCI-ID" */
const char *clause_text(enum clause clause);
const char *clause_source(enum clause clause); /* "contract 1.1" */
/* CLAUSE_COUNT: there is none of that name. */
enum clause clause_find(const char *name);

struct verdict {
	enum { CLAUSE_UNJUDGED, CLAUSE_HOLDS, CLAUSE_BROKEN } state;
	char text[200]; /* of a broken one: what was seen; of one that was not judged: why */
};

/* -1 and a sentence if there is no machine to judge it in. */
int conform_judge(struct device *device, uint64_t seed, struct verdict verdicts[CLAUSE_COUNT], struct error *err);

#endif
