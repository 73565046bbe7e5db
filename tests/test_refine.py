import numpy as np
import pytest
import torch

from moco_dl.motion import MotionOptions, draw_field
from moco_dl.network import STRIDE
from moco_dl.refine import GaussNewton
from moco_dl.scenes import draw_scene
from moco_dl.warp import invert, upsample, warp

SIZE = (96, 120)
MARGIN = 12
INNER = (..., slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))


@pytest.fixture(scope="module")
def scene():
    padded = tuple(n + 2 * MARGIN for n in SIZE)
    return torch.from_numpy(draw_scene(padded, np.random.default_rng(3))[0])


def seen(scene, truth):
    """The frame whose backward field is `truth` (2, H, W), on the scene's grid."""
    return warp(scene[None, None], invert(truth[None]), mode="bicubic")[0, 0]


def small_field(seed, amplitude):
    options = MotionOptions(spread=(40.0, 60.0), amplitude=1.0, rigid=0.0, rows=0.0)
    field = draw_field(tuple(n + 2 * MARGIN for n in SIZE), np.random.default_rng(seed), options)
    return torch.from_numpy(field / np.hypot(*field).max() * amplitude)


def step(scene, frame, start=None, gain=100.0, **prior):
    reference = (100 * scene)[INNER].contiguous()
    refiner = GaussNewton(reference, torch.full(SIZE, 4.0))
    start = torch.zeros(2, *SIZE) if start is None else start
    return upsample(refiner.step((gain * frame)[INNER].contiguous(), start)[None], STRIDE, SIZE)[0]


@pytest.mark.parametrize("seed", range(3))
def test_a_small_field_is_found(scene, seed):
    truth = small_field(seed, 0.5)
    found = step(scene, seen(scene, truth))
    error = torch.linalg.vector_norm(found - truth[INNER], dim=0)
    assert error.mean() < 0.3 * torch.linalg.vector_norm(truth[INNER], dim=0).mean()


def test_what_is_known_already_is_not_added_again(scene):
    truth = small_field(1, 2.0)
    assert step(scene, seen(scene, truth), truth[INNER].contiguous()).abs().mean() < 0.03


def test_brightness_and_background_are_not_motion(scene):
    y = torch.linspace(0, 0.3, scene.shape[0])[:, None]
    assert step(scene, scene + y + 5, gain=60.0).abs().mean() < 0.02


def test_a_still_frame_stays(scene):
    assert step(scene, scene).abs().max() < 1e-3


def test_missing_data_does_no_harm(scene):
    """Rows that the frame does not show, by NaN or by displacement, leave the rest as it was."""
    truth = small_field(2, 0.5)
    frame = seen(scene, truth)
    whole = step(scene, frame)
    frame = frame.clone()
    frame[: MARGIN + 10] = torch.nan
    cut = step(scene, frame)
    assert cut.isfinite().all()
    assert (cut - whole)[:, 50:].abs().max() < 0.02
    assert (cut - truth[INNER]).abs().mean() < 0.2


def test_nothing_known_adds_nothing(scene):
    assert not step(scene, torch.full_like(scene, torch.nan)).any()


def test_the_prior_holds_back_where_there_is_only_noise():
    generator = torch.Generator().manual_seed(0)
    reference = 100 + 0.05 * torch.randn(SIZE, generator=generator)
    noise = 100 + 10 * torch.randn(SIZE, generator=generator)
    refiner = GaussNewton(reference, torch.full(SIZE, 100.0))
    assert refiner.step(noise, torch.zeros(2, *SIZE)).abs().mean() < 0.05
