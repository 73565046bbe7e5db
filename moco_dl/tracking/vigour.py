"""How strongly tissue moves at a time: animals rest, and run.

Where that varies by far, one covariance for all frames is too large for most and too small for some. So a
frame's motion is taken to be a multiple of what the prior expects, its vigour, which follows a hidden Markov
model (Rabiner, Proc. IEEE 77, 1989): it changes by degrees, or is drawn anew.
"""

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from moco_dl.refinement.basis import times_each
from moco_dl.tracking.risk import BLIND

LEVELS = 2.0 ** np.arange(-5, 2.1, 0.5)
USUAL = np.ones(1)  # variance of noise
CHANGES = 0.01  # probability from a frame to the next that it is drawn anew
BESIDE = 0.15  # probability that it goes up by one level, and that it goes down by one
REACH = 8  # frames on either side that tell of a frame's vigour
UPDATES = 100  # of the levels' shares, by expectation maximisation
ALIKE = 0.02  # of the frames: so many more are taken to have vigour 1
LEAST = 1e-4  # of the frames: so many more of each level, so that none is ruled out
SPREAD = 0.5  # octaves, standard deviation from which on vigour is said to vary
GAIN = 0.2  # log-likelihood per frame by which that must explain them better than a single level does
SURE = 20.0  # log-likelihood by which it must explain all of them better


@dataclass(frozen=True)
class Vigour:
    """The tissue's motion, over that of the prior, comes in LEVELS."""

    shares: np.ndarray  # (k,) of frames

    @property
    def parts(self) -> list[tuple[float, float]]:
        """Share of the frames, and their vigour."""
        return list(zip(self.shares.tolist(), LEVELS.tolist(), strict=True))

    def of_frames(
        self, told: np.ndarray, there: np.ndarray, visible: np.ndarray, clear: np.ndarray
    ) -> np.ndarray:
        """(n,) root mean square of the vigour expected of frames, from what n + 2 REACH of them tell.

        `told` (n + 2 REACH, modes) with noise of variance `visible` (modes,), `clear` (n + 2 REACH,) times what
        they tell, see `Tracker`; those that are not `there` tell nothing.
        """
        likely = log_likelihood(told, visible, clear, LEVELS)
        found = posterior(likely, there, self.shares, by_degrees(len(LEVELS)))
        return np.sqrt((found * np.square(LEVELS)).sum(axis=1))


def measure_vigour(told: np.ndarray, visible: np.ndarray, clear: np.ndarray) -> Vigour | None:
    """From what samples tell, (n, modes), `clear` (n,) times; None: it does not vary, or cannot be seen to."""
    found = log_likelihood(told, visible, clear, LEVELS)
    likelihood, usual, octaves = _relative(found), LEVELS == 1, np.log2(LEVELS)
    shares = np.full(len(LEVELS), 1 / len(LEVELS))
    for _ in range(UPDATES):
        parts = likelihood * shares
        parts /= parts.sum(axis=1, keepdims=True)
        shares = parts.mean(axis=0) + ALIKE * usual + LEAST
        shares /= shares.sum()
    gain = (found.max(axis=1) + np.log(likelihood @ shares)).mean() - found.mean(axis=0).max()
    spread = np.sqrt(shares @ np.square(octaves - shares @ octaves))
    return Vigour(shares) if gain > max(GAIN, SURE / len(told)) and spread > SPREAD else None


def log_likelihood(
    told: np.ndarray, visible: np.ndarray, clear: np.ndarray, levels: np.ndarray, noises: np.ndarray = USUAL
) -> np.ndarray:
    """(n, k) of each of the `levels` (k,) in each frame, whichever of `noises` (j,) it has.

    What is told of a mode has variance `visible` times `level^2 clear^2 visible + noise`.
    """
    shown = visible > BLIND
    squares = np.square(told[:, shown]) / visible[shown]
    found = np.empty((len(told), len(levels)))
    for each in np.unique(clear):
        alike = clear == each
        motion = np.outer(np.square(each * levels), visible[shown]).repeat(len(noises), axis=0)
        variance = motion + np.tile(noises, len(levels))[:, None]
        likely = -0.5 * (np.log(variance).sum(axis=1) + times_each(squares[alike], 1 / variance.T))
        likely = likely.reshape(-1, len(levels), len(noises))
        most = likely.max(axis=2)
        found[alike] = most + np.log(np.exp(likely - most[..., None]).mean(axis=2))
    return found


def _relative(log_likelihood: np.ndarray) -> np.ndarray:
    return np.exp(log_likelihood - log_likelihood.max(axis=1, keepdims=True))


def by_degrees(count: int) -> np.ndarray:
    """(count, count) probabilities of what follows each level: one up, one down, or the same."""
    beside = BESIDE * (np.eye(count, k=1) + np.eye(count, k=-1))
    return beside + np.diag(1 - beside.sum(axis=1))


def posterior(
    log_likelihood: np.ndarray, there: np.ndarray, shares: np.ndarray, degrees: np.ndarray
) -> np.ndarray:
    """(n, k) probabilities from log-likelihoods (n + 2 REACH, k), of each frame from those around it alone.

    Those that are not `there` (n + 2 REACH,) tell nothing. Levels are drawn anew by their `shares` (k,); else
    `degrees` (k, k) are the probabilities of what follows each.
    """
    likelihood = np.where(there[:, None], _relative(log_likelihood), 1.0)
    near = np.moveaxis(sliding_window_view(likelihood, 2 * REACH + 1, axis=0), 2, 0)  # (frames around, n, k)
    follow = (1 - CHANGES) * degrees + CHANGES * shares
    before, after = np.broadcast_to(shares, near.shape[1:]), np.ones(near.shape[1:])
    for now in near[:REACH]:
        before = times_each(before * now, follow)
        before /= before.sum(axis=1, keepdims=True)
    for now in near[:REACH:-1]:
        after = times_each(after * now, follow.T)
        after /= after.sum(axis=1, keepdims=True)
    found = before * after * near[REACH]
    return found / found.sum(axis=1, keepdims=True)
