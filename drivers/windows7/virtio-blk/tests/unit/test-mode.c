/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Claims about mode.c: what MODE SENSE says, MODE SELECT takes; every single-bit change of what is, and every length. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "cdb.h"
#include "disk.h"

#define BLOCKS 0x12345678
#define PF 0x10
#define ALL_PAGES 0x3F
#define WCE_BIT 2

static VBLK_DISK disk_with(BOOLEAN write_back, BOOLEAN changeable) {
    VBLK_DISK disk;

    memset(&disk, 0, sizeof(disk));
    disk.BlockShift = 9;
    disk.WriteBack = write_back;
    disk.WriteBackChangeable = changeable;
    return disk;
}

/* MODE SELECT from a buffer of exactly that many bytes. */
static MODE_RESULT select_mode(const VBLK_DISK *disk, UCHAR opcode, const UCHAR *list, ULONG length,
                               BOOLEAN *write_back) {
    UCHAR cdb[16] = {opcode, PF};
    UCHAR *exact = test_malloc(length != 0 ? length : 1);
    MODE_RESULT result;

    memcpy(exact, list, length);
    *write_back = 0xAA;
    result = ModeSelect(disk, cdb, BLOCKS, exact, length, write_back);
    test_free(exact);
    if (result != ModeOk) {
        assert_int_equal(*write_back, 0xAA);
    }
    return result;
}

/* The current pages as MODE SENSE of that length tells them. */
static ULONG sense_mode(const VBLK_DISK *disk, UCHAR opcode, UCHAR *data) {
    UCHAR cdb[16] = {opcode, 0, ALL_PAGES};
    UCHAR *exact = test_malloc(MODE_DATA_MAX);
    ULONG length = 0;

    assert_int_equal(ModeSense(disk, cdb, BLOCKS, exact, &length), ModeOk);
    assert_true(length <= MODE_DATA_MAX);
    memcpy(data, exact, length);
    test_free(exact);
    return length;
}

static const UCHAR pairs[2][2] = {{CDB_MODE_SENSE_6, CDB_MODE_SELECT_6}, {CDB_MODE_SENSE_10, CDB_MODE_SELECT_10}};

static void test_what_mode_sense_says_mode_select_takes(void **state) {
    (void)state;
    for (unsigned i = 0; i < 8; i++) {
        VBLK_DISK disk = disk_with(i & 1, i >> 1 & 1);
        UCHAR data[MODE_DATA_MAX];
        ULONG length = sense_mode(&disk, pairs[i >> 2][0], data);
        BOOLEAN write_back;

        assert_int_equal(length, (i >> 2 ? 8 : 4) + 8 + 20 + 12);
        assert_int_equal(select_mode(&disk, pairs[i >> 2][1], data, length, &write_back), ModeOk);
        assert_int_equal(write_back, i & 1);
    }
}

static void test_only_the_write_cache_can_be_changed_and_only_where_the_device_can(void **state) {
    (void)state;
    for (unsigned i = 0; i < 8; i++) {
        VBLK_DISK disk = disk_with(i & 1, i >> 1 & 1);
        UCHAR data[MODE_DATA_MAX];
        ULONG length = sense_mode(&disk, pairs[i >> 2][0], data);
        ULONG pages = length - 20 - 12;
        BOOLEAN write_back;

        for (ULONG bit = 0; bit < (length - pages) * 8; bit++) {
            ULONG byte = pages + bit / 8;
            BOOLEAN is_cache = (BOOLEAN)(byte == pages + 2 && bit % 8 == WCE_BIT);
            BOOLEAN is_saveable = (BOOLEAN)((byte == pages || byte == pages + 20) && bit % 8 == 7);
            MODE_RESULT result;

            data[byte] ^= (UCHAR)(1 << bit % 8);
            result = select_mode(&disk, pairs[i >> 2][1], data, length, &write_back);
            data[byte] ^= (UCHAR)(1 << bit % 8);
            if (is_saveable || (is_cache && disk.WriteBackChangeable)) {
                assert_int_equal(result, ModeOk);
                assert_int_equal(write_back, is_cache ? !disk.WriteBack : disk.WriteBack);
            } else {
                assert_true(result == ModeInvalidList || result == ModeListLength);
            }
        }
    }
}

static void test_a_list_ends_where_a_page_ends(void **state) {
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        VBLK_DISK disk = disk_with(TRUE, TRUE);
        UCHAR data[MODE_DATA_MAX];
        ULONG length = sense_mode(&disk, pairs[i][0], data);
        BOOLEAN write_back;

        for (ULONG cut = 0; cut <= length; cut++) {
            BOOLEAN whole = (BOOLEAN)(cut == 0 || cut == length || cut == length - 12 || cut == length - 32);

            assert_int_equal(select_mode(&disk, pairs[i][1], data, cut, &write_back), whole ? ModeOk : ModeListLength);
        }
    }
}

static void test_sense_refuses_pages_and_subpages_that_are_not_there(void **state) {
    VBLK_DISK disk = disk_with(TRUE, TRUE);
    UCHAR data[MODE_DATA_MAX];
    ULONG length;

    (void)state;
    for (unsigned page = 0; page < 0x40; page++) {
        for (unsigned subpage = 0; subpage < 256; subpage++) {
            UCHAR cdb[16] = {CDB_MODE_SENSE_6, 0, (UCHAR)page, (UCHAR)subpage};
            BOOLEAN there =
                (BOOLEAN)((page == 0x08 || page == 0x0A || page == ALL_PAGES) && (subpage == 0 || subpage == 0xFF));

            assert_int_equal(ModeSense(&disk, cdb, BLOCKS, data, &length), there ? ModeOk : ModeInvalidCdb);
        }
    }
}

static void test_the_block_descriptor_counts_to_32_bits(void **state) {
    VBLK_DISK disk = disk_with(TRUE, TRUE);
    UCHAR cdb[16] = {CDB_MODE_SENSE_6, 0, 0x08};
    UCHAR data[MODE_DATA_MAX];
    ULONG length;

    (void)state;
    disk.BlockShift = 12;
    assert_int_equal(ModeSense(&disk, cdb, 0x100000000, data, &length), ModeOk);
    assert_true(CdbGet32(data + 4) == 0xFFFFFFFF && CdbGet32(data + 8) == 4096);
    assert_int_equal(ModeSense(&disk, cdb, 0xFFFFFFFE, data, &length), ModeOk);
    assert_true(CdbGet32(data + 4) == 0xFFFFFFFE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_mode_sense_says_mode_select_takes),
        cmocka_unit_test(test_only_the_write_cache_can_be_changed_and_only_where_the_device_can),
        cmocka_unit_test(test_a_list_ends_where_a_page_ends),
        cmocka_unit_test(test_sense_refuses_pages_and_subpages_that_are_not_there),
        cmocka_unit_test(test_the_block_descriptor_counts_to_32_bits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
