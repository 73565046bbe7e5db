"""In which ways a tissue moves: the covariance of its displacement, learned from samples of the movie.

The prior says how far tissue moves and how smoothly, alike at all places. But tissue that breathes and is
pushed about moves in a few ways of its own, over and over. Once they are known, what is seen well tells of what
is not: of places at the border, in the dark, and under active cells.

Expectation maximisation (Dempster, Laird and Rubin, J. R. Stat. Soc. B 39, 1977) with an inverse Wishart prior,
until what is learned from one half of what is known no longer explains the other half better.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch

from moco_dl.motion import Equations, run_slices
from moco_dl.refinement.basis import eigen, matrix_of_combinations, root, times_both
from moco_dl.refinement.refine import Refiner
from moco_dl.tracking.prior import Prior

SHOWN = 0.02  # variance of what a frame tells of a function, over that of its noise: less is not learned
MOST = 80  # functions, those shown best: more would be learned from too few samples
TOGETHER = 100  # consecutive frames that are looked at together
LEFT = 0.01  # of the motion in a frame: combinations of frames in which less is left tell nothing
WEIGHT = 20.0  # of REST, in samples: only what they insist on is learned
LARGEST = 0.3  # of that weight, over that of all samples
REST = 0.01  # variance in any way, over that of the prior
NOISELESS = 1e9  # times what is expected; noise hides all but a few thousand times that
STEPS = 12  # of expectation maximisation, at most, with half of the samples
LATER = 2  # times as many steps with all samples as are best with half of them
SIZES = np.array([0.25, 0.5, 1.0, 2.0, 4.0])  # that motion may have in a sample, over what is expected
SURE = 5.0  # log-likelihood by which the other half must be explained better


def learn_covariance(
    prior: Prior, refiner: Refiner, equations: Equations, runs: np.ndarray, clarity: np.ndarray
) -> Prior:
    """`prior` with the covariance that n samples show, but as it is if that explains no others of them better.

    Both components have the same. `runs` (n,) numbers the runs of consecutive frames; `clarity` (n,) is the
    usual standard deviation of noise over that in each, 0 if it is not trusted.
    """
    if prior.active:
        return prior
    alone = prior.tissue_alone(refiner)
    functions = _shown(root(prior.tissue, refiner.device), alone.matrix / prior.noise, refiner.device)
    if not functions.size:
        return prior
    told = times_both(functions.T, alone.equations(equations.whole - prior.common).T).T / prior.noise
    if np.abs(told).max() > NOISELESS:  # frames are all alike
        return prior
    told, sizes = _independent(prior, told, runs, clarity)
    shrink = min(LARGEST, WEIGHT / max(len(told), 1))
    samples = _Samples(matrix_of_combinations(functions, alone.matrix) / prior.noise, told, sizes, shrink)
    steps = _best_steps(samples.half(0), samples.half(1))
    if not steps:
        return prior
    found = samples.learned(LATER * steps)
    tissue = prior.tissue + functions @ (found - np.eye(len(found))) @ functions.T
    return replace(prior, tissue=tissue)


def _shown(expected: np.ndarray, matrix: np.ndarray, device: torch.device) -> np.ndarray:
    """Combinations (k, r) of one component's unknowns that frames show best, of unit variance and independent.

    `expected` (k, k) is a root of the prior's covariance, `matrix` (2 k, 2 k) that of the normal equations.
    """
    k = len(expected)
    shown, axes = eigen(expected.T @ (matrix[:k, :k] + matrix[k:, k:]) @ expected / 2, device)
    return expected @ axes[:, shown > SHOWN][:, -MOST:]


def _independent(
    prior: Prior, told: np.ndarray, runs: np.ndarray, clarity: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Combinations (m, j) of what frames tell (n, j), independent of one another and alike in noise.

    And how large motion is in each, over that in a frame: (m, 1).
    """
    found, sizes, usual = [], [], {}
    for run in run_slices(runs):
        trusted = run.start + np.flatnonzero(clarity[run])
        for frames in np.split(trusted, range(TOGETHER, len(trusted), TOGETHER)):
            kind = (*(frames - frames[:1]), *clarity[frames])
            if kind not in usual:
                usual[kind] = _combinations(prior, frames, clarity[frames])
            combined, size = usual[kind]
            found.append(combined.T @ told[frames])
            sizes.append(size)
    return np.concatenate(found), np.concatenate(sizes)[:, None]


def _combinations(prior: Prior, frames: np.ndarray, clarity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Factors (n, m) of frames in combinations that do not depend on one another, and size of motion (m,)."""
    lags = np.abs(np.subtract.outer(frames, frames))
    white = np.linalg.inv(np.linalg.cholesky(prior.noise_between(lags) / np.multiply.outer(clarity, clarity)))
    variance, axes = np.linalg.eigh(white @ prior.motion_between(lags) @ white.T)
    told = variance > LEFT
    return white.T @ axes[:, told], np.sqrt(variance[told])


def _best_steps(samples: "_Samples", others: "_Samples") -> int:
    """After so many, what is learned from samples explains others best; 0: not better by far than the prior."""
    modes = samples.modes(np.eye(samples.functions))
    likely = [others.log_likelihood(*modes)]
    for _ in range(STEPS):
        modes = samples.modes(samples.improved(*modes))
        likely.append(others.log_likelihood(*modes))
        if likely[-1] < likely[-2]:
            break
    best = int(np.argmax(likely))
    return best if likely[best] > likely[0] + SURE else 0


@dataclass(frozen=True)
class _Samples:
    """What n independent samples tell of r functions for dy, then for dx; their variance in the prior is 1."""

    matrix: np.ndarray  # (2 r, 2 r) of the normal equations: what unknowns are multiplied with, and the noise
    told: np.ndarray  # (n, 2 r) right-hand sides
    sizes: np.ndarray  # (n, 1) of the motion in each, relative to the prior; noise is the same in all
    shrink: float  # weight of REST, over that of the samples

    @property
    def functions(self) -> int:
        return len(self.matrix) // 2

    def half(self, number: int) -> "_Samples":
        return replace(self, told=self.told[number::2], sizes=self.sizes[number::2])

    def learned(self, steps: int) -> np.ndarray:
        """Covariance (r, r) of either component."""
        found = np.eye(self.functions)
        for _ in range(steps):
            found = self.improved(*self.modes(found))
        return found

    def modes(self, covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For components of this covariance (r, r): how well modes are seen (2 r,), and modes (2 r, 2 r).

        They have unit variance and do not depend on one another, and nor does what is told of them.
        """
        factor = np.linalg.cholesky(covariance)
        visible, axes = np.linalg.eigh(matrix_of_combinations(factor, self.matrix))
        return visible.clip(0), times_both(factor, axes)

    def log_likelihood(self, visible: np.ndarray, modes: np.ndarray) -> float:
        """Of what is told, but for what does not depend on the modes.

        In each sample motion has whatever size is most likely there: animals rest, and run.
        """
        sizes = np.square(self.sizes * SIZES)[:, None]
        variance = 1 + sizes * visible[:, None]  # (n, 2 r, sizes)
        squares = np.square(self.told @ modes)[:, :, None]
        likely = (sizes * squares / variance - np.log(variance)).sum(axis=1) / 2
        return float(likely.max(axis=1).sum())

    def improved(self, visible: np.ndarray, modes: np.ndarray) -> np.ndarray:
        """Covariance (r, r) of either component that is more likely than that of these modes."""
        variance = 1 + np.square(self.sizes) * visible
        expected = self.sizes * (self.told @ modes) / variance
        squares = expected.T @ expected + np.diag((1 / variance).sum(axis=0))
        parts = modes.reshape(2, -1, modes.shape[1])
        seen = (parts @ squares @ parts.mT).mean(axis=0)
        return (seen / len(self.told) + self.shrink * REST * np.eye(len(seen))) / (1 + self.shrink)
