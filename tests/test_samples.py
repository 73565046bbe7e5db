"""Frames that stand for a movie."""

import numpy as np
import pytest
from drawn_samples import samples_of
from scipy.ndimage import gaussian_filter

from moco_dl.errors import NrcorrectError
from moco_dl.motion import Motion
from moco_dl.sampled.samples import draw_samples, mean_length, sample_runs, share_beyond
from moco_dl.sampled.usable import usable


def test_samples_are_runs_spread_evenly():
    assert sample_runs(5, 200) == [range(0, 5)]
    assert sample_runs(25, 200) == [range(0, 10), range(10, 20), range(20, 25)]
    assert sample_runs(1001, 11) == [range(t, t + 1) for t in range(0, 1001, 100)]
    runs = sample_runs(10_000, 200)
    assert len(runs) == 40 and all(len(run) == 5 for run in runs)
    assert runs[0].start == 0 and runs[-1].stop == 10_000
    assert np.ptp(np.diff([run.start for run in runs])) <= 1


@pytest.mark.parametrize("frames", [1, 9, 10, 199, 200, 201, 777])
@pytest.mark.parametrize("count", [1, 10, 200])
def test_samples_exist_and_none_is_drawn_twice(frames, count):
    drawn = [t for run in sample_runs(frames, count) for t in run]
    assert sorted(set(drawn)) == drawn and 0 <= drawn[0] and drawn[-1] < frames and len(drawn) <= count


def test_how_far_displacements_lie_apart():
    flow = np.zeros((3, 2, 2, 2), np.float32)
    some, nowhere = Motion(np.zeros((3, 2), np.float32), flow, np.zeros(3, bool)), np.zeros(3, bool)
    flow = flow.copy()
    flow[0, :, 0, 0], flow[2, 1] = (3, 4), 0.5
    others = Motion(some.rigid, flow, nowhere)
    assert mean_length(some, others) == pytest.approx((5 + 4 * 0.5) / 12)
    assert [share_beyond(px, others, some) for px in (0.4, 1, 5)] == pytest.approx([5 / 12, 1 / 12, 0])


def test_unusable_frames():
    good = np.arange(400, dtype=np.uint16).reshape(20, 20)
    saturated = np.full((20, 20), 65535, np.uint16)
    saturated[0, 0] = 7
    frames = np.stack([good, np.zeros_like(good), np.full_like(good, 9), saturated])
    assert usable(frames).tolist() == [True, False, False, False]
    missing = good.astype(np.float32)
    missing[:15] = np.nan
    assert usable(np.stack([good.astype(np.float32), missing])).tolist() == [True, False]


def draw(frames, **options):
    runs = sample_runs(len(frames), len(frames))
    return draw_samples(lambda numbers: frames[numbers], runs, **{"kept": len(frames)} | options)


def test_no_usable_frame():
    frames = np.zeros((4, 20, 20), np.float32)
    with pytest.raises(NrcorrectError, match="no usable frame to build a reference from: all are empty; take"):
        draw(frames)
    frames[1:] = np.nan
    with pytest.raises(NrcorrectError, match="all are empty or not finite; take another movie"):
        draw(frames)


@pytest.mark.parametrize("kept", [0, 20, 60])
def test_samples_are_the_same_whether_kept_or_read_again(kept):
    """Those that are not usable are left out, be it a few or many in a row."""
    frames, reads = np.random.default_rng(0).integers(0, 99, (60, 20, 20)).astype(np.uint16), []
    bad = [3, *range(16, 40)]
    frames[bad] = 0

    def read(numbers):
        reads.extend(numbers)
        return frames[numbers]

    samples, small = draw_samples(read, sample_runs(60, 60), kept, shrunk=lambda some: some[:, ::2, ::2] / 2)
    good = np.delete(np.arange(60), bad)
    assert reads == list(range(60)) and len(samples) == len(small) == len(good)
    np.testing.assert_array_equal(samples.numbers, good)
    np.testing.assert_array_equal(samples[:], frames[good])
    assert (len(reads) == 60) == (kept == 60)
    few = good > 15
    np.testing.assert_array_equal(samples.only(few)[np.array([4, 1])], frames[good[few][[4, 1]]])
    np.testing.assert_array_equal(
        np.concatenate(list(small.only(few).chunks())), frames[good[few], ::2, ::2] / 2
    )


@pytest.mark.parametrize("size", [1e-9, 1e13])
def test_values_that_cannot_be_computed_with(size):
    frames = size * np.random.default_rng(0).random((40, 20, 20))
    with pytest.raises(NrcorrectError, match="multiply the movie by a constant"):
        draw(frames)


@pytest.mark.parametrize("frames", [200, 57, 7, 1])
def test_parts_hold_every_sample_once(frames):
    parts = samples_of(np.zeros((frames, 1, 1)), 5).parts()
    assert len(parts) == min(10, frames)
    np.testing.assert_array_equal(np.concatenate(parts), np.arange(frames))
    assert np.ptp([len(part) for part in parts]) <= 1


@pytest.mark.parametrize(("count", "runs"), [(100, 20), (1000, 40), (1, 1), (52, 10)])
def test_some_samples_come_from_all_over_the_movie(count, runs):
    samples = samples_of(np.zeros((200, 1, 1)), 5)
    some = samples.some(count)
    taken = np.unique(samples.runs[some])
    assert len(taken) == runs and some.sum() == 5 * runs
    assert runs == 1 or (taken[0] == 0 and taken[-1] == 39 and np.ptp(np.diff(taken)) <= 1)


def lit(shutter):
    """Photons of a scene (64, 80) that drifts a little, where the `shutter` (n,) lets so much light through."""
    rng = np.random.default_rng(0)
    scene = gaussian_filter(rng.random((64, 80 + len(shutter))), 1.5)
    scene = np.stack([scene[:, t // 8 :][:, :80] for t in range(len(shutter))])
    return rng.poisson(50 + 300 * scene * np.asarray(shutter)[:, None, None]).astype(np.uint16)


@pytest.mark.parametrize("dark", [8, 20, 45])
def test_frames_without_light_are_not_drawn(dark):
    """Be it a few or most of them."""
    shutter = np.arange(60) >= dark
    np.testing.assert_array_equal(draw(lit(shutter))[0].numbers, np.flatnonzero(shutter))


def test_frames_that_show_the_scene_are_drawn_however_dark():
    for shutter in (np.ones(60), np.where(np.arange(60) < 20, 0.15, 1), np.linspace(1, 0.1, 60)):
        assert len(draw(lit(shutter))[0]) == 60


def test_dim_frames_that_move_are_drawn():
    """Motion blurs what their mean shows of the scene."""
    rng = np.random.default_rng(0)
    scene = gaussian_filter(rng.random((160, 160)) ** 8, 1.5)
    scene = (scene - scene.min()) / np.ptp(scene)
    light = np.where(np.arange(60) < 30, 0.1, 1.0)
    places = np.where(light < 1, rng.integers(0, 64, (2, 60)), 32).T
    frames = np.stack([each * scene[y:, x:][:96, :96] for each, (y, x) in zip(light, places, strict=True)])
    assert len(draw(rng.poisson(5 + 40 * frames).astype(np.uint16))[0]) == 60


@pytest.mark.parametrize(("shading", "usual"), [(0.0, 1.0), (0.5, 1.0), (0.5, 0.09)])
def test_light_from_elsewhere_does_not_make_others_dark(shading, usual):
    """As of a stimulus, with the scene or in place of it."""
    frames, rng = lit(np.full(60, usual)), np.random.default_rng(1)
    light = 5000 * (1 - shading * np.linspace(-1, 1, 80) ** 2)
    for scene in (0, frames[::6]):
        flashed = frames.copy()
        flashed[::6] = rng.poisson(light + np.zeros((10, 64, 80))) + scene
        assert len(draw(flashed)[0]) == 60


def test_bright_noise_does_not_make_others_dark():
    """As of a few corrupt frames in a dim movie."""
    frames = lit(np.full(60, 0.03))
    frames[::15] = np.random.default_rng(1).integers(0, 5000, (4, 64, 80))
    assert len(draw(frames)[0]) == 60
