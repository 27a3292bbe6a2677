# SPDX-License-Identifier: MIT OR Apache-2.0
"""A run in the deterministic mode is a function of its seed."""
import re

import hosting
import pytest

SEEDS = range(501, 509)
MACHINES = [("intx", 1), ("msix:1", 2), ("msix:2", 4)]
READY = "00 00 00 00 00 00"
READ_ALL = "28 00 00 00 00 00 00 02 00 00"  # 512 blocks
SIZE = 512 * 512
# Replies out of order, several of them per interrupt.
DEVICE = "reorder=1,batch=3,outstanding=8"


def steps(driver, image, seed, cpus):
    """How many scheduling points a run had passed when its driver made a mistake, which a finding tells."""
    command = hosting.scsi(driver, image, READY, seed=seed, interrupts="intx", cpus=cpus)
    (step,) = re.findall(rf"^finding SRB-READONLY: .*\(seed {seed}, step (\d+)\)$", command.stderr, re.MULTILINE)
    return int(step)


@pytest.mark.parametrize("interrupts, cpus", MACHINES)
def test_the_same_seed_gives_the_same_report(scsi, disk, interrupts, cpus):
    image = disk(SIZE, seed=11)
    for seed in SEEDS:
        first, second = (scsi(image, READ_ALL, seed=seed, interrupts=interrupts, cpus=cpus, device=DEVICE)
                         for _ in range(2))
        assert (first.status, first.seed, first.transferred) == (0, seed, SIZE), first.told
        assert first.report == second.report, f"seed {seed}"


@pytest.mark.parametrize("cpus", [1, 4])
def test_the_same_seed_takes_the_same_steps_and_another_seed_others(miniports, disk, cpus):
    image = disk(SIZE)
    driver = miniports["x64"].driver("BreakSrbReadonly")
    runs = [[steps(driver, image, seed, cpus) for seed in SEEDS] for _ in range(2)]
    assert runs[0] == runs[1]
    assert len(set(runs[0])) > 1, runs[0]


def test_a_run_without_a_seed_prints_the_one_it_took(disk):
    image = disk(SIZE)
    words = ["scsi", hosting.DRIVER, *hosting.options(disk=image, cpus=4), "--json"]
    chosen = [hosting.Command(hosting.storhost(*words, "--", *READ_ALL.split())) for _ in range(2)]
    assert chosen[0].seed != chosen[1].seed, chosen[0].told
    for command in chosen:
        again = hosting.Command(hosting.storhost(*words, "--seed", command.seed, "--", *READ_ALL.split()))
        assert again.report == command.report, again.told
