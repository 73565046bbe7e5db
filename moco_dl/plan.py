"""How the motion of one movie is found, frame after frame."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import numpy as np
import torch

from moco_dl.blocks import binned
from moco_dl.device import full_device
from moco_dl.infer import Estimator
from moco_dl.motion import Arrays, Equations, Motion, concatenate, take
from moco_dl.refinement.bend import bent, rebased
from moco_dl.refinement.equations import linearise
from moco_dl.refinement.refine import Refiner
from moco_dl.sampled.clearing import Clearing
from moco_dl.sampled.samples import less_pattern
from moco_dl.sampled.usable import usable
from moco_dl.sampled.walk import Walk
from moco_dl.stream import Batch, Filter, Messages, filter_batches, with_messages
from moco_dl.tracking.prior import SHIFT
from moco_dl.tracking.risk import Errors
from moco_dl.tracking.smooth import Smoothing
from moco_dl.tracking.steady import Steadiness
from moco_dl.tracking.strays import Strays
from moco_dl.tracking.track import Linearised, Tracker, Tracking
from moco_dl.tracking.trajectory import PathFilter

APART = 2  # frames, of which the network sees one where motion lasts: the steps find what it does not see
NEAR = 3  # frames: so close to samples, it sees none


@dataclass(frozen=True)
class Step:
    """A Gauss-Newton step."""

    refiner: Refiner
    tracker: Tracker
    motion: Motion  # of the samples before it
    equations: Equations  # of the samples, at that motion
    last: bool = False  # what frames have no data for is filled then: see `Tracker.filled`

    @cached_property
    def tracking(self) -> Tracking:
        """The filter that finds motion."""
        return Tracking(self.refiner, self.tracker)

    def linearised(self, frames: np.ndarray, motion: Motion) -> Equations:
        """What frames (n, H, W), which are no samples, tell at their motion so far."""
        if (binning := self.refiner.binning) > 1:
            frames = binned(frames, binning)
        equations = linearise(frames, motion, self.refiner)
        if self.last:
            return self.tracker.filled(equations, motion, self.refiner)
        return replace(equations, missing=None)


@dataclass(frozen=True)
class Plan:
    """The reference, and how frames are brought onto it."""

    reference: np.ndarray  # (H, W) float32
    estimator: Estimator
    walk: Walk | None = None  # how dim frames shift; None: each is found for itself
    steps: tuple[Step, ...] = ()  # none: rigid only
    places: dict[int, int] = field(default_factory=dict)  # of frames among the samples, by number
    network_motion: Motion | None = None  # of the samples, as the network sees it
    binning: int = 1  # pixels a side over which frames are averaged for the first step
    apart: int = 1  # frames, of which the network sees one
    width: float = 0.0  # frames, sigma of the smoothing of the network's fields in time
    pattern: np.ndarray | None = None  # (H, W) float32 that adds to all frames, see `pattern.py`
    clearing: Clearing = field(default_factory=Clearing)  # of frames
    reach_of_shifts: int = 0  # px by which samples are shifted at most, if that is all that is known of them
    kinds: int = 1  # of frames that take turns, which are no movie; see `interleaved.py`
    # px (2, h, w), taken off all flows: what they have in common, or where tissue in bouts rests.
    constant: np.ndarray | float = 0.0
    # Bends (2, h, w), if a reference is given: to it from the movie's own, as the network sees it, and back.
    to_given: np.ndarray | None = None
    from_given: np.ndarray | None = None
    anchor_error: np.ndarray | float = 0.0  # (h, w) px, expected error of the first, constant in time
    likeness: float | None = None  # correlation of a given reference with what the movie shows
    errors: Errors | None = None  # of the last step's fields
    strays: Strays | None = None  # of frames that show nothing of the scene; None: there are no steps
    trajectory: PathFilter | None = None  # of frames' paths; None: they stay as they are found
    steadiness: Steadiness = field(default_factory=Steadiness)  # of the whole frame's shift
    share_told: float = 1.0  # share of a small displacement that frames tell of in the last step

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
        parts = [motion.rigid, motion.flow, motion.rows, self.from_given]
        return math.ceil(sum(max(part.max(), -part.min()) for part in parts if part is not None))

    @property
    def left_out(self) -> np.ndarray:
        """(H, W) bool: what shows no tissue in any frame as recorded."""
        hidden = self.clearing.edges.hidden
        return np.zeros(self.reference.shape, bool) if hidden is None else hidden

    @property
    def expected_error(self) -> np.ndarray:
        """(h, w) float32 px, see `Tracker.errors`; NaN for rigid motion only.

        If frames tell of less than a displacement, then noise stands for more of it, and so does motion. Frames
        that hardly show where they are may be off by more than the last step can tell.
        """
        if self.errors is None:
            return np.full(self.estimator.coarse, np.nan, np.float32)
        found = np.hypot(
            self.errors.length(self.steadiness.removed) / self.share_told, np.float32(self.anchor_error)
        )
        found = found if self.from_given is None else bent(found[None, None], self.from_given)[0, 0]
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
        """Share of a shift that the last step leaves as it is, as frames do not tell of it."""
        return 1.0 if self.errors is None else min(float(self.errors.mean.mean()) / SHIFT**2, 1.0)

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
            yield from items
            return
        filtering = Smoothing(self.width)
        for step in self.steps:
            items = mapping(partial(self._linearised, step, filtering), with_messages(items, filtering))
            filtering = step.tracking
        batches = mapping(lambda item: self._shown(filtering(*item)), with_messages(items, filtering))
        batches = filter_batches(batches, self.strays)
        if self.trajectory is not None:
            batches = filter_batches(batches, self.trajectory, mapping)
        if self.steadiness.shares is not None:
            batches = filter_batches(batches, self.steadiness)
        yield from batches if self.from_given is None else mapping(self._onto_given, batches)

    def _located(self, batch: Batch) -> tuple[Batch, Messages]:
        """`batch`, and what its frames show of where they are; samples have shown that before."""
        numbers, known = np.array(batch.numbers), self.walk.samples
        messages = {number: known[number] for number in batch.numbers if number in known}
        new = ~(batch.motion.flagged | np.isin(numbers, list(messages)))
        if new.any():
            likely = self.walk.seen(self._cleared(batch.frames[new]))
            messages |= dict(zip(numbers[new].tolist(), likely, strict=True))
        return batch, messages

    def _estimated(self, batch: Batch) -> Batch:
        """What the network finds; it has seen the samples already."""
        places = self._places(batch.numbers)
        new = places < 0
        seen, begun = self._looked_at(np.array(batch.numbers)[new]), take(batch.motion, new)
        shifts = None if self.walk is None else begun.rigid
        motion = self.estimator(self._cleared(batch.frames[new]), ~begun.flagged, seen, shifts)
        motion = replace(motion, unseen=~seen)
        if self.to_given is not None:
            motion = rebased(motion, self.to_given)
        if self.network_motion is not None:
            motion = _completed(motion, self.network_motion, places)
        return replace(batch, motion=motion)

    def _linearised(self, step: Step, filtering: Filter, item: tuple[object, Messages]) -> Linearised:
        """What frames tell once they are filtered; samples have told that already."""
        batch = filtering(*item)
        places = self._places(batch.numbers)
        new = places < 0
        motion = take(batch.motion, new)
        equations = step.linearised(self._cleared(batch.frames[new]), motion)
        motion = _completed(motion, step.motion, places)
        equations = _completed(equations, step.equations, places)
        return step.tracking.told(replace(batch, motion=motion), equations)

    def _shown(self, batch: Batch) -> Batch:
        """`batch` without what all flows have in common; frames without noise may be beyond reckoning."""
        motion = batch.less(self.constant).motion
        within = np.abs(motion.total()) <= max(batch.frames.shape[1:])  # nor is what is not finite
        lost = motion.flagged | ~within.all(axis=(1, 2, 3))
        rigid = np.where(lost[:, None], 0, motion.rigid)
        rows, flow = motion.rows, motion.flow
        if lost.any():
            rows, flow = np.where(lost[:, None, None], 0, rows), np.where(lost[:, None, None, None], 0, flow)
        return replace(batch, motion=replace(motion, rigid=rigid, flow=flow, rows=rows, flagged=lost))

    def _onto_given(self, batch: Batch) -> Batch:
        """`batch` with motion from the reference that was given."""
        motion = rebased(batch.motion, self.from_given)
        mean = motion.flow.mean(axis=(2, 3))
        motion = replace(motion, rigid=motion.rigid + mean, flow=motion.flow - mean[:, :, None, None])
        return replace(batch, motion=motion)

    def _cleared(self, frames: np.ndarray) -> np.ndarray:
        """Frames (n, H, W) as recorded, as they are looked at: without what scanner and detector have done."""
        return less_pattern(self.clearing(frames), self.pattern)

    def _looked_at(self, numbers: np.ndarray) -> np.ndarray:
        """(n,) bool: which of these frames the network sees."""
        if self.apart == 1:
            return np.ones(len(numbers), bool)
        far = np.abs(numbers[:, None] - list(self.places)).min(axis=1, initial=NEAR + 1) > NEAR
        return far & (numbers % self.apart == 0)

    def _places(self, numbers: range) -> np.ndarray:
        """(n,) of frames among the samples; -1 if they are none."""
        return np.array([self.places.get(number, -1) for number in numbers])


def _begun(start: int, frames: np.ndarray) -> Batch:
    """Frames of whose motion nothing is known yet, but which cannot be judged."""
    nowhere = np.zeros((len(frames), 2), np.float32)
    return Batch(start, frames, Motion(nowhere, nowhere[:, :, None, None], flagged=~usable(frames)))


def _completed(new: Arrays, known: Arrays, places: np.ndarray) -> Arrays:
    """Motion or equations of frames (n,), those at `places` of `known`, the others `new` ones."""
    order = np.argsort(places >= 0, kind="stable")  # new ones first
    both = concatenate((new, take(known, places[places >= 0])))
    return take(both, np.argsort(order))
