"""Filters in time: what a mode of the tissue's motion is in a frame, from what the frames around it tell."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from moco_dl.cached import cached
from moco_dl.stream import frames_alike
from moco_dl.tracking.breaks import Breaks
from moco_dl.tracking.outburst import Outbursts
from moco_dl.tracking.prior import Prior
from moco_dl.tracking.risk import exceeding
from moco_dl.tracking.vigour import REACH, Vigour

REACHES = (0, 1, 2, 4, 8, 16, 32)  # frames looked at on either side
ENOUGH = 1.01  # a reach suffices when the expected squared error is at most this times that of the farthest


class TimeFilter:
    """Wiener filters of one movie, one for each mode: in time, all are alike but for their noise."""

    def __init__(
        self, prior: Prior, visible: np.ndarray, sizes: np.ndarray, vigour: Vigour | Outbursts | None = None
    ):
        """`visible` (modes,) is the variance of what a frame tells of a mode, over that of its noise.

        `sizes` (modes,) is what a mode of unit variance adds to squares of the unknowns.
        """
        self._prior, self._visible, self._sizes, self.vigour = prior, visible, sizes, vigour
        self._breaks = Breaks(prior, visible)
        self._around, self._usual_weights = (cached(f, 16) for f in (self._around, self._weights))
        errors = [sizes @ self._unknown(reach) for reach in REACHES]
        self.reach = next(r for r, error in zip(REACHES, errors, strict=True) if error <= ENOUGH * errors[-1])

    @property
    def lookahead(self) -> int:
        """Frames on either side that must be known."""
        return self.reach + Breaks.reach + (REACH if self.vigour else 0)

    @property
    def lost(self) -> float:
        """Expected squared error of a frame's unknowns, over the square of what the prior expects of them."""
        return float(self._sizes @ self.unknown() / self._sizes.sum())

    def unknown(self, excess: float = 0.0) -> np.ndarray:
        """(modes,) variance, over that of the prior, that stays unknown far from the ends of the movie.

        More does if there is an `excess` of errors: see `risk.py`.
        """
        unknown = self._unknown(self.reach)
        own = (self._visible * unknown).clip(0, 1)
        return unknown * (1 + excess * exceeding(own))

    def __call__(self, told: np.ndarray, there: np.ndarray, clear: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Modes of n frames, from what these and `lookahead` more at either end tell of them: (n, modes).

        And how much of the noise of what they tell themselves is in these: (n, modes).

        `told` (n + 2 lookahead, modes) is `clear` (n + 2 lookahead,) times what they tell, so that its noise is
        alike. Frames that are not `there` (n + 2 lookahead,) tell nothing, and none do beyond a break.
        """
        reach, sizes = self.reach, clear  # of motion, over that of noise
        if self.vigour:
            sizes = self.vigour.of_frames(told, there, self._visible, clear) * clear[REACH:-REACH]
            told, there, clear = (of_frames[REACH:-REACH] for of_frames in (told, there, clear))
        parts, beyond = self._breaks.parts(told, there, sizes), slice(Breaks.reach, -Breaks.reach)
        told, there, clear, sizes = (of_frames[beyond] for of_frames in (told, there, clear, sizes))
        there, parts = (sliding_window_view(of_frames, 2 * reach + 1) for of_frames in (there, parts))
        modes, own = np.zeros((2, len(told) - 2 * reach, told.shape[1]))
        for lags, alike in frames_alike(there & (parts == parts[:, reach, None])):
            around = alike[:, None] + np.array(lags) + reach  # (frames alike, lags)
            noise = self._prior.noise_between(np.abs(lags))
            usual = (sizes[around] == 1).all(axis=1) & (clear[alike + reach] == 1)
            if usual.any():
                weights = self._usual_weights(lags)
                modes[alike[usual]] = (weights * told[around[usual]]).sum(axis=1)
                own[alike[usual]] = noise @ weights
            for i, near in zip(alike[~usual], around[~usual], strict=True):
                size = sizes[i + reach] / clear[i + reach]
                weights = size * self._weights(lags, sizes[near])
                modes[i], own[i] = (weights * told[near]).sum(axis=0), noise @ weights
        return modes, own

    def _around(self, lags: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Correlation of motion with that in frames at `lags`, and between these; what makes noise white."""
        lags = np.array(lags)
        apart, each = np.abs(lags[:, None] - lags), np.arange(np.ptp(lags) + 1)
        motion, noise = self._prior.motion_between(each), self._prior.noise_between(each)
        whitening = np.linalg.inv(np.linalg.cholesky(noise[apart]))
        return self._prior.motion_between(np.abs(lags)), motion[apart], whitening

    def _filter(self, lags: tuple[int, ...], sizes: np.ndarray | float = 1.0) -> tuple[np.ndarray, ...]:
        """Correlation with frames at `lags`; what solves for all modes at once: eigenvalues, vectors.

        Their motion is `sizes` (frames,) times what the prior expects.
        """
        near, between, whitening = self._around(lags)
        values, axes = np.linalg.eigh(whitening @ (between * np.multiply.outer(sizes, sizes)) @ whitening.T)
        vectors = whitening.T @ axes
        return (near * sizes) @ vectors, values.clip(0), vectors

    def _weights(self, lags: tuple[int, ...], sizes: np.ndarray | float = 1.0) -> np.ndarray:
        """(frames, modes): weights of frames at `lags` of one that moves as expected, whose mode is wanted."""
        near, values, vectors = self._filter(lags, sizes)
        return (vectors * near) @ (1 / (values[:, None] * self._visible + 1))

    def _unknown(self, reach: int) -> np.ndarray:
        """(modes,) variance, over that of the prior, that `reach` frames on either side leave unknown."""
        near, values, _ = self._filter(tuple(range(-reach, reach + 1)))
        total = np.zeros_like(self._visible)
        for share, level in self.vigour.parts if self.vigour else ((1.0, 1.0),):
            visible = level**2 * self._visible
            known = np.square(near) @ (visible / (values[:, None] * visible + 1))
            total += share * level**2 * (1 - known).clip(0)
        return total
