/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Claims about interrupts: when lines and messages are delivered, how often, under which lock and IRQL, and storms. */
#include "machine_rig.h"

#include <unistd.h>

#include "nt/interrupt.h"
#include "nt/lock.h"

static struct lock lock = { .name = "Interrupt", .rank = LOCK_INTERRUPT, .irql = IRQL_DEVICE };
static struct interrupt interrupt;

/* What the service routine does, and what it saw. */
static struct {
	unsigned silence_at;  /* the call in which it silences the line */
	unsigned claim_every; /* it claims each n-th call; 0: none */
	unsigned again;       /* calls in which it signals anew */
	unsigned calls, wrong_irql, without_lock;
	unsigned cpu;
	uintptr_t stack_low, stack_high;
} service;

static void note_stack(void)
{
	uintptr_t here = (uintptr_t)__builtin_frame_address(0);

	if (!service.calls || here < service.stack_low)
		service.stack_low = here;
	if (!service.calls || here > service.stack_high)
		service.stack_high = here;
}

static bool serve(struct interrupt *self, void *opaque)
{
	note_stack();
	service.calls++;
	service.wrong_irql += cpu_self()->irql != IRQL_DEVICE;
	service.without_lock += !lock_held(opaque);
	service.cpu = cpu_self()->index;
	if (service.calls == service.silence_at)
		interrupt_signal(self, false);
	if (service.calls <= service.again)
		interrupt_signal(self, true);
	cpu_point();
	return service.claim_every && service.calls % service.claim_every == 0;
}

static void connect(bool level, unsigned claim_every)
{
	interrupt = (struct interrupt){ .service = serve, .opaque = &lock, .lock = &lock, .level = level };
	service.claim_every = claim_every;
	interrupt_connect(&interrupt);
}

static void signal_on(void *opaque)
{
	(void)opaque;
	interrupt_signal(&interrupt, true);
}

static void signal_off(void *opaque)
{
	(void)opaque;
	interrupt_signal(&interrupt, false);
}

static void nothing(void *opaque)
{
	(void)opaque;
}

static void a_line_is_delivered_until_it_is_silenced(void **state)
{
	(void)state;
	rig_machine(1, false, 1);
	connect(true, 1);
	service.silence_at = 3;
	interrupt_signal(&interrupt, true);
	rig_sleep(1000);
	assert_int_equal(service.calls, 3);
	assert_int_equal(service.wrong_irql, 0);
	assert_int_equal(service.without_lock, 0);
	assert_int_equal(interrupt.delivered, 3);
	assert_int_equal(interrupt_total(), 3);
	rig_no_findings();
}

static void a_line_that_falls_before_delivery_is_not_delivered(void **state)
{
	(void)state;
	rig_machine(1, false, 1);
	connect(true, 1);
	interrupt_signal(&interrupt, true);
	interrupt_signal(&interrupt, false);
	rig_sleep(1000);
	assert_int_equal(service.calls, 0);
}

static void a_message_is_delivered_once_for_each_signal(void **state)
{
	(void)state;
	rig_machine(1, false, 1);
	connect(false, 0);
	for (unsigned i = 1; i <= 5; i++) {
		interrupt_signal(&interrupt, true);
		rig_sleep(1000);
		assert_int_equal(service.calls, i);
	}
	assert_int_equal(interrupt.delivered, 5);
	rig_no_findings();
}

static void a_message_that_arrives_while_one_is_serviced_is_not_lost(void **state)
{
	(void)state;
	rig_machine(4, false, 1);
	connect(false, 1);
	service.again = 2;
	interrupt_signal(&interrupt, true);
	rig_sleep(1000);
	assert_int_equal(service.calls, 3);
}

static unsigned raised_calls[3];

static void be_at_device_irql(void *opaque)
{
	(void)opaque;
	cpu_raise(IRQL_DEVICE);
	interrupt_signal(&interrupt, true);
	for (unsigned i = 0; i < 200; i++)
		cpu_point();
	raised_calls[0] = service.calls;
	cpu_lower(IRQL_DISPATCH);
	raised_calls[1] = service.calls;
	interrupt_signal(&interrupt, true);
	for (unsigned i = 0; i < 200; i++)
		cpu_point();
	raised_calls[2] = service.calls;
	cpu_lower(IRQL_PASSIVE);
}

static void an_interrupt_waits_for_an_irql_below_its_own(void **state)
{
	(void)state;
	rig_machine(1, false, 1);
	connect(false, 1);
	rig_on(0, be_at_device_irql, NULL);
	assert_int_equal(raised_calls[0], 0);
	assert_int_equal(raised_calls[1], 1);
	/* DISPATCH_LEVEL does not hold it back. */
	assert_int_equal(raised_calls[2], 2);
}

static void hold_back(void *opaque)
{
	int irql = lock_acquire(&lock, 0);

	(void)opaque;
	interrupt_signal(&interrupt, true);
	for (unsigned i = 0; i < 200; i++)
		cpu_point();
	raised_calls[0] = service.calls;
	lock_release(&lock, (unsigned)irql, 0);
}

static void another_processor_waits_for_the_lock_before_it_services(void **state)
{
	(void)state;
	rig_machine(2, false, 1);
	connect(false, 1);
	rig_on(0, hold_back, NULL);
	rig_sleep(1000);
	assert_int_equal(raised_calls[0], 0);
	assert_int_equal(service.calls, 1);
	assert_int_equal(lock.contended, 1);
	assert_int_equal(service.without_lock, 0);
}

static void a_line_that_nobody_claims_is_masked_as_a_storm(void **state)
{
	(void)state;
	rig_machine(1, false, 1);
	connect(true, 0);
	interrupt_signal(&interrupt, true);
	rig_sleep(1000000);
	rig_only_findings(RULE_IRQ_STORM, 1);
	assert_int_equal(service.calls, 1000);
	assert_true(interrupt.masked);
	/* The machine goes on, without it. */
	rig_on(0, signal_off, NULL);
	rig_on(0, signal_on, NULL);
	rig_on(0, nothing, NULL);
	assert_int_equal(service.calls, 1000);
}

static void a_line_that_is_claimed_but_never_silenced_is_masked_as_a_storm(void **state)
{
	(void)state;
	rig_machine(1, false, 1);
	connect(true, 1);
	interrupt_signal(&interrupt, true);
	rig_sleep(1000000);
	rig_only_findings(RULE_IRQ_STORM, 1);
	assert_int_equal(service.calls, 1000);
	assert_true(interrupt.masked);
	rig_on(0, nothing, NULL);
}

static void services_of_a_line_that_stays_asserted_do_not_nest(void **state)
{
	(void)state;
	rig_machine(1, false, 1);
	connect(true, 1);
	service.silence_at = 900;
	interrupt_signal(&interrupt, true);
	rig_sleep(1000000);
	assert_int_equal(service.calls, 900);
	/* No more than the ways in which a processor comes to its interrupts differ by. */
	assert_in_range(service.stack_high - service.stack_low, 0, 4096);
	rig_no_findings();
}

static void a_line_that_is_silenced_now_and_then_is_no_storm(void **state)
{
	(void)state;
	rig_machine(1, false, 1);
	connect(true, 999);
	service.silence_at = 999;
	interrupt_signal(&interrupt, true);
	rig_sleep(1000000);
	assert_int_equal(service.calls, 999);
	service.silence_at = 1998;
	interrupt_signal(&interrupt, true);
	rig_sleep(1000000);
	assert_int_equal(service.calls, 1998);
	rig_no_findings();
}

static void messages_are_no_storm(void **state)
{
	(void)state;
	rig_machine(1, false, 1);
	connect(false, 0);
	service.again = 3000;
	interrupt_signal(&interrupt, true);
	rig_sleep(1000000);
	assert_int_equal(service.calls, 3001);
	rig_no_findings();
}

static void nothing_is_delivered_after_disconnection(void **state)
{
	(void)state;
	rig_machine(1, false, 1);
	connect(true, 1);
	interrupt_disconnect(&interrupt);
	interrupt_signal(&interrupt, true);
	rig_sleep(1000);
	assert_int_equal(service.calls, 0);
	assert_int_equal(interrupt_total(), 0);
}

static struct interrupt many[INTERRUPTS_MAX];
static unsigned served[INTERRUPTS_MAX];

static bool serve_one_of_many(struct interrupt *self, void *opaque)
{
	(void)opaque;
	served[self->id]++;
	return true;
}

static void each_message_reaches_its_own_routine(void **state)
{
	(void)state;
	rig_machine(2, false, 1);
	for (unsigned i = 0; i < INTERRUPTS_MAX; i++) {
		many[i] = (struct interrupt){ .service = serve_one_of_many, .lock = &lock, .id = i };
		interrupt_connect(&many[i]);
	}
	for (unsigned i = 0; i < INTERRUPTS_MAX; i += 3)
		interrupt_signal(&many[i], true);
	rig_sleep(1000);
	for (unsigned i = 0; i < INTERRUPTS_MAX; i++)
		assert_int_equal(served[i], i % 3 == 0);
}

/* Signals that come while nobody waits for anything. */
static void signals_wake(const struct cpu_config *config)
{
	assert_int_equal(cpus_start(config, NULL), 0);
	connect(false, 1);
	for (unsigned i = 1; i <= 20; i++) {
		interrupt_signal(&interrupt, true);
		rig_until(&service.calls, i);
		usleep(1000);
	}
	assert_int_equal(service.wrong_irql, 0);
	assert_int_equal(service.without_lock, 0);
	cpus_stop();
}

static void a_signal_wakes_an_idle_machine(void **state)
{
	const struct cpu_config config = { .cpus = 2, .free_running = true, .seed = 1 };

	(void)state;
	signals_wake(&config);
}

static void a_signal_wakes_threads(void **state)
{
	const struct cpu_config config = { .cpus = 2, .threads = true, .seed = 1 };

	(void)state;
	signals_wake(&config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ISOLATED(a_line_is_delivered_until_it_is_silenced),
		ISOLATED(a_line_that_falls_before_delivery_is_not_delivered),
		ISOLATED(a_message_is_delivered_once_for_each_signal),
		ISOLATED(a_message_that_arrives_while_one_is_serviced_is_not_lost),
		ISOLATED(an_interrupt_waits_for_an_irql_below_its_own),
		ISOLATED(another_processor_waits_for_the_lock_before_it_services),
		ISOLATED(a_line_that_nobody_claims_is_masked_as_a_storm),
		ISOLATED(a_line_that_is_claimed_but_never_silenced_is_masked_as_a_storm),
		ISOLATED(services_of_a_line_that_stays_asserted_do_not_nest),
		ISOLATED(a_line_that_is_silenced_now_and_then_is_no_storm),
		ISOLATED(messages_are_no_storm),
		ISOLATED(nothing_is_delivered_after_disconnection),
		ISOLATED(each_message_reaches_its_own_routine),
		ISOLATED(a_signal_wakes_an_idle_machine),
		ISOLATED(a_signal_wakes_threads),
	};

	return cmocka_run_group_tests_name("nt/interrupt", tests, NULL, NULL);
}
