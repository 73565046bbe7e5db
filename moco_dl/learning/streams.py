"""Random numbers of their own for each purpose: what one draws more of changes no other."""

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """What numbers are for. Datasets and movies of a seed change if these do."""

    SCENES = 1
    PAIRS = 2
    MOVIE = 3
    ORDER = 4  # in which stored pairs are taken
    NOISE = 5
    BOUTS = 6
    SWINGS = 7
    BEATS = 8
    LIGHT = 9
    PATTERN = 10

    def drawn(self, seed: int, *number: int) -> np.random.Generator:
        """A generator for one of several things that are drawn, by its number."""
        return np.random.default_rng([seed, int(self), *number])
