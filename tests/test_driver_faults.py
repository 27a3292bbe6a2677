# SPDX-License-Identifier: MIT OR Apache-2.0
"""A driver that breaks one rule gets the finding of that rule and of no other; storhost outlives every one."""
import json
import re

import hosting
import pytest

READY = "00 00 00 00 00 00"
READ = "28 00 00 00 00 00 00 00 01 00"

# What is broken, by its name in miniport.h, and what the finding must say.
MISTAKES = {
    "BreakCallArgument": ("CALL-ARGUMENT", "RequestTimerCall"),
    "BreakCallContext": ("CALL-CONTEXT", "StorPortGetScatterGatherList is called from HwDpcRoutine"),
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
    "BreakDmaMemory": ("DMA-MEMORY", "memory that is not for the device"),
    "BreakDpcInit": ("DPC-INIT", "never initialised"),
    "BreakFaultBreakpoint": ("DRIVER-FAULT", "breakpoint"),
    "BreakFaultConstant": ("DRIVER-FAULT", "memory"),
    "BreakFaultDivision": ("DRIVER-FAULT", "arithmetic"),
    "BreakFaultJump": ("DRIVER-FAULT", "0x10"),
    "BreakDriverFault": ("DRIVER-FAULT", "address 0x0"),
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
    "BreakSrbAfter": ("SRB-AFTER", "completed"),
    "BreakSrbLength": ("SRB-LENGTH", "is 512"),
    "BreakSrbLost": ("SRB-LOST", "not completed"),
    "BreakSrbReadonly": ("SRB-READONLY", "changed"),
    "BreakSrbSense": ("SRB-SENSE", "AUTOSENSE_VALID"),
    "BreakSrbStatus": ("SRB-STATUS", "0x00"),
    "BreakSrbTwice": ("SRB-TWICE", "second time"),
    "BreakSrbUnknown": ("SRB-UNKNOWN", "never gave out"),
    "BreakStallLong": ("STALL-LONG", "1001"),
    "BreakStartioWait": ("STARTIO-WAIT", "stalls"),
    "BreakDriverStopped": ("DRIVER-STOPPED", "code 2 is not implemented"),

    "BreakConfigReadonly": ("CONFIG-READONLY", "SlotNumber"),
    "BreakUncachedOnce": ("UNCACHED-ONCE", "again"),
    "BreakUncachedFinal": ("UNCACHED-FINAL", "SrbExtensionSize was 0 and is 64"),
    "BreakCallKernel": ("CALL-KERNEL", "IoCreateDevice of ntoskrnl.exe"),
    "BreakPassiveEnable": ("PASSIVE-ENABLE", "HwPassiveInitializeRoutine"),
    "BreakPerfOptions": ("PERF-OPTIONS", "no PERF_CONFIGURATION_DATA"),
    "BreakQueueEarly": ("QUEUE-EARLY", "first INQUIRY"),
    "BreakLockHandle": ("LOCK-HANDLE", "not on the stack"),
    "BreakStallInterrupt": ("STALL-INTERRUPT", "HwInterrupt stalls for 10"),
    "BreakTimeCallback": ("TIME-CALLBACK", "HwDpcRoutine waited for 599"),
    "BreakTimeEndless": ("TIME-ENDLESS", "HwStartIo does not return"),
    "BreakTimeEndlessPoll": ("TIME-ENDLESS", "HwStartIo does not return"),
    "BreakIrqForeign": ("IRQ-FOREIGN", "returned TRUE"),
    "BreakBuildioDone": ("BUILDIO-DONE", "returned TRUE"),
    "BreakSrbAfterBuffer": ("SRB-AFTER", "completed"),
    "BreakSrbBuffer": ("SRB-BUFFER", "not mapped"),
    "BreakSrbList": ("SRB-LIST", "scatter/gather list"),

    "BreakBlockCapacity": ("BLOCK-CAPACITY", "past the capacity"),
    "BreakBlockData": ("BLOCK-DATA", "100 bytes"),
    "BreakBlockFeature": ("BLOCK-FEATURE", "type 11"),
    "BreakBlockFields": ("BLOCK-FIELDS", "sector 1"),
    "BreakBlockRequest": ("BLOCK-REQUEST", "8 bytes to read"),
    "BreakConfigTorn": ("CONFIG-TORN", "not read before"),
    "BreakDmaDescriptor": ("DMA-DESCRIPTOR", "at 0x3000"),
    "BreakDmaDirection": ("DMA-DIRECTION", "only write"),
    "BreakFeatureLate": ("FEATURE-LATE", "after FEATURES_OK"),
    "BreakFeatureOffered": ("FEATURE-OFFERED", "0x20 in word 0"),
    "BreakFeatureVersion": ("FEATURE-VERSION", "VERSION_1"),
    "BreakMmioReadonly": ("MMIO-READONLY", "ISR status"),
    "BreakMmioReset": ("MMIO-RESET", "device_status was written after a reset"),
    "BreakMmioRunning": ("MMIO-RUNNING", "still runs"),
    "BreakMmioWidth": ("MMIO-WIDTH", "ISR status was accessed at 0x0 with 4 bytes"),
    "BreakNotifyEarly": ("NOTIFY-EARLY", "before DRIVER_OK"),
    "BreakNotifyTarget": ("NOTIFY-TARGET", "0x1 was written"),
    "BreakQueueAddress": ("QUEUE-ADDRESS", "before queue_desc was set"),
    "BreakQueueEnable": ("QUEUE-ENABLE", "twice"),
    "BreakQueueFixed": ("QUEUE-FIXED", "queue_desc"),
    "BreakQueueSize": ("QUEUE-SIZE", "127"),
    "BreakRingBarrier": ("RING-BARRIER", "the available index is 0"),
    "BreakRingBuffer": ("RING-BUFFER", "length 0"),
    "BreakRingFlags": ("RING-FLAGS", "flags are 0x2"),
    "BreakRingHead": ("RING-HEAD", "descriptor 128 of 128"),
    "BreakRingIndex": ("RING-INDEX", "from 0 to 130"),
    "BreakRingIndirect": ("RING-INDIRECT", "not negotiated"),
    "BreakRingLength": ("RING-LENGTH", "longer than the queue size 128"),
    "BreakRingLoop": ("RING-LOOP", "loops at descriptor 1"),
    "BreakRingOrder": ("RING-ORDER", "readable descriptor after a writable one"),
    "BreakRingOwned": ("RING-OWNED", "made available again"),
    "BreakStatusBits": ("STATUS-BITS", "reserved bits"),
    "BreakStatusOrder": ("STATUS-ORDER", "before ACKNOWLEDGE"),
    "BreakStatusUnread": ("STATUS-UNREAD", "FEATURES_OK was not read back"),
    "BreakVectorUnread": ("VECTOR-UNREAD", "a vector was not read back"),
    "BreakVectorValue": ("VECTOR-VALUE", "vector 0x900"),
}

# Made on another command than TEST UNIT READY.
COMMANDS = dict.fromkeys(["BreakDmaDirection", "BreakSrbAfterBuffer", "BreakSrbBuffer", "BreakSrbList"], READ)
# What it takes to make them beside the driver.
OPTIONS = {
    "BreakBlockFeature": {"device": "features=+discard"},
    "BreakTimeEndless": {"watchdog": 1},
    "BreakTimeEndlessPoll": {"watchdog": 1},
}
# Which of the ways that chance leaves open they need, they find in several attempts.
REPEATED = {"BreakDmaMemory", "BreakIrqForeign", "BreakRingOwned"}

# These are made in the course of longer events.
PULLED_OUT = f"submit a scsi {READY}\nsurprise-remove\nawait a -> srb NO_DEVICE"
SCENARIO_MISTAKES = {
    "BreakMmioGone": ("MMIO-GONE", "HwStartIo", PULLED_OUT),
    "BreakMmioStopped": ("MMIO-STOPPED", "HwTimer", f"scsi {READY}\nsleep\nadvance 10\nwake"),
    "BreakResetOutstanding": ("RESET-OUTSTANDING", "1 requests", f"submit a scsi {READY}\nadvance 1\nreset unit\nawait a -> any"),
    "BreakSrbRemoved": ("SRB-REMOVED", "1 SRBs", PULLED_OUT),
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

# Where the driver itself is to blame at one of its instructions, the finding says which, and in which of its functions
# (those that are called once are inlined).
LOCATED = {
    "BreakFaultBreakpoint": "HwStartIo", "BreakFaultConstant": "HwStartIo", "BreakDriverFault": "HwStartIo",
    "BreakFaultRecursion": "Recurse", "BreakSrbTwice": "HwStartIo", "BreakCallContext": "HwDpc",
    "BreakLockOrder": "HwStartIo", "BreakTimeEndless": "HwStartIo", "BreakSrbList": "HwStartIo",
    "BreakMmioReadonly": "FunctionAcknowledge", "BreakStatusUnread": "FunctionStart",
}


@pytest.fixture(params=hosting.TARGETS)
def architecture(request):
    return request.param


@pytest.fixture
def ask_whether_ready(miniports, architecture, disk):
    """TEST UNIT READY, on which mistakes are made, and what comes before and after."""
    def ask(mistake, seed, **more):
        driver = miniports[architecture].driver(mistake)
        command = COMMANDS.get(mistake, READY)
        words = hosting.options(disk=disk(hosting.MIB), interrupts="intx", seed=seed, **OPTIONS.get(mistake, {}), **more)
        again = ["--then", command] * (8 if mistake in REPEATED else 0)
        return hosting.run(hosting.TARGETS[architecture].program, "scsi", driver, *words, *again, "--",
                           *command.split(), timeout=20)
    return ask


@pytest.fixture
def play(miniports, architecture, tmp_path):
    """Runs the steps of a scenario."""
    def run(mistake, steps):
        script = tmp_path / "mistake.scn"
        script.write_text(f"# A mistake is found\nstart\n{steps}\nstop\n", encoding="utf-8")
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


def findings(result):
    """What was found, in order: (rule, the rest of its line)."""
    return re.findall(r"^finding ([A-Z0-9-]+): (.*)$", result.stderr, re.MULTILINE)


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


@pytest.mark.parametrize("mistake, seed", [
    (mistake, seed) for mistake in MISTAKES for seed in (410, 411)
    if seed == 410 or "watchdog" not in OPTIONS.get(mistake, {})])  # which takes that long
def test_a_mistake_is_found(ask_whether_ready, mistake, seed):
    rule, words = MISTAKES[mistake]
    result = ask_whether_ready(mistake, seed)
    assert result.returncode in (1, 2), result.told
    found = findings(result)
    assert {name for name, _ in found} == {rule}, result.told
    assert words in found[0][1], result.told
    assert re.search(rf" \(seed {seed}, step [1-9][0-9]*\)$", found[0][1]), result.told
    if mistake in LOCATED:
        assert re.search(rf" at {mistake}\.sys\+0x[0-9a-f]+ \({LOCATED[mistake]}\+0x[0-9a-f]+\)", found[0][1]), result.told


@pytest.mark.parametrize("mistake", SCENARIO_MISTAKES)
def test_a_mistake_in_the_course_of_events_is_found(play, mistake):
    rule, words, steps = SCENARIO_MISTAKES[mistake]
    result = play(mistake, steps)
    assert result.returncode == 1, result.told
    found = findings(result)
    assert {name for name, _ in found} == {rule}, result.told
    assert words in found[0][1], result.told


@pytest.mark.parametrize("steps", sorted({steps for _, _, steps in SCENARIO_MISTAKES.values()}))
def test_the_course_of_events_without_a_mistake_is_clean(play, steps):
    result = play("BreakNothing", steps)
    assert result.returncode == 0, result.told
    assert findings(result) == [], result.told


def test_the_same_seed_makes_the_same_finding_at_the_same_step(ask_whether_ready):
    one, other = (findings(ask_whether_ready("BreakSrbTwice", 413)) for _ in range(2))
    assert one == other and one


def test_a_driver_that_does_not_return_is_ended_on_threads_too(ask_whether_ready):
    result = ask_whether_ready("BreakTimeEndless", 414, threads=1)
    assert result.returncode in (1, 2), result.told
    assert [name for name, _ in findings(result)] == ["TIME-ENDLESS"], result.told


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


def rules():
    return json.loads(hosting.storhost("rules", "--json").stdout)


def test_every_rule_has_a_driver_of_its_name_that_breaks_it():
    mistakes = {mistake: rest[0] for mistake, rest in (MISTAKES | SCENARIO_MISTAKES | DUMP_MISTAKES).items()}
    assert {rule["id"]: mistakes.get(rule["broken_by"]) for rule in rules()} == {rule["id"]: rule["id"] for rule in rules()}
    assert len(rules()) >= 60
    assert set(mistakes.values()) == {rule["id"] for rule in rules()}


def test_every_rule_names_a_source_and_a_scenario_that_our_driver_passes():
    scenarios = hosting.REPOSITORY / "storhost" / "tests" / "scenarios"
    for rule in rules():
        assert rule["source"] and rule["text"] and (scenarios / f"{rule['scenario']}.scn").exists(), rule


def test_a_rule_explains_itself():
    result = hosting.storhost("rules", "dma_memory")
    assert result.returncode == 0, result.told
    for words in ("DMA-MEMORY: ", "Source", "the Windows Driver Kit's page", "BreakDmaMemory"):
        assert words in result.stdout, result.told


@pytest.mark.parametrize("words, sentence", [
    (["no-such-rule"], "there is no rule 'no-such-rule'; 'storhost rules' lists them"),
    (["SRB-TWICE", "SRB-LOST"], "one rule at a time"),
    (["--markdown", "SRB-TWICE"], "for all the rules"),
    (["--xml"], "not '--xml'"),
])
def test_wrong_arguments_of_rules_get_a_sentence(words, sentence):
    result = hosting.storhost("rules", *words)
    assert result.returncode == 2 and sentence in result.stderr, result.told
