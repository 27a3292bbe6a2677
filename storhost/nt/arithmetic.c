/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What compilers call without being told to: arithmetic of 64 bits and interlocked operations (x86), stack probes. */
#include "nt/kernel.h"

#ifdef __x86_64__
/* The probe of a large frame: RAX bytes. A stack ends at a page that faults, wherever it is touched. */
__asm__(".pushsection .text\n"
	".hidden arithmetic_probe\n"
	".globl arithmetic_probe\n"
	"arithmetic_probe:\n"
	"ret\n"
	".popsection\n");
void arithmetic_probe(void) __attribute__((visibility("hidden")));

const struct export_entry arithmetic_exports[] = {
	ENTRY("__chkstk", arithmetic_probe),
	{ NULL, NULL },
};
#else
/* Its frame: the remainder, then the arguments of the C function, of which the last is where that goes. */
#define DIVISION(name, function)                                                                                       \
	".hidden " name "\n"                                                                                           \
	".globl " name "\n" name ":\n"                                                                                 \
	"sub $8, %esp\n"                                                                                               \
	"mov %esp, %ecx\n"                                                                                             \
	"push %ecx\n"                                                                                                  \
	"push 28(%esp)\n"                                                                                              \
	"push 28(%esp)\n"                                                                                              \
	"push 28(%esp)\n"                                                                                              \
	"push 28(%esp)\n"                                                                                              \
	"call " function "\n"                                                                                          \
	"add $20, %esp\n"                                                                                              \
	"pop %ecx\n"                                                                                                   \
	"pop %ebx\n"                                                                                                   \
	"ret $16\n"

/*
 * Registers of their own: the probe takes EAX bytes off the stack; shifts take EDX:EAX by CL; the division with
 * remainder takes both operands from the stack, like the others, and returns its remainder in EBX:ECX.
 */
__asm__(".pushsection .text\n"
	".hidden arithmetic_probe\n"
	".globl arithmetic_probe\n"
	"arithmetic_probe:\n"
	"push %ecx\n"
	"lea 8(%esp), %ecx\n"
	"sub %eax, %ecx\n"
	"mov %esp, %eax\n"
	"mov %ecx, %esp\n"
	"mov (%eax), %ecx\n"
	"jmp *4(%eax)\n"

	".hidden arithmetic_shift_left\n"
	".globl arithmetic_shift_left\n"
	"arithmetic_shift_left:\n"
	"cmp $64, %cl\n"
	"jae 2f\n"
	"cmp $32, %cl\n"
	"jae 1f\n"
	"shld %cl, %eax, %edx\n"
	"shl %cl, %eax\n"
	"ret\n"
	"1: mov %eax, %edx\n"
	"shl %cl, %edx\n"
	"xor %eax, %eax\n"
	"ret\n"
	"2: xor %eax, %eax\n"
	"xor %edx, %edx\n"
	"ret\n"

	".hidden arithmetic_shift_right\n"
	".globl arithmetic_shift_right\n"
	"arithmetic_shift_right:\n"
	"cmp $64, %cl\n"
	"jae 2b\n"
	"cmp $32, %cl\n"
	"jae 3f\n"
	"shrd %cl, %edx, %eax\n"
	"shr %cl, %edx\n"
	"ret\n"
	"3: mov %edx, %eax\n"
	"shr %cl, %eax\n"
	"xor %edx, %edx\n"
	"ret\n"

	".hidden arithmetic_shift_signed\n"
	".globl arithmetic_shift_signed\n"
	"arithmetic_shift_signed:\n"
	"cmp $32, %cl\n"
	"jae 4f\n"
	"shrd %cl, %edx, %eax\n"
	"sar %cl, %edx\n"
	"ret\n"
	"4: mov %edx, %eax\n"
	"sar $31, %edx\n"
	"cmp $64, %cl\n"
	"jae 5f\n"
	"sar %cl, %eax\n"
	"ret\n"
	"5: mov %edx, %eax\n"
	"ret\n"

	DIVISION("arithmetic_divide_unsigned", "arithmetic_unsigned")
		DIVISION("arithmetic_divide_signed", "arithmetic_signed") ".popsection\n");
void arithmetic_probe(void) __attribute__((visibility("hidden")));
void arithmetic_shift_left(void) __attribute__((visibility("hidden")));
void arithmetic_shift_right(void) __attribute__((visibility("hidden")));
void arithmetic_shift_signed(void) __attribute__((visibility("hidden")));
void arithmetic_divide_unsigned(void) __attribute__((visibility("hidden")));
void arithmetic_divide_signed(void) __attribute__((visibility("hidden")));
uint64_t arithmetic_unsigned(uint64_t a, uint64_t b, uint64_t *remainder) __attribute__((visibility("hidden"), used));
int64_t arithmetic_signed(int64_t a, int64_t b, int64_t *remainder) __attribute__((visibility("hidden"), used));

static void check_divisor(uint64_t divisor, uintptr_t pc)
{
	if (!divisor)
		kernel_stop(pc, "a number of 64 bits is divided by 0");
}

uint64_t arithmetic_unsigned(uint64_t a, uint64_t b, uint64_t *remainder)
{
	check_divisor(b, CALLER);
	*remainder = a % b;
	return a / b;
}

int64_t arithmetic_signed(int64_t a, int64_t b, int64_t *remainder)
{
	check_divisor((uint64_t)b, CALLER);
	*remainder = a % b;
	return a / b;
}

static int64_t NTAPI divide(int64_t a, int64_t b)
{
	check_divisor((uint64_t)b, CALLER);
	return a / b;
}

static uint64_t NTAPI divide_unsigned(uint64_t a, uint64_t b)
{
	check_divisor(b, CALLER);
	return a / b;
}

static int64_t NTAPI remainder_of(int64_t a, int64_t b)
{
	check_divisor((uint64_t)b, CALLER);
	return a % b;
}

static uint64_t NTAPI remainder_unsigned(uint64_t a, uint64_t b)
{
	check_divisor(b, CALLER);
	return a % b;
}

static uint64_t NTAPI multiply(uint64_t a, uint64_t b)
{
	return a * b;
}

/* ---- interlocked operations on a word of the driver's ---- */

static void word_probe(LONG *word, uintptr_t pc)
{
	LONG value;

	if (!guest_read(&value, word, sizeof(value), pc))
		kernel_stop(pc, "the word at %p is not there", (void *)word);
}

static LONG FASTCALL increment(LONG *word)
{
	word_probe(word, CALLER);
	return __atomic_add_fetch(word, 1, __ATOMIC_SEQ_CST);
}

static LONG FASTCALL decrement(LONG *word)
{
	word_probe(word, CALLER);
	return __atomic_sub_fetch(word, 1, __ATOMIC_SEQ_CST);
}

static LONG FASTCALL exchange(LONG *word, LONG value)
{
	word_probe(word, CALLER);
	return __atomic_exchange_n(word, value, __ATOMIC_SEQ_CST);
}

static LONG FASTCALL exchange_add(LONG *word, LONG value)
{
	word_probe(word, CALLER);
	return __atomic_fetch_add(word, value, __ATOMIC_SEQ_CST);
}

static LONG FASTCALL compare_exchange(LONG *word, LONG value, LONG comparand)
{
	word_probe(word, CALLER);
	__atomic_compare_exchange_n(word, &comparand, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	return comparand;
}

const struct export_entry arithmetic_exports[] = {
	ENTRY("InterlockedCompareExchange", compare_exchange),
	ENTRY("InterlockedDecrement", decrement),
	ENTRY("InterlockedExchange", exchange),
	ENTRY("InterlockedExchangeAdd", exchange_add),
	ENTRY("InterlockedIncrement", increment),
	ENTRY("_alldiv", divide),
	ENTRY("_alldvrm", arithmetic_divide_signed),
	ENTRY("_allmul", multiply),
	ENTRY("_allrem", remainder_of),
	ENTRY("_allshl", arithmetic_shift_left),
	ENTRY("_allshr", arithmetic_shift_signed),
	ENTRY("_aulldiv", divide_unsigned),
	ENTRY("_aulldvrm", arithmetic_divide_unsigned),
	ENTRY("_aullrem", remainder_unsigned),
	ENTRY("_aullshr", arithmetic_shift_right),
	ENTRY("_chkstk", arithmetic_probe),
	{ NULL, NULL },
};
#endif
