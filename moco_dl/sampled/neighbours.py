"""Whole-frame shifts as the samples before tell: cells that flash are still lit in the next frames."""

from collections.abc import Callable

import numpy as np

from moco_dl.infer import Estimator
from moco_dl.reference import centred, divided
from moco_dl.sampled.samples import Move, Samples

TOGETHER = 4  # samples that are registered to the same mean
KEPT = 0.65  # of the weight that samples have, with each such group that follows


def shifts_along(samples: Samples, register: Callable[[np.ndarray], Estimator], move: Move) -> np.ndarray:
    """(n, 2, 1, 1) about their middle, each registered to the mean of those before it, as they were moved.

    The mean forgets: what was lit long ago tells little of what is lit now. `register` makes of a reference
    (H, W) what finds whole-frame shifts.
    """
    shifts = np.zeros((len(samples), 2, 1, 1), np.float32)
    total = count = np.float32(0)
    for some in np.split(np.arange(len(samples)), np.arange(1, len(samples), TOGETHER)):
        frames = samples[some]
        if some[0]:
            shifts[some] = register(divided(total, count))(frames).rigid[:, :, None, None]
        moved = move(frames, shifts[some])
        known = np.isfinite(moved)
        total = KEPT * total + np.where(known, moved, 0).sum(axis=0)
        count = KEPT * count + known.sum(axis=0)
    return centred(shifts)
