# SPDX-License-Identifier: MIT OR Apache-2.0
"""Wrong input ends in one sentence that names it and exit status 2, before anything runs, and leaves nothing behind."""
import os
import pathlib
import struct

import hosting
import pytest

READY = "00 00 00 00 00 00".split()
SIZE = hosting.MIB


class Image:
    """The shipped driver's bytes, to be spoilt."""

    def __init__(self):
        self.bytes = bytearray(hosting.DRIVER.read_bytes())
        self.nt = self.get("<I", 0x3C)
        self.optional = self.nt + 24
        self.sections = self.optional + self.get("<H", self.nt + 20)

    def get(self, form, offset):
        return struct.unpack_from(form, self.bytes, offset)[0]

    def directory_entry(self, index):
        return self.optional + 112 + 8 * index

    def file_offset(self, address):
        for entry in range(self.sections, self.sections + 40 * self.get("<H", self.nt + 6), 40):
            size, start, _, pointer = struct.unpack_from("<IIII", self.bytes, entry + 8)
            if start <= address < start + size:
                return pointer + address - start
        raise AssertionError(f"no section has address {address:#x}")

    def contents(self, index):
        """Where in the file a data directory's contents are."""
        return self.file_offset(self.get("<I", self.directory_entry(index)))

    @property
    def imports(self):
        return self.contents(1)

    @property
    def relocations(self):
        return self.contents(5)

    @property
    def first_name(self):
        """Of the first import, in the lookup table."""
        return self.file_offset(self.get("<I", self.imports))


# What is spoilt: where, how it is written, and its new value.
SPOILT = {
    "dos-magic": lambda i: (0, "2s", b"XX"),
    "pe-offset": lambda i: (0x3C, "<I", 0x7FFFFFFF),
    "pe-magic": lambda i: (i.nt, "4s", b"XX\0\0"),
    "machine": lambda i: (i.nt + 4, "<H", 0x1C0),
    "section-count": lambda i: (i.nt + 6, "<H", 0xFFFF),
    "entry-point": lambda i: (i.optional + 16, "<I", 0x7F000000),
    "section-address": lambda i: (i.sections + 12, "<I", 1),
    "section-data": lambda i: (i.sections + 20, "<I", 0x7FFFFE00),
    "section-size": lambda i: (i.sections + 16, "<I", 0x7FFFFE00),
    "relocation-directory": lambda i: (i.directory_entry(5), "<I", 0x7F000000),
    "relocation-page": lambda i: (i.relocations, "<I", 0x7F000000),
    "relocation-block-size": lambda i: (i.relocations + 4, "<I", 3),
    "relocation-type": lambda i: (i.relocations + 8, "<H", 0x5000),
    "import-directory": lambda i: (i.directory_entry(1), "<I", 0x7F000000),
    "import-module-name": lambda i: (i.imports + 12, "<I", 0x7F000000),
    "import-name": lambda i: (i.first_name, "<I", 0x7F000000),
}


def processes_that_name(path):
    """Command lines of running processes in which path occurs."""
    lines = []
    for entry in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(entry.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            pass  # it ended meanwhile
    return [line for line in lines if str(path) in line]


@pytest.fixture
def refused(tmp_path):
    """refused(names, command, …): how every refusal looks. names: what its sentence must contain."""
    def check(names, *command):
        before = sorted(tmp_path.rglob("*"))
        result = hosting.storhost(*command, timeout=20)
        assert result.returncode == 2, result.told
        assert result.stdout == "", result.told
        assert result.stderr.count("\n") == 1 and result.stderr.endswith("\n"), result.told
        assert str(names) in result.stderr, result.told
        assert sorted(tmp_path.rglob("*")) == before, result.told
        assert not processes_that_name(tmp_path), result.told
    return check


@pytest.fixture(params=["scsi", "nbd", "sg"])
def starts(request, refused, tmp_path):
    """starts(names, driver, disk, …): a refusal by each command that starts a machine."""
    def check(names, driver, disk, *words):
        last = ["--", *READY] if request.param == "scsi" else ["--socket", tmp_path / "s"]
        refused(names, request.param, driver, "--disk", disk, *words, *last)
    return check


@pytest.mark.parametrize("length", [0, 1, 63, 64, 100, 300, 1000, 5000, 20000, -1])
def test_a_truncated_driver_is_refused(starts, disk, tmp_path, length):
    driver = tmp_path / "truncated.sys"
    driver.write_bytes(hosting.DRIVER.read_bytes()[:length])
    starts(driver, driver, disk(SIZE))


@pytest.mark.parametrize("what", SPOILT)
def test_a_spoilt_driver_is_refused(starts, refused, disk, tmp_path, what):
    image = Image()
    offset, form, value = SPOILT[what](image)
    assert image.get(form, offset) != value
    struct.pack_into(form, image.bytes, offset, value)
    driver = tmp_path / "spoilt.sys"
    driver.write_bytes(image.bytes)
    starts(driver, driver, disk(SIZE))
    refused(driver, "info", driver)
    refused(driver, "imports", driver)


def test_a_driver_for_the_other_machine_is_refused(starts, disk):
    starts(hosting.TARGETS["x86"].shipped, hosting.TARGETS["x86"].shipped, disk(SIZE))
    result = hosting.run(hosting.TARGETS["x86"].program, "scsi", hosting.DRIVER, "--disk", disk(SIZE), "--", *READY)
    assert result.returncode == 2 and result.stderr.count("\n") == 1, result.told
    assert str(hosting.DRIVER) in result.stderr, result.told


@pytest.mark.parametrize("command", ["info", "imports"])
def test_a_driver_that_is_not_there_is_no_file_to_look_into(refused, tmp_path, command):
    refused(tmp_path / "none.sys", command, tmp_path / "none.sys")


def test_a_driver_that_is_not_there_is_refused(starts, disk, tmp_path):
    starts(tmp_path / "none.sys", tmp_path / "none.sys", disk(SIZE))


def test_a_directory_is_no_driver(starts, disk, tmp_path):
    starts(tmp_path, tmp_path, disk(SIZE))


def test_a_disk_that_is_not_there_is_refused(starts, tmp_path):
    starts(tmp_path / "none.img", hosting.DRIVER, tmp_path / "none.img")


@pytest.mark.parametrize("size", [0, 1, 511, 513])
def test_a_disk_that_is_not_whole_sectors_is_refused(starts, disk, size):
    image = disk(size)
    starts(image, hosting.DRIVER, image)


def test_a_disk_in_use_is_refused(refused, server, disk, tmp_path):
    image = disk(SIZE)
    command = ["scsi", hosting.DRIVER, "--disk", image, "--", *READY]
    with server(image, seed=1):
        before = sorted(tmp_path.rglob("*"))
        result = hosting.storhost(*command)
        assert sorted(tmp_path.rglob("*")) == before
    assert result.returncode == 2 and result.stderr.count("\n") == 1 and str(image) in result.stderr, result.told
    assert hosting.storhost(*command).returncode == 0


@pytest.fixture(params=["nbd", "sg"])
def server_command(request):
    return request.param


def test_a_busy_socket_is_refused(server, disk, server_command):
    with server(disk(SIZE), seed=1) as first:
        other = disk(SIZE, name="other.img")
        result = hosting.storhost(server_command, hosting.DRIVER, "--disk", other, "--socket", first.socket)
        assert result.returncode == 2 and result.stderr.count("\n") == 1, result.told
        assert str(first.socket) in result.stderr, result.told
        assert hosting.run("nbdinfo", "--size", first.uri).stdout == f"{SIZE}\n", "the first server suffered"


def test_a_file_in_the_place_of_the_socket_is_refused_and_kept(refused, disk, tmp_path, server_command):
    path = tmp_path / "file"
    path.write_text("precious")
    refused(path, server_command, hosting.DRIVER, "--disk", disk(SIZE), "--socket", path)
    assert path.read_text() == "precious"


def test_a_socket_in_no_directory_is_refused(refused, disk, tmp_path, server_command):
    path = tmp_path / "none" / "s"
    refused(path, server_command, hosting.DRIVER, "--disk", disk(SIZE), "--socket", path)


def test_a_socket_name_that_does_not_fit_is_refused(refused, disk, tmp_path, server_command):
    path = tmp_path / ("s" * (1 + hosting.SOCKET_NAME_LIMIT - len(os.fsencode(tmp_path))))
    refused(path, server_command, hosting.DRIVER, "--disk", disk(SIZE), "--socket", path)


def test_a_report_that_cannot_be_written_is_refused(refused, disk, tmp_path, server_command):
    path = tmp_path / "none" / "report.json"
    refused(path, server_command, hosting.DRIVER, "--disk", disk(SIZE), "--socket", tmp_path / "s", "--report", path)


@pytest.mark.parametrize("name, value, names", [
    ("nonsense", "1", "--nonsense"), ("cpus", "0", "processors"), ("cpus", "33", "processors"),
    ("cpus", "two", "two"), ("cpus", "-1", "-1"), ("cpus", "", "processors"), ("seed", "x", "seed"),
    ("seed", "-1", "seed"), ("threads", "2", "threads"), ("interrupts", "line", "interrupts"),
    ("hold-up", "-1", "hold-up"), ("hold-up", "some", "some"),
    ("interrupts", "msix:0", "messages"), ("interrupts", "msix:", "messages"), ("interrupts", "msi:2x", "2x"),
    ("device", "lsi", "lsi"), ("device", "queue-size=many", "queue-size"), ("device", "features=+sideways", "sideways"),
    ("device", "caps=none", "caps"), ("device", "revision=256", "revision"), ("device", "colour=red", "colour"),
    ("device", "vhost-user", "SOCKET"), ("device", "so:", "FILE"), ("device", "vfio", "BUS"),
    ("parameter", "x" * 201, "parameter"),
])
def test_a_wrong_option_is_named(starts, disk, name, value, names):
    starts(names, hosting.DRIVER, disk(SIZE), f"--{name}", value)


@pytest.mark.parametrize("words, names", [
    ([], "command"), (["sing"], "sing"), (["info"], "info"), (["imports", "--loud", "a.sys"], "--loud"),
    (["info", "a.sys", "b.sys"], "info"), (["scsi"], "byte"), (["scsi", "a.sys", "--", *READY], "disk"),
    (["scsi", "--disk", "a.img", "--", *READY], "driver"), (["scsi", "a.sys", "b.sys", "--", *READY], "b.sys"),
    (["scsi", "a.sys", "--disk", "a.img", "--"], "byte"), (["scsi", "a.sys", "--disk", "a.img", "--", "zz"], "zz"),
    (["scsi", "a.sys", "--disk", "a.img", "--", "100"], "100"),
    (["scsi", "a.sys", "--disk", "a.img", "--", *["00"] * 17], "16"),
    (["scsi", "a.sys", "--disk", "a.img", "--in", "many", "--", "00"], "--in"),
    (["scsi", "a.sys", "--disk"], "--disk"), (["nbd"], "--socket"), (["nbd", "a.sys", "--disk", "a.img"], "--socket"),
    (["nbd", "--socket", "s", "--disk", "a.img"], "driver"), (["nbd", "a.sys", "--socket", "s"], "disk"),
    (["nbd", "a.sys", "b.sys", "--socket", "s"], "b.sys"), (["nbd", "a.sys", "--socket"], "--socket"),
    (["sg"], "--socket"), (["sg", "a.sys", "--disk", "a.img"], "--socket"), (["sg", "a.sys", "--", "true"], "disk"),
    (["sg", "--disk", "a.img", "--", "true"], "driver"), (["sg", "a.sys", "b.sys", "--", "true"], "b.sys"),
    (["sg", "a.sys", "--disk", "--", "true"], "--disk"), (["sg", "a.sys", "--disk", "a.img", "--"], "--socket"),
    (["run", "a.sys", "b.scn", *["--parameter", "'" * 200] * 30], "--parameter"), # nobody could repeat it
])
def test_a_wrong_command_line_is_explained(refused, tmp_path, monkeypatch, words, names):
    monkeypatch.chdir(tmp_path)
    refused(names, *words)


@pytest.mark.parametrize("command", ["conform", "explore", "faults", "fuzz", "nbd", "run", "scsi", "sg"])
def test_help_wins_over_what_else_is_wrong(command):
    result = hosting.run(hosting.STORHOST, command, "--nonsense", "1", "--help")
    assert (result.returncode, result.stderr) == (0, ""), result.told
    assert result.stdout.startswith(f"Usage: storhost {command} "), result.told
    late = hosting.run(hosting.STORHOST, command, "--nonsense", "1", "--", "--help")
    assert late.returncode == 2, late.told


def test_data_that_is_not_there_is_named(refused, disk, tmp_path):
    refused(tmp_path / "none.bin", "scsi", hosting.DRIVER, "--disk", disk(SIZE), "--out", tmp_path / "none.bin", "--",
            *"2a 00 00 00 00 00 00 00 01 00".split())


@pytest.mark.parametrize("campaign", ["tools/explore.py", "tools/fuzz.py", "tests/faults.py", "tests/mutation/run"])
def test_a_campaign_of_nothing_is_refused(campaign):
    """It would end well, and have shown nothing."""
    result = hosting.run(hosting.REPOSITORY / campaign, "nonsense", timeout=60)
    assert (result.returncode, result.stdout) == (2, ""), result.told
    assert "'nonsense'" in result.stderr, result.told
