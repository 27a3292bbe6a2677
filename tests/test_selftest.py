# SPDX-License-Identifier: MIT OR Apache-2.0
"""aero-virtio-selftest.exe under Wine, at the disk of each shipped driver: what it says is so, in the harness' grammar.

What Wine, and wine_disk.c, answer instead of the driver is the file system of --blk-root and of the volume: only the
test on a blank disk writes and reads through the driver. The device's queries, resets, resizes and capacity always do.

Every run's lines are in build/log/selftest-transcripts.log.
"""
import contextlib
import re

import hosting
import linux_scsi
import pytest
import wine_machine
from hosting import MIB

SIZE, SMALL = 40 * MIB, 10 * MIB
TRANSFER = 32 * MIB  # and on a small blank disk, what fits between its first and its last megabyte
TRANSCRIPTS = hosting.REPOSITORY / "build" / "log" / "selftest-transcripts.log"
NO_VECTOR = "0xffff"
# Which request of a run on a small blank disk meets a fault, of 64 KiB each: 160 see that it is blank, 128 write.
WRITING, READING = 220, 350

# What harnesses read: the marker, and its fields.
HEX16, U = "0x[0-9a-f]{4}", "[0-9]+"
PREFIX = r"AERO_VIRTIO_SELFTEST\|"
MODE = "(intx|msi|msix|unknown)"
BLK = (rf"irq_mode={MODE}\|irq_message_count={U}\|msix_config_vector={HEX16}\|msix_queue_vector={HEX16}\|"
       rf"write_ok=[01]\|write_bytes={U}\|write_mbps={U}\.{U}\|flush_ok=[01]\|read_ok=[01]\|read_bytes={U}\|"
       rf"read_mbps={U}\.{U}")
MSIX = rf"mode={MODE}\|messages={U}\|config_vector={HEX16}\|queue_vector={HEX16}"
GRAMMAR = {
    "start": PREFIX + r"START\|version=1",
    "config": PREFIX + r"CONFIG\|blk_root=[^|]*\|expect_blk_msi=[01](\|[a-z_]+=[^|]*)*",
    "blk pass": PREFIX + rf"TEST\|virtio-blk\|PASS\|{BLK}",
    "blk fail": PREFIX + rf"TEST\|virtio-blk\|FAIL\|{BLK}\|reason=\w+",
    "irq intx": rf"virtio-blk-miniport-irq\|INFO\|mode=intx\|message_count=0\|msix_config_vector={NO_VECTOR}\|"
                rf"msix_queue0_vector={NO_VECTOR}",
    "irq msi": rf"virtio-blk-miniport-irq\|INFO\|mode=msi\|message_count=[1-9]\|msix_config_vector={HEX16}\|"
               rf"msix_queue0_vector={HEX16}",
    "irq unknown": rf"virtio-blk-miniport-irq\|INFO\|mode=unknown\|message_count={U}\|msix_config_vector={HEX16}\|"
                   rf"msix_queue0_vector={HEX16}",
    "msix pass": PREFIX + rf"TEST\|virtio-blk-msix\|PASS\|{MSIX}",
    "msix skip": PREFIX + rf"TEST\|virtio-blk-msix\|SKIP\|{MSIX}",
    "counters": PREFIX + rf"TEST\|virtio-blk-counters\|INFO\|abort={U}\|reset_device={U}\|reset_bus={U}\|pnp={U}\|"
                         rf"ioctl_reset={U}\|capacity_change_events={U}",
    "counters none": PREFIX + r"TEST\|virtio-blk-counters\|SKIP\|reason=no_miniport_info",
    "counters short": PREFIX + rf"TEST\|virtio-blk-counters\|SKIP\|reason=ioctl_payload_truncated\|returned_len={U}",
    "recovery": PREFIX + rf"TEST\|virtio-blk-reset-recovery\|INFO\|reset_detected={U}\|hw_reset_bus={U}",
    "recovery none": PREFIX + r"TEST\|virtio-blk-reset-recovery\|SKIP\|reason=no_miniport_info",
    "recovery short": PREFIX + r"TEST\|virtio-blk-reset-recovery\|SKIP\|reason=ioctl_payload_truncated\|"
                               rf"returned_len={U}",
    "flags": r"virtio-blk-miniport-flags\|INFO\|raw=0x[0-9a-f]{8}\|removed=[01]\|surprise_removed=[01]\|"
             r"reset_in_progress=[01]\|reset_pending=[01]",
    "resize ready": PREFIX + rf"TEST\|virtio-blk-resize\|READY\|disk={U}\|old_bytes={U}",
    "resize pass": PREFIX + rf"TEST\|virtio-blk-resize\|PASS\|disk={U}\|old_bytes={U}\|new_bytes={U}\|elapsed_ms={U}",
    "resize skip": PREFIX + r"TEST\|virtio-blk-resize\|SKIP\|flag_not_set",
    "resize fail": PREFIX + rf"TEST\|virtio-blk-resize\|FAIL\|reason=\w+\|err={U}",
    "reset pass": PREFIX + rf"TEST\|virtio-blk-reset\|PASS\|performed=1\|counter_before={U}\|counter_after={U}",
    "reset flag": PREFIX + r"TEST\|virtio-blk-reset\|SKIP\|reason=flag_not_set",
    "reset free": PREFIX + r"TEST\|virtio-blk-reset\|SKIP\|reason=not_supported",
    "reset fail": PREFIX + rf"TEST\|virtio-blk-reset\|FAIL\|reason=\w+\|err={U}",
    "result pass": PREFIX + r"RESULT\|PASS",
    "result fail": PREFIX + r"RESULT\|FAIL",
}

FRE, CHK = linux_scsi.Build("x64", "fre"), linux_scsi.Build("x64", "chk")
X86, X86_CHK = linux_scsi.Build("x86", "fre"), linux_scsi.Build("x86", "chk")
RUNS = {
    "blank": {"build": FRE},
    "blank-x86": {"build": X86, "arguments": ["--expect-blk-msi"]},
    "line": {"build": CHK, "size": SMALL, "interrupts": "intx", "arguments": ["--test-blk-reset"]},
    "line-x86": {"build": X86_CHK, "interrupts": "intx",
                 "variables": {"AERO_VIRTIO_SELFTEST_EXPECT_BLK_MSI": "1", "AERO_VIRTIO_SELFTEST_TEST_BLK_RESET": "1"}},
    "line-unexpected": {"build": FRE, "interrupts": "intx", "arguments": ["--expect-blk-msi"]},
    "volume": {"build": FRE, "volume": True, "seed": 6, "arguments": ["--test-blk-resize", "--test-blk-reset"],
               "resize_to": SIZE + 8 * MIB},
    "volume-x86": {"build": X86, "volume": True, "seed": 6, "resize_to": SIZE - 8 * MIB,
                   "variables": {"AERO_VIRTIO_SELFTEST_TEST_BLK_RESIZE": "1"}},
    "root": {"build": CHK, "volume": True, "seed": 6, "arguments": ["--blk-root", "V:\\", "--test-blk-resize",
                                                                    "--blk-resize-seconds", "1"]},
    "other-disk": {"build": FRE, "volume": True, "seed": 6, "arguments": ["--blk-root", "T:\\"]},
    "cdrom": {"build": FRE, "volume": True, "seed": 6, "arguments": ["--blk-root", "U:\\"]},
    "no-root": {"build": FRE, "volume": True, "seed": 6, "arguments": ["--blk-root", "\\\\?\\nowhere\\"]},
    "used": {"build": FRE, "seed": 6},
    "write-error": {"build": FRE, "size": SMALL, "device": f"fault=io-error,fault-after={WRITING}"},
    "read-error": {"build": FRE, "size": SMALL, "device": f"fault=io-error,fault-after={READING}"},
    "wrong-bit": {"build": FRE, "size": SMALL, "spoil": wine_machine.READ_16},
    "wrong-unit": {"build": FRE, "seed": 6, "spoil": wine_machine.REPORT_LUNS},
    "other-parent": {"build": FRE, "seed": 6, "function": r"PCI\VEN_8086&DEV_2922\3&1"},
    "short-info": {"build": FRE, "payload": 16, "seed": 6, "arguments": ["--test-blk-reset"]},
    "no-info": {"build": FRE, "payload": 8, "seed": 6},
    "no-device": {"build": FRE, "absent": True, "arguments": ["--test-blk-resize", "--test-blk-reset"]},
    "no-device-x86": {"build": X86, "absent": True},
    "wrong-option": {"build": FRE, "absent": True, "arguments": ["--blk-roof", "C:\\"]},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """run(name): the transcript of one of RUNS, and the disk afterwards. Each is made once."""
    driver = wine_machine.build_driver(tmp_path_factory.mktemp("wine_disk"))
    TRANSCRIPTS.parent.mkdir(parents=True, exist_ok=True)
    transcripts = {}
    with TRANSCRIPTS.open("w", encoding="utf-8") as log:
        def run(name):
            if name not in transcripts:
                directory = tmp_path_factory.mktemp(name)
                options = dict(RUNS[name])
                seed, size = options.pop("seed", None), options.pop("size", SIZE)
                image = None
                if not options.pop("absent", False):
                    image = hosting.make_disk(directory / "disk.img", size, seed)
                transcript = wine_machine.run_selftest(directory, driver, options.pop("build"), image, **options)
                transcript.disk = image.read_bytes() if image else b""
                if image:
                    image.unlink()
                transcripts[name] = transcript
                print(f"== {name}\n{transcript.told}\n", file=log, flush=True)
            return transcripts[name]
        yield run


def check(transcript, *lines, status):
    """It ended so, and has a line with each of the texts."""
    assert transcript.status == status, transcript.told
    for text in lines:
        assert any(text in line for line in transcript.lines), f"no '{text}'\n{transcript.told}"


# ---- through the driver ----

@pytest.mark.parametrize("name", ["blank", "blank-x86"])
def test_a_blank_disk_is_written_and_read_through_the_driver_and_left_blank(run, name):
    transcript = run(name)
    check(transcript, "|virtio-blk|PASS|irq_mode=msix|irq_message_count=2|msix_config_vector=0x0000|"
          "msix_queue_vector=0x0001|write_ok=1|", "|virtio-blk-msix|PASS|mode=msix|messages=2|", "RESULT|PASS",
          status=0)
    moved = [int(transcript.field("virtio-blk", name)) for name in ("write_bytes", "read_bytes")]
    assert moved == [TRANSFER, TRANSFER], transcript.told
    # Written twice: the pattern, and zeroes again.
    assert transcript.report["bytes_written"] == 2 * TRANSFER, transcript.report
    # Once for the pattern and once for the zeroes, over what any run's start and end take.
    assert transcript.report["flushes"] == run("used").report["flushes"] + 2
    assert transcript.report["bytes_read"] > 2 * TRANSFER and not any(transcript.disk)


@pytest.mark.parametrize("name", ["line", "line-x86"])
def test_a_checked_driver_is_reset_and_works_on(run, name):
    transcript = run(name)
    check(transcript, "irq_mode=intx|irq_message_count=0|", "|virtio-blk-msix|SKIP|mode=intx|messages=0|",
          "|virtio-blk-reset|PASS|performed=1|counter_before=0|counter_after=1", "|ioctl_reset=1|",
          status=0 if name == "line" else 1)


@pytest.mark.parametrize("name", ["line-unexpected", "line-x86"])
def test_a_line_fails_where_messages_are_expected(run, name):
    transcript = run(name)
    check(transcript, "expect_blk_msi=1", "|virtio-blk|FAIL|", "|reason=expected_msi", "RESULT|FAIL", status=1)
    assert transcript.report["bytes_written"] == 0


@pytest.mark.parametrize("name, size", [("volume", SIZE + 8 * MIB), ("volume-x86", SIZE - 8 * MIB)])
def test_a_resize_is_seen_when_it_comes(run, name, size):
    transcript = run(name)
    check(transcript, f"READY|disk=1|old_bytes={SIZE}", f"PASS|disk=1|old_bytes={SIZE}|new_bytes={size}|elapsed_ms=",
          "|capacity_change_events=1", "RESULT|PASS", status=0)
    assert len(transcript.disk) == size


def test_a_resize_that_does_not_come_fails(run):
    check(run("root"), "|virtio-blk-resize|READY|", "|virtio-blk-resize|FAIL|reason=timeout|err=1460", "RESULT|FAIL",
          status=1)


def test_a_free_driver_refuses_the_reset_and_nothing_fails(run):
    check(run("volume"), "|virtio-blk-reset|SKIP|reason=not_supported", "|ioctl_reset=0|", status=0)


@pytest.mark.parametrize("name, ok", [("write-error", "write_ok=0|"), ("read-error", "write_ok=1|")])
def test_an_error_of_the_device_fails(run, name, ok):
    transcript = run(name)
    check(transcript, ok, "read_ok=0|", f"|reason={name.split('-')[0]}", "RESULT|FAIL", status=1)
    assert int(transcript.field("virtio-blk", f"{name.split('-')[0]}_bytes")) < SMALL - 2 * MIB


def test_one_wrong_bit_fails(run):
    transcript = run("wrong-bit")
    check(transcript, "write_ok=1|", "flush_ok=1|read_ok=0|", "|reason=verify", status=1)
    assert not any(transcript.disk)


def test_a_disk_without_unit_zero_fails(run):
    check(run("wrong-unit"), "|virtio-blk|FAIL|", "|reason=report_luns", status=1)


def test_a_disk_of_another_adapter_is_left_alone(run):
    transcript = run("other-parent")
    check(transcript, "|reason=device_not_found", status=1)
    assert transcript.report["bytes_read"] == transcript.report["bytes_written"] == 0, transcript.report


def test_a_disk_with_data_and_no_volume_is_not_written_to(run):
    transcript = run("used")
    check(transcript, "write_ok=0|write_bytes=0|", "|reason=no_volume_and_not_blank", status=1)
    assert transcript.report["bytes_written"] == 0


def test_a_driver_that_answers_briefly_is_believed_as_far_as_it_goes(run):
    check(run("short-info"), "counters|SKIP|reason=ioctl_payload_truncated|returned_len=16",
          "reset-recovery|SKIP|reason=ioctl_payload_truncated|returned_len=16", "mode=unknown|message_count=0|",
          "|virtio-blk-reset|FAIL|reason=no_miniport_info|", status=1)


def test_a_driver_that_does_not_answer_fails(run):
    check(run("no-info"), "|reason=no_miniport_info", "counters|SKIP|reason=no_miniport_info", "mode=unknown|",
          status=1)


NONSENSE = {
    "another-magic": (0, 0, 1, wine_machine.NONE, 6, wine_machine.COMMAND),
    "another-kind": (wine_machine.MAGIC, 0, 1, wine_machine.NONE, 6, 3),
    "too-long-a-command": (wine_machine.MAGIC, 0, 1, wine_machine.NONE, 17, wine_machine.COMMAND),
    "a-control-without-its-header": (wine_machine.MAGIC, 27, 1, wine_machine.IN, 0, wine_machine.IO_CONTROL),
    "a-control-that-writes": (wine_machine.MAGIC, 64, 1, wine_machine.OUT, 0, wine_machine.IO_CONTROL),
    "a-size-of-four-bytes": (wine_machine.MAGIC, 0, 1, wine_machine.NONE, 4, wine_machine.RESIZE),
}


@pytest.mark.parametrize("what", NONSENSE)
def test_a_request_that_makes_no_sense_ends_its_connection_and_nothing_else(tmp_path, what):
    host = wine_machine.Host(FRE, hosting.make_disk(tmp_path / "disk.img", MIB), tmp_path)
    relay = wine_machine.Relay(host.socket)
    try:
        with relay.connect() as server:
            server.sendall(wine_machine.REQUEST.pack(*NONSENSE[what], bytes(16)) + bytes(64))
            with contextlib.suppress(ConnectionResetError):
                assert server.recv(1) == b""
        relay.resize(2 * MIB)
    finally:
        relay.stop()
        status = host.stop()
    assert status == 0 and (tmp_path / "disk.img").stat().st_size == 2 * MIB


# ---- without it ----

@pytest.mark.parametrize("name", ["volume", "volume-x86"])
def test_the_first_volume_on_the_disk_is_written_to_without_being_named(run, name):
    transcript = run(name)
    check(transcript, "CONFIG|blk_root=|", "|virtio-blk|PASS|", f"|write_bytes={TRANSFER}|", status=0)
    assert transcript.report["bytes_written"] == 0  # Linux has the file, and the driver had nothing to write


def test_a_root_on_the_disk_is_written_to(run):
    check(run("root"), "CONFIG|blk_root=V:\\|", "|virtio-blk|PASS|", status=1)


@pytest.mark.parametrize("name", ["other-disk", "cdrom", "no-root"])
def test_a_root_elsewhere_fails(run, name):
    check(run(name), "|virtio-blk|FAIL|", "write_bytes=0|", "|reason=blk_root_not_virtio", status=1)


@pytest.mark.parametrize("name", ["no-device", "no-device-x86"])
def test_no_device_fails(run, name):
    check(run(name), "|virtio-blk|FAIL|", "|reason=device_not_found", "counters|SKIP|reason=no_miniport_info", status=1)


def test_a_wrong_option_is_told_and_ends_it(run):
    transcript = run("wrong-option")
    check(transcript, "none of the options; usage: ", status=2)
    assert len(transcript.lines) == 3 and transcript.lines[-1].endswith("RESULT|FAIL")


# ---- the grammar ----

def test_every_marker_of_the_grammar_is_there_and_no_other(run):
    seen = set()
    for name in RUNS:
        lines = run(name).lines
        for line in lines:
            matches = {row for row, pattern in GRAMMAR.items() if re.fullmatch(pattern, line)}
            assert matches or not re.match(r"AERO_VIRTIO|virtio-blk-miniport", line), f"{name}: {line}"
            seen |= matches
        assert re.fullmatch(GRAMMAR["start"], lines[0]), name
        assert re.match(PREFIX + r"RESULT\|", lines[-1]), name
    assert seen == set(GRAMMAR), set(GRAMMAR) - seen
