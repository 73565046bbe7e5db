"""Frames that show nothing of the scene are where those around them are."""

import numpy as np
import pytest

import moco_dl
from moco_dl.motion import Motion
from moco_dl.stream import Batch, filter_batches
from moco_dl.tracking.strays import REACH, Strays, measure_strays


def motion_of(rigid, misfit=1.0, brightness=1.0, flagged=False):
    count = len(rigid)
    each = [np.broadcast_to(value, count).copy() for value in (flagged, misfit, brightness)]
    rigid = np.asarray(rigid, np.float32)
    return Motion(rigid, np.zeros((count, 2, 4, 4), np.float32), each[0], misfit=each[1], brightness=each[2])


def passed(motion, strays, size):
    batches = []
    for start in range(0, len(motion.rigid), size):
        part = slice(start, start + size)
        some = {name: value[part] for name, value in vars(motion).items() if value is not None}
        batches.append(Batch(start, np.zeros((len(some["rigid"]), 1, 1)), Motion(**some)))
    return np.concatenate([batch.motion.rigid for batch in filter_batches(batches, strays)])


@pytest.fixture
def walking():
    """Shifts (80, 2) of a random walk with steps of 0.2 px, and what is measured on them."""
    rigid = np.cumsum(np.random.default_rng(0).normal(0, 0.2, (80, 2)), axis=0)
    motion = motion_of(rigid)
    return motion, measure_strays(motion, np.arange(80))


def test_steps_are_measured(walking):
    motion, strays = walking
    np.testing.assert_allclose(strays.step, 0.2, rtol=0.2)
    np.testing.assert_allclose(strays.middle, np.median(motion.rigid, axis=0), atol=1e-6)
    apart = measure_strays(motion, 3 * np.arange(80))  # no two follow one another
    np.testing.assert_array_equal(apart.step, apart.spread)
    nothing = measure_strays(motion_of(np.ones((3, 2)), flagged=True), np.arange(3))
    assert np.isinf(nothing.step).all() and not nothing.middle.any()


def between(rigid, place):
    """(3, 2) shifts of three frames evenly between those beside them."""
    before, after = rigid[place - 1], rigid[place + 3]
    return before + np.outer((1, 2, 3), after - before) / 4


@pytest.mark.parametrize("size", [1, 7, 80])
def test_what_shows_nothing_is_put_between_its_neighbours(walking, size):
    motion, strays = walking
    motion.rigid[30:33], motion.misfit[30:33], motion.brightness[30:33] = (9, -9), 50, 0
    motion.rigid[50], motion.misfit[50], motion.brightness[50] = (9, -9), 50, 0.2  # another scene
    for place, brightness in ((60, 0), (70, 0.2)):  # not far away, of which little light tells more than none
        some = slice(place, place + 3)
        motion.rigid[some] = between(motion.rigid, place) + 0.65
        motion.misfit[some], motion.brightness[some] = 50, brightness
    found = passed(motion, strays, size)
    for place in (30, 60):
        np.testing.assert_allclose(found[place : place + 3], between(motion.rigid, place), atol=1e-5)
    np.testing.assert_allclose(found[50], (motion.rigid[49] + motion.rigid[51]) / 2, atol=1e-5)
    others = np.setdiff1d(np.arange(80), [30, 31, 32, 50, 60, 61, 62])
    np.testing.assert_array_equal(found[others], motion.rigid[others])


def test_what_hardly_fits_tells_of_no_others(walking):
    """Another plane, of which one frame fits somewhere far away."""
    motion, _ = walking
    motion.misfit[:5], motion.brightness[:5] = (4, 3, 4, 5, 2.4), 0.15
    motion.rigid[4] -= 20
    strays = measure_strays(motion, np.arange(80))
    found = passed(motion, strays, 16)
    np.testing.assert_array_equal(found[np.arange(80) != 4], motion.rigid[np.arange(80) != 4])
    np.testing.assert_array_equal(found[4], motion.rigid[5])
    assert strays.step.max() < 0.3


def test_what_may_be_there_stays_there(walking):
    motion, strays = walking
    motion.rigid[20] += 0.3  # not farther than frames go
    motion.misfit[20], motion.brightness[20] = 50, 0.2
    motion.rigid[40] += 9  # it does not fit, but shows the scene
    motion.misfit[40], motion.brightness[40] = 50, 0.8
    motion.rigid[60] += 9  # it fits
    motion.brightness[60] = 0.05
    np.testing.assert_array_equal(passed(motion, strays, 16), motion.rigid)


def test_far_from_all_that_is_known_it_is_in_the_middle(walking):
    motion, strays = walking
    motion.rigid[10:], motion.misfit[10:], motion.brightness[10:] = 9, 50, 0
    found = passed(motion, strays, 9)
    np.testing.assert_array_equal(found[10 : 10 + REACH], np.tile(motion.rigid[9], (REACH, 1)))
    np.testing.assert_allclose(found[10 + REACH :], np.tile(strays.middle, (70 - REACH, 1)), atol=1e-6)


def test_a_shutter_that_is_closed_for_a_time(known_movie):
    frames = known_movie[0].copy()
    open_all_the_time = moco_dl.correct(frames)
    frames[14:20] = np.random.default_rng(0).poisson(100, frames[14:20].shape)
    fields = moco_dl.correct(frames).fields
    assert (fields.misfit[14:20] > 2.5).all() and not fields.flagged.any()
    ends = fields.rigid[[13, 20]]
    assert (fields.rigid[14:20] >= ends.min(0) - 0.01).all() and (
        fields.rigid[14:20] <= ends.max(0) + 0.01
    ).all()
    seen = np.r_[0:14, 20:40]
    difference = fields.rigid[seen] - open_all_the_time.fields.rigid[seen]
    assert np.abs(difference - np.median(difference, axis=0)).max() < 0.3


def placed(rigid, lost, step):
    motion = motion_of(rigid, misfit=np.where(lost, 50.0, 1.0), brightness=np.where(lost, 0.2, 1.0))
    return passed(motion, Strays(np.zeros(2), np.ones(2), np.full(2, step)), len(rigid))


def test_where_tissue_hardly_moves_a_frame_may_be_half_a_pixel_off():
    rigid, lost = np.zeros((9, 2)), np.arange(9) == 4
    rigid[4] = 0.4, -0.4
    np.testing.assert_allclose(placed(rigid, lost, 0.01)[4], rigid[4])
    rigid[4] = 0.6, 0.0
    assert not placed(rigid, lost, 0.01)[4].any()


def test_next_to_one_that_is_known_a_frame_is_not_far_however_long_none_follows():
    """A random walk between two places: beside one of them, it has made but one step."""
    rigid, lost = np.zeros((30, 2)), (np.arange(30) >= 10) & (np.arange(30) < 22)
    rigid[10], rigid[16] = 6.0, 6.0  # steps
    found = placed(rigid, lost, 1.0)
    assert not found[10].any()  # 4 sqrt(1 x 12 / 13) = 3.8
    np.testing.assert_array_equal(found[16], rigid[16])  # 4 sqrt(7 x 6 / 13) = 7.2
