"""Whole-frame shifts of samples, found while the reference is made of them."""

from collections.abc import Callable, Sequence
from dataclasses import replace

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
    share = np.mean(np.abs(found - some.motion[:, :, 0, 0]).max(axis=1) > ELSEWHERE)
    return bool(share > SOME)


def walk_from(
    samples: Samples, estimator: Estimator, mapping: Callable, scale: int, *, anyway: bool = False
) -> Walk | None:
    """How samples walk about the estimator's reference, if they are dim, or `anyway`.

    For `scale` see `Walk`.
    """
    if not anyway and are_clear(samples, estimator, mapping):
        return None
    power = mean_power(samples, estimator, mapping)
    seen = correlation_maps(samples, estimator.expecting(power), mapping)
    return replace(measure_walk(seen, samples.light(), samples.numbers, mapping, scale), power=power)


def mean_power(samples: Samples, estimator: Estimator, mapping: Callable) -> np.ndarray:
    """(RINGS,) of some samples, see `RigidRegistration`."""
    some = samples.glanced(WEIGHED)
    return np.concatenate(list(mapping(estimator.power, some.chunks()))).mean(axis=0)


def walk_among_others(
    samples: Samples,
    first: np.ndarray,
    register: Callable[[np.ndarray], Estimator],
    move: Move,
    mapping: Callable,
    scale: int,
) -> tuple[np.ndarray, Walk]:
    """Shifts (n, 2, 1, 1) of dim samples about their middle, each part of them registered to all others.

    A frame's own noise is in the mean of all, and would hold it where it was put. If the mean of all as they
    are is too blurred to begin with, they are registered to `first` (H, W), which few frames tell of.
    `register` makes of a reference (H, W) what finds whole-frame shifts; for `scale` see `Walk`.
    """

    light, power = samples.light(), mean_power(samples, register(first), mapping)

    def filtering(reference: np.ndarray) -> Estimator:
        return register(reference).expecting(power)

    def followed(seen: np.ndarray) -> Walk:
        return replace(measure_walk(seen, light, samples.numbers, mapping, scale), power=power)

    def passed(before: Walk | None) -> tuple[Walk, np.ndarray, bool]:
        """Walk, correlations (n,) at its shifts, and whether it is about that of before."""
        motion = np.zeros((len(samples), 2, 1, 1), np.float32) if before is None else _middled(before)
        seen = correlation_maps_with_others(samples, motion, filtering, move, mapping)
        walk = followed(seen)
        change = np.sqrt(2 * np.square(_middled(walk) - motion).mean())
        return walk, _at(walk.found, seen), change <= SETTLED

    walk, usual, settled = passed(passed(None)[0])
    if not settled:
        other, heights, settled = passed(followed(correlation_maps(samples, filtering(first), mapping)))
        if _surely(heights - usual):
            walk = other
            for _ in range(PASSES):
                if settled:
                    break
                walk, _, settled = passed(walk)
    return _middled(walk), walk


def agree_better(
    samples: Samples,
    motions: Sequence[np.ndarray],
    references: Sequence[np.ndarray],
    register: Callable[[np.ndarray], Estimator],
    move: Move,
    mapping: Callable,
) -> bool:
    """Whether samples agree surely better with one another by the second of two motions (n, 2, 1, 1).

    What either of the references made by them lacks is taken for activity.
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
    return _surely(other - usual)


def _surely(gain: np.ndarray) -> bool:
    """Whether a mean gain (n,) is no chance."""
    return bool(gain.mean() > SURE * gain.std() / np.sqrt(len(gain)))


def _middled(walk: Walk) -> np.ndarray:
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
