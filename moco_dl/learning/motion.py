"""Known motion: random smooth fields whose truth is the training target.

Every field is backward, in pixels, components (dy, dx): see `warp.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import gaussian_filter1d

from moco_dl.errors import NrcorrectError


@dataclass(frozen=True)
class MotionOptions:
    """Statistics of the motion that is drawn."""

    vectors: int = 10  # random vectors at random places
    spread: tuple[float, float] = (12.0, 60.0)  # px, sigma of the Gaussian that spreads each
    amplitude: float = 8.0  # px, largest non-rigid displacement
    rigid: float = 2.0  # px, what a rigid stage leaves over (pairs), or the largest shift (movies)
    rows: float = 4.0  # px, largest displacement that differs from row to row

    def __post_init__(self) -> None:
        if self.spread[0] > self.spread[1]:
            raise NrcorrectError(f"spread: got {self.spread}; wanted the smaller number first")

    def changed(self, options: Mapping[str, object]) -> "MotionOptions":
        """The same, but for those of `options` that are not None."""
        return replace(self, **{name: value for name, value in options.items() if value is not None})


def gaussian_basis(shape: tuple[int, int], rng: np.random.Generator, options: MotionOptions) -> np.ndarray:
    """`(vectors, H, W)` float32: the Gaussians that spread each vector, at places in and around the frame."""
    margin = options.spread[0]
    sigma = rng.uniform(*options.spread, options.vectors)[:, None]
    profiles = [
        np.exp(-0.5 * ((np.arange(size) - rng.uniform(-margin, size + margin, (len(sigma), 1))) / sigma) ** 2)
        for size in shape
    ]
    return np.einsum("nh,nw->nhw", *profiles).astype(np.float32)


def draw_field(shape: tuple[int, int], rng: np.random.Generator, options: MotionOptions) -> np.ndarray:
    """One field `(2, H, W)` float32: spread vectors, a rigid rest, and in half of the draws row motion.

    The peak non-rigid displacement is drawn too: mostly small, up to `options.amplitude`.
    """
    basis = gaussian_basis(shape, rng, options)
    field = np.einsum("nc,nhw->chw", rng.standard_normal((len(basis), 2), np.float32), basis)
    peak = options.amplitude * rng.random() ** 2
    field *= peak / max(np.hypot(*field).max(), 1e-6)
    if rng.random() < 0.5:
        field += row_motion(shape[0], rng, options.rows * rng.random() ** 2)[:, :, None]
    centre = field.mean(axis=(1, 2), keepdims=True)
    return field - centre + rng.normal(0, options.rigid / 2, (2, 1, 1)).astype(np.float32)


def row_motion(rows: int, rng: np.random.Generator, amplitude: float) -> np.ndarray:
    """`(2, rows)` float32, peak `amplitude` px: the tissue moves on while a scanner takes row after row."""
    sigma = 10 ** rng.uniform(0.7, 2.3)
    motion = gaussian_filter1d(rng.standard_normal((2, rows), np.float32), sigma, axis=1)
    motion -= motion.mean(axis=1, keepdims=True)
    return amplitude * motion / max(np.abs(motion).max(), 1e-6)


def smooth_series(count: int, frames: int, rng: np.random.Generator, sigma: float) -> np.ndarray:
    """`(count, frames)` float32 random series of unit variance, smooth over `sigma` frames."""
    margin = int(4 * sigma) + 1
    series = gaussian_filter1d(rng.standard_normal((count, frames + 2 * margin)), sigma, axis=1)
    return (series / series.std())[:, margin : margin + frames].astype(np.float32)


def bouts(frames: int, calm: float, rng: np.random.Generator) -> np.ndarray:
    """`(frames,)` float32, how strongly tissue moves: 1 in bouts of 15 to 40 frames, `calm` between them.

    There are 40 to 100 frames between; it changes within a few.
    """
    strength, start = np.full(frames, calm, float), int(rng.integers(15, 50))
    while start < frames:
        length = int(rng.integers(15, 41))
        strength[start : start + length] = 1.0
        start += length + int(rng.integers(40, 101))
    return gaussian_filter1d(strength, 2.0, mode="nearest").astype(np.float32)


def swings(shape: tuple[int, int], margin: int, rng: np.random.Generator, strength: np.ndarray) -> np.ndarray:
    """`(frames, 2, rows)` float32, at most 1: how tissue swings as an animal runs, while a scanner takes rows.

    `shape` is that of frames and rows, and so is what is returned, but for `margin` more rows on either side.
    One step takes some 3 to 7 frames; its length and size wander. `strength` `(frames,)` says how strong it is.
    """
    frames, rows = shape
    middle = np.arange(frames) + 0.5
    time = np.arange(frames)[:, None] + (np.arange(-margin, rows + margin) + 0.5) / rows
    pace, size = 1 + 0.3 * smooth_series(2, frames, rng, 3.0)
    phase = np.interp(time, middle, 2 * np.pi * np.cumsum(pace) / rng.uniform(3, 7))
    swing = np.stack((np.sin(phase), 0.4 * np.sin(2 * phase + rng.uniform(0, 2 * np.pi))), axis=1)
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    swing = np.interp(time, middle, strength * size)[:, None] * (turn @ swing)
    return (swing / max(np.abs(swing).max(), 1e-6)).astype(np.float32)


def beats(
    shape: tuple[int, int], frames: int, every: float, rng: np.random.Generator, options: MotionOptions
) -> tuple[np.ndarray, np.ndarray]:
    """How a heart that beats `every` so many frames bends tissue: `(frames,)`, times `(2, H, W)`, float32.

    At most by half of `options.amplitude`.
    """
    basis = gaussian_basis(shape, rng, options)
    bend = np.einsum("nc,nhw->chw", rng.standard_normal((len(basis), 2), np.float32), basis)
    bend *= options.amplitude / 2 / max(np.hypot(*bend).max(), 1e-6)
    pulse = np.sin(2 * np.pi * np.arange(frames) / every + rng.uniform(0, 2 * np.pi))
    return pulse.astype(np.float32), bend


class Trajectory:
    """Motion of a whole movie: `field(t)` gives frame t's backward field `(2, H, W)` float32."""

    def __init__(self, shape: tuple[int, int], frames: int, rng: np.random.Generator, options: MotionOptions):
        slow, fast = (smooth_series(2, frames, rng, sigma) for sigma in (30.0, 1.5))
        self.rigid = _peak(slow + 0.4 * fast, options.rigid)  # (2, T)
        self.basis = gaussian_basis(shape, rng, options)
        count = 2 * len(self.basis)
        series = smooth_series(count, frames, rng, 15.0) + 0.5 * smooth_series(count, frames, rng, 3.0)
        self.vectors = series.reshape(2, -1, frames)
        self.vectors -= self.vectors.mean(axis=2, keepdims=True)
        peak = max(np.hypot(*self._nonrigid(t)).max() for t in range(0, frames, max(1, frames // 50)))
        self.vectors *= options.amplitude / max(peak, 1e-6)
        self.rows = [row_motion(shape[0], rng, options.rows * rng.random() ** 2) for _ in range(frames)]

    def _nonrigid(self, t: int) -> np.ndarray:
        return np.tensordot(self.vectors[:, :, t], self.basis, 1)

    def field(self, t: int) -> np.ndarray:
        return self._nonrigid(t) + self.rigid[:, t, None, None] + self.rows[t][:, :, None]


def _peak(series: np.ndarray, amplitude: float) -> np.ndarray:
    series = series - np.median(series, axis=1, keepdims=True)
    return series * (amplitude / max(np.abs(series).max(), 1e-6))
