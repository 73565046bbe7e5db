"""Channels and planes that take turns in one file."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Turn:
    """One of several channels, or planes."""

    number: int  # from 1
    of: int | None = None  # None: of as many as the file says

    def among(self, kind: str, count: int) -> int:
        """Its place, from 0, among `count`; raises ValueError if there is no such one."""
        if self.of not in (None, count):
            raise ValueError(f"has {count} {kind}s, not {self.of}: leave out /{self.of}")
        if self.number > count == 1:
            raise ValueError(f"has one {kind}: leave out --{kind} {self.number}")
        if self.number > count:
            raise ValueError(f"has {count} {kind}s, not {self.number}: choose --{kind} 1 to {count}")
        return self.number - 1


Turns = dict[str, Turn | None]  # of "channel" and "plane"
AXES = {"channel": "C", "plane": "Z"}


def along_axes(axes: str, shape: Sequence[int], turns: Turns) -> tuple[np.ndarray, Turns]:
    """Numbers of the frames that are wanted of images with `axes` and `shape`, without height and width.

    And what is left of `turns`, as there is no axis for it. Axes are named as in OME; where only one is left,
    it is that of the movie, whatever its name. Raises ValueError, with what is wrong and the way out, if a
    channel or plane is to be chosen and is not, or does not exist.
    """
    numbers, left = np.arange(math.prod(shape)).reshape(shape), dict(turns)
    for kind, name in AXES.items():
        axis, turn = axes.find(name), turns[kind]
        of_the_file = turn is not None and turn.of is None
        if axis < 0 or not (of_the_file or (shape[axis] > 1 and _several(numbers))):
            continue
        if turn is None:
            raise ValueError(
                f"has {shape[axis]} {kind}s; wanted one: choose it (--{kind} 1 to {shape[axis]}), or split it"
            )
        numbers, left[kind] = numbers.take([turn.among(kind, shape[axis])], axis), None
    if _several(numbers):
        raise ValueError("wanted one axis of frames: split the file")
    return numbers.ravel(), left


def _several(numbers: np.ndarray) -> bool:
    return sum(size > 1 for size in numbers.shape) > 1


def in_turn(count: int, turns: Turns) -> slice:
    """Which of `count` frames are wanted if channels take turns fastest, then planes (as ImageJ orders them).

    Raises ValueError if it is not known how many there are, or they do not divide the frames.
    """
    first, cycle = 0, 1
    for kind, turn in turns.items():
        if turn is None:
            continue
        if turn.of is None:
            raise ValueError(
                f"does not say how many {kind}s it has: say it, --{kind} {turn.number}/2 if two take turns"
            )
        first += cycle * turn.among(kind, turn.of)
        cycle *= turn.of
    if count % cycle:
        raise ValueError(f"holds {count} frames, which {cycle} that take turns do not divide: leave none over")
    return slice(first, None, cycle)
