import numpy as np
import pytest

from moco_dl.evaluation.flags import drops, jumps, rescued
from moco_dl.sampled.usable import usable, why_unusable

FRAMES = {
    "": np.arange(400).reshape(20, 20).astype(np.uint16),
    "empty": np.zeros((20, 20), np.int16),
    "constant": np.full((20, 20), 7, np.uint8),
    "saturated": np.where(np.arange(400).reshape(20, 20) < 300, 255, 9).astype(np.uint8),
    "extreme": np.where(np.arange(400).reshape(20, 20) < 3, 1e30, 9.0),
    "not finite": np.where(np.arange(400).reshape(20, 20) < 300, np.nan, 9.0).astype(np.float32),
}


@pytest.mark.parametrize("word", FRAMES)
def test_frames_that_cannot_be_used_and_why(word):
    assert why_unusable(FRAMES[word]) == word
    assert usable(FRAMES[word][None])[0] == (word == "")


def test_a_constant_frame_of_the_highest_value_is_saturated():
    assert why_unusable(np.full((20, 20), 255, np.uint8)) == "saturated"


def test_frames_that_fit_far_worse_than_the_others():
    values = 0.6 + 0.02 * np.sin(np.arange(100.0))
    values[7], values[50] = 0.2, np.nan
    np.testing.assert_array_equal(np.flatnonzero(drops(values)), [7])
    assert not drops(np.full(5, np.nan)).any() and not drops(np.full(5, 0.5)).any()


def test_jumps_are_flagged_unless_the_frame_then_fits():
    rigid = np.zeros((60, 2))
    rigid[20], rigid[40] = (9, 0), (0, -9)
    before, after = np.full(60, 0.5), np.full(60, 0.6)
    before[40], after[40] = 0.1, 0.6  # the animal jumped
    before[20], after[20] = 0.5, 0.1  # the estimate did
    np.testing.assert_array_equal(np.flatnonzero(jumps(rigid, before, after)), [20])
    assert not jumps(rigid / 20, before, after).any()  # less than a pixel
    slow = np.stack([np.linspace(0, 30, 60), np.zeros(60)], axis=1)
    assert not jumps(slow, after, before).any()


def test_frames_that_a_correction_rescued():
    before = 0.6 + 0.02 * np.sin(np.arange(100.0))
    after = before.copy()
    before[[7, 30]], after[30] = 0.2, 0.3
    before[50] = after[50] = np.nan
    np.testing.assert_array_equal(np.flatnonzero(rescued(before, after)), [7])
    assert not rescued(before, np.full(100, np.nan)).any()
