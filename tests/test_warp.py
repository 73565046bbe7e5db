import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import map_coordinates

from moco_dl.fields import _interpolation
from moco_dl.warp import inside, invert, places, places_coarse, shift_whole, upsample, warp

images = arrays(np.float32, (1, 1, 9, 12), elements=st.floats(0, 1000, width=32))
alike_each_time = settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)


@given(images)
@alike_each_time
def test_zero_flow_is_the_identity(image):
    moved = warp(torch.from_numpy(image), torch.zeros(1, 2, 9, 12))
    np.testing.assert_allclose(moved.numpy(), image, atol=1e-4 * 1000)


@given(images, st.integers(-3, 3), st.integers(-3, 3))
@alike_each_time
def test_whole_pixels_are_slicing(image, dy, dx):
    flow = torch.tensor([dy, dx], dtype=torch.float32)[None, :, None, None].expand(1, 2, 9, 12)
    moved = warp(torch.from_numpy(image), flow)[0, 0, 3:-3, 3:-3].numpy()
    np.testing.assert_allclose(moved, image[0, 0, 3 + dy : 6 + dy, 3 + dx : 9 + dx], atol=0.1)


def test_sign_and_order_by_hand():
    frame = torch.zeros(1, 1, 10, 10)
    frame[0, 0, 5, 6] = 1.0
    flow = torch.zeros(1, 2, 10, 10)
    flow[:, 1] = 2.0  # dx = +2: corrected[y, x] = frame[y, x + 2]
    moved = warp(frame, flow)[0, 0]
    assert divmod(moved.argmax().item(), 10) == (5, 4)
    np.testing.assert_allclose(moved[5, 4], 1.0, atol=1e-5)


def test_bilinear_agrees_with_scipy():
    rng = np.random.default_rng(0)
    image, flow = rng.random((1, 1, 31, 45)), rng.uniform(-6, 6, (1, 2, 31, 45))
    y, x = np.mgrid[:31, :45]
    expected = map_coordinates(image[0, 0], [y + flow[0, 0], x + flow[0, 1]], order=1, mode="nearest")
    moved = warp(torch.from_numpy(image), torch.from_numpy(flow))[0, 0].numpy()
    np.testing.assert_allclose(moved, expected, atol=1e-9)


def test_warp_is_affine_in_intensity_and_independent_of_the_batch():
    rng = torch.Generator().manual_seed(0)
    image, flow = torch.rand(5, 1, 20, 24, generator=rng), 3 * torch.rand(5, 2, 20, 24, generator=rng)
    together = warp(image, flow, mode="bicubic")
    for i in range(5):
        assert torch.equal(together[i : i + 1], warp(image[i : i + 1], flow[i : i + 1], mode="bicubic"))
    torch.testing.assert_close(warp(3 * image + 2, flow), 3 * warp(image, flow) + 2)


@pytest.mark.parametrize(("stride", "size"), [(4, (22, 18)), (2, (31, 33)), (4, (16, 1))])
def test_places_of_a_coarse_flow_are_those_of_the_full_one(stride, size):
    grid = [-(-n // stride) for n in size]
    coarse = 3 * torch.randn(2, 2, *grid, generator=torch.Generator().manual_seed(0))
    expected = places(upsample(coarse, stride, size))
    torch.testing.assert_close(places_coarse(coarse, stride, size), expected, atol=1e-6, rtol=0)


def test_warp_is_differentiable_in_the_flow():
    image = torch.rand(1, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    flow = torch.full((1, 2, 8, 8), 0.3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda f: warp(image, f)[..., 1:-2, 1:-2], flow)


def test_inside_marks_what_the_frame_holds():
    flow = torch.zeros(1, 2, 6, 8)
    flow[:, 0] = 2.0
    assert inside(places(flow))[0].sum(0).tolist() == [4] * 8
    assert not inside(places(flow))[0, 4:].any()


def test_shift_whole_keeps_values_and_marks_the_rest():
    image = torch.arange(30.0).reshape(1, 5, 6)
    moved = shift_whole(image, torch.tensor([[2, -1]]))[0]
    assert torch.equal(moved[:3, 1:], image[0, 2:, :5])
    assert moved[3:].isnan().all() and moved[:, 0].isnan().all()
    assert shift_whole(image, torch.tensor([[9, 0]])).isnan().all()


def test_upsampling_puts_samples_at_the_documented_places():
    coarse = torch.arange(6.0)[None, None, :, None].expand(1, 2, 6, 5)  # value = row number
    full = upsample(coarse, 4, (22, 18))
    rows = (np.arange(2, 20) + 0.5) / 4 - 0.5
    np.testing.assert_allclose(full[0, 0, 2:20, 3], rows, atol=1e-6)
    assert full.shape == (1, 2, 22, 18)


def test_numpy_and_torch_upsample_alike():
    coarse = np.random.default_rng(0).normal(size=(2, 2, 6, 5)).astype(np.float32)
    by_numpy = _interpolation(22, 6, 4) @ coarse @ _interpolation(18, 5, 4).T
    np.testing.assert_allclose(by_numpy, upsample(torch.from_numpy(coarse), 4, (22, 18)), atol=1e-5)


def test_inverse_undoes_the_field():
    y, x = np.mgrid[:64, :64].astype(np.float32)
    bump = 3 * np.exp(-((y - 30) ** 2 + (x - 35) ** 2) / (2 * 15**2))
    flow = torch.from_numpy(np.stack([bump, -bump])[None])
    inverse = invert(flow)
    rest = inverse + warp(flow, inverse)
    assert rest[..., 8:-8, 8:-8].abs().max() < 1e-3
