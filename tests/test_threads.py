# SPDX-License-Identifier: MIT OR Apache-2.0
"""Machines whose processors are threads: the shipped drivers, and the driver's own sources under ThreadSanitizer."""
import hosting
import pytest

SCENARIOS = sorted((hosting.REPOSITORY / "storhost" / "tests" / "threads").glob("*.scn"))
SANITIZED = hosting.REPOSITORY / "build" / "native-tsan" / "storhost" / "storhost-native"
LINKED = "-"  # the driver that is in it
INTERRUPTS = ("intx", "msix:1", "msix:2")
DEADLINE = 300  # seconds for what takes a few


@pytest.mark.parametrize("interrupts", INTERRUPTS)
def test_neither_driver_nor_storhost_races(interrupts):
    result = hosting.run(SANITIZED, "run", LINKED, *SCENARIOS, "--interrupts", interrupts, "--seed", 1, timeout=DEADLINE)
    assert "ThreadSanitizer" not in result.stderr, result.stderr[:6000]
    assert result.stdout.count("PASS") == len(SCENARIOS) > 3, result.told


@pytest.mark.parametrize("kind", ("", "chk"))
@pytest.mark.parametrize("architecture", hosting.TARGETS)
def test_the_shipped_drivers_work_on_threads(architecture, kind):
    driver = hosting.STAGED / architecture / kind / "aero_virtio_blk.sys"
    for interrupts in INTERRUPTS:
        result = hosting.run(hosting.TARGETS[architecture].program, "run", driver, *SCENARIOS, "--interrupts", interrupts,
                             "--seed", 1, timeout=DEADLINE)
        assert result.stdout.count("PASS") == len(SCENARIOS), result.told
