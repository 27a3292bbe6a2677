/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Every form of instruction does to a trap region exactly what the processor does to memory: the same instruction, from
 * the same random registers, is run on both, and all registers, flags and memory are compared. Between, a hook runs
 * that destroys every register it can.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fixture.h"
#include "forms.h"
#include "run_driver.h"

#define SIZE 8192u
#define ROUNDS 40

enum { CF = 0x001, PF = 0x004, AF = 0x010, ZF = 0x040, SF = 0x080, DF = 0x400, OF = 0x800 };

/* What an instruction works on: the memory that may be a region's, and plain memory beside it. */
struct arena {
	uint8_t *memory, *beside;
	uintptr_t base; /* where the instruction finds `memory` */
};

static uint8_t plain[SIZE] __attribute__((aligned(4096))), plain_beside[SIZE] __attribute__((aligned(4096)));
static uint8_t shadow[SIZE] __attribute__((aligned(4096))), shadow_beside[SIZE] __attribute__((aligned(4096)));
static void *region;
static unsigned accesses, hooks;

static uint64_t region_read(void *opaque, uint64_t offset, unsigned width)
{
	uint64_t value = 0xa5a5a5a5a5a5a5a5;

	assert_ptr_equal(opaque, shadow);
	assert_true(width == 1 || width == 2 || width == 4 || width == 8);
	assert_true(offset <= SIZE - width);
	memcpy(&value, shadow + offset, width);
	accesses++;
	return value;
}

static void region_write(void *opaque, uint64_t offset, unsigned width, uint64_t value)
{
	assert_ptr_equal(opaque, shadow);
	assert_true(width == 1 || width == 2 || width == 4 || width == 8);
	assert_true(offset <= SIZE - width);
	assert_true(width == 8 || value >> width * 8 == 0);
	memcpy(shadow + offset, &value, width);
	accesses++;
}

static void destroy_registers(void *opaque)
{
	const uint32_t odd_mxcsr = 0x3fc0;
	const uint16_t odd_x87 = 0x0c3f;

	assert_ptr_equal(opaque, shadow);
	hooks++;
	__asm__ volatile("fldcw %0\n	fldpi\n	ldmxcsr %1\n"
			 "pcmpeqd %%xmm0, %%xmm0\n	movaps %%xmm0, %%xmm1\n	movaps %%xmm0, %%xmm2\n"
			 "movaps %%xmm0, %%xmm3\n	movaps %%xmm0, %%xmm4\n	movaps %%xmm0, %%xmm5\n"
			 "movaps %%xmm0, %%xmm6\n	movaps %%xmm0, %%xmm7\n	movaps %%xmm0, %%xmm8\n"
			 "movaps %%xmm0, %%xmm9\n	movaps %%xmm0, %%xmm10\n	movaps %%xmm0, %%xmm11\n"
			 "movaps %%xmm0, %%xmm12\n	movaps %%xmm0, %%xmm13\n	movaps %%xmm0, %%xmm14\n"
			 "movaps %%xmm0, %%xmm15\n"
			 "mov $-1, %%rax\n	mov %%rax, %%rcx\n	mov %%rax, %%rdx\n	mov %%rax, %%rsi\n"
			 "mov %%rax, %%rdi\n	mov %%rax, %%r8\n	mov %%rax, %%r9\n	mov %%rax, %%r10\n"
			 "mov %%rax, %%r11\n	add %%rax, %%rax\n"
			 :
			 : "m"(odd_x87), "m"(odd_mxcsr)
			 : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "xmm0", "xmm1", "xmm2", "xmm3",
			   "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
			   "xmm15", "cc");
}

static const struct trap_region_ops ops = { region_read, region_write, destroy_registers };

static uint64_t next(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
	return *seed ^ *seed >> 29;
}

static void fill(uint8_t *bytes, uint64_t *seed)
{
	for (size_t i = 0; i < SIZE; i += 8)
		memcpy(bytes + i, &(uint64_t){ next(seed) }, 8);
}

static void prepare(struct registers *registers, const struct arena *arena, uint64_t seed)
{
	fill(arena->memory, &seed);
	fill(arena->beside, &seed);
	memset(registers, 0, sizeof(*registers));
	__asm__ volatile("fxsave64 %0" : "=m"(registers->fx));
	for (unsigned i = 160; i < 416; i += 8)
		memcpy(registers->fx + i, &(uint64_t){ next(&seed) }, 8);
	for (unsigned i = 0; i < REGISTERS; i++)
		registers->general[i] = next(&seed);
	registers->general[RBX] = next(&seed) % 16;
	registers->general[RDI] = arena->base + SIZE / 2;
	registers->general[RSI] = (uintptr_t)arena->beside + SIZE / 2;
	registers->flags = 0x202 | (next(&seed) & (CF | PF | AF | ZF | SF | OF));
}

/* A pointer into one of the arena's memories as an offset, another number as it is. */
static uint64_t normalized(uint64_t value, const struct arena *arena)
{
	if (value - arena->base <= SIZE)
		return value - arena->base;
	if (value - (uintptr_t)arena->beside <= SIZE)
		return SIZE * 2 + value - (uintptr_t)arena->beside;
	return value;
}

/* Flags that the instruction defines. [SDM 2] */
static unsigned defined_flags(const char *text)
{
	unsigned flags = CF | PF | AF | ZF | SF | DF | OF;

	if (strstr(text, "bt"))
		return CF | ZF | DF;
	if (strstr(text, "and") || strstr(text, "or") || strstr(text, "test"))
		flags &= ~AF;
	return flags;
}

static void compare(const struct form *form, const struct registers *real, const struct arena *real_arena,
		    const struct registers *ours, const struct arena *our_arena)
{
	unsigned flags = defined_flags(form->text);

	for (unsigned i = 0; i < REGISTERS; i++)
		if (normalized(real->general[i], real_arena) != normalized(ours->general[i], our_arena))
			fail_msg("%s: register %u is %#llx instead of %#llx", form->text, i,
				 (unsigned long long)ours->general[i], (unsigned long long)real->general[i]);
	if ((real->flags & flags) != (ours->flags & flags))
		fail_msg("%s: flags are %#llx instead of %#llx", form->text, (unsigned long long)ours->flags & flags,
			 (unsigned long long)real->flags & flags);
	/* Control and status words, mxcsr, x87 and vector registers; not the addresses of the last x87 instruction. */
	if (memcmp(real->fx, ours->fx, 5) || memcmp(real->fx + 24, ours->fx + 24, 4) ||
	    memcmp(real->fx + 32, ours->fx + 32, 416 - 32))
		fail_msg("%s: x87 or vector registers differ", form->text);
	if (memcmp(real_arena->memory, our_arena->memory, SIZE))
		fail_msg("%s: memory differs", form->text);
	if (memcmp(real_arena->beside, our_arena->beside, SIZE))
		fail_msg("%s: memory beside differs", form->text);
}

static void test_each_form_does_to_a_region_what_it_does_to_memory(void **state)
{
	const struct arena real_arena = { plain, plain_beside, (uintptr_t)plain };
	const struct arena our_arena = { shadow, shadow_beside, (uintptr_t)region };
	unsigned count = 0;

	(void)state;
	fixture_arm();
	for (const struct form *form = forms; form < forms_end; form++) {
		if (form->text[0] == 'v' && !__builtin_cpu_supports("avx"))
			continue;
		for (unsigned round = 0; round < ROUNDS; round++) {
			struct registers real, ours;

			prepare(&real, &real_arena, round);
			prepare(&ours, &our_arena, round);
			accesses = hooks = 0;
			assert_int_equal(run_driver(&real, form->code, NULL), 0);
			assert_int_equal(accesses, 0);
			if (run_driver(&ours, form->code, NULL))
				fail_msg("%s: kind %d at %s", form->text, fixture_fault.kind, fixture_fault.text);
			if (!accesses || !hooks || hooks > 2)
				fail_msg("%s: %u accesses, %u hooks", form->text, accesses, hooks);
			compare(form, &real, &real_arena, &ours, &our_arena);
		}
		count++;
	}
	assert_true(count > 400);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_form_does_to_a_region_what_it_does_to_memory),
	};
	struct error err;

	if (fixture_init())
		return 1;
	region = trap_region_create(SIZE, &ops, shadow, &err);
	return region ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
