"""Paths that go on from frame to frame, on trajectories that are known."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from moco_dl.motion import Motion, take
from moco_dl.stream import Batch, filter_batches
from moco_dl.tracking.trajectory import FramePath, _covariance, _windows, measure_trajectory

ROWS, FRAMES = 48, 400
SHOWN = 0.03, 0.08, 0.08  # px, errors of shift, slope and bend
FUNCTIONS = np.polynomial.legendre.legvander(np.linspace(-1, 1, ROWS), 2)


def followed(lasting, seed=0):
    """(FRAMES, 2, 3) paths of tissue that moves on, correlated over so many frames."""
    rng = np.random.default_rng(seed)
    rows = gaussian_filter1d(rng.standard_normal((2, FRAMES * ROWS)), lasting * ROWS, axis=1)
    rows = (2 * rows / rows.std()).reshape(2, FRAMES, ROWS).swapaxes(0, 1)
    return rows @ np.linalg.pinv(FUNCTIONS).T


def found(paths, errors=SHOWN, seed=1):
    """What is found of paths, and that as motion: the most probable in the light of each frame alone."""
    errors, sizes = np.broadcast_to(errors, (2, 3)), np.square(paths).mean(axis=0)
    sizes[:, 0] = np.inf
    trust = 1 / (1 + np.square(errors) / sizes)
    seen = trust * (paths + errors * np.random.default_rng(seed).standard_normal(paths.shape))
    covariance = np.stack([np.diag(values) for values in trust * np.square(errors)])
    rows = seen @ FUNCTIONS.T - seen[..., :1]
    still = np.zeros(len(seen), bool)
    motion = Motion(
        seen[..., 0].astype(np.float32),
        np.zeros((len(seen), 2, ROWS, 1), np.float32),
        still,
        rows=rows.astype(np.float32),
        misfit=np.ones(len(seen), np.float32),
    )
    return FramePath(FUNCTIONS, covariance, sizes), motion


def filtered_by(trajectory, motion, size=FRAMES):
    """Motion, a few frames at a time."""
    count = len(motion.rigid)
    batches = [
        Batch(start, np.zeros((min(size, count - start), 0, 0)), take(motion, slice(start, start + size)))
        for start in range(0, count, size)
    ]
    done = list(filter_batches(batches, trajectory))
    return (np.concatenate([getattr(batch.motion, name) for batch in done]) for name in ("rigid", "rows"))


def errors_of(path, motion, truth):
    return path.found_in(motion) - truth


@pytest.mark.parametrize(("lasting", "times"), [(0.5, 0.75), (0.8, 0.55), (1.5, 0.4)])
def test_paths_that_go_on_are_found_better_and_as_well_as_is_said(lasting, times):
    truth = followed(lasting)
    path, motion = found(truth)
    trajectory = measure_trajectory(path, motion, np.arange(FRAMES))
    rigid, rows = filtered_by(trajectory, motion)
    before = errors_of(path, motion, truth)
    after = errors_of(path, replace(motion, rigid=rigid, rows=rows), truth)
    assert np.square(after).mean() < times**2 * np.square(before).mean()
    stated = np.sqrt(np.diagonal(trajectory.errors, axis1=1, axis2=2))
    np.testing.assert_allclose(stated, np.sqrt(np.square(after).mean(axis=0)), atol=0.01)


def test_bouts_are_followed_and_rest_is_calm():
    """Although what is expected of frames is that of both together."""
    bout = np.isin(np.arange(FRAMES) // 10, (7, 23))
    truth = followed(0.8) * np.where(bout, 6.0, 0.01)[:, None, None]
    path, motion = found(truth, 20 * np.array(SHOWN))
    trajectory = measure_trajectory(path, motion, np.arange(FRAMES))
    rigid, rows = filtered_by(trajectory, motion)
    before = np.square(errors_of(path, motion, truth)).mean(axis=(1, 2))
    after = np.square(errors_of(path, replace(motion, rigid=rigid, rows=rows), truth)).mean(axis=(1, 2))
    assert after[bout].mean() < before[bout].mean()
    rest = np.convolve(bout, np.ones(9), "same") == 0
    assert after[rest].mean() < 0.6**2 * before[rest].mean()


def test_ways_to_move_are_alike_if_time_runs_backward():
    truth = followed(0.8)
    backward = (truth[::-1] @ FUNCTIONS.T)[..., ::-1] @ np.linalg.pinv(FUNCTIONS).T
    windows, noise = _windows(np.arange(FRAMES), 2), np.zeros((2, 3, 3))
    covariances = [_covariance(paths[windows], noise) for paths in (truth, backward)]
    np.testing.assert_allclose(*covariances, atol=1e-9)


def test_runs_of_samples_tell_of_it_too():
    truth = followed(0.8)
    path, motion = found(truth)
    some = np.flatnonzero(np.arange(FRAMES) % 8 < 5)
    trajectory = measure_trajectory(path, take(motion, some), some)
    rigid, rows = filtered_by(trajectory, motion)
    before = errors_of(path, motion, truth)
    after = errors_of(path, replace(motion, rigid=rigid, rows=rows), truth)
    assert np.square(after).mean() < 0.6**2 * np.square(before).mean()


def test_paths_that_do_not_go_on_stay():
    """Each frame's own, as if drawn by lot; or too few frames to tell."""
    truth = np.random.default_rng(2).standard_normal((FRAMES, 2, 3)) * 0.5
    path, motion = found(truth)
    assert measure_trajectory(path, motion, np.arange(FRAMES)) is None
    path, motion = found(followed(0.8))
    assert measure_trajectory(path, motion, 2 * np.arange(FRAMES)) is None
    for count in (3, 40):
        assert measure_trajectory(path, take(motion, slice(count)), np.arange(count)) is None


def test_what_frames_do_not_tell_of_stays():
    truth = followed(0.8)
    path, motion = found(truth, (SHOWN, (0.03, 0.08, 3.0)))
    assert path.shown.tolist() == [[True] * 3, [True, True, False]]
    trajectory = measure_trajectory(path, motion, np.arange(FRAMES))
    rigid, rows = filtered_by(trajectory, motion)
    (before, after) = (path.found_in(some) for some in (motion, replace(motion, rigid=rigid, rows=rows)))
    np.testing.assert_allclose(after[:, 1, 2], before[:, 1, 2], atol=1e-5)
    assert np.abs(after - before)[:, [0, 0, 0, 1, 1], [0, 1, 2, 0, 1]].mean(axis=0).min() > 1e-3
    np.testing.assert_array_equal(trajectory.errors[1, 2], path.errors[1, 2])
    rest = np.square(after - truth).mean(axis=0) / np.square(before - truth).mean(axis=0)
    assert np.delete(rest.ravel(), 5).max() < 1


def test_flagged_and_doubtful_frames_neither_give_nor_take():
    truth = followed(0.8)
    path, motion = found(truth)
    trajectory = measure_trajectory(path, motion, np.arange(FRAMES))
    motion.flagged[50], motion.misfit[60] = True, 9.0
    rigid, rows = filtered_by(trajectory, motion)
    spoilt = replace(motion, rigid=motion.rigid.copy(), rows=motion.rows.copy())
    spoilt.rigid[[50, 60]] += 100
    spoilt.rows[[50, 60]] -= 100
    again, rows_again = filtered_by(trajectory, spoilt)
    rest = np.delete(np.arange(FRAMES), [50, 60])
    np.testing.assert_array_equal(again[rest], rigid[rest])
    np.testing.assert_array_equal(rows_again[rest], rows[rest])
    np.testing.assert_array_equal(again[[50, 60]], spoilt.rigid[[50, 60]])


def test_batches_make_no_difference():
    path, motion = found(followed(0.8))
    trajectory = measure_trajectory(path, motion, np.arange(FRAMES))
    rigid, rows = filtered_by(trajectory, motion)
    for size in (1, 7, 50):
        for part, whole in zip(filtered_by(trajectory, motion, size), (rigid, rows), strict=True):
            np.testing.assert_array_equal(part, whole)


def test_a_path_is_found_in_flow_and_rows_alike():
    rng, functions = np.random.default_rng(0), FUNCTIONS[::3]
    paths = rng.standard_normal((5, 2, 3))
    rows = (paths[..., 1:] @ functions[:, 1:].T).astype(np.float32)
    path = FramePath(functions, np.zeros((2, 3, 3)), np.ones((2, 3)))
    across = rng.standard_normal(6)
    flow = rows[..., None] + (across - across.mean())  # that is none of the path
    for share in (0, 0.3, 1):
        motion = Motion(
            paths[..., 0].astype(np.float32),
            (share * flow).astype(np.float32),
            np.zeros(5, bool),
            rows=(1 - share) * rows,
        )
        np.testing.assert_allclose(path.found_in(motion), paths, atol=1e-5)
