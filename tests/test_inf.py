# SPDX-License-Identifier: MIT OR Apache-2.0
"""Wine's SetupAPI reads the INF, and reads out of it what ci/inf.py does, by which ci/check-package judges it."""
import os
import pathlib
import shutil
import subprocess
import sys

import hosting
import pytest

sys.path.append(str(hosting.REPOSITORY / "ci"))
import inf as inf_format  # noqa: E402

INF = hosting.REPOSITORY / "drivers" / "windows7" / "virtio-blk" / "inf" / "aero_virtio_blk.inf"
READER = pathlib.Path(__file__).with_name("inf_reader.c")
WINE_DLLS = pathlib.Path("/usr/lib/x86_64-linux-gnu/wine/x86_64-windows")
IMPORTS = {
    "kernel32": ["ExitProcess", "GetLastError", "GetStdHandle", "WriteFile"],
    "setupapi": ["SetupEnumInfSectionsA", "SetupFindFirstLineA", "SetupFindNextLine", "SetupGetFieldCount",
                 "SetupGetIntField", "SetupGetSourceFileLocationA", "SetupGetSourceInfoA", "SetupGetStringFieldA",
                 "SetupOpenInfFileA"],
}
DRIVERS = "C:\\windows\\system32\\drivers"  # directory 12


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """inf_reader.exe. Import libraries are made of the few names that it needs, so that no other compiler is."""
    directory = tmp_path_factory.mktemp("reader")
    for module, names in IMPORTS.items():
        (directory / f"{module}.def").write_text("\n".join([f"LIBRARY {module}.dll", "EXPORTS", *names, ""]))
        run(directory, "llvm-dlltool-19", "-m", "i386:x86-64", "-d", f"{module}.def", "-l", f"{module}.lib")
    run(directory, "clang-19", "--target=x86_64-pc-windows-msvc", "-ffreestanding", "-O1", "-Wall", "-Wextra",
        "-Werror", "-c", READER, "-o", "reader.o")
    run(directory, "lld-link-19", "/entry:start", "/subsystem:console", "/nodefaultlib", "/out:reader.exe", "reader.o",
        *(f"{module}.lib" for module in IMPORTS))
    return directory / "reader.exe"


def run(directory, *command):
    result = subprocess.run([str(word) for word in command], cwd=directory, capture_output=True, text=True,
                            timeout=hosting.DEADLINE)
    assert result.returncode == 0, result.stderr


@pytest.fixture
def read(reader, tmp_path):
    """Has Wine read an INF of these bytes: read(data).

    The Windows directory is links to Wine's libraries, and wineboot is told to leave it alone: a registry and copies of
    everything would take 700 MB, and SetupAPI needs neither.
    """
    prefix = tmp_path / "wine"
    system = prefix / "drive_c" / "windows" / "system32"
    system.mkdir(parents=True)
    for dll in WINE_DLLS.glob("*.dll"):
        (system / dll.name).symlink_to(dll)
    (prefix / ".update-timestamp").write_text("disable\n")
    environment = {**os.environ, "WINEPREFIX": str(prefix), "WINEDEBUG": "-all", "WINEDLLOVERRIDES": "mscoree,mshtml="}
    environment.pop("DISPLAY", None)

    def read(data):
        (tmp_path / INF.name).write_bytes(data)
        return subprocess.run(["wine", reader], cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=hosting.DEADLINE)

    yield read
    subprocess.run(["wineserver", "--kill"], env=environment, capture_output=True, timeout=hosting.DEADLINE)
    shutil.rmtree(prefix)


def sections(output, kind):
    """What the reader printed: by section, its lines of one kind."""
    found = {}
    for word, *fields in (line.split("\t") for line in output.splitlines()):
        if word == "section":
            lines = found.setdefault(fields[0].lower(), [])
        elif word == kind:
            lines.append(fields)
    return found


@pytest.fixture
def read_ours(read):
    result = read(INF.read_bytes())
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def key_of(key, fields):
    """What SetupAPI takes for the key of a line: a field that is alone is its own."""
    return key if key is not None else fields[0] if len(fields) == 1 else ""


def test_wine_reads_every_section_and_field_as_we_do(read_ours):
    ours = inf_format.Inf(INF.read_text(encoding="ascii"))
    assert not ours.complaints
    expected = {name: [[ours.expand(text, **{"12": DRIVERS}) for text in (key_of(key, fields), *fields)]
                       for _, key, fields in lines]
                for name, lines in ours.sections.items()}
    assert sections(read_ours, "line") == expected


def test_wine_reads_the_numbers_that_the_driver_needs(read_ours):
    lines, numbers = sections(read_ours, "line"), sections(read_ours, "numbers")
    values = {line[3]: number[4:] for name in ("interrupts", "parameters", "eventmessages")
              for line, number in zip(lines[f"aerovirtioblk.{name}"], numbers[f"aerovirtioblk.{name}"]) if line[3]}
    dword = str(0x00010001)
    assert values == {
        "MSISupported": [dword, "1"], "MessageNumberLimit": [dword, "4"], "DevicePolicy": [dword, "5"],
        "5": [dword, "1"], "BusType": [dword, "1"], "NumberOfRequests": [dword, "255"],
        "EventMessageFile": [str(0x00020000), "?"], "TypesSupported": [dword, "7"],
    }
    service = {line[0]: number[1] for line, number in zip(lines["aerovirtioblk.service"],
                                                          numbers["aerovirtioblk.service"])}
    assert (service["ServiceType"], service["StartType"], service["ErrorControl"]) == ("1", "0", "1")


def test_wine_finds_the_file_of_its_machine_in_x64(read_ours):
    assert read_ours.endswith("source\t1\t\\x64\n")


def test_wine_refuses_an_inf_that_is_cut_off_in_a_section_name(read):
    data = INF.read_bytes()
    result = read(data[:data.index(b"[Strings]") + 4])
    assert result.returncode == 1 and result.stdout.startswith("error\t"), result.stdout + result.stderr
