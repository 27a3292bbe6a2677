#!/usr/bin/python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""The main job on real input (`make run`): real files onto an NTFS volume and back, through the shipped x64 driver.

A file system client (ntfs-nbd) writes through one load of the driver and reads through another, with other interrupts
and processors; then the raw image is checked. The last line is the verdict; the exit status is 0 for PASS, 1 for FAIL.
"""
import contextlib
import dataclasses
import glob
import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
WORK = REPOSITORY / "build" / "run"
DRIVER = REPOSITORY / "out" / "drivers" / "windows7" / "virtio-blk" / "x64" / "aero_virtio_blk.sys"
STORHOST = REPOSITORY / "out" / "bin" / "storhost"
CLIENT = REPOSITORY / "out" / "bin" / "ntfs-nbd"

MIB = 1 << 20
IMAGE_BYTES = 256 * MIB
SOURCES = ("/usr/include", "/usr/lib/python3*", "/usr/share/doc", "/usr/lib/gcc", "/usr/bin")
FILES_MAX = 3000
BYTES_MAX = 120 * MIB
LARGE = MIB // 2  # bytes from which a file counts as large; without some of these, 3000 files are a few MiB
LARGE_BYTES_MAX = 72 * MIB
FILE_BYTES_MAX = 16 * MIB

WRITING = ("--interrupts", "msix:2", "--cpus", "4")
READING = ("--interrupts", "intx", "--cpus", "1")
CLIENT_DEADLINE = 300  # seconds
SERVER_DEADLINE = 30  # seconds to come up, and to end

FORBIDDEN_CHARACTERS = frozenset('"*/:<>?\\|') | frozenset(map(chr, range(32)))
PORTS = {f"{port}{number}" for port in ("COM", "LPT") for number in range(1, 10)}
FORBIDDEN_STEMS = frozenset({"CON", "PRN", "AUX", "NUL"} | PORTS)


class Failed(Exception):
    """The sentence of a verdict FAIL."""


def gist(stdout, stderr):
    """The one line of a failed command's output that names the failure: ntfsresize and ntfsfix print a dozen."""
    lines = [line.strip() for line in f"{stdout}\n{stderr}".splitlines() if line.strip()]
    return next((line for line in lines if re.search(r"(?i:error|failed)|\bBAD\b", line)), (lines or ["nothing"])[-1])


def run_tool(*command, deadline=60):
    """Standard output of a command that has to end in time, and well."""
    command = [str(word) for word in command]
    name = os.path.basename(command[0])
    # Debian keeps mkntfs and ntfsresize where only root's PATH leads.
    environment = {**os.environ, "LC_ALL": "C", "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
    tool = shutil.which(command[0], path=environment["PATH"])
    if not tool:
        raise Failed(f"there is no {command[0]}")
    try:
        result = subprocess.run([tool, *command[1:]], env=environment, stdin=subprocess.DEVNULL, capture_output=True,
                                encoding="utf-8", errors="surrogateescape", timeout=deadline)
    except subprocess.TimeoutExpired:
        raise Failed(f"{name} did not end within {deadline} seconds") from None
    if result.returncode:
        raise Failed(f"{name} ended with status {result.returncode} and said: {gist(result.stdout, result.stderr)}")
    return result.stdout


# ---- the files ----

def ntfs_allows(name):
    """Whether Windows can have a file of this name."""
    try:
        units = len(name.encode("utf-16-le")) // 2
    except UnicodeEncodeError:  # not UTF-8 on this side
        return False
    return (units <= 255 and not FORBIDDEN_CHARACTERS.intersection(name) and name[-1] not in ". "
            and name.split(".")[0].rstrip().upper() not in FORBIDDEN_STEMS)


def find_files(sources):
    """(path, size) of the regular files below the sources that can be read, with names for NTFS."""
    for source in sources:
        for root in sorted(glob.glob(source)):
            for directory, subdirectories, names in os.walk(root):
                subdirectories[:] = filter(ntfs_allows, subdirectories)
                for name in filter(ntfs_allows, names):
                    path = os.path.join(directory, name)
                    if os.path.isfile(path) and not os.path.islink(path) and os.access(path, os.R_OK):
                        yield path, os.path.getsize(path)


class CaseRule:
    """Windows takes names that differ only in case for the same: of such, the first one stays."""

    def __init__(self):
        self.spelling = {}

    def allows(self, path):
        parts = pathlib.PurePosixPath(path).parts
        prefixes = ["/".join(parts[:i + 1]) for i in range(len(parts))]
        if any(self.spelling.get(prefix.casefold(), prefix) != prefix for prefix in prefixes):
            return False
        self.spelling.update((prefix.casefold(), prefix) for prefix in prefixes)
        return True


def choose_files(sources):
    """Paths: the same on every run, spread evenly over the sources, with as many large files as the volume can hold."""
    spread = sorted(find_files(sources), key=lambda file: hashlib.sha256(os.fsencode(file[0])).digest())
    rule, chosen, room = CaseRule(), [], BYTES_MAX
    for large, budget in ((True, LARGE_BYTES_MAX), (False, BYTES_MAX)):
        budget = min(budget, room)
        for path, size in spread:
            if (size >= LARGE) != large or size > min(budget, FILE_BYTES_MAX):
                continue
            if len(chosen) < FILES_MAX and rule.allows(path):
                chosen.append(path)
                budget -= size
                room -= size
    return chosen


@dataclasses.dataclass
class Files:
    directory: pathlib.Path
    sums: dict  # path below the directory: SHA-256
    bytes: int


def stage_files(paths, directory):
    """Copies the files below a directory, so that they stand still while they are compared."""
    files = Files(directory, {}, 0)
    for path in paths:
        data = pathlib.Path(path).read_bytes()
        copy = directory / path.lstrip("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(data)
        files.sums[path.lstrip("/")] = hashlib.sha256(data).hexdigest()
        files.bytes += len(data)
    if not files.sums:
        raise Failed(f"there are no files below {', '.join(SOURCES)}")
    return files


# ---- the server ----

class Server:
    """The driver, loaded by storhost and serving an image, for the length of a `with`; then .report is what it did."""

    def __init__(self, image, doing, options):
        self.doing = doing
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="aero-run-"))
        self.socket = self.directory / "nbd"
        self.uri = f"nbd+unix:///?socket={self.socket}"
        self.command = [str(word) for word in (STORHOST, "nbd", DRIVER, "--disk", image, "--socket", self.socket,
                                               "--report", self.directory / "report.json", *options)]
        self.process = None
        self.report = {}

    def __enter__(self):
        try:
            with (self.directory / "log").open("wb") as log:
                self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            self._wait_for_greeting()
            return self
        except BaseException as error:
            self._end()
            shutil.rmtree(self.directory)
            if isinstance(error, OSError):
                raise Failed(f"cannot start {STORHOST.name}: {error}") from None
            raise

    def __exit__(self, kind, error, traceback):
        try:
            self._end()
            if error is None:
                self._judge()
            elif isinstance(error, Failed):
                # What the driver did may be why the client failed.
                try:
                    self._judge()
                except Failed as cause:
                    raise Failed(f"{cause} ({error})") from None
        finally:
            shutil.rmtree(self.directory)

    def _said(self):
        lines = (self.directory / "log").read_text(errors="replace").splitlines()
        return lines[-1] if lines else "nothing"

    def _wait_for_greeting(self):
        deadline = time.monotonic() + SERVER_DEADLINE
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise Failed(f"storhost ended with status {self.process.returncode} and said: {self._said()}")
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(SERVER_DEADLINE)
                probe.connect(str(self.socket))
                if probe.recv(8) == b"NBDMAGIC":
                    return
            time.sleep(0.02)
        raise Failed(f"storhost did not serve within {SERVER_DEADLINE} seconds")

    def _end(self):
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(SERVER_DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _judge(self):
        if self.process.returncode:
            raise Failed(f"{self.doing}: storhost ended with status {self.process.returncode} and said: {self._said()}")
        try:
            self.report = json.loads((self.directory / "report.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise Failed(f"{self.doing}: storhost left no report ({error})") from None
        judge_report(self.report, self.doing)


def judge_report(report, doing):
    """A file system that merely uses its disk makes no driver break a rule, hang or be reset."""
    if report["death"]:
        raise Failed(f"{doing}: the driver stopped: {report['death']}")
    if report["findings"]:
        first = report["finding"][0]
        raise Failed(f"{doing}: {report['findings']} findings (seed {report['seed']}); the first is {first['rule']}: "
                     f"{first['text']}")
    for what in ("resets", "timeouts"):
        if report[what]:
            raise Failed(f"{doing}: {report[what]} {what} (seed {report['seed']})")


# ---- the job ----

def make_image(image):
    with image.open("wb") as file:
        file.truncate(IMAGE_BYTES)
    run_tool("mkntfs", "-F", "-Q", "-q", "-L", "aero", image)


def write_files(image, files):
    """The report of the driver that wrote the files."""
    with Server(image, "writing", WRITING) as server:
        said = run_tool(CLIENT, "put", server.uri, files.directory, deadline=CLIENT_DEADLINE).strip()
    if said != f"{len(files.sums)} files, {files.bytes} bytes":
        raise Failed(f"writing: {len(files.sums)} files of {files.bytes} bytes were due, but the client wrote {said}")
    require_traffic(server.report, "writing", "bytes_written", files.bytes)
    return server.report


def read_files(image, files):
    """The report of another driver, through which every file was read and was right."""
    with Server(image, "reading", READING) as server:
        compare_sums(files.sums, run_tool(CLIENT, "sum", server.uri, deadline=CLIENT_DEADLINE))
    require_traffic(server.report, "reading", "bytes_read", files.bytes)
    return server.report


def require_traffic(report, doing, direction, least):
    if report[direction] < least:
        raise Failed(f"{doing}: only {report[direction]} of {least} bytes went through the device")


def compare_sums(expected, printed):
    """expected: {path: SHA-256}; printed: lines of "SHA256  path"."""
    found = {path: digest for digest, path in (line.split("  ", 1) for line in printed.splitlines())}
    for wrong, what in (([path for path in expected if path not in found], "missing from the volume"),
                        ([path for path in found if path not in expected], "on the volume though nobody wrote it"),
                        ([path for path in expected if found.get(path, expected[path]) != expected[path]],
                         "read back with other contents")):
        if wrong:
            others = f" (and {len(wrong) - 1} more files)" if len(wrong) > 1 else ""
            raise Failed(f"{min(wrong)}{others}: {what}")


def check_file_system(image):
    """ntfsfix looks at boot sectors, $MFT and its mirror; ntfsresize at every file record and cluster against $Bitmap.

    What neither looks at, the directories' indices, is what finding the files by name has proved.
    """
    for command in (("ntfsfix", "-n"), ("ntfsresize", "--info", "--force", "--no-progress-bar")):
        try:
            run_tool(*command, image)
        except Failed as error:
            raise Failed(f"the file system is damaged: {error}") from None


class Progress:
    def __init__(self):
        self.start = time.monotonic()

    @contextlib.contextmanager
    def step(self, title):
        """Prints the step, and when it is done its seconds and what it appended to the list."""
        began = time.monotonic()
        print(f"[{began - self.start:5.1f} s] {title} …", flush=True)
        results = []
        yield results
        print("".join(f"          {text} ({time.monotonic() - began:.1f} s)\n" for text in results or ["done"]), end="",
              flush=True)


def describe(report):
    return (f"{report['requests']} requests, {report['doorbells']} doorbells, {report['interrupts']} interrupts, "
            f"{report['bytes_read'] / MIB:.1f} MiB read, {report['bytes_written'] / MIB:.1f} MiB written, "
            f"seed {report['seed']}")


def job(work):
    """The verdict PASS; raises Failed."""
    image, progress = work / "ntfs.img", Progress()
    with progress.step(f"collecting files from {' '.join(SOURCES)}") as results:
        files = stage_files(choose_files(SOURCES), work / "files")
        size = f"{files.bytes / MIB:.1f} MiB"
        results.append(f"{len(files.sums)} files, {size}")
    with progress.step(f"making an NTFS volume of {IMAGE_BYTES // MIB} MiB"):
        make_image(image)
    with progress.step(f"writing the files through {DRIVER.name}, {' '.join(WRITING)}") as results:
        written = write_files(image, files)
        results.append(describe(written))
    with progress.step(f"reading them through a fresh load, {' '.join(READING)}, and comparing SHA-256") as results:
        read = read_files(image, files)
        results.append(describe(read))
    with progress.step("checking the file system on the raw image"):
        check_file_system(image)
    requests, doorbells, interrupts = (written[key] + read[key] for key in ("requests", "doorbells", "interrupts"))
    return (f"{len(files.sums)} files, {size} written and read back through {DRIVER.name} (x64): {requests} requests, "
            f"{doorbells} doorbells, {interrupts} interrupts, 0 findings; contents identical (SHA-256), "
            "file system clean")


def main():
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # every `with` ends what it started
    failed = False
    try:
        shutil.rmtree(WORK, ignore_errors=True)
        WORK.mkdir(parents=True)
        verdict = f"PASS: {job(WORK)}"
    except (Failed, OSError) as error:
        failed, verdict = True, f"FAIL: {error}"
    except KeyboardInterrupt:
        verdict = "FAIL: interrupted"
    image = WORK / "ntfs.img"
    if failed and image.exists():
        shutil.rmtree(WORK / "files", ignore_errors=True)
        print(f"          the volume is left in {os.path.relpath(image)}")
    else:
        shutil.rmtree(WORK, ignore_errors=True)
    print(f"run: {verdict}")
    return 0 if verdict.startswith("PASS") else 1


if __name__ == "__main__":
    sys.exit(main())
