"""What is expected of whole-frame shifts, where a frame alone does not tell."""

from dataclasses import replace

import numpy as np
import pytest
import tifffile
import torch
from commands import run
from drawn_samples import samples_of
from scipy.ndimage import gaussian_filter, shift
from truth import end_point_error

import moco_dl
from moco_dl.correction import Corrector
from moco_dl.device import CPU
from moco_dl.infer import Estimator
from moco_dl.learning.scenes import draw_scene
from moco_dl.learning.synth import SyntheticMovie, movie_options
from moco_dl.movie import ArrayMovie
from moco_dl.moving import move_known
from moco_dl.network import STRIDE
from moco_dl.options import CorrectOptions
from moco_dl.reference import centred, divided, summed
from moco_dl.rigid import RigidRegistration
from moco_dl.sampled.expected import Expected, measure_expected
from moco_dl.sampled.sample_shifts import agree_better, correlation_maps_with_others, lie_elsewhere, mean_power
from moco_dl.warp import upsample

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


def test_noise_rises_by_its_standard_deviation():
    rng = np.random.default_rng(0)
    scene = 100 + 5 * gaussian_filter(rng.standard_normal((90, 100)), 3)
    noise = torch.from_numpy(7 * rng.standard_normal((40, 90, 100))).float()
    seen = RigidRegistration(torch.from_numpy(scene).float(), 10).correlation_maps(noise)
    assert seen.std() == pytest.approx(1, rel=0.15)


def test_so_does_noise_with_clutter():
    rng = np.random.default_rng(0)
    scene = 100 + 5 * gaussian_filter(rng.standard_normal((90, 100)), 3)
    waves = 150 * gaussian_filter(rng.standard_normal((100, 90, 100)), (0, 3, 3))
    frames = torch.from_numpy(7 * rng.standard_normal(waves.shape) + waves).float()
    looking = RigidRegistration(torch.from_numpy(scene).float(), 10)
    filtering = looking.through(looking.clutter_of(looking.power(frames).mean(dim=0).numpy()))
    assert filtering.correlation_maps(frames).std() == pytest.approx(1, rel=0.4)
    assert looking.correlation_maps(frames).std() > 2


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


@pytest.mark.parametrize("flicker", [np.tile((1, 0.3), 50), np.random.default_rng(1).uniform(0.3, 1, 100)])
def test_frames_whose_light_flickers_are_found_as_well_as_dark_ones(flicker):
    rng = np.random.default_rng(0)
    scene = gaussian_filter(rng.standard_normal((128, 144)), 3)
    scene *= 3 / scene.std()
    truth = rng.integers(-4, 5, (100, 2))
    moved = np.stack([scene[16 - dy : 112 - dy, 16 - dx : 128 - dx] for dy, dx in truth])
    noise = 5 * rng.standard_normal(moved.shape)

    def error(light):
        frames = (100 + light[:, None, None] * (20 + moved) + noise).astype(np.float32)
        apart = moco_dl.correct(frames, rigid_only=True, device="cpu").fields.rigid - truth
        return np.abs(apart - np.median(apart, axis=0)).mean()

    assert error(flicker) < error(np.full(100, 0.3)) < 0.5


@pytest.mark.parametrize("seed", [0, 1])
def test_tissue_that_drifts_far_is_followed_though_the_mean_of_all_frames_is_blurred(seed):
    rng = np.random.default_rng(seed)
    scene = gaussian_filter(rng.standard_normal((128, 176)), 4)
    scene *= 3 / scene.std()
    drift = 13 * np.sin(np.linspace(-np.pi / 2, np.pi / 2, 60))
    moved = np.stack([shift(scene, (0, dx))[16:112, 24:152] for dx in drift])
    frames = (100 + moved + 20 * rng.standard_normal(moved.shape)).astype(np.float32)
    found = moco_dl.correct(frames, rigid_only=True, device="cpu").fields.rigid
    apart = found - np.stack((0 * drift, drift), axis=1)
    assert np.abs(apart - np.median(apart, axis=0)).mean() < 0.4


def test_a_frames_own_noise_does_not_hold_it():
    """In an image of all frames, noise alone would keep each wherever it was put."""
    frames, each = np.random.default_rng(0).poisson(4.0, (24, 160, 160)).astype(np.float32), np.arange(24)
    samples = samples_of(frames, 4)

    def register(reference):
        return Estimator(reference, None, max_shift=8, device=CPU)

    anywhere = np.random.default_rng(1).integers(-3, 4, (24, 2, 1, 1)).astype(np.float32)
    held = register(divided(*summed(samples, anywhere, move_known)))(frames).rigid
    assert np.corrcoef(held.ravel(), anywhere.ravel())[0, 1] > 0.9
    seen = correlation_maps_with_others(samples, anywhere, register, move_known)
    there = seen[each, 8 + anywhere[:, 0, 0, 0].astype(int), 8 + anywhere[:, 1, 0, 0].astype(int)]
    assert abs(there.mean()) < 1


@pytest.fixture(scope="module")
def dimmest():
    """Frames and truth of a movie where noise correlates as well as the scene does."""
    options = movie_options(frames=60, size=128, photons=0.3)
    return [np.stack(x) for x in zip(*SyntheticMovie(8, options), strict=True)]


@pytest.mark.parametrize("rigid_only", [True, False])
def test_the_dimmest_movies_are_made_better(dimmest, rigid_only):
    frames, truth = dimmest
    fields = moco_dl.correct(frames, rigid_only=rigid_only, device="cpu").fields
    still, found = (end_point_error(centred(field), centred(truth)) for field in (0 * truth, fields[:]))
    assert found < 0.7 * still
    assert rigid_only or 0.8 * found < fields.expected_error.mean() < 2 * found


def test_so_are_frames_that_are_no_samples(dimmest):
    """By whatever batches; samples tell where those between them are."""
    frames, truth = dimmest
    options = CorrectOptions(ref_frames=30, device="cpu")
    movie, corrector = ArrayMovie(frames), Corrector(options)
    plan, found = corrector.prepare(movie), []
    assert plan.walk is not None and len(plan.walk.samples) == 30
    for size, threads in ((32, 2), (7, 1), (1, 2)):
        some = Corrector(replace(options, batch_size=size, threads=threads))
        found.append(np.concatenate([b.motion.merged(np.float32).total() for b in some.batches(movie, plan)]))
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)
    fields = upsample(torch.from_numpy(found[0]), STRIDE, frames.shape[1:]).numpy()
    still, left = (end_point_error(centred(field), centred(truth)) for field in (0 * truth, fields))
    assert left < 0.85 * still


def test_so_are_they_with_a_reference_of_ones_own(dimmest):
    frames, truth = dimmest
    bright = next(iter(SyntheticMovie(8, movie_options(frames=1, size=128, photons=30))))[0]
    fields = moco_dl.correct(frames, bright, device="cpu").fields
    still, found = (end_point_error(centred(field), centred(truth)) for field in (0 * truth, fields[:]))
    assert found < 0.6 * still
    assert fields.expected_error.mean() > 0.8 * found


def test_it_is_told_if_frames_hardly_show_where_they_are(dimmest, tmp_path):
    movies = {name: tmp_path / f"{name}.tif" for name in ("dim", "bright")}
    tifffile.imwrite(movies["dim"], dimmest[0], photometric="minisblack")
    bright = np.stack([frame for frame, _ in SyntheticMovie(8, movie_options(frames=30, size=128, photons=30))])
    tifffile.imwrite(movies["bright"], bright, photometric="minisblack")
    told = [run("correct", movie, "--rigid-only") for movie in movies.values()]
    assert ["too dim" in result.stderr for result in told] == [True, False]


@pytest.mark.parametrize("given", [False, True])
def test_frames_of_any_size_are_looked_at_alike(given):
    """Samples and others are compared at as many shifts, also where frames are binned unevenly."""
    options = movie_options(frames=26, size=256, photons=0.1)
    frames = np.stack([frame for frame, _ in SyntheticMovie(3, options)])[:, :253]
    reference = frames.mean(axis=0) if given else None
    movie, corrector = ArrayMovie(frames), Corrector(CorrectOptions(ref_frames=20, device="cpu"))
    plan = corrector.prepare(movie, reference)
    assert plan.walk.seen(frames[:3]).shape[1:] == next(iter(plan.walk.samples.values())).shape
    assert sum(len(batch.frames) for batch in corrector.batches(movie, plan)) == len(frames)


def test_a_largest_shift_is_in_pixels_of_the_movie(monkeypatch):
    """Also where frames are binned: at first, to make the reference."""
    seen = []

    def noted(reference, max_shift):
        seen.append((len(reference), max_shift))
        return RigidRegistration(reference, max_shift)

    monkeypatch.setattr("moco_dl.infer.RigidRegistration", noted)
    rng = np.random.default_rng(0)
    frames = rng.poisson(20 * draw_scene((256, 256), rng)[0], (4, 256, 256))
    moco_dl.correct(frames.astype(np.uint16), max_shift=10, device="cpu")
    assert set(seen) == {(128, 5.0)}


def views(places, size=96, photons=5.0):
    """Frames (n, size, size) of a scene, at `places` (n, 2) whole px."""
    rng, margin = np.random.default_rng(2), int(np.abs(places).max())
    scene = draw_scene((size + 2 * margin,) * 2, rng)[0]
    cut = [scene[y : y + size, x : x + size] for y, x in places + margin]
    return (100 * rng.poisson(photons * np.stack(cut) / scene.mean())).astype(np.uint16)


def stays_behind(count=60):
    """Tissue that jumps by 24 px of 96, after two thirds of the movie."""
    return np.stack((np.zeros(count), 24 * (np.arange(count) >= 2 * count // 3)), axis=1).astype(int)


def changes_places(count=100, *, way=(0, 24)):
    """Tissue that jumps by 24 px of 96 half way: a mean of all shows both places at once."""
    return np.outer(2 * np.arange(count) >= count, way)


def changes_lines(count=100):
    """The same, to where the scene differs so much that peaks are low."""
    return changes_places(count, way=(24, 0))


def circles(count=100):
    """Tissue that goes round in circles of 16 px of 96."""
    turns = np.arange(count) / 9
    return np.stack((16 * np.sin(turns), 16 * np.cos(turns)), axis=1).round().astype(int)


@pytest.mark.parametrize(
    ("moved", "within"), [(stays_behind, 0.5), (changes_places, 0.5), (changes_lines, 1), (circles, 0.5)]
)
def test_frames_are_found_farther_away_than_usual(moved, within):
    places, rigid = moved(), {}
    for most in (None, 14.4):  # this is what is usual
        fields = moco_dl.correct(views(places), rigid_only=True, max_shift=most, device="cpu").fields
        rigid[most] = fields.rigid + places  # the scene is displaced the other way
    spread = {most: np.abs(found - np.median(found, axis=0)).max() for most, found in rigid.items()}
    assert spread[None] < within and spread[14.4] > 4


@pytest.mark.parametrize(("moved", "most"), [(lambda: np.zeros((60, 2), int), 14), (circles, 43)])
def test_places_that_look_alike_do_not_widen_the_search(moved, most, monkeypatch):
    monkeypatch.setattr("moco_dl.rigid_survey.lie_beyond", lambda *_: True)
    frames = views(moved())
    plan = Corrector(CorrectOptions(rigid_only=True, device="cpu")).prepare(ArrayMovie(frames))
    assert plan.estimator.correlation_maps(frames[:1]).shape == (1, 2 * most + 1, 2 * most + 1)


def test_samples_agree_better_where_they_are_and_lie_elsewhere_if_they_are_not():
    places = np.random.default_rng(4).integers(-6, 7, (30, 2))
    frames = views(places).astype(np.float32)
    samples = samples_of(frames, 3)
    true = centred(-places[:, :, None, None].astype(np.float32))
    references = [divided(*summed(samples, motion, move_known)) for motion in (0 * true, true)]

    def register(reference):
        return Estimator(reference, None, max_shift=14, device=CPU)

    def better(*order):
        motions, made = ([kinds[i] for i in order] for kinds in ((0 * true, true), references))
        return agree_better(samples, motions, made, register, move_known, map)

    assert better(0, 1) and not better(1, 0) and not better(1, 1)
    looking = register(references[1])
    looking = looking.expecting(mean_power(samples, looking, map))
    assert not lie_elsewhere(replace(samples, motion=true), looking, map)
    assert lie_elsewhere(replace(samples, motion=0 * true), looking, map)
