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
        self._motion: np.ndarray | None = None  # of the samples so far, if they are dim
        self.expected: Expected | None = None  # None: frames tell enough by themselves

    def __call__(self, samples: Samples, reference: np.ndarray) -> np.ndarray:
        """Motion (n, 2, 1, 1) of samples, about its middle."""
        if self._motion is None:
            step = max(len(samples) // LOOKED_AT, 1)
            some = samples.only(np.arange(len(samples)) % step == 0)
            if len(samples) < LEAST or self._correlations(some, reference)[1] > CLEAR:
                return centred(self._shifts(samples, self._register(reference)))
            self._motion = np.zeros((len(samples), 2, 1, 1), np.float32)
        self._motion = centred(self._crossed(samples))
        return self._motion

    def _crossed(self, samples: Samples) -> np.ndarray:
        second = np.zeros(len(samples), bool)
        second[np.concatenate(samples.groups()[1::2])] = True
        halves = [(samples.only(half), self._motion[half]) for half in (second, ~second)]
        means = [mean_image(half, motion, self._move) for half, motion in halves]
        mine = [half for half, _ in reversed(halves)]
        seen = [self._correlations(*pair)[0] for pair in zip(mine, means, strict=True)]
        self.expected = measure_expected(np.concatenate(seen))
        motion = np.empty_like(self._motion)
        for half, some, mean in zip((~second, second), mine, means, strict=True):
            motion[half] = self._shifts(some, self._register(mean, expected=self.expected))
        return motion

    def _correlations(self, samples: Samples, reference: np.ndarray) -> tuple[np.ndarray, float]:
        return correlations(samples, self._register(reference), self._mapping)

    def _shifts(self, samples: Samples, estimator: Estimator) -> np.ndarray:
        motion = [motion.rigid for motion in self._mapping(estimator, samples.chunks())]
        return np.concatenate(motion)[:, :, None, None]


def correlations(samples: Samples, estimator: Estimator, mapping: Callable = map) -> tuple[np.ndarray, float]:
    """Of n samples with the estimator's reference at all shifts (n, 2 my + 1, 2 mx + 1), in standard deviations
    of each; and by how many of noise alone they usually rise."""
    found = np.concatenate(list(mapping(estimator.correlations, samples.chunks())))
    clear = float(np.median(found.max(axis=(1, 2))))
    return found / np.maximum(found.std(axis=(1, 2), keepdims=True), 1e-12), clear


def expected_shifts(samples: Samples, estimator: Estimator, mapping: Callable = map) -> Expected | None:
    """From a reference that samples are no part of, in px of the estimator's images; None: they tell enough."""
    if len(samples) < LEAST:
        return None
    found, clear = correlations(samples, estimator, mapping)
    return None if clear > CLEAR else measure_expected(found)
