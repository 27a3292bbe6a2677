/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Child processes, machines and probes for the tests of nt/ and port/. */
#include "machine_rig.h"

#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* A test that takes longer hangs. */
#define PATIENCE_SECONDS 60u

static int child_wait(pid_t child)
{
	int status = -1;

	assert_int_not_equal(child, -1);
	assert_int_equal(waitpid(child, &status, 0), child);
	if (WIFSIGNALED(status))
		fail_msg("the test's process was ended by signal %d", WTERMSIG(status));
	return WEXITSTATUS(status);
}

/* The sanitizer's handlers. cmocka's own end a process without a word when a thread of the machine crashes. */
static const int crashes[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE };
#define CRASHES (sizeof(crashes) / sizeof(crashes[0]))
static struct sigaction crash_handlers[CRASHES];

__attribute__((constructor)) static void handlers_save(void)
{
	for (size_t i = 0; i < CRASHES; i++)
		sigaction(crashes[i], NULL, &crash_handlers[i]);
}

static void test_run(void **state)
{
	for (size_t i = 0; i < CRASHES; i++)
		sigaction(crashes[i], &crash_handlers[i], NULL);
	((CMUnitTestFunction)(uintptr_t)*state)(state);
}

void rig_isolated(void **state)
{
	const struct CMUnitTest test = { "in a process of its own", test_run, NULL, NULL, *state };
	pid_t child;
	int status;

	fflush(NULL);
	child = fork();
	if (!child) {
		/* Failures are told on standard error; that the inner run passed is told by the outer one. */
		if (!freopen("/dev/null", "w", stdout))
			_exit(2);
		alarm(PATIENCE_SECONDS);
		_exit(_cmocka_run_group_tests("isolated", &test, 1, NULL, NULL) ? 1 : 0);
	}
	status = child_wait(child);
	if (status)
		fail_msg("the test failed in its own process, status %d", status);
}

void rig_fork(void (*fn)(void *opaque), void *opaque)
{
	pid_t child;

	fflush(NULL);
	child = fork();
	if (!child) {
		alarm(PATIENCE_SECONDS);
		fn(opaque);
		_exit(0);
	}
	assert_int_equal(child_wait(child), 0);
}

void *rig_shared(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(memory, MAP_FAILED);
	return memory;
}

/* ---- machines ---- */

static bool device_idle(void *opaque, uint64_t random)
{
	(void)opaque;
	(void)random;
	return false;
}

void rig_machine(unsigned cpus, bool threads, uint64_t seed)
{
	const struct cpu_config config = { .cpus = cpus, .threads = threads, .seed = seed };
	struct error err = { "" };

	cpu_set_device(device_idle, NULL, NULL);
	if (cpus_start(&config, &err))
		fail_msg("%s", err.text);
}

void rig_on(unsigned cpu, void (*fn)(void *opaque), void *opaque)
{
	if (!cpu_call(cpu, fn, opaque))
		fail_msg("the machine died: %s", cpu_death());
}

struct sleeper {
	struct timer timer;
	struct gate gate;
};

static void sleep_over(struct work *work)
{
	struct sleeper *sleeper = (struct sleeper *)((char *)work - offsetof(struct sleeper, timer.work));

	gate_open(&sleeper->gate);
}

void rig_sleep(uint64_t microseconds)
{
	/* Not on the stack: a machine that dies keeps pointing to it. */
	struct sleeper *sleeper = calloc(1, sizeof(*sleeper));

	assert_non_null(sleeper);
	timer_set(&sleeper->timer, microseconds, sleep_over);
	if (!cpu_wait(&sleeper->gate))
		fail_msg("the machine died: %s", cpu_death());
	free(sleeper);
}

void rig_until(const unsigned *flag, unsigned value)
{
	for (unsigned i = 0; __atomic_load_n(flag, __ATOMIC_ACQUIRE) != value; i++) {
		if (i == 10000)
			fail_msg("%u never became %u", __atomic_load_n(flag, __ATOMIC_ACQUIRE), value);
		usleep(1000);
	}
}

/* ---- findings ---- */

unsigned rig_findings(enum rule rule)
{
	unsigned count = 0;

	for (unsigned i = 0; verify_finding(i); i++)
		count += verify_finding(i)->rule == rule ? verify_finding(i)->count : 0;
	return count;
}

void rig_no_findings(void)
{
	if (verify_findings())
		fail_msg("%s: %s", rule_name(verify_finding(0)->rule), verify_finding(0)->text);
}

void rig_only_findings(enum rule rule, unsigned count)
{
	for (unsigned i = 0; verify_finding(i); i++) {
		if (verify_finding(i)->rule != rule)
			fail_msg("%s: %s", rule_name(verify_finding(i)->rule), verify_finding(i)->text);
	}
	assert_int_equal(verify_findings(), count);
}

/* ---- memory ---- */

static bool probe(void *address, bool write_too)
{
	int ends[2];
	bool can;

	assert_int_equal(pipe(ends), 0);
	can = write(ends[1], address, 1) == 1;
	if (can && write_too)
		can = read(ends[0], address, 1) == 1;
	close(ends[0]);
	close(ends[1]);
	return can;
}

bool rig_readable(const void *address)
{
	return probe((void *)(uintptr_t)address, false);
}

bool rig_writable(void *address)
{
	return probe(address, true);
}
