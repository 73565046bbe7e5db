"""Motion far stronger than any that samples have shown: a single bout in a long recording.

Samples are some hundred frames of what may be many thousands, and what none of them shows, some other may. So a
frame's motion is taken to be as samples show it, unless what it tells of its modes says otherwise: motion is
larger where it is well seen, while noise, that of active cells too, is larger in all modes alike.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from moco_dl.motion import DOUBTFUL
from moco_dl.refinement.basis import times_each
from moco_dl.tracking.risk import BLIND
from moco_dl.tracking.vigour import REACH, by_degrees, posterior

LEVELS = 2.0 ** np.arange(2, 8)  # times the usual motion; some frames always move more than others
NOISES = 2.0 ** np.arange(0, 5.1, 0.5)  # times the usual variance of noise, at any level
LIKELY = 0.5  # probability from which on a frame is taken to be in an outburst


@dataclass(frozen=True)
class Outbursts:
    """The tissue's motion is that of the prior, but for outbursts: the same interface as `Vigour`."""

    share: float  # of the frames

    @property
    def parts(self) -> list[tuple[float, float]]:
        """Share of the frames, and their vigour: what is expected of usual ones."""
        return [(1.0, 1.0)]

    def of_frames(
        self, told: np.ndarray, there: np.ndarray, visible: np.ndarray, clear: np.ndarray
    ) -> np.ndarray:
        """(n,) vigour of frames, one unless they are in an outburst; see `Vigour.of_frames`."""
        count = len(LEVELS)
        shares = np.append(1 - self.share, np.full(count, self.share / count))
        degrees = np.eye(1 + count)
        degrees[1:, 1:] = by_degrees(count)
        fits = there & (clear >= DOUBTFUL**-0.5)  # else activity may be what it tells of
        likely = _log_likelihood(told, visible, clear)
        if (likely[fits, 1:].max(axis=1, initial=-np.inf) <= likely[fits, 0]).all():  # then none is an outburst
            return np.ones(len(told) - 2 * REACH)
        found = posterior(likely, fits, shares, degrees)
        outburst = found[:, 1:].sum(axis=1)
        strength = np.sqrt((found[:, 1:] * np.square(LEVELS)).sum(axis=1) / np.maximum(outburst, LIKELY))
        return np.where(outburst > LIKELY, strength, 1.0)


def _log_likelihood(told: np.ndarray, visible: np.ndarray, clear: np.ndarray) -> np.ndarray:
    """(n, 1 + k) of usual motion, and of each level, in each frame, whatever its noise; see `vigour.py`."""
    shown = visible > BLIND
    squares = np.square(told[:, shown]) / visible[shown]
    found = np.empty((len(told), 1 + len(LEVELS)))
    for each in np.unique(clear):
        alike = clear == each
        for level, (logarithms, precision) in enumerate(_levels(visible[shown].tobytes(), float(each))):
            likely = -0.5 * (logarithms + times_each(squares[alike], precision))
            most = likely.max(axis=1)
            found[alike, level] = most + np.log(np.exp(likely - most[:, None]).mean(axis=1))
    return found


@lru_cache(maxsize=4)  # most frames are alike
def _levels(visible: bytes, clear: float) -> list[tuple[np.ndarray, np.ndarray]]:
    """Of usual motion, and of each level: sums of logarithms of variances, by noise, and their inverses."""
    motion = np.square(clear) * np.frombuffer(visible)
    variances = [np.square(level) * motion + NOISES[:, None] for level in (1.0, *LEVELS)]
    return [(np.log(variance).sum(axis=1), 1 / variance.T) for variance in variances]
