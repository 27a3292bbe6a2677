/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The 32-bit stand-in for decode.c and emulate.c, without Zydis. x86 drivers reach registers through StorPort's
 * imports, so that no access is emulated; a report shows the instruction's bytes.
 */
#define _GNU_SOURCE 1 /* the registers in ucontext.h */

#include <string.h>

#include "trap/machine.h"

enum trap_emulation trap_emulate(ucontext_t *uc, const struct trap_region **region, struct trap_fault *fault)
{
	(void)uc;
	(void)region;
	strcpy(fault->text, "a register access other than by StorPortReadRegister* or StorPortWriteRegister*");
	return TRAP_NOT_UNDERSTOOD;
}

/* What raises a general protection fault outside ring 0 by its opcode alone. [SDM 3 5.9] */
static bool is_privileged(const uint8_t *bytes, size_t size)
{
	while (size && (*bytes == 0x66 || *bytes == 0xf2 || *bytes == 0xf3)) {
		bytes++;
		size--;
	}
	if (!size)
		return false;
	switch (bytes[0]) {
	case 0x6c ... 0x6f: /* ins, outs */
	case 0xe4 ... 0xe7: /* in, out with a number */
	case 0xec ... 0xef: /* in, out with dx */
	case 0xf4:          /* hlt */
	case 0xfa:          /* cli */
	case 0xfb:          /* sti */
		return true;
	case 0x0f:
		break;
	default:
		return false;
	}
	if (size < 2)
		return false;
	switch (bytes[1]) {
	case 0x00 ... 0x01: /* lldt, ltr, lgdt, lidt, lmsw, invlpg */
	case 0x06:          /* clts */
	case 0x08 ... 0x09: /* invd, wbinvd */
	case 0x20 ... 0x23: /* control and debug registers */
	case 0x30:          /* wrmsr */
	case 0x32 ... 0x33: /* rdmsr, rdpmc */
		return true;
	default:
		return false;
	}
}

void trap_describe(const ucontext_t *uc, uintptr_t pc, struct trap_instruction *described)
{
	uint8_t bytes[INSTRUCTION_MAX];
	size_t size = sizeof(bytes) - trap_copy(bytes, (const void *)pc, sizeof(bytes));
	static const char digits[] = "0123456789abcdef";
	char *out = described->text;

	(void)uc;
	memset(described, 0, sizeof(*described));
	described->privileged = is_privileged(bytes, size);
	if (!size) {
		strcpy(out, "no instruction");
		return;
	}
	out = stpcpy(out, "bytes");
	for (size_t i = 0; i < size; i++) {
		*out++ = ' ';
		*out++ = digits[bytes[i] >> 4];
		*out++ = digits[bytes[i] & 15];
	}
}
