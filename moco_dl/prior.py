"""What is expected of a movie's motion before its frames are looked at, measured on sampled frames.

From the normal equations `b = A x + noise` of each frame: noise adds a multiple of `A` to the second moments of
`b`, motion of covariance `C` adds `A C A`. So both can be told apart, and by the moments between one frame and a
later one also how long each lasts: photon noise is new in every frame, tissue moves smoothly, and what lasts but
looks like noise is activity. All shares are found by non-negative least squares, weighted by the precision that
they themselves imply.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import nnls

from moco_dl.refine import TISSUE, Refiner

LENGTHS = (TISSUE, 2 * TISSUE)  # px, over which the tissue's displacement is correlated: some mixture of these
LASTING = (1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0, 16.0, np.inf)  # frames, the same in time
ANEW = 0.01  # frames: stands for motion that is new in each
LAGS = 8  # frames, the farthest apart that are compared
SHIFT = 0.3  # px, least size that the whole frame's shift is allowed: it is well determined anyway
OTHER = ("shift", "rows_y", "rows_x")  # kinds of unknowns beside the tissue's
PHOTONS = 0.3  # least share of the noise that is new in each frame


@dataclass(frozen=True)
class Prior:
    """Gaussian, in the unknowns of a Refiner; noise has covariance `noise * A` in the normal equations."""

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

    def with_motion_lasting(self, frames: float) -> "Prior":
        """The same, but motion is correlated over so many frames, and noise is new in each."""
        return replace(self, lasting=(max(frames, ANEW),), motion=np.ones(1), activity=np.zeros(1))


def _correlations(lags: np.ndarray, lasting: tuple[float, ...]) -> np.ndarray:
    """Gaussian correlations (..., len(lasting)) at these lags."""
    return np.exp(-0.5 * (lags[..., None] / np.array(lasting)) ** 2)


def measure_prior(refiner: Refiner, seen: np.ndarray, left: np.ndarray, runs: np.ndarray) -> Prior:
    """Prior from the equations of sampled frames.

    `seen` (n, 2 m) are right-hand sides for the tissue's whole displacement, `left` (n, 2 m) those for what the
    motion so far leaves of it; `runs` (n,) numbers the runs of consecutive frames. If no run is longer than one
    frame, nothing is known about time, and the tissue is taken to move anew in each frame.
    """
    kinds, matrix = refiner.kinds(), refiner.matrix.numpy()
    frames_noise, sizes = _sizes(matrix, kinds, np.square(left).mean(axis=0))
    shapes = [refiner.tissue_covariance(length) for length in LENGTHS]
    effects = np.stack([_effect(matrix[:, kinds["tissue"]], shape) for shape in shapes])
    noise = frames_noise * matrix.diagonal()
    rest = noise + sum(np.square(matrix[:, kinds[name]]).sum(axis=1) * sizes[name] for name in OTHER)
    moments = _moments(seen, runs)
    other = sum(sizes[name] * kinds[name] for name in OTHER)[~kinds["tissue"]]
    if len(moments) == 1:
        tissue = nnls((effects / rest).T, (moments[0] - rest) / rest)[0]
        return Prior(frames_noise, other, _mixed(tissue, shapes), (ANEW,), np.ones(1), np.zeros(1))
    *shares, activity = _shares(effects, noise, moments, rest)
    tissue = np.sum(shares, axis=1)
    motion = np.sum(shares, axis=0) / max(tissue.sum(), 1e-12)
    return Prior(frames_noise, other, _mixed(tissue, shapes), LASTING, motion, activity)


def _mixed(sizes: np.ndarray, shapes: list[np.ndarray]) -> np.ndarray:
    return sum(size * shape for size, shape in zip(sizes, shapes, strict=True))


def _sizes(
    matrix: np.ndarray, kinds: dict[str, np.ndarray], squares: np.ndarray
) -> tuple[float, dict[str, float]]:
    """Noise, and expected squares of the unknowns of each kind, from mean squares (2 m,) of right-hand sides."""
    effects = [np.square(matrix[:, kind]).sum(axis=1) for kind in kinds.values()]
    model = np.stack((matrix.diagonal(), *effects), axis=1)
    fit = np.maximum(squares, 1e-12 * squares.max() + 1e-30)
    for _ in range(8):
        noise, *sizes = nnls(model / fit[:, None], squares / fit)[0]
        fit = np.maximum(model @ (noise, *sizes), 1e-6 * fit)
    sizes = {name: max(size, 1e-8) for name, size in zip(kinds, sizes, strict=True)}
    return max(noise, 0.1), sizes | {"shift": max(sizes["shift"], SHIFT**2)}


def _effect(matrix: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Diagonal (2 m,) of `A C A` for A's columns of the tissue (2 m, 2 k) and C = `shape` (k, k) for each component."""
    return sum(np.einsum("ij,ij->i", part @ shape, part) for part in np.split(matrix, 2, axis=1))


def _moments(seen: np.ndarray, runs: np.ndarray) -> np.ndarray:
    """(1 + lags, 2 m): mean products of right-hand sides (n, 2 m) of frames of one run so many frames apart."""
    series = [seen[runs == run] for run in np.unique(runs)]
    lags = range(min(LAGS + 1, max(map(len, series))))
    return np.stack(
        [np.concatenate([s[: len(s) - lag] * s[lag:] for s in series]).mean(axis=0) for lag in lags]
    )


def _shares(effects: np.ndarray, noise: np.ndarray, moments: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """(len(LENGTHS) + 1, len(LASTING)): how much of the motion of each length lasts how long; of the noise, too.

    Only moments between different frames are fitted: nothing that is new in each frame is in them.
    """
    lasting = _correlations(np.arange(1, len(moments)), LASTING)
    columns = np.einsum("si,tl->tisl", np.concatenate((effects, noise[None])), lasting)
    columns[:, :, -1, -1] = 0  # what never changes is not activity
    columns = columns.reshape(moments[1:].size, -1)
    fit = np.maximum(moments[0], 1e-12 * moments[0].max() + 1e-30)
    for _ in range(3):
        weight = np.tile(1 / fit, len(moments) - 1)
        shares = nnls(columns * weight[:, None], moments[1:].ravel() * weight)[0]
        shares = shares.reshape(len(effects) + 1, len(LASTING))
        fit = rest + shares[:-1].sum(axis=1) @ effects
    return shares
