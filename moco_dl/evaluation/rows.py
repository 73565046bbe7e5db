"""Whether a correction has moved every other row beside the others, and whether that was right.

A scanner takes every other row on its way back. A correction may bring those rows to where they belong; one
that moves them elsewhere makes a comb of every edge, which looks sharp. In mean images a comb hides as frames
move up and down, and in corrected frames behind noise that rows share once they are interpolated. So each frame
is compared with the raw one it was made of, with which it shares its noise as well.
"""

import numpy as np

from moco_dl.sampled.scan import weights

LARGEST = 512  # px a side, about the middle, that are looked at
BLOCK = 128  # px of a row that are compared at a time: tissue moves otherwise elsewhere
STRIP = 16  # pairs of rows, for the same reason
REACH = 3  # px, up and down, that tissue may lie from where the whole frame does
STEP = 0.05  # px
SURE = 0.3  # share of the alike that must lie at one offset; 0.8 to 1 do, 0.2 and less if rows are not alike


class Rows:
    """Sums over pairs of frames (H, W), raw and corrected."""

    def __init__(self, size: tuple[int, int]):
        self.part = tuple(slice(*_middle(side)) for side in size)
        self.block = min(BLOCK, self.part[1].stop - self.part[1].start)
        # How back and forth in raw frames are shifted against one another; and what was done to them.
        self.sums = np.zeros((2, 2, self.block // 2 + 1), np.complex128)

    def look(self, raw: np.ndarray, corrected: np.ndarray) -> np.ndarray:
        """What `add` takes of a pair of finite float32 frames; changes nothing."""
        size = raw.shape
        corrected = np.roll(corrected, _whole_shift(raw, corrected, self.part), (0, 1))
        first, last = self.part[0].start, self.part[0].stop
        rows = np.arange(first - REACH, last + REACH) % size[0]
        before = self._spectra(raw[self.part])
        after = self._spectra(corrected[rows][:, self.part[1]])
        sums = np.zeros_like(self.sums)
        forth = before[:-2:2] + before[2::2]
        back = before[1::2][: len(forth)]
        sums[0] = _both(back, forth)
        starts = np.arange(0, len(before) // 2, STRIP)
        for up in range(2 * REACH + 1):
            shared = before * after[up : up + len(before)].conj()
            forth, back = (np.add.reduceat(shared[i::2], starts, axis=0) for i in (0, 1))
            sums[1] += _both(back, forth)
        return sums

    def add(self, seen: np.ndarray) -> None:
        """Add what was seen of a pair."""
        self.sums += seen

    def found(self) -> tuple[float, float, float]:
        """What was done to every other row: px to the left, and how alike rows were before and are after.

        As a share of what they would be if all frequencies agreed; NaN if it cannot be told. So a raw movie
        whose rows lie aside gets better by a move, and no other does.
        """
        moved = _offset(*self.sums[1], self.block)
        lags = np.array([0.0, moved])
        return moved, *(_alike(*self.sums[0], lags, self.block) if np.isfinite(moved) else (np.nan, np.nan))

    def _spectra(self, frame: np.ndarray) -> np.ndarray:
        """Of parts of each row of a frame (h, w): (h, parts, F)."""
        starts = range(0, frame.shape[1] - self.block + 1, self.block // 2)
        rows = frame - frame.mean(axis=1, keepdims=True)
        rows /= max(float(rows.std()), 1e-30)
        parts = np.stack([rows[:, start : start + self.block] for start in starts], axis=1)
        parts -= parts.mean(axis=2, keepdims=True)
        return np.fft.rfft(parts * np.hanning(self.block).astype(np.float32))


def _middle(side: int) -> tuple[int, int]:
    """First and last px, even and without a sixteenth at the edges, at most LARGEST apart."""
    first = max(side // 16, (side - LARGEST) // 2) // 2 * 2
    return first, first + (side - 2 * first) // 2 * 2


def _whole_shift(raw: np.ndarray, corrected: np.ndarray, part: tuple[slice, slice]) -> tuple[int, int]:
    """Whole px by which a corrected frame (H, W) must be moved to lie on the raw one, by phase correlation."""
    window = np.outer(*(np.hanning(p.stop - p.start).astype(np.float32) for p in part))
    one, other = (np.fft.rfft2((frame[part] - frame[part].mean()) * window) for frame in (raw, corrected))
    shared = one * other.conj()
    alike = np.fft.irfft2(shared / np.maximum(np.abs(shared), 1e-30), window.shape)
    found = np.unravel_index(alike.argmax(), alike.shape)
    return tuple(int((k + n // 2) % n - n // 2) for k, n in zip(found, alike.shape, strict=True))


def _both(back: np.ndarray, forth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums (F,) of cross spectra (..., F), and what they would be if all were alike."""
    axes = tuple(range(back.ndim - 1))
    return (back * forth.conj()).sum(axis=axes), (np.abs(back) * np.abs(forth)).sum(axis=axes)


def _alike(shared: np.ndarray, power: np.ndarray, lags: np.ndarray, width: int) -> np.ndarray:
    """How alike rows are at lags (n,), px, at most 1, weighed as `scan.py` does: (n,), or NaN."""
    weight = weights(shared, power.real)
    weight[0] = 0.0  # means of rows
    turned = np.exp(2j * np.pi * np.outer(lags, np.arange(len(weight))) / width)
    total = (weight * np.abs(shared)).sum()
    return (turned @ (weight * shared)).real / total if total > 0 else np.full(len(lags), np.nan)


def _offset(shared: np.ndarray, power: np.ndarray, width: int) -> float:
    """The most probable lag, px; NaN if it is not sure."""
    most = width // 3
    lags = np.linspace(-most, most, round(2 * most / STEP) + 1)
    alike = _alike(shared, power, lags, width)
    return float(lags[alike.argmax()]) if alike.max() >= SURE else np.nan
