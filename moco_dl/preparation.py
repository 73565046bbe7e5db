"""What is measured on samples of a movie before the motion of its frames can be found."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from moco_dl.blocks import binned
from moco_dl.finish import Finish
from moco_dl.motion import DOUBTFUL, Equations, Motion, concatenate, take
from moco_dl.moving import displaced, move_known
from moco_dl.network import STRIDE
from moco_dl.plan import NEVER, Plan
from moco_dl.refinement.anchor import Registration, likeness
from moco_dl.refinement.bend import Bends, inverse
from moco_dl.refinement.equations import share_told
from moco_dl.refinement.misfit import LEAST, measure_usual
from moco_dl.refinement.nearer import GivenReference
from moco_dl.refinement.refine import Refiner, refiner_of
from moco_dl.refinement.template import BLUR, Template, build_template
from moco_dl.refinement.weighed import part_numbers, sample_equations, weighed_equations
from moco_dl.sampled.samples import Samples, chunks, mean_length, share_beyond
from moco_dl.step import KnownSamples, Step
from moco_dl.stream import Batch, filter_batches
from moco_dl.tracking.covariance import learn_covariance
from moco_dl.tracking.prior import measure_prior
from moco_dl.tracking.rest import middle_shift, rest_weights
from moco_dl.tracking.smooth import WIDTHS, Smoothing, choose_width
from moco_dl.tracking.steady import measure_steadiness
from moco_dl.tracking.strays import measure_strays
from moco_dl.tracking.track import Linearised, Tracker, clarity
from moco_dl.tracking.trajectory import measure_trajectory

FAR = 0.7  # px, mean length of a first step that is taken again from where it led to: details are not wider
STEPS = 5  # on binned frames, at most
BEYOND, MANY = 1.0, 0.05  # px, farther than which gradients do not tell; share of places for which steps go on
FASTEST = 0.9  # quantile of the samples, by the motion of their rows, that is looked at
FALSE = 1 / 16  # of the variance of tissue's motion: if less is left without the network, what it sees is false
SHEARED = 0.5  # px root mean square there: more, and the first step is taken again, and the network sees all
LASTS = 2.0  # frames over which the network's fields are smoothed, from which on it need not see all
UNEVEN = 0.3  # standard deviation of the logarithm of misfits, from which on frames are not alike in noise


@dataclass(frozen=True)
class Preparation:
    """Measures on samples, whose motion is known roughly, what follows the network."""

    smooth: float | None  # frames over which motion is taken to be correlated; None: measured, too
    given: GivenReference | None  # reference onto which frames are brought; None: what the samples show
    mapping: Callable  # `map`, or what does the same with several threads

    def first_steps(self, plan: Plan, samples: Samples) -> tuple[Plan, Motion, np.ndarray]:
        """`plan` with what comes before the last step, the samples' motion then, and which are trusted (n,).

        Samples are averaged over `plan.binning` x `plan.binning` pixels. Their motion is changed: it takes too
        much memory to keep.
        """
        seen, motion, width = self._smoothed(samples)
        trusted, step = self._begun(plan, samples, motion)
        if plan.outshone and plan.walk is not None:
            fewer, other = self._begun(plan, samples, plan.walk.alone(motion))
            moves = [each.tracker.prior.tissue.diagonal().mean() for each in (step, other)]
            if moves[1] < FALSE * moves[0]:
                plan, seen = replace(plan, apart=NEVER), plan.walk.alone(seen)
                trusted, step, motion = fewer, other, other.motion
        steps, rough = [step], step.refiner
        after = self._moved(step, samples)
        rows = np.sqrt(np.square(after.rows).sum(axis=1).mean(axis=1))
        sheared = np.quantile(rows, FASTEST) > SHEARED
        again = sheared or mean_length(after, motion) > FAR
        while again:
            before = after
            equations = sample_equations(rough, samples, before, trusted, self.mapping)
            steps.append(self._step(rough, samples, before, equations, trusted))
            after = self._moved(steps[-1], samples)
            again = len(steps) < STEPS and share_beyond(BEYOND, after, before) > MANY
        rough.difference.forget_parts()
        plan = replace(
            plan,
            steps=tuple(steps),
            known=KnownSamples({number: place for place, number in enumerate(samples.numbers.tolist())}, seen),
            apart=plan.apart if plan.apart == NEVER or (width >= LASTS and not sheared) else 1,
            width=width,
        )
        return plan, after, trusted

    def last_step(self, plan: Plan, samples: Samples, motion: Motion, trusted: np.ndarray) -> Plan:
        """`plan`, with what `first_steps` found, made complete."""
        rough = plan.steps[-1]
        move = partial(move_known, device=plan.computing)
        template = self._template(samples, motion.total(), trusted, reference=plan.reference, move=move)
        fine = refiner_of(template, plan.background, 1, plan.computing)
        constant = 0.0
        if self.given is not None:
            shown = np.where(np.isfinite(template.noise), template.image, np.nan)
            there = Registration(shown, fine)(self.given.image, self.given.begun, self.given.far)
            alike = likeness(move_known(self.given.image[None], there.bend[None])[0], shown)
            bends = Bends(inverse(there.bend), there.error, alike)
            plan, constant = replace(plan, reference=self.given.image, bends=bends), -motion.flow.mean(axis=0)
        del template  # to save memory
        equations = weighed_equations(fine, samples, motion, trusted, self.mapping)
        weights = rest_weights(rough.tracker, rough.equations, samples, trusted)
        both = (  # neither needs the other
            partial(share_told, fine, samples, motion, part_numbers(samples, trusted)),
            partial(self._step, fine, samples, motion, equations, trusted, weights),
        )
        share, last = self.mapping(lambda find: find(), both)
        fine.difference.forget_parts()
        filled = self.mapping(
            lambda some: last.tracker.filled(take(equations, some), take(motion, some)),
            chunks(np.arange(len(samples))),
        )
        last = replace(last, equations=concatenate(filled), last=True)
        return self._finished(replace(plan, steps=(*plan.steps, last)), samples, trusted, constant, share)

    def _finished(
        self, plan: Plan, samples: Samples, trusted: np.ndarray, constant: np.ndarray | float, share: float
    ) -> Plan:
        """`plan` with what the motion of samples shows after the last step.

        A `constant` (2, h, w) px is taken off it in any case; in that step, frames tell of a `share` of a
        displacement. A reference that was not given is moved to where tissue rests, as frames are.
        """
        last = plan.steps[-1]
        found, means = [], 0.0
        alike = np.ones(len(samples))
        weights = rest_weights(last.tracker, last.equations, samples, trusted) if self.given is None else alike
        shares = np.stack([w / w.sum() for w in (alike, weights)])
        told = self._told(last, samples)
        batches = filter_batches(told, last.tracker, self.mapping)
        for which, batch in zip(samples.stretches(), batches, strict=True):
            means = means + np.einsum("mn,nchw->mchw", shares[:, which], batch.motion.flow)
            little = replace(batch.motion, flow=batch.motion.flow.mean(axis=3, keepdims=True))  # to save memory
            found.append(replace(batch, motion=little))
        errors = last.tracker.errors(last.tracker.excess(told))
        middle, rest = means.astype(np.float32)
        if self.given is None:
            rest += middle_shift(np.concatenate([batch.motion.rigid for batch in found]))[:, None, None]
            there = (middle - plan.known.motion.flow.mean(axis=0)) - rest  # since the reference was made
            plan = replace(plan, reference=displaced(plan.reference, there, plan.computing))
        constant = constant + rest
        found = [batch.less(constant.mean(axis=2, keepdims=True)) for batch in found]
        moved = concatenate(batch.motion for batch in found)
        finish = Finish(constant, share, errors, measure_strays(moved, samples.numbers))
        if self.smooth is not None:
            return replace(plan, finish=finish)
        paths = last.tracker.prior.paths
        trajectory = measure_trajectory(errors.path, moved, samples.numbers) if paths else None
        if trajectory is not None:
            found, errors = filter_batches(found, trajectory), errors.with_path(trajectory.errors)
        noise = np.sqrt(errors.mean.ravel()) / share
        steadiness = measure_steadiness(concatenate(batch.motion for batch in found), samples.numbers, noise)
        finish = replace(finish, errors=errors, trajectory=trajectory, steadiness=steadiness)
        return replace(plan, finish=finish)

    def _smoothed(self, samples: Samples) -> tuple[Motion, Motion, float]:
        """Motion of samples, in place of theirs; the same smoothed in time; and over how many frames."""
        rigid, flow, nowhere = samples.motion.mean(axis=(2, 3)), samples.motion, np.zeros(len(samples), bool)
        flow -= rigid[:, :, None, None]
        motion = Motion(rigid, flow, flagged=nowhere, unseen=nowhere)
        width = choose_width(motion.flow, samples.runs) if self.smooth is None else min(self.smooth, WIDTHS[-1])
        batches = (batch for _, batch in _stretches(samples, motion))
        smooth = filter_batches(batches, Smoothing(width), self.mapping)
        return motion, concatenate(batch.motion for batch in smooth), width

    def _begun(self, plan: Plan, samples: Samples, motion: Motion) -> tuple[np.ndarray, Step]:
        """Which samples (n,) are trusted, and the first step, on binned frames that are moved so far."""
        binning, trusted = plan.binning, np.ones(len(samples), bool)
        small = binned(plan.reference[None], binning)[0]
        move = partial(move_known, stride=STRIDE // binning, device=plan.computing)
        placed = motion.total() / binning
        for last in (False, True):  # again without the frames that do not fit, so that they do no harm
            options = {"reference": small, "move": move, "blur": BLUR / binning}
            template = self._template(samples, placed, trusted, **options)
            rough = refiner_of(template, plan.background, binning, plan.computing)
            equations = sample_equations(rough, samples, motion, trusted, self.mapping)
            usual = measure_usual(equations, rough.difference.strength)
            fits = usual.beyond_doubt(usual.misfit(equations), equations) <= DOUBTFUL
            if last or (fits == trusted).all():
                break
            trusted = fits
        return trusted, self._step(rough, samples, motion, equations, trusted)

    def _template(
        self, samples: Samples, placed: np.ndarray, trusted: np.ndarray, **options: object
    ) -> Template:
        """Template from the samples that are `trusted` (n,), moved as they are `placed` (n, 2, h, w)."""
        some = replace(samples, motion=placed).only(trusted)
        return build_template(some, mapping=self.mapping, **options)

    def _step(
        self,
        refiner: Refiner,
        samples: Samples,
        motion: Motion,
        equations: Equations,
        trusted: np.ndarray,
        weights: np.ndarray | None = None,
    ) -> Step:
        """A step, with filters for a prior that is measured on samples' equations; see `measure_prior`."""
        prior = measure_prior(refiner, equations, samples.runs, trusted, weights)
        usual = measure_usual(equations, refiner.difference.strength)
        misfit = usual.misfit(equations)
        uneven = bool(np.log(np.maximum(misfit, LEAST)[trusted]).std() > UNEVEN)
        clear = trusted * (clarity(misfit) if uneven else 1.0)
        prior = learn_covariance(prior, refiner, equations, samples.runs, clear)
        prior = prior if self.smooth is None else prior.with_motion_lasting(self.smooth)
        tracker = Tracker(refiner, prior, usual, uneven=uneven)
        tracker.follow_samples(equations.whole[trusted], clear[trusted])
        return Step(tracker, motion, replace(equations, missing=None))

    def _told(self, step: Step, samples: Samples) -> list[Linearised]:
        """What samples tell in a step, a few at a time."""
        stretches = _stretches(samples, step.motion)
        return list(
            self.mapping(lambda item: step.tracker.told(item[1], take(step.equations, item[0])), stretches)
        )

    def _moved(self, step: Step, samples: Samples) -> Motion:
        """Motion of samples after a step."""
        told = self._told(step, samples)
        return concatenate(batch.motion for batch in filter_batches(told, step.tracker, self.mapping))


def _stretches(samples: Samples, motion: Motion) -> Iterator[tuple[slice, Batch]]:
    """Places of samples that follow one another in the movie, and these as a batch, but for what they show."""
    for which in samples.stretches():
        nothing = np.empty((which.stop - which.start, 0, 0))
        yield which, Batch(int(samples.numbers[which.start]), nothing, take(motion, which))
