/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * One fault at a time, injected at the Nth occasion of its kind: fail the Nth call, for every N.
 *
 * Whatever can go wrong asks inject() whether it is to, and says where that is. As long as no campaign was started the
 * question is one look at a flag. A campaign keeps its counts in memory that its child processes share:
 *
 *   inject_start    once, in the process that forks
 *   inject_count    before a child that is only to count: how many occasions there are of each kind
 *   inject_arm      before a child whose Nth occasion of one kind goes wrong
 *   inject_over     in that child, when the fault has passed and excuses nothing any more
 *
 * Occasions are counted and nothing else changes, so that a run with the same seed comes to the Nth one as the counting
 * run did.
 */
#ifndef STORHOST_BASE_INJECT_H
#define STORHOST_BASE_INJECT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum inject_kind {
#define INJECT(id, name, meaning) INJECT_##id,
#include "base/inject.def"
#undef INJECT
	INJECT_KINDS
};

const char *inject_name(enum inject_kind kind);
const char *inject_meaning(enum inject_kind kind);

/* Seeds what a fault leaves to chance. -1: no memory. */
int inject_start(uint64_t seed, struct error *err);
void inject_count(void);
void inject_arm(enum inject_kind kind, uint64_t nth);
void inject_over(void);

/* Occasions since the last inject_count or inject_arm. */
uint64_t inject_occasions(enum inject_kind kind);
/* Whether a fault is to come, or has; whether it has come and is not over; where it came, NULL if it has not. */
bool inject_is_armed(void);
bool inject_has_struck(void);
/* A requester was told of a failure; whether one was since the fault struck. */
void inject_tell(void);
bool inject_was_told(void);
const char *inject_place(void);
/* Of the fault that is armed. */
enum inject_kind inject_kind(void);
/* What the fault that is armed leaves to chance: the same for the same seed, kind and N. */
uint64_t inject_random(void);

extern bool inject_active; /* inject.c alone writes it */
bool inject_occasion(enum inject_kind kind, const char *place);

/* place: a sentence's subject, a constant. Whether it goes wrong this time. Any thread. */
static inline bool inject(enum inject_kind kind, const char *place)
{
	return __builtin_expect(inject_active, false) && inject_occasion(kind, place);
}

#endif
