"""How the motion of one movie is found: everything that is measured on samples before the stream starts."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch

from moco_dl.batch import DOUBTFUL, Batch, Equations, Motion, chosen, joined, run_slices, runs_apart
from moco_dl.device import full_device
from moco_dl.equations import linearise, response
from moco_dl.infer import Estimator, binned, move_known
from moco_dl.network import STRIDE
from moco_dl.prior import measure_prior
from moco_dl.refine import Refiner
from moco_dl.samples import Samples, chunks
from moco_dl.smooth import choose_width, smooth_in_time
from moco_dl.template import BLUR, NO_PART, build_template
from moco_dl.track import Tracker, tracked

UNSURE = 1.5, 4.0  # times its expected error, between which motion may be false: less is none, more is clear
CALIBRATING = 2  # runs of samples, from which it is seen how much frames tell of a displacement
APART = 2  # frames, of which the network sees one where motion lasts: the steps find what it does not see
LASTS = 2.0  # frames over which its fields are smoothed then, at least
LEAST_TOLD = 0.25  # that an expected error is corrected for
LEAST_MISFIT = 0.01  # of the expected variance; frames that are all alike leave next to nothing


@dataclass(frozen=True)
class Step:
    """A Gauss-Newton step."""

    refiner: Refiner
    tracker: Tracker


@dataclass(frozen=True)
class Plan:
    """The reference, and how frames are brought onto it."""

    reference: np.ndarray  # (H, W) float32
    estimator: Estimator
    steps: tuple[Step, ...] = ()  # none: rigid only
    parts: dict[int, int] = field(default_factory=dict)  # of the template, that frames are in, by number
    samples: dict[int, np.ndarray] = field(default_factory=dict)  # their motion (2, h, w) px, by number
    binning: int = 1  # pixels a side over which frames are averaged for the first step
    apart: int = 1  # frames, of which the network sees one
    width: float = 0.0  # frames, sigma of the smoothing of the network's fields in time
    constant: np.ndarray | float = 0.0  # px (2, h, w), taken off all flows: what the movie's own have in common
    told: float = 1.0  # share of a small displacement that frames tell of in the last step

    @property
    def computing(self) -> torch.device:
        """Where frames are compared with the reference, and moved."""
        return full_device(self.estimator.device)

    @property
    def expected_error(self) -> np.ndarray:
        """(h, w) float32 px, see `Tracker.expected_error`; NaN for rigid motion only.

        If frames tell of less than a displacement, then noise stands for more of it, and so does motion.
        """
        if not self.steps:
            return np.full(self.estimator.coarse, np.nan, np.float32)
        return self.steps[-1].tracker.expected_error(self.steps[-1].refiner) / self.told

    def motion(self, frames: Iterator[tuple[int, np.ndarray]], mapping: Callable = map) -> Iterator[Batch]:
        """(number of the first frame, frames) -> frames with their motion, a few frames late.

        `mapping` is `map`, or does the same with several threads.
        """
        batches = mapping(self._estimated, frames)
        if not self.steps:
            yield from batches
            return
        batches = smooth_in_time(batches, self.width)
        for step in self.steps:
            linearised = mapping(partial(self._linearised, step.refiner), batches)
            batches = tracked(linearised, step.refiner, step.tracker)
        for batch in batches:
            judged = ~batch.motion.flagged[:, None, None, None]
            flow = np.where(judged, batch.motion.flow - self.constant, 0)
            yield replace(batch, motion=replace(batch.motion, flow=flow))

    def _estimated(self, part: tuple[int, np.ndarray]) -> Batch:
        """What the network finds; it has seen the samples already."""
        start, frames = part
        numbers = np.arange(start, start + len(frames))
        known = np.array([number in self.samples for number in numbers.tolist()])
        seen = numbers % self.apart == 0
        motion = self.estimator(frames, seen & ~known)
        for i in np.flatnonzero(known):
            motion.flow[i] = self.samples[int(numbers[i])] - motion.rigid[i, :, None, None]
        return Batch(start, frames, replace(motion, unseen=~seen & ~known))

    def _linearised(self, refiner: Refiner, batch: Batch) -> tuple[Batch, Equations]:
        parts = np.array([self.parts.get(number, NO_PART) for number in range(batch.start, batch.stop)])
        return batch, linearise(batch.frames, batch.motion, refiner, parts)


def refining(plan: Plan, samples: Samples, smooth: float | None, *, own: bool, mapping: Callable = map) -> Plan:
    """`plan` with all that follows the network, measured on samples whose motion is known roughly.

    `smooth` is the time, in frames, over which motion is taken to be correlated; None: measured, too. `own`
    says that the reference was made of the samples.
    """
    seen = samples.motion
    batch, width = _smoothed(samples, smooth)
    samples = replace(samples, motion=batch.motion.total())
    rough, equations, trusted = _roughly(plan, samples, batch.motion, own=own, mapping=mapping)
    first, batch = _step(rough, (batch, equations), samples.runs, trusted, own=own, smooth=smooth)
    motion = batch.motion.total()
    times = np.hypot(*motion.swapaxes(0, 1)).mean() / first.tracker.expected_error(rough).mean()
    if not UNSURE[0] < times < UNSURE[1]:
        # Samples lie closer to one another so: what is made of them is sharper. False motion would confirm
        # itself.
        samples = replace(samples, motion=motion)
    template = build_template(_some(samples, trusted), plan.reference, move_known, own=own, mapping=mapping)
    fine, parts = Refiner(template, device=plan.computing), _parts(samples, trusted)
    equations = _equations(fine, batch, parts, mapping)
    told = _told(fine, batch, samples.runs, parts, mapping)
    second, batch = _step(fine, (batch, equations), samples.runs, trusted, own=own, smooth=smooth)
    return replace(
        plan,
        steps=(first, second),
        parts=dict(zip(samples.numbers.tolist(), parts.tolist(), strict=True)),
        samples=dict(zip(samples.numbers.tolist(), seen, strict=True)),
        apart=plan.apart if width >= LASTS else 1,
        width=width,
        constant=batch.motion.flow.mean(axis=0) if own else 0.0,
        told=told,
    )


def _roughly(
    plan: Plan, samples: Samples, motion: Motion, *, own: bool, mapping: Callable
) -> tuple[Refiner, Equations, np.ndarray]:
    """Refiner for binned frames, the samples' equations, and which samples (n,) are trusted."""
    binning, batch = plan.binning, Batch(0, samples.frames, motion)
    shrunk, trusted = _shrunk(samples, binning, mapping), np.ones(len(samples.runs), bool)
    small, move = binned(plan.reference[None], binning)[0], partial(move_known, stride=STRIDE // binning)
    for last in (False, True):  # again without the frames that do not fit, so that they do no harm
        some = _some(shrunk, trusted)
        template = build_template(some, small, move, own=own, mapping=mapping, blur=BLUR / binning)
        rough = Refiner(template, binning, device=plan.computing)
        equations = _equations(rough, batch, _parts(samples, trusted), mapping)
        fits = equations.misfit <= DOUBTFUL * _usual(equations)
        if last or (fits == trusted).all():
            break
        trusted = fits
    return rough, equations, trusted


def _equations(refiner: Refiner, batch: Batch, parts: np.ndarray, mapping: Callable) -> Equations:
    """Equations of samples; those that are in one of the template's `parts` (n,) are looked at together."""
    places = [np.flatnonzero(parts == part) for part in np.unique(parts)]
    found = mapping(
        lambda some: linearise(batch.frames[some], chosen(batch.motion, some), refiner, parts[some]), places
    )
    return chosen(joined(found), np.argsort(np.concatenate(places)))


def _told(refiner: Refiner, batch: Batch, runs: np.ndarray, parts: np.ndarray, mapping: Callable) -> float:
    """Share of a small displacement that samples tell of, see `response`."""
    some = run_slices(runs)
    some = some[:: max(len(some) // CALIBRATING, 1)]
    found = mapping(
        lambda run: response(batch.frames[run], chosen(batch.motion, run), refiner, parts[run]), some
    )
    told, expected = sum(found)
    return float(np.clip(told / expected, LEAST_TOLD, 1.0)) if expected > 0 else 1.0


def _step(
    refiner: Refiner,
    told: tuple[Batch, Equations],
    runs: np.ndarray,
    trusted: np.ndarray,
    *,
    own: bool,
    smooth: float | None,
) -> tuple[Step, Batch]:
    """A step with the prior that is measured on samples and their equations; samples with what it finds."""
    batch, equations = told
    prior = measure_prior(refiner, equations, runs, trusted, own=own)
    prior = prior if smooth is None else prior.with_motion_lasting(smooth)
    tracker = Tracker(refiner, prior, _usual(equations))
    apart = zip(runs_apart(batch, runs), (chosen(equations, run) for run in run_slices(runs)), strict=True)
    found = joined(run.motion for run in tracked(apart, refiner, tracker))
    return Step(refiner, tracker), replace(batch, motion=found)


def _shrunk(samples: Samples, factor: int, mapping: Callable) -> Samples:
    """Samples averaged over `factor` x `factor` pixels, and their motion in these."""
    if factor == 1:
        return samples
    frames = np.concatenate(list(mapping(partial(binned, factor=factor), chunks(samples.frames))))
    return replace(samples, frames=frames, motion=samples.motion / factor)


def _smoothed(samples: Samples, smooth: float | None) -> tuple[Batch, float]:
    """Samples, their motion smoothed in time; and over how many frames."""
    rigid = samples.motion.mean(axis=(2, 3))
    motion = Motion(rigid, samples.motion - rigid[:, :, None, None], np.zeros(len(rigid), bool))
    width = choose_width(motion.flow, samples.runs) if smooth is None else smooth
    batch = Batch(0, samples.frames, motion)
    smoothed = smooth_in_time(runs_apart(batch, samples.runs), width)
    return replace(batch, motion=joined(run.motion for run in smoothed)), width


def _some(samples: Samples, trusted: np.ndarray) -> Samples:
    if trusted.all():  # indexing copies, and samples are most of what is in memory
        return samples
    return chosen(samples, trusted)


def _parts(samples: Samples, trusted: np.ndarray) -> np.ndarray:
    """(n,) part of the template that each sample is in; NO_PART if it is not trusted."""
    parts = np.full(len(trusted), NO_PART)
    for number, part in enumerate(_some(samples, trusted).parts()):
        parts[np.flatnonzero(trusted)[part]] = number
    return parts


def _usual(equations: Equations) -> float:
    return max(float(np.median(equations.misfit)), LEAST_MISFIT)
