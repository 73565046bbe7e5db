"""How well registered samples agree, part by part; and what moves otherwise than the scene."""

import numpy as np
import pytest
from drawn_samples import samples_of

import moco_dl
from moco_dl.agreement import PARTS
from moco_dl.learning.scenes import draw_scene
from moco_dl.moving import move_known
from moco_dl.sampled.alike import mean_agreement


def test_parts_are_compared_with_the_mean_of_all_other_samples():
    frames = np.random.default_rng(0).normal(100, 1, (5, 40, 48)).astype(np.float32)
    frames += np.random.default_rng(1).normal(0, 1, (40, 48)).astype(np.float32)
    expected = []
    for number, frame in enumerate(frames):
        others = np.delete(frames, number, axis=0).mean(axis=0)
        for y in np.split(np.arange(40), PARTS):
            for x in np.split(np.arange(48), PARTS):
                part = np.ix_(y, x)
                expected.append(np.corrcoef(frame[part].ravel(), others[part].ravel())[0, 1])
    found = mean_agreement(samples_of(frames, 1), np.zeros((5, 2), np.float32), move_known)
    assert found == pytest.approx(np.mean(expected), abs=1e-4)


def test_shifts_of_the_scene_agree_better_than_those_of_a_bright_body():
    scene = draw_scene((64, 120), np.random.default_rng(3))[0]
    places = np.arange(20)
    frames = np.stack([scene[:, place : place + 64] for place in places]) / scene.mean()
    frames[:, 20:40, 20:40] += 10  # stays where it is while the scene moves
    shifts = np.stack((np.zeros(20), -places), axis=1).astype(np.float32)
    moved, still = (mean_agreement(samples_of(frames, 1), each, move_known) for each in (shifts, 0 * shifts))
    assert moved > 1.2 * still
    frames[:, 3:5, 3:5] = np.nan  # of what has no data, or no contrast, nothing is told
    frames[:, 60:] = 7
    assert np.isfinite(mean_agreement(samples_of(frames, 1), shifts, move_known))


@pytest.mark.parametrize("bright", [4, 6])
def test_a_bright_body_that_crosses_the_view_is_not_followed(bright):
    """The dimmer one as shifts are looked for nearby, the brighter one as parts of each frame decide."""
    rng, size, count = np.random.default_rng(6), 128, 80
    scene = draw_scene((size + 6,) * 2, rng)[0]
    places, (y, x) = rng.integers(-3, 4, (count, 2)), np.mgrid[:size, :size]
    frames = np.empty((count, size, size), np.uint16)
    for number, (dy, dx) in enumerate(places + 3):
        body = np.hypot(y - 64, x + 20 - 168 * number / count) < 13
        seen = scene[dy : dy + size, dx : dx + size] / scene.mean()
        frames[number] = 100 * rng.poisson(5 * (seen + bright * body))
    found = moco_dl.correct(frames, rigid_only=True, device="cpu").fields.rigid + places
    assert np.abs(found - np.median(found, axis=0)).max() < 2
