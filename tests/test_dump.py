# SPDX-License-Identifier: MIT OR Apache-2.0
"""Dumps after a crash at any moment, on devices of every kind, and for either reading of what sources leave open."""
import hosting
import pytest

SCENARIOS = hosting.REPOSITORY / "storhost" / "tests" / "scenarios"
WRITTEN = sorted(path for path in SCENARIOS.glob("*.scn")
                 if any(line.split()[:1] == ["crash"] or line.split()[:2] == ["hibernate", "write"]
                        for line in path.read_text().splitlines()))

# Bits of the seed: HwStartIo whatever HwBuildIo returned, one list element, HwMSInterruptRoutine, the control types.
READINGS = (32 | 128, 64 | 256, 480)

BUILDS = {"x64-fre": ("x64", ""), "x64-chk": ("x64", "chk"), "x86-fre": ("x86", ""), "x86-chk": ("x86", "chk")}

DEVICES = (
    "queue-size=2", "queue-size=4", "queue-size=8", "queue-size=64", "queue-size=256", "queue-size=1024",
    "queue-size=2,features=-indirect", "queue-size=8,features=-indirect", "queue-size=1024,features=-indirect",
    "features=-indirect", "features=+event_idx", "features=-flush", "blk-size=4096",
    "blk-size=4096,queue-size=2,features=-indirect", "seg-max=1", "seg-max=2,size-max=4096,features=+size_max",
    "reset-reads=60", "suppress-doorbells=0,no-interrupt=ignored", "reorder=1,batch=3,outstanding=4", "qemu-layout",
)

DUMP = """crash after {steps}
dump 256 {size}
write 256 8 fua
flush
function 0x08
function 0x07
read 256 8
expect dump_timeouts == 0
expect dump_memory <= 8192
reboot
start
read 256 8
load 40"""


def storhost_run(build, *arguments):
    architecture, kind = BUILDS[build]
    driver = hosting.STAGED / architecture / kind / "aero_virtio_blk.sys"
    return hosting.run(hosting.TARGETS[architecture].program, "run", driver, *arguments, timeout=300)


def judge(result, count):
    assert result.returncode == 0, result.told
    assert result.stdout.count("PASS ") == count, result.told


def write(path, claim, *steps):
    path.write_text("\n".join([f"# {claim}", *steps, ""]))
    return path


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("interrupts", ["intx", "msix:2"])
def test_every_device_that_the_live_image_takes_is_dumped_to(build, interrupts, tmp_path):
    paths = [write(tmp_path / f"{number}.scn", f"{device} is dumped to", f"device {device}", "option parameter layout=any",
                   "start", "load 100 within 1024 retry background", "wait 20", DUMP.format(steps=61 + number, size="512K"))
             for number, device in enumerate(DEVICES)]
    judge(storhost_run(build, *paths, "--interrupts", interrupts, "--seed", 21), len(DEVICES))


@pytest.mark.parametrize("build", ["x64-chk", "x86-chk"])
def test_a_crash_at_any_moment_is_dumped(build, tmp_path):
    moments = range(1, 600, 23)
    paths = [write(tmp_path / f"{steps}.scn", f"A crash after {steps} steps is dumped", "option cpus 3",
                   "device reset-reads=20", "start", "load 200 within 1024 retry background", "wait 3",
                   "submit one reset unit", DUMP.format(steps=steps, size="256K")) for steps in moments]
    judge(storhost_run(build, *paths, "--interrupts", "msix:1", "--seed", 22), len(moments))


@pytest.mark.parametrize("build", ["x64-fre", "x86-chk"])
@pytest.mark.parametrize("seed", READINGS)
def test_dumps_hold_for_either_reading(build, seed):
    assert len(WRITTEN) > 10
    judge(storhost_run(build, *WRITTEN, "--interrupts", "msix:2", "--seed", seed), len(WRITTEN))


def test_a_machine_of_threads_says_that_it_cannot_crash(tmp_path):
    path = write(tmp_path / "threads.scn", "It crashes", "option threads 1", "start", "crash")
    result = storhost_run("x64-fre", path)
    assert "a machine of threads does not stop: crash and hibernate it without threads" in result.stdout, result.told
