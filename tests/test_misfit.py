"""Misfits of frames: moved by whole pixels and by fractions, of little light, of another scene."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from drawn import AS_EXPECTED, equations_of
from scipy.ndimage import gaussian_filter
from truth import end_point_error

import moco_dl
from moco_dl.learning.scenes import draw_scene
from moco_dl.learning.synth import SyntheticMovie, movie_options
from moco_dl.motion import DOUBTFUL, Motion
from moco_dl.moving import move_known
from moco_dl.refinement.misfit import LEAST, graininess, measure_usual, softness
from moco_dl.refinement.refine import Refiner
from moco_dl.refinement.template import Template

SHIFTS = np.array([(0, 0), (0.5, 0), (0.5, -0.5), (-1.25, 3), (2.9, 0.2)], np.float32)


def motion_by(shifts, flow=0.0):
    field = np.full((len(shifts), 2, 16, 16), flow, np.float32)
    return Motion(np.asarray(shifts, np.float32), field, flagged=np.zeros(len(shifts), bool))


def frames_of(misfit, **known):
    return equations_of(np.zeros((len(misfit), 2)), misfit, **known)


def test_white_noise_is_left_with_so_much():
    noise = np.random.default_rng(0).standard_normal((len(SHIFTS), 64, 64)).astype(np.float32)
    motion = motion_by(SHIFTS)
    left = np.nanvar(move_known(noise, motion.total())[:, 4:-4, 4:-4], axis=(1, 2))
    np.testing.assert_allclose(softness(motion), left, rtol=0.1)
    np.testing.assert_allclose(softness(motion_by(2 * SHIFTS, 0.5), 2), softness(motion_by(SHIFTS + 0.25)))


@pytest.mark.parametrize("power", [0.0, 0.4, 1.0])
def test_what_is_usual_is_told_from_samples(power):
    rng = np.random.default_rng(1)
    soft = rng.uniform(0.25, 1, 200)
    misfit = 3 * soft**power * rng.lognormal(0, 0.05, 200)
    misfit[::20] *= 8  # corrupt ones
    found = frames_of(misfit, brightness=0.5, soft=soft)
    usual = measure_usual(found, 0.0)
    assert usual.level == pytest.approx(3, rel=0.05) and usual.power == pytest.approx(power, abs=0.05)
    np.testing.assert_allclose(usual.misfit(found), misfit / (usual.level * soft**usual.power))
    np.testing.assert_allclose(usual.doubt(found), 0.5 * usual.misfit(found))


def test_without_noise_or_interpolation_misfits_stay_as_they_are():
    for misfit, level in ((0.0, LEAST), (2.0, 2.0)):
        usual = measure_usual(frames_of(np.full(9, misfit)), 0.0)
        assert (usual.level, usual.power) == (pytest.approx(level), 0)


@pytest.mark.parametrize("blur", [0.0, 1.0])
def test_frames_at_whole_pixels_fit_as_well_as_others(blur):
    """Also if noise is alike in pixels side by side."""
    rng = np.random.default_rng(2)
    scene, steps = draw_scene((192, 192), rng)[0], rng.integers(-6, 7, (60, 2))  # of half a pixel
    light = np.stack([np.roll(scene, step, (0, 1)) for step in steps])
    frames = rng.poisson(light.reshape(60, 96, 2, 96, 2).mean(axis=(2, 4))).astype(np.float32)
    if blur:
        frames = gaussian_filter(frames, (0, blur, blur))
    assert np.log(moco_dl.correct(frames).fields.misfit).std() < 0.1


def test_a_frame_of_little_light_is_not_doubtful_but_another_scene_is():
    """Photons: noise falls with the light, but less than the scene does."""
    rng, image = np.random.default_rng(0), 100 * draw_scene((96, 122), np.random.default_rng(4))[0]
    refiner = Refiner(Template(image, image.astype(np.float32)))
    frames = np.stack([rng.poisson(light * image) for light in (1, 0.3, 0.15)] + [rng.poisson(image[::-1])])
    frames = torch.from_numpy(frames.astype(np.float32))
    _, misfit, bright, _ = refiner.difference(frames, torch.ones_like(frames))
    assert misfit[1] > DOUBTFUL * misfit[0] and misfit[2] > 2 * DOUBTFUL * misfit[0]
    np.testing.assert_allclose(bright[:3], (1, 0.3, 0.15), atol=0.05)
    doubt = replace(AS_EXPECTED, level=float(misfit[0])).doubt(frames_of(misfit, brightness=bright))
    assert (doubt[:3] < 0.6 * DOUBTFUL).all() and doubt[3] > DOUBTFUL


def test_a_dark_frame_shows_the_scene_if_that_is_clear():
    rng, image = np.random.default_rng(0), 200 * draw_scene((96, 122), np.random.default_rng(4))[0]
    refiner = Refiner(Template(image, image.astype(np.float32) + 1))
    frames = np.stack([rng.poisson(light * image) for light in (0.06, 0.03, 0)]) + rng.normal(
        0, 1, (3, 96, 122)
    )
    frames = torch.from_numpy(frames.astype(np.float32))
    _, misfit, bright, _ = refiner.difference(frames, torch.ones_like(frames))
    np.testing.assert_allclose(bright, (0.06, 0.03, 0), atol=0.01)
    assert bright[2] == 0
    doubt = AS_EXPECTED.doubt(frames_of(misfit, brightness=bright))
    assert (doubt[:2] < DOUBTFUL).all() and doubt[2] > DOUBTFUL


def test_a_dark_frame_is_noisy_however_well_it_seems_to_fit():
    """Photon noise grows when its darkness is undone; that little of it is seen is chance."""
    image = 200 * draw_scene((96, 122), np.random.default_rng(4))[0]
    refiner = Refiner(Template(image, image.astype(np.float32) + 1))
    frames = torch.from_numpy(np.stack([0.05 * image, 0.5 * image]).astype(np.float32))
    _, misfit, bright, _ = refiner.difference(frames, torch.ones_like(frames))
    np.testing.assert_allclose(bright, (0.05, 0.5), atol=0.01)
    assert 1.5 < misfit[0] < 3 and misfit[1] < 0.1


def test_frames_of_little_light_in_a_bright_movie_are_found(known_movie):
    """As of a lamp that takes turns with a brighter one."""
    frames, truth = known_movie
    dark = np.arange(len(frames)) % 5 == 2
    floor = np.quantile(frames, 0.001)
    light = np.where(dark, 0.06, 1)[:, None, None] * (frames - floor)
    fields = moco_dl.correct((floor + light).clip(0).astype(np.float32)).fields
    errors = [end_point_error(fields[:][some], truth[some]) for some in (dark, ~dark)]
    assert errors[0] < 2 * errors[1]
    assert (fields.misfit < DOUBTFUL).all()


def test_frames_that_show_nothing_are_doubtful_even_if_few_pixels_are_known():
    """What the others would have added to the misfit is not known then."""
    rng = np.random.default_rng(5)
    image = (10 + 70 * gaussian_filter(rng.standard_normal((32, 32)), 2)).astype(np.float32)
    refiner = Refiner(Template(image, np.full(image.shape, 4, np.float32)))
    known = torch.from_numpy((rng.random((500, *image.shape)) > 0.85).astype(np.float32))
    frames = known * (10 + 0.1 * torch.from_numpy(rng.standard_normal(known.shape)).float())
    _, misfit, bright, _ = refiner.difference(frames, known)
    assert (AS_EXPECTED.doubt(frames_of(misfit, brightness=bright)) > DOUBTFUL).all()


def test_graininess_is_white_noise_and_not_tissue():
    rng = np.random.default_rng(0)
    scene = 30 * gaussian_filter(rng.standard_normal((80, 96)), 3)
    noise = rng.standard_normal((3, 80, 96)) * np.array([1, 2, 0.5])[:, None, None]
    frames = (scene + noise).astype(np.float32)
    frames[1, :40, :30] = np.nan
    found = graininess(frames)
    assert found.shape == (3, 4)
    np.testing.assert_allclose(found / 4, np.repeat([[1], [4], [0.25]], 4, axis=1), rtol=0.25)
    np.testing.assert_array_equal(graininess(frames[1:2]), found[1:2])
    assert (graininess(np.full((1, 16, 16), np.nan)) == 0).all()


@pytest.mark.parametrize(("bright", "bands", "doubt"), [(1.0, 4, 1.2), (1.0, 3, 4.8), (0.3, 4, 1.44)])
def test_frames_that_are_noisier_all_over_are_no_other_scene(bright, bands, doubt):
    """But those of which a part is, or that hardly show the scene, may be."""
    misfit, grain, brightness = np.ones(50), np.full((50, 4), 7.0), np.ones(50)
    misfit[0], brightness[0], grain[0, :bands] = 4.8, bright, 28.0
    equations = frames_of(misfit, brightness=brightness, grain=grain)
    found = measure_usual(equations, 0.0).doubt(equations)
    np.testing.assert_allclose(found, [doubt, *np.ones(49)])


def test_light_that_is_added_to_frames_spoils_them_little(known_movie):
    """As of a stimulus: they are still brought onto the reference as they show, not as others lie."""
    frames, truth = known_movie
    lit = np.arange(len(frames)) // 5 % 3 == 2
    light = 40 * np.random.default_rng(0).poisson(40.0, frames.shape)
    fields = moco_dl.correct(np.where(lit[:, None, None], frames + light, frames).astype(np.uint16)).fields
    errors = [end_point_error(fields[:][some], truth[some]) for some in (lit, ~lit)]
    assert (fields.misfit < 1.5).all()
    assert errors[0] < 1.5 * errors[1]


def test_frames_that_show_the_scene_beyond_doubt_are_not_doubtful_however_little_their_noise():
    usual = measure_usual(frames_of(np.ones(9)), 10.0)
    some = frames_of(np.array([1.0, 5.0, 5.0, 5.0, 30.0]), brightness=np.sqrt([0.0, 0.0, 1.0, 3.0, 10.0]))
    np.testing.assert_allclose(usual.doubt(some), [1, 5, 2 * DOUBTFUL, DOUBTFUL, 1.2 * DOUBTFUL])


@pytest.mark.parametrize("seed", [0, 2])
def test_bouts_of_bright_movies_are_followed(seed):
    """A fraction of a pixel makes frames more unlike the reference than their noise does."""
    options = movie_options(frames=120, size=96, photons=500.0, amplitude=5.0, rigid=4.0, calm=0.03)
    frames, truth = (np.stack(x) for x in zip(*SyntheticMovie(seed, options), strict=True))
    fields = moco_dl.correct(frames).fields
    found = fields[:]
    assert end_point_error(found - np.median(found - truth, axis=0), truth) < 0.05
    assert (fields.misfit <= DOUBTFUL).all()
