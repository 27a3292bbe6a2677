# SPDX-License-Identifier: MIT OR Apache-2.0
"""The driver comes up on the layouts that it is meant for and refuses every other device, with its reason."""
import hosting
import pytest

READ_FIRST = "28 00 00 00 00 00 00 00 01 00"
SIZE = hosting.MIB

NO_LIST = "no PCI capability list"
BAD_POINTER = "pointer outside of its range"
ENDLESS = "does not end"
TOO_SHORT = "too short"
MISSING = "required virtio capability is missing"
UNUSABLE = "no usable memory BAR, or beyond its end"
NOT_CONTRACT = "not the contract's"

# What the configuration space alone says: refused before a register is touched.
UNTOUCHED = {
    "qemu-layout": NOT_CONTRACT,
    "device=0x1001": "not a modern virtio block device",
    "revision=0": "revision is not 1",
    "revision=2": "revision is not 1",
    "bar0-length=0x2000": UNUSABLE,
    "bar0-length=0x1000": UNUSABLE,
    "bar=2": NOT_CONTRACT,
    "multiplier=2": NOT_CONTRACT,
    "bar0-length=0x8000,notify=0x4000": NOT_CONTRACT,
    "isr-length=0x10": NOT_CONTRACT,
    "caps=no-list": NO_LIST,
    "caps=empty": NO_LIST,
    "caps=misaligned": BAD_POINTER,
    "caps=in-header": BAD_POINTER,
    "caps=loop": ENDLESS,
    "caps=self": ENDLESS,
    "caps=short-common": TOO_SHORT,
    "caps=short-notify": TOO_SHORT,
    "caps=past-end": TOO_SHORT,
    "caps=short-region": TOO_SHORT,
    "caps=missing-common": MISSING,
    "caps=missing-notify": MISSING,
    "caps=missing-isr": MISSING,
    "caps=missing-device": MISSING,
    "caps=reserved-bar": MISSING,
    "caps=absent-bar": UNUSABLE,
    "caps=beyond-bar": UNUSABLE,
    "caps=wrapping": UNUSABLE,
}

# What the driver learns from the registers.
ASKED = {
    "features=-version_1": "VIRTIO_F_VERSION_1",
    "queue-size=0": "no usable request queue",
    "queue-size=100": "no usable request queue",
    "num-queues=0": "no usable request queue",
    "registers=reset-stuck": "does not stop when it is reset",
    "registers=generation-unstable": "cannot be read",
    "registers=features-refused": "refused its features",
    "registers=vector-refused": "refused its features",
}


def assert_refused(command, reason):
    assert command.status == 1, command.told
    assert reason in command.error, command.told
    assert [reason in event for event in command.events] == [True], command.told
    assert "aero_virtio_blk.sys" in command.stderr and reason in command.stderr, command.told
    assert (command.findings, command.death) == (0, None), command.told
    assert (command.requests, command.doorbells) == (0, 0), command.told


def assert_up(command, image):
    assert (command.status, command.result, command.findings, command.events) == (0, "GOOD", 0, []), command.told
    assert command.answer == image.read_bytes()[:512], command.told


# An odd seed puts 64-bit BARs above 4 GiB.
@pytest.mark.parametrize("seed", [302, 303])
@pytest.mark.parametrize("build", ["shipped", "permissive"])
def test_the_contract_layout_comes_up(disk, target, build, seed):
    image = disk(SIZE, seed=1)
    assert_up(hosting.scsi(getattr(target, build), image, READ_FIRST, program=target.program, seed=seed), image)


@pytest.mark.parametrize("seed", [302, 303])
@pytest.mark.parametrize("build, keywords", [("permissive", {}), ("shipped", {"parameter": "layout=any"})])
@pytest.mark.parametrize("device", ["qemu-layout", "bar=2", "multiplier=2", "bar-kind=32,bar=5",
                                    "bar0-length=0x8000,notify=0x4000", "isr-length=0x10"])
def test_another_layout_comes_up_where_it_is_allowed(disk, target, build, keywords, device, seed):
    image = disk(SIZE, seed=2)
    assert_up(hosting.scsi(getattr(target, build), image, READ_FIRST, program=target.program, seed=seed, device=device,
                           **keywords), image)


def test_the_parameter_makes_the_permissive_build_strict(disk, target):
    words = {"program": target.program, "device": "qemu-layout", "parameter": "layout=contract"}
    assert_refused(hosting.scsi(target.permissive, disk(SIZE), READ_FIRST, **words), NOT_CONTRACT)


# A larger BAR, an unusable capability before the usable one and an unknown one are no reason to refuse.
@pytest.mark.parametrize("device", ["bar0-length=0x8000", "caps=duplicate", "caps=unknown-first", "bar-kind=32",
                                    "bar-kind=64-prefetch", "reset-reads=3", "msix-vectors=0,msi=2"])
def test_what_the_contract_leaves_open_is_accepted(scsi, disk, device):
    image = disk(SIZE, seed=3)
    interrupts = "msi:2" if "msi=2" in device else "msix:2"
    assert_up(scsi(image, READ_FIRST, device=device, interrupts=interrupts), image)


@pytest.mark.parametrize("device, reason", UNTOUCHED.items(), ids=UNTOUCHED)
def test_a_device_that_is_not_the_contracts_is_refused_and_not_touched(scsi, disk, device, reason):
    command = scsi(disk(SIZE), READ_FIRST, device=device)
    assert_refused(command, reason)
    assert (command.driver_mmio_reads, command.driver_mmio_writes) == (0, 0), command.told


@pytest.mark.parametrize("device, reason", ASKED.items(), ids=ASKED)
def test_a_device_whose_registers_do_not_do_is_refused(scsi, disk, device, reason):
    command = scsi(disk(SIZE), READ_FIRST, device=device)
    assert_refused(command, reason)
    assert command.driver_mmio_reads > 0, command.told


def test_a_refusal_is_the_servers_too(disk, tmp_path):
    result = hosting.storhost("nbd", hosting.DRIVER, *hosting.options(
        disk=disk(SIZE), socket=tmp_path / "s", device="caps=loop", seed=1))
    assert result.returncode == 1 and ENDLESS in result.stderr, result.told
    assert not (tmp_path / "s").exists(), result.told
