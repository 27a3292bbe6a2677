/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The machine's date, and what drivers see of it and of the processor without a call. */
#ifndef STORHOST_NT_CLOCK_H
#define STORHOST_NT_CLOCK_H

#include <stdint.h>

#include "base/error.h"

/* In units of 100 ns since 1601. The machine is started at a fixed date so that runs repeat. */
uint64_t clock_system_time(void);

/*
 * What a driver is to see without a call, before it is loaded: the number of processors; on x64 KUSER_SHARED_DATA, the
 * processor's control region behind gs, and CR8, for which x86 has exports.
 */
int clock_share(struct error *err);

#endif
