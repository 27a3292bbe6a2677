/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Ranked spin locks of the simulated machine, with owners, so that a wrong use is a finding and not a hang. */
#ifndef STORHOST_NT_LOCK_H
#define STORHOST_NT_LOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "nt/cpu.h"

enum lock_rank { LOCK_DPC = 1, LOCK_STARTIO = 2, LOCK_INTERRUPT = 3, LOCK_MESSAGE = 4 };

struct lock {
	const char *name;
	enum lock_rank rank;
	unsigned irql; /* of its holder */
	struct cpu *owner;
	uint64_t acquired, contended;
};

/*
 * Raises the calling processor to the lock's IRQL and takes it. pc: the driver's call, or 0 when the port takes it by
 * itself (the order is then not the driver's business). Returns the IRQL to give back, or -1 if waiting could never end.
 */
int lock_acquire(struct lock *lock, uintptr_t pc);
/* Gives it back and leaves the IRQL alone. False (and a finding) if the caller does not hold it. */
bool lock_drop(struct lock *lock, uintptr_t pc);
/* Gives it back and lowers to `irql`, which lets what was waiting for that run. False as for lock_drop. */
bool lock_release(struct lock *lock, unsigned irql, uintptr_t pc);
bool lock_held(const struct lock *lock);

#endif
