"""What stays in place while the tissue moves: how that is told."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from moco_dl.sampled.samples import Samples, chunks

SMOOTH = 5  # px, side of the squares over which images are averaged
SURE = 3.0  # standard errors
WHOLE = slice(None), slice(None)
MOVES = 0.5  # times as far as tissue, at most: what moves less stays in place


class Changes:
    """How samples change as the tissue moves.

    Where an image moves with it, they change by its slopes times the shifts of the tissue.
    """

    def __init__(self, samples: Samples, shifts: np.ndarray, instead: np.ndarray | float):
        """`shifts` (n, 2) px of the tissue in samples; what is not finite in these is taken to be `instead`."""
        self._shifts = shifts - shifts.mean(axis=0)
        self._seen = 0.0
        for some in chunks(np.arange(len(samples))):
            frames = samples[some]
            known = np.where(np.isfinite(frames), frames, instead)
            self._seen = self._seen - np.einsum("nc,nhw->chw", self._shifts[some], known, dtype=np.float64)

    def moves(self, slopes: np.ndarray, block: int, window: tuple[slice, slice] = WHOLE) -> float:
        """How far what has these slopes (2, h, w) per px in a `window` moves at most, over what tissue does.

        That is a regression; how sure it is follows from how blocks of so many pixels a side differ. Infinite
        if nothing moves.
        """
        seen = _in_blocks((slopes * self._seen[:, window[0], window[1]]).sum(axis=0), block)
        products = np.tensordot(self._shifts.T @ self._shifts, slopes, 1)
        expected = _in_blocks((slopes * products).sum(axis=0), block)
        if not expected.sum() > 0:
            return np.inf
        moves = seen.sum() / expected.sum()
        error = np.sqrt(np.square(seen - moves * expected).sum()) / expected.sum()
        return float(moves + SURE * error)


def in_all(samples: Samples, image: np.ndarray, most: float) -> bool:
    """Whether about as much of an image (H, W) is in all samples as recorded; not of what moves or flickers.

    How strong it is in these differs by less than the share `most` of the mean.
    """
    strength = []
    for places in chunks(samples.places):
        frames = samples.frames[places].astype(np.float32)
        frames -= np.nanmean(frames, axis=(1, 2), keepdims=True)
        strength.append(np.tensordot(np.nan_to_num(frames), image, 2))
    strength = np.concatenate(strength)
    return bool(strength.std() < most * strength.mean())


def blur(shifts: np.ndarray, size: tuple[int, int], weights: np.ndarray | None = None) -> np.ndarray:
    """(H, W // 2 + 1) complex: what the spectrum of an image (H, W) is multiplied with, to become the mean of
    the image moved as the tissue by each of the shifts (n, 2) px.

    They may have `weights` (n,), one on average.
    """
    along_y, along_x = (
        np.exp(-2j * np.pi * np.outer(frequency, shift))
        for frequency, shift in zip((np.fft.fftfreq(size[0]), np.fft.rfftfreq(size[1])), shifts.T, strict=True)
    )
    if weights is not None:
        along_y = along_y * weights
    return along_y @ along_x.T / len(shifts)


def smoothed(image: np.ndarray) -> np.ndarray:
    """Image (h, w) averaged over squares."""
    for axis in (0, 1):
        pad = [(SMOOTH // 2, SMOOTH // 2) if axis == other else (0, 0) for other in (0, 1)]
        image = sliding_window_view(np.pad(image, pad, mode="edge"), SMOOTH, axis=axis).mean(axis=-1)
    return image


def _in_blocks(values: np.ndarray, side: int) -> np.ndarray:
    """Sums of values (h, w) over squares (k,)."""
    rows = np.add.reduceat(values, range(0, values.shape[0], side), axis=0)
    return np.add.reduceat(rows, range(0, values.shape[1], side), axis=1).ravel()
