"""Where tissue jumps to another place, as when an animal sits down anew.

Motion is expected to be smooth in time, and a filter would spread a jump over the frames around it. So what
frames on either side tell is explained twice: by motion that goes on, and by motion that begins anew.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from moco_dl.tracking.prior import Prior
from moco_dl.tracking.risk import BLIND

SIDE = 4  # frames on either side that are looked at
CLOSE = 2  # frames: of breaks so close to one another, the clearest one counts
SURE = 10.0  # log-likelihood by which motion that begins anew must explain frames better


class Breaks:
    """Finds where motion breaks off in what frames tell of its modes; see `TimeFilter`."""

    reach = SIDE + CLOSE  # frames on either side that must be known

    def __init__(self, prior: Prior, visible: np.ndarray):
        self._shown = visible > BLIND
        self._visible = visible[self._shown]
        lags = np.arange(2 * SIDE)
        apart, after = np.abs(lags[:, None] - lags), lags >= SIDE
        motion = prior.motion_between(apart)
        self._going_on, self._anew = motion, np.where(after[:, None] == after, motion, 0)
        self._whitening = np.linalg.inv(np.linalg.cholesky(prior.noise_between(apart)))
        self._usual = self._explanations(np.ones(2 * SIDE))

    def parts(self, told: np.ndarray, there: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """Numbers (n,), increasing, of the parts of the movie between breaks that n frames are in.

        From what n + 2 reach of them tell, `told` (n + 2 reach, modes), if they are `there` (n + 2 reach,) and
        move `sizes` (n + 2 reach,) times as the prior expects.
        """
        gains = self.gains(told, there, sizes)
        clearest = sliding_window_view(gains, 2 * CLOSE + 1).max(axis=1)
        breaks = (gains > SURE)[CLOSE:-CLOSE] & (gains[CLOSE:-CLOSE] == clearest)
        return np.cumsum(breaks[SIDE:-SIDE])

    def gains(self, told: np.ndarray, there: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """Log-likelihood (n,) of what n frames tell, if motion begins anew just before each, over that if not.

        Minus infinity where not all of them that are looked at are there.
        """
        told = told[:, self._shown] / np.sqrt(self._visible)
        gains = np.full(len(told), -np.inf)
        for start in np.flatnonzero(sliding_window_view(there, 2 * SIDE).all(axis=1)):
            near = slice(start, start + 2 * SIDE)
            explanations = self._usual if (sizes[near] == 1).all() else self._explanations(sizes[near])
            going_on, anew = (_log_likelihood(told[near], *each) for each in explanations)
            gains[start + SIDE] = anew - going_on
        return gains

    def _explanations(self, sizes: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, float]]:
        """Of frames that move `sizes` (2 SIDE,) times as usual, without and with a break in the middle.

        What makes them independent, (2 SIDE, 2 SIDE), the variances of modes then, (2 SIDE, modes), and the sum
        of their logarithms.
        """
        found = []
        for motion in (self._going_on, self._anew):
            covariance = self._whitening @ (motion * np.outer(sizes, sizes)) @ self._whitening.T
            values, axes = np.linalg.eigh(covariance)
            variances = 1 + np.outer(values.clip(0), self._visible)
            found.append((axes.T @ self._whitening, variances, float(np.log(variances).sum())))
        return found


def _log_likelihood(told: np.ndarray, whitening: np.ndarray, variances: np.ndarray, logarithms: float) -> float:
    """Of what frames tell of modes, (frames, modes), but for a constant; see `_explanations`."""
    return -0.5 * (float((np.square(whitening @ told) / variances).sum()) + logarithms)
