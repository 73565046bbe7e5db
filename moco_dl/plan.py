"""How the motion of one movie is found: everything that is measured on samples before the stream starts."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch

from moco_dl.batch import DOUBTFUL, Batch, Equations, Motion, joined, runs_apart
from moco_dl.device import full_device
from moco_dl.equations import linearise, response
from moco_dl.infer import Estimator, binned, move_known
from moco_dl.network import STRIDE
from moco_dl.prior import measure_prior
from moco_dl.reference import Samples
from moco_dl.refine import Refiner
from moco_dl.smooth import choose_width, smooth_in_time
from moco_dl.template import BLUR, build_template
from moco_dl.track import Tracker, tracked

UNSURE = 1.5, 4.0  # times its expected error, between which motion may be false: less is none, more is clear
CALIBRATING = 4  # runs of samples, from which it is seen how much frames tell of a displacement
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
    groups: dict[int, int] = field(default_factory=dict)  # of the template's frames, by number
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
            linearised = mapping(partial(_linearised, step.refiner, self.groups), batches)
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


def _linearised(refiner: Refiner, groups: dict[int, int], batch: Batch) -> tuple[Batch, Equations]:
    return batch, linearise(batch, refiner, groups)


def refining(plan: Plan, samples: Samples, smooth: float | None, *, own: bool, mapping: Callable = map) -> Plan:
    """`plan` with all that follows the network, measured on samples whose motion is known roughly.

    `smooth` is the time, in frames, over which motion is taken to be correlated; None: measured, too. `own`
    says that the reference was made of the samples.
    """
    seen = samples.motion
    runs, width = _smoothed(samples, smooth)
    samples = replace(samples, motion=np.concatenate([run.motion.total() for run in runs]))
    rough, parts, trusted = _roughly(plan, samples, runs, own=own, mapping=mapping)
    first, found = _step(rough, parts, samples.runs, trusted, own=own, smooth=smooth)
    motion = np.concatenate([run.motion.total() for run in found])
    times = np.hypot(*motion.swapaxes(0, 1)).mean() / first.tracker.expected_error(rough).mean()
    if not UNSURE[0] < times < UNSURE[1]:
        # Samples lie closer to one another so: what is made of them is sharper. False motion would confirm
        # itself.
        samples = replace(samples, motion=motion)
    template = build_template(_some(samples, trusted), plan.reference, move_known, own=own, mapping=mapping)
    fine, within = Refiner(template, device=plan.computing), _groups(samples, _numbers(runs), trusted)
    parts = list(mapping(partial(_linearised, fine, within), found))
    second, found = _step(fine, parts, samples.runs, trusted, own=own, smooth=smooth)
    constant = np.concatenate([batch.motion.flow for batch in found]).mean(axis=0) if own else 0.0
    groups = _groups(samples, samples.numbers, trusted)
    told = _told(fine, [batch for batch, _ in parts], within, mapping)
    known = dict(zip(samples.numbers.tolist(), seen, strict=True))
    return replace(
        plan,
        steps=(first, second),
        groups=groups,
        samples=known,
        apart=plan.apart if width >= LASTS else 1,
        width=width,
        constant=constant,
        told=told,
    )


def _told(refiner: Refiner, runs: list[Batch], groups: dict[int, int], mapping: Callable) -> float:
    """Share of a small displacement that samples tell of, see `response`."""
    some = runs[:: max(len(runs) // CALIBRATING, 1)]
    told, expected = sum(mapping(partial(response, refiner=refiner, groups=groups), some))
    return float(np.clip(told / expected, LEAST_TOLD, 1.0)) if expected > 0 else 1.0


def _roughly(
    plan: Plan, samples: Samples, runs: list[Batch], *, own: bool, mapping: Callable
) -> tuple[Refiner, list[tuple[Batch, Equations]], np.ndarray]:
    """Refiner for binned frames, the samples' equations, and which samples (n,) are trusted."""
    numbers, binning = _numbers(runs), plan.binning
    shrunk, trusted = _shrunk(samples, binning, mapping), np.ones(len(samples.runs), bool)
    small, move = binned(plan.reference[None], binning)[0], partial(move_known, stride=STRIDE // binning)
    for last in (False, True):  # again without the frames that do not fit, so that they do no harm
        some = _some(shrunk, trusted)
        template = build_template(some, small, move, own=own, mapping=mapping, blur=BLUR / binning)
        rough = Refiner(template, binning, device=plan.computing)
        within = _groups(samples, numbers, trusted)
        parts = list(mapping(partial(_linearised, rough, within), runs))
        fits = _fits(parts)
        if last or (fits == trusted).all():
            break
        trusted = fits
    return rough, parts, trusted


def _step(
    refiner: Refiner,
    parts: list[tuple[Batch, Equations]],
    runs: np.ndarray,
    trusted: np.ndarray,
    *,
    own: bool,
    smooth: float | None,
) -> tuple[Step, list[Batch]]:
    """A step with the prior that is measured on linearised samples; these with what it finds."""
    prior = measure_prior(refiner, joined(part for _, part in parts), runs, trusted)
    prior = prior.about_zero() if own else prior
    prior = prior if smooth is None else prior.with_motion_lasting(smooth)
    tracker = Tracker(refiner, prior, _usual(parts))
    return Step(refiner, tracker), list(tracked(iter(parts), refiner, tracker))


def _shrunk(samples: Samples, factor: int, mapping: Callable) -> Samples:
    """Samples averaged over `factor` x `factor` pixels, and their motion in these."""
    if factor == 1:
        return samples
    frames = mapping(lambda frame: binned(frame[None], factor)[0], samples.frames)
    return replace(samples, frames=np.stack(list(frames)), motion=samples.motion / factor)


def _smoothed(samples: Samples, smooth: float | None) -> tuple[list[Batch], float]:
    """Samples by runs, their motion smoothed in time; and over how many frames."""
    rigid = samples.motion.mean(axis=(2, 3))
    motion = Motion(rigid, samples.motion - rigid[:, :, None, None], np.zeros(len(rigid), bool))
    width = choose_width(motion.flow, samples.runs) if smooth is None else smooth
    apart = runs_apart(Batch(0, samples.frames, motion), samples.runs)
    return list(smooth_in_time(apart, width)), width


def _numbers(runs: list[Batch]) -> np.ndarray:
    return np.concatenate([np.arange(run.start, run.stop) for run in runs])


def _some(samples: Samples, chosen: np.ndarray) -> Samples:
    if chosen.all():  # indexing copies, and samples are most of what is in memory
        return samples
    return Samples(*(values[chosen] for values in vars(samples).values()))


def _groups(samples: Samples, numbers: np.ndarray, trusted: np.ndarray) -> dict[int, int]:
    """Groups of those samples that are in the template, by `numbers` (n,) of their frames."""
    places = np.flatnonzero(trusted)
    members = enumerate(_some(samples, trusted).groups())
    return {int(numbers[places[i]]): number for number, group in members for i in group}


def _usual(parts: list[tuple[Batch, Equations]]) -> float:
    return max(float(np.median(np.concatenate([part.misfit for _, part in parts]))), LEAST_MISFIT)


def _fits(parts: list[tuple[Batch, Equations]]) -> np.ndarray:
    """(n,) bool: frames that do not fit the template much worse than is usual."""
    return np.concatenate([part.misfit for _, part in parts]) <= DOUBTFUL * _usual(parts)
