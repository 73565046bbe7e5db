"""Movies of cells that are dark at rest: what frames share with those far away is faint."""

import numpy as np
import pytest
from drawn_samples import samples_of
from scipy.ndimage import gaussian_filter

import moco_dl
from moco_dl.device import CPU
from moco_dl.infer import Estimator
from moco_dl.moving import move_known
from moco_dl.sampled.neighbours import shifts_along

PLACES = [(5, -2), (-2, 4), (0, 0), (3, 3)]  # px, where tissue lies for 20 frames each


def flashing(seed, lasts, ground=1.0):
    """(80, 96, 96) frames of cells that are lit now and then, for so many; and where tissue is (80, 2)."""
    rng, (y, x) = np.random.default_rng(seed), np.mgrid[:112, :112]
    scene = ground + 4.5 * ground * gaussian_filter(rng.standard_normal((112, 112)), 15)
    cells = [np.exp(-((np.hypot(y - a, x - b) / 3) ** 4)) for a, b in rng.uniform(0, 112, (120, 2))]
    begun = rng.random((120, 120)) < 0.005
    lit = sum(np.exp(-age / lasts) * begun[40 - age : 120 - age] for age in range(40))
    light, places = scene + 6 * np.tensordot(lit, cells, 1), np.repeat(PLACES, 20, axis=0)
    seen = [frame[dy : dy + 96, dx : dx + 96] for frame, (dy, dx) in zip(light, places + 8, strict=True)]
    return rng.poisson(5 * np.stack(seen)).astype(np.uint16), places


def off(shifts, places):
    """px, mean distance of shifts (n, 2) from the truth, but for what is constant."""
    apart = shifts + places
    return np.hypot(*(apart - np.median(apart, axis=0)).T).mean()


@pytest.mark.parametrize("ground", [0.0, 1.0])
def test_cells_that_are_still_lit_tell_where_the_next_frames_are(ground):
    frames, places = flashing(3, 10, ground)
    samples = samples_of(frames.astype(np.float32))

    def register(reference):
        return Estimator(reference, None, max_shift=14, device=CPU)

    shifts = shifts_along(samples, register, move_known)[:, :, 0, 0]
    assert off(shifts, places) < 0.5
    alone = register(frames.mean(axis=0, dtype=np.float32))(samples[:]).rigid
    assert off(alone, places) > 1.5
    np.testing.assert_allclose(np.median(shifts, axis=0), 0, atol=1e-6)


@pytest.mark.parametrize(("seed", "lasts"), [(0, 10), (3, 7)])
def test_movies_of_cells_that_are_dark_at_rest_are_found_in_the_light_of_neighbours(seed, lasts):
    """Where frames are compared with the mean of all only, 3.7 and 4.4 px are left."""
    frames, places = flashing(seed, lasts)
    assert off(moco_dl.correct(frames, rigid_only=True, device="cpu").fields.rigid, places) < 0.6
