"""Frames that are binned, as they are unless the best quality is wanted."""

import numpy as np
import pytest

import moco_dl
from moco_dl.blocks import binned
from moco_dl.learning.synth import SyntheticMovie, movie_options


@pytest.fixture(scope="module")
def large():
    movie = SyntheticMovie(1, movie_options(frames=20, size=250, photons=10.0))
    frames, truth = (np.stack(part) for part in zip(*movie, strict=True))
    return frames, truth


def test_fast_is_nearly_as_good(large):
    frames, truth = large

    def error(**options):
        difference = moco_dl.correct(frames, **options).fields[:] - truth
        return np.hypot(
            *(difference - np.median(difference, axis=(0, 2, 3), keepdims=True)).swapaxes(0, 1)
        ).mean()

    assert error(quality="fast") < 1.3 * error(quality="best") < 0.3


def test_fast_does_not_depend_on_batches_either(large):
    one, other = (moco_dl.correct(large[0], quality="fast", batch_size=n, ref_frames=9) for n in (2, 16))
    np.testing.assert_array_equal(one.corrected, other.corrected)


def test_binning_averages_and_keeps_missing_pixels_missing():
    frames = np.arange(30.0).reshape(1, 5, 6)
    frames[0, 0, 0] = np.nan
    small = binned(frames, 2)
    assert small.shape == (1, 3, 3) and small.dtype == np.float32
    assert np.isnan(small[0, 0, 0]) and small[0, 0, 1] == frames[0, :2, 2:4].mean()
    assert small[0, 2, 2] == frames[0, 4, 4:].mean()
