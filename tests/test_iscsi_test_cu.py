# SPDX-License-Identifier: MIT OR Apache-2.0
"""libiscsi's SCSI conformance tests, as Debian has them, against each shipped driver: what passes, fails and is skipped."""
import fnmatch
import functools
import re

import hosting
import iscsi_skips
import linux_scsi
import pytest

SIZE = 16 * hosting.MIB
PROVISIONED = "features=+discard+write_zeroes+topology,zeroes-may-unmap=1,physical-exp=3"
# The tests send up to 256 blocks at a time, of whatever size.
BLOCKS_OF_4096 = PROVISIONED + ",blk-size=4096,queue-size=512,seg-max=300"

X64, X64_CHECKED, X86, X86_CHECKED = linux_scsi.BUILDS

@pytest.fixture
def conformance(disk, tmp_path, monkeypatch):
    """conformance(build, tests, "--dataloss", fail=(), device=…): outcomes, and the host. Those in `fail` do, no other."""
    monkeypatch.chdir(tmp_path)

    def run(build, tests, *words, fail=(), **keywords):
        host = linux_scsi.Host(build, disk(SIZE, seed=3), tmp_path, **keywords)
        told = host.run("iscsi-test-cu --verbose", f"--test={tests}", *words, status=None, timeout=300)
        outcomes = linux_scsi.parse_cunit(told)
        failed = {name: lines for name, (passed, lines) in outcomes.items() if not passed}
        assert "Run Summary" in told and set(failed) == set(fail), failed or told[-4000:]
        return outcomes, host
    return run


@functools.cache
def listed():
    """What the tool has: the names of each family's tests."""
    names = [line.split(".") for line in hosting.run("iscsi-test-cu", "--list").stdout.split()]
    return {family: {".".join(name[1:]) for name in names if len(name) == 3 and name[0] == family}
            for family in ("ALL", "SCSI", "LINUX")}


def chosen(tests):
    """The names that a pattern like SCSI.Read*.Simple stands for."""
    family, _, rest = tests.partition(".")
    suite, _, test = rest.partition(".")
    return {name for name in listed()[family] if fnmatch.fnmatchcase(name, f"{suite or '*'}.{test or '*'}")}


def skips(outcomes):
    """What was skipped, with the tool's words."""
    said = {name: [line for line in lines if "[SKIPPED]" in line] for name, (_, lines) in outcomes.items()}
    return {name: lines for name, lines in said.items() if lines}


def skipped(outcomes):
    return set(skips(outcomes))


def test_the_other_families_are_parts_of_all():
    assert len(listed()["ALL"]) >= 230
    assert listed()["SCSI"] < listed()["ALL"] and listed()["LINUX"] < listed()["ALL"]


def test_each_reason_for_a_skip_is_one_tests_reason_at_least():
    for skip in iscsi_skips.SKIPS:
        for pattern in skip.patterns:
            assert any(fnmatch.fnmatchcase(name, pattern) for name in listed()["ALL"]), pattern
    assert [name for name in listed()["ALL"] if len(iscsi_skips.reasons(name)) > 1] == []


@pytest.mark.parametrize("build, tests, device", [
    pytest.param(X64, "ALL", PROVISIONED, id="x64-fre"),
    pytest.param(X64, "SCSI.[RU]*", BLOCKS_OF_4096, id="x64-fre-4096"),
    # What takes seconds is tried in one length of command.
    pytest.param(X86, "SCSI.*16", PROVISIONED, id="x86-fre-16"),
    pytest.param(X86, "SCSI.[!VWR]*", PROVISIONED, id="x86-fre"),
    pytest.param(X64_CHECKED, "LINUX.[!VWR]*", PROVISIONED, id="x64-chk"),
    pytest.param(X86_CHECKED, "LINUX.[!VWR]*", PROVISIONED, id="x86-chk"),
])
def test_libiscsis_tests_pass_and_skip_what_the_disk_does_not_claim(conformance, build, tests, device):
    outcomes, _ = conformance(build, tests, "--dataloss", device=device)
    assert set(outcomes) == chosen(tests) and outcomes
    told = skips(outcomes)
    assert set(told) == {name for name in outcomes if iscsi_skips.reasons(name)}
    for name, lines in told.items():
        assert re.search(iscsi_skips.reasons(name)[0].says, " ".join(lines)), (name, lines)


def test_tests_that_send_nothing_are_known(conformance):
    """Their machines do what a machine does without a tool, and no more."""
    _, idle = conformance(X64, "ALL.PreventAllow.Simple", device=PROVISIONED)
    _, busy = conformance(X64, "ALL.ReadCapacity10.Simple", device=PROVISIONED)
    assert busy.report["srbs"] > idle.report["srbs"]
    for name in iscsi_skips.EMPTY:
        outcomes, host = conformance(X64, f"ALL.{name}", "--dataloss", device=PROVISIONED)
        assert outcomes[name] == (True, []) and host.report["srbs"] <= idle.report["srbs"], host.report


def test_a_device_that_keeps_its_zeroes_does_not_claim_to_unmap_them(conformance):
    outcomes, _ = conformance(X64, "SCSI.WriteSame16", "--dataloss", device="features=+discard+write_zeroes,zeroes-may-unmap=0")
    assert len(outcomes) >= 10 and skipped(outcomes) == {
        f"WriteSame16.{test}" for test in ("InvalidDataOutSize", "Unmap", "UnmapUnaligned", "UnmapUntilEnd")}


def test_libiscsis_tests_write_nothing_unless_they_may(conformance):
    """Without --dataloss, tests that write are skipped; three do not ask first, and fail when their writes are."""
    forgetful = {f"WriteVerify{length}.Dpo" for length in (10, 12, 16)}
    outcomes, host = conformance(X64, "SCSI.[UW]*", fail=forgetful, device=PROVISIONED)
    assert set(outcomes) - skipped(outcomes) == forgetful and len(outcomes) >= 63
    assert (host.report["bytes_written"], host.report["discards"], host.report["zeroes"]) == (0, 0, 0)
    assert host.image.read_bytes() == hosting.make_disk(host.image.with_name("same.img"), SIZE, seed=3).read_bytes()


@pytest.mark.parametrize("build", [X64, X86], ids="-".join)
def test_no_command_that_writes_gets_by_the_write_protection(conformance, build):
    outcomes, host = conformance(build, "SCSI.ReadOnly", "--dataloss", device="read-only=1")
    passed, lines = outcomes["ReadOnly.ReadOnlySBC"]
    assert passed and not any("write-protected" in line for line in lines), lines
    assert host.report["bytes_written"] == 0
