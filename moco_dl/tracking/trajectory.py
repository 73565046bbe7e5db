"""The path of tissue from frame to frame.

A scanner takes row after row and frame after frame while tissue moves on. So the shift of a frame, and the
slope and bend of its path down the rows, go on from the frame before it and into the next, however fast tissue
moves: in which way, samples of the movie show. What a frame tells of its path is noisy; a Wiener filter makes
the most probable one of it and of those around it. How far tissue moves, over what all samples together show,
is found around each frame anew: in bouts it is far more, at rest far less.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from moco_dl.cached import cached
from moco_dl.motion import Motion
from moco_dl.stream import Batch, Messages, frames_alike, messages_of, surroundings

REACHES = (4, 3, 2, 1)  # frames on either side that tell of a frame's path: the most that samples tell of
ENOUGH = 20  # times as many samples as are looked at together, from fewer of which nothing is concluded
SHOWN = 0.7  # of the expected variance of a slope or bend: where more stays unknown, it is not looked at
WORTHWHILE = 0.05  # share of the squared errors that must go; else paths stay as they are
LEVELS = 2.0 ** np.arange(-5, 8)  # of motion around a frame, over what samples show


@dataclass(frozen=True)
class FramePath:
    """What is found of the shift, slope and bend of a frame's displacement: each of dy and of dx, px."""

    functions: np.ndarray  # (h, 3) of the row that these stand for; the first is one
    errors: np.ndarray  # (2, 3, 3) px^2, covariance of the errors of what is found
    sizes: np.ndarray  # (2, 3) px^2 that were expected of it; infinite: any

    def found_in(self, motion: Motion) -> np.ndarray:
        """(n, 2, 3) of frames, from the mean of their displacement over columns."""
        found = (motion.rows + motion.flow.mean(axis=3)) @ np.linalg.pinv(self.functions).T
        found[..., 0] += motion.rigid
        return found

    @property
    def shown(self) -> np.ndarray:
        """(2, 3) bool: what frames tell of."""
        return np.diagonal(self.errors, axis1=1, axis2=2) < SHOWN * self.sizes


class PathFilter:
    """Filter of one movie."""

    def __init__(self, path: FramePath, motion: Motion, numbers: np.ndarray, reach: int):
        """From the motion of samples, `numbers` (n,) in the movie, with `reach` frames on either side."""
        self.reach, self._path, trusted = reach, path, motion.trusted
        errors = np.where(_both(path.shown), path.errors, 0)
        self._unshrunk = np.linalg.inv(np.eye(3) - errors / path.sizes[:, None])
        self._noise = self._unshrunk @ errors
        found = path.found_in(motion)[trusted]
        self._middle = found.mean(axis=0)
        windows = self._seen(found)[_windows(numbers[trusted], reach)]
        self._motion = _covariance(windows, self._noise)
        self._explained = cached(self._explained, 16)
        self._known_weights = cached(self._weights, 64)

    def _seen(self, found: np.ndarray) -> np.ndarray:
        """Paths (n, 2, 3) about their middle, as if nothing had been expected of them; zero if not shown."""
        apart = np.where(self._path.shown, found - self._middle, 0)
        return (apart[..., None, :] * self._unshrunk).sum(axis=-1)

    def announce(self, batch: Batch) -> tuple[Batch, Messages]:
        """See `Filter`."""
        return batch, messages_of(batch, batch.motion.trusted, self._seen(self._path.found_in(batch.motion)))

    def __call__(self, batch: Batch, messages: Messages) -> Batch:
        """The batch with the most probable paths."""
        near, there = surroundings(batch.numbers, self.reach, messages, np.zeros((2, 3)))
        found, motion = self._path.found_in(batch.motion), batch.motion
        more = np.zeros_like(found)
        for lags, frames in frames_alike(sliding_window_view(there, 2 * self.reach + 1)):
            if 0 in lags:
                around = near[frames[:, None] + np.array(lags) + self.reach].swapaxes(1, 2)
                around = around.reshape(len(frames), 2, 1, -1)
                weights = np.stack([self._known_weights(lags, level) for level in self._levels(around, lags)])
                probable = self._middle + (around * weights).sum(axis=-1)
                more[frames] = np.where(self._path.shown, probable - found[frames], 0)
        rows = motion.rows + (more[..., 1:] @ self._path.functions[:, 1:].T).astype(np.float32)
        rigid = motion.rigid + more[..., 0].astype(np.float32)
        return replace(batch, motion=replace(motion, rigid=rigid, rows=rows))

    def _levels(self, around: np.ndarray, lags: tuple[int, ...]) -> np.ndarray:
        """Most likely ones (n,) of LEVELS, of paths at these lags of n frames: `around` (n, 2, 1, 3 lags)."""
        likely = []
        for whitening, logarithm in (self._explained(lags, level) for level in LEVELS):
            squares = np.square((around * whitening).sum(axis=-1)).sum(axis=(1, 2))
            likely.append(logarithm - squares / 2)
        return LEVELS[np.argmax(likely, axis=0)]

    def _explained(self, lags: tuple[int, ...], level: float) -> tuple[np.ndarray, float]:
        """What makes paths at these lags white, (2, 3 lags, 3 lags), and the logarithm of its determinants."""
        motion, noise = self._expected(lags)
        whitening = np.linalg.inv(np.linalg.cholesky(level**2 * motion + noise))
        return whitening, float(np.log(np.diagonal(whitening, axis1=1, axis2=2)).sum())

    def _weights(self, lags: tuple[int, ...], level: float = 1.0) -> np.ndarray:
        """(2, 3, 3 lags): factors of what is seen of the paths at these lags of a frame, in its own."""
        motion, noise = self._expected(lags)
        own = 3 * lags.index(0)
        return np.linalg.solve(level**2 * motion + noise, level**2 * motion[own : own + 3].T).mT

    def _expected(self, lags: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Covariances of what is seen of paths at these lags: (3 lags, 3 lags) of motion, (2, ...) of noise."""
        frames, size = np.array(lags) + self.reach, 3 * len(lags)
        blind = np.eye(3) * ~self._path.shown[:, None]  # any noise would do where nothing is seen
        noise = np.kron(np.eye(len(lags)), self._noise + blind)
        return self._motion[frames][:, :, frames].reshape(size, size), noise

    @property
    def errors(self) -> np.ndarray:
        """(2, 3, 3) px^2, covariance of the errors of paths, far from the ends of the movie."""
        own, lags = self._motion[self.reach], tuple(range(-self.reach, self.reach + 1))
        errors = own[:, self.reach] - self._weights(lags) @ own.reshape(3, -1).T
        return np.where(_both(self._path.shown), errors, self._path.errors)


def measure_trajectory(path: FramePath, motion: Motion, numbers: np.ndarray) -> PathFilter | None:
    """From the motion of samples, `numbers` (n,) in the movie; None: paths are better left as they are."""
    trusted = motion.trusted
    together = {reach: len(np.unique(_windows(numbers[trusted], reach))) for reach in REACHES}
    reach = next((r for r, count in together.items() if count >= ENOUGH * (2 * r + 1)), None)
    if reach is None:
        return None
    trajectory = PathFilter(path, motion, numbers, reach)
    before, after = (_mean_square(path.functions, errors) for errors in (path.errors, trajectory.errors))
    return trajectory if after < (1 - WORTHWHILE) * before else None


def _windows(numbers: np.ndarray, reach: int) -> np.ndarray:
    """Places (k, 2 reach + 1) of samples that follow one another in the movie, by their `numbers` (n,)."""
    last = 2 * reach
    starts = np.flatnonzero(numbers[last:] - numbers[: max(len(numbers) - last, 0)] == last)
    return starts[:, None] + np.arange(last + 1)


def _covariance(windows: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """(frames, 3, frames, 3) of paths, from those seen in windows (n, frames, 2, 3) with `noise` (2, 3, 3).

    It is taken to be alike for both components, and if time runs backward.
    """
    count, frames = windows.shape[:2]
    series = np.concatenate((windows, windows[:, ::-1] * (1, -1, 1))).swapaxes(1, 2).reshape(4 * count, -1)
    seen = series.T @ series / len(series)
    values, axes = np.linalg.eigh(seen - np.kron(np.eye(frames), noise.mean(axis=0)))
    return ((axes * values.clip(0)) @ axes.T).reshape(frames, 3, frames, 3)


def _both(shown: np.ndarray) -> np.ndarray:
    """(2, 3, 3) bool: pairs of what is shown (2, 3)."""
    return shown[:, :, None] & shown[:, None]


def _mean_square(functions: np.ndarray, covariance: np.ndarray) -> float:
    """Of the displacement, over rows and components; `covariance` (2, 3, 3)."""
    return float(((functions @ covariance) * functions).sum(axis=-1).mean())
