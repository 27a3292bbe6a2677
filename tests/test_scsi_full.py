# SPDX-License-Identifier: MIT OR Apache-2.0
"""SCSI through both shipped drivers, beyond reads and writes: identity, modes, verification, provisioning, odd devices."""
import hosting
import pytest

BLOCK = 512
BLOCKS = 800
SIZE = BLOCKS * BLOCK

LIST_LENGTH = (5, 0x1A, 0)
INVALID_OPCODE = (5, 0x20, 0)
OUT_OF_RANGE = (5, 0x21, 0)
INVALID_FIELD = (5, 0x24, 0)
INVALID_LIST = (5, 0x26, 0)
SAVING_UNSUPPORTED = (5, 0x39, 0)
WRITE_PROTECTED = (7, 0x27, 0)
READ_ERROR = (3, 0x11, 0)
WRITE_ERROR = (3, 0x0C, 0)
MISCOMPARE = (0xE, 0x1D, 0)
HARDWARE = (4, 0x44, 0)
LENGTH_MISMATCH = 0x12  # SRB_STATUS_DATA_OVERRUN

VERIFIES = {10: 0x2F, 12: 0xAF, 16: 0x8F}
WRITE_VERIFIES = {10: 0x2E, 12: 0xAE, 16: 0x8E}
READ_CAPACITY_16 = "9e 10 00 00 00 00 00 00 00 00 00 00 00 20 00 00"
UNMAPS = "features=+discard"
ZEROES = "features=+write_zeroes,zeroes-may-unmap=1"


@pytest.fixture
def scsi(target):
    """scsi(image, cdb, then=(), seed=1, …): one command, and those that follow, to the driver of either architecture."""
    def send(image, cdb, then=(), seed=1, **keywords):
        words = hosting.options(disk=image, seed=seed, **keywords)
        for follower in then:
            words += ["--then", follower]
        return hosting.Command(hosting.run(target.program, "scsi", target.shipped, *words, "--json", "--", *cdb.split()))
    return send


@pytest.fixture
def empty(disk):
    return disk(SIZE)


@pytest.fixture
def medium(disk):
    return disk(SIZE, seed=4)


@pytest.fixture
def file(tmp_path):
    """file(data): a file that holds them, for --out."""
    def make(data):
        path = tmp_path / "data"
        path.write_bytes(data)
        return path
    return make


def extent(length, opcode, lba, blocks, flags=0):
    cdb = {
        6: lambda: bytes([opcode]) + lba.to_bytes(3, "big") + bytes([blocks, 0]),
        10: lambda: bytes([opcode, flags]) + lba.to_bytes(4, "big") + b"\0" + blocks.to_bytes(2, "big") + b"\0",
        12: lambda: bytes([opcode, flags]) + lba.to_bytes(4, "big") + blocks.to_bytes(4, "big") + b"\0\0",
        16: lambda: bytes([opcode, flags]) + lba.to_bytes(8, "big") + blocks.to_bytes(4, "big") + b"\0\0",
    }[length]()
    return cdb.hex(" ")


def vpd(page, allocation=255):
    return f"12 01 {page:02x} {allocation >> 8:02x} {allocation & 255:02x} 00"


def answer_of(follower):
    return bytes.fromhex(follower["data"] or "")


def assert_good(command, answer=None, transferred=None):
    assert (command.status, command.srb_status, command.scsi_status, command.key) == (0, 1, 0, None), command.told
    assert command.findings == 0, command.told
    if answer is not None:
        assert command.answer == answer, command.told
        transferred = len(answer)
    assert transferred is None or command.transferred == transferred, command.told


def assert_refused(command, key):
    assert (command.srb_status, command.scsi_status, command.key) == (4, 2, key), command.told
    assert command.transferred == 0 and command.findings == 0, command.told


# ---- identity ----

def page_83(designator, kind):
    body = bytes([2, kind, 0, len(designator)]) + designator
    return bytes([0, 0x83, 0, len(body)]) + body


PRODUCT = b"AERO    VIRTIO BLK      "


def test_the_pages_are_listed_in_ascending_order(scsi, empty):
    assert_good(scsi(empty, vpd(0)), bytes([0, 0, 0, 6, 0, 0x80, 0x83, 0xB0, 0xB1, 0xB2]))


@pytest.mark.parametrize("serial", ["A", "0", "SN-0123456789", "abcdefghijklmnopqrst"[:19], "abcdefghijklmnopqrst"])
def test_the_serial_number_is_the_devices(scsi, empty, serial):
    text = serial.encode()
    assert_good(scsi(empty, vpd(0x80), device=f"serial={serial}"), bytes([0, 0x80, 0, len(text)]) + text)
    assert_good(scsi(empty, vpd(0x83), device=f"serial={serial}"), page_83(PRODUCT + text, 1))


@pytest.mark.parametrize("serial, told", [("ab  ", b"ab"), (" ab", b" ab"), ("a\tb", b"610962"), ("\xff", b"C3BF")])
def test_a_serial_number_is_text_without_blanks_behind_it(scsi, empty, serial, told):
    assert_good(scsi(empty, vpd(0x80), device=f"serial={serial}"), bytes([0, 0x80, 0, len(told)]) + told)


@pytest.mark.parametrize("device", ["contract", "serial=X,get-id=fails", "serial=   "],
                         ids=["unsupported", "failing", "blank"])
def test_a_disk_without_serial_number_is_named_by_its_place(scsi, empty, device):
    assert_good(scsi(empty, vpd(0x80), device=device), bytes([0, 0x80, 0, 20]) + b" " * 20)
    assert_good(scsi(empty, vpd(0x83), device=device), page_83(PRODUCT + b"PCI 00:03.0", 0))


@pytest.mark.parametrize("device", ["serial=SLOW,id-delay=500", "serial=SLOW,get-id=fails-once"])
@pytest.mark.parametrize("seed", range(4))
def test_no_other_serial_number_is_told_before_the_right_one(scsi, empty, device, seed):
    assert_good(scsi(empty, vpd(0x80), device=device, seed=seed), b"\0\x80\0\x04SLOW")


def test_the_serial_number_is_asked_for_once(scsi, empty):
    one = scsi(empty, vpd(0x80), device="serial=A")
    more = scsi(empty, vpd(0x80), then=[vpd(0x80), vpd(0x83), vpd(0x80)], device="serial=A")
    assert one.requests == more.requests, more.told
    assert answer_of(more.then[2]) == b"\0\x80\0\x01A", more.told


def test_a_serial_number_that_never_comes_fails_nothing_else_for_long(scsi, medium):
    command = scsi(medium, extent(10, 0x28, 0, 1), then=[vpd(0x83)], device="serial=A,get-id=never")
    assert_good(command, medium.read_bytes()[:BLOCK])
    assert answer_of(command.then[0]) == page_83(PRODUCT + b"PCI 00:03.0", 0), command.told
    assert command.timeouts == 2, command.told


@pytest.mark.parametrize("page", [0x80, 0x83, 0xB0, 0xB1, 0xB2])
@pytest.mark.parametrize("allocation", [0, 3, 4, 5, 8, 256])
def test_a_page_states_its_length_whatever_is_asked_for(scsi, empty, page, allocation):
    whole = scsi(empty, vpd(page), device="serial=AB").answer
    assert len(whole) == 4 + int.from_bytes(whole[2:4], "big")
    assert_good(scsi(empty, vpd(page, allocation), device="serial=AB"), whole[:allocation])


# ---- limits, characteristics, provisioning ----

def limits(multiple=0, maximum=992, optimal=0, granularity=None):
    page = bytearray(64)
    page[0:4] = b"\0\xb0\0\x3c"
    page[6:8] = multiple.to_bytes(2, "big")
    page[8:12] = maximum.to_bytes(4, "big")
    page[12:16] = optimal.to_bytes(4, "big")
    if granularity:
        page[20:28] = b"\xff" * 4 + (4095).to_bytes(4, "big")
        page[28:32] = granularity.to_bytes(4, "big")
        page[32] = 0x80
    return bytes(page)


@pytest.mark.parametrize("device, expected", [
    ("contract", limits()),
    ("blk-size=4096", limits(maximum=124)),
    ("seg-max=1", limits(maximum=128)),
    ("seg-max=18", limits(maximum=128)),
    ("seg-max=33", limits(maximum=31 * 8)),
    ("queue-size=1024,seg-max=65535", limits(maximum=2048)),
    ("features=+topology,min-io=8,opt-io=256", limits(8, optimal=256)),
    ("features=+topology,min-io=0,opt-io=4294967295", limits(0, optimal=992)),
    ("features=+topology,min-io=993,opt-io=0", limits(0)),
    (UNMAPS, limits(granularity=8)),
    (UNMAPS + ",blk-size=4096", limits(maximum=124, granularity=1)),
    (UNMAPS + ",discard-alignment=0", limits(granularity=8)),
    (UNMAPS + ",discard-alignment=128", limits(granularity=128)),
    (UNMAPS + ",discard-alignment=130,blk-size=4096", limits(maximum=124, granularity=17)),
    (UNMAPS + ",discard-alignment=4294967295", limits(granularity=4294967295)),
    (UNMAPS + ",discard-sectors=0", limits()),
    (UNMAPS + ",discard-seg=0", limits()),
    (UNMAPS + ",discard-sectors=7,blk-size=4096", limits(maximum=124)),
], ids=lambda value: value if isinstance(value, str) else "")
def test_block_limits_are_the_devices(scsi, empty, device, expected):
    assert_good(scsi(empty, vpd(0xB0), device=device), expected)


def test_nothing_rotates(scsi, empty):
    assert_good(scsi(empty, vpd(0xB1)), b"\0\xb1\0\x3c\0\x01" + bytes(58))


@pytest.mark.parametrize("device, bits, kind, thin", [
    ("contract", 0, 0, False),
    (UNMAPS, 0x80, 2, True),
    (ZEROES, 0x40, 2, True),
    ("features=+write_zeroes", 0, 0, False),
    ("features=+discard+write_zeroes,zeroes-may-unmap=1", 0xC0, 2, True),
    ("features=+discard+write_zeroes,discard-seg=0,zeroes-seg=0", 0, 0, False),
])
def test_provisioning_is_what_the_device_offers(scsi, empty, device, bits, kind, thin):
    assert_good(scsi(empty, vpd(0xB2), device=device), bytes([0, 0xB2, 0, 4, 0, bits, kind, 0]))
    answer = scsi(empty, READ_CAPACITY_16, device=device).answer
    assert answer[14:16] == (b"\x80\0" if thin else b"\0\0")


@pytest.mark.parametrize("device, exponent, aligned", [
    ("contract", 0, 0),
    ("physical-exp=3,alignment=1", 0, 0),
    ("features=+topology,physical-exp=3", 3, 0),
    ("features=+topology,physical-exp=3,alignment=7", 3, 7),
    ("features=+topology,physical-exp=3,alignment=8", 3, 0),
    ("features=+topology,physical-exp=0,alignment=1", 0, 0),
    ("features=+topology,physical-exp=9,alignment=255", 9, 255),
    ("features=+topology,physical-exp=10", 0, 0),
    ("features=+topology,physical-exp=255,alignment=255", 0, 0),
    ("features=+topology,physical-exp=3,blk-size=513", 0, 0),
    ("features=+topology,physical-exp=1,blk-size=4096", 1, 0),
])
def test_physical_blocks_are_the_devices(scsi, empty, device, exponent, aligned):
    answer = scsi(empty, READ_CAPACITY_16, device=device).answer
    assert (answer[13], int.from_bytes(answer[14:16], "big")) == (exponent, aligned)


# ---- modes ----

CACHING = bytes([0x08, 18, 0x04]) + bytes(17)
THROUGH = bytes([0x08, 18]) + bytes(18)
CONTROL = bytes([0x0A, 10, 0, 0x10]) + bytes(8)
CONFIG_WCE = "features=+config_wce"


def sense(length, page=0x08, control=0, dbd=8):
    if length == 6:
        return f"1a {dbd:02x} {control << 6 | page:02x} 00 ff 00"
    return f"5a {dbd:02x} {control << 6 | page:02x} 00 00 00 00 00 ff 00"


def select(length, data, flags=0x10, stated=None):
    stated = len(data) if stated is None else stated
    return f"15 {flags:02x} 00 00 {stated:02x} 00" if length == 6 else \
        f"55 {flags:02x} 00 00 00 00 00 {stated >> 8:02x} {stated & 255:02x} 00"


def parameters(length, pages, descriptor=b""):
    return bytes(3) + bytes([len(descriptor)]) + descriptor + pages if length == 6 else \
        bytes(7) + bytes([len(descriptor)]) + descriptor + pages


def pages_of(answer, length):
    return answer[4:] if length == 6 else answer[8:]


DESCRIPTOR = BLOCKS.to_bytes(4, "big") + BLOCK.to_bytes(4, "big")


@pytest.mark.parametrize("length", [6, 10])
def test_the_cache_mode_is_changed_by_mode_select(scsi, empty, file, length):
    data = parameters(length, THROUGH)
    command = scsi(empty, select(length, data), out=file(data), device=CONFIG_WCE,
                   then=[sense(length), sense(length, control=1), sense(length, control=2)])
    assert_good(command, transferred=len(data))
    current, changeable, default = (pages_of(answer_of(follower), length) for follower in command.then)
    assert current == THROUGH and default == CACHING, command.told
    assert changeable == CACHING, command.told


def test_a_cache_that_is_switched_off_is_flushed(scsi, empty, file):
    still = scsi(empty, "00 00 00 00 00 00", device=CONFIG_WCE)
    data = parameters(6, THROUGH)
    assert scsi(empty, select(6, data), out=file(data), device=CONFIG_WCE).flushes == still.flushes + 1
    data = parameters(6, CACHING)
    assert scsi(empty, select(6, data), out=file(data), device=CONFIG_WCE).flushes == still.flushes


def test_the_cache_can_be_switched_on(scsi, empty, file):
    data = parameters(10, CACHING)
    command = scsi(empty, select(10, data), out=file(data), device=CONFIG_WCE + ",cache=through",
                   then=[sense(10), sense(10, control=2)])
    assert_good(command, transferred=len(data))
    assert [pages_of(answer_of(follower), 10) for follower in command.then] == [CACHING, THROUGH], command.told


@pytest.mark.parametrize("device, expected", [
    ("contract", CACHING), ("features=-flush", THROUGH), (CONFIG_WCE, CACHING),
    (CONFIG_WCE + ",cache=through", THROUGH), ("features=+config_wce-flush", THROUGH), ("cache=through", CACHING)])
def test_the_cache_mode_is_the_devices(scsi, empty, device, expected):
    assert pages_of(scsi(empty, sense(6), device=device).answer, 6) == expected


def test_a_device_that_does_not_change_its_cache_mode_is_at_fault(scsi, empty, file):
    data = parameters(6, THROUGH)
    command = scsi(empty, select(6, data), out=file(data), device=CONFIG_WCE + ",cache-mode=stuck", then=[sense(6)])
    assert_refused(command, HARDWARE)
    assert pages_of(answer_of(command.then[0]), 6) == CACHING, command.told


@pytest.mark.parametrize("length", [6, 10])
@pytest.mark.parametrize("pages, descriptor", [
    (b"", b""), (b"", DESCRIPTOR), (CACHING, b""), (CACHING + CONTROL, DESCRIPTOR), (CONTROL, b""),
    (bytes([0x88]) + CACHING[1:], b""), (CACHING, bytes(4) + DESCRIPTOR[4:]), (CACHING, b"\xff" * 4 + DESCRIPTOR[4:])])
def test_mode_select_of_what_is_changes_nothing(scsi, empty, file, length, pages, descriptor):
    data = parameters(length, pages, descriptor)
    assert_good(scsi(empty, select(length, data), out=file(data)), transferred=len(data))


@pytest.mark.parametrize("length", [6, 10])
def test_mode_select_of_no_list_is_no_error(scsi, empty, length):
    assert_good(scsi(empty, select(length, b"")), transferred=0)


@pytest.mark.parametrize("length", [6, 10])
@pytest.mark.parametrize("device, pages", [
    ("contract", THROUGH),
    (CONFIG_WCE, CACHING[:3] + b"\1" + CACHING[4:]),
    (CONFIG_WCE, b"\x08\x12\x05" + bytes(17)),
    (CONFIG_WCE, b"\x08\x11\x04" + bytes(16)),
    (CONFIG_WCE, b"\x08\x13\x04" + bytes(18)),
    (CONFIG_WCE, b"\x48" + CACHING[1:]),
    (CONFIG_WCE, b"\x01\x0a" + bytes(10)),
    (CONFIG_WCE, THROUGH + CONTROL[:2] + b"\1" + CONTROL[3:]),
], ids=["not-changeable", "other-byte", "other-bit", "short-page", "long-page", "subpage", "unknown", "second-page"])
def test_mode_select_of_anything_else_is_refused_and_changes_nothing(scsi, empty, file, length, device, pages):
    data = parameters(length, pages)
    command = scsi(empty, select(length, data), out=file(data), device=device, then=[sense(6)])
    assert_refused(command, INVALID_LIST)
    assert pages_of(answer_of(command.then[0]), 6) == CACHING, command.told


@pytest.mark.parametrize("length", [6, 10])
@pytest.mark.parametrize("descriptor", [DESCRIPTOR[:4] + b"\0\0\x04\0", b"\0\0\0\1" + DESCRIPTOR[4:], DESCRIPTOR[:7],
                                        DESCRIPTOR + bytes(8)])
def test_mode_select_of_another_geometry_is_refused(scsi, empty, file, length, descriptor):
    data = parameters(length, CACHING, descriptor)
    assert_refused(scsi(empty, select(length, data), out=file(data)), INVALID_LIST)


@pytest.mark.parametrize("length, cut", [(6, 1), (6, 3), (6, 5), (6, 8), (6, 23), (10, 7), (10, 9), (10, 12), (10, 27)])
def test_a_mode_list_that_ends_too_early_is_refused(scsi, empty, file, length, cut):
    data = parameters(length, CACHING)[:cut]
    assert_refused(scsi(empty, select(length, data), out=file(data)), LIST_LENGTH)


@pytest.mark.parametrize("length", [6, 10])
@pytest.mark.parametrize("flags", [0x00, 0x11, 0x01], ids=["no-pf", "sp", "neither"])
def test_mode_select_neither_saves_nor_takes_other_formats(scsi, empty, file, length, flags):
    data = parameters(length, CACHING)
    assert_refused(scsi(empty, select(length, data, flags), out=file(data)), INVALID_FIELD)


def test_a_mode_list_that_is_not_the_buffers_length_is_refused(scsi, empty, file):
    data = parameters(6, CACHING)
    command = scsi(empty, select(6, data, stated=len(data) - 1), out=file(data))
    assert (command.srb_status, command.transferred) == (LENGTH_MISMATCH, 0), command.told


@pytest.mark.parametrize("length", [6, 10])
def test_no_mode_page_is_saved(scsi, empty, length):
    assert_refused(scsi(empty, sense(length, 0x3F, 3)), SAVING_UNSUPPORTED)


@pytest.mark.parametrize("length", [6, 10])
def test_all_mode_pages_are_told_in_ascending_order(scsi, empty, length):
    assert pages_of(scsi(empty, sense(length, 0x3F)).answer, length) == CACHING + CONTROL


def test_a_cache_that_cannot_be_flushed_cannot_be_switched_on(scsi, empty, file):
    device = "features=+config_wce-flush"
    data = parameters(6, CACHING)
    command = scsi(empty, select(6, data), out=file(data), device=device, then=[sense(6), sense(6, control=1)])
    assert_refused(command, INVALID_LIST)
    assert [pages_of(answer_of(follower), 6) for follower in command.then] == [THROUGH, THROUGH], command.told


# ---- verification ----

@pytest.mark.parametrize("length", VERIFIES)
@pytest.mark.parametrize("lba, blocks", [(0, 1), (BLOCKS - 1, 1), (0, BLOCKS), (7, 333)])
@pytest.mark.parametrize("flags", [0, 0x10], ids=["plain", "dpo"])
def test_verify_reads_the_medium(scsi, medium, length, lba, blocks, flags):
    still = scsi(medium, "00 00 00 00 00 00")
    command = scsi(medium, extent(length, VERIFIES[length], lba, blocks, flags))
    assert_good(command, transferred=0)
    assert command.bytes_read == still.bytes_read + blocks * BLOCK, command.told


@pytest.mark.parametrize("length", VERIFIES)
def test_verify_of_a_block_that_cannot_be_read_says_so(scsi, medium, length):
    quiet = scsi(medium, "00 00 00 00 00 00").requests
    for later in range(2):
        command = scsi(medium, extent(length, VERIFIES[length], 0, BLOCKS),
                       device=f"fault=io-error,fault-after={quiet + later - 2}")
        assert_refused(command, READ_ERROR)


@pytest.mark.parametrize("length", VERIFIES)
@pytest.mark.parametrize("lba, blocks", [(BLOCKS, 1), (BLOCKS - 1, 2), (BLOCKS, 0), (0, BLOCKS + 1), (0xFFFFFFFF, 65535)])
def test_verify_beyond_the_end_is_refused(scsi, medium, length, lba, blocks):
    assert_refused(scsi(medium, extent(length, VERIFIES[length], lba, blocks)), OUT_OF_RANGE)


@pytest.mark.parametrize("opcodes", [VERIFIES, WRITE_VERIFIES], ids=["verify", "write-and-verify"])
@pytest.mark.parametrize("length", VERIFIES)
def test_nothing_to_verify_is_no_error(scsi, medium, opcodes, length):
    still = scsi(medium, "00 00 00 00 00 00")
    command = scsi(medium, extent(length, opcodes[length], BLOCKS - 1, 0))
    assert_good(command, transferred=0)
    assert command.requests == still.requests, command.told


@pytest.mark.parametrize("opcodes", [VERIFIES, WRITE_VERIFIES], ids=["verify", "write-and-verify"])
@pytest.mark.parametrize("length", VERIFIES)
@pytest.mark.parametrize("flags", [0x20, 0xE0, 0x04, 0x06], ids=["protect-1", "protect-7", "bytchk-2", "bytchk-3"])
def test_other_ways_to_verify_are_refused(scsi, medium, file, opcodes, length, flags):
    before = medium.read_bytes()
    assert_refused(scsi(medium, extent(length, opcodes[length], 0, 1, flags), out=file(bytes(BLOCK))), INVALID_FIELD)
    assert medium.read_bytes() == before


@pytest.mark.parametrize("device", ["contract", "blk-size=4096", "seg-max=1", "queue-size=2,seg-max=65535",
                                    "features=-indirect,queue-size=4", "features=+size_max,size-max=512"])
@pytest.mark.parametrize("bytes_count", [4096, 65536])
def test_verify_compares(scsi, medium, file, device, bytes_count):
    block = 4096 if "4096" in device else BLOCK
    blocks = bytes_count // block
    data = bytearray(medium.read_bytes()[block:block + bytes_count])
    cdb = extent(10, VERIFIES[10], 1, blocks, 2)
    assert_good(scsi(medium, cdb, out=file(data), device=device), transferred=bytes_count)
    for at in (0, bytes_count // 2 + 3, bytes_count - 1):
        data[at] ^= 1
        assert_refused(scsi(medium, cdb, out=file(data), device=device), MISCOMPARE)
        data[at] ^= 1


def test_verify_with_other_data_than_it_says_is_refused(scsi, medium, file):
    command = scsi(medium, extent(10, VERIFIES[10], 0, 2, 2), out=file(bytes(BLOCK)))
    assert (command.srb_status, command.transferred) == (LENGTH_MISMATCH, 0), command.told


@pytest.mark.parametrize("length", WRITE_VERIFIES)
@pytest.mark.parametrize("flags", [0, 2], ids=["read", "compare"])
@pytest.mark.parametrize("device", ["contract", "features=-flush", "seg-max=1", "queue-size=2"])
def test_write_and_verify_writes_settles_and_reads_back(scsi, medium, disk, length, flags, device):
    data = disk(9 * BLOCK, seed=6, name="data")
    expected = bytearray(medium.read_bytes())
    expected[5 * BLOCK:14 * BLOCK] = data.read_bytes()
    still = scsi(medium, "00 00 00 00 00 00", device=device)
    command = scsi(medium, extent(length, WRITE_VERIFIES[length], 5, 9, flags), out=data, device=device)
    assert_good(command, transferred=9 * BLOCK)
    assert medium.read_bytes() == expected
    assert command.bytes_read - still.bytes_read == command.bytes_written == 9 * BLOCK, command.told
    assert command.flushes - still.flushes == (0 if "-flush" in device else 1), command.told


@pytest.mark.parametrize("length", WRITE_VERIFIES)
def test_write_and_verify_is_kept_off_what_must_not_be_written(scsi, medium, file, length):
    before = medium.read_bytes()
    data = file(bytes(2 * BLOCK))
    cdb = extent(length, WRITE_VERIFIES[length], BLOCKS - 2, 2)
    assert_refused(scsi(medium, cdb, out=data, device="read-only=1"), WRITE_PROTECTED)
    assert_refused(scsi(medium, extent(length, WRITE_VERIFIES[length], BLOCKS - 1, 2), out=data), OUT_OF_RANGE)
    assert medium.read_bytes() == before


@pytest.mark.parametrize("step, key", [(0, WRITE_ERROR), (1, WRITE_ERROR), (2, READ_ERROR)])
def test_each_part_of_write_and_verify_can_fail(scsi, medium, file, step, key):
    quiet = scsi(medium, "00 00 00 00 00 00").requests - 2  # the last two flushes come when the machine stops
    command = scsi(medium, extent(10, WRITE_VERIFIES[10], 0, 1), out=file(bytes(BLOCK)),
                   device=f"fault=io-error,fault-after={quiet + step}")
    assert_refused(command, key)


# ---- taking blocks away ----

def unmap_list(*ranges, described=None, total=None):
    body = b"".join(lba.to_bytes(8, "big") + blocks.to_bytes(4, "big") + bytes(4) for lba, blocks in ranges)
    described = len(body) if described is None else described
    total = described + 6 if total is None else total
    return total.to_bytes(2, "big") + described.to_bytes(2, "big") + bytes(4) + body


def unmap(length, flags=0):
    return f"42 {flags:02x} 00 00 00 00 00 {length >> 8:02x} {length & 255:02x} 00"


@pytest.mark.parametrize("block", [512, 1024, 4096])
@pytest.mark.parametrize("limits_", ["discard-sectors=4194303", "discard-sectors=8", "discard-sectors=17,discard-seg=3",
                                     "discard-seg=256", "discard-sectors=9,discard-alignment=3,seg-max=1",
                                     "discard-seg=7,queue-size=2"])
def test_unmap_takes_its_blocks_away_and_no_others(scsi, medium, file, block, limits_):
    ranges = [(1, 1), (4, 0), (10, 13), (60, 7), (SIZE // block - 3, 3), (30, 2), (34, 1), (36, 1)]
    if block == 512:
        ranges += [(100 + 2 * i, 1) for i in range(40)]
    expected = bytearray(medium.read_bytes())
    for lba, blocks in ranges:
        expected[lba * block:(lba + blocks) * block] = bytes(blocks * block)
    data = unmap_list(*ranges)
    command = scsi(medium, unmap(len(data)), out=file(data), device=f"{UNMAPS},blk-size={block},{limits_}")
    assert_good(command, transferred=len(data))
    assert medium.read_bytes() == expected


def test_unmap_gives_the_device_as_many_ranges_as_it_takes(scsi, medium, file):
    data = unmap_list(*[(2 * i, 1) for i in range(100)])
    still = scsi(medium, "00 00 00 00 00 00", device=UNMAPS).requests
    for ranges, requests in ((1, 100), (8, 13), (64, 2), (1000, 1)):
        command = scsi(medium, unmap(len(data)), out=file(data), device=f"{UNMAPS},discard-seg={ranges}")
        assert command.requests - still == requests and command.discards == 100, command.told


@pytest.mark.parametrize("data", [unmap_list(), unmap_list((0, 0)), unmap_list((BLOCKS, 0)),
                                  unmap_list((0, 1), described=15, total=21)])
def test_unmap_of_nothing_is_no_error(scsi, medium, file, data):
    before = medium.read_bytes()
    assert_good(scsi(medium, unmap(len(data)), out=file(data), device=UNMAPS), transferred=len(data))
    assert_good(scsi(medium, unmap(0), device=UNMAPS), transferred=0)
    assert medium.read_bytes() == before


@pytest.mark.parametrize("data, key", [
    (unmap_list((0, 1))[:1], LIST_LENGTH),
    (unmap_list((0, 1))[:7], LIST_LENGTH),
    (unmap_list((0, 1))[:23], LIST_LENGTH),
    (unmap_list((0, 1), described=32), LIST_LENGTH),
    (unmap_list((0, 1), total=6), LIST_LENGTH),
    (unmap_list((0, 1), (BLOCKS, 1)), OUT_OF_RANGE),
    (unmap_list((0, 1), (BLOCKS - 1, 2)), OUT_OF_RANGE),
    (unmap_list((0, 1), (0, BLOCKS + 1)), OUT_OF_RANGE),
    (unmap_list((0, 1), (1 << 63, 1)), OUT_OF_RANGE),
    (unmap_list((0, 1), ((1 << 64) - 1, 2)), OUT_OF_RANGE),
    (unmap_list((0, 1), (1, 0xFFFFFFFF)), OUT_OF_RANGE),
])
def test_a_bad_unmap_list_takes_nothing_away(scsi, medium, file, data, key):
    before = medium.read_bytes()
    assert_refused(scsi(medium, unmap(len(data)), out=file(data), device=UNMAPS), key)
    assert medium.read_bytes() == before


def test_unmap_is_refused_where_it_cannot_be(scsi, medium, file):
    before = medium.read_bytes()
    data = unmap_list((0, 1))
    for device in ("contract", UNMAPS + ",discard-sectors=0", UNMAPS + ",discard-seg=0"):
        assert_refused(scsi(medium, unmap(len(data)), out=file(data), device=device), INVALID_OPCODE)
    assert_refused(scsi(medium, unmap(len(data), 1), out=file(data), device=UNMAPS), INVALID_FIELD)
    assert_refused(scsi(medium, unmap(len(data)), out=file(data), device=UNMAPS + ",read-only=1"), WRITE_PROTECTED)
    assert medium.read_bytes() == before


def test_unmap_that_fails_is_a_write_error(scsi, medium, file):
    quiet = scsi(medium, "00 00 00 00 00 00", device=UNMAPS).requests - 2
    data = unmap_list((0, 1), (4, 1))
    for step in range(2):
        command = scsi(medium, unmap(len(data)), out=file(data), device=f"{UNMAPS},fault=io-error,fault-after={quiet + step}")
        assert_refused(command, WRITE_ERROR)


@pytest.mark.parametrize("block", [512, 4096])
@pytest.mark.parametrize("limits_", ["zeroes-sectors=4194303", "zeroes-sectors=8", "zeroes-sectors=11,seg-max=1",
                                     "queue-size=2"])
@pytest.mark.parametrize("lba, blocks", [(0, 1), (3, 20), (5, 0)])
@pytest.mark.parametrize("flags", [0, 8], ids=["write", "unmap"])
def test_write_same_of_zeroes_zeroes_its_blocks_and_no_others(scsi, medium, file, block, limits_, lba, blocks, flags):
    expected = bytearray(medium.read_bytes())
    end = lba + blocks if blocks else SIZE // block
    expected[lba * block:end * block] = bytes((end - lba) * block)
    command = scsi(medium, extent(16, 0x93, lba, blocks, flags), out=file(bytes(block)),
                   device=f"{ZEROES},blk-size={block},{limits_}")
    assert_good(command, transferred=block)
    assert medium.read_bytes() == expected


@pytest.mark.parametrize("block", [512, 4096])
@pytest.mark.parametrize("limits_", ["seg-max=126", "seg-max=1", "size-max=4096", "queue-size=2"])
@pytest.mark.parametrize("lba, blocks", [(0, 1), (3, 20), (5, 0)])
@pytest.mark.parametrize("flags", [0, 8], ids=["write", "unmap"])
def test_write_same_repeats_its_block_and_writes_no_other(scsi, medium, file, block, limits_, lba, blocks, flags):
    expected = bytearray(medium.read_bytes())
    end = lba + blocks if blocks else SIZE // block
    pattern = bytes(range(1, 256)) * (block // 255 + 1)
    expected[lba * block:end * block] = pattern[:block] * (end - lba)
    command = scsi(medium, extent(16, 0x93, lba, blocks, flags), out=file(pattern[:block]),
                   device=f"{ZEROES},blk-size={block},{limits_}")
    assert_good(command, transferred=block)
    assert medium.read_bytes() == expected


def test_write_same_that_fails_is_a_write_error(scsi, medium, file):
    quiet = scsi(medium, "00 00 00 00 00 00", device=ZEROES).requests - 2
    command = scsi(medium, extent(16, 0x93, 0, 9), out=file(b"\1" * BLOCK),
                   device=f"{ZEROES},fault=io-error,fault-after={quiet}")
    assert_refused(command, WRITE_ERROR)


def test_write_same_takes_nothing_away_where_it_does_not_say_so(scsi, medium, file):
    device = ZEROES.replace("may-unmap=1", "may-unmap=0")
    assert_refused(scsi(medium, extent(16, 0x93, 0, 1, 8), out=file(bytes(BLOCK)), device=device), INVALID_FIELD)
    assert_good(scsi(medium, extent(16, 0x93, 0, 1), out=file(bytes(BLOCK)), device=device), transferred=BLOCK)


def test_write_same_can_do_without_data(scsi, medium):
    command = scsi(medium, extent(16, 0x93, 1, BLOCKS - 2, 1), device=ZEROES)
    assert_good(command, transferred=0)
    data = medium.read_bytes()
    assert data[BLOCK:-BLOCK] == bytes(SIZE - 2 * BLOCK) and data[0] | data[-1], command.told


def test_write_same_of_anything_else_is_refused(scsi, medium, file):
    before = medium.read_bytes()
    zero = bytes(BLOCK)
    cases = [(0x04, zero, INVALID_FIELD), (0x02, zero, INVALID_FIELD), (0x10, zero, INVALID_FIELD),
             (0x20, zero, INVALID_FIELD), (0x18, zero, INVALID_FIELD)]
    for flags, data, key in cases:
        assert_refused(scsi(medium, extent(16, 0x93, 0, 1, flags), out=file(data), device=ZEROES), key)
    for lba, blocks in [(BLOCKS, 1), (BLOCKS - 1, 2), (BLOCKS, 0), ((1 << 64) - 1, 2)]:
        assert_refused(scsi(medium, extent(16, 0x93, lba, blocks), out=file(zero), device=ZEROES), OUT_OF_RANGE)
    assert_refused(scsi(medium, extent(16, 0x93, 0, 1), out=file(zero), device=ZEROES + ",read-only=1"),
                   WRITE_PROTECTED)
    for device in ("contract", UNMAPS, ZEROES + ",zeroes-sectors=0", ZEROES + ",zeroes-seg=0"):
        assert_refused(scsi(medium, extent(16, 0x93, 0, 1), out=file(zero), device=device), INVALID_OPCODE)
    for size in (BLOCK - 1, 2 * BLOCK):
        command = scsi(medium, extent(16, 0x93, 0, 2), out=file(bytes(size)), device=ZEROES)
        assert (command.srb_status, command.transferred) == (LENGTH_MISMATCH, 0), command.told
    assert medium.read_bytes() == before


# ---- the rest of what tools and compliance tests send ----

@pytest.mark.parametrize("byte_1, byte_4, flushes", [(0, 0, 1), (1, 0, 1), (0, 1, 0), (1, 1, 0), (0, 4, 0)])
def test_stopping_the_unit_flushes_it_and_leaves_it_ready(scsi, empty, byte_1, byte_4, flushes):
    still = scsi(empty, "00 00 00 00 00 00")
    command = scsi(empty, f"1b {byte_1:02x} 00 00 {byte_4:02x} 00", then=["00 00 00 00 00 00"])
    assert_good(command, transferred=0)
    assert command.flushes - still.flushes == flushes and command.then[0]["srb_status"] == 1, command.told
    assert_good(scsi(empty, f"1b {byte_1:02x} 00 00 {byte_4:02x} 00", device="features=-flush"), transferred=0)


@pytest.mark.parametrize("byte_4", [0x02, 0x03, 0x10, 0x20, 0xF0])
def test_power_conditions_and_ejection_are_refused(scsi, empty, byte_4):
    assert_refused(scsi(empty, f"1b 00 00 00 {byte_4:02x} 00"), INVALID_FIELD)


def test_removal_of_what_cannot_be_removed_is_prevented_and_allowed(scsi, empty):
    for prevent in (0, 1):
        assert_good(scsi(empty, f"1e 00 00 00 {prevent:02x} 00"), transferred=0)
    for prevent in (2, 3):
        assert_refused(scsi(empty, f"1e 00 00 00 {prevent:02x} 00"), INVALID_FIELD)


def test_the_default_self_test_passes_and_no_other_is_done(scsi, empty):
    for byte_1 in (0x00, 0x04, 0x14, 0x07):
        assert_good(scsi(empty, f"1d {byte_1:02x} 00 00 00 00"), transferred=0)
    for cdb in ("1d 20 00 00 00 00", "1d e4 00 00 00 00", "1d 10 00 00 04 00", "1d 10 00 01 00 00"):
        assert_refused(scsi(empty, cdb), INVALID_FIELD)


def test_the_only_log_page_is_the_list_of_them(scsi, empty):
    assert_good(scsi(empty, "4d 00 00 00 00 00 00 00 ff 00"), bytes([0, 0, 0, 1, 0]))
    assert_good(scsi(empty, "4d 00 40 00 00 00 00 00 04 00"), bytes([0, 0, 0, 1]))
    for cdb in ("4d 01 00 00 00 00 00 00 ff 00", "4d 02 00 00 00 00 00 00 ff 00", "4d 00 02 00 00 00 00 00 ff 00",
                "4d 00 00 01 00 00 00 00 ff 00", "4d 00 00 00 00 00 01 00 ff 00", "4d 00 0d 00 00 00 00 00 ff 00"):
        assert_refused(scsi(empty, cdb), INVALID_FIELD)


@pytest.mark.parametrize("opcode", [0x01, 0x04, 0x07, 0x16, 0x17, 0x1C, 0x34, 0x37, 0x3B, 0x3C, 0x41, 0x4C, 0x56,
                                    0x57, 0x5E, 0x5F, 0x7F, 0x83, 0x85, 0x89, 0x90, 0x9F, 0xA1, 0xA2, 0xA4, 0xB5, 0xB7])
def test_reservations_and_all_that_is_not_there_are_refused(scsi, empty, opcode):
    assert_refused(scsi(empty, f"{opcode:02x}" + " 00" * 15), INVALID_OPCODE)


def opcodes(option, opcode=0, action=0, allocation=1024):
    return f"a3 0c {option:02x} {opcode:02x} {action >> 8:02x} {action & 255:02x} " \
           f"{allocation.to_bytes(4, 'big').hex(' ')} 00 00"


LENGTHS = {0: 6, 1: 10, 2: 10, 4: 16, 5: 12}
ALL = "features=+discard+write_zeroes"


@pytest.mark.parametrize("device, count", [("contract", 31), (UNMAPS, 32), (ZEROES, 32), (ALL, 33)])
@pytest.mark.parametrize("timeouts", [False, True])
def test_every_command_is_reported_and_can_be_asked_about(scsi, empty, device, count, timeouts):
    answer = scsi(empty, opcodes(0x80 if timeouts else 0), device=device).answer
    size = 20 if timeouts else 8
    assert int.from_bytes(answer[:4], "big") == len(answer) - 4 == count * size
    seen = []
    for at in range(4, len(answer), size):
        row = answer[at:at + size]
        assert row[5] == (row[0] in (0x9E, 0xA3)) | 2 * timeouts and row[7] == LENGTHS[row[0] >> 5]
        assert not timeouts or row[8:] == b"\0\x0a" + bytes(10)
        seen.append((row[0], row[3]))
    assert len(set(seen)) == count
    if timeouts:
        return
    for opcode, action in seen:
        one = scsi(empty, opcodes(2 if opcode in (0x9E, 0xA3) else 1, opcode, action), device=device).answer
        assert one[1] == 3 and one[3] == LENGTHS[opcode >> 5] == len(one) - 4 and one[4] == opcode
        assert opcode not in (0x9E, 0xA3) or one[5] == action


def test_one_command_is_reported_with_the_bits_that_are_looked_at(scsi, empty):
    assert_good(scsi(empty, opcodes(1, 0x12)), bytes([0, 3, 0, 6, 0x12, 1, 255, 255, 255, 5]))
    assert_good(scsi(empty, opcodes(0x81, 0)), bytes([0, 0x83, 0, 6, 0, 0, 0, 0, 0, 5, 0, 10]) + bytes(10))
    assert_good(scsi(empty, opcodes(1, 0x42)), bytes([0, 1, 0, 0]))
    assert_good(scsi(empty, opcodes(2, 0x9E, 0x11)), bytes([0, 1, 0, 0]))
    assert_good(scsi(empty, opcodes(2, 0x9E, 0x10)),
                bytes([0, 3, 0, 16, 0x9E, 0x10] + 12 * [255] + [1, 5]))


@pytest.mark.parametrize("option, opcode", [(1, 0x9E), (1, 0xA3), (2, 0x12), (3, 0x12), (7, 0)])
def test_a_question_that_does_not_fit_the_operation_code_is_refused(scsi, empty, option, opcode):
    assert_refused(scsi(empty, opcodes(option, opcode, 0x10)), INVALID_FIELD)


@pytest.mark.parametrize("allocation", [0, 3, 4, 5, 11, 12, 13, 100])
def test_the_report_of_commands_answers_what_fits(scsi, empty, allocation):
    whole = scsi(empty, opcodes(0)).answer
    assert_good(scsi(empty, opcodes(0, allocation=allocation)), whole[:allocation])


@pytest.mark.parametrize("cdb", [
    extent(10, 0x2F, 0, 1), extent(16, 0x8F, 0, 0), extent(10, 0x35, 0, 0), extent(16, 0x91, 0, 1), "1b 00 00 00 00 00",
    "1b 00 00 00 01 00", "1e 00 00 00 00 00", "00 00 00 00 00 00", extent(10, 0x28, 0, 0), extent(10, 0x2E, 0, 0),
    extent(16, 0x93, 0, 1, 1), unmap(0), select(6, b""), select(10, b"")])
@pytest.mark.parametrize("flush", ["", "-flush"], ids=["flush", "no-flush"])
def test_what_has_no_data_transfers_none_whatever_the_buffer(scsi, medium, cdb, flush):
    assert_good(scsi(medium, cdb, device=f"features=+discard+write_zeroes{flush}", **{"in": 512}), transferred=0)


def test_another_service_action_is_refused(scsi, empty):
    assert_refused(scsi(empty, "a3 0a" + " 00" * 10), INVALID_FIELD)


# ---- devices as they are ----

ODD = ["seg-max=0", "seg-max=1", "seg-max=2", "seg-max=3", "seg-max=65535,queue-size=1024", "queue-size=2",
       "queue-size=4", "queue-size=8", "queue-size=1024", "queue-size=2,features=-indirect",
       "queue-size=4,features=-indirect", "queue-size=8,features=-indirect+event_idx", "multiplier=0",
       "features=+size_max,size-max=512", "features=+size_max,size-max=513", "features=+size_max,size-max=4096",
       "features=+size_max,size-max=6000,seg-max=2", "features=+size_max,size-max=512,seg-max=1",
       "features=+size_max,size-max=0", "features=+size_max,size-max=4294967295", "features=-seg_max",
       "features=+size_max,size-max=65536,queue-size=8", "blk-size=0", "blk-size=513", "blk-size=8192"]
BIG = ["seg-max=1", "seg-max=2", "queue-size=2", "queue-size=4,features=-indirect", "features=+size_max,size-max=4096",
       "features=+size_max,size-max=5000,seg-max=1", "contract"]


@pytest.mark.parametrize("device", ODD)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_any_device_moves_the_right_bytes(scsi, medium, disk, device, seed):
    device = "multiplier=0,device=0x1042" if device == "multiplier=0" else device
    extra = {"parameter": "layout=any"} if device.startswith("multiplier") else {}
    expected = bytearray(medium.read_bytes())
    for lba, blocks in ((BLOCKS - 1, 1), (3, 101)):
        assert_good(scsi(medium, extent(10, 0x28, lba, blocks), device=device, seed=seed, **extra),
                    bytes(expected[lba * BLOCK:(lba + blocks) * BLOCK]))
    data = disk(77 * BLOCK, seed=seed, name="data")
    expected[9 * BLOCK:86 * BLOCK] = data.read_bytes()
    command = scsi(medium, extent(10, 0x2A, 9, 77, 8), out=data, device=device, seed=seed, **extra)
    assert_good(command, transferred=77 * BLOCK)
    assert medium.read_bytes() == expected


@pytest.mark.parametrize("device", BIG)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_blocks_of_4096_bytes_are_never_cut(scsi, medium, disk, device, seed):
    device += ",blk-size=4096"
    expected = bytearray(medium.read_bytes())
    assert_good(scsi(medium, extent(10, 0x28, 1, 16), device=device, seed=seed), bytes(expected[4096:17 * 4096]))
    data = disk(15 * 4096, seed=seed, name="data")
    expected[2 * 4096:17 * 4096] = data.read_bytes()
    assert_good(scsi(medium, extent(10, 0x2A, 2, 15), out=data, device=device, seed=seed), transferred=15 * 4096)
    assert medium.read_bytes() == expected


@pytest.mark.parametrize("device, requests", [("seg-max=1", 16), ("seg-max=0", 16), ("features=+size_max,size-max=8192,seg-max=4", 2)])
def test_a_cut_transfer_takes_no_more_requests_than_it_must(scsi, disk, device, requests):
    image = disk(1 << 20, seed=3)
    still = scsi(image, "00 00 00 00 00 00", device=device).requests
    command = scsi(image, extent(10, 0x28, 0, 128), device=device, seed=5)
    assert command.requests - still <= 3 * requests, command.told


@pytest.mark.parametrize("step", range(3))
def test_a_cut_transfer_fails_as_a_whole(scsi, medium, file, step):
    quiet = scsi(medium, "00 00 00 00 00 00", device="seg-max=1").requests - 2
    device = f"seg-max=1,fault=io-error,fault-after={quiet + step}"
    assert_refused(scsi(medium, extent(10, 0x28, 0, 64), device=device), READ_ERROR)
    assert_refused(scsi(medium, extent(10, 0x2A, 0, 64), out=file(bytes(64 * BLOCK)), device=device), WRITE_ERROR)


def test_a_cut_write_with_forced_unit_access_is_flushed_once(scsi, medium, file):
    still = scsi(medium, "00 00 00 00 00 00", device="seg-max=1").flushes
    command = scsi(medium, extent(10, 0x2A, 0, 64, 8), out=file(bytes(64 * BLOCK)), device="seg-max=1")
    assert_good(command, transferred=64 * BLOCK)
    assert command.flushes == still + 1, command.told


@pytest.mark.parametrize("block", [1024, 2048, 4096])
def test_what_is_left_of_a_block_at_the_end_is_not_there(scsi, disk, block):
    image = disk(20 * block + 512, seed=1)
    device = f"blk-size={block}"
    assert scsi(image, READ_CAPACITY_16, device=device).answer[:8] == (19).to_bytes(8, "big")
    assert_good(scsi(image, extent(10, 0x28, 19, 1), device=device), image.read_bytes()[19 * block:20 * block])
    assert_refused(scsi(image, extent(10, 0x28, 20, 1), device=device), OUT_OF_RANGE)


def test_every_feature_together_works(scsi, medium, disk):
    device = "features=+discard+write_zeroes+topology+config_wce+event_idx+size_max,size-max=65536,serial=ALL"
    data = disk(64 * BLOCK, seed=2, name="data")
    expected = bytearray(medium.read_bytes())
    expected[:64 * BLOCK] = data.read_bytes()
    assert_good(scsi(medium, extent(10, 0x2A, 0, 64), out=data, device=device), transferred=64 * BLOCK)
    assert medium.read_bytes() == expected


@pytest.mark.parametrize("seed", range(6))
def test_a_step_that_the_device_never_returns_is_recovered(scsi, medium, seed):
    quiet = scsi(medium, "00 00 00 00 00 00", device="seg-max=1").requests - 2
    command = scsi(medium, extent(10, 0x28, 0, 64), then=[extent(10, 0x28, 0, 64)], seed=seed,
                   device=f"seg-max=1,fault=stall,fault-after={quiet + 1 + seed}")
    assert command.findings == 0 and command.timeouts == 1, command.told
    assert answer_of(command.then[0]) == medium.read_bytes()[:64 * BLOCK], command.told
