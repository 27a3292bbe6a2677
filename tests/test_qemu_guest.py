# SPDX-License-Identifier: MIT OR Apache-2.0
"""The shipped drivers on QEMU's own virtio-blk-pci, in the small guest: a sample of `make run-qemu` (docs/qemu-guest.md)."""
import functools
import re
import subprocess
import sys
import time

import hosting
import pytest

sys.path.insert(0, str(hosting.REPOSITORY / "tools"))
import guest  # noqa: E402  (tools/)
import run_qemu  # noqa: E402

LOAD_MIB = 4
BOOT_DEADLINE = 600  # seconds for what takes forty on an idle machine
SELFTEST_DEADLINE = 120
BARRIER_DEADLINE = 60

# architecture, interrupts, disk, scenario: each value meets each other one somewhere.
LOADS = [
    ("x64", "msix:2", "at a port, platform on", "load"),
    ("x64", "intx", "on the root complex, platform off", "load"),
    ("x86", "msix:2", "at a port, platform off", "load"),
    ("x86", "intx", "on the root complex, platform on", "load"),
]
EVENTS = [
    ("x64", "msix:2", "at a port, platform on", "test-a-resize-is-told-once"),
    ("x86", "intx", "at a port, platform on", "test-resizes-under-load-lose-nothing"),
    ("x64", "intx", "at a port, platform on", "test-a-device-pulled-out-under-load-returns-every-request"),
    ("x86", "msix:2", "bad sector", "test-an-error-of-the-host-s-is-that-request-s-alone"),
    ("x64", "intx", "throttled", "test-a-throttled-disk-costs-time-and-nothing-else"),
    ("x64", "msix:2", "at a port, platform off", "test-sleep-that-lost-power-under-load-loses-nothing"),
    ("x86", "msix:2", "at a port, platform on", "test-a-crash-dump-under-load-is-exact"),
]


@functools.cache
def image():
    return guest.build()


def path_of(scenario, load):
    if scenario == "load":
        return load
    return next(path for folder in (run_qemu.SCENARIOS, run_qemu.ERRORS) for path in folder.glob(f"{scenario}.scn"))


@functools.cache
def sample():
    """(outcomes by run, the machine as it was) of one boot."""
    disks, job = run_qemu.own_disks(), run_qemu.Job()
    run_qemu.MADE.mkdir(parents=True, exist_ok=True)
    load = run_qemu.load_scenario(run_qemu.MADE, LOAD_MIB)
    job.files.append(load)
    for case in LOADS + EVENTS:
        architecture, mode, disk, name = case
        scenario = run_qemu.read_scenario(path_of(name, load))
        job.add(" ".join(case), *run_qemu.steps(architecture, mode, disks[disk], scenario, seed=1,
                                                 file=f"/{load.name}" if name == "load" else None))
    refused = disks["at a port, platform off"]
    job.lines += [f"echo '== refused'; storhost scsi /drivers/x64/aero_virtio_blk.sys --memory {run_qemu.MEMORY} "
                  f"--device vfio:$(function_at {refused.slot}) -- 00 00 00 00 00 00; echo status $?"]
    outcomes, machine = run_qemu.boot(image(), "sample", list(disks.values()), job, BOOT_DEADLINE)
    return {one.run: one for one in outcomes}, machine


@pytest.mark.parametrize("case", LOADS + EVENTS, ids=" ".join)
def test_it_passes_on_a_device_of_qemu_s(case):
    outcome = sample()[0][" ".join(case)]
    assert outcome.verdict == "PASS", outcome.text


def test_the_guest_s_kernel_has_nothing_to_complain_of():
    outcome = sample()[0].get("the guest")
    assert outcome is None, outcome.text


@pytest.mark.parametrize("case", LOADS, ids=" ".join)
def test_msi_x_is_on_where_it_was_granted_and_nowhere_else(case):
    outcome = run_qemu.judge_msix(" ".join(case), sample()[1].seen.get(" ".join(case), set()))
    assert outcome.verdict == "PASS", outcome.text


@pytest.mark.parametrize("case", LOADS, ids=" ".join)
def test_as_much_was_moved_as_was_asked_for(case):
    outcome = run_qemu.judge_amount(" ".join(case), sample()[1].moved.get(" ".join(case), 0), LOAD_MIB)
    assert outcome.verdict == "PASS", outcome.text


def test_errors_of_the_host_are_reported_and_stop_nothing():
    events = [event["data"]["action"] for event in sample()[1].monitor.events if event["event"] == "BLOCK_IO_ERROR"]
    assert events and set(events) == {"report"}


def test_a_device_that_passes_the_iommu_by_is_refused_ordinary_memory():
    said = sample()[1].text().replace("\r", "")
    assert re.search(r"== refused\n.*does not offer ACCESS_PLATFORM, so it passes the IOMMU by.*\nstatus 1\n", said), said[-2000:]


LOCKED_OR = bytes.fromhex("66 67 f0 83 0c 24 00")  # lock orl $0, (%esp): a full barrier of Windows, and of Linux
FENCE = bytes.fromhex("0f ae f0")  # mfence: the driver's
HALT = bytes.fromhex("f4")


def test_barriers_are_barriers_in_the_guest(tmp_path):
    sector, log = tmp_path / "sector", tmp_path / "log"
    sector.write_bytes((LOCKED_OR + FENCE + HALT).ljust(510, b"\0") + b"\x55\xaa")
    words = [guest.QEMU, "-display", "none", "-nodefaults", "-machine", "pc", "-accel", "tcg", "-smp", guest.PROCESSORS,
             "-drive", f"file={sector},format=raw,if=ide,snapshot=on", "-d", "in_asm,op", "-D", log, "-dfilter", "0x7c00+0x10"]
    with subprocess.Popen(words, stdin=subprocess.DEVNULL) as machine:
        end = time.monotonic() + BARRIER_DEADLINE
        while time.monotonic() < end and not (log.exists() and "hlt" in log.read_text()):
            time.sleep(0.05)
        machine.terminate()
    said = log.read_text()
    assert re.search(r"^0x0*7c00: .*lock orl", said, re.MULTILINE), said
    assert "call atomic_or_fetch" in said, "QEMU translates the locked instruction to a load and a store"
    assert re.search(r"^ mb ", said, re.MULTILINE), "QEMU translates the fence to nothing"


def selftest(append, directory, **properties):
    disk = guest.Disk(properties=dict(properties))
    with guest.Guest(image(), guest.BUILT / directory, [disk], None, append=append, deadline=SELFTEST_DEADLINE) as machine:
        return machine.wait().replace("\r", "")


def test_the_guest_tells_the_lines_of_the_selftest():
    said = selftest("aero.expect-msi=1 aero.memory=96", "selftest", iommu_platform=True)
    lines = re.findall(r"^(?:AERO_VIRTIO_SELFTEST|virtio-blk-).*", said, re.MULTILINE)
    assert lines[0] == "AERO_VIRTIO_SELFTEST|START|version=1" and lines[-1] == "AERO_VIRTIO_SELFTEST|RESULT|PASS", said
    assert lines[1].startswith("AERO_VIRTIO_SELFTEST|CONFIG|")
    assert "virtio-blk-miniport-irq|INFO|mode=msi|message_count=2|msix_config_vector=0x0000|msix_queue0_vector=0x0001" in lines
    assert re.search(r"^AERO_VIRTIO_SELFTEST\|TEST\|virtio-blk\|PASS\|irq_mode=msix\|irq_message_count=2\|"
                     r"msix_config_vector=0x0000\|msix_queue_vector=0x0001\|write_ok=1\|write_bytes=8388608\|"
                     r"write_mbps=[\d.]+\|flush_ok=1\|read_ok=1\|read_bytes=8388608\|read_mbps=[\d.]+$", said, re.MULTILINE)


def test_a_guest_that_finds_interrupts_it_does_not_want_fails():
    said = selftest("aero.run=fail aero.arch=x86", "selftest")
    assert "|TEST|virtio-blk|FAIL|irq_mode=intx|" in said and "AERO_VIRTIO_SELFTEST|RESULT|FAIL" in said


# Clauses of the contract that QEMU's device breaks, though it was made as like the contract's as it can be.
DIFFERS = {"PCI-SUBSYSTEM", "BAR-ONE", "BAR-KIND", "BAR-LENGTH", "LAYOUT-COMMON", "LAYOUT-NOTIFY", "LAYOUT-ISR", "LAYOUT-DEVICE",
           "LAYOUT-REST", "FEATURE-OTHER", "FEATURE-REFUSED", "QUEUE-ABSENT", "CONFIG-REST", "RESET-CLEARS",
           "REQUEST-USED-LENGTH", "REQUEST-ID", "REQUEST-DISCARD"}
NOBODYS_MEMORY = "0x7ff000000000"  # where conform's broken descriptor points


@functools.cache
def judged():
    """What `storhost conform` and the guest's kernel said of QEMU's device."""
    disk = guest.Disk(properties={**run_qemu.CONTRACT, **run_qemu.PLATFORM})
    job = f"storhost conform --device vfio:$(function_at {disk.slot}) --seed 1\n"
    with guest.Guest(image(), guest.BUILT / "conform", [disk], job, deadline=SELFTEST_DEADLINE) as machine:
        return machine.wait().replace("\r", "")


def test_qemu_s_device_breaks_these_clauses_and_no_other():
    broken = set(re.findall(r"^FAIL +([A-Z-]+):", judged(), re.MULTILINE))
    assert broken == DIFFERS, judged()
    assert len(re.findall(r"^ok +[A-Z-]+:", judged(), re.MULTILINE)) > 40 and "none " not in judged(), judged()


def test_a_wrong_address_is_stopped_by_the_iommu():
    assert re.search(rf"^guest: kernel: .*DMAR: .*fault addr {NOBODYS_MEMORY} ", judged(), re.MULTILINE), judged()


@pytest.mark.parametrize("spec, sentence", [
    ("vfio:", "the device vfio:BUS:DEVICE.FUNCTION needs its BUS:DEVICE.FUNCTION"),
    ("vfio:nowhere", "a function is named [DOMAIN:]BUS:DEVICE.FUNCTION, such as 0000:01:00.0, not 'nowhere'"),
    ("vfio:fffe:1f:1f.7", "this machine has no PCI function fffe:1f:1f.7"),
])
def test_a_function_that_cannot_be_had_is_told(disk, spec, sentence):
    result = hosting.storhost("scsi", hosting.DRIVER, "--device", spec, "--", *"00 00 00 00 00 00".split())
    assert (result.returncode, result.stderr) == (2, f"storhost: {sentence}\n"), result.told


@pytest.mark.parametrize("memory", ["", "47", "1025", "96@", "96@0x1000", "96@0,0x1000,0x2000", "96@0x100000000,0,0", "96MiB",
                                    "96@0x1000,0x2000,0x3000,0x4000", "96@0x1001,0x2000,0x3000"])
def test_memory_that_cannot_be_is_told(disk, memory):
    result = hosting.storhost("scsi", hosting.DRIVER, "--disk", disk(hosting.MIB), "--memory", memory, "--",
                              *"00 00 00 00 00 00".split())
    assert result.returncode == 2 and result.stderr.count("\n") == 1 and f"not '{memory}'" in result.stderr, result.told


def test_a_machine_works_with_little_memory(disk):
    result = hosting.storhost("scsi", hosting.DRIVER, "--disk", disk(hosting.MIB), "--memory", 48, "--",
                              *"28 00 00 00 00 00 00 00 08 00".split())
    assert result.returncode == 0, result.told


def test_words_of_scenarios_are_properties_of_qemu_s_or_reasons():
    scenarios, reasons = run_qemu.applicable(sorted(run_qemu.SCENARIOS.glob("*.scn")))
    assert len(scenarios) >= 50
    assert all(reason.startswith(("QEMU", "expects")) for reason in reasons.values())
    document = (hosting.REPOSITORY / "docs" / "qemu-guest.md").read_text()
    assert sum(map(int, re.findall(r"^\| it .* \| (\d+) \|$", document, re.MULTILINE))) == len(reasons)
