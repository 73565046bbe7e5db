"""What is expected of whole-frame shifts, where a frame alone does not tell."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from moco_dl.sampled.expected import Expected, measure_expected

LIMIT = (9, 12)


def drawn_correlations(height, middle, spread, count=200, seed=0, limit=LIMIT):
    """Peaks 2 px wide in noise that is as smooth, in its standard deviations."""
    rng = np.random.default_rng(seed)
    y, x = (np.arange(-most, most + 1) for most in limit)
    shifts = middle + spread * rng.standard_normal((count, 2))
    peaks = np.exp(
        -((y[:, None] - shifts[:, 0, None, None]) ** 2 + (x - shifts[:, 1, None, None]) ** 2) / (4 * 2.0**2)
    )
    noise = gaussian_filter(rng.standard_normal(peaks.shape), (0, 2, 2))
    return shifts, height * peaks + noise / noise.std()


def test_probabilities_add_up():
    expected = Expected(4.0, np.array([1.0, -2.0]), np.array([2.0, 1.5]))
    assert expected.probability(LIMIT).sum() == pytest.approx(1)
    assert np.unravel_index(expected.probability(LIMIT).argmax(), (19, 25)) == (9 + 1, 12 - 2)


def test_frames_that_are_nowhere_tell_nothing():
    """Nor do they overflow, as where something else than the scene makes correlations negative."""
    _, seen = drawn_correlations(0.0, np.zeros(2), np.ones(2))
    found = measure_expected(seen - 1000, np.ones(len(seen)))
    assert 0 < found.weight <= 1 and np.isfinite(found.spread).all()


@pytest.mark.parametrize("step", [0.7, 1.5, np.inf])
def test_shifts_follow_one_another_and_stay_what_they_usually_are(step):
    expected = Expected(4.0, np.array([1.0, -2.0]), np.array([2.0, 1.5]), step)
    usual = expected.usual((30, 30))
    for axis, ways in enumerate(expected.transitions((30, 30))):
        shares, places = usual.sum(axis=1 - axis), np.arange(-30, 31)
        np.testing.assert_allclose(ways.sum(axis=0), 1)
        np.testing.assert_allclose(ways @ shares, shares, atol=0.01)
        steps = np.sqrt((ways * shares * np.subtract.outer(places, places) ** 2).sum())
        assert steps == pytest.approx(min(step, np.sqrt(2) * expected.spread[axis]), rel=0.05)


@pytest.mark.parametrize("height", [3.0, 5.0, 20.0])
def test_all_frames_show_how_far_they_usually_are(height):
    """Even if the peaks of many are lost in noise."""
    shifts, seen = drawn_correlations(height, (1.0, -2.0), (2.5, 1.0))
    if height == 3.0:
        peaks = np.stack(np.unravel_index(seen.reshape(200, -1).argmax(axis=1), seen.shape[1:]), axis=1) - LIMIT
        assert (np.abs(peaks - shifts).max(axis=1) > 4).mean() > 0.1
    found = measure_expected(seen, np.ones(len(seen)))
    np.testing.assert_allclose(found.middle, (1.0, -2.0), atol=0.5)
    np.testing.assert_allclose(found.spread, (2.5, 1.0), rtol=0.3)


def test_light_that_bleaches_makes_frames_no_less_sure():
    _, seen = drawn_correlations(1.0, (1.0, -2.0), (2.5, 1.0))
    peaks = seen - drawn_correlations(0.0, (1.0, -2.0), (2.5, 1.0))[1]
    light = np.linspace(1.5, 0.5, len(seen))[:, None, None]
    alike, mixed = np.ones(len(seen)), np.random.default_rng(0).permutation(light)
    steady, bleached = (measure_expected(seen + 19 * by * peaks, alike) for by in (1.0, light))
    assert bleached.weight == pytest.approx(steady.weight, rel=0.1)
    assert measure_expected(seen + 19 * mixed * peaks, alike).weight < 0.5 * steady.weight
    flickering = measure_expected(seen + 19 * mixed * peaks, 300 + 20 * mixed.ravel())
    assert flickering.weight == pytest.approx(steady.weight, rel=0.1)
