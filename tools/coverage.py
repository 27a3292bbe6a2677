#!/usr/bin/python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Line and branch coverage of the driver's sources by its unit tests, scenarios, single commands and fuzz corpora.

Prints a line per file and every line that nothing reached, or that always went one way. Fails below 95 % of lines or
90 % of branches.
"""
import collections
import os
import pathlib
import shutil
import subprocess
import sys

import corpus

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
BUILD = REPOSITORY / "build" / "native-cov"
PROGRAM = BUILD / "storhost" / "storhost-native"
WORK = REPOSITORY / "build" / "coverage"
SCENARIOS = sorted((REPOSITORY / "storhost" / "tests" / "scenarios").glob("*.scn"))
DRIVER = "drivers/windows7/"
LEAST = {"lines": 95.0, "branches": 90.0}
INTERRUPTS = ("msix:2", "msix:1", "intx")
PYTESTS = ("tests/test_scsi.py", "tests/test_scsi_full.py")
SEEDS = 2000  # runs of each side by seed, beside the corpora


class Sum:
    """How often each line and each way of a branch of a file was taken; more than one program may hold the file."""

    def __init__(self):
        self.lines = collections.Counter()
        self.branches = collections.Counter()

    def percent(self, of):
        counts = getattr(self, of)
        return 100.0 * sum(count > 0 for count in counts.values()) / len(counts) if counts else 100.0


def run(*words, **environment):
    words = [str(word) for word in words]
    result = subprocess.run(words, cwd=REPOSITORY, env={**os.environ, **environment}, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    if result.returncode:
        sys.exit(f"{' '.join(words)}\nstatus {result.returncode}\n{result.stdout[-4000:]}")
    return result.stdout


def collect():
    """Runs all that is counted; each process adds to one of a few profiles."""
    profile = {"LLVM_PROFILE_FILE": str(WORK / "%4m.profraw")}
    for interrupts in INTERRUPTS:
        run(PROGRAM, "run", "-", *SCENARIOS, "--interrupts", interrupts, "--seed", 1, **profile)
    run("/usr/bin/python3", "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider", *PYTESTS,
        AERO_NATIVE=str(PROGRAM), **profile)
    for side in ("device", "windows"):
        run(PROGRAM, "fuzz", "-", "--side", side, *corpus.unpack(side, WORK / side), **profile)
    run(PROGRAM, "fuzz", "-", "--runs", SEEDS, **profile)
    tests = sorted(BUILD.glob("drivers/**/test-*"))
    tests = [test for test in tests if test.is_file() and os.access(test, os.X_OK)]
    for test in tests:
        run(test, **profile)
    return tests


def sums(tests):
    run("llvm-profdata-19", "merge", "-o", WORK / "all.profdata", *WORK.glob("*.profraw"))
    objects = [word for test in tests for word in ("-object", test)]
    text = run("llvm-cov-19", "export", "-format=lcov", f"-instr-profile={WORK / 'all.profdata'}", PROGRAM, *objects)
    files = collections.defaultdict(Sum)
    for line in text.splitlines():
        kind, _, rest = line.partition(":")
        if kind == "SF":
            current = files[rest.removeprefix(f"{REPOSITORY}/")]
        elif kind == "DA":
            number, count = rest.split(",")[:2]
            current.lines[int(number)] += int(count)
        elif kind == "BRDA":
            number, block, branch, count = rest.split(",")
            current.branches[int(number), block, branch] += 0 if count == "-" else int(count)
    return {name: files[name] for name in sorted(files) if name.startswith(DRIVER) and "/tests/" not in name}


def spans(numbers):
    """1, 2, 3, 7 as "1-3, 7"."""
    found = []
    for number in sorted(set(numbers)):
        if found and found[-1][1] == number - 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ", ".join(f"{first}-{last}" if first != last else str(first) for first, last in found)


def report(files):
    whole = Sum()
    print(f"{'lines':>7}{'branches':>10}  file")
    for name, file in files.items():
        print(f"{file.percent('lines'):6.1f}%{file.percent('branches'):9.1f}%  {name}")
        dead = [number for number, count in file.lines.items() if not count]
        one_way = [key[0] for key, count in file.branches.items() if not count and file.lines[key[0]]]
        if dead:
            print(f"{'':19}never reached: {spans(dead)}")
        if one_way:
            print(f"{'':19}never both ways: {spans(one_way)}")
        whole.lines.update({(name, key): min(count, 1) for key, count in file.lines.items()})
        whole.branches.update({(name, key): min(count, 1) for key, count in file.branches.items()})
    failed = False
    for of, least in LEAST.items():
        percent = whole.percent(of)
        failed |= percent < least
        print(f"{'FAIL' if percent < least else 'ok  '} {percent:.1f} % of {len(getattr(whole, of))} {of}"
              f" (at least {least:.0f} %)")
    return failed


def main():
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    sys.exit(report(sums(collect())))


if __name__ == "__main__":
    main()
