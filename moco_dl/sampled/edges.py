"""What shows nothing in frames: dead columns, what another tool has filled, what surrounds a round view, and
what is burnt in, a scale bar or a text.

It has one value. As it is no tissue, it would hold any estimate of motion.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from moco_dl.masks import at_border, spread
from moco_dl.sampled.samples import Samples, chunks

GLANCED = 32  # samples
FEW = 0.1  # of these: frames of dark scenes may have lines of one value by chance
SIDE = 5  # px, of squares that have one value in what is filled, and in nothing else
MOST = 1 / 3  # of a frame: with more, it is left as it is
BURNT = 0.1  # the same for what is burnt in
LEAST = 9  # pixels of that which are as bright as anything: fewer are hot ones, see `spikes.py`
SURE = 16  # samples, in fewer of which the brightest pixel may be the same by chance
HIDDEN = 0.7  # of a frame, less of which may be hidden in all: a small round view is mostly surround


@dataclass(frozen=True)
class Edges:
    """What shows nothing in the frames of a movie."""

    filled: bool  # lines along the edges, of one value each
    hidden: np.ndarray | None = None  # (H, W) bool, what always shows nothing of the tissue; None: nothing

    def __bool__(self) -> bool:
        return self.filled or self.hidden is not None

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Frames (n, H, W) as floats with NaN there; as they are, if there is nothing of either kind."""
        if self.filled:
            frames = blank_edges(frames)
        elif self:
            frames = floats(frames)
        if self.hidden is not None:
            frames[:, self.hidden] = np.nan
        return frames

    @property
    def share(self) -> float:
        """Of frames that is hidden."""
        return 0.0 if self.hidden is None else float(self.hidden.mean())

    def hiding(self, more: np.ndarray) -> "Edges":
        """These, and `more` (H, W) bool that is hidden."""
        return replace(self, hidden=more if self.hidden is None else self.hidden | more)


NONE = Edges(filled=False)


def measure_edges(samples: Samples) -> Edges:
    """Of samples as recorded."""
    frames = samples.frames[samples.places[:: max(len(samples) // GLANCED, 1)]]
    filled = [_inside(frame) != _everything(frame) for frame in frames]
    return Edges(bool(np.mean(filled) > FEW), _hidden(samples, frames))


def _hidden(samples: Samples, some: np.ndarray) -> np.ndarray | None:
    """(H, W) bool: what has the same value in all samples, and lies next to squares at the border of which this
    is true, too, or next to what is as bright as anything.

    Some frames (n, H, W) are looked at before all are.
    """
    same, most = (some == some[0]).all(axis=0), np.fmax.reduce(some, axis=None)
    if len(samples) < 2 or not (_at_edges(same).any() or _burnt(same, some[0], most).any()):
        return None
    for which in chunks(samples.places):
        frames = samples.frames[which]
        same, most = same & (frames == some[0]).all(axis=0), np.fmax(most, np.fmax.reduce(frames, axis=None))
    hidden = _at_edges(same)
    if len(samples) >= SURE and (burnt := _burnt(same, some[0], most)).mean() < BURNT:
        hidden = hidden | burnt
    return hidden if 0 < hidden.mean() < HIDDEN else None


def _at_edges(same: np.ndarray) -> np.ndarray:
    """What of `same` (H, W) lies in squares at the border, or next to these."""
    if not (same[[0, -1]].any() or same[:, [0, -1]].any()):
        return np.zeros_like(same)
    squares = _runs(_runs(same, 1, SIDE), 0, SIDE)  # by their first corners
    return spread(at_border(_covered(squares)), same)  # along a round edge, squares do not fit


def _burnt(same: np.ndarray, frame: np.ndarray, most: float) -> np.ndarray:
    """What of `same` (H, W) has the largest value, or lies next to such places: a text has a box around it."""
    bright = same & (frame == most)
    return spread(bright, same) if bright.sum() >= LEAST else np.zeros_like(same)


def blank_edges(frames: np.ndarray) -> np.ndarray:
    """Frames (n, H, W) as floats with NaN in the lines along their edges that have one value."""
    found = np.full_like(floats(frames[:0]), np.nan, shape=frames.shape)
    for frame, left in zip(frames, found, strict=True):
        inside = _inside(frame)
        left[inside] = frame[inside]
    return found


def floats(frames: np.ndarray) -> np.ndarray:
    """A copy, in float32 or, of 64 bits, float64."""
    return frames.astype(np.float64 if frames.dtype.itemsize > 4 else np.float32)


def _everything(frame: np.ndarray) -> tuple[slice, slice]:
    return tuple(slice(0, size) for size in frame.shape)


def _inside(frame: np.ndarray) -> tuple[slice, slice]:
    """What of a frame (H, W) lies within lines of one value; all, if that is too little."""
    rows = _varied(frame)
    columns = _varied(frame[rows].T)
    shown = (rows.stop - rows.start) * (columns.stop - columns.start)
    return (rows, columns) if shown >= (1 - MOST) * frame.size else _everything(frame)


def _varied(lines: np.ndarray) -> slice:
    """From the first of `lines` (n, m) to the last that has more than one value."""
    some = np.flatnonzero((lines != lines[:, :1]).any(axis=1))
    return slice(int(some[0]), int(some[-1]) + 1) if len(some) else slice(0, 0)


def filled_corners(image: np.ndarray) -> np.ndarray:
    """(H, W) bool: what lies at the border of an image, or next to such places, in squares of one value.

    So corners look that came in when an image was turned.
    """
    rows = _runs(image[:, 1:] == image[:, :-1], 1, SIDE - 1)
    squares = _runs(rows, 0, SIDE)
    squares &= _runs(image[1:] == image[:-1], 0, SIDE - 1)[:, : squares.shape[1]]
    return at_border(_covered(squares))


def _runs(these: np.ndarray, axis: int, length: int) -> np.ndarray:
    """Whether so many along an axis are all of `these` (H, W) bool, by the first of them."""
    return sliding_window_view(these, length, axis=axis).all(axis=-1)


def _covered(squares: np.ndarray) -> np.ndarray:
    """(H, W) bool: what lies in `squares` (H - SIDE + 1, W - SIDE + 1) bool, given by their first corners."""
    height, width = squares.shape
    flat = np.zeros((height + SIDE - 1, width + SIDE - 1), bool)
    for y, x in np.ndindex(SIDE, SIDE):
        flat[y : y + height, x : x + width] |= squares
    return flat
