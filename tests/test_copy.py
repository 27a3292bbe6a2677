# SPDX-License-Identifier: MIT OR Apache-2.0
"""What nbdcopy writes through the driver lies on the medium bit for bit, and is read back as it was written."""
import hosting
import pytest

MESSAGES = {"intx": 0, "msix:1": 1, "msix:2": 2}
MACHINES = [(interrupts, cpus, 0) for interrupts in MESSAGES for cpus in (1, 4)] + [("msix:2", 4, 1)]
SEEDS = dict(zip(MACHINES, range(101, 200)))


@pytest.mark.parametrize("interrupts, cpus, threads", MACHINES)
def test_a_copy_in_and_out_is_bit_identical(server, disk, random_image, tmp_path, interrupts, cpus, threads):
    size = random_image.stat().st_size
    medium = disk(size)
    back = disk(0, name="back.img")
    with server(medium, interrupts=interrupts, cpus=cpus, threads=threads,
                seed=SEEDS[interrupts, cpus, threads]) as nbd:
        copied = hosting.run("nbdcopy", "--flush", random_image, nbd.uri)
        assert copied.returncode == 0, copied.told + nbd.told
        assert hosting.first_difference(random_image, medium) is None, nbd.told
        copied = hosting.run("nbdcopy", nbd.uri, back)
        assert copied.returncode == 0, copied.told + nbd.told
    assert hosting.first_difference(random_image, back) is None, nbd.told
    report = nbd.report
    assert (report["bytes_written"], report["bytes_read"]) == (size, size), nbd.told
    assert 0 < report["doorbells"] <= report["requests"], nbd.told
    assert report["interrupts"] > 0 and report["interrupts_served"] > 0, nbd.told
    assert report["messages"] == MESSAGES[interrupts], nbd.told
