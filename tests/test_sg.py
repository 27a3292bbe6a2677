# SPDX-License-Identifier: MIT OR Apache-2.0
"""sg3_utils and smartctl, as Debian has them, at the disk of each shipped driver."""
import os
import re
import signal
import subprocess
import sys
import time

import hosting
import linux_scsi
import pytest

BLOCKS = 4096
SIZE = BLOCKS * 512
SERIAL = "AB 0815"
PROVISIONED = "features=+discard+write_zeroes,zeroes-may-unmap=1"

# sg3_utils' exit statuses [sg3_utils(8)]
ILLEGAL_REQUEST = 5
INVALID_OPCODE = 9
MISCOMPARE = 14
OUT_OF_RANGE = 22
MEDIUM_ERROR = 3
WRITE_PROTECTED = 7
OTHER = 99

READ_BLOCK_1 = "28 00 00 00 00 01 00 00 01 00"


@pytest.fixture(params=linux_scsi.BUILDS, ids=lambda build: "-".join(build))
def build(request):
    return request.param


@pytest.fixture
def host(build, disk, tmp_path):
    """host(**options): the disk, of random bytes, behind the driver."""
    def make(size=SIZE, seed=5, **keywords):
        return linux_scsi.Host(build, disk(size, seed=seed), tmp_path, **keywords)
    return make


@pytest.fixture
def x64(disk, tmp_path):
    """For what is about the way to the driver, and the same whichever it is."""
    def make(**keywords):
        return linux_scsi.Host(linux_scsi.BUILDS[0], disk(SIZE, seed=5), tmp_path, **keywords)
    return make


def raw(host, cdb, *words, status=0):
    """sg_raw: words, the device, and the command's bytes."""
    return host.run("sg_raw", *words, linux_scsi.DEVICE, *cdb.split(), device=None, status=status)


# ---- what the disk says of itself ----

def test_sg_inq_and_sg_vpd_read_identity_and_every_page(host):
    disk = host(device=f"serial={SERIAL}")
    told = disk.run("sg_inq --descriptors")
    assert "SPC-3 (no version claimed)" in told and "SBC-3 (no version claimed)" in told, told
    assert re.search(r"version=0x05  \[SPC-3\]", told) and "PDT=0 " in told and "CmdQue=1" in told, told
    assert "Vendor identification: AERO" in told and f"Unit serial number: {SERIAL}" in told, told
    listed = re.findall(r"0x([0-9a-f]{2})", disk.run("sg_vpd --long"))
    assert {"00", "80", "83", "b0", "b1", "b2"} <= set(listed), listed
    everything = disk.run("sg_vpd --all --long")
    for words in (f"Unit serial number: {SERIAL}", "vendor id: AERO", "Maximum transfer length: 992 blocks",
                  "Non-rotating medium", "Block limits VPD page", "Logical block provisioning VPD page"):
        assert words in everything, everything
    raw(disk, "12 01 81 00 ff 00", "--request=255", status=ILLEGAL_REQUEST)


def test_sg_readcap_reads_the_capacity_in_both_lengths(host):
    small = host()
    assert small.run("sg_readcap --brief") == small.run("sg_readcap --16 --brief"), "they differ"
    assert f"Number of logical blocks={BLOCKS}\n" in small.run("sg_readcap")
    large = host(device="blk-size=4096,features=+topology,physical-exp=2")
    assert f"Number of logical blocks={SIZE // 4096}\n" in large.run("sg_readcap")
    told = large.run("sg_readcap --16")
    assert "Logical block length=4096 bytes" in told and "per physical block exponent=2" in told, told


@pytest.mark.parametrize("length", ["", "--six"])
def test_sg_modes_reads_the_pages_and_whether_there_is_a_cache(host, length):
    told = host().run(f"sg_modes --all {length}")
    assert "DpoFua=1" in told and "WP=0" in told, told
    assert ">> Caching, page_control: current\n 00     08 12 04 " in told and ">> Control, page" in told, told
    assert "08 12 00 " in host(device="features=-flush-config_wce").run(f"sg_modes --page=8 {length}")
    assert "WP=1" in host(device="read-only=1").run(f"sg_modes --page=8 {length}")


def test_sg_luns_turs_requests_logs_start_sync_and_prevent_find_a_fixed_disk_that_is_ready(host):
    disk = host()
    assert "1 lun entry" in disk.run("sg_luns")
    assert "with 0 errors" in disk.run("sg_turs --num=10")
    assert "No additional sense information" in disk.run("sg_requests")
    told = disk.run("sg_logs --page=0 --hex -vv")
    assert "Log sense response:\n 00     00 00 00 01 00" in told, told
    disk.run("sg_logs --page=0xd", status=ILLEGAL_REQUEST)
    for command in ("sg_start --start", "sg_start --stop", "sg_sync", "sg_sync --16", "sg_prevent --prevent=1",
                    "sg_prevent --allow"):
        disk.run(command)


def test_sg_sync_flushes_the_device(host):
    disk = host()
    disk.run("sg_turs")
    before = disk.report["flushes"]
    disk.run("sg_sync")
    assert disk.report["flushes"] == before + 1


def test_sg_opcodes_lists_what_works_and_nothing_that_does_not(host):
    plain = host()
    listed = set(re.findall(r"^ ([0-9a-f]{2}) ", plain.run("sg_opcodes"), re.MULTILINE))
    assert {"00", "03", "12", "1a", "25", "28", "2a", "2f", "35", "88", "8a", "9e", "a0", "a3"} <= listed
    assert not {"42", "93"} & listed, "there is nothing to unmap with"
    more = set(re.findall(r"^ ([0-9a-f]{2}) ", host(device=PROVISIONED).run("sg_opcodes"), re.MULTILINE))
    assert more - listed == {"42", "93"} and listed <= more
    usage = re.findall(r"^ ([0-9a-f]{2}) .*\n +cdb usage: ([0-9a-f]{2}) ", plain.run("sg_opcodes --mask"), re.MULTILINE)
    assert {opcode for opcode, _ in usage} == listed and all(opcode == first for opcode, first in usage), usage
    assert "Command is supported" in plain.run("sg_opcodes --opcode=0x9e,0x10")
    assert "Command is NOT supported" in plain.run("sg_opcodes --opcode=0x42")


def test_scsi_mandat_and_the_other_scripts_find_what_a_disk_must_have(host):
    disk = host()
    assert "total number of bad errors: 0" in disk.run("scsi_mandat")
    assert f"Number of logical blocks={BLOCKS}" in disk.run("scsi_readcap")
    assert "ready" in disk.run("scsi_ready")
    disk.run("scsi_stop")
    disk.run("scsi_start")
    for command in ("sg_senddiag --test", "sg_senddiag --pf"):
        disk.run(command)
    disk.run("sg_senddiag --selftest=1", status=ILLEGAL_REQUEST)


# ---- the medium ----

def test_sgp_dd_keeps_as_many_requests_under_way_as_it_has_threads(host, tmp_path):
    """It writes its requests to the device and reads their answers, by their numbers, instead of asking by SG_IO."""
    disk = host(cpus=4)
    source, back = hosting.make_disk(tmp_path / "source.img", SIZE, seed=7), tmp_path / "back.img"
    script = (f"sgp_dd if={source} of={linux_scsi.DEVICE} bs=512 bpt=32 thr=8 count={BLOCKS} && "
              f"sgp_dd if={linux_scsi.DEVICE} of={back} bs=512 bpt=32 thr=8 count={BLOCKS}")
    told = disk.run("sh -c", script, device=None)
    assert told.count(f"{BLOCKS}+0 records out") == 2, told
    assert disk.medium(0, BLOCKS) == source.read_bytes() == back.read_bytes()


def test_fio_finds_through_sg_what_it_wrote(host):
    disk = host()
    told = disk.run("fio --name=sg --ioengine=sg --direct=1 --rw=randrw --bsrange=512-64k --verify=crc32c --verify_fatal=1 "
                    f"--verify_state_save=0 --size={SIZE} --filename={linux_scsi.DEVICE}", device=None)
    assert "err= 0" in told and disk.report["bytes_written"] > SIZE * 0.4, told


def test_sg_write_verify_sg_write_x_and_sg_read_move_what_they_are_given(host, tmp_path):
    disk = host()
    data = tmp_path / "data"
    data.write_bytes(os.urandom(1024))
    for lba, command in ((10, "sg_write_verify --bytchk=1"), (20, "sg_write_verify --16"), (30, "sg_write_x --normal --16"),
                         (40, "sg_write_x --normal --fua")):
        disk.run(f"{command} --lba={lba} --num=2 --in={data}")
        assert disk.medium(lba, 2) == data.read_bytes(), command
    assert "100+0 records in" in disk.run(f"sg_read if={linux_scsi.DEVICE} bs=512 count=100 bpt=10", device=None)


def test_sg_wr_mode_switches_the_cache_and_nothing_else(host):
    page = "08,12,{:02x}" + ",00" * 17
    disk = host(device="features=+config_wce")
    script = (f"sg_wr_mode --page=8 --contents={page.format(0)} {linux_scsi.DEVICE} && sg_modes --page=8 {linux_scsi.DEVICE} && "
              f"! sg_wr_mode --page=8 --contents={page.format(8)} {linux_scsi.DEVICE}")
    told = disk.run("sh -c", script, device=None)
    assert " 00     08 12 00 " in told and "Illegal request" in told, told


def test_sg_dd_copies_in_and_out_and_verifies(host, tmp_path, disk):
    host = host()
    source, back = disk(hosting.MIB, seed=6, name="source.img"), tmp_path / "back.img"
    script = (f"sg_dd if={source} of={linux_scsi.DEVICE} bs=512 bpt=300 seek=8 oflag=fua,sgio && "
              f"sg_dd --verify if={source} of={linux_scsi.DEVICE} bs=512 bpt=300 seek=8 && "
              f"sg_dd if={linux_scsi.DEVICE} of={back} bs=512 bpt=128 skip=8 count={hosting.MIB // 512} iflag=dpo")
    told = host.run("sh -c", script, device=None)
    assert f"{hosting.MIB // 512}+0 records verified" in told, told
    assert host.medium(8, hosting.MIB // 512) == source.read_bytes() == back.read_bytes()
    assert host.report["bytes_written"] == hosting.MIB
    host.run(f"sg_dd --verify if={source} of={linux_scsi.DEVICE} bs=512 count=1", device=None, status=MISCOMPARE)


@pytest.mark.parametrize("length", ["", "--16"])
def test_sg_verify_compares_and_knows_the_end(host, tmp_path, length):
    disk = host()
    data = tmp_path / "data"
    data.write_bytes(disk.medium(7, 4))
    disk.run(f"sg_verify {length} --lba=0 --count={BLOCKS} --bpc=1000")
    disk.run(f"sg_verify {length} --lba=7 --count=4 --ebytchk=1 --ndo=2048 --in={data}")
    disk.run(f"sg_verify {length} --lba=8 --count=4 --ebytchk=1 --ndo=2048 --in={data}", status=MISCOMPARE)
    disk.run(f"sg_verify {length} --lba={BLOCKS} --count=1", status=OUT_OF_RANGE)


def test_sg_write_same_writes_zeroes_and_sg_unmap_takes_blocks_away(host, tmp_path):
    disk = host(device=PROVISIONED)
    before = disk.medium(0, BLOCKS)
    zeroes = tmp_path / "zeroes"
    zeroes.write_bytes(bytes(512))
    disk.run(f"sg_write_same --16 --lba=8 --num=100 --xferlen=512 --in={zeroes}")
    assert disk.report["zeroes"] == 1 and disk.report["bytes_written"] == 0
    disk.run("sg_write_same --16 --lba=200 --num=8 --ndob")
    disk.run(f"sg_write_same --16 --unmap --lba=300 --num=8 --xferlen=512 --in={zeroes}")
    disk.run("sg_unmap --lba=400,500 --num=8,16 --force")
    assert disk.report["discards"] == 2
    expected = bytearray(before)
    for lba, blocks in ((8, 100), (200, 8), (300, 8), (400, 8), (500, 16)):
        expected[lba * 512:(lba + blocks) * 512] = bytes(blocks * 512)
    assert disk.medium(0, BLOCKS) == expected
    disk.run("sg_unmap --num=1 --force", f"--lba={BLOCKS}", status=OUT_OF_RANGE)
    told = disk.run("sg_vpd --page=lbpv")
    assert "(LBPU): 1" in told and "(LBPWS): 1" in told and "(LBPWS10): 0" in told, told


def test_what_the_disk_has_not_is_refused(host, tmp_path):
    disk = host()
    before = disk.medium(0, BLOCKS)
    zeroes = tmp_path / "zeroes"
    zeroes.write_bytes(bytes(1024))
    disk.run("sg_unmap --lba=0 --num=8 --force", status=INVALID_OPCODE)
    disk.run(f"sg_write_same --16 --lba=0 --num=8 --xferlen=512 --in={zeroes}", status=INVALID_OPCODE)
    disk.run("sg_get_lba_status --lba=0", status=ILLEGAL_REQUEST)
    disk.run("sg_persist --in --read-keys", status=INVALID_OPCODE)
    for command in ("sg_seek --lba=1", "sg_sat_identify", "sg_rep_zones", "sg_ses", "sg_read_buffer"):
        disk.run(command, status=INVALID_OPCODE)
    for command in ("sg_rtpg", "sg_ident", "sg_timestamp", "sg_referrals", "sg_stream_ctl --open"):
        disk.run(command, status=ILLEGAL_REQUEST)
    disk.run(f"sg_compare_and_write --lba=0 --num=1 --in={zeroes} --xferlen=1024", status=INVALID_OPCODE)
    raw(disk, "ff 00 00 00 00 00", status=INVALID_OPCODE)
    assert disk.medium(0, BLOCKS) == before


def test_sg_raw_sends_and_receives_and_learns_what_is_left_over(host, tmp_path):
    disk = host()
    data, read = tmp_path / "data", tmp_path / "read"
    data.write_bytes(os.urandom(1024))
    raw(disk, "2a 00 00 00 00 09 00 00 02 00", "--send=1024", f"--infile={data}")
    raw(disk, "28 00 00 00 00 09 00 00 02 00", "--request=1024", f"--outfile={read}")
    assert data.read_bytes() == read.read_bytes() == disk.medium(9, 2)
    assert "Received 74 bytes of data" in raw(disk, "12 00 00 00 ff 00", "--request=255")
    assert "Logical block address out of range" in raw(disk, "28 00 00 10 00 00 00 00 01 00", "--request=512",
                                                       status=OUT_OF_RANGE)


def test_a_read_only_disk_is_write_protected(host, disk):
    source = disk(SIZE, seed=6, name="source.img")
    protected = host(device="read-only=1")
    before = protected.medium(0, BLOCKS)
    raw(protected, "2a 00 00 00 00 00 00 00 01 00", "--send=512", f"--infile={source}", status=WRITE_PROTECTED)
    assert protected.medium(0, BLOCKS) == before


# ---- smartctl ----

def test_smartctl_identifies_the_disk_and_finds_it_healthy(host):
    disk = host(device=f"serial={SERIAL}")
    told = disk.run("smartctl --info")
    for words in ("Vendor:               AERO", "Product:              VIRTIO BLK", "Compliance:           SPC-3",
                  f"Serial number:        {SERIAL}", "Logical block size:   512 bytes",
                  "Rotation Rate:        Solid State Device", "Device type:          disk"):
        assert words in told, told
    assert "SMART Health Status: OK" in disk.run("smartctl --health")


def test_smartctl_misses_only_logs_that_a_disk_need_not_have(host):
    """Status 4 says that some command failed: log pages for errors and self-tests, READ DEFECT DATA."""
    told = host().run("smartctl --all", status=4)
    assert "SMART support is:     Unavailable" in told, told
    assert "Error Counter logging not supported" in told and "does not support Self Test logging" in told, told


# ---- the way to the driver ----

@pytest.mark.parametrize("fault, status, words", [
    ("io-error", MEDIUM_ERROR, "Unrecovered read error"),
    ("stall,fault-every=1", OTHER, "Host_status=0x08 [DID_RESET]"),
    ("gone", OTHER, "Host_status=0x03 [DID_TIME_OUT]"),
])
def test_what_goes_wrong_below_reaches_a_tool_as_linux_says_it(x64, fault, status, words):
    disk = x64(device=f"fault={fault},fault-after=1")
    assert words in raw(disk, READ_BLOCK_1, "--timeout=5", "--request=512", status=status)


def test_signals_disturb_no_request(x64):
    disk = x64()
    script = hosting.REPOSITORY / "tests" / "sg_under_signals.py"
    assert int(disk.run(sys.executable, script).split()[0]) > 100


def test_a_request_longer_than_the_adapter_takes_is_refused_before_it_is_sent(x64):
    disk = x64()
    told = raw(disk, "28 00 00 00 00 00 00 08 00 00", "--request=1048576", status=50 + 22)
    assert disk.report["bytes_read"] <= 512, told


def test_a_driver_that_crashes_leaves_no_device(miniports, disk, tmp_path):
    result = hosting.storhost("sg", miniports["x64"].driver("BreakDriverFault"), *hosting.options(
        disk=disk(hosting.MIB), interrupts="intx", seed=1), "--", "sh", "-c",
        f"sg_turs {linux_scsi.DEVICE}; sg_turs {linux_scsi.DEVICE}; exit 0")
    assert result.returncode == 1 and result.stderr.count("No such device") >= 2, result.told
    assert "DRIVER-FAULT" in result.stderr, result.told


def test_a_commands_status_is_storhosts(x64):
    disk = x64()
    assert disk.run("sh -c", "echo out; exit 7", device=None, status=7).startswith("out\n")
    disk.run("sh -c", "kill -KILL $$", device=None, status=128 + signal.SIGKILL)
    assert "no-such-command" in disk.run("no-such-command", status=127)


def test_a_command_finds_the_device_where_it_is_told_and_all_other_files_as_they_are(x64, monkeypatch, tmp_path):
    monkeypatch.setenv("STORHOST_SG_DEVICE", "/dev/sg7")
    program = ("import os, stat, sys, fcntl; there = os.stat('/dev/sg7')\n"
               "assert stat.S_ISCHR(there.st_mode) and os.major(there.st_rdev) == 21 and os.access('/dev/sg7', os.W_OK)\n"
               "fd = os.dup(os.open('/dev/sg7', os.O_RDWR)); assert stat.S_ISCHR(os.fstat(fd).st_mode)\n"
               "if os.fork() == 0: os.execv(sys.executable, [sys.executable, '-c', 'import fcntl; version = bytearray(4);'\n"
               "    f'fcntl.ioctl({fd}, 0x2282, version); print(int.from_bytes(version, \"little\"))'])\n"
               "os.set_inheritable(fd, True); os.wait()\n"
               "try: os.stat('/dev/sg-storhost')\n"
               "except FileNotFoundError: print('not there')\n"
               "print(open('/dev/zero', 'rb').read(3), stat.S_ISDIR(os.stat('/dev').st_mode))\n")
    program = program.replace("if os.fork", "os.set_inheritable(fd, True)\nif os.fork")
    told = x64().run(f"{sys.executable} -c", program, device=None)
    assert told.startswith("30536\nnot there\nb'\\x00\\x00\\x00' True\n"), told
    assert "AERO" in x64().run("sg_inq", device="/dev/sg7")


def test_commands_may_share_a_machine_and_run_at_once(x64):
    """Eight writers at a time, each with its own part of the disk."""
    script = "; ".join(f"sg_dd if=$0 of={linux_scsi.DEVICE} bs=512 bpt=16 skip={n * 256} seek={n * 256} count=256 2>&1 &"
                       for n in range(8)).replace("&;", "&") + " wait"
    disk = x64(cpus=4)
    source = hosting.make_disk(disk.image.with_name("source.img"), SIZE, seed=9)
    disk.run("sh -c", script, str(source), device=None)
    assert disk.medium(0, 8 * 256) == source.read_bytes()[:8 * 256 * 512]


def test_a_server_serves_tools_until_it_is_told_to_end(disk, tmp_path):
    path, report = tmp_path / "sg.sock", tmp_path / "report.json"
    command = [hosting.STORHOST, "sg", hosting.DRIVER, *hosting.options(disk=disk(SIZE), socket=path, report=report)]
    server = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        end = time.monotonic() + hosting.DEADLINE
        while not path.exists() and time.monotonic() < end:
            time.sleep(0.01)
        environment = {**os.environ, "LD_PRELOAD": str(hosting.OUT / "lib" / "storhost-sg.so"), "STORHOST_SG": str(path)}
        for _ in range(3):
            told = subprocess.run(["sg_inq", linux_scsi.DEVICE], env=environment, capture_output=True, text=True,
                                  timeout=hosting.DEADLINE, check=True).stdout
            assert "AERO" in told
        server.terminate()
        _, said = server.communicate(timeout=hosting.DEADLINE)
    finally:
        server.kill()
        server.wait()
    assert server.returncode == 0 and "0 findings" in said, said
    assert report.exists() and not path.exists(), "the server left its socket, or no report"
