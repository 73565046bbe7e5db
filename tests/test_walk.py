"""Whole-frame shifts in the light of those around them, beside all paths enumerated."""

from itertools import pairwise, product

import numpy as np
import pytest
from test_expected import drawn_correlations

from moco_dl.sampled.expected import Expected
from moco_dl.sampled.walk import JUMPS, REACH, Walk, measure_walk


def enumerated(expected, shown):
    """Shifts (n, 2) expected of frames that show likelihoods (n, ny, nx), over all paths that there are."""
    count, ny, nx = shown.shape
    limit = (ny // 2, nx // 2)
    y, x = expected.transitions(limit)
    start, places = expected.probability(limit), list(product(range(ny), range(nx)))
    total, sums = 0.0, np.zeros((count, 2))
    for path in product(places, repeat=count):
        likely = start[path[0]]
        for (before_y, before_x), (to_y, to_x) in pairwise(path):
            step = y[to_y, before_y] * x[to_x, before_x]
            likely *= (1 - JUMPS) * step + JUMPS / start.size
        for frame, place in zip(shown, path, strict=True):
            likely *= frame[place]
        total, sums = total + likely, sums + likely * (np.array(path) - limit)
    return sums / total


def test_shifts_are_those_expected_over_all_paths(monkeypatch):
    monkeypatch.setattr("moco_dl.sampled.walk.REACH", 2)
    rng = np.random.default_rng(0)
    expected = Expected(1.0, np.array([0.3, -0.2]), np.array([1.0, 0.8]), step=0.7)
    shown = rng.uniform(0.01, 1, (5, 3, 3)).astype(np.float32)
    shown[3] = 1  # nothing is known of it
    given = {7 + i: frame for i, frame in enumerate(shown) if i != 3}
    found, _ = Walk(expected, given).shifts(range(9, 10), given)
    np.testing.assert_allclose(found[0], enumerated(expected, shown)[2], atol=1e-6)


def walk(steps, seed=0, count=120, height=4.0):
    """Shifts of frames one after another, and correlations that show these."""
    rng = np.random.default_rng(seed)
    path = np.cumsum(steps * rng.standard_normal((count, 2)), axis=0)
    spread = path.std(axis=0)
    path = (path - path.mean(axis=0)) / np.maximum(spread / 2.5, 1)  # within what is allowed
    return path, drawn_correlations(height, path, 0.0, count, seed + 1, (20, 20))[1]


@pytest.mark.parametrize("seed", range(5))
def test_neighbours_tell_where_a_frame_is(seed):
    path, seen = walk(0.5, seed, height=2.0)
    found = measure_walk(seen, np.ones(len(path)), np.arange(len(path)))
    assert found.expected.step <= 1
    shifts, _ = found.of_samples()
    alone, _ = measure_walk(
        seen, np.ones(len(path)), 3 * np.arange(len(path))
    ).of_samples()  # too far from one another
    near, far = (np.hypot(*(some - path).T).mean() for some in (shifts, alone))
    assert near < 0.9 * far
    off = np.sqrt(np.square(shifts - path).sum(axis=1).mean())
    assert 0.8 * off < found.unsure < 1.6 * off


def test_shifts_that_do_not_follow_one_another_are_found_for_themselves():
    path, seen = drawn_correlations(6.0, (0.0, 0.0), 2.5, 120)
    found = measure_walk(seen, np.ones(120), np.arange(120))
    assert found.expected.step == np.inf
    assert np.hypot(*(found.of_samples()[0] - path).T).mean() < 0.6


def test_jumps_are_followed():
    path, seen = walk(0.3, height=6.0)
    seen = np.concatenate((seen[:60], np.roll(seen[60:], 5, axis=2)))
    path[60:, 1] += 5
    found = measure_walk(seen, np.ones(120), np.arange(120)).of_samples()[0]
    assert np.abs(found - path)[55:65].max() < 1.5


def test_a_shift_does_not_depend_on_how_many_are_asked_for():
    _, seen = walk(0.5)
    found = measure_walk(seen, np.ones(120), np.arange(120))
    whole = found.shifts(range(120), found.samples)[0]
    for size in (1, 7, 16):
        parts = [found.shifts(range(i, min(i + size, 120)), found.samples)[0] for i in range(0, 120, size)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)
    some = {n: found.samples[n] for n in range(50 - REACH, 51 + REACH)}
    np.testing.assert_array_equal(found.shifts(range(50, 51), some)[0][0], whole[50])


def test_a_single_clear_frame_is_not_drawn_to_its_neighbours():
    places = np.arange(-6, 7)
    apart = np.square(places[:, None]) + np.square(places)
    there = np.exp(-0.5 * apart / 0.3).astype(np.float32) + np.float32(1e-10)
    given = {n: there for n in range(21)} | {10: np.roll(there, (4, -4), (0, 1))}
    walk = Walk(Expected(1.0, np.zeros(2), np.full(2, 2.0), step=0.7), given)
    found, _ = walk.shifts(range(21), given)
    np.testing.assert_allclose(found[10], (4, -4), atol=0.3)
    np.testing.assert_allclose(np.delete(found, 10, axis=0), 0, atol=0.3)
