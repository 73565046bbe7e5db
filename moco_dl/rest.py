"""Where tissue rests, if an animal rests and runs: calm frames tell of it, those of a bout hardly do."""

import numpy as np

from moco_dl.batch import surroundings
from moco_dl.plan import Step
from moco_dl.samples import Samples
from moco_dl.vigour import REACH


def rest_weights(step: Step, samples: Samples, trusted: np.ndarray) -> np.ndarray:
    """Weights (n,) of samples in the mean that is taken for the tissue's rest; ones if it is not in bouts.

    A frame is away from rest by its motion, and by the error that this is found with in `step`: if it is
    `trusted` (n,), it counts by the inverse of the variance of both.
    """
    tracker, vigour = step.tracker, step.tracker.in_time.vigour
    if vigour is None:
        return np.ones(len(samples))
    numbers = samples.numbers
    told = dict(zip(numbers[trusted].tolist(), tracker.told(step.equations.seen[trusted]), strict=True))
    strength = []
    for some in samples.stretches():
        frames = range(int(numbers[some.start]), int(numbers[some.stop - 1]) + 1)
        near, there = surroundings(frames, REACH, told, np.zeros(len(tracker.visible)))
        strength.append(vigour.of_frames(near, there, tracker.visible))
    return trusted / (np.square(np.concatenate(strength)) + tracker.in_time.lost)
