/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Every form of instruction that trap/emulate.c performs. */
#include "forms.h"

__asm__(".macro form text\n"
	".pushsection driver_text, \"ax\"\n"
	"8:\n"
	"	\\text\n"
	"	ret\n"
	".popsection\n"
	".pushsection .rodata\n"
	"9:	.asciz \"\\text\"\n"
	".popsection\n"
	".pushsection forms_data, \"aw\"\n"
	"	.quad 8b, 9b\n"
	".popsection\n"
	".endm\n"
	".pushsection driver_text, \"ax\"\n"
	".globl driver_text_begin\n"
	"driver_text_begin:\n"
	".popsection\n"
	".pushsection forms_data, \"aw\"\n"
	".balign 8\n"
	".globl forms\n"
	"forms:\n"
	".popsection\n");

/* The text once for each word of the list, which replaces OP in it. */
#define OP "\\op"
#define FORMS(list, text) __asm__(".irp op, " list "\n	form \"" text "\"\n.endr\n");
#define FORM(text) __asm__("form \"" text "\"\n");

#define BINARY "mov, add, adc, sub, sbb, and, or, xor, cmp, test"
#define BINARY_TO_REGISTER "mov, add, adc, sub, sbb, and, or, xor, cmp"
#define EXCHANGES "xchg, xadd, \"lock xadd\", cmpxchg, \"lock cmpxchg\""
#define UNARY "inc, dec, neg, not, \"lock inc\", \"lock dec\", \"lock neg\", \"lock not\""
#define BITS "bt, bts, btr, btc"
#define SIZES "b, w, l, q"

/* Registers of every width, the high bytes and the new ones; every way to state an address. */
FORMS(BINARY, OP " %al, (%rdi)")
FORMS(BINARY, OP " %ch, 8(%rdi)")
FORMS(BINARY, OP " %r10b, 5(%rdi, %rbx, 2)")
FORMS(BINARY, OP " %ax, (%rdi)")
FORMS(BINARY, OP " %r11w, -7(%rdi, %rbx)")
FORMS(BINARY, OP " %eax, (%rdi)")
FORMS(BINARY, OP " %r12d, 0x80(%rdi, %rbx, 8)")
FORMS(BINARY, OP " %rax, (%rdi)")
FORMS(BINARY, OP " %r13, 1(%rdi, %rbx, 4)")
FORMS(BINARY_TO_REGISTER, OP " (%rdi), %al")
FORMS(BINARY_TO_REGISTER, OP " 8(%rdi), %bh")
FORMS(BINARY_TO_REGISTER, OP " 5(%rdi, %rbx, 2), %sil")
FORMS(BINARY_TO_REGISTER, OP " (%rdi), %dx")
FORMS(BINARY_TO_REGISTER, OP " (%rdi), %eax")
FORMS(BINARY_TO_REGISTER, OP " 0x80(%rdi, %rbx, 8), %r12d")
FORMS(BINARY_TO_REGISTER, OP " (%rdi), %r14")
FORM("mov (%rdi), %rdi")
FORMS(BINARY_TO_REGISTER, OP " 1(%rdi, %rbx, 4), %r13")

/* Equal operands and all ones, where the carry that comes in decides about the one that goes out. */
FORM("mov (%rsi), %al; mov %al, (%rdi); sbb %al, (%rdi)")
FORM("mov (%rsi), %rax; mov %rax, (%rdi); sbb %rax, (%rdi)")
FORM("mov $-1, %rax; adc %al, (%rdi)")
FORM("mov $-1, %rax; adc %rax, (%rdi)")

/* Immediate operands, sign-extended ones among them. */
FORMS(BINARY, OP "\\()b $0x5a, (%rdi)")
FORMS(BINARY, OP "\\()w $0x7654, (%rdi)")
FORMS(BINARY, OP "\\()w $-3, 2(%rdi)")
FORMS(BINARY, OP "\\()l $0x5a, (%rdi)")
FORMS(BINARY, OP "\\()l $-0x7654321, 4(%rdi)")
FORMS(BINARY, OP "\\()q $-3, (%rdi)")
FORMS(BINARY, OP "\\()q $0x7654321, -8(%rdi)")
FORMS("add, adc, sub, sbb, and, or, xor", "lock " OP "\\()l $0x11, (%rdi)")
FORMS("add, adc, sub, sbb, and, or, xor", "lock " OP "\\()q %rdx, (%rdi)")

FORMS(UNARY, OP "\\()b (%rdi)")
FORMS(UNARY, OP "\\()w (%rdi)")
FORMS(UNARY, OP "\\()l 3(%rdi)")
FORMS(UNARY, OP "\\()q (%rdi)")

FORMS(EXCHANGES, OP " %cl, (%rdi)")
FORMS(EXCHANGES, OP " %dh, (%rdi)")
FORMS(EXCHANGES, OP " %cx, (%rdi)")
FORMS(EXCHANGES, OP " %r9d, (%rdi)")
FORMS(EXCHANGES, OP " %r9, (%rdi)")
/* The accumulator as memory is, so that the exchange takes place. */
FORM("mov (%rsi), %al; mov %al, (%rdi); cmpxchg %cl, (%rdi)")
FORM("mov (%rsi), %ax; mov %ax, (%rdi); cmpxchg %cx, (%rdi)")
FORM("mov $-1, %rax; mov (%rsi), %eax; mov %eax, (%rdi); cmpxchg %ecx, (%rdi)")
FORM("mov (%rsi), %rax; mov %rax, (%rdi); lock cmpxchg %rcx, (%rdi)")

/* Bit numbers in the operand and, from registers, hundreds of bits away on either side. */
FORMS(BITS, OP "\\()w $0x47, (%rdi)")
FORMS(BITS, OP "\\()l $0x47, (%rdi)")
FORMS(BITS, OP "\\()q $0x47, (%rdi)")
FORMS(BITS, "movswq %ax, %rax; sar $6, %rax; " OP " %ax, (%rdi)")
FORMS(BITS, "movswq %ax, %rax; sar $6, %rax; " OP " %eax, (%rdi)")
FORMS(BITS, "movswq %ax, %rax; sar $6, %rax; " OP " %rax, (%rdi)")
FORM("lock btsl $3, (%rdi)")

FORMS("movzb, movsb, movzw, movsw", OP "\\()l 1(%rdi), %edx")
FORMS("movzb, movsb, movzw, movsw, movsl", OP "\\()q 1(%rdi), %rdx")
FORMS("movzb, movsb", OP "\\()w 1(%rdi), %dx")
FORM("movntil %eax, (%rdi)")
FORM("movntiq %rax, 8(%rdi)")

/* String instructions: one element, several, downwards, from and to the memory, and within it. */
FORMS(SIZES, "stos" OP)
FORMS(SIZES, "mov $7, %ecx; rep stos" OP)
FORMS(SIZES, "mov $5, %ecx; std; rep stos" OP "; cld")
FORMS(SIZES, "movs" OP)
FORMS(SIZES, "mov $9, %ecx; rep movs" OP)
FORMS(SIZES, "mov $4, %ecx; std; rep movs" OP "; cld")
FORMS(SIZES, "xchg %rsi, %rdi; mov $6, %ecx; rep movs" OP)
FORMS(SIZES, "xchg %rsi, %rdi; lods" OP)
FORMS(SIZES, "xchg %rsi, %rdi; mov $3, %ecx; rep lods" OP)
FORMS(SIZES, "mov %rdi, %rsi; add $64, %rdi; mov $11, %ecx; rep movs" OP)

#define ANY_16_BYTES "movups, movupd, movdqu, movaps, movapd, movdqa"
FORMS(ANY_16_BYTES, OP " (%rdi), %xmm1")
FORMS(ANY_16_BYTES, OP " %xmm9, (%rdi)")
FORMS("movntps, movntpd, movntdq", OP " %xmm2, (%rdi)")
FORMS("lddqu, movntdqa, movss, movsd, movd, movq", OP " (%rdi), %xmm15")
FORMS("movss, movsd, movd, movq", OP " %xmm5, (%rdi)")

/* Those that begin with v are run only where the processor has AVX. */
FORMS("vmovups, vmovdqu, vmovaps, vmovdqa", OP " (%rdi), %xmm1")
FORMS("vmovups, vmovdqu, vmovaps, vmovdqa", OP " %xmm9, (%rdi)")
FORMS("vmovss, vmovsd, vmovd, vmovq", OP " (%rdi), %xmm15")
FORMS("vmovss, vmovsd, vmovd, vmovq", OP " %xmm5, (%rdi)")
FORMS("vmovups, vmovdqu", OP " (%rdi), %ymm1; vextractf128 $1, %ymm1, %xmm2; vzeroupper")
FORMS("vinsertf128", OP " $1, %xmm3, %ymm9, %ymm9; vmovdqu %ymm9, (%rdi); vzeroupper")
FORMS("vinsertf128", OP " $1, %xmm3, %ymm9, %ymm9; vmovdqu (%rdi), %xmm9; vextractf128 $1, %ymm9, %xmm2")

__asm__(".pushsection driver_text, \"ax\"\n"
	".globl driver_text_end\n"
	"driver_text_end:\n"
	"	ud2\n"
	".popsection\n"
	".pushsection forms_data, \"aw\"\n"
	".globl forms_end\n"
	"forms_end:\n"
	"	.quad 0, 0\n"
	".popsection\n");
