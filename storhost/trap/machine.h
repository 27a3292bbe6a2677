/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What the files of trap/ share: the processor's state in a signal frame, regions, decoding, and the assembly entries.
 *
 * trap.c owns the regions, the threads' stacks and the signal handler, which asks trap_emulate() to perform an access
 * or trap_describe() what went wrong. A 64-bit build has emulate.c and decode.c (Zydis), a 32-bit one decode_x86.c.
 * All of it but trap.c's set-up runs in signal handlers: no allocation, no stdio, no locks.
 */
#ifndef STORHOST_TRAP_MACHINE_H
#define STORHOST_TRAP_MACHINE_H

#include <stdatomic.h>
#include <ucontext.h>

#include "trap/trap.h"

#ifdef __x86_64__
#define MACHINE_PC(uc) ((uc)->uc_mcontext.gregs[REG_RIP])
#define MACHINE_SP(uc) ((uc)->uc_mcontext.gregs[REG_RSP])
#else
#define MACHINE_PC(uc) ((uc)->uc_mcontext.gregs[REG_EIP])
#define MACHINE_SP(uc) ((uc)->uc_mcontext.gregs[REG_ESP])
#endif
#define MACHINE_FLAGS(uc) ((uc)->uc_mcontext.gregs[REG_EFL])

/* EFLAGS. [SDM 1 3.4.3] */
enum {
	FLAG_CF = 0x001,
	FLAG_PF = 0x004,
	FLAG_AF = 0x010,
	FLAG_ZF = 0x040,
	FLAG_SF = 0x080,
	FLAG_TF = 0x100,
	FLAG_DF = 0x400,
	FLAG_OF = 0x800,
};

#define INSTRUCTION_MAX 15

struct trap_region {
	struct trap_region *next;
	uintptr_t base;
	size_t size;
	struct trap_region_ops ops;
	void *opaque;
	atomic_bool live;
};

/* The live region that contains address, or NULL. */
const struct trap_region *trap_region_find(uintptr_t address);

enum trap_emulation {
	TRAP_EMULATED,
	TRAP_NOT_UNDERSTOOD, /* nothing has been accessed or changed */
	TRAP_BAD_OPERAND,    /* other memory that the instruction names is not accessible */
};

/*
 * Performs the instruction at uc's pc, whose operands lie in regions at least in part, and moves pc behind it (or
 * leaves it there when a rep has more to do outside). *region: one that was touched. For TRAP_BAD_OPERAND fault->address
 * and fault->write say what; fault->text may be set when nothing was done, and is then to the point.
 */
enum trap_emulation trap_emulate(ucontext_t *uc, const struct trap_region **region, struct trap_fault *fault);

/* What gs points to, for addresses relative to it; 0: nothing. */
uintptr_t trap_segment(void);

/* A move from or to CR8: the general register's index in gregs, and the instruction's length. */
struct trap_cr8 {
	int reg;
	bool write;
	unsigned length;
};
/* False: that is not what stands at uc's pc. */
bool trap_decode_cr8(const ucontext_t *uc, struct trap_cr8 *move);

struct trap_instruction {
	char text[sizeof(((struct trap_fault *)0)->text)];
	bool privileged;
	uintptr_t address; /* of its memory operand; 0 if it has none */
};

void trap_describe(const ucontext_t *uc, uintptr_t pc, struct trap_instruction *instruction);

/* entry.c: trap_copy of trap.h. */
extern const char trap_copy_access[] __attribute__((visibility("hidden"))); /* its only instruction that can fault */
extern const char trap_copy_end[] __attribute__((visibility("hidden")));

#ifdef __x86_64__
/*
 * entry.c. Where a thread continues after an access whose region has a hook: saves every register on the driver's
 * stack, calls trap_hook_enter, restores them and returns to the address that it has put in *resume.
 */
extern const char trap_hook_entry[] __attribute__((visibility("hidden")));
extern const char trap_hook_end[] __attribute__((visibility("hidden")));
void trap_hook_enter(uintptr_t *resume) __attribute__((visibility("hidden")));
#endif

#endif
