# SPDX-License-Identifier: MIT OR Apache-2.0
"""check-package passes the package sources as they are, and fails each property once it is broken in a copy."""
import pathlib
import shutil
import subprocess

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
BLK = "drivers/windows7/virtio-blk/"
CMAKE, PROJECT, SOURCES = BLK + "CMakeLists.txt", BLK + "aero_virtio_blk.vcxproj", BLK + "sources"
WHOLE, INF, VERSION = BLK + "whole_driver.c", BLK + "inf/aero_virtio_blk.inf", BLK + "include/aero_virtio_blk_version.h"
SELFTEST = "drivers/windows7/tests/guest-selftest/aero-virtio-selftest.vcxproj"
INSTALL, BUILD = "ci/install-wdk.ps1", "ci/build-drivers.ps1"

# what is broken, file, a text in it, what takes its place, what the finding must say
BREAKS = [
    ("cmake-adds-a-source", CMAKE, "src/cdb.c", "src/cdb.c src/new.c",
     f"{PROJECT}:1: the list of sources lacks {BLK}src/new.c"),
    ("cmake-adds-an-include", CMAKE, "${_common}/include", "${_common}/include ${_common}/new", "INCLUDES lacks"),
    ("project-lacks-a-source", PROJECT, '<ClCompile Include="src\\cdb.c" />', "", f"lacks {BLK}src/cdb.c"),
    ("project-has-the-stand-in", PROJECT, '<ClCompile Include="src\\cdb.c" />',
     '<ClCompile Include="src\\cdb.c" /><ClCompile Include="..\\..\\..\\wdk7\\lib\\memory.c" />',
     "has wdk7/lib/memory.c"),
    ("project-lacks-the-resource", PROJECT, '<ResourceCompile Include="aero_virtio_blk.rc" />', "", "resources lacks"),
    ("project-lacks-an-include", PROJECT, "..\\virtio\\platform\\storport;", "", "the include path lacks"),
    ("project-for-windows-10", PROJECT, ">Windows7<", ">Windows10<", "TargetVersion is not Windows7"),
    ("project-warns-only", PROJECT, "AsError>true</TreatWarning", "AsError>false</TreatWarning", "TreatWarningAsError"),
    ("project-guarded", PROJECT, "<ControlFlowGuard>false", "<ControlFlowGuard>Guard", "ControlFlowGuard"),
    ("project-for-arm", PROJECT, 'Include="Debug|x64"', 'Include="Debug|ARM64"', "the configurations are not"),
    ("project-checked-release", PROJECT, "<AeroDbg>0<", "<AeroDbg>1<", "AeroDbg is not 1 for Debug and 0"),
    ("project-resource-without-dbg", PROJECT,
     "</AdditionalIncludeDirectories>\r\n      <PreprocessorDefinitions>DBG=$(AeroDbg);%(PreprocessorDefinitions)"
     "</PreprocessorDefinitions>\r\n    </ResourceCompile>",
     "</AdditionalIncludeDirectories>\r\n    </ResourceCompile>", "DBG is not AeroDbg"),
    ("project-without-storport", PROJECT, "$(DDK_LIB_PATH)storport.lib;", "", "does not link storport.lib"),
    ("project-stamps-the-inf", PROJECT, "<None Include", "<Inf Include", "nothing stamps"),
    ("selftest-lacks-a-source", SELFTEST, '<ClCompile Include="src\\device.c" />', "", "src/device.c is in one of"),
    ("selftest-has-the-entry", SELFTEST, '<ClCompile Include="src\\device.c" />',
     '<ClCompile Include="src\\device.c" /><ClCompile Include="src\\entry.c" />', "src/entry.c is in one of"),
    ("selftest-with-a-library", SELFTEST, "MultiThreaded<", "MultiThreadedDLL<", "RuntimeLibrary is not MultiThreaded"),
    ("selftest-for-windows-10", SELFTEST, "6.01<", "10.00<", "MinimumRequiredVersion is not 6.01"),
    ("selftest-not-xml", SELFTEST, "</Project>", "", "not XML"),
    ("project-not-xml", PROJECT, "</Project>", "", "not XML"),
    ("sources-without-resource", SOURCES, "aero_virtio_blk.rc", "", "SOURCES lacks"),
    ("sources-from-below", SOURCES, "SOURCES=whole_driver.c", "SOURCES=whole_driver.c src\\cdb.c", "SOURCES has"),
    ("sources-without-include", SOURCES, ";include;", ";", "INCLUDES lacks"),
    ("sources-type", SOURCES, "TARGETTYPE=MINIPORT", "TARGETTYPE=DRIVER", "TARGETTYPE is not MINIPORT"),
    ("sources-without-storport", SOURCES, "\\storport.lib", "\\scsiport.lib", "does not link storport.lib"),
    ("sources-warn-only", SOURCES, "/W4 /WX", "/W4", "MSC_WARNING_LEVEL"),
    ("whole-lacks-a-source", WHOLE, '#include "src/cdb.c"\n', "",
     f"{WHOLE}:1: the list of sources lacks {BLK}src/cdb.c"),
    ("whole-has-two-of-a-name", BLK + "src/cdb.c", '#include "cdb.h"', '#include "cdb.h"\n#define PCI_SPACE_BYTES 1',
     f"{WHOLE}:1: x86_64-pc-windows-msvc, DBG=0: error: 'PCI_SPACE_BYTES' macro redefined"),
    ("inf-unix-lines", INF, "\r\n", "\n", "do not end with CRLF"),
    ("inf-not-ascii", INF, "The Aero project", "The A\u00ebro project", "not ASCII"),
    ("inf-version", VERSION, "VERSION_PATCH 0", "VERSION_PATCH 1", f"DriverVer says 0.1.0.0, {VERSION} says 0.1.1.0"),
    ("inf-date", INF, "11/22/2026", "22/11/2026", "DriverVer has the date 22/11/2026"),
    ("inf-old-date", INF, "11/22/2026", "11/22/2008", "older than Windows 7"),
    ("inf-class", INF, "= SCSIAdapter", "= HDC", "[Version] class is HDC"),
    ("inf-class-guid", INF, "{4D36E97B", "{4D36E96A", "[Version] classguid"),
    ("inf-catalog", INF, "aero_virtio_blk.cat\r\n\r\n[Source", "other.cat\r\n\r\n[Source", "catalogfile is other.cat"),
    ("inf-x86-only", INF, "NTx86.6.1,NTamd64.6.1", "NTx86.6.1", "the models are for NTx86.6.1, not"),
    ("inf-no-x64-models", INF, "[Models.NTamd64.6.1]", "[Models.NTamd64.6.2]", "no section [Models.NTamd64.6.1]"),
    ("inf-any-revision", INF, "&REV_01\r\n\r\n[Models", "\r\n\r\n[Models", "the devices of NTx86.6.1 are not"),
    ("inf-one-id-more", INF, "&REV_01\r\n\r\n[Aero",
     "&REV_01\r\n%Device% = AeroVirtioBlk,PCI\\VEN_1AF4&DEV_1001\r\n\r\n[Aero", "the devices of NTamd64.6.1 are not"),
    ("inf-revision-of-the-driver", BLK + "src/adapter.c", "CONTRACT_REVISION 1", "CONTRACT_REVISION 2", "REV_02 alone"),
    ("inf-no-files-section", INF, "[AeroVirtioBlk.Files]", "[AeroVirtioBlk.File]", "no section [AeroVirtioBlk.Files]"),
    ("inf-copies-another", INF, "[AeroVirtioBlk.Files]\r\naero_virtio_blk.sys", "[AeroVirtioBlk.Files]\r\nother.sys",
     "does not copy aero_virtio_blk.sys"),
    ("inf-file-without-source", INF, "aero_virtio_blk.sys = 1", "other.sys = 1", "[SourceDisksFiles] does not name"),
    ("inf-file-without-disk", INF, "aero_virtio_blk.sys = 1", "aero_virtio_blk.sys = 2", "is not on a disk"),
    ("inf-x64-from-x86", INF, ",,,\\x64", ",,,\\x86", "for amd64, aero_virtio_blk.sys is not on a disk"),
    ("inf-destination", INF, "= 12 ;", "= 11 ;", "DefaultDestDir is not 12"),
    ("inf-demand-start", INF, "StartType      = 0", "StartType      = 3", "starttype is 3, not 0"),
    ("inf-error-control", INF, "ErrorControl   = 1", "ErrorControl   = 3", "errorcontrol is 3, not 1"),
    ("inf-group", INF, '"SCSI Miniport"', '"Base"', "loadordergroup is Base"),
    ("inf-binary", INF, "%12%\\aero_virtio_blk.sys", "%12%\\other.sys", "servicebinary is"),
    ("inf-not-the-device's-service", INF, "0x00000002", "0x00000000", "AddService is not"),
    ("inf-no-service-section", INF, "[AeroVirtioBlk.Service]", "[AeroVirtioBlk.Srv]",
     "no section [AeroVirtioBlk.Service]"),
    ("inf-no-event-log", INF, ",AeroVirtioBlk.EventLog ", " ", "AddService is not"),
    ("inf-no-msi", INF, '"MSISupported",0x00010001,1', '"MSISupported",0x00010001,0', "MSISupported is 0x00010001,0"),
    ("inf-message-limit", INF, 'NumberLimit",0x00010001,4', 'NumberLimit",0x00010001,2', "not 0x00010001,4"),
    ("inf-no-parent-key", INF, 'HKR,"Interrupt Management",,0x00000010\r\n', "", "Interrupt Management\\ is absent"),
    ("inf-pnp-interface", INF, '"5",0x00010001,1', '"5",0x00010001,0', "PnpInterface\\5 is"),
    ("inf-bus-type", INF, '"BusType",0x00010001,1', '"BusType",0x00010001,6', "BusType is 0x00010001,6"),
    ("inf-value-too-many", INF, ';HKR,"Parameters\\Device"', 'HKR,"Parameters\\Device"', "DriverParameter is"),
    ("inf-message-file", INF, '0x00020000,"%%System', '0x00000000,"%%System', "EventMessageFile is"),
    ("inf-string-missing", INF, "Service  = ", "Servant  = ", "%service% is not in [Strings]"),
    ("inf-string-unused", INF, "[Strings]", '[Strings]\r\nMore = "more"', "[Strings] more is not used"),
    ("inf-section-unused", INF, "[Strings]", "[DefaultInstall]\r\nCopyINF = aero_virtio_blk.inf\r\n\r\n[Strings]",
     "nothing names [defaultinstall]"),
    ("inf-section-twice", INF, "[Strings]", "[Version]\r\n\r\n[Strings]", "[Version] is there twice"),
    ("script-downloads-elsewhere", INSTALL, "https://aka.ms/", "https://example.org/", "loads from example.org"),
    ("script-bracket-open", INSTALL, "function Find-VisualStudio {", "function Find-VisualStudio", "a } too many"),
    ("script-bracket-closed", BUILD, "@()\n)", "@()\n", "that is not closed"),
    ("script-quote", BUILD, "= 'Stop'", "= 'Stop", "a quote without its partner"),
    ("script-of-powershell-7", BUILD, "{ continue }", "&& continue", "PowerShell 5.1 does not have"),
    ("script-too-long", BUILD, "\n", "\n\n\n\n", "more than 100 lines"),
]


@pytest.fixture
def package(tmp_path):
    for directory in ("drivers/windows7", "wdk7/include"):
        shutil.copytree(REPOSITORY / directory, tmp_path / directory)
    (tmp_path / "ci").mkdir()
    for script in (INSTALL, BUILD):
        shutil.copy(REPOSITORY / script, tmp_path / script)
    return tmp_path


def check(root):
    return subprocess.run([REPOSITORY / "ci" / "check-package", root], capture_output=True, text=True)


def test_the_package_sources_pass(package):
    result = check(package)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.parametrize("what, name, old, new, finding", BREAKS, ids=[entry[0] for entry in BREAKS])
def test_a_broken_package_fails(package, what, name, old, new, finding):
    path = package / name
    data = path.read_bytes()
    assert old.encode() in data, f"{name} does not say {old!r}: nothing was broken"
    path.write_bytes(data.replace(old.encode(), new.encode()))
    result = check(package)
    assert result.returncode == 1 and finding in result.stdout and not result.stderr, result.stdout + result.stderr


@pytest.mark.parametrize("name", [PROJECT, SELFTEST, SOURCES, WHOLE, INF, INSTALL, BUILD])
def test_a_missing_file_fails(package, name):
    (package / name).unlink()
    result = check(package)
    assert result.returncode == 1 and result.stdout == f"{name}:1: is not there\n", result.stdout + result.stderr
