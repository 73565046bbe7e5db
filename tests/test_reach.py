"""How far away frames are found."""

from dataclasses import replace

import numpy as np
import pytest
from drawn_samples import samples_of

import moco_dl
from moco_dl.correction import Corrector
from moco_dl.device import CPU
from moco_dl.infer import Estimator
from moco_dl.learning.scenes import draw_scene
from moco_dl.movie import ArrayMovie
from moco_dl.moving import move_known
from moco_dl.options import CorrectOptions
from moco_dl.reference import centred, divided, summed
from moco_dl.sampled.sample_shifts import SURE, gain_in_agreement, lie_elsewhere, mean_power


def views(places, size=96, photons=5.0):
    """Frames (n, size, size) of a scene, at `places` (n, 2) whole px."""
    rng, margin = np.random.default_rng(2), int(np.abs(places).max())
    scene = draw_scene((size + 2 * margin,) * 2, rng)[0]
    cut = [scene[y : y + size, x : x + size] for y, x in places + margin]
    return (100 * rng.poisson(photons * np.stack(cut) / scene.mean())).astype(np.uint16)


def stays_behind(count=60):
    """Tissue that jumps by 24 px of 96, after two thirds of the movie."""
    return np.stack((np.zeros(count), 24 * (np.arange(count) >= 2 * count // 3)), axis=1).astype(int)


def changes_places(count=100, *, way=(0, 24)):
    """Tissue that jumps by 24 px of 96 half way: a mean of all shows both places at once."""
    return np.outer(2 * np.arange(count) >= count, way)


def changes_lines(count=100):
    """The same, to where the scene differs so much that peaks are low."""
    return changes_places(count, way=(24, 0))


def circles(count=100):
    """Tissue that goes round in circles of 16 px of 96."""
    turns = np.arange(count) / 9
    return np.stack((16 * np.sin(turns), 16 * np.cos(turns)), axis=1).round().astype(int)


@pytest.mark.parametrize(
    ("moved", "within"), [(stays_behind, 0.5), (changes_places, 0.5), (changes_lines, 1), (circles, 0.5)]
)
def test_frames_are_found_farther_away_than_usual(moved, within):
    places, rigid = moved(), {}
    for most in (None, 14.4):  # this is what is usual
        fields = moco_dl.correct(views(places), rigid_only=True, max_shift=most, device="cpu").fields
        rigid[most] = fields.rigid + places  # the scene is displaced the other way
    spread = {most: np.abs(found - np.median(found, axis=0)).max() for most, found in rigid.items()}
    assert spread[None] < within and spread[14.4] > 4


@pytest.mark.parametrize(("moved", "most"), [(lambda: np.zeros((60, 2), int), 14), (circles, 43)])
def test_places_that_look_alike_do_not_widen_the_search(moved, most, monkeypatch):
    monkeypatch.setattr("moco_dl.rigid_survey.lie_beyond", lambda *_: True)
    frames = views(moved())
    plan = Corrector(CorrectOptions(rigid_only=True, device="cpu")).prepare(ArrayMovie(frames))
    assert plan.estimator.correlation_maps(frames[:1]).shape == (1, 2 * most + 1, 2 * most + 1)


def test_samples_agree_better_where_they_are_and_lie_elsewhere_if_they_are_not():
    places = np.random.default_rng(4).integers(-6, 7, (30, 2))
    frames = views(places).astype(np.float32)
    samples = samples_of(frames, 3)
    true = centred(-places[:, :, None, None].astype(np.float32))
    references = [divided(*summed(samples, motion, move_known)) for motion in (0 * true, true)]

    def register(reference):
        return Estimator(reference, None, max_shift=14, device=CPU)

    def gain(*order):
        motions, made = ([kinds[i] for i in order] for kinds in ((0 * true, true), references))
        return gain_in_agreement(samples, motions, made, register, move_known, map)

    assert gain(0, 1) > SURE and gain(1, 0) < -SURE and gain(1, 1) == 0
    looking = register(references[1])
    looking = looking.expecting(mean_power(samples, looking, map))
    assert not lie_elsewhere(replace(samples, motion=true), looking, map)
    assert lie_elsewhere(replace(samples, motion=0 * true), looking, map)
