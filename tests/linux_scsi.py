# SPDX-License-Identifier: MIT OR Apache-2.0
"""Linux's SCSI tools at the disk of a hosted driver: `storhost sg` as a command that runs another."""
import json
import typing

import hosting

DEVICE = "/dev/sg-storhost"


class Build(typing.NamedTuple):
    """One of the shipped drivers."""
    architecture: str
    kind: str  # fre or chk

    @property
    def program(self):
        return hosting.TARGETS[self.architecture].program

    @property
    def driver(self):
        return hosting.STAGED / self.architecture / ("chk" if self.kind == "chk" else "") / "aero_virtio_blk.sys"


BUILDS = [Build(architecture, kind) for architecture in hosting.TARGETS for kind in ("fre", "chk")]


class Host:
    """A disk behind a driver. Each command finds it in a machine of its own, at DEVICE."""

    def __init__(self, build, image, directory, **keywords):
        self.build = build
        self.image = image
        self.report = None  # of the last command's machine
        self._report_file = directory / "report.json"
        self._options = hosting.options(disk=image, report=self._report_file, **{"seed": 1, **keywords})

    def run(self, command, *arguments, status=0, device=DEVICE, timeout=hosting.DEADLINE):
        """
        Runs `command`, as one text, with further arguments and the device as the last, and returns its output. It must
        end with that status, if not with None.
        """
        words = [*command.split(), *arguments, *([device] if device else [])]
        result = hosting.run(self.build.program, "sg", self.build.driver, *self._options, "--", *words, timeout=timeout)
        assert status in (None, result.returncode), result.told
        self.report = json.loads(self._report_file.read_text())
        assert self.report["findings"] == 0, result.told
        return result.stdout + result.stderr

    def medium(self, lba, blocks, block=512):
        with open(self.image, "rb") as file:
            file.seek(lba * block)
            return file.read(blocks * block)


def parse_cunit(output):
    """
    What a CUnit program said in verbose mode: {"Suite.Test": (passed, lines of its own)}. A test's line begins with its
    name, and whatever the test prints comes between that and the verdict.
    """
    tests = {}
    suite = test = None
    for line in output.splitlines():
        if line.startswith("Suite: "):
            suite = line.removeprefix("Suite: ").strip()
        elif line.startswith("  Test: "):
            name, _, line = line.removeprefix("  Test: ").partition(" ...")
            test, lines = f"{suite}.{name}", []
        for verdict, passed in (("passed", True), ("FAILED", False)):
            if test and line.endswith(verdict) and not line.endswith(f"[{verdict}"):
                tests[test] = (passed, lines)
                test = None
        if test and line.strip():
            lines.append(line.strip())
    return tests
