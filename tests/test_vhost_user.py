# SPDX-License-Identifier: MIT OR Apache-2.0
"""The driver on block devices that qemu-storage-daemon serves over vhost-user: scenarios, fio, nbdcopy, and its death."""
import json
import random
import threading
import time

import hosting
import pytest
import storage_daemon

SIZE = 64 * hosting.MIB


def fio(uri, output, size, *words):
    result = hosting.run("fio", "--name=mixed", "--ioengine=nbd", f"--uri={uri}", "--thread", f"--size={size}",
                         "--rw=randrw", "--bsrange=4k-128k", "--iodepth=32", "--randseed=5", "--output-format=json",
                         f"--output={output}", *words, timeout=300)
    text = output.read_text()
    (job,) = json.loads(text[text.index("{"):])["jobs"]
    return result, job


VERIFY = ("--verify=crc32c", "--verify_fatal=1", "--verify_dump=0", "--verify_state_save=0")


class Killer(threading.Thread):
    """Kills and restarts the daemon at chance moments until told to stop."""

    def __init__(self, daemon, seed):
        super().__init__()
        self.daemon_process, self.random, self.over, self.deaths = daemon, random.Random(seed), threading.Event(), 0

    def run(self):
        while not self.over.wait(self.random.uniform(0.05, 0.3)):
            self.daemon_process.kill()
            self.deaths += 1
            time.sleep(self.random.uniform(0, 0.2))
            self.daemon_process.start()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()


@pytest.mark.parametrize("interrupts, threads", [("msix:2", 0), ("intx", 0), ("msix:2", 1)])
def test_a_daemon_killed_and_restarted_under_load_costs_nothing(server, disk, tmp_path, interrupts, threads):
    image = disk(SIZE)
    with storage_daemon.serve(tmp_path, storage_daemon.file(image)) as daemon:
        with server(None, device=daemon.device, interrupts=interrupts, threads=threads, cpus=2, seed=901) as nbd:
            with Killer(daemon, 902) as killer:
                result, job = fio(nbd.uri, tmp_path / "fio.json", SIZE, *VERIFY)
            assert result.returncode == 0, result.told + nbd.told + daemon.told
            assert job["error"] == 0 and job["write"]["io_bytes"] > SIZE * 0.4, result.told
        print(killer.deaths, nbd.report["resets"], nbd.report["timeouts"], nbd.report["events"], job["job_runtime"])
        assert killer.deaths > 0
