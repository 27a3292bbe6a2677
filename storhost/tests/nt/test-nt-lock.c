/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Claims about ranked spin locks: that they exclude, what they do to the IRQL, and which misuse is found. */
#include "machine_rig.h"

#include <string.h>
#include <unistd.h>

#include "nt/lock.h"

#define PC ((uintptr_t)0x1000)
#define ROUNDS 200u

static struct lock startio = { .name = "StartIo", .rank = LOCK_STARTIO, .irql = IRQL_DISPATCH };
static struct lock dpc = { .name = "DPC", .rank = LOCK_DPC, .irql = IRQL_DISPATCH };
static struct lock other_dpc = { .name = "other DPC", .rank = LOCK_DPC, .irql = IRQL_DISPATCH };
static struct lock interrupt = { .name = "Interrupt", .rank = LOCK_INTERRUPT, .irql = IRQL_DEVICE };

/* What the code on a processor saw. */
static struct {
	int old[3];
	unsigned irql[6];
	bool held[4];
	bool result[4];
	unsigned locks;
	unsigned reached;
} seen;

static void raise_and_restore(void *opaque)
{
	struct cpu *cpu = cpu_self();

	(void)opaque;
	seen.old[0] = lock_acquire(&startio, PC);
	seen.irql[0] = cpu->irql;
	seen.old[1] = lock_acquire(&interrupt, PC);
	seen.irql[1] = cpu->irql;
	seen.locks = cpu->held_count;
	seen.result[0] = lock_release(&interrupt, (unsigned)seen.old[1], PC);
	seen.irql[2] = cpu->irql;
	seen.held[0] = lock_held(&startio);
	seen.held[1] = lock_held(&interrupt);
	seen.result[1] = lock_release(&startio, (unsigned)seen.old[0], PC);
	seen.irql[3] = cpu->irql;
}

static void a_lock_raises_the_irql_and_its_release_restores_it(void **state)
{
	(void)state;
	rig_machine(1, false, 1);
	rig_on(0, raise_and_restore, NULL);
	assert_int_equal(seen.old[0], IRQL_PASSIVE);
	assert_int_equal(seen.irql[0], IRQL_DISPATCH);
	assert_int_equal(seen.old[1], IRQL_DISPATCH);
	assert_int_equal(seen.irql[1], IRQL_DEVICE);
	assert_int_equal(seen.locks, 2);
	assert_true(seen.result[0]);
	assert_int_equal(seen.irql[2], IRQL_DISPATCH);
	assert_true(seen.held[0]);
	assert_false(seen.held[1]);
	assert_true(seen.result[1]);
	assert_int_equal(seen.irql[3], IRQL_PASSIVE);
	assert_int_equal(startio.acquired, 1);
	rig_no_findings();
}

/* Takes two locks and gives them back in reverse order. */
struct pair {
	struct lock *first, *second;
	uintptr_t pc;
};

static void take_pair(void *opaque)
{
	const struct pair *pair = opaque;
	int first = lock_acquire(pair->first, pair->pc), second = lock_acquire(pair->second, pair->pc);

	lock_release(pair->second, (unsigned)second, pair->pc);
	lock_release(pair->first, (unsigned)first, pair->pc);
	seen.irql[0] = cpu_self()->irql;
	seen.locks = cpu_self()->held_count;
}

static void locks_in_the_order_of_their_ranks_are_not_blamed(void **state)
{
	struct pair pairs[] = { { &dpc, &startio, PC }, { &startio, &interrupt, PC }, { &dpc, &interrupt, PC } };

	(void)state;
	rig_machine(1, false, 1);
	for (unsigned i = 0; i < 3; i++)
		rig_on(0, take_pair, &pairs[i]);
	rig_no_findings();
}

static void a_lock_below_or_beside_one_that_is_held_is_found(void **state)
{
	struct pair backwards = { &startio, &dpc, PC }, beside = { &dpc, &other_dpc, PC + 1 };

	(void)state;
	rig_machine(1, false, 1);
	rig_on(0, take_pair, &backwards);
	rig_only_findings(RULE_LOCK_ORDER, 1);
	assert_string_equal(verify_finding(0)->text, "the DPC lock is taken while the StartIo lock is held");
	rig_on(0, take_pair, &beside);
	rig_only_findings(RULE_LOCK_ORDER, 2);
	assert_int_equal(verify_finding(1)->pc, PC + 1);
	/* The locks work all the same. */
	assert_int_equal(seen.locks, 0);
	assert_int_equal(seen.irql[0], IRQL_PASSIVE);
}

static void a_lock_whose_irql_is_exceeded_is_found(void **state)
{
	struct pair pair = { &interrupt, &startio, PC };

	(void)state;
	rig_machine(1, false, 1);
	rig_on(0, take_pair, &pair);
	assert_int_equal(rig_findings(RULE_CALL_IRQL), 1);
	assert_int_equal(rig_findings(RULE_LOCK_ORDER), 1);
}

static void the_port_is_not_blamed_for_its_own_order(void **state)
{
	struct pair pair = { &startio, &dpc, 0 };

	(void)state;
	rig_machine(1, false, 1);
	rig_on(0, take_pair, &pair);
	rig_no_findings();
}

static void release_first_taken_first(void *opaque)
{
	int first = lock_acquire(&dpc, PC), second = lock_acquire(&startio, PC);

	(void)opaque;
	seen.result[0] = lock_release(&dpc, (unsigned)second, PC);
	seen.held[0] = lock_held(&dpc);
	seen.held[1] = lock_held(&startio);
	seen.result[1] = lock_release(&startio, (unsigned)first, PC);
	seen.locks = cpu_self()->held_count;
}

static void locks_released_out_of_order_are_found_and_released(void **state)
{
	(void)state;
	rig_machine(1, false, 1);
	rig_on(0, release_first_taken_first, NULL);
	rig_only_findings(RULE_LOCK_RELEASE, 1);
	assert_true(seen.result[0]);
	assert_false(seen.held[0]);
	assert_true(seen.held[1]);
	assert_true(seen.result[1]);
	assert_int_equal(seen.locks, 0);
}

static void take_twice(void *opaque)
{
	(void)opaque;
	lock_acquire(&startio, PC);
	lock_acquire(&startio, PC + 1);
	seen.reached = 1;
}

static void a_lock_that_its_holder_takes_again_is_found_and_ends_the_driver(void **state)
{
	(void)state;
	rig_machine(1, false, 1);
	assert_false(cpu_call(0, take_twice, NULL));
	rig_only_findings(RULE_LOCK_DEADLOCK, 1);
	assert_int_equal(verify_finding(0)->pc, PC + 1);
	assert_int_equal(seen.reached, 0);
	assert_non_null(cpu_death());
}

static void take_and_keep(void *opaque)
{
	(void)opaque;
	lock_acquire(&startio, PC);
}

static void release_only(void *opaque)
{
	(void)opaque;
	seen.irql[0] = cpu_raise(IRQL_DISPATCH);
	seen.result[0] = lock_release(&startio, IRQL_PASSIVE, PC + 1);
	seen.irql[1] = cpu_self()->irql;
	cpu_lower(IRQL_PASSIVE);
}

static void look_at_holder(void *opaque)
{
	(void)opaque;
	seen.held[0] = lock_held(&startio);
}

static void a_release_by_a_processor_that_does_not_hold_it_is_found_and_refused(void **state)
{
	(void)state;
	rig_machine(2, false, 1);
	rig_on(0, take_and_keep, NULL);
	rig_on(1, release_only, NULL);
	rig_only_findings(RULE_LOCK_RELEASE, 1);
	assert_int_equal(verify_finding(0)->pc, PC + 1);
	assert_false(seen.result[0]);
	assert_int_equal(seen.irql[1], IRQL_DISPATCH);
	rig_on(0, look_at_holder, NULL);
	assert_true(seen.held[0]);
}

static void a_release_of_a_lock_that_nobody_holds_is_found(void **state)
{
	(void)state;
	rig_machine(1, false, 1);
	rig_on(0, release_only, NULL);
	rig_only_findings(RULE_LOCK_RELEASE, 1);
	assert_false(seen.result[0]);
}

static void a_lock_that_is_never_given_back_is_found_by_who_waits(void **state)
{
	(void)state;
	rig_machine(2, false, 1);
	rig_on(0, take_and_keep, NULL);
	assert_false(cpu_call(1, take_and_keep, NULL));
	rig_only_findings(RULE_LOCK_DEADLOCK, 1);
	assert_non_null(strstr(verify_finding(0)->text, "never given back"));
}

/* ---- exclusion ---- */

static struct {
	struct work work;
	struct gate gate;
} visitors[4];
static unsigned inside, collisions, visits;
static bool in_real_time;

static void visit(struct work *work)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		int irql = lock_acquire(&startio, PC);

		collisions += __atomic_add_fetch(&inside, 1, __ATOMIC_ACQ_REL) != 1;
		visits++;
		cpu_point();
		if (in_real_time)
			usleep(1);
		__atomic_sub_fetch(&inside, 1, __ATOMIC_ACQ_REL);
		lock_release(&startio, (unsigned)irql, PC);
		cpu_point();
	}
	for (unsigned i = 0; i < 4; i++) {
		if (work == &visitors[i].work)
			gate_open(&visitors[i].gate);
	}
}

static void visit_from_four_processors(bool threads)
{
	in_real_time = threads;
	rig_machine(4, threads, 5);
	for (unsigned i = 0; i < 4; i++) {
		visitors[i].work.run = visit;
		cpu_post(i, &visitors[i].work);
	}
	for (unsigned i = 0; i < 4; i++)
		assert_true(cpu_wait(&visitors[i].gate));
	assert_int_equal(collisions, 0);
	assert_int_equal(visits, 4 * ROUNDS);
	assert_int_equal(startio.acquired, 4 * ROUNDS);
	rig_no_findings();
}

static void one_processor_at_a_time_is_inside(void **state)
{
	(void)state;
	visit_from_four_processors(false);
	/* They did meet at the door. */
	assert_true(startio.contended > 0);
}

static void one_thread_at_a_time_is_inside(void **state)
{
	(void)state;
	visit_from_four_processors(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ISOLATED(a_lock_raises_the_irql_and_its_release_restores_it),
		ISOLATED(locks_in_the_order_of_their_ranks_are_not_blamed),
		ISOLATED(a_lock_below_or_beside_one_that_is_held_is_found),
		ISOLATED(a_lock_whose_irql_is_exceeded_is_found),
		ISOLATED(the_port_is_not_blamed_for_its_own_order),
		ISOLATED(locks_released_out_of_order_are_found_and_released),
		ISOLATED(a_lock_that_its_holder_takes_again_is_found_and_ends_the_driver),
		ISOLATED(a_release_by_a_processor_that_does_not_hold_it_is_found_and_refused),
		ISOLATED(a_release_of_a_lock_that_nobody_holds_is_found),
		ISOLATED(a_lock_that_is_never_given_back_is_found_by_who_waits),
		ISOLATED(one_processor_at_a_time_is_inside),
		ISOLATED(one_thread_at_a_time_is_inside),
	};

	return cmocka_run_group_tests_name("nt/lock", tests, NULL, NULL);
}
