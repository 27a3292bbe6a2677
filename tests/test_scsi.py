# SPDX-License-Identifier: MIT OR Apache-2.0
"""SCSI through the shipped driver: what each command answers, transfers and refuses."""
import hosting
import pytest

BLOCK = 512
BLOCKS = 800
SIZE = BLOCKS * BLOCK

INVALID_OPCODE = (5, 0x20, 0)
OUT_OF_RANGE = (5, 0x21, 0)
INVALID_FIELD = (5, 0x24, 0)
SAVING_UNSUPPORTED = (5, 0x39, 0)
WRITE_PROTECTED = (7, 0x27, 0)

# With the version descriptors of SAM-3, SPC-3 and SBC-3, no version claimed.
STANDARD_INQUIRY = (bytes([0, 0, 5, 2, 69, 0, 0, 2]) + b"AERO    " + b"VIRTIO BLK      " + b"1.0 " + bytes(22)
                    + bytes.fromhex("0060 0300 04c0") + bytes(10))
CACHING = bytes([0x08, 18, 0x04]) + bytes(17)
CONTROL = bytes([0x0A, 10, 0, 0x10]) + bytes(8)
DESCRIPTOR = BLOCKS.to_bytes(4, "big") + BLOCK.to_bytes(4, "big")
DPOFUA = 0x10

READS = {6: 0x08, 10: 0x28, 12: 0xA8, 16: 0x88}
WRITES = {6: 0x0A, 10: 0x2A, 12: 0xAA, 16: 0x8A}
SYNCHRONIZES = {10: 0x35, 16: 0x91}


def transfer(length, opcode, lba, blocks, flags=0):
    """A READ, WRITE or SYNCHRONIZE CACHE of that many bytes, as hexadecimal text."""
    cdb = {
        6: lambda: lba.to_bytes(3, "big") + bytes([blocks & 0xFF, 0]),
        10: lambda: bytes([flags]) + lba.to_bytes(4, "big") + b"\0" + blocks.to_bytes(2, "big") + b"\0",
        12: lambda: bytes([flags]) + lba.to_bytes(4, "big") + blocks.to_bytes(4, "big") + b"\0\0",
        16: lambda: bytes([flags]) + lba.to_bytes(8, "big") + blocks.to_bytes(4, "big") + b"\0\0",
    }[length]()
    return (bytes([opcode]) + cdb).hex(" ")


def assert_good(command, answer=b""):
    assert (command.status, command.result, command.scsi_status, command.key) == (0, "GOOD", 0, None), command.told
    assert command.answer == answer and command.transferred == len(answer), command.told
    assert command.findings == 0, command.told


def assert_refused(command, key):
    """CHECK CONDITION with that sense; nothing was transferred, and the driver did nothing wrong."""
    assert (command.status, command.scsi_status, command.key) == (1, 2, key), command.told
    assert command.transferred == 0 and command.findings == 0, command.told


@pytest.fixture
def empty(disk):
    return disk(SIZE)


@pytest.fixture
def medium(disk):
    return disk(SIZE, seed=4)


# ---- what the driver answers itself ----

@pytest.mark.parametrize("length", [0, 4, 5, 35, 36, 37, 73, 74, 96, 255])
def test_inquiry_answers_what_fits(scsi, empty, length):
    assert_good(scsi(empty, f"12 00 00 00 {length:02x} 00"), STANDARD_INQUIRY[:length])


def test_inquiry_has_an_allocation_length_of_two_bytes(scsi, empty):
    assert_good(scsi(empty, "12 00 00 02 00 00"), STANDARD_INQUIRY)
    assert_good(scsi(empty, "12 00 00 01 05 00"), STANDARD_INQUIRY)


def test_inquiry_fills_no_more_than_the_buffer(scsi, empty):
    assert_good(scsi(empty, "12 00 00 00 ff 00", **{"in": 8}), STANDARD_INQUIRY[:8])


def test_the_list_of_vital_product_data_pages_begins_with_itself(scsi, empty):
    command = scsi(empty, "12 01 00 00 ff 00")
    assert_good(command, command.answer)
    assert command.answer[:2] == bytes(2) and command.answer[4] == 0, command.told
    assert len(command.answer) == 4 + command.answer[3], command.told
    assert list(command.answer[4:]) == sorted(set(command.answer[4:])), command.told
    assert_good(scsi(empty, "12 01 00 00 04 00"), command.answer[:4])
    for page in command.answer[4:]:
        answered = scsi(empty, f"12 01 {page:02x} 00 ff 00")
        assert_good(answered, answered.answer)
        assert answered.answer[1] == page, answered.told


@pytest.mark.parametrize("page", [0x01, 0x7F, 0xC5, 0xFF])
def test_a_vital_product_data_page_that_is_not_there_is_refused(scsi, empty, page):
    assert_refused(scsi(empty, f"12 01 {page:02x} 00 ff 00"), INVALID_FIELD)


@pytest.mark.parametrize("page", [0x01, 0x80, 0xFF])
def test_a_page_without_evpd_is_refused(scsi, empty, page):
    assert_refused(scsi(empty, f"12 00 {page:02x} 00 ff 00"), INVALID_FIELD)


def test_the_unit_is_ready(scsi, empty):
    assert_good(scsi(empty, "00 00 00 00 00 00"))


@pytest.mark.parametrize("length", [0, 8, 18, 252])
def test_request_sense_has_nothing_to_tell(scsi, empty, length):
    assert_good(scsi(empty, f"03 00 00 00 {length:02x} 00"), (bytes([0x70, 0, 0, 0, 0, 0, 0, 10]) + bytes(10))[:length])


@pytest.mark.parametrize("allocation", [16, 24, 4096])
def test_report_luns_reports_logical_unit_0(scsi, empty, allocation):
    assert_good(scsi(empty, f"a0 00 00 00 00 00 {allocation.to_bytes(4, 'big').hex(' ')} 00 00"),
                bytes([0, 0, 0, 8]) + bytes(12))


@pytest.mark.parametrize("allocation", [0, 8, 15])
def test_report_luns_with_a_short_allocation_is_refused(scsi, empty, allocation):
    assert_refused(scsi(empty, f"a0 00 00 00 00 00 00 00 00 {allocation:02x} 00 00"), INVALID_FIELD)


def test_report_luns_selects(scsi, empty):
    assert_good(scsi(empty, "a0 00 01 00 00 00 00 00 00 10 00 00"), bytes(8))
    assert_good(scsi(empty, "a0 00 02 00 00 00 00 00 00 10 00 00"), bytes([0, 0, 0, 8]) + bytes(12))
    assert_refused(scsi(empty, "a0 00 03 00 00 00 00 00 00 10 00 00"), INVALID_FIELD)


@pytest.mark.parametrize("opcode", ["02", "1f", "41 00 00 00 00 00 00 00 01", "c0", "ff"])
def test_an_unknown_operation_code_is_refused(scsi, empty, opcode):
    assert_refused(scsi(empty, opcode + " 00" * (12 - len(opcode.split()))), INVALID_OPCODE)


@pytest.mark.parametrize("cdb", ["00 00 00 00 00 04", "12 00 00 00 24 01", "28 00 00 00 00 00 00 00 01 04"])
def test_naca_and_link_are_refused(scsi, empty, cdb):
    assert_refused(scsi(empty, cdb), INVALID_FIELD)


# ---- capacity ----

def capacity_16(last, block, allocation=32):
    return (last.to_bytes(8, "big") + block.to_bytes(4, "big") + bytes(20))[:allocation]


@pytest.mark.parametrize("size", [BLOCK, SIZE, SIZE + 7 * BLOCK, 3 << 30])
def test_the_capacity_is_the_images(scsi, disk, size):
    image = disk(size)
    last = size // BLOCK - 1
    assert_good(scsi(image, "25" + " 00" * 9), last.to_bytes(4, "big") + BLOCK.to_bytes(4, "big"))
    assert_good(scsi(image, "9e 10 00 00 00 00 00 00 00 00 00 00 00 20 00 00"), capacity_16(last, BLOCK))


def test_a_capacity_beyond_32_bits_is_told_by_the_long_form_only(scsi, disk):
    size = 3 << 40
    image = disk(size)
    last = size // BLOCK - 1
    assert_good(scsi(image, "25" + " 00" * 9), b"\xff\xff\xff\xff" + BLOCK.to_bytes(4, "big"))
    assert_good(scsi(image, "9e 10 00 00 00 00 00 00 00 00 00 00 00 20 00 00"), capacity_16(last, BLOCK))
    assert_good(scsi(image, transfer(16, READS[16], last, 1)), bytes(BLOCK))
    assert_refused(scsi(image, transfer(16, READS[16], last, 2)), OUT_OF_RANGE)


@pytest.mark.parametrize("block", [512, 1024, 2048, 4096])
def test_the_block_size_is_the_devices(scsi, disk, block):
    image = disk(SIZE, seed=5)
    device = f"blk-size={block}"
    last = SIZE // block - 1
    assert_good(scsi(image, "25" + " 00" * 9, device=device), last.to_bytes(4, "big") + block.to_bytes(4, "big"))
    assert_good(scsi(image, "9e 10 00 00 00 00 00 00 00 00 00 00 00 20 00 00", device=device), capacity_16(last, block))
    assert_good(scsi(image, transfer(10, READS[10], last, 1), device=device), image.read_bytes()[-block:])
    assert_refused(scsi(image, transfer(10, READS[10], last + 1, 1), device=device), OUT_OF_RANGE)


@pytest.mark.parametrize("allocation", [0, 8, 12, 13, 31, 33])
def test_read_capacity_16_answers_what_fits(scsi, empty, allocation):
    cdb = f"9e 10 00 00 00 00 00 00 00 00 00 00 00 {allocation:02x} 00 00"
    assert_good(scsi(empty, cdb), capacity_16(BLOCKS - 1, BLOCK, allocation))


@pytest.mark.parametrize("cdb", ["25 00 00 00 00 01 00 00 00 00", "25 00 00 00 00 00 00 00 01 00",
                                 "9e 10 00 00 00 00 00 00 00 01 00 00 00 20 00 00",
                                 "9e 10 00 00 00 00 00 00 00 00 00 00 00 20 01 00",
                                 "9e 11 00 00 00 00 00 00 00 00 00 00 00 20 00 00"])
def test_partial_capacities_and_other_service_actions_are_refused(scsi, empty, cdb):
    assert_refused(scsi(empty, cdb), INVALID_FIELD)


# ---- mode pages ----

def mode_sense(length, page, control, dbd=0, allocation=255):
    if length == 6:
        return f"1a {dbd:02x} {control << 6 | page:02x} 00 {allocation:02x} 00"
    return f"5a {dbd:02x} {control << 6 | page:02x} 00 00 00 00 {allocation.to_bytes(2, 'big').hex(' ')} 00"


def mode_data(length, pages, descriptor=DESCRIPTOR, specific=DPOFUA):
    body = descriptor + pages
    if length == 6:
        return bytes([3 + len(body), 0, specific, len(descriptor)]) + body
    return (6 + len(body)).to_bytes(2, "big") + bytes([0, specific, 0, 0, 0, len(descriptor)]) + body


@pytest.mark.parametrize("length", [6, 10])
@pytest.mark.parametrize("page, pages", [(0x08, CACHING), (0x0A, CONTROL), (0x3F, CACHING + CONTROL)])
@pytest.mark.parametrize("control", [0, 2], ids=["current", "default"])
def test_mode_sense_answers_its_pages(scsi, empty, length, page, pages, control):
    assert_good(scsi(empty, mode_sense(length, page, control)), mode_data(length, pages))


@pytest.mark.parametrize("length", [6, 10])
def test_no_mode_bit_can_be_changed(scsi, empty, length):
    mask = CACHING[:2] + bytes(18) + CONTROL[:2] + bytes(10)
    assert_good(scsi(empty, mode_sense(length, 0x3F, 1)), mode_data(length, mask))


@pytest.mark.parametrize("length", [6, 10])
def test_no_mode_page_is_saved(scsi, empty, length):
    assert_refused(scsi(empty, mode_sense(length, 0x08, 3)), SAVING_UNSUPPORTED)


@pytest.mark.parametrize("length", [6, 10])
def test_mode_sense_leaves_the_block_descriptor_out(scsi, empty, length):
    assert_good(scsi(empty, mode_sense(length, 0x08, 0, dbd=8)), mode_data(length, CACHING, descriptor=b""))


@pytest.mark.parametrize("length", [6, 10])
@pytest.mark.parametrize("allocation", [0, 1, 4, 12, 31])
def test_mode_sense_answers_what_fits(scsi, empty, length, allocation):
    assert_good(scsi(empty, mode_sense(length, 0x08, 0, allocation=allocation)),
                mode_data(length, CACHING)[:allocation])


@pytest.mark.parametrize("length", [6, 10])
@pytest.mark.parametrize("page", [0x02, 0x1B])
def test_a_mode_page_that_is_not_there_is_refused(scsi, empty, length, page):
    assert_refused(scsi(empty, mode_sense(length, page, 0)), INVALID_FIELD)


@pytest.mark.parametrize("length", [6, 10])
def test_a_device_without_flush_has_no_write_cache(scsi, empty, length):
    assert_good(scsi(empty, mode_sense(length, 0x08, 0), device="features=-flush"),
                mode_data(length, CACHING[:2] + bytes(18)))


@pytest.mark.parametrize("length", [6, 10])
def test_a_read_only_device_is_write_protected(scsi, medium, tmp_path, length):
    before = medium.read_bytes()
    assert_good(scsi(medium, mode_sense(length, 0x08, 0), device="read-only=1"),
                mode_data(length, CACHING, specific=DPOFUA | 0x80))
    data = tmp_path / "data"
    data.write_bytes(bytes(BLOCK))
    refused = scsi(medium, transfer(length, WRITES[length], 0, 1), device="read-only=1", out=data)
    assert_refused(refused, WRITE_PROTECTED)
    assert medium.read_bytes() == before


# ---- data ----

@pytest.mark.parametrize("length", READS)
@pytest.mark.parametrize("lba, blocks", [(0, 1), (BLOCKS - 1, 1), (0, 8), (BLOCKS - 7, 7), (513, 255)])
def test_a_read_returns_the_mediums_bytes(scsi, medium, length, lba, blocks):
    expected = medium.read_bytes()[lba * BLOCK:(lba + blocks) * BLOCK]
    assert_good(scsi(medium, transfer(length, READS[length], lba, blocks)), expected)


@pytest.mark.parametrize("length", WRITES)
@pytest.mark.parametrize("lba, blocks", [(0, 1), (BLOCKS - 1, 1), (BLOCKS - 7, 7), (513, 255)])
def test_a_write_changes_its_blocks_and_no_other(scsi, medium, disk, length, lba, blocks):
    data = disk(blocks * BLOCK, seed=6, name="data")
    expected = bytearray(medium.read_bytes())
    expected[lba * BLOCK:(lba + blocks) * BLOCK] = data.read_bytes()
    command = scsi(medium, transfer(length, WRITES[length], lba, blocks), out=data)
    assert (command.result, command.transferred, command.findings) == ("GOOD", blocks * BLOCK, 0), command.told
    assert (command.status, command.bytes_written) == (0, blocks * BLOCK), command.told
    assert medium.read_bytes() == expected
    assert_good(scsi(medium, transfer(length, READS[length], lba, blocks)), data.read_bytes())


def test_no_blocks_mean_256_in_the_short_commands(scsi, medium, disk):
    assert_good(scsi(medium, transfer(6, READS[6], 0, 0)), medium.read_bytes()[:256 * BLOCK])
    data = disk(256 * BLOCK, seed=7, name="data")
    command = scsi(medium, transfer(6, WRITES[6], BLOCKS - 256, 0), out=data)
    assert (command.status, command.transferred) == (0, 256 * BLOCK), command.told
    assert medium.read_bytes()[-256 * BLOCK:] == data.read_bytes()


@pytest.mark.parametrize("length", [10, 12, 16])
@pytest.mark.parametrize("opcodes", [READS, WRITES], ids=["read", "write"])
def test_no_blocks_are_no_transfer(scsi, medium, length, opcodes):
    before = medium.read_bytes()
    command = scsi(medium, transfer(length, opcodes[length], 0, 0))
    assert (command.status, command.result, command.transferred) == (0, "GOOD", 0), command.told
    assert (command.bytes_read, command.bytes_written, command.findings) == (0, 0, 0), command.told
    assert medium.read_bytes() == before


BEYOND = [(BLOCKS, 1), (BLOCKS - 1, 2), (0, BLOCKS + 1), (0x1FFFFF, 1)]
FAR_BEYOND = {10: [(0xFFFFFFFF, 1), (0xFFFFFFFF, BLOCKS)], 12: [(0xFFFFFFFF, 1)],
              16: [(0xFFFFFFFF, 1), (1 << 32, 1), (0xFFFFFFFFFFFFFFFF, 1), (0xFFFFFFFFFFFFFFFF, 2), (1 << 55, 1)]}
OUTSIDE = [(6, BLOCKS, 1), (6, BLOCKS - 1, 2), (6, 0x1FFFFF, 1)]
OUTSIDE += [(length, lba, blocks) for length in (10, 12, 16) for lba, blocks in BEYOND + FAR_BEYOND[length]]


@pytest.mark.parametrize("length, lba, blocks", OUTSIDE)
def test_a_transfer_beyond_the_end_is_refused(scsi, medium, disk, length, lba, blocks):
    before = medium.read_bytes()
    refused = scsi(medium, transfer(length, READS[length], lba, blocks))
    assert_refused(refused, OUT_OF_RANGE)
    assert refused.bytes_read == 0, refused.told
    data = disk(blocks * BLOCK, seed=8, name="data")
    refused = scsi(medium, transfer(length, WRITES[length], lba, blocks), out=data)
    assert_refused(refused, OUT_OF_RANGE)
    assert refused.bytes_written == 0 and medium.read_bytes() == before, refused.told


# ---- cache ----

@pytest.fixture
def flushes(scsi):
    """flushes(image, cdb, …): the flushes that one command causes, besides those of every run."""
    def count(image, cdb, **keywords):
        still = scsi(image, "00 00 00 00 00 00", device=keywords.get("device", "contract"))
        command = scsi(image, cdb, **keywords)
        assert (command.status, command.result, command.findings) == (0, "GOOD", 0), command.told
        return command.flushes - still.flushes
    return count


@pytest.mark.parametrize("length", SYNCHRONIZES)
@pytest.mark.parametrize("flags", [0, 2], ids=["wait", "immediate"])
@pytest.mark.parametrize("lba, blocks", [(0, 0), (5, 3), (BLOCKS - 1, 1)])
def test_synchronize_cache_flushes_the_device(flushes, empty, length, flags, lba, blocks):
    assert flushes(empty, transfer(length, SYNCHRONIZES[length], lba, blocks, flags)) == 1


@pytest.mark.parametrize("length", SYNCHRONIZES)
def test_synchronize_cache_beyond_the_end_is_refused(scsi, empty, length):
    assert_refused(scsi(empty, transfer(length, SYNCHRONIZES[length], BLOCKS, 1)), OUT_OF_RANGE)


@pytest.mark.parametrize("length", [10, 12, 16])
@pytest.mark.parametrize("flags, expected", [(0, 0), (8, 1), (0x10, 0), (0x18, 1)], ids=["plain", "fua", "dpo", "both"])
def test_forced_unit_access_flushes_the_device(flushes, medium, disk, length, flags, expected):
    data = disk(BLOCK, seed=9, name="data")
    assert flushes(medium, transfer(length, WRITES[length], 1, 1, flags), out=data) == expected
    assert medium.read_bytes()[BLOCK:2 * BLOCK] == data.read_bytes()


@pytest.mark.parametrize("cdb", [transfer(10, SYNCHRONIZES[10], 0, 0), transfer(10, READS[10], 0, 1, 8)])
def test_a_device_without_flush_is_asked_for_none(flushes, empty, cdb):
    assert flushes(empty, cdb, device="features=-flush") == 0


@pytest.mark.parametrize("length", [10, 12, 16])
@pytest.mark.parametrize("protect", [1, 2, 7])
def test_protection_information_is_refused(scsi, empty, length, protect):
    assert_refused(scsi(empty, transfer(length, READS[length], 0, 1, protect << 5)), INVALID_FIELD)
