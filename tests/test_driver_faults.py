# SPDX-License-Identifier: MIT OR Apache-2.0
"""A driver that breaks one rule gets the finding of that rule and no other verdict; storhost outlives every one."""
import re

import hosting
import pytest

READY = "00 00 00 00 00 00"
RULES = hosting.REPOSITORY / "storhost" / "verify" / "rules.def"

# What is broken, by its name in miniport.h, and what the finding must say.
MISTAKES = {
    "BreakCallArgument": ("CALL-ARGUMENT", "RequestTimerCall"),
    "BreakCallContext": ("CALL-CONTEXT", "StorPortAcquireSpinLock is called from HwInterrupt"),
    "BreakCallIrql": ("CALL-IRQL", "StorPortSetDeviceQueueDepth"),
    "BreakCallNotification": ("CALL-NOTIFICATION", "type 0x1"),
    "BreakCallObsolete": ("CALL-OBSOLETE", "StorPortValidateRange"),
    "BreakCallWindows8": ("CALL-WINDOWS8", "code 100"),
    "BreakCallbackIrql": ("CALLBACK-IRQL", "HwStartIo"),
    "BreakCallbackLock": ("CALLBACK-LOCK", "HwStartIo returned with the Interrupt lock"),
    "BreakConfigBuses": ("CONFIG-BUSES", "NumberOfBuses"),
    "BreakConfigDuplex": ("CONFIG-DUPLEX", "SynchronizationModel"),
    "BreakConfigLimits": ("CONFIG-LIMITS", "MaximumTransferLength"),
    "BreakConfigOverrun": ("CONFIG-OVERRUN", "was written"),
    "BreakConfigVirtual": ("CONFIG-VIRTUAL", "VirtualDevice"),
    "BreakControlList": ("CONTROL-LIST", "entry 5"),
    "BreakControlTypes": ("CONTROL-TYPES", "restart 0"),
    "BreakDataOverrun": ("DATA-OVERRUN", "of a buffer of"),
    "BreakDeviceProtocol": ("DEVICE-PROTOCOL", "ISR status"),
    "BreakDmaMemory": ("DMA-MEMORY", "at 0x3000"),
    "BreakDpcInit": ("DPC-INIT", "never initialised"),
    "BreakFaultBreakpoint": ("DRIVER-FAULT", "breakpoint"),
    "BreakFaultConstant": ("DRIVER-FAULT", "memory"),
    "BreakFaultDivision": ("DRIVER-FAULT", "arithmetic"),
    "BreakFaultJump": ("DRIVER-FAULT", "0x10"),
    "BreakFaultNull": ("DRIVER-FAULT", "address 0x0"),
    "BreakFaultPrivileged": ("DRIVER-FAULT", "privileged"),
    "BreakFaultRecursion": ("DRIVER-FAULT", "stack"),
    "BreakFindResult": ("FIND-RESULT", "returned 4"),
    "BreakInitData": ("INIT-DATA", "HwInitializationDataSize"),
    "BreakInitResult": ("INIT-RESULT", "0xc0000001"),
    "BreakIrqStorm": ("IRQ-STORM", "refused"),
    "BreakLockDeadlock": ("LOCK-DEADLOCK", "StartIo lock"),
    "BreakLockMsi": ("LOCK-MSI", "message 0"),
    "BreakLockOrder": ("LOCK-ORDER", "DPC lock"),
    "BreakLockRelease": ("LOCK-RELEASE", "no lock"),
    "BreakMemoryFree": ("MEMORY-FREE", "free already"),
    "BreakMemoryLeak": ("MEMORY-LEAK", "100 bytes"),
    "BreakMemoryOverrun": ("MEMORY-OVERRUN", "byte 100"),
    "BreakMmioMapping": ("MMIO-MAPPING", "no range"),
    "BreakQueueDepth": ("QUEUE-DEPTH", "255"),
    "BreakResetOutstanding": ("RESET-OUTSTANDING", "outstanding"),
    "BreakSrbAfter": ("SRB-AFTER", "completed"),
    "BreakSrbLength": ("SRB-LENGTH", "is 512"),
    "BreakSrbLost": ("SRB-LOST", "not completed"),
    "BreakSrbReadonly": ("SRB-READONLY", "changed"),
    "BreakSrbSense": ("SRB-SENSE", "AUTOSENSE_VALID"),
    "BreakSrbStatus": ("SRB-STATUS", "0x00"),
    "BreakSrbTwice": ("SRB-TWICE", "second time"),
    "BreakSrbUnknown": ("SRB-UNKNOWN", "never gave out"),
    "BreakStallLong": ("STALL-LONG", "1001"),
    "BreakStartIoWait": ("STARTIO-WAIT", "stalls"),
    "BreakStopped": ("DRIVER-STOPPED", "IoCreateDevice of ntoskrnl.exe"),
}

# These are made when the device is pulled out under a TEST UNIT READY.
REMOVAL_MISTAKES = {
    "BreakMmioGone": ("MMIO-GONE", "HwStartIo"),
    "BreakSrbRemoved": ("SRB-REMOVED", "1 SRBs"),
}

# These are made in a dump image.
DUMP_MISTAKES = {
    "BreakDumpCall": ("DUMP-CALL", "from HwInitialize of a dump image"),
    "BreakDumpMemory": ("DUMP-MEMORY", "32769 bytes are asked for, and 32768 may be"),
}

# What BreakDumpCall calls.
FORBIDDEN_IN_DUMPS = [
    "StorPortAllocateRegistryBuffer", "StorPortFreeRegistryBuffer", "StorPortRegistryRead", "StorPortRegistryWrite",
    "StorPortQuerySystemTime", "QueryTickCount", "StorPortLogError", "StorPortLogSystemEvent", "StorPortInitializeDpc",
    "StorPortIssueDpc", "StorPortEnablePassiveInitialization", "StorPortGetMSIInfo", "StorPortInitializePerfOpts",
    "StorPortAllocatePool", "StorPortFreePool", "StorPortAllocateContiguousMemorySpecifyCacheNode",
    "StorPortFreeContiguousMemorySpecifyCache",
]

# Where the driver itself is to blame at one of its instructions, the finding says which.
LOCATED = {"BreakFaultBreakpoint", "BreakFaultConstant", "BreakFaultDivision", "BreakFaultNull", "BreakFaultPrivileged",
           "BreakFaultRecursion", "BreakSrbAfter", "BreakSrbTwice", "BreakCallContext", "BreakLockOrder"}


@pytest.fixture(params=hosting.TARGETS)
def architecture(request):
    return request.param


@pytest.fixture
def ask_whether_ready(miniports, architecture, disk):
    """TEST UNIT READY, on which mistakes are made, and what comes before and after."""
    def ask(mistake, seed):
        driver = miniports[architecture].driver(mistake)
        words = hosting.options(disk=disk(hosting.MIB), interrupts="intx", seed=seed)
        return hosting.run(hosting.TARGETS[architecture].program, "scsi", driver, *words, "--", *READY.split(),
                           timeout=20)
    return ask


@pytest.fixture
def pull_out(miniports, architecture, tmp_path):
    """A scenario in which the device is pulled out with a request on its way."""
    def run(mistake):
        script = tmp_path / "pull-out.scn"
        script.write_text(f"# A device is pulled out\nstart\nsubmit a scsi {READY}\nsurprise-remove\nawait a -> srb NO_DEVICE\n",
                          encoding="utf-8")
        return hosting.run(hosting.TARGETS[architecture].program, "run", miniports[architecture].driver(mistake), script,
                           *hosting.options(interrupts="intx", seed=420), timeout=60)
    return run


@pytest.fixture
def crash(miniports, architecture, tmp_path):
    """A scenario in which the machine crashes with a request on its way, and the dump image gets another."""
    def run(mistake, *steps, seed=430):
        script = tmp_path / "crash.scn"
        script.write_text("\n".join(["# A machine crashes", "start", f"submit a scsi {READY}", *steps, ""]),
                          encoding="utf-8")
        return hosting.run(hosting.TARGETS[architecture].program, "run", miniports[architecture].driver(mistake), script,
                           *hosting.options(interrupts="intx", seed=seed), timeout=60)
    return run


@pytest.mark.parametrize("seed", range(401, 409))
def test_the_miniport_without_a_mistake_is_clean(miniports, architecture, disk, seed):
    command = hosting.scsi(miniports[architecture].driver("BreakNothing"), disk(hosting.MIB), READY, interrupts="intx",
                           cpus=4, seed=seed, program=hosting.TARGETS[architecture].program)
    assert (command.status, command.result, command.findings) == (0, "GOOD", 0), command.told
    assert command.flushes == 1 and command.interrupts >= 1, command.told


def test_the_miniport_without_a_mistake_keeps_what_is_written(miniports, disk, tmp_path):
    data = disk(64 << 10, seed=10, name="data")
    back = disk(0, name="back")
    with hosting.serve(miniports["x64"].driver("BreakNothing"), disk(hosting.MIB, name="other.img"), tmp_path,
                       interrupts="intx", cpus=2, seed=409) as nbd:
        for command in (["nbdcopy", data, nbd.uri], ["nbdcopy", nbd.uri, back]):
            copied = hosting.run(*command)
            assert copied.returncode == 0, copied.told + nbd.told
    assert hosting.first_difference(data, back) is None, nbd.told


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("seed", [410, 411])
def test_a_mistake_is_found(ask_whether_ready, mistake, seed):
    rule, words = MISTAKES[mistake]
    result = ask_whether_ready(mistake, seed)
    assert result.returncode == 1, result.told
    found = [line for line in result.stderr.splitlines() if line.startswith(f"finding {rule}: ")]
    assert found and words in found[0], result.told
    assert re.search(rf"\(seed {seed}, step [1-9][0-9]*\)$", found[0]), result.told
    if mistake in LOCATED:
        assert re.search(rf" at {mistake}\.sys\+0x[0-9a-f]+ \(", found[0]), result.told


@pytest.mark.parametrize("mistake", REMOVAL_MISTAKES)
def test_a_mistake_at_a_removal_is_found(pull_out, mistake):
    rule, words = REMOVAL_MISTAKES[mistake]
    result = pull_out(mistake)
    assert result.returncode == 1, result.told
    found = [line for line in result.stderr.splitlines() if line.startswith(f"finding {rule}: ")]
    assert found and words in found[0], result.told


def test_a_removal_without_a_mistake_is_clean(pull_out):
    result = pull_out("BreakNothing")
    assert result.returncode == 0, result.told
    assert "finding" not in result.stderr, result.told


@pytest.mark.parametrize("seed", range(430, 438))
def test_a_dump_image_without_a_mistake_is_clean(crash, seed):
    result = crash("BreakNothing", "crash", f"scsi {READY}", f"scsi {READY}", "reset bus", f"scsi {READY}", "reboot", "start",
                   f"scsi {READY}", seed=seed)
    assert result.returncode == 0, result.told
    assert "finding" not in result.stderr, result.told


def test_a_dump_image_may_not_call_what_needs_a_running_system(crash):
    result = crash("BreakDumpCall", "crash")
    found = re.findall(r"^finding DUMP-CALL: (\w+) is called from HwInitialize of a dump image", result.stderr, re.MULTILINE)
    assert sorted(found) == sorted(FORBIDDEN_IN_DUMPS), result.told
    assert result.returncode == 1 and "DRIVER-FAULT" not in result.stderr, result.told


def test_a_dump_image_may_not_have_more_memory_than_there_is(crash):
    result = crash("BreakDumpMemory", "crash fails \"ERROR\"")
    rule, words = DUMP_MISTAKES["BreakDumpMemory"]
    assert result.returncode == 1, result.told
    assert any(line.startswith(f"finding {rule}: {words} at ") for line in result.stderr.splitlines()), result.told


def test_a_dump_image_that_loses_a_request_is_found(crash):
    result = crash("BreakSrbLost", "crash", f"scsi {READY} -> srb TIMEOUT")
    assert "finding SRB-LOST: an SRB (function 0x00, opcode 0x00) is not completed after 60 s of polling" in result.stderr, \
        result.told


def test_a_lost_request_ends_in_event_129(ask_whether_ready):
    result = ask_whether_ready("BreakSrbLost", seed=412)
    assert "event 129" in result.stderr, result.told


def test_every_rule_has_a_driver_that_breaks_it():
    rules = {name.replace("_", "-") for name in re.findall(r"^RULE\((\w+),", RULES.read_text(), re.MULTILINE)}
    assert rules == {rule for rule, _ in (MISTAKES | REMOVAL_MISTAKES | DUMP_MISTAKES).values()}
