# SPDX-License-Identifier: MIT OR Apache-2.0
"""Some hours of the soak with each build; `make soak` runs a week of each architecture."""
import itertools

import matrix
import pytest
import soak

SEEDS = (101, 102)
LIVES = [soak.Life(build, seed * 10 + number, soak.HOUR)
         for seed, (number, build) in itertools.product(SEEDS, enumerate(matrix.BUILDS))]


@pytest.mark.parametrize("life", LIVES, ids=lambda life: life.name)
def test_an_hour(life):
    outcome = soak.live(life)
    assert outcome.told == ""
    assert outcome.lived["seconds"] >= 3600 and outcome.lived["requests"] > 1000
