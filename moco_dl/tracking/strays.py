"""Frames that show nothing of the scene: a closed shutter, another plane, a discharge all over.

Whatever shift such a frame is found to have is chance. It is taken to be where the frames around it are.
"""

from dataclasses import dataclass, replace

import numpy as np

from moco_dl.motion import Motion
from moco_dl.stream import Batch, Messages, messages_of, surroundings

REACH = 16  # frames on either side that are looked at
UNLIKE = 0.25  # of the reference's brightness: frames that have less, and do not fit, may show another scene
WELL = 1.5  # times the misfit that is usual for as little light, up to which frames fit well
FAR = 4.0  # standard deviations from where it is expected: it is not there
UNCLEAR = 2.0  # the same, if nothing of the scene is clear in it
CLOSE = 0.5  # px, nearer than which it may be anyway


@dataclass(frozen=True)
class Strays:
    """Filter of one movie."""

    middle: np.ndarray  # (2,) px, where frames are if nothing else is known
    spread: np.ndarray  # (2,) px, standard deviations about it
    step: np.ndarray  # (2,) px, standard deviations of how far frames move from one to the next
    reach = REACH  # see `Filter`

    def announce(self, batch: Batch) -> tuple[Batch, Messages]:
        """See `Filter`."""
        return batch, messages_of(batch, _telling(batch.motion), batch.motion.rigid)

    def __call__(self, batch: Batch, shifts: Messages) -> Batch:
        """`batch` with strays put where they are expected."""
        motion = batch.motion
        lost = np.flatnonzero(~motion.flagged & ~_telling(motion) & (motion.brightness < UNLIKE))
        if not len(lost):
            return batch
        near, known = surroundings(batch.numbers, self.reach, shifts, np.zeros(2, np.float32))
        rigid = motion.rigid.copy()
        for i in lost:
            window = slice(i, i + 2 * self.reach + 1)
            expected, deviation = self._expected(near[window], known[window])
            most = (FAR if motion.brightness[i] > 0 else UNCLEAR) * deviation
            if (np.abs(rigid[i] - expected) > np.maximum(most, CLOSE)).any():
                rigid[i] = expected
        return replace(batch, motion=replace(motion, rigid=rigid))

    def _expected(self, near: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where (2,) the frame in the middle is expected, and how far (2,) it may be from there.

        As of a random walk from one of those `near` (2 reach + 1, 2) that are `known` to the next.
        """
        places = np.flatnonzero(known) - self.reach
        before, after = places[places < 0], places[places > 0]
        if not len(places):
            return self.middle, self.spread
        if not len(before) or not len(after):
            place = places[np.abs(places).argmin()]
            return near[place + self.reach], self.step * np.sqrt(abs(place))
        first, last = before[-1], after[0]
        share = first / (first - last)
        expected = (1 - share) * near[first + self.reach] + share * near[last + self.reach]
        return expected, self.step * np.sqrt(share * last)


def measure_strays(motion: Motion, numbers: np.ndarray) -> Strays:
    """From the motion of samples, `numbers` (n,) in the movie."""
    telling = _telling(motion)
    shifts, numbers = motion.rigid[telling], numbers[telling]
    if not len(shifts):
        return Strays(np.zeros(2), np.full(2, np.inf), np.full(2, np.inf))
    middle = np.median(shifts, axis=0)
    steps = np.diff(shifts, axis=0)[np.diff(numbers) == 1]
    spread = _deviation(shifts - middle)
    return Strays(middle, spread, _deviation(steps) if len(steps) else spread)


def _telling(motion: Motion) -> np.ndarray:
    """(n,) bool: frames that are where they are found. Little brightness may fit anywhere, to a degree."""
    return motion.trusted & ((motion.brightness >= UNLIKE) | (motion.misfit <= WELL))


def _deviation(values: np.ndarray) -> np.ndarray:
    """(2,) root mean squares of values (n, 2)."""
    return np.sqrt(np.square(values).mean(axis=0))
