/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A trap module set up for a test: what counts as driver code, and a fatal handler that remembers the fault and ends
 * the run_driver() in progress. cmocka takes the signals over for each test: fixture_arm() takes them back.
 */
#ifndef STORHOST_TESTS_TRAP_FIXTURE_H
#define STORHOST_TESTS_TRAP_FIXTURE_H

#include <stddef.h>

#include "trap/trap.h"

extern struct trap_fault fixture_fault; /* the last one */
extern unsigned fixture_faults;
extern int fixture_fatal_exit;        /* if not 0: the fatal handler ends the process with this status */
extern uintptr_t fixture_fatal_stack; /* where the fatal handler's stack was */

int fixture_init(void); /* before cmocka is started */
void fixture_arm(void);

/* A page of driver code with these bytes, readable and executable. The previous one is no driver's any more. */
void *fixture_code(const void *bytes, size_t size);

#endif
