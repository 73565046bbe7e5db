"""How the motion of one movie is found, frame after frame."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch

from moco_dl.device import full_device
from moco_dl.fields import FLOW_DTYPE
from moco_dl.finish import Finish
from moco_dl.infer import Estimator
from moco_dl.motion import Motion, take
from moco_dl.refinement.bend import Bends, bent, rebased
from moco_dl.refinement.refine import BACKGROUND
from moco_dl.sampled.clearing import Clearing
from moco_dl.sampled.usable import usable
from moco_dl.sampled.walk import Walk
from moco_dl.step import KnownSamples, Step, completed
from moco_dl.stream import Batch, Filter, Messages, with_messages
from moco_dl.tracking.prior import SHIFT
from moco_dl.tracking.smooth import Smoothing
from moco_dl.tracking.track import Linearised

APART = 2  # frames, of which the network sees one where motion lasts: the steps find what it does not see
NEVER = 0  # of them, it sees none
BLIND = 1.0  # px, by which shifts of whole frames are off if steps tell hardly anything of them
NEAR = 3  # frames: so close to samples, it sees none


@dataclass(frozen=True)
class Plan:
    """The reference, and how frames are brought onto it."""

    reference: np.ndarray  # (H, W) float32
    estimator: Estimator
    clearing: Clearing  # of frames
    walk: Walk | None  # how dim frames shift; None: each is found for itself
    apart: int  # frames, of which the network sees one
    binning: int  # pixels a side over which frames are averaged for the first step
    background: float  # px, see `refiner_of`
    to_given: np.ndarray | None  # (2,) px, if all that is known is a shift; None: no reference is given
    kinds: int  # of frames that take turns, which are no movie; see `interleaved.py`
    reach_of_shifts: int  # px by which samples are shifted at most, if that is all that is known of them
    width: float = 0.0  # frames, sigma of the smoothing of the network's fields in time
    known: KnownSamples = field(default_factory=KnownSamples)
    steps: tuple[Step, ...] = ()  # none: rigid only
    finish: Finish | None = None  # None: rigid only
    bends: Bends | None = None  # None: no reference is given, or rigid only
    hidden: bool = False  # by activity: only the motion of whole frames is seen

    @property
    def computing(self) -> torch.device:
        """Where frames are compared with the reference, and moved."""
        return full_device(self.estimator.device)

    @property
    def reach(self) -> int:
        """px by which samples move at most."""
        if not self.steps:
            return self.reach_of_shifts
        motion = self.steps[-1].motion
        back = None if self.bends is None else self.bends.from_given
        parts = [motion.rigid, motion.flow, motion.rows, back]
        return math.ceil(sum(max(part.max(), -part.min()) for part in parts if part is not None))

    @property
    def outshone(self) -> bool:
        """Whether activity outshines the tissue."""
        return self.background < BACKGROUND

    @property
    def blind(self) -> bool:
        """Whether activity outshines the tissue so far that the steps tell less of shifts than is known."""
        return self.outshone and self.steps[0].unsure > BLIND

    @property
    def left_out(self) -> np.ndarray:
        """(H, W) bool: what shows no tissue in any frame as recorded."""
        hidden = self.clearing.edges.hidden
        return np.zeros(self.reference.shape, bool) if hidden is None else hidden

    @property
    def likeness(self) -> float | None:
        """Correlation of a given reference with what the movie shows; None: that is not known."""
        return None if self.bends is None else self.bends.likeness

    @property
    def expected_error(self) -> np.ndarray:
        """(h, w) float32 px; NaN for rigid motion only.

        Frames that hardly show where they are may be off by more than the last step can tell.
        """
        if self.finish is None:
            return np.full(self.estimator.coarse, np.nan, np.float32)
        found = self.finish.expected_error
        if self.bends is not None:
            found = np.hypot(found, np.float32(self.bends.error))
            found = bent(found[None, None], self.bends.from_given)[0, 0]
        return np.hypot(found, np.float32(self._unsettled))

    @property
    def _unsettled(self) -> float:
        """px by which whole frames of dim movies are off beyond what the last step expects of them."""
        if self.walk is None:
            return 0.0
        more = (self.walk.scale * self.walk.unsure) ** 2 - 2 * SHIFT**2
        return self._untold * math.sqrt(math.pi / 4 * max(more, 0.0))

    @property
    def _untold(self) -> float:
        """Share of a shift that stays as the walk has found it."""
        return 1.0 if self.finish is None else self.finish.untold

    @property
    def off(self) -> float:
        """px by which fields may be off, as frames do not show where they are; see `Walk`."""
        return 0.0 if self.walk is None else self._untold * self.walk.off

    def motion(self, frames: Iterator[tuple[int, np.ndarray]], mapping: Callable = map) -> Iterator[Batch]:
        """(number of the first frame, frames) -> frames with their motion, a few frames late.

        `mapping` is `map`, or does the same with several threads.
        """
        if self.walk is None:
            items = mapping(lambda part: self._estimated(_begun(*part)), frames)
        else:
            located = mapping(lambda part: self._located(_begun(*part)), frames)
            items = mapping(lambda item: self._estimated(self.walk(*item)), with_messages(located, self.walk))
        if not self.steps:
            yield from items if self.to_given is None else (self._shifted(item) for item in items)
            return
        filtering = Smoothing(self.width)
        for step in self.steps:
            items = mapping(partial(self._linearised, step, filtering), with_messages(items, filtering))
            filtering = step.tracker
        batches = mapping(lambda item: self.finish.shown(filtering(*item)), with_messages(items, filtering))
        batches = self.finish.filtered(batches, mapping)
        yield from batches if self.bends is None else mapping(self._onto_given, batches)

    def packed(self) -> "Plan":
        """The same, with half the memory for the flows of samples: in the number type that field files have."""
        steps = tuple(replace(step, motion=_packed(step.motion)) for step in self.steps)
        return replace(self, steps=steps, known=replace(self.known, motion=_packed(self.known.motion)))

    def _located(self, batch: Batch) -> tuple[Batch, Messages]:
        """`batch`, and what its frames show of where they are; samples have shown that before."""
        numbers, known = np.array(batch.numbers), self.walk.samples
        messages = {number: known[number] for number in batch.numbers if number in known}
        new = ~(batch.motion.flagged | np.isin(numbers, list(messages)))
        if new.any():
            likely = self.walk.seen(self.clearing(batch.frames[new]))
            messages |= dict(zip(numbers[new].tolist(), likely, strict=True))
        return batch, messages

    def _estimated(self, batch: Batch) -> Batch:
        """What the network finds; it has seen the samples already."""
        places = self.known.places_of(batch.numbers)
        new = places < 0
        seen, begun = self._looked_at(np.array(batch.numbers)[new]), take(batch.motion, new)
        shifts = None if self.walk is None else begun.rigid
        motion = self.estimator(self.clearing(batch.frames[new]), ~begun.flagged, seen, shifts)
        motion = replace(motion, unseen=~seen & (self.apart != NEVER))  # then, but whole frames move
        if self.known.motion is not None:
            motion = completed(motion, self.known.motion, places)
        return replace(batch, motion=motion)

    def _linearised(self, step: Step, filtering: Filter, item: tuple[object, Messages]) -> Linearised:
        """What frames tell once they are filtered; samples have told that already."""
        batch = filtering(*item)
        places = self.known.places_of(batch.numbers)
        new = places < 0
        motion = take(batch.motion, new)
        equations = step.linearised(self.clearing(batch.frames[new]), motion)
        motion = completed(motion, step.motion, places)
        equations = completed(equations, step.equations, places)
        return step.tracker.told(replace(batch, motion=motion), equations)

    def _onto_given(self, batch: Batch) -> Batch:
        """`batch` with motion from the reference that was given."""
        motion = rebased(batch.motion, self.bends.from_given)
        mean = motion.flow.mean(axis=(2, 3))
        motion = replace(motion, rigid=motion.rigid + mean, flow=motion.flow - mean[:, :, None, None])
        return replace(batch, motion=motion)

    def _shifted(self, batch: Batch) -> Batch:
        """The same, if all that is known is a shift."""
        rigid = batch.motion.rigid + self.to_given
        rigid[batch.motion.flagged] = 0
        return replace(batch, motion=replace(batch.motion, rigid=rigid))

    def _looked_at(self, numbers: np.ndarray) -> np.ndarray:
        """(n,) bool: which of these frames the network sees."""
        if self.apart in (NEVER, 1):
            return np.full(len(numbers), self.apart == 1)
        far = np.abs(numbers[:, None] - list(self.known.places)).min(axis=1, initial=NEAR + 1) > NEAR
        return far & (numbers % self.apart == 0)


def _begun(start: int, frames: np.ndarray) -> Batch:
    """Frames of whose motion nothing is known yet, but which cannot be judged."""
    nowhere = np.zeros((len(frames), 2), np.float32)
    return Batch(start, frames, Motion(nowhere, nowhere[:, :, None, None], flagged=~usable(frames)))


def _packed(motion: Motion) -> Motion:
    return replace(motion, flow=motion.flow.astype(FLOW_DTYPE))
