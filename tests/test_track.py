"""The most probable motion, on equations drawn from the model itself."""

from dataclasses import replace
from itertools import starmap

import numpy as np
import pytest
import torch
from drawn import AS_EXPECTED, batches, draw, equations_of, motions

from moco_dl.gaussian import gaussian_window
from moco_dl.motion import Motion
from moco_dl.refinement.basis import root
from moco_dl.tracking.prior import Prior
from moco_dl.tracking.track import DESCENTS, Tracker


@pytest.fixture(scope="module")
def prior(refiner):
    """Correlated over 1.5 frames, so that 8 frames away nothing is left."""
    kinds = refiner.basis.kinds()
    size = kinds["tissue"].sum() // 2
    other = np.where(kinds["shift"], 0.09, 0.04)[~kinds["tissue"]]
    zeros = np.zeros(len(refiner.matrix))
    activity = np.array([0.2])
    return Prior(zeros, 1.3, other, 0.04 * np.eye(size), (1.5,), np.ones(1), activity)


def test_the_motion_is_the_most_probable_one(refiner, prior):
    """Against one system of equations for the whole movie."""
    _, equations = draw(refiner, 12, tissue=0.2, rows=0.2, slope=0.2)
    kinds, matrix = refiner.basis.kinds(), refiner.matrix.numpy()
    apart = np.abs(np.subtract.outer(np.arange(12), np.arange(12)))
    size = np.zeros(len(matrix))
    size[kinds["tissue"]] = 0.04
    motion = np.kron(prior.motion_between(apart), np.diag(size))
    size[kinds["tissue"]], size[~kinds["tissue"]] = 0, prior.other
    motion += np.kron(np.eye(12), np.diag(size))
    everywhere = np.kron(np.eye(12), matrix)
    # Activity is noise to the tissue only: what the shift and rows are found from is one frame's own.
    quiet = replace(prior, activity=np.zeros(1))
    noise = 1.3 * everywhere
    unknowns = (
        motion @ everywhere @ np.linalg.solve(everywhere @ motion @ everywhere + noise, equations.ravel())
    )
    expected = refiner.basis.total(unknowns.reshape(12, -1))
    tracker = Tracker(refiner, quiet, AS_EXPECTED)
    tracker.in_time.reach = 12
    np.testing.assert_allclose(motions(equations, 5, tracker), expected, atol=2e-3)


def test_knowing_of_activity_helps(refiner, prior):
    """Where noise lasts as long as motion, only its pattern tells them apart; it matters how strong it is."""
    unknowns, equations = draw(refiner, 200, tissue=0.05, lasting=1.5, noise=2.0, activity=0.9)
    truth = np.stack([refiner.basis.displacement(row)[2] for row in unknowns])
    expected = replace(prior, noise=2.0, tissue=prior.tissue / 16, other=np.full_like(prior.other, 1e-9))
    errors = []
    for share in (0.0, 0.9):
        tracker = Tracker(refiner, replace(expected, activity=np.array([share])), AS_EXPECTED)
        errors.append(np.abs(motions(equations, 8, tracker) - truth).mean())
    assert errors[1] < 0.99 * errors[0]


@pytest.mark.parametrize(("descents", "error"), [(300, 0.01), (DESCENTS, 0.8)])
def test_where_frames_have_no_data_they_tell_of_what_is_most_probable(
    refiner, prior, monkeypatch, descents, error
):
    """Against the equations of those cells that are seen; these are nearly reached soon."""
    monkeypatch.setattr("moco_dl.tracking.track.DESCENTS", descents)
    rng, tissue = np.random.default_rng(0), refiner.basis.kinds()["tissue"]
    prior = replace(prior, tissue=0.2 * refiner.basis.tissue_shapes()[0])
    unknowns, so_far = np.zeros((2, 4, len(tissue)))
    for values in (unknowns, so_far):
        values[:, tissue] = rng.standard_normal((4, tissue.sum())) @ np.kron(np.eye(2), root(prior.tissue)).T
    missing = np.zeros((4, 16, 18), np.float32)
    missing[:3, 13:], missing[:3, :, :2] = 1.0, 0.5
    each = refiner.basis.total(np.eye(len(tissue)))
    lacking = refiner.effect(torch.from_numpy(missing[0] * each)).numpy()
    matrix = refiner.matrix.numpy()
    seen = unknowns @ matrix + draw(refiner, 4, noise=1.3)[1]
    seen[:3] -= unknowns[:3] @ lacking
    flow = refiner.basis.total(so_far)
    motion = Motion(np.zeros((4, 2), np.float32), flow, np.zeros(4, bool))
    given = seen + refiner.effect(torch.from_numpy(missing[:, None] * flow)).numpy()
    so_far = replace(equations_of(seen), whole=given, missing=missing)
    alone = Tracker(refiner, replace(prior, lasting=(1e-3,)), AS_EXPECTED)
    filled = alone.filled(so_far, motion)
    covariance = np.diag(np.where(tissue, 0, 1.0))
    covariance[~tissue, ~tissue] = prior.other
    covariance[np.ix_(tissue, tissue)] = np.kron(np.eye(2), prior.tissue)
    shown = matrix - lacking
    expected = covariance @ np.linalg.solve(shown @ covariance + 1.3 * np.eye(len(shown)), seen[:3].T)
    wanted = refiner.basis.total(expected.T)
    before, after = (np.abs(motions(told.whole, 1, alone)[:3] - wanted).mean() for told in (so_far, filled))
    assert after < error * before and filled.missing is None
    np.testing.assert_array_equal(filled.whole[3], seen[3])


def test_batches_make_no_difference(refiner, prior):
    _, equations = draw(refiner, 25, tissue=0.2)
    tracker = Tracker(refiner, prior, AS_EXPECTED)
    whole = motions(equations, 25, tracker)
    for size in (1, 4, 7):
        np.testing.assert_array_equal(motions(equations, size, tracker), whole)


def test_noisy_frames_count_less_where_noise_is_uneven(refiner, prior):
    unknowns, clean = draw(refiner, 120, tissue=0.2, lasting=3.0, noise=0.0)
    noise, misfit = draw(refiner, 120, noise=1.3)[1], np.tile([0.3, 2.4, 1.0], 40)
    equations = clean + np.sqrt(misfit)[:, None] * noise
    truth, errors = refiner.basis.total(unknowns), []
    for uneven in (False, True):
        quiet = replace(prior, lasting=(3.0,), activity=np.zeros(1))
        tracker = Tracker(refiner, quiet, AS_EXPECTED, uneven=uneven)
        error = motions(equations, 16, tracker, misfit=misfit) - truth
        error -= error.mean(axis=(2, 3), keepdims=True)
        errors.append(np.linalg.norm(error, axis=1).mean(axis=(1, 2)))
        by_one = motions(equations[:40], 1, tracker, misfit=misfit[:40])
        np.testing.assert_array_equal(by_one, motions(equations[:40], 7, tracker, misfit=misfit[:40]))
    assert errors[1].mean() < 0.95 * errors[0].mean()


def test_flagged_frames_neither_give_nor_take(refiner, prior):
    _, equations = draw(refiner, 20, tissue=0.2)
    tracker = Tracker(refiner, prior, AS_EXPECTED)
    clean = motions(equations, 5, tracker, flagged=(8,))
    equations[8] = 1e6
    np.testing.assert_array_equal(motions(equations, 5, tracker, flagged=(8,)), clean)
    assert not clean[8].any() and clean[7].any()


def test_doubtful_frames_do_no_harm_and_move_as_their_neighbours(refiner, prior):
    tracker, some = Tracker(refiner, replace(prior, lasting=(8.0,)), AS_EXPECTED), np.arange(8, 60, 10)
    apart, lengths = [], []
    for seed in range(3):
        _, equations = draw(refiner, 60, tissue=0.2, lasting=8.0, seed=seed)
        clean = motions(equations, 5, tracker)
        equations[some] = 1e4
        spoilt = motions(equations, 5, tracker, doubtful=some)
        assert np.abs(spoilt - clean).max() < 0.5
        apart.append(np.abs(spoilt[some] - clean[some]).mean())
        lengths.append(np.abs(clean[some]).mean())
    assert np.mean(apart) < 0.5 * np.mean(lengths)
    alone = motions(equations[8:9], 1, tracker, doubtful=(0,))
    assert not alone.any()


def test_frames_of_little_light_are_believed_as_far_as_their_noise_allows(refiner, prior):
    """They tell of themselves, and do no harm to others."""
    tracker, some = Tracker(refiner, replace(prior, lasting=(8.0,)), AS_EXPECTED), np.arange(8, 60, 10)
    own, others, lengths = [], [], []
    for seed in range(3):
        _, equations = draw(refiner, 60, tissue=0.2, lasting=8.0, seed=seed)
        clean = motions(equations, 5, tracker)
        _, noise = draw(refiner, 60, tissue=0.0, lasting=8.0, seed=seed + 10)
        equations[some] += np.sqrt(8) * noise[some]
        found = motions(equations, 5, tracker, doubtful=some, brightness=0.2)
        ignored = motions(equations, 5, tracker, doubtful=some)
        rest = np.setdiff1d(np.arange(60), some)
        own.append(np.abs(found[some] - clean[some]).mean() / np.abs(ignored[some] - clean[some]).mean())
        others.append(np.abs(found[rest] - clean[rest]).mean())
        lengths.append(np.abs(clean[rest]).mean())
    assert np.mean(own) < 0.7
    assert np.mean(others) < 0.05 * np.mean(lengths)


@pytest.mark.parametrize("noise", [0.5, 3.0])
def test_the_stated_error_is_the_true_one(refiner, prior, noise):
    """Within the 20 % that are promised, on average and from place to place."""
    rng = np.random.default_rng(3)
    kinds, matrix = refiner.basis.kinds(), refiner.matrix.numpy()
    frames = 300
    quiet = replace(prior, noise=noise, activity=np.zeros(1))
    slow = root(gaussian_window(frames, 1.5))
    unknowns = 0.2 * kinds["tissue"] * (slow @ rng.standard_normal((frames, len(matrix))))
    unknowns[:, ~kinds["tissue"]] = np.sqrt(prior.other) * rng.standard_normal((frames, len(prior.other)))
    errors = rng.standard_normal((frames, len(matrix))) @ root(matrix).T
    tracker = Tracker(refiner, quiet, AS_EXPECTED)
    found = motions(unknowns @ matrix + noise**0.5 * errors, 50, tracker)
    truth = refiner.basis.total(unknowns)
    error = np.linalg.norm(found - truth, axis=1).mean(axis=0)
    stated = tracker.errors().length()
    assert stated.mean() == pytest.approx(error.mean(), rel=0.05)
    np.testing.assert_allclose(stated, error, rtol=0.2)
    shapes = found - truth
    means = shapes.mean(axis=(2, 3), keepdims=True)
    known = tracker.errors()
    np.testing.assert_allclose(known.mean[:, 0, 0], np.square(means).mean(axis=0)[:, 0, 0], rtol=0.2)
    for removed in (1.0, 0.5):  # by a filter that takes a share of it off
        left = np.linalg.norm(shapes - (1 - np.sqrt(1 - removed)) * means, axis=1).mean()
        assert known.length(removed).mean() == pytest.approx(left, rel=0.05)


@pytest.mark.parametrize(("tissue", "lasting"), [(0.2, 1.5), (0.4, 1.5), (0.8, 1.5), (0.1, 1.5), (0.2, 3.0)])
def test_the_stated_error_is_the_true_one_though_tissue_moves_otherwise(refiner, prior, tissue, lasting):
    """What is put in at 0.2 px over 1.5 frames is what is expected."""
    quiet = replace(prior, other=np.full_like(prior.other, 1e-9), activity=np.zeros(1))
    tracker, frames = Tracker(refiner, quiet, AS_EXPECTED), 200
    unknowns, equations = draw(refiner, frames, tissue=tissue, lasting=lasting, noise=1.3)
    found = motions(equations, 50, tracker)
    truth = refiner.basis.total(unknowns)
    error = np.linalg.norm(found - truth, axis=1).mean()
    excess = tracker.excess(list(starmap(tracker.told, batches(equations, 50))))
    assert tracker.errors(excess).length().mean() == pytest.approx(error, rel=0.15)
    assert (tissue, lasting) != (0.2, 1.5) or abs(excess) < 0.2


def test_a_still_movie_looks_far_and_a_fast_one_does_not(refiner, prior):
    assert Tracker(refiner, prior.with_motion_lasting(1000.0), AS_EXPECTED).in_time.reach == 32
    assert Tracker(refiner, prior.with_motion_lasting(1.0), AS_EXPECTED).in_time.reach <= 4
    assert Tracker(refiner, prior.with_motion_lasting(0.0), AS_EXPECTED).in_time.reach == 0
