"""A detector's own pattern, added to frames whose motion is known."""

import numpy as np
import pytest
from drawn_samples import samples_of
from scipy.ndimage import gaussian_filter, gaussian_filter1d
from truth import end_point_error

import moco_dl
from moco_dl.moving import move_known
from moco_dl.network import STRIDE
from moco_dl.sampled.pattern import _stripes, fixed_pattern


def coarse(fields):
    count, _, height, width = fields.shape
    cells = fields.reshape(count, 2, height // STRIDE, STRIDE, width // STRIDE, STRIDE)
    return cells.mean(axis=(3, 5)).astype(np.float32)


def looked_at(frames, motion, known=None):
    """Samples and a reference made of them."""
    samples = samples_of(frames, motion=motion, pattern=known)
    return samples, np.nanmean(move_known(samples[:], motion), axis=0)


@pytest.fixture
def scene(known_movie):
    """Frames (40, 96, 112) float32, motion, and the standard deviation of what they show."""
    frames, fields = known_movie
    return frames.astype(np.float32), coarse(fields), frames.mean(axis=0).std()


def drawn(kind, size):
    rng = np.random.default_rng(0)
    if kind == "hot":
        pattern = np.zeros(size)
        pattern[tuple(rng.integers(8, 88, (2, 12)))] = 100
        return pattern
    pattern = rng.standard_normal(size if kind == "pixels" else size[1:])
    if kind == "shadows":
        pattern = gaussian_filter1d(pattern, 2.5)
        pattern /= pattern.std()
    return np.broadcast_to(pattern - pattern.mean(), size)


@pytest.mark.parametrize(("kind", "left"), [("pixels", 0.5), ("columns", 0.6), ("shadows", 0.7), ("hot", 0.1)])
def test_a_pattern_is_found(scene, kind, left):
    """But for what is so slow in space that motion does not tell it from the scene."""
    frames, motion, contrast = scene
    pattern = 0.5 * contrast * drawn(kind, frames.shape[1:])
    samples, reference = looked_at(frames + pattern.astype(np.float32), motion)
    first = fixed_pattern(samples, reference)
    again, reference = looked_at(samples.frames, motion, first.image)
    found = fixed_pattern(again, reference, before=first)
    assert not found.grain
    errors = [(image - pattern)[8:-8, 8:-8].std() / pattern.std() for image, *_ in (first, found)]
    assert max(errors) < left and errors[1] < 1.05 * errors[0]
    assert again.striped == (kind in ("columns", "shadows"))


@pytest.mark.parametrize("size", [(64, 20), (20, 64), (40, 40), (96, 112)])
def test_no_stripes_are_seen_where_little_else_could_be(size):
    """Of a narrow view, the longest waves are along rows or columns, all of them."""
    waves = np.ones((2, size[0], size[1] // 2 + 1), complex)
    reference, left = np.ones(size, np.float32), np.zeros(waves.shape[1:])
    assert not _stripes(waves, left, reference).any()
    waves[:, 0, 1:] *= 3
    gain = _stripes(waves, left, reference)
    assert gain[0, -1] > 0.9 and not gain[1:].any() and not gain[0, 1]


@pytest.mark.parametrize("told", [[1], [1, 2, 3]])
def test_stripes_are_seen_where_motion_tells_of_half_the_waves(told):
    """The few that are left next to those that motion hardly takes away may look like stripes by chance."""
    waves, left = np.ones((2, 256, 129), complex), np.zeros((256, 129))
    waves[:, 0, 1:] *= 3
    left[0, ~np.isin(np.arange(129) % 4, told)] = 1
    assert _stripes(waves, left, np.ones((256, 256), np.float32)).any() == (len(told) > 2)


def test_what_changes_or_is_of_the_scene_makes_no_stripes():
    waves, reference = np.ones((2, 96, 57), complex), np.ones((96, 112), np.float32)
    waves[:, 0, 1:] *= 3
    found, changing = _stripes(waves, 0 * waves[0].real, reference), waves.copy()
    changing[:, 0, 1:] = np.array([[10], [2 + 9j]])
    reference[:, 0] = 100
    for gain in (
        _stripes(changing, 0 * waves[0].real, np.ones_like(reference)),
        _stripes(waves, 0 * waves[0].real, reference),
    ):
        assert found[0, 9:].all() and not gain.any()


def fibres(size, apart=4):
    """(H, W) share of light that comes through a bundle of unequal fibres, 1 on average."""
    rng, light = np.random.default_rng(0), np.zeros(size)
    y, x = np.indices(size)
    for row, column in np.ndindex(size[0] // apart + 1, size[1] // apart + 1):
        at = apart * np.array([row, column + row % 2 / 2]) + 0.4 * rng.standard_normal(2)
        light += rng.lognormal(0, 0.3) * np.exp(-((y - at[0]) ** 2 + (x - at[1]) ** 2) / 3)
    return 0.7 + 0.3 * light / light.mean()


def test_the_grain_of_fibres_is_found(scene):
    """Most of it, though it multiplies what the scene shows; it is not that of single pixels."""
    frames, motion, _ = scene
    recorded = (frames * fibres(frames.shape[1:])).astype(np.float32)
    samples, reference = looked_at(recorded, motion)
    found = None
    for _ in range(3):
        found = fixed_pattern(samples, reference, before=found)
        samples, reference = looked_at(recorded, motion, found.image)
    grain = frames.mean(axis=0) * (fibres(frames.shape[1:]) - 1)
    assert np.corrcoef(found.image[8:-8, 8:-8].ravel(), grain[8:-8, 8:-8].ravel())[0, 1] > 0.9


def test_grain_that_some_frames_lack_is_no_pattern(scene):
    frames, motion, _ = scene
    light = np.where(np.arange(len(frames))[:, None, None] % 4 < 2, fibres(frames.shape[1:]), 1)
    found = fixed_pattern(*looked_at((frames * light).astype(np.float32), motion))
    grain = frames.mean(axis=0) * (light.mean(axis=0) - 1)
    assert found is None or found.image.std() < 0.1 * grain.std()


def test_motion_behind_fibres_is_found(known_movie, result):
    frames, fields = known_movie
    recorded = (frames * fibres(frames.shape[1:])).astype(frames.dtype)
    grained = moco_dl.correct(recorded).fields[:]
    assert end_point_error(grained, fields) < 2 * end_point_error(result.fields[:], fields)


@pytest.mark.parametrize("kind", ["pixels", "fibres"])
def test_only_grain_is_estimated_more_than_twice(known_movie, monkeypatch, kind):
    """What is taken for a pattern of pixels may grow each time, if the tissue moves along one axis."""
    frames, contrast, found = known_movie[0], known_movie[0].mean(axis=0).std(), []

    def kept(*arguments):
        found.append(fixed_pattern(*arguments))
        return found[-1]

    monkeypatch.setattr("moco_dl.survey.fixed_pattern", kept)
    if kind == "fibres":
        recorded = frames * fibres(frames.shape[1:])
    else:
        recorded = frames + 0.5 * contrast * drawn("pixels", frames.shape[1:])
    moco_dl.correct(recorded.astype(np.float32))
    assert all(pattern.grain == (kind == "fibres") for pattern in found)
    assert len(found) > 2 if kind == "fibres" else len(found) == 2


@pytest.mark.parametrize("strength", [0, 0.5])
def test_a_pattern_is_found_where_tissue_mostly_rests(strength):
    """And none where there is none: whole-pixel shifts in one frame of five."""
    rng, size = np.random.default_rng(3), 96
    shifts = rng.integers(-4, 5, (60, 2)) * (np.arange(60) % 5 == 2)[:, None]
    scene = gaussian_filter(rng.standard_normal((size + 8,) * 2), 1.2)
    scene /= scene.std()
    frames = np.stack([scene[4 - dy : 4 - dy + size, 4 - dx : 4 - dx + size] for dy, dx in shifts])
    pattern = strength * drawn("pixels", (size, size))
    frames = (frames + pattern + 0.3 * rng.standard_normal(frames.shape)).astype(np.float32)
    motion = np.broadcast_to(shifts[:, :, None, None], (60, 2, size // STRIDE, size // STRIDE))
    found = fixed_pattern(*looked_at(frames, motion.astype(np.float32)))
    if not strength:
        assert found is None
    else:
        assert (found.image - pattern)[8:-8, 8:-8].std() < 0.6 * pattern.std()


def test_none_is_found_where_there_is_none(scene):
    frames, motion, _ = scene
    assert fixed_pattern(*looked_at(frames, motion)) is None


def test_what_does_not_move_has_no_pattern(scene):
    frames, motion, contrast = scene
    pattern = contrast * drawn("pixels", frames.shape[1:]).astype(np.float32)
    assert fixed_pattern(*looked_at(frames[:1].repeat(40, 0) + pattern, 0 * motion)) is None


def test_samples_are_less_their_pattern_but_what_is_written_is_not(scene, known_movie, result):
    frames, fields = known_movie
    recorded = frames + (5 * scene[2] * (drawn("hot", frames.shape[1:]) > 0)).astype(frames.dtype)
    found = moco_dl.correct(recorded)
    assert end_point_error(found.fields[:], fields) < 1.05 * end_point_error(result.fields[:], fields)
    np.testing.assert_array_equal(moco_dl.apply(recorded, found.fields), found.corrected)
    pattern = np.full(frames.shape[1:], 7, np.float32)
    np.testing.assert_array_equal(samples_of(frames, pattern=pattern)[:3], frames[:3] - pattern)
