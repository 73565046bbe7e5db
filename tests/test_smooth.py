from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import convolve1d

from moco_dl.learning.motion import smooth_series
from moco_dl.motion import Motion, take
from moco_dl.stream import Batch, filter_batches
from moco_dl.tracking.smooth import WIDTHS, Smoothing, choose_width

FRAMES = 41


PATTERN = np.array([[1, -1, 1, -1], [-1, 2, -2, 1], [1, -1, 1, -1]], np.float32)  # of zero mean


def batches(flow, size, flagged=None, unseen=None):
    flagged = np.zeros(len(flow), bool) if flagged is None else flagged
    unseen = np.zeros(len(flow), bool) if unseen is None else unseen
    for start in range(0, len(flow), size):
        part = slice(start, start + size)
        frames = np.arange(len(flow))[part, None, None]
        rigid = np.ones((len(frames), 2), np.float32)
        yield Batch(start, frames, Motion(rigid, flow[part], flagged[part], unseen=unseen[part]))


def smooth_in_time(stream, sigma):
    return filter_batches(stream, Smoothing(sigma))


def flows(stream):
    return np.concatenate([batch.motion.flow for batch in stream])


@pytest.fixture
def flow():
    flow = np.random.default_rng(0).standard_normal((FRAMES, 2, 3, 4)).astype(np.float32)
    return flow - flow.mean(axis=(2, 3), keepdims=True)


@pytest.mark.parametrize("sigma", [0.35, 1.4, 5.0])
def test_interior_is_a_gaussian_of_fourth_order(flow, sigma):
    """In the middle, 1.5 G + 0.5 sigma^2 G'' up to the sampling of the window."""
    ours = flows(smooth_in_time(batches(flow, 7), sigma))
    reach = int(np.ceil(3 * sigma))
    time = np.arange(-reach, reach + 1) / sigma
    window = (1.5 - 0.5 * time**2) * np.exp(-0.5 * time**2)
    truth = convolve1d(flow, window / window.sum(), axis=0)
    np.testing.assert_allclose(ours[18:23], truth[18:23], atol=1e-5)


def test_turns_of_the_motion_stay():
    time = np.arange(FRAMES, dtype=np.float32)[:, None, None, None]
    parabola = np.broadcast_to(0.05 * (time - 20) ** 2 * PATTERN, (FRAMES, 2, 3, 4)).astype(np.float32)
    smoothed = flows(smooth_in_time(batches(parabola, 7), 3.0))
    gaussian_errs_by = 0.05 * 3.0**2 * PATTERN.max()  # one of second order, that is
    assert np.abs(smoothed - parabola)[12:-12].max() < 0.1 * gaussian_errs_by


def test_a_lonely_frame_keeps_its_own_field(flow):
    flagged = np.ones(FRAMES, bool)
    flagged[[0, 20, 40]] = False
    smoothed = flows(smooth_in_time(batches(flow, 8, flagged), 8.0))
    assert np.abs(smoothed).max() <= 1.5 * np.abs(flow).max()


@pytest.mark.parametrize("size", [1, 3, 16, 100])
def test_batches_make_no_difference_and_nothing_else_changes(flow, size):
    smoothed = list(smooth_in_time(batches(flow, size), 2.0))
    np.testing.assert_array_equal(flows(smoothed), flows(smooth_in_time(batches(flow, 5), 2.0)))
    assert [b.start for b in smoothed] == list(range(0, FRAMES, size))
    assert np.concatenate([b.frames for b in smoothed])[:, 0, 0].tolist() == list(range(FRAMES))
    assert all(np.allclose(b.motion.rigid, 1) for b in smoothed)


def test_a_constant_field_stays_up_to_the_ends():
    flow = np.broadcast_to(1.5 * PATTERN, (FRAMES, 2, 3, 4))
    np.testing.assert_allclose(flows(smooth_in_time(batches(flow, 4), 3.0)), flow, rtol=1e-5)


def test_flagged_frames_neither_give_nor_take(flow):
    flagged = np.zeros(FRAMES, bool)
    flagged[[5, 6, 30]] = True
    spoilt = np.where(flagged[:, None, None, None], 1e6, flow).astype(np.float32)
    smoothed = flows(smooth_in_time(batches(spoilt, 8, flagged), 2.0))
    assert np.abs(smoothed).max() < 10 and not smoothed[flagged].any()


def test_no_smoothing_passes_everything_on(flow):
    np.testing.assert_allclose(flows(smooth_in_time(batches(flow, 8), 0)), flow, atol=1e-6)


def test_width_follows_the_movie():
    """Noise alone wants the widest window, a fast clean path the narrowest, and what lies between comes close
    to the width that is best against the truth."""
    rng = np.random.default_rng(0)
    runs = np.repeat(np.arange(20), 10)
    noise = rng.standard_normal((200, 2, 4, 4)).astype(np.float32)
    assert choose_width(noise, runs) == WIDTHS[-1]
    assert choose_width(5 * noise + 100 * rng.standard_normal((200, 2, 1, 1)).astype(np.float32), runs) > 2
    path = smooth_series(32, 200, rng, 3.0).T.reshape(200, 2, 4, 4)
    path -= path.mean(axis=(2, 3), keepdims=True)
    assert choose_width(path, np.zeros(200, int)) < 1
    noisy = path + 0.4 * noise
    errors = [np.square(flows(smooth_in_time(batches(noisy, 50), s)) - path).mean() for s in WIDTHS]
    chosen = WIDTHS.index(choose_width(noisy, np.zeros(200, int)))
    assert abs(chosen - int(np.argmin(errors))) <= 1


def test_rigid_and_rows_keep_the_means(flow):
    """What is shared by the frame, and by each of its rows, differs from frame to frame and is not smoothed."""
    moving = flow + np.random.default_rng(1).standard_normal((FRAMES, 2, 1, 1)).astype(np.float32)
    smoothed = list(smooth_in_time(batches(moving, 7), 2.0))
    total = np.concatenate([b.motion.total() for b in smoothed])
    np.testing.assert_allclose(total.mean(axis=3), 1 + moving.mean(axis=3), atol=1e-6)
    rigid = np.concatenate([b.motion.rigid for b in smoothed])
    np.testing.assert_allclose(rigid, 1 + moving.mean(axis=(2, 3)), atol=1e-6)
    np.testing.assert_allclose(flows(smoothed), flows(smooth_in_time(batches(flow, 7), 2.0)), atol=1e-6)


@pytest.mark.parametrize("size", [1, 4, 41])
def test_unseen_frames_take_from_those_around_them(size):
    time = np.arange(FRAMES, dtype=np.float32)[:, None, None, None]
    truth = np.broadcast_to(np.sin(time / 5) * (PATTERN + 0.5), (FRAMES, 2, 3, 4)).astype(np.float32)
    unseen = np.arange(FRAMES) % 2 == 1
    known = np.where(unseen[:, None, None, None], 0, truth).astype(np.float32)
    smoothed = list(smooth_in_time(batches(known, size, unseen=unseen), 2.0))
    total = np.concatenate([b.motion.total() for b in smoothed])
    assert np.abs(total - 1 - truth)[6:-6].max() < 0.05
    np.testing.assert_array_equal(flows(smoothed), flows(smooth_in_time(batches(known, 7, None, unseen), 2.0)))
    rows = np.concatenate([b.motion.rows for b in smoothed])
    assert not rows[unseen].any() and rows[~unseen].any()
    assert all(batch.motion.unseen is None for batch in smoothed)  # no longer


def test_unseen_frames_with_nobody_around_stay_as_they_are():
    unseen = np.ones(9, bool)
    nothing = np.zeros((9, 2, 3, 4), np.float32)
    (smoothed,) = smooth_in_time(batches(nothing, 9, unseen=unseen), 2.0)
    assert (smoothed.motion.total() == 1).all()


def test_runs_do_not_touch_each_other(flow):
    whole = next(batches(flow, FRAMES))
    starts = {0: slice(0, 20), 100: slice(20, 21), 110: slice(21, 41)}
    apart = [Batch(start, whole.frames[run], take(whole.motion, run)) for start, run in starts.items()]
    smoothed = flows(smooth_in_time(iter(apart), 2.0))
    np.testing.assert_allclose(smoothed[20], flow[20], atol=1e-6)
    alone = Batch(0, whole.frames[21:], take(whole.motion, slice(21, 41)))
    np.testing.assert_allclose(smoothed[21:], flows(smooth_in_time(iter([alone]), 2.0)), atol=1e-6)


def test_single_frames_are_not_smoothed(flow):
    assert choose_width(flow, np.arange(FRAMES)) == 0


def test_batch_knows_where_it_ends(flow):
    first = next(batches(flow, 7))
    assert first.stop == 7 and replace(first, start=3).stop == 10


def test_a_frame_that_is_not_seen_takes_the_flow_of_the_only_one_near():
    seen = np.arange(12) == 2
    flow = (seen[:, None, None, None] * PATTERN).repeat(2, axis=1).astype(np.float32)
    motion = Motion(np.zeros((12, 2), np.float32), flow, np.zeros(12, bool), unseen=~seen)
    (batch,) = filter_batches([Batch(0, np.zeros((12, 0, 0)), motion)], Smoothing(2.0))
    for frame in (0, 1, 2, 3, 4):
        np.testing.assert_allclose(batch.motion.flow[frame], [PATTERN, PATTERN], atol=1e-5)
    assert not batch.motion.flow[9:].any()
