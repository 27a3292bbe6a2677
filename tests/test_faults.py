# SPDX-License-Identifier: MIT OR Apache-2.0
"""A sample of the faults that `make faults` injects everywhere, and `storhost faults` itself."""
import json
import re

import faults
import hosting
import pytest

EVERY = 61  # occasions: each kind of fault once in most scenarios, more often where there are many
SAMPLES = list(zip(faults.BUILDS, ("intx", "msix:2", "msix:1", "intx")))
KINDS = re.findall(r"^INJECT\(\w+, \"([\w-]+)\"",
                   (hosting.REPOSITORY / "storhost" / "base" / "inject.def").read_text(), re.MULTILINE)


def storhost_faults(*arguments, program=hosting.STORHOST):
    return hosting.run(program, "faults", *arguments, timeout=300)


@pytest.fixture
def scenario(tmp_path):
    """Writes a scenario file: scenario("start\\nread 0 8")."""
    def write(text):
        path = tmp_path / "one.scn"
        path.write_text(f"# something holds\n{text}\n")
        return path
    return write


@pytest.mark.parametrize("build, interrupts", SAMPLES, ids=lambda value: value if isinstance(value, str) else "-".join(value))
def test_a_fault_anywhere_leaves_clean_answers(build, interrupts):
    result = storhost_faults(faults.driver_of(build), *faults.SCENARIOS, "--interrupts", interrupts, "--every", EVERY,
                             "--seed", 11, program=hosting.TARGETS[build[0]].program)
    assert result.returncode == 0, result.told
    assert int(faults.SUMMARY.search(result.stdout)[1]) > 10 * len(faults.SCENARIOS), result.told


def test_every_kind_of_fault_has_occasions():
    result = storhost_faults(hosting.DRIVER, *faults.SCENARIOS, "--every", 100000, "--seed", 2, "--json")
    kinds = [kind for outcome in json.loads(result.stdout) for kind in outcome["kinds"]]
    assert {kind["kind"] for kind in kinds if kind["occasions"] and kind["runs"] == 1} == set(KINDS), result.told
    assert not any(kind["failures"] for kind in kinds), result.told


def test_a_driver_that_gives_no_reason_is_found_with_the_command_that_repeats_it(miniports, scenario):
    driver, path = miniports["x64"].driver("BreakNothing"), scenario("start")
    result = storhost_faults(driver, path, "--kind", "call", "--interrupts", "intx", "--seed", 4)
    assert result.returncode == 1, result.told
    found = re.search(r"^FAIL something holds, call (\d+) \(StorPortGetDeviceBase\): (.*)\n +storhost (.*)$", result.stdout,
                      re.MULTILINE)
    assert found and "expected an event that says why the adapter does not start, got none" in found[2], result.told
    again = storhost_faults(*found[3].replace("'", "").split()[1:])
    assert again.returncode == 1 and found[2] in again.stdout and "1: start" not in again.stdout, again.told
    assert "2: start" in again.stdout and "2 runs, 1 failed" in again.stdout, again.told


def test_a_device_request_that_fails_and_nobody_hears_of_is_found(miniports, scenario):
    driver, path = miniports["x64"].driver("BreakNothing"), scenario("start\nscsi 00 00 00 00 00 00")
    result = storhost_faults(driver, path, "--kind", "request-refused", "--interrupts", "intx", "--seed", 4)
    assert result.returncode == 1 and "expected a request that failed, since a flush did, got none" in result.stdout, result.told


def test_what_fails_without_a_fault_is_told_and_no_fault_is_tried(scenario):
    result = storhost_faults(hosting.DRIVER, scenario("start\nread 0 1 -> srb BUS_RESET"), "--seed", 4)
    assert result.returncode == 1, result.told
    assert result.stdout.startswith("FAIL something holds, without a fault: "), result.told
    assert result.stdout.endswith("\n1 runs, 1 failed (seed 4)\n"), result.told


def test_the_same_seed_gives_the_same_runs(scenario):
    words = [hosting.DRIVER, scenario("option cpus 3\nstart\nload 12 depth 4"), "--every", 9, "--json", "--seed"]
    runs = [storhost_faults(*words, seed).stdout for seed in (5, 5, 6)]
    assert runs[0] == runs[1] != runs[2]


@pytest.mark.parametrize("words, sentence", [
    (["--kind", "storm"], "there is no kind of fault 'storm'; 'storhost faults --help' has them all"),
    (["--every", "0"], "--every must be a number from 1 on, not '0'"),
    (["--at"], "--at needs a value"),
    (["--threads", "1"], "runs in real threads do not repeat: faults needs threads=0"),
    (["--disk", "any.img"], "faults has a disk of its own for each run"),
])
def test_a_wrong_option_is_refused(scenario, words, sentence):
    result = storhost_faults(hosting.DRIVER, scenario("start"), *words)
    assert (result.returncode, result.stdout, result.stderr) == (2, "", f"storhost: {sentence}\n"), result.told


def test_help_tells_every_kind():
    result = storhost_faults("--help")
    assert result.returncode == 0
    assert all(f"  {kind} " in result.stdout for kind in KINDS), result.told
