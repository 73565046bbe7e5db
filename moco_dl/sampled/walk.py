"""Whole-frame shifts of dim movies, each in the light of the frames around it.

Tissue is close to where it was a frame ago, but for a few jumps: where a frame does not show by itself where it
is, its neighbours do. A hidden Markov model, whose states are shifts by whole pixels (forward and backward
recursions; Rabiner, Proc. IEEE 77, 1989).
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from moco_dl.motion import Motion, run_slices
from moco_dl.sampled.expected import Expected, likelihoods, measure_expected, moments
from moco_dl.sampled.samples import chunks
from moco_dl.stream import Batch, Messages, surroundings

REACH = 8  # frames on either side that are looked at
FOUND = 0.8  # px by which shifts may be off, root mean square: the steps that follow make up for it
LOST = 0.5  # px by which fields may still be off then: more, and frames hardly show where they are
JUMPS = 0.02  # of the steps from a frame to the next, which may lead anywhere
STEPS = (0.7, 1.0, 1.4, 2.0, 2.8, 4.0, np.inf)  # px, to choose from


@dataclass(frozen=True)
class Walk:
    """How shifts follow one another, and what samples show of theirs; in px of the images that are compared."""

    expected: Expected
    samples: Messages  # likelihoods of shifts (ny, nx), by number
    found: np.ndarray | None = None  # (m, 2) px, expected shifts of the samples
    unsure: float = 0.0  # px, root mean square by which these are off
    power: np.ndarray | None = None  # (RINGS,) of frames, see `RigidRegistration`
    look: Callable[[np.ndarray], np.ndarray] | None = None  # frames (n, H, W) of the movie -> correlations
    scale: int = 1  # px of the movie
    reach = REACH  # see `Filter`

    @property
    def off(self) -> float:
        """px of the movie by which fields may be off, as frames do not show where they are."""
        return math.sqrt(max((self.scale * self.unsure) ** 2 - FOUND**2, 0))

    def alone(self, motion: Motion) -> Motion:
        """The `motion` of samples, if it is but this."""
        rows = None if motion.rows is None else np.zeros_like(motion.rows)
        return replace(motion, rigid=self.scale * self.found, flow=np.zeros_like(motion.flow), rows=rows)

    def announce(self, item: tuple[Batch, Messages]) -> tuple[Batch, Messages]:
        """See `Filter`; an item is a batch, and what its frames show."""
        return item

    def __call__(self, item: tuple[Batch, Messages], messages: Messages) -> Batch:
        """The batch with the shifts of its frames."""
        batch, _ = item
        rigid = self.scale * self.shifts(batch.numbers, messages)[0]
        return replace(batch, motion=replace(batch.motion, rigid=rigid))

    def seen(self, frames: np.ndarray) -> np.ndarray:
        """(n, ny, nx) likelihoods of the shifts of frames (n, H, W) of the movie."""
        return likelihoods(self.look(frames), self.expected.weight)

    def shifts(self, numbers: range, messages: Messages) -> tuple[np.ndarray, np.ndarray]:
        """Expected shifts (n, 2) px of consecutive frames, and mean squares (n, 2) by which they are off.

        `messages` are likelihoods of these frames and of those around them, as far as they are known. The
        result does not depend on how many frames are asked for.
        """
        near = self._near(numbers, messages)
        shares = self._before(near) * near[REACH:-REACH] * self._after(near)
        shares /= shares.sum(axis=(1, 2), keepdims=True)
        mean, squares = moments(shares)
        return mean.astype(np.float32), (squares - np.square(mean)).clip(0)

    def of_samples(self, mapping: Callable = map) -> tuple[np.ndarray, np.ndarray]:
        """The same of all samples (m,)."""
        found = mapping(lambda numbers: self.shifts(numbers, self.samples), self._stretches())
        return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))

    def log_likelihood(self, mapping: Callable = map) -> float:
        """Of what samples show, each after those before it; but for a constant."""

        def likelihood(numbers: range) -> float:
            near = self._near(numbers, self.samples)
            shown = (self._before(near) * near[REACH:-REACH]).sum(axis=(1, 2))
            return float(np.log(shown).sum(dtype=np.float64))

        return sum(mapping(likelihood, self._stretches()))

    def _stretches(self) -> Iterator[range]:
        """Numbers of samples that follow one another, a few at a time."""
        numbers = np.array(list(self.samples))
        for run in run_slices(numbers - np.arange(len(numbers))):
            yield from (range(some[0], some[-1] + 1) for some in chunks(numbers[run]))

    def _near(self, numbers: range, messages: Messages) -> np.ndarray:
        """(n + 2 REACH, ny, nx) likelihoods, 1 where nothing is known."""
        nothing = np.ones_like(next(iter(self.samples.values())))
        return surroundings(numbers, REACH, messages, nothing)[0]

    def _before(self, near: np.ndarray) -> np.ndarray:
        """(n, ny, nx) probabilities of shifts in the light of the REACH frames before each."""
        start = self.expected.probability(_limit(near)).astype(np.float32)
        return self._followed(start, _in_turn(near)[:REACH], lambda ways: ways)

    def _after(self, near: np.ndarray) -> np.ndarray:
        """(n, ny, nx) likelihoods, up to a factor, in the light of the REACH frames after each."""
        return self._followed(np.float32(1), _in_turn(near)[:REACH:-1], np.transpose)

    def _followed(self, found: np.ndarray, shown: np.ndarray, turned: Callable) -> np.ndarray:
        """What is known a frame after those `shown` (REACH, n, ny, nx), one after another."""
        ways = self.expected.transitions(_limit(shown))
        y, x = (turned(way.astype(np.float32)) for way in ways)
        for likely in shown:
            found = found * likely
            found /= found.sum(axis=(1, 2), keepdims=True)
            found = (1 - JUMPS) * (y @ found @ x.T) + JUMPS / likely[0].size
        return found


def _limit(images: np.ndarray) -> tuple[int, int]:
    """Largest shifts (my, mx) of images (..., 2 my + 1, 2 mx + 1) of them."""
    return images.shape[-2] // 2, images.shape[-1] // 2


def _in_turn(near: np.ndarray) -> np.ndarray:
    """(2 REACH + 1, n, ny, nx) of those `near` n frames (n + 2 REACH, ny, nx), from the first before each."""
    return np.moveaxis(sliding_window_view(near, len(near) - 2 * REACH, axis=0), -1, 1)


def measure_walk(
    correlations: np.ndarray,
    light: np.ndarray,
    numbers: np.ndarray,
    mapping: Callable = map,
    scale: int = 1,
) -> Walk:
    """From correlations of samples (n, 2 my + 1, 2 mx + 1) at all shifts, in standard deviations of noise.

    `light` (n,) is their brightness; `numbers` (n,) are theirs in the movie, in order; `scale` px of which
    are one of the images compared.
    """
    expected, best, most = measure_expected(correlations, light), None, -np.inf
    samples = dict(zip(numbers.tolist(), likelihoods(correlations, expected.weight), strict=True))
    for step in STEPS:
        walk = Walk(replace(expected, step=step), samples, scale=scale)
        likely = walk.log_likelihood(mapping)
        if likely < most:
            break
        best, most = walk, likely
    found, squares = best.of_samples(mapping)
    return replace(best, found=found, unsure=float(np.sqrt(squares.sum(axis=1).mean())))
