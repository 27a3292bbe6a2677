/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Findings: what the hosted driver (or the device) did that Windows 7 or the contract forbids.
 *
 * The rest of storhost reports what happened; whether a report stops anything is decided where it happened. Each
 * finding is printed on standard error when it is made and counted; the exit status of a command is 1 if there is one.
 */
#ifndef STORHOST_VERIFY_VERIFY_H
#define STORHOST_VERIFY_VERIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum rule {
#define FAMILY(id, title, scenario)
#define RULE(id, text, source) RULE_##id,
#include "verify/rules.def"
#undef FAMILY
#undef RULE
	RULE_COUNT
};

const char *rule_name(enum rule rule);   /* "SRB-TWICE" */
const char *rule_text(enum rule rule);   /* one sentence: what must hold */
const char *rule_source(enum rule rule); /* where that is written */
/* The driver of tests/broken that breaks it and no other: "BreakSrbTwice". */
const char *rule_breaker(enum rule rule);
/* The rule of that name, which may be in small letters or have '_' for '-'; RULE_COUNT: there is none. */
enum rule rule_find(const char *name);

/* What rules have in common. */
struct rule_family {
	const char *title;
	const char *scenario; /* which puts our driver to the test: storhost/tests/scenarios/NAME.scn */
	enum rule first, end; /* the rules from first up to end, which is not in it */
};
/* The n-th of them; false past the last. */
bool rule_family(unsigned n, struct rule_family *family);

/* The kinds of sources, and what they are: "SDV", "a rule of …". NULL past the last. */
const char *rule_source_kind(unsigned n, const char **meaning);

/*
 * Who to blame: pc is an address in the driver (0 if none is known), printed as module+offset through the hook.
 * fmt: one sentence with the particulars. The same rule at the same pc, or with the same sentence
 * where there is no pc, is printed once and counted.
 */
void verify_report(enum rule rule, uintptr_t pc, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

struct finding {
	enum rule rule;
	uintptr_t pc;
	unsigned count;
	char where[160]; /* "aero_virtio_blk.sys+0x1234 (VblkSubmit+0x12)", or empty */
	char call[64];   /* the callback that was running: "HwStartIo", or empty */
	char step[96];   /* how to repeat it: "seed 7, step 1204" */
	char text[320];
};

/* How many reports were made, repetitions included. */
unsigned verify_findings(void);
/* The different findings in order, NULL past the last. */
const struct finding *verify_finding(unsigned index);

/* Another machine begins: what was found before is forgotten. */
void verify_clear(void);

/* What is not held against the driver: asked before each report, NULL excuses nothing. */
extern bool (*verify_excuses)(enum rule rule);

/* What a finding says beside its sentence; each may leave the text empty. */
struct verify_scene {
	void (*describe_pc)(uintptr_t pc, char *buf, size_t size);
	void (*describe_call)(char *buf, size_t size);
	void (*describe_step)(char *buf, size_t size);
};
extern const struct verify_scene *verify_scene;

#endif
