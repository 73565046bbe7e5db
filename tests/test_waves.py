"""Waves of interference."""

import numpy as np
import pytest
from drawn_samples import samples_of
from truth import end_point_error

import moco_dl
from moco_dl.sampled.waves import Waves, measure_waves

# cycles per pixel along y and x: oblique, across columns, along rows, close to one another, fine
KINDS = [(0.083, 0.025), (0.0, 0.0813), (-0.11, 0.06), (0.31, 0.402)]


def waves(size, frequency, phases):
    y, x = np.arange(size[0])[:, None], np.arange(size[1])
    return np.sin(2 * np.pi * (frequency[0] * y + frequency[1] * x + np.asarray(phases)[:, None, None]))


def disturbed(frames, strength, *frequencies):
    """With waves, so strong over the image's contrast, at other phases in each frame."""
    rng = np.random.default_rng(0)
    added = sum(waves(frames.shape[1:], one, rng.random(len(frames))) for one in frequencies)
    return (frames + strength * frames.mean(axis=0).std() * added).astype(np.float32)


@pytest.mark.parametrize("strength", [1.0, 5.0])
@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_they_are_found_and_taken_off(known_movie, kind, strength):
    frames = known_movie[0].astype(np.float32)
    found = measure_waves(samples_of(disturbed(frames, strength, KINDS[kind])))
    (frequency,) = found.frequencies
    same = frequency if frequency @ KINDS[kind] > 0 else -frequency
    np.testing.assert_allclose(same, KINDS[kind], atol=0.1 / 96)
    left = found(disturbed(frames, strength, KINDS[kind])) - frames
    added = disturbed(frames, strength, KINDS[kind]) - frames
    assert left.std() < 0.1 * added.std()


def test_several_at_once(known_movie):
    found = measure_waves(samples_of(disturbed(known_movie[0], 1.0, *KINDS)))
    assert len(found.frequencies) == len(KINDS)


def test_movies_have_none(known_movie):
    frames = known_movie[0]
    noise = np.random.default_rng(0).poisson(3.0, frames.shape)
    for movie in (frames, frames[:1], frames[:, :20, :16], noise):
        assert measure_waves(samples_of(movie)) is None


def test_what_is_not_known_stays_so_and_tells_nothing(known_movie):
    clean = known_movie[0].astype(np.float32)
    frames = disturbed(clean, 1.0, KINDS[0])
    frames[:, :7], frames[2, :, 80:] = np.nan, np.nan
    found = measure_waves(samples_of(frames))
    left = found(frames)
    assert np.array_equal(np.isnan(left), np.isnan(frames))
    assert np.nanstd(left - clean) < 0.15 * np.nanstd(frames - clean)
    np.testing.assert_array_equal(found(frames[3:5]), left[3:5])


def test_what_goes_with_the_tissue_or_stays_in_place_is_none():
    rng = np.random.default_rng(1)
    shifts = rng.normal(0, 8, (60, 2)).astype(np.float32)
    known = Waves(np.array(KINDS[:2]))
    tissue, still, wandering = (
        waves((64, 80), KINDS[0], -shifts @ KINDS[0]),
        waves((64, 80), KINDS[0], np.zeros(60)),
        waves((64, 80), KINDS[1], rng.random(60)),
    )
    for scene in (tissue, still):
        left = known.wandering(samples_of(scene + wandering), shifts)
        np.testing.assert_array_equal(left.frequencies, [KINDS[1]])
        assert Waves(np.array(KINDS[:1])).wandering(samples_of(scene), shifts) is None


@pytest.mark.parametrize("kind", [0, 1])
def test_motion_is_found_as_without_them(known_movie, result, kind):
    frames, truth = known_movie
    found = moco_dl.correct(disturbed(frames, 2.0, KINDS[kind]))
    assert end_point_error(found.fields[:], truth) < 1.1 * end_point_error(result.fields[:], truth)
    assert found.fields.metadata["waves_left_out"] == 1
    assert result.fields.metadata["waves_left_out"] == 0
