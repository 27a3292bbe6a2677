/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* DPCs and timers of the driver's, when the driver is gone. */
#ifndef STORHOST_NT_DISPATCH_H
#define STORHOST_NT_DISPATCH_H

void dispatch_forget(void);

#endif
