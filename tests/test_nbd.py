# SPDX-License-Identifier: MIT OR Apache-2.0
"""The NBD server as an NBD client meets it: size, flush, forced unit access, parallel requests, errors."""
import errno
import json
import random
import time

import hosting
import nbd
import pytest

SIZE = 8 * hosting.MIB
BLOCK = 4096
CONNECTIONS = 4


def finish_all(handles, done, count):
    """Polls until `done` has so many entries."""
    end = time.monotonic() + hosting.DEADLINE
    while len(done) < count:
        assert time.monotonic() < end, f"{len(done)} of {count} requests came back"
        for handle in handles:
            handle.poll(1)


def read_in_parallel(handles, count, length=BLOCK):
    """
    Sends `count` reads at once, from the start of the disk on, and from there again where it ends. Returns the buffers
    in the order of the reads, and the order of the answers.
    """
    done = []
    buffers = [nbd.Buffer(length) for _ in range(count)]

    def answered(number, error):
        assert error == 0, f"read {number}: errno {error}"
        done.append(number)
        return 1

    for number, buffer in enumerate(buffers):
        handles[number % len(handles)].aio_pread(
            buffer, number * length % SIZE, completion=lambda error, number=number: answered(number, error.value))
    finish_all(handles, done, count)
    return buffers, done


def test_the_server_says_what_the_disk_is(server, disk):
    with server(disk(SIZE + 512), seed=601) as s:
        client = s.connect()
        assert client.get_size() == SIZE + 512
        assert client.can_flush() and client.can_fua() and client.can_multi_conn() and not client.is_read_only()
        assert client.get_block_size(nbd.SIZE_MINIMUM) == 512


def test_nbdinfo_says_what_the_disk_is(server, disk):
    with server(disk(SIZE), seed=612) as s:
        (export,) = json.loads(hosting.run("nbdinfo", "--json", s.uri).stdout)["exports"]
        assert hosting.run("nbdinfo", "--size", s.uri).stdout == f"{SIZE}\n"
        for question, status in ((["--can", "flush"], 0), (["--can", "fua"], 0), (["--can", "multi-conn"], 0),
                                 (["--can", "trim"], 2), (["--is", "read-only"], 2)):
            assert hosting.run("nbdinfo", *question, s.uri).returncode == status, question
    assert (export["export-size"], export["is_read_only"], export["block_size_minimum"]) == (SIZE, False, 512)


@pytest.mark.parametrize("cpus, threads", [(1, 0), (4, 1)])
def test_nbdkits_checkwrite_finds_every_byte_where_it_was_written(server, disk, cpus, threads):
    """Its filter reads what a client writes, and fails a write that does not say what is there; zeroes and trims too."""
    image = disk(SIZE, seed=16)
    copy, other = disk(SIZE, name="copy.img"), disk(SIZE, seed=17, name="other.img")
    with server(copy, seed=613, cpus=cpus, threads=threads) as s:
        assert hosting.run("nbdcopy", "--connections=4", "--requests=32", image, s.uri).returncode == 0, s.told
        for source, status in ((image, 0), (other, 1)):
            checked = hosting.run("nbdkit", "-U", "-", "--filter=checkwrite", "nbd", f"uri={s.uri}", "shared=true", "--run",
                                  f'nbdcopy --connections=4 "{source}" "$uri"')
            assert (checked.returncode != 0) == status, checked.told + s.told
    assert hosting.first_difference(image, copy) is None


def test_a_read_only_disk_is_served_read_only(server, disk):
    with server(disk(SIZE), seed=602, device="read-only=1") as s:
        assert s.connect().is_read_only()


@pytest.mark.parametrize("threads", [0, 1])
def test_each_flush_and_each_forced_write_flushes_the_device(server, disk, threads):
    image = disk(SIZE, seed=12)
    flushes = []
    for count in (0, 3):
        with server(image, seed=603, threads=threads) as s:
            client = s.connect()
            for number in range(count):
                client.pwrite(bytes([number + 1]) * BLOCK, number * BLOCK, nbd.CMD_FLAG_FUA)
                client.pwrite(bytes([number + 1]) * 512, SIZE - 512)
                client.flush()
        flushes.append(s.report["flushes"])
    assert flushes[1] - flushes[0] == 6, s.told
    contents = image.read_bytes()
    assert contents[:3 * BLOCK] == b"".join(bytes([number + 1]) * BLOCK for number in range(3))
    assert contents[-512:] == bytes([3]) * 512


def test_a_request_longer_than_the_drivers_limit_is_cut_and_whole(server, disk):
    image = disk(SIZE, seed=13)
    with server(image, seed=604) as s:
        assert bytes(s.connect().pread(SIZE, 0)) == image.read_bytes()
    assert s.report["max_transfer"] < SIZE and s.report["bytes_read"] == SIZE, s.told


@pytest.mark.parametrize("cpus, threads", [(1, 0), (4, 0), (4, 1)])
def test_parallel_reads_return_their_own_blocks(server, disk, cpus, threads):
    image = disk(SIZE, seed=14)
    with server(image, seed=605, cpus=cpus, threads=threads, device="reorder=1,outstanding=64") as s:
        buffers, order = read_in_parallel([s.connect() for _ in range(CONNECTIONS)], 512)
        assert sorted(order) == list(range(512)) and order != sorted(order), "nothing was ever out of order"
        assert b"".join(buffer.to_bytearray() for buffer in buffers) == image.read_bytes()[:512 * BLOCK]


def count_srbs(server, image, seed, device):
    with server(image, seed=seed, device=device) as s:
        read_in_parallel([s.connect() for _ in range(CONNECTIONS)], 512, length=256 << 10)
    return s.report["srbs"], s.report


def test_parallel_requests_fill_the_drivers_queue(server, disk):
    """
    The device keeps everything after its 200th answer until it is reset. The port then sends again what the driver had:
    so many more SRBs, and the one that resets, than in a run without the stall. That the queue is full just then is up
    to Linux's scheduler, so there are several attempts.
    """
    image = disk(SIZE)
    usual, report = count_srbs(server, image, 606, "fault=none")
    assert report["timeouts"] == 0 and report["queue_depth"] == 128
    held = []
    while 128 not in held and len(held) < 10:
        srbs, report = count_srbs(server, image, 606, "fault=stall,fault-after=200")
        assert report["timeouts"] == 1
        held.append(srbs - usual - 1)
    assert max(held) == 128, held


@pytest.mark.parametrize("threads", [0, 1])
def test_random_writes_in_parallel_all_arrive(server, disk, threads):
    image = disk(SIZE)
    generator = random.Random(607)
    blocks = generator.sample(range(SIZE // BLOCK), 1024)
    expected = bytearray(SIZE)
    buffers, done = [], []
    with server(image, seed=608, cpus=4, threads=threads) as s:
        handles = [s.connect() for _ in range(CONNECTIONS)]
        for number, block in enumerate(blocks):
            data = generator.randbytes(BLOCK)
            expected[block * BLOCK:(block + 1) * BLOCK] = data
            buffers.append(nbd.Buffer.from_bytearray(bytearray(data)))
            handles[number % CONNECTIONS].aio_pwrite(buffers[-1], block * BLOCK,
                                                     completion=lambda error: done.append(error.value) or 1)
        finish_all(handles, done, len(blocks))
        assert not any(done), done
    assert image.read_bytes() == expected


def test_an_error_of_the_device_reaches_the_client_alone(server, disk):
    image = disk(SIZE, seed=15)
    with server(image, seed=609, device="fault=io-error,fault-after=5") as s:
        client = s.connect()
        results = []
        for number in range(20):
            try:
                results.append(bytes(client.pread(BLOCK, number * BLOCK)))
            except nbd.Error as error:
                results.append(error.errnum)
        contents = image.read_bytes()
        wrong = [number for number, result in enumerate(results)
                 if result != contents[number * BLOCK:(number + 1) * BLOCK]]
        assert [results[number] for number in wrong] == [errno.EIO], f"reads {wrong} went wrong"


def test_a_server_can_be_started_again_at_its_socket(disk, tmp_path):
    image = disk(SIZE)
    with hosting.serve(hosting.DRIVER, image, tmp_path, seed=610) as s:
        s.connect().pwrite(b"x" * BLOCK, 0)
    with hosting.serve(hosting.DRIVER, image, tmp_path, seed=611) as s:
        assert bytes(s.connect().pread(BLOCK, 0)) == b"x" * BLOCK
    assert not s.socket.exists(), "the server left its socket"
