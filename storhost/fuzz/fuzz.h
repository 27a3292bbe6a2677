/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Fuzzing of a hosted driver: bytes from anywhere (libFuzzer, a seed, a file) are read as what a device answers or as
 * what Windows asks, in a small machine of their own that lives from power-on to the adapter's removal.
 *
 *   FUZZ_DEVICE   A fixed job on a device that lies where the bytes say so: in configuration space, registers, used
 *                 ring, status bytes, data, interrupts. Its options, too, are taken from the bytes.
 *   FUZZ_WINDOWS  Requests, resets, power and Plug and Play in the order that the bytes say, on an honest device.
 *
 * What makes a run bad: a finding that the peer's lies do not excuse, a machine that died, a request that came back
 * twice or never, good data that nobody wrote. The same bytes give the same run.
 */
#ifndef STORHOST_FUZZ_FUZZ_H
#define STORHOST_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define FUZZ_INPUT_MAX 4096u

enum fuzz_side { FUZZ_DEVICE, FUZZ_WINDOWS };

/* Once per process, which has no other machine. driver: as of port_load; it outlives the runs. */
int fuzz_open(const char *driver, struct error *err);
/*
 * Whether the run was good; if not, what was wrong is on standard error, and there can be no other: the machine may be
 * anywhere in the driver.
 */
bool fuzz_run(enum fuzz_side side, const uint8_t *bytes, size_t size);
/* Set: what a run does is told on standard error. */
extern bool fuzz_verbose;

#endif
