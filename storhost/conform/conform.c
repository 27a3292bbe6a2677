/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The table of clauses, and the order in which a device is judged by them. */
#include "conform/conform.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "conform/prober.h"

static const struct {
	char name[32];
	const char *text, *source;
} clauses[] = {
#define CLAUSE(id, text, source) { #id, text, "contract " source },
#include "conform/clauses.def"
#undef CLAUSE
};

const char *clause_name(enum clause clause)
{
	static char names[CLAUSE_COUNT][sizeof(clauses[0].name)];
	char *name = names[clause];

	strcpy(name, clauses[clause].name);
	for (char *c = name; *c; c++)
		*c = *c == '_' ? '-' : *c;
	return name;
}

const char *clause_text(enum clause clause)
{
	return clauses[clause].text;
}

const char *clause_source(enum clause clause)
{
	return clauses[clause].source;
}

enum clause clause_find(const char *name)
{
	unsigned clause = 0;

	while (clause < CLAUSE_COUNT && strcasecmp(clause_name(clause), name))
		clause++;
	return clause;
}

/* Why the clauses that nobody came to were not judged. */
static void excuse(struct verdict *verdicts, const char *why)
{
	for (unsigned clause = 0; clause < CLAUSE_COUNT; clause++) {
		if (verdicts[clause].state == CLAUSE_UNJUDGED && !verdicts[clause].text[0])
			snprintf(verdicts[clause].text, sizeof(verdicts[clause].text), "%s", why);
	}
}

int conform_judge(struct device *device, uint64_t seed, struct verdict verdicts[CLAUSE_COUNT], struct error *err)
{
	struct prober prober;

	memset(verdicts, 0, CLAUSE_COUNT * sizeof(*verdicts));
	if (prober_start(&prober, device, seed, verdicts, err))
		return -1;
	judge_function(&prober);
	if (verdicts[CLAUSE_CAP_REQUIRED].state == CLAUSE_BROKEN) {
		excuse(verdicts, "the registers are not all there");
		return 0;
	}
	if (!prober.msix) {
		static const enum clause messages[] = { CLAUSE_VECTOR_KEPT,   CLAUSE_VECTOR_REFUSED,
							CLAUSE_MESSAGE_QUEUE, CLAUSE_MESSAGE_ALONE,
							CLAUSE_MESSAGE_NONE,  CLAUSE_MESSAGE_MASKED };

		for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++)
			snprintf(verdicts[messages[i]].text, sizeof(verdicts[0].text), "the function has no MSI-X");
	}
	judge_registers(&prober);
	if (verdicts[CLAUSE_RESET_ZERO].state == CLAUSE_BROKEN) {
		excuse(verdicts, "the device cannot be reset");
		return 0;
	}
	if (verdicts[CLAUSE_FEATURE_ACCEPTED].state == CLAUSE_BROKEN) {
		excuse(verdicts, "the device accepts no features");
		return 0;
	}
	judge_requests(&prober);
	if (verdicts[CLAUSE_RING_INDIRECT].state != CLAUSE_HOLDS) {
		excuse(verdicts, "the device does no requests");
		return 0;
	}
	judge_interrupts(&prober);
	judge_resets(&prober);
	excuse(verdicts, "the device offers it, or did not come so far");
	return 0;
}
