"""A single bout of motion that no sample shows, on equations drawn from the model itself."""

import numpy as np
from test_vigour import FRAMES, around, moved, tracker_of

from moco_dl.tracking.outburst import Outbursts
from moco_dl.tracking.vigour import REACH

BOUT = np.isin(np.arange(FRAMES), np.arange(90, 110))
RARE = Outbursts(1 / FRAMES)


def strengths(tracker, equations):
    told, there = around(tracker, equations)
    return RARE.of_frames(told, there, tracker.visible, np.ones(len(told)))


def test_a_bout_that_samples_do_not_show_is_found(refiner):
    _, usual = moved(refiner, np.full(FRAMES, 0.2))
    _, equations = moved(refiner, np.where(BOUT, 2.0, 0.2), seed=5)
    found = strengths(tracker_of(refiner, usual), equations)
    assert (found[~BOUT] == 1).all()
    assert ((found[BOUT] > 3) & (found[BOUT] < 30)).all()


def test_usual_motion_is_no_outburst(refiner):
    for seed in range(3):
        _, usual = moved(refiner, np.full(FRAMES, 0.2), seed)
        assert (strengths(tracker_of(refiner, usual), usual) == 1).all()


def test_more_noise_is_no_outburst(refiner):
    _, usual = moved(refiner, np.full(FRAMES, 0.2))
    _, still = moved(refiner, np.zeros(FRAMES), seed=9)
    _, equations = moved(refiner, np.full(FRAMES, 0.2), seed=5)
    equations = equations + np.where(BOUT, 2.0, 0.0)[:, None] * still
    assert (strengths(tracker_of(refiner, usual), equations) == 1).all()


def test_frames_that_hardly_fit_tell_of_none(refiner):
    """What they show may be active cells."""
    _, usual = moved(refiner, np.full(FRAMES, 0.2))
    _, equations = moved(refiner, np.where(BOUT, 2.0, 0.2), seed=5)
    tracker = tracker_of(refiner, usual)
    told, there = around(tracker, equations)
    for misfit, found in ((1.1, True), (3.0, False)):
        clear = np.pad(np.where(BOUT, misfit**-0.5, 1.0), REACH, constant_values=1.0)
        strength = RARE.of_frames(clear[:, None] * told, there, tracker.visible, clear)
        assert (strength[BOUT] > 3).any() == found


def test_an_outburst_may_grow_at_once():
    """In bright frames other levels are out of the question in each, but that does not rule out all of them."""
    visible = np.full(1000, 1e4)
    sizes = np.ones(FRAMES + 2 * REACH)
    sizes[REACH + 100 : REACH + 110] = np.repeat((4.0, 64.0), 5)
    told = np.sqrt(visible * (np.square(sizes[:, None]) * visible + 1)) * np.random.default_rng(
        0
    ).standard_normal((len(sizes), len(visible)))
    found = RARE.of_frames(told, np.ones(len(told), bool), visible, np.ones(len(told)))
    np.testing.assert_allclose(found, sizes[REACH:-REACH], rtol=0.2)


def test_frames_are_told_alone_as_among_others(refiner):
    _, usual = moved(refiner, np.full(FRAMES, 0.2))
    _, equations = moved(refiner, np.where(BOUT, 2.0, 0.2), seed=5)
    tracker = tracker_of(refiner, usual)
    told, there = around(tracker, equations)
    whole = RARE.of_frames(told, there, tracker.visible, np.ones(len(told)))
    near = slice(100, 101 + 2 * REACH)
    alone = RARE.of_frames(told[near], there[near], tracker.visible, np.ones(1 + 2 * REACH))
    np.testing.assert_array_equal(alone, whole[100:101])
