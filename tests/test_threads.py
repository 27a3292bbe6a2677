# SPDX-License-Identifier: MIT OR Apache-2.0
"""Machines whose processors are threads: the shipped drivers, and the driver's own sources under ThreadSanitizer."""
import hosting
import pytest

SCENARIOS = sorted((hosting.REPOSITORY / "storhost" / "tests" / "threads").glob("*.scn"))
SANITIZED = hosting.REPOSITORY / "build" / "native-tsan" / "storhost" / "storhost-native"
LINKED = "-"  # the driver that is in it
INTERRUPTS = ("intx", "msix:1", "msix:2")
HOLD_UPS = (0, 16)  # with 16 each stops for a moment now and then, and others overtake it
DEADLINE = 300  # seconds for what takes a few


@pytest.mark.parametrize("hold_up", HOLD_UPS)
@pytest.mark.parametrize("interrupts", INTERRUPTS)
def test_neither_driver_nor_storhost_races(interrupts, hold_up):
    result = hosting.run(SANITIZED, "run", LINKED, *SCENARIOS, "--interrupts", interrupts, "--hold-up", hold_up,
                         "--seed", 1, timeout=DEADLINE)
    assert "ThreadSanitizer" not in result.stderr, result.stderr[:6000]
    assert result.stdout.count("PASS") == len(SCENARIOS) > 4, result.told


@pytest.mark.parametrize("hold_up", HOLD_UPS)
@pytest.mark.parametrize("kind", ("", "chk"))
@pytest.mark.parametrize("architecture", hosting.TARGETS)
def test_the_shipped_drivers_work_on_threads(architecture, kind, hold_up):
    driver = hosting.STAGED / architecture / kind / "aero_virtio_blk.sys"
    for interrupts in INTERRUPTS:
        result = hosting.run(hosting.TARGETS[architecture].program, "run", driver, *SCENARIOS, "--interrupts", interrupts,
                             "--hold-up", hold_up, "--seed", 1, timeout=DEADLINE)
        assert result.stdout.count("PASS") == len(SCENARIOS), result.told


def test_only_threads_are_held_up(disk):
    result = hosting.run(hosting.TARGETS["x64"].program, "scsi", hosting.DRIVER, "--disk", disk(1 << 20),
                         "--hold-up", 16, "--", *["00"] * 6)
    assert result.returncode == 1 and "hold-up needs threads=1" in result.stderr, result.told


def test_a_crash_that_is_refused_leaves_what_is_in_flight(tmp_path):
    path = tmp_path / "crash.scn"
    path.write_text("# A crash under load\noption threads 1\noption cpus 4\nstart\nload 300 depth 16 background\n"
                    "wait 20\ncrash\n")
    result = hosting.run(SANITIZED, "run", LINKED, path, "--seed", 1, timeout=DEADLINE)
    assert "ThreadSanitizer" not in result.stderr, result.stderr[:6000]
    assert result.returncode == 1 and "a machine of threads does not stop" in result.stdout, result.told
