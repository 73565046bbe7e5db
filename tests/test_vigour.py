"""Tissue that moves more strongly at times, on equations drawn from the model itself."""

from dataclasses import replace

import numpy as np
import pytest
from drawn import AS_EXPECTED, draw, equations_of, motions

from moco_dl.correction import Corrector
from moco_dl.gaussian import gaussian_window
from moco_dl.learning.synth import SyntheticMovie, movie_options
from moco_dl.movie import ArrayMovie
from moco_dl.tracking.prior import Prior, measure_prior
from moco_dl.tracking.timefilter import TimeFilter
from moco_dl.tracking.track import Tracker
from moco_dl.tracking.vigour import (
    BESIDE,
    CHANGES,
    LEVELS,
    REACH,
    Vigour,
    by_degrees,
    measure_vigour,
    posterior,
)

FRAMES = 200
BOUT = np.isin(np.arange(FRAMES) // 20, (3, 7))  # two, of 20 frames each
LASTING = 2.0  # frames
ALIKE = np.ones(FRAMES)  # in noise


def moved(refiner, sizes, seed=0):
    """Unknowns and equations of frames whose tissue moves by so much (frames,), px."""
    unknowns, _ = draw(refiner, len(sizes), tissue=1.0, lasting=LASTING, seed=seed)
    unknowns *= sizes[:, None]
    _, noise = draw(refiner, len(sizes), noise=4.0, seed=seed + 1)
    return unknowns, unknowns @ refiner.matrix.numpy() + noise


def bouts(calm):
    return 0.2 * np.where(BOUT, 1.0, calm)


def tracker_of(refiner, equations):
    """As samples would have it that are the whole movie."""
    whole = equations_of(equations)
    runs, trusted = np.zeros(len(equations), int), np.ones(len(equations), bool)
    return Tracker(refiner, measure_prior(refiner, whole, runs, trusted), AS_EXPECTED)


def vigour_of(tracker, equations, clear=ALIKE):
    return measure_vigour(clear[:, None] * tracker.in_modes(equations), tracker.visible, clear)


def around(tracker, equations, clear=ALIKE):
    """What frames tell, and which are there, with REACH more at either end that are not."""
    told = np.pad(clear[:, None] * tracker.in_modes(equations), ((REACH, REACH), (0, 0)))
    return told, np.pad(np.ones(len(equations), bool), REACH)


def strengths(tracker, equations, told, there, clear=ALIKE):
    vigour = vigour_of(tracker, equations, clear)
    return vigour.of_frames(told, there, tracker.visible, np.pad(clear, REACH, constant_values=1))


def test_tissue_that_always_moves_alike_is_left_alone(refiner):
    for seed in range(3):
        _, equations = moved(refiner, bouts(1.0), seed)
        assert vigour_of(tracker_of(refiner, equations), equations) is None


def test_where_nothing_moves_there_are_no_bouts(refiner):
    _, equations = moved(refiner, bouts(1.0) * 0)
    assert vigour_of(tracker_of(refiner, equations), equations) is None


def test_bouts_are_seen(refiner):
    _, equations = moved(refiner, bouts(0.1))
    tracker = tracker_of(refiner, equations)
    found = strengths(tracker, equations, *around(tracker, equations))
    inside = np.convolve(BOUT, np.ones(5), "same")
    assert found[inside == 5].min() > 3 * found[inside == 0].max()
    assert 6 < found[inside == 5].mean() / found[inside == 0].mean() < 15


def test_noise_is_no_motion(refiner):
    """Every other frame has four times the usual noise, which is known."""
    clear = np.where(np.arange(FRAMES) % 2, 0.5, 1.0)
    for calm, seen in ((1.0, False), (0.1, True)):
        unknowns, equations = moved(refiner, bouts(calm))
        tracker = tracker_of(refiner, equations)
        quiet = unknowns @ refiner.matrix.numpy()
        noisy = quiet + (equations - quiet) / clear[:, None]
        assert (vigour_of(tracker, noisy, clear) is not None) == seen
    found = strengths(tracker, noisy, *around(tracker, noisy, clear), clear)
    inside = np.convolve(BOUT, np.ones(5), "same")
    assert found[inside == 5].min() > 3 * found[inside == 0].max()


@pytest.mark.parametrize("uneven", [False, True])
@pytest.mark.parametrize("active", [0.0, 0.5])
def test_activity_may_look_like_bouts(refiner, uneven, active):
    """Where it makes frames noisy, these tell where tissue rests, but are smoothed alike."""
    _, equations = moved(refiner, bouts(0.1))
    prior = tracker_of(refiner, equations).prior
    prior = replace(prior, activity=np.full(len(prior.activity), active / len(prior.activity)))
    tracker = Tracker(refiner, prior, AS_EXPECTED, uneven=uneven)
    tracker.follow_samples(equations, ALIKE)
    assert tracker.vigour is not None
    assert (tracker.in_time.vigour is None) == (uneven and active > 0)


def test_frames_that_tell_nothing_are_taken_to_move_like_those_around(refiner):
    _, equations = moved(refiner, bouts(0.1))
    tracker = tracker_of(refiner, equations)
    told, there = around(tracker, equations)
    there[REACH + np.array([70, 100])] = False  # in a bout, and not in one
    told[~there] = 1e9
    found = strengths(tracker, equations, told, there)
    assert found[70] > 0.5 * found[[69, 71]].mean() and found[100] < 2 * found[[99, 101]].mean()


def test_frames_on_both_sides_tell_of_a_vigour():
    """Against the sum over all that three frames may have; those farther away tell nothing."""
    rng, levels = np.random.default_rng(0), len(LEVELS)
    shares, likelihood = rng.dirichlet(np.ones(levels)), np.ones((2 * REACH + 1, levels))
    first, middle, last = likelihood[REACH - 1 : REACH + 2] = rng.uniform(0, 1, (3, levels)) ** 4
    degrees = np.eye(levels, k=1) + np.eye(levels, k=-1)
    degrees = BESIDE * degrees + np.diag(1 - BESIDE * degrees.sum(axis=1))
    follows = (1 - CHANGES) * degrees + CHANGES * shares
    start = shares @ np.linalg.matrix_power(follows, REACH - 1)
    wanted = np.einsum("a,a,ab,b,bc,c->b", start, first, follows, middle, follows, last)
    found = posterior(np.log(likelihood), np.ones(len(likelihood), bool), shares, by_degrees(levels))[0]
    np.testing.assert_allclose(found, wanted / wanted.sum(), rtol=1e-9)


def test_calm_frames_gain_and_no_others_lose(refiner):
    unknowns, equations = moved(refiner, bouts(0.1))
    truth = np.stack([refiner.basis.displacement(row)[2] for row in unknowns])
    tracker, bent = tracker_of(refiner, equations), []
    for vigour in (None, vigour_of(tracker, equations)):
        tracker.follow(vigour)
        error = motions(equations, 16, tracker) - truth
        rest = error - error.mean(axis=(2, 3), keepdims=True)  # shifts are each frame's own
        bent.append(np.linalg.norm(rest, axis=1).mean(axis=(1, 2)))
    assert bent[1][~BOUT].mean() < 0.75 * bent[0][~BOUT].mean()
    assert bent[1][BOUT].mean() < 1.02 * bent[0][BOUT].mean()
    true = np.linalg.norm(error, axis=1).mean()
    assert tracker.errors().length().mean() == pytest.approx(true, rel=0.2)


def test_batches_make_no_difference(refiner):
    _, equations = moved(refiner, bouts(0.1))
    tracker = tracker_of(refiner, equations)
    tracker.follow(vigour_of(tracker, equations))
    whole = motions(equations[:90], 90, tracker)
    for size in (1, 7):
        np.testing.assert_array_equal(motions(equations[:90], size, tracker), whole)


class Known(Vigour):
    """As strong as it is said to be."""

    def of_frames(self, told, there, visible, clear):
        return self.shares


def test_a_mode_is_the_most_probable_one():
    """Against one system of equations for the whole movie."""
    count, rng = 9, np.random.default_rng(0)
    visible, told = np.array([0.3, 2.0]), rng.standard_normal((count, 2))
    sizes, loud = rng.uniform(0.2, 3, count), rng.uniform(0.5, 2, count)  # of motion, and of noise
    activity = np.array([0.2])
    prior = Prior(np.zeros(2), 1.0, np.ones(1), np.eye(1), (1.5,), np.ones(1), activity)
    in_time = TimeFilter(prior, visible, np.ones(2), Vigour(np.full(len(LEVELS), 1 / len(LEVELS))))
    in_time.reach = count
    ahead = in_time.lookahead
    in_time.vigour = Known(np.pad(sizes, ahead - REACH, constant_values=1.0))
    clear = np.pad(1 / loud, ahead, constant_values=1.0)
    given = clear[:, None] * np.pad(told, ((ahead, ahead), (0, 0)))
    found, own = in_time(given, np.pad(np.ones(count, bool), ahead), clear)
    motion = gaussian_window(count, 1.5) * np.outer(sizes, sizes)
    noise = (0.8 * np.eye(count) + 0.2 * gaussian_window(count, 1.5)) * np.outer(loud, loud)
    for mode, strength in enumerate(visible):
        weights = motion @ np.linalg.inv(strength * motion + noise)
        np.testing.assert_allclose(found[:, mode], weights @ told[:, mode], rtol=1e-6)
        np.testing.assert_allclose(own[:, mode], (weights * noise).sum(axis=1) / loud, rtol=1e-6)


def test_what_stays_unknown_is_expected_of_each_vigour():
    """Against filters for each of them."""
    visible, sizes = np.array([0.3, 2.0]), np.ones(2)
    prior = Prior(np.zeros(2), 1.0, np.ones(1), np.eye(1), (1.5,), np.ones(1), np.zeros(1))
    shares = np.where(np.isin(LEVELS, (0.5, 2.0)), 0.5, 0.0)
    mixed = TimeFilter(prior, visible, sizes, Vigour(shares))
    mixed.reach = 8
    expected = 0.0
    for level in (0.5, 2.0):
        alike = TimeFilter(prior, level**2 * visible, sizes)
        alike.reach = 8
        expected = expected + 0.5 * level**2 * alike.unknown()
    np.testing.assert_allclose(mixed.unknown(), expected)


@pytest.mark.parametrize(
    ("calm", "light", "bouts", "uneven"),
    [(1.0, 1.0, False, False), (0.1, 1.0, True, False), (1.0, 0.3, False, True), (0.1, 0.3, True, True)],
)
def test_movies_show_which_they_are(calm, light, bouts, uneven):
    """Steady, or in bouts; and the same if every other frame has less `light`."""
    options = movie_options(frames=120, size=128, photons=10.0, calm=calm, rows=0.0)
    movie, rng = SyntheticMovie(0, options), np.random.default_rng(0)
    frames = [movie.recorded((light if t % 2 else 1) * movie.moved(t)[0], rng) for t in range(120)]
    tracker = Corrector().prepare(ArrayMovie(np.stack(frames))).steps[-1].tracker
    assert (isinstance(tracker.in_time.vigour, Vigour), tracker.uneven) == (bouts, uneven)
