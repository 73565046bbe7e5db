"""Specks of dust: they take light away where they are, while the tissue moves behind them.

Where most of the light is from behind the scene, they would hold any estimate of motion.
"""

import numpy as np

from moco_dl.masks import pieces, spread, within
from moco_dl.reference import mean_of
from moco_dl.sampled.inplace import MOVES, Changes, blur, smoothed
from moco_dl.sampled.samples import Samples
from moco_dl.spectrum import filtered, padded

CLEAR, TRACE = 5.0, 2.0  # scaled deviations by which light is missing in a speck, and around it
DEEP = 0.05  # of the light that is expected there
MOST = 0.05  # of the frame: more is something else
LEAST = 8  # pixels
FAR = 30  # px of the movie, up to which a speck goes on
BESIDE = 4, 2  # pixels around it that are looked at, and that are left out, too
BORDER = 16  # px of the movie, within which none is looked for
# Around what shines in place less than this, of its light, is missing so close by, as the reference is blurred.
HALO, WITHIN = 0.7, 20
BLOCK = 4  # px, side of squares that err independently


def fixed_specks(
    samples: Samples, shifts: np.ndarray, reference: np.ndarray, factor: int = 1
) -> np.ndarray | None:
    """(h, w) bool: specks that stay in place while the tissue in samples has `shifts` (n, 2) px; None: none.

    `reference` (h, w) is made of the samples, frames averaged over `factor` x `factor` pixels. Moved to where
    each has seen it, it is their mean, but for what stays in place: that is sharp in one, blurred in the other.
    """
    mean = mean_of(samples)
    known = np.isfinite(mean) & np.isfinite(reference)
    scene = np.where(known, reference, reference[known].mean())
    expected = filtered(scene, blur(shifts, padded(scene.shape)))  # the mean of it, moved as each sample
    missing = smoothed(np.where(known, expected - mean, 0))
    scale = 1.4826 * np.median(np.abs(missing[known] - np.median(missing[known])))
    unknown = np.pad(~known, 1, constant_values=True)  # with what is beyond the edges
    inside = ~within(unknown, BORDER // factor)[1:-1, 1:-1]
    clear = inside & (missing > np.maximum(CLEAR * scale, DEEP * (expected - expected[known].min())))
    if not 0 < clear.mean() < MOST:
        return None
    changes, found = Changes(samples, shifts, np.where(known, mean, 0)), np.zeros_like(clear)
    slopes = np.stack(np.gradient(smoothed(np.where(known, mean, expected))))
    for places in pieces(clear):
        if len(places[0]) < LEAST:
            continue
        window = tuple(_stretch(along, FAR // factor + BESIDE[1]) for along in places)
        lacks, slope = missing[window], slopes[:, window[0], window[1]]
        speck = np.zeros(lacks.shape, bool)
        speck[tuple(along - part.start for along, part in zip(places, window, strict=True))] = True
        around, close, near = (within(speck, px) for px in (BESIDE[0], WITHIN // factor, FAR // factor))
        shines = lacks[close].max() < -HALO * lacks[close].min()
        if not shines and changes.moves(slope * around, BLOCK, window) < MOVES:
            found[window] |= within(spread(speck, near & (lacks > TRACE * scale)), BESIDE[1])
    return found if found.any() else None


def _stretch(along: np.ndarray, margin: int) -> slice:
    """Of an axis, from where some places (k,) `along` it are, with a margin; it begins as a block does."""
    return slice(max(along.min() - margin, 0) // BLOCK * BLOCK, along.max() + margin + 1)
