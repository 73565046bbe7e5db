"""What the shipped weights promise: activity is not motion, and fields are good up to the border."""

import numpy as np
import pytest

import moco_dl
from moco_dl.learning.scenes import draw_scene, expose
from moco_dl.learning.synth import SyntheticMovie, movie_options

GROUPS = 40
BORDER = 16


def flashing_scene(photons, frames=50, size=160, seed=12):
    """Still frames (T, H, W) in which some 30 % of the cells flash tenfold; where they do, (T, H, W) bool."""
    rng = np.random.default_rng(seed)
    scene = draw_scene((size, size), rng, groups=GROUPS)
    events = rng.random((GROUPS, frames + 60)) < 0.012
    decay = np.exp(-np.arange(40) / 12)
    level = 9 * np.stack([np.convolve(row, decay)[60 : 60 + frames] for row in events]).clip(max=1)
    light = scene[0] + np.tensordot(level.T, scene[1:], 1)
    counts = np.stack([expose(photons * frame, 0.4, rng) for frame in light])
    active = light > 1.3 * scene[0]
    assert 0.02 < active.mean() < 0.6
    return np.rint(40 * counts + 400).clip(0, 65535).astype(np.uint16), active


@pytest.mark.parametrize(("photons", "bar"), [(0.5, 0.15), (2.0, 0.08), (10.0, 0.05)])
def test_flashing_cells_do_not_move(photons, bar):
    frames, active = flashing_scene(photons)
    field = moco_dl.correct(frames).fields[:]
    size = np.hypot(field[:, 0], field[:, 1])
    assert size.mean() < bar
    assert size[active].mean() < size[~active].mean() + 0.03


def test_a_still_movie_is_hardly_moved():
    """Far less than noise moves each of its frames for itself."""
    frames, _ = flashing_scene(0.5)
    rigid, alone, steady = (
        np.hypot(*moco_dl.correct(frames, **options).fields[:].swapaxes(0, 1)).mean()
        for options in ({"rigid_only": True}, {"smooth": 0.0}, {})
    )
    assert steady < 0.6 * min(rigid, alone)


@pytest.fixture(scope="module", params=[0.5, 2.0, 10.0])
def errors(request):
    """Of two moving scenes, see `measured`."""
    return [measured(seed, request.param) for seed in (10, 11)]


def measured(seed, photons):
    """End-point errors (T, H, W), and where the light is above that at rest."""
    options = movie_options(frames=40, size=256, photons=photons, rows=0.0)
    movie = SyntheticMovie(seed, options)
    frames, truth = (np.stack(part) for part in zip(*movie, strict=True))
    result = moco_dl.correct(frames)
    difference = result.fields[:] - truth
    difference -= np.median(difference, axis=(0, 2, 3), keepdims=True)
    rest = (movie.reference - options.offset) / options.gain
    light = np.stack([movie.still(t) for t in range(len(frames))])
    return np.hypot(difference[:, 0], difference[:, 1]), light > 1.3 * rest


def test_active_cells_are_followed_no_worse(errors):
    error, active = errors[0]
    assert 0.005 < active.mean() < 0.6
    assert error[active].mean() < 1.2 * error[~active].mean()


def test_the_border_is_nearly_as_good_as_the_interior(errors):
    error = np.concatenate([error for error, _ in errors])
    assert error.mean() < 1.15 * error[:, BORDER:-BORDER, BORDER:-BORDER].mean()
