# SPDX-License-Identifier: MIT OR Apache-2.0
"""Fuzzing: the corpora find nothing under sanitizers, nor do runs by seed on what ships; and it finds what is there."""
import pathlib
import re
import sys

import hosting
import pytest

sys.path.insert(0, str(hosting.REPOSITORY / "tools"))
import corpus  # noqa: E402

TARGETS = hosting.REPOSITORY / "build" / "native-asan" / "storhost" / "tests" / "fuzz"
BUILDS = [(architecture, kind) for architecture in hosting.TARGETS for kind in ("fre", "chk")]
RUNS = 250
CLAUSES = 20  # of the specification and the contract that the corpus of rings breaks, at least


def fuzz(architecture, driver, *arguments):
    return hosting.run(hosting.TARGETS[architecture].program, "fuzz", driver, *arguments)


@pytest.mark.parametrize("target", corpus.TARGETS)
def test_a_corpus_finds_nothing(target, tmp_path):
    inputs = corpus.unpack(target, tmp_path / target)
    result = hosting.run(TARGETS / f"fuzz-{target}", *inputs)
    assert len(inputs) > 20
    assert result.returncode == 0, result.told
    if target == "rings":
        assert int(re.search(r"^violations seen: (\d+)", result.stdout, re.MULTILINE)[1]) >= CLAUSES, result.told


@pytest.mark.parametrize("build", BUILDS, ids="-".join)
def test_runs_by_seed_find_nothing(build):
    architecture, kind = build
    driver = hosting.STAGED / architecture / ("chk" if kind == "chk" else "") / "aero_virtio_blk.sys"
    result = fuzz(architecture, driver, "--runs", RUNS)
    assert (result.returncode, result.stdout) == (0, f"{2 * RUNS} runs, nothing found\n"), result.told


def test_a_first_machine_without_a_device_leaves_nothing_behind_that_the_next_is_blamed_for():
    # The device options of this seed are wrong in both of its runs: no machine is made.
    result = fuzz("x64", hosting.DRIVER, "--seed", 48001, "--runs", 2)
    assert (result.returncode, result.stdout) == (0, "4 runs, nothing found\n"), result.told


@pytest.mark.parametrize("side", ["device", "windows"])
def test_a_corpus_finds_nothing_in_what_ships(target, side, tmp_path):
    inputs = corpus.unpack(side, tmp_path)
    result = hosting.run(target.program, "fuzz", target.shipped, "--side", side, *inputs)
    assert (result.returncode, result.stdout) == (0, f"{len(inputs)} runs, nothing found\n"), result.told


@pytest.mark.parametrize("mistake, told", [
    ("BreakDriverFault", "finding DRIVER-FAULT"),
    ("BreakSrbTwice", "finding SRB-TWICE"),
])
def test_a_mistake_is_found_and_can_be_repeated(miniports, mistake, told):
    driver = miniports["x64"].driver(mistake)
    result = fuzz("x64", driver, "--side", "windows")
    assert result.returncode == 1 and told in result.stderr, result.told
    bad, words = result.stdout.rstrip().split(": storhost ")
    assert bad == "bad" and words.startswith(f"fuzz {driver} --side windows --seed ")
    again = hosting.storhost(*words.split())
    assert again.returncode == 1 and told in again.stderr, again.told


def test_the_same_seed_gives_the_same_runs():
    first, second, other = [fuzz("x64", hosting.DRIVER, "--runs", 3, "--seed", seed, "--verbose").stderr
                            for seed in (4, 4, 5)]
    assert "request: function" in first
    assert first == second != other


@pytest.mark.parametrize("words, sentence", [
    (["--side", "both"], "--side is device or windows, not 'both'"),
    (["--seed", "x"], "--seed must be a number from 0 on, not 'x'"),
    (["--runs"], "--runs needs a value"),
    (["--speed", "3"], "there is no option --speed"),
    ([pathlib.Path(__file__)], "which side is the input for? --side device or --side windows"),
    (["--side", "device", "/nowhere/x"], "/nowhere/x: No such file or directory"),
])
def test_wrong_words_are_refused(words, sentence):
    result = fuzz("x64", hosting.DRIVER, *words)
    assert (result.returncode, result.stdout) == (2, ""), result.told
    assert result.stderr == f"storhost: {sentence}\n"
