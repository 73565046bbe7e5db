"""Tissue that jumps to another place, on what frames tell drawn from the model itself."""

import numpy as np
from scipy.stats import multivariate_normal

from moco_dl.gaussian import gaussian_window
from moco_dl.tracking.breaks import SIDE, SURE, Breaks
from moco_dl.tracking.prior import Prior
from moco_dl.tracking.timefilter import TimeFilter

FRAMES, LASTING, MODES = 120, 4.0, 40
VISIBLE = np.geomspace(0.1, 30.0, MODES)
PRIOR = Prior(np.zeros(2), 1.0, np.ones(1), np.eye(1), (LASTING,), np.ones(1), np.array([0.1]))


def told(rng, breaks=(), sizes=1.0):
    """Modes of frames (FRAMES, MODES), new from each of the `breaks` on, and what frames tell of them."""
    root = np.linalg.cholesky(gaussian_window(FRAMES, LASTING) + 1e-9 * np.eye(FRAMES))
    modes, noise = root @ rng.standard_normal((FRAMES, MODES)), root @ rng.standard_normal((FRAMES, MODES))
    for start in breaks:
        modes[start:] = (root @ rng.standard_normal((FRAMES, MODES)))[start:]
    modes *= np.reshape(sizes, (-1, 1))
    noise = np.sqrt(0.1) * noise + np.sqrt(0.9) * rng.standard_normal((FRAMES, MODES))
    return modes, VISIBLE * modes + np.sqrt(VISIBLE) * noise


def parts(told, there=None, sizes=1.0):
    there = np.ones(len(told), bool) if there is None else there
    sizes = np.pad(np.broadcast_to(sizes, len(told)), Breaks.reach, mode="edge")
    return Breaks(PRIOR, VISIBLE).parts(
        np.pad(told, ((Breaks.reach,) * 2, (0, 0))), np.pad(there, Breaks.reach), sizes
    )


def test_breaks_are_found_where_they_are_and_nowhere_else():
    for seed in range(5):
        _, some = told(np.random.default_rng(seed), (40, 80))
        assert np.flatnonzero(np.diff(parts(some))).tolist() == [39, 79]
        _, none = told(np.random.default_rng(seed))
        assert not parts(none).any()


def test_they_are_found_in_motion_that_is_stronger_at_a_time():
    sizes = np.where(np.arange(FRAMES) < 60, 0.5, 2.0)
    _, some = told(np.random.default_rng(0), (80,), sizes)
    assert np.flatnonzero(np.diff(parts(some, sizes=sizes))).tolist() == [79]
    _, none = told(np.random.default_rng(0), (), sizes)
    assert not parts(none, sizes=sizes).any()


def test_none_is_seen_beside_frames_that_tell_nothing():
    _, some = told(np.random.default_rng(0), (40,))
    assert parts(some)[-1] == 1
    assert not parts(some, np.arange(FRAMES) != 42).any()


def test_a_break_is_as_sure_as_the_likelihoods_say():
    """Against scipy's of what eight frames tell of each mode."""
    _, some = told(np.random.default_rng(1), (60,))
    near = some[60 - SIDE : 60 + SIDE]
    motion = gaussian_window(2 * SIDE, LASTING)
    noise = 0.9 * np.eye(2 * SIDE) + 0.1 * motion
    new = np.arange(2 * SIDE) >= SIDE
    gain = 0.0
    for strength, seen in zip(VISIBLE, near.T, strict=True):
        going_on, anew = (
            multivariate_normal(cov=strength * (strength * shared + noise)).logpdf(seen)
            for shared in (motion, motion * (new[:, None] == new))
        )
        gain += anew - going_on
    found = Breaks(PRIOR, VISIBLE).gains(some, np.ones(FRAMES, bool), np.ones(FRAMES))
    assert gain > SURE
    np.testing.assert_allclose(found[60], gain, rtol=1e-6)


def test_frames_beyond_a_break_tell_nothing():
    """Modes on either side are those that each half of the movie gives alone."""
    in_time = TimeFilter(PRIOR, VISIBLE, np.ones(MODES))
    _, some = told(np.random.default_rng(2), (60,))

    def found(there):
        ahead = in_time.lookahead
        given, clear = np.pad(some, ((ahead, ahead), (0, 0))), np.ones(len(some) + 2 * ahead)
        return in_time(given, np.pad(there, ahead), clear)[0]

    whole, after = found(np.ones(FRAMES, bool)), np.arange(FRAMES) >= 60
    np.testing.assert_array_equal(whole[:60], found(~after)[:60])
    np.testing.assert_array_equal(whole[60:], found(after)[60:])


def test_where_little_is_seen_motion_that_goes_on_is_not_broken(monkeypatch):
    """Few modes tell less of a break than many."""
    monkeypatch.setitem(globals(), "MODES", 4)
    monkeypatch.setitem(globals(), "VISIBLE", np.geomspace(0.5, 30.0, 4))
    for seed in range(30):
        _, none = told(np.random.default_rng(seed))
        assert not parts(none).any()
