/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* IRQL and the spin locks that drivers keep in their own memory. */
#include "nt/kernel.h"
#include "nt/sync.h"

/* Waits longer than this (in scheduling points) end in a finding. */
#define PATIENCE 2000000u

/* ---- IRQL ---- */

static unsigned irql_raise(unsigned irql, const char *name, uintptr_t pc)
{
	struct cpu *cpu = cpu_self();

	kernel_call(name, IRQL_HIGH, KERNEL_PROHIBITED, pc);
	if (irql < cpu->irql || irql > HIGH_LEVEL) {
		verify_report(RULE_CALL_IRQL, pc, "%s to %u at IRQL %u", name, irql, cpu->irql);
		return cpu->irql;
	}
	return cpu_raise(irql);
}

static void irql_lower(unsigned irql, const char *name, uintptr_t pc)
{
	struct cpu *cpu = cpu_self();

	kernel_call(name, IRQL_HIGH, KERNEL_PROHIBITED, pc);
	if (irql > cpu->irql)
		verify_report(RULE_CALL_IRQL, pc, "%s to %u at IRQL %u", name, irql, cpu->irql);
	else
		cpu_lower(irql);
}

unsigned sync_irql(uintptr_t pc)
{
	verify_report(RULE_CALL_KERNEL, pc, "KeGetCurrentIrql is called");
	return cpu_self()->irql;
}

void sync_set_irql(unsigned irql, uintptr_t pc)
{
	if (irql < cpu_self()->irql)
		irql_lower(irql, "KeLowerIrql", pc);
	else
		irql_raise(irql, "KeRaiseIrql", pc);
}

static KIRQL NTAPI get_current_irql(void)
{
	return (KIRQL)sync_irql(CALLER);
}

static KIRQL FASTCALL kf_raise_irql(KIRQL irql)
{
	return (KIRQL)irql_raise(irql, "KeRaiseIrql", CALLER);
}

static VOID NTAPI raise_irql(KIRQL irql, KIRQL *old)
{
	KIRQL was = (KIRQL)irql_raise(irql, "KeRaiseIrql", CALLER);

	guest_write(old, &was, sizeof(was), CALLER);
}

static KIRQL NTAPI raise_irql_to_dpc(void)
{
	return (KIRQL)irql_raise(IRQL_DISPATCH, "KeRaiseIrqlToDpcLevel", CALLER);
}

static VOID FASTCALL kf_lower_irql(KIRQL irql)
{
	irql_lower(irql, "KeLowerIrql", CALLER);
}

static VOID NTAPI lower_irql(KIRQL irql)
{
	irql_lower(irql, "KeLowerIrql", CALLER);
}

/* ---- spin locks ---- */

/*
 * The lock's word names its holder: bit 0 is set, as in Windows, and above it stands the number of the processor.
 * The word is the driver's: whether it is there is tried before each use.
 */
static ULONG_PTR lock_word(void)
{
	return (ULONG_PTR)cpu_self()->index << 1 | 1;
}

static void lock_probe(ULONG_PTR *lock, uintptr_t pc)
{
	ULONG_PTR word;

	if (!guest_read(&word, lock, sizeof(word), pc) || (uintptr_t)lock % sizeof(word))
		kernel_stop(pc, "the spin lock at %p is not there", (void *)lock);
}

static bool lock_try(ULONG_PTR *lock)
{
	ULONG_PTR nobody = 0;

	return __atomic_compare_exchange_n(lock, &nobody, lock_word(), false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

static void lock_take(ULONG_PTR *lock, uintptr_t pc)
{
	lock_probe(lock, pc);
	for (unsigned waited = 0; !lock_try(lock);) {
		ULONG_PTR holder = __atomic_load_n(lock, __ATOMIC_ACQUIRE);

		if (holder == lock_word() || ++waited == PATIENCE) {
			verify_report(RULE_LOCK_DEADLOCK, pc, "the spin lock at %p is %s", (void *)lock,
				      holder == lock_word() ? "taken by a processor that already holds it"
							    : "never given back");
			cpu_die("a processor waits for a lock that it will never get");
		}
		cpu_relax();
	}
}

static void lock_give(ULONG_PTR *lock, uintptr_t pc)
{
	lock_probe(lock, pc);
	if (__atomic_load_n(lock, __ATOMIC_ACQUIRE) != lock_word())
		verify_report(RULE_LOCK_RELEASE, pc,
			      "the spin lock at %p is released by a processor that does not hold it", (void *)lock);
	__atomic_store_n(lock, 0, __ATOMIC_RELEASE);
}

static KIRQL acquire(const char *name, ULONG_PTR *lock, uintptr_t pc)
{
	unsigned old;

	kernel_call(name, IRQL_DISPATCH, KERNEL_PROHIBITED, pc);
	old = cpu_raise(IRQL_DISPATCH);
	lock_take(lock, pc);
	return (KIRQL)old;
}

static void release(const char *name, ULONG_PTR *lock, KIRQL irql, uintptr_t pc)
{
	kernel_call(name, IRQL_DISPATCH, KERNEL_PROHIBITED, pc);
	lock_give(lock, pc);
	if (irql > IRQL_DISPATCH)
		verify_report(RULE_CALL_IRQL, pc, "%s to IRQL %u", name, irql);
	else
		cpu_lower(irql);
}

/* At DISPATCH_LEVEL, where the caller must be already. */
static void at_dpc_level(const char *name, uintptr_t pc)
{
	kernel_call(name, IRQL_DISPATCH, KERNEL_PROHIBITED, pc);
	if (cpu_self()->irql < IRQL_DISPATCH)
		verify_report(RULE_CALL_IRQL, pc, "%s is called at IRQL %u, it is for 2", name, cpu_self()->irql);
}

static VOID NTAPI initialize_spin_lock(ULONG_PTR *lock)
{
	kernel_call("KeInitializeSpinLock", IRQL_HIGH, KERNEL_PROHIBITED, CALLER);
	guest_write(lock, &(ULONG_PTR){ 0 }, sizeof(*lock), CALLER);
}

static KIRQL FASTCALL acquire_raise(ULONG_PTR *lock)
{
	return acquire("KeAcquireSpinLock", lock, CALLER);
}

static VOID NTAPI acquire_spin_lock(ULONG_PTR *lock, KIRQL *old)
{
	KIRQL was = acquire("KeAcquireSpinLock", lock, CALLER);

	guest_write(old, &was, sizeof(was), CALLER);
}

static VOID FASTCALL kf_release_spin_lock(ULONG_PTR *lock, KIRQL irql)
{
	release("KeReleaseSpinLock", lock, irql, CALLER);
}

static VOID NTAPI release_spin_lock(ULONG_PTR *lock, KIRQL irql)
{
	release("KeReleaseSpinLock", lock, irql, CALLER);
}

static VOID NTAPI acquire_at_dpc(ULONG_PTR *lock)
{
	at_dpc_level("KeAcquireSpinLockAtDpcLevel", CALLER);
	lock_take(lock, CALLER);
}

static VOID NTAPI release_from_dpc(ULONG_PTR *lock)
{
	at_dpc_level("KeReleaseSpinLockFromDpcLevel", CALLER);
	lock_give(lock, CALLER);
}

static VOID FASTCALL kef_acquire_at_dpc(ULONG_PTR *lock)
{
	at_dpc_level("KeAcquireSpinLockAtDpcLevel", CALLER);
	lock_take(lock, CALLER);
}

static VOID FASTCALL kef_release_from_dpc(ULONG_PTR *lock)
{
	at_dpc_level("KeReleaseSpinLockFromDpcLevel", CALLER);
	lock_give(lock, CALLER);
}

static BOOLEAN FASTCALL try_at_dpc(ULONG_PTR *lock)
{
	at_dpc_level("KeTryToAcquireSpinLockAtDpcLevel", CALLER);
	lock_probe(lock, CALLER);
	return lock_try(lock);
}

static BOOLEAN FASTCALL test_spin_lock(ULONG_PTR *lock)
{
	kernel_call("KeTestSpinLock", IRQL_HIGH, KERNEL_PROHIBITED, CALLER);
	lock_probe(lock, CALLER);
	return !__atomic_load_n(lock, __ATOMIC_ACQUIRE);
}

/* ---- queued spin locks ---- */

struct queue_handle { /* KLOCK_QUEUE_HANDLE */
	void *next;
	ULONG_PTR *lock;
	KIRQL old;
};

static void handle_fill(struct queue_handle *handle, ULONG_PTR *lock, KIRQL old, uintptr_t pc)
{
	struct queue_handle filled = { .lock = lock, .old = old };

	guest_write(handle, &filled, sizeof(filled), pc);
}

static VOID FASTCALL acquire_queued(ULONG_PTR *lock, struct queue_handle *handle)
{
	handle_fill(handle, lock, acquire("KeAcquireInStackQueuedSpinLock", lock, CALLER), CALLER);
}

static VOID FASTCALL release_queued(struct queue_handle *handle)
{
	struct queue_handle filled;

	if (guest_read(&filled, handle, sizeof(filled), CALLER))
		release("KeReleaseInStackQueuedSpinLock", filled.lock, filled.old, CALLER);
}

static VOID FASTCALL acquire_queued_at_dpc(ULONG_PTR *lock, struct queue_handle *handle)
{
	at_dpc_level("KeAcquireInStackQueuedSpinLockAtDpcLevel", CALLER);
	lock_take(lock, CALLER);
	handle_fill(handle, lock, IRQL_DISPATCH, CALLER);
}

static VOID FASTCALL release_queued_from_dpc(struct queue_handle *handle)
{
	struct queue_handle filled;

	at_dpc_level("KeReleaseInStackQueuedSpinLockFromDpcLevel", CALLER);
	if (guest_read(&filled, handle, sizeof(filled), CALLER))
		lock_give(filled.lock, CALLER);
}

void sync_interlock(ULONG_PTR *lock, uintptr_t pc)
{
	lock_take(lock, pc);
}

void sync_interlock_end(ULONG_PTR *lock, uintptr_t pc)
{
	lock_give(lock, pc);
}

const struct export_entry sync_exports[] = {
	ENTRY("KeAcquireInStackQueuedSpinLock", acquire_queued),
	ENTRY("KeAcquireInStackQueuedSpinLockAtDpcLevel", acquire_queued_at_dpc),
	ENTRY("KeAcquireSpinLock", acquire_spin_lock),
	ENTRY("KeAcquireSpinLockAtDpcLevel", acquire_at_dpc),
	ENTRY("KeAcquireSpinLockRaiseToDpc", acquire_raise),
	ENTRY("KeGetCurrentIrql", get_current_irql),
	ENTRY("KeInitializeSpinLock", initialize_spin_lock),
	ENTRY("KeLowerIrql", lower_irql),
	ENTRY("KeRaiseIrql", raise_irql),
	ENTRY("KeRaiseIrqlToDpcLevel", raise_irql_to_dpc),
	ENTRY("KeReleaseInStackQueuedSpinLock", release_queued),
	ENTRY("KeReleaseInStackQueuedSpinLockFromDpcLevel", release_queued_from_dpc),
	ENTRY("KeReleaseSpinLock", release_spin_lock),
	ENTRY("KeReleaseSpinLockFromDpcLevel", release_from_dpc),
	ENTRY("KeTestSpinLock", test_spin_lock),
	ENTRY("KeTryToAcquireSpinLockAtDpcLevel", try_at_dpc),
	ENTRY("KefAcquireSpinLockAtDpcLevel", kef_acquire_at_dpc),
	ENTRY("KefReleaseSpinLockFromDpcLevel", kef_release_from_dpc),
	ENTRY("KfAcquireSpinLock", acquire_raise),
	ENTRY("KfLowerIrql", kf_lower_irql),
	ENTRY("KfRaiseIrql", kf_raise_irql),
	ENTRY("KfReleaseSpinLock", kf_release_spin_lock),
	{ NULL, NULL },
};
