# SPDX-License-Identifier: MIT OR Apache-2.0
"""Miniports that are none of ours in shape: they run, or stop with the name of what is missing."""
import json
import re

import hosting
import pytest

READY = "00 00 00 00 00 00"

# Which mistake routines.c makes, by its number there: the rule that it breaks beside CALL-KERNEL, and what is said of it.
MISTAKES = {
    1: ("DRIVER-FAULT", "KeWaitForSingleObject waits at IRQL 2"),
    2: ("LOCK-DEADLOCK", "taken by a processor that already holds it"),
    3: ("LOCK-RELEASE", "by a processor that does not hold it"),
    4: ("DPC-INIT", "never initialised"),
    5: ("CALL-IRQL", "prints a Unicode string at IRQL 2"),
    6: ("CALL-IRQL", "ExAllocatePoolWithTag is called at IRQL 2"),
    7: ("DRIVER-FAULT", "KeWaitForSingleObject waits for ever"),
    8: ("DRIVER-FAULT", "DbgBreakPoint is called"),
    9: ("DRIVER-FAULT", "DbgBreakPointWithStatus(0x5)"),
    10: ("DRIVER-FAULT", "assertion failed: a == b, file.c line 12: why"),
    11: ("DRIVER-FAULT", "KeBugCheck(0xd1)"),
    12: ("DRIVER-FAULT", "KeBugCheckEx(0xdead, 0x1, 0x2, 0x3, 0x4)"),
    13: ("DRIVER-FAULT", "assertion failed at"),
    14: ("CALL-KERNEL", "PsTerminateSystemThread of ntoskrnl.exe, which storhost has not"),
    15: ("DRIVER-STOPPED", "the variable PsInitialSystemProcess, which storhost has not"),
    16: ("MEMORY-LEAK", "77 bytes"),
}

# These end the driver; routines.c has no other way to call them.
ENDS = {"DbgBreakPoint", "DbgBreakPointWithStatus", "KeBugCheck", "KeBugCheckEx", "RtlAssert"}

LOAD = """# A load, and a reset in the middle of it
volatile
option cpus 2
start
load 300 depth 32 retry background
wait 100
reset bus
await all
load 300 depth 32
"""


@pytest.fixture(params=hosting.TARGETS)
def architecture(request):
    return request.param


def enter(foreign, architecture, disk, *flags):
    driver = foreign[architecture].driver("routines", *flags)
    words = hosting.options(disk=disk(hosting.MIB), interrupts="intx", seed=440, cpus=2, debug=1)
    return hosting.run(hosting.TARGETS[architecture].program, "scsi", driver, *words, "--", *READY.split())


def found(result):
    return re.findall(r"^finding ([A-Z0-9-]+): (.*)$", result.stderr, re.MULTILINE)


def test_every_routine_of_the_kernel_that_storhost_has_does_what_windows_does(foreign, architecture, disk):
    exports = hosting.run(hosting.TARGETS[architecture].program, "exports", "--json")
    had = {export["name"] for export in json.loads(exports.stdout)["exports"]
           if export["implemented"] and export["dll"] != "storport.sys"}
    result = enter(foreign, architecture, disk)
    said = re.findall(r"^debug: (ok|FAIL) (\w+)$", result.stderr, re.MULTILINE)
    assert [name for verdict, name in said if verdict == "FAIL"] == [], result.told
    assert had - {name for _, name in said} == ENDS, result.told
    assert {rule for rule, _ in found(result)} == {"CALL-KERNEL"}, result.told
    assert "debug: prefix: printed 4\n" in result.stderr, result.told


@pytest.mark.parametrize("wrong", MISTAKES)
def test_a_wrong_use_of_the_kernel_is_found_where_it_is(foreign, architecture, disk, wrong):
    rule, words = MISTAKES[wrong]
    result = enter(foreign, architecture, disk, f"-DWRONG={wrong}")
    told = [text for name, text in found(result) if name == rule and words in text]
    assert len(told) == 1, result.told
    assert re.search(r" at routines-WRONG\d+\.sys\+0x[0-9a-f]+ \(_?DriverEntry", told[0]), result.told
    assert {name for name, _ in found(result)} <= {rule, "CALL-KERNEL", "CALL-IRQL"}, result.told


def run_load(foreign, architecture, tmp_path, name, script, **more):
    path = tmp_path / "load.scn"
    path.write_text(script, encoding="utf-8")
    return hosting.run(hosting.TARGETS[architecture].program, "run", foreign[architecture].driver(name), path,
                       *hosting.options(interrupts="intx", debug=1, **more))


@pytest.mark.parametrize("seed", [441, 442])
def test_a_miniport_with_command_slots_keeps_every_rule_under_load(foreign, architecture, tmp_path, seed):
    result = run_load(foreign, architecture, tmp_path, "slots", LOAD, seed=seed)
    assert result.returncode == 0 and not found(result), result.told
    assert re.search(r"^debug: slots: reset of bus 0, [1-9]\d* interrupts so far$", result.stderr, re.MULTILINE), result.told


@pytest.mark.parametrize("seed", [441, 442])
def test_a_ram_disk_of_the_kernels_own_objects_runs_and_is_told_what_it_had_better_leave(foreign, architecture, tmp_path, seed):
    result = run_load(foreign, architecture, tmp_path, "ramdisk", LOAD.replace("volatile", "volatile\nfinding CALL-KERNEL"), seed=seed)
    assert result.returncode == 0, result.told
    assert {rule for rule, _ in found(result)} == {"CALL-KERNEL"}, result.told
    assert {text.split()[0] for _, text in found(result)} >= {
        "ExAllocatePoolWithTag", "KeAcquireSpinLock", "KeInsertQueueDpc", "KeSetTimer", "KeQuerySystemTime"}, result.told
    assert re.search(r"^debug: ramdisk: DriverEntry\([0-9A-F]+, \\Registry\\Machine", result.stderr, re.MULTILINE), result.told
    assert re.search(r"^debug: ramdisk: removed after [1-9]\d+ requests$", result.stderr, re.MULTILINE), result.told


def test_a_foreign_miniport_keeps_what_an_nbd_client_writes(foreign, disk, tmp_path):
    data, back = disk(4 * hosting.MIB, seed=10, name="data"), disk(0, name="back")
    server = hosting.Server(foreign["x64"].driver("slots"), disk(hosting.MIB, name="other.img"), tmp_path,
                            hosting.options(interrupts="intx", seed=443))
    try:
        server.wait_until_ready()
        for command in (["nbdcopy", data, server.uri], ["nbdcopy", server.uri, back]):
            copied = hosting.run(*command)
            assert copied.returncode == 0, copied.told + server.told
        server.stop()
    finally:
        server.kill()
    assert server.report["findings"] == 0 and hosting.first_difference(data, back) is None, server.told


def test_a_virtual_miniport_is_refused_by_that_name(foreign, architecture, disk):
    words = hosting.options(disk=disk(hosting.MIB), seed=444)
    result = hosting.run(hosting.TARGETS[architecture].program, "scsi", foreign[architecture].driver("virtual"), *words,
                         "--", *READY.split())
    assert [rule for rule, _ in found(result)] == ["DRIVER-STOPPED"] and result.returncode == 1, result.told
    assert "a virtual miniport (VIRTUAL_HW_INITIALIZATION_DATA)" in result.stderr, result.told


def test_imports_say_what_a_driver_will_meet(foreign, architecture):
    result = hosting.run(hosting.TARGETS[architecture].program, "imports", foreign[architecture].driver("ramdisk"))
    assert result.returncode == 0 and "storhost stops" not in result.stdout, result.told
    assert "ntoskrnl.exe!DbgPrint: storhost implements it" in result.stdout, result.told
