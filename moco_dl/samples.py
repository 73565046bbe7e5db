"""Frames that stand for a whole movie: its reference and what its motion is like are found from them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from moco_dl.batch import chosen
from moco_dl.errors import NrcorrectError

RUN = 10  # consecutive frames of a run, averaged before the median, so that dim movies keep their light
SHORT = 5  # the same if not all frames are taken: the middle position needs many places
LEAST_RUNS = 4  # for a median over runs
PARTS = 10  # of the samples; what is made of all but one has nine tenths of their light
TOGETHER = 2**19  # pixels of samples that are added at a time
CHUNK = 16  # samples that a thread takes at a time
SPREAD = (1e-4, 1e12)  # standard deviations within a frame that float32 can be trusted with

# (frames (n, H, W), motion (n, 2, h, w)) -> frames (n, H, W) float32, NaN where there is no data.
Move = Callable[[np.ndarray, np.ndarray], np.ndarray]


def sample_runs(frames: int, count: int) -> list[range]:
    """About `count` frame numbers of a movie of `frames`: runs of consecutive ones, spread evenly.

    All frames, cut into runs of 10, if the movie is not longer than `count`; else runs of 5. Runs shorten to
    single frames if `count` is small.
    """
    length = min(RUN if frames <= count else SHORT, max(1, count // 10))
    if frames <= count:
        return [range(start, min(start + length, frames)) for start in range(0, frames, length)]
    starts = np.linspace(0, frames - length, max(1, count // length)).round().astype(int)
    return [range(start, start + length) for start in starts.tolist()]


def usable(frames: np.ndarray) -> np.ndarray:
    """`(n,)` bool: False for frames (n, H, W) that are empty, constant, saturated or mostly not finite."""
    return np.array([not why_unusable(frame) for frame in frames], bool)


def why_unusable(frame: np.ndarray) -> str:
    """Why nothing can be told from a frame (H, W): "not finite", "saturated", "empty", "constant", or ""."""
    if frame.dtype.kind == "f":
        finite = frame[np.isfinite(frame)]
        if finite.size <= frame.size / 2:
            return "not finite"
        low, high, top = finite.min(), finite.max(), np.inf
    else:
        low, high, top = frame.min(), frame.max(), np.iinfo(frame.dtype).max
    if high == top and np.count_nonzero(frame == high) > frame.size / 2:
        return "saturated"
    if low == high:
        return "empty" if low == 0 else "constant"
    return ""


@dataclass(frozen=True)
class Samples:
    """Usable frames sampled from a movie, and what is known of them."""

    frames: np.ndarray  # (n, H, W), native dtype
    runs: np.ndarray  # (n,) number of the run of consecutive frames each belongs to
    numbers: np.ndarray  # (n,) of the frames in the movie
    motion: np.ndarray | None = None  # (n, 2, h, w) float32 px relative to the reference

    def groups(self) -> list[np.ndarray]:
        """Places of the samples of each run; of each sample alone, if there are few runs."""
        runs = self.runs if len(np.unique(self.runs)) >= LEAST_RUNS else np.arange(len(self.runs))
        return [np.flatnonzero(runs == run) for run in np.unique(runs)]

    def some(self, count: int) -> np.ndarray:
        """(n,) bool: about so many of them, runs from all over the movie."""
        runs = np.unique(self.runs)
        number = min(max(round(len(runs) * count / len(self.runs)), 1), len(runs))
        return np.isin(self.runs, runs[np.linspace(0, len(runs) - 1, number).round().astype(int)])

    def only(self, which: np.ndarray) -> "Samples":
        """Those that are wanted (n,); itself if all are: indexing copies, and samples are most of what is in
        memory."""
        return self if which.all() else chosen(self, which)

    def parts(self) -> list[np.ndarray]:
        """Places of the samples of up to PARTS parts, each of some in a row."""
        return np.array_split(np.arange(len(self.runs)), min(PARTS, len(self.runs)))


def draw_samples(read: Callable[[list[int]], np.ndarray], runs: Sequence[range]) -> Samples:
    """Read the frames of `runs` and keep those that are usable.

    Raises NrcorrectError if none is.
    """
    numbers = np.concatenate(runs)
    frames = read(numbers.tolist())
    which = np.repeat(np.arange(len(runs)), [len(run) for run in runs])
    good = usable(frames)
    if not good.any():
        raise NrcorrectError("no usable frame to build a reference from: all are empty, constant or saturated")
    if frames.dtype.kind == "f":
        _refuse_extremes(frames[good])
    return Samples(frames, which, numbers).only(good)


def _refuse_extremes(frames: np.ndarray) -> None:
    spread = max(float(np.nanstd(frame.astype(np.float64), where=np.isfinite(frame))) for frame in frames)
    if not SPREAD[0] <= spread <= SPREAD[1]:
        raise NrcorrectError(
            f"pixel values vary by {spread:.0e}; wanted between {SPREAD[0]:.0e} and {SPREAD[1]:.0e}:"
            " multiply the movie by a constant"
        )


def chunks(frames: np.ndarray) -> Iterator[np.ndarray]:
    """Frames (n, ...), a few at a time."""
    return (frames[i : i + CHUNK] for i in range(0, len(frames), CHUNK))
