#!/usr/bin/python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Every schedule of the scenarios in storhost/tests/schedules, up to the bound of each (`make explore`).

Each scenario runs against the shipped and the checked driver, x64 and x86, with each kind of interrupt. A line tells how
many schedules there were; the last line sums up. Exit status 0: all were tried, and none failed. Words on the command
line, as in such a line, leave out what does not have them all: tools/explore.py x64-fre msix:2
"""
import concurrent.futures
import itertools
import json
import os
import pathlib
import subprocess
import sys

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
OUT = REPOSITORY / "out"
STAGED = OUT / "drivers" / "windows7" / "virtio-blk"
SCENARIOS = sorted((REPOSITORY / "storhost" / "tests" / "schedules").glob("*.scn"))
PROGRAMS = {"x64": "storhost", "x86": "storhost-x86"}
INTERRUPTS = ("intx", "msix:1", "msix:2")


def said(scenario, verb):
    """The arguments of a verb in a scenario."""
    return {word for line in scenario.read_text().splitlines() if line.split()[:1] == [verb] for word in line.split()[1:]}


def explore(architecture, kind, interrupts, scenario):
    driver = STAGED / architecture / ("chk" if kind == "chk" else "") / "aero_virtio_blk.sys"
    command = [OUT / "bin" / PROGRAMS[architecture], "explore", driver, scenario, "--interrupts", interrupts, "--json"]
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if result.returncode not in (0, 1):
        return {"verdict": "FAIL", "schedules": 0, "reason": (result.stderr or "storhost died").strip(), "again": None,
                "preemptions": 0, "exhausted": False}
    return json.loads(result.stdout)[0]


def label(job):
    architecture, kind, interrupts, scenario = job
    return f"{architecture}-{kind} {interrupts:6} {scenario.stem.removeprefix('test-')}"


def tell(job, found):
    good = found["verdict"] == "PASS" and found["exhausted"]
    print(f"{'ok  ' if good else 'FAIL'} {label(job)}: {found['schedules']} schedules, "
          f"preemptions: {found['preemptions']}", flush=True)
    if not good:
        print(f"     {found['reason'] or 'not all of them were tried'}", flush=True)
    if found["again"]:
        print(f"     again: {found['again']}", flush=True)
    return good


def main():
    jobs = [job for job in itertools.product(PROGRAMS, ("fre", "chk"), INTERRUPTS, SCENARIOS)
            if not {"x86", "x64"} - {job[0]} & said(job[3], "driver") and set(sys.argv[1:]) <= set(label(job).split())]
    if not jobs:
        print(f"explore.py: no exploration has all of the words '{' '.join(sys.argv[1:])}'", file=sys.stderr)
        sys.exit(2)
    schedules = failed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for job, found in zip(jobs, pool.map(lambda job: explore(*job), jobs)):
            schedules += found["schedules"]
            failed += not tell(job, found)
    print(f"{schedules} schedules, {len(jobs) - failed} explorations passed, {failed} failed")
    sys.exit(1 if failed else 0)


main()
