"""Motion from one image, and from another that is bent beside it."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from moco_dl.motion import Motion
from moco_dl.network import STRIDE
from moco_dl.refinement.bend import bent, inverse, rebased

GRID = 24, 28
INNER = np.s_[..., 3:-3, 3:-3]


def smooth(count, size, seed):
    """(count, 2, h, w) px, of this standard deviation."""
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(count, 2, *GRID)), (0, 0, 6, 6))
    return (size * noise / noise.std()).astype(np.float32)


def motion_of(total, **more):
    rigid = total.mean(axis=(2, 3)) + 0.3
    return Motion(rigid, total - rigid[:, :, None, None], **{"flagged": np.zeros(len(total), bool)} | more)


def looked_up(values, bend):
    places = np.indices(GRID) + bend / STRIDE
    return np.stack([[map_coordinates(c, places, order=1, mode="nearest") for c in value] for value in values])


def test_values_at_other_places():
    values, (bend,) = smooth(3, 2.0, 0), smooth(1, 5.0, 1)
    np.testing.assert_allclose(bent(values, bend), looked_up(values, bend), atol=1e-4)


def test_a_bend_leads_back():
    (bend,) = smooth(1, 4.0, 0)
    back = inverse(bend)
    assert np.abs(back + looked_up(bend[None], back)[0])[INNER].max() < 1e-3
    np.testing.assert_allclose(inverse(back)[INNER], bend[INNER], atol=0.15)  # interpolated twice


def test_motion_from_the_other_image():
    total, (bend,) = smooth(4, 2.0, 0), smooth(1, 5.0, 1)
    rows = np.random.default_rng(2).normal(size=(4, 2, GRID[0])).astype(np.float32)
    found = rebased(motion_of(total, rows=rows), bend)
    np.testing.assert_allclose(found.total(), bend + looked_up(total + rows[..., None], bend), atol=1e-4)
    assert found.rows is None


def test_what_is_not_known_stays_zero():
    motion = motion_of(smooth(3, 2.0, 0), flagged=np.array([0, 1, 0], bool), unseen=np.array([0, 0, 1], bool))
    (bend,) = smooth(1, 5.0, 1)
    found = rebased(motion, bend)
    assert not found.rigid[1].any() and not found.flow[1:].any() and found.flow[0].any()
    np.testing.assert_allclose(found.rigid[2], motion.rigid[2] + bend.mean(axis=(1, 2)), rtol=1e-5)


@pytest.mark.parametrize("count", [1, 7])
def test_frames_do_not_depend_on_those_beside_them(count):
    total, (bend,) = smooth(7, 2.0, 0), smooth(1, 5.0, 1)
    np.testing.assert_array_equal(bent(total, bend)[:count], bent(total[:count], bend))
