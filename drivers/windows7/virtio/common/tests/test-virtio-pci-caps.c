/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Claims about the capability parser: which layouts it accepts, and which reason it gives for those that it refuses.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "virtio_pci_modern_miniport.h"

#define CONFIG_BYTES 256

/* Configuration space on the heap, so that the sanitizer guards its ends. */
struct function {
    UCHAR *config;
    ULONG bar[6];
    unsigned next; /* where the next capability goes */
    unsigned link; /* the byte that shall point to it */
    VIRTIO_PCI_CAPS caps;
};

static void function_new(struct function *f) {
    memset(f, 0, sizeof(*f));
    f->config = calloc(1, CONFIG_BYTES);
    f->config[0x06] = 0x10;
    f->link = 0x34;
    f->next = 0x40;
}

static void put32(UCHAR *bytes, ULONG value) {
    for (unsigned i = 0; i < 4; i++) {
        bytes[i] = (UCHAR)(value >> 8 * i);
    }
}

/* Appends a capability and returns its offset. */
static unsigned add_cap(struct function *f, UCHAR id, UCHAR length) {
    unsigned at = f->next;

    f->config[f->link] = (UCHAR)at;
    f->config[at] = id;
    f->config[at + 2] = length;
    f->link = at + 1;
    f->next = (at + length + 3) & ~3u;
    return at;
}

static unsigned add_virtio_cap(struct function *f, UCHAR type, UCHAR bar, ULONG offset, ULONG length) {
    unsigned at = add_cap(f, 0x09, type == 2 ? 20 : 16);

    f->config[at + 3] = type;
    f->config[at + 4] = bar;
    put32(f->config + at + 8, offset);
    put32(f->config + at + 12, length);
    if (type == 2) {
        put32(f->config + at + 16, 4);
    }
    return at;
}

/* [contract 1.4]; at[type] receives the offset of each capability. */
static void contract_function(struct function *f, unsigned at[5]) {
    function_new(f);
    f->bar[0] = 0x4000;
    at[1] = add_virtio_cap(f, 1, 0, 0x0000, 0x0100);
    at[2] = add_virtio_cap(f, 2, 0, 0x1000, 0x0100);
    at[3] = add_virtio_cap(f, 3, 0, 0x2000, 0x0020);
    at[4] = add_virtio_cap(f, 4, 0, 0x3000, 0x0100);
}

/* QEMU 7.2 with disable-legacy=on. */
static void qemu_function(struct function *f) {
    function_new(f);
    f->bar[1] = 0x1000;
    f->bar[4] = 0x4000;
    f->next = 0x98;
    add_cap(f, 0x11, 12);
    f->next = 0x84;
    f->config[add_virtio_cap(f, 5, 0, 0, 0) + 2] = 20;
    f->next = 0x70;
    add_virtio_cap(f, 2, 4, 0x3000, 0x1000);
    f->next = 0x60;
    add_virtio_cap(f, 4, 4, 0x2000, 0x1000);
    f->next = 0x50;
    add_virtio_cap(f, 3, 4, 0x1000, 0x1000);
    f->next = 0x40;
    add_virtio_cap(f, 1, 4, 0x0000, 0x1000);
}

static VIRTIO_PCI_CAPS_STATUS parse(struct function *f, bool fixed) {
    return VirtioPciParseCaps(f->config, f->bar, fixed, &f->caps);
}

static void assert_region(const VIRTIO_PCI_REGION *region, ULONG bar, ULONG offset, ULONG length) {
    assert_int_equal(region->Bar, bar);
    assert_int_equal(region->Offset, offset);
    assert_int_equal(region->Length, length);
}

static void contract_layout_is_accepted_strictly(void **state) {
    struct function f;
    unsigned at[5];

    (void)state;
    for (unsigned fixed = 0; fixed < 2; fixed++) {
        contract_function(&f, at);
        assert_int_equal(parse(&f, fixed), VirtioPciCapsOk);
        assert_region(&f.caps.Common, 0, 0x0000, 0x100);
        assert_region(&f.caps.Notify, 0, 0x1000, 0x100);
        assert_region(&f.caps.Isr, 0, 0x2000, 0x20);
        assert_region(&f.caps.Device, 0, 0x3000, 0x100);
        assert_int_equal(f.caps.NotifyMultiplier, 4);
        free(f.config);
    }
}

static void contract_lengths_are_minimums(void **state) {
    struct function f;
    unsigned at[5];

    (void)state;
    contract_function(&f, at);
    f.bar[0] = 0x8000;
    for (unsigned type = 1; type <= 4; type++) {
        put32(f.config + at[type] + 12, 0x1000);
    }
    assert_int_equal(parse(&f, true), VirtioPciCapsOk);
    assert_int_equal(f.caps.Isr.Length, 0x1000);
    free(f.config);
}

static void qemu_layout_is_accepted_only_permissively(void **state) {
    struct function f;

    (void)state;
    qemu_function(&f);
    assert_int_equal(parse(&f, true), VirtioPciCapsNotContract);
    assert_int_equal(parse(&f, false), VirtioPciCapsOk);
    assert_region(&f.caps.Common, 4, 0x0000, 0x1000);
    assert_region(&f.caps.Isr, 4, 0x1000, 0x1000);
    assert_region(&f.caps.Device, 4, 0x2000, 0x1000);
    assert_region(&f.caps.Notify, 4, 0x3000, 0x1000);
    assert_int_equal(f.caps.NotifyMultiplier, 4);
    free(f.config);
}

static void any_departure_from_the_contract_is_named_so(void **state) {
    static const struct {
        unsigned type, field;
        ULONG value;
    } change[] = {
        {1, 8, 0x0200}, {2, 8, 0x1100}, {3, 8, 0x2020}, {4, 8, 0x3100}, {1, 12, 0xFC},
        {2, 12, 0xFC},  {3, 12, 0x1F},  {4, 12, 0xFC},  {2, 16, 2},     {2, 16, 0},
    };
    struct function f;
    unsigned at[5];

    (void)state;
    for (unsigned i = 0; i < sizeof(change) / sizeof(change[0]); i++) {
        contract_function(&f, at);
        put32(f.config + at[change[i].type] + change[i].field, change[i].value);
        assert_int_equal(parse(&f, true), VirtioPciCapsNotContract);
        assert_int_equal(parse(&f, false), VirtioPciCapsOk);
        free(f.config);
    }
    for (unsigned type = 1; type <= 4; type++) {
        contract_function(&f, at);
        f.bar[2] = 0x4000;
        f.config[at[type] + 4] = 2;
        assert_int_equal(parse(&f, true), VirtioPciCapsNotContract);
        free(f.config);
    }
    contract_function(&f, at);
    f.bar[0] = 0x3100;
    assert_int_equal(parse(&f, true), VirtioPciCapsNotContract);
    assert_int_equal(parse(&f, false), VirtioPciCapsOk);
    free(f.config);
}

static void function_without_list_is_named_so(void **state) {
    struct function f;
    unsigned at[5];

    (void)state;
    contract_function(&f, at);
    f.config[0x06] = 0;
    assert_int_equal(parse(&f, true), VirtioPciCapsNoList);
    f.config[0x06] = 0x10;
    f.config[0x34] = 0;
    assert_int_equal(parse(&f, true), VirtioPciCapsNoList);
    free(f.config);
}

static void pointer_misaligned_or_into_the_header_is_refused(void **state) {
    static const UCHAR bad[] = {0x01, 0x04, 0x34, 0x3C, 0x3F, 0x41, 0x42, 0x43, 0xFF};
    struct function f;
    unsigned at[5];

    (void)state;
    for (unsigned i = 0; i < sizeof(bad); i++) {
        for (unsigned type = 0; type <= 4; type++) {
            contract_function(&f, at);
            f.config[type == 0 ? 0x34 : at[type] + 1] = bad[i];
            assert_int_equal(parse(&f, true), VirtioPciCapsBadPointer);
            free(f.config);
        }
    }
}

static void loop_is_refused_even_when_all_was_found(void **state) {
    struct function f;
    unsigned at[5];

    (void)state;
    for (unsigned from = 1; from <= 4; from++) {
        contract_function(&f, at);
        f.config[at[4] + 1] = (UCHAR)at[from];
        assert_int_equal(parse(&f, true), VirtioPciCapsLoop);
        free(f.config);
    }
}

static void longest_possible_list_is_no_loop(void **state) {
    struct function f;
    unsigned count = 0;

    (void)state;
    function_new(&f);
    while (f.next < CONFIG_BYTES) {
        add_cap(&f, 0x05, 4);
        count++;
    }
    assert_int_equal(count, 48);
    assert_int_equal(parse(&f, false), VirtioPciCapsMissing);
    f.config[0xFD] = 0x40;
    assert_int_equal(parse(&f, false), VirtioPciCapsLoop);
    free(f.config);
}

static void capability_shorter_than_its_fields_is_truncated(void **state) {
    struct function f;
    unsigned at[5];

    (void)state;
    for (unsigned type = 1; type <= 4; type++) {
        contract_function(&f, at);
        f.config[at[type] + 2] = type == 2 ? 19 : 15;
        assert_int_equal(parse(&f, true), VirtioPciCapsTruncated);
        f.config[at[type] + 2] = 0;
        assert_int_equal(parse(&f, true), VirtioPciCapsTruncated);
        f.config[at[type] + 2] = 0x40; /* longer is allowed [virtio 4.1.4.1] */
        assert_int_equal(parse(&f, true), VirtioPciCapsOk);
        free(f.config);
    }
}

static void capability_past_the_end_is_truncated(void **state) {
    struct function f;

    (void)state;
    for (unsigned at = 0xEC; at <= 0xFC; at += 4) {
        function_new(&f);
        f.bar[0] = 0x4000;
        add_virtio_cap(&f, 1, 0, 0x0000, 0x0100);
        add_virtio_cap(&f, 3, 0, 0x2000, 0x0020);
        add_virtio_cap(&f, 4, 0, 0x3000, 0x0100);
        f.config[f.link] = (UCHAR)at;
        f.config[at] = 0x09;
        f.config[at + 1] = 0;
        f.config[at + 2] = 20;
        f.config[at + 3] = 2;
        if (at == 0xEC) { /* ends with the last byte */
            put32(f.config + at + 8, 0x1000);
            put32(f.config + at + 12, 0x0100);
            put32(f.config + at + 16, 4);
        }
        assert_int_equal(parse(&f, true), at == 0xEC ? VirtioPciCapsOk : VirtioPciCapsTruncated);
        free(f.config);
    }
}

static void region_shorter_than_its_fields_is_truncated(void **state) {
    static const ULONG least[5] = {0, 0x38, 2, 1, 4};
    struct function f;
    unsigned at[5];

    (void)state;
    for (unsigned type = 1; type <= 4; type++) {
        contract_function(&f, at);
        put32(f.config + at[type] + 12, least[type] - 1);
        assert_int_equal(parse(&f, false), VirtioPciCapsTruncated);
        put32(f.config + at[type] + 12, least[type]);
        assert_int_equal(parse(&f, false), VirtioPciCapsOk);
        free(f.config);
    }
}

static void missing_capability_is_named_so(void **state) {
    struct function f;
    unsigned at[5];

    (void)state;
    for (unsigned type = 1; type <= 4; type++) {
        contract_function(&f, at);
        f.config[at[type]] = 0x05; /* another capability */
        assert_int_equal(parse(&f, true), VirtioPciCapsMissing);
        f.config[at[type]] = 0x09;
        f.config[at[type] + 3] = 8; /* a virtio capability of another type */
        assert_int_equal(parse(&f, true), VirtioPciCapsMissing);
        f.config[at[type] + 3] = (UCHAR)type;
        f.config[at[type] + 4] = 6; /* a reserved BAR */
        assert_int_equal(parse(&f, true), VirtioPciCapsMissing);
        f.config[at[type] + 4] = 0xFF;
        assert_int_equal(parse(&f, true), VirtioPciCapsMissing);
        free(f.config);
    }
}

static void short_capability_of_a_foreign_type_is_skipped(void **state) {
    struct function f;
    unsigned at[5];
    unsigned foreign;

    (void)state;
    contract_function(&f, at);
    foreign = add_cap(&f, 0x09, 6);
    f.config[foreign + 3] = 9;
    assert_int_equal(parse(&f, true), VirtioPciCapsOk);
    free(f.config);
}

static void region_outside_its_bar_is_named_so(void **state) {
    struct function f;
    unsigned at[5];

    (void)state;
    for (unsigned type = 1; type <= 4; type++) {
        const ULONG wrong[][2] = {
            {0x4000, 0x100},      {0x3F04, 0x100},      {0x10000, 0x100},
            {0x1000000, 0x100},   {0xFFFFFF00u, 0x100}, {0xFFFFFFFCu, 0xFFFFFFFCu},
            {0x100, 0xFFFFFF00u},
        };

        for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
            contract_function(&f, at);
            put32(f.config + at[type] + 8, wrong[i][0]);
            put32(f.config + at[type] + 12, wrong[i][1]);
            assert_int_equal(parse(&f, true), VirtioPciCapsBarUnusable);
            free(f.config);
        }
        contract_function(&f, at);
        f.config[at[type] + 4] = 1; /* I/O space */
        assert_int_equal(parse(&f, false), VirtioPciCapsBarUnusable);
        f.config[at[type] + 4] = 0;
        if (type != 3) {
            f.config[at[type] + 8] = 1; /* misaligned */
            assert_int_equal(parse(&f, false), VirtioPciCapsBarUnusable);
        }
        free(f.config);
    }
}

static void first_usable_capability_wins(void **state) {
    struct function f;
    unsigned at[5];

    (void)state;
    for (unsigned type = 1; type <= 4; type++) {
        contract_function(&f, at);
        f.bar[5] = 0x1000;
        add_virtio_cap(&f, (UCHAR)type, 5, 0x800, 0x100);
        assert_int_equal(parse(&f, true), VirtioPciCapsOk);

        f.config[at[type] + 4] = 1; /* an I/O BAR, as modern-pio-notify has it */
        assert_int_equal(parse(&f, false), VirtioPciCapsOk);
        assert_int_equal(parse(&f, true), VirtioPciCapsNotContract);
        assert_int_equal(f.caps.Common.Bar, type == 1 ? 5 : 0);
        assert_int_equal(f.caps.Notify.Bar, type == 2 ? 5 : 0);
        assert_int_equal(f.caps.Isr.Bar, type == 3 ? 5 : 0);
        assert_int_equal(f.caps.Device.Bar, type == 4 ? 5 : 0);
        free(f.config);
    }
}

static void multiplier_is_read_from_the_capability_that_won(void **state) {
    struct function f;
    unsigned at[5];
    unsigned second;

    (void)state;
    contract_function(&f, at);
    f.config[at[2] + 4] = 7;
    second = add_virtio_cap(&f, 2, 0, 0x1000, 0x100);
    put32(f.config + second + 16, 0x81020304);
    assert_int_equal(parse(&f, false), VirtioPciCapsOk);
    assert_int_equal(f.caps.NotifyMultiplier, 0x81020304);
    free(f.config);
}

static void reason_is_that_of_the_first_unusable_candidate(void **state) {
    struct function f;
    unsigned at[5];

    (void)state;
    contract_function(&f, at);
    f.config[at[3] + 4] = 1;
    add_virtio_cap(&f, 3, 0, 0x2000, 0);
    assert_int_equal(parse(&f, false), VirtioPciCapsBarUnusable);
    f.config[at[3] + 4] = 6;
    assert_int_equal(parse(&f, false), VirtioPciCapsTruncated);
    free(f.config);
}

static void refusal_leaves_the_result_alone(void **state) {
    VIRTIO_PCI_CAPS before;
    struct function f;

    (void)state;
    qemu_function(&f);
    memset(&f.caps, 0x5A, sizeof(f.caps));
    before = f.caps;
    assert_int_equal(parse(&f, true), VirtioPciCapsNotContract);
    f.bar[4] = 0;
    assert_int_equal(parse(&f, false), VirtioPciCapsBarUnusable);
    assert_memory_equal(&before, &f.caps, sizeof(before));
    free(f.config);
}

static void absent_function_is_refused(void **state) {
    struct function f;

    (void)state;
    function_new(&f);
    memset(f.config, 0xFF, CONFIG_BYTES);
    assert_int_not_equal(parse(&f, false), VirtioPciCapsOk);
    free(f.config);
}

static void assert_inside(const struct function *f, const VIRTIO_PCI_REGION *region, ULONG least) {
    assert_true(region->Bar <= 5);
    assert_true(region->Length >= least);
    assert_true((ULONGLONG)region->Offset + region->Length <= f->bar[region->Bar]);
}

/* Random bytes, bent towards lists that go on: the sanitizer sees a read outside, the time limit a walk without end. */
static void no_configuration_space_is_misread(void **state) {
    static const UCHAR length[] = {0, 15, 16, 19, 20, 24, 0xC0, 0xFF};
    unsigned ok = 0;

    (void)state;
    srand(3);
    for (unsigned round = 0; round < 200000; round++) {
        struct function f;
        unsigned at[5];

        contract_function(&f, at);
        for (unsigned i = 0; i < 6; i++) {
            f.bar[i] = rand() % 3 ? (ULONG)rand() % 0x5000 : 0;
        }
        for (unsigned changes = (unsigned)rand() % 24; changes > 0; changes--) {
            f.config[0x40 + rand() % 0xC0] = (UCHAR)rand();
        }
        for (unsigned at4 = 0x40; at4 < CONFIG_BYTES && round % 2; at4 += 4) {
            if (rand() % 4 == 0) {
                f.config[at4] = 0x09;
                f.config[at4 + 1] = (UCHAR)(rand() & 0xFC);
                f.config[at4 + 2] = length[(unsigned)rand() % sizeof(length)];
                f.config[at4 + 3] = (UCHAR)(rand() % 6);
            }
        }
        if (parse(&f, false) == VirtioPciCapsOk) {
            ok++;
            assert_inside(&f, &f.caps.Common, 0x38);
            assert_inside(&f, &f.caps.Notify, 2);
            assert_inside(&f, &f.caps.Isr, 1);
            assert_inside(&f, &f.caps.Device, 4);
        }
        free(f.config);
    }
    assert_true(ok > 100 && ok < 100000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contract_layout_is_accepted_strictly),
        cmocka_unit_test(contract_lengths_are_minimums),
        cmocka_unit_test(qemu_layout_is_accepted_only_permissively),
        cmocka_unit_test(any_departure_from_the_contract_is_named_so),
        cmocka_unit_test(function_without_list_is_named_so),
        cmocka_unit_test(pointer_misaligned_or_into_the_header_is_refused),
        cmocka_unit_test(loop_is_refused_even_when_all_was_found),
        cmocka_unit_test(longest_possible_list_is_no_loop),
        cmocka_unit_test(capability_shorter_than_its_fields_is_truncated),
        cmocka_unit_test(capability_past_the_end_is_truncated),
        cmocka_unit_test(region_shorter_than_its_fields_is_truncated),
        cmocka_unit_test(missing_capability_is_named_so),
        cmocka_unit_test(short_capability_of_a_foreign_type_is_skipped),
        cmocka_unit_test(region_outside_its_bar_is_named_so),
        cmocka_unit_test(first_usable_capability_wins),
        cmocka_unit_test(multiplier_is_read_from_the_capability_that_won),
        cmocka_unit_test(reason_is_that_of_the_first_unusable_candidate),
        cmocka_unit_test(refusal_leaves_the_result_alone),
        cmocka_unit_test(absent_function_is_refused),
        cmocka_unit_test(no_configuration_space_is_misread),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
