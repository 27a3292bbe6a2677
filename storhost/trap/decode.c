/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Reading x64 instructions: bytes, operands' registers and addresses, and the text for a report. */
#define _GNU_SOURCE 1 /* the registers in ucontext.h */

#include "trap/decode.h"

#include <string.h>

#define PAGE 4096

static const int general_registers[] = { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
					 REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15 };

bool decode(uintptr_t pc, struct decoded *decoded)
{
	uint8_t bytes[INSTRUCTION_MAX];
	ZydisDecoder decoder;
	size_t size;

	/* Bytes behind the instruction may lie on a page that is not there. */
	size = sizeof(bytes) - trap_copy(bytes, (const void *)pc, sizeof(bytes));
	return ZYAN_SUCCESS(ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)) &&
	       ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes, size, &decoded->instruction, decoded->operands));
}

int decode_register(ZydisRegister reg, unsigned *shift)
{
	ZydisRegister whole = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg);

	if (whole < ZYDIS_REGISTER_RAX || whole > ZYDIS_REGISTER_R15)
		return -1;
	*shift = reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH ? 8 : 0;
	return general_registers[whole - ZYDIS_REGISTER_RAX];
}

static bool add_register(const ucontext_t *uc, ZydisRegister reg, uint64_t scale, uint64_t *sum)
{
	unsigned shift;
	int index;

	if (reg == ZYDIS_REGISTER_NONE)
		return true;
	index = decode_register(reg, &shift);
	if (index < 0)
		return false;
	*sum += (uint64_t)uc->uc_mcontext.gregs[index] * scale;
	return true;
}

bool decode_address(const ucontext_t *uc, const struct decoded *decoded, const ZydisDecodedOperand *operand,
		    uintptr_t *address)
{
	const ZydisDecodedOperandMem *mem = &operand->mem;
	uint64_t sum = (uint64_t)mem->disp.value;

	if (operand->type != ZYDIS_OPERAND_TYPE_MEMORY || mem->type != ZYDIS_MEMOP_TYPE_MEM ||
	    mem->segment == ZYDIS_REGISTER_FS || (mem->segment == ZYDIS_REGISTER_GS && !trap_segment()))
		return false;
	if (mem->segment == ZYDIS_REGISTER_GS)
		sum += trap_segment();
	if (mem->base == ZYDIS_REGISTER_RIP)
		sum += (uint64_t)MACHINE_PC(uc) + decoded->instruction.length;
	else if (!add_register(uc, mem->base, 1, &sum))
		return false;
	if (!add_register(uc, mem->index, mem->scale, &sum))
		return false;
	*address = decoded->instruction.address_width == 32 ? (uint32_t)sum : sum;
	return true;
}

bool trap_decode_cr8(const ucontext_t *uc, struct trap_cr8 *move)
{
	struct decoded decoded;
	unsigned shift;

	if (!decode((uintptr_t)MACHINE_PC(uc), &decoded) || decoded.instruction.mnemonic != ZYDIS_MNEMONIC_MOV)
		return false;
	move->write = decoded.operands[0].reg.value == ZYDIS_REGISTER_CR8;
	if (decoded.operands[!move->write].reg.value != ZYDIS_REGISTER_CR8)
		return false;
	move->reg = decode_register(decoded.operands[move->write].reg.value, &shift);
	move->length = decoded.instruction.length;
	return move->reg >= 0;
}

static bool is_privileged(const ZydisDecodedInstruction *instruction)
{
	switch (instruction->mnemonic) {
	case ZYDIS_MNEMONIC_CLI:
	case ZYDIS_MNEMONIC_STI:
	case ZYDIS_MNEMONIC_IN:
	case ZYDIS_MNEMONIC_OUT:
	case ZYDIS_MNEMONIC_INSB:
	case ZYDIS_MNEMONIC_INSW:
	case ZYDIS_MNEMONIC_INSD:
	case ZYDIS_MNEMONIC_OUTSB:
	case ZYDIS_MNEMONIC_OUTSW:
	case ZYDIS_MNEMONIC_OUTSD:
	case ZYDIS_MNEMONIC_RDPMC:
		return true;
	default:
		return instruction->attributes & ZYDIS_ATTRIB_IS_PRIVILEGED;
	}
}

void trap_describe(const ucontext_t *uc, uintptr_t pc, struct trap_instruction *described)
{
	struct decoded decoded;
	ZydisFormatter formatter;

	memset(described, 0, sizeof(*described));
	if (!decode(pc, &decoded)) {
		strcpy(described->text, "no instruction");
		return;
	}
	described->privileged = is_privileged(&decoded.instruction);
	for (unsigned i = 0; i < decoded.instruction.operand_count_visible && !described->address; i++)
		decode_address(uc, &decoded, &decoded.operands[i], &described->address);
	if (!ZYAN_SUCCESS(ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL)) ||
	    !ZYAN_SUCCESS(ZydisFormatterFormatInstruction(&formatter, &decoded.instruction, decoded.operands,
							  decoded.instruction.operand_count_visible, described->text,
							  sizeof(described->text), pc, NULL)))
		strcpy(described->text, "an instruction");
}
