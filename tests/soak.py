#!/usr/bin/python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""The soak: a week of each architecture's time, a day for each seed, on machines and devices that differ by seed."""
import argparse
import collections
import concurrent.futures
import os
import random
import re
import shlex
import subprocess
import sys
import typing

import hosting
import matrix

DAYS = 7
DAY, HOUR = matrix.CAMPAIGNS / "day.scn", matrix.CAMPAIGNS / "hour.scn"
PROGRESS = re.compile(r" +(\d+) of (\d+) seconds$")
LIVED = re.compile(r" +lived: (.*)$")


class Life(typing.NamedTuple):
    """One machine, and the build of the driver that lives on it."""
    build: tuple
    seed: int
    scenario: typing.Any

    @property
    def name(self):
        return "-".join((*self.build, f"seed{self.seed}"))

    def machine(self):
        """Options that the seed chooses."""
        chance = random.Random(self.seed)
        grant, block = chance.choice(matrix.GRANTS), chance.choice(list(matrix.BLOCKS))
        size, exponent = matrix.BLOCKS[block]
        features = {name for name in matrix.SINGLE if name != "ro" and chance.random() < 0.6}
        features |= {"blk_size"} if size != 512 else set()
        features |= {"topology"} if exponent else set()
        layout = chance.choice(("contract", "qemu-layout"))
        words = {
            "features": "".join(("+" if name in features else "-") + name for name in matrix.SINGLE),
            "queue-size": chance.choice(matrix.QUEUES), "blk-size": size, "physical-exp": exponent,
            "size-max": chance.choice((4096, 65536, 1 << 20)), "num-queues": 4 if "mq" in features else 1,
            "discard-seg": chance.choice((1, 4, 256)), "zeroes-may-unmap": chance.randrange(2),
            "volatile": chance.choice((0, 50, 100)), "cache": chance.choice(("back", "through")),
            "reorder": chance.randrange(2), "outstanding": chance.choice((1, 8, 32, 256)),
            "batch": chance.choice((1, 2, 8)), "suppress-doorbells": chance.randrange(2),
            "used-len": chance.choice(("zero", "written")), "no-interrupt": chance.choice(("honoured", "ignored")),
            "serial": chance.choice(("", "DISK7")),
        }
        if grant.startswith("msix:"):
            words["msix-vectors"] = max(2, int(grant[5:]))
        device = ",".join([layout, *(f"{key}={value}" for key, value in words.items())])
        return {"interrupts": grant, "cpus": chance.choice(matrix.CPUS), "device": device, "seed": self.seed,
                "parameter": "layout=any"}

    def command(self):
        architecture, kind = self.build
        driver = hosting.STAGED / architecture / ("chk" if kind == "chk" else "") / "aero_virtio_blk.sys"
        words = [hosting.TARGETS[architecture].program, "run", driver, self.scenario, "--verbose",
                 *hosting.options(**self.machine())]
        return [str(word) for word in words]


class Outcome(typing.NamedTuple):
    """What a life came to: "" or what was wrong, and what happened in it."""
    told: str
    lived: collections.Counter


def live(life, progress=lambda text: None):
    """Runs it to its end. Only what may be told is kept: a week's transcript is long."""
    lived, last = collections.Counter(), collections.deque(maxlen=20)
    with subprocess.Popen(life.command(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace") as process:
        for line in process.stdout:
            if match := PROGRESS.match(line):
                progress(f"{life.name}: {match[1]} of {match[2]} seconds")
            elif match := LIVED.match(line):
                for item in match[1].split(", "):
                    word, number = item.rsplit(" ", 1)
                    lived[word] += int(number)
            elif not line.startswith("    event: "):
                last.append(line)
    if process.returncode == 0 and last and last[-1].startswith("PASS ") and lived:
        return Outcome("", lived)
    return Outcome(f"{life.name}\n{''.join(last)}{shlex.join(life.command())}", lived)


def lives(seed, days):
    """A day for each seed; free and checked builds take turns."""
    for architecture in hosting.TARGETS:
        for day in range(days):
            yield Life((architecture, ("fre", "chk")[day % 2]), seed + day, DAY)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of the first day")
    parser.add_argument("--days", type=int, default=DAYS, help="for each architecture")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    total, failed = collections.Counter(), 0
    print(f"{arguments.days} days for each of {', '.join(hosting.TARGETS)}, seeds {arguments.seed} to "
          f"{arguments.seed + arguments.days - 1}", flush=True)
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        for outcome in pool.map(lambda life: live(life, lambda text: print(text, flush=True)),
                                lives(arguments.seed, arguments.days)):
            total += outcome.lived
            if outcome.told:
                failed += 1
                print(f"FAIL {outcome.told}", flush=True)
    print(", ".join(f"{name} {number}" for name, number in total.items()) + f", findings {failed}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
