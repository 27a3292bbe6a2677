/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A device that is pulled out: what it asserted is asserted no more. */
#include "port_rig.h"

#include "base/inject.h"

static uint64_t delivered[2]; /* interrupts: before the removal, and while it lasts */

static uint64_t interrupts(void)
{
	return rig.port->line.interrupt.delivered;
}

static void assert_line(void)
{
	rig.device.bus.set_intx(rig.device.bus.opaque, true);
}

/* The function is gone already, and its line is not yet down: longer than a storm needs. */
static void dawdle(void)
{
	delivered[0] = interrupts();
	assert_line();
	for (unsigned i = 0; i < 5000; i++)
		cpu_point();
	delivered[1] = interrupts();
}

static void a_device_that_is_being_pulled_out_holds_no_line(void **state)
{
	struct error err = { "" };

	(void)state;
	rig.cpus = 2;
	rig.pulled_out = dawdle;
	rig_port();
	assert_int_equal(port_surprise_remove(rig.port, &err), 0);
	/* It was there to be serviced, once, by a driver that refuses it. */
	assert_int_equal(delivered[1] - delivered[0], 1);
	assert_false(interrupt_asserted(&rig.port->line.interrupt));
	rig_no_findings();
}

static void vanish(void *opaque)
{
	assert_line();
	power_vanish(opaque);
}

static void an_interrupt_that_is_late_does_not_assert_the_line_of_a_device_that_is_gone(void **state)
{
	struct error err = { "" };

	(void)state;
	assert_int_equal(inject_start(1, &err), 0);
	rig_port();
	inject_arm(INJECT_INTERRUPT_DELAY, 1);
	rig_on(0, vanish, rig.port);
	assert_true(inject_has_struck());
	rig_sleep(200000000);
	assert_false(interrupt_asserted(&rig.port->line.interrupt));
	rig_no_findings();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ISOLATED(a_device_that_is_being_pulled_out_holds_no_line),
		ISOLATED(an_interrupt_that_is_late_does_not_assert_the_line_of_a_device_that_is_gone),
	};

	return cmocka_run_group_tests_name("port/removal", tests, NULL, NULL);
}
