"""What is measured on samples of a movie before the motion of its frames can be found."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from moco_dl.batch import DOUBTFUL, Batch, Equations, Motion, chosen, joined, run_slices
from moco_dl.equations import linearise, response
from moco_dl.infer import binned, move_known
from moco_dl.network import STRIDE
from moco_dl.plan import Plan, Step
from moco_dl.prior import measure_prior
from moco_dl.refine import Refiner
from moco_dl.samples import Samples, chunks
from moco_dl.smooth import choose_width, smooth_in_time
from moco_dl.steady import Steadiness, measure_steadiness
from moco_dl.template import BLUR, NO_PART, build_template
from moco_dl.track import Tracker, tracked

UNSURE = 1.5, 4.0  # times its expected error, between which motion may be false: less is none, more is clear
FAR = 0.7  # px, mean length of a first step that is taken again from where it led to: details are not wider
CALIBRATING = 2  # runs of samples, from which it is seen how much frames tell of a displacement
LASTS = 2.0  # frames over which the network's fields are smoothed, from which on it need not see all
LEAST_TOLD = 0.25  # that an expected error is corrected for
LEAST_MISFIT = 0.01  # of the expected variance; frames that are all alike leave next to nothing


def prepared(plan: Plan, samples: Samples, smooth: float | None, *, own: bool, mapping: Callable = map) -> Plan:
    """`plan` with all that follows the network, measured on samples whose motion is known roughly.

    `smooth` is the time, in frames, over which motion is taken to be correlated; None: measured, too. `own`
    says that the reference was made of the samples. Their motion is changed: it takes too much memory to keep.
    """
    seen, motion, width = _smoothed(samples, smooth)
    samples = replace(samples, motion=motion.total())
    rough, equations, trusted = _roughly(plan, samples, motion, own=own, mapping=mapping)
    parts = _parts(samples, trusted)
    tracking = partial(_tracker, runs=samples.runs, trusted=trusted, own=own, smooth=smooth)
    steps = [Step(rough, tracking(rough, equations), motion, replace(equations, missing=None))]
    motion = joined(_after(steps[0], samples))
    if _size(motion.total() - samples.motion) > FAR:
        equations = _equations(rough, samples.frames, motion, parts, mapping)
        steps.append(Step(rough, tracking(rough, equations), motion, replace(equations, missing=None)))
        motion = joined(_after(steps[1], samples))
    times = _size(motion.total()) / steps[-1].tracker.errors(rough).length().mean()
    if not UNSURE[0] < times < UNSURE[1]:
        # Samples lie closer to one another so: what is made of them is sharper. False motion would confirm
        # itself.
        samples = replace(samples, motion=motion.total())
    template = build_template(samples.only(trusted), plan.reference, move_known, own=own, mapping=mapping)
    samples = replace(samples, motion=None)  # to save memory
    fine = Refiner(template, device=plan.computing)
    equations = _equations(fine, samples.frames, motion, parts, mapping)
    told = _told(fine, samples, motion, parts, mapping)
    tracker = tracking(fine, equations)
    filled = mapping(
        lambda some: tracker.filled(chosen(equations, some), chosen(motion, some), fine),
        chunks(np.arange(len(samples.frames))),
    )
    last = Step(fine, tracker, motion, joined(filled), last=True)
    plan = replace(
        plan,
        steps=(*steps, last),
        places=dict(zip(samples.numbers.tolist(), range(len(samples.numbers)), strict=True)),
        seen=seen,
        apart=plan.apart if width >= LASTS else 1,
        width=width,
        told=told,
    )
    return _concluded(plan, samples, own=own, steady=smooth is None)


def _concluded(plan: Plan, samples: Samples, *, own: bool, steady: bool) -> Plan:
    """`plan` with what the motion of samples shows after the last step."""
    last = plan.steps[-1]
    motion, errors = joined(_after(last, samples)), last.tracker.errors(last.refiner)
    noise = np.sqrt(errors.mean.ravel()) / plan.told
    return replace(
        plan,
        constant=motion.flow.mean(axis=0) if own else 0.0,
        errors=errors,
        steadiness=measure_steadiness(motion, samples.numbers, noise) if steady else Steadiness(),
    )


def _roughly(
    plan: Plan, samples: Samples, motion: Motion, *, own: bool, mapping: Callable
) -> tuple[Refiner, Equations, np.ndarray]:
    """Refiner for binned frames, the samples' equations, and which samples (n,) are trusted."""
    binning, trusted = plan.binning, np.ones(len(samples.runs), bool)
    shrunk = _shrunk(samples, binning, mapping)
    small, move = binned(plan.reference[None], binning)[0], partial(move_known, stride=STRIDE // binning)
    for last in (False, True):  # again without the frames that do not fit, so that they do no harm
        some = shrunk.only(trusted)
        template = build_template(some, small, move, own=own, mapping=mapping, blur=BLUR / binning)
        rough = Refiner(template, binning, device=plan.computing)
        equations = _equations(rough, samples.frames, motion, _parts(samples, trusted), mapping)
        fits = equations.misfit <= DOUBTFUL * _usual(equations)
        if last or (fits == trusted).all():
            break
        trusted = fits
    return rough, equations, trusted


def _equations(
    refiner: Refiner, frames: np.ndarray, motion: Motion, parts: np.ndarray, mapping: Callable
) -> Equations:
    """Equations of samples; those that are in one of the template's `parts` (n,) are looked at together."""
    places = [np.flatnonzero(parts == part) for part in np.unique(parts)]
    found = mapping(lambda some: linearise(frames[some], chosen(motion, some), refiner, parts[some]), places)
    return chosen(joined(found), np.argsort(np.concatenate(places)))


def _told(refiner: Refiner, samples: Samples, motion: Motion, parts: np.ndarray, mapping: Callable) -> float:
    """Share of a small displacement that samples tell of, see `response`."""
    some = run_slices(samples.runs)
    some = some[:: max(len(some) // CALIBRATING, 1)]
    found = mapping(lambda run: response(samples.frames[run], chosen(motion, run), refiner, parts[run]), some)
    told, expected = sum(found)
    return float(np.clip(told / expected, LEAST_TOLD, 1.0)) if expected > 0 else 1.0


def _size(displacement: np.ndarray) -> float:
    """Mean length, px, of displacements (n, 2, h, w)."""
    return float(np.hypot(*displacement.swapaxes(0, 1)).mean())


def _tracker(
    refiner: Refiner,
    equations: Equations,
    *,
    runs: np.ndarray,
    trusted: np.ndarray,
    own: bool,
    smooth: float | None,
) -> Tracker:
    """Filters for a prior that is measured on samples' equations."""
    prior = measure_prior(refiner, equations, runs, trusted, own=own)
    prior = prior if smooth is None else prior.with_motion_lasting(smooth)
    return Tracker(refiner, prior, _usual(equations))


def _after(step: Step, samples: Samples) -> Iterator[Motion]:
    """Motion of samples after a step, of a few at a time."""
    batches = ((batch, chosen(step.equations, which)) for which, batch in _stretches(samples, step.motion))
    return (batch.motion for batch in tracked(batches, step.refiner, step.tracker))


def _shrunk(samples: Samples, factor: int, mapping: Callable) -> Samples:
    """Samples averaged over `factor` x `factor` pixels, and their motion in these."""
    if factor == 1:
        return samples
    frames = np.concatenate(list(mapping(partial(binned, factor=factor), chunks(samples.frames))))
    return replace(samples, frames=frames, motion=samples.motion / factor)


def _smoothed(samples: Samples, smooth: float | None) -> tuple[Motion, Motion, float]:
    """Motion of samples, in place of theirs; the same smoothed in time; and over how many frames."""
    rigid, flow, nowhere = samples.motion.mean(axis=(2, 3)), samples.motion, np.zeros(len(samples.runs), bool)
    flow -= rigid[:, :, None, None]
    motion = Motion(rigid, flow, flagged=nowhere, unseen=nowhere)
    width = choose_width(motion.flow, samples.runs) if smooth is None else smooth
    batches = (batch for _, batch in _stretches(samples, motion))
    return motion, joined(batch.motion for batch in smooth_in_time(batches, width)), width


def _stretches(samples: Samples, motion: Motion) -> Iterator[tuple[slice, Batch]]:
    """Places of samples that follow one another in the movie, and these as a batch."""
    for which in run_slices(samples.numbers - np.arange(len(samples.numbers))):
        yield which, Batch(int(samples.numbers[which.start]), samples.frames[which], chosen(motion, which))


def _parts(samples: Samples, trusted: np.ndarray) -> np.ndarray:
    """(n,) part of the template that each sample is in; NO_PART if it is not trusted."""
    parts = np.full(len(trusted), NO_PART)
    for number, part in enumerate(samples.only(trusted).parts()):
        parts[np.flatnonzero(trusted)[part]] = number
    return parts


def _usual(equations: Equations) -> float:
    return max(float(np.median(equations.misfit)), LEAST_MISFIT)
