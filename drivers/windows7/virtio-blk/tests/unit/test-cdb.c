/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Claims about cdb.c: what each command asks for, at the limits of every field. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "cdb.h"

#define NACA 0x04
#define LINK 0x01
#define FUA 0x08
#define DPO 0x10

struct command {
    ULONG operation;
    ULONGLONG lba;
    ULONG blocks;
};

/* Decodes from a block of exactly 16 bytes, so that a sanitizer sees any read beyond. */
static struct command decode(const UCHAR *bytes, size_t length, size_t cdb_length) {
    UCHAR *cdb = test_malloc(16);
    struct command command = {0, 0, 0};

    memset(cdb, 0, 16);
    memcpy(cdb, bytes, length);
    command.operation = CdbDecode(cdb, (ULONG)cdb_length, &command.lba, &command.blocks);
    test_free(cdb);
    return command;
}

#define DECODE(...)                                                                                                    \
    decode((const UCHAR[]){__VA_ARGS__}, sizeof((const UCHAR[]){__VA_ARGS__}), sizeof((const UCHAR[]){__VA_ARGS__}))

static void expect(struct command command, ULONG operation, ULONGLONG lba, ULONG blocks, BOOLEAN fua) {
    assert_int_equal(command.operation, operation | (fua ? CDB_FUA : 0));
    assert_int_equal(CDB_OPERATION(command.operation), operation);
    assert_true(command.lba == lba);
    assert_int_equal(command.blocks, blocks);
}

static void test_read_6_has_21_bits_of_position(void **state) {
    (void)state;
    expect(DECODE(0x08, 0x12, 0x34, 0x56, 0x07, 0), CDB_READ, 0x123456, 7, FALSE);
    expect(DECODE(0x08, 0xFF, 0xFF, 0xFF, 0xFF, 0), CDB_READ, 0x1FFFFF, 255, FALSE);
}

static void test_length_0_of_read_6_and_write_6_means_256(void **state) {
    (void)state;
    expect(DECODE(0x08, 0, 0, 0, 0, 0), CDB_READ, 0, 256, FALSE);
    expect(DECODE(0x0A, 0, 0, 1, 0, 0), CDB_WRITE, 1, 256, FALSE);
    expect(DECODE(0x0A, 0, 0, 1, 1, 0), CDB_WRITE, 1, 1, FALSE);
}

static void test_read_6_has_no_flags_in_byte_1(void **state) {
    (void)state;
    expect(DECODE(0x08, 0xE8, 0, 0, 1, 0), CDB_READ, 0x80000, 1, FALSE);
}

static void test_read_10_and_write_10_fields(void **state) {
    (void)state;
    expect(DECODE(0x28, 0, 0x01, 0x02, 0x03, 0x04, 0xFF, 0x05, 0x06, 0), CDB_READ, 0x01020304, 0x0506, FALSE);
    expect(DECODE(0x2A, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0xFF, 0xFF, 0), CDB_WRITE, 0xFFFFFFFF, 0xFFFF, FALSE);
    expect(DECODE(0x28, 0, 0x80, 0, 0, 0, 0, 0, 0, 0), CDB_READ, 0x80000000, 0, FALSE);
}

static void test_read_12_and_write_12_fields(void **state) {
    (void)state;
    expect(DECODE(0xA8, 0, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0xFF, 0), CDB_READ, 0x01020304, 0x05060708,
           FALSE);
    expect(DECODE(0xAA, FUA, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0), CDB_WRITE, 0xFFFFFFFF, 0xFFFFFFFF,
           TRUE);
}

static void test_read_16_and_write_16_fields(void **state) {
    (void)state;
    expect(DECODE(0x88, 0, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0A, 0x0B, 0x0C, 0xFF, 0), CDB_READ,
           0x0102030405060708, 0x090A0B0C, FALSE);
    expect(DECODE(0x8A, FUA, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0), CDB_WRITE,
           UINT64_MAX, UINT32_MAX, TRUE);
}

static void test_synchronize_cache_fields(void **state) {
    (void)state;
    expect(DECODE(0x35, 0x02, 0x01, 0x02, 0x03, 0x04, 0, 0x05, 0x06, 0), CDB_SYNCHRONIZE, 0x01020304, 0x0506, FALSE);
    expect(DECODE(0x91, 0x02, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0A, 0x0B, 0x0C, 0, 0),
           CDB_SYNCHRONIZE, 0x0102030405060708, 0x090A0B0C, FALSE);
    expect(DECODE(0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0), CDB_SYNCHRONIZE, 0, 0, FALSE);
}

static void test_forced_unit_access_is_bit_3_and_dpo_is_not(void **state) {
    (void)state;
    expect(DECODE(0x28, FUA, 0, 0, 0, 0, 0, 0, 1, 0), CDB_READ, 0, 1, TRUE);
    expect(DECODE(0x2A, FUA, 0, 0, 0, 0, 0, 0, 1, 0), CDB_WRITE, 0, 1, TRUE);
    expect(DECODE(0x2A, DPO, 0, 0, 0, 0, 0, 0, 1, 0), CDB_WRITE, 0, 1, FALSE);
    expect(DECODE(0x8A, DPO | FUA, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0), CDB_WRITE, 0, 1, TRUE);
}

static const UCHAR medium_opcodes[] = {0x08, 0x0A, 0x28, 0x2A, 0x35, 0x88, 0x8A, 0x91, 0xA8, 0xAA};

static size_t length_of(UCHAR opcode) {
    static const size_t lengths[8] = {6, 10, 10, 0, 16, 12, 0, 0};

    return lengths[opcode >> 5];
}

static void test_protection_is_refused_where_the_field_exists(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(medium_opcodes); i++) {
        UCHAR opcode = medium_opcodes[i];
        int has_field = opcode != 0x08 && opcode != 0x0A && opcode != 0x35 && opcode != 0x91;

        for (unsigned protect = 0; protect < 8; protect++) {
            UCHAR cdb[16] = {opcode, (UCHAR)(protect << 5)};
            struct command command = decode(cdb, 16, length_of(opcode));

            assert_int_equal(command.operation == CDB_INVALID, has_field && protect != 0);
        }
    }
}

static void test_naca_and_link_in_control_are_refused_and_vendor_bits_are_not(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(medium_opcodes); i++) {
        UCHAR opcode = medium_opcodes[i];

        for (unsigned control = 0; control < 256; control++) {
            UCHAR cdb[16] = {opcode};

            cdb[length_of(opcode) - 1] = (UCHAR)control;
            assert_int_equal(decode(cdb, 16, length_of(opcode)).operation == CDB_INVALID,
                             (control & (NACA | LINK)) != 0);
        }
    }
}

static void test_a_cdb_shorter_than_its_opcode_says_is_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(medium_opcodes); i++) {
        UCHAR cdb[16] = {medium_opcodes[i]};

        for (ULONG length = 0; length <= 16; length++) {
            assert_int_equal(decode(cdb, 16, length).operation == CDB_INVALID, length < length_of(medium_opcodes[i]));
        }
    }
}

static void test_every_other_opcode_is_other(void **state) {
    (void)state;
    for (unsigned opcode = 0; opcode < 256; opcode++) {
        UCHAR cdb[16];

        memset(cdb, 0xFF, sizeof(cdb));
        cdb[0] = (UCHAR)opcode;
        if (memchr(medium_opcodes, (int)opcode, sizeof(medium_opcodes)) == NULL) {
            assert_int_equal(decode(cdb, 16, 16).operation, CDB_OTHER);
            assert_int_equal(decode(cdb, 16, 0).operation, CDB_OTHER);
        } else {
            assert_int_not_equal(decode(cdb, 16, 16).operation, CDB_OTHER);
        }
    }
}

static void test_well_formed_needs_the_length_of_the_group_and_a_plain_control(void **state) {
    (void)state;
    for (unsigned opcode = 0; opcode < 256; opcode++) {
        size_t needed = length_of((UCHAR)opcode);
        UCHAR cdb[16] = {(UCHAR)opcode};

        assert_true(CdbIsWellFormed(cdb, 16));
        if (needed == 0) {
            assert_true(CdbIsWellFormed(cdb, 0));
            continue;
        }
        assert_true(CdbIsWellFormed(cdb, (ULONG)needed));
        assert_false(CdbIsWellFormed(cdb, (ULONG)needed - 1));
        cdb[needed - 1] = NACA;
        assert_false(CdbIsWellFormed(cdb, 16));
        cdb[needed - 1] = LINK;
        assert_false(CdbIsWellFormed(cdb, 16));
    }
}

/* Every operation code and byte 1, and the standardized bits of CONTROL, at the lengths around 10. */
static void test_transfer_10_is_exactly_what_decodes_as_a_valid_read_10_or_write_10(void **state) {
    unsigned i;
    ULONG length;

    (void)state;
    for (i = 0; i < 1u << 19; i++) {
        UCHAR cdb[16] = {(UCHAR)i, (UCHAR)(i >> 8), 0x12, 0x34, 0x56, 0x78, 0, 0x9A, 0xBC, (UCHAR)(i >> 16)};
        BOOLEAN is_10 = (BOOLEAN)(cdb[0] == CDB_READ_10 || cdb[0] == CDB_WRITE_10);

        for (length = 9; length <= (is_10 ? 16u : 10u); length++) {
            ULONGLONG lba = 0;
            ULONG blocks = 0;
            ULONG decoded = CdbDecode(cdb, length, &lba, &blocks);
            BOOLEAN valid = (BOOLEAN)(is_10 && CDB_OPERATION(decoded) <= CDB_WRITE);

            if (CdbIsTransfer10(cdb, length) != valid) {
                fail_msg("%02x %02x ... %02x of %u bytes", cdb[0], cdb[1], cdb[9], length);
            }
            if (valid) {
                assert_int_equal(decoded, CdbHead(cdb) & (CDB_WRITE | CDB_FUA));
                assert_true(lba == CdbGet32(cdb + 2) && blocks == CdbGet16(cdb + 7));
            }
        }
    }
}

static void test_extent_is_where_read_has_it(void **state) {
    static const UCHAR opcodes[] = {CDB_VERIFY_10,           CDB_VERIFY_12,           CDB_VERIFY_16,
                                    CDB_WRITE_AND_VERIFY_10, CDB_WRITE_AND_VERIFY_12, CDB_WRITE_AND_VERIFY_16,
                                    CDB_WRITE_SAME_16};
    static const UCHAR reads[] = {CDB_READ_10, CDB_READ_12, CDB_READ_16, CDB_READ_10,
                                  CDB_READ_12, CDB_READ_16, CDB_READ_16};

    (void)state;
    for (size_t i = 0; i < sizeof(opcodes); i++) {
        UCHAR cdb[16] = {0, 0, 0xFE, 0xDC, 0xBA, 0x98, 0x76, 0x54, 0x32, 0x10, 0x89, 0xAB, 0xCD, 0xEF, 0x11, 0};
        ULONGLONG lba = 0, expected_lba = 0;
        ULONG blocks = 0, expected_blocks = 0;

        cdb[0] = reads[i];
        (void)CdbDecode(cdb, 16, &expected_lba, &expected_blocks);
        cdb[0] = opcodes[i];
        CdbExtent(cdb, &lba, &blocks);
        assert_true(lba == expected_lba && blocks == expected_blocks && blocks != 0);
    }
}

static void test_big_endian_writers_are_read_back(void **state) {
    UCHAR bytes[8];

    (void)state;
    CdbPut64(bytes, 0xFEDCBA9876543210);
    assert_true(bytes[0] == 0xFE && bytes[7] == 0x10 && CdbGet64(bytes) == 0xFEDCBA9876543210);
    CdbPut32(bytes, 0x89ABCDEF);
    assert_int_equal(CdbGet32(bytes), 0x89ABCDEF);
    CdbPut16(bytes, 0x5A5ABEEF);
    assert_int_equal(CdbGet16(bytes), 0xBEEF);
}

static void test_big_endian_readers_keep_high_bits_unsigned(void **state) {
    static const UCHAR bytes[8] = {0xFE, 0xDC, 0xBA, 0x98, 0x76, 0x54, 0x32, 0x10};

    (void)state;
    assert_int_equal(CdbGet16(bytes), 0xFEDC);
    assert_int_equal(CdbGet32(bytes), 0xFEDCBA98);
    assert_true(CdbGet64(bytes) == 0xFEDCBA9876543210);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_6_has_21_bits_of_position),
        cmocka_unit_test(test_length_0_of_read_6_and_write_6_means_256),
        cmocka_unit_test(test_read_6_has_no_flags_in_byte_1),
        cmocka_unit_test(test_read_10_and_write_10_fields),
        cmocka_unit_test(test_read_12_and_write_12_fields),
        cmocka_unit_test(test_read_16_and_write_16_fields),
        cmocka_unit_test(test_synchronize_cache_fields),
        cmocka_unit_test(test_forced_unit_access_is_bit_3_and_dpo_is_not),
        cmocka_unit_test(test_protection_is_refused_where_the_field_exists),
        cmocka_unit_test(test_naca_and_link_in_control_are_refused_and_vendor_bits_are_not),
        cmocka_unit_test(test_a_cdb_shorter_than_its_opcode_says_is_refused),
        cmocka_unit_test(test_every_other_opcode_is_other),
        cmocka_unit_test(test_well_formed_needs_the_length_of_the_group_and_a_plain_control),
        cmocka_unit_test(test_transfer_10_is_exactly_what_decodes_as_a_valid_read_10_or_write_10),
        cmocka_unit_test(test_extent_is_where_read_has_it),
        cmocka_unit_test(test_big_endian_writers_are_read_back),
        cmocka_unit_test(test_big_endian_readers_keep_high_bits_unsigned),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
