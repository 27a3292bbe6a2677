/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Performing an x64 instruction that touches a trap region. [SDM 2] */
#define _GNU_SOURCE 1 /* the registers in ucontext.h */

#include <string.h>

#include "trap/decode.h"

#define ARITHMETIC_FLAGS (FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF)
#define GREG(op, reg) ((op)->uc->uc_mcontext.gregs[reg])

struct operation {
	ucontext_t *uc;
	struct decoded code;
	const struct trap_region *region; /* the last one touched */
	struct trap_fault *fault;
	bool again; /* pc stays: a rep goes on outside the regions */
};

static uint64_t mask(unsigned width)
{
	return width >= 8 ? UINT64_MAX : (UINT64_C(1) << width * 8) - 1;
}

static uint64_t sign_extend(uint64_t value, unsigned width)
{
	unsigned shift = 64 - width * 8;

	return (uint64_t)((int64_t)(value << shift) >> shift);
}

/* --- Memory and operands --- */

static enum trap_emulation bad_operand(struct operation *op, uintptr_t address, bool write)
{
	op->fault->address = address;
	op->fault->write = write;
	return TRAP_BAD_OPERAND;
}

static enum trap_emulation load(struct operation *op, uintptr_t address, unsigned width, uint64_t *value)
{
	const struct trap_region *region = trap_region_find(address);

	*value = 0;
	if (!region)
		return trap_copy(value, (const void *)address, width) ? bad_operand(op, address, false) : TRAP_EMULATED;
	if (width > region->base + region->size - address)
		return bad_operand(op, region->base + region->size, false);
	op->region = region;
	*value = region->ops.read(region->opaque, address - region->base, width) & mask(width);
	return TRAP_EMULATED;
}

static enum trap_emulation store(struct operation *op, uintptr_t address, unsigned width, uint64_t value)
{
	const struct trap_region *region = trap_region_find(address);

	if (!region)
		return trap_copy((void *)address, &value, width) ? bad_operand(op, address, true) : TRAP_EMULATED;
	if (width > region->base + region->size - address)
		return bad_operand(op, region->base + region->size, true);
	op->region = region;
	region->ops.write(region->opaque, address - region->base, width, value & mask(width));
	return TRAP_EMULATED;
}

static unsigned operand_width(const struct operation *op, unsigned i)
{
	return op->code.operands[i].size / 8;
}

static bool operand_address(const struct operation *op, unsigned i, uintptr_t *address)
{
	return decode_address(op->uc, &op->code, &op->code.operands[i], address);
}

/* Whether operands 0 to count-1 are such that get() and put() cannot fail to understand them. */
static bool plain_operands(const struct operation *op, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		const ZydisDecodedOperand *operand = &op->code.operands[i];
		unsigned shift, width = operand_width(op, i);
		uintptr_t address;

		if (width != 1 && width != 2 && width != 4 && width != 8)
			return false;
		if (operand->type == ZYDIS_OPERAND_TYPE_REGISTER && decode_register(operand->reg.value, &shift) < 0)
			return false;
		if (operand->type == ZYDIS_OPERAND_TYPE_MEMORY && !operand_address(op, i, &address))
			return false;
		if (operand->type == ZYDIS_OPERAND_TYPE_POINTER)
			return false;
	}
	return op->code.instruction.operand_count >= count;
}

static enum trap_emulation get(struct operation *op, unsigned i, uint64_t *value)
{
	const ZydisDecodedOperand *operand = &op->code.operands[i];
	unsigned width = operand_width(op, i), shift = 0;
	uintptr_t address = 0;
	int reg;

	switch (operand->type) {
	case ZYDIS_OPERAND_TYPE_REGISTER:
		reg = decode_register(operand->reg.value, &shift);
		*value = (uint64_t)GREG(op, reg) >> shift & mask(width);
		return TRAP_EMULATED;
	case ZYDIS_OPERAND_TYPE_IMMEDIATE:
		*value = operand->imm.value.u;
		return TRAP_EMULATED;
	default:
		operand_address(op, i, &address);
		return load(op, address, width, value);
	}
}

/* Writing half of a 64-bit register clears the other half; writing less leaves the rest. [SDM 1 3.4.1.1] */
static enum trap_emulation put(struct operation *op, unsigned i, uint64_t value)
{
	const ZydisDecodedOperand *operand = &op->code.operands[i];
	unsigned width = operand_width(op, i), shift = 0;
	uintptr_t address = 0;
	uint64_t kept, whole;
	int reg;

	if (operand->type != ZYDIS_OPERAND_TYPE_REGISTER) {
		operand_address(op, i, &address);
		return store(op, address, width, value);
	}
	reg = decode_register(operand->reg.value, &shift);
	whole = (uint64_t)GREG(op, reg);
	kept = width >= 4 ? 0 : whole & ~(mask(width) << shift);
	GREG(op, reg) = (greg_t)(kept | (value & mask(width)) << shift);
	return TRAP_EMULATED;
}

/* --- Flags --- */

static bool sign(uint64_t value, unsigned width)
{
	return value >> (width * 8 - 1) & 1;
}

static unsigned result_flags(uint64_t result, unsigned width)
{
	result &= mask(width);
	return (__builtin_parity((unsigned)result & 0xff) ? 0 : FLAG_PF) | (result ? 0 : FLAG_ZF) |
	       (sign(result, width) ? FLAG_SF : 0);
}

static unsigned add_flags(uint64_t a, uint64_t b, bool carry, unsigned width)
{
	uint64_t result = (a + b + carry) & mask(width);

	a &= mask(width);
	b &= mask(width);
	return result_flags(result, width) | (result < a || (carry && result == a) ? FLAG_CF : 0) |
	       ((a ^ b ^ result) & 0x10 ? FLAG_AF : 0) | (sign((a ^ result) & (b ^ result), width) ? FLAG_OF : 0);
}

static unsigned subtract_flags(uint64_t a, uint64_t b, bool borrow, unsigned width)
{
	uint64_t result = (a - b - borrow) & mask(width);

	a &= mask(width);
	b &= mask(width);
	return result_flags(result, width) | (a < b || (borrow && a == b) ? FLAG_CF : 0) |
	       ((a ^ b ^ result) & 0x10 ? FLAG_AF : 0) | (sign((a ^ b) & (a ^ result), width) ? FLAG_OF : 0);
}

static void set_flags(struct operation *op, unsigned which, unsigned flags)
{
	MACHINE_FLAGS(op->uc) = (MACHINE_FLAGS(op->uc) & ~(greg_t)which) | (greg_t)(flags & which);
}

/* --- Instructions --- */

/* mov, movnti, movzx, movsx, movsxd */
static enum trap_emulation emulate_move(struct operation *op)
{
	ZydisMnemonic mnemonic = op->code.instruction.mnemonic;
	enum trap_emulation result;
	uint64_t value;

	if (!plain_operands(op, 2))
		return TRAP_NOT_UNDERSTOOD;
	result = get(op, 1, &value);
	if (result != TRAP_EMULATED)
		return result;
	if (mnemonic == ZYDIS_MNEMONIC_MOVSX || mnemonic == ZYDIS_MNEMONIC_MOVSXD)
		value = sign_extend(value, operand_width(op, 1));
	return put(op, 0, value);
}

static uint64_t compute(ZydisMnemonic mnemonic, uint64_t a, uint64_t b, bool carry, unsigned width, unsigned *flags)
{
	uint64_t value;

	switch (mnemonic) {
	case ZYDIS_MNEMONIC_ADC:
		*flags = add_flags(a, b, carry, width);
		return a + b + carry;
	case ZYDIS_MNEMONIC_ADD:
		*flags = add_flags(a, b, false, width);
		return a + b;
	case ZYDIS_MNEMONIC_SBB:
		*flags = subtract_flags(a, b, carry, width);
		return a - b - carry;
	case ZYDIS_MNEMONIC_SUB:
	case ZYDIS_MNEMONIC_CMP:
		*flags = subtract_flags(a, b, false, width);
		return a - b;
	case ZYDIS_MNEMONIC_OR:
		value = a | b;
		break;
	case ZYDIS_MNEMONIC_XOR:
		value = a ^ b;
		break;
	default: /* and, test */
		value = a & b;
		break;
	}
	*flags = result_flags(value, width);
	return value;
}

/* add, adc, sub, sbb, and, or, xor, cmp, test */
static enum trap_emulation emulate_binary(struct operation *op)
{
	ZydisMnemonic mnemonic = op->code.instruction.mnemonic;
	bool compare = mnemonic == ZYDIS_MNEMONIC_CMP || mnemonic == ZYDIS_MNEMONIC_TEST;
	enum trap_emulation result;
	uint64_t a, b;
	unsigned flags;

	if (!plain_operands(op, 2))
		return TRAP_NOT_UNDERSTOOD;
	result = get(op, 0, &a);
	if (result == TRAP_EMULATED)
		result = get(op, 1, &b);
	if (result != TRAP_EMULATED)
		return result;
	a = compute(mnemonic, a, b, MACHINE_FLAGS(op->uc) & FLAG_CF, operand_width(op, 0), &flags);
	if (!compare)
		result = put(op, 0, a);
	if (result == TRAP_EMULATED)
		set_flags(op, ARITHMETIC_FLAGS, flags);
	return result;
}

/* inc, dec, neg, not */
static enum trap_emulation emulate_unary(struct operation *op)
{
	unsigned width = operand_width(op, 0), which = 0, flags = 0;
	enum trap_emulation result;
	uint64_t value;

	if (!plain_operands(op, 1))
		return TRAP_NOT_UNDERSTOOD;
	result = get(op, 0, &value);
	if (result != TRAP_EMULATED)
		return result;
	switch (op->code.instruction.mnemonic) {
	case ZYDIS_MNEMONIC_INC:
		which = ARITHMETIC_FLAGS & ~FLAG_CF;
		flags = add_flags(value++, 1, false, width);
		break;
	case ZYDIS_MNEMONIC_DEC:
		which = ARITHMETIC_FLAGS & ~FLAG_CF;
		flags = subtract_flags(value--, 1, false, width);
		break;
	case ZYDIS_MNEMONIC_NEG:
		which = ARITHMETIC_FLAGS;
		flags = subtract_flags(0, value, false, width);
		value = -value;
		break;
	default:
		value = ~value;
		break;
	}
	result = put(op, 0, value);
	if (result == TRAP_EMULATED)
		set_flags(op, which, flags);
	return result;
}

/* xchg, xadd: of their operands, the one in memory is written first, because only that can fail. */
static enum trap_emulation emulate_exchange(struct operation *op)
{
	bool add = op->code.instruction.mnemonic == ZYDIS_MNEMONIC_XADD;
	unsigned memory, other;
	enum trap_emulation result;
	uint64_t a, b;

	if (!plain_operands(op, 2))
		return TRAP_NOT_UNDERSTOOD;
	memory = op->code.operands[0].type == ZYDIS_OPERAND_TYPE_MEMORY ? 0 : 1;
	other = 1 - memory;
	result = get(op, memory, &a);
	if (result == TRAP_EMULATED)
		result = get(op, other, &b);
	if (result == TRAP_EMULATED)
		result = put(op, memory, add ? a + b : b);
	if (result != TRAP_EMULATED)
		return result;
	if (add)
		set_flags(op, ARITHMETIC_FLAGS, add_flags(a, b, false, operand_width(op, 0)));
	return put(op, other, a);
}

/* Without equality memory is written too, with what it held: the processor does so. [SDM 2 CMPXCHG] */
static enum trap_emulation emulate_compare_exchange(struct operation *op)
{
	unsigned width = operand_width(op, 0);
	uint64_t memory, source, accumulator;
	enum trap_emulation result;

	/* Operand 2 is the accumulator. */
	if (!plain_operands(op, 3))
		return TRAP_NOT_UNDERSTOOD;
	result = get(op, 0, &memory);
	if (result != TRAP_EMULATED)
		return result;
	get(op, 1, &source);
	get(op, 2, &accumulator);
	result = put(op, 0, memory == accumulator ? source : memory);
	if (result != TRAP_EMULATED)
		return result;
	if (memory != accumulator)
		put(op, 2, memory);
	set_flags(op, ARITHMETIC_FLAGS, subtract_flags(accumulator, memory, false, width));
	return TRAP_EMULATED;
}

/* bt, bts, btr, btc: a bit number from a register reaches beyond the operand, in both directions. */
static enum trap_emulation emulate_bit(struct operation *op)
{
	unsigned width = operand_width(op, 0), bits = width * 8;
	enum trap_emulation result;
	uint64_t number, value, bit;
	uintptr_t address;

	if (!plain_operands(op, 2) || !operand_address(op, 0, &address))
		return TRAP_NOT_UNDERSTOOD;
	get(op, 1, &number);
	if (op->code.operands[1].type == ZYDIS_OPERAND_TYPE_REGISTER)
		address += (uintptr_t)(((int64_t)sign_extend(number, width) - (int64_t)(number % bits)) / 8);
	bit = UINT64_C(1) << number % bits;
	result = load(op, address, width, &value);
	if (result != TRAP_EMULATED)
		return result;
	switch (op->code.instruction.mnemonic) {
	case ZYDIS_MNEMONIC_BTS:
		result = store(op, address, width, value | bit);
		break;
	case ZYDIS_MNEMONIC_BTR:
		result = store(op, address, width, value & ~bit);
		break;
	case ZYDIS_MNEMONIC_BTC:
		result = store(op, address, width, value ^ bit);
		break;
	default:
		break;
	}
	if (result == TRAP_EMULATED)
		set_flags(op, FLAG_CF, value & bit ? FLAG_CF : 0);
	return result;
}

/* --- String instructions --- */

static void load_accumulator(struct operation *op, unsigned width, uint64_t value)
{
	uint64_t kept = width >= 4 ? 0 : (uint64_t)GREG(op, REG_RAX) & ~mask(width);

	GREG(op, REG_RAX) = (greg_t)(kept | value);
}

/* One element of an instruction that reads, writes or does both. */
static enum trap_emulation string_element(struct operation *op, bool reads, bool writes, unsigned width)
{
	greg_t step = MACHINE_FLAGS(op->uc) & FLAG_DF ? -(greg_t)width : (greg_t)width;
	uint64_t value = (uint64_t)GREG(op, REG_RAX);
	enum trap_emulation result = TRAP_EMULATED;

	if (reads)
		result = load(op, (uintptr_t)GREG(op, REG_RSI), width, &value);
	if (result == TRAP_EMULATED && writes)
		result = store(op, (uintptr_t)GREG(op, REG_RDI), width, value);
	if (result != TRAP_EMULATED)
		return result;
	if (!writes)
		load_accumulator(op, width, value);
	if (reads)
		GREG(op, REG_RSI) += step;
	if (writes)
		GREG(op, REG_RDI) += step;
	return TRAP_EMULATED;
}

static enum trap_emulation emulate_string(struct operation *op, bool reads, bool writes)
{
	const ZydisDecodedInstruction *instruction = &op->code.instruction;
	bool repeated =
		instruction->attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE);

	if (instruction->address_width != 64 || (instruction->attributes & ZYDIS_ATTRIB_HAS_SEGMENT))
		return TRAP_NOT_UNDERSTOOD;
	do {
		enum trap_emulation result = string_element(op, reads, writes, operand_width(op, 0));

		if (result != TRAP_EMULATED)
			return result;
		if (repeated && --GREG(op, REG_RCX) == 0)
			repeated = false;
	} while (repeated && ((reads && trap_region_find((uintptr_t)GREG(op, REG_RSI))) ||
			      (writes && trap_region_find((uintptr_t)GREG(op, REG_RDI)))));
	op->again = repeated;
	return TRAP_EMULATED;
}

static enum trap_emulation emulate_movs(struct operation *op)
{
	return emulate_string(op, true, true);
}

static enum trap_emulation emulate_stos(struct operation *op)
{
	return emulate_string(op, false, true);
}

static enum trap_emulation emulate_lods(struct operation *op)
{
	return emulate_string(op, true, false);
}

/* --- SSE and AVX moves --- */

/* The signal frame's XSAVE area, in its standard format. [SDM 1 13.4], <asm/sigcontext.h> */
enum {
	XSAVE_MAGIC_OFFSET = 464,
	XSAVE_FEATURES_OFFSET = 472, /* which components the frame has room for */
	XSAVE_BV_OFFSET = 512,       /* which components are not in their initial state */
	XSAVE_YMM_OFFSET = 576,
	XSAVE_SSE = 2,
	XSAVE_AVX = 4,
};
#define XSAVE_MAGIC 0x46505853u

static bool xsave_has(const uint8_t *area, uint64_t component)
{
	uint32_t magic;
	uint64_t features;

	memcpy(&magic, area + XSAVE_MAGIC_OFFSET, sizeof(magic));
	memcpy(&features, area + XSAVE_FEATURES_OFFSET, sizeof(features));
	return magic == XSAVE_MAGIC && (features & component);
}

/* A component in its initial state is all zeros, whatever the area holds. */
static void xsave_activate(uint8_t *area, uint64_t component, uint8_t *data, size_t size)
{
	uint64_t bv;

	if (!xsave_has(area, component))
		return;
	memcpy(&bv, area + XSAVE_BV_OFFSET, sizeof(bv));
	if (!(bv & component))
		memset(data, 0, size);
	bv |= component;
	memcpy(area + XSAVE_BV_OFFSET, &bv, sizeof(bv));
}

/* words[0..3]: the 256 bits of vector register n, from the signal frame or back to it. */
static void vector_access(struct operation *op, unsigned n, uint64_t words[4], bool write, bool upper)
{
	uint8_t *area = (uint8_t *)op->uc->uc_mcontext.fpregs;
	uint8_t *low = (uint8_t *)&op->uc->uc_mcontext.fpregs->_xmm[n], *high = area + XSAVE_YMM_OFFSET + n * 16;

	xsave_activate(area, XSAVE_SSE, (uint8_t *)op->uc->uc_mcontext.fpregs->_xmm,
		       sizeof(op->uc->uc_mcontext.fpregs->_xmm));
	memcpy(write ? low : (uint8_t *)words, write ? (uint8_t *)words : low, 16);
	if (!upper)
		return;
	xsave_activate(area, XSAVE_AVX, area + XSAVE_YMM_OFFSET, 256);
	memcpy(write ? high : (uint8_t *)(words + 2), write ? (uint8_t *)(words + 2) : high, 16);
}

/* Moves of 4 to 32 bytes between memory and the low end of a vector register, as accesses of at most 8 bytes. */
static enum trap_emulation emulate_vector(struct operation *op)
{
	bool writes = op->code.operands[0].type == ZYDIS_OPERAND_TYPE_MEMORY;
	bool vex = op->code.instruction.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX;
	ZydisRegister reg = op->code.operands[writes].reg.value;
	unsigned width = operand_width(op, !writes), n;
	enum trap_emulation result = TRAP_EMULATED;
	uint64_t words[4] = { 0 };
	uintptr_t address;

	if (op->code.instruction.operand_count_visible != 2 || !operand_address(op, !writes, &address) ||
	    op->code.operands[writes].type != ZYDIS_OPERAND_TYPE_REGISTER || (width != 4 && width % 8) || width > 32 ||
	    (!vex && op->code.instruction.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY) ||
	    (vex && !xsave_has((uint8_t *)op->uc->uc_mcontext.fpregs, XSAVE_AVX)))
		return TRAP_NOT_UNDERSTOOD;
	if (reg >= ZYDIS_REGISTER_XMM0 && reg <= ZYDIS_REGISTER_XMM15)
		n = (unsigned)(reg - ZYDIS_REGISTER_XMM0);
	else if (reg >= ZYDIS_REGISTER_YMM0 && reg <= ZYDIS_REGISTER_YMM15)
		n = (unsigned)(reg - ZYDIS_REGISTER_YMM0);
	else
		return TRAP_NOT_UNDERSTOOD;
	if (writes)
		vector_access(op, n, words, false, vex);
	for (unsigned done = 0; done < width && result == TRAP_EMULATED; done += 8) {
		unsigned piece = width - done < 8 ? width - done : 8;

		if (writes)
			result = store(op, address + done, piece, words[done / 8]);
		else
			result = load(op, address + done, piece, &words[done / 8]);
	}
	if (!writes && result == TRAP_EMULATED)
		vector_access(op, n, words, true, vex);
	return result;
}

/* movsd is two instructions. */
static enum trap_emulation emulate_movsd(struct operation *op)
{
	return op->code.instruction.meta.category == ZYDIS_CATEGORY_STRINGOP ? emulate_movs(op) : emulate_vector(op);
}

static const struct {
	ZydisMnemonic mnemonic;
	enum trap_emulation (*emulate)(struct operation *op);
} emulations[] = {
	{ ZYDIS_MNEMONIC_MOV, emulate_move },
	{ ZYDIS_MNEMONIC_MOVNTI, emulate_move },
	{ ZYDIS_MNEMONIC_MOVZX, emulate_move },
	{ ZYDIS_MNEMONIC_MOVSX, emulate_move },
	{ ZYDIS_MNEMONIC_MOVSXD, emulate_move },
	{ ZYDIS_MNEMONIC_ADD, emulate_binary },
	{ ZYDIS_MNEMONIC_ADC, emulate_binary },
	{ ZYDIS_MNEMONIC_SUB, emulate_binary },
	{ ZYDIS_MNEMONIC_SBB, emulate_binary },
	{ ZYDIS_MNEMONIC_AND, emulate_binary },
	{ ZYDIS_MNEMONIC_OR, emulate_binary },
	{ ZYDIS_MNEMONIC_XOR, emulate_binary },
	{ ZYDIS_MNEMONIC_CMP, emulate_binary },
	{ ZYDIS_MNEMONIC_TEST, emulate_binary },
	{ ZYDIS_MNEMONIC_INC, emulate_unary },
	{ ZYDIS_MNEMONIC_DEC, emulate_unary },
	{ ZYDIS_MNEMONIC_NEG, emulate_unary },
	{ ZYDIS_MNEMONIC_NOT, emulate_unary },
	{ ZYDIS_MNEMONIC_XCHG, emulate_exchange },
	{ ZYDIS_MNEMONIC_XADD, emulate_exchange },
	{ ZYDIS_MNEMONIC_CMPXCHG, emulate_compare_exchange },
	{ ZYDIS_MNEMONIC_BT, emulate_bit },
	{ ZYDIS_MNEMONIC_BTS, emulate_bit },
	{ ZYDIS_MNEMONIC_BTR, emulate_bit },
	{ ZYDIS_MNEMONIC_BTC, emulate_bit },
	{ ZYDIS_MNEMONIC_MOVSB, emulate_movs },
	{ ZYDIS_MNEMONIC_MOVSW, emulate_movs },
	{ ZYDIS_MNEMONIC_MOVSQ, emulate_movs },
	{ ZYDIS_MNEMONIC_MOVSD, emulate_movsd },
	{ ZYDIS_MNEMONIC_STOSB, emulate_stos },
	{ ZYDIS_MNEMONIC_STOSW, emulate_stos },
	{ ZYDIS_MNEMONIC_STOSD, emulate_stos },
	{ ZYDIS_MNEMONIC_STOSQ, emulate_stos },
	{ ZYDIS_MNEMONIC_LODSB, emulate_lods },
	{ ZYDIS_MNEMONIC_LODSW, emulate_lods },
	{ ZYDIS_MNEMONIC_LODSD, emulate_lods },
	{ ZYDIS_MNEMONIC_LODSQ, emulate_lods },
	{ ZYDIS_MNEMONIC_MOVD, emulate_vector },
	{ ZYDIS_MNEMONIC_MOVQ, emulate_vector },
	{ ZYDIS_MNEMONIC_MOVSS, emulate_vector },
	{ ZYDIS_MNEMONIC_MOVUPS, emulate_vector },
	{ ZYDIS_MNEMONIC_MOVUPD, emulate_vector },
	{ ZYDIS_MNEMONIC_MOVAPS, emulate_vector },
	{ ZYDIS_MNEMONIC_MOVAPD, emulate_vector },
	{ ZYDIS_MNEMONIC_MOVDQU, emulate_vector },
	{ ZYDIS_MNEMONIC_MOVDQA, emulate_vector },
	{ ZYDIS_MNEMONIC_MOVNTPS, emulate_vector },
	{ ZYDIS_MNEMONIC_MOVNTPD, emulate_vector },
	{ ZYDIS_MNEMONIC_MOVNTDQ, emulate_vector },
	{ ZYDIS_MNEMONIC_MOVNTDQA, emulate_vector },
	{ ZYDIS_MNEMONIC_LDDQU, emulate_vector },
	{ ZYDIS_MNEMONIC_VMOVD, emulate_vector },
	{ ZYDIS_MNEMONIC_VMOVQ, emulate_vector },
	{ ZYDIS_MNEMONIC_VMOVSS, emulate_vector },
	{ ZYDIS_MNEMONIC_VMOVUPS, emulate_vector },
	{ ZYDIS_MNEMONIC_VMOVUPD, emulate_vector },
	{ ZYDIS_MNEMONIC_VMOVAPS, emulate_vector },
	{ ZYDIS_MNEMONIC_VMOVAPD, emulate_vector },
	{ ZYDIS_MNEMONIC_VMOVDQU, emulate_vector },
	{ ZYDIS_MNEMONIC_VMOVDQA, emulate_vector },
	{ ZYDIS_MNEMONIC_VMOVNTPS, emulate_vector },
	{ ZYDIS_MNEMONIC_VMOVNTPD, emulate_vector },
	{ ZYDIS_MNEMONIC_VMOVNTDQ, emulate_vector },
	{ ZYDIS_MNEMONIC_VMOVNTDQA, emulate_vector },
	{ ZYDIS_MNEMONIC_VLDDQU, emulate_vector },
	{ ZYDIS_MNEMONIC_VMOVSD, emulate_vector },
};

enum trap_emulation trap_emulate(ucontext_t *uc, const struct trap_region **region, struct trap_fault *fault)
{
	struct operation op = { .uc = uc, .fault = fault };
	enum trap_emulation result;

	if (!decode((uintptr_t)MACHINE_PC(uc), &op.code))
		return TRAP_NOT_UNDERSTOOD;
	for (size_t i = 0; i < sizeof(emulations) / sizeof(emulations[0]); i++) {
		if (emulations[i].mnemonic != op.code.instruction.mnemonic)
			continue;
		result = emulations[i].emulate(&op);
		if (result == TRAP_EMULATED && !op.again)
			MACHINE_PC(uc) += op.code.instruction.length;
		*region = op.region;
		return result;
	}
	return TRAP_NOT_UNDERSTOOD;
}
