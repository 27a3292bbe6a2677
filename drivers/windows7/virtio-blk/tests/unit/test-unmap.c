/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Claims about unmap.c: which parameter lists are taken, to the byte. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "cdb.h"
#include "disk.h"

#define BLOCKS 1000

/* Checks the first Length bytes of a list, out of a buffer of that size. */
static UNMAP_RESULT check(const UCHAR *list, ULONG length, ULONG *count) {
    UCHAR *exact = test_malloc(length != 0 ? length : 1);
    UNMAP_RESULT result;

    memcpy(exact, list, length);
    result = UnmapCheck(exact, length, BLOCKS, count);
    test_free(exact);
    return result;
}

static void put_descriptor(UCHAR *list, ULONG index, ULONGLONG lba, ULONG blocks) {
    CdbPut64(list + 8 + 16 * index, lba);
    CdbPut32(list + 16 + 16 * index, blocks);
}

static void test_a_list_is_taken_whole_or_not_at_all(void **state) {
    UCHAR list[8 + 3 * 16] = {0};
    ULONG count;

    (void)state;
    CdbPut16(list, sizeof(list) - 2);
    CdbPut16(list + 2, sizeof(list) - 8);
    for (ULONG length = 0; length <= sizeof(list); length++) {
        UNMAP_RESULT result = check(list, length, &count);

        assert_int_equal(result, length == 0 || length == sizeof(list) ? UnmapOk : UnmapListLength);
        assert_int_equal(count, length == sizeof(list) ? 3 : 0);
    }
}

static void test_a_piece_of_a_descriptor_is_none(void **state) {
    UCHAR list[8 + 2 * 16] = {0};
    ULONG count;

    (void)state;
    CdbPut16(list, sizeof(list) - 2);
    for (ULONG described = 0; described <= 32; described++) {
        CdbPut16(list + 2, described);
        assert_int_equal(check(list, sizeof(list), &count), UnmapOk);
        assert_int_equal(count, described / 16);
    }
    CdbPut16(list + 2, 33);
    assert_int_equal(check(list, sizeof(list), &count), UnmapListLength);
}

static void test_the_lists_own_length_covers_its_descriptors(void **state) {
    UCHAR list[8 + 16] = {0};
    ULONG count;

    (void)state;
    CdbPut16(list + 2, 16);
    CdbPut16(list, 21);
    assert_int_equal(check(list, sizeof(list), &count), UnmapListLength);
    CdbPut16(list, 22);
    assert_int_equal(check(list, sizeof(list), &count), UnmapOk);
    CdbPut16(list, 0xFFFF);
    assert_int_equal(check(list, sizeof(list), &count), UnmapOk);
}

static void test_every_range_lies_on_the_disk(void **state) {
    static const struct {
        ULONGLONG lba;
        ULONG blocks;
        UNMAP_RESULT result;
    } ranges[] = {
        {0, BLOCKS, UnmapOk},
        {BLOCKS, 0, UnmapOk},
        {BLOCKS - 1, 1, UnmapOk},
        {BLOCKS - 1, 2, UnmapOutOfRange},
        {BLOCKS, 1, UnmapOutOfRange},
        {BLOCKS + 1, 0, UnmapOutOfRange},
        {1, 0xFFFFFFFF, UnmapOutOfRange},
        {0xFFFFFFFFFFFFFFFF, 1, UnmapOutOfRange},
        {0xFFFFFFFFFFFFFFFF, 0xFFFFFFFF, UnmapOutOfRange},
        {0x8000000000000000, 1, UnmapOutOfRange},
    };
    UCHAR list[8 + 2 * 16] = {0};
    ULONG count;

    (void)state;
    CdbPut16(list, sizeof(list) - 2);
    CdbPut16(list + 2, sizeof(list) - 8);
    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        ULONGLONG lba;
        ULONG blocks;

        put_descriptor(list, 0, 5, 5);
        put_descriptor(list, 1, ranges[i].lba, ranges[i].blocks);
        assert_int_equal(check(list, sizeof(list), &count), ranges[i].result);
        UnmapGet(list, 1, &lba, &blocks);
        assert_true(lba == ranges[i].lba && blocks == ranges[i].blocks);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_list_is_taken_whole_or_not_at_all),
        cmocka_unit_test(test_a_piece_of_a_descriptor_is_none),
        cmocka_unit_test(test_the_lists_own_length_covers_its_descriptors),
        cmocka_unit_test(test_every_range_lies_on_the_disk),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
