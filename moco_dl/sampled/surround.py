"""The dark surround of what a lens shows, if it stays in place while the tissue moves.

Its rim would hold any estimate of motion to where it is.
"""

from dataclasses import dataclass, replace

import numpy as np

from moco_dl.masks import at_border, distance
from moco_dl.sampled.edges import HIDDEN
from moco_dl.sampled.inplace import MOVES, Changes, smoothed
from moco_dl.sampled.samples import Samples

DARKEST = 0.01  # quantile of that which is taken for no light at all
DIM, BLACK = 0.25, 0.1  # of the light in the middle: less is dark; so little is most of a surround
MOSTLY = 0.6  # of what is dark
LEAST = 0.03  # of the frame
BRIGHT = 0.8  # of the light a little farther in, where the rim ends
FARTHER, WIDE = 20, 40  # px of the movie: so far; a wider rim is harmless shading
INWARD = 6  # px, up to which the surround is darker still
NARROW = 12  # px of the movie: a wider rim does less harm, and must be the stronger to be left out
# Times as far as tissue, for what is farther in: less is hardly motion. If there is a rim, it is far stronger
# than what tissue shows.
HARDLY = 0.2
BLOCK = 16  # px, side of squares that err independently


@dataclass(frozen=True)
class Surround:
    """What the mean of samples shows of it."""

    factor: int  # pixels of the movie to one of theirs, along a side
    away: np.ndarray  # (h, w) px inward from where it is dark
    light: np.ndarray  # (h, w) mean of what is as far away
    ends: int  # px inward, where its rim does
    black: float  # what is taken for no light at all

    @property
    def hidden(self) -> np.ndarray:
        """(h, w) bool: what it covers, with its rim."""
        return self.away <= self.ends

    @property
    def generous(self) -> "Surround":
        """The same, but what lies beside its rim, too, unless that is much."""
        more = replace(self, ends=self.ends + FARTHER // self.factor)
        return more if more.hidden.mean() < HIDDEN else self

    def staying(self, samples: Samples, shifts: np.ndarray) -> "Surround | None":
        """All that stays in place while the tissue in samples has `shifts` (n, 2) px; None: it moves, too.

        None as well if what is farther in hardly does: then the shifts are not the tissue's.
        """
        changes = Changes(samples, shifts, self.black)
        first, ends = self.away.min(), self.ends
        narrow = min(NARROW / (ends * self.factor), 1.0)
        if self._moves(first, ends, changes) > MOVES * narrow**2:
            return None
        near = FARTHER // 2 // self.factor
        while ends < self.away.max() - near and self._moves(ends, ends + near, changes) < HARDLY:
            ends += 1
        if self._moves(ends, self.away.max(), changes) < HARDLY:
            return None
        return replace(self, ends=ends)

    def _moves(self, first: int, last: int, changes: Changes) -> float:
        """See `Changes`, of what is farther away than `first`, up to `last`."""
        return changes.moves(_slopes(self.light, (self.away > first) & (self.away <= last)), BLOCK)


def dark_surround(image: np.ndarray, factor: int = 1) -> Surround | None:
    """What the mean (h, w) of frames shows, averaged over `factor` x `factor` pixels; None: there is none.

    It lies at the border, most of it is black, and it ends in a rim that is not wide. Nothing is beside what is
    left out already, NaN, if that has none.
    """
    known, (height, width) = np.isfinite(image), image.shape
    mean = smoothed(np.where(known, image, 0)) / np.maximum(smoothed(known), 1e-30)
    black = np.quantile(mean[known], DARKEST)
    middle = np.s_[height // 4 : -(height // 4), width // 4 : -(width // 4)]
    light = np.median(mean[middle][known[middle]]) - black if known[middle].any() else 0.0
    mean, sharp = (np.where(known, values, black) for values in (mean, image))
    left_out, dark = at_border(~known), at_border(~known | (mean < black + DIM * light))
    if not LEAST < dark.mean() < HIDDEN or (mean[dark] < black + BLACK * light).mean() < MOSTLY:
        return None
    if left_out.mean() > LEAST and _rim(left_out, sharp, black, factor).ends == 1:
        return None
    found = _rim(dark, sharp, black, factor)
    return found if found.ends < WIDE // factor and found.hidden.mean() < HIDDEN else None


def _rim(dark: np.ndarray, light: np.ndarray, black: float, factor: int) -> Surround:
    """Of what is `dark` (h, w) bool, in `light` (h, w); it ends where this is hardly less than farther in."""
    ahead, wide = FARTHER // factor, WIDE // factor
    away = distance(dark, wide + ahead) - distance(~dark, INWARD // factor) + dark
    places = np.arange(away.min(), away.max())
    profile = np.array([light[away == place].mean() for place in places])
    ends = wide
    for place in range(wide, 0, -1):
        farther = profile[places >= place][:ahead] - black
        if len(farther) and farther[0] > BRIGHT * np.median(farther):
            ends = place
    return Surround(factor, away, np.interp(away, places, profile), ends, float(black))


def _slopes(light: np.ndarray, where: np.ndarray) -> np.ndarray:
    """(2, h, w) of an image (h, w), zero but `where` (h, w) bool, and blind to changes of its brightness."""
    slopes = np.stack(np.gradient(light)) * where
    level, bright = where / np.sqrt(where.sum()), light * where
    bright = bright - (bright * level).sum() * level
    bright /= max(np.sqrt(np.square(bright).sum()), 1e-30)
    for known in (level, bright):
        slopes -= (slopes * known).sum(axis=(1, 2), keepdims=True) * known
    return slopes
