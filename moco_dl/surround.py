"""The dark surround of what a lens shows, if it stays in place while the tissue moves.

Its rim would hold any estimate of motion to where it is.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from moco_dl.edges import HIDDEN, spread
from moco_dl.reference import divided
from moco_dl.samples import Samples, chunks

GLANCED = 32  # samples
SMOOTH = 5  # px, side of the squares over which their mean is averaged
DARKEST = 0.01  # quantile of that which is taken for no light at all
DIM, BLACK = 0.25, 0.1  # of the light in the middle: less is dark; so little is most of a surround
MOSTLY = 0.6  # of what is dark
LEAST = 0.03  # of the frame
BRIGHT = 0.8  # of the light a little farther in, where the rim ends
FARTHER, WIDE = 20, 40  # px of the movie: so far; a wider rim is harmless shading
INWARD = 6  # px, up to which the surround is darker still
MOVES = 0.5  # times as far as tissue: a rim that moves less stays in place, if that is sure
HARDLY = 0.2  # the same of what is farther in: it is far stronger than what tissue shows there
SURE = 3.0  # standard errors
BLOCK = 16  # px, side of squares that err independently


@dataclass(frozen=True)
class Surround:
    """What the mean of samples shows of it."""

    factor: int  # pixels of the movie to one of theirs, along a side
    away: np.ndarray  # (h, w) px inward from where it is dark
    light: np.ndarray  # (h, w) mean of what is as far away
    ends: int  # px inward, where its rim does
    black: float  # what is taken for no light at all

    def hidden(self, size: tuple[int, int]) -> np.ndarray:
        """(H, W) bool: what it covers in frames of this size, with its rim."""
        covered = self.away <= self.ends
        return covered.repeat(self.factor, 0).repeat(self.factor, 1)[: size[0], : size[1]]

    @property
    def generous(self) -> "Surround":
        """The same, but what lies beside its rim, too, unless that is much."""
        more = replace(self, ends=self.ends + FARTHER // self.factor)
        return more if (more.away <= more.ends).mean() < HIDDEN else self

    def staying(self, samples: Samples, shifts: np.ndarray) -> "Surround | None":
        """All that stays in place while the tissue in samples has `shifts` (n, 2) px; None: it moves, too.

        If it moved with the tissue, frames would change by the slopes of its light times the shifts.
        """
        shifts = shifts - shifts.mean(axis=0)
        changes = np.zeros((2, *self.away.shape))
        for some in chunks(np.arange(len(samples))):
            frames = _known(samples[some], self.black)
            changes -= np.einsum("nc,nhw->chw", shifts[some], frames, dtype=np.float64)
        first, ends = self.away.min(), self.ends
        if self._moves(first, ends, changes, shifts) > MOVES:
            return None
        near = FARTHER // 2 // self.factor
        while ends < self.away.max() - near and self._moves(ends, ends + near, changes, shifts) < HARDLY:
            ends += 1
        return replace(self, ends=ends)

    def _moves(self, first: int, last: int, changes: np.ndarray, shifts: np.ndarray) -> float:
        """How far what is farther away than `first` moves at most, up to `last`, over what tissue does.

        How much is seen of what would change is a regression; how sure it is follows from how places differ.
        """
        slopes = _slopes(self.light, (self.away > first) & (self.away <= last))
        seen = _in_blocks((slopes * changes).sum(axis=0))
        expected = _in_blocks((slopes * np.tensordot(shifts.T @ shifts, slopes, 1)).sum(axis=0))
        if not expected.sum() > 0:
            return np.inf  # nothing moves
        moves = seen.sum() / expected.sum()
        error = np.sqrt(np.square(seen - moves * expected).sum()) / expected.sum()
        return float(moves + SURE * error)


def mean_of(samples: Samples) -> np.ndarray:
    """Mean (h, w) of some samples as they were recorded; NaN where none shows anything."""
    total = count = 0
    for place in range(0, len(samples), max(len(samples) // GLANCED, 1)):
        (frame,) = samples[place : place + 1]
        known = np.isfinite(frame)
        total, count = total + np.where(known, frame, 0).astype(np.float32), count + known
    return divided(total, count)


def dark_surround(image: np.ndarray, factor: int = 1) -> Surround | None:
    """What the mean (h, w) of frames shows, averaged over `factor` x `factor` pixels; None: there is none.

    It lies at the border, most of it is black, and it ends in a rim that is not wide. Nothing is beside what is
    left out already, NaN, if that has none.
    """
    known, (height, width) = np.isfinite(image), image.shape
    mean = _averaged(np.where(known, image, 0)) / np.maximum(_averaged(known), 1e-30)
    black = np.quantile(mean[known], DARKEST)
    middle = np.s_[height // 4 : -(height // 4), width // 4 : -(width // 4)]
    light = np.median(mean[middle][known[middle]]) - black if known[middle].any() else 0.0
    mean, sharp = (np.where(known, values, black) for values in (mean, image))
    left_out, dark = _at_border(~known), _at_border(~known | (mean < black + DIM * light))
    if not LEAST < dark.mean() < HIDDEN or (mean[dark] < black + BLACK * light).mean() < MOSTLY:
        return None
    if left_out.mean() > LEAST and _rim(left_out, sharp, black, factor).ends == 1:
        return None
    found = _rim(dark, sharp, black, factor)
    return found if found.ends < WIDE // factor and (found.away <= found.ends).mean() < HIDDEN else None


def _rim(dark: np.ndarray, light: np.ndarray, black: float, factor: int) -> Surround:
    """Of what is `dark` (h, w) bool, in `light` (h, w); it ends where this is hardly less than farther in."""
    ahead, wide = FARTHER // factor, WIDE // factor
    away = _steps(dark, wide + ahead) - _steps(~dark, INWARD // factor) + dark
    places = np.arange(away.min(), away.max())
    profile = np.array([light[away == place].mean() for place in places])
    ends = wide
    for place in range(wide, 0, -1):
        farther = profile[places >= place][:ahead] - black
        if len(farther) and farther[0] > BRIGHT * np.median(farther):
            ends = place
    return Surround(factor, away, np.interp(away, places, profile), ends, float(black))


def _at_border(these: np.ndarray) -> np.ndarray:
    """What of `these` (h, w) bool lies at the border, or next to such places."""
    found = np.zeros_like(these)
    found[[0, -1]], found[:, [0, -1]] = these[[0, -1]], these[:, [0, -1]]
    return spread(found, these)


def without_surround(image: np.ndarray, small: np.ndarray, factor: int) -> np.ndarray:
    """Image (H, W) with NaN for the dark surround that its averages (h, w) over so many pixels a side show."""
    found = dark_surround(small, factor)
    return image if found is None else np.where(found.hidden(image.shape), np.nan, image)


def _slopes(light: np.ndarray, where: np.ndarray) -> np.ndarray:
    """(2, h, w) of an image (h, w), zero but `where` (h, w) bool, and blind to changes of its brightness."""
    slopes = np.stack(np.gradient(light)) * where
    level, bright = where / np.sqrt(where.sum()), light * where
    bright = bright - (bright * level).sum() * level
    bright /= max(np.sqrt(np.square(bright).sum()), 1e-30)
    for known in (level, bright):
        slopes -= (slopes * known).sum(axis=(1, 2), keepdims=True) * known
    return slopes


def _steps(these: np.ndarray, most: int) -> np.ndarray:
    """(h, w) pixels from each place to the nearest of `these` (h, w) bool; `most` + 1 if there are more.

    Every other step may go along a diagonal: that is as far as along a line, but for some hundredths.
    """
    found = np.where(these, 0, most + 1)
    for step in range(1, most + 1):
        tall = these.copy()
        tall[1:] |= these[:-1]
        tall[:-1] |= these[1:]
        beside, these = (these, tall) if step % 2 else (tall.copy(), tall)
        these[:, 1:] |= beside[:, :-1]
        these[:, :-1] |= beside[:, 1:]
        found[these] = np.minimum(found[these], step)
    return found


def _averaged(image: np.ndarray) -> np.ndarray:
    """Image (h, w) averaged over squares."""
    for axis in (0, 1):
        pad = [(SMOOTH // 2, SMOOTH // 2) if axis == other else (0, 0) for other in (0, 1)]
        image = sliding_window_view(np.pad(image, pad, mode="edge"), SMOOTH, axis=axis).mean(axis=-1)
    return image


def _in_blocks(values: np.ndarray) -> np.ndarray:
    """Sums of values (h, w) over squares (k,)."""
    rows = np.add.reduceat(values, range(0, values.shape[0], BLOCK), axis=0)
    return np.add.reduceat(rows, range(0, values.shape[1], BLOCK), axis=1).ravel()


def _known(frames: np.ndarray, value: float) -> np.ndarray:
    """Frames (n, h, w) with `value` where they are not finite."""
    return np.where(np.isfinite(frames), frames, value)
