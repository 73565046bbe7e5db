"""Coarse light that stays in place while the tissue moves: haze from behind it, and how unevenly it is lit.

It holds motion to where it is. It is too coarse to be told from the scene, as patterns are, since motion hardly
changes it. But it is seen that it does not move as details do. Then frames are looked at without all that is as
coarse, of the scene, too.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from moco_dl.gaussian import NEGLIGIBLE, cut_window
from moco_dl.sampled.inplace import MOVES, Changes
from moco_dl.sampled.samples import Samples

GLANCED = 24  # samples or more, up to twice as many: of fewer than 20, it is not told whether they are clear
WIDTHS = 16.0, 8.0, 4.0  # px, sigmas of the Gaussians within which light is coarse
AS_TISSUE = 1.0  # times as far as tissue: what moves as far need not be looked at more closely
LEAST = 0.5  # px root mean square along an axis: smaller shifts may be by chance, and nothing shares that

Registered = tuple[Samples, np.ndarray]  # samples and their shifts (n, 2) px


class Haze(NamedTuple):
    """What is coarse, of which something stays in place."""

    width: float  # px, sigma of the Gaussian over which frames are averaged
    light: np.ndarray  # (H, W) float32, what the reference lacks, too

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Frames (n, H, W) without it; NaN stays."""
        return frames - local_means(frames, self.width)

    def of(self, reference: np.ndarray) -> "Haze":
        """The same, with what a `reference` (H, W) that is given has of it."""
        return self._replace(light=local_means(reference[None], self.width)[0])


def local_means(frames: np.ndarray, width: float) -> np.ndarray:
    """(n, H, W) float32 means of frames (n, H, W) within a Gaussian, sigma `width` px, of what is not NaN."""
    down, along = (cut_window(size, width).astype(np.float32) for size in frames.shape[1:])
    means = np.empty(frames.shape, np.float32)
    for mean, frame in zip(means, frames, strict=True):
        known = np.isfinite(frame)
        values = np.where(known, frame, 0).astype(np.float32, copy=False)
        if known.all():
            weights = np.outer(down.sum(axis=1), along.sum(axis=1))
        else:
            weights = down @ known.astype(np.float32) @ along
        np.divide(down @ values @ along, np.maximum(weights, NEGLIGIBLE), out=mean)
    return means


def haze_width(
    samples: Samples, shifts: np.ndarray, factor: int, register: Callable[[Samples], Registered | None]
) -> float | None:
    """px, sigma of the narrowest Gaussian whose means stay in place; None: all move with the tissue.

    Samples are averaged over `factor` pixels a side, and shifted by `shifts` (n, 2) of theirs, as far as haze
    does not hold these. `register` tells which of some samples are shifted clearly, and how; None: that is not
    clear.
    """
    every, widths = max(len(samples) // GLANCED, 1), [width / factor for width in WIDTHS]
    frames, shifts = samples[np.arange(0, len(samples), every)].astype(np.float32), shifts[::every]
    if _wander(shifts) and _moves(_coarse(frames, widths[0]), shifts, widths[0]) > AS_TISSUE:
        return None
    details = (_numbered(frames - _coarse(frames, width)) for width in reversed(widths))
    found = next(filter(None, map(register, details)), None)
    if found is None or not _wander(found[1]):
        return None
    (clear, shifts), stays = found, None
    frames = frames[clear.places]
    for width in widths:
        coarse = _coarse(frames, width)
        if not _moves(coarse, shifts, width) < MOVES:
            break
        frames -= coarse
        stays = factor * width
    return stays


def _coarse(frames: np.ndarray, width: float) -> np.ndarray:
    """Local means of frames (n, H, W), NaN where these are."""
    return np.where(np.isfinite(frames), local_means(frames, width), np.nan)


def _wander(shifts: np.ndarray) -> bool:
    """Whether shifts (n, 2) px are clearly more than none."""
    return len(shifts) > 1 and bool(shifts.std(axis=0).max() > LEAST)


def _moves(coarse: np.ndarray, shifts: np.ndarray, width: float) -> float:
    """How far what is coarse in frames (n, H, W) moves at most, over the shifts (n, 2) px of the tissue."""
    known = np.isfinite(coarse).all(axis=0)
    slopes = np.stack(np.gradient(np.where(known, coarse.mean(axis=0), np.nan)))
    slopes[~np.isfinite(slopes)] = 0
    inner = tuple(slice(rim := int(min(width, size // 4)), size - rim) for size in known.shape)
    changes = Changes(_numbered(coarse), shifts, 0.0)
    return changes.moves(slopes[(slice(None), *inner)], max(round(2 * width), 1), inner)


def _numbered(frames: np.ndarray) -> Samples:
    """Frames (n, H, W) as samples of a movie."""
    numbers = np.arange(len(frames))
    return Samples(frames, numbers, numbers, numbers)
