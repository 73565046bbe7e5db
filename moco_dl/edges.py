"""Edges of frames that show nothing: dead columns of a detector, or what another tool has filled.

They have one value. As they are no tissue, they would hold any estimate of motion.
"""

import numpy as np

from moco_dl.samples import Samples

GLANCED = 32  # samples
FEW = 0.1  # of these: frames of dark scenes may have lines of one value by chance
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
