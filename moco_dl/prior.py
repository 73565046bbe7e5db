"""What is expected of a movie's motion before its frames are looked at, measured on sampled frames.

From the normal equations `b = A x + noise` of each frame: noise adds a multiple of `A` to the second moments of
`b`, motion of covariance `C` adds `A C A`. So both can be told apart, and by the moments between one frame and
a later one also how long each lasts: photon noise is new in every frame, tissue moves smoothly, and what lasts
but looks like noise is activity. All shares are found by non-negative least squares, weighted by the precision
that they themselves imply.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import eigh
from scipy.optimize import nnls

from moco_dl.basis import times_each
from moco_dl.batch import Equations
from moco_dl.refine import Refiner

# Frames over which motion is correlated: some mixture of these.
LASTING = (1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0, 16.0)
ANEW = 0.01  # frames: stands for motion that is new in each
LAGS = 8  # frames, the farthest apart that are compared
SHIFT = 0.3  # px, least size that the whole frame's shift is allowed: it is well determined anyway
OTHER = ("shift", "rows_y", "rows_x")  # kinds of unknowns beside the tissue's
FRUGAL = "evr"  # LAPACK's way to eigenvectors that needs least memory
PHOTONS = 0.3  # least share of the noise that is new in each frame


@dataclass(frozen=True)
class Prior:
    """Gaussian, in the unknowns of a Refiner; noise has covariance `noise * A` in the normal equations."""

    common: np.ndarray  # (2 m,) unknowns of the displacement that all frames share
    told_of_common: np.ndarray  # (2 m,) mean right-hand side
    noise: float
    other: np.ndarray  # (j,) variances of the unknowns that are not the tissue's, each frame's anew
    tissue: np.ndarray  # (k, k) covariance of one component's unknowns for the tissue
    lasting: tuple[float, ...]  # frames over which motion and activity are correlated; next to 0: anew in each
    motion: np.ndarray  # shares of these in the tissue's motion, adding up to 1
    activity: np.ndarray  # of each of these, relative to the noise

    def motion_between(self, lags: np.ndarray) -> np.ndarray:
        """Correlation of the tissue's displacement between frames so many apart."""
        return _correlations(lags, self.lasting) @ self.motion

    def noise_between(self, lags: np.ndarray) -> np.ndarray:
        """Covariance of the noise between frames so many apart, relative to `noise`."""
        photons = max(1 - self.activity.sum(), PHOTONS)
        return photons * (lags == 0) + _correlations(lags, self.lasting) @ self.activity

    def about_zero(self) -> "Prior":
        """The same, but what all frames share is taken for the reference's own error."""
        return replace(self, common=np.zeros_like(self.common))

    def with_motion_lasting(self, frames: float) -> "Prior":
        """The same, but motion is correlated over so many frames, and noise is new in each."""
        return replace(self, lasting=(max(frames, ANEW),), motion=np.ones(1), activity=np.zeros(1))


def _correlations(lags: np.ndarray, lasting: tuple[float, ...]) -> np.ndarray:
    """Gaussian correlations (..., len(lasting)) at these lags."""
    return np.exp(-0.5 * (lags[..., None] / np.array(lasting)) ** 2)


def measure_prior(refiner: Refiner, equations: Equations, runs: np.ndarray, trusted: np.ndarray) -> Prior:
    """Prior from the equations of n sampled frames, of those that are `trusted` (n,).

    `runs` (n,) numbers the runs of consecutive frames. If no run is longer than one frame, nothing is known
    about time, and the tissue is taken to move anew in each frame.
    """
    kinds, matrix = refiner.basis.kinds(), refiner.matrix.numpy()
    noise, sizes = _sizes(matrix, kinds, np.square(equations.left[trusted]).mean(axis=0))
    pairs = _apart(1, runs, trusted)
    if len(pairs):  # what lasts in the rows is activity
        anew = (equations.left[pairs + 1] - equations.left[pairs]) / np.sqrt(2)
        _, new = _sizes(matrix, kinds, np.square(anew).mean(axis=0))
        sizes |= {name: min(sizes[name], new[name]) for name in OTHER[1:]}
    other = sum(sizes[name] * kinds[name] for name in OTHER)[~kinds["tissue"]]
    alone = TissueAlone(matrix, kinds["tissue"], noise / other)
    visible, modes = eigh(alone.matrix, driver=FRUGAL)
    visible = visible.clip(1e-9 * visible.max())
    mean = equations.seen[trusted].mean(axis=0)
    moments = _moments(alone.equations(equations.seen - mean) @ modes, runs, trusted)
    smooth, falling = refiner.basis.tissue_shapes()
    effects = np.square(visible) * _diagonals(modes, smooth, falling)
    if len(moments) > 1:
        *shares, activity = _shares(effects, noise * visible, moments)
        tissue, motion, lasting = np.sum(shares, axis=1), np.sum(shares, axis=0), LASTING
        motion = motion / max(motion.sum(), 1e-12)
    else:
        fit = np.maximum(moments[0], noise * visible)
        tissue = nnls((effects / fit).T, (moments[0] - noise * visible) / fit)[0]
        motion, activity, lasting = np.ones(1), np.zeros(1), (ANEW,)
    tissue = tissue[0] * smooth + np.diag(tissue[1:] @ falling)
    loose = tissue + np.eye(len(tissue))
    common = _common(matrix, mean, noise / trusted.sum(), (kinds["tissue"], loose, other))
    return Prior(common, mean, noise, other, tissue, lasting, motion, activity)


class TissueAlone:
    """Equations for the tissue's unknowns, once the others have been found as functions of them."""

    def __init__(self, matrix: np.ndarray, is_tissue: np.ndarray, precision: np.ndarray):
        """`matrix` (2 m, 2 m); `precision` (j,) of the other unknowns, relative to that of the noise."""
        self.is_tissue, self.across = is_tissue, matrix[np.ix_(~is_tissue, is_tissue)]
        self.others = np.linalg.inv(matrix[np.ix_(~is_tissue, ~is_tissue)] + np.diag(precision))
        self.matrix = matrix[np.ix_(is_tissue, is_tissue)] - self.across.T @ self.others @ self.across

    def equations(self, equations: np.ndarray) -> np.ndarray:
        """Right-hand sides (n, 2 m) -> (n, 2 k)."""
        others = times_each(times_each(equations[:, ~self.is_tissue], self.others), self.across)
        return equations[:, self.is_tissue] - others

    def all_unknowns(self, equations: np.ndarray, tissue: np.ndarray) -> np.ndarray:
        """The tissue's unknowns (n, 2 k) and, given them and the equations (n, 2 m), the others: (n, 2 m)."""
        unknowns = np.empty_like(equations)
        left = equations[:, ~self.is_tissue] - times_each(tissue, self.across.T)
        unknowns[:, self.is_tissue], unknowns[:, ~self.is_tissue] = tissue, times_each(left, self.others.T)
        return unknowns


def _diagonals(modes: np.ndarray, smooth: np.ndarray, falling: np.ndarray) -> np.ndarray:
    """Variances (shapes, 2 k) along `modes` (2 k, 2 k) of unknowns of either component, of covariance `smooth`
    (k, k), and of variances `falling` (shapes - 1, k)."""
    parts = np.split(modes, 2)
    first = sum(np.einsum("ij,ij->j", part, smooth @ part) for part in parts)
    return np.vstack((first, sum(falling @ np.square(part) for part in parts)))


def _common(matrix: np.ndarray, mean: np.ndarray, noise: float, sizes: tuple[np.ndarray, ...]) -> np.ndarray:
    """Unknowns (2 m,) that `mean` tells of, given their sizes."""
    is_tissue, tissue, other = sizes
    covariance = np.zeros_like(matrix)
    covariance[np.ix_(is_tissue, is_tissue)] = np.kron(np.eye(2), tissue)
    covariance[~is_tissue, ~is_tissue] = other
    return covariance @ np.linalg.solve(matrix @ covariance + noise * np.eye(len(matrix)), mean)


def _sizes(
    matrix: np.ndarray, kinds: dict[str, np.ndarray], squares: np.ndarray
) -> tuple[float, dict[str, float]]:
    """Noise, and expected squares of each kind of unknowns, from mean squares (2 m,) of right-hand sides."""
    effects = [np.square(matrix[:, kind]).sum(axis=1) for kind in kinds.values()]
    model = np.stack((matrix.diagonal(), *effects), axis=1)
    fit = np.maximum(squares, 1e-12 * squares.max() + 1e-30)
    for _ in range(8):
        noise, *sizes = nnls(model / fit[:, None], squares / fit)[0]
        fit = np.maximum(model @ (noise, *sizes), 1e-6 * fit)
    sizes = {name: max(size, 1e-8) for name, size in zip(kinds, sizes, strict=True)}
    return max(noise, 0.1), sizes | {"shift": max(sizes["shift"], SHIFT**2)}


def _moments(told: np.ndarray, runs: np.ndarray, trusted: np.ndarray) -> np.ndarray:
    """(1 + lags, k): mean products of right-hand sides (n, k) of frames of one run so many frames apart."""
    moments = []
    for lag in range(min(LAGS + 1, len(runs))):
        first = _apart(lag, runs, trusted)
        if not len(first):
            break
        moments.append((told[first] * told[first + lag]).mean(axis=0))
    return np.stack(moments)


def _apart(lag: int, runs: np.ndarray, trusted: np.ndarray) -> np.ndarray:
    """Places of frames of which the one `lag` later is of the same run, and both are trusted."""
    end = len(runs) - lag
    return np.flatnonzero((runs[:end] == runs[lag:]) & trusted[:end] & trusted[lag:])


def _shares(effects: np.ndarray, noise: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """(shapes + 1, len(LASTING)): how much of the motion of each shape lasts how long; of the noise, too.

    Only moments between different frames are fitted: nothing that is new in each frame is in them.
    """
    lasting = _correlations(np.arange(1, len(moments)), LASTING)
    columns = np.einsum("si,tl->tisl", np.concatenate((effects, noise[None])), lasting)
    columns[:, :, -1, -1] = 0  # what lasts longest is not activity
    columns = columns.reshape(moments[1:].size, -1)
    fit = np.maximum(moments[0], noise)
    for _ in range(3):
        weight = np.tile(1 / fit, len(moments) - 1)
        shares = nnls(columns * weight[:, None], moments[1:].ravel() * weight)[0]
        shares = shares.reshape(len(effects) + 1, len(LASTING))
        fit = noise + shares[:-1].sum(axis=1) @ effects
    return shares
