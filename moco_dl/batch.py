"""What flows through the stream: a few consecutive frames and their motion."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import numpy as np

DOUBTFUL = 2.5  # times the usual misfit: a corrupt frame; unusual motion or activity stays far below

Arrays = TypeVar("Arrays")  # a dataclass of arrays (n, ...), or None
Item = TypeVar("Item")


@dataclass(frozen=True)
class Motion:
    """Displacement of n frames: `rigid` plus `flow` interpolated from its coarse grid (see `fields.py`).

    While it is being estimated, what differs from row to row stands apart in `rows`.
    """

    rigid: np.ndarray  # (n, 2) float32 px, in the end the mean displacement
    flow: np.ndarray  # (n, 2, h, w) px, the rest; float32, or float16 once it is quantised as it is stored
    flagged: np.ndarray  # (n,) bool: not judged, identity
    rows: np.ndarray | None = None  # (n, 2, h) float32 px, or None: part of flow
    unseen: np.ndarray | None = None  # (n,) bool: flow is not known yet, and zero; None: all are known
    misfit: np.ndarray | None = None  # (n,) float32, difference from the reference over the usual one
    brightness: np.ndarray | None = None  # (n,) of the reference's detail in them, 0: none; after the last step

    def total(self) -> np.ndarray:
        """(n, 2, h, w): all parts added."""
        rows = 0 if self.rows is None else self.rows[..., None]
        return self.rigid[:, :, None, None] + self.flow + rows

    @property
    def trusted(self) -> np.ndarray:
        """(n,) bool: frames that were judged and fit; after the last step."""
        return ~self.flagged & (self.misfit <= DOUBTFUL)

    def merged(self, dtype: np.dtype) -> "Motion":
        """The same with `rows` put into `flow`, which gets this dtype."""
        flow = self.flow if self.rows is None else self.flow + self.rows[..., None]
        return replace(self, flow=flow.astype(dtype), rows=None)

    def stored(self) -> dict[str, np.ndarray]:
        """What a field file holds of merged motion."""
        misfit = np.full(len(self.rigid), np.nan, np.float32) if self.misfit is None else self.misfit
        return {"rigid": self.rigid, "flow": self.flow, "flagged": self.flagged, "misfit": misfit}


@dataclass(frozen=True)
class Batch:
    """Frames `start`... of a movie, (n, H, W), and their motion."""

    start: int
    frames: np.ndarray
    motion: Motion
    notes: object = None  # what was noted of corrected frames, see `Corrector.batches`
    clipped: int = 0  # pixels of raw frames beyond the range of the type that frames were given

    def less(self, constant: np.ndarray | float) -> "Batch":
        """The same with a `constant` (2, h, w) px taken off the flow of frames that are not flagged."""
        judged = ~self.motion.flagged[:, None, None, None]
        return replace(self, motion=replace(self.motion, flow=self.motion.flow - judged * constant))

    @property
    def stop(self) -> int:
        return self.start + len(self.frames)

    @property
    def numbers(self) -> range:
        """Of its frames, in the movie."""
        return range(self.start, self.stop)


@dataclass(frozen=True)
class Equations:
    """Normal equations of n frames in the 2 m unknowns of a Refiner, and how well the frames fit so far.

    Both right-hand sides are for the whole row motion and for what is left of the shift.
    """

    left: np.ndarray  # (n, 2 m) float64: right-hand sides for what is left of the tissue's displacement
    whole: np.ndarray  # (n, 2 m): for all of it
    misfit: np.ndarray  # (n,) float32: mean square difference from the reference, over the expected variance
    brightness: np.ndarray  # (n,) float32, of the reference's detail in each, 0: none
    soft: np.ndarray  # (n,) share of white noise's variance that moving left in each
    grain: np.ndarray  # (n, bands) of white noise in each, see `graininess`
    # (n, h, w) float32, share of each cell that the frame has no data for, where `whole` tells of the motion so
    # far; None: it tells of the most probable motion there.
    missing: np.ndarray | None = None


def joined(parts: Iterable[Arrays]) -> Arrays:
    """Motion, equations or samples of the frames of all parts."""
    first, *others = parts
    columns = {name: [x, *(getattr(part, name) for part in others)] for name, x in vars(first).items()}
    return type(first)(**{name: None if x[0] is None else np.concatenate(x) for name, x in columns.items()})


def chosen(whole: Arrays, which: slice | np.ndarray) -> Arrays:
    """Motion, equations or samples of some frames."""
    return type(whole)(**{name: None if x is None else x[which] for name, x in vars(whole).items()})


def run_slices(runs: np.ndarray) -> list[slice]:
    """Where each run is; `runs` (n,) says which a frame belongs to."""
    starts = np.flatnonzero(np.diff(runs, prepend=runs[0] - 1)).tolist()
    return [slice(*ends) for ends in zip(starts, [*starts[1:], len(runs)], strict=True)]


def closed_up(numbers: np.ndarray, reach: int) -> np.ndarray:
    """Places (n,), from 0, of frames of increasing numbers (n,); long gaps are `reach` frames long."""
    return np.cumsum(np.minimum(np.diff(numbers, prepend=numbers[0]), reach + 1))


Given = dict[int, np.ndarray]  # what frames give to those around them, by number


def shifts_of(batch: Batch, which: np.ndarray) -> Given:
    """Whole-frame shifts (2,) px of the frames that are said (n,) to tell of others, by number."""
    return {batch.start + int(i): batch.motion.rigid[i] for i in np.flatnonzero(which)}


class Filter(Protocol[Item]):
    """What makes a batch of an item, given what the frames around it tell.

    Items `give` as they come; once the frames that are needed on both sides have, it is called with them.
    """

    reach: int  # frames on either side that are needed

    def gives(self, item: Item) -> tuple[Batch, Given]:
        """The batch that an item stands for, and what its frames give to others."""

    def __call__(self, item: Item, given: Given) -> Batch:
        """What becomes of it; `given` is that of its own frames, too."""


def filtered(items: Iterable[Item], filtering: Filter[Item], mapping: Callable = map) -> Iterator[Batch]:
    """Batches that `filtering` makes of items, some frames late.

    `mapping` is `map`, or does the same with several threads.
    """
    return mapping(lambda item: filtering(*item), late(items, filtering))


def late(items: Iterable[Item], filtering: Filter[Item]) -> Iterator[tuple[Item, Given]]:
    """What `filtering` is to be called with, for each item, once all that it needs is known."""
    reach, given = filtering.reach, {}
    waiting: deque[tuple[Item, Batch]] = deque()

    def first() -> tuple[Item, Given]:
        item, batch = waiting.popleft()
        for number in [number for number in given if number < batch.start - reach]:
            del given[number]
        return item, {number: value for number, value in given.items() if number < batch.stop + reach}

    for item in items:
        last, more = filtering.gives(item)
        waiting.append((item, last))
        given.update(more)
        while waiting and waiting[0][1].stop + reach <= last.stop:
            yield first()
    while waiting:
        yield first()


def surroundings(
    numbers: range, reach: int, given: Given, nothing: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What the frames from `reach` before some to `reach` after them give, and which of these (m,) give it.

    `nothing` stands for what others would give.
    """
    numbers = range(numbers.start - reach, numbers.stop + reach)
    return np.stack([given.get(n, nothing) for n in numbers]), np.array([n in given for n in numbers])


def frames_alike(there: np.ndarray) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
    """Lags at which frames know of others, and which frames do so.

    `there` (n, 2 reach + 1): what of the frames around each is known.
    """
    for pattern in np.unique(there, axis=0):
        lags = np.flatnonzero(pattern) - len(pattern) // 2
        if len(lags):
            yield tuple(lags.tolist()), np.flatnonzero((there == pattern).all(axis=1))
