# SPDX-License-Identifier: MIT OR Apache-2.0
"""QEMU's block layer as a client of the driver's disk: qemu-io's patterns, and qemu-img's copies and benchmark."""
import json

import hosting
import pytest

SIZE = 64 * hosting.MIB


def qemu_io(server, *commands):
    """Runs the commands one after the other; a pattern that is not there is a failure, as is an error."""
    words = [word for command in commands for word in ("-c", command)]
    result = hosting.run("qemu-io", "-f", "raw", "-t", "none", *words, server.uri)
    assert result.returncode == 0 and "verification failed" not in result.stdout, result.told + server.told
    return result.stdout


@pytest.mark.parametrize("cpus, threads", [(1, 0), (4, 1)])
def test_qemu_io_finds_its_patterns_where_it_wrote_them(server, disk, cpus, threads):
    """Aligned and not, longer than the driver's limit, forced, vectored, at both ends; each neighbour is left alone."""
    image = disk(SIZE)
    last = SIZE - 512
    with server(image, seed=701, cpus=cpus, threads=threads) as nbd:
        qemu_io(nbd,
                "write -P 0x11 0 64k", "write -P 0x22 65636 1000", "write -f -P 0x33 1M 3M",
                "writev -P 0x44 8M 4k 512 60k 1M", f"write -P 0x55 {last} 512", "flush",
                "read -P 0x11 0 64k", "read -P 0 65536 100", "read -P 0x22 65636 1000", "read -P 0 66636 1000",
                "read -P 0x33 1M 3M", "read -P 0 4M 4M", "readv -P 0x44 8M 512 4k 1M 60k", f"read -P 0x55 {last} 512",
                f"read -P 0 16M {last - (16 << 20)}")
    contents = image.read_bytes()
    assert contents[:65536] == b"\x11" * 65536 and contents[65636:66636] == b"\x22" * 1000
    assert contents.count(0x33) == 3 << 20 and contents[last:] == b"\x55" * 512
    assert nbd.report["max_transfer"] < 3 << 20


def test_qemu_io_keeps_many_requests_in_flight(server, disk):
    with server(disk(SIZE), seed=702, cpus=2, device="reorder=1,outstanding=64") as nbd:
        qemu_io(nbd, *(f"aio_write -P {n + 1} {n * 96}k 96k" for n in range(64)), "aio_flush",
                *(f"aio_read -P {n + 1} {n * 96}k 96k" for n in range(64)), "aio_flush")
    assert nbd.report["doorbells"] < nbd.report["requests"], nbd.told


def test_zeroes_that_qemu_io_asks_for_are_written_and_a_discard_changes_nothing(server, disk):
    """`storhost nbd` offers neither of its own: nbdkit writes the zeroes, and QEMU forgets the discard."""
    with server(disk(SIZE, seed=21), seed=703) as nbd:
        assert hosting.run("nbdinfo", "--can", "trim", nbd.uri).returncode == 2
        qemu_io(nbd, "write -P 0x77 0 2M", "write -z 512k 1M", "discard 1536k 512k", "flush",
                "read -P 0x77 0 512k", "read -P 0 512k 1M", "read -P 0x77 1536k 512k")
    assert (nbd.report["discards"], nbd.report["zeroes"]) == (0, 0)


def test_an_error_of_the_device_is_qemu_ios(server, disk):
    with server(disk(SIZE), seed=704, device="fault=io-error,fault-after=5") as nbd:
        reads = [word for n in range(8) for word in ("-c", f"read {n * 64}k 4k")]
        result = hosting.run("qemu-io", "-f", "raw", "-t", "none", *reads, nbd.uri)
        assert result.stdout.count("read failed: Input/output error") == 1, result.told + nbd.told


def test_qemu_img_copies_in_and_out_and_finds_them_equal(server, disk, tmp_path):
    source, back = disk(SIZE, seed=22, name="source.img"), tmp_path / "back.img"
    with server(disk(SIZE), seed=705, cpus=2) as nbd:
        info = json.loads(hosting.run("qemu-img", "info", "--output=json", nbd.uri).stdout)
        assert info["virtual-size"] == SIZE
        for command in (["convert", "-n", "-f", "raw", "-O", "raw", "-m", "16", "-W", source, nbd.uri],
                        ["compare", "-f", "raw", "-F", "raw", source, nbd.uri],
                        ["convert", "-f", "raw", "-O", "raw", "-m", "16", nbd.uri, back],
                        ["bench", "-f", "raw", "-t", "none", "-c", "2000", "-d", "32", "-s", "4096", "-w", nbd.uri]):
            result = hosting.run("qemu-img", *command)
            assert result.returncode == 0, result.told + nbd.told
    assert hosting.first_difference(source, back) is None
    back.unlink()
