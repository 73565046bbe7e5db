"""The dark surround of what a lens shows."""

from dataclasses import replace

import numpy as np
import pytest
import tifffile
from commands import run
from scipy.ndimage import distance_transform_edt

import moco_dl
from moco_dl.learning.motion import MotionOptions
from moco_dl.learning.scenes import draw_scene
from moco_dl.learning.synth import MovieOptions, SyntheticMovie
from moco_dl.masks import distance
from moco_dl.movie import ArrayMovie
from moco_dl.options import CorrectOptions
from moco_dl.reference import mean_of
from moco_dl.rigid import RINGS
from moco_dl.sampled.samples import draw_samples
from moco_dl.sampled.sampling import RigidFit, Sampling
from moco_dl.sampled.surround import dark_surround

SIZE, FRAMES = 144, 40


def light(middle=(0.0, 0.0), radius=64.0, rim=6.0):
    """(SIZE, SIZE): 1 in a round view, 0 around it."""
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5 - SIZE / 2
    return np.clip((radius - np.hypot(y - middle[0], x - middle[1])) / rim + 0.5, 0, 1)


@pytest.fixture(scope="module")
def tissue():
    """Photons (FRAMES, SIZE, SIZE) of a scene that is displaced by whole pixels, and shifts (FRAMES, 2)."""
    rng = np.random.default_rng(2)
    shifts = rng.integers(-3, 4, (FRAMES, 2))
    scene = 20 * draw_scene((SIZE, SIZE), rng)[0]
    return np.stack([np.roll(scene, shift, axis=(0, 1)) for shift in shifts]), shifts.astype(np.float32)


def samples_of(photons):
    frames = (100 + 5 * np.random.default_rng(3).poisson(photons)).astype(np.uint16)
    return draw_samples(lambda numbers: frames[numbers], [range(len(frames))], kept=len(frames))[0]


def test_what_stays_in_place_is_found_with_its_rim(tissue):
    photons, shifts = tissue
    samples = samples_of(photons * light())
    surround = dark_surround(mean_of(samples)).staying(samples, shifts)
    hidden = surround.hidden
    assert hidden[light() < 0.7].all()
    assert hidden[light(radius=56) == 1].mean() < 0.05


def test_light_behind_the_scene_makes_the_rim_stronger(tissue):
    photons, shifts = tissue
    hidden = []
    for behind in (0, 400):
        samples = samples_of((photons + behind) * light(rim=24.0))
        hidden.append(dark_surround(mean_of(samples)).staying(samples, shifts).hidden.mean())
    assert hidden[1] > 1.05 * hidden[0]


def test_a_ring_that_shines_beside_the_rim_is_a_part_of_it(tissue):
    photons, shifts = tissue
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5 - SIZE / 2
    ring = np.exp(-0.5 * np.square((np.hypot(y, x) - 54) / 3))
    samples = samples_of(photons * light() + 150 * ring)
    surround = dark_surround(mean_of(samples))
    assert not surround.hidden[ring > 0.9].all()
    assert surround.staying(samples, shifts).hidden[ring > 0.5].all()


def test_what_lies_beside_the_rim_is_done_without_at_first(tissue):
    surround = dark_surround(mean_of(samples_of(tissue[0] * light())))
    assert replace(surround, factor=4).generous.ends == surround.ends + 5
    assert surround.generous is surround  # too little would be left


def test_what_moves_with_the_tissue_stays_in(tissue):
    photons, shifts = tissue
    moving = np.stack([light(shift) for shift in shifts])
    samples = samples_of(photons * moving)
    assert dark_surround(mean_of(samples)).staying(samples, shifts) is None


def test_of_what_is_still_nothing_is_said(tissue):
    photons, _ = tissue
    samples = samples_of(np.repeat(photons[:1], FRAMES, axis=0) * light())
    assert dark_surround(mean_of(samples)).staying(samples, np.zeros((FRAMES, 2), np.float32)) is None


def test_shifts_that_are_not_the_tissues_tell_nothing(tissue):
    """As of cells that a cut black level leaves alone on black: nothing seems to move with such shifts."""
    photons, shifts = tissue
    moving = np.stack([light(shift) for shift in shifts])
    samples, wrong = samples_of(photons * moving), np.random.default_rng(4).permutation(shifts)
    assert dark_surround(mean_of(samples)).staying(samples, wrong) is None


def test_other_movies_have_none(tissue):
    photons, _ = tissue
    for shade in (1.0, light(radius=75, rim=140.0), 1 - light(radius=20), light(radius=30)):
        assert dark_surround(mean_of(samples_of(photons * shade))) is None
    nothing = np.full((SIZE, SIZE), np.nan, np.float32)
    nothing[:40] = photons[0, :40]
    for image in (nothing, np.ones((16, 16), np.float32)):
        assert dark_surround(image) is None


def test_edges_without_data_are_dark(tissue):
    mean = 100 + (tissue[0] * light()).mean(axis=0)
    expected = dark_surround(mean).hidden
    mean[light(radius=72) == 0] = np.nan
    np.testing.assert_array_equal(dark_surround(mean).hidden, expected)
    mean[expected] = np.nan
    assert dark_surround(mean) is None  # what is known already is not made larger


def test_an_image_without_its_surround(tissue):
    image = (100 + (tissue[0] * light()).mean(axis=0)).astype(np.float32)
    larger = image.repeat(2, 0).repeat(2, 1)[:-1]
    for factor, whole in ((1, image), (2, larger)):
        frames = ArrayMovie(np.zeros((2, *whole.shape), np.uint16))
        found = Sampling(frames, CorrectOptions(), factor, map).without_surround(whole)
        np.testing.assert_array_equal(np.isnan(found)[::factor, ::factor], dark_surround(image).hidden)
        known = np.isfinite(found)
        np.testing.assert_array_equal(found[known], whole[known])


def test_steps_are_distances():
    these = np.zeros((60, 70), bool)
    these[20:24, 30] = these[50, 5] = True
    expected = distance_transform_edt(~these)
    found = distance(these, 30)
    near = expected < 26
    np.testing.assert_allclose(found[near], expected[near], rtol=0.1, atol=0.5)
    assert (found[expected > 34] == 31).all() and not found[these].any()


@pytest.fixture(scope="module")
def movie():
    """Frames and true fields."""
    motion = MotionOptions(spread=(20.0, 40.0), amplitude=2.0, rigid=4.0, rows=0.0)
    options = MovieOptions(shape=(FRAMES, SIZE, SIZE), photons=10.0, motion=motion)
    return tuple(np.stack(each) for each in zip(*SyntheticMovie(6, options), strict=True))


@pytest.fixture(scope="module")
def round_movie(movie):
    """Frames under a light that stays, what is well within it, and true fields."""
    frames, truth = movie
    dark = np.quantile(frames, 0.01)
    return (dark + (frames - dark).clip(0) * light()).astype(np.float32), light(radius=54) == 1, truth


def error_within(fields, truth, where):
    apart = fields - truth
    apart -= np.median(apart, axis=(0, 2, 3), keepdims=True)
    return np.hypot(*apart.swapaxes(0, 1))[:, where].mean()


@pytest.mark.parametrize("options", [{}, {"rigid_only": True}])
def test_a_rim_that_stays_does_no_harm(round_movie, options):
    frames, inside, truth = round_movie
    missing = np.where(light() < 0.9, np.nan, frames).astype(np.float32)
    found, expected = (moco_dl.correct(movie, **options).fields for movie in (frames, missing))
    assert error_within(found[:], truth, inside) < 1.15 * error_within(expected[:], truth, inside)
    assert found.metadata["share_left_out"] == pytest.approx(1 - np.pi * 60**2 / SIZE**2, abs=0.05)


def test_a_given_reference_has_a_surround_of_its_own(round_movie):
    frames, inside, _ = round_movie
    reference = moco_dl.correct(frames).reference
    expected = moco_dl.correct(frames, np.where(light() < 0.9, np.nan, reference)).fields[:]
    shade = light(middle=(2.0, -3.0))  # recorded on another day
    dark = np.nanmin(reference)
    found = moco_dl.correct(frames, dark + (np.nan_to_num(reference, nan=dark) - dark) * shade).fields[:]
    apart = np.hypot(*(found - expected).swapaxes(0, 1))[:, inside]
    assert apart.mean() < 0.1


@pytest.mark.parametrize("value", [0, np.nan])
def test_a_view_may_be_small(movie, value):
    frames, truth = movie
    outside = light(radius=50, rim=0.1) < 1
    assert outside.mean() > 0.6
    seen = np.where(outside, value, frames).astype(np.float32)
    found, expected = (moco_dl.correct(some).fields for some in (seen, frames))
    inside = light(radius=42) == 1
    assert error_within(found[:], truth, inside) < 2 * error_within(expected[:], truth, inside)
    assert not found.flagged.any() and np.isfinite(found.reference[inside]).all()


def test_a_rim_is_no_motion_that_is_left(movie, tmp_path):
    """Where it comes into view once frames are moved, they are not compared."""
    frames, _ = movie
    lit = 400 + (frames - np.quantile(frames, 0.01) + 3000).clip(0) * light()
    tifffile.imwrite(tmp_path / "movie.tif", lit.astype(np.uint16))
    result = run("correct", tmp_path / "movie.tif", "--report")
    assert "of the frame left out" in result.stderr and "better" in result.stderr
    raw, corrected = (tifffile.imread(tmp_path / f"{name}.tif") for name in ("movie", "movie_corrected"))
    fields = moco_dl.load_fields(tmp_path / "movie_fields.h5")
    assert moco_dl.evaluate(raw, corrected, fields).verdict.kind == "better"
    assert moco_dl.evaluate(raw, corrected).verdict.kind != "better"


def test_in_frames_as_recorded_it_is_where_their_rows_are(tissue):
    """Found once rows lie below one another, it is left out before they do."""
    hidden = []
    for offset in (0, 6):
        frames = np.random.default_rng(3).poisson(5 * tissue[0] * light()).astype(np.uint16)
        frames[:, 1::2] = np.roll(frames[:, 1::2], offset, axis=2)
        sampling = Sampling(ArrayMovie(frames), CorrectOptions(row_offset=offset), 1, map)
        every = np.ones(len(frames), bool)
        fit = RigidFit(light(), every, tissue[1], None, every, np.ones(RINGS))
        drawn, *_ = sampling.draw(lambda _: fit)  # noqa: B023 (used at once)
        hidden.append(drawn.clearing.edges.hidden)
    assert (hidden[1][::2] != hidden[0][::2]).mean() < 0.01
    assert (hidden[1][1::2, 6:] != hidden[0][1::2, :-6]).mean() < 0.01
