# SPDX-License-Identifier: MIT OR Apache-2.0
"""storhost explore: a bounded sample of what `make explore` tries to the end, and the command itself."""
import json
import re
import shlex

import hosting
import pytest

SCENARIOS = sorted((hosting.REPOSITORY / "storhost" / "tests" / "schedules").glob("*.scn"))
BUILDS = [(architecture, kind) for architecture in hosting.TARGETS for kind in ("fre", "chk")]
INTERRUPTS = ("intx", "msix:1", "msix:2")
X64 = ("x64", "fre")
DEADLINE = 600  # seconds for a sample that takes one


def driver_of(build):
    architecture, kind = build
    return hosting.STAGED / architecture / ("chk" if kind == "chk" else "") / "aero_virtio_blk.sys"


def named(part):
    path, = (path for path in SCENARIOS if part in path.name)
    return path


def explore(build, *arguments):
    return hosting.run(hosting.TARGETS[build[0]].program, "explore", driver_of(build), *arguments, timeout=DEADLINE)


def explored(build, *arguments):
    result = explore(build, *arguments, "--json")
    assert result.returncode in (0, 1), result.told
    return json.loads(result.stdout)


@pytest.mark.parametrize("interrupts", INTERRUPTS)
@pytest.mark.parametrize("build", BUILDS, ids="-".join)
def test_every_order_without_preemption_is_good_and_some_at_random(build, interrupts):
    for outcome in explored(build, *SCENARIOS, "--interrupts", interrupts, "--preemptions", 0, "--random", 5):
        if outcome["verdict"] == "SKIP":
            assert build[0] == "x86" and "ring" in outcome["claim"], outcome
            continue
        assert outcome["verdict"] == "PASS", f"{outcome['claim']}: {outcome['reason']}\n{outcome['again']}"
        assert outcome["exhausted"] and outcome["random"] == 5 and outcome["schedules"] > 1, outcome


@pytest.mark.parametrize("build, interrupts", zip(BUILDS, ("msix:1", "intx", "msix:2", "msix:1")))
def test_two_requests_are_good_in_every_order_with_one_preemption(build, interrupts):
    outcome, = explored(build, named("every-order"), "--interrupts", interrupts, "--preemptions", 1)
    assert outcome["verdict"] == "PASS" and outcome["exhausted"], outcome
    assert outcome["schedules"] > outcome["points"] > 10, outcome


def test_no_completion_is_lost_between_two_accesses_to_the_ring():
    # A driver that arms interrupts after its last look at the ring fails in the 295th.
    outcome, = explored(X64, named("every-access"), "--limit", 600, "--interrupts", "msix:2")
    assert (outcome["verdict"], outcome["schedules"]) == ("PASS", 600), outcome
    usual, = explored(X64, named("every-order"), "--limit", 1, "--interrupts", "msix:2")
    assert outcome["points"] > usual["points"], (outcome, usual)


def test_a_change_between_a_look_and_its_end_is_not_lost_on_x64():
    # A driver that forgets a pending change after it has read the capacity fails in the 362nd.
    outcome, = explored(X64, named("leave-the-last-size"), "--limit", 600, "--interrupts", "msix:2")
    assert (outcome["verdict"], outcome["schedules"]) == ("PASS", 600), outcome


@pytest.mark.parametrize("interrupts", INTERRUPTS)
def test_a_reset_is_not_over_before_what_is_being_returned_is_back_on_x64(interrupts):
    # A driver that does not wait for the other processor's DPC fails in the 373rd to 384th.
    outcome, = explored(X64, named("unit-reset"), "--limit", 600, "--interrupts", interrupts)
    assert (outcome["verdict"], outcome["schedules"]) == ("PASS", 600), outcome


@pytest.mark.parametrize("interrupts", INTERRUPTS)
@pytest.mark.parametrize("name", ("sleep-beside-a-resize", "untold-rebalance-beside-a-resize"))
def test_no_dpc_works_beside_a_stop_on_x64(name, interrupts):
    # The checked driver says so. Of a stop that nothing announced: one that does not wait for a DPC, or whose DPC does
    # not look whether the adapter is paused, fails in the 76th or 80th.
    outcome, = explored(("x64", "chk"), named(name), "--preemptions", 1, "--interrupts", interrupts)
    assert outcome["verdict"] == "PASS" and outcome["exhausted"] and outcome["schedules"] > 88, outcome


def test_accesses_to_the_ring_are_seen_on_x64_only():
    result = hosting.run(hosting.TARGETS["x86"].program, "run", driver_of(("x86", "fre")), named("every-order"),
                         "--ring-points", 1)
    assert result.returncode == 1
    assert "ring-points are for x64 drivers: this storhost decodes no instructions" in result.stdout, result.told


# ---- the command ----

# With the one before the window. Not so where the device still works when the second request comes.
ONE_DOORBELL_EACH = "await all\nexpect doorbells == 3"


@pytest.fixture
def scenario(tmp_path):
    """Writes a scenario whose two requests begin and end in any order."""
    def write(text, claim="something holds", before=""):
        path = tmp_path / "one.scn"
        path.write_text(f"# {claim}\noption cpus 2\n{before}start\nexplore begin\nsubmit one write 0 8\n"
                        f"submit two read 16 8\n{text}\nawait all\nexplore end\n")
        return path
    return write


def test_a_failure_is_repeated_by_the_command_that_is_printed(scenario):
    path = scenario(ONE_DOORBELL_EACH)
    result = explore(X64, path, "--preemptions", 2, "--interrupts", "msix:2")
    assert result.returncode == 1, result.told
    match = re.search(r"^FAIL something holds: \d+ schedules: (.*)\n  again: (storhost run .*)$", result.stdout,
                      re.MULTILINE)
    assert match, result.told
    words = shlex.split(match[2])
    assert words[-2] == "--schedule" and re.fullmatch(r"(\d+:\d+)(,\d+:\d+)*", words[-1]), words
    again = hosting.run(hosting.TARGETS["x64"].program, *words[1:])
    assert again.returncode == 1 and match[1] in again.stdout, again.told
    usual = hosting.run(hosting.TARGETS["x64"].program, *words[1:-1], "-")
    assert usual.returncode == 0, usual.told


def test_a_random_failure_is_made_small(scenario):
    path = scenario(ONE_DOORBELL_EACH)
    outcome, = explored(X64, path, "--preemptions", 0, "--random", 200)
    assert outcome["verdict"] == "FAIL" and outcome["random"] > 0, outcome
    assert outcome["again"].count(":") <= 4, outcome


def test_the_same_bounds_give_the_same_schedules(scenario):
    path = scenario("")
    first, second = (explored(X64, path, "--preemptions", 1, "--random", 10) for _ in range(2))
    assert first == second


def test_a_limit_that_is_too_small_is_told(scenario):
    path = scenario("")
    result = explore(X64, path, "--limit", 10)
    assert result.stdout == "PASS something holds: 10 schedules, not all of those with at most 1 preemptions\n"
    outcome, = explored(X64, path, "--limit", 10)
    assert (outcome["schedules"], outcome["exhausted"]) == (10, False)


@pytest.mark.parametrize("arguments, sentence", [
    (["--preemptions", "many"], "--preemptions must be a number from 0 to 100, not 'many'"),
    (["--schedule", "1:1"], "explore makes the schedules by itself: --schedule is for 'storhost run'"),
    (["--threads", "1"], "threads follow no schedule: explore needs threads=0"),
    (["--colour", "blue"], "there is no option --colour"),
    (["--limit"], "--limit needs a value"),
])
def test_what_cannot_be_explored_is_refused(scenario, arguments, sentence):
    result = explore(X64, scenario(""), *arguments)
    assert (result.returncode, result.stdout, result.stderr) == (2, "", f"storhost: {sentence}\n"), result.told


@pytest.mark.parametrize("text", ["1", "1:0", "2:1,1:1", "x", "1:1,", "1:1;2:1", "", "99999999999:1"])
def test_what_is_no_schedule_is_refused(scenario, text):
    result = hosting.run(hosting.STORHOST, "run", driver_of(X64), scenario(""), "--schedule", text)
    assert result.returncode == 2 and "a schedule is POINT:CHOICE,... in ascending order, or -" in result.stderr
