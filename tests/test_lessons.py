# SPDX-License-Identifier: MIT OR Apache-2.0
"""What drivers of such disks have got wrong and a single scenario cannot show: docs/testing.md says what each is about."""
import re

import hosting
import pytest

CHANGED = "sense 06/2a/09"


def run(target, scenarios, **keywords):
    return hosting.run(target.program, "run", target.shipped, *scenarios, *hosting.options(seed=1, **keywords), timeout=300)


# ---- a change of capacity at any moment of a start ----

START = "disk 4M\nstart\nadvance 1\n"
RESTARTS = {"sleep": "sleep\nwake lost\nadvance 1\n", "rebalance": "rebalance\nadvance 1\n"}
COUNT = "expect driver_mmio_reads > 0\nexpect driver_mmio_writes > 0\n"
IS_GROWN = f"""scsi 00 00 00 00 00 00 -> good
scsi 25 00 00 00 00 00 00 00 00 00 in 8 -> good 8
be32 0 {5 * hosting.MIB // 512 - 1}
read 0 64
"""


def accesses(target, directory, interrupts, restart):
    """Register accesses until the disk has started, and until it has started again."""
    path = directory / "quiet.scn"
    path.write_text(f"# Nothing changes\n{START}{COUNT}{restart}{COUNT}")
    result = run(target, [path, "--verbose"], interrupts=interrupts)
    numbers = [int(number) for number in re.findall(r"driver_mmio_\w+ is (\d+)", result.stdout)]
    assert result.returncode == 0 and len(numbers) == 4, result.told
    return sum(numbers[:2]), sum(numbers[2:])


@pytest.mark.parametrize("interrupts", ["intx", "msix:1", "msix:2"])
@pytest.mark.parametrize("restart", RESTARTS)
def test_no_change_of_capacity_during_a_start_is_lost(target, tmp_path, interrupts, restart):
    restart = RESTARTS[restart]
    started, woken = accesses(target, tmp_path, interrupts, restart)
    assert 30 < started < woken
    paths = [tmp_path / f"{access}.scn" for access in range(1, woken + 1)]
    for access, path in enumerate(paths, 1):
        first = access <= started
        told = f"scsi 00 00 00 00 00 00 -> {CHANGED}{' or good' if first else ''}\n"
        path.write_text(f"# The disk grows before access {access}\ndevice grow-at={access}\n{START}"
                        f"{'' if first else restart}{told}{IS_GROWN}")
    result = run(target, paths, interrupts=interrupts)
    assert result.returncode == 0 and result.stdout.count("PASS") == woken, result.told


# ---- two disks ----

def page_83(target, image, **keywords):
    command = hosting.scsi(target.shipped, image, "12 01 83 00 ff 00", program=target.program, **keywords)
    assert (command.status, command.findings) == (0, 0), command.told
    return command.answer


def test_two_disks_are_never_alike(target, disk):
    image = disk(hosting.MIB)
    disks = [{"device": "serial=A"}, {"device": "serial=B"}, {"device": "serial=A", "slot": 4}, {}, {"slot": 4},
             {"slot": 31}, {"device": "serial=A,get-id=fails", "slot": 5}]
    pages = [page_83(target, image, **keywords) for keywords in disks]
    assert pages[0] == pages[2], "the serial number goes where the disk goes"
    del pages[2]
    assert len(set(pages)) == len(pages), pages


# ---- what is in the image and what is not ----

@pytest.mark.parametrize("kind", ["", "chk"])
def test_no_function_needs_a_kilobyte_of_stack(target, kind):
    image = target.shipped.parent / kind / target.shipped.name
    listing = hosting.run("llvm-objdump-19", "-d", image)
    frames = [int(size, 0) for size in re.findall(r"\bsub[lq]\s+\$(0x[0-9a-f]+|\d+), %[re]sp", listing.stdout)]
    assert listing.returncode == 0 and len(frames) > 10, listing.told
    assert max(frames) < 1024, listing.told


def test_no_clock_is_asked_for(target):
    result = hosting.run(target.program, "imports", target.shipped)
    assert result.returncode == 0, result.told
    names = set(re.findall(r"\b(?:StorPort|Ke|Rtl|Ex|Hal)\w+", result.stdout))
    assert "StorPortNotification" in names, result.told
    assert not [name for name in names if re.search(r"Time|Tick|Clock|PerformanceCounter", name)], result.told
