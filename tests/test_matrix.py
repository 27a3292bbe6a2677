# SPDX-License-Identifier: MIT OR Apache-2.0
"""A sample of the matrix, in which each value of each axis meets each build; `make matrix` runs all of it."""
import matrix
import pytest

SEED = 1
SAMPLE = matrix.sample(SEED)


def test_each_build_meets_each_value():
    assert len(SAMPLE) >= 60
    met = set().union(*(cell.values for cell in SAMPLE))
    assert len(met) == len(matrix.BUILDS) * sum(len(axis) for axis in matrix.AXES)


@pytest.mark.parametrize("cell", SAMPLE, ids=lambda cell: cell.name)
def test_cell(cell):
    assert matrix.failure(cell, SEED) == ""
