# SPDX-License-Identifier: MIT OR Apache-2.0
"""The host harness: each verdict, marker, report and exit status, with a scripted QEMU and with the real one."""
import concurrent.futures
import functools
import json
import os
import re
import shlex
import signal
import subprocess
import typing

import hosting
import pytest
from harness import DEADLINE, HARNESS, PROGRAM, H, S, left_over, run

WRAPPER = HARNESS / "Invoke-AeroVirtioWin7Tests.ps1"
FAKE = hosting.REPOSITORY / "tests" / "fake_qemu.py"
QEMU = "qemu-system-x86_64"
MIB = hosting.MIB
START = f"{S}START|version=1\r\n{S}CONFIG|blk_root=D:\\|expect_blk_msi=0|later=1\r\n"
IRQ = "virtio-blk-miniport-irq|INFO|mode={}|message_count={}|msix_config_vector={}|msix_queue0_vector={}\r\n"
DISK = (S + "TEST|virtio-blk|PASS|irq_mode={}|irq_message_count={}|msix_config_vector={}|msix_queue_vector={}|"
        "write_ok=1|write_bytes=1048576|write_mbps=90.0|flush_ok=1|read_ok=1|read_bytes=1048576|read_mbps=120.5\r\n")
MSIX_TEST = S + "TEST|virtio-blk-msix|{}|mode={}|messages={}|config_vector={}|queue_vector={}\r\n"
TWO = ("msix", 2, "0x0000", "0x0001")
LINE = ("intx", 0, "0xffff", "0xffff")
COUNTERS = (f"{S}TEST|virtio-blk-counters|INFO|abort=0|reset_device=1|reset_bus=0|pnp=3|ioctl_reset=0|"
            "capacity_change_events=0\r\n"
            f"{S}TEST|virtio-blk-reset-recovery|INFO|reset_detected=0|hw_reset_bus=0\r\n"
            "virtio-blk-miniport-flags|INFO|raw=0|removed=0|surprise_removed=0|reset_in_progress=0|reset_pending=0\r\n")
NOT_ASKED = f"{S}TEST|virtio-blk-resize|SKIP|flag_not_set\r\n{S}TEST|virtio-blk-reset|SKIP|reason=flag_not_set\r\n"
PASS, FAIL = f"{S}RESULT|PASS\r\n", f"{S}RESULT|FAIL\r\n"
BY_MESSAGE = IRQ.format("msi", *TWO[1:]) + DISK.format(*TWO) + MSIX_TEST.format("PASS", *TWO)
BY_LINE = IRQ.format(*LINE) + DISK.format(*LINE) + MSIX_TEST.format("SKIP", *LINE)
GOOD = [["msix", True], ["print", START + BY_MESSAGE + COUNTERS + NOT_ASKED + PASS]]
OLD, NEW = 64 * MIB, 128 * MIB
RESIZE = f"{S}TEST|virtio-blk-resize|"
RESET = f"{S}TEST|virtio-blk-reset|"
READY = f"{RESIZE}READY|disk=1|old_bytes={OLD}\r\n"
REQUIRE, WITH_RESIZE, WITH_RESET = "--require-virtio-blk-msix", "--with-blk-resize", "--with-blk-reset"


def play_in(directory, script, *arguments, prelude="", boot=20, test=20, **what):
    """Has the scripted QEMU play: play(script, "--option", mib=64, prelude="") is the harness's Result."""
    scene = directory / "play.json"
    scene.write_text(json.dumps({"script": script, "words": str(directory / "words.json"), **what}), encoding="utf-8")
    result = run(directory / "out", "--qemu-system", FAKE, "--no-disk-image", "--boot-timeout", boot,
                 "--test-timeout", test, *arguments, "--", "-kernel", "k", prelude=prelude,
                 environment={"FAKE_QEMU": str(scene)})
    assert not left_over(directory), "a process was left behind"
    return result


@pytest.fixture
def play(tmp_path):
    return functools.partial(play_in, tmp_path)


@pytest.fixture(scope="session")
def played(request, tmp_path_factory):
    """The Result of a scene by its name. All that were asked for play at the same time: most of them only wait."""
    names = {item.callspec.params["name"] for item in request.session.items
             if "played" in getattr(item, "fixturenames", ())}
    with concurrent.futures.ThreadPoolExecutor(max_workers=4) as pool:
        runs = {name: pool.submit(play_in, tmp_path_factory.mktemp("scene"), scene.script, *scene.arguments.split(),
                                  **scene.what)
                for name, scene in {**PASSING, **FAILING}.items() if name in names}
        yield lambda name: runs[name].result()


# -- what a passing guest gives

TRANSPORTS = {"unix": "", "tcp": "import socket; del socket.AF_UNIX"}


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_passing_guest_is_told_in_every_marker_and_in_the_report(play, transport):
    result = play(GOOD, REQUIRE, "--qemu-preflight-pci", prelude=TRANSPORTS[transport])
    assert result.status == 0, result.told
    host = result.host
    assert host["VIRTIO_BLK_IRQ"] == ("PASS", {"irq_mode": "msix", "irq_message_count": "2",
                                               "msix_config_vector": "0x0000", "msix_queue_vector": "0x0001"})
    assert host["VIRTIO_BLK_MSIX"] == ("PASS", {"mode": "msix", "messages": "2", "config_vector": "0x0000",
                                                "queue_vector": "0x0001", "host_enabled": "1", "host_masked": "0",
                                                "host_vectors": "2"})
    assert host["VIRTIO_BLK_COUNTERS"][0] == "INFO" and host["VIRTIO_BLK_COUNTERS"][1]["pnp"] == "3"
    assert host["VIRTIO_BLK_RESIZE"] == ("SKIP", {"reason": "flag_not_set"})
    assert host["VIRTIO_BLK_RESET"] == ("SKIP", {"reason": "flag_not_set"})
    assert host["QEMU_PREFLIGHT_PCI"] == ("PASS", {
        "vendor": "1af4", "device": "1042", "revision": "01", "subsystem_vendor": "1af4", "subsystem": "1100",
        "layout": "bar4", "msix_vectors": "2"})
    assert result.out.endswith(f"{H}RESULT|PASS\n") and not result.errors
    sockets = [word for word in json.loads((result.output.parent / "words.json").read_text()) if "socket,id=" in word]
    assert ["path=" in word for word in sockets] == [transport == "unix"] * 2
    assert ["host=127.0.0.1," in word for word in sockets] == [transport == "tcp"] * 2
    guest = [line for line in (START + BY_MESSAGE + COUNTERS + NOT_ASKED + PASS).splitlines()]
    assert [line for line in result.out.splitlines() if not line.startswith(H)] == guest
    assert result.cases == {
        "host.run": "passed", "guest.virtio-blk-miniport-irq": "passed", "guest.virtio-blk": "passed",
        "guest.virtio-blk-msix": "passed", "guest.virtio-blk-counters": "passed",
        "guest.virtio-blk-reset-recovery": "passed", "guest.virtio-blk-miniport-flags": "passed",
        "guest.virtio-blk-resize": "skipped", "guest.virtio-blk-reset": "skipped", "host.QEMU_PREFLIGHT_PCI": "passed",
        "host.VIRTIO_BLK_IRQ": "passed", "host.VIRTIO_BLK_MSIX": "passed", "host.VIRTIO_BLK_COUNTERS": "passed",
        "host.VIRTIO_BLK_RESIZE": "skipped", "host.VIRTIO_BLK_RESET": "skipped"}
    assert not (result.output / "screen.ppm").exists()


class Scene(typing.NamedTuple):
    """What a guest says, what is asked of the harness, and what the harness is to make of it."""
    script: list
    arguments: str = ""
    what: dict = {}  # of the scripted QEMU, and the harness's deadlines
    marker: str = ""  # of the host, as it begins
    says: str = ""  # an expression that the complaint matches
    case: str = "host.run"  # of the report, for one
    kind: str = "failure"
    status: int = 1


def says(*text):
    return [["print", START + "".join(text)]]


def ends(event, **data):
    return ["event", event, data]


def resizing(after):
    return says(BY_LINE, READY) + [["await", "block_resize"], ["print", after + PASS]]


def resetting(said):
    return says(BY_LINE, RESET, said, "\r\n", PASS)


RESIZED = f"{RESIZE}PASS|disk=1|old_bytes={OLD}|new_bytes={NEW}|elapsed_ms=31\r\n"
RESET_DONE = "PASS|performed=1|counter_before=0|counter_after=1"
POWERED_OFF = ends("SHUTDOWN", guest=True, reason="guest-shutdown")
NOTHING_KNOWN = f"{S}TEST|virtio-blk-counters|SKIP|reason=no_miniport_info\r\n"
ESCAPES = "\x1b[2J\x1b[1;1HSeaBIOS\r\n\r\n\x1b[0m"
BY_THE_OTHER = says(BY_LINE, READY) + [["await", "blockdev-resize"], ["print", RESIZED + PASS]]
PREFLIGHT = "--qemu-preflight-pci"

PASSING = {
    "by the line": Scene(says(BY_LINE, PASS), marker="VIRTIO_BLK_IRQ|PASS"),
    "without MSI-X": Scene(says(BY_LINE, PASS), "--virtio-msix-vectors 0", {"vectors": 0}, "VIRTIO_BLK_MSIX|SKIP"),
    "one source about interrupts": Scene(says(DISK.format(*LINE), PASS), marker="VIRTIO_BLK_IRQ|INFO"),
    "no counters": Scene(says(BY_LINE, PASS), marker="VIRTIO_BLK_COUNTERS|SKIP|reason=no_marker"),
    "counters skipped": Scene(says(BY_LINE, NOTHING_KNOWN, PASS),
                              marker="VIRTIO_BLK_COUNTERS|SKIP|reason=no_miniport_info"),
    "firmware before markers": Scene([["print", ESCAPES + START + "noise\xff\r\n" + BY_LINE + PASS]]),
    "piece by piece": Scene([["print", piece] for piece in re.findall("(?s).{1,60}", START + BY_LINE + PASS)]),
    "ends right after its result": Scene(says(BY_LINE, PASS) + [POWERED_OFF]),
    "its result comes after its end": Scene(says(BY_LINE) + [POWERED_OFF, ["sleep", 0.5], ["print", PASS]]),
    "a device that the host does not find": Scene(GOOD, "", {"device": "x"}, "VIRTIO_BLK_MSIX|PASS"),
    "unknown tests and fields": Scene(says(BY_LINE, f"{S}TEST|virtio-blk-later|INFO|x|y|z=1\r\n", PASS)),
    "a resize": Scene(resizing(RESIZED), WITH_RESIZE, {}, "VIRTIO_BLK_RESIZE|PASS"),
    "a resize by so much": Scene(resizing(RESIZED.replace(str(NEW), str(OLD + 3 * MIB))),
                                 f"{WITH_RESIZE} --blk-resize-delta-mib 3", {}, "VIRTIO_BLK_RESIZE|PASS"),
    "a resize by the other command": Scene(BY_THE_OTHER, WITH_RESIZE, {"refuse": ["block_resize"]},
                                           "VIRTIO_BLK_RESIZE|PASS"),
    "a disk that ends within a block": Scene(resizing(RESIZED), WITH_RESIZE, {"bytes": OLD + 512},
                                             "VIRTIO_BLK_RESIZE|PASS"),
    "a reset": Scene(resetting(RESET_DONE), WITH_RESET, {}, "VIRTIO_BLK_RESET|PASS"),
    "a contract device": Scene(GOOD, PREFLIGHT, {"layout": "contract"}, "QEMU_PREFLIGHT_PCI|PASS"),
    "capabilities without end": Scene(GOOD, PREFLIGHT, {"endless": True}, "QEMU_PREFLIGHT_PCI|PASS"),
}


@pytest.mark.parametrize("name", PASSING)
def test_a_guest_passes(played, name):
    scene, result = PASSING[name], played(name)
    assert result.status == 0, result.told
    assert set(result.cases.values()) <= {"passed", "skipped"}
    assert f"\n{H}{scene.marker}" in f"\n{result.out}", result.told


# -- what fails, and how it is told

MALFORMED = {
    "no verdict": f"{S}TEST|virtio-blk-reset\r\n", "another verdict": f"{S}TEST|virtio-blk-reset|MAYBE\r\n",
    "another kind": f"{S}FOO|PASS\r\n", "a result that is none": f"{S}RESULT|\r\n",
    "no number": f"{S}TEST|virtio-blk-reset|INFO|counter_before=many\r\n",
    "a field twice": f"{S}TEST|virtio-blk-reset|INFO|a=1|a=2\r\n", "two in a line": f"{S}CONFIG|a=1{S}CONFIG|b=1\r\n",
    "a second start": START, "a miniport line cut off": "virtio-blk-miniport-irq|INF\r\n",
}
DISK_FAIL = f"{S}TEST|virtio-blk|FAIL|irq_mode=unknown|reason=disk_not_found\r\n"
DISK_SKIP = f"{S}TEST|virtio-blk|SKIP|reason=x\r\n"
NEVER_STARTS = {"boot": 1}
HANGS = {"test": 1}
BLUE_SCREEN = ends("SHUTDOWN", guest=True, reason="guest-reset")
MSIX_ON = [["msix", True]]
# Of a guest whose own words contradict each other, or what the host sees.
SAYS_MSI = BY_MESSAGE.replace("msix|PASS|mode=msix", "msix|SKIP|mode=msi")
THREE = BY_MESSAGE.replace("count=2", "count=3")
ONE_VECTOR = IRQ.format("msi", 2, "0x0000", "0x0000") + DISK.format(*TWO)
MSIX, IRQS, GROWTH, RESETS = (f"VIRTIO_BLK_{name}|FAIL|" for name in ("MSIX", "IRQ", "RESIZE", "RESET"))
LOOKED, MALFORMED_1 = "QEMU_PREFLIGHT_PCI|FAIL|reason=", "guest.malformed-1"
SAID_MSIX = "reason=guest_does_not_say_msix"

FAILING = {
    "guest fails": Scene(says(DISK_FAIL, FAIL), says="did not pass: virtio-blk$", case="guest.virtio-blk"),
    "a failure is not taken back": Scene(says(DISK_FAIL, BY_LINE, PASS), says="contradicts itself",
                                         case="guest.virtio-blk"),
    "strict layout": Scene(says(DISK_FAIL, FAIL), says="registers in BAR4.*layout=any"),
    "layout is not blamed": Scene(says(DISK.format(*LINE).replace("PASS", "FAIL"), FAIL),
                                  says=r"\A(?!(.*\n)*.*layout=any)"),
    "no reason": Scene(says(BY_LINE, FAIL), says="no test of it says why"),
    "no test": Scene(says(PASS), "", {}, IRQS + "reason=not_told", "did not test the disk", "host.VIRTIO_BLK_IRQ"),
    "test skipped": Scene(says(DISK_SKIP, PASS), says="neither PASS nor FAIL", case="guest.virtio-blk", kind="skipped"),
    "before start": Scene([["print", PASS + START + BY_LINE]], "", HANGS, "", "before START", MALFORMED_1, status=3),
    "another version": Scene([["print", START.replace("version=1", "version=2") + PASS]],
                             says="not version 1 of the protocol", case=MALFORMED_1),
    **{f"malformed, {name}": Scene(says(BY_LINE, text, PASS), says="a marker is malformed", case=MALFORMED_1)
       for name, text in MALFORMED.items()},
    "hangs before start": Scene([], "", NEVER_STARTS, "RESULT|FAIL|reason=hung",
                                "selftest's start did not come within 1 s$", kind="error", status=3),
    "hangs after start": Scene(says(BY_LINE), "", HANGS, "RESULT|FAIL|reason=hung",
                               "selftest's result did not come within 1 s$", kind="error", status=3),
    "hangs in its result": Scene(says(BY_LINE, f"{S}RESULT|PA"), "", HANGS, "",
                                 r"unfinished line: AERO_VIRTIO_SELFTEST\|RESULT\|PA$", kind="error", status=3),
    "prints without end": Scene(says() + [["flood", "x" * 100 + "\r\n"]], "", HANGS, "", "did not come within 1 s",
                                kind="error", status=3),
    "prints a line without end": Scene(says() + [["flood", "x" * 100]], "", HANGS, "", "unfinished line: x",
                                       kind="error", status=3),
    "QEMU dies": Scene(says(BY_LINE) + [["exit", 1, "\x1b[31mout of memory\n"]], "", {}, "RESULT|FAIL|reason=ended",
                       r"QEMU went away \(\?\[31mout of memory\) before the selftest's result", kind="error", status=4),
    "dies in its result": Scene(says(BY_LINE, f"{S}RESULT|PASS") + [["exit", 0, ""]],
                                says="before the selftest's result", kind="error", status=4),
    "blue screen": Scene(says(BY_LINE) + [BLUE_SCREEN], says=r"ended \(guest-reset\) before the selftest's result",
                         kind="error", status=4),
    "blue screen at boot": Scene([BLUE_SCREEN], says="before the selftest's start\n(.*\n)*.*layout=any", kind="error",
                                 status=4),
    "panic": Scene(says() + [ends("GUEST_PANICKED", action="pause")], says="guest panicked", kind="error", status=4),
    "MSI-X required, line": Scene(says(BY_LINE, PASS), REQUIRE, {}, MSIX + "reason=msix_off", "debugging.md",
                                  "host.VIRTIO_BLK_MSIX"),
    "MSI-X required, said only": Scene(GOOD[1:], REQUIRE, {}, MSIX + "reason=msix_off", case="host.VIRTIO_BLK_MSIX"),
    "MSI-X said only": Scene(GOOD[1:], "", {}, MSIX + "reason=msix_off", case="host.VIRTIO_BLK_MSIX"),
    "MSI-X required, not to be seen": Scene(GOOD, REQUIRE, {"device": "x"}, MSIX + "reason=not_there",
                                            case="host.VIRTIO_BLK_MSIX"),
    "MSI-X masked": Scene(GOOD, REQUIRE, {"masked": True}, MSIX + "reason=msix_masked", case="host.VIRTIO_BLK_MSIX"),
    "MSI-X required, guest silent": Scene(MSIX_ON + says(IRQ.format("msi", *TWO[1:]), DISK.format(*TWO), PASS), REQUIRE,
                                          {}, MSIX + SAID_MSIX, case="host.VIRTIO_BLK_MSIX"),
    "MSI-X required, guest has MSI": Scene(MSIX_ON + says(SAYS_MSI, PASS), REQUIRE, {}, MSIX + SAID_MSIX,
                                           case="guest.virtio-blk-msix", kind="skipped"),
    "guest's MSI-X test fails": Scene(MSIX_ON + says(BY_MESSAGE.replace("msix|PASS", "msix|FAIL"), FAIL), "", {},
                                      MSIX + "reason=guest_failed", case="guest.virtio-blk-msix"),
    "more messages than vectors": Scene(MSIX_ON + says(THREE, PASS), "", {}, IRQS + "reason=more_messages_than_vectors",
                                        case="host.VIRTIO_BLK_IRQ"),
    "modes differ": Scene(MSIX_ON + says(IRQ.format(*LINE), DISK.format(*TWO), PASS), "", {},
                          IRQS + "reason=contradiction", case="host.VIRTIO_BLK_IRQ"),
    "mode unknown": Scene(says(IRQ.format("unknown", *LINE[1:]), DISK.format("unknown", *LINE[1:]), FAIL), "", {},
                          IRQS + "reason=not_told", case="host.VIRTIO_BLK_IRQ"),
    "vectors differ": Scene(MSIX_ON + says(ONE_VECTOR, PASS), "", {}, IRQS + "reason=contradiction",
                            case="host.VIRTIO_BLK_IRQ"),
    "resize: guest silent": Scene(says(BY_LINE, PASS), WITH_RESIZE, {}, GROWTH + "reason=no_marker",
                                  case="host.VIRTIO_BLK_RESIZE"),
    "resize: guest skips": Scene(says(BY_LINE, NOT_ASKED, PASS), WITH_RESIZE, {}, GROWTH + "reason=flag_not_set",
                                 "scheduled task", "guest.virtio-blk-resize", "skipped"),
    "resize: not asked for": Scene(says(BY_LINE, READY, PASS), "", {}, GROWTH + "reason=not_asked_for",
                                   "give --with-blk-resize", "guest.virtio-blk-resize", "error"),
    "resize: another disk": Scene(says(BY_LINE, READY, PASS), WITH_RESIZE, {"mib": 65}, GROWTH + "reason=another_disk",
                                  "another size", "host.VIRTIO_BLK_RESIZE"),
    "resize: not finished": Scene(resizing(""), WITH_RESIZE, {}, GROWTH + "reason=not_finished", "",
                                  "guest.virtio-blk-resize", "error"),
    "resize: never ready": Scene(says(BY_LINE, RESIZED, PASS), WITH_RESIZE, {}, GROWTH + "reason=never_ready",
                                 case="host.VIRTIO_BLK_RESIZE"),
    "resize: sizes differ": Scene(resizing(RESIZED.replace(f"new_bytes={NEW}", f"new_bytes={OLD}")), WITH_RESIZE, {},
                                  GROWTH + "reason=sizes_differ", case="host.VIRTIO_BLK_RESIZE"),
    "resize: guest fails": Scene(resizing(f"{RESIZE}FAIL|disk=1|reason=timeout\r\n"), WITH_RESIZE, {},
                                 GROWTH + "reason=timeout", case="guest.virtio-blk-resize"),
    "resize: QEMU cannot": Scene(says(BY_LINE, READY, PASS), WITH_RESIZE,
                                 {"refuse": ["block_resize", "blockdev-resize"]}, GROWTH + "reason=qemu_refused",
                                 case="host.VIRTIO_BLK_RESIZE"),
    "reset: guest skips": Scene(says(BY_LINE, NOT_ASKED, PASS), WITH_RESET, {}, RESETS + "reason=flag_not_set",
                                "scheduled task", "host.VIRTIO_BLK_RESET"),
    "reset: free build": Scene(resetting("SKIP|reason=not_supported"), WITH_RESET, {}, RESETS + "reason=not_supported",
                               "checked", "guest.virtio-blk-reset", "skipped"),
    "reset: not counted": Scene(resetting(RESET_DONE.replace("after=1", "after=0")), WITH_RESET, {},
                                RESETS + "reason=not_performed", case="host.VIRTIO_BLK_RESET"),
    "reset: guest fails": Scene(resetting("FAIL|reason=ioctl|err=31"), WITH_RESET, {}, RESETS + "reason=ioctl|err=31",
                                case="guest.virtio-blk-reset"),
    "preflight: revision": Scene(GOOD, PREFLIGHT, {"identity": (0x1AF4, 0x1042, 0)},
                                 LOOKED + "identity|vendor=1af4|device=1042|revision=00", "INF names",
                                 "host.QEMU_PREFLIGHT_PCI"),
    "preflight: transitional": Scene(GOOD, PREFLIGHT, {"identity": (0x1AF4, 0x1001, 0)}, LOOKED + "identity",
                                     case="host.QEMU_PREFLIGHT_PCI"),
    "preflight: capabilities": Scene(GOOD, PREFLIGHT, {"layout": "none"}, LOOKED + "capabilities",
                                     case="host.QEMU_PREFLIGHT_PCI"),
    "preflight: not there": Scene(GOOD, PREFLIGHT, {"device": "x"}, LOOKED + "not_there",
                                 case="host.QEMU_PREFLIGHT_PCI"),
}
GONE = {"QEMU dies", "dies in its result"}  # and their screens


@pytest.mark.parametrize("name", FAILING)
def test_a_failure_is_told_in_its_status_marker_and_report(played, name):
    scene, result = FAILING[name], played(name)
    assert result.status == scene.status, result.told
    assert result.out.splitlines()[-1].startswith(f"{H}RESULT|FAIL"), result.told
    assert f"\n{H}{scene.marker}" in f"\n{result.out}", result.told
    assert re.search(scene.says, result.errors, re.MULTILINE), result.told
    cases = result.cases
    assert cases[scene.case] == scene.kind
    assert cases["host.run"] == ("failure" if scene.status == 1 else "error")
    assert (result.output / "screen.ppm").exists() == (scene.status in {3, 4} and name not in GONE)


def test_a_monitor_that_does_not_answer_is_told(play):
    result = play([["print", START + BY_LINE + READY]], WITH_RESIZE, mute=["query-block"],
                  prelude="import qemu; qemu.ANSWER_SECONDS = qemu.END_SECONDS = 1")
    assert result.status == 3 and "QEMU hangs: no answer to query-block within 1 s" in result.errors, result.told


def test_control_characters_of_a_guest_reach_neither_terminal_nor_report(play):
    result = play([["print", START + f"{S}TEST|virtio-blk|FAIL|reason=\x1b]0;x\x07\x00\r\n" + FAIL]])
    assert result.status == 1 and "reason=?]0;x??" in result.out and "\x1b" not in result.told
    assert result.cases["guest.virtio-blk"] == "failure"


def test_an_interrupted_run_ends_its_machine(tmp_path):
    scene = tmp_path / "play.json"
    scene.write_text(json.dumps({"script": [["print", START]], "words": str(tmp_path / "words")}), encoding="utf-8")
    words = [PROGRAM, "--qemu-system", FAKE, "--no-disk-image", "--output", tmp_path / "out", "--", "-x"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env={**os.environ, "FAKE_QEMU": str(scene)},
                               # What a shell has started in the background is deaf to it.
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    assert process.stdout.readline() == f"{S}START|version=1\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=DEADLINE)
    assert process.returncode == 130 and errors.endswith(": interrupted\n")
    assert not left_over(tmp_path)


# -- options

def command(tmp_path, *arguments, program=QEMU, **what):
    """QEMU's command line as --dry-run prints it, as words."""
    scene = tmp_path / "play.json"
    scene.write_text(json.dumps({"script": [], "words": str(tmp_path / "words"), **what}), encoding="utf-8")
    result = run(tmp_path / "out", "--qemu-system", program, "--dry-run", *arguments,
                 environment={"FAKE_QEMU": str(scene)})
    assert result.status == 0 and not result.errors, result.told
    assert not (tmp_path / "out").exists() and not (tmp_path / "words").exists()
    return shlex.split(result.out)


def following(words, option):
    return [words[place + 1] for place, word in enumerate(words) if word == option]


def the_disk(words):
    device, = [word for word in following(words, "-device") if word.startswith("virtio-blk-pci,")]
    return device.split(",")[1:]


@pytest.mark.parametrize("arguments, vectors", [
    ((), []), (("--virtio-msix-vectors", 5), ["vectors=5"]), (("--virtio-blk-vectors", 0), ["vectors=0"]),
    (("--virtio-msix-vectors", 5, "--virtio-blk-vectors", 2), ["vectors=2"])])
def test_vectors_are_the_disks_own_before_those_of_all(tmp_path, arguments, vectors):
    words = the_disk(command(tmp_path, "--disk-image", PROGRAM, *arguments))
    assert [word for word in words if word.startswith("vectors=")] == vectors
    assert "disable-legacy=on" in words


@pytest.mark.parametrize("arguments, machine", [
    ((), "2,maxcpus=2"), (("--smp", 1), "1,maxcpus=2"), (("--smp", 4), "4,maxcpus=4")])
def test_a_processor_is_never_the_only_one_that_could_be(tmp_path, arguments, machine):
    assert following(command(tmp_path, "--disk-image", PROGRAM, *arguments), "-smp") == [machine]


@pytest.mark.parametrize("properties, passed", [
    (["vectors=<uint32>"], False), (["x-pci-revision=<uint8> (default: 0)", "vectors=<uint32>"], True)])
def test_the_revision_is_given_to_a_qemu_that_takes_it(tmp_path, properties, passed):
    words = the_disk(command(tmp_path, "--disk-image", PROGRAM, program=FAKE, properties=properties))
    assert ("x-pci-revision=0x01" in words) == passed


@pytest.mark.parametrize("bus, device, writable", [
    ("virtio", "virtio-blk-pci", False), ("virtio", "virtio-blk-pci", True), ("chipset", "ide-hd", False)])
def test_the_image_is_on_the_disk_it_was_asked_to_be_on(tmp_path, bus, device, writable):
    image = tmp_path / "a, b {qmp}.qcow2"
    image.write_bytes(b"QFI\xfb" + bytes(508))
    words = command(tmp_path, "--disk-image", image, "--boot-bus", bus, *(["--keep-changes"] if writable else []))
    boot, = [word for word in following(words, "-device") if "bootindex=0" in word]
    name = re.search("drive=([^,]+)", boot)[1]
    drives = {re.search("id=([^,]+)", word)[1]: word for word in following(words, "-drive")}
    assert boot.startswith(device + ",") and "disable-legacy=on" in the_disk(words)
    place = str(image).replace(",", ",,")
    assert drives[name].endswith(f",file={place},format=qcow2,snapshot={'off' if writable else 'on'}")
    assert len(drives) == (1 if bus == "virtio" else 2)


def test_what_stands_after_two_dashes_is_qemus_and_comes_before_the_devices(tmp_path):
    given = ["-kernel", "k {x}", "-append", "a b", "-device", "intel-iommu", "--"]
    words = command(tmp_path, "--no-disk-image", "--", *given)
    place = words.index("-kernel")
    assert words[place:place + len(given)] == given
    assert place > words.index("-serial") and place < words.index("-drive")


def test_the_powershell_wrapper_has_each_option_under_its_name():
    text = WRAPPER.read_text(encoding="utf-8")
    help_text = subprocess.run([PROGRAM, "--help"], capture_output=True, text=True, timeout=DEADLINE, check=True).stdout
    # Whether an option takes a value, by its name; with -h, help is printed as "-h, --help".
    options = {name: bool(value.strip()) for name, value in
               re.findall(r"^  (?:-h, )?(--[a-z-]+)((?: [A-Z{][^ \n]*)?)(?=\s|$)", help_text, re.MULTILINE)}
    block = re.search(r"^param\((.*?)^\)", text, re.MULTILINE | re.DOTALL)[1]
    parameters = {name: kind for kind, name in re.findall(r"^    \[(\w+(?:\[\])?)\]\$(\w+),?$", block, re.MULTILINE)}
    table = dict(re.findall(r"^    (\w+) += '(--[a-z-]+)'$", text, re.MULTILINE))
    assert len(options) == 24 and set(table.values()) == set(options)
    assert set(parameters) - {"QemuArguments", "Python"} == set(table)
    for name, option in table.items():
        assert "--" + "-".join(word.lower() for word in re.findall(r"MiB|[A-Z][a-z]*", name)) == option
        assert (parameters[name] != "switch") == options[option], name
    wanted = {"VirtioMsixVectors", "VirtioBlkVectors", "RequireVirtioBlkMsix", "WithBlkResize", "BlkResizeDeltaMiB",
              "WithBlkReset", "QemuPreflightPci"}  # by the contract
    assert wanted <= set(table)
    for opening, closing in ("()", "{}", "[]"):
        assert text.count(opening) == text.count(closing)


WRONG = {
    "neither": ((), "either --disk-image or --no-disk-image"),
    "both": (("--disk-image", PROGRAM, "--no-disk-image", "--", "-x"), "either --disk-image or --no-disk-image"),
    "nothing": (("--no-disk-image",), "nothing to boot from"),
    "missing": (("--disk-image", "nothing.img"), "no such image: nothing.img"),
    "directory": (("--disk-image", HARNESS), "no such image: "),
    "qemu": (("--disk-image", PROGRAM, "--qemu-system", "nothing-here"), "no such program: nothing-here"),
    "not-qemu": (("--disk-image", PROGRAM, "--qemu-system", "false"), "QEMU refuses '-device virtio-blk-pci,help'"),
    "unknown": (("--disk-image", PROGRAM, "--frobnicate"), "unrecognized arguments: --frobnicate"),
    "abbreviated": (("--disk-im", PROGRAM), "--disk-im"),
    "vectors": (("--disk-image", PROGRAM, "--virtio-blk-vectors", "2049"), "'2049' is not a number from 0 to 2048"),
    "negative": (("--disk-image", PROGRAM, "--blk-resize-delta-mib", "-1"), "'-1' is not a number from 1"),
    "word": (("--disk-image", PROGRAM, "--boot-timeout", "soon"), "'soon' is not a number"),
    "bus": (("--disk-image", PROGRAM, "--boot-bus", "scsi"), "invalid choice: 'scsi'"),
    "msix": (("--disk-image", PROGRAM, "--require-virtio-blk-msix", "--virtio-msix-vectors", "0"), "no vectors for it"),
    "machine": (("--disk-image", PROGRAM, "--machine", "vax"), "QEMU did not start: "),
    "argument": (("--no-disk-image", "--", "-frobnicate"), "QEMU did not start: .*-frobnicate: invalid option"),
    "format": (("--disk-image", PROGRAM, "--image-format", "qcow2"), "QEMU did not start: .*not in qcow2 format"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_started_is_one_sentence_and_status_2(tmp_path, name):
    arguments, said = WRONG[name]
    result = run(tmp_path / "out", *arguments)
    assert result.status == 2 and result.out == "", result.told
    assert result.errors.count("\n") == 1 and re.search(said, result.errors), result.told
    assert not (tmp_path / "out" / "junit.xml").exists()
    assert not left_over(tmp_path)


# -- changes to the image

@pytest.mark.parametrize("stubborn", [False, True])
def test_a_guest_whose_changes_are_kept_is_shut_down(tmp_path, stubborn):
    image, scene = tmp_path / "image", tmp_path / "play.json"
    image.write_bytes(bytes(512))
    scene.write_text(json.dumps({"script": GOOD, "words": str(tmp_path / "words"), "stubborn": stubborn}),
                     encoding="utf-8")
    result = run(tmp_path / "out", "--qemu-system", FAKE, "--disk-image", image, "--keep-changes",
                 "--shutdown-timeout", 1, environment={"FAKE_QEMU": str(scene)})
    assert result.status == int(stubborn), result.told
    assert ("the guest did not shut down within" in result.errors) == stubborn


# -- the real QEMU

PRINT = bytes.fromhex("31C0 8ED8 BE1F7C FC AC 84C0 7410 50 BAFD03 EC A820 74FB BAF803 58 EE EBEB")
HALT, RESET_MACHINE = bytes.fromhex("F4 EBFD"), bytes.fromhex("B0FE E664 F4")


def boot_sector(text, end):
    """A disk that prints a text at COM1 and ends so: a guest of one sector."""
    code = PRINT + end
    code = code.replace(bytes.fromhex("BE1F7C"), b"\xbe" + (0x7C00 + len(code)).to_bytes(2, "little"))
    data = code + text.encode() + b"\0"
    assert len(data) <= 510
    return data.ljust(510, b"\0") + b"\x55\xaa" + bytes(MIB - 512)


SMALL = ("--accel", "tcg", "--memory-mib", 64)
SHORT = f"{S}START|version=1\r\n{S}TEST|virtio-blk|PASS|irq_mode=intx|irq_message_count=0\r\n"


@pytest.mark.parametrize("machine, bus", [("q35", "virtio"), ("pc", "chipset")])
def test_an_image_boots_in_the_real_qemu_and_is_not_changed(tmp_path, machine, bus):
    image = tmp_path / "sector.img"
    image.write_bytes(boot_sector(SHORT + PASS, HALT))
    before = image.read_bytes()
    result = run(tmp_path / "out", "--disk-image", image, "--machine", machine, "--boot-bus", bus, *SMALL,
                 "--qemu-preflight-pci", "--virtio-blk-vectors", 3)
    assert result.status == 0, result.told
    verdict, fields = result.host["QEMU_PREFLIGHT_PCI"]
    assert verdict == "PASS" and fields["revision"] == "01"
    assert fields["layout"] == "bar4" and fields["msix_vectors"] == "3"
    assert result.host["VIRTIO_BLK_IRQ"] == ("INFO", {"irq_mode": "intx", "irq_message_count": "0"})
    assert image.read_bytes() == before
    # A line ends with its CR: QEMU may be gone before the guest has sent the LF.
    assert PASS.strip().encode() in (result.output / "serial.log").read_bytes()
    assert result.cases["host.run"] == "passed"


def test_msix_that_is_off_in_the_real_qemu_is_seen(tmp_path):
    image = tmp_path / "sector.img"
    image.write_bytes(boot_sector(f"{S}START|version=1\r\n" + DISK.split("|write_ok")[0].format(*TWO) + "\r\n" +
                                  MSIX_TEST.format("PASS", *TWO) + PASS, HALT))
    result = run(tmp_path / "out", "--disk-image", image, *SMALL, REQUIRE)
    assert result.status == 1 and result.host["VIRTIO_BLK_MSIX"][0] == "FAIL", result.told
    assert result.host["VIRTIO_BLK_MSIX"][1]["reason"] == "msix_off"


def test_the_real_qemu_resizes_the_disk(tmp_path):
    image = tmp_path / "sector.img"
    said = (f"{RESIZE}READY|disk=0|old_bytes={MIB}\r\n"
            f"{RESIZE}PASS|disk=0|old_bytes={MIB}|new_bytes={3 * MIB}|elapsed_ms=1\r\n")
    image.write_bytes(boot_sector(SHORT + said + PASS, HALT))
    result = run(tmp_path / "out", "--disk-image", image, *SMALL, WITH_RESIZE, "--blk-resize-delta-mib", 2)
    assert result.status == 0 and result.host["VIRTIO_BLK_RESIZE"][0] == "PASS", result.told
    assert image.stat().st_size == MIB


@pytest.mark.parametrize("end, status", [(RESET_MACHINE, 4), (HALT, 3)], ids=["resets", "hangs"])
def test_a_guest_that_ends_early_in_the_real_qemu_leaves_its_screen(tmp_path, end, status):
    image = tmp_path / "sector.img"
    image.write_bytes(boot_sector(SHORT, end))
    result = run(tmp_path / "out", "--disk-image", image, *SMALL, "--test-timeout", 1)
    assert result.status == status, result.told
    assert (result.output / "screen.ppm").read_bytes().startswith(b"P6")
    assert result.cases["host.run"] == "error"
