"""Batches of consecutive frames with their motion, and filters that look at the frames around each."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import numpy as np

from moco_dl.motion import Motion

Item = TypeVar("Item")


@dataclass(frozen=True)
class Batch:
    """Frames `start`... of a movie, (n, H, W), and their motion."""

    start: int
    frames: np.ndarray
    motion: Motion
    notes: object = None  # what was noted of corrected frames, see `Corrector.batches`
    clipped: int = 0  # pixels of raw frames beyond the range of the type that frames were given

    def less(self, constant: np.ndarray) -> "Batch":
        """The same with a `constant` (2, h, w) px taken off the motion of frames that are not flagged."""
        judged, shift = ~self.motion.flagged[:, None, None, None], constant.mean(axis=(1, 2))
        rigid = self.motion.rigid - judged[:, :, 0, 0] * shift
        flow = self.motion.flow - judged * (constant - shift[:, None, None])
        return replace(self, motion=replace(self.motion, rigid=rigid, flow=flow))

    @property
    def stop(self) -> int:
        return self.start + len(self.frames)

    @property
    def numbers(self) -> range:
        """Of its frames, in the movie."""
        return range(self.start, self.stop)


Messages = dict[int, np.ndarray]  # what frames tell those around them, by their own number


def messages_of(batch: Batch, which: np.ndarray, told: np.ndarray) -> Messages:
    """What some of its frames tell, `which` (n,) bool, of what is `told` (n, ...)."""
    return {batch.start + int(i): told[i] for i in np.flatnonzero(which)}


class Filter(Protocol[Item]):
    """What makes a batch of an item and the messages of the frames around it.

    Items `announce` theirs as they come; it is called once the frames that are needed on both sides have.
    """

    reach: int  # frames on either side that are needed

    def announce(self, item: Item) -> tuple[Batch, Messages]:
        """The batch that an item stands for, and the messages of its frames."""

    def __call__(self, item: Item, messages: Messages) -> Batch:
        """What becomes of the item; `messages` are those of its own frames, too."""


def filter_batches(items: Iterable[Item], filtering: Filter[Item], mapping: Callable = map) -> Iterator[Batch]:
    """Batches that `filtering` makes of items, some frames late.

    `mapping` is `map`, or does the same with several threads.
    """
    return mapping(lambda item: filtering(*item), with_messages(items, filtering))


def with_messages(items: Iterable[Item], filtering: Filter[Item]) -> Iterator[tuple[Item, Messages]]:
    """Each item with the messages that `filtering` needs for it, once all of them are known."""
    reach, messages = filtering.reach, {}
    waiting: deque[tuple[Item, Batch]] = deque()

    def first() -> tuple[Item, Messages]:
        item, batch = waiting.popleft()
        for number in [number for number in messages if number < batch.start - reach]:
            del messages[number]
        return item, {number: value for number, value in messages.items() if number < batch.stop + reach}

    for item in items:
        last, more = filtering.announce(item)
        waiting.append((item, last))
        messages.update(more)
        while waiting and waiting[0][1].stop + reach <= last.stop:
            yield first()
    while waiting:
        yield first()


def surroundings(
    numbers: range, reach: int, messages: Messages, nothing: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Messages (m, ...) of the frames from `reach` before some to `reach` after them, and which (m,) have any.

    `nothing` stands for those of the others.
    """
    numbers = range(numbers.start - reach, numbers.stop + reach)
    return np.stack([messages.get(n, nothing) for n in numbers]), np.array([n in messages for n in numbers])


def frames_alike(there: np.ndarray) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
    """Lags at which frames know of others, and which frames do so.

    `there` (n, 2 reach + 1): what of the frames around each is known.
    """
    for pattern in np.unique(there, axis=0):
        lags = np.flatnonzero(pattern) - len(pattern) // 2
        if len(lags):
            yield tuple(lags.tolist()), np.flatnonzero((there == pattern).all(axis=1))


def gathered(parts: Iterable[tuple[int, dict[str, np.ndarray]]], count: int) -> dict[str, np.ndarray]:
    """Arrays (count, ...) of parts: number of the first frame, and arrays (n, ...) by name.

    Parts are not kept, so that memory holds but the whole.
    """
    whole: dict[str, np.ndarray] = {}
    for start, part in parts:
        for name, values in part.items():
            if name not in whole:
                whole[name] = np.empty((count, *values.shape[1:]), values.dtype.newbyteorder("="))
            whole[name][start : start + len(values)] = values
    return whole
