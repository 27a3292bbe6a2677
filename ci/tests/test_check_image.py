# SPDX-License-Identifier: MIT OR Apache-2.0
"""check-image passes what we ship and fails a copy of it that lacks any one property."""
import importlib.machinery
import importlib.util
import pathlib
import shutil
import struct

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
STAGED = REPOSITORY / "out" / "drivers" / "windows7" / "virtio-blk"
PROGRAMS = REPOSITORY / "out" / "selftest"

loader = importlib.machinery.SourceFileLoader("check_image", str(REPOSITORY / "ci" / "check-image"))
check_image = importlib.util.module_from_spec(importlib.util.spec_from_loader("check_image", loader))
loader.exec_module(check_image)


class Copy:
    """A staged image and its PDB in a directory of their own, to be broken."""

    def __init__(self, directory, architecture, staged=STAGED, name="aero_virtio_blk.sys"):
        self.path = directory / name
        for path in (self.path, self.path.with_suffix(".pdb")):
            shutil.copy(staged / architecture / path.name, directory)
        self.bytes = bytearray(self.path.read_bytes())
        self.nt = struct.unpack_from("<I", self.bytes, 0x3C)[0]
        self.optional = self.nt + 24
        self.directories = self.optional + {"x64": 112, "x86": 96}[architecture]

    def put(self, offset, form, value):
        struct.pack_into(form, self.bytes, offset, value)

    def flip(self, offset, bits):
        self.put(offset, "<I", struct.unpack_from("<I", self.bytes, offset)[0] ^ bits)

    def replace(self, old, new):
        assert old in self.bytes and len(old) == len(new)
        self.bytes = self.bytes.replace(old, new)

    def section(self, name):
        table = self.optional + struct.unpack_from("<H", self.bytes, self.nt + 20)[0]
        for entry in range(table, table + 40 * struct.unpack_from("<H", self.bytes, self.nt + 6)[0], 40):
            if self.bytes[entry:entry + 8].rstrip(b"\0") == name:
                return entry
        raise AssertionError(f"no section {name}")

    def file_offset(self, directory):
        """Where in the file a data directory's contents are."""
        address = struct.unpack_from("<I", self.bytes, self.directories + directory * 8)[0]
        for name in (b".rdata", b".rsrc"):
            entry = self.section(name)
            size, start, _, pointer = struct.unpack_from("<IIII", self.bytes, entry + 8)
            if start <= address < start + size:
                return pointer + address - start
        raise AssertionError(f"no data directory {directory}")

    def findings(self, checksum=True):
        self.path.write_bytes(self.bytes)
        if checksum:
            self.put(self.optional + 64, "<I", check_image.Image(self.path).checksum())
            self.path.write_bytes(self.bytes)
        return check_image.check(self.path)


@pytest.fixture(params=["x64", "x86"])
def image(request, tmp_path):
    return Copy(tmp_path, request.param)


@pytest.fixture(params=["x64", "x86"])
def program(request, tmp_path):
    return Copy(tmp_path, request.param, PROGRAMS, "aero-virtio-selftest.exe")


BREAKS = {
    "machine": (lambda i: i.put(i.nt + 4, "<H", 0x1C0), "neither x64 nor x86"),
    "subsystem": (lambda i: i.put(i.optional + 68, "<H", 3), "Subsystem is"),
    "subsystem-version": (lambda i: i.put(i.optional + 48, "<H", 10), "MajorSubsystemVersion is"),
    "subsystem-minor-version": (lambda i: i.put(i.optional + 50, "<H", 2), "MinorSubsystemVersion is"),
    "os-version": (lambda i: i.put(i.optional + 40, "<H", 10), "MajorOperatingSystemVersion is"),
    "nx": (lambda i: i.flip(i.optional + 70, 0x100), "NX_COMPAT"),
    "dynamic-base": (lambda i: i.flip(i.optional + 70, 0x40), "DYNAMIC_BASE"),
    "rdata-all": (lambda i: i.flip(i.section(b".rdata") + 36, 0xA0000000), "writable and executable"),
    "text-writable": (lambda i: i.flip(i.section(b".text") + 36, 0x80000000), "writable and executable"),
    "rdata-writable": (lambda i: i.flip(i.section(b".rdata") + 36, 0x80000000), ".rdata has the characteristics"),
    "init-kept": (lambda i: i.flip(i.section(b"INIT") + 36, 0x02000000), "INIT has the characteristics"),
    "init-absent": (lambda i: i.put(i.section(b"INIT"), "<4s", b"PAGE"), "no section INIT"),
    "section-unknown": (lambda i: i.put(i.section(b".rdata"), "<6s", b".junk"), "not one that belongs here"),
    "relocations-absent": (lambda i: i.put(i.directories + 5 * 8, "<Q", 0), "no base relocations"),
    "relocations-stripped": (lambda i: i.flip(i.nt + 22, 1), "no base relocations"),
    "import-module": (lambda i: i.replace(b"storport.sys\0", b"scsiport.sys\0"), "imports from scsiport.sys"),
    "import-name": (lambda i: i.replace(b"StorPortInitialize\0", b"StorPortInitializf\0"), "does not export"),
    "version-absent": (lambda i: i.put(i.directories + 2 * 8, "<Q", 0), "no version resource"),
    "version-of-another-type": (lambda i: i.put(i.file_offset(2) + 16, "<I", 10), "no version resource"),
    "version-incomplete": (lambda i: i.replace("ProductName".encode("utf-16-le"), "ProductNane".encode("utf-16-le")),
                           "has no ProductName"),
    "too-large": (lambda i: i.bytes.extend(bytes(41 * 1024)), "more than"),
    "pdb-absent": (lambda i: i.path.with_suffix(".pdb").unlink(), "not beside it"),
    "pdb-unreadable": (lambda i: i.path.with_suffix(".pdb").write_bytes(b"no"), "aero_virtio_blk.pdb"),
    "pdb-name": (lambda i: i.replace(b"aero_virtio_blk.pdb\0", b"aero_virtio_bla.pdb\0"), "debug directory names"),
    "pdb-unnamed": (lambda i: i.put(i.directories + 6 * 8, "<Q", 0), "names no PDB"),
}


PROGRAM_BREAKS = {
    "subsystem": (lambda i: i.put(i.optional + 68, "<H", 1), "Subsystem is"),
    "subsystem-minor-version": (lambda i: i.put(i.optional + 50, "<H", 2), "MinorSubsystemVersion is"),
    "import-module": (lambda i: i.replace(b"msvcrt.dll\0", b"msvcry.dll\0"), "imports from msvcry.dll"),
    "import-name": (lambda i: i.replace(b"GetTickCount\0", b"GetTickCounu\0"), "not known to be in Windows 7's"),
    "section-unknown": (lambda i: i.put(i.section(b".rdata"), "<6s", b".junk"), "not one that belongs here"),
}


def test_the_shipped_images_pass(image, program):
    assert image.findings(checksum=False) == []
    assert program.findings(checksum=False) == []


@pytest.mark.parametrize("what", PROGRAM_BREAKS)
def test_a_broken_copy_of_the_selftest_fails(program, what):
    damage, sentence = PROGRAM_BREAKS[what]
    damage(program)
    assert any(sentence in finding for finding in program.findings())


@pytest.mark.parametrize("what", BREAKS)
def test_a_broken_copy_fails(image, what):
    damage, sentence = BREAKS[what]
    damage(image)
    findings = image.findings()
    assert any(sentence in finding for finding in findings)


def test_a_missing_checksum_fails(image):
    image.put(image.optional + 64, "<I", 0)
    assert image.findings(checksum=False) == ["the checksum is zero"]


def test_a_changed_byte_fails_the_checksum(image):
    image.flip(struct.unpack_from("<I", image.bytes, image.section(b".text") + 20)[0], 1)
    findings = image.findings(checksum=False)
    assert len(findings) == 1 and "the checksum is" in findings[0]


def test_another_build_s_pdb_fails(image):
    other = next(path for path in STAGED.rglob("chk/*.pdb"))
    shutil.copy(other, image.path.with_suffix(".pdb"))
    findings = image.findings()
    assert len(findings) == 1 and "belongs to PDB" in findings[0]


@pytest.mark.parametrize("length", [0, 1, 64, 300, 2000])
def test_a_truncated_copy_fails_in_one_sentence(image, length):
    del image.bytes[length:]
    findings = image.findings(checksum=False)
    assert findings and all("\n" not in finding for finding in findings)
