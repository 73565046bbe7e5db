"""Edges of frames that show nothing: dead columns of a detector, or what another tool has filled.

They have one value. As they are no tissue, they would hold any estimate of motion.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from moco_dl.samples import Samples

GLANCED = 32  # samples
FEW = 0.1  # of these: frames of dark scenes may have lines of one value by chance
SIDE = 5  # px, of squares that have one value in what is filled, and in nothing else
MOST = 1 / 3  # of a frame: with more, it is left as it is


def edges_filled(samples: Samples) -> bool:
    """Whether lines along the edges of samples, as recorded, have one value."""
    frames = samples.frames[samples.places[:: max(len(samples) // GLANCED, 1)]]
    filled = [_inside(frame) != (slice(0, frame.shape[0]), slice(0, frame.shape[1])) for frame in frames]
    return bool(np.mean(filled) > FEW)


def blanked(frames: np.ndarray, filled: bool = True) -> np.ndarray:
    """Frames (n, H, W) as floats with NaN in the lines along their edges that have one value; if not `filled`,
    as they are."""
    if not filled:
        return frames
    found = np.full(frames.shape, np.nan, np.float64 if frames.dtype.itemsize > 4 else np.float32)
    for frame, left in zip(frames, found, strict=True):
        inside = _inside(frame)
        left[inside] = frame[inside]
    return found


def _inside(frame: np.ndarray) -> tuple[slice, slice]:
    """What of a frame (H, W) lies within lines of one value; all, if that is too little."""
    everything = tuple(slice(0, size) for size in frame.shape)
    rows = _varied(frame)
    columns = _varied(frame[rows].T)
    shown = (rows.stop - rows.start) * (columns.stop - columns.start)
    return (rows, columns) if shown >= (1 - MOST) * frame.size else everything


def _varied(lines: np.ndarray) -> slice:
    """From the first of `lines` (n, m) to the last that has more than one value."""
    some = np.flatnonzero((lines != lines[:, :1]).any(axis=1))
    return slice(int(some[0]), int(some[-1]) + 1) if len(some) else slice(0, 0)


def filled_corners(image: np.ndarray) -> np.ndarray:
    """(H, W) bool: what lies at the border of an image, or next to such places, in squares of one value.

    So corners look that came in when an image was turned.
    """
    row = _runs(image[:, 1:] == image[:, :-1], 1)
    squares = sliding_window_view(row, SIDE, axis=0).all(axis=-1)
    squares &= _runs(image[1:] == image[:-1], 0)[:, : squares.shape[1]]
    height, width = squares.shape
    flat, found = np.zeros((2, *image.shape), bool)
    for y, x in np.ndindex(SIDE, SIDE):
        flat[y : y + height, x : x + width] |= squares
    found[[0, -1]], found[:, [0, -1]] = flat[[0, -1]], flat[:, [0, -1]]
    count = 0
    while count != (count := np.count_nonzero(found)):
        for one, other in (found[1:], found[:-1]), (found[:, 1:], found[:, :-1]):
            one |= other
            other |= one
        found &= flat
    return found


def _runs(equal: np.ndarray, axis: int) -> np.ndarray:
    """Whether as many neighbours as a square has along an axis are `equal`."""
    return sliding_window_view(equal, SIDE - 1, axis=axis).all(axis=-1)
