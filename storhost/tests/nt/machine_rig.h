/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What the tests of nt/ and port/ share: a process for each test, because a machine lives once per process; a machine
 * in it; findings counted; memory probed.
 *
 * Code that a test runs on a processor must not assert: it writes down what it saw, and the test's own thread judges.
 */
#ifndef STORHOST_TESTS_NT_MACHINE_RIG_H
#define STORHOST_TESTS_NT_MACHINE_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "nt/cpu.h"
#include "verify/verify.h"

/* An entry of a cmocka table: f runs in a child process and fails as its child does. */
#define ISOLATED(f) { #f, rig_isolated, NULL, NULL, (void *)(uintptr_t)(f) }
void rig_isolated(void **state);

/* Runs fn in a child process and waits. What it is to tell must lie in rig_shared memory. */
void rig_fork(void (*fn)(void *opaque), void *opaque);
/* Zeroed memory that children write and parents read. */
void *rig_shared(size_t size);

/* Starts a machine of `cpus` processors, deterministic unless `threads`. */
void rig_machine(unsigned cpus, bool threads, uint64_t seed);
/* Runs fn on a processor; the test fails if the machine dies. */
void rig_on(unsigned cpu, void (*fn)(void *opaque), void *opaque);
/* Lets the machine run until its clock has moved so far. */
void rig_sleep(uint64_t microseconds);
/* A wait of the machine's, at most so long in real time, for *flag to become `value`. */
void rig_until(const unsigned *flag, unsigned value);

/* Reports of one rule, repetitions included; and of all rules. */
unsigned rig_findings(enum rule rule);
void rig_no_findings(void);
/* Exactly `count` reports, all of this rule. */
void rig_only_findings(enum rule rule, unsigned count);

/* Whether this byte can be read, and written (writing does not change it). */
bool rig_readable(const void *address);
bool rig_writable(void *address);

#endif
