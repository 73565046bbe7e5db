import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from moco_dl.blocks import binned
from moco_dl.learning.motion import MotionOptions, draw_field
from moco_dl.learning.scenes import draw_scene
from moco_dl.motion import Motion
from moco_dl.network import STRIDE
from moco_dl.refinement.equations import pulled, response
from moco_dl.refinement.refine import Refiner
from moco_dl.refinement.template import NO_PART, Template
from moco_dl.warp import invert, places, upsample, warp

SIZE = (96, 122)
MARGIN = 12
INNER = (..., slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))
NOWHERE = torch.zeros(2, *SIZE)


@pytest.fixture(scope="module", autouse=True)
def all_places_count():
    """However bright: what frames tell of motion is linear then."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("moco_dl.refinement.difference.FLASH", math.inf)
        yield


@pytest.fixture(scope="module")
def scene():
    padded = tuple(n + 2 * MARGIN for n in SIZE)
    return torch.from_numpy(draw_scene(padded, np.random.default_rng(4))[0])


@pytest.fixture(scope="module")
def refiner(scene):
    """Contrast of a bright movie: noise of 2 counts on a mean of 100."""
    return refiner_of(scene)


def refiner_of(scene):
    return Refiner(Template((100 * scene)[INNER].numpy(), np.full(SIZE, 4.0, np.float32)))


def equations(refiner, frame, field, part=NO_PART):
    """Of a frame (H, W) that has been moved by `field` (2, H, W), in its pixels."""
    sums, misfit, *_ = refiner.difference(*pulled(frame[None], places(field[None]), 3), part)
    return refiner.unknowns(sums)[0], misfit[0]


def seen(scene, truth):
    """The frame whose backward field is `truth` (2, H, W), on the scene's grid."""
    return warp(scene[None, None], invert(truth[None]), mode="bicubic")[0, 0]


def tissue_field(seed, amplitude):
    options = MotionOptions(spread=(40.0, 60.0), amplitude=1.0, rigid=0.0, rows=0.0)
    field = draw_field(tuple(n + 2 * MARGIN for n in SIZE), np.random.default_rng(seed), options)
    return torch.from_numpy(field / np.hypot(*field).max() * amplitude)


def row_field(amplitude):
    y = torch.arange(SIZE[0] + 2 * MARGIN)
    wave = amplitude * torch.stack((0.3 * torch.cos(y / 14.0), torch.sin(y / 11.0)))
    return wave[:, :, None].expand(-1, -1, SIZE[1] + 2 * MARGIN).contiguous()


def solution(refiner, equations):
    """Most probable shift, rows and tissue's displacement if all unknowns are expected to be about 0.3."""
    damped = refiner.matrix + torch.eye(len(refiner.matrix)) / 0.3**2
    found = refiner.basis.displacement(torch.linalg.solve(damped, equations).numpy())
    return tuple(map(torch.from_numpy, found))


def solve(refiner, frame, start=NOWHERE, gain=100.0):
    """What the step adds at every pixel."""
    told, _ = equations(refiner, (gain * frame)[INNER].contiguous(), start)
    shift, rows, tissue = solution(refiner, told)
    return upsample((shift[:, None, None] + rows[..., None] + tissue)[None], STRIDE, SIZE)[0]


def size(field):
    return torch.linalg.vector_norm(field, dim=0).mean()


@pytest.mark.parametrize("truth", [tissue_field(0, 0.5), tissue_field(1, 0.5), row_field(0.4)])
def test_a_small_field_is_found(scene, refiner, truth):
    assert size(solve(refiner, seen(scene, truth)) - truth[INNER]) < 0.3 * size(truth[INNER])


def test_what_is_known_already_is_not_added_again(scene, refiner):
    truth = tissue_field(1, 2.0)
    assert size(solve(refiner, seen(scene, truth), truth[INNER].contiguous())) < 0.04


def test_rows_and_tissue_are_told_apart(scene, refiner):
    for truth, expected in ((row_field(0.4), "rows"), (tissue_field(0, 0.5), "tissue")):
        told, _ = equations(refiner, (100 * seen(scene, truth))[INNER].contiguous(), NOWHERE)
        _, rows, tissue = solution(refiner, told)
        assert (rows.std() > tissue.std()) == (expected == "rows")


def test_brightness_and_background_are_not_motion(scene, refiner):
    y = torch.linspace(0, 0.3, scene.shape[0])[:, None]
    assert size(solve(refiner, scene + y + 5, gain=60.0)) < 0.03


def test_brightness_is_not_motion_where_edges_are_much_darker(scene):
    """Pixels that a displaced frame lacks there would tell of it: a view, bright in the middle, bleaches."""
    y, x = (np.linspace(-1, 1, n) for n in scene.shape)
    view = (scene * 0.1 + torch.from_numpy(1.5 - np.square(y)[:, None] - 0.5 * np.square(x))).float()
    field = torch.full((2, *SIZE), 0.4)
    refiner = refiner_of(view)
    one, dimmed = (equations(refiner, (100 * gain * view)[INNER].contiguous(), field)[0] for gain in (1, 0.3))
    assert (dimmed - one).abs().max() < 0.01 * one.abs().max()


def test_a_flashing_cell_hardly_moves(scene, refiner, monkeypatch):
    flash = scene.clone()
    flash[50:57, 60:67] *= 2
    monkeypatch.setattr("moco_dl.refinement.difference.FLASH", 5.0)
    limited = refiner_of(scene)
    assert size(solve(limited, flash)) < 0.5 * size(solve(refiner, flash))
    truth = tissue_field(0, 0.2)  # px, more than an earlier step leaves
    assert size(solve(limited, seen(scene, truth)) - truth[INNER]) < 0.35 * size(truth[INNER])


def test_brightness_in_the_pattern_of_activity_is_not_motion(scene):
    """Two cells, one beside the other, that flash differently, at places of known activity."""
    image, cells = (100 * scene)[INNER].numpy(), np.zeros((2, *SIZE), np.float32)
    for cell, (y, x) in zip(cells, ((40, 50), (40, 72)), strict=True):
        cell[y - 5 : y + 5, x - 5 : x + 5] = 1
        cell[y - 2 : y + 2, x - 2 : x + 2] = 0.3
    cells = gaussian_filter(cells, (0, 1, 1))
    noise = np.full(SIZE, 4.0, np.float32)
    template = Template(image, noise, 20 * cells.sum(axis=0))
    knowing, naive = (Refiner(made) for made in (template, Template(image, noise)))
    frame = torch.from_numpy(image + 30 * cells[0] - 10 * cells[1])
    found, fooled = (
        torch.cat([part.flatten() for part in solution(made, equations(made, frame, NOWHERE)[0])]).abs().mean()
        for made in (knowing, naive)
    )
    assert found < 0.1 * fooled


def test_frames_of_a_part_are_compared_with_the_image_without_them(scene):
    image, noise = (100 * scene)[INNER].numpy(), np.full(SIZE, 4.0, np.float32)
    others = np.stack([np.roll(image, shift, axis=1) for shift in (1, 2)])
    refiner = Refiner(Template(image, noise, others=others))
    frame = torch.from_numpy(np.roll(image, 2, axis=1))
    for part, alike in ((NO_PART, False), (0, False), (1, True)):
        assert (equations(refiner, frame, NOWHERE, part)[1] < 1e-6) == alike


def test_frames_told_together_are_told_as_each_alone(scene, refiner):
    """To the last bit, also where one lacks data; otherwise results would depend on the batch."""
    noise = torch.randn(5, *SIZE, generator=torch.Generator().manual_seed(0))
    frames = (100 * scene)[INNER] + 2 * noise
    frames[3, :, 7] = torch.nan
    field = (
        torch.randn(5, 2, 1, 1, generator=torch.Generator().manual_seed(1)).clamp(-3, 3).expand(-1, -1, *SIZE)
    )
    sums, misfit, *_ = refiner.difference(*pulled(frames, places(field), 3))
    told = refiner.unknowns(sums)
    for i in range(5):
        alone = equations(refiner, frames[i], field[i])
        assert torch.equal(told[i], alone[0]) and torch.equal(misfit[i], alone[1])


def test_stripes_along_rows_are_not_motion(scene, refiner):
    stripes = torch.randn(len(scene), 1, generator=torch.Generator().manual_seed(0))
    assert size(solve(refiner, scene + stripes)) < 0.02


def test_a_still_frame_stays(scene, refiner):
    assert solve(refiner, scene).abs().max() < 1e-3


def test_missing_data_does_no_harm(scene, refiner):
    """Rows that the frame does not show leave the rest as it was."""
    truth = tissue_field(2, 0.5)
    frame = seen(scene, truth)
    whole = solve(refiner, frame)
    frame = frame.clone()
    frame[: MARGIN + 10] = torch.nan
    cut = solve(refiner, frame)
    assert cut.isfinite().all() and (cut - whole)[:, 50:].abs().max() < 0.05
    assert size(cut - truth[INNER]) < 0.2


def test_nothing_known_adds_nothing(scene, refiner):
    assert not solve(refiner, torch.full_like(scene, torch.nan)).any()


def joined(cells):
    """(c, c, h, w) -> image (H, W)."""
    image = cells.permute(2, 0, 3, 1).flatten(2).flatten(0, 1)
    return image[: SIZE[0], : SIZE[1]]


def test_equations_are_those_of_least_squares(scene, refiner):
    """The normal matrix against one made function by function, without the order of sums that makes it fast."""
    factors = [joined(factor) for factor in refiner.difference.view.factors]
    weight, gradient = factors[0], [factor / factors[0] for factor in factors[1:3]]
    pairs = zip(*refiner.basis.pairs, strict=True)
    functions = torch.stack([torch.outer(refiner.basis.y[:, i], refiner.basis.x[:, j]) for i, j in pairs])
    full = functions.repeat_interleave(STRIDE, 1).repeat_interleave(STRIDE, 2)[:, : SIZE[0], : SIZE[1]].double()
    slopes = torch.cat([full * g.double() for g in gradient]).flatten(1)
    matrix = slopes @ (slopes * weight.flatten()).T
    torch.testing.assert_close(refiner.matrix, matrix, rtol=1e-4, atol=1e-6 * float(matrix.abs().max()))


def test_rows_already_applied_count_as_such(scene, refiner):
    """Whether rows were applied before or are found now, their total is about the same."""
    truth = row_field(0.15)
    frame = (100 * seen(scene, truth))[INNER].contiguous()
    fresh = solution(refiner, equations(refiner, frame, NOWHERE)[0])[1]
    known = 0.8 * torch.nn.functional.avg_pool2d(truth[INNER][None], STRIDE)[0][..., 0]
    start = upsample(known[None, ..., None].expand(-1, -1, -1, 31), STRIDE, SIZE)[0]
    applied = refiner.effect(known[..., None].expand(-1, *refiner.grid))
    total = solution(refiner, equations(refiner, frame, start)[0] + applied)[1]
    difference = total - fresh
    difference = difference - difference.mean(dim=1, keepdim=True)  # the whole frame's shift may take some
    assert difference.abs().mean() < 0.35 * fresh.abs().mean()


def test_misfit_tells_how_much_a_frame_differs(scene, refiner):
    frame = (100 * scene)[INNER].contiguous()
    noisy = frame + 2 * torch.randn(SIZE, generator=torch.Generator().manual_seed(0))
    assert equations(refiner, frame, NOWHERE)[1] < 1e-6
    assert equations(refiner, noisy, NOWHERE)[1] == pytest.approx(1, abs=0.1)  # noise of the expected variance
    assert equations(refiner, frame.roll(20, 1), NOWHERE)[1] > 5


def test_the_effect_of_a_field_is_that_of_its_unknowns(refiner):
    unknowns = torch.randn(len(refiner.matrix), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    field = torch.from_numpy(refiner.basis.total(unknowns.numpy()))
    expected = refiner.matrix @ unknowns
    assert (refiner.effect(field) - expected).abs().max() < 1e-5 * expected.abs().max()


def test_binned_frames_tell_of_the_same_field(scene):
    scene = torch.from_numpy(gaussian_filter(scene.numpy(), 2.0))  # no detail that binning would lose
    template = Template((100 * scene)[INNER].numpy(), np.full(SIZE, 4.0, np.float32))
    small = Template(*binned(np.stack((template.image, template.noise / 4)), 2))
    rough = Refiner(small, 2)
    truth = tissue_field(0, 0.5)
    frame = binned((100 * seen(scene, truth))[INNER].numpy()[None], 2)[0]
    told, _ = equations(rough, torch.from_numpy(frame), torch.zeros(2, *frame.shape))
    shift, rows, tissue = solution(rough, told)
    found = upsample((shift[:, None, None] + rows[..., None] + tissue)[None], STRIDE, SIZE)[0]
    assert size(found - truth[INNER]) < 0.3 * size(truth[INNER])


@pytest.mark.parametrize("way", [1, -1])
def test_what_frames_ought_to_tell_does_not_depend_on_the_way_that_tissue_runs(way):
    """Of fibres along a diagonal; frames that go along either are not as many if their number is odd."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    image = (100 + 20 * np.sin((y + way * x) / 3) + 2 * np.sin(x / 5)).astype(np.float32)
    refiner = Refiner(Template(image, np.full(SIZE, 4.0, np.float32)))
    motion = Motion(
        np.zeros((3, 2), np.float32), np.zeros((3, 2, *refiner.grid), np.float32), np.zeros(3, bool)
    )
    told, expected = response(np.stack([image] * 3), motion, refiner, np.full(3, NO_PART))
    assert told / expected == pytest.approx(1, abs=0.05)


def test_frames_tell_less_of_a_displacement_than_noisy_gradients_promise(scene):
    image = (100 * scene)[INNER].numpy()
    spoilt = image + 10 * np.random.default_rng(0).normal(size=SIZE)
    frames = (image + 2 * np.random.default_rng(1).normal(size=(4, *SIZE))).astype(np.float32)
    promised, share = [], []
    for part in (image, spoilt):
        refiner = Refiner(Template(part.astype(np.float32), np.full(SIZE, 4.0, np.float32)))
        flow = np.zeros((4, 2, *refiner.grid), np.float32)
        still = Motion(np.zeros((4, 2), np.float32), flow, np.zeros(4, bool))
        told, expected = response(frames, still, refiner, np.full(len(frames), NO_PART))
        promised.append(float(refiner.information[[0, 2]].sum()))
        share.append(told / expected)
    assert 0.9 < share[0] < 1  # interpolation blurs
    # A little more than what is not noise in the gradients: frames seem dimmer than a template full of noise.
    assert 0 < share[1] / share[0] - promised[0] / promised[1] < 0.1
    assert promised[0] / promised[1] < 0.7
