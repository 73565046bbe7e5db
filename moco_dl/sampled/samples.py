"""Frames that stand for a whole movie: its reference and what its motion is like are found from them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from threading import Lock

import numpy as np

from moco_dl.blocks import thumbnails
from moco_dl.motion import Motion, run_slices, take
from moco_dl.sampled.unlit import unlit
from moco_dl.sampled.usable import refuse_unusable, why_unusable

RUN = 10  # consecutive frames of a run, averaged before the median, so that dim movies keep their light
SHORT = 5  # the same if not all frames are taken: the middle position needs many places
LEAST_RUNS = 4  # for a median over runs
PARTS = 10  # of the samples; what is made of all but one has nine tenths of their light
TOGETHER = 2**19  # pixels of samples that are added at a time
STRIPED = 5.0  # times the variance that columns of a pattern have by chance
CHUNK = 16  # samples that a thread takes at a time

Read = Callable[[list[int]], np.ndarray]  # numbers of frames -> these (n, H, W)
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


class Frames:
    """Sampled frames, of which the first are kept in memory; the others are read whenever they are wanted."""

    def __init__(self, kept: np.ndarray, numbers: np.ndarray, read: Read):
        """`kept` (k, H, W), `numbers` (n,) of all in the movie, from which `read` reads them."""
        self._kept, self._numbers, self._read = kept, numbers, read
        self._turn = Lock()  # files are not for more than one thread

    def __getitem__(self, places: np.ndarray) -> np.ndarray:
        """Frames (m, H, W) at places (m,) among the samples."""
        kept = places < len(self._kept)
        if kept.all():
            return self._kept[places]
        frames = np.empty((len(places), *self._kept.shape[1:]), self._kept.dtype)
        frames[kept] = self._kept[places[kept]]
        with self._turn:
            frames[~kept] = self._read(self._numbers[places[~kept]].tolist())
        return frames


@dataclass(frozen=True)
class Samples:
    """Usable frames sampled from a movie, and what is known of them."""

    frames: Frames | np.ndarray  # (N, H, W), some of which are not among these samples
    places: np.ndarray  # (n,) of these samples among the frames
    runs: np.ndarray  # (n,) number of the run of consecutive frames each belongs to
    numbers: np.ndarray  # (n,) of the frames in the movie
    motion: np.ndarray | None = None  # (n, 2, h, w) float32 px relative to the reference
    pattern: np.ndarray | None = None  # (H, W) float32 that adds to all frames, see `pattern.py`

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, which: slice | np.ndarray) -> np.ndarray:
        """Frames (m, H, W) of some samples, less their pattern."""
        return less_pattern(self.frames[self.places[which]], self.pattern)

    @property
    def striped(self) -> bool:
        """Whether columns of the pattern differ by more than chance makes of its pixels."""
        return self.pattern is not None and bool(
            self.pattern.mean(axis=0).var() > STRIPED * self.pattern.var() / len(self.pattern)
        )

    def chunks(self) -> Iterator[np.ndarray]:
        """All frames (n, H, W), a few at a time."""
        return (self[some] for some in chunks(np.arange(len(self))))

    def thumbnails(self) -> np.ndarray:
        """(n, pixels) of each, averaged down; see `blocks.py`."""
        return np.concatenate([thumbnails(frames) for frames in self.chunks()]).reshape(len(self), -1)

    def light(self) -> np.ndarray:
        """(n,) brightness of each: the mean of its middle half, which a bright body is not in."""
        small = self.thumbnails()
        quarter = small.shape[1] // 4
        return np.sort(small, axis=1)[:, quarter : small.shape[1] - quarter].mean(axis=1, dtype=np.float64)

    def groups(self) -> list[np.ndarray]:
        """Places of the samples of each run; of each sample alone, if there are few runs."""
        runs = self.runs if len(np.unique(self.runs)) >= LEAST_RUNS else np.arange(len(self))
        return [np.flatnonzero(runs == run) for run in np.unique(runs)]

    def stretches(self) -> list[slice]:
        """Places of samples that follow one another in the movie."""
        return run_slices(self.numbers - np.arange(len(self)))

    def some(self, count: int) -> np.ndarray:
        """(n,) bool: about so many of them, runs from all over the movie."""
        runs = np.unique(self.runs)
        number = min(max(round(len(runs) * count / len(self)), 1), len(runs))
        return np.isin(self.runs, runs[np.linspace(0, len(runs) - 1, number).round().astype(int)])

    def glanced(self, count: int) -> "Samples":
        """About so many of them, evenly spread, or all if they are fewer than twice as many."""
        return self.only(np.arange(len(self)) % max(len(self) // count, 1) == 0)

    def only(self, which: np.ndarray) -> "Samples":
        """Those that are wanted (n,); frames are not copied."""
        each = {name: getattr(self, name) for name in ("places", "runs", "numbers", "motion")}
        return replace(self, **{name: x if x is None else x[which] for name, x in each.items()})

    def parts(self) -> list[np.ndarray]:
        """Places of the samples of up to PARTS parts, each of some in a row."""
        return np.array_split(np.arange(len(self)), min(PARTS, len(self)))


def about_mean(frames: np.ndarray, axes: int | tuple[int, int]) -> np.ndarray:
    """Frames (n, H, W) less their means along some axes, float32; where they have no data, zero."""
    known = np.isfinite(frames)
    values = np.where(known, frames, 0).astype(np.float32)
    values -= values.sum(axis=axes, keepdims=True) / np.maximum(known.sum(axis=axes, keepdims=True), 1)
    return np.where(known, values, 0)


def less_pattern(frames: np.ndarray, pattern: np.ndarray | None) -> np.ndarray:
    """Frames (n, H, W) less a pattern (H, W) that adds to all of them, None: as they are."""
    return frames if pattern is None else frames - pattern


def draw_samples(
    read: Read,
    runs: Sequence[range],
    kept: int,
    shrunk: Callable[[np.ndarray], np.ndarray] | None = None,
    mapping: Callable = map,
    cleared: Callable[[np.ndarray], np.ndarray] | None = None,
) -> tuple[Samples, Samples]:
    """The frames of `runs` that are usable and lit, about `kept` in memory; and `shrunk`, all in memory.

    `cleared` makes of frames (n, H, W), once they are found usable, what is looked at of them, `shrunk` of
    these as many others; None: the same. `mapping` is `map`, or does the same with several threads. Raises
    NrcorrectError if no frame is usable, or if values of most are too small or too large.
    """
    numbers, which = np.concatenate(runs), np.repeat(np.arange(len(runs)), [len(run) for run in runs])
    large, small, cleared = None, None, cleared or (lambda frames: frames)

    def parts() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        nonlocal large, small
        for places in chunks(np.arange(len(numbers))):
            frames = read(numbers[places].tolist())
            if large is None:
                first = cleared(frames[:1])
                large = _room(min(-(-kept // CHUNK) * CHUNK, len(numbers)), first)
                small = None if shrunk is None else _room(len(numbers), shrunk(first))
            yield places, frames

    def look(part: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        places, frames = part
        words, tiny = np.array([why_unusable(frame) for frame in frames]), thumbnails(frames)
        frames = cleared(frames)
        if places[0] < len(large):
            large[places] = frames
        if small is not None:
            small[places] = shrunk(frames)
        return words, tiny

    words, tiny = (np.concatenate(each) for each in zip(*mapping(look, parts()), strict=True))
    refuse_unusable(words, lambda place: read([int(numbers[place])])[0])
    good = words == ""
    good[good] = ~unlit(tiny[good])
    large, small = (each if each is None or good.all() else each[good[: len(each)]] for each in (large, small))
    frames = Frames(large, numbers[good], lambda numbers: cleared(read(numbers)))
    samples = Samples(frames, np.arange(good.sum()), which[good], numbers[good])
    return samples, samples if small is None else replace(samples, frames=small)


def without_infinite(frames: np.ndarray) -> np.ndarray:
    """Frames with NaN for what is infinite."""
    infinite = np.isinf(frames) if frames.dtype.kind == "f" else np.zeros(0, bool)
    return np.where(infinite, np.nan, frames) if infinite.any() else frames


def _room(count: int, like: np.ndarray) -> np.ndarray:
    """For so many frames of a size and type."""
    return np.empty((count, *like.shape[1:]), like.dtype)


def mean_length(motion: Motion, other: Motion) -> float:
    """Mean length, px, of what displacements differ by from others."""
    return float(np.concatenate([some.mean(axis=(1, 2)) for some in _apart(motion, other)]).mean())


def share_beyond(length: float, motion: Motion, other: Motion) -> float:
    """Share of displacements, of all frames and places, that differ from others by more than `length` px."""
    return float(np.concatenate([(some > length).mean(axis=(1, 2)) for some in _apart(motion, other)]).mean())


def _apart(motion: Motion, other: Motion) -> Iterator[np.ndarray]:
    """(n, h, w) px by which displacements differ, a few frames at a time."""
    for some in chunks(np.arange(len(motion.rigid))):
        yield np.hypot(*(take(motion, some).total() - take(other, some).total()).swapaxes(0, 1))


def pixel_chunks(places: np.ndarray, size: int) -> list[np.ndarray]:
    """Places (n,) of frames of `size` pixels, as many at a time as are added together."""
    together = max(TOGETHER // size, 1)
    return np.split(places, range(together, len(places), together))


def chunks(values: np.ndarray) -> Iterator[np.ndarray]:
    """Values (n, ...), a few at a time."""
    return (values[i : i + CHUNK] for i in range(0, len(values), CHUNK))
