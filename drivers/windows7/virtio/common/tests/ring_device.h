/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The device side of a split virtqueue for tests, written from the specification and from nothing of the driver's.
 *
 * It reaches memory only by physical address, through the regions that the test declares, and fails the test when the
 * driver breaks a rule. It lies only where the test calls ring_device_put, ring_device_set_used_idx or writes to the
 * memory itself.
 */
#ifndef RING_DEVICE_H
#define RING_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RING_DEVICE_REGIONS 4
#define RING_DEVICE_ENTRIES 16

struct ring_device {
    struct ring_device_region {
        uint64_t physical;
        uint8_t *bytes;
        size_t length;
    } region[RING_DEVICE_REGIONS];
    unsigned regions;

    uint64_t desc, avail, used;
    uint16_t size;
    bool indirect; /* whether chains must be indirect; they must not be otherwise */
    bool event_index;
    uint16_t next_avail; /* free-running */
    uint16_t next_used;  /* free-running */
    unsigned interrupts; /* that the driver did not suppress */
};

struct ring_request {
    uint16_t head;
    uint64_t table;         /* indirect: its address */
    uint32_t table_entries; /* and its length */
    unsigned entries;
    struct {
        uint64_t addr;
        uint32_t len;
        bool write;
    } entry[RING_DEVICE_ENTRIES];
};

void ring_device_add_region(struct ring_device *dev, uint64_t physical, void *bytes, size_t length);
uint16_t ring_device_avail_idx(struct ring_device *dev);
/* False: nothing new is available. */
bool ring_device_fetch(struct ring_device *dev, struct ring_request *request);
/* Writes one used element, announces nothing. */
void ring_device_put(struct ring_device *dev, uint16_t position, uint32_t id, uint32_t len);
void ring_device_set_used_idx(struct ring_device *dev, uint16_t idx);
/* Finishes a request as a device should, and interrupts if the driver wants it. */
void ring_device_complete(struct ring_device *dev, uint16_t head, uint32_t len);
/* Whether the driver shall ring the doorbell for the next request. */
void ring_device_want_doorbell(struct ring_device *dev, bool wanted);

#endif
