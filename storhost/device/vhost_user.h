/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A virtio block device whose requests are somebody else's work: the PCI function is virtio_pci's, the ring is processed
 * by a vhost-user back end (qemu-storage-daemon, say) in guest memory, by itself and in real time.
 *
 * What the driver sees of the function (layout, capabilities, queue size, register faults) is as its options say;
 * features, capacity and limits are the back end's. The rules of registers and of where the ring lies are judged as for
 * the contract device, chains when a doorbell rings; what the back end does with memory is not seen.
 *
 * A back end that dies is looked for again for VHOST_RETURN_S seconds. What it had fetched is lost: the driver sees
 * DEVICE_NEEDS_RESET. A reset is complete when the back end has put down all that it had fetched.
 *
 * Threads: one lock, as in virtio_blk.h. A thread of the device's own waits for the back end; it touches no registers of
 * interrupts but says wake(), so that interrupts come out of step().
 */
#ifndef STORHOST_DEVICE_VHOST_USER_H
#define STORHOST_DEVICE_VHOST_USER_H

#include "device/open.h"

#define VHOST_RETURN_S 30

void vhost_user_defaults(struct device_choice *choice);
/*
 * Of the keys of virtio_blk_help those of the PCI function. What only the back end decides (block size, limits, offered
 * features) must be so already, see device_ops.lacks; how requests are ordered and batched is any device's own affair.
 */
int vhost_user_parse(struct device_choice *choice, const char *options, struct error *err);
int vhost_user_check(const struct device_choice *choice, struct error *err);
struct device *vhost_user_open(const struct device_choice *choice, const char *disk, struct error *err);

#endif
