"""How the motion of one movie is found: everything that is measured on samples before the stream starts."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from moco_dl.batch import Batch, Equations, Motion, runs_apart
from moco_dl.infer import Estimator, linearise, move_known
from moco_dl.prior import measure_prior
from moco_dl.reference import Samples
from moco_dl.refine import Refiner
from moco_dl.smooth import choose_width, smooth_in_time
from moco_dl.template import build_template
from moco_dl.track import DOUBTFUL, Tracker, tracked

FLASH = 3.0  # standard deviations at which a change of brightness counts half: activity is not motion
LEAST_MISFIT = 0.01  # of the expected variance; frames that are all alike leave next to nothing


@dataclass(frozen=True)
class Plan:
    """The reference, and how frames are brought onto it."""

    reference: np.ndarray  # (H, W) float32
    estimator: Estimator
    refiner: Refiner | None = None  # None: rigid only
    tracker: Tracker | None = None
    width: float = 0.0  # frames, sigma of the smoothing of the network's fields in time
    constant: np.ndarray | float = 0.0  # px (2, h, w), taken off all flows: what the movie's own have in common

    @property
    def expected_error(self) -> np.ndarray:
        """(h, w) float32 px, see `Tracker.expected_error`; NaN for rigid motion only."""
        if self.tracker is None:
            return np.full(self.estimator.coarse, np.nan, np.float32)
        return self.tracker.expected_error(self.refiner)

    def motion(self, frames: Iterator[tuple[int, np.ndarray]], mapping: Callable = map) -> Iterator[Batch]:
        """(number of the first frame, frames) -> frames with their motion, a few frames late.

        `mapping` is `map`, or does the same with several threads.
        """
        batches = mapping(self._estimated, frames)
        if self.refiner is None:
            yield from batches
            return
        smooth = smooth_in_time(batches, self.width, split=True)
        linearised = mapping(self._linearised, smooth)
        for batch in tracked(linearised, self.refiner, self.tracker):
            judged = ~batch.motion.flagged[:, None, None, None]
            flow = np.where(judged, batch.motion.flow - self.constant, 0)
            yield replace(batch, motion=replace(batch.motion, flow=flow))

    def _estimated(self, part: tuple[int, np.ndarray]) -> Batch:
        start, frames = part
        return Batch(start, frames, self.estimator(frames))

    def _linearised(self, batch: Batch) -> tuple[Batch, Equations]:
        return batch, linearise(batch, self.refiner)


def refining(plan: Plan, samples: Samples, smooth: float | None, *, own: bool, mapping: Callable = map) -> Plan:
    """`plan` with all that follows the network, measured on samples whose motion is known roughly.

    `smooth` is the time, in frames, over which motion is taken to be correlated; None: measured, too. `own`
    says that the reference was made of the samples.
    """
    rigid = samples.motion.mean(axis=(2, 3))
    flow = samples.motion - rigid[:, :, None, None]
    motion = Motion(rigid, flow, np.zeros(len(rigid), bool))
    width = choose_width(motion.flow, samples.runs) if smooth is None else smooth
    apart = runs_apart(Batch(0, samples.frames, motion), samples.runs)
    runs = list(smooth_in_time(apart, width, split=True))
    trusted = np.ones(len(samples.runs), bool)
    for _ in range(2):  # again without the frames that do not fit, so that they do no harm
        refiner = _refiner(runs, samples, plan, trusted, {"own": own, "mapping": mapping})
        parts = list(mapping(partial(linearise, refiner=refiner), runs))
        equations = Equations(*(np.concatenate([vars(p)[name] for p in parts]) for name in vars(parts[0])))
        usual = max(float(np.median(equations.misfit)), LEAST_MISFIT)
        before, trusted = trusted, equations.misfit <= DOUBTFUL * usual
        if trusted.all() or (trusted == before).all():
            break
    prior = measure_prior(refiner, equations, samples.runs, trusted)
    prior = prior.about_zero() if own else prior
    prior = prior if smooth is None else prior.with_motion_lasting(smooth)
    tracker = Tracker(refiner, prior, usual)
    found = tracked(zip(runs, parts, strict=True), refiner, tracker)
    constant = np.concatenate([run.motion.flow for run in found]).mean(axis=0) if own else 0.0
    return replace(plan, refiner=refiner, tracker=tracker, width=width, constant=constant)


def _refiner(runs: list[Batch], samples: Samples, plan: Plan, trusted: np.ndarray, how: dict) -> Refiner:
    motion = np.concatenate([run.motion.total() for run in runs])
    # What is not trusted is taken from the network, which follows activity itself where it sees binned frames.
    limit = FLASH if plan.estimator.binning == 1 else math.inf
    good = replace(samples, motion=motion)
    if not trusted.all():  # indexing copies, and samples are most of what is in memory
        good = Samples(samples.frames[trusted], samples.runs[trusted], motion[trusted])
    template = build_template(good, plan.reference, move_known, **how)
    return Refiner(*map(torch.from_numpy, template), limit)  # on the CPU: not every accelerator has float64
