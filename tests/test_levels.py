"""Light on whole rows that comes and goes."""

import numpy as np
import pytest
import tifffile
from commands import run
from drawn_samples import samples_of
from truth import end_point_error

import moco_dl
from moco_dl.learning.scenes import draw_scene
from moco_dl.sampled.levels import levelled, levels_follow, levels_wander, usual_levels

FULL = 65535


def stimulated(frames):
    """Some rows of every fourth frame are saturated."""
    lit, rng = frames.copy(), np.random.default_rng(0)
    for frame in lit[1::4]:
        first = rng.integers(8, 60)
        frame[first : first + rng.integers(4, 24)] = FULL
    return lit


def flickering(frames):
    """Every row has light of its own, as strong as the image."""
    light = np.random.default_rng(0).standard_normal((*frames.shape[:2], 1))
    return (frames + frames.mean(axis=0).std() * light).astype(np.float32)


@pytest.mark.parametrize("disturbed", [stimulated, flickering])
def test_motion_is_found_as_without_it(known_movie, disturbed):
    frames, truth = known_movie
    assert not levels_wander(samples_of(frames)) and levels_wander(samples_of(disturbed(frames)))
    plain, found = (moco_dl.correct(movie) for movie in (frames, disturbed(frames)))
    assert not plain.fields.metadata["row_levels_left_out"] and found.fields.metadata["row_levels_left_out"]
    errors = [end_point_error(result.fields[:], truth) for result in (plain, found)]
    assert errors[1] < 1.3 * errors[0]
    rigid = moco_dl.correct(disturbed(frames), rigid_only=True)
    assert errors[1] < 0.5 * end_point_error(rigid.fields[:], truth)


def test_frames_stay_as_they_are_but_for_motion(known_movie):
    found = moco_dl.correct(stimulated(known_movie[0]), interpolation="bilinear")
    assert (found.corrected.max(axis=(1, 2)) == FULL)[1::4].all()


def test_rows_are_as_bright_as_usually(known_movie):
    frames = known_movie[0].astype(np.float32)
    usual = usual_levels(samples_of(frames))
    assert usual.shape == (96,) and abs(np.median(usual)) < 0.1 * usual.std()
    rng = np.random.default_rng(1)
    disturbed = (
        frames + 500 * rng.random((len(frames), 96, 1)).astype(np.float32) + 10 * np.arange(40)[:, None, None]
    )
    level = levelled(disturbed, usual).mean(axis=2)
    np.testing.assert_allclose(
        level - np.median(level - usual, axis=1)[:, None], np.tile(usual, (40, 1)), atol=0.1
    )
    np.testing.assert_allclose(levelled(disturbed[3:5], usual), levelled(disturbed, usual)[3:5])


def test_what_is_not_known_tells_nothing(known_movie):
    frames = known_movie[0].astype(np.float32)
    holes = frames.copy()
    holes[:, :6], holes[3:5, 20:40, :50] = np.nan, np.nan
    usual = usual_levels(samples_of(holes))
    assert not usual[:6].any() and np.abs(usual - usual_levels(samples_of(frames)))[6:].max() < 20
    holes[5], holes[6, 30] = np.nan, np.inf  # and no warning
    assert np.array_equal(np.isfinite(levelled(holes, usual)), np.isfinite(holes))
    assert not levels_wander(samples_of(holes)) and not levels_wander(samples_of(frames[:1]))


def test_tissue_that_lies_along_rows_moves():
    """A bright line along a row moves up and down."""
    rng = np.random.default_rng(2)
    shifts = rng.integers(-3, 4, (40, 2)).astype(np.float32)
    scene = np.zeros((64, 64))
    scene[30:33] = 50
    moved = np.stack([np.roll(scene, shift.astype(int), (0, 1)) for shift in shifts])
    samples = samples_of(rng.poisson(moved + 5).astype(np.uint16))
    assert levels_wander(samples)
    assert levels_follow(samples, shifts) and not levels_follow(samples, rng.permutation(shifts))


def test_layers_along_rows_are_followed():
    """Tissue that lies in layers moves up and down: their light is not taken off rows."""
    rng, size = np.random.default_rng(2), 96
    scene = draw_scene((size + 6,) * 2, rng)[0]
    scene = 5 * scene / scene.mean() + 25 * (1 + np.sin(np.arange(size + 6) / 4))[:, None]
    places = rng.integers(-3, 4, (40, 2))
    frames = [scene[dy : dy + size, dx : dx + size] for dy, dx in places + 3]
    fields = moco_dl.correct(10 * rng.poisson(frames).astype(np.uint16)).fields
    assert not fields.metadata["row_levels_left_out"]
    found = fields[:] + places[:, :, None, None]
    assert np.abs(found - np.median(found, axis=0)).mean() < 0.25


def test_fibres_along_rows_are_tissue():
    """They are not alike all along a row, as light is; nobody knows how far they move."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:96, :112].astype(float)
    ways = [(rng.uniform(4, 92), rng.uniform(-3, 3), rng.uniform(15, 40)) for _ in range(10)]
    frames = []
    for _ in range(30):
        stretched = y + 4 * rng.uniform(-1, 1) * (y / 48 - 1)
        scene = sum(
            np.exp(-0.5 * np.square((stretched - at - bend * np.sin(x / by)) / 1.5)) for at, bend, by in ways
        )
        frames.append(rng.poisson(20 * scene + 10))
    frames = np.array(frames, np.uint16)
    assert frames.mean(axis=2).std(axis=0).mean() > 0.5 * frames.mean(axis=0).std(axis=1).mean()
    assert not levels_wander(samples_of(frames))
    light = 20 * rng.random((30, 96, 1))
    assert levels_wander(samples_of(rng.poisson(frames + light).astype(np.uint16)))


def test_the_summary_tells(tmp_path, known_movie):
    for name, frames in (("plain", known_movie[0]), ("lit", stimulated(known_movie[0]))):
        tifffile.imwrite(tmp_path / f"{name}.tif", frames, photometric="minisblack")
        told = "light on whole rows comes and goes" in run("correct", tmp_path / f"{name}.tif").stderr
        assert told == (name == "lit")
