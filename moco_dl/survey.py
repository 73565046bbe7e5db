"""The first look at a movie: samples of its frames, the reference, and how the samples roughly move from it."""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from moco_dl.blocks import binned
from moco_dl.fringed import without_fringes
from moco_dl.plan import APART, Bends, Plan
from moco_dl.reference import centred, first_reference
from moco_dl.refinement.bend import composed, inverse
from moco_dl.refinement.nearer import GivenReference, bend_to, sizes
from moco_dl.sampled.alike import mean_agreement
from moco_dl.sampled.interleaved import taking_turns
from moco_dl.sampled.pattern import Pattern, fixed_pattern
from moco_dl.sampled.sample_shifts import are_clear, lie_beyond, walk_among_others, walk_from, whole_shifts
from moco_dl.sampled.samples import Samples, chunks
from moco_dl.sampled.sampling import RigidFit, Sampling
from moco_dl.sampled.walk import LOST, Walk
from moco_dl.view import View

PATTERN_PASSES = 2  # a detector's pattern is estimated this often, each time with better motion
GRAIN_PASSES = 10  # the same of fibres, which may hold most of the motion at first
FARTHER, NEARER = 3.0, (1 / 2, 1 / 3)  # times the usual limit of shifts, if frames lie beyond that
RIGID_PASSES = 2  # the reference is estimated this often from rigidly registered samples


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
class Survey(View):
    """A first look at a movie."""

    def reaching(self, times: float) -> "Survey":
        """The same, looking for shifts that are so many times as large."""
        farther = times * self.options.farthest(self.movie.shape[1:])
        return replace(self, options=replace(self.options, max_shift=farther))

    def first_look(self, given: np.ndarray | None = None) -> FirstLook:
        """What the samples show; if a reference (H, W) is `given`, of their motion from that."""
        sampling = Sampling(self.movie, self.options, self.factor, self.mapping)
        samples, small, rigid, clearing, surrounded = sampling.draw(self._rigid_fit)
        other = self._reaching_better(small, rigid)
        if other is not None:
            return other.first_look(given)
        if given is not None and surrounded:
            given = sampling.without_surround(given)
        pattern = None
        if self.network and not _lost(rigid.walk):
            pattern, samples, small, rigid = without_fringes(self, self._rigid_fit, samples, small, rigid)
        brought = None if given is None else self._given(small, given)
        given = None if brought is None else brought.nearer
        alignment = self._aligned(samples, small, given, rigid)
        if pattern is None or pattern.grain or not pattern.fringes:  # motion they may hold tells less of these
            alignment, samples, small = self._without_pattern(alignment, pattern, samples, small, given)
        reference, motion, walk = alignment
        estimator, image = self.estimator(reference, self.binning), reference
        if walk is not None:
            looking = self.rigid_estimator(self.smaller(reference))
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
            bends=None if to_given is None else Bends(to_given),
            kinds=taking_turns(small),
            reach_of_shifts=0 if self.network else self._reach(small, reference, walk),
        )
        return FirstLook(plan, samples, replace(small, motion=motion), brought)

    def _bend_to_given(self, samples: Samples, alignment: Alignment) -> np.ndarray:
        """(2, h, w) px, to a given reference from the middle of the samples that are aligned to it."""
        some = alignment.motion[self.enough(samples)]
        middle = (some - centred(some))[0]
        return inverse(np.zeros_like(middle) if _lost(alignment.walk) else middle)

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
            if _lost(alignment.walk):  # what frames show elsewhere is not explained
                break
            if number == PATTERN_PASSES and not pattern.grain:
                break
            seen = alignment.reference
            if given is not None:
                seen = self._shown(samples, alignment.motion, given)  # in the movie's unit
            before = pattern
            pattern = fixed_pattern(replace(samples, motion=alignment.motion), seen, self.mapping, before)
            if pattern is None:
                break
            samples = replace(samples, pattern=pattern.image)
            small = replace(small, pattern=self.smaller(pattern.image))
            if before is not None and not pattern.differs(before, seen):
                break
            alignment = self._aligned(samples, small, given)
        return alignment, samples, small

    def _reach(self, samples: Samples, reference: np.ndarray, walk: Walk | None) -> int:
        """px by which samples are shifted at most."""
        if walk is None:
            some = samples.only(self.enough(samples))
            shifts = whole_shifts(some, self.rigid_estimator(reference), self.mapping)
        else:
            shifts = walk.found
        return math.ceil(np.abs(shifts).max())

    def _given(self, small: Samples, image: np.ndarray) -> GivenReference:
        """What is given, brought near what samples show if it is far; see `bend_to`."""
        first = self.smaller(image)
        estimator, as_it_is = self.rigid_estimator(first), GivenReference(image, image)
        if self.network is None:
            return as_it_is
        walk = walk_from(small, estimator, self.mapping, scale=self.factor)
        if walk is None:
            some = small.only(self.enough(small))
            shifts = whole_shifts(some, estimator, self.mapping)
        else:
            some, shifts = small, walk.found[:, :, None, None]
        shown, *_ = self.build_reference_at(some, shifts, first)
        bend = bend_to(first, shown, [self.estimator(first, size) for size in sizes(first.shape)])
        if bend is None:
            return as_it_is
        (bend,) = self.enlarged(bend[None])
        return GivenReference(image, self.move(image[None], bend[None])[0], bend)

    def _aligned(
        self, samples: Samples, small: Samples, given: np.ndarray | None, rigid: RigidFit | None = None
    ) -> Alignment:
        """Of samples to what is given, or to what they show; a rigid fit of small ones may be known."""
        if given is None:
            return self._aligned_to_own(samples, small, rigid or self._rigid_fit(small))
        walk = walk_from(small, self.rigid_estimator(self.smaller(given)), self.mapping, scale=self.factor)
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
        size, factor = self.movie.shape[1:], self.factor
        reference, some, whole, walk, _ = rigid
        shifts = None if walk is None else whole
        if self.network is None:
            return Alignment(reference, None, walk)
        few = samples.only(some)
        motion = self.enlarged(self.motion(small, self.estimator(reference), shifts))
        reference = reference.repeat(factor, 0).repeat(factor, 1)[: size[0], : size[1]]
        reference, used, _ = self.build_reference_at(few, centred(motion[some]), reference)
        if factor > 1 and self.options.quality == "best":
            motion = self.motion(
                samples, self.estimator(reference), None if shifts is None else factor * shifts
            )
            reference, used, _ = self.build_reference_at(few, centred(motion[some]), reference)
        # Less what those that were used have in common.
        return Alignment(reference, motion + (used - motion[some])[0], walk)

    def _rigid_fit(self, samples: Samples) -> RigidFit:
        """Samples that make the reference, registered."""
        some, walk = self.enough(samples), None
        first = first_reference(samples.only(some))
        if are_clear(samples.only(some), self.rigid_estimator(first), self.mapping):
            estimates = [self._centred_shifts] * RIGID_PASSES
        else:
            whole, walk = walk_among_others(
                samples, first, self.rigid_estimator, self.move, self.mapping, self.factor
            )
            some, estimates = np.ones(len(samples), bool), [lambda *_: whole]
        reference, shifts, agree = self.build_reference(samples.only(some), estimates, first)
        return RigidFit(reference, some, shifts[:, :, 0, 0], walk, agree)

    def _shown(self, samples: Samples, motion: np.ndarray, first: np.ndarray) -> np.ndarray:
        """What samples show (H, W), moved by their `motion` (n, 2, h, w); a reference is about as `first`."""
        some = self.enough(samples)
        return self.build_reference_at(samples.only(some), motion[some], first)[0]

    def _centred_shifts(self, samples: Samples, reference: np.ndarray) -> np.ndarray:
        return centred(whole_shifts(samples, self.rigid_estimator(reference), self.mapping))

    def _reaching_better(self, samples: Samples, rigid: RigidFit) -> "Survey | None":
        """What looks as far as samples move, if this one does not, unless the user has said how far."""
        if self.options.max_shift is not None:
            return None
        some, farther, lost = samples.only(self.enough(samples)), self.reaching(FARTHER), _lost(rigid.walk)
        limit = self.options.farthest(rigid.reference.shape)  # the usual share of its size
        if lost:
            beyond = are_clear(some, farther.rigid_estimator(first_reference(some)), self.mapping)
        else:
            images = (rigid.reference, first_reference(some))  # that of all may show two places at once
            estimators = map(farther.rigid_estimator, images)
            beyond = any(lie_beyond(some, limit, estimator, self.mapping) for estimator in estimators)
        if not beyond:
            return None
        there = farther._rigid_fit(samples)
        # Something else may move there than the scene: that tells less of shifts nearby.
        found = [(near, near._rigid_fit(samples)) for near in map(self.reaching, NEARER)]
        # Or some only look like a place far away: then all are found near one another, or nowhere.
        if lost or (np.ptp(there.shifts, axis=0).max() > limit and not _lost(there.walk)):
            found.append((farther, there))
        return max([(None, rigid), *found], key=lambda each: self._alike(samples, each[1]))[0]

    def _alike(self, samples: Samples, rigid: RigidFit) -> float:
        return mean_agreement(samples.only(rigid.some), rigid.shifts, self.move, self.mapping)


def _lost(walk: Walk | None) -> bool:
    """Whether many frames are not where they are taken to be."""
    return walk is not None and walk.off > LOST
