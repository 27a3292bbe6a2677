/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The driver's seam as StorPort has it, with barriers that ThreadSanitizer sees: what the driver publishes in ring
 * memory, and observes there (base/race.h).
 */
#ifndef STORHOST_NATIVE_PLATFORM_H
#define STORHOST_NATIVE_PLATFORM_H

#include "base/race.h"

#define VirtioReadBarrier StorportReadBarrier
#define VirtioWriteBarrier StorportWriteBarrier
#define VirtioFullBarrier StorportFullBarrier
#include_next <virtio_platform.h>
#undef VirtioReadBarrier
#undef VirtioWriteBarrier
#undef VirtioFullBarrier

static FORCEINLINE VOID VirtioReadBarrier(VOID)
{
	StorportReadBarrier();
	race_observe();
}

static FORCEINLINE VOID VirtioWriteBarrier(VOID)
{
	race_publish();
	StorportWriteBarrier();
}

static FORCEINLINE VOID VirtioFullBarrier(VOID)
{
	race_publish();
	StorportFullBarrier();
	race_observe();
}

#endif
