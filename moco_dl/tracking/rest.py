"""Where tissue rests, if an animal rests and runs: calm frames tell of it, those of a bout hardly do."""

import numpy as np

from moco_dl.motion import Equations, closed_up
from moco_dl.sampled.samples import Samples
from moco_dl.tracking.track import Tracker
from moco_dl.tracking.vigour import REACH

NEARBY = 1.0  # px from the reference, where tissue may lie most of the time that is to stay as recorded


def rest_weights(tracker: Tracker, equations: Equations, samples: Samples, trusted: np.ndarray) -> np.ndarray:
    """Weights (n,) of samples in the mean that is taken for the tissue's rest; ones if it is not in bouts.

    A frame is away from rest by its motion, and by the error that `tracker` finds this with, given `equations`
    of samples: if it is `trusted` (n,), it counts by the inverse of the variance of both.
    """
    vigour = tracker.vigour
    if vigour is None:
        return np.ones(len(samples))
    places = closed_up(samples.numbers, REACH) + REACH
    count = places[-1] + REACH + 1
    told, there = np.zeros((count, len(tracker.visible))), np.zeros(count, bool)
    clear, known = np.ones(count), places[trusted]
    clear[known], there[known] = tracker.clarity(equations)[trusted], True
    told[known] = clear[known, None] * tracker.in_modes(equations.whole[trusted])
    strength = vigour.of_frames(told, there, tracker.visible, clear)[places - REACH]
    return trusted / (np.square(strength) + tracker.in_time.lost)


def middle_shift(shifts: np.ndarray) -> np.ndarray:
    """(2,) px median of whole frames' shifts (n, 2); zero if it is far: then they rest at several places."""
    middle = np.median(shifts, axis=0)
    return np.where(np.abs(middle).max() < NEARBY, middle, 0).astype(np.float32)
