import numpy as np
import pytest
from drawn_samples import still
from scipy.ndimage import gaussian_filter

from moco_dl.learning.scenes import draw_scene
from moco_dl.motion import Motion
from moco_dl.refinement.equations import response
from moco_dl.refinement.refine import Refiner
from moco_dl.refinement.shared import blurred, falling_correlation, shared_signal, signal_share
from moco_dl.refinement.template import NO_PART, Template, build_template
from moco_dl.spectrum import filtered, frequency, padded


def stay(frames, motion):
    return frames.astype(np.float32)


def flashing(every, last):
    """50 frames of which a cell lights up `every` so many, for `last` frames; noise of variance 25."""
    rng = np.random.default_rng(0)
    scene = rng.uniform(50, 150, (40, 60)).astype(np.float32)
    frames = scene + rng.normal(0, 5, (50, 40, 60)).astype(np.float32)
    frames[np.arange(50) % every < last, 10:20, 10:20] += 60
    frames += rng.normal(0, 20, (50, 1, 1)).astype(np.float32)  # the lamp flickers
    frames += rng.normal(0, 0.1, (50, 1, 1)).astype(np.float32) * scene  # and the tissue bleaches
    return scene, frames


def test_noise_holds_activity_if_no_sample_follows_another():
    scene, frames = flashing(3, 1)
    samples = still(frames)
    template = build_template(samples, 0.01 * scene - 7, stay)
    assert np.abs(np.diff(template.image - frames.mean(axis=0))).mean() < 5
    assert np.median(template.noise) == pytest.approx(25, rel=0.2)
    assert template.noise[13:17, 13:17].min() > 20 * np.median(template.noise)
    assert template.activity is None


def test_activity_is_what_lasts():
    scene, frames = flashing(25, 12)
    samples = still(frames, 10)
    template = build_template(samples, 0.01 * scene - 7, stay)
    lit = template.activity[13:17, 13:17]
    assert 22 < lit.min() and lit.max() < 31  # half of 60, less what the blur takes away
    assert template.noise[13:17, 13:17].mean() < 0.2 * np.square(template.activity[13:17, 13:17]).mean()
    away = np.ones(scene.shape, bool)
    away[3:27, 3:27] = False
    assert (template.activity[away] < 2).all() and np.median(template.activity[away]) == 0
    assert template.noise[away].mean() == pytest.approx(25, rel=0.05)


def test_one_sample_alone_shows_its_noise_and_what_is_free_of_it():
    scene = gaussian_filter(draw_scene((97, 80), np.random.default_rng(0))[0], 1.5).astype(np.float32)
    frame = 100 * scene / scene.std() + np.random.default_rng(1).normal(0, 40, scene.shape).astype(np.float32)
    samples = still(frame[None])
    template = build_template(samples, frame, stay)
    assert template.noise.shape == frame.shape and template.others is None
    assert np.median(template.noise) == pytest.approx(40**2, rel=0.2)
    assert np.std(template.image - 100 * scene / scene.std()) < 0.5 * 40


def test_variance_where_nothing_was_seen_is_the_mean():
    def hide(frames, motion):
        moved = frames.astype(np.float32)
        moved[:, :12] = np.nan
        return moved

    frames = np.random.default_rng(0).normal(0, 3, (30, 40, 40)).astype(np.float32)
    samples = still(frames)
    noise = build_template(samples, frames.mean(axis=0), hide).noise
    assert np.isfinite(noise).all() and noise[:4] == pytest.approx(9, rel=0.2)


@pytest.mark.parametrize("sigma", [1.0, 2.0])
def test_variances_are_averaged_over_a_gaussian(sigma):
    """One hot pixel takes nothing from others: their weight would explode."""
    image = np.ones((40, 51))
    image[11, 3] = 1e9
    means = blurred(image, sigma)
    np.testing.assert_allclose(means, gaussian_filter(image, sigma, truncate=16 / sigma), rtol=1e-6, atol=1e-5)
    assert means.min() > 0.999


def slope_error(image, truth):
    """Share of the gradient's energy that is wrong."""
    error = np.stack(np.gradient(image)) - np.stack(np.gradient(truth))
    return np.square(error).sum() / np.square(np.gradient(truth)).sum()


@pytest.mark.parametrize("noise", [0.01, 0.1, 0.5])
def test_filter_helps_when_it_is_dim_and_leaves_what_is_bright(noise):
    rng = np.random.default_rng(0)
    scene = draw_scene((97, 120), np.random.default_rng(4))[0].astype(float)
    halves = scene + noise * scene.std() * rng.standard_normal((2, *scene.shape))
    signal = filtered(halves.mean(axis=0), shared_signal(*halves).gain(scene.shape))
    plain, freed = slope_error(halves.mean(axis=0), scene), slope_error(signal, scene)
    assert freed < {0.01: 1.5, 0.1: 1.0, 0.5: 0.35}[noise] * plain + 1e-3
    assert signal.mean() == pytest.approx(halves.mean(), rel=1e-3)


def test_equal_images_are_returned():
    scene = draw_scene((64, 70), np.random.default_rng(1))[0].astype(float)
    gain = shared_signal(scene, scene).gain(scene.shape)
    np.testing.assert_allclose(filtered(scene, gain), scene, atol=1e-6)


@pytest.mark.parametrize("amount", [0.0, 1.0, 3.0])
def test_fine_detail_is_let_through_though_coarse_activity_hides_the_scene(amount):
    """Coarse activity differs in both halves of the samples; what is finer is not taken for noise as well."""
    rng = np.random.default_rng(0)
    scene, *waves = (
        gaussian_filter(rng.standard_normal((128, 150)), sigma) * sigma for sigma in (1.5, 8.0, 8.0)
    )
    halves = scene + amount * np.stack(waves) + 0.1 * rng.standard_normal((2, *scene.shape))
    fine = np.abs(frequency(padded(scene.shape)) - 0.1) < 0.02
    assert shared_signal(*halves).gain(scene.shape)[fine].min() > 0.8


def test_correlation_falls_from_low_frequencies_to_high_whatever_chance_makes_of_it():
    rng = np.random.default_rng(0)
    true, count = np.linspace(1, 0, 60), 6.0 * np.arange(1, 61)
    seen = true + (1 - true**2) * rng.standard_normal(60) / np.sqrt(count)
    assert (np.diff(falling_correlation(seen * count, count, count)) <= 0).all()


def test_own_template_is_the_mean_of_the_samples_freed_of_noise():
    rng = np.random.default_rng(0)
    scene = 100 * draw_scene((64, 80), np.random.default_rng(4))[0]
    frames = rng.poisson(scene / 20, (40, 64, 80)).astype(np.uint16)
    samples = still(frames)
    mean = frames.mean(axis=0).astype(np.float32)
    template = build_template(samples, mean, stay)
    assert slope_error(template.image, scene / 20) < 0.7 * slope_error(mean, scene / 20)


def test_frames_are_taken_out_of_the_template():
    """Their noise stays out of what they are compared with; what the other frames show remains."""
    rng = np.random.default_rng(0)
    scene = 100 * draw_scene((64, 80), np.random.default_rng(4))[0]
    frames = rng.poisson(scene / 5, (12, 64, 80)).astype(np.float32)
    samples = still(frames, 6)
    members = samples.parts()[1]
    assert members.tolist() == [2, 3]
    template = build_template(samples, frames.mean(axis=0), stay)
    noise = (frames[3] - scene / 5).ravel()
    without = template.others[1]
    assert np.corrcoef(noise, (template.image - scene / 5).ravel())[0, 1] > 0.2
    assert abs(np.corrcoef(noise, (without - scene / 5).ravel())[0, 1]) < 0.04
    rest = ~np.isin(np.arange(12), members)
    others = build_template(samples.only(rest), template.image, stay)
    assert slope_error(without, others.image) < 0.1


def template_of(frames, reference):
    return build_template(still(frames, len(frames)), reference, stay)


def lines(size, rng, count=3):
    """(H, W), a few bright lines on black, 2 px wide."""
    height, width = size
    image, x = np.zeros(size), np.arange(width)
    for _ in range(count):
        y = height * rng.uniform(0.2, 0.8) + rng.uniform(-0.4, 0.4) * (x - width / 2) + 6 * np.sin(x / 15)
        seen = (y > 0) & (y < height - 1)
        image[y[seen].astype(int), x[seen]] = 1
    return gaussian_filter(image, 1)


def test_where_nothing_is_to_be_seen_gradients_are_noise():
    rng = np.random.default_rng(0)
    scene = 20 * lines((80, 96), rng) + 0.1
    frames = rng.poisson(scene, (60, *scene.shape)).astype(np.float32)
    samples = still(frames, 10)
    signal = build_template(samples, frames.mean(axis=0), stay).signal
    assert signal[scene > 2].mean() > 0.9
    assert np.median(signal[gaussian_filter(scene, 8) < 0.3]) < 0.3
    assert signal.min() > 0 and signal.max() <= 1


@pytest.mark.parametrize(("kinds", "shown"), [(2, 1), (3, 1), (4, 1), (4, 2)])
def test_halves_have_some_of_frames_that_take_turns(kinds, shown):
    """As of a shutter that is closed in every other one, while all are still taken for samples."""
    rng = np.random.default_rng(0)
    scene = 100 * gaussian_filter(rng.standard_normal((80, 96)), 2)
    frames = (np.arange(60) % kinds < shown)[:, None, None] * scene + rng.normal(0, 5, (60, *scene.shape))
    samples = still(frames.astype(np.float32), 60)
    template = build_template(samples, frames.mean(axis=0).astype(np.float32), stay)
    assert template.signal.mean() > 0.8
    assert np.abs(template.image - frames.mean(axis=0)).std() < 5 / np.sqrt(60)  # the mean's noise


def test_noise_around_a_few_bright_lines_does_not_count_as_gradients():
    """Of what is expected that frames tell of a displacement, they tell more then."""
    rng = np.random.default_rng(0)
    image = 100 * lines((80, 96), rng)
    halves = [image + rng.normal(0, 4, image.shape) for _ in range(2)]
    frames = (image + rng.normal(0, 2, (4, *image.shape))).astype(np.float32)
    mean, noise, share = np.mean(halves, axis=0).astype(np.float32), np.full(image.shape, 4, np.float32), []
    for signal in (None, signal_share(*halves, 5.0)):
        refiner = Refiner(Template(mean, noise, signal=signal))
        flow = np.zeros((4, 2, *refiner.grid), np.float32)
        still = Motion(np.zeros((4, 2), np.float32), flow, np.zeros(4, bool))
        told, expected = response(frames, still, refiner, np.full(len(frames), NO_PART))
        share.append(told / expected)
    assert 1.15 * share[0] < share[1] < 1


def test_gradients_beside_what_is_not_known_count_nothing():
    frames = np.random.default_rng(0).normal(100, 3, (30, 40, 40)).astype(np.float32)
    reference = frames.mean(axis=0)
    reference[:, :10] = np.nan
    assert np.isinf(template_of(frames, reference).noise[:, :12]).all()
    assert np.isfinite(template_of(frames, reference).noise[:, 13:]).all()


def test_noise_is_never_more_than_all_that_varies():
    """Places that are bright in every other frame differ twice as much from one to the next."""
    rng = np.random.default_rng(0)
    scene = rng.uniform(50, 150, (40, 60))
    frames = (scene + rng.normal(0, 5, (60, 40, 60))).astype(np.float32)
    frames[::2, 10:22, 10:22] += 40
    noise = template_of(frames, scene.astype(np.float32)).noise
    assert noise[14:18, 14:18].mean() < 1.2 * (20**2 + 5**2)
