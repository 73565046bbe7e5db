"""Whole-frame shifts of samples, found while the reference is made of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from moco_dl.infer import Estimator
from moco_dl.reference import centred, divided, summed
from moco_dl.sampled.samples import Move, Samples
from moco_dl.sampled.walk import Walk, measure_walk

CLEAR = 30.0  # standard deviations of noise: frames whose peaks are higher tell by themselves where they are
LOOKED_AT = 20  # samples, from which it is seen whether they do
SURELY = 10.0  # the same, of peaks far away: noise makes up to 5
FARTHER = 1.3  # times the highest peak nearby, too: frames that are near have none that is higher
SOME = 0.05  # of the samples
ELSEWHERE = 3.0  # px: more, and it is not the same peak
WEIGHED = 40  # samples, of which the power is measured
LEAST = 20  # samples, fewer of which do not show how far they usually move
SETTLED = 0.5  # px, root mean square by which a second pass moves samples that the first has placed well
PASSES = 4  # more, if they begin elsewhere, at most
SURE = 3.0  # standard errors by which samples must agree better if they begin elsewhere


def whole_shifts(samples: Samples, estimator: Estimator, mapping: Callable) -> np.ndarray:
    """(n, 2, 1, 1) of samples from the estimator's reference, each for itself."""
    motion = [motion.rigid for motion in mapping(estimator, samples.chunks())]
    return np.concatenate(motion)[:, :, None, None]


def are_clear(samples: Samples, estimator: Estimator, mapping: Callable) -> bool:
    """Whether samples tell enough by themselves, or are too few to tell of one another."""
    if len(samples) < LEAST:
        return True
    return bool(
        np.median(correlation_maps(samples.glanced(LOOKED_AT), estimator, mapping).max(axis=(1, 2))) > CLEAR
    )


def lie_beyond(samples: Samples, limit: float, estimator: Estimator, mapping: Callable) -> bool:
    """Whether some samples are clearly farther than `limit` px from the estimator's reference."""
    seen = correlation_maps(samples.glanced(LOOKED_AT), estimator, mapping)
    y, x = (np.abs(np.arange(size) - size // 2) <= limit for size in seen.shape[1:])
    highest, nearby = (part.max(axis=(1, 2)) for part in (seen, seen[:, y][:, :, x]))
    return bool(np.mean((highest > SURELY) & (highest > FARTHER * nearby)) > SOME)


def correlation_maps(samples: Samples, estimator: Estimator, mapping: Callable = map) -> np.ndarray:
    """(n, 2 my + 1, 2 mx + 1) of samples with the estimator's reference, see `RigidRegistration`."""
    return np.concatenate(list(mapping(estimator.correlation_maps, samples.chunks())))


def lie_elsewhere(samples: Samples, estimator: Estimator, mapping: Callable) -> bool:
    """Whether some are not where their motion (n, 2, 1, 1) says; the estimator takes activity for noise."""
    if len(samples) < LEAST:
        return False
    some = samples.glanced(LOOKED_AT)
    seen = correlation_maps(some, estimator, mapping)
    highest = seen.reshape(len(seen), -1).argmax(axis=1)
    found = np.stack(np.unravel_index(highest, seen.shape[1:]), axis=1) - np.array(seen.shape[1:]) // 2
    return are_apart(found, some.motion[:, :, 0, 0])


def are_apart(shifts: np.ndarray, others: np.ndarray) -> bool:
    """Whether two kinds of shifts (n, 2) px put some samples at different places."""
    return bool(np.mean(np.abs(shifts - others).max(axis=1) > ELSEWHERE) > SOME)


def mean_power(samples: Samples, estimator: Estimator, mapping: Callable) -> np.ndarray:
    """(RINGS,) of some samples, see `RigidRegistration`."""
    some = samples.glanced(WEIGHED)
    return np.concatenate(list(mapping(estimator.power, some.chunks()))).mean(axis=0)


@dataclass(frozen=True)
class AmongOthers:
    """Dim samples that are found in the light of one another, each part of them registered to all others.

    A frame's own noise is in the mean of all, and would hold it where it was put.
    """

    samples: Samples
    register: Callable[[np.ndarray], Estimator]  # makes of a reference (H, W) what finds whole-frame shifts
    move: Move
    mapping: Callable
    scale: int  # see `Walk`

    def walk(self, first: np.ndarray) -> Walk:
        """How they walk. If the mean of all as they are is too blurred to begin with, they are registered to a
        `first` reference (H, W), which few frames tell of."""
        power = mean_power(self.samples, self.register(first), self.mapping)
        walk, _, _ = self._passed(np.zeros((len(self.samples), 2, 1, 1), np.float32), power)
        walk, usual, settled = self._passed(middled(walk), power)
        if not settled:
            looking = self.register(first).expecting(power)
            begun = self._followed(correlation_maps(self.samples, looking, self.mapping), power)
            other, heights, settled = self._passed(middled(begun), power)
            if _in_errors(heights - usual) > SURE:
                walk = other
                for _ in range(PASSES):
                    if settled:
                        break
                    walk, _, settled = self._passed(middled(walk), power)
        return walk

    def walk_from(self, shifts: np.ndarray, reference: np.ndarray) -> Walk:
        """The same, if they begin at shifts (n, 2, 1, 1). What a reference (H, W) lacks is activity."""
        power = mean_power(self.samples, self.register(reference), self.mapping)
        walk, _, settled = self._passed(shifts, power)
        return walk if settled else self._passed(middled(walk), power)[0]

    def _passed(self, motion: np.ndarray, power: np.ndarray) -> tuple[Walk, np.ndarray, bool]:
        """Walk, correlations (n,) at its shifts, and whether it is about the motion (n, 2, 1, 1) before."""

        def looking(reference: np.ndarray) -> Estimator:
            return self.register(reference).expecting(power)

        seen = correlation_maps_with_others(self.samples, motion, looking, self.move, self.mapping)
        walk = self._followed(seen, power)
        change = np.sqrt(2 * np.square(middled(walk) - motion).mean())
        return walk, _at(walk.found, seen), change <= SETTLED

    def _followed(self, seen: np.ndarray, power: np.ndarray) -> Walk:
        walk = measure_walk(seen, self.samples.light(), self.samples.numbers, self.mapping, self.scale)
        return replace(walk, power=power)


def gain_in_agreement(
    samples: Samples,
    motions: Sequence[np.ndarray],
    references: Sequence[np.ndarray],
    register: Callable[[np.ndarray], Estimator],
    move: Move,
    mapping: Callable,
) -> float:
    """How much better samples agree with one another by the second of two motions (n, 2, 1, 1).

    In standard errors. What either of the references made by them lacks is taken for activity.
    """
    estimators = list(map(register, references))
    power = mean_power(samples, estimators[0], mapping)
    clutter = np.maximum(*(estimator.clutter_of(power) for estimator in estimators))

    def heights(motion: np.ndarray) -> np.ndarray:
        seen = correlation_maps_with_others(
            samples, motion, lambda reference: register(reference).through(clutter), move, mapping
        )
        limit = np.array(seen.shape[1:]) // 2
        return _at(motion[:, :, 0, 0].clip(-limit, limit), seen)

    usual, other = map(heights, motions)
    return _in_errors(other - usual)


def _in_errors(gain: np.ndarray) -> float:
    """A mean gain (n,), in standard errors."""
    return float(gain.mean() / max(gain.std() / np.sqrt(len(gain)), 1e-12))


def middled(walk: Walk) -> np.ndarray:
    """Its shifts (n, 2, 1, 1) about their middle."""
    return centred(walk.found[:, :, None, None])


def _at(shifts: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Correlations (n,) at shifts (n, 2) px, of those `seen` (n, 2 my + 1, 2 mx + 1)."""
    y, x = np.rint(shifts).astype(int).T + np.array(seen.shape[1:])[:, None] // 2
    return seen[np.arange(len(seen)), y, x]


def correlation_maps_with_others(
    samples: Samples,
    motion: np.ndarray,
    register: Callable[[np.ndarray], Estimator],
    move: Move,
    mapping: Callable = map,
) -> np.ndarray:
    """Of each part of n samples with the mean of all others, moved by their `motion` (n, 2, 1, 1)."""
    parts = samples.parts()
    sums = list(mapping(lambda part: summed(samples.only(part), motion[part], move), parts))
    total, count = (sum(each) for each in zip(*sums, strict=True))

    def seen(item: tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        part, (mine, known) = item
        return correlation_maps(samples.only(part), register(divided(total - mine, count - known)))

    return np.concatenate(list(mapping(seen, zip(parts, sums, strict=True))))
