/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Running a piece of machine code with a whole register file given, and leaving it in the middle. x86-64 only. */
#ifndef STORHOST_TESTS_RUN_DRIVER_H
#define STORHOST_TESTS_RUN_DRIVER_H

#include <stdint.h>

enum { RAX, RCX, RDX, RBX, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15, REGISTERS };

/* The order and alignment are known to run_driver.c's assembly. */
struct registers {
	uint8_t fx[512] __attribute__((aligned(16))); /* as fxsave64 stores them */
	uint64_t general[REGISTERS];
	uint64_t flags;
};

/*
 * Loads the registers, calls code on the given stack (its highest address; NULL: the present one) and stores what the
 * registers are then. 0 if the code returned, 1 if it was abandoned.
 */
int run_driver(struct registers *registers, const void *code, void *stack);

/*
 * Ends the run_driver() in progress, from whatever stack. It does not return, but is not declared so: AddressSanitizer
 * would look for the end of a stack that it does not know.
 */
void run_driver_abandon(void);

#endif
