/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What the files share that implement ntoskrnl.exe and hal.dll: how a call is judged, and their tables.
 *
 * A routine does what Windows 7's does, as far as a miniport can tell. That a physical miniport has no business with
 * it is a finding all the same, where [SDV HwStorPortProhibitedDDIs] names it or StorPort has its own.
 */
#ifndef STORHOST_NT_KERNEL_H
#define STORHOST_NT_KERNEL_H

#include <ntddk.h>

#include "nt/cpu.h"
#include "nt/exports.h"
#include "nt/guest.h"
#include "verify/verify.h"

#define CALLER ((uintptr_t)__builtin_return_address(0))

/* The third convention of x86; x64 has but one. */
#if defined(__x86_64__)
#define FASTCALL NTAPI
#else
#define FASTCALL __attribute__((fastcall))
#endif

enum kernel_use { KERNEL_ALLOWED, KERNEL_PROHIBITED };

/* At the head of a routine: judges the call (max_irql: the highest at which it may be called), then lets others run. */
void kernel_call(const char *name, unsigned max_irql, enum kernel_use use, uintptr_t pc);
/* The driver asked for what a running system cannot survive. Does not return to it. */
void kernel_stop(uintptr_t pc, const char *fmt, ...) __attribute__((format(printf, 2, 3), noreturn));

/* Runs driver code that the kernel calls back, as `callback`; the port judges it as one of its own. */
extern void (*kernel_run_driver)(enum callback callback, void (*run)(void *opaque), void *opaque);

/* The driver is gone: timers stand still, and what was kept about its objects is forgotten. leaks: memory is one. */
void kernel_forget(bool leaks);

#define ENTRY(name, function) { name, (void *)(uintptr_t)(function) }

extern const struct export_entry arithmetic_exports[], debug_exports[], dispatch_exports[], memory_exports[],
	print_exports[], rtl_exports[], string_exports[], sync_exports[], time_exports[], trace_exports[];

#endif
