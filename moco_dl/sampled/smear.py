"""Noise that pixels share with those beside them: of a slow detector, or of frames that were resampled before.

All that follows takes noise to be new in each pixel. Where it is not, frames are looked at through a short
filter, along columns and along rows, that makes it so (whitening). It sharpens the scene alike, so little is
lost of what a smear has left. What is written is not sharpened.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from moco_dl.sampled.edges import floats
from moco_dl.sampled.haze import local_means
from moco_dl.sampled.samples import Samples

GLANCED = 32  # pairs of samples
FEWEST = 6  # of them
PIXELS = 2**16  # of a pair, that are looked at
LAGS = 6  # px, as far as noise is taken to be shared
REACH = 4  # px, of the filter
MOST = 6.0  # times as strong as what is coarse, fine details become along an axis: others are lost
FEW = 0.25  # of the pairs: those that show least of the scene
SURE = 2.0  # times as much as pairs differ by, it is shared in all: what the scene adds depends on its motion
LEAST = 0.1  # correlation of neighbours: less does hardly any harm
NEAR = 2.0  # px, sigma of the Gaussian whose mean stands for what is not known, beside what is


class Smear(NamedTuple):
    """How noise is shared."""

    shared: tuple[float, float]  # correlation of pixels above each other, and beside each other; 0: not surely
    down: np.ndarray  # (REACH + 1,) float32 weights of a pixel, and of those so many px above and below
    along: np.ndarray  # the same along rows

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Frames (n, H, W), sharpened so that pixels have noise of their own, see `floats`; NaN stays."""
        sharp = floats(frames)
        for frame in sharp:
            values, unknown = _filled(frame)
            frame[...] = _filtered(_filtered(values, self.down, 0), self.along, 1)
            frame[unknown] = np.nan
        return sharp

    def undone(self, image: np.ndarray) -> np.ndarray:
        """A sharpened image (H, W), as smeared as before."""
        values, unknown = _filled(image)
        for weights in (self.down, self.along):
            values = np.linalg.solve(_filtered(np.eye(len(values)), weights, 0), values).T
        return np.where(unknown, np.nan, values).astype(np.float32)


def measure_smear(samples: Samples, shifts: np.ndarray, mapping: Callable = map) -> Smear | None:
    """From samples that are shifted by `shifts` (n, 2) px; None: it is not sure that any noise is shared.

    `mapping` is `map`, or does the same with several threads.
    """
    places = np.flatnonzero((np.diff(samples.numbers) == 1) & (np.diff(samples.runs) == 0))
    places = places[:: max(-(-len(places) // GLANCED), 1)]

    def found(place: int) -> np.ndarray:
        pair = floats(samples[np.array([place, place + 1])])
        return covariances(*_laid(*pair, np.rint(shifts[place + 1] - shifts[place]).astype(int)))

    pairs = np.array(list(mapping(found, places)))
    noises = [_noise(each) for each in pairs.swapaxes(0, 1)] if len(pairs) else [None, None]
    if all(noise is None for noise in noises):
        return None
    shared = tuple(0.0 if noise is None else float(noise[1]) for noise in noises)
    return Smear(shared, *map(_whitening, noises))


def _filled(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Image (H, W) with the mean around what is not known in its place; and where that is (H, W) bool."""
    unknown = ~np.isfinite(image)
    if not unknown.any():
        return image, unknown
    return np.where(unknown, local_means(image[None], NEAR)[0], image), unknown


def _laid(one: np.ndarray, other: np.ndarray, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What two frames (H, W) show both, if the other is shifted by whole px (dy, dx) more."""
    there, here = (
        tuple(slice(max(by, 0), n - max(-by, 0)) for by, n in zip(way, one.shape, strict=True))
        for way in (shift, -shift)
    )
    return one[here], other[there]


def covariances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(2, LAGS + 1) of the noise of pixels so far above each other, and beside each other.

    Of what differs between two frames (h, w), and of that what differs from line to line, across those along
    which it is looked at: that shows hardly anything of a scene, as it is alike in neighbouring pixels, and
    most of it in both frames.
    """
    change = other - one
    every = max(change.size // PIXELS, 1)
    found = np.zeros((2, LAGS + 1))
    for values, lines in zip(found, (change.T, change), strict=True):
        fine = 2 * lines[1:-1:every] - lines[:-2:every] - lines[2::every]
        known = np.isfinite(fine)
        fine = np.where(known, fine, 0)
        fine -= known * (fine.sum(axis=1) / np.maximum(known.sum(axis=1), 1))[:, None]
        for lag in range(min(LAGS + 1, fine.shape[1])):
            values[lag] = np.vdot(fine[:, lag:], fine[:, : fine.shape[1] - lag])
    return found


def _noise(pairs: np.ndarray) -> np.ndarray | None:
    """(LAGS + 1,) autocorrelation of the noise in pairs (n, LAGS + 1) of frames; None: it may be white.

    Noise is the same in all. What a pair has of the scene depends on how it moves, and is least in some.
    """
    if len(pairs) < FEWEST:
        return None
    pairs = pairs[np.argsort(pairs[:, 1])]
    noise = pairs[: max(round(FEW * len(pairs)), 1)].mean(axis=0)
    spread = np.median(pairs[:, 1]) - noise[1]
    return noise / noise[0] if noise[1] > max(LEAST * noise[0], SURE * spread) else None


def _whitening(noise: np.ndarray | None) -> np.ndarray:
    """(REACH + 1,) float32 weights of a symmetric filter for noise of an autocorrelation (LAGS + 1,)."""
    if noise is None:
        return np.eye(1, REACH + 1, dtype=np.float32)[0]
    wave = np.cos(np.pi / 32 * np.outer(np.arange(64), np.arange(LAGS + 1)))
    power = 2 * wave @ noise - noise[0]
    gain = np.sqrt(power[0] / np.maximum(power, power[0] / MOST**2))
    weights = gain @ wave[:, : REACH + 1]
    return (weights / (2 * weights.sum() - weights[0])).astype(np.float32)


def _filtered(image: np.ndarray, weights: np.ndarray, axis: int) -> np.ndarray:
    """Image (H, W) whose pixels are sums of those along an axis, times `weights` (k,) by how far these are.

    Beyond the edge lies its mirror image.
    """
    reach, size = len(weights) - 1, image.shape[axis]
    if not weights[1:].any():
        return weights[0] * image
    wide = np.pad(image, [(reach, reach) if axis == n else (0, 0) for n in (0, 1)], mode="symmetric")
    found = weights[0] * image
    for far in range(1, reach + 1):
        before, after = (
            wide[start : start + size] if axis == 0 else wide[:, start : start + size]
            for start in (reach - far, reach + far)
        )
        found += weights[far] * (before + after)
    return found
