/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The device side of a split virtqueue for tests.
 */
#include "ring_device.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define DESC_NEXT 1
#define DESC_WRITE 2
#define DESC_INDIRECT 4

#define USED_ELEMENT(position, size) (4 + 8 * (uint64_t)((position) % (size)))
#define AVAIL_ELEMENT(position, size) (4 + 2 * (uint64_t)((position) % (size)))

void ring_device_add_region(struct ring_device *dev, uint64_t physical, void *bytes, size_t length) {
    assert_true(dev->regions < RING_DEVICE_REGIONS);
    dev->region[dev->regions].physical = physical;
    dev->region[dev->regions].bytes = bytes;
    dev->region[dev->regions].length = length;
    dev->regions++;
}

static uint8_t *at(struct ring_device *dev, uint64_t physical, size_t length) {
    for (unsigned i = 0; i < dev->regions; i++) {
        uint64_t offset = physical - dev->region[i].physical;

        if (offset < dev->region[i].length && length <= dev->region[i].length - offset) {
            return dev->region[i].bytes + offset;
        }
    }
    fail_msg("the device was given address %#llx, where there is no memory", (unsigned long long)physical);
    return NULL;
}

static uint16_t read16(struct ring_device *dev, uint64_t physical) {
    uint16_t value;

    memcpy(&value, at(dev, physical, sizeof(value)), sizeof(value));
    return value;
}

static uint32_t read32(struct ring_device *dev, uint64_t physical) {
    uint32_t value;

    memcpy(&value, at(dev, physical, sizeof(value)), sizeof(value));
    return value;
}

static uint64_t read64(struct ring_device *dev, uint64_t physical) {
    uint64_t value;

    memcpy(&value, at(dev, physical, sizeof(value)), sizeof(value));
    return value;
}

static void write16(struct ring_device *dev, uint64_t physical, uint16_t value) {
    memcpy(at(dev, physical, sizeof(value)), &value, sizeof(value));
}

static void write32(struct ring_device *dev, uint64_t physical, uint32_t value) {
    memcpy(at(dev, physical, sizeof(value)), &value, sizeof(value));
}

uint16_t ring_device_avail_idx(struct ring_device *dev) {
    return read16(dev, dev->avail + 2);
}

/* A chain in a table of count descriptors, from entry first on. [virtio 2.7.5] */
static void fetch_chain(struct ring_device *dev, uint64_t table, unsigned count, unsigned first,
                        struct ring_request *request) {
    unsigned index = first;
    uint16_t flags;
    bool writable = false;

    request->entries = 0;
    do {
        uint64_t desc = table + 16 * (uint64_t)index;

        assert_true(index < count);
        assert_true(request->entries < dev->size && request->entries < RING_DEVICE_ENTRIES);
        flags = read16(dev, desc + 12);
        assert_int_equal(flags & ~(DESC_NEXT | DESC_WRITE), 0);
        assert_true((flags & DESC_WRITE) || !writable);
        writable = (flags & DESC_WRITE) != 0;
        request->entry[request->entries].addr = read64(dev, desc);
        request->entry[request->entries].len = read32(dev, desc + 8);
        request->entry[request->entries].write = writable;
        request->entries++;
        index = read16(dev, desc + 14);
    } while (flags & DESC_NEXT);
}

bool ring_device_fetch(struct ring_device *dev, struct ring_request *request) {
    uint16_t pending = (uint16_t)(ring_device_avail_idx(dev) - dev->next_avail);
    uint64_t desc;
    uint16_t flags;

    assert_true(pending <= dev->size);
    if (pending == 0) {
        return false;
    }
    request->head = read16(dev, dev->avail + AVAIL_ELEMENT(dev->next_avail, dev->size));
    assert_true(request->head < dev->size);
    dev->next_avail++;

    desc = dev->desc + 16 * (uint64_t)request->head;
    flags = read16(dev, desc + 12);
    request->table = 0;
    request->table_entries = 0;
    if (dev->indirect) {
        assert_int_equal(flags, DESC_INDIRECT);
        assert_int_equal(read32(dev, desc + 8) % 16, 0);
        request->table = read64(dev, desc);
        request->table_entries = read32(dev, desc + 8) / 16;
        fetch_chain(dev, request->table, request->table_entries, 0, request);
    } else {
        fetch_chain(dev, dev->desc, dev->size, request->head, request);
    }
    return true;
}

void ring_device_put(struct ring_device *dev, uint16_t position, uint32_t id, uint32_t len) {
    write32(dev, dev->used + USED_ELEMENT(position, dev->size), id);
    write32(dev, dev->used + USED_ELEMENT(position, dev->size) + 4, len);
}

void ring_device_set_used_idx(struct ring_device *dev, uint16_t idx) {
    write16(dev, dev->used + 2, idx);
}

void ring_device_complete(struct ring_device *dev, uint16_t head, uint32_t len) {
    uint16_t position = dev->next_used;
    uint16_t flags = read16(dev, dev->avail);

    ring_device_put(dev, position, head, len);
    dev->next_used++;
    ring_device_set_used_idx(dev, dev->next_used);
    if (dev->event_index) {
        assert_int_equal(flags, 0); /* [virtio 2.7.7.1] */
        if (read16(dev, dev->avail + 4 + 2 * (uint64_t)dev->size) == position) {
            dev->interrupts++;
        }
    } else if ((flags & 1) == 0) {
        dev->interrupts++;
    }
}

void ring_device_want_doorbell(struct ring_device *dev, bool wanted) {
    if (dev->event_index) {
        write16(dev, dev->used + 4 + 8 * (uint64_t)dev->size, (uint16_t)(dev->next_avail - (wanted ? 0 : 1)));
    } else {
        write16(dev, dev->used, wanted ? 0 : 1);
    }
}
