"""What is expected of whole-frame shifts, where a frame alone does not tell."""

import numpy as np
import pytest
import tifffile
import torch
from commands import run
from scipy.ndimage import gaussian_filter
from truth import end_point_error

import moco_dl
from moco_dl.device import CPU
from moco_dl.infer import Estimator, move_known
from moco_dl.reference import centred, mean_image
from moco_dl.rigid import RigidRegistration
from moco_dl.rough import by_halves
from moco_dl.samples import Samples
from moco_dl.scenes import draw_scene
from moco_dl.shifts import Allowed, Expected, measure_expected
from moco_dl.synth import SyntheticMovie, movie_options

LIMIT = (9, 12)


def drawn_correlations(height, middle, spread, count=200, seed=0):
    """Peaks 2 px wide in noise that is as smooth, in its standard deviations."""
    rng = np.random.default_rng(seed)
    y, x = (np.arange(-most, most + 1) for most in LIMIT)
    shifts = middle + spread * rng.standard_normal((count, 2))
    peaks = np.exp(
        -((y[:, None] - shifts[:, 0, None, None]) ** 2 + (x - shifts[:, 1, None, None]) ** 2) / (4 * 2.0**2)
    )
    noise = gaussian_filter(rng.standard_normal(peaks.shape), (0, 2, 2))
    return shifts, height * peaks + noise / noise.std()


def test_probabilities_add_up():
    expected = Expected(4.0, np.array([1.0, -2.0]), np.array([2.0, 1.5]))
    assert np.exp(expected.log_probability(LIMIT)).sum() == pytest.approx(1)
    most = np.unravel_index(expected.log_probability(LIMIT).argmax(), (19, 25))
    assert most == (9 + 1, 12 - 2)
    np.testing.assert_array_equal(expected.times(2).spread, 2 * expected.spread)
    assert expected.times(2).height == expected.height


@pytest.mark.parametrize("height", [3.0, 5.0, 20.0])
def test_all_frames_show_how_far_they_usually_are(height):
    """Even if the peaks of many are lost in noise."""
    shifts, seen = drawn_correlations(height, (1.0, -2.0), (2.5, 1.0))
    if height == 3.0:
        peaks = np.stack(np.unravel_index(seen.reshape(200, -1).argmax(axis=1), seen.shape[1:]), axis=1) - LIMIT
        assert (np.abs(peaks - shifts).max(axis=1) > 4).mean() > 0.1
    found = measure_expected(seen)
    np.testing.assert_allclose(found.middle, (1.0, -2.0), atol=0.5)
    np.testing.assert_allclose(found.spread, (2.5, 1.0), rtol=0.3)


def test_noise_rises_by_its_standard_deviation():
    rng = np.random.default_rng(0)
    scene = 100 + 5 * gaussian_filter(rng.standard_normal((90, 100)), 3)
    noise = torch.from_numpy(7 * rng.standard_normal((40, 90, 100))).float()
    seen = RigidRegistration(torch.from_numpy(scene).float(), Allowed(10)).correlations(noise)
    assert seen.std() == pytest.approx(1, rel=0.15)


def dim_frames(count=60, seed=0):
    rng = np.random.default_rng(seed)
    scene = 1 + 0.25 * gaussian_filter(rng.standard_normal((120, 140)), 3) * 8
    shifts = (1.5 * rng.standard_normal((count, 2))).round().astype(int)
    frames = [scene[20 - dy : 100 - dy, 20 - dx : 120 - dx] for dy, dx in shifts]
    return scene[20:100, 20:120], shifts, rng.poisson(0.1 * np.stack(frames).clip(0)).astype(np.float32)


def test_what_is_expected_keeps_dim_frames_in_place():
    scene, shifts, frames = dim_frames()
    expected = Expected(4.0, np.zeros(2), np.full(2, 1.5))
    scene, frames = torch.from_numpy(scene).float(), torch.from_numpy(frames)
    found = [RigidRegistration(scene, Allowed(12, which)).shifts(frames).numpy() for which in (None, expected)]
    alone, kept = (np.abs(each - shifts).mean() for each in found)
    assert kept < 0.6 * alone
    assert kept < np.abs(shifts).mean()


def test_a_frames_own_noise_does_not_hold_it():
    """In an image of all frames, noise alone would keep each wherever it was put."""
    frames, each = np.random.default_rng(0).poisson(4.0, (24, 160, 160)).astype(np.float32), np.arange(24)
    samples = Samples(frames, each, each // 4, each)

    def register(reference, expected=None):
        return Estimator(reference, None, allowed=Allowed(8, expected), device=CPU)

    anywhere = np.random.default_rng(1).integers(-3, 4, (24, 2, 1, 1)).astype(np.float32)
    held = register(mean_image(samples, anywhere, move_known))(frames).rigid
    assert np.corrcoef(held.ravel(), anywhere.ravel())[0, 1] > 0.9
    found, _ = by_halves(samples, anywhere, register, move_known)
    assert abs(np.corrcoef(found.ravel(), anywhere.ravel())[0, 1]) < 0.3


@pytest.fixture(scope="module")
def dimmest():
    """Frames and truth of a movie where noise correlates as well as the scene does."""
    options = movie_options(frames=60, size=128, photons=0.3)
    return [np.stack(x) for x in zip(*SyntheticMovie(8, options), strict=True)]


@pytest.mark.parametrize("rigid_only", [True, False])
def test_the_dimmest_movies_are_not_made_worse(dimmest, rigid_only):
    frames, truth = dimmest
    fields = moco_dl.correct(frames, rigid_only=rigid_only, device="cpu").fields
    still, found = (end_point_error(centred(field), centred(truth)) for field in (0 * truth, fields[:]))
    assert found < still
    assert rigid_only or 0.8 * found < fields.expected_error.mean() < 2 * found


def test_nor_with_a_reference_of_ones_own(dimmest):
    frames, truth = dimmest
    bright = next(iter(SyntheticMovie(8, movie_options(frames=1, size=128, photons=30))))[0]
    fields = moco_dl.correct(frames, bright, device="cpu").fields
    still, found = (end_point_error(centred(field), centred(truth)) for field in (0 * truth, fields[:]))
    assert found < still
    assert fields.expected_error.mean() > 0.8 * found


def test_it_is_told_if_frames_hardly_show_where_they_are(dimmest, tmp_path):
    movies = {name: tmp_path / f"{name}.tif" for name in ("dim", "bright")}
    tifffile.imwrite(movies["dim"], dimmest[0], photometric="minisblack")
    bright = np.stack([frame for frame, _ in SyntheticMovie(8, movie_options(frames=30, size=128, photons=30))])
    tifffile.imwrite(movies["bright"], bright, photometric="minisblack")
    told = [run("correct", movie, "--rigid-only") for movie in movies.values()]
    assert ["too dim" in result.stderr for result in told] == [True, False]


def test_a_largest_shift_is_in_pixels_of_the_movie(monkeypatch):
    """Also where frames are binned: at first, to make the reference."""
    seen = []

    def noted(reference, allowed):
        seen.append((len(reference), allowed.most))
        return RigidRegistration(reference, allowed)

    monkeypatch.setattr("moco_dl.infer.RigidRegistration", noted)
    rng = np.random.default_rng(0)
    frames = rng.poisson(20 * draw_scene((256, 256), rng)[0], (4, 256, 256))
    moco_dl.correct(frames.astype(np.uint16), max_shift=10, device="cpu")
    assert set(seen) == {(128, 5.0)}
