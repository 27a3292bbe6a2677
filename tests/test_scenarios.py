# SPDX-License-Identifier: MIT OR Apache-2.0
"""Every scenario, against each build of the driver, with each kind of interrupt; and `storhost run` itself."""
import functools
import json
import re

import hosting
import pytest

SCENARIOS = sorted((hosting.REPOSITORY / "storhost" / "tests" / "scenarios").glob("*.scn"))
PROGRAMS = {"x64": "storhost", "x86": "storhost-x86"}
BUILDS = [(architecture, kind) for architecture in PROGRAMS for kind in ("fre", "chk")]
INTERRUPTS = ("intx", "msix:1", "msix:2")
SUITE_DEADLINE = 600  # seconds for all scenarios one after the other, which take a few


def said(path, verb):
    """The arguments of a verb in a scenario, each as a list of words."""
    return [line.split()[1:] for line in path.read_text().splitlines() if line.split()[:1] == [verb]]


def applies(path, build, interrupts):
    """Whether it is for that build, and whether another run of it would be the same."""
    kinds = {word for words in said(path, "driver") for word in words}
    own = [words for words in said(path, "option") if words[0] == "interrupts"]
    return kinds <= set(build) and (not own or interrupts == INTERRUPTS[0])


def storhost_run(build, *arguments):
    architecture, kind = build
    driver = hosting.STAGED / architecture / ("chk" if kind == "chk" else "") / "aero_virtio_blk.sys"
    return hosting.run(hosting.OUT / "bin" / PROGRAMS[architecture], "run", driver, *arguments, timeout=SUITE_DEADLINE)


@functools.cache
def verdicts(build, interrupts):
    result = storhost_run(build, *SCENARIOS, "--interrupts", interrupts, "--seed", 1, "--json")
    assert result.returncode in (0, 1), result.told
    return {outcome["file"]: outcome for outcome in json.loads(result.stdout)}


@pytest.mark.parametrize("build, interrupts, path", [
    pytest.param(build, interrupts, path, id=f"{'-'.join(build)}-{interrupts}-{path.stem.removeprefix('test-')}")
    for build in BUILDS for interrupts in INTERRUPTS for path in SCENARIOS if applies(path, build, interrupts)])
def test_scenario(build, interrupts, path):
    outcome = verdicts(build, interrupts)[str(path)]
    assert outcome["verdict"] == "PASS", f"{outcome['claim']}: {outcome['reason']} (seed {outcome['seed']})"


def test_every_scenario_is_named_after_its_claim_and_no_two_claim_the_same():
    claims = [line[2:] for path in SCENARIOS for line in path.read_text().splitlines()[1:2]]
    assert len(set(claims)) == len(SCENARIOS) > 50
    assert all(path.name.startswith("test-") for path in SCENARIOS)


X64 = ("x64", "fre")


@pytest.fixture
def scenario(tmp_path):
    """Writes a scenario file: scenario("start\\nread 0 8")."""
    def write(text, claim="something holds", name="one.scn"):
        path = tmp_path / name
        path.write_text(f"# {claim}\n{text}\n")
        return path
    return write


def test_a_pass_and_a_failure_are_one_line_each(scenario):
    good, bad = scenario("start\nread 0 8"), scenario("start\n\nread 0 8 -> srb BUS_RESET\nread 0 1", name="two.scn")
    result = storhost_run(X64, good, "--seed", 3)
    assert (result.returncode, result.stdout) == (0, "PASS something holds\n"), result.told
    result = storhost_run(X64, bad, good, "--seed", 3)
    assert result.returncode == 1
    assert result.stdout == (f"FAIL something holds: {bad}:4: expected srb BUS_RESET, got good, 4096 bytes (seed 3)\n"
                             "PASS something holds\n"), result.told


def test_a_scenario_for_another_build_is_skipped_and_says_so(scenario):
    path = scenario("driver chk\nstart\nread 0 1 -> srb BUSY")
    result = storhost_run(X64, path)
    assert (result.returncode, result.stdout) == (0, f"SKIP something holds: {path}:2: the driver is no chk build\n")
    assert storhost_run(("x64", "chk"), path).returncode == 1


@pytest.mark.parametrize("text, sentence", [
    ("start\nfly 3", "{}:3: there is no verb 'fly'; 'storhost run --help' has them all"),
    ("option colour blue\nstart", "{}:2: there is no option 'colour'"),
    ("option cpus 0", "{}:2: the number of processors must be a number from 1 to 32, not '0'"),
    ("device queue-size=x", "{}:2: device option queue-size is a number from 0 to 32768, not 'x'"),
])
def test_what_is_no_scenario_is_refused_before_any_runs(scenario, text, sentence):
    good, bad = scenario("start"), scenario(text, name="two.scn")
    result = storhost_run(X64, good, bad)
    assert (result.returncode, result.stdout) == (2, ""), result.told
    assert result.stderr == f"storhost: {sentence.format(bad)}\n"


def test_a_file_that_is_not_there_is_told(tmp_path):
    result = storhost_run(X64, tmp_path / "none.scn")
    assert (result.returncode, result.stderr) == (2, f"storhost: {tmp_path}/none.scn: No such file or directory\n")


@pytest.mark.parametrize("step, reason", [
    ("bytes 0 01", "expected 0x01 at 0, got 0x00"),
    ("text 8 \"NOBODY\"", "expected 0x4e at 8, got 0x41"),
    ("be32 0 5", "expected be32 at 0 == 0x5, got 0x502"),
    ("le16 2 > 0x205", "expected le16 at 2 > 0x205, got 0x205"),
    ("u8 36 0", "expected 1 bytes at 36, got data of 36 bytes"),
    ("returncode 0", "expected an ioctl before, got none"),
    ("expect srbs == 0", "expected srbs == 0, got "),
    ("expect cats == 0", "expected a counter 'cats', got none of that name"),
    ("event \"129\"", "expected an event with '129', got none"),
    ("wait 1", "expected 1 requests to come back, got 0"),
    ("read 0 65535", "expected a request of at most "),
    ("fault stall", "'stall' is not only about faults"),
    ("fault fault=none,queue-size=8", "'fault=none,queue-size=8' is not only about faults"),
    ("resize 1T\nadvance 1\nread 0 8", "expected good, 4096 bytes, got sense 06/2a/09, 0 bytes"),
    ("submit a write 0 8\nsubmit b read 7 1", "expected blocks that nobody is writing or reading, got those of line 4"),
    ("start", "expected a time for 'start', got it when the driver runs"),
    ("wake", "expected a time for 'wake', got it when the driver runs"),
    ("sleep", "at the end: expected a machine that is awake at the end, got one that sleeps"),
    ("submit a write 0 8\nstop", "expected every request to be awaited before, got some that are under way"),
    ("fault fault=io-error\nload 5", "expected good, "),
    ("fault fault=io-error\nload 90 background\nwait 80", "expected good, "),
    ("fault fault=io-error\nsubmit a read 0 1", "expected good, 512 bytes, got sense 03/11/00, 0 bytes (line 5)"),
    ("finding SRB-TWICE", "at the end: expected the finding SRB-TWICE, got none"),
    ("sleep\nsubmit a read 0 8\nawait a", "expected the request to end, got nothing for an hour"),
    ("mark srbs\nread 0 8\nexpect srbs == 0", "expected srbs == 0, got 1"),
    ("mark cats", "expected a counter 'cats', got none of that name"),
    ("neighbour 5", "the adapter has messages and shares no line"),
    ("fault fault-registers=features-refused\nreset unit", "expected good, got srb ERROR"),
])
def test_what_is_not_as_expected_fails(scenario, step, reason):
    path = scenario("start\nscsi 12 00 00 00 24 00 in 36\n" + step)
    result = storhost_run(X64, path, "--seed", 3, "--interrupts", "msix:2")
    assert result.returncode == 1, result.told
    assert result.stdout.startswith(f"FAIL something holds: {path}:")
    assert reason in result.stdout, result.told


def test_a_driver_that_starts_does_not_refuse(scenario):
    result = storhost_run(X64, scenario("start fails \"no\""))
    assert "expected the driver to refuse with 'no', got a start" in result.stdout, result.told


def test_a_named_image_is_the_disk_and_keeps_what_was_not_written(scenario, disk):
    image = disk(hosting.MIB, seed=3)
    before = image.read_bytes()
    result = storhost_run(X64, scenario("start\nread 0 512\nwrite 8 8\nread 0 512"), "--disk", image)
    assert result.returncode == 0, result.told
    after = image.read_bytes()
    assert after[:4096] == before[:4096] and after[8192:] == before[8192:]
    assert all(after[at:at + 512] != before[at:at + 512] for at in range(4096, 8192, 512))


def test_json_has_one_object_for_each_scenario(scenario):
    good, bad = scenario("start"), scenario("option seed 9\nstart\nsleep", claim="it sleeps", name="two.scn")
    skipped = scenario("driver x86\nstart", name="three.scn")
    result = storhost_run(X64, good, bad, skipped, "--json", "--seed", 4)
    assert result.returncode == 1, result.told
    assert json.loads(result.stdout) == [
        {"file": str(good), "claim": "something holds", "verdict": "PASS", "reason": None, "line": 0, "seed": 4},
        {"file": str(bad), "claim": "it sleeps", "verdict": "FAIL", "line": 0, "seed": 9,
         "reason": f"{bad}: at the end: expected a machine that is awake at the end, got one that sleeps"},
        {"file": str(skipped), "claim": "something holds", "verdict": "SKIP", "line": 2, "seed": 4,
         "reason": f"{skipped}:2: the driver is no x86 build"}]


@pytest.mark.parametrize("build", BUILDS, ids="-".join)
def test_the_same_seed_gives_the_same_transcript(build, scenario):
    path = scenario("option cpus 4\ndevice reorder=1,batch=3\nstart\nload 300 retry background\nwait 40\nreset unit\n"
                    "wait 40\nreset bus\nsleep\nwake lost\nwait 1\nrebalance\nawait all\nstop\nstart\nload 50\n"
                    "expect driver_mmio_reads > 0\nexpect interrupts > 0\nexpect doorbells > 0\nexpect srbs > 0")
    runs = [storhost_run(build, path, "--verbose", "--seed", seed).stdout for seed in (6, 6, 7)]
    assert runs[0].endswith("PASS something holds\n"), runs[0]
    assert runs[0] == runs[1] != runs[2]
    assert re.search(r"^6: wait 40$", runs[0], re.MULTILINE)


def test_the_event_log_keeps_more_than_a_few_entries(scenario):
    result = storhost_run(X64, scenario("start\nfault fault=needs-reset,fault-every=9\nload 2400 bytes 512 fails\n"
                                        "expect events > 150\nevent \"asked for a reset\""), "--seed", 3)
    assert result.returncode == 0, result.told


def test_a_life_tells_what_happened_in_it(scenario):
    result = storhost_run(X64, scenario("start\nlive 2000 only reset-unit sleep-lost"), "--seed", 3, "--verbose")
    assert result.returncode == 0, result.told
    lived = dict(item.rsplit(" ", 1) for item in re.search("lived: (.*)", result.stdout)[1].split(", "))
    assert int(lived["seconds"]) >= 2000 and int(lived["reset-unit"]) > 0 and int(lived["sleep-lost"]) > 0
    assert lived["pull"] == lived["io-error"] == "0"


def test_help_tells_every_verb_and_option():
    result = storhost_run(X64, "--help")
    assert result.returncode == 0
    for word in ("submit NAME STEP", "load COUNT", "ioctl \"SIGNATURE\"", "interrupts", "sense KK/AA/QQ", "BUS_RESET"):
        assert word in result.stdout
