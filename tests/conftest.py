# SPDX-License-Identifier: MIT OR Apache-2.0
"""Fixtures of the end-to-end tests: disks that do not outlive their test, and drivers on them."""
import contextlib
import functools
import itertools

import hosting
import pytest
from broken import build
from foreign import build as foreign_build


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
    numbers = itertools.count()

    def make(image, **keywords):
        directory = tmp_path / f"server{next(numbers)}"
        directory.mkdir()
        return hosting.serve(hosting.DRIVER, image, directory, **keywords)

    return make


@pytest.fixture(params=hosting.TARGETS)
def target(request):
    """Each architecture that drivers are built for."""
    return hosting.TARGETS[request.param]


@pytest.fixture
def scsi(target):
    """One command to the shipped driver: scsi(image, "12 00 00 00 24 00", seed=1, …)."""
    return functools.partial(hosting.scsi, target.shipped, program=target.program)


@pytest.fixture(scope="session")
def random_image(tmp_path_factory):
    """256 MiB that no two blocks of are alike."""
    path = tmp_path_factory.mktemp("random") / "source.img"
    yield hosting.make_disk(path, 256 * hosting.MIB, seed=20090722)
    path.unlink()


@pytest.fixture(scope="session")
def miniports(tmp_path_factory):
    """By architecture: one that is sound, .driver("BreakNothing"), and others with one mistake each."""
    return {architecture: build.Miniports(tmp_path_factory.mktemp(f"miniports-{architecture}"), architecture)
            for architecture in hosting.TARGETS}


@pytest.fixture(scope="session")
def foreign(tmp_path_factory):
    """By architecture: miniports in the shape of other people's, .driver("ramdisk")."""
    return {architecture: foreign_build.Miniports(tmp_path_factory.mktemp(f"foreign-{architecture}"), architecture)
            for architecture in hosting.TARGETS}
