"""The first look at a movie: samples of its frames, the reference, and how the samples roughly move from it."""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from moco_dl.blocks import binned, repeated
from moco_dl.fringed import Cleared, without_fringes
from moco_dl.infer import Estimator
from moco_dl.plan import APART, Plan
from moco_dl.reference import centred
from moco_dl.refinement.bend import composed, inverse
from moco_dl.refinement.nearer import GivenReference, bend_to, sizes
from moco_dl.rigid_survey import RigidSurvey, is_lost
from moco_dl.sampled.interleaved import taking_turns
from moco_dl.sampled.pattern import Pattern, fixed_pattern
from moco_dl.sampled.sample_shifts import whole_shifts
from moco_dl.sampled.samples import Samples, chunks
from moco_dl.sampled.sampling import RigidFit, Sampling
from moco_dl.sampled.walk import Walk

PATTERN_PASSES = 2  # a detector's pattern is estimated this often, each time with better motion
GRAIN_PASSES = 10  # the same of fibres, which may hold most of the motion at first
ASKED = 48  # samples, beside a reference that is given


class Alignment(NamedTuple):
    """A reference, and how samples lie beside it."""

    reference: np.ndarray  # (H, W) float32
    motion: np.ndarray | None  # (n, 2, h, w) px of the samples from it; None: there is no network
    walk: Walk | None  # how small samples walk, if they are dim


class FirstLook(NamedTuple):
    """What samples of a movie show."""

    plan: Plan  # as far as it follows from them
    samples: Samples
    small: Samples  # averaged over `Survey.factor` pixels a side; with their motion, if there is a network
    given: GivenReference | None  # None, too: rigid only


@dataclass(frozen=True)
class Survey(RigidSurvey):
    """A first look at a movie."""

    def first_look(self, given: np.ndarray | None = None) -> FirstLook:
        """What the samples show; of a reference (H, W) that is `given`, too."""
        sampling = Sampling(self.movie, self.options, self.factor, self.mapping)
        (clearing, samples, small), rigid, surrounded = sampling.draw(self.rigid_fit)
        other = self.reaching_better(small, rigid)
        if other is not None:
            return other.first_look(given)
        if given is not None and surrounded:
            given = sampling.without_surround(given)
        clearing, given = clearing.of_given(given)
        cleared = Cleared(None, samples, small, rigid)
        if self.network and not is_lost(rigid.walk):
            cleared = without_fringes(self, self.rigid_fit, cleared)
        alignment = self._aligned(cleared.samples, cleared.small, cleared.rigid)
        if not self._confirms(alignment, cleared):
            cleared = Cleared(None, samples, small, rigid)
            alignment = self._aligned(samples, small, rigid)
        pattern, samples, small, _ = cleared
        if pattern is None or pattern.grain or not pattern.fringes:  # motion they may hold tells less of these
            alignment, samples, small = self._without_pattern(alignment, pattern, samples, small)
        reference, motion, walk = alignment
        estimator, shift = self.estimator(reference, self.binning), None
        if walk is not None:
            looking = self.rigid_estimator(self.smaller(reference)).expecting(walk.power)
            walk = replace(walk, look=lambda frames: looking.correlation_maps(binned(frames, self.factor)))
        brought = None
        if given is not None and self.network is not None:
            brought = self._brought(given, alignment, samples)
        elif given is not None:
            reference, shift = given, self._shifted(given, alignment, small)
        plan = Plan(
            reference,
            estimator,
            replace(clearing, pattern=samples.pattern),
            walk=walk,
            apart=1 if self.options.quality == "best" else APART,
            binning=self.factor,
            background=self.background(rigid),
            to_given=shift,
            kinds=taking_turns(small),
            reach_of_shifts=0 if self.network else self._reach(small, alignment.reference, walk),
        )
        return FirstLook(plan, samples, replace(small, motion=motion), brought)

    def _confirms(self, alignment: Alignment, cleared: Cleared) -> bool:
        """Whether fringes that are seen by whole-frame shifts, if any, are seen by all that moves, too."""
        if cleared.pattern is None or not cleared.pattern.fringes or is_lost(alignment.walk):
            return True
        moved = replace(cleared.samples, motion=alignment.motion)
        again = fixed_pattern(moved, alignment.reference, self.mapping, cleared.pattern)
        return again is None or cleared.pattern.lasts(again)

    def _without_pattern(
        self,
        alignment: Alignment,
        pattern: Pattern | None,
        samples: Samples,
        small: Samples,
    ) -> tuple[Alignment, Samples, Samples]:
        """The same alignment, and samples, less a pattern of the detector if there is one.

        They may be without a `pattern` already.
        """
        for number in range(GRAIN_PASSES if self.network else 0):
            if is_lost(alignment.walk):  # what frames show elsewhere is not explained
                break
            if number == PATTERN_PASSES and not pattern.grain:
                break
            seen, before = alignment.reference, pattern
            pattern = fixed_pattern(replace(samples, motion=alignment.motion), seen, self.mapping, before)
            if pattern is None:
                break
            samples = replace(samples, pattern=pattern.image)
            small = replace(small, pattern=self.smaller(pattern.image))
            if before is not None and not pattern.differs(before, seen):
                break
            alignment = self._aligned(samples, small, self.rigid_fit(small))
        return alignment, samples, small

    def _reach(self, samples: Samples, reference: np.ndarray, walk: Walk | None) -> int:
        """px by which samples are shifted at most."""
        return math.ceil(np.abs(self._placed(samples, self.rigid_estimator(reference), walk)[1]).max())

    def _placed(self, samples: Samples, estimator: Estimator, walk: Walk | None) -> tuple[Samples, np.ndarray]:
        """Those of which a reference is made, all if they walk; and their shifts (n, 2, 1, 1)."""
        if walk is not None:
            return samples, walk.found[:, :, None, None]
        some = samples.only(self.enough(samples))
        return some, whole_shifts(some, estimator, self.mapping)

    def _brought(self, given: np.ndarray, alignment: Alignment, samples: Samples) -> GivenReference:
        """What is given, and roughly how it is displaced; see `bend_to`.

        Once it is near, the network sees that in single samples, on average: cells that flash are in few.
        """
        reference, motion, walk = alignment
        first = self.smaller(given)
        looks = [self.estimator(first, size) for size in sizes(first.shape)]
        bend = bend_to(first, self.smaller(reference), looks)
        bend = None if bend is None else self.enlarged(bend[None])
        near = given if bend is None else self.move(given[None], bend)[0]
        looking = self.estimator(near, self.binning)
        (found,) = looking(reference[None]).total()
        if not is_lost(walk):
            some = samples.some(ASKED)
            few, shift = replace(samples, motion=motion).only(some), found.mean(axis=(1, 2))

            def total(which: np.ndarray) -> np.ndarray:
                moved = self.move(few[which], few.motion[which])
                return looking(moved, shifts=np.tile(shift, (len(moved), 1))).total().sum(axis=0)

            found = sum(self.mapping(total, chunks(np.arange(len(few))))) / np.float32(len(few))
        begun = inverse(found.astype(np.float32))
        return GivenReference(given, begun if bend is None else composed(bend, begun)[0], bend is not None)

    def _shifted(self, given: np.ndarray, alignment: Alignment, samples: Samples) -> np.ndarray:
        """(2,) px, shift from what is given to what samples show where their whole frames are found."""
        placed = self._placed(samples, self.rigid_estimator(alignment.reference), alignment.walk)
        shown, *_ = self.build_reference_at(*placed, alignment.reference)
        return self.rigid_estimator(given)(shown[None]).rigid[0]

    def _aligned(self, samples: Samples, small: Samples, rigid: RigidFit) -> Alignment:
        """Of samples to a reference made of some of them, whose rigid fit is known.

        Motion is found on `small` ones first. Not only because it is faster: in dim movies, averages show more
        than details.
        """
        factor = self.factor
        reference, some, whole, walk, *_ = rigid
        shifts = None if walk is None else whole
        if self.network is None:
            return Alignment(reference, None, walk)
        few = samples.only(some)
        motion = self.enlarged(self.motion(small, self.estimator(reference), shifts))
        reference = repeated(reference, factor, self.movie.shape[1:])
        reference, used, _ = self.build_reference_at(few, centred(motion[some]), reference)
        if factor > 1 and self.options.quality == "best":
            motion = self.motion(
                samples, self.estimator(reference), None if shifts is None else factor * shifts
            )
            reference, used, _ = self.build_reference_at(few, centred(motion[some]), reference)
        # Less what those that were used have in common.
        return Alignment(reference, motion + (used - motion[some])[0], walk)
