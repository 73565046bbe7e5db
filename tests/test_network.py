import pytest
import torch
from networks import TO_STRIDE_4

from moco_dl.intensity import network_input
from moco_dl.network import NetworkConfig, PyramidFlowNet, box_mean, cost_volume
from moco_dl.warp import warp


def test_cost_volume_peaks_at_the_displacement():
    features = torch.randn(1, 8, 20, 24, generator=torch.Generator().manual_seed(0))
    moved = features.roll((2, -1), (2, 3))  # moved[y + 2, x - 1] = features[y, x]
    cost = cost_volume(features, moved, 3)[..., 4:-4, 4:-4].mean((0, 2, 3))
    assert divmod(cost.argmax().item(), 7) == (2 + 3, -1 + 3)


def test_box_mean_is_the_mean_of_what_is_inside():
    x = torch.rand(1, 2, 7, 9, generator=torch.Generator().manual_seed(0))
    mean = box_mean(x, 2)
    torch.testing.assert_close(mean[..., 3, 4], x[..., 1:6, 2:7].mean((2, 3)))
    torch.testing.assert_close(mean[..., 0, 0], x[..., :3, :3].mean((2, 3)))


@pytest.mark.parametrize("size", [(6, 7), (5, 5), (7, 9)])
def test_box_mean_is_rounded_alike_at_each_place_of_a_batch(size):
    x = torch.randn(1, 1, *size, generator=torch.Generator().manual_seed(0))
    found = box_mean(x.repeat(16, 1, 1, 1), 2)
    assert all(torch.equal(one, found[0]) for one in found)


def test_box_mean_can_be_trained_after_inference():
    with torch.inference_mode():
        box_mean(torch.ones(1, 1, 5, 6), 1)
    x = torch.ones(1, 1, 5, 6, requires_grad=True)
    box_mean(x, 1).sum().backward()
    assert x.grad.sum() == pytest.approx(30, rel=1e-5)


def test_soft_argmax_finds_the_shift_before_any_training():
    level = PyramidFlowNet().levels[0]
    side = 2 * level.radius + 1
    cost = torch.zeros(1, side**2, 4, 4)
    cost[:, level.radius * side + level.radius + 2] = 1.0  # dy = 0, dx = +2
    dy, dx = level.expected(cost)[0, :, 2, 2].tolist()
    assert abs(dy) < 1e-4 and abs(dx - 2) < 1e-3


@pytest.mark.parametrize(("config", "strides"), [(NetworkConfig(), (16, 4)), (TO_STRIDE_4, (16, 8, 4))])
@pytest.mark.parametrize("shape", [(16, 16), (17, 33), (128, 256), (243, 243)])
def test_any_frame_size(shape, config, strides):
    network = PyramidFlowNet(config)
    image = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features = network.encode(network_input(image))
        flows, error = network([f[:1] for f in features], features)
    padded = [-(-size // 16) * 16 for size in shape]
    for flow, stride in zip(flows, strides, strict=True):
        assert flow.shape == (2, 2, padded[0] // stride, padded[1] // stride)
        assert flow.isfinite().all()
    assert error.shape == flows[-1][:, 0].shape and (error > 0).all()


def test_padding_equals_the_outside():
    """A frame with its bottom rows missing gives the same features as the frame without them."""
    network = PyramidFlowNet().eval()
    image = torch.rand(1, 33, 32, generator=torch.Generator().manual_seed(0))
    with_gap = torch.cat((image, torch.full((1, 15, 32), torch.nan)), dim=1)
    with torch.no_grad():
        a, b = (network.encode(network_input(x)) for x in (image, with_gap))
    for left, right in zip(a, b, strict=True):
        torch.testing.assert_close(left, right)


def test_network_input_ignores_outliers_and_missing_pixels():
    rng = torch.Generator().manual_seed(0)
    image = 100 + 10 * torch.randn(1, 64, 64, generator=rng)
    spoiled = image.clone()
    spoiled[0, 3, 5] = 60_000.0
    spoiled[0, :4, 10:] = torch.nan
    clean, dirty = network_input(image)[0], network_input(spoiled)[0]
    good = spoiled[0].isfinite() & (spoiled[0] < 1000)
    assert 0.7 < dirty[0][good].std() / clean[0][good].std() < 1.1  # without clipping: 0.01
    assert dirty[1].sum() == 64 * 64 - 4 * 54
    assert dirty[0][~spoiled[0].isfinite()].abs().max() == 0
    together = network_input(torch.cat((image, spoiled)))
    assert torch.equal(together, torch.cat((network_input(image), network_input(spoiled))))
    torch.testing.assert_close(network_input(3 * image + 7), network_input(image), atol=1e-4, rtol=1e-4)


def test_a_pulled_frame_is_found_by_the_untrained_matcher():
    """Even without heads the pyramid reduces a smooth known displacement: signs and scales are right."""
    torch.manual_seed(0)
    network = PyramidFlowNet(TO_STRIDE_4).eval()
    scene = torch.nn.functional.avg_pool2d(torch.rand(1, 1, 132, 132), 5, 1)
    truth = torch.zeros(1, 2, 128, 128)
    truth[:, 0] = 3.0
    reference = warp(scene, truth)[:, 0]  # reference[y] = scene[y + 3]
    with torch.no_grad():
        features = [network.encode(network_input(x)) for x in (reference, scene[:, 0])]
        flow = network(*features)[0][-1][..., 4:-4, 4:-4].mean((0, 2, 3))
    assert flow[0] > 1.0 and abs(flow[1]) < 1.0
