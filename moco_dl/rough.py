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
    """Registers samples to one reference after another, see `Estimate`.

    In dim movies, each half is registered to the mean of the other. A frame's own noise is in the mean of all,
    and would hold it wherever it was put; so would a first image of few frames.
    """

    def __init__(self, register: Callable[..., Estimator], move: Move, mapping: Callable = map):
        """`register` makes of a reference (H, W), and of what is `expected`, what finds whole-frame shifts."""
        self._register, self._move, self._mapping = register, move, mapping
        self._clear: bool | None = None  # whether frames tell enough by themselves
        self._motion: np.ndarray | float = 0.0  # of the samples so far, if they don't
        self.expected: Expected | None = None  # None: they do

    def __call__(self, samples: Samples, reference: np.ndarray) -> np.ndarray:
        """Motion (n, 2, 1, 1) of samples, about its middle."""
        estimator = self._register(reference)
        if self._clear is None:
            self._clear = clear(samples, estimator, self._mapping)
        if self._clear:
            return centred(self._shifts(samples, estimator))
        self._motion = centred(self._crossed(samples))
        return self._motion

    def _crossed(self, samples: Samples) -> np.ndarray:
        motion = np.zeros((len(samples), 2, 1, 1), np.float32) + self._motion
        first = np.ones(len(samples), bool)
        first[np.concatenate(samples.groups()[1::2])] = False
        halves = []
        for mine in (first, ~first):
            others = mean_image(samples.only(~mine), motion[~mine], self._move)
            halves.append((mine, samples.only(mine), others))
        seen = [relative(correlations(some, self._register(mean), self._mapping)) for _, some, mean in halves]
        self.expected = measure_expected(np.concatenate(seen))
        for mine, some, mean in halves:
            motion[mine] = self._shifts(some, self._register(mean, expected=self.expected))
        return motion

    def _shifts(self, samples: Samples, estimator: Estimator) -> np.ndarray:
        motion = [motion.rigid for motion in self._mapping(estimator, samples.chunks())]
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
