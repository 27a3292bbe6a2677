# SPDX-License-Identifier: MIT OR Apache-2.0
"""`--device so:`: the contract device from a shared object takes part in everything, and what is no device is refused."""
import functools
import json

import hosting
import pytest
from device import build

SCENARIOS = sorted((hosting.REPOSITORY / "storhost" / "tests" / "scenarios").glob("*.scn"))
SUITE_DEADLINE = 600


@functools.cache
def verdicts(architecture, interrupts, *device):
    target = hosting.TARGETS[architecture]
    result = hosting.run(target.program, "run", target.shipped, *SCENARIOS, "--interrupts", interrupts, "--seed", 1,
                         "--json", *device, timeout=SUITE_DEADLINE)
    assert result.returncode == 0, result.told
    return json.loads(result.stdout)


@pytest.mark.parametrize("architecture, interrupts", [("x64", "msix:2"), ("x86", "intx")])
def test_the_contract_device_as_a_shared_object_takes_part_in_every_scenario(architecture, interrupts):
    found = verdicts(architecture, interrupts, "--device", f"so:{build.CONTRACT[architecture]}")
    skipped = [outcome["reason"] for outcome in found if outcome["verdict"] == "SKIP"]
    assert all("the driver is no" in reason for reason in skipped), skipped
    assert len(found) - len(skipped) > 150


def test_a_served_disk_lies_behind_a_shared_object(server, disk, random_image):
    image = disk(random_image.stat().st_size)
    with server(image, device=f"so:{build.CONTRACT['x64']},queue-size=64", seed=911) as nbd:
        copied = hosting.run("nbdcopy", "--flush", random_image, nbd.uri)
        assert copied.returncode == 0, copied.told + nbd.told
    assert hosting.first_difference(random_image, image) is None, nbd.told


EMPTY = "int nothing;\n"


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    """Shared objects that are no devices, and what is said of them."""
    directory = tmp_path_factory.mktemp("objects")
    empty = directory / "empty.c"
    empty.write_text(EMPTY)
    text = directory / "text.so"
    text.write_text("no object")
    return {
        "missing": (directory / "missing.so", "cannot load the device"),
        "text": (text, "cannot load the device"),
        "empty": (build.compile_device(directory / "empty.so", source=empty), "it has no storhost_device_get"),
        "version": (build.compile_device(directory / "new.so", "-DVERSION=9"), "version 9 of the interface"),
        "incomplete": (build.compile_device(directory / "half.so", "-DINCOMPLETE"), "an incomplete device"),
    }


@pytest.mark.parametrize("kind", ["missing", "text", "empty", "version", "incomplete"])
def test_what_is_no_device_is_refused_in_one_sentence(objects, kind, disk, tmp_path):
    path, sentence = objects[kind]
    image = disk(hosting.MIB)
    for command in (["run", hosting.DRIVER, SCENARIOS[0]], ["conform"],
                    ["nbd", hosting.DRIVER, "--disk", image, "--socket", tmp_path / "s"],
                    ["scsi", hosting.DRIVER, "--disk", image]):
        tail = ["--", "00", "00", "00", "00", "00", "00"] if command[0] == "scsi" else []
        result = hosting.storhost(*command, "--device", f"so:{path}", *tail)
        assert result.returncode == 2, result.told
        assert sentence in result.stderr and result.stderr.count("\n") == 1, result.told


@pytest.mark.parametrize("device, sentence", [
    ("so:", "needs its FILE"), ("vhost-user:", "needs its SOCKET"), ("vhost-user:/nowhere/at/all", "No such file"),
    ("carrier-pigeon:1", "no kind of device 'carrier-pigeon'"), ("vhost-user:/x,serial=a", "cannot be told 'serial=a'"),
    (f"so:{build.CONTRACT['x64']},colour=blue", "no device option 'colour'")])
def test_a_device_that_cannot_be_had_is_refused_in_one_sentence(device, sentence):
    result = hosting.storhost("run", hosting.DRIVER, SCENARIOS[0], "--device", device)
    assert result.returncode == 2, result.told
    assert sentence in result.stderr and result.stderr.count("\n") == 1, result.told
