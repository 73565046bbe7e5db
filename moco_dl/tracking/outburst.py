"""Motion far stronger than any that samples have shown: a single bout in a long recording.

Samples are some hundred frames of what may be many thousands, and what none of them shows, some other may. So a
frame's motion is taken to be as samples show it, unless what it tells of its modes says otherwise: motion is
larger where it is well seen, while noise, that of active cells too, is larger in all modes alike.
"""

from dataclasses import dataclass

import numpy as np

from moco_dl.motion import DOUBTFUL
from moco_dl.refinement.basis import times_each
from moco_dl.tracking.risk import BLIND
from moco_dl.tracking.vigour import by_degrees, posterior

LEVELS = 2.0 ** np.arange(2, 7.1, 0.5)  # times the usual motion; some frames always move more than others
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
        found = posterior(_log_likelihood(told, visible, clear), fits, shares, degrees)
        outburst = found[:, 1:].sum(axis=1)
        strength = np.sqrt((found[:, 1:] * np.square(LEVELS)).sum(axis=1) / np.maximum(outburst, LIKELY))
        return np.where(outburst > LIKELY, strength, 1.0)


def _log_likelihood(told: np.ndarray, visible: np.ndarray, clear: np.ndarray) -> np.ndarray:
    """(n, 1 + k) of usual motion, and of each level, in each frame, whatever its noise; see `vigour.py`."""
    shown, levels = visible > BLIND, np.append(1.0, LEVELS)
    squares = np.square(told[:, shown]) / visible[shown]
    found = np.empty((len(told), len(levels)))
    for each in np.unique(clear):
        alike = clear == each
        for level in range(len(levels)):
            variance = np.square(each * levels[level]) * visible[shown] + NOISES[:, None]
            likely = -0.5 * (np.log(variance).sum(axis=1) + times_each(squares[alike], 1 / variance.T))
            most = likely.max(axis=1)
            found[alike, level] = most + np.log(np.exp(likely - most[:, None]).mean(axis=1))
    return found
