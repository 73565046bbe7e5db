"""Coarse light that stays in place while the tissue moves."""

import numpy as np
import pytest
from drawn_samples import samples_of
from scipy.ndimage import gaussian_filter
from truth import end_point_error

import moco_dl
from moco_dl.sampled.clearing import Clearing
from moco_dl.sampled.haze import Haze, haze_width, local_means


@pytest.fixture(scope="module")
def hazy(known_movie):
    """Few details of the movie, behind a vignette, and haze of much light."""
    frames = known_movie[0]
    rng = np.random.default_rng(1)
    coarse = gaussian_filter(rng.standard_normal(frames.shape[1:]), 14, mode="reflect")
    y, x = np.mgrid[-1:1:96j, -1:1:112j]
    light = 8 * frames.mean() * np.exp(0.5 * coarse / coarse.std() - y**2 - x**2)
    return (frames + light).astype(np.uint16)


def test_means_are_of_what_is_known():
    rng = np.random.default_rng(0)
    frames = rng.normal(5, 1, (2, 60, 70)).astype(np.float32)
    frames[1, :9], frames[1, 30, 40] = np.nan, np.nan
    known = np.isfinite(frames)
    found = local_means(frames, 4.0)
    for mean, frame, there in zip(found, np.where(known, frames, 0), known, strict=True):
        sums, weights = (
            gaussian_filter(each.astype(np.float64), 4.0, mode="constant", truncate=6)
            for each in (frame, there)
        )
        np.testing.assert_allclose(mean[4:], (sums / weights)[4:], rtol=1e-4)
    left = Haze(4.0, found[0])(frames)
    assert np.array_equal(np.isfinite(left), known)
    np.testing.assert_array_equal(left[:1], frames[:1] - found[:1])
    np.testing.assert_allclose(local_means(np.full((1, 40, 50), 3.0), 8.0), 3.0, rtol=1e-5)


@pytest.mark.parametrize("factor", [1, 2])
@pytest.mark.parametrize("held", [0.0, 0.1])
def test_what_stays_in_place_is_found_however_shifts_are_held(factor, held):
    rng = np.random.default_rng(3)
    shifts = rng.integers(-4, 5, (40, 2))
    noise = rng.standard_normal((2, 128, 128))
    scene, still = (
        gaussian_filter(part, sigma, mode="wrap") for part, sigma in zip(noise, (1.5, 12), strict=True)
    )
    scene = scene / scene.std() + 3 * gaussian_filter(noise[0], 20, mode="wrap") / scene.std()
    moving = 100 + np.stack([np.roll(scene, -shift, axis=(0, 1)) for shift in shifts]).astype(np.float32)

    def register(samples):
        return samples, shifts.astype(np.float32)

    for light, wanted in ((0, False), (10, True)):
        samples = samples_of(moving + np.float32(light * still / still.std()))
        found = haze_width(samples, -shifts * (held if light else 1.0), factor, register)
        assert (found is not None) == wanted


def test_nothing_is_found_where_details_are_not_clear():
    frames = np.random.default_rng(0).poisson(3.0, (30, 64, 64))
    still = np.zeros((30, 2))
    assert haze_width(samples_of(frames), still, 1, lambda samples: None) is None
    assert haze_width(samples_of(frames), still, 1, lambda samples: (samples, still)) is None
    assert haze_width(samples_of(frames[:1]), still[:1], 1, lambda samples: (samples, still[:1])) is None


def test_frames_become_floats_without_it(hazy):
    clearing = Clearing(haze=Haze(8.0, local_means(hazy[:1], 8.0)[0]))
    assert clearing.floats and not clearing.disturbed
    np.testing.assert_allclose(clearing.as_recorded(clearing(hazy[:1])[0]), hazy[0], rtol=1e-5)


def test_motion_is_found_in_spite_of_it(known_movie, hazy):
    result = moco_dl.correct(hazy)
    assert result.fields.metadata["haze_left_out_px"] in (4, 8, 16)
    assert end_point_error(result.fields[:], known_movie[1]) < 0.5
    # What is shown is as recorded, the light with it.
    mean = hazy.mean(axis=0)
    assert np.corrcoef(result.reference.ravel(), mean.ravel())[0, 1] > 0.9
    assert np.nanmean(result.reference) == pytest.approx(mean.mean(), rel=0.02)


def test_movies_have_none(known_movie):
    fields = moco_dl.correct(known_movie[0], rigid_only=True).fields
    assert fields.metadata["haze_left_out_px"] is None


@pytest.mark.parametrize("rigid_only", [True, False])
def test_a_reference_that_is_given_is_looked_at_in_the_same_way(known_movie, hazy, rigid_only):
    first = moco_dl.correct(hazy, rigid_only=rigid_only)
    given = moco_dl.correct(hazy, first.reference, rigid_only=rigid_only)
    np.testing.assert_allclose(given.reference, first.reference, rtol=1e-5)
    difference = (given.fields[:] - first.fields[:])[:, :, 12:-12, 12:-12]
    assert np.hypot(difference[:, 0], difference[:, 1]).mean() < 0.2
