# SPDX-License-Identifier: MIT OR Apache-2.0
"""libiscsi's SCSI conformance tests, as Debian has them, against each shipped driver: what passes, fails and is skipped."""
import fnmatch

import hosting
import linux_scsi
import pytest

SIZE = 16 * hosting.MIB
PROVISIONED = "features=+discard+write_zeroes+topology,zeroes-may-unmap=1,physical-exp=3"
# The tests send up to 256 blocks at a time, of whatever size.
BLOCKS_OF_4096 = PROVISIONED + ",blk-size=4096,queue-size=512,seg-max=300"

X64, X64_CHECKED, X86, X86_CHECKED = linux_scsi.BUILDS

# What is not tried, and why.
SKIPS = [
    # The driver does not report these commands as supported. All of them are optional [SBC-3 5.1].
    "CompareAndWrite.*", "ExtendedCopy.*", "GetLBAStatus.*", "OrWrite.*", "Prefetch10.*", "Prefetch16.*", "Prin*.*",
    "Prout*.*", "ReadDefectData10.*", "ReadDefectData12.*", "ReceiveCopyResults.*", "Reserve6.*", "Sanitize.*",
    "WriteAtomic16.*", "WriteSame10.*", "WriteSame16.InvalidDataOutSize",
    # The medium stays in, and is not write-protected.
    "PreventAllow.*", "StartStopUnit.Simple", "ReadOnly.*",
    # One path, and no iSCSI.
    "MultipathIO.*",
    # Its first refusal, which it asks for, is also how it sees that the command is missing. sg_opcodes does its work.
    "ReportSupportedOpcodes.OneCommand",
]


def is_skipped(name):
    return any(fnmatch.fnmatch(name, pattern) for pattern in SKIPS)


@pytest.fixture
def conformance(disk, tmp_path, monkeypatch):
    """conformance(build, tests, "--dataloss", fail=(), device=…): outcomes, and the host. Those in `fail` do, no other."""
    monkeypatch.chdir(tmp_path)

    def run(build, tests, *words, fail=(), **keywords):
        host = linux_scsi.Host(build, disk(SIZE, seed=3), tmp_path, **keywords)
        told = host.run("iscsi-test-cu --verbose", f"--test=SCSI.{tests}", *words, status=None, timeout=300)
        outcomes = linux_scsi.parse_cunit(told)
        failed = {name: lines for name, (passed, lines) in outcomes.items() if not passed}
        assert "Run Summary" in told and set(failed) == set(fail), failed or told[-4000:]
        return outcomes, host
    return run


def skipped(outcomes):
    return {name for name, (_, lines) in outcomes.items() if any("[SKIPPED]" in line for line in lines)}


@pytest.mark.parametrize("build, tests, device, least", [
    pytest.param(X64, "*", PROVISIONED, 215, id="x64-fre"),
    pytest.param(X64, "[RU]*", BLOCKS_OF_4096, 42, id="x64-fre-4096"),
    # What takes seconds is tried in one length of command.
    pytest.param(X86, "*16", PROVISIONED, 48, id="x86-fre-16"),
    pytest.param(X86, "[!VWR]*", PROVISIONED, 89, id="x86-fre"),
    pytest.param(X64_CHECKED, "[!VWR]*", PROVISIONED, 89, id="x64-chk"),
    pytest.param(X86_CHECKED, "[!VWR]*", PROVISIONED, 89, id="x86-chk"),
])
def test_libiscsis_tests_pass_and_skip_what_the_disk_does_not_claim(conformance, build, tests, device, least):
    outcomes, _ = conformance(build, tests, "--dataloss", device=device)
    assert len(outcomes) >= least
    assert skipped(outcomes) == {name for name in outcomes if is_skipped(name)}


def test_a_device_that_keeps_its_zeroes_does_not_claim_to_unmap_them(conformance):
    outcomes, _ = conformance(X64, "WriteSame16", "--dataloss", device="features=+discard+write_zeroes,zeroes-may-unmap=0")
    assert len(outcomes) >= 10 and skipped(outcomes) == {
        f"WriteSame16.{test}" for test in ("InvalidDataOutSize", "Unmap", "UnmapUnaligned", "UnmapUntilEnd")}


def test_libiscsis_tests_write_nothing_unless_they_may(conformance):
    """Without --dataloss, tests that write are skipped; three do not ask first, and fail when their writes are."""
    forgetful = {f"WriteVerify{length}.Dpo" for length in (10, 12, 16)}
    outcomes, host = conformance(X64, "[UW]*", fail=forgetful, device=PROVISIONED)
    assert set(outcomes) - skipped(outcomes) == forgetful and len(outcomes) >= 63
    assert (host.report["bytes_written"], host.report["discards"], host.report["zeroes"]) == (0, 0, 0)
    assert host.image.read_bytes() == hosting.make_disk(host.image.with_name("same.img"), SIZE, seed=3).read_bytes()


@pytest.mark.parametrize("build", [X64, X86], ids="-".join)
def test_no_command_that_writes_gets_by_the_write_protection(conformance, build):
    outcomes, host = conformance(build, "ReadOnly", "--dataloss", device="read-only=1")
    passed, lines = outcomes["ReadOnly.ReadOnlySBC"]
    assert passed and not any("write-protected" in line for line in lines), lines
    assert host.report["bytes_written"] == 0
