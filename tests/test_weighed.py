import numpy as np
import pytest
import torch
from drawn import SIZE, textured_refiner
from drawn_samples import still

from moco_dl.motion import Motion
from moco_dl.refinement.weighed import sample_equations, weighed_equations

NOISE = 40.0  # variance
SPOT = slice(24, 40), slice(30, 46)  # px
CELLS = slice(6, 10), slice(7, 11)  # of the coarse grid
FRAMES = 40
ALL = np.ones(FRAMES, bool)


def frames_of(refiner, spot):
    """(FRAMES, H, W) that do not move; in every other, one half of a place is brighter, the other darker."""
    frames = whole(refiner) + NOISE**0.5 * np.random.default_rng(0).standard_normal((FRAMES, *SIZE))
    side = np.repeat((spot, -spot), (SPOT[0].stop - SPOT[0].start) // 2)
    frames[::2][(slice(None), *SPOT)] += side[:, None]
    return frames.astype(np.float32)


def whole(refiner):
    """The image (H, W) that a refiner compares frames with."""
    cells = refiner.difference.view.reference.permute(2, 0, 3, 1)
    return cells.reshape(cells.shape[0] * cells.shape[1], -1)[: SIZE[0], : SIZE[1]].numpy()


def looked_at(spot):
    """A refiner, still samples with such a spot, and their motion so far: none."""
    refiner = textured_refiner()
    samples = still(frames_of(refiner, spot))
    nowhere = np.zeros(FRAMES, bool)
    grid = np.zeros((FRAMES, 2, *refiner.grid), np.float32)
    return refiner, samples, Motion(np.zeros((FRAMES, 2), np.float32), grid, nowhere)


def shifts(refiner, equations):
    """(n, 2) px, if nothing else moves."""
    shift = np.ix_(*2 * [refiner.basis.kinds()["shift"]])
    told = equations.left[:, refiner.basis.kinds()["shift"]]
    return np.linalg.solve(refiner.matrix.numpy()[shift], told.T).T


def test_noise_alone_weighs_no_place():
    refiner, samples, motion = looked_at(spot=0.0)
    found = weighed_equations(refiner, samples, motion, ALL)
    assert bool((refiner.difference.places == 1).all())
    np.testing.assert_array_equal(found.left, sample_equations(refiner, samples, motion, ALL).left)


def test_what_changes_as_the_pattern_of_activity_does_not_say_moves_the_frame_less():
    refiner, samples, motion = looked_at(spot=200.0)
    before = shifts(refiner, sample_equations(refiner, samples, motion, ALL))
    found = shifts(refiner, weighed_equations(refiner, samples, motion, ALL))
    places = refiner.difference.places
    assert places[CELLS].max() < 0.5 and bool((places[:, :2] == 1).all())
    assert found[::2].mean(axis=0) == pytest.approx((0, 0), abs=0.02)
    assert np.hypot(*found[::2].mean(axis=0)) < 0.2 * np.hypot(*before[::2].mean(axis=0))


def test_samples_that_are_not_trusted_do_not_weigh_places():
    refiner, samples, motion = looked_at(spot=200.0)
    weighed_equations(refiner, samples, motion, np.arange(FRAMES) % 2 == 1)
    assert bool((refiner.difference.places == 1).all())


def test_weighed_places_tell_as_much_less_as_less_is_asked_of_them():
    refiner, samples, motion = looked_at(spot=0.0)
    before, matrix = sample_equations(refiner, samples, motion, ALL), refiner.matrix
    refiner.weigh(torch.full(refiner.grid, 0.25))
    after = sample_equations(refiner, samples, motion, ALL)
    torch.testing.assert_close(refiner.matrix, matrix / 4)
    np.testing.assert_allclose(after.left, before.left / 4, rtol=1e-5, atol=1e-4)
    refiner.weigh(torch.ones(refiner.grid))
    torch.testing.assert_close(refiner.matrix, matrix)
