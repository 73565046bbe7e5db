"""How the motion of one movie is found: everything that is measured on samples before the stream starts."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from moco_dl.batch import Batch, Equations, Motion, joined, runs_apart
from moco_dl.infer import Estimator, linearise, move_known
from moco_dl.prior import measure_prior
from moco_dl.reference import Samples
from moco_dl.refine import Refiner
from moco_dl.smooth import choose_width, smooth_in_time
from moco_dl.template import Template, build_template
from moco_dl.track import DOUBTFUL, Tracker, tracked

FLASH = 3.0  # standard deviations at which a change of brightness counts half: activity is not motion
# Of each Gauss-Newton step. What is not trusted stays as it was, and the network's field follows activity.
LIMITS = (math.inf, FLASH)
LEAST_MISFIT = 0.01  # of the expected variance; frames that are all alike leave next to nothing


@dataclass(frozen=True)
class Plan:
    """The reference, and how frames are brought onto it."""

    reference: np.ndarray  # (H, W) float32
    estimator: Estimator
    refiner: Refiner | None = None  # None: rigid only
    trackers: tuple[Tracker, ...] = ()  # of each Gauss-Newton step
    sampled: dict[int, np.ndarray] = field(default_factory=dict)  # motion (2, h, w) px of the template's frames
    width: float = 0.0  # frames, sigma of the smoothing of the network's fields in time
    constant: np.ndarray | float = 0.0  # px (2, h, w), taken off all flows: what the movie's own have in common

    @property
    def expected_error(self) -> np.ndarray:
        """(h, w) float32 px, see `Tracker.expected_error`; NaN for rigid motion only."""
        if self.refiner is None:
            return np.full(self.estimator.coarse, np.nan, np.float32)
        return self.trackers[-1].expected_error(self.refiner)

    def motion(self, frames: Iterator[tuple[int, np.ndarray]], mapping: Callable = map) -> Iterator[Batch]:
        """(number of the first frame, frames) -> frames with their motion, a few frames late.

        `mapping` is `map`, or does the same with several threads.
        """
        batches = mapping(self._estimated, frames)
        if self.refiner is None:
            yield from batches
            return
        batches = smooth_in_time(batches, self.width, split=True)
        for step, tracker in enumerate(self.trackers):
            linearised = mapping(partial(_linearised, self.refiner, self.sampled, LIMITS[step]), batches)
            batches = tracked(linearised, self.refiner, tracker)
        for batch in batches:
            judged = ~batch.motion.flagged[:, None, None, None]
            flow = np.where(judged, batch.motion.flow - self.constant, 0)
            yield replace(batch, motion=replace(batch.motion, flow=flow))

    def _estimated(self, part: tuple[int, np.ndarray]) -> Batch:
        start, frames = part
        return Batch(start, frames, self.estimator(frames))


def _linearised(
    refiner: Refiner, sampled: dict[int, np.ndarray], limit: float, batch: Batch
) -> tuple[Batch, Equations]:
    return batch, linearise(batch, refiner, sampled, limit)


def refining(plan: Plan, samples: Samples, smooth: float | None, *, own: bool, mapping: Callable = map) -> Plan:
    """`plan` with all that follows the network, measured on samples whose motion is known roughly.

    `smooth` is the time, in frames, over which motion is taken to be correlated; None: measured, too. `own`
    says that the reference was made of the samples.
    """
    runs, width = _smoothed(samples, smooth)
    samples = replace(samples, motion=np.concatenate([run.motion.total() for run in runs]))
    trusted = np.ones(len(samples.runs), bool)
    for _ in range(2):  # again without the frames that do not fit, so that they do no harm
        template = build_template(_some(samples, trusted), plan.reference, move_known, own=own, mapping=mapping)
        refiner = Refiner(template)  # on the CPU: not every accelerator has float64
        numbers = np.concatenate([np.arange(run.start, run.stop) for run in runs])
        how = refiner, _in_template(template, numbers, samples.motion, trusted)
        parts = list(mapping(partial(_linearised, *how, LIMITS[0]), runs))
        before, trusted = trusted, _fits(parts)
        if trusted.all() or (trusted == before).all():
            break
    trackers, found = [], runs
    for limit in LIMITS:
        if trackers:
            parts = list(mapping(partial(_linearised, *how, limit), found))
        prior = measure_prior(refiner, joined(part for _, part in parts), samples.runs, trusted)
        prior = prior.about_zero() if own else prior
        prior = prior if smooth is None else prior.with_motion_lasting(smooth)
        trackers.append(Tracker(refiner, prior, _usual(parts)))
        found = list(tracked(iter(parts), refiner, trackers[-1]))
    constant = np.concatenate([batch.motion.flow for batch in found]).mean(axis=0) if own else 0.0
    sampled = _in_template(template, samples.numbers, samples.motion, trusted)
    return replace(
        plan, refiner=refiner, trackers=tuple(trackers), sampled=sampled, width=width, constant=constant
    )


def _smoothed(samples: Samples, smooth: float | None) -> tuple[list[Batch], float]:
    """Samples by runs, their motion smoothed in time; and over how many frames."""
    rigid = samples.motion.mean(axis=(2, 3))
    flow = samples.motion - rigid[:, :, None, None]
    motion = Motion(rigid, flow, np.zeros(len(rigid), bool))
    width = choose_width(motion.flow, samples.runs) if smooth is None else smooth
    apart = runs_apart(Batch(0, samples.frames, motion), samples.runs)
    return list(smooth_in_time(apart, width, split=True)), width


def _some(samples: Samples, chosen: np.ndarray) -> Samples:
    if chosen.all():  # indexing copies, and samples are most of what is in memory
        return samples
    return Samples(*(values[chosen] for values in vars(samples).values()))


def _in_template(
    template: Template, numbers: np.ndarray, motion: np.ndarray, trusted: np.ndarray
) -> dict[int, np.ndarray]:
    """Motion (2, h, w) by which frames, by number, were put into the template."""
    return dict(zip(numbers[trusted].tolist(), motion[trusted], strict=True)) if template.count else {}


def _usual(parts: list[tuple[Batch, Equations]]) -> float:
    return max(float(np.median(np.concatenate([part.misfit for _, part in parts]))), LEAST_MISFIT)


def _fits(parts: list[tuple[Batch, Equations]]) -> np.ndarray:
    """(n,) bool: frames that do not fit the template much worse than is usual."""
    return np.concatenate([part.misfit for _, part in parts]) <= DOUBTFUL * _usual(parts)
