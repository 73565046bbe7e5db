"""Motion far stronger than any that samples have shown: a single bout in a long recording.

Samples are some hundred frames of what may be many thousands, and what none of them shows, some other may. So a
frame's motion is taken to be as samples show it, unless what it tells of its modes says otherwise: motion is
larger where it is well seen, while noise, that of active cells too, is larger in all modes alike.
"""

from dataclasses import dataclass

import numpy as np

from moco_dl.motion import DOUBTFUL
from moco_dl.tracking.vigour import REACH, by_degrees, log_likelihood, posterior

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
        likely = log_likelihood(told, visible, clear, np.append(1.0, LEVELS), NOISES)
        if (likely[fits, 1:].max(axis=1, initial=-np.inf) <= likely[fits, 0]).all():  # then none is an outburst
            return np.ones(len(told) - 2 * REACH)
        found = posterior(likely, fits, shares, degrees)
        outburst = found[:, 1:].sum(axis=1)
        strength = np.sqrt((found[:, 1:] * np.square(LEVELS)).sum(axis=1) / np.maximum(outburst, LIKELY))
        return np.where(outburst > LIKELY, strength, 1.0)
