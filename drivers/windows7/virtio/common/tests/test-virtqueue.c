/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Claims about the ring: what an honest device sees and gives back, and that a dishonest one reaches nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "ring_device.h"
#include "virtqueue_split_legacy.h"

/* Above 4 GiB, and nowhere near the virtual addresses. */
#define RING_PHYSICAL 0x1230000000ull
#define TABLE_PHYSICAL 0x4560000000ull
#define DATA_PHYSICAL 0x7890000000ull

#define TABLE_ENTRIES 4

/* One queue, the device behind it, and a request for each of its slots. */
struct bench {
    VIRTQUEUE queue;
    VIRTQUEUE_MEMORY memory;
    struct ring_device dev;
    ULONG bytes;
    unsigned requests;
    struct bench_request {
        struct virtq_desc table[TABLE_ENTRIES];
        USHORT count;
        bool busy;
        uint32_t tag; /* the data address says which request it is, and which use of it */
    } *request;
    uint32_t next_tag;
};

/* What the device does at the driver's next barrier of one kind. */
static struct {
    bool armed;
    enum virtio_test_barrier kind;
    void (*act)(struct bench *b);
    struct bench *bench;
} on_barrier;

void virtio_test_barrier(enum virtio_test_barrier kind) {
    if (on_barrier.armed && on_barrier.kind == kind) {
        on_barrier.armed = false;
        on_barrier.act(on_barrier.bench);
    }
}

static void at_barrier(struct bench *b, enum virtio_test_barrier kind, void (*act)(struct bench *)) {
    on_barrier.armed = true;
    on_barrier.kind = kind;
    on_barrier.act = act;
    on_barrier.bench = b;
}

static void bench_start(struct bench *b) {
    unsigned regions = b->dev.regions;

    VirtqueueInitialize(&b->queue, b->queue.Size, &b->memory, b->dev.indirect, b->dev.event_index);
    b->dev.regions = regions;
    b->dev.next_avail = 0;
    b->dev.next_used = 0;
    b->dev.interrupts = 0;
    for (unsigned i = 0; i < b->requests; i++) {
        b->request[i].busy = false;
    }
}

static struct bench *bench_new(USHORT size, bool indirect, bool event_index) {
    struct bench *b = calloc(1, sizeof(*b));

    b->bytes = VirtqueueBytes(size);
    b->memory.Virtual = aligned_alloc(64, (b->bytes + 63u) / 64 * 64);
    b->memory.Physical = RING_PHYSICAL;
    b->memory.Slot = malloc(size * sizeof(VIRTQUEUE_SLOT));
    b->requests = size;
    b->request = calloc(size, sizeof(*b->request));
    memset(b->memory.Virtual, 0xA5, b->bytes);
    memset(b->memory.Slot, 0xA5, size * sizeof(VIRTQUEUE_SLOT));
    ring_device_add_region(&b->dev, RING_PHYSICAL, b->memory.Virtual, b->bytes);
    ring_device_add_region(&b->dev, TABLE_PHYSICAL, b->request, size * sizeof(*b->request));
    b->queue.Size = size;
    b->dev.size = size;
    b->dev.indirect = indirect;
    b->dev.event_index = event_index;
    bench_start(b);
    b->dev.desc = b->queue.DescPhysical;
    b->dev.avail = b->queue.AvailPhysical;
    b->dev.used = b->queue.UsedPhysical;
    return b;
}

static void bench_free(struct bench *b) {
    free(b->memory.Virtual);
    free(b->memory.Slot);
    free(b->request);
    free(b);
}

static uint64_t table_address(struct bench *b, unsigned index) {
    return TABLE_PHYSICAL + (uint64_t)((char *)b->request[index].table - (char *)b->request);
}

/* A request of count entries: the last one device-writable, the others readable. */
static bool add(struct bench *b, unsigned index, USHORT count) {
    struct bench_request *request = &b->request[index];

    assert_false(request->busy);
    request->count = count;
    request->tag = b->next_tag;
    for (unsigned i = 0; i < count; i++) {
        request->table[i].addr = DATA_PHYSICAL + (uint64_t)request->tag * 0x10000 + i * 0x1000;
        request->table[i].len = 0x100 + i;
        request->table[i].flags = (le16)((i + 1 < count ? VIRTQ_DESC_F_NEXT : VIRTQ_DESC_F_WRITE));
        request->table[i].next = (le16)(i + 1);
    }
    if (!VirtqueueAdd(&b->queue, request->table, table_address(b, index), count, request)) {
        return false;
    }
    b->next_tag++;
    request->busy = true;
    return true;
}

static void add_and_publish(struct bench *b, unsigned index, USHORT count) {
    assert_true(add(b, index, count));
    VirtqueuePublish(&b->queue);
}

/* The next request as the device sees it must be the driver's request index. */
static uint16_t fetch(struct bench *b, unsigned index) {
    struct bench_request *expected = &b->request[index];
    struct ring_request seen;

    assert_true(ring_device_fetch(&b->dev, &seen));
    assert_int_equal(seen.entries, expected->count);
    for (unsigned i = 0; i < seen.entries; i++) {
        assert_int_equal(seen.entry[i].addr, expected->table[i].addr);
        assert_int_equal(seen.entry[i].len, expected->table[i].len);
        assert_int_equal(seen.entry[i].write, i + 1 == seen.entries);
    }
    assert_int_equal(seen.table, b->dev.indirect ? table_address(b, index) : 0);
    assert_int_equal(seen.table_entries, b->dev.indirect ? expected->count : 0);
    return seen.head;
}

static void assert_pops(struct bench *b, unsigned index, ULONG length) {
    ULONG seen = 0;

    assert_ptr_equal(VirtqueuePop(&b->queue, &seen), &b->request[index]);
    assert_int_equal(seen, length);
    b->request[index].busy = false;
}

static void assert_pops_nothing(struct bench *b) {
    ULONG length;

    assert_null(VirtqueuePop(&b->queue, &length));
}

/* Broken, for good, with exactly the busy requests left to take. */
static void assert_broken(struct bench *b) {
    unsigned busy = 0;
    struct bench_request *taken;

    assert_true(b->queue.Broken);
    assert_pops_nothing(b);
    assert_false(VirtqueueRearm(&b->queue));
    assert_int_equal(VirtqueueFreeCount(&b->queue), 0);
    ring_device_set_used_idx(&b->dev, b->dev.next_used);
    assert_pops_nothing(b);
    for (unsigned i = 0; i < b->requests; i++) {
        busy += b->request[i].busy;
        if (!b->request[i].busy) {
            assert_false(add(b, i, 1));
        }
    }
    while ((taken = VirtqueueTake(&b->queue)) != NULL) {
        assert_true(taken->busy);
        taken->busy = false;
        busy--;
    }
    assert_int_equal(busy, 0);

    bench_start(b);
    assert_false(b->queue.Broken);
    add_and_publish(b, 0, 2);
    ring_device_complete(&b->dev, fetch(b, 0), 7);
    assert_pops(b, 0, 7);
}

static const struct {
    bool indirect, event_index;
} modes[] = {{false, false}, {false, true}, {true, false}, {true, true}};

#define FOR_EACH_MODE(m) for (unsigned m = 0; m < sizeof(modes) / sizeof(modes[0]); m++)

static void areas_are_aligned_disjoint_and_clear(void **state) {
    (void)state;
    for (USHORT size = 1; size <= VIRTQUEUE_MAX_SIZE; size = (USHORT)(size * 2)) {
        struct bench *b = bench_new(size, false, true);
        const uint8_t *bytes = b->memory.Virtual;

        assert_int_equal(b->queue.DescPhysical % 16, 0);
        assert_int_equal(b->queue.AvailPhysical % 2, 0);
        assert_int_equal(b->queue.UsedPhysical % 4, 0);
        assert_int_equal(b->queue.DescPhysical, RING_PHYSICAL);
        assert_true(b->queue.AvailPhysical >= b->queue.DescPhysical + 16u * size);
        assert_true(b->queue.UsedPhysical >= b->queue.AvailPhysical + 6u + 2u * size);
        assert_true(RING_PHYSICAL + b->bytes >= b->queue.UsedPhysical + 6u + 8u * size);
        for (uint64_t i = b->queue.DescPhysical; i < b->queue.AvailPhysical + 6u + 2u * size; i++) {
            assert_int_equal(bytes[i - RING_PHYSICAL], 0);
        }
        for (uint64_t i = b->queue.UsedPhysical; i < b->queue.UsedPhysical + 6u + 8u * size; i++) {
            assert_int_equal(bytes[i - RING_PHYSICAL], 0);
        }
        assert_int_equal(VirtqueueFreeCount(&b->queue), size);
        bench_free(b);
    }
}

static void request_arrives_whole_and_comes_back_once(void **state) {
    (void)state;
    FOR_EACH_MODE(m) {
        struct bench *b = bench_new(16, modes[m].indirect, modes[m].event_index);

        for (USHORT count = 1; count <= TABLE_ENTRIES; count++) {
            add_and_publish(b, count, count);
            assert_int_equal(VirtqueueFreeCount(&b->queue), 16 - (modes[m].indirect ? 1 : count));
            assert_pops_nothing(b);
            ring_device_complete(&b->dev, fetch(b, count), 1000u + count);
            assert_pops(b, count, 1000u + count);
            assert_pops_nothing(b);
            assert_int_equal(VirtqueueFreeCount(&b->queue), 16);
        }
        bench_free(b);
    }
}

static le16 *avail_element(struct bench *b, unsigned position) {
    return (le16 *)((char *)b->memory.Virtual + (b->dev.avail - RING_PHYSICAL) + 4) + position % b->dev.size;
}

static void see_element_but_not_index(struct bench *b) {
    assert_int_equal(ring_device_avail_idx(&b->dev), 5);
    assert_int_not_equal(*avail_element(b, 5), 0xFFFF);
}

static void nothing_shows_before_publish_and_the_index_last(void **state) {
    (void)state;
    struct bench *b = bench_new(16, true, false);

    for (unsigned i = 0; i < 5; i++) {
        assert_true(add(b, i, 2));
        assert_int_equal(ring_device_avail_idx(&b->dev), 0);
    }
    VirtqueuePublish(&b->queue);
    assert_int_equal(ring_device_avail_idx(&b->dev), 5);
    *avail_element(b, 5) = 0xFFFF;
    assert_true(add(b, 5, 2));
    at_barrier(b, BARRIER_WRITE, see_element_but_not_index);
    VirtqueuePublish(&b->queue);
    assert_false(on_barrier.armed);
    assert_int_equal(ring_device_avail_idx(&b->dev), 6);
    bench_free(b);
}

static void full_ring_refuses_and_loses_nothing(void **state) {
    (void)state;
    FOR_EACH_MODE(m) {
        struct bench *b = bench_new(8, modes[m].indirect, modes[m].event_index);
        unsigned fit = modes[m].indirect ? 8 : 2;
        USHORT left = modes[m].indirect ? 0 : 2;
        uint16_t head[8];

        for (unsigned i = 0; i < fit; i++) {
            add_and_publish(b, i, 3);
        }
        for (unsigned i = fit; i < 8; i++) {
            assert_false(add(b, i, 3));
        }
        assert_int_equal(VirtqueueFreeCount(&b->queue), left);
        assert_int_equal(b->queue.AvailIndex, fit);
        for (unsigned i = 0; i < fit; i++) {
            head[i] = fetch(b, i);
        }
        ring_device_complete(&b->dev, head[1], 1);
        assert_pops(b, 1, 1);
        add_and_publish(b, 1, 3);
        ring_device_complete(&b->dev, fetch(b, 1), 2);
        ring_device_complete(&b->dev, head[0], 3);
        assert_pops(b, 1, 2);
        assert_pops(b, 0, 3);
        assert_int_equal(VirtqueueFreeCount(&b->queue), left + (modes[m].indirect ? 2 : 6));
        bench_free(b);
    }
}

static void smallest_and_largest_ring_work(void **state) {
    (void)state;
    FOR_EACH_MODE(m) {
        struct bench *b = bench_new(1, modes[m].indirect, modes[m].event_index);

        for (unsigned i = 0; i < 5; i++) {
            add_and_publish(b, 0, 1);
            ring_device_complete(&b->dev, fetch(b, 0), i);
            assert_pops(b, 0, i);
        }
        bench_free(b);
        b = bench_new(VIRTQUEUE_MAX_SIZE, modes[m].indirect, modes[m].event_index);
        for (unsigned i = 0; i < VIRTQUEUE_MAX_SIZE; i++) {
            add_and_publish(b, i, 1);
        }
        for (unsigned i = 0; i < VIRTQUEUE_MAX_SIZE; i++) {
            ring_device_complete(&b->dev, fetch(b, i), i);
        }
        for (unsigned i = 0; i < VIRTQUEUE_MAX_SIZE; i++) {
            assert_pops(b, i, i);
        }
        bench_free(b);
    }
}

/* Driver and device as they come, until the 16-bit indices have wrapped; no interrupt and no doorbell may be lost. */
static void run_traffic(struct bench *b, unsigned requests) {
    struct {
        unsigned index;
        uint16_t head;
    } held[64];
    unsigned nheld = 0, added = 0, popped = 0, oldest = 0;
    unsigned order[64]; /* published and not fetched, as a ring */
    bool awake = false;

    while (popped < requests) {
        unsigned index = (unsigned)rand() % b->requests;
        unsigned batch = 1 + (unsigned)rand() % 4;

        for (unsigned i = 0; i < batch; i++) {
            index = (index + 1) % b->requests;
            if (!b->request[index].busy && add(b, index, (USHORT)(1 + rand() % TABLE_ENTRIES))) {
                order[added++ % 64] = index;
            }
        }
        VirtqueuePublish(&b->queue);
        awake |= VirtqueueKickNeeded(&b->queue) != 0;
        if (awake && rand() % 2) {
            ring_device_want_doorbell(&b->dev, false);
            while (oldest != added) {
                held[nheld].index = order[oldest++ % 64];
                held[nheld].head = fetch(b, held[nheld].index);
                nheld++;
            }
            ring_device_want_doorbell(&b->dev, true);
            awake = false;
        } else if (!awake) {
            assert_int_equal(oldest, added);
        }
        for (unsigned i = (unsigned)rand() % 8; i > 0 && nheld > 0; i--) {
            unsigned pick = (unsigned)rand() % nheld;

            ring_device_complete(&b->dev, held[pick].head, held[pick].index);
            held[pick] = held[--nheld];
        }
        if (b->dev.interrupts == 0) {
            assert_int_equal((uint16_t)(b->dev.next_used - b->queue.UsedIndex), 0);
            continue;
        }
        b->dev.interrupts = 0;
        VirtqueueSuppress(&b->queue);
        do {
            struct bench_request *done;
            ULONG length;

            while ((done = VirtqueuePop(&b->queue, &length)) != NULL) {
                assert_true(done->busy);
                assert_ptr_equal(done, &b->request[length]);
                done->busy = false;
                popped++;
            }
        } while (VirtqueueRearm(&b->queue));
        assert_int_equal(b->dev.interrupts, 0);
    }
    assert_false(b->queue.Broken);
}

static void indices_wrap_with_requests_out_of_order(void **state) {
    (void)state;
    srand(1);
    FOR_EACH_MODE(m) {
        struct bench *b = bench_new(64, modes[m].indirect, modes[m].event_index);

        run_traffic(b, 140000);
        bench_free(b);
    }
}

static void doorbell_follows_the_devices_wish(void **state) {
    (void)state;
    FOR_EACH_MODE(m) {
        struct bench *b = bench_new(16, modes[m].indirect, modes[m].event_index);

        assert_false(VirtqueueKickNeeded(&b->queue));
        add_and_publish(b, 0, 1);
        assert_true(VirtqueueKickNeeded(&b->queue));
        assert_false(VirtqueueKickNeeded(&b->queue));
        fetch(b, 0);
        ring_device_want_doorbell(&b->dev, false);
        add_and_publish(b, 1, 1);
        assert_false(VirtqueueKickNeeded(&b->queue));
        fetch(b, 1);
        ring_device_want_doorbell(&b->dev, true);
        assert_true(add(b, 2, 1));
        assert_true(add(b, 3, 1));
        VirtqueuePublish(&b->queue);
        assert_true(VirtqueueKickNeeded(&b->queue));
        add_and_publish(b, 4, 1);
        /* An event index that was not moved asks once; the flag asks every time. */
        assert_int_equal(VirtqueueKickNeeded(&b->queue), !modes[m].event_index);
        bench_free(b);
    }
}

static void see_publication_and_ask_for_doorbell(struct bench *b) {
    assert_int_equal(ring_device_avail_idx(&b->dev), 2);
    ring_device_want_doorbell(&b->dev, true);
}

static void kick_decision_is_made_behind_the_publication(void **state) {
    (void)state;
    FOR_EACH_MODE(m) {
        struct bench *b = bench_new(16, modes[m].indirect, modes[m].event_index);

        add_and_publish(b, 0, 1);
        assert_true(VirtqueueKickNeeded(&b->queue));
        fetch(b, 0);
        ring_device_want_doorbell(&b->dev, false);
        add_and_publish(b, 1, 1);
        at_barrier(b, BARRIER_FULL, see_publication_and_ask_for_doorbell);
        assert_true(VirtqueueKickNeeded(&b->queue));
        assert_false(on_barrier.armed);
        bench_free(b);
    }
}

static void suppressed_queue_is_silent_until_rearmed(void **state) {
    (void)state;
    FOR_EACH_MODE(m) {
        struct bench *b = bench_new(16, modes[m].indirect, modes[m].event_index);

        for (unsigned i = 0; i < 4; i++) {
            add_and_publish(b, i, 1);
        }
        ring_device_complete(&b->dev, fetch(b, 0), 0);
        assert_int_equal(b->dev.interrupts, 1);
        VirtqueueSuppress(&b->queue);
        ring_device_complete(&b->dev, fetch(b, 1), 0);
        ring_device_complete(&b->dev, fetch(b, 2), 0);
        assert_int_equal(b->dev.interrupts, 1);
        for (unsigned i = 0; i < 3; i++) {
            assert_pops(b, i, 0);
        }
        assert_false(VirtqueueRearm(&b->queue));
        ring_device_complete(&b->dev, fetch(b, 3), 0);
        assert_int_equal(b->dev.interrupts, 2);
        assert_pops(b, 3, 0);
        bench_free(b);
    }
}

static void complete_request_0(struct bench *b) {
    ring_device_complete(&b->dev, fetch(b, 0), 5);
    assert_int_equal(b->dev.interrupts, 1);
}

static void completion_during_rearm_is_not_lost(void **state) {
    (void)state;
    FOR_EACH_MODE(m) {
        struct bench *b = bench_new(16, modes[m].indirect, modes[m].event_index);

        add_and_publish(b, 0, 1);
        add_and_publish(b, 1, 1);
        VirtqueueSuppress(&b->queue);
        assert_pops_nothing(b);
        at_barrier(b, BARRIER_FULL, complete_request_0);
        assert_true(VirtqueueRearm(&b->queue));
        assert_false(on_barrier.armed);
        assert_true(VirtqueueRearm(&b->queue));
        assert_pops(b, 0, 5);

        VirtqueueSuppress(&b->queue);
        assert_pops_nothing(b);
        ring_device_complete(&b->dev, fetch(b, 1), 6);
        assert_int_equal(b->dev.interrupts, 1);
        assert_true(VirtqueueRearm(&b->queue));
        assert_pops(b, 1, 6);
        assert_false(VirtqueueRearm(&b->queue));
        bench_free(b);
    }
}

static uint16_t late_head;

static void write_used_element_late(struct bench *b) {
    ring_device_put(&b->dev, 0, late_head, 77);
}

static void used_element_is_read_behind_the_used_index(void **state) {
    (void)state;
    struct bench *b = bench_new(16, true, false);

    add_and_publish(b, 0, 2);
    late_head = fetch(b, 0);
    ring_device_put(&b->dev, 0, 0xFFFF, 0);
    ring_device_set_used_idx(&b->dev, 1);
    at_barrier(b, BARRIER_READ, write_used_element_late);
    assert_pops(b, 0, 77);
    assert_false(on_barrier.armed);
    bench_free(b);
}

static void take_returns_what_the_stopped_device_owned(void **state) {
    (void)state;
    FOR_EACH_MODE(m) {
        struct bench *b = bench_new(16, modes[m].indirect, modes[m].event_index);
        struct bench_request *taken;
        unsigned count = 0;

        assert_null(VirtqueueTake(&b->queue));
        bench_start(b);
        for (unsigned i = 0; i < 5; i++) {
            add_and_publish(b, i, 3);
        }
        ring_device_complete(&b->dev, fetch(b, 0), 0);
        ring_device_complete(&b->dev, fetch(b, 1), 0);
        assert_pops(b, 0, 0);
        assert_pops(b, 1, 0);
        while ((taken = VirtqueueTake(&b->queue)) != NULL) {
            assert_true(taken->busy);
            taken->busy = false;
            count++;
        }
        assert_int_equal(count, 3);
        assert_null(VirtqueueTake(&b->queue));
        bench_start(b);
        assert_int_equal(VirtqueueFreeCount(&b->queue), 16);
        run_traffic(b, 100);
        bench_free(b);
    }
}

static void full_ring_can_be_taken_whole(void **state) {
    (void)state;
    FOR_EACH_MODE(m) {
        struct bench *b = bench_new(16, modes[m].indirect, modes[m].event_index);
        unsigned count = 0;

        for (unsigned i = 0; i < 16; i++) {
            add_and_publish(b, i, 1);
        }
        while (VirtqueueTake(&b->queue) != NULL) {
            count++;
        }
        assert_int_equal(count, 16);
        bench_free(b);
    }
}

static void taken_request_cannot_be_popped(void **state) {
    (void)state;
    FOR_EACH_MODE(m) {
        struct bench *b = bench_new(16, modes[m].indirect, modes[m].event_index);

        add_and_publish(b, 0, 2);
        assert_ptr_equal(VirtqueueTake(&b->queue), &b->request[0]);
        ring_device_complete(&b->dev, fetch(b, 0), 0);
        assert_pops_nothing(b);
        bench_free(b);
    }
}

static void used_id_out_of_range_breaks_the_queue(void **state) {
    (void)state;
    FOR_EACH_MODE(m) {
        for (unsigned lie = 0; lie < 5; lie++) {
            struct bench *b = bench_new(16, modes[m].indirect, modes[m].event_index);
            uint16_t head;

            add_and_publish(b, 0, 2);
            add_and_publish(b, 1, 2);
            head = fetch(b, 0);
            const uint32_t id[5] = {16, 0xFFFF, 0x10000u + head, 0xFFFFFFFFu, 0x80000000u + head};

            ring_device_put(&b->dev, 0, id[lie], 1);
            ring_device_set_used_idx(&b->dev, 1);
            assert_pops_nothing(b);
            assert_broken(b);
            bench_free(b);
        }
    }
}

static void used_id_not_in_flight_breaks_the_queue(void **state) {
    (void)state;
    FOR_EACH_MODE(m) {
        for (uint32_t id = 0; id < 16; id++) {
            struct bench *b = bench_new(16, modes[m].indirect, modes[m].event_index);
            uint16_t head[2];

            add_and_publish(b, 0, 3);
            add_and_publish(b, 1, 3);
            head[0] = fetch(b, 0);
            head[1] = fetch(b, 1);
            if (id != head[0] && id != head[1]) { /* free, or inside a chain */
                ring_device_put(&b->dev, 0, id, 1);
                ring_device_set_used_idx(&b->dev, 1);
                assert_pops_nothing(b);
                assert_broken(b);
            }
            bench_free(b);
        }
    }
}

static void duplicate_completion_breaks_the_queue(void **state) {
    (void)state;
    FOR_EACH_MODE(m) {
        struct bench *b = bench_new(16, modes[m].indirect, modes[m].event_index);
        uint16_t head;

        add_and_publish(b, 0, 2);
        add_and_publish(b, 1, 2);
        head = fetch(b, 0);
        ring_device_complete(&b->dev, head, 1);
        ring_device_complete(&b->dev, head, 1);
        assert_pops(b, 0, 1);
        assert_pops_nothing(b);
        assert_broken(b);
        bench_free(b);
    }
}

static void jump_of_the_used_index_breaks_the_queue(void **state) {
    static const uint16_t jump[] = {3, 16, 17, 0x7FFF, 0x8000, 0xFFFF};

    (void)state;
    FOR_EACH_MODE(m) {
        for (unsigned i = 0; i < sizeof(jump) / sizeof(jump[0]); i++) {
            for (unsigned seen_by_rearm = 0; seen_by_rearm < 2; seen_by_rearm++) {
                struct bench *b = bench_new(16, modes[m].indirect, modes[m].event_index);

                for (unsigned n = 0; n < 3; n++) {
                    add_and_publish(b, n, 2);
                }
                ring_device_complete(&b->dev, fetch(b, 0), 1);
                assert_pops(b, 0, 1);
                ring_device_set_used_idx(&b->dev, (uint16_t)(1 + jump[i]));
                if (seen_by_rearm) {
                    assert_false(VirtqueueRearm(&b->queue));
                } else {
                    assert_pops_nothing(b);
                }
                assert_broken(b);
                bench_free(b);
            }
        }
    }
}

static void completion_of_nothing_breaks_an_idle_queue(void **state) {
    (void)state;
    struct bench *b = bench_new(16, true, false);

    ring_device_set_used_idx(&b->dev, 1);
    assert_pops_nothing(b);
    assert_broken(b);
    bench_free(b);
}

static void accepted_index_cannot_be_taken_back(void **state) {
    (void)state;
    FOR_EACH_MODE(m) {
        struct bench *b = bench_new(16, modes[m].indirect, modes[m].event_index);
        uint16_t head;

        add_and_publish(b, 0, 2);
        head = fetch(b, 0);
        ring_device_put(&b->dev, 0, head, 9);
        ring_device_set_used_idx(&b->dev, 1);
        assert_true(VirtqueueRearm(&b->queue));
        ring_device_set_used_idx(&b->dev, 0);
        assert_pops(b, 0, 9);
        assert_pops_nothing(b);
        assert_broken(b);
        bench_free(b);
    }
}

/* The drain of a driver, against a device that announces and takes back at every look. */
static void flip_used_index(struct bench *b) {
    ring_device_set_used_idx(&b->dev, (uint16_t)(b->queue.UsedIndex + 1));
}

static void drain_ends_whatever_the_device_does(void **state) {
    (void)state;
    FOR_EACH_MODE(m) {
        struct bench *b = bench_new(16, modes[m].indirect, modes[m].event_index);
        unsigned pops = 0, rearms = 0;
        bool again;

        for (unsigned i = 0; i < 3; i++) {
            add_and_publish(b, i, 2);
            ring_device_put(&b->dev, (uint16_t)i, fetch(b, i), 0);
        }
        do {
            struct bench_request *done;
            ULONG length;

            while ((done = VirtqueuePop(&b->queue, &length)) != NULL) {
                done->busy = false;
                pops++;
                ring_device_set_used_idx(&b->dev, b->queue.UsedIndex);
            }
            at_barrier(b, BARRIER_FULL, flip_used_index);
            again = VirtqueueRearm(&b->queue);
            ring_device_set_used_idx(&b->dev, b->queue.UsedIndex);
            assert_true(++rearms <= 16);
        } while (again);
        assert_int_equal(pops, 3);
        assert_broken(b);
        bench_free(b);
    }
}

static void scribbling_over_the_drivers_areas_changes_nothing(void **state) {
    (void)state;
    srand(2);
    FOR_EACH_MODE(m) {
        struct bench *b = bench_new(32, modes[m].indirect, modes[m].event_index);
        uint8_t *bytes = b->memory.Virtual;
        size_t scribble = b->queue.UsedPhysical - RING_PHYSICAL; /* everything before the device's area */
        uint16_t head[32];
        unsigned held[32], nheld = 0, popped = 0;

        while (popped < 5000) {
            unsigned index = (unsigned)rand() % 32;

            if (!b->request[index].busy && add(b, index, (USHORT)(1 + rand() % TABLE_ENTRIES))) {
                VirtqueuePublish(&b->queue);
                head[index] = *avail_element(b, (USHORT)(b->queue.AvailIndex - 1));
                held[nheld++] = index;
            }
            for (size_t i = 0; i < scribble; i++) {
                bytes[i] = (uint8_t)rand();
            }
            ring_device_want_doorbell(&b->dev, rand() % 2);
            VirtqueueKickNeeded(&b->queue);
            if (nheld > 0 && rand() % 3) {
                unsigned pick = (unsigned)rand() % nheld;

                index = held[pick];
                held[pick] = held[--nheld];
                ring_device_put(&b->dev, b->dev.next_used++, head[index], index);
                ring_device_set_used_idx(&b->dev, b->dev.next_used);
                assert_pops(b, index, index);
                popped++;
            }
            VirtqueueRearm(&b->queue);
        }
        assert_false(b->queue.Broken);
        while (nheld > 0) {
            nheld--;
            ring_device_put(&b->dev, b->dev.next_used++, head[held[nheld]], held[nheld]);
            ring_device_set_used_idx(&b->dev, b->dev.next_used);
            assert_pops(b, held[nheld], held[nheld]);
        }
        assert_int_equal(VirtqueueFreeCount(&b->queue), 32);
        bench_free(b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(areas_are_aligned_disjoint_and_clear),
        cmocka_unit_test(request_arrives_whole_and_comes_back_once),
        cmocka_unit_test(nothing_shows_before_publish_and_the_index_last),
        cmocka_unit_test(full_ring_refuses_and_loses_nothing),
        cmocka_unit_test(smallest_and_largest_ring_work),
        cmocka_unit_test(indices_wrap_with_requests_out_of_order),
        cmocka_unit_test(doorbell_follows_the_devices_wish),
        cmocka_unit_test(kick_decision_is_made_behind_the_publication),
        cmocka_unit_test(suppressed_queue_is_silent_until_rearmed),
        cmocka_unit_test(completion_during_rearm_is_not_lost),
        cmocka_unit_test(used_element_is_read_behind_the_used_index),
        cmocka_unit_test(take_returns_what_the_stopped_device_owned),
        cmocka_unit_test(full_ring_can_be_taken_whole),
        cmocka_unit_test(taken_request_cannot_be_popped),
        cmocka_unit_test(used_id_out_of_range_breaks_the_queue),
        cmocka_unit_test(used_id_not_in_flight_breaks_the_queue),
        cmocka_unit_test(duplicate_completion_breaks_the_queue),
        cmocka_unit_test(jump_of_the_used_index_breaks_the_queue),
        cmocka_unit_test(completion_of_nothing_breaks_an_idle_queue),
        cmocka_unit_test(accepted_index_cannot_be_taken_back),
        cmocka_unit_test(drain_ends_whatever_the_device_does),
        cmocka_unit_test(scribbling_over_the_drivers_areas_changes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
