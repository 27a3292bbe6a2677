#!/usr/bin/python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Every fault at every place where it can strike (`make faults`): each build, each kind of interrupt, each scenario.

usage: faults.py [--seed N] [WORD...]    only scenarios whose name has one of the words

One line for each scenario as it ends, and below it what failed, with the command that repeats it; the last line counts.
"""
import argparse
import concurrent.futures
import os
import re
import subprocess
import sys

import hosting

SCENARIOS = sorted((hosting.REPOSITORY / "storhost" / "tests" / "faults").glob("*.scn"))
BUILDS = [(architecture, kind) for architecture in hosting.TARGETS for kind in ("fre", "chk")]
INTERRUPTS = ("intx", "msix:1", "msix:2")
SUMMARY = re.compile(r"^(\d+) runs, (\d+) failed \(seed \d+\)$", re.MULTILINE)


def driver_of(build):
    architecture, kind = build
    shipped = hosting.TARGETS[architecture].shipped
    return shipped.parent / "chk" / shipped.name if kind == "chk" else shipped


def campaign(build, interrupts, scenario, *words):
    """One scenario with all of its faults: what was printed, how many runs there were and how many failed."""
    command = [hosting.TARGETS[build[0]].program, "faults", driver_of(build), scenario, "--interrupts", interrupts, *words]
    result = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                            errors="replace", check=False)
    counts = SUMMARY.search(result.stdout)
    if not counts or result.returncode not in (0, 1):
        return f"FAIL {' '.join(map(str, command))}\n{result.stdout}{result.stderr}", 1, 1
    return result.stdout[:counts.start()].rstrip(), int(counts[1]), int(counts[2])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("words", nargs="*")
    arguments = parser.parse_args()
    chosen = [path for path in SCENARIOS if not arguments.words or any(word in path.name for word in arguments.words)]
    if not chosen:
        parser.error(f"no scenario's name has one of the words '{' '.join(arguments.words)}'")
    total = bad = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        started = {pool.submit(campaign, build, interrupts, path, "--seed", arguments.seed): (build, interrupts)
                   for path in chosen for build in BUILDS for interrupts in INTERRUPTS}
        for ended in concurrent.futures.as_completed(started):
            build, interrupts = started[ended]
            told, runs, failed = ended.result()
            total, bad = total + runs, bad + failed
            print(f"{'-'.join(build)} {interrupts}: {told}", flush=True)
    print(f"{total} runs, {bad} failed")
    return 1 if bad or not total else 0


if __name__ == "__main__":
    sys.exit(main())
