# SPDX-License-Identifier: MIT OR Apache-2.0
"""Runs what was built, as its users do: storhost's commands, its NBD server, and the Linux clients."""
import contextlib
import json
import os
import pathlib
import random
import socket
import subprocess
import time
import typing

import nbd

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
OUT = REPOSITORY / "out"
STAGED = OUT / "drivers" / "windows7" / "virtio-blk"


class Target(typing.NamedTuple):
    """An architecture: the storhost that hosts its drivers, and the drivers."""
    program: pathlib.Path
    shipped: pathlib.Path
    permissive: pathlib.Path


TARGETS = {architecture: Target(OUT / "bin" / program, STAGED / architecture / "aero_virtio_blk.sys",
                                STAGED / architecture / "permissive" / "aero_virtio_blk.sys")
           for architecture, program in (("x64", "storhost"), ("x86", "storhost-x86"))}
# For its coverage: the driver's own sources, linked into one storhost, stand for every .sys.
if "AERO_NATIVE" in os.environ:
    TARGETS = {"x64": Target(pathlib.Path(os.environ["AERO_NATIVE"]), pathlib.Path("-"), pathlib.Path("-"))}
STORHOST, DRIVER, _ = TARGETS["x64"]

MIB = 1 << 20
DEADLINE = 60  # seconds for anything that takes a fraction of one on an idle machine
SOCKET_NAME_LIMIT = 107  # bytes, of struct sockaddr_un


def options(**values):
    """Keyword arguments as storhost's options: interrupts="intx" is --interrupts intx; None is none."""
    return [word for name, value in values.items() if value is not None for word in (f"--{name}", str(value))]


def run(*command, timeout=DEADLINE):
    """Runs a command to its end; a storhost that dies of a signal is a failure whatever is expected of it."""
    words = [str(word) for word in command]
    result = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                            timeout=timeout)
    result.told = f"{' '.join(words)}\nstatus {result.returncode}\n{result.stdout[-4000:]}{result.stderr[-4000:]}"
    assert result.returncode >= 0, result.told
    return result


def storhost(*arguments, **keywords):
    return run(STORHOST, *arguments, **keywords)


class Command:
    """What became of one SCSI command: attributes of its report, which `storhost scsi --json` printed."""

    def __init__(self, result):
        self.status = result.returncode
        self.told = result.told
        self.stderr = result.stderr
        try:
            self.report = json.loads(result.stdout)
        except ValueError as error:
            raise AssertionError(f"no report: {error}\n{result.told}") from None

    def __getattr__(self, name):
        try:
            return self.report[name]
        except KeyError:
            raise AssertionError(f"the report has no '{name}'\n{self.told}") from None

    @property
    def answer(self):
        return bytes.fromhex(self.data or "")

    @property
    def rules(self):
        return {finding["rule"] for finding in self.finding}

    @property
    def key(self):
        """Sense key, additional sense code and its qualifier: (5, 0x24, 0). None without sense."""
        sense = bytes.fromhex(self.sense or "")
        return (sense[2] & 15, sense[12], sense[13]) if sense else None


def scsi(driver, disk, cdb, *, program=STORHOST, seed=1, **keywords):
    """Sends one command, given as hexadecimal text, to the hosted driver."""
    words = options(disk=disk, seed=seed, **keywords)
    return Command(run(program, "scsi", driver, *words, "--json", "--", *cdb.split()))


def make_disk(path, size, seed=None):
    """Makes a disk image, of random bytes if there is a seed and of zeroes otherwise."""
    generator = random.Random(seed)
    with open(path, "wb") as file:
        for start in range(0, size if seed is not None else 0, MIB):
            file.write(generator.randbytes(min(MIB, size - start)))
        file.truncate(size)
    return path


def first_difference(one, other):
    """Where two files differ: an offset in bytes, or None."""
    with open(one, "rb") as a, open(other, "rb") as b:
        for start in range(0, 1 << 62, MIB):
            x, y = a.read(MIB), b.read(MIB)
            if x != y:
                return start + next((i for i, (p, q) in enumerate(zip(x, y)) if p != q), min(len(x), len(y)))
            if not x:
                return None


class Server:
    """`storhost nbd`, from its start to its report."""

    def __init__(self, driver, disk, directory, words):
        self.socket = directory / "nbd.sock"
        self.uri = f"nbd+unix:///?socket={self.socket}"
        self.report = None
        self._clients = []
        self._report_file = directory / "report.json"
        self._log_file = directory / "nbd.log"
        assert len(os.fsencode(self.socket)) <= SOCKET_NAME_LIMIT, f"{self.socket} is too long for a socket"
        command = [STORHOST, "nbd", driver, *options(disk=disk, socket=self.socket, report=self._report_file), *words]
        self._command = " ".join(str(word) for word in command)
        with self._log_file.open("wb") as log:
            self._process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=log,
                                             stderr=log)

    @property
    def told(self):
        """What a failure has to show: the command with its seed, and all that the server said."""
        return f"{self._command}\n{self._log_file.read_text(errors='replace')[-4000:]}\n{self.report}"

    def _answers(self):
        with socket.socket(socket.AF_UNIX) as attempt:
            return attempt.connect_ex(str(self.socket)) == 0

    def wait_until_ready(self):
        end = time.monotonic() + DEADLINE
        while not self._answers():
            assert self._process.poll() is None, f"the server ended with {self._process.returncode}\n{self.told}"
            assert time.monotonic() < end, f"no answer after {DEADLINE} s\n{self.told}"
            time.sleep(0.01)

    def connect(self):
        """A client. It is disconnected before the server is stopped, which waits for its clients."""
        client = nbd.NBD()
        client.connect_unix(str(self.socket))
        self._clients.append(client)
        return client

    def stop(self):
        """Ends it as its user would. Loads the report, which only then exists."""
        for client in self._clients:
            client.shutdown()
        self._process.terminate()
        try:
            status = self._process.wait(DEADLINE)
        finally:
            self.kill()
        assert status == 0, f"the server ended with {status}\n{self.told}"
        self.report = json.loads(self._report_file.read_text())

    def kill(self):
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


@contextlib.contextmanager
def serve(driver, disk, directory, *, findings=0, **keywords):
    """A server as long as the block lasts. Its report must have that many findings."""
    server = Server(driver, disk, directory, options(**keywords))
    try:
        server.wait_until_ready()
        yield server
        server.stop()
    except BaseException:
        print(server.told)
        raise
    finally:
        server.kill()
    assert server.report["findings"] == findings, server.told
