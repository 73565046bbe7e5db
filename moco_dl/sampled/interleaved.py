"""Channels, or planes, that take turns in what is meant to be one movie."""

import numpy as np

from moco_dl.blocks import shrink
from moco_dl.sampled.samples import Samples

MOST = 3  # that are looked for
GLANCED = 64  # samples
ENOUGH = 32  # pixels along the shorter side, each an average of more
FEW = 16  # frames, from fewer of which nothing is concluded
CLOSER = 0.95  # squared distance of a frame from the next of its own kind, over that from those between
NEARLY_ALL = 0.9  # of the frames
BANDS = 4  # of rows


def taking_turns(samples: Samples) -> int:
    """How many kinds of frames take turns; 1, unless that is clear.

    Then nearly every frame is more like the one that is so many later than like those between. In a movie,
    frames are the less alike the more time is between them. What rows differ by is left aside, as it may be
    stripes that wander, and so is the band in which most changes, as it may hold a clock.
    """
    some = samples.only(samples.some(GLANCED))
    closer = {kinds: [] for kinds in range(2, MOST + 1)}
    for run in some.stretches():
        frames = _without_rows(_averaged(some[run]))
        tops = [frames.shape[1] * band // BANDS for band in range(BANDS)]
        apart = [
            np.add.reduceat(np.square(frames[n:] - frames[:-n]).sum(axis=2), tops, axis=1)
            for n in range(1, min(MOST + 1, len(frames)))
        ]
        most = apart[0].sum(axis=0).argmax() if apart else 0
        apart = [np.delete(distances, most, axis=1).sum(axis=1) for distances in apart]
        for kinds, distances in zip(closer, apart[1:], strict=False):
            between = np.min([other[: len(distances)] for other in apart[: kinds - 1]], axis=0)
            closer[kinds].extend(distances < CLOSER * between)
    for kinds, found in closer.items():
        if len(found) >= FEW and np.mean(found) > NEARLY_ALL:
            return kinds
    return 1


def _without_rows(frames: np.ndarray) -> np.ndarray:
    """Frames (n, h, w) without what rows differ by; where some have no data, all are as bright as the rest."""
    known = np.isfinite(frames).all(axis=0)
    frames = np.where(known, frames, 0)
    rows = frames.sum(axis=2, keepdims=True) / np.maximum(known.sum(axis=1), 1)[:, None]
    level = frames.sum(axis=(1, 2), keepdims=True) / max(known.sum(), 1)
    return level + np.where(known, frames - rows, 0)


def _averaged(frames: np.ndarray) -> np.ndarray:
    """Frames (n, H, W) averaged over squares, as many as are ENOUGH; float32."""
    side = max(min(frames.shape[1:]) // ENOUGH, 1)
    return np.stack([shrink(frame, (side, side)) for frame in frames])
