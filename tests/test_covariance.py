"""Ways of moving that come again, on equations drawn from the model itself."""

from dataclasses import replace

import numpy as np
import pytest
from drawn import AS_EXPECTED, draw, equations_of, motions

from moco_dl.gaussian import gaussian_window
from moco_dl.refinement.basis import root
from moco_dl.tracking.covariance import REST, SIZES, _combinations, _Samples, learn_covariance
from moco_dl.tracking.prior import measure_prior
from moco_dl.tracking.track import Tracker

FRAMES = 240
RUNS = np.arange(FRAMES) // 80
LASTING = 3.0  # frames
NOISE = 25.0


def in_ways(refiner, ways, size, seed=0):
    """Unknowns (FRAMES, 2 m) of a tissue that moves in so many ways, and its equations without noise."""
    rng = np.random.default_rng(seed)
    tissue = refiner.basis.kinds()["tissue"]
    k = tissue.sum() // 2
    maps = rng.standard_normal((ways, k)) / np.sqrt(ways)
    unknowns = np.zeros((FRAMES, len(tissue)))
    slow = np.kron(np.eye(3), root(gaussian_window(FRAMES // 3, LASTING)))
    unknowns[:, tissue] = size * np.hstack(
        [slow @ rng.standard_normal((FRAMES, ways)) @ maps for _ in range(2)]
    )
    return unknowns, unknowns @ refiner.matrix.numpy()


def priors(refiner, seen, clarity=None):
    """Before and after."""
    clarity = np.ones(len(seen)) if clarity is None else clarity
    equations = equations_of(seen)
    before = measure_prior(refiner, equations, RUNS, clarity > 0)
    return before, learn_covariance(before, refiner, equations, RUNS, clarity)


def noise(refiner, seed=1, **drawn):
    return draw(refiner, FRAMES, noise=NOISE, seed=seed, **drawn)[1]


def error(refiner, prior, unknowns, seen):
    found = motions(seen, 30, Tracker(refiner, prior, AS_EXPECTED))
    return np.abs(found - refiner.basis.total(unknowns)).mean()


def distance(refiner, prior, unknowns):
    """Of the covariance of a component's displacement from that of these, both alike: px^2, root of squares."""
    tissue = unknowns[:, refiner.basis.kinds()["tissue"]].reshape(2 * FRAMES, -1)
    apart = prior.tissue - tissue.T @ tissue / len(tissue)
    products = refiner.basis.products(np.ones(refiner.grid))[
        refiner.basis.rows.stop :, refiner.basis.rows.stop :
    ]
    return np.sqrt(np.trace(apart @ products @ apart @ products))


@pytest.mark.parametrize(("ways", "times"), [(1, 0.85), (3, 0.97)])
def test_few_ways_of_moving_are_found_and_errors_fall(refiner, ways, times):
    unknowns, told = in_ways(refiner, ways, 0.2)
    seen = told + noise(refiner)
    before, after = priors(refiner, seen)
    assert error(refiner, after, unknowns, seen) < times * error(refiner, before, unknowns, seen)
    assert distance(refiner, after, unknowns) < 0.9 * distance(refiner, before, unknowns)


def test_tissue_that_moves_in_any_way_is_not_made_worse(refiner):
    unknowns, told = draw(refiner, FRAMES, tissue=0.2, lasting=LASTING, noise=NOISE)
    before, after = priors(refiner, told)
    assert error(refiner, after, unknowns, told) < 1.02 * error(refiner, before, unknowns, told)


@pytest.mark.parametrize("drawn", [{}, {"activity": 0.5}])
def test_noise_and_activity_are_not_ways_of_moving(refiner, drawn):
    before, after = priors(refiner, noise(refiner, **drawn))
    assert after is before


def test_where_much_of_the_noise_lasts_nothing_is_learned(refiner):
    """There, what looks like a way of moving may be cells that are active together."""
    _, pattern = in_ways(refiner, 1, 0.3)
    before, after = priors(refiner, noise(refiner, activity=0.5) + pattern)
    assert after is before


def test_samples_that_are_not_trusted_tell_nothing(refiner):
    seen = in_ways(refiner, 2, 0.2)[1] + noise(refiner)
    clarity = np.ones(FRAMES)
    clarity[[5, 60]] = 0
    _, clean = priors(refiner, seen, clarity)
    seen[[5, 60]] = 1e6
    _, spoilt = priors(refiner, seen, clarity)
    np.testing.assert_array_equal(clean.tissue, spoilt.tissue)


def test_noisier_samples_count_less(refiner):
    unknowns, told = in_ways(refiner, 1, 0.2)
    noisy = np.arange(FRAMES) % 2 == 0
    seen = told + noise(refiner) * np.where(noisy, 3.0, 0.3)[:, None]
    equations = equations_of(seen)
    before = replace(priors(refiner, told + noise(refiner))[0], noise=NOISE)
    known, alike = (
        distance(refiner, learn_covariance(before, refiner, equations, RUNS, clarity), unknowns)
        for clarity in (np.where(noisy, 1 / 3, 3.0), np.ones(FRAMES))
    )
    assert known < 0.8 * alike


def test_combinations_of_frames_do_not_depend_on_one_another(refiner):
    before, _ = priors(refiner, draw(refiner, FRAMES, tissue=0.2, lasting=LASTING, activity=0.2)[1])
    frames, clarity = np.array([3, 4, 5, 8, 9, 30]), np.array([1.0, 2, 1, 0.5, 1, 1])
    factors, sizes = _combinations(before, frames, clarity)
    lags = np.abs(np.subtract.outer(frames, frames))
    noise = before.noise_between(lags) / np.multiply.outer(clarity, clarity)
    np.testing.assert_allclose(factors.T @ noise @ factors, np.eye(len(sizes)), atol=1e-9)
    np.testing.assert_allclose(factors.T @ before.motion_between(lags) @ factors, np.diag(sizes**2), atol=1e-9)


def test_each_step_is_more_likely():
    rng = np.random.default_rng(0)
    functions, count = 4, 30
    half = rng.standard_normal((20, 2 * functions))
    matrix, true = half.T @ half, np.kron(np.eye(2), np.diag([3.0, 1.0, 0.1, 0.0]))
    sizes = rng.uniform(0.2, 2.0, (count, 1))
    motion = sizes * rng.standard_normal((count, 2 * functions)) @ np.sqrt(true)
    told = motion @ matrix + rng.standard_normal((count, 20)) @ half
    samples, found, likely = _Samples(matrix, told, sizes, 0.2), np.eye(functions), []
    for _ in range(30):
        effect = matrix @ np.kron(np.eye(2), found) @ matrix

        def exact(row, size, effect=effect):
            covariance = matrix + size**2 * effect
            return -0.5 * (np.linalg.slogdet(covariance)[1] + row @ np.linalg.solve(covariance, row))

        rows = list(zip(told, sizes[:, 0], strict=True))
        expected = 0.2 * count * (np.linalg.slogdet(found)[1] + REST * np.trace(np.linalg.inv(found)))
        any_size = sum(max(exact(row, size * times) for times in SIZES) for row, size in rows)
        modes = samples.modes(found)
        likely.append((sum(exact(*row) for row in rows) - expected, samples.log_likelihood(*modes) - any_size))
        found = samples.improved(*modes)
    likely = np.array(likely)
    assert (np.diff(likely[:, 0]) > -1e-6).all() and likely[-1, 0] > likely[0, 0] + 10
    np.testing.assert_allclose(likely[:, 1], likely[0, 1], rtol=1e-6)  # but for a constant
