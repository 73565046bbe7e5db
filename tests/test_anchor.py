"""References that are given."""

import numpy as np
import pytest
import torch
from truth import INTERIOR, end_point_error

import moco_dl
from moco_dl.correction import Corrector
from moco_dl.learning.scenes import draw_scene
from moco_dl.movie import ArrayMovie
from moco_dl.network import STRIDE
from moco_dl.options import CorrectOptions
from moco_dl.refinement.anchor import Registration, affine, likeness
from moco_dl.refinement.refine import Refiner
from moco_dl.refinement.template import Template
from moco_dl.warp import upsample, warp

SIZE = 96, 112


def pulled(images, bend):
    """Images (n, c, H, W) at the places that a bend (2, H, W) leads to."""
    images, bend = (torch.from_numpy(np.asarray(values, np.float32)) for values in (images, bend))
    return warp(images, bend.expand(len(images), -1, -1, -1), mode="bicubic").numpy()


def test_the_displacement_of_a_given_reference_is_found():
    scene = 40 * draw_scene(SIZE, np.random.default_rng(0))[0].astype(np.float32)
    refiner = Refiner(Template(scene, np.full(SIZE, scene.mean(), np.float32)))
    y, x = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float32)
    true = np.stack((0.4 + 0.2 * np.sin(y / 30), -0.3 + 0.2 * np.cos(x / 25)))
    given = pulled(scene[None, None], -true)[0, 0]
    nothing = np.zeros((2, *refiner.grid), np.float32)
    there = Registration(scene, refiner)(3 * given + 100, nothing)
    found = upsample(torch.from_numpy(there.bend)[None], STRIDE, SIZE)[0].numpy()
    assert np.hypot(*(found - true)[INTERIOR]).mean() < 0.05


@pytest.mark.parametrize("noise", [2.0, 8.0])
def test_the_error_that_is_expected_of_it(noise):
    scene, rng = 40 * draw_scene(SIZE, np.random.default_rng(0))[0].astype(np.float32), np.random.default_rng(1)
    refiner = Refiner(Template(scene, np.full(SIZE, scene.mean(), np.float32)))
    nothing = np.zeros((2, *refiner.grid), np.float32)
    given = [scene + noise * rng.standard_normal(SIZE).astype(np.float32) for _ in range(10)]
    found = [Registration(scene, refiner)(image, nothing) for image in given]
    off, expected = (
        np.mean([f(there) for there in found]) for f in (_length, lambda there: there.error.mean())
    )
    assert off == pytest.approx(expected, rel=0.4)


@pytest.mark.parametrize("bent", [False, True])
def test_cells_that_are_active_in_one_of_them(bent):
    """They are no motion, though the network may see them as such: only what moves all over is."""
    rng = np.random.default_rng(0)
    base, *cells = 40 * draw_scene(SIZE, rng, groups=12).astype(np.float32)
    refiner = Refiner(Template(base + sum(cells[:6]), np.full(SIZE, base.mean(), np.float32)))
    y, x = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float32)
    true = np.stack((0.8 * np.sin(y / 30) + 0.4, 0.8 * np.cos(x / 25) - 0.3)) if bent else np.zeros((2, *SIZE))
    given = pulled((base + sum(cells[6:]))[None, None], -true)[0, 0]
    coarse = true[:, ::STRIDE, ::STRIDE].astype(np.float32)
    wrong = 0.4 * np.sin(np.mgrid[: refiner.grid[0], : refiner.grid[1]])
    there = Registration(base + sum(cells[:6]), refiner)(given, (0.8 * coarse + wrong).astype(np.float32))
    found = upsample(torch.from_numpy(there.bend)[None], STRIDE, SIZE)[0].numpy()
    off = np.hypot(*(found - true)[INTERIOR]).mean()
    assert off < 0.15 and off < 2 * there.error.mean()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_one_image_is_brought_onto_another(seed):
    rng = np.random.default_rng(seed)
    scene = 300 * draw_scene((128, 144), rng)[0].astype(np.float32)
    y, x = np.mgrid[:128, :144].astype(np.float32)
    true = np.stack((2.3 + 2 * np.sin(y / 30), -3.1 + 2 * np.cos(x / 25)))
    image = rng.poisson(scene).astype(np.float32)
    given = rng.poisson(pulled(scene[None, None], true)[0, 0].clip(0)).astype(np.float32)
    found, rigid = (moco_dl.correct(image[None], given, rigid_only=only).fields for only in (False, True))
    off, shifted = (np.hypot(*(fields[:][0] - true)[INTERIOR]).mean() for fields in (found, rigid))
    assert off < 0.2 and off < 0.2 * shifted
    assert off < 3 * found.expected_error.mean()


def _length(there):
    return np.hypot(*there.bend).mean()


def test_how_alike_images_are():
    rng = np.random.default_rng(0)
    scene, other = (40 * draw_scene(SIZE, np.random.default_rng(seed))[0].astype(np.float32) for seed in (0, 1))
    light = np.linspace(0, 500, SIZE[1], dtype=np.float32)
    dim = rng.poisson(scene).astype(np.float32)
    dim[:30] = np.nan
    assert likeness(scene, scene) == pytest.approx(1)
    assert likeness(3 * scene + light, dim) > 0.8
    assert abs(likeness(scene + light, other + light)) < 0.3
    assert abs(likeness(scene, scene[::-1])) < 0.3
    assert likeness(scene, light + 0 * scene) == pytest.approx(0, abs=0.3)


def test_what_is_turned_and_stretched_as_a_whole():
    y, x = np.mgrid[:20, :30].astype(np.float32)
    turned = np.stack((3 + 0.1 * y - 0.2 * x, 0.15 * y + 0.1 * x - 1))
    np.testing.assert_allclose(affine(turned), turned, atol=1e-4)
    waves = np.stack((np.sin(y), np.cos(x)))
    np.testing.assert_allclose(affine(turned + waves), turned + affine(waves), atol=1e-4)


@pytest.mark.parametrize("frames_of_it", [3, 40])
def test_motion_is_as_good_as_without_a_given_reference(known_movie, movie, result, frames_of_it):
    """In another unit, and with the noise of few frames; but for what it is bent itself."""
    frames, truth = known_movie
    aligned = moco_dl.apply(frames, movie[1])
    given = 0.01 * aligned[:frames_of_it].mean(axis=0) - 3
    fields = moco_dl.correct(frames, given).fields
    found, own = fields[:], result.fields[:]
    np.testing.assert_allclose(fields.rigid, found.mean(axis=(2, 3)), atol=1e-3)
    constant = np.median(found - truth, axis=0)
    assert end_point_error(found - constant, truth) < 1.1 * end_point_error(own, truth)
    assert np.hypot(*constant[INTERIOR]).mean() < 0.3
    np.testing.assert_allclose(fields.reference, given, rtol=1e-6)


def test_what_it_shows_otherwise_does_not_scatter_frames(known_movie, movie, result):
    frames, truth = known_movie
    given = moco_dl.apply(frames, movie[1]).mean(axis=0)
    other = draw_scene(SIZE, np.random.default_rng(1))[0]
    given = given + 1.5 * given.std() * (other - other.mean()) / other.std()
    found, own = moco_dl.correct(frames, given.astype(np.float32)).fields[:], result.fields[:]
    scatter = end_point_error(found - np.median(found - truth, axis=0), truth)
    assert scatter < 1.1 * end_point_error(own, truth)


def test_whole_frames_move_as_without_it(known_movie, movie):
    """But for one shift of all."""
    frames, truth = known_movie
    given = moco_dl.apply(frames, movie[1]).mean(axis=0).astype(np.float32)
    given = np.roll(given, (2, -3), axis=(0, 1))
    found, own = (moco_dl.correct(frames, image, rigid_only=True).fields.rigid for image in (given, None))
    apart = found - own
    np.testing.assert_allclose(apart, apart[:1].repeat(len(apart), axis=0), atol=1e-4)
    shown = truth[INTERIOR].mean(axis=(2, 3)) - (2, -3)
    assert np.hypot(*(found - shown).mean(axis=0)) < 0.2


@pytest.mark.parametrize("size", [4.0, 10.0])
def test_a_reference_that_is_bent(known_movie, movie, size):
    """As of another day: farther than the network sees at once. Fields lead from the reference as it is."""
    frames, truth = known_movie
    y, x = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float32)
    bend = size * np.stack((0.5 + 0.4 * np.sin(y / 20 + 1), 0.4 * np.cos(x / 22)))
    aligned = moco_dl.apply(frames, movie[1]).mean(axis=0).astype(np.float32)
    given = pulled(aligned[None, None], bend)[0, 0]
    found = moco_dl.correct(frames, given).fields[:]
    inner = np.s_[..., 20:-20, 20:-20]
    expected = bend + pulled(truth, bend)
    assert np.hypot(*(found - expected).swapaxes(0, 1))[inner].mean() < 0.35


@pytest.mark.parametrize(("degrees", "scale"), [(8, 1.0), (-5, 1.05)])
def test_a_reference_that_is_turned(known_movie, movie, degrees, scale):
    """Farther at the corners than tissue ever moves; what comes in there is not in the reference."""
    frames, truth = known_movie
    places = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float32)
    centred = places - np.reshape(SIZE, (2, 1, 1)) / 2
    sine, cosine = scale * np.sin(np.deg2rad(degrees)), scale * np.cos(np.deg2rad(degrees))
    bend = np.einsum("ij,jhw->ihw", [[cosine, sine], [-sine, cosine]], centred) - centred
    aligned = moco_dl.apply(frames, movie[1]).mean(axis=0).astype(np.float32)
    given = pulled(aligned[None, None], bend)[0, 0]
    fields = moco_dl.correct(frames, given).fields
    inner = np.s_[..., 20:-20, 20:-20]
    error = np.hypot(*(fields[:] - bend - pulled(truth, bend)).swapaxes(0, 1))[inner]
    assert error.mean() < 0.35
    np.testing.assert_array_equal(fields.reference, given)


def test_strips_that_another_tool_has_filled(known_movie, movie):
    frames = known_movie[0]
    whole = moco_dl.apply(frames, movie[1]).mean(axis=0).astype(np.float32)
    filled, unknown = whole.copy(), whole.copy()
    for image, value in ((filled, 0.0), (unknown, np.nan)):
        image[:9] = image[:, -7:] = value
    filled[-1] = 5.0
    unknown[-1] = np.nan
    found, expected = (moco_dl.correct(frames, image).fields for image in (filled, unknown))
    np.testing.assert_array_equal(found[:], expected[:])
    assert np.abs(found[:] - moco_dl.correct(frames, whole).fields[:]).mean() < 0.05


@pytest.mark.parametrize("unit", [0.05, 20.0])
def test_a_reference_in_another_unit_is_no_pattern_of_the_detector(known_movie, movie, unit):
    frames = known_movie[0]
    given = (unit * moco_dl.apply(frames, movie[1]).mean(axis=0)).astype(np.float32)
    assert Corrector(CorrectOptions()).prepare(ArrayMovie(frames), given).clearing.pattern is None
