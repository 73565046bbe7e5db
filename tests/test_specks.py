"""Specks of dust, which stay in place while the tissue moves."""

import numpy as np
import pytest

import moco_dl
from moco_dl.learning.motion import MotionOptions
from moco_dl.learning.scenes import draw_scene
from moco_dl.learning.synth import MovieOptions, SyntheticMovie
from moco_dl.reference import divided
from moco_dl.sampled.inplace import Changes
from moco_dl.sampled.samples import draw_samples
from moco_dl.sampled.specks import fixed_specks

SIZE, FRAMES = 128, 40
PLACES = (40, 50), (80, 90), (90, 30)


def shadows(places=PLACES, sigma=4.0, depth=0.5):
    """(SIZE, SIZE) share of the light that specks leave."""
    y, x = np.mgrid[:SIZE, :SIZE]
    left = np.ones((SIZE, SIZE))
    for at_y, at_x in places:
        left *= 1 - depth * np.exp(-((y - at_y) ** 2 + (x - at_x) ** 2) / (2 * sigma**2))
    return left


@pytest.fixture(scope="module")
def tissue():
    """Photons (FRAMES, SIZE, SIZE) of a scene with light from behind, displaced by whole pixels; shifts."""
    rng = np.random.default_rng(1)
    shifts = rng.integers(-3, 4, (FRAMES, 2))
    scene = 50 + 10 * draw_scene((SIZE, SIZE), rng)[0]
    return np.stack([np.roll(scene, shift, axis=(0, 1)) for shift in shifts]), shifts.astype(np.float32)


def found_in(photons, shifts):
    frames = np.random.default_rng(2).poisson(photons).astype(np.uint16)
    samples, _ = draw_samples(lambda numbers: frames[numbers], [range(FRAMES)], kept=FRAMES)
    moved = [
        np.roll(frame, -shift, axis=(0, 1)) for frame, shift in zip(frames, shifts.astype(int), strict=True)
    ]
    return fixed_specks(samples, shifts, divided(np.sum(moved, axis=0), np.full((SIZE, SIZE), FRAMES)))


def test_where_specks_are(tissue):
    photons, shifts = tissue
    found = found_in(photons * shadows(), shifts)
    assert found[shadows() < 0.7].all()
    assert not found[shadows() > 0.999].any()


def test_what_moves_with_the_tissue_is_none(tissue):
    photons, shifts = tissue
    moving = np.stack([np.roll(shadows(), shift, axis=(0, 1)) for shift in shifts.astype(int)])
    for movie in (photons, photons * moving, photons * (2 - shadows())):  # the last: what is bright
        assert found_in(movie, shifts) is None


def test_what_is_still_shows_none(tissue):
    photons, shifts = tissue
    assert found_in(np.repeat(photons[:1], FRAMES, axis=0) * shadows(), np.zeros_like(shifts)) is None


@pytest.mark.parametrize("moves", [0.0, 0.5, 1.0])
def test_how_far_something_moves(moves):
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:64, :64]
    shifts = rng.normal(0, 1, (60, 2)).astype(np.float32)

    def image(dy, dx):
        return 100 * np.exp(-((y - 32 - dy) ** 2 + (x - 32 - dx) ** 2) / (2 * 10.0**2))

    frames = np.stack([image(*(moves * shift)) for shift in shifts]) + rng.normal(0, 1, (60, 64, 64))
    frames[::7, :4] = np.nan
    samples, _ = draw_samples(lambda numbers: frames[numbers].astype(np.float32), [range(60)], kept=60)
    changes = Changes(samples, shifts, 0.0)
    found = changes.moves(np.stack(np.gradient(image(0, 0))), block=8)
    assert moves - 0.02 < found < moves + 0.1
    assert Changes(samples, np.zeros_like(shifts), 0.0).moves(np.ones((2, 64, 64)), block=8) == np.inf


def test_specks_do_no_harm():
    motion = MotionOptions(spread=(20.0, 40.0), amplitude=2.0, rigid=4.0, rows=0.0)
    options = MovieOptions(shape=(FRAMES, SIZE, SIZE), photons=10.0, motion=motion)
    frames, truth = (np.stack(each) for each in zip(*SyntheticMovie(6, options), strict=True))
    lit = 10 * (frames.astype(np.float32) - 400).clip(0) + 20_000  # much light from behind
    errors = []
    for movie in (lit, lit * shadows(depth=0.3)):
        fields = moco_dl.correct(movie.astype(np.float32)).fields
        apart = fields[:] - truth
        apart -= np.median(apart, axis=(0, 2, 3), keepdims=True)
        errors.append(np.hypot(*apart.swapaxes(0, 1)).mean())
    assert errors[1] < 1.5 * errors[0]
    assert 0.005 < fields.metadata["share_left_out"] < 0.1


def test_frames_without_light_tell_of_no_specks():
    """As with a closed shutter: they lie anywhere, and would say that the scene stays in place."""
    motion = MotionOptions(spread=(20.0, 40.0), amplitude=3.0, rigid=4.0, rows=0.0)
    options = MovieOptions(shape=(60, 96, 112), photons=10.0, motion=motion)
    frames = np.stack([frame for frame, _ in SyntheticMovie(6, options)])
    dark = np.random.default_rng(0).normal(np.quantile(frames, 0.01), 5, (6, 96, 112))
    frames[20:26] = dark.clip(0)
    assert not moco_dl.correct(frames, rigid_only=True).fields.left_out.any()
