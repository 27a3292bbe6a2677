#!/usr/bin/python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""The matrix: interrupt grants × queue sizes × blocks × features × processors, each cell a scenario on one machine."""
import argparse
import concurrent.futures
import itertools
import os
import random
import shlex
import sys
import typing

import hosting

CAMPAIGNS = hosting.REPOSITORY / "storhost" / "tests" / "campaigns"
BUILDS = tuple(itertools.product(hosting.TARGETS, ("fre", "chk")))

# One message where more were asked for is what Windows grants when it cannot give all: msix:1 of a table of two.
GRANTS = ("intx", "msi:1", "msi:2", "msi:4", "msix:1", "msix:2", "msix:3", "msix:4")
QUEUES = (2, 4, 8, 64, 128, 256, 1024)
BLOCKS = {"512": (512, 0), "512e": (512, 3), "1024": (1024, 2), "2048": (2048, 1), "4096": (4096, 0)}
SINGLE = ("indirect", "event_idx", "size_max", "seg_max", "geometry", "ro", "blk_size", "flush", "topology",
          "config_wce", "mq", "discard", "write_zeroes", "access_platform", "packed", "order_platform")
FEATURES = ("none", *SINGLE, "all")  # all: but for ro, which lets nothing be written
CPUS = (1, 2, 4)
AXES = (GRANTS, QUEUES, tuple(BLOCKS), FEATURES, CPUS)


class Cell(typing.NamedTuple):
    """One machine, and the build of the driver that it gets."""
    number: int
    grant: str
    queue: int
    block: str
    features: str
    cpus: int
    build: tuple

    @property
    def name(self):
        return "-".join((*self.build, self.grant, f"q{self.queue}", self.block, self.features, f"cpus{self.cpus}"))

    @property
    def values(self):
        """What a sample has to meet: each value of each axis with each build."""
        return {(axis, value, self.build) for axis, value in enumerate(self[1:6])}

    def device(self):
        size, exponent = BLOCKS[self.block]
        offered = set(SINGLE) - {"ro"} if self.features == "all" else {self.features} - {"none"}
        # A block size and an exponent are there only with the features that tell of them.
        offered |= {"blk_size"} if size != 512 else set()
        offered |= {"topology"} if exponent else set()
        features = "".join(("+" if name in offered else "-") + name for name in SINGLE)
        words = {"features": features, "queue-size": self.queue, "blk-size": size, "physical-exp": exponent,
                 "size-max": 8192, "num-queues": 4 if "mq" in offered else 1}
        if self.grant.startswith("msix:"):
            words["msix-vectors"] = max(2, int(self.grant[5:]))
        return ",".join(f"{key}={value}" for key, value in words.items())

    def command(self, seed):
        architecture, kind = self.build
        program = hosting.TARGETS[architecture].program
        driver = hosting.STAGED / architecture / ("chk" if kind == "chk" else "") / "aero_virtio_blk.sys"
        scenario = CAMPAIGNS / ("read-only-cell.scn" if self.features == "ro" else "cell.scn")
        return [program, "run", driver, scenario, *hosting.options(
            interrupts=self.grant, cpus=self.cpus, device=self.device(), seed=seed * 100000 + self.number)]


def cells():
    """All of them. The builds go round with the sum of the places on the axes: each value meets each build."""
    for number, places in enumerate(itertools.product(*(range(len(axis)) for axis in AXES))):
        values = (axis[place] for axis, place in zip(AXES, places))
        yield Cell(number, *values, BUILDS[sum(places) % len(BUILDS)])


def sample(seed):
    """Some cells, in which each value of each axis meets each build."""
    shuffled = list(cells())
    random.Random(seed).shuffle(shuffled)
    chosen, met = [], set()
    for cell in shuffled:
        if not cell.values <= met:
            chosen.append(cell)
            met |= cell.values
    return chosen


def failure(cell, seed):
    """"" if the cell passes, else what it said and the command that says it again."""
    result = hosting.run(*cell.command(seed))
    if result.returncode == 0 and result.stdout.startswith("PASS "):
        return ""
    return f"{cell.name}\n{result.stdout}{result.stderr}{shlex.join(str(word) for word in cell.command(seed))}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of the machines, and of the sample")
    parser.add_argument("--sample", action="store_true", help="only as many cells as show each build each value")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    chosen = sample(arguments.seed) if arguments.sample else list(cells())
    failed = 0
    print(f"{len(chosen)} cells, seed {arguments.seed}", flush=True)
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        results = pool.map(lambda cell: failure(cell, arguments.seed), chosen)
        for done, told in enumerate(results, 1):
            if told:
                failed += 1
                print(f"FAIL {told}", flush=True)
            if done % 500 == 0:
                print(f"{done} of {len(chosen)} cells, {failed} failed", flush=True)
    print(f"{len(chosen) - failed} cells passed, {failed} failed (seed {arguments.seed})")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
