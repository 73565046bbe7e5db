"""Whole-frame shifts, drawn as noise and motion of known kinds."""

import numpy as np
import pytest

from moco_dl.motion import Motion, take
from moco_dl.stream import Batch, filter_batches
from moco_dl.tracking.steady import measure_steadiness

NOISE = np.array([0.2, 0.1])


def motion(shifts, flagged=(), doubtful=()):
    numbers = np.arange(len(shifts))
    misfit = np.where(np.isin(numbers, doubtful), 9.0, 1.0).astype(np.float32)
    flow = np.zeros((len(shifts), 2, 1, 1), np.float32)
    flagged, bright = np.isin(numbers, flagged), np.ones(len(shifts), np.float32)
    return Motion(shifts.astype(np.float32), flow, flagged, misfit=misfit, brightness=bright)


def steady(shifts, steadiness, size=7, **marks):
    whole = motion(shifts, **marks)
    frames, starts = np.zeros((len(shifts), 1, 1)), range(0, len(shifts), size)
    few = ((start, slice(start, start + size)) for start in starts)
    batches = (Batch(start, frames[part], take(whole, part)) for start, part in few)
    done = list(batches if steadiness.shares is None else filter_batches(batches, steadiness))
    assert [batch.start for batch in done] == list(starts)
    return np.concatenate([batch.motion.rigid for batch in done])


def seen(truth, seed=0):
    return truth + NOISE * np.random.default_rng(seed).standard_normal(truth.shape)


def variance(error):
    """Over that of the noise."""
    return np.square(error / NOISE).mean()


def test_noise_goes_where_nothing_moves():
    truth = np.zeros((200, 2))
    shifts = seen(truth)
    found = measure_steadiness(motion(shifts), np.arange(200), NOISE)
    assert found.middle is not None
    left = variance(steady(shifts, found))
    assert left < 0.02
    assert 1 - found.removed.mean() == pytest.approx(left, abs=0.1)


def test_shifts_without_noise_stay():
    found = measure_steadiness(motion(seen(np.zeros((200, 2)))), np.arange(200), np.zeros(2))
    assert found.shares is None and found.middle is None


def test_slow_drift_stays_up_to_the_ends():
    truth = np.linspace((0, 0), (5, -5), 200)
    shifts = seen(truth)
    found = measure_steadiness(motion(shifts), np.arange(200), NOISE)
    assert found.reach >= 8
    error = steady(shifts, found) - truth
    assert variance(error) < 0.15
    assert np.abs(error.mean(axis=0)).max() < 0.02 and np.abs(error[[0, -1]]).max() < 3 * NOISE.max()


@pytest.mark.parametrize("size", [0.5, 1.0, 2.0])
def test_motion_as_small_as_noise_stays_if_it_is_slow(size):
    truth = size * NOISE * np.sin(np.arange(300) / 30)[:, None]
    found = measure_steadiness(motion(seen(truth)), np.arange(300), NOISE)
    assert variance(steady(seen(truth), found) - truth) < 0.2


@pytest.mark.parametrize(
    ("share", "size"), [(0.15, 1.0), (0.1, 1.5), (0.05, 2.0)], ids=["long", "shorter", "short"]
)
def test_tissue_that_rests_somewhere_else_at_the_end(share, size):
    """Samples are runs of 5 of a longer movie."""
    numbers = (np.arange(40)[:, None] * 150 + np.arange(5)).ravel()
    moved = np.arange(6000)[:, None] >= 6000 * (1 - share)
    truth = size * NOISE * moved
    left = []
    for seed in range(4):
        shifts = seen(truth, seed)
        found = measure_steadiness(motion(shifts[numbers]), numbers, NOISE)
        left.append(variance((steady(shifts, found, 500) - truth)[moved[:, 0]]))
    assert np.mean(left) < 0.15


def test_places_between_samples_stay():
    """Of a movie that rests in all samples."""
    numbers = (np.arange(40)[:, None] * 150 + np.arange(5)).ravel()
    truth = np.zeros((6000, 2))
    truth[1020:1045], truth[3010:3110] = 3 * NOISE, 2 * NOISE
    shifts = seen(truth)
    found = measure_steadiness(motion(shifts[numbers]), numbers, NOISE)
    error = steady(shifts, found, 500) - truth
    assert found.middle is not None and variance(error[:1000]) < 0.05
    assert variance(error[1020:1045]) < 1 and variance(error[3010:3110]) < 0.4


def test_jumps_and_bouts_stay():
    rng = np.random.default_rng(1)
    truth = np.zeros((200, 2))
    truth[[20, 21, 90]] = (3, -2), (-2, 2), (0, 1.5)
    truth[120:140] = 2 + rng.standard_normal((20, 2))
    shifts = seen(truth)
    found = measure_steadiness(motion(shifts), np.arange(200), NOISE)
    error = steady(shifts, found) - truth
    moving = truth.any(axis=1)
    assert variance(error[~moving]) < 0.2
    assert variance(error[moving]) < 1.3 * variance((shifts - truth)[moving])
    assert np.abs(error).max() < 4 * NOISE.max()


def test_shifts_of_a_movie_that_jumps_all_the_time_stay_as_they_are():
    truth = 2 * np.random.default_rng(1).standard_normal((200, 2))
    shifts = seen(truth)
    found = measure_steadiness(motion(shifts), np.arange(200), NOISE)
    assert found.reach == 0 and found.removed == 0.0
    np.testing.assert_array_equal(steady(shifts, found), shifts.astype(np.float32))


def test_jitter_among_noise_shrinks_as_a_wiener_filter_would_have_it():
    """Both Gaussian, of equal size: half of each remains, and half of the variance."""
    truth = NOISE * np.random.default_rng(1).standard_normal((2000, 2))
    shifts = seen(truth)
    found = measure_steadiness(motion(shifts), np.arange(2000), NOISE)
    error = steady(shifts, found) - truth
    assert variance(error) == pytest.approx(0.5, abs=0.06)
    assert 1 - found.removed.mean() == pytest.approx(variance(error), abs=0.06)


def test_noise_that_was_taken_for_more_than_there_is():
    shifts = seen(np.zeros((200, 2)))
    found = measure_steadiness(motion(shifts), np.arange(200), 2 * NOISE)
    np.testing.assert_allclose(found.noise, NOISE, rtol=0.2)
    assert (found.removed > 0.95).all()


def test_shifts_that_are_all_alike_stay():
    shifts = np.full((50, 2), 1.5)
    found = measure_steadiness(motion(shifts), np.arange(50), NOISE)
    np.testing.assert_allclose(steady(shifts, found), shifts, atol=1e-6)


def test_short_runs_tell_of_few_frames_around():
    numbers = (np.arange(40)[:, None] * 50 + np.arange(5)).ravel()
    rng = np.random.default_rng(2)
    places = np.repeat(10 * rng.standard_normal((40, 2)), 5, axis=0)  # drift between runs
    found = measure_steadiness(motion(seen(places)), numbers, NOISE)
    assert 1 <= found.reach <= 2
    assert found.removed.mean() > 0.5


def test_nothing_is_concluded_from_few_frames():
    assert measure_steadiness(motion(seen(np.zeros((9, 2)))), np.arange(9), NOISE).reach == 0


def test_what_is_alike_over_a_long_time_is_so_over_a_short_one():
    numbers = (np.arange(40)[:, None] * 50 + np.arange(5)).ravel()
    drift = np.linspace((0, 0), (1, -1), 200)
    found = measure_steadiness(motion(seen(drift)), numbers, NOISE)
    assert found.reach == 16 and found.removed.mean() > 0.8
    alone = np.arange(100) * 10
    assert measure_steadiness(motion(seen(drift[::2])), alone, NOISE).reach >= 8
    places = 10 * np.random.default_rng(2).standard_normal((100, 2))
    assert measure_steadiness(motion(seen(places)), alone, NOISE).reach == 0


@pytest.fixture(params=[0.0, 2.0], ids=["at rest", "drifting"])
def calm(request):
    drift = np.linspace((0, 0), (request.param, -request.param), 60)
    found = measure_steadiness(motion(seen(drift)), np.arange(60), NOISE)
    assert found.reach and (found.middle is None) == bool(request.param)
    return found


@pytest.mark.parametrize("size", [1, 4, 60])
def test_batches_make_no_difference(calm, size):
    shifts = seen(np.zeros((60, 2)), seed=3)
    marks = {"flagged": (10, 30), "doubtful": (12, 31)}
    np.testing.assert_array_equal(steady(shifts, calm, size, **marks), steady(shifts, calm, 7, **marks))


def test_flagged_frames_neither_give_nor_take_and_doubtful_ones_only_take(calm):
    shifts = seen(np.zeros((60, 2)), seed=3)
    marks = {"flagged": (10,), "doubtful": (30,)}
    clean = steady(shifts, calm, **marks)
    np.testing.assert_array_equal(clean[10], shifts[10].astype(np.float32))
    assert (clean[30] != shifts[30]).all()
    shifts[[10, 30]] = 50.0
    spoilt, others = steady(shifts, calm, **marks), np.setdiff1d(np.arange(60), (10, 30))
    np.testing.assert_array_equal(spoilt[others], clean[others])


def test_doubtful_samples_leave_the_measure_alone(calm):
    shifts = seen(np.zeros((60, 2)))
    clean, spoilt = (
        measure_steadiness(motion(np.where(np.arange(60)[:, None] == 17, value, shifts), doubtful=(17,)), *rest)
        for value in (0.0, 50.0)
        for rest in [(np.arange(60), NOISE)]
    )
    np.testing.assert_array_equal(clean.shares, spoilt.shares)


def test_a_frame_with_nobody_around_keeps_its_shift(calm):
    shifts = seen(np.zeros((1, 2)))
    kept = steady(shifts, calm) == shifts.astype(np.float32)
    assert (kept == (calm.middle is None)).all()  # where it rests is known


def test_a_shift_counts_less_the_worse_the_frame_fits(calm):
    """Eight times the usual noise away from the others: a jump, unless the frame is as noisy as that."""
    shifts = np.zeros((60, 2))
    shifts[[20, 40]] = 8 * NOISE
    whole = motion(shifts, doubtful=(40,))
    whole.misfit[40] = 100.0
    (batch,) = filter_batches([Batch(0, np.zeros((60, 1, 1)), whole)], calm)
    kept = batch.motion.rigid[[20, 40]] / shifts[[20, 40]]
    assert (kept[0] > 0.95).all() and (kept[1] < 0.3).all()


def test_a_shift_counts_less_the_less_light_the_frame_has(calm):
    """A frame of little light fits as usual for that, and is noisier all the same."""
    shifts = np.zeros((60, 2))
    shifts[[20, 40]] = 8 * NOISE
    whole = motion(shifts)
    whole.brightness[40] = 0.01
    (batch,) = filter_batches([Batch(0, np.zeros((60, 1, 1)), whole)], calm)
    kept = batch.motion.rigid[[20, 40]] / shifts[[20, 40]]
    assert (kept[0] > 0.95).all() and (kept[1] < 0.3).all()
