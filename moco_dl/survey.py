"""The first look at a movie: samples of its frames, the reference, and how the samples roughly move from it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from moco_dl.device import full_device
from moco_dl.infer import Estimator, binned, enlarged, move_known
from moco_dl.movie import Movie
from moco_dl.network import STRIDE, PyramidFlowNet
from moco_dl.options import CorrectOptions
from moco_dl.reference import Estimate, build_reference, centred, seed
from moco_dl.refinement.bend import composed, inverse
from moco_dl.refinement.nearer import GivenReference, bend_to, sizes
from moco_dl.room import frames_in
from moco_dl.sampled.clearing import Clearing
from moco_dl.sampled.interleaved import taking_turns
from moco_dl.sampled.pattern import fixed_pattern
from moco_dl.sampled.sample_shifts import clear, lie_beyond, walk_among_others, walk_from, whole_shifts
from moco_dl.sampled.samples import Move, Samples, chunks
from moco_dl.sampled.sampling import Rigidly, Sampling
from moco_dl.sampled.walk import LOST, Walk

ENOUGH = 32 * 2**20  # bytes of those that the reference is made of: 40 to 100 frames
BINNED = 240  # px, shorter side from which on binned frames show enough
PATTERN_PASSES = 2  # a detector's pattern is estimated this often, each time with better motion
SETTLED = 0.05  # of the reference's contrast: a pattern that changes by less changes motion by next to nothing
RIGID_PASSES = 2  # the reference is estimated this often from rigidly registered samples


@dataclass(frozen=True)
class Found:
    """What samples of a movie show."""

    reference: np.ndarray  # (H, W), made from the movie if there is a network
    estimator: Estimator  # of motion from it
    walk: Walk | None  # how dim frames shift, each in the light of those around it; None: each for itself
    samples: Samples
    small: Samples  # averaged over `Survey.factor` pixels a side; with their motion, if there is a network
    clearing: Clearing  # of frames
    kinds: int  # of frames that take turns; see `interleaved.py`
    given: GivenReference | None  # what the estimator is for, if a reference is given
    to_given: np.ndarray | None  # bend to it from what the movie shows; see `bend.py`


@dataclass(frozen=True)
class Survey:
    """How a movie is looked at."""

    movie: Movie
    options: CorrectOptions
    network: PyramidFlowNet | None  # None: for rigid motion only
    device: torch.device
    mapping: Callable  # `map`, or what does the same with several threads

    @property
    def factor(self) -> int:
        """Pixels a side over which frames are averaged where that shows enough."""
        return 2 if self.network and min(self.movie.shape[1:]) >= BINNED else 1

    @property
    def binning(self) -> int:
        """The same for what the network sees in the end."""
        return self.factor if self.options.quality == "fast" else 1

    @property
    def farther(self) -> "Survey":
        """The same, looking for larger shifts."""
        return replace(self, options=self.options.farther(self.movie.shape[1:]))

    def found(self, given: np.ndarray | None = None) -> Found:
        """What the samples show; if a reference is `given`, of their motion from that."""
        sampling = Sampling(self.movie, self.options, self.factor, self.mapping)
        samples, small, rigid, clearing, surrounded = sampling.drawn(self._rigidly)
        if self._too_near(small, rigid):
            return self.farther.found(given)
        if given is not None and surrounded:
            given = sampling.without_surround(given)
        brought = None if given is None else self._given(small, given)
        given = brought and brought.nearer
        reference, motion, walk = self._looked_at(samples, small, given, rigid)
        for _ in range(PATTERN_PASSES if self.network else 0):
            if _lost(walk):  # what frames show elsewhere is not explained
                break
            seen = reference if given is None else self._shown(samples, motion, given)  # in the movie's unit
            pattern = fixed_pattern(replace(samples, motion=motion), seen, self.mapping)
            if pattern is None:
                break
            before, samples = samples.pattern, replace(samples, pattern=pattern)
            small = replace(small, pattern=binned(pattern[None], self.factor)[0])
            if before is not None and (pattern - before).std() < SETTLED * seen.std():
                break
            reference, motion, walk = self._looked_at(samples, small, given)
        estimator, image = self._estimator(reference, self.binning), reference
        if walk is not None:
            rigid = self._rigid(binned(reference[None], self.factor)[0])
            walk = replace(walk, look=lambda frames: rigid.correlations(binned(frames, self.factor)))
        to_given = None
        if self.network and given is not None:
            some = motion[self._enough(samples)]
            middle = (some - centred(some))[0]
            to_given = inverse(np.zeros_like(middle) if _lost(walk) else middle)
            for which in chunks(np.arange(len(motion))):
                motion[which] = composed(motion[which], to_given)
            image = self._shown(samples, motion, self._move(given[None], to_given[None])[0])
        small, kinds = replace(small, motion=motion), taking_turns(small)
        return Found(image, estimator, walk, samples, small, clearing, kinds, brought, to_given)

    def _given(self, small: Samples, image: np.ndarray) -> GivenReference:
        """What is given, brought near what samples show if it is far; see `bend_to`."""
        first = binned(image[None], self.factor)[0]
        rigid, as_it_is = self._rigid(first), GivenReference(image, image)
        if self.network is None:
            return as_it_is
        walk = walk_from(small, rigid, self.mapping, scale=self.factor)
        if walk is None:
            some = small.only(self._enough(small))
            shifts = whole_shifts(some, rigid, self.mapping)
        else:
            some, shifts = small, walk.found[:, :, None, None]
        shown, _ = self._made(some, [lambda *_: shifts], first=first)
        bend = bend_to(first, shown, [self._estimator(first, size) for size in sizes(first.shape)])
        if bend is None:
            return as_it_is
        (bend,) = self._enlarged(bend[None])
        return GivenReference(image, self._move(image[None], bend[None])[0], bend)

    def _enlarged(self, motion: np.ndarray) -> np.ndarray:
        """Motion (n, 2, h, w) of smaller samples -> that of the samples."""
        size = tuple(-(-n // STRIDE) for n in self.movie.shape[1:])
        return enlarged(torch.from_numpy(motion), self.factor, size).numpy()

    def _looked_at(
        self, samples: Samples, small: Samples, given: np.ndarray | None, rigid: Rigidly | None = None
    ) -> tuple[np.ndarray, np.ndarray | None, Walk | None]:
        """Reference; motion of the samples from it if there is a network; how `small` ones walk, if dim.

        How these are registered rigidly may be known.
        """
        if given is None:
            return self._reference(samples, small, rigid or self._rigidly(small))
        rigid = self._rigid(binned(given[None], self.factor)[0])
        walk = walk_from(small, rigid, self.mapping, scale=self.factor)
        shifts = None if walk is None else self.factor * walk.found
        motion = self.network and self._motion(samples, self._estimator(given, self.binning), shifts)
        return given, motion, walk

    def _reference(
        self, samples: Samples, small: Samples, rigid: Rigidly
    ) -> tuple[np.ndarray, np.ndarray | None, Walk | None]:
        """Reference (H, W), made of some samples; the motion of all if there is a network; see `_looked_at`.

        Motion is found on `small` ones first. Not only because it is faster: in dim movies, averages show more
        than details.
        """
        size, factor = self.movie.shape[1:], self.factor
        reference, some, whole, walk = rigid
        shifts = None if walk is None else whole
        if self.network is None:
            return reference, None, walk
        few = samples.only(some)
        motion = self._enlarged(self._motion(small, self._estimator(reference), shifts))
        reference = reference.repeat(factor, 0).repeat(factor, 1)[: size[0], : size[1]]
        reference, used = self._made(few, [lambda *_: centred(motion[some])], first=reference)
        if factor > 1 and self.options.quality == "best":
            motion = self._motion(
                samples, self._estimator(reference), None if shifts is None else factor * shifts
            )
            reference, used = self._made(few, [lambda *_: centred(motion[some])], first=reference)
        # Less what those that were used have in common.
        return reference, motion + (used - motion[some])[0], walk

    def _rigidly(self, samples: Samples) -> Rigidly:
        """Samples that make the reference, registered."""
        some, walk = self._enough(samples), None
        first = seed(samples.only(some))
        if clear(samples.only(some), self._rigid(first), self.mapping):
            estimates = [self._centred_shifts] * RIGID_PASSES
        else:
            whole, walk = walk_among_others(samples, first, self._rigid, self._move, self.mapping, self.factor)
            some, estimates = np.ones(len(samples), bool), [lambda *_: whole]
        reference, shifts = self._made(samples.only(some), estimates, first=first)
        return Rigidly(reference, some, shifts[:, :, 0, 0], walk)

    def _shown(self, samples: Samples, motion: np.ndarray, first: np.ndarray) -> np.ndarray:
        """What samples show (H, W), moved by their `motion` (n, 2, h, w); a reference is about as `first`."""
        some = self._enough(samples)
        return self._made(samples.only(some), [lambda *_: motion[some]], first=first)[0]

    def _centred_shifts(self, samples: Samples, reference: np.ndarray) -> np.ndarray:
        return centred(whole_shifts(samples, self._rigid(reference), self.mapping))

    def _enough(self, samples: Samples) -> np.ndarray:
        """(n,) bool: which of the samples a reference is made of."""
        return samples.some(self.options.ref_frames or frames_in(ENOUGH, self.movie, 40, 100))

    def _made(
        self, samples: Samples, estimates: Sequence[Estimate], **options: object
    ) -> tuple[np.ndarray, np.ndarray]:
        return build_reference(samples, self.options.ref, estimates, self._move, self.mapping, **options)

    @property
    def _move(self) -> Move:
        return partial(move_known, device=full_device(self.device))

    def _rigid(self, reference: np.ndarray) -> Estimator:
        return self._estimator(reference, rigid=True)

    def _too_near(self, samples: Samples, rigid: Rigidly) -> bool:
        """Whether some samples lie beyond where they are looked for, unless the user has said how far."""
        some, farther = samples.only(self._enough(samples)), self.farther
        if self.options.max_shift is not None:
            return False
        if _lost(rigid.walk):
            return clear(some, farther._rigid(seed(some)), self.mapping)
        limit = self.options.farthest(rigid.reference.shape)  # the usual share of its size
        images = (rigid.reference, seed(some))  # that of all may show two places at once
        beyond = any(lie_beyond(some, limit, farther._rigid(image), self.mapping) for image in images)
        # Some may only look like a place far away: then all are found near one another, or nowhere.
        there = farther._rigidly(samples) if beyond else None
        return there is not None and not _lost(there.walk) and np.ptp(there.shifts, axis=0).max() > limit

    def _estimator(self, reference: np.ndarray, binning: int = 1, *, rigid: bool = False) -> Estimator:
        size = self.movie.shape[1:]
        scale = reference.shape[0] / size[0]  # it may have larger pixels than the movie
        network = None if rigid else self.network
        return Estimator(
            reference,
            network,
            max_shift=scale * self.options.farthest(size),
            device=self.device,
            binning=binning,
            precision=getattr(torch, self.options.precision),
        )

    def _motion(self, samples: Samples, estimator: Estimator, shifts: np.ndarray | None) -> np.ndarray:
        """(n, 2, h, w) of samples, whose `shifts` (n, 2) may be known."""

        def found(some: np.ndarray) -> np.ndarray:
            return estimator(samples[some], shifts=None if shifts is None else shifts[some]).total()

        return np.concatenate(list(self.mapping(found, chunks(np.arange(len(samples))))))


def _lost(walk: Walk | None) -> bool:
    """Whether many frames are not where they are taken to be."""
    return walk is not None and walk.off > LOST
