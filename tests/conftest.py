# SPDX-License-Identifier: MIT OR Apache-2.0
"""Fixtures of the end-to-end tests: disks that do not outlive their test, and drivers on them."""
import contextlib
import functools

import hosting
import pytest


@pytest.fixture
def disk(tmp_path):
    """Makes disk images: disk(size, seed=None, name="disk.img"). They are removed after the test; some are large."""
    with contextlib.ExitStack() as stack:
        def make(size, seed=None, name="disk.img"):
            path = tmp_path / name
            stack.callback(path.unlink, missing_ok=True)
            return hosting.make_disk(path, size, seed)
        yield make


@pytest.fixture
def server(tmp_path):
    """The shipped driver's disk over NBD: with server(image, seed=1, …) as s. Afterwards s.report is loaded."""
    return lambda image, **keywords: hosting.serve(hosting.DRIVER, image, tmp_path, **keywords)


@pytest.fixture
def scsi():
    """One command to the shipped driver: scsi(image, "12 00 00 00 24 00", seed=1, …)."""
    return functools.partial(hosting.scsi, hosting.DRIVER)


@pytest.fixture(scope="session")
def random_image(tmp_path_factory):
    """256 MiB that no two blocks of are alike."""
    path = tmp_path_factory.mktemp("random") / "source.img"
    yield hosting.make_disk(path, 256 * hosting.MIB, seed=20090722)
    path.unlink()
