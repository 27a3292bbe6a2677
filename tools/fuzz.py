#!/usr/bin/python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Fuzzes everything for a while each: the libFuzzer targets from their corpora, then every .sys by seed.

The last line is the verdict. An input that shows a finding is kept in build/fuzz, and the words that repeat it are
printed. With --keep the corpora in tests/corpus become those of the fewest inputs that reach what was reached.
"""
import argparse
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

import corpus

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
TARGETS = REPOSITORY / "build" / "native-asan" / "storhost" / "tests" / "fuzz"
WORK = REPOSITORY / "build" / "fuzz"
OUT = REPOSITORY / "out"
LONGEST = {"device": 400, "windows": 400, "options": 300, "pe": 600, "rings": 400, "scenario": 2000}
MERGE = ["-merge=1", "-set_cover_merge=1", "-use_counters=0"]
COVERAGE = [r" cov: (\d+)", r"(\d+) inline 8-bit"]
FOUND = r"Test unit written to (\S+)"
BLOCK = 500  # runs by seed at a time
ROUND = 500_000  # runs of a target in one process: images lie anywhere, and the sanitizer's memory grows with each place


def program(target):
    return TARGETS / f"fuzz-{target}"


def last(pattern, text, default="?"):
    found = re.findall(pattern, text)
    return found[-1] if found else default


def complaint(text):
    """What a sanitizer, a rule or a target said before the end."""
    lines = re.findall(r"^(?:finding .*|fuzz: .*|debug: .*|.*runtime error: .*|.*ERROR: .*)$", text, re.MULTILINE)
    return "".join(f"     {line[:240]}\n" for line in lines[-4:])


def fuzz_target(target, seconds):
    """True if nothing was found."""
    inputs = WORK / target
    corpus.unpack(target, inputs)
    log = WORK / f"{target}.log"
    log.unlink(missing_ok=True)
    started, runs, status = time.monotonic(), 0, 0
    while not status and (left := seconds - int(time.monotonic() - started)) > 0:
        words = [program(target), inputs, f"-max_total_time={left}", f"-runs={ROUND}", f"-max_len={LONGEST[target]}",
                 "-len_control=0", "-timeout=60", "-print_final_stats=1", f"-artifact_prefix={WORK}/found-{target}-"]
        result = subprocess.run(words, cwd=WORK, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True, errors="replace")
        with log.open("a") as file:
            file.write(result.stdout)
        status = result.returncode
        runs += int(last(r"number_of_executed_units: +(\d+)", result.stdout, "0"))
    reached, edges = (last(pattern, result.stdout) for pattern in COVERAGE)
    print(f"{'FAIL' if status else 'ok  '} {target:9}{runs:>9} runs{runs / (time.monotonic() - started):8.0f} per second, "
          f"{reached} of {edges} edges", flush=True)
    if status:
        print(complaint(result.stdout), end="")
        print(f"     {program(target)} {last(FOUND, result.stdout, '')}", flush=True)
    return not status


def fuzz_driver(storhost, driver, seconds):
    end, runs, started = time.monotonic() + seconds, 0, time.monotonic()
    result = None
    while time.monotonic() < end and not (result and result.returncode):
        words = [storhost, "fuzz", driver, "--seed", str(1 + runs), "--runs", str(BLOCK)]
        result = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
        runs += BLOCK
    good = not (result and result.returncode)
    took = time.monotonic() - started
    print(f"{'ok  ' if good else 'FAIL'} {driver.relative_to(OUT / 'drivers' / 'windows7' / 'virtio-blk')}: "
          f"{2 * runs} runs, {2 * runs / took if took else 0:.0f} per second", flush=True)
    if not good:
        print(complaint(result.stderr) + f"     {result.stdout}", end="", flush=True)
    return good


def drivers():
    for architecture, name in (("x64", "storhost"), ("x86", "storhost-x86")):
        for kind in ("", "chk"):
            yield (OUT / "drivers" / "windows7" / "virtio-blk" / architecture / kind / "aero_virtio_blk.sys",
                   OUT / "bin" / name)


def keep():
    for target in corpus.TARGETS:
        merged = WORK / f"{target}-merged"
        shutil.rmtree(merged, ignore_errors=True)
        merged.mkdir()
        subprocess.run([program(target), *MERGE, f"-max_len={LONGEST[target]}", merged, WORK / target], cwd=WORK,
                       check=True, capture_output=True)
        corpus.pack(target, merged)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for each target and each driver (60)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="so many at once (one per processor)")
    parser.add_argument("--keep", action="store_true", help="make the corpora anew from what was found")
    parser.add_argument("target", nargs="*", help="some targets only, and no driver by seed")
    arguments = parser.parse_args()
    for target in set(arguments.target) - set(LONGEST):
        parser.error(f"there is no target '{target}', but {', '.join(LONGEST)}")
    WORK.mkdir(parents=True, exist_ok=True)
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        work = [pool.submit(fuzz_target, target, arguments.seconds) for target in arguments.target or corpus.TARGETS]
        for driver, storhost in drivers() if not arguments.target else ():
            work.append(pool.submit(fuzz_driver, storhost, driver, arguments.seconds))
        good = [job.result() for job in work]
    if arguments.keep:
        keep()
    print("no finding" if all(good) else f"{good.count(False)} of {len(good)} have findings")
    sys.exit(not all(good))


if __name__ == "__main__":
    main()
