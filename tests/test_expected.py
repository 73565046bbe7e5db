"""What is expected of the shifts of dim frames, from correlations that are drawn."""

import numpy as np
import pytest

from moco_dl.sampled.expected import measure_expected


def correlations(heights, seed=0, most=8, spread=1.5, anywhere=0.0):
    """Noise of unit variance, and peaks of these heights (n,) at shifts of `spread` px."""
    rng, count = np.random.default_rng(seed), len(heights)
    found = rng.standard_normal((count, 2 * most + 1, 2 * most + 1))
    shifts = np.rint(np.clip(spread * rng.standard_normal((count, 2)), -most, most)).astype(int) + most
    lost = rng.random(count) < anywhere
    shifts[lost] = rng.integers(0, 2 * most + 1, (lost.sum(), 2))
    rows, columns = shifts.T
    found[np.arange(count), rows, columns] += heights
    return found


def test_light_that_bleaches_makes_shifts_no_less_sure():
    steady = measure_expected(correlations(np.full(400, 7.0)))
    bleached = measure_expected(correlations(np.linspace(10.0, 4.0, 400)))
    assert bleached.weight == pytest.approx(steady.weight, rel=0.1)
    assert steady.weight == pytest.approx(7.0, rel=0.15)


def test_few_frames_that_are_anywhere_do_not_make_shifts_spread():
    found = measure_expected(correlations(np.full(400, 7.0), anywhere=0.05))
    np.testing.assert_allclose(found.spread, np.hypot(1.5, 0.5), rtol=0.15)
