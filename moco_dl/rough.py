"""Whole-frame shifts of samples, found while the reference is made of them."""

from collections.abc import Callable

import numpy as np

from moco_dl.infer import Estimator
from moco_dl.reference import centred, mean_image
from moco_dl.samples import Move, Samples
from moco_dl.shifts import Expected, measure_expected

CLEAR = 30.0  # standard deviations of noise: frames whose peaks are higher tell by themselves where they are
LOOKED_AT = 20  # samples, from which it is seen whether they do
LEAST = 20  # samples, fewer of which do not show how far they usually move


class Rough:
    """Registers samples to one reference after another, see `Estimate`; dim ones by halves."""

    def __init__(self, register: Callable[..., Estimator], move: Move, mapping: Callable = map):
        """`register` makes of a reference (H, W), and of what is `expected`, what finds whole-frame shifts."""
        self._register, self._move, self._mapping = register, move, mapping
        self._clear: bool | None = None  # whether frames tell enough by themselves, as seen at first
        self._motion: np.ndarray | None = None  # of the samples so far
        self.expected: Expected | None = None  # None: they do

    def __call__(self, samples: Samples, reference: np.ndarray) -> np.ndarray:
        """Motion (n, 2, 1, 1) of samples, about its middle."""
        estimator = self._register(reference)
        if self._clear is None:
            self._clear = clear(samples, estimator, self._mapping)
            self._motion = np.zeros((len(samples), 2, 1, 1), np.float32)
        if self._clear:
            return centred(whole_shifts(samples, estimator, self._mapping))
        found, self.expected = by_halves(samples, self._motion, self._register, self._move, self._mapping)
        self._motion = centred(found)
        return self._motion


def by_halves(
    samples: Samples,
    motion: np.ndarray,
    register: Callable[..., Estimator],
    move: Move,
    mapping: Callable = map,
) -> tuple[np.ndarray, Expected]:
    """Motion (n, 2, 1, 1) of each half of n samples from the mean of the other, moved by their `motion` so far.

    And what shifts are expected. A frame's own noise is in the mean of all, and would hold it where it was put.
    For `register` see `Rough`.
    """
    first = np.ones(len(samples), bool)
    first[np.concatenate(samples.groups()[1::2])] = False
    halves = []
    for mine in (first, ~first):
        others = mean_image(samples.only(~mine), motion[~mine], move)
        halves.append((mine, samples.only(mine), others))
    seen = [relative(correlations(some, register(others), mapping)) for _, some, others in halves]
    expected, found = measure_expected(np.concatenate(seen)), np.empty_like(motion)
    for mine, some, others in halves:
        found[mine] = whole_shifts(some, register(others, expected=expected), mapping)
    return found, expected


def whole_shifts(samples: Samples, estimator: Estimator, mapping: Callable = map) -> np.ndarray:
    """(n, 2, 1, 1) of samples from the estimator's reference."""
    motion = [motion.rigid for motion in mapping(estimator, samples.chunks())]
    return np.concatenate(motion)[:, :, None, None]


def expected_shifts(samples: Samples, estimator: Estimator, mapping: Callable = map) -> Expected | None:
    """From a reference that samples are no part of, in px of the estimator's images; None: they tell enough."""
    if clear(samples, estimator, mapping):
        return None
    return measure_expected(relative(correlations(samples, estimator, mapping)))


def clear(samples: Samples, estimator: Estimator, mapping: Callable = map) -> bool:
    """Whether samples tell enough by themselves, or are too few to tell of one another."""
    if len(samples) < LEAST:
        return True
    some = samples.only(np.arange(len(samples)) % max(len(samples) // LOOKED_AT, 1) == 0)
    return bool(np.median(correlations(some, estimator, mapping).max(axis=(1, 2))) > CLEAR)


def correlations(samples: Samples, estimator: Estimator, mapping: Callable = map) -> np.ndarray:
    """(n, 2 my + 1, 2 mx + 1) of samples with the estimator's reference, see `RigidRegistration`."""
    return np.concatenate(list(mapping(estimator.correlations, samples.chunks())))


def relative(correlations: np.ndarray) -> np.ndarray:
    """Correlations (n, ny, nx) in standard deviations of each."""
    return correlations / np.maximum(correlations.std(axis=(1, 2), keepdims=True), 1e-12)
