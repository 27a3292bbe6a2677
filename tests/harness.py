# SPDX-License-Identifier: MIT OR Apache-2.0
"""Runs the host harness as its users do, and reads what it leaves."""
import os
import pathlib
import signal
import subprocess
import sys
import typing
import xml.etree.ElementTree as ElementTree

import hosting

HARNESS = hosting.REPOSITORY / "drivers" / "windows7" / "tests" / "host-harness"
PROGRAM = HARNESS / "invoke_aero_virtio_win7_tests.py"
DEADLINE = 60
S, H = "AERO_VIRTIO_SELFTEST|", "AERO_VIRTIO_WIN7_HOST|"


class Result(typing.NamedTuple):
    status: int
    out: str
    errors: str
    output: pathlib.Path

    @property
    def told(self):
        return f"status {self.status}\n{self.out}{self.errors}"

    @property
    def host(self):
        """Verdict and fields of each host marker, by its name."""
        markers = [line.split("|") for line in self.out.splitlines() if line.startswith(H)]
        return {words[1]: (words[2], dict(word.split("=", 1) for word in words[3:])) for words in markers}

    @property
    def cases(self):
        """JUnit's testcases: group.name → passed, failure, error or skipped. Its counts are those of its elements."""
        root = ElementTree.parse(self.output / "junit.xml").getroot()
        suite, = root.findall("testsuite")
        cases = {}
        for case in suite.findall("testcase"):
            kinds = [child.tag for child in case if child.tag != "system-out"]
            name = f"{case.get('classname').rpartition('.')[2]}.{case.get('name')}"
            assert name not in cases and len(kinds) <= 1
            cases[name] = kinds[0] if kinds else "passed"
        verdicts = list(cases.values())
        assert [int(suite.get(attribute)) for attribute in ("tests", "failures", "errors", "skipped")] == \
            [len(cases), verdicts.count("failure"), verdicts.count("error"), verdicts.count("skipped")]
        return cases


def run(output, *arguments, prelude="", environment=None, deadline=DEADLINE):
    """Runs the harness to its end. prelude: Python that is run before it, with its modules to hand."""
    command = [sys.executable, str(PROGRAM)]
    if prelude:
        command = [sys.executable, "-c", f"import runpy, sys; sys.path.insert(0, {str(HARNESS)!r})\n{prelude}\n"
                   f"sys.argv[0] = {str(PROGRAM)!r}; runpy.run_path(sys.argv[0], run_name='__main__')"]
    with subprocess.Popen([*command, "--output", str(output), *map(str, arguments)], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
                          env={**os.environ, **(environment or {})}) as process:
        try:
            out, errors = process.communicate(timeout=deadline)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # its QEMU too
            raise
    return Result(process.returncode, out, errors, output)


def left_over(path):
    """Processes that have the path in their command line."""
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += [entry] if str(path).encode() in entry.read_bytes() else []
        except OSError:
            pass
    return found
