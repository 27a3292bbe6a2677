/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The fixture of the trap tests. */
#include "fixture.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "forms.h"
#include "run_driver.h"

#define PAGE 4096u

struct trap_fault fixture_fault;
unsigned fixture_faults;
int fixture_fatal_exit;
uintptr_t fixture_fatal_stack;

static const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE };
#define SIGNAL_COUNT (sizeof(signals) / sizeof(signals[0]))

static struct sigaction actions[SIGNAL_COUNT];
static uint8_t *code_page;

static bool is_driver_code(uintptr_t pc)
{
	return (pc >= (uintptr_t)driver_text_begin && pc < (uintptr_t)driver_text_end) ||
	       (code_page && pc - (uintptr_t)code_page < PAGE);
}

static void fatal(const struct trap_fault *fault)
{
	if (fixture_fatal_exit)
		_exit(fixture_fatal_exit);
	fixture_fatal_stack = (uintptr_t)__builtin_frame_address(0);
	fixture_fault = *fault;
	fixture_faults++;
	run_driver_abandon();
}

int fixture_init(void)
{
	struct error err;

	if (trap_init(is_driver_code, fatal, &err) || trap_thread_init(&err)) {
		fprintf(stderr, "%s\n", err.text);
		return -1;
	}
	for (size_t i = 0; i < SIGNAL_COUNT; i++)
		sigaction(signals[i], NULL, &actions[i]);
	return 0;
}

void fixture_arm(void)
{
	for (size_t i = 0; i < SIGNAL_COUNT; i++)
		sigaction(signals[i], &actions[i], NULL);
	fixture_faults = 0;
	memset(&fixture_fault, 0, sizeof(fixture_fault));
}

void *fixture_code(const void *bytes, size_t size)
{
	if (code_page)
		munmap(code_page, PAGE);
	code_page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (code_page == MAP_FAILED)
		abort();
	memset(code_page, 0xcc, PAGE);
	memcpy(code_page, bytes, size);
	mprotect(code_page, PAGE, PROT_READ | PROT_EXEC);
	return code_page;
}
