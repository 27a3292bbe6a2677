# SPDX-License-Identifier: MIT OR Apache-2.0
"""Builds device models for `--device so:`, against the public header alone."""
import pathlib

import hosting

HERE = pathlib.Path(__file__).resolve().parent
CONTRACT = {"x64": hosting.OUT / "lib" / "storhost-contract-device.so",
            "x86": hosting.OUT / "lib" / "storhost-contract-device-x86.so"}


def compile_device(path, *flags, source=HERE / "broken.c"):
    result = hosting.run("gcc", "-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", *flags,
                         "-I", hosting.REPOSITORY / "storhost" / "include", "-o", path, source)
    assert result.returncode == 0, result.told
    return path
