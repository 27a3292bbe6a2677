/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Ranked spin locks. */
#include "nt/lock.h"

#include "verify/verify.h"

/* Waits longer than this (in scheduling points) end in a finding. */
#define PATIENCE 2000000u

static bool lock_try(struct lock *lock, struct cpu *cpu)
{
	struct cpu *nobody = NULL;

	return __atomic_compare_exchange_n(&lock->owner, &nobody, cpu, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

bool lock_held(const struct lock *lock)
{
	return __atomic_load_n(&lock->owner, __ATOMIC_ACQUIRE) == cpu_self();
}

static void lock_check_order(const struct lock *lock, const struct cpu *cpu, uintptr_t pc)
{
	for (unsigned i = 0; pc && i < cpu->held_count; i++) {
		if (cpu->held[i]->rank >= lock->rank)
			verify_report(RULE_LOCK_ORDER, pc, "the %s lock is taken while the %s lock is held", lock->name,
				      cpu->held[i]->name);
	}
	if (pc && cpu->irql > lock->irql)
		verify_report(RULE_CALL_IRQL, pc, "the %s lock is taken at IRQL %u, which is above its own %u",
			      lock->name, cpu->irql, lock->irql);
}

int lock_acquire(struct lock *lock, uintptr_t pc)
{
	struct cpu *cpu = cpu_self();
	unsigned old = cpu->irql, waited = 0;

	if (lock_held(lock) || cpu->held_count == CPU_LOCKS_MAX) {
		verify_report(RULE_LOCK_DEADLOCK, pc, "the %s lock is taken by a processor that already holds it",
			      lock->name);
		cpu_die("a processor waits for a lock that it holds itself");
	}
	lock_check_order(lock, cpu, pc);
	cpu_raise(lock->irql);
	while (!lock_try(lock, cpu)) {
		if (++waited == PATIENCE) {
			verify_report(RULE_LOCK_DEADLOCK, pc, "the %s lock is never given back", lock->name);
			cpu_die("a lock is never given back");
		}
		cpu_await(&lock->owner);
	}
	lock->acquired++;
	lock->contended += waited != 0;
	cpu->held[cpu->held_count++] = lock;
	return (int)old;
}

bool lock_drop(struct lock *lock, uintptr_t pc)
{
	struct cpu *cpu = cpu_self();
	unsigned last = cpu->held_count;

	if (!lock_held(lock)) {
		verify_report(RULE_LOCK_RELEASE, pc, "the %s lock is released by a processor that does not hold it",
			      lock->name);
		return false;
	}
	while (cpu->held[last - 1] != lock)
		last--;
	if (last != cpu->held_count)
		verify_report(RULE_LOCK_RELEASE, pc,
			      "the %s lock is released before the %s lock that was taken after it", lock->name,
			      cpu->held[cpu->held_count - 1]->name);
	for (cpu->held_count--; last <= cpu->held_count; last++)
		cpu->held[last - 1] = cpu->held[last];
	__atomic_store_n(&lock->owner, NULL, __ATOMIC_RELEASE);
	return true;
}

bool lock_release(struct lock *lock, unsigned irql, uintptr_t pc)
{
	if (!lock_drop(lock, pc))
		return false;
	cpu_lower(irql);
	return true;
}
