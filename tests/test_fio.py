# SPDX-License-Identifier: MIT OR Apache-2.0
"""fio's random mixture of reads and writes, each written block read back and checked."""
import json

import hosting
import pytest

JOBS = 4
REGION = 256 * hosting.MIB  # of one job
PASS_SEEDS = (11, 12, 13)   # each pass writes other blocks
LEAST = 4 << 30             # bytes moved, of one test


def fio(uri, seed, output):
    """
    One pass over every region. fio reads the written blocks back when it has gone over its region once: with `loops`
    or `io_size` it would write them again before that and then miss what it wrote first.
    """
    return hosting.run(
        "fio", "--name=mixed", "--ioengine=nbd", f"--uri={uri}", "--thread", f"--numjobs={JOBS}", f"--size={REGION}",
        f"--offset_increment={REGION}", "--rw=randrw", "--bsrange=4k-256k", "--iodepth=32", "--verify=crc32c",
        "--verify_fatal=1", "--verify_dump=0", "--verify_state_save=0", f"--randseed={seed}", "--group_reporting",
        "--output-format=json", f"--output={output}", timeout=300)


def read_result(output):
    text = output.read_text()
    (job,) = json.loads(text[text.index("{"):])["jobs"]  # the engine writes a line of its own before
    return job


@pytest.mark.parametrize("threads, cpus, interrupts, seed",
                         [(0, 1, "intx", 201), (0, 4, "msix:2", 202), (1, 4, "msix:2", 203)])
def test_fio_reads_what_it_wrote(server, disk, tmp_path, threads, cpus, interrupts, seed):
    read = written = 0
    with server(disk(JOBS * REGION), threads=threads, cpus=cpus, interrupts=interrupts, seed=seed) as nbd:
        for pass_seed in PASS_SEEDS:
            output = tmp_path / f"fio-{pass_seed}.json"
            result = fio(nbd.uri, pass_seed, output)
            assert result.returncode == 0, result.told + nbd.told
            job = read_result(output)
            assert job["error"] == 0, result.told + nbd.told
            # Half of the mixture is writes; the rest, and the check of each write, is reads.
            assert job["write"]["io_bytes"] > JOBS * REGION * 0.4, result.told
            assert job["read"]["io_bytes"] >= job["write"]["io_bytes"], result.told
            read += job["read"]["io_bytes"]
            written += job["write"]["io_bytes"]
    assert read + written >= LEAST
    assert (nbd.report["bytes_read"], nbd.report["bytes_written"]) == (read, written), nbd.told
    assert nbd.report["doorbells"] < nbd.report["requests"], nbd.told
