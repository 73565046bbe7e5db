"""Where tissue lies that rests at times, and is in bouts at others."""

import numpy as np
import pytest
from drawn import AS_EXPECTED, draw, equations_of

import moco_dl
from moco_dl.learning.synth import SyntheticMovie, movie_options
from moco_dl.motion import Motion
from moco_dl.moving import move_known
from moco_dl.network import STRIDE
from moco_dl.sampled.samples import Samples
from moco_dl.stream import Batch
from moco_dl.tracking.prior import measure_prior
from moco_dl.tracking.rest import middle_shift, rest_weights
from moco_dl.tracking.track import Tracker
from moco_dl.tracking.vigour import REACH, measure_vigour

FRAMES = 120
BOUT = np.isin(np.arange(FRAMES) // 20, (1, 4))


def tracked(refiner, sizes, *, noise=4.0):
    """A tracker, and the equations of frames whose tissue moves by so much (frames,), px."""
    unknowns, _ = draw(refiner, FRAMES, tissue=1.0, lasting=2.0, seed=3)
    _, errors = draw(refiner, FRAMES, noise=noise, seed=4)
    seen = (unknowns * sizes[:, None]) @ refiner.matrix.numpy() + errors
    equations = equations_of(seen)
    prior = measure_prior(refiner, equations, np.zeros(FRAMES, int), np.ones(FRAMES, bool))
    tracker = Tracker(refiner, prior, AS_EXPECTED)
    tracker.follow(measure_vigour(tracker.in_modes(seen), tracker.visible, np.ones(FRAMES)))
    return tracker, equations


def samples_of(numbers):
    return Samples(np.zeros((FRAMES, 1, 1)), np.arange(FRAMES), np.zeros(FRAMES, int), numbers)


def test_frames_of_bouts_count_little(refiner):
    trusted = np.ones(FRAMES, bool)
    trusted[::7] = False
    weights = rest_weights(
        *tracked(refiner, np.where(BOUT, 0.4, 0.04)), samples_of(np.arange(FRAMES) + 50), trusted
    )
    assert not weights[~trusted].any()
    assert weights[trusted & BOUT].mean() < 0.2 * weights[trusted & ~BOUT].mean()


def test_frames_that_are_no_samples_tell_nothing(refiner):
    """However many there are of them: as if all of the movie were looked at."""
    (tracker, equations), trusted = tracked(refiner, np.where(BOUT, 0.4, 0.04)), np.arange(FRAMES) % 7 > 0
    numbers = np.arange(FRAMES) + np.repeat([0, 3, 300], FRAMES // 3)
    told, there = np.zeros((FRAMES + 400, len(tracker.visible))), np.zeros(FRAMES + 400, bool)
    told[numbers[trusted] + REACH] = tracker.in_modes(equations.whole[trusted])
    there[numbers[trusted] + REACH] = True
    strength = tracker.in_time.vigour.of_frames(told, there, tracker.visible, np.ones(len(told)))[numbers]
    expected = trusted / (strength**2 + tracker.in_time.lost)
    np.testing.assert_allclose(rest_weights(tracker, equations, samples_of(numbers), trusted), expected)


def test_without_bouts_all_frames_count_alike(refiner):
    weights = rest_weights(
        *tracked(refiner, np.full(FRAMES, 0.2)), samples_of(np.arange(FRAMES)), np.ones(FRAMES, bool)
    )
    np.testing.assert_array_equal(weights, 1)


def test_what_all_frames_share_is_their_weighted_mean(refiner):
    equations, weights = tracked(refiner, np.full(FRAMES, 0.2))[1], np.arange(FRAMES) % 3
    trusted = np.arange(FRAMES) != 5
    prior = measure_prior(refiner, equations, np.zeros(FRAMES, int), trusted, weights)
    expected = (weights * trusted) @ equations.whole / (weights * trusted).sum()
    np.testing.assert_allclose(prior.common, expected)


@pytest.fixture(scope="module")
def restless():
    """The truth (T, 2, h, w) of a movie in bouts, on the coarse grid, and how it is corrected."""
    drawn = SyntheticMovie(107, movie_options(frames=120, size=128, photons=5.0, calm=0.1))
    frames, truth = (np.stack(x) for x in zip(*drawn, strict=True))
    return truth[..., ::STRIDE, ::STRIDE], moco_dl.correct(frames)


def without_shift(field):
    return field - np.median(field, axis=(-2, -1), keepdims=True)


def lengths(field):
    return float(np.hypot(*field[:, 4:-4, 4:-4]).mean())


def test_fields_are_zero_where_tissue_rests(restless):
    """Not at the middle of all motion: bouts go to one side."""
    truth, result = restless
    still = without_shift(np.median(result.fields[:][..., ::STRIDE, ::STRIDE] - truth, axis=0))
    assert lengths(still) < 0.25 * lengths(without_shift(truth.mean(axis=0)))


def test_a_constant_is_taken_off_the_motion_of_frames_that_are_judged():
    rng, constant = np.random.default_rng(0), np.random.default_rng(1).standard_normal((2, 3, 4))
    flow = rng.standard_normal((3, 2, 3, 4))
    flow -= flow.mean(axis=(2, 3), keepdims=True)
    motion = Motion(rng.standard_normal((3, 2)), flow, np.array([False, True, False]))
    less = Batch(0, np.zeros((3, 16, 16)), motion).less(constant).motion
    np.testing.assert_allclose(less.total()[::2], motion.total()[::2] - constant)
    np.testing.assert_array_equal(less.total()[1], motion.total()[1])
    np.testing.assert_allclose(less.flow.mean(axis=(2, 3)), 0, atol=1e-12)


def test_the_reference_is_moved_as_frames_are(known_movie, monkeypatch):
    monkeypatch.setattr("moco_dl.preparation.middle_shift", lambda shifts: np.array([0.8, -0.6], np.float32))
    found, inner = moco_dl.correct(known_movie[0]), np.s_[16:-16, 16:-16]
    mean, reference = found.corrected.mean(axis=0)[inner], found.reference[inner]
    seen = np.stack([*np.gradient(reference), np.ones_like(reference)]).reshape(3, -1)
    apart = np.linalg.lstsq(seen.T, (mean - reference).ravel(), rcond=None)[0]
    assert np.abs(apart[:2]).max() < 0.15


def test_the_reference_stays_where_frames_lie_most_of_the_time():
    near = np.array([(0.1, -0.3), (0.2, 0.0), (0.3, 8.0)], np.float32)
    np.testing.assert_allclose(middle_shift(near), [0.2, 0.0])
    assert not middle_shift(np.array([(0.1, 3.0), (0.2, 3.0)], np.float32)).any()  # between two places, or lost


def test_the_reference_lies_where_frames_are_brought(restless):
    """Of the mean image, moved along the mean motion, it is most like that which is not moved."""
    truth, result = restless
    middle = without_shift(truth.mean(axis=0)).astype(np.float32)[None]
    mean = result.corrected.mean(axis=0, dtype=np.float32)[None]
    reference = move_known(result.reference[None], 0 * middle + 0.5)  # which blurs, as it does below

    def apart(times):
        return np.square(move_known(mean, times * middle + 0.5) - reference)[0, 16:-16, 16:-16].mean()

    before, here, after = apart(-1), apart(0), apart(1)
    assert abs(before - after) / (2 * (before - 2 * here + after)) < 0.3


def test_the_reference_lies_there_whichever_samples_it_is_made_of(monkeypatch):
    """Also if samples that it was made of moved otherwise than all of them."""
    scene = SyntheticMovie(2, movie_options(frames=100, size=96, photons=40.0, rigid=1.0, amplitude=8.0))
    scene._activity[:] = 0
    movie = np.stack([frame for frame, _ in scene])
    monkeypatch.setattr("moco_dl.view.View.enough", lambda _, samples: samples.numbers < 25)
    found = moco_dl.correct(movie, ref="mean", dtype="float32")
    mean, reference = found.corrected.mean(axis=0)[12:-12, 12:-12], found.reference[12:-12, 12:-12]
    assert (mean - reference).std() < 0.2 * mean.std()
