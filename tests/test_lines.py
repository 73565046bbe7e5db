"""Columns and rows of a detector that are brighter or darker than those beside them."""

import numpy as np
import pytest
from drawn_samples import samples_of
from truth import end_point_error

import moco_dl
from moco_dl.learning.motion import MotionOptions
from moco_dl.learning.synth import MovieOptions, SyntheticMovie
from moco_dl.sampled.lines import standing_lines


def uneven(size, axis, strength=1.0):
    """(H, W) that columns (axis 1) or rows (0) add."""
    shape = np.ones(2, int)
    shape[axis] = size[axis]
    return np.broadcast_to(strength * np.random.default_rng(5).standard_normal(shape), size)


@pytest.fixture
def resting(known_movie):
    """Frames (40, 96, 112) float32 of one place, each with noise of its own, and how they vary in space."""
    mean = known_movie[0].mean(axis=0)
    noise = np.random.default_rng(4).standard_normal((40, *mean.shape))
    return (mean + 0.2 * mean.std() * noise).astype(np.float32), mean.std()


@pytest.mark.parametrize("axes", [[1], [0], [0, 1]])
def test_lines_are_found_where_nothing_moves(resting, axes):
    """But for what is so coarse that it may be of the scene."""
    frames, contrast = resting
    added = sum(uneven(frames.shape[1:], axis, 0.3 * contrast) for axis in axes)
    found = standing_lines(samples_of(frames + added.astype(np.float32)))
    for axis in axes:
        left, there = (np.diff(image, axis=axis).std() for image in (found - added, added))
        assert left < 0.2 * there
    assert np.ptp(found[:, 0]) == 0 or 0 in axes
    assert np.ptp(found[0]) == 0 or 1 in axes


def test_none_are_found_where_there_are_none(known_movie, resting):
    assert standing_lines(samples_of(known_movie[0])) is None
    assert standing_lines(samples_of(resting[0])) is None
    assert standing_lines(samples_of(resting[0][:, :20, :24])) is None


@pytest.mark.parametrize("size", [(16, 16), (16, 40), (40, 16)])
def test_chance_makes_no_lines(size):
    noise = np.random.default_rng(3).standard_normal((300, 1, *size)).astype(np.float32)
    assert sum(standing_lines(samples_of(frames)) is not None for frames in noise) < 3


def test_every_other_column_is_no_line(resting):
    """What has one frequency only tells nothing of others."""
    frames, contrast = resting
    added = 0.3 * contrast * (np.arange(112) % 2)
    assert standing_lines(samples_of(frames + added.astype(np.float32))) is None


def test_what_is_far_stronger_than_fine_lines_is_tissue(resting):
    """A vessel, say, all along the view."""
    frames, contrast = resting
    vessel = -3 * contrast * np.exp(-0.5 * np.square((np.arange(112) - 50) / 3))
    lines = uneven(frames.shape[1:], 1, 0.3 * contrast)
    found = standing_lines(samples_of((frames + vessel + lines).astype(np.float32)))
    assert abs((found[0] - lines[0]) @ vessel) < 0.15 * vessel @ vessel


def test_what_is_not_alike_all_along_is_no_line(resting):
    frames, contrast = resting
    added = uneven(frames.shape[1:], 1, contrast).astype(np.float32) * (np.arange(96) < 48)[:, None]
    assert standing_lines(samples_of(frames + added)) is None


def test_what_comes_and_goes_is_no_line(resting):
    """Light of a stimulus, say, on the same rows each time."""
    frames, contrast = resting
    lit = (np.arange(len(frames)) % 4 < 2)[:, None, None]
    assert standing_lines(samples_of(frames + lit * uneven(frames.shape[1:], 0, contrast))) is None


@pytest.mark.parametrize("turning", [True, False])
def test_lines_that_become_others_are_left_alone(resting, turning):
    """Frames have as much of their mean at any time; all of it would be less than what they have."""
    frames, contrast = resting
    angles = np.linspace(0, np.pi / 2, len(frames)) if turning else np.pi / 4 * np.ones(len(frames))
    some, other = (uneven((96, 112), 1, 0.3 * contrast)[:, way] for way in (slice(None), slice(None, None, -1)))
    added = np.cos(angles)[:, None, None] * some + np.sin(angles)[:, None, None] * other
    assert (standing_lines(samples_of((frames + added).astype(np.float32))) is None) == turning


@pytest.mark.parametrize("sharp", [False, True])
def test_stripes_of_tissue_are_no_lines(sharp):
    """Of striped muscle, say, exactly along columns, even where they stay in place."""
    wave = np.sin(2 * np.pi * np.arange(128) / 7.3)
    scene = np.broadcast_to(100 + 50 * (np.sign(wave) if sharp else wave), (40, 96, 128))
    assert standing_lines(samples_of(np.random.default_rng(6).poisson(scene).astype(np.float32))) is None


def test_few_bright_details_hide_no_lines(resting):
    """Of which some columns have one at the top, others one at the bottom."""
    frames, contrast = resting
    added, bright = uneven(frames.shape[1:], 1, 0.3 * contrast).astype(np.float32), np.zeros((96, 112))
    bright[np.random.default_rng(7).integers(0, 96, 112), np.arange(112)] = 60 * contrast
    found = standing_lines(samples_of(frames + added + bright))
    assert np.corrcoef(found[0], added[0])[0, 1] > 0.8


def test_what_is_not_known_tells_nothing(resting):
    frames, contrast = resting
    added = uneven(frames.shape[1:], 1, 0.3 * contrast).astype(np.float32)
    frames = frames + added
    frames[:, :10], frames[:, :, 100:], frames[3, 20:50] = np.nan, np.nan, np.nan  # and no warning
    found = standing_lines(samples_of(frames))
    left, there = (np.diff(image[0, :99]).std() for image in (found - added, added))
    assert left < 0.2 * there and np.isfinite(found).all()


def test_small_motion_behind_columns_is_found():
    """They would hold tissue that hardly moves; what is written keeps them."""
    motion = MotionOptions(spread=(20.0, 40.0), amplitude=0.7, rigid=0.4, rows=0.0)
    options = MovieOptions(shape=(40, 96, 112), photons=10.0, motion=motion)
    frames, truth = map(np.stack, zip(*SyntheticMovie(5, options), strict=True))
    recorded = frames + uneven(frames.shape[1:], 1, 0.7 * frames.mean(axis=0).std()).astype(np.float32)
    clean, result = (moco_dl.correct(movie) for movie in (frames, recorded))
    assert end_point_error(result.fields[:], truth) < 1.2 * end_point_error(clean.fields[:], truth)
    assert clean.fields.metadata["detector_pattern_rms"] == 0 < result.fields.metadata["detector_pattern_rms"]
    np.testing.assert_array_equal(moco_dl.apply(recorded, result.fields), result.corrected)
