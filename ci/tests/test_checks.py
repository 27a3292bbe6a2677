# SPDX-License-Identifier: MIT OR Apache-2.0
"""Each source check passes a small sound tree and fails it once the thing it guards is broken."""
import pathlib
import shutil
import subprocess

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
LICENSE = "SPDX-License-Identifier: MIT OR Apache-2.0"

BLK = "drivers/windows7/virtio-blk/"
COMMON = "drivers/windows7/virtio/common/"


def c_file(body):
    return f"/* {LICENSE} */\n/* Owns nothing. */\n{body}"


SOUND = {
    BLK + "CMakeLists.txt": f"# {LICENSE}\n# Lists.\nset(_sources src/finish.c src/request.c\n"
                            "    ../virtio/common/src/virtqueue_split_legacy.c ${CMAKE_SOURCE_DIR}/wdk7/lib/memory.c)\n",
    BLK + "src/finish.c": c_file("int finish = SRB_STATUS_SUCCESS;\n"),
    BLK + "src/request.c": c_file('#include "aero.h"\nint request;\n'),
    COMMON + "src/virtqueue_split_legacy.c": c_file('#include "virtqueue_split_legacy.h"\nint queue;\n'),
    COMMON + "include/virtqueue_split_legacy.h": c_file('#include "virtio_platform.h"\nextern int queue;\n'),
    COMMON + "include/virtio_pci_modern_miniport.h": c_file('#include "virtio_spec.h"\n'),
    "wdk7/lib/memory.c": c_file("int memory;\n"),
    "wdk7/include/storport.h": c_file("extern int port;\n"),
    "storhost/CMakeLists.txt": f"# {LICENSE}\n# Lists.\nadd_library(core\n    base/error.c\n    device/pci.c\n    nt/irql.c)\n",
    "storhost/base/error.c": c_file("int error;\n"),
    "storhost/device/pci.c": c_file('#include "base/error.h"\nint pci;\n'),
    "storhost/nt/irql.c": c_file('#include "pe/pe.h"\n#include <storport.h>\nint irql;\n'),
    "README.md": "# Title\n\nSee [the title](#title) and [the guide](docs/guide.md#part-one).\n",
    "docs/guide.md": "# Part one\n",
}



def document(rows=75, mistakes=62, test="`test-a-claim`", told="60 of 75"):
    """A document about tests, of whose rows from the field the last fifteen are not covered."""
    reports = [f"| {n} | hangs | {test if n <= 60 else 'not here: no'} |" for n in range(1, rows + 1)]
    return "\n".join(["# Testing", f"{told}, 62 of 62, 1 of 1.", "## Reports from the field", *reports,
                      "## Mistakes not to repeat", *[f"| M{n} | wrong | `SRB-TWICE` |" for n in range(1, mistakes + 1)],
                      "## What is claimed", "| C1 | it works | `test-unit: it_works` |", ""])


SOUND |= {
    "docs/testing.md": document(),
    "storhost/verify/rules.def": c_file("RULE(SRB_TWICE, \"once\", \"DV\")\n"),
    "storhost/tests/scenarios/test-a-claim.scn": f"# {LICENSE}\n# A claim\nstart\n",
    "storhost/tests/base/CMakeLists.txt": f"# {LICENSE}\n# Lists.\nadd_executable(test-unit test-unit.c)\n",
    "storhost/tests/base/test-unit.c": c_file("static void it_works(void)\n{\n}\n"),
}

SHELL = "#!/bin/bash\n"
LONG_FUNCTION = "int f(int x)\n{\n" + "\tx++;\n" * 59 + "\treturn x;\n}\n"
LONG_DRIVER_FUNCTION = "int f(int x,\n      int y) {\n" + "    x++;\n" * 59 + "    return x;\n}\n"

# check, what is broken, file, its new contents (None: removed), what the finding must name
BREAKS = [
    ("spdx", "no-license", "storhost/base/error.c", "int error;\n", "storhost/base/error.c:1:"),
    ("spdx", "another-license", "storhost/base/error.c", "/* SPDX-License-Identifier: MIT */\n", "error.c:1:"),
    ("spdx", "no-license-in-a-script", "ci/new", SHELL + "# A script.\n", "ci/new:2:"),
    ("spdx", "no-sentence", "storhost/base/error.c", f"/* {LICENSE} */\nint error;\n", "error.c:2:"),
    ("format", "spaces-on-linux", "storhost/base/error.c", c_file("int f(void)\n{\n    return 1;\n}\n"), "error.c:4:"),
    ("format", "tabs-on-windows", BLK + "src/finish.c", c_file("int f(void) {\n\treturn 1;\n}\n"), "finish.c:3:"),
    ("length", "function-on-linux", "storhost/base/error.c", c_file(LONG_FUNCTION), "error.c:4: a function of 62"),
    ("length", "function-on-windows", BLK + "src/finish.c", c_file(LONG_DRIVER_FUNCTION), "finish.c:4: a function of 62"),
    ("arrows", "base-above", "storhost/base/error.c", c_file('#include "nt/irql.h"\n'), "base/ may not include nt/irql.h"),
    ("arrows", "device-above", "storhost/device/pci.c", c_file('#include "port/port.h"\n'), "device/ may not include"),
    ("arrows", "device-windows", "storhost/device/pci.c", c_file("#include <storport.h>\n"), "it knows no Windows"),
    ("arrows", "nt-above", "storhost/nt/irql.c", c_file('#include "port/port.h"\n'), "nt/ may not include port/port.h"),
    ("arrows", "pe-sideways", "storhost/pe/image.c", c_file('#include "trap/trap.h"\n'), "pe/ may not include trap/trap.h"),
    ("arrows", "verify-meddles", "storhost/verify/verify.c", c_file('#include "nt/irql.h"\n'), "verify/ may not include"),
    ("arrows", "driver-knows-host", BLK + "src/request.c", c_file('#include "device/device.h"\n'), "storhost: device/"),
    ("arrows", "common-knows-windows", COMMON + "src/virtqueue_split_legacy.c", c_file("#include <storport.h>\n"),
     "virtio_platform.h only"),
    ("arrows", "srb-status", BLK + "src/request.c", c_file("int f = SRB_STATUS_ERROR;\n"), "only finish.c"),
    ("arrows", "complete", BLK + "src/request.c", c_file("int f = g(RequestComplete);\n"), "only finish.c"),
    ("arrows", "state", BLK + "src/request.c", c_file("void f(void) {\n    Adapter->State = 1;\n}\n"), "only lifecycle.c"),
    ("arrows", "pop", BLK + "src/request.c", c_file("void f(void) {\n    VirtqueuePop(0);\n}\n"), "only inflight.c"),
    ("arrows", "capability", BLK + "src/request.c", c_file("int f = VIRTIO_PCI_CAP_COMMON_CFG;\n"), "virtio_pci_caps.c"),
    ("arrows", "scsi-finishes", BLK + "src/scsi.c", c_file("int f = VblkFinish(0);\n"), "return an outcome"),
    ("arrows", "request-rings", BLK + "src/request.c", c_file("int f = VirtqueuePublish(0);\n"), "through inflight.c"),
    ("arrows", "cdb-impure", BLK + "src/cdb.c", c_file("int f = StorPortBusy(0);\n"), "and describes is pure"),
    ("arrows", "vpd-impure", BLK + "src/vpd.c", c_file("int f = StorPortBusy(0);\n"), "and describes is pure"),
    ("arrows", "ring-register", COMMON + "src/virtqueue_split_legacy.c", c_file("int f = VirtioRead16(0, 0);\n"),
     "touches no register"),
    ("arrows", "transport-ring", COMMON + "include/virtio_pci_modern_miniport.h", c_file("struct virtq_desc *d;\n"),
     "touches no ring"),
    ("sources", "unlisted-host", "storhost/base/new.c", c_file("int n;\n"), "storhost/base/new.c:1: not named"),
    ("sources", "unlisted-driver", BLK + "src/new.c", c_file("int n;\n"), "src/new.c:1: not named"),
    ("sources", "unlisted-common", COMMON + "src/new.c", c_file("int n;\n"), "src/new.c:1: not named"),
    ("sources", "listed-absent", "storhost/nt/irql.c", None, "names storhost/nt/irql.c"),
    ("testing", "absent-test", "docs/testing.md", document(test="`test-a-dream`"), "there is no test-a-dream"),
    ("testing", "absent-unit", "storhost/tests/base/test-unit.c", c_file("int unit;\n"), "no test-unit: it_works"),
    ("testing", "absent-rule", "storhost/verify/rules.def", c_file(""), "there is no SRB-TWICE"),
    ("testing", "absent-row", "docs/testing.md", document(rows=74), "row 75 is missing"),
    ("testing", "absent-mistake", "docs/testing.md", document(mistakes=61), "row M62 is missing"),
    ("testing", "too-few", "docs/testing.md", document(test="not here: no", told="0 of 75"), "0 rows are covered, 55 must"),
    ("testing", "no-reason", "docs/testing.md", document(test="nothing"), "row 1 names no test and does not say why"),
    ("testing", "wrong-count", "docs/testing.md", document(told="65 of 75"), "does not say that 60 of 75 rows"),
    ("docs", "dead-link", "README.md", "[gone](docs/gone.md)\n", "README.md:1: a link to docs/gone.md"),
    ("docs", "dead-anchor", "README.md", "\n[gone](docs/guide.md#part-two)\n", "README.md:2: a link to #part-two"),
    ("docs", "machine-path", "docs/guide.md", "See /home" + "/me/tree.\n", "guide.md:1: names a place"),
    ("docs", "trailing-blank", "docs/guide.md", "Text \n", "guide.md:1: blanks"),
    ("docs", "unfinished-merge", "docs/guide.md", "<" * 7 + " HEAD\n", "guide.md:1: a merge was not finished"),
    ("docs", "no-newline", "docs/guide.md", "Text", "guide.md:1: no newline"),
    ("docs", "binary", "docs/guide.md", b"MZ\xff\xfe", "guide.md:1: not text"),
]


@pytest.fixture
def sound(tmp_path):
    for name, contents in SOUND.items():
        put(tmp_path, name, contents)
    shutil.copy(REPOSITORY / ".clang-format", tmp_path)
    shutil.copy(REPOSITORY / "storhost" / ".clang-format", tmp_path / "storhost")
    return tmp_path


def put(root, name, contents):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if contents is None:
        path.unlink()
    else:
        path.write_bytes(contents if isinstance(contents, bytes) else contents.encode())


def check(name, root):
    return subprocess.run([REPOSITORY / "ci" / f"check-{name}", root], capture_output=True, text=True)


@pytest.mark.parametrize("name", ["spdx", "format", "length", "arrows", "sources", "docs"])
def test_a_sound_tree_passes(sound, name):
    result = check(name, sound)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.parametrize("name, what, path, contents, finding", BREAKS, ids=[f"{b[0]}-{b[1]}" for b in BREAKS])
def test_a_broken_tree_fails(sound, name, what, path, contents, finding):
    put(sound, path, contents)
    result = check(name, sound)
    assert result.returncode == 1 and finding in result.stdout, result.stdout + result.stderr


def test_format_fix_repairs_a_tree(sound):
    put(sound, "storhost/base/error.c", c_file("int f(void)\n{\n    return 1;\n}\n"))
    subprocess.run([REPOSITORY / "ci" / "check-format", "--fix", sound], check=True)
    assert check("format", sound).returncode == 0


def test_the_driver_of_the_checks_fails_when_one_does(sound):
    command = [REPOSITORY / "ci" / "checks", sound]
    assert subprocess.run(command, capture_output=True).returncode == 0
    put(sound, "docs/guide.md", "Text \n")
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1 and "FAIL check-docs" in result.stdout
