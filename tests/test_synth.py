import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from moco_dl.errors import NrcorrectError
from moco_dl.learning.motion import MotionOptions, Trajectory, bouts, draw_field, gaussian_basis, row_motion
from moco_dl.learning.pairs import PairOptions, ScenePool, draw_pairs, pair_options
from moco_dl.learning.scenes import draw_scene, image_scene, smooth_noise
from moco_dl.learning.synth import MovieOptions, SyntheticMovie, movie_options
from moco_dl.warp import warp

BRIGHT = PairOptions(
    size=96, photons=(3000.0, 3000.0), read_noise=0.0, activity=0.0, missing=0, blur=0.0, defects=0.0
)


def test_truth_aligns_the_frame_with_the_reference(monkeypatch):
    """The sign of the training target: the frame warped by the true flow shows what the reference shows."""
    monkeypatch.setattr(
        "moco_dl.learning.pairs._activity", lambda groups, spread, rng: np.zeros(groups, np.float32)
    )
    monkeypatch.setattr("moco_dl.learning.pairs.smooth_noise", lambda shape, *_: np.zeros(shape, np.float32))
    pairs = draw_pairs(ScenePool(0, BRIGHT.scene_size), 0, 6, BRIGHT)
    moved = warp(pairs.frame[:, None], pairs.flow)[:, 0]
    inner = (..., slice(12, -12), slice(12, -12))

    def unlike(a):
        return 1 - np.array(
            [
                np.corrcoef(x.ravel(), y.ravel())[0, 1]
                for x, y in zip(a[inner], pairs.reference[inner], strict=True)
            ]
        )

    before, after = unlike(pairs.frame), unlike(moved)
    wrong_sign = unlike(warp(pairs.frame[:, None], -pairs.flow)[:, 0])
    assert after.mean() < 0.3 * before.mean() and (after < before).all() and wrong_sign.mean() > before.mean()


def test_same_seed_same_pairs_whatever_was_drawn_before():
    options = PairOptions(size=64)
    fresh = draw_pairs(ScenePool(1, options.scene_size), 7, 3, options)
    pool = ScenePool(1, options.scene_size)
    draw_pairs(pool, 2, 3, options)
    for a, b in zip(vars(fresh).values(), vars(draw_pairs(pool, 7, 3, options)).values(), strict=True):
        assert torch.equal(a.nan_to_num(-1), b.nan_to_num(-1))
    other = draw_pairs(ScenePool(2, options.scene_size), 7, 3, options)
    assert other.frame.shape != fresh.frame.shape or not torch.equal(other.frame, fresh.frame)


def test_of_many_scenes_few_are_kept(monkeypatch):
    monkeypatch.setattr("moco_dl.learning.pairs.POOL", 2)
    pool = ScenePool(0, 64)
    first = pool[0]
    kept = [pool[number] for number in (1, 2)]
    assert len(pool._scenes) == 2 and np.abs(kept[0] - kept[1]).max() > 0.1
    np.testing.assert_array_equal(pool[0], first)


def test_light_levels_and_missing_strips():
    options = PairOptions(size=96, photons=(2.0, 2.0), activity=0.0)
    pairs = [draw_pairs(ScenePool(3, options.scene_size), i, 8, options) for i in range(4)]
    light = np.mean([p.frame.nanmean().item() for p in pairs])
    assert 1.2 < light < 3.0
    missing = np.array([f.isnan().float().mean() for p in pairs for f in p.frame])
    assert 0.2 < (missing > 0).mean() < 0.8 and missing.max() < 0.4
    assert all(p.reference.isfinite().all() and p.flow.isfinite().all() for p in pairs)


@pytest.mark.parametrize("size", [32, 37, 61])
def test_pairs_of_any_size_are_within_their_scenes(size):
    options = PairOptions(size=size)
    pool = ScenePool(0, options.scene_size)
    for i in range(6):
        assert draw_pairs(pool, i, 1, options).frame.numel() > size**2 / 2


def test_scenes_are_positive_with_mean_one():
    for seed in range(8):
        scene = draw_scene((80, 100), np.random.default_rng(seed), groups=3)
        assert scene.shape == (4, 80, 100) and scene.dtype == np.float32
        assert scene.min() >= 0 and abs(scene[0].mean() - 1) < 1e-3 and np.isfinite(scene).all()
        assert scene[1:].max() > 0


def picture(shape=(90, 70)):
    image = 400 + 50 * smooth_noise(shape, 5.0, np.random.default_rng(0))
    image[3, 4] = 1e6  # a hot pixel
    return image


def test_scenes_of_an_image_show_it():
    image = picture()
    scene = image_scene(image, (48, 48), np.random.default_rng(1), groups=3)
    assert scene.shape == (4, 48, 48) and scene.min() >= 0 and scene[1:].any()
    assert scene[0].mean() == pytest.approx(1, rel=1e-3) and scene[0].max() < 10
    places = [
        np.corrcoef(scene[0].ravel(), image[y : y + 48, x : x + 48].ravel())[0, 1]
        for y in range(43)
        for x in range(23)
        if y > 3
    ]
    assert max(places) > 0.99


def test_small_images_are_mirrored():
    scene = image_scene(picture((20, 90)), (64, 64), np.random.default_rng(0))
    assert scene.shape == (5, 64, 64) and np.isfinite(scene).all()
    assert scene[0, 23:42].mean() == pytest.approx(scene[0].mean(), rel=0.3)


def test_pools_and_movies_take_images():
    pool = ScenePool(0, 64, {"a": picture()})
    assert np.abs(pool[3] - ScenePool(0, 64)[3]).max() > 0.1
    np.testing.assert_array_equal(pool[3], ScenePool(0, 64, {"a": picture()})[3])
    movie = SyntheticMovie(0, movie_options(frames=2, size=32, rigid=0.0), {"a": picture()})
    assert np.abs(movie.reference - SyntheticMovie(0, movie.options).reference).max() > 1


@pytest.mark.parametrize("sigma", [1.0, 4.0, 15.0])
def test_smooth_noise_has_unit_variance_and_the_width_asked_for(sigma):
    rng = np.random.default_rng(0)
    draws = np.stack([smooth_noise((90, 60), sigma, rng) for _ in range(60)])
    assert abs(draws.var() - 1) < 0.15
    white = np.random.default_rng(1).standard_normal((60, 150, 150))
    blurred = gaussian_filter(white, (0, sigma, sigma), mode="wrap")
    slope = np.diff(draws, axis=2).std()
    expected = np.diff(blurred, axis=2).std() / blurred.std()
    assert abs(slope / expected - 1) < 0.25


def test_fields_are_spread_vectors_within_the_amplitude():
    options = MotionOptions(vectors=10, amplitude=5.0, rigid=0.0, rows=0.0)
    basis = gaussian_basis((64, 80), np.random.default_rng(0), options)
    assert basis.shape == (10, 64, 80) and basis.max() <= 1
    peaks = []
    for seed in range(30):
        field = draw_field((64, 80), np.random.default_rng(seed), options)
        assert field.shape == (2, 64, 80) and field.dtype == np.float32
        assert np.abs(np.diff(field, axis=2)).max() < 1.0  # smooth
        peaks.append(np.hypot(*field).max())
    assert max(peaks) < 10 and min(peaks) < 0.5 < max(peaks)


def test_row_motion_and_trajectory():
    rows = row_motion(50, np.random.default_rng(0), 2.0)
    assert rows.shape == (2, 50) and abs(np.abs(rows).max() - 2.0) < 1e-5
    options = MotionOptions(amplitude=3.0, rigid=6.0, rows=0.0)
    trajectory = Trajectory((64, 64), 40, np.random.default_rng(0), options)
    fields = np.stack([trajectory.field(t) for t in range(40)])
    assert abs(np.abs(trajectory.rigid).max() - 6.0) < 1e-4
    nonrigid = fields - trajectory.rigid.T[:, :, None, None]
    assert 2.5 < np.hypot(nonrigid[:, 0], nonrigid[:, 1]).max() < 3.5
    assert np.abs(np.diff(fields, axis=0)).max() < 6  # smooth in time


def test_movie_truth_aligns_the_frames():
    options = MovieOptions(
        shape=(6, 80, 96), photons=500.0, gain=1.0, motion=MotionOptions(amplitude=3.0, rigid=5.0)
    )
    movie = SyntheticMovie(4, options)
    frames, fields = (np.stack(x) for x in zip(*movie, strict=True))
    again = np.stack([frame for frame, _ in movie])
    np.testing.assert_array_equal(frames, again)
    moved = warp(torch.from_numpy(frames.astype(np.float32))[:, None], torch.from_numpy(fields))[:, 0].numpy()
    inner = (slice(12, -12), slice(12, -12))
    for raw, corrected in zip(frames, moved, strict=True):
        after = np.corrcoef(corrected[inner].ravel(), movie.reference[inner].ravel())[0, 1]
        before = np.corrcoef(raw[inner].ravel(), movie.reference[inner].ravel())[0, 1]
        assert after > 0.8 and after > before


def test_movies_may_move_in_bouts():
    always, calm = (
        np.stack([movie.moved(t)[1] for t in range(200)])
        for movie in (SyntheticMovie(0, movie_options(frames=200, size=64, calm=calm)) for calm in (None, 0.2))
    )
    strength = np.hypot(*calm.swapaxes(0, 1)).mean(axis=(1, 2)) / np.hypot(*always.swapaxes(0, 1)).mean(
        axis=(1, 2)
    )
    np.testing.assert_allclose(strength[:, None, None, None] * always, calm, atol=1e-5)
    assert strength.max() == pytest.approx(1) and strength.min() == pytest.approx(0.2)
    assert 0.3 < (strength < 0.25).mean() < 0.8 and np.abs(np.diff(strength)).max() < 0.2
    still, number = (bouts(200, calm, np.random.default_rng(0)) for calm in (0, 0.0))
    np.testing.assert_array_equal(still, number)


def test_a_heart_may_beat():
    plain, beaten = (
        np.stack(
            [SyntheticMovie(0, movie_options(frames=60, size=64, beat=beat)).moved(t)[1] for t in range(60)]
        )
        for beat in (None, 3.75)
    )
    bent = beaten - plain
    assert 1.5 < np.hypot(bent[:, 0], bent[:, 1]).max() <= 2  # half of what else moves
    np.testing.assert_allclose(bent[15:], bent[:-15], atol=1e-4)  # four beats later
    assert np.abs(np.fft.rfft(bent, axis=0)).sum(axis=(1, 2, 3)).argmax() == 16
    assert bent.std(axis=(2, 3)).max() > 0.2  # it bends


def test_tissue_may_swing_on_from_row_to_row_and_frame_to_frame():
    still, running = (
        SyntheticMovie(0, movie_options(frames=60, size=64, amplitude=0.0, rigid=0.0, rows=0.0, running=px))
        for px in (None, 3.0)
    )
    assert not np.stack([still.moved(t)[1] for t in range(3)]).any()
    fields = np.stack([running.moved(t)[1] for t in range(60)])
    assert np.ptp(fields, axis=3).max() == 0  # columns go together
    path = fields[..., 0].swapaxes(1, 2).reshape(-1, 2)  # in the order in which rows are taken
    assert 2.5 < np.abs(path).max() <= 3
    assert np.abs(np.diff(path, axis=0)).max() < 0.2
    swings = np.abs(np.fft.rfft(path - path.mean(axis=0), axis=0)).sum(axis=1).argmax()
    assert 60 / 8 < swings < 60 / 2.5


def counts_of(frames, **options):
    """Frames, counts above the offset for a gain of 1, and true fields of a bright movie."""
    options = movie_options(frames=frames, size=64, photons=20.0, **options)
    shown, fields = (np.stack(part).astype(float) for part in zip(*SyntheticMovie(0, options), strict=True))
    return (shown - options.offset) / options.gain, fields


def light_beside_plain(**options):
    """Mean light of each frame over that of the same movie without `options`; fields must be the same."""
    (plain, fields), (changed, same) = counts_of(60), counts_of(60, **options)
    np.testing.assert_array_equal(fields, same)
    return changed.mean(axis=(1, 2)) / plain.mean(axis=(1, 2))


@pytest.mark.parametrize("share", [0.1, 0.6])
def test_light_may_bleach(share):
    light = light_beside_plain(bleach=share)
    np.testing.assert_allclose(light, (1 - share) ** np.linspace(0, 1, 60), atol=0.02)  # noise: 0.005


@pytest.mark.parametrize("share", [0.05, 0.4])
def test_light_may_wander(share):
    light = np.log(light_beside_plain(flicker=share))
    assert light.std() == pytest.approx(share, rel=0.3) and abs(light.mean()) < share / 2
    assert np.diff(light).std() < 0.7 * share  # it goes on from frame to frame


def test_movies_whose_light_wanders_are_not_clipped():
    movie = SyntheticMovie(0, movie_options(frames=60, size=64, photons=60.0, flicker=0.8))
    assert np.mean([np.mean(frame == 65535) for frame, _ in movie]) < 1e-4


def test_detectors_may_have_a_pattern_that_stays_in_place():
    (plain, fields), (changed, same) = counts_of(3), counts_of(3, pattern=0.2)
    np.testing.assert_array_equal(fields, same)
    added = changed - plain
    gain, spread = 40.0, SyntheticMovie(0, movie_options(size=64, photons=20.0)).reference.std() / 40
    assert np.ptp(added, axis=0).max() < 2.1 / gain  # but for rounding
    hot = added[0] > 4 * spread
    assert 1 <= hot.sum() <= 3  # of 4096
    levels = np.where(hot, np.nan, added[0])
    rows, columns = np.nanmean(levels, axis=1), np.nanmean(levels, axis=0)
    assert [rows.std(), columns.std()] == pytest.approx([0.2 * spread] * 2, rel=0.3)
    assert np.nanmax(np.abs(levels - rows[:, None] - columns + np.nanmean(levels))) < 0.1 * spread


def test_movies_of_old_are_as_they_were():
    _, _, (frame, _), _ = SyntheticMovie(0, movie_options(frames=4, size=64))
    was = [[488, 473, 487, 429], [560, 433, 517, 432], [649, 571, 424, 473], [403, 456, 379, 516]]
    assert (frame[8::16, 8::16] == was).mean() > 0.8  # another processor may round otherwise


def test_motion_of_pairs_and_movies_can_be_chosen():
    still = pair_options(size=64, amplitude=0.0, rigid=0.0, rows=0.0)
    pairs = draw_pairs(ScenePool(0, still.scene_size), 0, 4, still)
    assert not pairs.flow.any()
    shifted = movie_options(frames=30, size=64, amplitude=0.0, rows=0.0, rigid=3.0)
    fields = np.stack([field for _, field in SyntheticMovie(0, shifted)])
    assert np.abs(fields).max() == pytest.approx(3.0, rel=0.01) and np.ptp(fields, axis=(2, 3)).max() < 1e-5
    with pytest.raises(NrcorrectError, match="smaller number first"):
        movie_options(spread=(30.0, 20.0))


@pytest.mark.parametrize("seed", range(4))
def test_bright_movies_do_not_saturate(seed):
    movie = SyntheticMovie(seed, movie_options(frames=2, size=96, photons=1e6))
    for frame, _ in movie:
        assert (frame == 65535).mean() < 1e-3 and frame.mean() > 1000
    assert movie_options(photons=20.0).gain == 40


@pytest.mark.parametrize(
    "motion", [{"amplitude": 60.0, "spread": (60.0, 90.0)}, {"amplitude": 20.0, "spread": (12.0, 20.0)}]
)
def test_strong_motion_is_known_as_well(motion):
    """What a frame shows is what was still, moved, up to its edges."""
    movie = SyntheticMovie(4, movie_options(frames=6, size=128, **motion))
    for t in range(6):
        moved, field = (torch.from_numpy(values)[None] for values in movie.moved(t))
        back, still = warp(moved[None], field, mode="bicubic", padding="zeros")[0, 0].numpy(), movie.still(t)
        seen = warp(torch.ones_like(moved)[None], field, padding="zeros")[0, 0].numpy() > 0.999
        assert seen.any() and np.abs(back - still)[seen].mean() < 0.024 * still.std()


def test_motion_that_has_no_truth_is_refused():
    with pytest.raises(NrcorrectError, match="folds the tissue; wanted less"):
        list(SyntheticMovie(4, movie_options(frames=20, size=128, rows=60.0)))
    with pytest.raises(NrcorrectError, match="folds the tissue; wanted less"):  # but is undone where it is seen
        SyntheticMovie(7, movie_options(frames=24, size=128, rows=10.0)).moved(19)
    SyntheticMovie(16, movie_options(frames=30, size=96, rows=8.0)).moved(18)  # it folds where nothing is seen
    for choose in (movie_options, pair_options):
        with pytest.raises(NrcorrectError, match=r"motion of up to [0-9.]+ px in frames of 64; wanted less"):
            choose(size=64, amplitude=70.0)
    far = pair_options(size=64, amplitude=40.0)
    assert far.margin > 40 and draw_pairs(ScenePool(0, far.scene_size), 0, 2, far).flow.abs().max() < 64
