/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Interrupt objects: a line or a message of the device, connected to a service routine under a lock. */
#ifndef STORHOST_NT_INTERRUPT_H
#define STORHOST_NT_INTERRUPT_H

#include <stdbool.h>
#include <stdint.h>

#define INTERRUPTS_MAX 64

struct interrupt {
	/* Runs at IRQL_DEVICE with the lock held; whether it was this device's. */
	bool (*service)(struct interrupt *self, void *opaque);
	void *opaque;
	struct lock *lock;
	unsigned id;       /* message number, for the service routine */
	bool level;        /* a line: stays pending while asserted */
	bool pending;      /* a message has arrived, or the line is asserted */
	bool active;       /* being serviced */
	bool masked;       /* a storm was stopped */
	unsigned unheeded; /* services in a row that left the line asserted */
	uint64_t delivered;
	uint64_t raised; /* times that it was signalled */
};

void interrupt_connect(struct interrupt *interrupt);
void interrupt_disconnect(struct interrupt *interrupt);
/* None is connected any more; nobody is in one. */
void interrupt_forget(void);
/* From the device, any thread. A line: asserted as said. A message: arrives (asserted is true). */
void interrupt_signal(struct interrupt *interrupt, bool asserted);

bool interrupt_asserted(const struct interrupt *interrupt);
/* How often it was signalled so far. */
uint64_t interrupt_raised(const struct interrupt *interrupt);

/* For the scheduler: is there one that a processor at `irql` could take now, and: take it. */
bool interrupt_waiting(unsigned irql);
bool interrupt_take(void);
uint64_t interrupt_total(void);

#endif
