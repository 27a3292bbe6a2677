/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Trap regions, the threads' signal and spare stacks, and the signal handler that decides whose fault a fault is. */
#define _GNU_SOURCE 1 /* the registers in ucontext.h */

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "trap/machine.h"

#define PAGE 4096u
#define SIGNAL_STACK_SIZE (128u << 10)
#define SPARE_STACK_SIZE (256u << 10)
#define STACKS_SIZE (2 * PAGE + SIGNAL_STACK_SIZE + SPARE_STACK_SIZE)
/* How far below its stack pointer code may reach and still be said to use its stack (__chkstk probes ahead). */
#define STACK_REACH (64u << 10)

/* x86 exceptions and the page fault's error code. [SDM 3 6.15] */
enum {
	VECTOR_GENERAL_PROTECTION = 13,
	VECTOR_PAGE_FAULT = 14,
	PAGE_FAULT_WRITE = 0x02,
	PAGE_FAULT_FETCH = 0x10,
	SELECTOR_IDT = 0x02, /* in the error code of an `int n` that may not be used: n << 3 | 2 */
};

/* `int n` as Windows uses it. */
enum { INT_FASTFAIL = 0x29, INT_ASSERTION = 0x2c, INT_DEBUG_SERVICE = 0x2d };

/* glibc has the member under this name alone. [timer_create(2)] */
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

enum { PREFIX_GS = 0x65 };

/* Of the watch; nobody else in these programs uses it. */
#define WATCH_SIGNAL SIGPROF

static const int caught[] = { SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE };
#define CAUGHT_COUNT (sizeof(caught) / sizeof(caught[0]))

static struct {
	bool (*is_driver_code)(uintptr_t pc);
	void (*fatal)(const struct trap_fault *fault);
	struct sigaction previous[CAUGHT_COUNT];
	pthread_mutex_t lock; /* writers of `regions` */
	_Atomic(struct trap_region *) regions;
	const struct trap_kernel *kernel; /* NULL: there is none */
} trap = { .lock = PTHREAD_MUTEX_INITIALIZER };

struct trap_thread {
	uint8_t *stacks; /* guard page, signal stack, guard page, spare stack; NULL before trap_thread_init */
	stack_t previous;
	struct trap_fault fault;
	uintptr_t resume;                 /* between an access and its hook: where the driver goes on */
	const struct trap_region *region; /* likewise: whose hook */
	uintptr_t pc;                     /* of the access that is being performed; 0: none */
	unsigned irql;                    /* that was written to CR8 */
	bool (*overdue)(void);            /* NULL: not watched */
	timer_t watch;
};

/* initial-exec: the first use, in a signal handler, must not allocate. */
static __thread struct trap_thread thread __attribute__((tls_model("initial-exec")));

const struct trap_region *trap_region_find(uintptr_t address)
{
	for (struct trap_region *region = atomic_load(&trap.regions); region; region = region->next)
		if (address - region->base < region->size && atomic_load(&region->live))
			return region;
	return NULL;
}

int trap_region_at(uintptr_t base, size_t size, const struct trap_region_ops *ops, void *opaque, struct error *err)
{
	struct trap_region *region = malloc(sizeof(*region));

	if (!region)
		return error_set(err, "no memory for a trap region of %zu bytes", size);
	region->base = base;
	region->size = size;
	region->ops = *ops;
	region->opaque = opaque;
	atomic_init(&region->live, true);
	pthread_mutex_lock(&trap.lock);
	region->next = atomic_load(&trap.regions);
	atomic_store(&trap.regions, region);
	pthread_mutex_unlock(&trap.lock);
	return 0;
}

void *trap_region_create(size_t size, const struct trap_region_ops *ops, void *opaque, struct error *err)
{
	void *base;

	if (!size || size % PAGE) {
		error_set(err, "a trap region of %zu bytes is no whole number of pages", size);
		return NULL;
	}
	base = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (base == MAP_FAILED) {
		error_set(err, "no memory for a trap region of %zu bytes", size);
		return NULL;
	}
	if (trap_region_at((uintptr_t)base, size, ops, opaque, err)) {
		munmap(base, size);
		return NULL;
	}
	return base;
}

void trap_set_kernel(const struct trap_kernel *kernel)
{
	trap.kernel = kernel;
}

/* The entry stays in the list: a handler may be walking it, and the address space is not given back either. */
void trap_region_destroy(void *base)
{
	for (struct trap_region *region = atomic_load(&trap.regions); region; region = region->next)
		if (region->base == (uintptr_t)base)
			atomic_store(&region->live, false);
}

unsigned trap_regions_forget(void)
{
	struct trap_region *next, *kept = NULL;
	unsigned count = 0;

	pthread_mutex_lock(&trap.lock);
	for (struct trap_region *region = atomic_load(&trap.regions); region; region = next) {
		next = region->next;
		if (atomic_load(&region->live)) {
			region->next = kept;
			kept = region;
			count++;
		} else {
			munmap((void *)region->base, region->size);
			free(region);
		}
	}
	atomic_store(&trap.regions, kept);
	pthread_mutex_unlock(&trap.lock);
	return count;
}

uintptr_t trap_pc(void)
{
	return thread.pc ? thread.pc : thread.resume;
}

#ifdef __x86_64__
void trap_hook_enter(uintptr_t *resume)
{
	const struct trap_region *region = thread.region;

	/* The hook may never return, or return on another thread. */
	*resume = thread.resume;
	/* trap_pc() until then: nobody else uses it before the hook lets others run. */
	region->ops.after(region->opaque);
}

static void cr8_after(void *opaque)
{
	(void)opaque;
	trap.kernel->set_irql(thread.irql, trap_pc());
}

uintptr_t trap_segment(void)
{
	return trap.kernel ? (uintptr_t)trap.kernel->segment : 0;
}

/* Leaves the handler into the region's hook, which returns to where the driver would have gone on. */
static void enter_hook(ucontext_t *uc, const struct trap_region *region)
{
	thread.region = region;
	thread.resume = (uintptr_t)MACHINE_PC(uc);
	MACHINE_PC(uc) = (greg_t)(uintptr_t)trap_hook_entry;
}

static bool handle_cr8(ucontext_t *uc)
{
	static const struct trap_region cr8 = { .ops = { .after = cr8_after } };
	uintptr_t pc = (uintptr_t)MACHINE_PC(uc);
	struct trap_cr8 move;

	if (!trap.kernel || !thread.stacks || uc->uc_mcontext.gregs[REG_TRAPNO] != VECTOR_GENERAL_PROTECTION ||
	    !trap.is_driver_code(pc) || !trap_decode_cr8(uc, &move))
		return false;
	MACHINE_PC(uc) += move.length;
	if (move.write) {
		thread.irql = (unsigned)uc->uc_mcontext.gregs[move.reg];
		enter_hook(uc, &cr8);
	} else {
		uc->uc_mcontext.gregs[move.reg] = (greg_t)trap.kernel->irql(pc);
	}
	return true;
}

/* An address relative to gs, which is nothing in Linux, lies in the first pages: where nobody has memory. */
static bool is_segment_access(const ucontext_t *uc, const siginfo_t *info)
{
	uint8_t byte;

	return trap.kernel && (uintptr_t)info->si_addr < 4 * PAGE && trap.is_driver_code((uintptr_t)MACHINE_PC(uc)) &&
	       !trap_copy(&byte, (const void *)(uintptr_t)MACHINE_PC(uc), 1) && byte == PREFIX_GS;
}

/* The hook's entry uses the driver's stack: what happens to it there has happened to the driver. */
static uintptr_t blamed_pc(uintptr_t pc)
{
	return pc >= (uintptr_t)trap_hook_entry && pc < (uintptr_t)trap_hook_end ? thread.resume : pc;
}
#else
static void enter_hook(ucontext_t *uc, const struct trap_region *region)
{
	(void)uc;
	(void)region;
}

static bool handle_cr8(ucontext_t *uc)
{
	(void)uc;
	return false;
}

static bool is_segment_access(const ucontext_t *uc, const siginfo_t *info)
{
	(void)uc;
	(void)info;
	return false;
}

static uintptr_t blamed_pc(uintptr_t pc)
{
	return pc;
}
#endif

static void enter_fatal(const struct trap_fault *fault)
{
	trap.fatal(fault);
	abort();
}

/* Leaves the handler into the fatal handler, on the thread's spare stack. */
static void deliver(ucontext_t *uc, const struct trap_fault *fault)
{
	uintptr_t *sp = (uintptr_t *)(thread.stacks + STACKS_SIZE);

	thread.fault = *fault;
#ifdef __x86_64__
	/* As a call leaves it: a return address (none) at a multiple of 16 minus 8. */
	sp -= 2;
	*--sp = 0;
	uc->uc_mcontext.gregs[REG_RDI] = (greg_t)(uintptr_t)&thread.fault;
#else
	sp -= 4;
	*sp = (uintptr_t)&thread.fault;
	*--sp = 0;
#endif
	MACHINE_SP(uc) = (greg_t)(uintptr_t)sp;
	MACHINE_PC(uc) = (greg_t)(uintptr_t)enter_fatal;
	MACHINE_FLAGS(uc) &= ~(greg_t)(FLAG_DF | FLAG_TF);
}

/* Lets the signal have the effect it would have had without us. */
static void take_default_action(int sig, const siginfo_t *info)
{
	for (size_t i = 0; i < CAUGHT_COUNT; i++)
		if (caught[i] == sig)
			sigaction(sig, &trap.previous[i], NULL);
	/* A faulting instruction faults again; a trap, or a signal that somebody sent, does not. */
	if (info->si_code <= 0 || sig == SIGTRAP)
		raise(sig);
}

static bool is_readable(uintptr_t address)
{
	uint8_t byte;

	return !trap_copy(&byte, (const void *)address, 1);
}

/*
 * Below the stack pointer nobody has anything but stack. Above it, the access is one of stack only if the stack
 * pointer has left the stack already.
 */
static bool ran_off_stack(const ucontext_t *uc, uintptr_t address)
{
	uintptr_t sp = (uintptr_t)MACHINE_SP(uc);

	if (address < sp)
		return sp - address <= STACK_REACH;
	return address - sp < STACK_REACH && !is_readable(sp);
}

static void classify_page_fault(const ucontext_t *uc, const siginfo_t *info, struct trap_fault *fault)
{
	fault->address = (uintptr_t)info->si_addr;
	fault->write = uc->uc_mcontext.gregs[REG_ERR] & PAGE_FAULT_WRITE;
	fault->kind = ran_off_stack(uc, fault->address) ? TRAP_STACK : TRAP_ACCESS;
}

static void classify_protection(const ucontext_t *uc, const struct trap_instruction *instruction,
				struct trap_fault *fault)
{
	unsigned code = (unsigned)uc->uc_mcontext.gregs[REG_ERR];

	fault->kind = instruction->privileged ? TRAP_PRIVILEGED : TRAP_ACCESS;
	/* No page fault, but an address: it is not canonical, or not aligned as the instruction demands. */
	if (fault->kind == TRAP_ACCESS)
		fault->address = instruction->address;
	if ((code & 7) != SELECTOR_IDT)
		return;
	switch (code >> 3) {
	case INT_FASTFAIL:
		fault->kind = TRAP_FASTFAIL;
		break;
	case INT_ASSERTION:
		fault->kind = TRAP_ASSERTION;
		break;
	case INT_DEBUG_SERVICE:
		fault->kind = TRAP_BREAKPOINT;
		break;
	default:
		fault->kind = TRAP_ILLEGAL;
		break;
	}
	fault->address = 0;
}

static void classify(int sig, const siginfo_t *info, const ucontext_t *uc, struct trap_fault *fault)
{
	struct trap_instruction instruction;

	trap_describe(uc, fault->pc, &instruction);
	memcpy(fault->text, instruction.text, sizeof(fault->text));
	switch (sig) {
	case SIGTRAP:
		fault->kind = TRAP_BREAKPOINT;
		break;
	case SIGFPE:
		fault->kind = TRAP_ARITHMETIC;
		break;
	case SIGILL:
		fault->kind = TRAP_ILLEGAL;
		break;
	default:
		if (uc->uc_mcontext.gregs[REG_TRAPNO] == VECTOR_PAGE_FAULT)
			classify_page_fault(uc, info, fault);
		else
			classify_protection(uc, &instruction, fault);
		break;
	}
}

/* A breakpoint is reported behind the instruction: int3, or int 3 in two bytes. */
static uintptr_t faulting_pc(int sig, uintptr_t pc)
{
	uint8_t byte;

	if (sig != SIGTRAP || trap_copy(&byte, (const void *)(pc - 1), 1))
		return pc;
	return byte == 0x03 ? pc - 2 : pc - 1;
}

/*
 * Code that called what cannot be executed is found by the return address that the call left. False if this was
 * no fetch, or not the driver's.
 */
static bool is_wild_call(int sig, const ucontext_t *uc, struct trap_fault *fault)
{
	uintptr_t pc = (uintptr_t)MACHINE_PC(uc), back;

	if (sig != SIGSEGV || uc->uc_mcontext.gregs[REG_TRAPNO] != VECTOR_PAGE_FAULT ||
	    !(uc->uc_mcontext.gregs[REG_ERR] & PAGE_FAULT_FETCH) || trap.is_driver_code(pc))
		return false;
	if (trap_copy(&back, (const void *)(uintptr_t)MACHINE_SP(uc), sizeof(back)) || !trap.is_driver_code(back))
		return false;
	fault->kind = TRAP_ACCESS;
	fault->pc = back;
	fault->address = pc;
	strcpy(fault->text, "(returning here from a call to where there is no code)");
	return true;
}

static void handle_fault(int sig, const siginfo_t *info, ucontext_t *uc)
{
	struct trap_fault fault = { .pc = blamed_pc(faulting_pc(sig, (uintptr_t)MACHINE_PC(uc))) };

	if (info->si_code <= 0 || !thread.stacks) {
		take_default_action(sig, info);
	} else if (is_wild_call(sig, uc, &fault)) {
		deliver(uc, &fault);
	} else if (trap.is_driver_code(fault.pc)) {
		classify(sig, info, uc, &fault);
		deliver(uc, &fault);
	} else {
		take_default_action(sig, info);
	}
}

static void handle_region(int sig, const siginfo_t *info, ucontext_t *uc)
{
	struct trap_fault fault = { .pc = (uintptr_t)MACHINE_PC(uc), .address = (uintptr_t)info->si_addr };
	bool driver = trap.is_driver_code(fault.pc);
	const struct trap_region *region = NULL;
	struct trap_instruction instruction;
	enum trap_emulation result;

	fault.write = uc->uc_mcontext.gregs[REG_ERR] & PAGE_FAULT_WRITE;
	thread.pc = fault.pc;
	result = trap_emulate(uc, &region, &fault);
	thread.pc = 0;
	if (result == TRAP_EMULATED) {
		if (driver && region && region->ops.after)
			enter_hook(uc, region);
		return;
	}
	if (!driver || !thread.stacks) {
		take_default_action(sig, info);
		return;
	}
	fault.kind = result == TRAP_BAD_OPERAND ? TRAP_ACCESS : TRAP_UNDECODED;
	if (!fault.text[0]) {
		trap_describe(uc, fault.pc, &instruction);
		memcpy(fault.text, instruction.text, sizeof(fault.text));
	}
	deliver(uc, &fault);
}

/* A tick of the watch, wherever the thread is. */
static void on_watch(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	struct trap_fault fault = { .kind = TRAP_ENDLESS, .pc = (uintptr_t)MACHINE_PC(uc) };
	int saved = errno;

	(void)sig;
	(void)info;
	if (thread.overdue && thread.overdue() && trap.fatal && trap.is_driver_code(fault.pc))
		deliver(uc, &fault);
	errno = saved;
}

static void on_signal(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	int saved = errno;

	if ((uintptr_t)MACHINE_PC(uc) == (uintptr_t)trap_copy_access)
		MACHINE_PC(uc) = (greg_t)(uintptr_t)trap_copy_end;
	else if (sig == SIGSEGV && info->si_code > 0 && uc->uc_mcontext.gregs[REG_TRAPNO] == VECTOR_PAGE_FAULT &&
		 !(uc->uc_mcontext.gregs[REG_ERR] & PAGE_FAULT_FETCH) &&
		 (trap_region_find((uintptr_t)info->si_addr) || is_segment_access(uc, info)))
		handle_region(sig, info, uc);
	else if (sig != SIGSEGV || info->si_code <= 0 || !handle_cr8(uc))
		handle_fault(sig, info, uc);
	errno = saved;
}

int trap_init(bool (*is_driver_code)(uintptr_t pc), void (*fatal)(const struct trap_fault *fault), struct error *err)
{
	/* SA_NODEFER: trap_copy() faults inside the handler. */
	struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };

	struct sigaction watch = { .sa_sigaction = on_watch, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART };

	if (trap.fatal)
		return error_set(err, "the fault handlers are installed already");
	trap.is_driver_code = is_driver_code;
	trap.fatal = fatal;
	sigemptyset(&action.sa_mask);
	/* A tick during an access comes when the driver goes on, and finds it there. */
	sigaddset(&action.sa_mask, WATCH_SIGNAL);
	for (size_t i = 0; i < CAUGHT_COUNT; i++)
		if (sigaction(caught[i], &action, &trap.previous[i]))
			return error_set(err, "no handler for %s: %s", strsignal(caught[i]), strerror(errno));
	sigemptyset(&watch.sa_mask);
	if (sigaction(WATCH_SIGNAL, &watch, NULL))
		return error_set(err, "no handler for %s: %s", strsignal(WATCH_SIGNAL), strerror(errno));
	return 0;
}

int trap_thread_init(struct error *err)
{
	stack_t stack = { .ss_size = SIGNAL_STACK_SIZE };
	uint8_t *stacks;

	if (thread.stacks)
		return 0;
	stacks = mmap(NULL, STACKS_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	if (stacks == MAP_FAILED)
		return error_set(err, "no memory for a thread's signal stack");
	stack.ss_sp = stacks + PAGE;
	if (mprotect(stacks, PAGE, PROT_NONE) || mprotect(stacks + PAGE + SIGNAL_STACK_SIZE, PAGE, PROT_NONE) ||
	    sigaltstack(&stack, &thread.previous)) {
		munmap(stacks, STACKS_SIZE);
		return error_set(err, "no signal stack: %s", strerror(errno));
	}
	thread.stacks = stacks;
	return 0;
}

int trap_thread_watch(unsigned milliseconds, bool (*overdue)(void), struct error *err)
{
	struct itimerspec period = {
		.it_interval = { milliseconds / 1000, (long)(milliseconds % 1000) * 1000000 },
		.it_value = { milliseconds / 1000, (long)(milliseconds % 1000) * 1000000 },
	};
	struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = WATCH_SIGNAL };

	event.sigev_notify_thread_id = gettid();
	if (timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &thread.watch))
		return error_set(err, "no timer for a thread: %s", strerror(errno));
	thread.overdue = overdue;
	if (timer_settime(thread.watch, 0, &period, NULL))
		return error_set(err, "no timer for a thread: %s", strerror(errno));
	return 0;
}

void trap_thread_exit(void)
{
	if (!thread.stacks)
		return;
	if (thread.overdue)
		timer_delete(thread.watch);
	thread.overdue = NULL;
	sigaltstack(&thread.previous, NULL);
	munmap(thread.stacks, STACKS_SIZE);
	thread.stacks = NULL;
}
