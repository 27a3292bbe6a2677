/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Claims about vpd.c: serial numbers of every form, and that every page states its length and stays inside of it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "cdb.h"
#include "disk.h"

/* Exactly 20 bytes, as GET_ID has, so that a sanitizer sees any read beyond. */
static VBLK_DISK with_serial(const void *bytes, size_t length) {
    UCHAR *id = test_calloc(1, DISK_SERIAL_BYTES);
    VBLK_DISK disk;

    memset(&disk, 0, sizeof(disk));
    memcpy(id, bytes, length);
    DiskSetSerial(&disk, id);
    test_free(id);
    return disk;
}

static void expect_serial(const void *bytes, size_t length, const char *told) {
    VBLK_DISK disk = with_serial(bytes, length);

    assert_int_equal(disk.SerialLength, strlen(told));
    assert_memory_equal(disk.Serial, told, strlen(told));
}

static void test_a_serial_number_ends_at_nul_blanks_or_20_bytes(void **state) {
    (void)state;
    expect_serial("", 0, "");
    expect_serial("A", 1, "A");
    expect_serial("A\0B", 3, "A");
    expect_serial("ABCDEFGHIJKLMNOPQRST", 20, "ABCDEFGHIJKLMNOPQRST");
    expect_serial("AB   ", 5, "AB");
    expect_serial("AB   \0X", 7, "AB");
    expect_serial("                    ", 20, "");
    expect_serial("  A B", 5, "  A B");
}

static void test_a_serial_number_that_is_no_text_is_told_in_hexadecimal(void **state) {
    (void)state;
    expect_serial("\x01", 1, "01");
    expect_serial("a\x7F", 2, "617F");
    expect_serial("\xFF\xFE\xFD\xFC\xFB\xFA\xF9\xF8\xF7\xF6\xF5\xF4\xF3\xF2\xF1\xF0\xEF\xEE\xED\xEC", 20,
                  "FFFEFDFCFBFAF9F8F7F6F5F4F3F2F1F0EFEEEDEC");
}

static void test_no_two_serial_numbers_look_alike(void **state) {
    (void)state;
    for (unsigned a = 1; a < 256; a++) {
        for (unsigned b = 1; b < 256; b++) {
            UCHAR one = (UCHAR)a, other = (UCHAR)b;
            VBLK_DISK first = with_serial(&one, 1), second = with_serial(&other, 1);

            if (a != b && a != ' ' && b != ' ') {
                assert_false(first.SerialLength == second.SerialLength &&
                             memcmp(first.Serial, second.Serial, first.SerialLength) == 0);
            }
        }
    }
}

static void test_no_two_places_look_alike(void **state) {
    UCHAR seen[8][VPD_MAX], page[VPD_MAX];
    static const ULONG place[8][2] = {{0, 3}, {0, 4}, {1, 3}, {0x10, 3}, {0, 0x13}, {0, 0x23}, {0xFF, 0x1F}, {0, 0xFF}};

    (void)state;
    for (unsigned i = 0; i < 8; i++) {
        VBLK_DISK disk = with_serial("", 0);

        disk.PciBus = place[i][0];
        disk.PciSlot = place[i][1];
        assert_int_equal(VpdBuild(&disk, 0x83, seen[i]), 43);
        assert_int_equal(seen[i][5], 0); /* vendor specific */
        for (unsigned n = 0; n < i; n++) {
            assert_memory_not_equal(seen[i], seen[n], 43);
        }
    }
    memset(page, 0, sizeof(page));
    assert_memory_equal(seen[6] + 8 + 24, "PCI FF:1F.0", 11);
    assert_memory_equal(seen[5] + 8 + 24, "PCI 00:03.1", 11);
}

/* Every page code, and disks that fill every field; the buffer ends where it says. */
static void test_a_page_states_its_length_and_is_listed(void **state) {
    VBLK_DISK disk =
        with_serial("\xFF\xFE\xFD\xFC\xFB\xFA\xF9\xF8\xF7\xF6\xF5\xF4\xF3\xF2\xF1\xF0\xEF\xEE\xED\xEC", 20);
    UCHAR *page = test_malloc(VPD_MAX), list[VPD_MAX];
    ULONG listed = VpdBuild(&disk, 0, list);

    (void)state;
    disk.Unmaps = disk.Zeroes = disk.ZeroesUnmap = TRUE;
    disk.MaxTransfer = disk.OptimalTransfer = disk.UnmapGranularity = 0xFFFFFFFF;
    for (unsigned code = 0; code < 256; code++) {
        ULONG length = VpdBuild(&disk, (UCHAR)code, page);

        assert_int_equal(length != 0, memchr(list + 4, (int)code, listed - 4) != NULL);
        if (length != 0) {
            assert_true(length <= VPD_MAX && length == 4u + CdbGet16(page + 2));
            assert_int_equal(page[0], 0);
            assert_int_equal(page[1], code);
        }
    }
    test_free(page);
}

static void test_only_identity_needs_the_serial_number(void **state) {
    (void)state;
    for (unsigned code = 0; code < 256; code++) {
        VBLK_DISK a = with_serial("A", 1), b = with_serial("B", 1);
        UCHAR one[VPD_MAX], other[VPD_MAX];
        ULONG length = VpdBuild(&a, (UCHAR)code, one);

        assert_int_equal(VpdBuild(&b, (UCHAR)code, other), length);
        assert_int_equal(VpdNeedsSerial((UCHAR)code), memcmp(one, other, length) != 0);
    }
}

static void test_capacity_16_has_its_fields_where_they_belong(void **state) {
    VBLK_DISK disk = with_serial("", 0);
    UCHAR *data = test_malloc(DISK_CAPACITY_16_BYTES);
    static const UCHAR expected[DISK_CAPACITY_16_BYTES] = {0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEE,
                                                           0,    0,    0x10, 0,    0,    0x0F, 0x80, 0xFF};

    (void)state;
    disk.BlockShift = 12;
    disk.PhysicalExponent = 15;
    disk.LowestAligned = 255;
    disk.Zeroes = disk.ZeroesUnmap = TRUE;
    DiskBuildCapacity16(&disk, 0x0123456789ABCDEF, data);
    assert_memory_equal(data, expected, sizeof(expected));
    disk.ZeroesUnmap = FALSE;
    DiskBuildCapacity16(&disk, 1, data);
    assert_int_equal(data[14], 0);
    test_free(data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_serial_number_ends_at_nul_blanks_or_20_bytes),
        cmocka_unit_test(test_a_serial_number_that_is_no_text_is_told_in_hexadecimal),
        cmocka_unit_test(test_no_two_serial_numbers_look_alike),
        cmocka_unit_test(test_no_two_places_look_alike),
        cmocka_unit_test(test_a_page_states_its_length_and_is_listed),
        cmocka_unit_test(test_only_identity_needs_the_serial_number),
        cmocka_unit_test(test_capacity_16_has_its_fields_where_they_belong),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
