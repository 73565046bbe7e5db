"""Every measure against cases whose result is known by hand, and against other projects' own functions."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, shift

from moco_dl.evaluation.limits import Limits
from moco_dl.evaluation.metrics import (
    correlation,
    correlation_with_others,
    correlations,
    crispness,
    end_point_errors,
    inner,
    interpolated,
    lengths,
    pixels_between,
    sharpness,
    with_data,
)
from moco_dl.evaluation.origin import own_shown
from moco_dl.evaluation.residual import component_shifts, residual_flow, shifts
from moco_dl.evaluation.tally import PairSums
from moco_dl.folding import jacobian


@pytest.fixture(scope="module")
def scene():
    """A smooth image (96, 112) float32, mean 0, standard deviation 1."""
    image = gaussian_filter(np.random.default_rng(0).standard_normal((96, 112)), 2.0)
    return ((image - image.mean()) / image.std()).astype(np.float32)


def moved(image, positions):
    """The image at (dy, dx) positions, one frame each."""
    return np.stack([shift(image, position, order=3, mode="mirror") for position in positions])


def noisy(frames, sigma, seed=0):
    return frames + sigma * np.random.default_rng(seed).standard_normal(frames.shape).astype(np.float32)


def test_inner_leaves_a_sixteenth_out_at_each_edge():
    assert inner((256, 512)) == (slice(16, 240), slice(16, 496))
    assert inner((16, 20)) == (slice(1, 15), slice(1, 19))


def test_correlation_ignores_gain_offset_and_border(scene):
    frame = (1000 * scene + 5000).astype(np.uint16)
    frame[:4], frame[:, -4:] = 65535, 0
    assert correlation(frame, scene) == pytest.approx(1, abs=1e-5)
    assert correlation(-scene, scene) == pytest.approx(-1, abs=1e-6)
    part = inner(scene.shape)
    expected = np.corrcoef(noisy(scene, 1)[part].ravel(), scene[part].ravel())[0, 1]
    assert correlation(noisy(scene, 1), scene) == pytest.approx(expected, abs=1e-5)


def test_correlation_of_missing_pixels_and_of_nothing(scene):
    frame = scene.copy()
    frame[20:40] = np.nan
    assert correlation(frame, scene) == pytest.approx(1, abs=1e-6)
    assert np.isnan(correlation(np.full_like(scene, np.nan), scene))
    assert np.isnan(correlation(np.ones_like(scene), scene))


def test_correlations_of_many_frames_are_those_of_each(scene):
    """To the last bit, whatever the other frames lack."""
    frames = np.stack([noisy(scene, 1, seed) for seed in range(4)])
    frames[2, 20:40], frames[3] = np.nan, 1.0
    found = correlations(frames, scene)
    np.testing.assert_array_equal(found, [correlation(frame, scene) for frame in frames])
    np.testing.assert_array_equal(found[:2], correlations(frames[:2], scene))
    assert np.isfinite(found[:3]).all() and np.isnan(found[3])


def test_correlation_with_others_leaves_the_frame_itself_out(scene):
    frames = noisy(np.repeat(scene[None], 5, axis=0), 0.5)
    expected = [
        np.corrcoef(frames[t].ravel(), np.delete(frames, t, axis=0).mean(0).ravel())[0, 1] for t in range(5)
    ]
    np.testing.assert_allclose(correlation_with_others(frames), expected, atol=1e-6)
    noise = noisy(np.zeros((6, 90, 90), np.float32), 1)
    assert abs(correlation_with_others(noise).mean()) < 0.01  # its own mean would give 0.41
    assert np.isnan(correlation_with_others(frames[:1])).all()


def test_crispness_by_hand():
    ramp = np.broadcast_to(3.0 * np.arange(40), (48, 40))
    inside = np.zeros((48, 40))[inner((48, 40))].size
    assert crispness(ramp) == pytest.approx(3 * inside**0.5)
    assert crispness(np.full((48, 40), 7.0)) == 0


def test_sharpness_falls_with_motion_and_not_with_noise_gain_or_offset(scene):
    still, blurred = scene, gaussian_filter(scene, 2)
    assert sharpness(blurred, blurred) < 0.8 * sharpness(still, still)
    pair = noisy(scene, 0.5, seed=1), noisy(scene, 0.5, seed=2)
    assert sharpness(*pair) == pytest.approx(sharpness(still, still), rel=0.05)
    assert crispness(pair[0]) > 1.5 * crispness(still)  # which is why crispness alone misleads
    scaled = [40 * image + 400 for image in pair]
    assert sharpness(*scaled) == pytest.approx(sharpness(*pair), rel=1e-5)
    noise = noisy(np.zeros((2, 96, 112), np.float32), 1)
    assert not sharpness(noise[0], -noise[0]) > 0


def test_jacobian_of_known_fields():
    y, x = np.mgrid[:24, :32] * 4.0
    stretched = np.stack([0.1 * y, 0 * x])
    np.testing.assert_allclose(jacobian(stretched, 4), 1.1)
    turned = np.stack([-0.2 * x, 0.2 * y])
    np.testing.assert_allclose(jacobian(turned, 4), 1.04)
    folded = np.stack([0 * y, -1.5 * x])
    assert (jacobian(folded, 4) < 0).all()
    np.testing.assert_array_equal(jacobian(np.full((2, 1, 1), 3.0), 4), 1)  # a shift
    torn = np.where(y < 40, 2.5, -2.5)[None] * np.array([1, 0])[:, None, None]
    assert (jacobian(torn, 4) <= 0).mean() == 1 / 23  # between two samples
    sheared = np.random.default_rng(0).normal(size=(3, 2, 5, 6))
    found = jacobian(sheared, 4)
    y, x = (np.diff(sheared, axis=axis) / 4 for axis in (2, 3))
    last = (1 + y[:, 0, -1, -1]) * (1 + x[:, 1, -1, -1]) - x[:, 0, -1, -1] * y[:, 1, -1, -1]
    np.testing.assert_allclose(found[:, 3, -1, -1], last)
    first = (1 + y[:, 0, 0, 0]) * (1 + x[:, 1, 0, 0]) - x[:, 0, 0, 0] * y[:, 1, 0, 0]
    np.testing.assert_allclose(found[:, 0, 0, 0], first)


@pytest.mark.parametrize(("step", "size"), [(1, (16, 17)), (4, (61, 64)), (4, (24, 30))])
def test_where_there_is_data(step, size):
    """As looking at each pixel tells."""
    grid = [-(-full // step) for full in size]
    field = np.random.default_rng(0).uniform(-5, 5, (3, 2, *grid)).round(1)
    y, x = (np.arange(full) for full in size)
    each = field[..., y[:, None] // step, x // step]
    places = y[:, None] + each[:, 0], x + each[:, 1]
    known = np.all(
        [(place >= 0) & (place <= full - 1) for place, full in zip(places, size, strict=True)], axis=0
    )
    first, last = with_data(field, step, size)
    np.testing.assert_array_equal(pixels_between(first, last), known.sum(axis=(1, 2)))
    always = pixels_between(first.max(axis=0), last.min(axis=0))
    assert always == known.all(axis=0).sum() > 0


def test_share_that_is_interpolated():
    field = np.zeros((2, 10, 10))
    field[0, :3] = 2.0
    field[1, 3:5] = 0.5
    assert interpolated(field) == 0.2


def test_end_point_errors_by_place():
    truth = np.zeros((2, 2, 64, 80), np.float32)
    field = truth.copy()
    field[0, :, 16:-16, 16:-16] = np.array([3, 4])[:, None, None]
    errors = end_point_errors(field, truth, border=16)
    inside = 32 * 48
    np.testing.assert_allclose(errors["interior"], [5, 0])
    np.testing.assert_allclose(errors["border"], [0, 0])
    np.testing.assert_allclose(errors["whole"], [5 * inside / (64 * 80), 0])
    assert np.isnan(end_point_errors(field[..., :20, :20], truth[..., :20, :20])["interior"]).all()


def test_lengths_of_fields():
    field = np.stack([np.full((4, 5), 3.0), np.full((4, 5), 4.0)])
    np.testing.assert_array_equal(lengths(field), 5)
    np.testing.assert_array_equal(lengths(np.stack([field, 2 * field]))[1], 10)


def test_correlation_image_against_its_definition():
    frames = gaussian_filter(np.random.default_rng(3).standard_normal((50, 20, 24)), (0, 1, 1)) + 1000
    frames[:, 5, 5] = 7  # does not change
    sums = PairSums((20, 24))
    for frame in frames.astype(np.float32):
        sums.add(frame)
    image = sums.image()
    neighbours = [(9, 10), (11, 10), (10, 9), (10, 11)]
    expected = np.mean([np.corrcoef(frames[:, 10, 10], frames[:, y, x])[0, 1] for y, x in neighbours])
    assert image[10, 10] == pytest.approx(expected, abs=1e-4)
    corner = np.mean([np.corrcoef(frames[:, 0, 0], frames[:, y, x])[0, 1] for y, x in [(0, 1), (1, 0)]])
    assert image[0, 0] == pytest.approx(corner, abs=1e-4) and np.isnan(image[5, 5])
    assert PairSums((20, 24)).image() is None


def test_residual_shift_by_hand(scene):
    positions = [(0, 0), (2, -1), (-0.5, 0.25)]
    found = shifts(moved(scene, positions), scene, 10)
    np.testing.assert_allclose(found, positions, atol=0.1)


def test_component_shifts_show_motion_and_not_activity(scene):
    path = 2 * np.sin(np.linspace(0, 12, 60))
    moving = noisy(moved(scene, [(p, 0) for p in path]), 0.3)
    assert 3 < component_shifts(moving, 15)[0] < 4.5  # from one end to the other
    flashing = np.repeat(scene[None], 60, axis=0)
    flashing[:, 40:50, 50:60] += 3 * np.clip(path, 0, None)[:, None, None]
    assert component_shifts(noisy(flashing, 0.3), 15).max() < 0.3
    assert len(component_shifts(moving[:3], 15)) == 0 and len(component_shifts(moving[:4], 15)) == 2


def test_component_shifts_agree_with_suite2p(scene):
    metrics = pytest.importorskip("suite2p.registration.metrics")
    torch = pytest.importorskip("torch")
    path = 3 * np.sin(np.linspace(0, 12, 60))
    moving = noisy(moved(scene, [(p, -p / 2) for p in path]), 0.3)
    low, high, *_ = metrics.pclowhigh(moving.copy(), nlowhigh=6, nPC=3, random_state=0)
    theirs = metrics.pc_register(torch.tensor(low).float(), torch.tensor(high).float(), block_size=(48, 48))
    assert component_shifts(moving, 15)[0] == pytest.approx(theirs[0, 0], abs=0.75)  # theirs: whole pixels


def test_residual_flow_of_a_known_shift(scene):
    pytest.importorskip("cv2")
    frame = moved(scene, [(1.5, 2.0)])[0]
    assert residual_flow(frame, scene) == pytest.approx(2.5, abs=0.4)
    assert residual_flow(40 * frame + 400, scene) == pytest.approx(residual_flow(frame, scene), abs=0.01)
    assert residual_flow(scene, scene) < 0.01


def test_frames_that_show_nothing_are_neither_dark_nor_bright():
    limits, frame = Limits((20, 20)), np.arange(400.0).reshape(20, 20)
    limits.add(np.full((20, 20), np.nan))
    assert np.isnan(limits.share)
    limits.add(frame)
    limits.add(np.full((20, 20), np.nan))
    assert limits.share == 2 / 100 and limits.values == [frame[5, 5], frame[14, 14]]


def test_frames_that_are_all_alike_do_not_tell_whose_they_are():
    frames = np.tile(np.random.default_rng(0).random((32, 40)), (6, 1, 1))
    assert np.isnan(own_shown(frames, frames, 3.0))
    noisy = frames + np.random.default_rng(1).normal(0, 0.2, frames.shape)
    assert own_shown(noisy, noisy, 3.0) == 1
