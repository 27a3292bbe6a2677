# SPDX-License-Identifier: MIT OR Apache-2.0
"""storhost's own view of driver images: what ships passes, and what Windows 7 lacks is named."""
import json
import re
import subprocess

import hosting
import pytest
from broken import build

SHIPPED = {f"{architecture}-{variant}": hosting.STAGED / architecture / directory / "aero_virtio_blk.sys"
           for architecture in ("x64", "x86")
           for variant, directory in (("fre", ""), ("chk", "chk"), ("permissive", "permissive"))}

# Names that Windows 7 does not have: newer ones, one of another module, and one of a module that it has not.
MISSING = {
    "storport.sys": ["StorPortAllocateContiguousMemory", "StorPortInitializeWithNoPnp"],
    "ntoskrnl.exe": ["KeQueryActiveGroupCountFromWindows8", "StorPortNotification"],
    "wdmsec8.sys": ["SecureEverything"],
}
PRESENT = {"storport.sys": ["StorPortInitialize"], "ntoskrnl.exe": ["IoCreateDevice"]}


@pytest.mark.parametrize("name", SHIPPED)
def test_windows_7_has_every_import_of_what_ships(name):
    result = hosting.storhost("imports", SHIPPED[name], "--json")
    assert result.returncode == 0, result.told
    report = json.loads(result.stdout)
    assert report["machine"] == name.partition("-")[0] and report["findings"] == 0, result.told
    assert "StorPortInitialize" in [entry["name"] for entry in report["imports"]], result.told
    assert all(entry["windows7"] for entry in report["imports"]), result.told


@pytest.mark.parametrize("name", [name for name in SHIPPED if not name.endswith("chk")])
def test_storhost_has_every_import_of_the_free_builds(name):
    result = hosting.storhost("imports", SHIPPED[name], "--json")
    lacking = [entry["name"] for entry in json.loads(result.stdout)["imports"] if entry["storhost"] != "implemented"]
    assert not lacking, result.told


@pytest.mark.parametrize("name", SHIPPED)
def test_windows_7_would_refuse_nothing_that_ships(name):
    result = hosting.storhost("info", SHIPPED[name])
    assert result.returncode == 0 and "would refuse" not in result.stdout, result.told
    report = json.loads(hosting.storhost("info", SHIPPED[name], "--json").stdout)
    assert report["refused"] == [] and report["machine"] == name.partition("-")[0], result.told
    assert (report["subsystem"], report["subsystem_major"], report["subsystem_minor"]) == (1, 6, 1), result.told
    assert report["checksum"] == report["computed_checksum"], result.told


@pytest.mark.parametrize("name", SHIPPED)
def test_the_driver_s_full_barriers_are_fences(name):
    # On x86 each has a locked instruction for a processor that knows none.
    code = subprocess.run(["llvm-objdump-19", "-d", SHIPPED[name]], capture_output=True, text=True, check=True, timeout=60).stdout
    fences = len(re.findall(r"\bmfence\b", code))
    locked = len(re.findall(r"\borl\s+\$0x0, \(%[er]sp\)", code))
    assert fences > 0 and locked == (fences if name.startswith("x86") else 0)


def test_a_wrong_checksum_would_be_refused(tmp_path):
    driver = tmp_path / "changed.sys"
    image = bytearray(hosting.DRIVER.read_bytes())
    image[image.index(b"VIRTIO BLK")] ^= 0x20
    driver.write_bytes(image)
    result = hosting.storhost("info", driver)
    assert result.returncode == 1 and "would refuse it: the checksum" in result.stdout, result.told


@pytest.fixture(scope="session")
def newer_driver(tmp_path_factory):
    """A driver that would load on a later Windows only."""
    directory = tmp_path_factory.mktemp("newer")
    builder = build.Builder(directory, "x64")
    names = {module: MISSING.get(module, []) + PRESENT.get(module, []) for module in (*MISSING, *PRESENT)}
    every = [name for module in names.values() for name in module]
    source = directory / "newer.c"
    total = " + ".join(f"{name}()" for name in every)
    source.write_text("".join(f"__declspec(dllimport) unsigned long {name}(void);\n" for name in every) +
                      f"unsigned long DriverEntry(void) {{\n    return {total};\n}}\n")
    libraries = [builder.imports(module, names[module]) for module in names]
    return builder.link("newer", builder.compile(source, "newer"), *libraries)


def test_every_import_that_windows_7_lacks_is_named(newer_driver):
    result = hosting.storhost("imports", newer_driver)
    assert result.returncode == 1, result.told
    lacking = set(re.findall(r"^(.+)!(.+): Windows 7 does not export it$", result.stdout, re.MULTILINE))
    assert lacking == {(module, name) for module, names in MISSING.items() for name in names}, result.told
    for module, names in PRESENT.items():
        for name in names:
            assert f"{module}!{name}: storhost " in result.stdout, result.told


def test_a_driver_with_such_imports_is_not_started(newer_driver, disk):
    result = hosting.storhost("scsi", newer_driver, "--disk", disk(hosting.MIB), "--", *"00 00 00 00 00 00".split())
    assert result.returncode == 1 and result.stderr.count("\n") == 1 and str(newer_driver) in result.stderr, result.told
    for names in MISSING.values():
        assert all(name in result.stderr for name in names), result.told
