"""Single pixels that outweigh all else a frame shows."""

import numpy as np
import pytest
from scipy import ndimage

import moco_dl
from moco_dl.sampled.clearing import Clearing
from moco_dl.sampled.spikes import always_hot, without_hot, without_spikes


def noise(*shape, dtype=np.uint16):
    return np.random.default_rng(0).normal(300, 20, shape).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("count", [1, 3])
def test_spikes_are_clipped_and_nothing_else_changes(dtype, count):
    frames = np.clip(noise(4, 40, 48, dtype=float) - 200, 0, 250).astype(dtype)
    spiked = frames.copy()
    spiked[2].flat[[77, 500, 1001][:count]] = np.iinfo(dtype).max if np.dtype(dtype).kind in "iu" else 1e9
    if dtype is np.uint8:  # its range leaves no room for spikes
        assert without_spikes(spiked) is spiked
        return
    found = without_spikes(spiked)
    assert found.dtype == dtype and found[2].max() < 350
    different = np.argwhere(found != frames)
    assert len(different) == count and (different[:, 0] == 2).all()
    assert spiked[2].max() > 350  # what is given stays as it is


def test_spikes_below_the_others_and_beside_missing_pixels():
    frames = noise(2, 40, 48, dtype=np.float32)
    frames[:, :5] = np.nan
    frames[1, 20, 20] = -1e6
    found = without_spikes(frames)
    assert 50 < found[1, 20, 20] < 150
    np.testing.assert_array_equal(found[0], frames[0])


@pytest.mark.parametrize(
    ("dtype", "value"), [(np.int16, 32767), (np.float16, 6e4), (np.float32, 3e38), (np.float64, 1e308)]
)
def test_values_at_the_ends_of_their_range(dtype, value):
    """Without a warning."""
    frames = noise(3, 40, 48, dtype=float).astype(dtype)
    frames[1], frames[2, 3, 4], frames[2, 5, 6] = np.where(np.eye(40, 48), value, -value), value, -value
    found = without_spikes(frames)
    assert found.shape == frames.shape and found.dtype == dtype
    np.testing.assert_array_equal(found[0], frames[0])


def test_cells_and_few_photons_are_no_spikes():
    y, x = np.mgrid[:64, :64]
    cell = (5000 * np.exp(-(np.square(y - 30) + np.square(x - 30)) / (2 * 2.0**2))).astype(np.uint16)
    photons = np.zeros((64, 64), np.uint16)
    photons[::30, ::30] = 1
    nothing = np.full((64, 64), np.nan, np.float32)
    for frame in (cell, photons, np.zeros_like(photons), nothing):
        np.testing.assert_array_equal(without_spikes(frame[None])[0], frame)


@pytest.mark.parametrize(
    ("some", "dtype", "value"), [(slice(20, 21), np.float32, 1e8), (slice(None), np.uint16, 65535)]
)
def test_one_wrong_pixel_of_a_frame_or_of_each_does_not_move_a_movie(known_movie, some, dtype, value):
    frames, rng = known_movie[0].astype(dtype), np.random.default_rng(0)
    found = moco_dl.correct(frames).fields[:]
    for frame in frames[some]:
        frame[rng.integers(96), rng.integers(112)] = value
    result = moco_dl.correct(frames)
    assert np.abs(result.fields[:] - found).mean(axis=(1, 2, 3)).max() < 0.02
    assert result.corrected[20].max() > 30000  # what is written has it still


def test_one_corrupt_frame_is_left_and_flagged(known_movie):
    frames = known_movie[0].astype(np.float32)
    for place in (0, 20):
        frames[place, :5, :5] = 1e38
    result = moco_dl.correct(frames)
    assert np.flatnonzero(result.fields.flagged).tolist() == [0, 20]
    assert np.isfinite(result.fields[:]).all() and np.isfinite(result.fields.misfit[1:20]).all()
    np.testing.assert_array_equal(result.corrected[[0, 20]], frames[[0, 20]])


def test_frames_that_vary_too_little_do_no_harm_but_movies_are_refused(known_movie):
    frames = (known_movie[0] / known_movie[0].max()).astype(np.float32)
    frames[8:24] *= np.float32(1e-7)  # the shutter was closed
    assert np.flatnonzero(moco_dl.correct(frames, rigid_only=True).fields.flagged).tolist() == [*range(8, 24)]
    with pytest.raises(moco_dl.NrcorrectError, match="multiply the movie by a constant"):
        moco_dl.correct(frames * np.float32(1e-9))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_hot_pixels_become_as_those_around_and_nothing_else_changes(dtype):
    frames = np.clip(noise(8, 40, 48, dtype=float) - 200, 0, 199).astype(dtype)
    hot = frames.copy()
    places = np.array([0, 47, 500, 48 * 40 - 1])  # corners, too
    hot.reshape(8, -1)[:, places] = 250
    hot[3, 20, 20] = 250  # not always
    found = always_hot(np.stack([hot[half::2].mean(axis=0) for half in (0, 1)]))
    np.testing.assert_array_equal(found, places)
    cleared = without_hot(hot, found)
    assert cleared.dtype == dtype and cleared.reshape(8, -1)[:, places].max() < 160
    rest = np.setdiff1d(np.arange(48 * 40), places)
    np.testing.assert_array_equal(cleared.reshape(8, -1)[:, rest], hot.reshape(8, -1)[:, rest])
    assert hot.reshape(8, -1)[:, places].min() == 250  # what is given stays as it is


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_hot_pixels_become_the_mean_of_the_eight_around(dtype):
    """Those beyond an edge are reflected."""
    frames = noise(2, 6, 9, dtype=dtype)
    wanted = (9 * ndimage.uniform_filter(frames.astype(float), (1, 3, 3), mode="mirror") - frames) / 8
    found = without_hot(frames, np.arange(6 * 9))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-3 if dtype is np.float32 else 0.501)


def test_many_hot_pixels_do_not_hide_spikes():
    frames, places = noise(3, 40, 48), np.arange(0, 40 * 48, 61)
    frames.reshape(3, -1)[:, places] = 60000
    frames[1, 20, 20] = 5000
    assert Clearing(hot=places)(frames).max() < 600


def test_none_is_hot_in_noise_or_beside_missing_pixels():
    halves = noise(2, 40, 48, dtype=np.float32)
    halves[:, :5] = np.nan
    halves[:, 18:23, 18:23] += 1000
    halves[:, 20, 20] = np.nan  # others are darker there
    halves[0, 10, 10] = 5000  # half the time
    halves[:, 30, 30] = 5000, 0
    assert always_hot(halves) is None
    halves[:, 5, 7], halves[:, 30, 40] = 600, -500  # beside missing ones; dead
    np.testing.assert_array_equal(always_hot(halves), np.ravel_multi_index(([5, 30], [7, 40]), (40, 48)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_hot_pixels_at_the_ends_of_their_range(dtype):
    """Without a warning."""
    frames, most = noise(3, 40, 48, dtype=dtype), np.finfo(dtype).max
    frames[:, 20, 20:23] = most, -most, most
    assert always_hot(frames[:2]) is None
    frames[:, 20, 20:23] = most
    cleared = without_hot(frames, np.array([21 * 48 + 21]))
    assert cleared.dtype == dtype and (np.isfinite(cleared).all() or dtype is np.float64)


def test_the_smallest_spots_of_light_are_no_hot_pixels():
    y, x = np.mgrid[:40, :48]
    spots = 1000 * np.exp(-(np.square(y % 8 - 4) + np.square(x % 8 - 4)) / (2 * 0.9**2))
    assert always_hot(noise(2, 40, 48, dtype=np.float32) / 10 + spots) is None


def test_hot_pixels_do_not_hold_small_motion():
    """Tissue that moves by less than a pixel is not known to move as long as they are in view."""
    rng = np.random.default_rng(2)
    scene = ndimage.gaussian_filter(rng.standard_normal((112, 112)), 2.0)
    scene = np.exp(0.6 * scene / scene.std())
    way = 0.6 * np.sin(np.arange(40) / 3)
    light = np.stack([ndimage.shift(scene, (0, -x), order=3)[8:-8, 8:-8] for x in way])
    frames = rng.poisson(3 * light)
    frames.reshape(40, -1)[:, rng.choice(96 * 96, 15, replace=False)] += rng.poisson(100, (40, 15))
    fields = moco_dl.correct((40 * frames).astype(np.uint16)).fields
    assert fields.metadata["hot_pixels_left_out"] == 15
    error = fields.rigid[:, 1] + way
    assert np.abs(error - np.median(error)).mean() < 0.1


def test_what_flashes_once_is_no_hot_pixel(known_movie):
    """Too little for a spike; but the mean of few frames shows it."""
    frames = known_movie[0][:6].astype(np.float32)
    frames[2, 40, 50] = frames[2].mean() + 25 * frames[2].std()
    assert without_spikes(frames) is frames
    assert moco_dl.correct(frames, rigid_only=True).fields.metadata["hot_pixels_left_out"] == 0
