/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What kills a driver is reported as what it is; what kills storhost is not the driver's. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "fixture.h"
#include "run_driver.h"

#define PAGE 4096u
#define STACK_PAGES 8u

static uint8_t *code;

static int run_on(struct registers *registers, const void *bytes, size_t size, void *stack)
{
	fixture_arm();
	__asm__ volatile("fxsave64 %0" : "=m"(registers->fx));
	registers->flags = 0x202;
	code = fixture_code(bytes, size);
	return run_driver(registers, code, stack);
}

static void expect_fault(const void *bytes, size_t size, enum trap_kind kind, size_t offset, const char *text)
{
	struct registers r = { .general[RSI] = 0x1234 };

	if (run_on(&r, bytes, size, NULL) != 1)
		fail_msg("%s: no fault", text);
	assert_int_equal(fixture_faults, 1);
	if (fixture_fault.kind != kind)
		fail_msg("%s: kind %d instead of %d", text, fixture_fault.kind, kind);
	if (fixture_fault.pc != (uintptr_t)code + offset)
		fail_msg("%s: pc off by %td", text, (ptrdiff_t)(fixture_fault.pc - (uintptr_t)code - offset));
	if (strcmp(fixture_fault.text, text))
		fail_msg("\"%s\" instead of \"%s\"", fixture_fault.text, text);
}

static const struct {
	const char *bytes;
	size_t size;
	enum trap_kind kind;
	const char *text;
} faults[] = {
	{ "\x0f\x0b", 2, TRAP_ILLEGAL, "ud2" },
	{ "\xcc", 1, TRAP_BREAKPOINT, "int3" },
	{ "\xcd\x03", 2, TRAP_BREAKPOINT, "int 0x03" },
	{ "\xcd\x2c", 2, TRAP_ASSERTION, "int 0x2C" },
	{ "\xcd\x2d", 2, TRAP_BREAKPOINT, "int 0x2D" },
	{ "\xcd\x29", 2, TRAP_FASTFAIL, "int 0x29" },
	{ "\xcd\x2e", 2, TRAP_ILLEGAL, "int 0x2E" },
	{ "\xfa", 1, TRAP_PRIVILEGED, "cli" },
	{ "\xfb", 1, TRAP_PRIVILEGED, "sti" },
	{ "\xf4", 1, TRAP_PRIVILEGED, "hlt" },
	{ "\x0f\x32", 2, TRAP_PRIVILEGED, "rdmsr" },
	{ "\x0f\x30", 2, TRAP_PRIVILEGED, "wrmsr" },
	{ "\xec", 1, TRAP_PRIVILEGED, "in al, dx" },
	{ "\xe7\x80", 2, TRAP_PRIVILEGED, "out 0x80, eax" },
	{ "\x0f\x20\xc0", 3, TRAP_PRIVILEGED, "mov rax, cr0" },
	{ "\x44\x0f\x20\xc0", 4, TRAP_PRIVILEGED, "mov rax, cr8" },
	{ "\x0f\x09", 2, TRAP_PRIVILEGED, "wbinvd" },
	{ "\x31\xd2\x31\xc9\xf7\xf1", 6, TRAP_ARITHMETIC, "div ecx" },
	{ "\x89\x06", 2, TRAP_ACCESS, "mov [rsi], eax" },
};

static void test_each_fault_is_reported_as_its_kind(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		size_t offset = faults[i].kind == TRAP_ARITHMETIC ? 4 : 0;

		expect_fault(faults[i].bytes, faults[i].size, faults[i].kind, offset, faults[i].text);
	}
}

static void test_a_wild_access_has_its_address_and_direction(void **state)
{
	struct registers r = { .general[RSI] = 0x1234 };

	(void)state;
	/* mov [rsi], eax */
	assert_int_equal(run_on(&r, "\x89\x06", 2, NULL), 1);
	assert_int_equal(fixture_fault.kind, TRAP_ACCESS);
	assert_int_equal(fixture_fault.address, 0x1234);
	assert_true(fixture_fault.write);
	/* mov eax, [rsi] */
	assert_int_equal(run_on(&r, "\x8b\x06", 2, NULL), 1);
	assert_int_equal(fixture_fault.address, 0x1234);
	assert_false(fixture_fault.write);
}

static void test_an_address_that_is_not_canonical_is_found(void **state)
{
	struct registers r = { .general[RSI] = 0xdead000000000000, .general[RBX] = 4 };

	(void)state;
	/* mov eax, [rsi+rbx*8+10] */
	assert_int_equal(run_on(&r, "\x8b\x44\xde\x10", 4, NULL), 1);
	assert_int_equal(fixture_fault.kind, TRAP_ACCESS);
	assert_true(fixture_fault.address == 0xdead000000000030);
}

static void test_a_call_to_nowhere_is_found_by_its_return_address(void **state)
{
	struct registers r = { .general[RAX] = 0x10 };

	(void)state;
	/* nop; call rax; nop */
	assert_int_equal(run_on(&r, "\x90\xff\xd0\x90", 4, NULL), 1);
	assert_int_equal(fixture_fault.kind, TRAP_ACCESS);
	assert_int_equal(fixture_fault.pc, (uintptr_t)code + 3);
	assert_int_equal(fixture_fault.address, 0x10);
}

static uint64_t unread(void *opaque, uint64_t offset, unsigned width)
{
	(void)opaque;
	(void)offset;
	(void)width;
	return 0;
}

static void unwritten(void *opaque, uint64_t offset, unsigned width, uint64_t value)
{
	(void)opaque;
	(void)offset;
	(void)width;
	(void)value;
}

static unsigned hooks;

static void count_hook(void *opaque)
{
	(void)opaque;
	hooks++;
}

static const struct trap_region_ops ops = { unread, unwritten, count_hook };

static void test_an_instruction_that_is_not_understood_is_named(void **state)
{
	struct error err;
	uint8_t *region = trap_region_create(PAGE, &ops, NULL, &err);
	struct registers r = { .general[RSI] = (uintptr_t)region + 8 };

	(void)state;
	/* imul eax, [rsi] */
	assert_int_equal(run_on(&r, "\x0f\xaf\x06", 3, NULL), 1);
	assert_int_equal(fixture_fault.kind, TRAP_UNDECODED);
	assert_int_equal(fixture_fault.pc, (uintptr_t)code);
	assert_int_equal(fixture_fault.address, (uintptr_t)region + 8);
	assert_string_equal(fixture_fault.text, "imul eax, [rsi]");
	trap_region_destroy(region);
}

static void test_the_other_side_of_a_copy_may_be_at_fault(void **state)
{
	struct error err;
	uint8_t *region = trap_region_create(PAGE, &ops, NULL, &err);
	struct registers r = { .general[RSI] = (uintptr_t)region, .general[RDI] = 0x2000, .general[RCX] = 4 };

	(void)state;
	/* rep movsb */
	assert_int_equal(run_on(&r, "\xf3\xa4", 2, NULL), 1);
	assert_int_equal(fixture_fault.kind, TRAP_ACCESS);
	assert_int_equal(fixture_fault.address, 0x2000);
	assert_true(fixture_fault.write);
	trap_region_destroy(region);
}

static uint8_t *make_stack(void)
{
	/* Much that is not there, then a few pages of stack. */
	uint8_t *base = mmap(NULL, 0x100000 + STACK_PAGES * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	mprotect(base + 0x100000, STACK_PAGES * PAGE, PROT_READ | PROT_WRITE);
	return base + 0x100000;
}

static void test_running_off_the_stack_is_reported_on_another(void **state)
{
	static const struct {
		const char *bytes;
		size_t size;
	} ways[] = {
		{ "\x50\xeb\xfd", 3 },                                      /* push rax; jmp back */
		{ "\xe8\xfb\xff\xff\xff", 5 },                              /* call itself */
		{ "\x48\x81\xec\x00\x00\x02\x00\x48\x89\x44\x24\x08", 12 }, /* sub rsp, 20000; mov [rsp+8], rax */
		{ "\x48\x89\x84\x24\x00\x80\xff\xff\x48\x89\x84\x24\x00\x70\xff\xff",
		  16 }, /* probes, as __chkstk does */
	};
	uint8_t *stack = make_stack();

	(void)state;
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		struct registers r = { .flags = 0 };

		assert_int_equal(run_on(&r, ways[i].bytes, ways[i].size, stack + STACK_PAGES * PAGE), 1);
		assert_int_equal(fixture_fault.kind, TRAP_STACK);
		assert_true(fixture_fault.write);
		assert_true(fixture_fault.pc - (uintptr_t)code < 16);
		assert_false(fixture_fatal_stack - (uintptr_t)stack < STACK_PAGES * PAGE);
	}
	munmap(stack - 0x100000, 0x100000 + STACK_PAGES * PAGE);
}

static void test_a_stack_too_full_for_a_hook_is_the_drivers(void **state)
{
	uint8_t *stack = make_stack();
	struct error err;
	uint8_t *region = trap_region_create(PAGE, &ops, NULL, &err);
	struct registers r = { .general[RSI] = (uintptr_t)region, .general[RBX] = (uintptr_t)stack };

	(void)state;
	hooks = 0;
	/* mov rsp, rbx; mov [rsi], eax; nop */
	assert_int_equal(run_on(&r, "\x48\x89\xdc\x89\x06\x90", 6, stack + STACK_PAGES * PAGE), 1);
	assert_int_equal(fixture_fault.kind, TRAP_STACK);
	assert_int_equal(fixture_fault.pc, (uintptr_t)code + 5);
	assert_int_equal(hooks, 0);
	trap_region_destroy(region);
	munmap(stack - 0x100000, 0x100000 + STACK_PAGES * PAGE);
}

static void test_a_null_pointer_far_from_the_stack_is_no_stack_overflow(void **state)
{
	uint8_t *stack = make_stack();
	struct registers r = { .general[RSI] = (uintptr_t)stack - 0x80000 };

	(void)state;
	assert_int_equal(run_on(&r, "\x89\x06", 2, stack + STACK_PAGES * PAGE), 1);
	assert_int_equal(fixture_fault.kind, TRAP_ACCESS);
	munmap(stack - 0x100000, 0x100000 + STACK_PAGES * PAGE);
}

/* Runs fn in a child; its wait status. A fatal handler that is called would end it with status 42. */
static int status_of(void (*fn)(void))
{
	int status;
	pid_t child = fork();

	if (!child) {
		close(2);
		fixture_fatal_exit = 42;
		fn();
		_exit(0);
	}
	assert_true(child > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	return status;
}

static void touch_null(void)
{
	fixture_arm();
	__asm__ volatile("movl $0, 0" : : : "memory");
}

static void break_point(void)
{
	fixture_arm();
	__asm__ volatile("int3");
}

static void send_signal(void)
{
	fixture_arm();
	kill(getpid(), SIGSEGV);
	for (;;)
		pause();
}

static void touch_region_with_what_is_not_understood(void)
{
	struct error err;
	uint8_t *region = trap_region_create(PAGE, &ops, NULL, &err);

	fixture_arm();
	__asm__ volatile("fldl (%0)" : : "r"(region) : "memory");
}

static void test_a_fault_of_storhost_kills_it(void **state)
{
	static void (*const bugs[])(void) = { touch_null, break_point, send_signal,
					      touch_region_with_what_is_not_understood };

	(void)state;
	for (size_t i = 0; i < sizeof(bugs) / sizeof(bugs[0]); i++) {
		int status = status_of(bugs[i]);

		/* By a signal or, with a sanitizer, by an exit status that is no success and not ours. */
		assert_true(WIFSIGNALED(status) || (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != 42));
	}
}

static bool no_driver(uintptr_t pc)
{
	(void)pc;
	return false;
}

static void no_fatal(const struct trap_fault *fault)
{
	(void)fault;
}

static void test_handlers_are_installed_once(void **state)
{
	struct error err = { "" };

	(void)state;
	assert_int_equal(trap_init(no_driver, no_fatal, &err), -1);
	assert_non_null(strstr(err.text, "installed already"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_fault_is_reported_as_its_kind),
		cmocka_unit_test(test_a_wild_access_has_its_address_and_direction),
		cmocka_unit_test(test_an_address_that_is_not_canonical_is_found),
		cmocka_unit_test(test_a_call_to_nowhere_is_found_by_its_return_address),
		cmocka_unit_test(test_an_instruction_that_is_not_understood_is_named),
		cmocka_unit_test(test_the_other_side_of_a_copy_may_be_at_fault),
		cmocka_unit_test(test_running_off_the_stack_is_reported_on_another),
		cmocka_unit_test(test_a_stack_too_full_for_a_hook_is_the_drivers),
		cmocka_unit_test(test_a_null_pointer_far_from_the_stack_is_no_stack_overflow),
		cmocka_unit_test(test_a_fault_of_storhost_kills_it),
		cmocka_unit_test(test_handlers_are_installed_once),
	};

	return fixture_init() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
