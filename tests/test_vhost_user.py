# SPDX-License-Identifier: MIT OR Apache-2.0
"""The driver on block devices that qemu-storage-daemon serves over vhost-user: scenarios, fio, nbdcopy, and its death."""
import collections
import functools
import json
import random
import re
import threading
import time

import hosting
import pytest
import storage_daemon

SCENARIOS = sorted((hosting.REPOSITORY / "storhost" / "tests" / "scenarios").glob("*.scn"))
SIZE = 64 * hosting.MIB  # of a scenario's disk, if it says nothing
SUITE_DEADLINE = 600
UNITS = {"K": 10, "M": 20, "G": 30, "T": 40}

# Scenarios that storhost itself skips on this device, by what they ask for: (its reason, why that is so).
INAPPLICABLE = [
    (r"cannot be told '.*fault=(?!none)", "a daemon does nothing wrong by request"),
    (r"cannot be told to live through", "the same, by chance"),
    (r"cannot be told '.*volatile=", "power that is lost does not take a daemon's cache with it"),
    (r"cannot be told '.*serial=", "the serial number is the export's"),
    (r"cannot be told '.*no-interrupt=ignored", "a daemon honours NO_INTERRUPT"),
    (r"cannot be told '.*num-queues=", "one queue is presented"),
    (r"cannot be asked for that number", "bytes and flushes are counted in the daemon"),
    (r"cannot be resized from here", "QEMU 7.2's export keeps the size that it began with"),
    (r"the back end has (seg-max|size-max|blk-size|alignment|\w+-seg|zeroes-may-unmap)=", "its limits are fixed"),
    (r"and not of 33555968", "its disks are whole blocks"),
    (r"the driver is no \w+ build", "it is for other builds"),
]

# Scenarios that take the contract device for granted, and fail for that reason.
OTHER_DEVICE = {
    "test-the-diagnostic-query-counts": "it says exactly which features the contract offers",
    "test-platform-features-are-accepted": "likewise",
    "test-a-chosen-cache-mode-outlives-resets-and-sleep": "it takes a cache for on at first, and the export's is off",
    "test-a-disk-says-what-it-is": "likewise",
    "test-a-shared-message-is-asked-by-batch": "how many requests are returned at once is the daemon's affair",
    "test-few-doorbells-for-many-requests": "likewise",
    "test-a-dump-needs-no-interrupt": "with EVENT_IDX libvhost-user always tells of the first request",
}


def arguments(path, verb):
    return [line.split()[1:] for line in path.read_text(encoding="ascii").splitlines() if line.split()[:1] == [verb]]


def profile(path):
    """What the daemon's disk must be for a scenario: bytes, block size, and whether it can be written."""
    size = arguments(path, "disk")
    number, unit = re.fullmatch(r"(\d+)([KMGT]?)", size[0][0] if size else str(SIZE)).groups()
    device = ",".join(words[0] for words in arguments(path, "device"))
    block = re.search(r"blk-size=(\d+)", device)
    block = int(block[1]) if block and block[1] in ("512", "4096") else 512
    return int(number) << UNITS.get(unit, 0), block, "read-only=1" in device


@functools.cache
def groups():
    found = collections.defaultdict(list)
    for path in SCENARIOS:
        if path.stem not in OTHER_DEVICE:
            found[profile(path)].append(path)
    return found


def run_group(target, interrupts, directory, key, paths):
    size, block, read_only = key
    image = hosting.make_disk(directory / "disk.img", size)
    with storage_daemon.serve(directory, storage_daemon.file(image, discard="unmap"), **{
            "logical-block-size": block, "writable": "off" if read_only else "on"}) as daemon:
        result = hosting.run(target.program, "run", target.shipped, *paths, "--interrupts", interrupts, "--seed", 1,
                             "--json", "--device", daemon.device, timeout=SUITE_DEADLINE)
    image.unlink()
    return json.loads(result.stdout)


def is_excused(outcome):
    return any(re.search(reason, outcome["reason"]) for reason, _ in INAPPLICABLE)


@pytest.mark.parametrize("architecture, interrupts",
                         [(architecture, interrupts) for architecture in hosting.TARGETS
                          for interrupts in ("msix:2", "intx")])
def test_every_scenario_that_a_daemon_can_take_part_in_passes(architecture, interrupts, tmp_path):
    passed, wrong = 0, []
    for key, paths in groups().items():
        for outcome in run_group(hosting.TARGETS[architecture], interrupts, tmp_path, key, paths):
            passed += outcome["verdict"] == "PASS"
            if outcome["verdict"] == "FAIL" or (outcome["verdict"] == "SKIP" and not is_excused(outcome)):
                wrong.append(f"{outcome['file']}: {outcome['reason']}")
    assert not wrong, "\n".join(wrong)
    assert passed >= 45


def fio(uri, output, size, *words):
    result = hosting.run("fio", "--name=mixed", "--ioengine=nbd", f"--uri={uri}", "--thread", f"--size={size}",
                         "--rw=randrw", "--bsrange=4k-128k", "--iodepth=32", "--randseed=5", "--output-format=json",
                         f"--output={output}", *words, timeout=300)
    text = output.read_text()
    (job,) = json.loads(text[text.index("{"):])["jobs"]
    return result, job


VERIFY = ("--verify=crc32c", "--verify_fatal=1", "--verify_dump=0", "--verify_state_save=0")


@pytest.mark.parametrize("threads", [0, 1])
@pytest.mark.parametrize("kind", ["file", "qcow2", "null"])
def test_fio_runs_on_it(server, disk, tmp_path, kind, threads):
    image, verify = disk(SIZE), VERIFY
    blockdevs = (storage_daemon.file(image),)
    if kind == "qcow2":
        made = hosting.run("qemu-img", "create", "-q", "-f", "qcow2", image, str(SIZE))
        assert made.returncode == 0, made.told
        blockdevs = storage_daemon.qcow2(image)
    if kind == "null":  # keeps nothing
        blockdevs, verify = (storage_daemon.null(SIZE),), ()
    with storage_daemon.serve(tmp_path, *blockdevs) as daemon:
        with server(None, device=daemon.device, interrupts="msix:2", cpus=2, threads=threads, seed=921) as nbd:
            result, job = fio(nbd.uri, tmp_path / "fio.json", SIZE, *verify)
    assert result.returncode == 0 and job["error"] == 0, result.told + nbd.told
    assert job["write"]["io_bytes"] > SIZE * 0.4 and nbd.report["requests"] > 0, result.told
    assert nbd.report["timeouts"] == nbd.report["resets"] == 0, nbd.told


@pytest.mark.parametrize("interrupts, threads", [("msix:2", 0), ("intx", 1)])
def test_a_copy_through_it_is_bit_identical(server, disk, tmp_path, random_image, interrupts, threads):
    image = disk(random_image.stat().st_size)
    back = disk(0, name="back.img")
    with storage_daemon.serve(tmp_path, storage_daemon.file(image)) as daemon:
        with server(None, device=daemon.device, interrupts=interrupts, cpus=2, threads=threads, seed=931) as nbd:
            for source, target in ((random_image, nbd.uri), (nbd.uri, back)):
                copied = hosting.run("nbdcopy", "--flush", source, target)
                assert copied.returncode == 0, copied.told + nbd.told
    assert hosting.first_difference(random_image, image) is None, nbd.told
    assert hosting.first_difference(random_image, back) is None, nbd.told


class Killer(threading.Thread):
    """Kills and restarts the daemon at chance moments until told to stop."""

    def __init__(self, daemon, seed):
        super().__init__()
        self.victim, self.random, self.over, self.deaths = daemon, random.Random(seed), threading.Event(), 0

    def run(self):
        while not self.over.wait(self.random.uniform(0.05, 0.3)):
            self.victim.kill()
            self.deaths += 1
            time.sleep(self.random.uniform(0, 0.2))
            self.victim.start()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()


@pytest.mark.parametrize("interrupts, threads", [("msix:2", 0), ("intx", 0), ("msix:2", 1)])
def test_a_daemon_killed_and_restarted_under_load_costs_nothing(server, disk, tmp_path, interrupts, threads):
    image = disk(2 * SIZE)
    with storage_daemon.serve(tmp_path, storage_daemon.file(image)) as daemon:
        with server(None, device=daemon.device, interrupts=interrupts, threads=threads, cpus=2, seed=901) as nbd:
            with Killer(daemon, 902) as killer:
                result, job = fio(nbd.uri, tmp_path / "fio.json", 2 * SIZE, *VERIFY)
    assert result.returncode == 0 and job["error"] == 0, result.told + nbd.told + daemon.told
    assert job["write"]["io_bytes"] > 2 * SIZE * 0.4, result.told
    assert killer.deaths > 1, result.told
    assert any("asked for a reset" in event for event in nbd.report["events"]), nbd.told
