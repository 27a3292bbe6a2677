/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Claims about the transport, against registers that behave by script. Every access is checked for its width, every
 * status write for bits that only a reset may clear.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "virtio_pci_modern_miniport.h"

#define NEVER 0xFFFFFFFFu

#define NOTIFY_BASE 0x1000
#define NOTIFY_LENGTH 0x20
#define ISR_BASE 0x2000
#define CONFIG_BASE 0x3000
#define CONFIG_LENGTH 0x40
#define BAR_LENGTH 0x4000

#define QUEUES 2

/* [virtio 4.1.4.3] */
static const struct {
    const char *name;
    unsigned offset, width;
    bool writable;
} registers[] = {
    {"device_feature_select", 0x00, 4, true}, {"device_feature", 0x04, 4, false},
    {"driver_feature_select", 0x08, 4, true}, {"driver_feature", 0x0C, 4, true},
    {"config_msix_vector", 0x10, 2, true},    {"num_queues", 0x12, 2, false},
    {"device_status", 0x14, 1, true},         {"config_generation", 0x15, 1, false},
    {"queue_select", 0x16, 2, true},          {"queue_size", 0x18, 2, true},
    {"queue_msix_vector", 0x1A, 2, true},     {"queue_enable", 0x1C, 2, true},
    {"queue_notify_off", 0x1E, 2, false},     {"queue_desc_lo", 0x20, 4, true},
    {"queue_desc_hi", 0x24, 4, true},         {"queue_driver_lo", 0x28, 4, true},
    {"queue_driver_hi", 0x2C, 4, true},       {"queue_device_lo", 0x30, 4, true},
    {"queue_device_hi", 0x34, 4, true},
};

static struct {
    uint8_t bar[BAR_LENGTH]; /* gives the registers their addresses; only the device configuration lies in it */
    char log[4096];
    unsigned accesses;
    unsigned stalled_us;

    bool absent;
    unsigned reset_after_us; /* NEVER, or the stall that reset needs */
    bool refuses_features, refuses_vectors, lacks_vectors, refuses_size, refuses_enable;
    unsigned changing_reads; /* configuration reads that will still see a change */
    uint64_t offered;

    uint64_t accepted;
    uint32_t device_select, driver_select;
    uint8_t status, isr, generation;
    bool resetting;
    uint16_t config_vector, queue_select;
    struct {
        uint16_t size, vector, enable, notify_off;
        uint32_t address[6];
    } queue[QUEUES];
} fake;

static VIRTIO_PCI pci;

static void fake_reset(void) {
    memset(&fake, 0, sizeof(fake));
    fake.offered = VIRTIO_FEATURE(VIRTIO_F_VERSION_1) | VIRTIO_FEATURE(VIRTIO_F_INDIRECT_DESC) | 0x244;
    for (unsigned i = 0; i < QUEUES; i++) {
        fake.queue[i].size = 128;
        fake.queue[i].vector = VIRTIO_MSI_NO_VECTOR;
        fake.queue[i].notify_off = (uint16_t)i;
    }
    pci.Context = &fake;
    pci.Common = fake.bar;
    pci.Notify = fake.bar + NOTIFY_BASE;
    pci.Isr = fake.bar + ISR_BASE;
    pci.Device = fake.bar + CONFIG_BASE;
    pci.NotifyLength = NOTIFY_LENGTH;
    pci.DeviceLength = CONFIG_LENGTH;
    pci.NotifyMultiplier = 4;
}

static void record(const char *arrow, const char *name, unsigned value) {
    size_t used = strlen(fake.log);

    snprintf(fake.log + used, sizeof(fake.log) - used, "%s %s %x\n", name, arrow, value);
}

static unsigned register_at(size_t offset, unsigned width) {
    for (unsigned i = 0; i < sizeof(registers) / sizeof(registers[0]); i++) {
        if (registers[i].offset == offset) {
            assert_int_equal(width, registers[i].width);
            return i;
        }
    }
    fail_msg("access at %#zx, where no field begins", offset);
    return 0;
}

static uint32_t read_common(unsigned offset) {
    unsigned q = fake.queue_select;

    switch (offset) {
    case 0x00:
        return fake.device_select;
    case 0x04:
        return fake.device_select < 2 ? (uint32_t)(fake.offered >> 32 * fake.device_select) : 0;
    case 0x08:
        return fake.driver_select;
    case 0x10:
        return fake.lacks_vectors ? 0 : fake.config_vector;
    case 0x12:
        return QUEUES;
    case 0x14:
        if (fake.resetting && fake.reset_after_us != NEVER && fake.stalled_us >= fake.reset_after_us) {
            fake.resetting = false;
            fake.status = 0;
        }
        return fake.status;
    case 0x15:
        return fake.generation;
    case 0x18:
        return q < QUEUES ? fake.queue[q].size : 0;
    case 0x1A:
        return q < QUEUES && !fake.lacks_vectors ? fake.queue[q].vector : 0;
    case 0x1C:
        return q < QUEUES ? fake.queue[q].enable : 0;
    case 0x1E:
        return q < QUEUES ? fake.queue[q].notify_off : 0;
    default:
        fail_msg("the driver reads back %#x", offset);
        return 0;
    }
}

static void write_status(uint8_t value) {
    if (value == 0) {
        fake.resetting = true;
        return;
    }
    assert_int_equal(value & fake.status, fake.status);
    if (fake.refuses_features) {
        value &= (uint8_t)~VIRTIO_STATUS_FEATURES_OK;
    }
    fake.status = value;
}

static void write_queue(unsigned offset, uint32_t value) {
    unsigned q = fake.queue_select;

    if (q >= QUEUES) {
        return;
    }
    switch (offset) {
    case 0x18:
        fake.queue[q].size = (uint16_t)(fake.refuses_size ? fake.queue[q].size : value);
        break;
    case 0x1A:
        fake.queue[q].vector = (uint16_t)(fake.refuses_vectors ? VIRTIO_MSI_NO_VECTOR : value);
        break;
    case 0x1C:
        assert_int_equal(value, 1);
        fake.queue[q].enable = (uint16_t)(fake.refuses_enable ? 0 : value);
        break;
    default:
        fake.queue[q].address[(offset - 0x20) / 4] = value;
        break;
    }
}

static void write_common(unsigned offset, uint32_t value) {
    switch (offset) {
    case 0x00:
        fake.device_select = value;
        break;
    case 0x08:
        fake.driver_select = value;
        break;
    case 0x0C:
        assert_true(fake.driver_select < 2);
        fake.accepted &= ~(0xFFFFFFFFull << 32 * fake.driver_select);
        fake.accepted |= (uint64_t)value << 32 * fake.driver_select;
        break;
    case 0x10:
        fake.config_vector = (uint16_t)(fake.refuses_vectors ? VIRTIO_MSI_NO_VECTOR : value);
        break;
    case 0x14:
        write_status((uint8_t)value);
        break;
    case 0x16:
        fake.queue_select = (uint16_t)value;
        break;
    default:
        write_queue(offset, value);
        break;
    }
}

/* All bytes of the configuration count the changes, so that a mixture shows. */
static void change_config(void) {
    fake.generation = (uint8_t)(fake.generation + 1);
    for (unsigned i = 0; i < CONFIG_LENGTH; i++) {
        fake.bar[CONFIG_BASE + i]++;
    }
}

static uint32_t read_config(size_t offset, unsigned width) {
    uint32_t value = 0;

    assert_int_equal(offset % width, 0);
    assert_true(offset + width <= CONFIG_LENGTH);
    memcpy(&value, fake.bar + CONFIG_BASE + offset, width);
    if (fake.changing_reads > 0) {
        fake.changing_reads--;
        change_config();
    }
    return value;
}

uint32_t virtio_test_read(void *context, volatile void *reg, unsigned width) {
    size_t offset = (size_t)((volatile uint8_t *)reg - fake.bar);
    uint32_t value;
    unsigned index;

    assert_ptr_equal(context, &fake);
    assert_true(offset + width <= BAR_LENGTH);
    fake.accesses++;
    if (fake.absent) {
        return 0xFFFFFFFFu >> (32 - 8 * width);
    }
    if (offset >= CONFIG_BASE) {
        value = read_config(offset - CONFIG_BASE, width);
        record(width == 1 ? "->1" : width == 2 ? "->2" : "->4", "config", (unsigned)(offset - CONFIG_BASE));
        return value;
    }
    if (offset >= ISR_BASE) {
        assert_int_equal(offset, ISR_BASE);
        assert_int_equal(width, 1);
        value = fake.isr;
        fake.isr = 0;
        return value;
    }
    index = register_at(offset, width);
    value = read_common((unsigned)offset);
    record("->", registers[index].name, value);
    return value;
}

void virtio_test_write(void *context, volatile void *reg, unsigned width, uint32_t value) {
    size_t offset = (size_t)((volatile uint8_t *)reg - fake.bar);
    unsigned index;

    assert_ptr_equal(context, &fake);
    assert_true(offset < ISR_BASE || (offset >= CONFIG_BASE && offset + width <= CONFIG_BASE + CONFIG_LENGTH));
    fake.accesses++;
    if (offset >= CONFIG_BASE) {
        assert_int_equal(width, 1);
        fake.bar[offset] = (uint8_t)value;
        return;
    }
    if (offset >= NOTIFY_BASE) {
        assert_int_equal(width, 2);
        assert_true(offset + width <= NOTIFY_BASE + NOTIFY_LENGTH);
        record("<-", "doorbell", value);
        return;
    }
    index = register_at(offset, width);
    assert_true(registers[index].writable);
    record("<-", registers[index].name, value);
    if (!fake.absent) {
        write_common((unsigned)offset, value);
    }
}

void virtio_test_stall(unsigned microseconds) {
    assert_in_range(microseconds, 1, 999); /* [ddi StorPortStallExecution] */
    fake.stalled_us += microseconds;
}

static VIRTIO_PCI_QUEUE queue_0(void) {
    VIRTIO_PCI_QUEUE queue = {
        .Index = 0,
        .Size = 64,
        .Vector = 1,
        .Desc = 0x111122223330ull,
        .Avail = 0x444455556662ull,
        .Used = 0x777788889994ull,
    };
    return queue;
}

static const char bring_up[] = "device_status <- 0\n"
                               "device_status -> 0\n"
                               "device_status -> 0\n"
                               "device_status <- 1\n"
                               "device_status -> 1\n"
                               "device_status <- 3\n"
                               "device_feature_select <- 0\n"
                               "device_feature -> 10000244\n"
                               "device_feature_select <- 1\n"
                               "device_feature -> 1\n"
                               "driver_feature_select <- 0\n"
                               "driver_feature <- 10000004\n"
                               "driver_feature_select <- 1\n"
                               "driver_feature <- 1\n"
                               "device_status -> 3\n"
                               "device_status <- b\n"
                               "device_status -> b\n"
                               "config_generation -> 0\n"
                               "config ->4 0\n"
                               "config ->4 4\n"
                               "config_generation -> 0\n"
                               "config_msix_vector <- 0\n"
                               "config_msix_vector -> 0\n"
                               "queue_select <- 0\n"
                               "queue_size -> 80\n"
                               "queue_enable -> 0\n"
                               "queue_size <- 40\n"
                               "queue_size -> 40\n"
                               "queue_msix_vector <- 1\n"
                               "queue_msix_vector -> 1\n"
                               "queue_notify_off -> 0\n"
                               "queue_desc_lo <- 22223330\n"
                               "queue_desc_hi <- 1111\n"
                               "queue_driver_lo <- 55556662\n"
                               "queue_driver_hi <- 4444\n"
                               "queue_device_lo <- 88889994\n"
                               "queue_device_hi <- 7777\n"
                               "queue_enable <- 1\n"
                               "queue_enable -> 1\n"
                               "device_status -> b\n"
                               "device_status <- f\n"
                               "device_status -> f\n"
                               "doorbell <- 0\n";

static void bring_up_touches_the_registers_in_the_specified_order(void **state) {
    VIRTIO_PCI_QUEUE queue = queue_0();
    uint64_t features = VIRTIO_FEATURE(VIRTIO_F_VERSION_1) | VIRTIO_FEATURE(VIRTIO_F_INDIRECT_DESC) | 4;
    uint64_t capacity;

    (void)state;
    fake_reset();
    assert_true(VirtioPciReset(&pci));
    VirtioPciBegin(&pci);
    assert_int_equal(VirtioPciOfferedFeatures(&pci), fake.offered);
    assert_true(VirtioPciNegotiate(&pci, features));
    assert_true(VirtioPciReadConfig(&pci, 0, &capacity, sizeof(capacity)));
    assert_true(VirtioPciSetConfigVector(&pci, 0));
    assert_true(VirtioPciSetupQueue(&pci, &queue));
    assert_true(VirtioPciDriverOk(&pci));
    VirtioPciNotify(&pci, &queue);
    assert_string_equal(fake.log, bring_up);
    assert_int_equal(fake.accepted, features);
    assert_int_equal(fake.stalled_us, 0);
    assert_ptr_equal(queue.Doorbell, pci.Notify);
}

static void status_bits_are_only_added(void **state) {
    (void)state;
    fake_reset();
    fake.status = VIRTIO_STATUS_DEVICE_NEEDS_RESET;
    VirtioPciBegin(&pci);
    assert_true(VirtioPciDriverOk(&pci));
    VirtioPciFail(&pci);
    assert_int_equal(VirtioPciStatus(&pci), 0xC7);
}

static void refused_features_are_noticed(void **state) {
    (void)state;
    fake_reset();
    fake.refuses_features = true;
    VirtioPciBegin(&pci);
    assert_false(VirtioPciNegotiate(&pci, VIRTIO_FEATURE(VIRTIO_F_VERSION_1)));
}

static void slow_reset_is_waited_for(void **state) {
    (void)state;
    fake_reset();
    fake.status = 0x0F;
    fake.reset_after_us = 10000;
    assert_true(VirtioPciReset(&pci));
    assert_in_range(fake.stalled_us, 10000, 11000);
    assert_int_equal(fake.status, 0);
}

static void endless_reset_is_given_up_after_100_ms(void **state) {
    (void)state;
    fake_reset();
    fake.status = 0x0F;
    fake.reset_after_us = NEVER;
    assert_false(VirtioPciReset(&pci));
    assert_in_range(fake.stalled_us, 90000, 100000);
}

static void absent_device_gives_no_answer(void **state) {
    VIRTIO_PCI_QUEUE queue = queue_0();
    UCHAR buffer[8];

    (void)state;
    fake_reset();
    fake.absent = true;
    VirtioPciBegin(&pci);
    assert_false(VirtioPciDriverOk(&pci));
    VirtioPciFail(&pci);
    assert_string_equal(fake.log, "");
    assert_false(VirtioPciReset(&pci));
    assert_int_equal(VirtioPciStatus(&pci), VIRTIO_STATUS_ABSENT);
    assert_int_equal(VirtioPciReadIsr(&pci), 0);
    assert_false(VirtioPciNegotiate(&pci, VIRTIO_FEATURE(VIRTIO_F_VERSION_1)));
    assert_false(VirtioPciReadConfig(&pci, 0, buffer, sizeof(buffer)));
    assert_int_equal(VirtioPciQueueSize(&pci, 0), 0);
    assert_false(VirtioPciSetupQueue(&pci, &queue));
    assert_false(VirtioPciSetConfigVector(&pci, 0));
}

static void isr_is_acknowledged_by_reading(void **state) {
    (void)state;
    fake_reset();
    fake.isr = VIRTIO_PCI_ISR_QUEUE | VIRTIO_PCI_ISR_CONFIG;
    assert_int_equal(VirtioPciReadIsr(&pci), 3);
    assert_int_equal(VirtioPciReadIsr(&pci), 0);
}

static void config_change_during_a_read_is_read_again(void **state) {
    UCHAR buffer[24];

    (void)state;
    for (unsigned changes = 1; changes < 20; changes++) {
        fake_reset();
        fake.changing_reads = changes;
        fake.generation = 0xFD; /* and over the wrap */
        assert_true(VirtioPciReadConfig(&pci, 0, buffer, sizeof(buffer)));
        for (unsigned i = 0; i < sizeof(buffer); i++) {
            assert_int_equal(buffer[i], changes);
        }
    }
}

static void config_that_never_settles_is_given_up(void **state) {
    UCHAR buffer[8];

    (void)state;
    fake_reset();
    fake.changing_reads = NEVER;
    assert_false(VirtioPciReadConfig(&pci, 0, buffer, sizeof(buffer)));
    assert_true(fake.accesses < 100);
}

static void generation_of_all_ones_is_a_generation(void **state) {
    UCHAR buffer[8];

    (void)state;
    fake_reset();
    fake.generation = 0xFF;
    assert_true(VirtioPciReadConfig(&pci, 0, buffer, sizeof(buffer)));
    assert_int_equal(VirtioPciConfigGeneration(&pci), 0xFF);
}

static void config_outside_the_region_is_not_touched(void **state) {
    static const ULONG outside[][2] = {
        {CONFIG_LENGTH, 1}, {CONFIG_LENGTH - 3, 4}, {0, CONFIG_LENGTH + 1},
        {0xFFFFFFFFu, 2},   {4, 0xFFFFFFFFu},       {0x80000000u, 0x80000000u},
    };
    UCHAR buffer[CONFIG_LENGTH];

    (void)state;
    fake_reset();
    for (unsigned i = 0; i < sizeof(outside) / sizeof(outside[0]); i++) {
        assert_false(VirtioPciReadConfig(&pci, outside[i][0], buffer, outside[i][1]));
    }
    assert_int_equal(fake.accesses, 0);
    assert_true(VirtioPciReadConfig(&pci, 0, buffer, CONFIG_LENGTH));
    assert_true(VirtioPciReadConfig(&pci, CONFIG_LENGTH - 1, buffer, 1));
}

static void config_is_read_by_the_width_of_the_field(void **state) {
    static const struct {
        ULONG offset, length;
        const char *log;
    } field[] = {
        {0x00, 8, "config ->4 0\nconfig ->4 4\n"},
        {0x14, 4, "config ->4 14\n"},
        {0x22, 2, "config ->2 22\n"},
        {0x20, 1, "config ->1 20\n"},
        {0x21, 1, "config ->1 21\n"},
        {0x1A, 6, "config ->2 1a\nconfig ->4 1c\n"},
    };
    UCHAR buffer[8];

    (void)state;
    for (unsigned i = 0; i < sizeof(field) / sizeof(field[0]); i++) {
        char expected[128];

        fake_reset();
        for (unsigned n = 0; n < CONFIG_LENGTH; n++) {
            fake.bar[CONFIG_BASE + n] = (uint8_t)(n * 7);
        }
        assert_true(VirtioPciReadConfig(&pci, field[i].offset, buffer, field[i].length));
        snprintf(expected, sizeof(expected), "config_generation -> 0\n%sconfig_generation -> 0\n", field[i].log);
        assert_string_equal(fake.log, expected);
        assert_memory_equal(buffer, fake.bar + CONFIG_BASE + field[i].offset, field[i].length);
    }
}

static void config_byte_is_written_inside_the_region_only(void **state) {
    static const ULONG outside[] = {CONFIG_LENGTH, CONFIG_LENGTH + 1, 0x80000000u, 0xFFFFFFFFu};

    (void)state;
    fake_reset();
    for (unsigned i = 0; i < sizeof(outside) / sizeof(outside[0]); i++) {
        VirtioPciWriteConfig8(&pci, outside[i], 1);
    }
    assert_int_equal(fake.accesses, 0);
    VirtioPciWriteConfig8(&pci, 0x20, 0xA5);
    VirtioPciWriteConfig8(&pci, CONFIG_LENGTH - 1, 0x5A);
    assert_int_equal(fake.accesses, 2);
    assert_int_equal(fake.bar[CONFIG_BASE + 0x20], 0xA5);
    assert_int_equal(fake.bar[CONFIG_BASE + CONFIG_LENGTH - 1], 0x5A);
}

static void queue_sizes_that_no_ring_can_have_are_refused(void **state) {
    (void)state;
    fake_reset();
    assert_int_equal(VirtioPciQueueCount(&pci), QUEUES);
    assert_int_equal(VirtioPciQueueSize(&pci, 1), 128);
    assert_int_equal(VirtioPciQueueSize(&pci, QUEUES), 0);
    fake.queue[0].size = 100;
    assert_int_equal(VirtioPciQueueSize(&pci, 0), 0);
    fake.queue[0].size = 32768;
    assert_int_equal(VirtioPciQueueSize(&pci, 0), 32768);
}

static void second_queue_rings_its_own_doorbell(void **state) {
    VIRTIO_PCI_QUEUE queue = queue_0();

    (void)state;
    fake_reset();
    queue.Index = 1;
    assert_true(VirtioPciSetupQueue(&pci, &queue));
    assert_int_equal(fake.queue[1].enable, 1);
    assert_int_equal(fake.queue[0].enable, 0);
    assert_ptr_equal(queue.Doorbell, pci.Notify + 4);
    fake.log[0] = 0;
    VirtioPciNotify(&pci, &queue);
    assert_string_equal(fake.log, "doorbell <- 1\n");
}

/* Sets up queue 0 as it is; a refusal must leave it disabled and say so. */
static void assert_setup_refused(VIRTIO_PCI_QUEUE queue) {
    assert_false(VirtioPciSetupQueue(&pci, &queue));
    assert_int_equal(fake.queue[0].enable, 0);
    assert_null(strstr(fake.log, "queue_enable -> 1"));
}

static void queue_set_up_is_refused_where_the_device_does_not_confirm(void **state) {
    VIRTIO_PCI_QUEUE queue = queue_0();

    (void)state;
    fake_reset();
    fake.refuses_vectors = true;
    assert_setup_refused(queue);
    fake_reset();
    fake.refuses_size = true;
    assert_setup_refused(queue);
    fake_reset();
    fake.refuses_enable = true;
    assert_setup_refused(queue);
    fake_reset();
    fake.queue[0].size = 32; /* less than wanted */
    assert_setup_refused(queue);
    fake_reset();
    queue.Index = QUEUES;
    assert_setup_refused(queue);
}

static void vector_none_is_never_refused(void **state) {
    VIRTIO_PCI_QUEUE queue = queue_0();

    (void)state;
    fake_reset();
    fake.refuses_vectors = true;
    assert_false(VirtioPciSetConfigVector(&pci, 0));
    assert_true(VirtioPciSetConfigVector(&pci, VIRTIO_MSI_NO_VECTOR));
    fake.lacks_vectors = true;
    assert_true(VirtioPciSetConfigVector(&pci, VIRTIO_MSI_NO_VECTOR));
    queue.Vector = VIRTIO_MSI_NO_VECTOR;
    assert_true(VirtioPciSetupQueue(&pci, &queue));
}

static void enabled_queue_is_left_alone(void **state) {
    VIRTIO_PCI_QUEUE queue = queue_0();

    (void)state;
    fake_reset();
    fake.queue[0].enable = 1;
    assert_false(VirtioPciSetupQueue(&pci, &queue));
    assert_null(strstr(fake.log, "queue_size <-"));
    assert_null(strstr(fake.log, "queue_desc_lo <-"));
}

static void doorbell_must_lie_in_the_notification_region(void **state) {
    static const struct {
        ULONG multiplier;
        uint16_t notify_off;
        bool good;
        ULONG offset;
    } doorbell[] = {
        {4, 7, true, 28},
        {4, 8, false, 0},
        {2, 15, true, 30},
        {2, 16, false, 0},
        {0, 0xFFFF, true, 0},
        {0x10000, 1, false, 0},
        {0x10000, 0x8000, false, 0},
        {0xFFFFFFFFu, 0xFFFF, false, 0},
        {0x80000000u, 2, false, 0},
        {0xFFFFFFFEu, 0, true, 0},
        {1, 3, false, 0},
        {1, 4, true, 4},
    };

    (void)state;
    for (unsigned i = 0; i < sizeof(doorbell) / sizeof(doorbell[0]); i++) {
        VIRTIO_PCI_QUEUE queue = queue_0();

        fake_reset();
        pci.NotifyMultiplier = doorbell[i].multiplier;
        fake.queue[0].notify_off = doorbell[i].notify_off;
        if (doorbell[i].good) {
            assert_true(VirtioPciSetupQueue(&pci, &queue));
            assert_ptr_equal(queue.Doorbell, pci.Notify + doorbell[i].offset);
            VirtioPciNotify(&pci, &queue);
        } else {
            assert_setup_refused(queue);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bring_up_touches_the_registers_in_the_specified_order),
        cmocka_unit_test(status_bits_are_only_added),
        cmocka_unit_test(refused_features_are_noticed),
        cmocka_unit_test(slow_reset_is_waited_for),
        cmocka_unit_test(endless_reset_is_given_up_after_100_ms),
        cmocka_unit_test(absent_device_gives_no_answer),
        cmocka_unit_test(isr_is_acknowledged_by_reading),
        cmocka_unit_test(config_change_during_a_read_is_read_again),
        cmocka_unit_test(config_that_never_settles_is_given_up),
        cmocka_unit_test(generation_of_all_ones_is_a_generation),
        cmocka_unit_test(config_outside_the_region_is_not_touched),
        cmocka_unit_test(config_is_read_by_the_width_of_the_field),
        cmocka_unit_test(config_byte_is_written_inside_the_region_only),
        cmocka_unit_test(queue_sizes_that_no_ring_can_have_are_refused),
        cmocka_unit_test(second_queue_rings_its_own_doorbell),
        cmocka_unit_test(queue_set_up_is_refused_where_the_device_does_not_confirm),
        cmocka_unit_test(vector_none_is_never_refused),
        cmocka_unit_test(enabled_queue_is_left_alone),
        cmocka_unit_test(doorbell_must_lie_in_the_notification_region),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
