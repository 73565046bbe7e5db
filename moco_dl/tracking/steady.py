"""Whole-frame shifts, freed of noise where a movie is calm.

A frame's shift is found for itself, as tissue may jump from one frame to the next. In dim movies of calm tissue
it is noise that jumps. How far shifts lie from the median of those around them tells how much of either there
is: if their density is f, and noise of variance v is in them, then the shift that is expected of a frame is its
own plus v times the slope of log f (Tweedie's formula; Efron, J. American Statistical Association 106, 2011).
f is a mixture of Gaussians, from noise alone to motion beyond any bounds: what noise cannot explain stays.
Where tissue rests all the time, the same holds for how far shifts lie from the median of all.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from moco_dl.motion import Motion, closed_up
from moco_dl.stream import Batch, Messages, messages_of, surroundings

REACHES = (1, 2, 4, 8, 16)  # frames on either side, to choose from
SIZES = 2.0 ** np.arange(24)  # variances of the mixture's parts, over that of noise
UPDATES = 50  # of the shares of these
FEW = 10  # frames, from fewer of which nothing is concluded
LEAST = 1e-6  # of the noise's variance that is left if shifts hardly vary
# Of what a reach removes: a longer one that does so much is better, as errors of frames close by are alike.
AS_GOOD = 0.95
REST_AS_GOOD = 0.75  # the same for rest: there, nothing is left of errors that are alike
ELSEWHERE = 3.0  # standard errors of the median of those near, by which tissue rests somewhere else for a time
SURE, LAGS, CLIP = 3.0, (1, 2, 3, 4), 3.0  # of shifts that last, see `_lasting`; samples; standard deviations
WORTHWHILE = 0.05  # share of the noise's variance that must go; else shifts stay as they are


@dataclass(frozen=True)
class Steadiness:
    """How far the shifts of a movie lie from those around them; a filter, if that shows noise.

    Flagged frames neither give nor take, those that fit the reference badly only take. The result does not
    depend on how frames are batched.
    """

    noise: np.ndarray | float = 0.0  # (2,) px, standard deviations of the errors of shifts
    reach: int = 0  # frames on either side that a shift is compared with
    shares: np.ndarray | None = None  # (k,) of the mixture's parts, see SIZES; None: shifts stay as they are
    removed: np.ndarray | float = 0.0  # (2,) expected share of the noise's variance that goes
    middle: np.ndarray | None = None  # (2,) px, median of all shifts, if they are compared with that

    def correction(self, shifts: np.ndarray, near: np.ndarray, noisier: np.ndarray) -> np.ndarray:
        """(n, 2) px, to be added to shifts (n, 2).

        `near` (n + 2 reach, 2) are those that count, NaN for others, of these frames and of `reach` more at
        either end. The variance of a frame's noise is so many times the usual, at least once: `noisier` (n,).
        """
        apart, pairs = _apart(shifts / self.noise, near / self.noise)
        if self.middle is not None:
            apart, pairs = self._from_middle(shifts, apart, pairs)
        more = noisier[:, None] - 1
        slope = _slope(apart, pairs, self.shares, more)
        return -self.noise * np.where(pairs[:, None] > 0, (1 + more) * slope, 0)

    def _from_middle(
        self, shifts: np.ndarray, apart: np.ndarray, pairs: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The same, but from the middle of all, where the median of those near is not clearly another place."""
        from_middle = (shifts - self.middle) / self.noise
        # Where there are none near, `apart` is NaN.
        known = np.where(pairs > 0, np.square(from_middle - apart).sum(axis=1), 0)
        here = known <= ELSEWHERE**2 * np.pi / (4 * np.maximum(pairs, 1))
        return np.where(here[:, None], from_middle, apart), np.where(here, np.inf, pairs)

    def announce(self, batch: Batch) -> tuple[Batch, Messages]:
        """See `Filter`."""
        return batch, messages_of(batch, batch.motion.trusted, batch.motion.rigid)

    def __call__(self, batch: Batch, shifts: Messages) -> Batch:
        """`batch` with steady shifts."""
        near, _ = surroundings(batch.numbers, self.reach, shifts, np.full(2, np.nan))
        rigid = batch.motion.rigid
        correction = self.correction(rigid, near, _noisier(batch.motion)).astype(np.float32)
        correction[batch.motion.flagged] = 0
        return replace(batch, motion=replace(batch.motion, rigid=rigid + correction))


def measure_steadiness(motion: Motion, numbers: np.ndarray, noise: np.ndarray) -> Steadiness:
    """From the motion of samples, `numbers` (n,) in the movie; `noise` (2,) px of their shifts."""
    if not (noise > 0).all():
        return Steadiness(noise)
    shifts = np.where(motion.trusted[:, None], motion.rigid, np.nan) / noise
    in_order, best = _in_order(shifts, numbers), Steadiness(noise)
    for reach in REACHES:
        # If runs are too short, then as if one followed another: shifts are less alike over a longer time.
        windows = (_windows(series, reach) for series in (in_order, shifts))
        apart, pairs = next((found for found in windows if len(found[0]) >= FEW), (None, None))
        if apart is None:
            continue
        # If shifts vary less than noise would make them vary, there is less noise.
        less = np.square(apart / _spread(pairs)).mean(axis=0).clip(LEAST, 1)
        apart /= np.sqrt(less)
        shares = _shares(apart, pairs)
        removed = 1 - less * (1 - np.square(_slope(apart, pairs, shares)).mean(axis=0)).clip(min=0)
        if removed.mean() > max(AS_GOOD * np.mean(best.removed), WORTHWHILE):
            best = Steadiness(noise * np.sqrt(less), reach, shares, removed)
    rested = _rested(shifts * noise, noise, best.noise)
    return rested if np.mean(rested.removed) > max(REST_AS_GOOD * np.mean(best.removed), WORTHWHILE) else best


def _rested(shifts: np.ndarray, noise: np.ndarray, less_noise: np.ndarray) -> Steadiness:
    """As if tissue rested all the time, whose shifts (n, 2) px are known or NaN.

    Their `noise` (2,) px may be less. What goes of it is told by Stein's unbiased estimate of risk, as slow
    motion looks like more noise about the middle.
    """
    shifts = shifts[np.isfinite(shifts).all(axis=1)]
    if len(shifts) < FEW:
        return Steadiness(noise)
    middle = np.median(shifts, axis=0)
    if _lasting(shifts - middle) > SURE:
        return Steadiness(noise)
    less_noise = less_noise * np.sqrt(np.square((shifts - middle) / less_noise).mean(axis=0).clip(LEAST, 1))
    apart, pairs = (shifts - middle) / less_noise, np.full(len(shifts), np.inf)
    shares = _shares(apart, pairs)
    variances, parts = _parts(apart, pairs, shares, 0.0)
    first, second = ((parts / variances**power).sum(axis=1, keepdims=True) for power in (1, 2))
    bend = first - np.square(apart) * (second - np.square(first))  # of the slope, apart * first
    gone = (2 * bend - np.square(apart * first)).mean(axis=0)
    removed = 1 - np.square(less_noise / noise) * (1 - gone).clip(min=0)
    return Steadiness(less_noise, REACHES[-1], shares, removed, middle)


def _lasting(apart: np.ndarray) -> float:
    """How far values (n, 2) are like those that follow, in standard errors of what noise would be by chance."""
    apart = apart / np.maximum(np.sqrt(np.square(apart).mean(axis=0)), 1e-30)
    apart = apart.clip(-CLIP, CLIP)
    apart /= np.maximum(np.sqrt(np.square(apart).mean(axis=0)), 1e-30)
    alike = [(apart[lag:] * apart[:-lag]).mean() for lag in LAGS]
    return float(np.mean(alike) * np.sqrt(2 * len(LAGS) * len(apart)))


def _noisier(motion: Motion) -> np.ndarray:
    """(n,) times the usual variance of noise: a misfit is over what is usual for as little light."""
    darker = np.where(motion.brightness > 0, np.minimum(motion.brightness, 1), 1)
    return np.maximum(motion.misfit, 1) / darker


def _in_order(values: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Values (n, 2) of frames with NaN for those between them, but for long gaps only as many as keep apart."""
    places = closed_up(numbers, REACHES[-1])
    found = np.full((places[-1] + 1, 2), np.nan)
    found[places] = values
    return found


def _windows(series: np.ndarray, reach: int) -> tuple[np.ndarray, np.ndarray]:
    """`_apart` of those in a series (n, 2) that have `reach` others on either side."""
    apart, pairs = _apart(series, np.pad(series, ((reach, reach), (0, 0)), constant_values=np.nan))
    full = (pairs == reach) & np.isfinite(apart).all(axis=1)
    return apart[full], pairs[full]


def _apart(values: np.ndarray, near: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far values (n, 2) lie from the median of those `near` (n + 2 reach, 2); NaN if there is none.

    And from how many pairs, of one before and one as far after, it was taken: (n,).
    """
    reach = (len(near) - len(values)) // 2
    windows = sliding_window_view(near, 2 * reach + 1, axis=0)  # (n, 2, frames)
    before, after = windows[..., :reach], windows[..., :reach:-1]
    known = np.isfinite(before + after)
    pairs = known[:, 0].sum(axis=1)
    both = np.sort(np.concatenate([np.where(known, side, np.nan) for side in (before, after)], axis=2))
    middle = np.maximum(np.stack((pairs - 1, pairs), axis=1), 0)[:, None]  # NaN last
    median = np.take_along_axis(both, middle, axis=2).mean(axis=2)
    return values - median, pairs


def _spread(pairs: np.ndarray) -> np.ndarray:
    """(n, 1) standard deviation of values about the median of `pairs` (n,) of others, over their own.

    That of the median is exact for one pair and for many.
    """
    return np.sqrt(1 + np.pi / 2 / (2 * pairs + np.pi - 2))[:, None]


def _parts(
    apart: np.ndarray, pairs: np.ndarray, shares: np.ndarray, more: np.ndarray | float
) -> tuple[np.ndarray, np.ndarray]:
    """Variances (n, k) of the mixture, and what share of each value `apart` (n, 2) is of which part.

    `more` (n, 1) is the variance of a value's own noise above the usual.
    """
    variances = np.square(_spread(pairs)) * SIZES + more
    likely = np.log(shares) - np.log(variances) - np.square(apart).sum(axis=1)[:, None] / (2 * variances)
    likely = np.exp(likely - likely.max(axis=1, keepdims=True))
    return variances, likely / likely.sum(axis=1, keepdims=True)


def _slope(
    apart: np.ndarray, pairs: np.ndarray, shares: np.ndarray, more: np.ndarray | float = 0.0
) -> np.ndarray:
    """Slope (n, 2) of the logarithm of the mixture's density, turned around."""
    variances, parts = _parts(apart, pairs, shares, more)
    return apart * (parts / variances).sum(axis=1, keepdims=True)


def _shares(apart: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Most likely shares (k,), by expectation maximisation; one frame more, of all parts, so that none is ruled
    out."""
    shares = np.full(len(SIZES), 1 / len(SIZES))
    for _ in range(UPDATES):
        shares = (_parts(apart, pairs, shares, 0.0)[1].sum(axis=0) + 1 / len(SIZES)) / (len(apart) + 1)
    return shares
