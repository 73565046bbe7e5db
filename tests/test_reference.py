import numpy as np
import pytest

from moco_dl.moving import move_known
from moco_dl.reference import RunSum, _combine, _median, build_reference, centred, first_reference
from moco_dl.sampled.samples import draw_samples, sample_runs


def samples_of(frames):
    return draw_samples(lambda numbers: frames[numbers], sample_runs(len(frames), len(frames)), kept=50)[0]


def no_motion(samples, reference):
    return np.zeros((len(samples), 2, 1, 1), np.float32)


def stay(frames, motion):
    return frames.astype(np.float32)


def built(samples, kind, estimates, move):
    return build_reference(samples, kind, estimates, move, first=first_reference(samples))


@pytest.mark.parametrize("kind", ["median", "mean"])
@pytest.mark.parametrize("count", [1, 9, 60])
def test_reference_of_a_still_movie_is_its_average(kind, count):
    rng = np.random.default_rng(0)
    scene = rng.uniform(50, 200, (24, 30))
    frames = rng.poisson(scene, (count, 24, 30)).astype(np.uint16)
    reference, *_ = built(samples_of(frames), kind, [no_motion] * 2, stay)
    assert np.abs(reference - frames.mean(0)).mean() < 8 / np.sqrt(count) * (kind == "median") + 1e-3 * 200


def test_corrupt_frames_are_left_out():
    rng = np.random.default_rng(0)
    scene = rng.uniform(50, 200, (24, 30))
    frames = rng.poisson(scene, (40, 24, 30)).astype(np.uint16)
    frames[7], frames[20] = rng.integers(0, 5000, (2, 24, 30))
    frames[30] = 0
    reference, _, used = built(samples_of(frames), "mean", [no_motion] * 2, stay)
    assert np.abs(reference - scene).mean() < 3
    assert np.flatnonzero(~used).tolist() == [7, 20]  # what is empty was never looked at


def test_a_whole_run_of_corrupt_frames_is_left_out():
    rng = np.random.default_rng(0)
    scene = rng.uniform(50, 200, (24, 30))
    frames = rng.poisson(scene, (60, 24, 30)).astype(np.uint16)
    frames[20:30] = rng.integers(0, 5000, (10, 24, 30))
    reference, *_ = built(samples_of(frames), "mean", [no_motion] * 2, move_known)
    assert np.abs(reference - scene).mean() < 3


def test_position_is_the_median_of_the_motion():
    """Every sample displaced alike: nothing to correct, so nothing is moved."""
    seen = []

    def displaced(samples, reference):
        return centred(np.full((len(samples), 2, 1, 1), 3.0, np.float32))

    def record(frames, motion):
        seen.append(np.abs(motion).max())
        return frames.astype(np.float32)

    frames = np.random.default_rng(0).poisson(9, (10, 20, 20)).astype(np.uint16)
    built(samples_of(frames), "median", [displaced], record)
    assert max(seen) == 0


def test_shape_is_the_mean_of_the_non_rigid_motion():
    """A skewed rigid path must not bend the reference, as the median of the whole motion would."""
    bend = np.zeros((2, 6, 6), np.float32)
    bend[0] = np.linspace(-1, 1, 6)[:, None]
    path = np.array([0, 0, 0, 0, 0, 0, 5, 8, 9], np.float32)
    strength = path / 9 - (path / 9).mean()
    motion = path[:, None, None, None] + strength[:, None, None, None] * bend
    frames = np.random.default_rng(0).poisson(9, (9, 24, 24)).astype(np.uint16)
    seen = []
    built(samples_of(frames), "median", [lambda *_: centred(motion)], lambda f, m: seen.append(m) or 1.0 * f)
    used = np.concatenate(seen)[: len(frames)]
    rigid = used.mean(axis=(2, 3))
    np.testing.assert_allclose(rigid[:, 1], path, atol=1e-6)
    rest = used - rigid[:, :, None, None]
    np.testing.assert_allclose(rest, strength[:, None, None, None] * bend, atol=1e-6)


def test_median_ignores_missing_values():
    stack = np.random.default_rng(0).random((9, 8, 7)).astype(np.float32)
    stack[np.random.default_rng(1).random(stack.shape) < 0.3] = np.nan
    np.testing.assert_allclose(_median(stack), np.nanmedian(stack, axis=0))


def test_seed_comes_from_frames_that_agree():
    rng = np.random.default_rng(0)
    scene, other = rng.uniform(0, 100, (2, 32, 32))
    frames = np.stack([scene + rng.normal(0, 1, scene.shape) for _ in range(30)] + [other] * 5)
    assert np.corrcoef(first_reference(samples_of(frames)).ravel(), scene.ravel())[0, 1] > 0.99


def test_seed_is_not_of_blank_frames_of_a_masked_view():
    rng = np.random.default_rng(0)
    scene = 1000 + rng.uniform(0, 100, (32, 32))
    frames = np.stack([scene + rng.normal(0, 20, scene.shape) for _ in range(30)] + [0 * scene + 1050] * 10)
    frames[:, :8] = np.nan
    found = first_reference(samples_of(frames))
    assert np.isnan(found[:8]).all() and np.corrcoef(found[8:].ravel(), scene[8:].ravel())[0, 1] > 0.9


def test_mean_of_more_frames_than_short_integers_count():
    count = np.full((4, 5), 40_000, np.uint16)
    parts = [RunSum(np.float32(7) * count, count, np.ones(1)) for _ in range(2)]
    np.testing.assert_allclose(_combine(parts, "mean"), 7)
