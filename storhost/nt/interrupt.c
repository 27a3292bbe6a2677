/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Connected interrupts, and their delivery to processors. */
#include "nt/interrupt.h"

#include <stddef.h>

#include "nt/cpu.h"
#include "nt/lock.h"
#include "verify/verify.h"

/* A line that is still asserted after so many services in a row is masked. */
#define STORM 1000u

static struct interrupt *connected[INTERRUPTS_MAX];
static unsigned waiting; /* connected interrupts that are pending; may briefly be too high */

static bool flag_get(const bool *flag)
{
	return __atomic_load_n(flag, __ATOMIC_ACQUIRE);
}

static void flag_set(bool *flag, bool value)
{
	__atomic_store_n(flag, value, __ATOMIC_RELEASE);
}

void interrupt_connect(struct interrupt *interrupt)
{
	machine_lock();
	for (unsigned i = 0; i < INTERRUPTS_MAX; i++) {
		if (connected[i])
			continue;
		__atomic_store_n(&connected[i], interrupt, __ATOMIC_RELEASE);
		break;
	}
	machine_unlock();
}

void interrupt_disconnect(struct interrupt *interrupt)
{
	machine_lock();
	for (unsigned i = 0; i < INTERRUPTS_MAX; i++) {
		if (connected[i] == interrupt)
			__atomic_store_n(&connected[i], NULL, __ATOMIC_RELEASE);
	}
	machine_unlock();
	while (flag_get(&interrupt->active))
		cpu_relax();
}

void interrupt_forget(void)
{
	machine_lock();
	for (unsigned i = 0; i < INTERRUPTS_MAX; i++)
		connected[i] = NULL;
	__atomic_store_n(&waiting, 0, __ATOMIC_RELEASE);
	machine_unlock();
}

void interrupt_signal(struct interrupt *interrupt, bool asserted)
{
	flag_set(&interrupt->pending, asserted);
	if (!asserted)
		return;
	__atomic_add_fetch(&interrupt->raised, 1, __ATOMIC_ACQ_REL);
	__atomic_exchange_n(&waiting, 1, __ATOMIC_SEQ_CST);
	cpu_wake();
}

bool interrupt_asserted(const struct interrupt *interrupt)
{
	return flag_get(&interrupt->pending);
}

uint64_t interrupt_raised(const struct interrupt *interrupt)
{
	return __atomic_load_n(&interrupt->raised, __ATOMIC_ACQUIRE);
}

static bool interrupt_ready(const struct interrupt *interrupt)
{
	return interrupt && flag_get(&interrupt->pending) && !flag_get(&interrupt->active) && !interrupt->masked;
}

bool interrupt_waiting(unsigned irql)
{
	if (irql >= IRQL_DEVICE || !__atomic_load_n(&waiting, __ATOMIC_ACQUIRE))
		return false;
	for (unsigned i = 0; i < INTERRUPTS_MAX; i++) {
		if (interrupt_ready(__atomic_load_n(&connected[i], __ATOMIC_ACQUIRE)))
			return true;
	}
	return false;
}

/* Claims one ready interrupt for the calling processor, or NULL. */
static struct interrupt *interrupt_claim(void)
{
	struct interrupt *ready[INTERRUPTS_MAX], *claimed = NULL;
	unsigned count = 0;

	machine_lock();
	/* Before the flags are looked at: a signal meanwhile sets it again. */
	__atomic_exchange_n(&waiting, 0, __ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < INTERRUPTS_MAX; i++) {
		if (interrupt_ready(connected[i]))
			ready[count++] = connected[i];
	}
	if (count) {
		__atomic_store_n(&waiting, 1, __ATOMIC_RELEASE);
		claimed = ready[cpu_choose(count)];
		flag_set(&claimed->active, true);
		if (!claimed->level)
			flag_set(&claimed->pending, false);
	}
	machine_unlock();
	return claimed;
}

/* A line that nobody silences would interrupt for ever, claimed or not. */
static void interrupt_account(struct interrupt *interrupt, bool claimed)
{
	if (!interrupt->level || !flag_get(&interrupt->pending)) {
		interrupt->unheeded = 0;
		return;
	}
	if (++interrupt->unheeded < STORM)
		return;
	interrupt->masked = true;
	verify_report(RULE_IRQ_STORM, 0,
		      "the interrupt line stays asserted after %u services in a row, the last of which %s", STORM,
		      claimed ? "claimed it" : "refused it");
}

/* Nothing that lowering the IRQL would let run runs in here: an interrupt that comes again is taken by the caller's loop. */
bool interrupt_take(void)
{
	struct cpu *cpu = cpu_self();
	struct interrupt *interrupt;
	int irql;

	if (!interrupt_waiting(cpu->irql))
		return false;
	interrupt = interrupt_claim();
	if (!interrupt)
		return false;
	irql = lock_acquire(interrupt->lock, 0);
	interrupt_account(interrupt, interrupt->service(interrupt, interrupt->opaque));
	interrupt->delivered++;
	flag_set(&interrupt->active, false);
	if (flag_get(&interrupt->pending))
		__atomic_store_n(&waiting, 1, __ATOMIC_SEQ_CST);
	lock_drop(interrupt->lock, 0);
	cpu->irql = (unsigned)irql;
	return true;
}

uint64_t interrupt_total(void)
{
	uint64_t total = 0;

	machine_lock();
	for (unsigned i = 0; i < INTERRUPTS_MAX; i++)
		total += connected[i] ? connected[i]->delivered : 0;
	machine_unlock();
	return total;
}
