"""Noise that pixels share with those beside them."""

import numpy as np
import pytest
from drawn_samples import samples_of
from scipy.ndimage import correlate1d, gaussian_filter, shift
from truth import end_point_error

import moco_dl
from moco_dl.sampled import sampling
from moco_dl.sampled.clearing import Clearing
from moco_dl.sampled.smear import covariances, measure_smear

SLOW = np.array([0.2, 0.6, 0.2])  # of a detector: noise of neighbours is correlated by 0.24 / 0.44
STILL = np.zeros((30, 2))


def drawn(rng, slow, size=(96, 100), count=30):
    """Noise (count, H, W) of a detector that is slow along rows, if it is `slow`."""
    noise = rng.standard_normal((count, *size)).astype(np.float32)
    return correlate1d(noise, SLOW, axis=2) if slow else noise


@pytest.fixture(scope="module")
def smear():
    rng = np.random.default_rng(0)
    return measure_smear(samples_of(100 + drawn(rng, True)), STILL)


@pytest.fixture(scope="module")
def smeared(known_movie):
    """The movie, blurred after its noise."""
    return np.rint([gaussian_filter(4.0 * frame, 1.0) for frame in known_movie[0]]).astype(np.uint16)


def test_covariances_are_those_of_the_noise():
    rng = np.random.default_rng(1)
    scene = 5 * gaussian_filter(rng.standard_normal((160, 170)), 2) * 7
    noise = drawn(rng, True, scene.shape, 2)
    down, along = covariances(*(scene + noise))
    np.testing.assert_allclose(down[1:] / down[0], 0, atol=0.03)
    np.testing.assert_allclose(along[1:] / along[0], [6 / 11, 1 / 11, 0, 0, 0, 0], atol=0.04)
    noise[:, :40] = np.nan
    there = covariances(*(scene + noise))
    np.testing.assert_allclose(there[1] / there[1, 0], along / along[0], atol=0.04)


def test_noise_becomes_white(smear):
    assert smear.shared == (0, pytest.approx(6 / 11, abs=0.03))
    assert smear.down.tolist() == [1, 0, 0, 0, 0]
    fresh = smear(drawn(np.random.default_rng(2), True))
    for by in (1, 2, 3):
        assert abs((fresh[..., by:] * fresh[..., :-by]).mean() / fresh.var()) < 0.12
    assert smear(np.full((1, 20, 24), 7, np.uint16)) == pytest.approx(7)


def test_frames_are_filtered_as_if_they_went_on_as_mirror_images(smear):
    rng = np.random.default_rng(3)
    frames = rng.normal(50, 5, (2, 40, 44)).astype(np.float32)
    both = smear._replace(down=np.array([1.6, -0.4, 0.1, 0, 0], np.float32))
    wanted = frames
    for axis, weights in ((1, both.down), (2, both.along)):
        wanted = correlate1d(wanted, np.concatenate((weights[:0:-1], weights)), axis=axis, mode="reflect")
    np.testing.assert_allclose(both(frames), wanted, atol=1e-3)
    np.testing.assert_allclose(both.undone(wanted[0]), frames[0], atol=1e-2)
    frames[1, 5:9, 7] = np.nan
    sharp = both(frames)
    assert np.array_equal(np.isfinite(sharp), np.isfinite(frames))
    np.testing.assert_allclose(sharp[1, :, 12:], wanted[1, :, 12:], atol=1e-3)
    assert np.array_equal(np.isfinite(both.undone(sharp[1])), np.isfinite(frames[1]))


def test_noise_is_not_told_from_a_scene_that_moves():
    rng = np.random.default_rng(4)
    scene = 10 * gaussian_filter(rng.standard_normal((140, 140)), 1.0)
    places = rng.uniform(0, 38, (30, 2))
    frames = np.stack([shift(scene, -place, order=3)[:100, :100] for place in places])
    white = 0.02 * drawn(rng, False, (100, 100))
    assert measure_smear(samples_of(frames + white), -places) is None
    noise = frames.std() * drawn(rng, True, (100, 100))
    assert measure_smear(samples_of(frames + noise), -places).shared[1] > 0.45


def test_white_noise_and_few_frames_are_left_as_they_are(known_movie):
    rng = np.random.default_rng(5)
    assert measure_smear(samples_of(drawn(rng, False)), STILL) is None
    assert measure_smear(samples_of(drawn(rng, True)[:5]), STILL[:5]) is None
    assert measure_smear(samples_of(drawn(rng, True), run=1), STILL) is None
    assert measure_smear(samples_of(np.ones((30, 40, 40))), STILL) is None
    result = moco_dl.correct(known_movie[0], rigid_only=True)
    assert result.fields.metadata["noise_shared_by_neighbours"] is None


def test_frames_become_floats(smear):
    frames = np.random.default_rng(6).poisson(9.0, (2, 32, 36)).astype(np.uint16)
    clearing = Clearing(smear=smear)
    assert clearing.floats and not clearing.disturbed
    np.testing.assert_allclose(clearing.as_recorded(clearing(frames)[0]), frames[0], atol=1e-3)
    same, given = clearing.of_given(frames[0].astype(np.float32))
    assert same == clearing
    np.testing.assert_array_equal(given, smear(frames[:1])[0])
    assert clearing.of_given(None) == (clearing, None)


def test_motion_is_found_better_through_it(known_movie, smeared, monkeypatch):
    result = moco_dl.correct(smeared)
    assert min(result.fields.metadata["noise_shared_by_neighbours"]) > 0.5
    mean = result.corrected[:, 16:-16, 16:-16].mean(axis=0)  # what is shown is as recorded
    reference = result.reference[16:-16, 16:-16]
    assert np.corrcoef(reference.ravel(), mean.ravel())[0, 1] > 0.98
    assert reference.std() == pytest.approx(mean.std(), rel=0.1)
    monkeypatch.setattr(sampling, "measure_smear", lambda *_: None)
    without = moco_dl.correct(smeared)
    errors = (end_point_error(found.fields[:], known_movie[1]) for found in (result, without))
    assert next(errors) < 0.95 * next(errors)


def test_a_reference_that_is_given_is_looked_at_in_the_same_way(smeared):
    first = moco_dl.correct(smeared, rigid_only=True)
    given = moco_dl.correct(smeared, first.reference, rigid_only=True)
    known = np.isfinite(first.reference)
    np.testing.assert_allclose(given.reference[known], first.reference[known], rtol=1e-3)
    difference = (given.fields[:] - first.fields[:])[:, :, 12:-12, 12:-12]
    assert np.hypot(difference[:, 0], difference[:, 1]).mean() < 0.1
