"""How samples of a movie lie beside one another, as far as whole-frame shifts tell, and how far these reach."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from moco_dl.reference import centred, first_reference
from moco_dl.refinement.refine import BACKGROUND
from moco_dl.sampled.alike import mean_agreement
from moco_dl.sampled.neighbours import shifts_along
from moco_dl.sampled.sample_shifts import (
    LEAST,
    SURE,
    AmongOthers,
    are_apart,
    are_clear,
    gain_in_agreement,
    lie_beyond,
    lie_elsewhere,
    mean_power,
    middled,
    whole_shifts,
)
from moco_dl.sampled.samples import Samples
from moco_dl.sampled.sampling import RigidFit
from moco_dl.sampled.walk import LOST, Walk
from moco_dl.view import View

FARTHER, NEARER = 3.0, (1 / 2, 1 / 3)  # times the usual limit of shifts, if frames lie beyond that
NARROWER = 7.0  # px, sigma of the local mean that is removed from frames whose activity outshines the tissue
RIGID_PASSES = 2  # the reference is estimated this often from rigidly registered samples

Look = TypeVar("Look", bound="RigidSurvey")


@dataclass(frozen=True)
class RigidSurvey(View):
    """A look at whole-frame shifts."""

    def reaching(self: Look, times: float) -> Look:
        """The same, looking for shifts that are so many times as large."""
        farther = times * self.options.farthest(self.movie.shape[1:])
        return replace(self, options=replace(self.options, max_shift=farther))

    def rigid_fit(self, samples: Samples) -> RigidFit:
        """Samples that make the reference, registered."""
        some = self.enough(samples)
        first = first_reference(samples.only(some))
        if not are_clear(samples.only(some), self.rigid_estimator(first), self.mapping):
            walking = self._walking_fit(samples, first)
            return self._following(samples, walking)[0] if self._doubtful(walking) else walking
        usual, elsewhere = self._clear_fit(samples, some, first)
        surely = usual.agree.sum() >= LEAST and self._outshone(usual)
        if not (elsewhere or surely):
            return usual
        walking, begin = self._following(samples, self._walking_fit(samples, first))
        if are_apart(begin[some, :, 0, 0], usual.shifts):
            there, *_ = self.build_reference_at(samples.only(some), begin[some], first)
            usual = self._most_alike(samples, (usual, self._clear_fit(samples, some, there)[0]))
        gain = self._gain(samples, usual, walking)
        if abs(gain) > SURE:
            return walking if gain > 0 else usual
        return walking if surely else self._most_alike(samples, (usual, walking))

    def _following(self, samples: Samples, fit: RigidFit) -> tuple[RigidFit, np.ndarray]:
        """The same fit of all samples, or, if they agree better by it, one that begins where samples lie beside
        those before them; and where that is (n, 2, 1, 1)."""
        begin = shifts_along(samples, self.rigid_estimator, self.move)
        if are_apart(begin[:, :, 0, 0], fit.shifts):
            other = self._walking_fit(samples, fit.reference, begin)
            if not is_lost(other.walk):
                fit = self._most_alike(samples, (fit, other))
        return fit, begin

    def _walking_fit(self, samples: Samples, first: np.ndarray, begin: np.ndarray | None = None) -> RigidFit:
        """Of all samples, in the light of one another; they may begin at shifts (n, 2, 1, 1)."""
        among = AmongOthers(samples, self.rigid_estimator, self.move, self.mapping, self.factor)
        walk = among.walk(first) if begin is None else among.walk_from(begin, first)
        reference, shifts, agree = self.build_reference_at(samples, middled(walk), first)
        return RigidFit(reference, np.ones(len(samples), bool), shifts[:, :, 0, 0], walk, agree, walk.power)

    def _clear_fit(self, samples: Samples, some: np.ndarray, first: np.ndarray) -> tuple[RigidFit, bool]:
        """Of some samples, each of which shows where it is; whether activity may have told that of some."""
        estimates = [self._centred_shifts] * RIGID_PASSES
        reference, shifts, agree = self.build_reference(samples.only(some), estimates, first)
        registered = replace(samples.only(some), motion=shifts).only(agree)
        looking = self.rigid_estimator(reference)
        power = mean_power(registered, looking, self.mapping)
        elsewhere = lie_elsewhere(registered, looking.expecting(power), self.mapping)
        return RigidFit(reference, some, shifts[:, :, 0, 0], None, agree, power), elsewhere

    def background(self, rigid: RigidFit) -> float:
        """px, sigma of the local mean without which frames are compared."""
        return NARROWER if self._outshone(rigid) else BACKGROUND

    def _doubtful(self, walking: RigidFit) -> bool:
        """Whether dim samples are lost, or what lasts in them may tell more than the tissue."""
        looking = self.rigid_estimator(walking.reference)
        return is_lost(walking.walk) or bool((looking.clutter_of(walking.power) > 1).any())

    def _outshone(self, rigid: RigidFit) -> bool:
        """Whether wide activity surely outshines the tissue."""
        return self.rigid_estimator(rigid.reference).outshone(rigid.power, NARROWER / self.factor)

    def _gain(self, samples: Samples, usual: RigidFit, other: RigidFit) -> float:
        """Of the other fit, which is of all samples; see `gain_in_agreement`."""
        motions = [shifts[:, :, None, None] for shifts in (usual.shifts, other.shifts[usual.some])]
        references = (usual.reference, other.reference)
        some = samples.only(usual.some)
        return gain_in_agreement(some, motions, references, self.rigid_estimator, self.move, self.mapping)

    def _centred_shifts(self, samples: Samples, reference: np.ndarray) -> np.ndarray:
        return centred(whole_shifts(samples, self.rigid_estimator(reference), self.mapping))

    def reaching_better(self: Look, samples: Samples, rigid: RigidFit) -> Look | None:
        """What looks as far as samples move, if this one does not, unless the user has said how far."""
        if self.options.max_shift is not None:
            return None
        some, farther, lost = samples.only(self.enough(samples)), self.reaching(FARTHER), is_lost(rigid.walk)
        limit = self.options.farthest(rigid.reference.shape)  # the usual share of its size
        if lost:
            beyond = are_clear(some, farther.rigid_estimator(first_reference(some)), self.mapping)
        else:
            images = (rigid.reference, first_reference(some))  # that of all may show two places at once
            estimators = map(farther.rigid_estimator, images)
            beyond = any(lie_beyond(some, limit, estimator, self.mapping) for estimator in estimators)
        if not beyond:
            return None
        there = farther.rigid_fit(samples)
        # Something else may move there than the scene: that tells less of shifts nearby.
        found = [(near, near.rigid_fit(samples)) for near in map(self.reaching, NEARER)]
        if rigid.walk is None:  # or samples that are out of reach there would not be clear
            found = [each for each in found if each[1].walk is None]
        # Or some only look like a place far away: then all are found near one another, or nowhere.
        if lost or (np.ptp(there.shifts, axis=0).max() > limit and not is_lost(there.walk)):
            found.append((farther, there))
        return max([(None, rigid), *found], key=lambda each: self._alike(samples, each[1]))[0]

    def _most_alike(self, samples: Samples, fits: Sequence[RigidFit]) -> RigidFit:
        return max(fits, key=lambda fit: self._alike(samples, fit))

    def _alike(self, samples: Samples, rigid: RigidFit) -> float:
        return mean_agreement(samples.only(rigid.some), rigid.shifts, self.move, self.mapping)


def is_lost(walk: Walk | None) -> bool:
    """Whether many frames are not where they are taken to be."""
    return walk is not None and walk.off > LOST
