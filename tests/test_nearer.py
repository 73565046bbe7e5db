"""References that are far from what a movie shows."""

import warnings

import numpy as np
import pytest

from moco_dl import checkpoint
from moco_dl.device import CPU
from moco_dl.infer import Estimator
from moco_dl.learning.scenes import draw_scene
from moco_dl.moving import move_known
from moco_dl.network import STRIDE
from moco_dl.refinement.bend import inverse
from moco_dl.refinement.nearer import _unlike, bend_to, sizes

SIZE = 128, 160


@pytest.mark.parametrize(
    ("shape", "expected"), [((64, 300), [1]), ((128, 160), [2, 1]), ((512, 480), [8, 4, 2, 1])]
)
def test_from_coarse_to_fine(shape, expected):
    assert sizes(shape) == expected


@pytest.fixture(scope="module")
def shipped():
    return checkpoint.load(checkpoint.default_weights()).network


@pytest.fixture(scope="module")
def scene():
    return 50 * draw_scene(SIZE, np.random.default_rng(3))[0].astype(np.float32)


def looks(given, network):
    return [Estimator(given, network, max_shift=15, device=CPU, binning=size) for size in sizes(given.shape)]


def turn(degrees):
    """Bend (2, h, w) on the coarse grid, about the middle."""
    y, x = np.mgrid[: SIZE[0] : STRIDE, : SIZE[1] : STRIDE].astype(np.float32)
    angle = np.deg2rad(degrees)
    bend = np.stack((np.sin(angle) * (x - SIZE[1] / 2), -np.sin(angle) * (y - SIZE[0] / 2)))
    return bend.astype(np.float32)


@pytest.mark.parametrize("degrees", [9, 18])
def test_what_is_turned_is_brought_near(scene, shipped, degrees):
    bend = turn(degrees)
    given = move_known(scene[None], bend[None])[0]  # NaN at the corners
    found = bend_to(given, scene, looks(given, shipped))
    inner = np.s_[:, 10:-10, 10:-10]
    assert np.hypot(*(found - inverse(bend))[inner]).mean() < 1.0 < np.hypot(*bend).mean() / 3
    assert np.nanmean(np.abs(move_known(given[None], found[None])[0] - scene)) < 0.6 * np.nanmean(
        np.abs(given - scene)
    )


@pytest.mark.parametrize("degrees", [0, 1])
def test_what_is_near_stays(scene, shipped, degrees):
    given = move_known(scene[None], turn(degrees)[None] + np.float32(3))[0]
    assert bend_to(given, scene, looks(given, shipped)) is None


def test_nothing_is_seen_of_another_scene(scene, shipped):
    other = 50 * draw_scene(SIZE, np.random.default_rng(4))[0].astype(np.float32)
    assert bend_to(other, scene, looks(other, shipped)) is None


@pytest.mark.parametrize("overlap", [0, 1, 9])
def test_of_images_that_overlap_nowhere_nothing_is_explained(scene, overlap):
    """Or where one of them is all alike."""
    given, image = np.full((2, *SIZE), np.nan, np.float32)
    given[:, : 80 + overlap], image[:, 80:] = scene[:, : 80 + overlap], 7
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert _unlike(given, image, np.zeros_like(turn(0)), 1) == 1
