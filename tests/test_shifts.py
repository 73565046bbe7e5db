"""Whole-frame shifts of dim movies, where a frame alone does not tell."""

from dataclasses import replace

import numpy as np
import pytest
import tifffile
import torch
from commands import run
from drawn_samples import samples_of
from scipy.ndimage import gaussian_filter, shift
from truth import end_point_error

import moco_dl
from moco_dl.correction import Corrector
from moco_dl.device import CPU
from moco_dl.infer import Estimator
from moco_dl.learning.scenes import draw_scene
from moco_dl.learning.synth import SyntheticMovie, movie_options
from moco_dl.movie import ArrayMovie
from moco_dl.moving import move_known
from moco_dl.network import STRIDE
from moco_dl.options import CorrectOptions
from moco_dl.reference import centred, divided, summed
from moco_dl.rigid import RigidRegistration
from moco_dl.sampled.sample_shifts import correlation_maps_with_others
from moco_dl.warp import upsample


@pytest.mark.parametrize("flicker", [np.tile((1, 0.3), 50), np.random.default_rng(1).uniform(0.3, 1, 100)])
def test_frames_whose_light_flickers_are_found_as_well_as_dark_ones(flicker):
    rng = np.random.default_rng(0)
    scene = gaussian_filter(rng.standard_normal((128, 144)), 3)
    scene *= 3 / scene.std()
    truth = rng.integers(-4, 5, (100, 2))
    moved = np.stack([scene[16 - dy : 112 - dy, 16 - dx : 128 - dx] for dy, dx in truth])
    noise = 5 * rng.standard_normal(moved.shape)

    def error(light):
        frames = (100 + light[:, None, None] * (20 + moved) + noise).astype(np.float32)
        apart = moco_dl.correct(frames, rigid_only=True, device="cpu").fields.rigid - truth
        return np.abs(apart - np.median(apart, axis=0)).mean()

    assert error(flicker) < error(np.full(100, 0.3)) < 0.5


@pytest.mark.parametrize("seed", [0, 1])
def test_tissue_that_drifts_far_is_followed_though_the_mean_of_all_frames_is_blurred(seed):
    rng = np.random.default_rng(seed)
    scene = gaussian_filter(rng.standard_normal((128, 176)), 4)
    scene *= 3 / scene.std()
    drift = 13 * np.sin(np.linspace(-np.pi / 2, np.pi / 2, 60))
    moved = np.stack([shift(scene, (0, dx))[16:112, 24:152] for dx in drift])
    frames = (100 + moved + 20 * rng.standard_normal(moved.shape)).astype(np.float32)
    found = moco_dl.correct(frames, rigid_only=True, device="cpu").fields.rigid
    apart = found - np.stack((0 * drift, drift), axis=1)
    assert np.abs(apart - np.median(apart, axis=0)).mean() < 0.4


def test_a_frames_own_noise_does_not_hold_it():
    """In an image of all frames, noise alone would keep each wherever it was put."""
    frames, each = np.random.default_rng(0).poisson(4.0, (24, 160, 160)).astype(np.float32), np.arange(24)
    samples = samples_of(frames, 4)

    def register(reference):
        return Estimator(reference, None, max_shift=8, device=CPU)

    anywhere = np.random.default_rng(1).integers(-3, 4, (24, 2, 1, 1)).astype(np.float32)
    held = register(divided(*summed(samples, anywhere, move_known)))(frames).rigid
    assert np.corrcoef(held.ravel(), anywhere.ravel())[0, 1] > 0.9
    seen = correlation_maps_with_others(samples, anywhere, register, move_known)
    there = seen[each, 8 + anywhere[:, 0, 0, 0].astype(int), 8 + anywhere[:, 1, 0, 0].astype(int)]
    assert abs(there.mean()) < 1


@pytest.fixture(scope="module")
def dimmest():
    """Frames and truth of a movie where noise correlates as well as the scene does."""
    options = movie_options(frames=60, size=128, photons=0.3)
    return [np.stack(x) for x in zip(*SyntheticMovie(8, options), strict=True)]


@pytest.mark.parametrize("rigid_only", [True, False])
def test_the_dimmest_movies_are_made_better(dimmest, rigid_only):
    frames, truth = dimmest
    fields = moco_dl.correct(frames, rigid_only=rigid_only, device="cpu").fields
    still, found = (end_point_error(centred(field), centred(truth)) for field in (0 * truth, fields[:]))
    assert found < 0.7 * still
    assert rigid_only or 0.8 * found < fields.expected_error.mean() < 2 * found


def test_so_are_frames_that_are_no_samples(dimmest):
    """By whatever batches; samples tell where those between them are."""
    frames, truth = dimmest
    options = CorrectOptions(ref_frames=30, device="cpu")
    movie, corrector = ArrayMovie(frames), Corrector(options)
    plan, found = corrector.prepare(movie), []
    assert plan.walk is not None and len(plan.walk.samples) == 30
    for size, threads in ((32, 2), (7, 1), (1, 2)):
        some = Corrector(replace(options, batch_size=size, threads=threads))
        found.append(np.concatenate([b.motion.merged(np.float32).total() for b in some.batches(movie, plan)]))
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)
    fields = upsample(torch.from_numpy(found[0]), STRIDE, frames.shape[1:]).numpy()
    still, left = (end_point_error(centred(field), centred(truth)) for field in (0 * truth, fields))
    assert left < 0.85 * still


def test_so_are_they_with_a_reference_of_ones_own(dimmest):
    frames, truth = dimmest
    bright = next(iter(SyntheticMovie(8, movie_options(frames=1, size=128, photons=30))))[0]
    fields = moco_dl.correct(frames, bright, device="cpu").fields
    still, found = (end_point_error(centred(field), centred(truth)) for field in (0 * truth, fields[:]))
    assert found < 0.6 * still
    assert fields.expected_error.mean() > 0.8 * found


def test_it_is_told_if_frames_hardly_show_where_they_are(dimmest, tmp_path):
    movies = {name: tmp_path / f"{name}.tif" for name in ("dim", "bright")}
    tifffile.imwrite(movies["dim"], dimmest[0], photometric="minisblack")
    bright = np.stack([frame for frame, _ in SyntheticMovie(8, movie_options(frames=30, size=128, photons=30))])
    tifffile.imwrite(movies["bright"], bright, photometric="minisblack")
    told = [run("correct", movie, "--rigid-only") for movie in movies.values()]
    assert ["too dim" in result.stderr for result in told] == [True, False]


@pytest.mark.parametrize("given", [False, True])
def test_frames_of_any_size_are_looked_at_alike(given):
    """Samples and others are compared at as many shifts, also where frames are binned unevenly."""
    options = movie_options(frames=26, size=256, photons=0.1)
    frames = np.stack([frame for frame, _ in SyntheticMovie(3, options)])[:, :253]
    reference = frames.mean(axis=0) if given else None
    movie, corrector = ArrayMovie(frames), Corrector(CorrectOptions(ref_frames=20, device="cpu"))
    plan = corrector.prepare(movie, reference)
    assert plan.walk.seen(frames[:3]).shape[1:] == next(iter(plan.walk.samples.values())).shape
    assert sum(len(batch.frames) for batch in corrector.batches(movie, plan)) == len(frames)


def test_a_largest_shift_is_in_pixels_of_the_movie(monkeypatch):
    """Also where frames are binned: at first, to make the reference."""
    seen = []

    def noted(reference, max_shift):
        seen.append((len(reference), max_shift))
        return RigidRegistration(reference, max_shift)

    monkeypatch.setattr("moco_dl.infer.RigidRegistration", noted)
    rng = np.random.default_rng(0)
    frames = rng.poisson(20 * draw_scene((256, 256), rng)[0], (4, 256, 256))
    moco_dl.correct(frames.astype(np.uint16), max_shift=10, device="cpu")
    assert set(seen) == {(128, 5.0)}
