"""What is expected of motion before frames are looked at, on equations drawn from the model itself."""

from dataclasses import replace

import numpy as np
import pytest
from drawn import AS_EXPECTED, RUN, draw, equations_of

from moco_dl.gaussian import gaussian_window
from moco_dl.refinement.basis import root
from moco_dl.tracking.durations import measure_durations, pieces
from moco_dl.tracking.prior import measure_prior
from moco_dl.tracking.track import Tracker


def measured(refiner, frames, **drawn):
    series = [draw(refiner, RUN, seed=seed, **drawn) for seed in range(frames // RUN)]
    seen = np.concatenate([equations for _, equations in series])
    return prior_of(refiner, seen, np.repeat(np.arange(frames // RUN), RUN))


def prior_of(refiner, seen, runs, trusted=None):
    trusted = np.ones(len(seen), bool) if trusted is None else trusted
    return measure_prior(refiner, equations_of(seen), runs, trusted)


def total(prior, refiner):
    """Expected size of the tissue's displacement, px."""
    values = np.concatenate([root(prior.tissue).T] * 2, axis=1)
    unknowns = np.zeros((len(values), len(refiner.matrix)))
    unknowns[:, refiner.basis.kinds()["tissue"]] = values
    fields = [refiner.basis.displacement(row)[2][0] for row in unknowns]
    return np.sqrt(np.square(fields).sum(axis=0).mean())


@pytest.mark.parametrize(
    ("tissue", "lasting", "rows"), [(0.3, 4.0, 0.0), (0.3, 1.0, 0.2), (0.1, 8.0, 0.0), (0.3, 0.01, 0.0)]
)
def test_the_prior_is_what_was_put_in(refiner, tissue, lasting, rows):
    prior = measured(refiner, 400, tissue=tissue, lasting=lasting, rows=rows)
    whole = total(replace(prior, tissue=tissue**2 * np.eye(len(prior.tissue))), refiner)
    assert total(prior, refiner) == pytest.approx(whole, rel=0.2)
    lags = np.array([1, 4])
    np.testing.assert_allclose(prior.motion_between(lags), gaussian_window(5, lasting)[0, lags], atol=0.15)
    assert prior.activity.sum() < 0.3
    assert np.sqrt(prior.other.max(initial=0, where=prior.other < 0.0899)) == pytest.approx(rows, abs=0.1)


def test_tissue_may_move_back_and_forth_from_frame_to_frame(refiner):
    """As a heart beats, twice in five frames; frames beside one another say nothing of it, or the opposite."""
    rng, matrix = np.random.default_rng(0), refiner.matrix.numpy()
    beats = (
        np.sqrt(2) * np.cos(2 * np.pi * 0.4 * np.arange(200) + rng.uniform(0, 2 * np.pi, (len(matrix), 1))).T
    )
    moves = 0.3 * refiner.basis.kinds()["tissue"] * rng.standard_normal(len(matrix)) * beats
    seen = moves @ matrix + rng.standard_normal(moves.shape) @ root(matrix).T
    prior = prior_of(refiner, seen, np.repeat(np.arange(200 // RUN), RUN))
    whole = total(replace(prior, tissue=0.3**2 * np.eye(len(prior.tissue))), refiner)
    assert total(prior, refiner) == pytest.approx(whole, rel=0.3)
    assert prior.motion_between(np.array([1])) < 0.2


def sizes_of(prior, refiner, *names):
    """Root mean squares, px, that are expected of some kinds of unknowns."""
    kinds = refiner.basis.kinds()
    everything = np.zeros(len(refiner.matrix))
    everything[~kinds["tissue"]] = prior.other
    return [np.sqrt(everything[kinds[name]].mean()) for name in names]


def test_a_path_of_its_own_in_each_frame_is_not_tissue_that_moves_fast(refiner):
    prior = measured(refiner, 400, tissue=0.1, lasting=6.0, slope=0.3)
    slope, other_way, bend = sizes_of(prior, refiner, "slope_x", "slope_y", "bend_x")
    assert slope == pytest.approx(0.3, rel=0.2)
    assert other_way < 0.1 and bend < 0.1
    lags = np.array([1, 4])
    np.testing.assert_allclose(prior.motion_between(lags), gaussian_window(5, 6.0)[0, lags], atol=0.15)


def test_rows_are_expected_to_move_though_shifts_have_been_taken_out(refiner):
    """Which are the most probable ones, had nothing else moved."""
    seen, matrix, shift = (
        draw(refiner, 200, rows=0.2)[1],
        refiner.matrix.numpy(),
        refiner.basis.kinds()["shift"],
    )
    shifts = np.linalg.solve(matrix[np.ix_(shift, shift)], seen[:, shift].T).T
    prior = prior_of(refiner, seen - shifts @ matrix[shift], np.repeat(np.arange(20), RUN))
    assert sizes_of(prior, refiner, "rows_x") == pytest.approx([0.2], rel=0.15)
    assert sizes_of(prior, refiner, "rows_y")[0] < 0.05


def test_rows_may_move_smoothly(refiner):
    basis, rng = refiner.basis, np.random.default_rng(0)
    variances = 0.3**2 * basis.wide_rows()["wide_rows_x"]
    errors = rng.standard_normal((400, len(variances))) @ root(refiner.matrix.numpy()).T
    seen = (np.sqrt(variances) * rng.standard_normal((400, len(variances)))) @ refiner.matrix.numpy() + errors
    prior = prior_of(refiner, seen, np.repeat(np.arange(40), RUN))
    kinds = basis.kinds()
    found = prior.other[kinds["rows_x"][~kinds["tissue"]]]
    np.testing.assert_allclose(found, variances[kinds["rows_x"]], rtol=0.5, atol=0.01)


@pytest.mark.parametrize(
    "drawn", [{"tissue": 0.3, "lasting": 2.0}, {"rows": 0.02}, {"noise": 1.5}, {"activity": 0.5}]
)
def test_no_path_is_expected_where_there_is_none(refiner, drawn):
    prior = measured(refiner, 200, **drawn)
    assert max(sizes_of(prior, refiner, "slope_y", "slope_x", "bend_y", "bend_x")) < 0.001


def test_where_there_is_only_noise_no_motion_is_expected(refiner):
    prior = measured(refiner, 200, noise=1.5)
    assert total(prior, refiner) == 0
    assert max(sizes_of(prior, refiner, "rows_y", "rows_x")) < 0.001
    assert prior.noise == pytest.approx(1.5, rel=0.2)


def test_motion_that_cannot_be_told_from_noise_is_not_ruled_out(refiner):
    """It is looked for the less, the less it explains of what is seen, but errors are expected of the rest."""
    priors = [measured(refiner, 200, tissue=0.03, noise=noise) for noise in (24.0, 30.0, 36.0, 100.0)]
    taken = [total(prior, refiner) for prior in priors]
    assert 0.03 > taken[0] > taken[1] > 0.005 and taken[2:] == [0, 0]
    expected = [total(replace(prior, tissue=prior.tissue + prior.unsure), refiner) for prior in priors]
    assert 0.04 > expected[0] > expected[1] > expected[2] > 0.015
    assert expected[3] < 0.001
    for prior in priors[1:3]:
        ruled_out = Tracker(refiner, replace(prior, unsure=None), AS_EXPECTED).errors().length().mean()
        assert Tracker(refiner, prior, AS_EXPECTED).errors().length().mean() > 1.02 * ruled_out
    surely = replace(priors[0], unsure=None)
    hardly = replace(surely, unsure=1e-9 * surely.tissue)  # does not replace what is expected of the rest
    errors = [Tracker(refiner, prior, AS_EXPECTED).errors().length().mean() for prior in (surely, hardly)]
    assert errors[1] == pytest.approx(errors[0], rel=1e-3)


def test_what_is_active_hides_motion_that_is_as_weak(refiner):
    """Activity is not alike in all modes: where much of the noise lasts, motion must explain far more."""
    quiet, active = (measured(refiner, 200, tissue=0.03, noise=8.0, activity=share) for share in (0.0, 0.5))
    assert total(quiet, refiner) > 0.02 and total(active, refiner) == 0


def test_motion_farther_than_tissue_goes_is_none(refiner):
    far = measured(refiner, 60, tissue=40.0)
    assert not far.tissue.any() and not far.paths
    assert total(replace(far, tissue=far.unsure), refiner) > 1


def test_rows_may_move_though_tissue_does_not(refiner):
    prior = measured(refiner, 200, rows=0.2)
    assert total(prior, refiner) == 0
    assert sizes_of(prior, refiner, "rows_x") == pytest.approx([0.2], rel=0.2)


def test_tissue_that_hardly_moves_is_not_taken_to_rest(refiner):
    prior = measured(refiner, 200, tissue=0.02)
    whole = total(replace(prior, tissue=0.02**2 * np.eye(len(prior.tissue))), refiner)
    assert total(prior, refiner) == pytest.approx(whole, rel=0.4)


def test_what_lasts_but_looks_like_noise_is_activity(refiner):
    prior = measured(refiner, 400, activity=0.5)
    assert total(prior, refiner) < 0.06
    assert prior.noise_between(np.array([2])) == pytest.approx(0.5 * np.exp(-0.125), abs=0.15)
    assert prior.noise_between(np.array([0])) == pytest.approx(1.0, abs=0.15)


def lasting(rng, frames):
    """(20, RUN, 40): pieces of 40 modes of unit variance that last for so many frames."""
    return root(gaussian_window(RUN, frames)) @ rng.standard_normal((20, RUN, 40))


def test_activity_that_is_strong_in_a_few_modes_is_not_motion():
    """Few cells that flash seem to grow and shrink, far more than they move, in modes that are hardly seen."""
    rng, modes = np.random.default_rng(0), np.arange(40)
    visible, long_waves = np.geomspace(100, 0.1, 40), modes < 10
    strong = np.where(modes % 4 == 3, 5.0, 0.2) * ~long_waves

    told = np.sqrt(0.1 * visible * long_waves) * lasting(rng, 3.0)
    told += 0.5 * lasting(rng, 0.01) + strong * lasting(rng, 8.0)
    found = measure_durations(visible * np.stack((long_waves, np.ones(40))), told, 1).motion.sum(axis=1)
    assert found == pytest.approx([0.1, 0], abs=0.01)


def test_motion_that_is_strong_in_some_modes_is_not_activity():
    """Tissue that moves in few ways bends far more in some modes than in others."""
    rng, visible = np.random.default_rng(0), np.geomspace(100, 0.1, 40)
    ways = np.where(np.arange(40) % 2 == 1, 1.75, 0.25)

    told = np.sqrt(0.1 * visible * ways) * lasting(rng, 3.0)
    told += 0.8 * lasting(rng, 0.01) + 0.8 * lasting(rng, 5.0)
    assert measure_durations(visible[None], told, 1).motion.sum() == pytest.approx(0.1, rel=0.15)


def test_what_all_frames_share_is_not_motion(refiner):
    _, equations = draw(refiner, 60, tissue=0.2)
    common = refiner.matrix.numpy() @ np.where(refiner.basis.kinds()["tissue"], 0.5, 0.0)
    without, shared = (
        prior_of(refiner, seen, np.arange(60) // RUN) for seen in (equations, equations + common)
    )
    np.testing.assert_allclose(shared.common - without.common, common, atol=1e-6 * np.abs(common).max())
    assert total(shared, refiner) == pytest.approx(total(without, refiner), rel=0.05)


def test_pieces_are_consecutive_trusted_frames_of_one_run():
    runs, trusted = np.repeat([0, 1, 2, 3], [10, 10, 10, 3]), np.ones(33, bool)
    values = np.arange(33.0)[:, None]
    found, apart = pieces(values, runs, trusted)
    assert found[..., 0].tolist() == values[:30, 0].reshape(3, 10).tolist() and apart == 1
    trusted[[4, 14, 25]] = False
    found, apart = pieces(values, runs, trusted)
    assert (
        found[..., 0].tolist() == [[5, 6, 7, 8, 9], [15, 16, 17, 18, 19], [20, 21, 22, 23, 24]] and apart == 1
    )


@pytest.mark.parametrize("turns", [2, 3])
def test_pieces_are_every_second_or_third_frame_if_these_alone_are_trusted(turns):
    runs = np.repeat([0, 1], 9)
    trusted = np.arange(18) % 9 % turns == 1
    found, apart = pieces(np.arange(18.0)[:, None], runs, trusted)
    assert found[..., 0].tolist() == np.flatnonzero(trusted).reshape(2, -1).tolist() and apart == turns


def test_frames_that_never_follow_one_another_are_pieces_of_their_own():
    found, apart = pieces(np.arange(6.0)[:, None], np.arange(6), np.ones(6, bool))
    assert found.shape == (6, 1, 1) and apart == 1


def test_how_long_motion_lasts_is_told_of_every_second_frame(refiner):
    _, seen = draw(refiner, 240, tissue=0.3)
    runs, some = np.arange(240) // RUN, np.arange(240) % 2 == 0
    every, second = prior_of(refiner, seen, runs), prior_of(refiner, seen, runs, some)
    lags = np.array([2, 4])
    np.testing.assert_allclose(second.motion_between(lags), every.motion_between(lags), atol=0.1)


def test_single_frames_tell_nothing_about_time(refiner):
    _, seen = draw(refiner, 100, tissue=0.3, lasting=0.01)
    prior = prior_of(refiner, seen, np.arange(100))
    assert prior.motion_between(np.array([0, 1])).tolist() == [1, 0]
    assert Tracker(refiner, prior, AS_EXPECTED).in_time.reach == 0


def test_doubtful_samples_leave_the_prior_alone(refiner):
    _, seen = draw(refiner, 60, tissue=0.2)
    clean = prior_of(refiner, seen, np.arange(60) // RUN, np.arange(60) != 17)
    seen[17] = 1e5
    spoilt = prior_of(refiner, seen, np.arange(60) // RUN, np.arange(60) != 17)
    np.testing.assert_array_equal(spoilt.tissue, clean.tissue)
    assert spoilt.noise == clean.noise
