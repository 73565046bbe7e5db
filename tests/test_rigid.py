import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from moco_dl.rigid import RING, RINGS, RigidRegistration


def scene(shape=(120, 140), seed=0):
    rng = np.random.default_rng(seed)
    return 5 + gaussian_filter(rng.standard_normal(shape), 2) * 8


def cut(image, dy, dx, shape=(80, 100)):
    """A frame whose content lies (dy, dx) further down and right than in cut(image, 0, 0)."""
    return torch.from_numpy(image[20 - dy :][: shape[0], 20 - dx :][:, : shape[1]].astype(np.float32))


@pytest.mark.parametrize(("dy", "dx"), [(0, 0), (3, -2), (-9, 7)])
def test_shift_sign_and_size(dy, dx):
    image = scene()
    found = RigidRegistration(cut(image, 0, 0), 12).shifts(cut(image, dy, dx)[None])[0]
    np.testing.assert_allclose(found, [dy, dx], atol=0.15)


def test_photon_noise_and_odd_sizes():
    image, rng = scene(), np.random.default_rng(1)
    shape = (71, 83)
    noisy = torch.from_numpy(rng.poisson(0.3 * cut(image, 4, -3, shape).numpy().clip(0)).astype(np.float32))
    found = RigidRegistration(cut(image, 0, 0, shape), 12).shifts(noisy[None])[0]
    np.testing.assert_allclose(found, [4, -3], atol=1.0)


def test_shifts_stay_within_the_limit():
    image = scene()
    found = RigidRegistration(cut(image, 0, 0), 3).shifts(cut(image, 9, -9)[None])
    assert found.abs().max() <= 3.5


def test_missing_pixels_are_tolerated():
    image = scene()
    frame = cut(image, 2, 3)
    frame[:, :9] = torch.nan
    found = RigidRegistration(cut(image, 0, 0), 12).shifts(frame[None])[0]
    np.testing.assert_allclose(found, [2, 3], atol=0.3)


@pytest.mark.parametrize("scale", [1e-3, 1e10])
def test_the_unit_of_pixel_values_does_not_matter(scale):
    image = scene()
    usual, scaled = (
        RigidRegistration(each * cut(image, 0, 0), 12).correlation_maps(each * cut(image, 4, -3)[None])
        for each in (1.0, scale)
    )
    assert usual.max() > 100
    torch.testing.assert_close(scaled, usual, rtol=1e-3, atol=1e-2)


def test_a_frame_does_not_depend_on_those_beside_it():
    """To the last bit among equally many; how many there are may show in the rounding of Fourier transforms."""
    image = scene()
    registration = RigidRegistration(cut(image, 0, 0), 12)
    frames = torch.stack([cut(image, dy, 2 * dy) for dy in range(-3, 4)])
    together = registration.shifts(frames)
    for frame, shift in zip(frames, together, strict=True):
        copies = registration.shifts(frame.expand_as(frames))
        assert torch.equal(copies, shift.expand_as(copies))
        torch.testing.assert_close(registration.shifts(frame[None])[0], shift, rtol=0, atol=1e-4)


def test_frames_that_are_transformed_a_few_at_a_time_shift_alike(monkeypatch):
    image = scene()
    registration = RigidRegistration(cut(image, 0, 0), 12)
    frames = torch.stack([cut(image, dy, 2 * dy) for dy in range(-3, 4)])
    shifts, maps = registration.shifts(frames), registration.correlation_maps(frames)
    monkeypatch.setattr("moco_dl.rigid.PART", 3 * frames[0].numel())
    torch.testing.assert_close(registration.shifts(frames), shifts, rtol=0, atol=1e-4)
    torch.testing.assert_close(registration.correlation_maps(frames), maps, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("shape", [(8, 80, 1), (8, 1, 100)])
def test_stripes_are_not_followed(shape):
    image, rng = scene(), np.random.default_rng(2)
    frames = cut(image, 2, -3) + torch.from_numpy(20 * rng.standard_normal(shape).astype(np.float32))
    found = RigidRegistration(cut(image, 0, 0), 12).shifts(frames)
    np.testing.assert_allclose(found, np.broadcast_to([2, -3], (8, 2)), atol=0.15)


def test_hot_pixels_that_stay_in_place_are_not_followed():
    image, rng = scene(), np.random.default_rng(3)
    reference, frame = cut(image, 0, 0), cut(image, 2, -3)
    places = rng.integers(20, 60, (2, 12))
    for images in (reference, frame):
        images[tuple(places)] += 40 * image.std()
    found = RigidRegistration(reference, 12).shifts(frame[None])[0]
    np.testing.assert_allclose(found, [2, -3], atol=0.3)


def with_body(frame, y, x):
    """Frame with a disc five times as bright as it varies."""
    rows, columns = np.mgrid[: frame.shape[0], : frame.shape[1]]
    return frame + torch.from_numpy(5 * float(frame.std()) * (np.hypot(rows - y, columns - x) < 12)).float()


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_bright_body_that_moves_is_not_followed(axis, sign):
    image, far = scene(), [0, 0]
    far[axis] = 14 * sign
    reference = with_body(cut(image, 0, 0), 40, 50)
    frame = with_body(cut(image, 2, -3), 40 + far[0], 50 + far[1])
    found = RigidRegistration(reference, 18).shifts(frame[None])[0]  # the slope of the other peak is there, too
    np.testing.assert_allclose(found, [2, -3], atol=1)
    near = RigidRegistration(cut(image, 0, 0), 18).shifts(cut(image, *far)[None])[0]  # what moves itself is
    np.testing.assert_allclose(near, far, atol=0.3)


def test_activity_in_wide_places_is_not_followed():
    rng, shape = np.random.default_rng(3), (112, 128)

    def drawn(*sigmas):
        image = gaussian_filter(rng.standard_normal((40, *shape)[-len(sigmas) :]), sigmas)
        return image / image.std()

    tissue = 1 + 0.1 * drawn(1.5, 1.5) + 0.1 * drawn(10, 10)
    light = 8 * (0.6 * tissue + 0.4 * np.exp(drawn(3, 14, 14)))
    frames = torch.from_numpy(rng.poisson(light).astype(np.float32))
    looking = RigidRegistration(frames.mean(dim=0), 12)
    filtering = looking.through(looking.clutter_of(looking.power(frames).mean(dim=0).numpy()))

    def off(registration):
        highest = registration.correlation_maps(frames).flatten(1).argmax(dim=1)
        return torch.hypot((highest // 25 - 12).float(), (highest % 25 - 12).float()).mean()

    assert off(filtering) < 0.3 < 3 < off(looking)


def test_where_there_is_nothing_but_noise_and_tissue_nothing_else_is_expected():
    tissue, rng = cut(scene(), 0, 0), np.random.default_rng(3)
    frames = torch.from_numpy(rng.poisson(tissue.clip(0), (30, *tissue.shape)).astype(np.float32))
    looking = RigidRegistration(frames.mean(dim=0), 12)
    filtering = looking.through(looking.clutter_of(looking.power(frames).mean(dim=0).numpy()))
    torch.testing.assert_close(
        filtering.correlation_maps(frames), looking.correlation_maps(frames), rtol=0, atol=0
    )


def test_what_frames_hold_beyond_the_reference_is_clutter():
    """As far as it is known to be more than noise."""
    reference, power, wanted = cut(scene(), 0, 0), np.ones(RINGS), np.ones(RINGS)
    power[:10], power[10:20], power[20:30], power[50:] = 9, 3, 100, 0  # noise of 1, in corners less
    wanted[:10], wanted[20:30] = 9, 100
    dark, bright = (RigidRegistration(image, 12) for image in (torch.zeros_like(reference), reference))
    np.testing.assert_allclose(dark.clutter_of(power), wanted)
    np.testing.assert_allclose(dark.clutter_of(0 * power), 1)
    known = bright.power(reference[None])[0].numpy()
    np.testing.assert_allclose(bright.clutter_of(known + 1000 * known[35:50].mean() * power), wanted, rtol=0.1)


def test_power_in_rings():
    frames = torch.from_numpy(np.random.default_rng(0).standard_normal((3, 80, 100)).astype(np.float32))
    looking = RigidRegistration(frames[0], 12)
    frequency = np.hypot(np.fft.fftfreq(80)[:, None], np.fft.rfftfreq(100))
    for frame, power in zip(frames, looking.power(frames), strict=True):
        values = looking._spectrum(frame[None])[0].abs().square().numpy()
        for ring in (0, 5, 33, 60):
            inside = (frequency >= ring * RING) & (frequency < (ring + 1) * RING)
            np.testing.assert_allclose(power[ring], values[inside].mean(), rtol=0.02)
        assert power[int(0.71 / RING) :].sum() == 0


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
