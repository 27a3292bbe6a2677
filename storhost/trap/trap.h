/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What a driver does without calling anybody: loads and stores to device registers, privileged instructions, crashes.
 *
 * A trap region is address space without access rights. An instruction that touches it faults; the fault handler
 * decodes it (Zydis), performs the access through the region's callbacks with exactly the width the instruction has,
 * writes the result to the register or memory operand, sets the flags, and resumes behind it. Plain moves of every
 * width and form, movzx/movsx, read-modify-write (or, and, add, xor, xchg, cmpxchg…), test/cmp and the string forms
 * with rep are understood; an instruction that is not is reported as a fault.
 *
 * After each emulated access the region's `after` hook, if set, runs on the faulting thread in ordinary context (not
 * inside the signal handler), on the faulting code's own stack, with every register preserved: it may switch stacks,
 * deliver interrupts into the driver, or never return. Neither Windows ABI has a red zone, which makes that safe in
 * driver code; accesses from host code (a red-zone ABI) get no hook.
 *
 * Everything else that would kill the process (a wild pointer, int3, ud2, fastfail, a privileged instruction other
 * than those emulated, divide by zero, stack overflow) is handed to the fatal handler, which must not return to the
 * faulting code; it is called in ordinary context on a stack of its own when the faulting address lies in driver code,
 * and is not called at all (the default action is taken) when it does not: a bug of storhost itself is not to be
 * blamed on a driver.
 */
#ifndef STORHOST_TRAP_TRAP_H
#define STORHOST_TRAP_TRAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct trap_region_ops {
	uint64_t (*read)(void *opaque, uint64_t offset, unsigned width);
	void (*write)(void *opaque, uint64_t offset, unsigned width, uint64_t value);
	void (*after)(void *opaque);
};

/*
 * What x64 code has of the kernel without calling it. Where this is not set, CR8 and gs are crashes. set_irql runs as a
 * region's `after` does, irql in the signal handler; pc as trap_pc() has it.
 */
struct trap_kernel {
	void *segment; /* the region that gs points to */
	unsigned (*irql)(uintptr_t pc);
	void (*set_irql)(unsigned irql, uintptr_t pc);
};

enum trap_kind {
	TRAP_ACCESS,     /* address neither mapped nor a region, or a protection violation */
	TRAP_UNDECODED,  /* touched a region with an instruction that is not understood */
	TRAP_ILLEGAL,    /* ud2 and friends */
	TRAP_BREAKPOINT, /* int3, int 2d */
	TRAP_ASSERTION,  /* int 2c */
	TRAP_FASTFAIL,   /* int 29 */
	TRAP_PRIVILEGED, /* cli, hlt, mov crN, in, out, rdmsr… */
	TRAP_ARITHMETIC,
	TRAP_STACK,   /* ran off its stack */
	TRAP_ENDLESS, /* nothing of the kind: the watch has had enough of it */
};

struct trap_fault {
	enum trap_kind kind;
	uintptr_t pc;      /* of the faulting instruction */
	uintptr_t address; /* accessed, where there is one */
	bool write;
	char text[96]; /* the instruction, decoded */
};

/* Installs the signal handlers. Once per process. is_driver_code tells whose fault a fault is. */
int trap_init(bool (*is_driver_code)(uintptr_t pc), void (*fatal)(const struct trap_fault *fault), struct error *err);
/* Every thread that runs driver code calls this first (it gives the thread its signal stack). */
int trap_thread_init(struct error *err);
void trap_thread_exit(void);

/*
 * From here on `overdue` is asked after every so many milliseconds of processor time that the calling thread has spent,
 * in a signal handler; where it says yes and the thread is in driver code, that is a TRAP_ENDLESS. Between
 * trap_thread_init and trap_thread_exit, which ends it.
 */
int trap_thread_watch(unsigned milliseconds, bool (*overdue)(void), struct error *err);

/* Copies like memcpy, and survives a bad address on either side: how many bytes at the end were not copied. */
size_t trap_copy(void *to, const void *from, size_t size);

/* Reserves `size` bytes of address space (page multiple) that trap. Returns its base, or NULL. */
void *trap_region_create(size_t size, const struct trap_region_ops *ops, void *opaque, struct error *err);
/* The same at an address of the kernel's half, where a process has none of its own. x64. */
int trap_region_at(uintptr_t base, size_t size, const struct trap_region_ops *ops, void *opaque, struct error *err);
void trap_set_kernel(const struct trap_kernel *kernel);
/* Inside a region's callbacks and its hook: the instruction that accesses it, or the one behind it. */
uintptr_t trap_pc(void);
/* From here on an access is a TRAP_ACCESS. The address space is not reused. */
void trap_region_destroy(void *base);
/*
 * Gives the address space of destroyed regions back, and returns how many there are that live. No thread runs driver code,
 * nor will what knew them.
 */
unsigned trap_regions_forget(void);

#endif
