# SPDX-License-Identifier: MIT OR Apache-2.0
"""`storhost conform` is green on the contract device, blames each bug on its clause, and knows how others differ."""
import json

import hosting
import pytest
import storage_daemon
from device import build

# What the contract itself asks otherwise than QEMU's export does. [contract 3.1, and the measured facts of 1.4]
DAEMON_DIFFERS = {"FEATURE-OTHER", "CONFIG-REST", "REQUEST-USED-LENGTH", "REQUEST-ID"}

# Options of the contract device, and the clauses that they break; no others.
BUGS = {
    "device=0x1001": {"PCI-ID"},
    "revision=0": {"PCI-REVISION"},
    "subsystem=0x1100": {"PCI-SUBSYSTEM"},
    "bar-kind=32": {"BAR-KIND"},
    "bar0-length=0x8000": {"BAR-LENGTH"},
    "caps=loop": {"CAP-LIST"},
    "caps=short-notify": {"CAP-REQUIRED"},
    "common=0x40": {"LAYOUT-COMMON"},
    "multiplier=2": {"NOTIFY-MULTIPLIER"},
    "features=+event_idx": {"FEATURE-OTHER"},
    "features=-flush": {"FEATURE-OFFERED", "REQUEST-FLUSH"},
    "registers=features-refused": {"FEATURE-ACCEPTED"},
    "registers=vector-refused": {"VECTOR-KEPT"},
    "registers=reset-stuck": {"RESET-ZERO"},
    "registers=queue-enabled": {"QUEUE-ENABLE"},
    "registers=queue-size-fixed": {"QUEUE-SMALLER"},
    "registers=generation-unstable": {"CONFIG-STABLE"},
    "registers=isr-reserved": {"ISR-RESERVED"},
    "no-interrupt=ignored": {"INTERRUPT-SUPPRESSED"},
    "num-queues=2": {"QUEUE-COUNT"},
    "blk-size=1000": {"CONFIG-BLK-SIZE"},
    "seg-max=200": {"CONFIG-SEG-MAX"},
    "serial=abc": {"REQUEST-ID"},
    "fault=bad-status": {"REQUEST-STATUS"},
    "fault=no-status": {"REQUEST-STATUS"},
    "fault=used-bad-id": {"RING-ID"},
    "fault=used-twice,fault-every=5": {"RING-ID"},
    "fault=used-length": {"REQUEST-USED-LENGTH"},
    "fault=stall,fault-after=3": {"REQUEST-RETURNED"},
    "fault=lost-interrupt,fault-every=1": {"LINE-ASSERTED", "MESSAGE-QUEUE"},
}

# Bugs of tests/device/broken.c.
BROKEN = {
    "no-line": {"PCI-LINE"},
    "sticky-isr": {"LINE-CLEARED"},
    "undefined-ones": {"LAYOUT-REST"},
    "wrong-message": {"MESSAGE-QUEUE"},
    "line-beside-messages": {"MESSAGE-ALONE"},
    "features-outlive-reset": {"RESET-CLEARS"},
    "writes-after-reset": {"RESET-IN-FLIGHT"},
    "reads-elsewhere": {"RING-MEMORY"},
}


def conform(program, *words):
    result = hosting.run(program, "conform", "--json", "--seed", 1, *words)
    assert result.returncode in (0, 1), result.told
    outcomes = {}
    for line in json.loads(result.stdout):
        outcomes.setdefault(line["outcome"], set()).add(line["clause"])
    assert (result.returncode == 1) == ("FAIL" in outcomes), result.told
    told = [f"{line['outcome']} {line['clause']}: {line['seen']}" for line in json.loads(result.stdout) if line["seen"]]
    return outcomes, "\n".join(told)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_contract_device_conforms(target, seed):
    outcomes, told = conform(target.program, "--seed", seed)
    assert set(outcomes) == {"ok"} and len(outcomes["ok"]) > 60, told


@pytest.mark.parametrize("architecture", hosting.TARGETS)
def test_the_contract_device_conforms_as_a_shared_object(architecture):
    outcomes, told = conform(hosting.TARGETS[architecture].program, "--device", f"so:{build.CONTRACT[architecture]}")
    assert set(outcomes) == {"ok"}, told


@pytest.mark.parametrize("bug", BUGS)
def test_a_bug_is_blamed_on_its_clause(bug):
    outcomes, told = conform(hosting.STORHOST, "--device", bug)
    assert outcomes.get("FAIL") == BUGS[bug], told


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    return build.compile_device(tmp_path_factory.mktemp("device") / "broken.so")


@pytest.mark.parametrize("bug", BROKEN)
def test_a_bug_of_somebody_else_s_device_is_blamed_on_its_clause(broken, bug):
    outcomes, told = conform(hosting.STORHOST, "--device", f"so:{broken},{build.CONTRACT['x64']}={bug}")
    assert outcomes.get("FAIL") == BROKEN[bug], told


def test_the_storage_daemon_differs_in_what_the_contract_itself_asks(target, disk, tmp_path):
    with storage_daemon.serve(tmp_path, storage_daemon.file(disk(8 * hosting.MIB))) as daemon:
        outcomes, told = conform(target.program, "--device", daemon.device)
        assert outcomes.get("FAIL") == DAEMON_DIFFERS, told
        assert outcomes.get("none", set()) <= {"REQUEST-DISCARD"}, told
        outcomes, told = conform(target.program, "--device", daemon.device, "--allow", ",".join(DAEMON_DIFFERS))
        assert "FAIL" not in outcomes and outcomes["differs"] == DAEMON_DIFFERS, told


def test_a_clause_that_nobody_knows_cannot_be_allowed():
    result = hosting.storhost("conform", "--allow", "PCI-ID,PCI-WHIM")
    assert result.returncode == 2 and "'PCI-WHIM'" in result.stderr, result.told
