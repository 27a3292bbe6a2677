/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The border between the port and driver code, in both directions. */
#include "port/internal.h"

static const struct {
	enum callback callback;
	const char *name;
} callback_names[] = {
	{ CB_NONE, "no callback" },
	{ CB_DRIVER_ENTRY, "DriverEntry" },
	{ CB_FIND_ADAPTER, "HwFindAdapter" },
	{ CB_INITIALIZE, "HwInitialize" },
	{ CB_PASSIVE_INITIALIZE, "HwPassiveInitializeRoutine" },
	{ CB_BUILD_IO, "HwBuildIo" },
	{ CB_START_IO, "HwStartIo" },
	{ CB_INTERRUPT, "HwInterrupt" },
	{ CB_MS_INTERRUPT, "HwMSInterruptRoutine" },
	{ CB_DPC, "HwDpcRoutine" },
	{ CB_TIMER, "HwTimer" },
	{ CB_RESET_BUS, "HwResetBus" },
	{ CB_ADAPTER_CONTROL, "HwAdapterControl" },
	{ CB_SYNCHRONIZE, "the routine of StorPortSynchronizeAccess" },
};

const char *callback_name(enum callback callback)
{
	for (size_t i = 0; i < sizeof(callback_names) / sizeof(callback_names[0]); i++) {
		if (callback_names[i].callback == callback)
			return callback_names[i].name;
	}
	return "?";
}

void callback_enter(struct frame *frame, enum callback callback)
{
	struct cpu *cpu = cpu_self();

	frame->callback = cpu->callback;
	frame->irql = cpu->irql;
	frame->held = cpu->held_count;
	frame->waited = cpu->waited;
	cpu->callback = callback;
	cpu->waited = 0;
	cpu->entries++;
}

/* Microseconds that a callback may wait [DV 0xF1/0x1002]; 0: as long as it likes. */
static uint64_t callback_limit(enum callback callback)
{
	switch (callback) {
	case CB_DRIVER_ENTRY:
	case CB_FIND_ADAPTER:
		return 0;
	case CB_INITIALIZE:
	case CB_PASSIVE_INITIALIZE:
		return 5000000;
	default:
		return 500000;
	}
}

void callback_leave(const struct frame *frame)
{
	struct cpu *cpu = cpu_self();
	uint64_t limit = callback_limit(cpu->callback);

	/* The IRQL of a lock that was kept is its own. */
	while (cpu->held_count > frame->held) {
		struct lock *lock = cpu->held[cpu->held_count - 1];

		verify_report(RULE_CALLBACK_LOCK, 0, "%s returned with the %s lock", callback_name(cpu->callback),
			      lock->name);
		lock_release(lock, frame->irql, 0);
	}
	if (port_hosted && port_hosted->dump)
		dump_returned(port_hosted, cpu->callback);
	if (cpu->irql != frame->irql) {
		verify_report(RULE_CALLBACK_IRQL, 0, "%s was entered at IRQL %u and returned at %u",
			      callback_name(cpu->callback), frame->irql, cpu->irql);
		cpu->irql = frame->irql;
	}
	/* A dump image has nothing but waiting to find out what the device does. */
	if (limit && cpu->waited > limit && !(port_hosted && port_hosted->dump))
		verify_report(RULE_TIME_CALLBACK, 0, "%s waited for %llu microseconds, of which it has %llu",
			      callback_name(cpu->callback), (unsigned long long)cpu->waited, (unsigned long long)limit);
	cpu->callback = frame->callback;
	cpu->waited = frame->waited;
	cpu->entries++;
	if (cpu->callback == CB_NONE)
		__atomic_store_n(&cpu->left, cpu->left + 1, __ATOMIC_RELEASE);
	cpu_point();
}

void callback_watch(uintptr_t pc)
{
	if (!cpu_overdue())
		return;
	verify_report(RULE_TIME_ENDLESS, pc, "%s does not return: it has run for more than %u s of processor time",
		      callback_name(cpu_self()->callback), cpu_watchdog());
	cpu_die("the driver does not return");
}

bool call_check(const struct call_rule *rule, uintptr_t pc)
{
	struct cpu *cpu = cpu_self();
	bool dumping = port_hosted && port_hosted->dump, allowed;

	if (!cpu)
		return true;
	callback_watch(pc);
	allowed = !dumping || dump_may_call(rule, pc);
	/* A dump image is called at one level, and what it may call is for that level. */
	if (!dumping && cpu->irql > rule->max_irql)
		verify_report(RULE_CALL_IRQL, pc, "%s is called at IRQL %u, it allows at most %u", rule->name,
			      cpu->irql, rule->max_irql);
	if (!(cpu->callback & rule->callbacks))
		verify_report(RULE_CALL_CONTEXT, pc, "%s is called from %s", rule->name, callback_name(cpu->callback));
	cpu_point();
	return allowed;
}

bool call_target(const struct port *port, const void *routine, const char *what, uintptr_t pc)
{
	if (routine && (!port->image || image_contains(port->image, routine, NULL)))
		return true;
	verify_report(RULE_CALL_ARGUMENT, pc, "%s is %p, which is not code of the driver", what, routine);
	return false;
}
