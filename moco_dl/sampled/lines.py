"""Columns and rows of a detector that are brighter or darker than those beside them, in all frames.

Each is alike from one end to the other, and has nothing to do with the next. Tissue is neither alike all along
a line, nor are its details as narrow as that. So lines are told even where hardly anything moves.
"""

import numpy as np

from moco_dl.gaussian import cut_window
from moco_dl.reference import mean_of
from moco_dl.sampled.inplace import in_all
from moco_dl.sampled.levels import known_median
from moco_dl.sampled.samples import Samples

GLANCED = 64  # samples, that show whether there are any
BANDS = 4  # across lines
WIDTH = 8.0  # px, sigma of the Gaussian about whose means lines differ
COARSE, FINE, FINEST = 0.1, 0.3, 0.4  # cycles/px across lines, between which their power is compared
ALIKE = 0.5  # of the power of bands at fine frequencies, in all of them: tissue makes up to 0.25
FLAT = 0.4  # times as strong as at coarse ones: straight edges and fibres along all of the view make up to 0.3
COARSEST = 1 / 64  # cycles/px, below which, and in each octave above, power is taken to be alike
BY_CHANCE = 3.0  # times as strong as at fine ones: lines are not stronger anywhere
UNLIKE = 0.4  # of its mean: the strength of lines in frames differs by less
SURE = 2.0  # standard errors by which frames must differ by more


def standing_lines(samples: Samples) -> np.ndarray | None:
    """(H, W) float32 that columns and rows of a detector add to all frames; None: nothing is seen of them."""
    return None if _lines(samples.glanced(GLANCED)) is None else _lines(samples)


def _lines(samples: Samples) -> np.ndarray | None:
    """The same from all of them."""
    mean, found = mean_of(samples), []
    for axis, image in enumerate((mean, mean.T)):
        levels = _levels(image)
        if levels is not None:
            lines = np.broadcast_to(np.expand_dims(levels, axis), mean.shape).astype(np.float32)
            if in_all(samples, lines, UNLIKE) and _alike(samples, lines, axis):
                found.append(lines)
    return sum(found) if found else None


def _levels(image: np.ndarray) -> np.ndarray | None:
    """(W,) by which columns of an image (H, W) are brighter than those around; None: that is not sure.

    Of each frequency is kept what bands of rows have in common (Wiener). Where columns have nothing to do with
    one another, levels are as strong at all frequencies as at fine ones, which show hardly anything of tissue:
    what is far stronger is tissue. What is bright in a few rows only does not change medians.
    """
    known, near = np.isfinite(image), cut_window(image.shape[1], WIDTH)
    details = image - np.where(known, image, 0) @ near / np.maximum(known @ near, 1e-30)
    cosines = _cosines(len(near))
    waves = np.concatenate([known_median(band, 0) for band in np.array_split(details, BANDS)]) @ cosines.T
    whole, power = waves.mean(axis=0), np.square(waves).mean(axis=0)
    shared = (BANDS * np.square(whole) - power) / (BANDS - 1)
    frequency = np.arange(len(whole)) / (2 * len(whole))
    coarse, fine, finest = ((frequency >= least).nonzero()[0] for least in (COARSE, FINE, FINEST))
    strength = shared[fine].mean()
    for which in (fine, finest, fine[: -len(finest)]):
        if not shared[which].mean() > ALIKE * power[which].mean():
            return None
    if strength < FLAT * shared[coarse[: -len(fine)]].mean():
        return None
    band = np.log2(np.maximum(frequency / COARSEST, 1)).astype(int)
    total, common = (np.bincount(band, each) / np.bincount(band) for each in (np.square(whole), shared))
    common = np.where(total > BY_CHANCE * strength, np.minimum(common, strength), common)
    return ((common.clip(0) / np.maximum(total, 1e-30))[band] * whole) @ cosines


def _cosines(size: int) -> np.ndarray:
    """(size, size) orthonormal waves of a discrete cosine transform, from low frequencies to high."""
    places, number = np.arange(size) + 0.5, np.arange(size)[:, None]
    return np.cos(np.pi / size * number * places) * np.sqrt(np.where(number == 0, 1, 2) / size)


def _alike(samples: Samples, lines: np.ndarray, axis: int) -> bool:
    """Whether samples differ by less than UNLIKE of these lines (H, W), columns (axis 0) or rows (1).

    Told at fine frequencies, from what two halves of each sample share: noise is in one only.
    """
    if len(samples) < 2:
        return True
    turned = (frames if axis == 0 else frames.swapaxes(1, 2) for frames in samples.chunks())
    profiles = np.concatenate([_profiles(frames) for frames in turned])
    known = np.isfinite(profiles)
    mean = np.where(known, profiles, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    first, second = np.moveaxis(_fine(np.where(known, profiles - mean, 0)), 1, 0)
    changing = (first * second).sum(axis=1)
    error = changing.std() / np.sqrt(len(changing))
    surely = changing.mean() - SURE * error  # moving tissue is alike by chance
    return bool(surely < UNLIKE**2 * np.square(_fine(lines.take(0, axis))).sum())


def _fine(levels: np.ndarray) -> np.ndarray:
    """Waves (..., k) of levels (..., W) at fine frequencies."""
    size = levels.shape[-1]
    return levels @ _cosines(size)[np.arange(size) >= 2 * FINE * size].T


def _profiles(frames: np.ndarray) -> np.ndarray:
    """(n, 2, W) means of columns of frames (n, H, W), over two of four bands of rows each; NaN: not known."""
    known, half = np.isfinite(frames), np.arange(frames.shape[1]) * BANDS // frames.shape[1] % 2
    halves = np.stack([half == 0, half == 1]).astype(np.float64)
    total = np.einsum("kh,nhw->nkw", halves, np.where(known, frames, 0), optimize=True)
    count = np.einsum("kh,nhw->nkw", halves, known.astype(np.float32), optimize=True)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
