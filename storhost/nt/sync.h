/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* IRQL as x64 code has it (in CR8, without a call), and the spin lock of the Ex list routines. */
#ifndef STORHOST_NT_SYNC_H
#define STORHOST_NT_SYNC_H

#include <ntddk.h>
#include <stdint.h>

/* A read and a write of CR8 by the driver's instruction at pc. */
unsigned sync_irql(uintptr_t pc);
void sync_set_irql(unsigned irql, uintptr_t pc);

/* Takes and gives a spin lock of the driver's and leaves the IRQL alone: at any IRQL, for no longer than a list needs. */
void sync_interlock(ULONG_PTR *lock, uintptr_t pc);
void sync_interlock_end(ULONG_PTR *lock, uintptr_t pc);

#endif
