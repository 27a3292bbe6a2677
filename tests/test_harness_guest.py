# SPDX-License-Identifier: MIT OR Apache-2.0
"""The host harness on the small guest, where storhost hosts the shipped driver on QEMU's own disk through VFIO."""
import functools
import sys

import hosting
import pytest
from harness import H, run

sys.path.insert(0, str(hosting.REPOSITORY / "tools"))
import guest  # noqa: E402  (tools/)

DEADLINE = 180  # seconds for what takes ten


@functools.cache
def image():
    return guest.build()


@pytest.fixture
def boot(tmp_path):
    """Boots it with settings of its own: boot("aero.run=fail", "--with-blk-reset") is the harness's Result."""
    def go(settings, *arguments):
        _, *words = guest.harness_words(image(), settings, "--boot-timeout", DEADLINE - 30, *arguments)
        return run(tmp_path / "out", *words, deadline=DEADLINE)
    return go


def test_the_driver_passes_on_qemus_disk_with_msix_a_resize_and_a_reset(boot):
    result = boot("aero.build=chk aero.resize=1 aero.reset=1", "--qemu-preflight-pci", "--require-virtio-blk-msix",
                  "--with-blk-resize", "--with-blk-reset", "--virtio-blk-vectors", 2)
    assert result.status == 0 and not result.errors, result.told
    host = result.host
    assert {name: verdict for name, (verdict, _) in host.items()} == {
        "QEMU_PREFLIGHT_PCI": "PASS", "VIRTIO_BLK_IRQ": "PASS", "VIRTIO_BLK_MSIX": "PASS",
        "VIRTIO_BLK_COUNTERS": "INFO", "VIRTIO_BLK_RESIZE": "PASS", "VIRTIO_BLK_RESET": "PASS", "RESULT": "PASS"}
    assert host["VIRTIO_BLK_MSIX"][1]["host_enabled"] == "1" and host["VIRTIO_BLK_MSIX"][1]["mode"] == "msix"
    assert host["VIRTIO_BLK_RESIZE"][1]["new_bytes"] == str(128 * hosting.MIB)
    assert set(result.cases.values()) == {"passed"}


def test_the_strict_layout_fails_on_qemus_disk_and_is_explained(boot):
    result = boot("aero.layout=contract", "--qemu-preflight-pci")
    assert result.status == 1 and "registers in BAR4" in result.errors and "layout=any" in result.errors, result.told
    assert result.host["QEMU_PREFLIGHT_PCI"][1]["layout"] == "bar4" and result.cases["guest.virtio-blk"] == "failure"


@pytest.mark.parametrize("end, arguments, status, said", [
    ("fail", ["--require-virtio-blk-msix"], 1, "VIRTIO_BLK_MSIX: msix_off"),
    ("hang", ["--test-timeout", 2], 3, "the selftest's result did not come within 2 s"),
    ("crash", [], 4, "the machine ended (guest-reset) before the selftest's result")],
    ids=["fails", "hangs", "crashes"])
def test_a_small_guest_that_fails_hangs_or_crashes_is_told(boot, end, arguments, status, said):
    result = boot(f"aero.run={end}", *arguments)
    assert result.status == status and said in result.errors, result.told
    assert f"\n{H}RESULT|FAIL" in result.out
    assert result.cases["host.run"] == ("failure" if status == 1 else "error")
