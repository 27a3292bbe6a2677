/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* export_find(): Windows 7's lists, storhost's own tables before them, and stubs that say their names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "nt/exports.h"

static int answer;

static const struct export_entry basic_table[] = { { "KeBugCheckEx", &answer }, { NULL, NULL } };
static const struct export_entry time_table[] = { { "KeTickCount", &answer }, { NULL, NULL } };
const struct export_entry *const nt_exports[] = { basic_table, time_table, NULL };
const struct export_entry port_exports[] = { { "StorPortInitialize", &answer }, { NULL, NULL } };

static void test_lists_of_both_machines_are_told_apart(void **state)
{
	static const struct {
		const char *dll, *name;
		bool x64, x86;
	} facts[] = {
		{ "ntoskrnl.exe", "AlpcGetHeaderSize", true, true },
		{ "ntoskrnl.exe", "wctomb", true, true },
		{ "ntoskrnl.exe", "KeTickCount", false, true },
		{ "ntoskrnl.exe", "memcpy", true, true },
		{ "ntoskrnl.exe", "__C_specific_handler", true, false },
		{ "ntoskrnl.exe", "_stricmp", true, true },
		{ "ntoskrnl.exe", "_alldiv", false, true },
		{ "ntoskrnl.exe", "ExAllocatePool2", false, false },
		{ "ntoskrnl.exe", "StorPortInitialize", false, false },
		{ "ntoskrnl.exe", "", false, false },
		{ "hal.dll", "KfRaiseIrql", false, true },
		{ "hal.dll", "KeStallExecutionProcessor", true, true },
		{ "storport.sys", "ScsiPortMoveMemory", true, true },
		{ "storport.sys", "StorPortReadRegisterUlong", true, true },
		{ "storport.sys", "StorPortWriteRegisterUshort", true, true },
		{ "storport.sys", "KeBugCheckEx", false, false },
		{ "storport.sys", "StorPortGetRequestInfo", false, false },
		{ "scsiport.sys", "ScsiPortInitialize", false, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(facts) / sizeof(facts[0]); i++) {
		bool x64 = export_find(PE_X64, facts[i].dll, facts[i].name, NULL) != EXPORT_UNKNOWN;
		bool x86 = export_find(PE_X86, facts[i].dll, facts[i].name, NULL) != EXPORT_UNKNOWN;

		if (x64 != facts[i].x64 || x86 != facts[i].x86)
			fail_msg("%s!%s", facts[i].dll, facts[i].name);
	}
}

static void test_implementations_come_from_their_modules_table(void **state)
{
	void *address = NULL;

	(void)state;
	assert_int_equal(export_find(PE_X64, "NTOSKRNL.EXE", "KeBugCheckEx", &address), EXPORT_IMPLEMENTED);
	assert_ptr_equal(address, &answer);
	address = NULL;
	assert_int_equal(export_find(PE_X64, "StorPort.SYS", "StorPortInitialize", &address), EXPORT_IMPLEMENTED);
	assert_ptr_equal(address, &answer);
	/* A name that storhost has and Windows 7 has not, on this machine, is not there. */
	address = NULL;
	assert_int_equal(export_find(PE_X64, "ntoskrnl.exe", "KeTickCount", &address), EXPORT_UNKNOWN);
	assert_null(address);
	assert_int_equal(export_find(PE_X86, "ntoskrnl.exe", "KeTickCount", &address), EXPORT_IMPLEMENTED);
}

static void *stub_of(const char *dll, const char *name)
{
	void *address = NULL;

	assert_int_equal(export_find(sizeof(void *) == 8 ? PE_X64 : PE_X86, dll, name, &address), EXPORT_STUB);
	assert_non_null(address);
	return address;
}

static void test_a_stub_is_the_same_each_time_and_another_for_each_name(void **state)
{
	(void)state;
	assert_ptr_equal(stub_of("hal.dll", "HalGetBusData"), stub_of("HAL.dll", "HalGetBusData"));
	assert_ptr_not_equal(stub_of("hal.dll", "HalGetBusData"), stub_of("hal.dll", "HalGetBusDataByOffset"));
}

static struct {
	jmp_buf back;
	const char *dll, *name;
	uintptr_t misalignment, pc;
} called;

static void note_call(const char *dll, const char *name, uintptr_t pc)
{
	called.pc = pc;
	called.dll = dll;
	called.name = name;
	called.misalignment = ((uintptr_t)__builtin_frame_address(0) + 2 * sizeof(void *)) % 16;
	longjmp(called.back, 1);
}

/* Calls fn with the stack pointer `skew` bytes off its alignment. */
static void call_skewed(void *fn, unsigned long skew)
{
#ifdef __x86_64__
	__asm__ volatile("sub %1, %%rsp\n	call *%0\n	ud2" : : "r"(fn), "r"(skew) : "memory");
#else
	__asm__ volatile("sub %1, %%esp\n	call *%0\n	ud2" : : "r"(fn), "r"(skew) : "memory");
#endif
}

static void expect_stub_call(const char *dll, const char *name, unsigned long skew)
{
	void *stub = stub_of(dll, name);

	export_stub_called = note_call;
	called.name = NULL;
	if (!setjmp(called.back))
		call_skewed(stub, skew);
	assert_string_equal(called.dll, dll);
	assert_string_equal(called.name, name);
	assert_int_equal(called.misalignment, 0);
	/* Behind the call, in call_skewed or wherever that was inlined: at its ud2. */
	assert_memory_equal((const void *)called.pc, "\x0f\x0b", 2);
}

static void test_a_called_stub_reports_its_own_name(void **state)
{
	(void)state;
	for (unsigned long skew = 0; skew < 16; skew += sizeof(void *)) {
		expect_stub_call("ntoskrnl.exe", "AlpcGetHeaderSize", skew);
		expect_stub_call("ntoskrnl.exe", "wctomb", skew);
		expect_stub_call("hal.dll", "HalAcquireDisplayOwnership", skew);
		expect_stub_call("storport.sys", "ScsiPortMoveMemory", skew);
		expect_stub_call("storport.sys", "StorPortWriteRegisterUshort", skew);
	}
}

static void test_a_variable_that_is_not_there_is_known_by_its_address(void **state)
{
	void *first = stub_of("ntoskrnl.exe", "NtBuildNumber"), *other = stub_of("ntoskrnl.exe", "PsProcessType");

	(void)state;
	assert_string_equal(export_variable((uintptr_t)first), "NtBuildNumber");
	assert_string_equal(export_variable((uintptr_t)other + 8), "PsProcessType");
	assert_null(export_variable((uintptr_t)&answer));
	assert_null(export_variable((uintptr_t)stub_of("hal.dll", "HalGetBusData")));
}

static void test_every_name_is_listed_once_with_its_machines(void **state)
{
	struct export_name name;
	unsigned count = 0, implemented = 0, divisions = 0;

	(void)state;
	for (; export_name(count, &name); count++) {
		implemented += name.implemented;
		divisions += !strcmp(name.name, "_alldiv") && name.machines == EXPORT_X86 && !name.implemented;
	}
	assert_in_range(count, 2000, 3000);
	assert_int_equal(implemented, 3);
	assert_int_equal(divisions, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lists_of_both_machines_are_told_apart),
		cmocka_unit_test(test_implementations_come_from_their_modules_table),
		cmocka_unit_test(test_a_stub_is_the_same_each_time_and_another_for_each_name),
		cmocka_unit_test(test_a_called_stub_reports_its_own_name),
		cmocka_unit_test(test_a_variable_that_is_not_there_is_known_by_its_address),
		cmocka_unit_test(test_every_name_is_listed_once_with_its_machines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
