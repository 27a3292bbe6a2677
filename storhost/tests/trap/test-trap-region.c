/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Trap regions: which accesses their callbacks see, when the hook runs and where, and what they are after their end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include <pthread.h>

#include "fixture.h"
#include "run_driver.h"

#define PAGE 4096u

struct access {
	uint64_t offset, value;
	unsigned width;
	bool write;
};

static struct access seen[64];
static unsigned accesses, hooks;
static uintptr_t hook_stack;
static uint8_t *region;

static void note(uint64_t offset, unsigned width, bool write, uint64_t value)
{
	assert_true(accesses < sizeof(seen) / sizeof(seen[0]));
	seen[accesses++] = (struct access){ offset, value, width, write };
}

static uint64_t region_read(void *opaque, uint64_t offset, unsigned width)
{
	(void)opaque;
	note(offset, width, false, 0);
	/* More than the width is ours to return: the rest must not reach the driver. */
	return 0xfedcba9876543210;
}

static void region_write(void *opaque, uint64_t offset, unsigned width, uint64_t value)
{
	(void)opaque;
	note(offset, width, true, value);
}

static void region_after(void *opaque)
{
	hooks++;
	hook_stack = (uintptr_t)__builtin_frame_address(0);
	if (opaque)
		run_driver_abandon();
}

static const struct trap_region_ops ops = { region_read, region_write, region_after };

static int begin(void **state)
{
	struct error err;

	(void)state;
	accesses = hooks = 0;
	region = trap_region_create(PAGE, &ops, NULL, &err);
	return region ? 0 : -1;
}

static int end(void **state)
{
	(void)state;
	trap_region_destroy(region);
	return 0;
}

static int run(struct registers *registers, const void *bytes, size_t size)
{
	fixture_arm();
	__asm__ volatile("fxsave64 %0" : "=m"(registers->fx));
	registers->flags = 0x202;
	return run_driver(registers, fixture_code(bytes, size), NULL);
}

#define RUN(registers, ...) run(registers, (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

static void expect_access(unsigned i, uint64_t offset, unsigned width, bool write, uint64_t value)
{
	assert_true(i < accesses);
	assert_int_equal(seen[i].offset, offset);
	assert_int_equal(seen[i].width, width);
	assert_int_equal(seen[i].write, write);
	assert_true(seen[i].value == value);
}

static void test_an_access_has_the_width_of_the_instruction(void **state)
{
	struct registers r = { .general[RDI] = (uintptr_t)region, .general[RAX] = 0x1122334455667788 };

	(void)state;
	/* mov [rdi+10], al; mov [rdi+12], ax; mov [rdi+14], eax; mov [rdi+18], rax; movups xmm0, [rdi+20]; ret */
	assert_int_equal(RUN(&r, 0x88, 0x47, 0x10, 0x66, 0x89, 0x47, 0x12, 0x89, 0x47, 0x14, 0x48, 0x89, 0x47, 0x18,
			     0x0f, 0x10, 0x47, 0x20, 0xc3),
			 0);
	assert_int_equal(accesses, 6);
	expect_access(0, 0x10, 1, true, 0x88);
	expect_access(1, 0x12, 2, true, 0x7788);
	expect_access(2, 0x14, 4, true, 0x55667788);
	expect_access(3, 0x18, 8, true, 0x1122334455667788);
	expect_access(4, 0x20, 8, false, 0);
	expect_access(5, 0x28, 8, false, 0);
	assert_int_equal(hooks, 5);
}

static void test_a_read_gives_no_more_than_its_width(void **state)
{
	struct registers r = { .general[RDI] = (uintptr_t)region, .general[RAX] = -1ull, .general[RCX] = -1ull };

	(void)state;
	/* mov al, [rdi]; movzx ecx, word [rdi]; ret */
	assert_int_equal(RUN(&r, 0x8a, 0x07, 0x0f, 0xb7, 0x0f, 0xc3), 0);
	assert_true(r.general[RAX] == 0xffffffffffffff10);
	assert_true(r.general[RCX] == 0x3210);
}

static void test_an_absolute_address_is_understood(void **state)
{
	struct registers r = { .general[RDI] = 0 };
	uint8_t code[11] = { 0x48, 0xa1, [10] = 0xc3 };
	uint64_t address = (uintptr_t)region + 0x18;

	(void)state;
	/* movabs rax, [region+18]; ret */
	memcpy(code + 2, &address, 8);
	assert_int_equal(run(&r, code, sizeof(code)), 0);
	assert_int_equal(accesses, 1);
	expect_access(0, 0x18, 8, false, 0);
	assert_true(r.general[RAX] == 0xfedcba9876543210);
}

static void test_an_address_relative_to_the_pc_is_understood(void **state)
{
	struct registers r = { .flags = 0x202 };
	uint8_t *code = fixture_code("\x48\x8b\x05....\xc3", 8);
	intptr_t distance = (intptr_t)(region + 0x18) - (intptr_t)(code + 7);
	int32_t displacement = (int32_t)distance;

	(void)state;
	/* mov rax, [region+18]; ret. The kernel puts mappings close to each other. */
	assert_true(displacement == distance);
	mprotect(code, PAGE, PROT_READ | PROT_WRITE);
	memcpy(code + 3, &displacement, 4);
	mprotect(code, PAGE, PROT_READ | PROT_EXEC);
	fixture_arm();
	__asm__ volatile("fxsave64 %0" : "=m"(r.fx));
	assert_int_equal(run_driver(&r, code, NULL), 0);
	expect_access(0, 0x18, 8, false, 0);
}

static void test_a_locked_exchange_reads_and_writes_once(void **state)
{
	struct registers r = { .general[RDI] = (uintptr_t)region, .general[RCX] = 5 };

	(void)state;
	/* lock cmpxchg [rdi], ecx, with an accumulator that differs: what was read is written back; ret */
	assert_int_equal(RUN(&r, 0xf0, 0x0f, 0xb1, 0x0f, 0xc3), 0);
	assert_int_equal(accesses, 2);
	expect_access(0, 0, 4, false, 0);
	expect_access(1, 0, 4, true, 0x76543210);
	assert_true(r.general[RAX] == 0x76543210);
	assert_int_equal(hooks, 1);
}

static void test_a_repeated_instruction_has_one_hook(void **state)
{
	struct registers r = { .general[RDI] = (uintptr_t)region, .general[RCX] = 6, .general[RAX] = 0x41 };

	(void)state;
	/* rep stosd; ret */
	assert_int_equal(RUN(&r, 0xf3, 0xab, 0xc3), 0);
	assert_int_equal(accesses, 6);
	expect_access(5, 20, 4, true, 0x41);
	assert_int_equal(hooks, 1);
	assert_int_equal(r.general[RCX], 0);
	assert_int_equal(r.general[RDI], (uintptr_t)region + 24);
}

/* A page of plain memory with `region` right below it: where the kernel puts the next mapping, once holes are full. */
static uint8_t *put_region_below_memory(void)
{
	struct error err;

	for (unsigned i = 0; i < 256; i++) {
		uint8_t *memory = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		region = trap_region_create(PAGE, &ops, NULL, &err);
		if (region + PAGE == memory)
			return memory;
	}
	fail_msg("no region below plain memory");
	return NULL;
}

static void test_a_repeated_instruction_goes_on_outside_a_region(void **state)
{
	static const uint8_t written[4] = { 0x42, 0x42, 0x42, 0x42 };
	struct registers r = { .general[RCX] = 6, .general[RAX] = 0x42 };
	uint8_t *behind = put_region_below_memory();

	(void)state;
	r.general[RDI] = (uintptr_t)region + PAGE - 2;
	/* rep stosb; ret */
	assert_int_equal(RUN(&r, 0xf3, 0xaa, 0xc3), 0);
	assert_int_equal(accesses, 2);
	expect_access(1, PAGE - 1, 1, true, 0x42);
	assert_memory_equal(behind, written, 4);
	assert_int_equal(behind[4], 0);
	assert_int_equal(r.general[RCX], 0);
	munmap(behind, PAGE);
}

static void test_the_hook_runs_on_the_drivers_stack(void **state)
{
	uint8_t *stack = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	for (unsigned skew = 0; skew < 16; skew += 8) {
		struct registers r = { .general[RDI] = (uintptr_t)region, .flags = 0x202 };

		fixture_arm();
		hooks = 0;
		__asm__ volatile("fxsave64 %0" : "=m"(r.fx));
		/* mov [rdi], eax; ret */
		assert_int_equal(run_driver(&r, fixture_code("\x89\x07\xc3", 3), stack + 16 * PAGE - skew), 0);
		assert_int_equal(hooks, 1);
		assert_true(hook_stack > (uintptr_t)stack && hook_stack < (uintptr_t)stack + 16 * PAGE);
		assert_int_equal(hook_stack % 16, 0);
	}
	munmap(stack, 16 * PAGE);
}

static void test_a_hook_need_not_return(void **state)
{
	struct registers r = { .flags = 0 };
	struct error err;
	uint8_t *other;

	(void)state;
	other = trap_region_create(PAGE, &ops, &err, &err);
	assert_non_null(other);
	for (unsigned i = 0; i < 3; i++) {
		r.general[RDI] = (uintptr_t)other;
		/* mov [rdi], eax; ud2 */
		assert_int_equal(RUN(&r, 0x89, 0x07, 0x0f, 0x0b), 1);
	}
	assert_int_equal(hooks, 3);
	assert_int_equal(fixture_faults, 0);
	trap_region_destroy(other);
}

static void test_host_code_is_served_without_a_hook(void **state)
{
	volatile uint32_t *reg = (volatile uint32_t *)(region + 0x40);
	uint8_t bytes[16];

	(void)state;
	fixture_arm();
	*reg = 0xabcd;
	assert_int_equal(*reg, 0x76543210);
	memcpy(bytes, region + 8, 4);
	assert_int_equal(bytes[0], 0x10);
	assert_int_equal(hooks, 0);
	assert_int_equal(accesses, 3);
	expect_access(0, 0x40, 4, true, 0xabcd);
}

static void *access_from_a_thread(void *opaque)
{
	struct error err;

	if (trap_thread_init(&err) || trap_thread_init(&err))
		return NULL;
	for (unsigned i = 0; i < 20; i++)
		*(volatile uint16_t *)region = 1;
	trap_thread_exit();
	return opaque;
}

static void test_each_thread_may_touch_a_region(void **state)
{
	pthread_t thread;
	void *result;

	(void)state;
	fixture_arm();
	assert_int_equal(pthread_create(&thread, NULL, access_from_a_thread, region), 0);
	assert_int_equal(pthread_join(thread, &result), 0);
	assert_ptr_equal(result, region);
	assert_int_equal(accesses, 20);
}

static void test_an_access_beyond_the_end_is_a_fault(void **state)
{
	struct registers r = { .general[RDI] = (uintptr_t)region + PAGE - 2 };

	(void)state;
	/* mov eax, [rdi]; ret */
	assert_int_equal(RUN(&r, 0x8b, 0x07, 0xc3), 1);
	assert_int_equal(fixture_fault.kind, TRAP_ACCESS);
	assert_int_equal(fixture_fault.address, (uintptr_t)region + PAGE);
	assert_false(fixture_fault.write);
	assert_int_equal(accesses, 0);
}

static void test_a_destroyed_region_is_no_memory(void **state)
{
	struct registers r = { .general[RDI] = (uintptr_t)region + 8 };

	(void)state;
	trap_region_destroy(region);
	/* mov [rdi], eax; ret */
	assert_int_equal(RUN(&r, 0x89, 0x07, 0xc3), 1);
	assert_int_equal(fixture_fault.kind, TRAP_ACCESS);
	assert_int_equal(fixture_fault.address, (uintptr_t)region + 8);
	assert_true(fixture_fault.write);
	assert_int_equal(accesses, 0);
}

static void test_a_region_is_whole_pages(void **state)
{
	struct error err = { "" };

	(void)state;
	assert_null(trap_region_create(0, &ops, NULL, &err));
	assert_null(trap_region_create(100, &ops, NULL, &err));
	assert_non_null(strstr(err.text, "no whole number of pages"));
}

#define REGION_TEST(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		REGION_TEST(test_an_access_has_the_width_of_the_instruction),
		REGION_TEST(test_a_read_gives_no_more_than_its_width),
		REGION_TEST(test_an_absolute_address_is_understood),
		REGION_TEST(test_an_address_relative_to_the_pc_is_understood),
		REGION_TEST(test_a_locked_exchange_reads_and_writes_once),
		REGION_TEST(test_a_repeated_instruction_has_one_hook),
		REGION_TEST(test_a_repeated_instruction_goes_on_outside_a_region),
		REGION_TEST(test_the_hook_runs_on_the_drivers_stack),
		REGION_TEST(test_a_hook_need_not_return),
		REGION_TEST(test_host_code_is_served_without_a_hook),
		REGION_TEST(test_each_thread_may_touch_a_region),
		REGION_TEST(test_an_access_beyond_the_end_is_a_fault),
		REGION_TEST(test_a_destroyed_region_is_no_memory),
		REGION_TEST(test_a_region_is_whole_pages),
	};

	return fixture_init() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
