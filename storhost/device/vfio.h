/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A virtio PCI function of the machine that storhost runs on, which Linux lends to it through VFIO. */
#ifndef STORHOST_DEVICE_VFIO_H
#define STORHOST_DEVICE_VFIO_H

#include "base/error.h"
#include "device/device.h"

/*
 * address: [DOMAIN:]BUS:DEVICE.FUNCTION; the function is bound to vfio-pci, alone in its IOMMU group or with others that
 * are. NULL and a sentence in *err if it cannot be had.
 *
 * control, if not empty, is a file, as a rule a serial line, at the other end of which somebody has the function in his
 * hands. He is told, a line each, and answers each with the line `ok` or with one that says why not:
 *   resize ADDRESS BYTES   its medium has that size from now on
 *   pull ADDRESS 0         it leaves the machine: Linux asks us to let it go
 *   plug ADDRESS 0         it comes back to where it was, and Linux binds it to vfio-pci
 *
 * Its registers can be laid over the machine's (bar_map), so that nobody stands between the driver and them, unless they
 * are to be `seen`, which lets doorbells be counted and rules about registers be judged; interrupts
 * come through eventfds; the IOMMU shows it the machine's memory and nothing else. A virtio device that does not offer
 * ACCESS_PLATFORM disregards the IOMMU [virtio 6.1]: it is refused unless the machine's memory is physical memory, at
 * its own addresses (struct device_memory).
 */
struct device *vfio_create(const char *address, const char *control, bool seen, struct error *err);

#endif
