/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A decoded x64 instruction and its operands' place in a signal frame. */
#ifndef STORHOST_TRAP_DECODE_H
#define STORHOST_TRAP_DECODE_H

#include <Zydis/Zydis.h>

#include "trap/machine.h"

struct decoded {
	ZydisDecodedInstruction instruction;
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
};

/* false: the bytes at pc are unreadable or no instruction. */
bool decode(uintptr_t pc, struct decoded *decoded);

/*
 * The general register of which reg is all or a part, as an index into gregs, or -1; *shift is 8 for ah, bh, ch and dh.
 */
int decode_register(ZydisRegister reg, unsigned *shift);

/* false: it depends on a segment base or on a register of another kind. */
bool decode_address(const ucontext_t *uc, const struct decoded *decoded, const ZydisDecodedOperand *operand,
		    uintptr_t *address);

#endif
