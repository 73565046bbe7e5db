"""References that are given."""

import numpy as np
import pytest
import torch
from truth import INTERIOR, end_point_error

import moco_dl
from moco_dl.anchor import displacement
from moco_dl.network import STRIDE
from moco_dl.refine import Refiner
from moco_dl.scenes import draw_scene
from moco_dl.template import Template
from moco_dl.warp import upsample, warp

SIZE = 96, 112


def test_the_displacement_of_a_given_reference_is_found():
    scene = 40 * draw_scene(SIZE, np.random.default_rng(0))[0].astype(np.float32)
    refiner = Refiner(Template(scene, np.full(SIZE, scene.mean(), np.float32)))
    y, x = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float32)
    true = np.stack((0.4 + 0.2 * np.sin(y / 30), -0.3 + 0.2 * np.cos(x / 25)))
    given = warp(torch.from_numpy(scene)[None, None], -torch.from_numpy(true)[None], mode="bicubic")[
        0, 0
    ].numpy()
    shift, rest = displacement(3 * given + 100, scene, refiner)
    found = shift[:, None, None] + upsample(torch.from_numpy(rest)[None], STRIDE, SIZE)[0].numpy()
    assert np.hypot(*(found - true)[INTERIOR]).mean() < 0.05


@pytest.mark.parametrize("frames_of_it", [3, 40])
def test_motion_is_as_good_as_without_a_given_reference(known_movie, movie, frames_of_it):
    """In another unit, and with the noise of few frames; but for what it is bent itself."""
    frames, truth = known_movie
    aligned = moco_dl.apply(frames, movie[1])
    given = 0.01 * aligned[:frames_of_it].mean(axis=0) - 3
    fields = moco_dl.correct(frames, given).fields
    found, own = fields[:], moco_dl.correct(frames).fields[:]
    np.testing.assert_allclose(fields.rigid, found.mean(axis=(2, 3)), atol=1e-3)
    constant = np.median(found - truth, axis=0)
    assert end_point_error(found - constant, truth) < 1.1 * end_point_error(own, truth)
    assert np.hypot(*constant[INTERIOR]).mean() < 0.3
    np.testing.assert_allclose(fields.reference, given, rtol=1e-6)
