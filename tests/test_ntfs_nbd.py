# SPDX-License-Identifier: MIT OR Apache-2.0
"""ntfs-nbd, the client of `make run`, alone: over nbdkit's own plugins, without the driver."""
import hashlib
import os
import random
import re
import subprocess

import hosting
import pytest

CLIENT = hosting.OUT / "bin" / "ntfs-nbd"
NTFS_TOOLS = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
SIZES = (0, 1, 511, 512, 513, 700, 800, 1023, 4095, 4096, 4097, 65535, 65537, (1 << 20) - 1, 1 << 20, 3 * (1 << 20) + 7)


@pytest.fixture
def volume(tmp_path):
    """Makes an empty NTFS volume: volume(bytes, cluster=bytes)."""
    image = tmp_path / "ntfs.img"

    def make(size=32 * hosting.MIB, cluster=4096):
        hosting.make_disk(image, size)
        subprocess.run(["mkntfs", "-F", "-Q", "-q", "-c", str(cluster), image], env=NTFS_TOOLS, check=True,
                       capture_output=True)
        return image
    yield make
    image.unlink(missing_ok=True)


def over_nbd(image, command, *arguments, filters=(), parameters=(), readonly=False):
    """`ntfs-nbd COMMAND URI ARGUMENTS` with nbdkit serving the image. Late, timeout(1) ends both."""
    return hosting.run("timeout", hosting.DEADLINE // 2, "nbdkit", "--log=null", *["--readonly"] * readonly,
                       "--unix", "-", *(f"--filter={name}" for name in filters), "file", image, *parameters,
                       "--run", f'exec {CLIENT} {command} "$uri" {" ".join(str(word) for word in arguments)}')


def make_tree(root):
    """Files of awkward sizes and names, and a directory that needs an index of several blocks."""
    generator = random.Random(3)
    contents = {f"sizes/{size}": generator.randbytes(size) for size in SIZES}
    contents |= {f"many/entry number {i}": b"%d" % i for i in range(400)}
    contents |= {"a/b/c/d/e/ünï ☃ 𝄞.txt": b"deep", "x" * 255: b"long"}
    for name, data in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (root / "empty").mkdir()
    return contents


def expected_sums(contents):
    names = sorted(contents, key=os.fsencode)
    return "".join(f"{hashlib.sha256(contents[name]).hexdigest()}  {name}\n" for name in names)


@pytest.mark.parametrize("block, cluster", [(512, 4096), (4096, 4096), (4096, 512)])
def test_a_tree_comes_back_over_a_server_that_takes_whole_blocks_only(volume, tmp_path, block, cluster):
    contents = make_tree(tmp_path / "tree")
    image = volume(cluster=cluster)
    policy = {"filters": ["blocksize-policy"],
              "parameters": [f"blocksize-minimum={block}", "blocksize-error-policy=error"]}
    put = over_nbd(image, "put", tmp_path / "tree", **policy)
    assert (put.returncode, put.stderr) == (0, ""), put.told
    assert put.stdout == f"{len(contents)} files, {sum(map(len, contents.values()))} bytes\n"
    summed = over_nbd(image, "sum", **policy)
    assert (summed.returncode, summed.stdout) == (0, expected_sums(contents)), summed.told
    subprocess.run(["ntfsresize", "--info", "--force", image], env=NTFS_TOOLS, check=True, capture_output=True)


def test_nothing_is_written_after_the_last_flush(volume, tmp_path):
    log = tmp_path / "log"
    make_tree(tmp_path / "tree")
    put = over_nbd(volume(), "put", tmp_path / "tree", filters=["log"], parameters=[f"logfile={log}"])
    assert put.returncode == 0, put.told
    calls = re.findall(r" (Write|Flush) id=", log.read_text())
    assert "Write" in calls and calls[-1] == "Flush"


def test_large_transfers_are_several_requests_in_flight(volume, tmp_path):
    log = tmp_path / "log"
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "large").write_bytes(random.Random(2).randbytes(hosting.MIB))
    put = over_nbd(volume(), "put", tmp_path / "tree", filters=["log", "delay"],
                   parameters=[f"logfile={log}", "delay-write=5ms"])
    assert put.returncode == 0, put.told
    in_flight = most = 0
    for answer in re.findall(r" (\.\.\.)?Write id=", log.read_text()):
        in_flight += -1 if answer else 1
        most = max(most, in_flight)
    assert most >= 8


def failure(result, *words):
    assert result.returncode == 1 and not result.stdout, result.told
    assert result.stderr.startswith("ntfs-nbd: ") and result.stderr.count("\n") == 1, result.told
    for word in words:
        assert word in result.stderr, result.told


def test_a_missing_server_is_one_sentence(tmp_path):
    failure(hosting.run(CLIENT, "sum", f"nbd+unix:///?socket={tmp_path}/none"), "cannot connect")


def test_a_disk_without_ntfs_is_one_sentence(tmp_path):
    failure(over_nbd(hosting.make_disk(tmp_path / "zeroes", hosting.MIB), "sum"), "no NTFS volume")


@pytest.mark.parametrize("arguments", [(), ("sum",), ("put", "nbd://x"), ("get", "nbd://x"), ("sum", "nbd://x", "y")])
def test_wrong_usage_is_status_2(arguments):
    result = hosting.run(CLIENT, *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("usage: ")


@pytest.mark.parametrize("name", ["a:b", "dot.", "NUL.txt", "tab\t"])
def test_a_name_that_windows_forbids_is_refused(volume, tmp_path, name):
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / name).touch()
    failure(over_nbd(volume(), "put", tmp_path / "tree"), name, "NTFS cannot have this name")


def test_a_special_file_is_refused(volume, tmp_path):
    (tmp_path / "tree").mkdir()
    os.mkfifo(tmp_path / "tree" / "fifo")
    failure(over_nbd(volume(), "put", tmp_path / "tree"), "fifo", "neither a file nor a directory")


def test_a_directory_that_is_none_is_refused(volume, tmp_path):
    (tmp_path / "file").touch()
    image = volume()
    failure(over_nbd(image, "put", tmp_path / "none"), "No such file or directory")
    failure(over_nbd(image, "put", tmp_path / "file"), "Not a directory")


def test_a_file_that_is_there_already_is_not_replaced(volume, tmp_path):
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "one").write_text("1")
    image = volume()
    assert over_nbd(image, "put", tmp_path / "tree").returncode == 0
    failure(over_nbd(image, "put", tmp_path / "tree"), "one", "File exists")


def test_a_full_volume_is_one_sentence(volume, tmp_path):
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "large").write_bytes(bytes(range(256)) * 16384)
    failure(over_nbd(volume(2 * hosting.MIB), "put", tmp_path / "tree"), "large", "No space left on device")


def test_a_read_only_server_is_read_but_not_written(volume, tmp_path):
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "one").write_text("1")
    image = volume()
    assert over_nbd(image, "put", tmp_path / "tree").returncode == 0
    assert over_nbd(image, "sum", readonly=True).returncode == 0
    failure(over_nbd(image, "put", tmp_path / "tree", readonly=True), "does not allow writing")


@pytest.mark.parametrize("operation, command", [("pread", "sum"), ("pwrite", "put")])
def test_a_failing_disk_is_one_sentence(volume, tmp_path, operation, command):
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "one").write_bytes(bytes(100000))
    arguments = [tmp_path / "tree"] if command == "put" else []
    result = over_nbd(volume(), command, *arguments, filters=["error"],
                      parameters=[f"error-{operation}=EIO", f"error-{operation}-rate=100%"])
    failure(result, "Input/output error")
