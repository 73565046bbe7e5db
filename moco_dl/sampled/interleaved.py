"""Channels, or planes, that take turns in what is meant to be one movie."""

import numpy as np

from moco_dl.batch import run_slices
from moco_dl.sampled.samples import Samples

MOST = 3  # that are looked for
GLANCED = 64  # samples
ENOUGH = 100  # pixels along the shorter side
FEW = 16  # frames, from fewer of which nothing is concluded
CLOSER = 0.95  # squared distance of a frame from the next of its own kind, over that from those between
NEARLY_ALL = 0.9  # of the frames


def taking_turns(samples: Samples) -> int:
    """How many kinds of frames take turns; 1, unless that is clear.

    Then nearly every frame is more like the one that is so many later than like those between. In a movie,
    frames are the less alike the more time is between them.
    """
    some = samples.only(samples.some(GLANCED))
    closer = {kinds: [] for kinds in range(2, MOST + 1)}
    for run in run_slices(some.numbers - np.arange(len(some))):
        frames = some[run]
        step = max(min(frames.shape[1:]) // ENOUGH, 1)
        frames = frames[:, ::step, ::step].astype(np.float32)
        apart = [
            np.square(frames[n:] - frames[:-n]).mean(axis=(1, 2)) for n in range(1, min(MOST + 1, len(frames)))
        ]
        for kinds, distances in zip(closer, apart[1:], strict=False):
            between = np.min([other[: len(distances)] for other in apart[: kinds - 1]], axis=0)
            closer[kinds].extend(distances < CLOSER * between)
    for kinds, found in closer.items():
        if len(found) >= FEW and np.mean(found) > NEARLY_ALL:
            return kinds
    return 1
