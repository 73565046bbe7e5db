"""Waves of interference: of a radio or the mains in a detector's signal, at another phase in every frame.

They may be too weak to be seen in a frame, and still outweigh motion that many frames tell of together.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from moco_dl.sampled.samples import Samples, about_mean

GLANCED = 16  # samples, and pixels along a side of their middle: enough to see whether there are any
MIDDLE = 256
NEAR, FAR = 3, 6  # steps of frequency, between which lies what is around a wave
CLEAR = 3.0  # times the largest power there: scenes make up to 2.1
COARSE = 4  # waves along the side: fewer cannot be told from a scene
MOST = 8  # waves
TOGETHER = 2**16  # pixels that are looked at together
STEADY = 0.5  # resultant length of its phases from which on a wave is a part of the scene, or stays in place


@dataclass(frozen=True)
class Waves:
    """What has certain frequencies in all frames."""

    frequencies: np.ndarray  # (k, 2) cycles per pixel, along y and x

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Frames (n, H, W) of floats without them."""
        found, strengths = frames.copy(), self._strengths(frames)
        for rows, waves in self._bands(frames.shape[1:]):
            for left, strength in zip(found[:, rows], strengths, strict=True):
                left -= (strength @ waves).reshape(left.shape)
        return found

    def phases(self, frames: np.ndarray) -> np.ndarray:
        """(n, k) complex numbers of length 1: where the waves are in frames (n, H, W)."""
        strengths, count = self._strengths(frames), len(self.frequencies)
        found = strengths[:, :count] - 1j * strengths[:, count:]
        return found / np.maximum(np.abs(found), 1e-30)

    def _strengths(self, frames: np.ndarray) -> np.ndarray:
        """(n, 2 k) how much of each wave, of cosines and then of sines, is in frames, by least squares."""
        known = np.isfinite(frames)
        shown = np.where(known, frames, 0).mean(axis=(1, 2), dtype=np.float64)
        means = shown / np.maximum(known.mean(axis=(1, 2)), 1e-30)
        products = np.zeros((len(frames), 2 * len(self.frequencies), 2 * len(self.frequencies) + 1))
        for rows, waves in self._bands(frames.shape[1:]):
            for frame, here, mean, sums in zip(frames[:, rows], known[:, rows], means, products, strict=True):
                some = waves if here.all() else waves * here.ravel()
                values = np.where(here, frame - mean, 0).ravel().astype(np.float64)
                sums += some @ np.column_stack((waves.T, values))
        return np.array([np.linalg.lstsq(sums[:, :-1], sums[:, -1], rcond=None)[0] for sums in products])

    def _bands(self, size: tuple[int, int]) -> Iterator[tuple[slice, np.ndarray]]:
        """Rows of an image (H, W), a band of them at a time, and cosines, then sines there (2 k, pixels)."""
        y, x = (
            np.exp(2j * np.pi * np.outer(frequency, np.arange(n) - n / 2))
            for frequency, n in zip(self.frequencies.T, size, strict=True)
        )
        step = max(TOGETHER // size[1], 1)
        for rows in (slice(start, start + step) for start in range(0, size[0], step)):
            waves = (y[:, rows, None] * x[:, None]).reshape(len(y), -1)
            yield rows, np.concatenate([waves.real, waves.imag])

    def wandering(self, samples: Samples, shifts: np.ndarray) -> "Waves | None":
        """Those that neither stay in place nor go with the tissue's `shifts` (n, 2) px; None: none do."""
        phases = np.concatenate([self.phases(frames) for frames in samples.chunks()])
        moved = phases * np.exp(2j * np.pi * shifts @ self.frequencies.T)
        steady = [np.abs(each.mean(axis=0)) > STEADY for each in (phases, moved)]
        left = self.frequencies[~np.logical_or(*steady)]
        return Waves(left) if len(left) else None


def measure_waves(samples: Samples) -> Waves | None:
    """All that are clear; None: there are none."""
    some = samples.glanced(GLANCED)
    frames, found = some[np.arange(len(some))], []
    rows, columns = (slice(max(n - MIDDLE, 0) // 2, (n + min(n, MIDDLE) + 1) // 2) for n in frames.shape[1:])
    if _clearest(frames[:, rows, columns]) is None:
        return None
    frames = frames.astype(np.float32)
    while len(found) < MOST and (place := _clearest(frames)) is not None:
        found.append(place)
        frames = Waves(np.array([place]))(frames)
    return Waves(np.array(found)) if found else None


def _power(frames: np.ndarray) -> np.ndarray:
    """(H, W // 2 + 1) mean power of frames (n, H, W), faded out towards their edges."""
    height, width = frames.shape[1:]
    window = (np.hanning(height)[:, None] * np.hanning(width)).astype(np.float32)
    return np.square(np.abs(np.fft.rfft2(about_mean(frames, (1, 2)) * window))).mean(axis=0)


def _clearest(frames: np.ndarray) -> tuple[float, float] | None:
    """Frequency of what stands out most in the power of frames (n, H, W); None: nothing does."""
    power = _power(frames)
    height, half = power.shape
    if min(height, half) <= 2 * FAR:
        return None
    negative = power[-np.arange(height), FAR:0:-1]  # of real images, the same as at the opposite frequency
    wide = np.pad(np.concatenate([negative, power], axis=1), ((FAR, FAR), (0, 0)), mode="wrap")
    wide = np.pad(wide, ((0, 0), (0, FAR)), mode="reflect")
    around = np.zeros_like(power)
    for dy, dx in np.ndindex(2 * FAR + 1, 2 * FAR + 1):
        if max(abs(dy - FAR), abs(dx - FAR)) >= NEAR:
            np.maximum(around, wide[dy : dy + height, dx : dx + half], out=around)
    y, x = np.rint(np.fft.fftfreq(height, 1 / height)), np.arange(half)
    ratio = np.where(np.hypot(y[:, None], x) < COARSE, 0, power / np.maximum(around, 1e-30))
    row, column = np.unravel_index(ratio.argmax(), ratio.shape)
    if not ratio[row, column] > CLEAR:
        return None
    near = np.sqrt(wide[row + FAR - 1 : row + FAR + 2, column + FAR - 1 : column + FAR + 2])
    dy, dx = _top(near[:, 1]), _top(near[1])
    return (y[row] + dy) / height, (x[column] + dx) / frames.shape[2]


def _top(near: np.ndarray) -> float:
    """Where a wave's frequency lies beside the highest of three amplitudes, seen through a Hann window."""
    left, middle, right = near
    more, side = (right, 1) if right > left else (left, -1)
    return float(side * np.clip((2 * more - middle) / max(more + middle, 1e-30), 0, 0.5))
