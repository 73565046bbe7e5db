"""What is known of the samples of a movie, and steps that find what the network leaves."""

import math
from dataclasses import dataclass, field, replace

import numpy as np

from moco_dl.blocks import binned
from moco_dl.motion import Arrays, Equations, Motion, concatenate, take
from moco_dl.refinement.equations import linearise
from moco_dl.refinement.refine import Refiner
from moco_dl.tracking.track import Tracker


@dataclass(frozen=True)
class Step:
    """A Gauss-Newton step."""

    tracker: Tracker
    motion: Motion  # of the samples before it
    equations: Equations  # of the samples, at that motion
    last: bool = False  # what frames have no data for is filled then: see `Tracker.filled`

    @property
    def refiner(self) -> Refiner:
        """What compares frames with the reference."""
        return self.tracker.refiner

    @property
    def unsure(self) -> float:
        """px by which whole frames' shifts are off by what each frame tells, root mean square along an axis."""
        return math.sqrt(2 * self.tracker.prior.noise / max(self.refiner.shown, 1e-30))

    def linearised(self, frames: np.ndarray, motion: Motion) -> Equations:
        """What frames (n, H, W), which are no samples, tell at their motion so far."""
        if (binning := self.refiner.binning) > 1:
            frames = binned(frames, binning)
        equations = linearise(frames, motion, self.refiner)
        if self.last:
            return self.tracker.filled(equations, motion)
        return replace(equations, missing=None)


@dataclass(frozen=True)
class KnownSamples:
    """What the network has seen of the samples, so that it need not look at them again."""

    places: dict[int, int] = field(default_factory=dict)  # of frames among the samples, by number
    motion: Motion | None = None  # of the samples, as the network sees it

    def places_of(self, numbers: range) -> np.ndarray:
        """(n,) of frames among the samples; -1 if they are none."""
        return np.array([self.places.get(number, -1) for number in numbers])


def completed(new: Arrays, known: Arrays, places: np.ndarray) -> Arrays:
    """Motion or equations of frames (n,), those at `places` of `known`, the others `new` ones."""
    order = np.argsort(places >= 0, kind="stable")  # new ones first
    both = concatenate((new, take(known, places[places >= 0])))
    return take(both, np.argsort(order))
