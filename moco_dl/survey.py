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
from moco_dl.refinement.bend import Bends, composed, inverse
from moco_dl.refinement.nearer import GivenReference, bend_to, sizes
from moco_dl.rigid_survey import RigidSurvey, is_lost
from moco_dl.sampled.interleaved import taking_turns
from moco_dl.sampled.pattern import Pattern, fixed_pattern
from moco_dl.sampled.sample_shifts import walk_from, whole_shifts
from moco_dl.sampled.samples import Samples, chunks
from moco_dl.sampled.sampling import RigidFit, Sampling
from moco_dl.sampled.walk import Walk

PATTERN_PASSES = 2  # a detector's pattern is estimated this often, each time with better motion
GRAIN_PASSES = 10  # the same of fibres, which may hold most of the motion at first


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
    given: GivenReference | None  # what the plan's estimator is for, if a reference is given


@dataclass(frozen=True)
class Survey(RigidSurvey):
    """A first look at a movie."""

    def first_look(self, given: np.ndarray | None = None) -> FirstLook:
        """What the samples show; if a reference (H, W) is `given`, of their motion from that."""
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
        brought, alignment = self._aligned_to(given, cleared)
        if not self._confirms(alignment, cleared, brought):
            cleared = Cleared(None, samples, small, rigid)
            brought, alignment = self._aligned_to(given, cleared)
        pattern, samples, small, _ = cleared
        given = None if brought is None else brought.nearer
        if pattern is None or pattern.grain or not pattern.fringes:  # motion they may hold tells less of these
            alignment, samples, small = self._without_pattern(alignment, pattern, samples, small, given)
        reference, motion, walk = alignment
        estimator, image = self.estimator(reference, self.binning), reference
        if walk is not None:
            looking = self.rigid_estimator(self.smaller(reference)).expecting(walk.power)
            walk = replace(walk, look=lambda frames: looking.correlation_maps(binned(frames, self.factor)))
        to_given = None
        if self.network and given is not None:
            to_given = self._bend_to_given(samples, alignment)
            for which in chunks(np.arange(len(motion))):
                motion[which] = composed(motion[which], to_given)
            image = self._shown(samples, motion, self.move(given[None], to_given[None])[0])
        plan = Plan(
            image,
            estimator,
            replace(clearing, pattern=samples.pattern),
            walk=walk,
            apart=1 if self.options.quality == "best" else APART,
            binning=self.factor,
            background=self.background(rigid),
            bends=None if to_given is None else Bends(to_given),
            kinds=taking_turns(small),
            reach_of_shifts=0 if self.network else self._reach(small, reference, walk),
        )
        return FirstLook(plan, samples, replace(small, motion=motion), brought)

    def _aligned_to(
        self, given: np.ndarray | None, cleared: Cleared
    ) -> tuple[GivenReference | None, Alignment]:
        """A reference (H, W) that is given, brought nearer, and samples as they lie beside it."""
        rigid = cleared.rigid
        brought = None if given is None else self._given(cleared.small, given, rigid.carried)
        nearer = None if brought is None else brought.nearer
        return brought, self._aligned(cleared.samples, cleared.small, nearer, rigid, walking=rigid.carried)

    def _confirms(self, alignment: Alignment, cleared: Cleared, brought: GivenReference | None) -> bool:
        """Whether fringes that are seen by whole-frame shifts, if any, are seen by all that moves, too."""
        if cleared.pattern is None or not cleared.pattern.fringes or is_lost(alignment.walk):
            return True
        seen = self._seen(alignment, cleared.samples, None if brought is None else brought.nearer)
        again = fixed_pattern(
            replace(cleared.samples, motion=alignment.motion), seen, self.mapping, cleared.pattern
        )
        return again is None or cleared.pattern.lasts(again)

    def _seen(self, alignment: Alignment, samples: Samples, given: np.ndarray | None) -> np.ndarray:
        """(H, W) in the movie's unit, what aligned samples show."""
        return alignment.reference if given is None else self._shown(samples, alignment.motion, given)

    def _bend_to_given(self, samples: Samples, alignment: Alignment) -> np.ndarray:
        """(2, h, w) px, to a given reference from the middle of the samples that are aligned to it."""
        some = alignment.motion[self.enough(samples)]
        middle = (some - centred(some))[0]
        return inverse(np.zeros_like(middle) if is_lost(alignment.walk) else middle)

    def _without_pattern(
        self,
        alignment: Alignment,
        pattern: Pattern | None,
        samples: Samples,
        small: Samples,
        given: np.ndarray | None,
    ) -> tuple[Alignment, Samples, Samples]:
        """The same alignment, and samples, less a pattern of the detector if there is one.

        They may be without a `pattern` already.
        """
        for number in range(GRAIN_PASSES if self.network else 0):
            if is_lost(alignment.walk):  # what frames show elsewhere is not explained
                break
            if number == PATTERN_PASSES and not pattern.grain:
                break
            seen, before = self._seen(alignment, samples, given), pattern
            pattern = fixed_pattern(replace(samples, motion=alignment.motion), seen, self.mapping, before)
            if pattern is None:
                break
            samples = replace(samples, pattern=pattern.image)
            small = replace(small, pattern=self.smaller(pattern.image))
            if before is not None and not pattern.differs(before, seen):
                break
            alignment = self._aligned(samples, small, given, walking=alignment.walk is not None)
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

    def _given(self, small: Samples, image: np.ndarray, walking: bool) -> GivenReference:
        """What is given, brought near what samples show if it is far; see `bend_to` and `_aligned`."""
        first = self.smaller(image)
        estimator, as_it_is = self.rigid_estimator(first), GivenReference(image, image)
        if self.network is None:
            return as_it_is
        walk = walk_from(small, estimator, self.mapping, scale=self.factor, anyway=walking)
        shown, *_ = self.build_reference_at(*self._placed(small, estimator, walk), first)
        bend = bend_to(first, shown, [self.estimator(first, size) for size in sizes(first.shape)])
        if bend is None:
            return as_it_is
        (bend,) = self.enlarged(bend[None])
        return GivenReference(image, self.move(image[None], bend[None])[0], bend)

    def _aligned(
        self,
        samples: Samples,
        small: Samples,
        given: np.ndarray | None,
        rigid: RigidFit | None = None,
        *,
        walking: bool = False,
    ) -> Alignment:
        """Of samples to what is given, or to what they show; a rigid fit of small ones may be known.

        To what is given, samples may be `walking` though each shows by itself where it is.
        """
        if given is None:
            return self._aligned_to_own(samples, small, rigid or self.rigid_fit(small))
        looking = self.rigid_estimator(self.smaller(given))
        walk = walk_from(small, looking, self.mapping, scale=self.factor, anyway=walking)
        shifts = None if walk is None else self.factor * walk.found
        if self.network is None:
            return Alignment(given, None, walk)
        motion = self.motion(samples, self.estimator(given, self.binning), shifts)
        return Alignment(given, motion, walk)

    def _aligned_to_own(self, samples: Samples, small: Samples, rigid: RigidFit) -> Alignment:
        """The same, to a reference made of some samples.

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

    def _shown(self, samples: Samples, motion: np.ndarray, first: np.ndarray) -> np.ndarray:
        """What samples show (H, W), moved by their `motion` (n, 2, h, w); a reference is about as `first`."""
        some = self.enough(samples)
        return self.build_reference_at(samples.only(some), motion[some], first)[0]
