"""Movies that nobody wants to record, but that some tool writes."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

import moco_dl
from moco_dl.errors import NrcorrectError
from moco_dl.evaluation.watch import not_compared
from moco_dl.finish import Finish
from moco_dl.learning.synth import SyntheticMovie, movie_options
from moco_dl.motion import Motion
from moco_dl.moving import displaced
from moco_dl.stream import Batch


@pytest.fixture
def frames(known_movie):
    """(12, 96, 112) float32"""
    return known_movie[0][:12].astype(np.float32)


def without_some(frames, value=np.nan, share=0.5):
    return np.where(np.random.default_rng(0).random(frames.shape) < share, np.float32(value), frames)


@pytest.mark.parametrize("count", [1, 2, 3, 12])
@pytest.mark.parametrize("given", [False, True])
def test_pixels_that_are_missing_here_and_there(frames, count, given):
    result = moco_dl.correct(without_some(frames[:count]), frames[0] if given else None)
    assert np.isfinite(result.fields[:]).all() and np.abs(result.fields[:]).max() < 15


def test_infinite_pixels_are_missing_ones(frames):
    missing, infinite = (without_some(frames, value, 0.01) for value in (np.nan, np.inf))
    found = [moco_dl.correct(movie, movie[0]).fields[:] for movie in (missing, infinite)]
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_references_of_extreme_size_are_refused(frames, scale):
    with pytest.raises(NrcorrectError, match="multiply the reference by a constant"):
        moco_dl.correct(frames, frames[0] * np.float32(scale))


def test_no_pixel_becomes_infinite(frames):
    bright = np.minimum(frames * (2 * 65504 / frames.max()), 65504).astype(np.float16)
    assert np.isfinite(moco_dl.correct(bright).corrected).all()


def test_half_a_movie_drifts_far():
    """The other half agrees best with a reference of its own."""
    rng = np.random.default_rng(1)
    scene = 5 + 80 * gaussian_filter(rng.standard_normal((160, 96)), 1.5).clip(0)
    path = np.concatenate([np.zeros(40, int), np.linspace(0, 45, 40).round().astype(int)])
    frames = np.stack([scene[50 - dy :][:96] for dy in path]) * np.where(path > 0, 0.3, 1)[:, None, None]
    found = moco_dl.correct(rng.poisson(frames).astype(np.uint16), rigid_only=True).fields.rigid
    assert np.abs(found[:, 0] - found[0, 0] - path).mean() < 0.5


def test_most_frames_without_light(known_movie):
    """As with a closed shutter: those with light are corrected as if they were all."""
    frames, _ = known_movie
    dark = np.random.default_rng(0).normal(np.quantile(frames, 0.01), 5, (60, 96, 112)).clip(0)
    found = moco_dl.correct(np.concatenate([frames, dark.astype(np.uint16)])).fields
    alone = moco_dl.correct(frames).fields
    assert np.abs(found[:40] - alone[:]).mean() < 0.02
    assert found.expected_error.mean() < 1.1 * alone.expected_error.mean()
    assert (found.misfit[40:] > 2.5).all() and np.median(found.misfit[:40]) < 1.2


def test_blank_frames_of_a_masked_view(frames):
    y, x = np.ogrid[:96, :112]
    frames[::4] = 2000
    frames[:, np.hypot(y - 48, x - 56) > 44] = 7
    result = moco_dl.correct(frames)
    assert np.isfinite(result.fields[:]).all()


def test_specks_that_would_leave_nothing_are_none(frames, monkeypatch):
    everywhere = lambda samples, *_: np.ones(samples[np.array([0])].shape[1:], bool)  # noqa: E731
    monkeypatch.setattr("moco_dl.sampled.sampling.fixed_specks", everywhere)
    assert moco_dl.correct(frames, rigid_only=True).fields.metadata["share_left_out"] == 0


def test_what_is_evaluated_of_frames_that_are_mostly_hidden():
    hidden = np.ones((40, 50), bool)
    hidden[10:30, 10:40] = False
    assert not_compared(hidden, 4).sum() == hidden.size - 12 * 22
    assert not_compared(hidden, 9) is None and not_compared(~hidden & hidden, 9) is None  # then, all of it


@pytest.mark.parametrize("seed", [215, 221, 292, 743])
def test_an_image_that_nothing_holds_stays_where_it_is(seed):
    """One frame tells nothing of noise, and a few bright pixels nothing of a field."""
    frame = (255 * np.random.default_rng(seed).random((21, 17)) ** 40).astype(np.uint8)
    assert np.abs(moco_dl.correct(frame[None], frame).fields[:]).max() < 2


def test_frames_whose_motion_is_beyond_reckoning_are_left_as_they_are():
    flow = np.ones((4, 2, 4, 4), np.float32)
    flow[1, 0, 2, 2], flow[2, 1, 0, 3] = np.inf, 17  # farther than a frame is wide
    motion = Motion(flow[:, :, 0, 1], flow, np.zeros(4, bool), rows=flow[..., 0])
    finish = Finish(np.full((2, 4, 4), 0.25), share_told=1.0, errors=None, strays=None)
    shown = finish.shown(Batch(0, np.zeros((4, 16, 16)), motion)).motion
    assert shown.flagged.tolist() == [False, True, True, False]
    np.testing.assert_array_equal(shown.total()[:, 0, 0, 0], [2.75, 0, 0, 2.75])


def test_a_frame_that_is_repeated_and_hardly_shows_anything():
    """There is no noise; whatever is found of its motion is not stored unless it can be."""
    rng = np.random.default_rng(9234)
    frame = (rng.random((53, 46)) < 0.02).astype(np.uint8)
    fields = moco_dl.correct(np.repeat(frame[None], 9, axis=0), row_offset=1).fields
    assert np.isfinite(fields[:]).all() and np.abs(fields[:]).max() < 53


def test_gaps_of_a_reference_do_not_grow_as_it_isdisplaced():
    image = np.random.default_rng(0).random((40, 48), np.float32)
    image[10:20, 5:9] = np.nan
    moved = displaced(image, np.full((2, 10, 12), 0.3, np.float32))
    np.testing.assert_array_equal(np.isnan(moved), np.isnan(image))
    nothing = np.full((40, 48), np.nan, np.float32)
    assert np.isnan(displaced(nothing, np.zeros((2, 10, 12), np.float32))).all()


def test_frames_with_less_light_fit():
    movie, rng = SyntheticMovie(3, movie_options(frames=60, size=96, photons=5.0)), np.random.default_rng(0)
    frames = np.stack([movie.recorded(movie.moved(t)[0] * 0.12 ** (t / 60), rng) for t in range(60)])
    fields = moco_dl.correct(frames).fields
    assert not fields.flagged.any() and fields.misfit.max() < 2
