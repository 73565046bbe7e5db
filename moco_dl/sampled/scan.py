"""Rows that a scanner takes on its way back: they may lie beside those that it takes on its way forth.

A frame is put together of both by a delay. If that is off, every other row is displaced along itself, the same
in all frames (bidirectional phase offset).
"""

from collections.abc import Callable

import numpy as np

from moco_dl.errors import NrcorrectError
from moco_dl.sampled.samples import Samples, about_mean, pixel_chunks

MOST = 10  # px, as far as an offset is looked for; less than an eighth of a row
GLANCED = 32  # samples
STRIPS = 32  # of a frame
PARTS = 8  # each of every eighth strip, that show the offset for themselves
STEP = 0.05  # px
SURE = 8.0  # standard errors
COHERENT = 0.99  # coherence of rows that is not told from 1


def straightened(frames: np.ndarray, offset: int, left: np.ndarray | None = None) -> np.ndarray:
    """Frames (n, H, W) whose second, fourth, ... rows are taken `offset` px to the left.

    What that leaves open at the end of a row repeats the row above. Frames that are `left` (n,) stay as they
    are.
    """
    if offset == 0:
        return frames
    moved, count = frames.copy(), frames.shape[1] // 2
    open_end = slice(-offset, None) if offset > 0 else slice(0, -offset)
    moved[:, 1::2] = np.roll(frames[:, 1::2], -offset, axis=2)
    moved[:, 1::2, open_end] = frames[:, 0::2, open_end][:, :count]
    if left is not None:
        moved[left] = frames[left]
    return moved


def checked_offset(offset: int, shape: tuple[int, int, int]) -> int:
    """`offset`, px; raises NrcorrectError unless rows of a movie (T, H, W) are longer."""
    if abs(offset) >= shape[2]:
        raise NrcorrectError(f"row_offset: got {offset}; wanted less than {shape[2]} px, the width of a frame")
    return offset


def measure_row_offset(samples: Samples, mapping: Callable = map) -> int:
    """Whole px by which the second, fourth, ... rows of all samples lie to the right of the others.

    Some `samples` are looked at before all are. Zero, if it is not sure that there is an offset. `mapping` is
    `map`, or does the same with several threads.
    """
    if round(_offset(samples.glanced(GLANCED), mapping)[0]) == 0:
        return 0
    offset, error = _offset(samples, mapping)
    return round(offset) if abs(offset) > SURE * error else 0


def _offset(samples: Samples, mapping: Callable) -> tuple[float, float]:
    """The most probable offset, px, and its standard error; infinite, if it may lie farther than is looked.

    Rows are compared with the mean of those above and below by the maximum-likelihood correlation, see
    `weights`. How sure that is, parts of the frames tell.
    """
    (first,) = samples.frames[samples.places[:1]]
    width = first.shape[1]
    places = pixel_chunks(np.arange(len(samples)), first.size)
    found = list(mapping(lambda some: _spectra(samples[some]), places))
    shared, back, forth = (sum(parts) for parts in zip(*found, strict=True))
    most = min(MOST, width // 8 - 1)
    lags = np.linspace(-most, most, round(2 * most / STEP) + 1)
    turned = np.exp(2j * np.pi * np.outer(np.arange(len(back)), lags) / width)
    alike = ((weights(shared.sum(axis=0), np.sqrt(back * forth)) * shared) @ turned).real
    offset, parts = lags[alike.sum(axis=0).argmax()], lags[alike.argmax(axis=1)]
    error = np.sqrt(((parts - offset) ** 2).sum() / (len(parts) * (len(parts) - 1)))
    return float(offset), float(error) if abs(offset) < most else np.inf


def weights(shared: np.ndarray, power: np.ndarray) -> np.ndarray:
    """(F,) factors of cross spectra (F,), `power` of which they would have if all were alike.

    Those of the maximum-likelihood correlation of Knapp and Carter (IEEE TASSP 24, 1976): frequencies count by
    how alike they are.
    """
    length = np.abs(shared)
    coherence = np.minimum(length / np.maximum(power, 1e-30), COHERENT)
    return coherence**2 / (1 - coherence**2) / np.maximum(length, 1e-30)


def _spectra(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cross spectra (parts, F) of every other row with those beside it, and spectra (F,) of both; sums."""
    rows = about_mean(frames, 2) * np.hanning(frames.shape[2]).astype(np.float32)
    rows /= np.maximum(rows.std(axis=(1, 2), keepdims=True), 1e-30)
    forth = (rows[:, :-2:2] + rows[:, 2::2]) / 2
    back, forth = np.fft.rfft(rows[:, 1 : 2 * forth.shape[1] : 2]), np.fft.rfft(forth)
    starts = np.linspace(0, back.shape[1], min(STRIPS, back.shape[1]), endpoint=False).astype(int)
    shared = np.add.reduceat((back * forth.conj()).sum(axis=0), starts)
    parts = np.stack([shared[part::PARTS].sum(axis=0) for part in range(min(PARTS, len(shared)))])
    return parts, *((np.abs(each) ** 2).sum(axis=(0, 1)) for each in (back, forth))
