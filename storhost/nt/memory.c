/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The executive's pool, physically contiguous memory, and lists under a lock. */
#include "nt/memory.h"

#include <stdlib.h>

#include "nt/kernel.h"
#include "nt/phys.h"
#include "nt/pool.h"
#include "nt/sync.h"
#include "trap/trap.h"

#define PAGED_POOL 1u /* in POOL_TYPE, of which it is the lowest bit */

/* ---- pool ---- */

static void *allocate(ULONG type, SIZE_T size, ULONG tag, const char *name, uintptr_t pc)
{
	kernel_call(name, type & PAGED_POOL ? 1 : IRQL_DISPATCH, KERNEL_PROHIBITED, pc);
	return pool_alloc(size ? size : 1, tag, POOL_EXECUTIVE, pc);
}

static void release(void *block, const char *name, uintptr_t pc)
{
	kernel_call(name, IRQL_DISPATCH, KERNEL_ALLOWED, pc);
	pool_free(block, POOL_EXECUTIVE, pc);
}

static PVOID NTAPI allocate_pool(ULONG type, SIZE_T size)
{
	return allocate(type, size, 0x656e6f4e, "ExAllocatePool", CALLER); /* 'None' */
}

static PVOID NTAPI allocate_pool_with_tag(ULONG type, SIZE_T size, ULONG tag)
{
	return allocate(type, size, tag, "ExAllocatePoolWithTag", CALLER);
}

static PVOID NTAPI allocate_pool_with_priority(ULONG type, SIZE_T size, ULONG tag, ULONG priority)
{
	(void)priority;
	return allocate(type, size, tag, "ExAllocatePoolWithTagPriority", CALLER);
}

static VOID NTAPI free_pool(void *block)
{
	release(block, "ExFreePool", CALLER);
}

static VOID NTAPI free_pool_with_tag(void *block, ULONG tag)
{
	(void)tag;
	release(block, "ExFreePoolWithTag", CALLER);
}

/* ---- contiguous memory, which a device can reach ---- */

struct run {
	struct run *next;
	uint8_t *window;
	uint64_t address;
	size_t pages;
	uintptr_t pc;
};

static struct run *runs;

static void run_release(struct run *run)
{
	phys_unmap(run->window, run->pages);
	phys_free(run->address, run->pages);
	free(run);
}

static struct run *run_create(size_t pages, bool low, uintptr_t pc)
{
	struct run *run = calloc(1, sizeof(*run));
	uint64_t *addresses = calloc(pages, sizeof(*addresses));

	if (run && addresses)
		run->address = phys_alloc_contiguous(pages, PHYS_COMMON, low);
	for (size_t i = 0; addresses && run && run->address && i < pages; i++)
		addresses[i] = run->address + i * PHYS_PAGE;
	if (run && run->address)
		run->window = phys_map(addresses, pages);
	free(addresses);
	if (run && run->window) {
		run->pages = pages;
		run->pc = pc;
		return run;
	}
	if (run && run->address)
		phys_free(run->address, pages);
	free(run);
	return NULL;
}

static PVOID contiguous(SIZE_T size, LONGLONG highest, const char *name, uintptr_t pc)
{
	bool low = (uint64_t)highest < (1ull << 44);
	struct run *run;

	kernel_call(name, IRQL_DISPATCH, KERNEL_ALLOWED, pc);
	if (!size || size > UINT32_MAX)
		return NULL;
	run = run_create((size + PHYS_PAGE - 1) / PHYS_PAGE, low, pc);
	if (!run)
		return NULL;
	machine_lock();
	run->next = runs;
	runs = run;
	machine_unlock();
	return run->window;
}

static PVOID NTAPI allocate_contiguous(SIZE_T size, LONGLONG highest)
{
	return contiguous(size, highest, "MmAllocateContiguousMemory", CALLER);
}

static PVOID NTAPI allocate_contiguous_cache(SIZE_T size, LONGLONG lowest, LONGLONG highest, LONGLONG boundary,
					     ULONG cache)
{
	(void)lowest;
	(void)boundary;
	(void)cache;
	return contiguous(size, highest, "MmAllocateContiguousMemorySpecifyCache", CALLER);
}

static void free_contiguous(void *window, const char *name, uintptr_t pc)
{
	struct run **link, *run = NULL;

	kernel_call(name, IRQL_DISPATCH, KERNEL_PROHIBITED, pc);
	machine_lock();
	for (link = &runs; *link && (*link)->window != window; link = &(*link)->next)
		;
	if (*link) {
		run = *link;
		*link = run->next;
	}
	machine_unlock();
	if (run)
		run_release(run);
	else
		verify_report(RULE_MEMORY_FREE, pc, "%s of %p, which it did not allocate", name, window);
}

static VOID NTAPI free_contiguous_memory(void *window)
{
	free_contiguous(window, "MmFreeContiguousMemory", CALLER);
}

static VOID NTAPI free_contiguous_cache(void *window, SIZE_T size, ULONG cache)
{
	(void)size;
	(void)cache;
	free_contiguous(window, "MmFreeContiguousMemorySpecifyCache", CALLER);
}

static PHYSICAL_ADDRESS_RETURN NTAPI get_physical_address(void *address)
{
	uint64_t physical;

	kernel_call("MmGetPhysicalAddress", IRQL_HIGH, KERNEL_PROHIBITED, CALLER);
	physical = phys_of(address, NULL);
	if (!physical)
		verify_report(RULE_CALL_ARGUMENT, CALLER, "MmGetPhysicalAddress of %p, which no device can reach",
			      address);
	return (LONGLONG)physical;
}

static BOOLEAN NTAPI is_address_valid(const void *address)
{
	uint8_t byte;

	kernel_call("MmIsAddressValid", IRQL_DISPATCH, KERNEL_ALLOWED, CALLER);
	return !trap_copy(&byte, address, 1);
}

void memory_forget(bool leaks)
{
	while (runs) {
		struct run *run = runs;

		runs = run->next;
		if (leaks)
			verify_report(RULE_MEMORY_LEAK, run->pc, "%zu contiguous pages were never freed", run->pages);
		run_release(run);
	}
}

/* ---- lists under a spin lock, at any IRQL ---- */

static LIST_ENTRY *insert(LIST_ENTRY *head, LIST_ENTRY *entry, bool tail, ULONG_PTR *lock, uintptr_t pc)
{
	LIST_ENTRY ends, linked;
	bool good;

	sync_interlock(lock, pc);
	good = guest_read(&ends, head, sizeof(ends), pc);
	linked.Flink = tail ? head : ends.Flink;
	linked.Blink = tail ? ends.Blink : head;
	if (good && guest_write(entry, &linked, sizeof(linked), pc)) {
		guest_write(&linked.Flink->Blink, &entry, sizeof(entry), pc);
		guest_write(&linked.Blink->Flink, &entry, sizeof(entry), pc);
	}
	sync_interlock_end(lock, pc);
	return !good || (tail ? ends.Blink : ends.Flink) == head ? NULL : tail ? ends.Blink : ends.Flink;
}

static LIST_ENTRY *remove_head(LIST_ENTRY *head, ULONG_PTR *lock, uintptr_t pc)
{
	LIST_ENTRY ends, first;
	LIST_ENTRY *removed = NULL;

	sync_interlock(lock, pc);
	if (guest_read(&ends, head, sizeof(ends), pc) && ends.Flink != head &&
	    guest_read(&first, ends.Flink, sizeof(first), pc)) {
		removed = ends.Flink;
		guest_write(&head->Flink, &first.Flink, sizeof(first.Flink), pc);
		guest_write(&first.Flink->Blink, &head, sizeof(head), pc);
	}
	sync_interlock_end(lock, pc);
	return removed;
}

#define LIST_EXPORTS(CONVENTION, prefix)                                                                               \
	static LIST_ENTRY *CONVENTION prefix##_insert_head(LIST_ENTRY *head, LIST_ENTRY *entry, ULONG_PTR *lock)       \
	{                                                                                                              \
		return insert(head, entry, false, lock, CALLER);                                                       \
	}                                                                                                              \
	static LIST_ENTRY *CONVENTION prefix##_insert_tail(LIST_ENTRY *head, LIST_ENTRY *entry, ULONG_PTR *lock)       \
	{                                                                                                              \
		return insert(head, entry, true, lock, CALLER);                                                        \
	}                                                                                                              \
	static LIST_ENTRY *CONVENTION prefix##_remove_head(LIST_ENTRY *head, ULONG_PTR *lock)                          \
	{                                                                                                              \
		return remove_head(head, lock, CALLER);                                                                \
	}

LIST_EXPORTS(NTAPI, ex)
LIST_EXPORTS(FASTCALL, exf)

/* ---- sequenced lists ---- */

struct slist_entry {
	struct slist_entry *next;
};

/* SLIST_HEADER: on x86 as the kit's inline routines see it, on x64 behind exports alone. */
struct slist_header {
	struct slist_entry *next;
	USHORT depth, sequence;
};

static VOID NTAPI slist_initialize(struct slist_header *header)
{
	struct slist_header empty[16 / sizeof(struct slist_header)] = { 0 };

	guest_write(header, empty, sizeof(void *) == 8 ? sizeof(empty) : sizeof(*header), CALLER);
}

static struct slist_entry *slist_push(struct slist_header *header, struct slist_entry *entry, uintptr_t pc)
{
	struct slist_header now;
	struct slist_entry *first = NULL;

	machine_lock();
	if (guest_read(&now, header, sizeof(now), pc) && guest_write(&entry->next, &now.next, sizeof(now.next), pc)) {
		first = now.next;
		now.next = entry;
		now.depth++;
		now.sequence++;
		guest_write(header, &now, sizeof(now), pc);
	}
	machine_unlock();
	return first;
}

/* The first, or all that hang on it. */
static struct slist_entry *slist_take(struct slist_header *header, bool all, uintptr_t pc)
{
	struct slist_header now;
	struct slist_entry *first = NULL, after = { NULL };

	machine_lock();
	if (guest_read(&now, header, sizeof(now), pc) && now.next &&
	    (all || guest_read(&after, now.next, sizeof(after), pc))) {
		first = now.next;
		now.next = after.next;
		now.depth = all ? 0 : (USHORT)(now.depth - 1);
		guest_write(header, &now, sizeof(now), pc);
	}
	machine_unlock();
	return first;
}

static struct slist_entry *FASTCALL slist_push_entry(struct slist_header *header, struct slist_entry *entry)
{
	return slist_push(header, entry, CALLER);
}

/* With the lock that x86 once needed. */
static struct slist_entry *FASTCALL slist_push_locked(struct slist_header *header, struct slist_entry *entry,
						      void *lock)
{
	(void)lock;
	return slist_push(header, entry, CALLER);
}

static struct slist_entry *FASTCALL slist_pop_entry(struct slist_header *header)
{
	return slist_take(header, false, CALLER);
}

static struct slist_entry *FASTCALL slist_pop_locked(struct slist_header *header, void *lock)
{
	(void)lock;
	return slist_take(header, false, CALLER);
}

static struct slist_entry *FASTCALL slist_flush(struct slist_header *header)
{
	return slist_take(header, true, CALLER);
}

static USHORT NTAPI slist_depth(struct slist_header *header)
{
	struct slist_header now = { .depth = 0 };

	guest_read(&now, header, sizeof(now), CALLER);
	return now.depth;
}

const struct export_entry memory_exports[] = {
	ENTRY("ExAllocatePool", allocate_pool),
	ENTRY("ExAllocatePoolWithTag", allocate_pool_with_tag),
	ENTRY("ExAllocatePoolWithTagPriority", allocate_pool_with_priority),
	ENTRY("ExFreePool", free_pool),
	ENTRY("ExFreePoolWithTag", free_pool_with_tag),
	ENTRY("ExInterlockedFlushSList", slist_flush),
	ENTRY("ExInterlockedInsertHeadList", ex_insert_head),
	ENTRY("ExInterlockedInsertTailList", ex_insert_tail),
	ENTRY("ExInterlockedPopEntrySList", slist_pop_locked),
	ENTRY("ExInterlockedPushEntrySList", slist_push_locked),
	ENTRY("ExInterlockedRemoveHeadList", ex_remove_head),
	ENTRY("ExQueryDepthSList", slist_depth),
	ENTRY("ExfInterlockedInsertHeadList", exf_insert_head),
	ENTRY("ExfInterlockedInsertTailList", exf_insert_tail),
	ENTRY("ExfInterlockedRemoveHeadList", exf_remove_head),
	ENTRY("ExpInterlockedFlushSList", slist_flush),
	ENTRY("ExpInterlockedPopEntrySList", slist_pop_entry),
	ENTRY("ExpInterlockedPushEntrySList", slist_push_entry),
	ENTRY("InitializeSListHead", slist_initialize),
	ENTRY("InterlockedPopEntrySList", slist_pop_entry),
	ENTRY("InterlockedPushEntrySList", slist_push_entry),
	ENTRY("MmAllocateContiguousMemory", allocate_contiguous),
	ENTRY("MmAllocateContiguousMemorySpecifyCache", allocate_contiguous_cache),
	ENTRY("MmFreeContiguousMemory", free_contiguous_memory),
	ENTRY("MmFreeContiguousMemorySpecifyCache", free_contiguous_cache),
	ENTRY("MmGetPhysicalAddress", get_physical_address),
	ENTRY("MmIsAddressValid", is_address_valid),
	{ NULL, NULL },
};
