"""Expected errors, on errors drawn with a covariance that is known."""

import numpy as np
import pytest

from moco_dl.tracking.risk import Errors, measure_excess
from moco_dl.tracking.trajectory import FramePath

ROWS = 12
FUNCTIONS = np.polynomial.legendre.legvander(np.linspace(-1, 1, ROWS), 2)
FUNCTIONS[:, 1:] -= FUNCTIONS[:, 1:].mean(axis=0)


def drawn():
    """Errors (n, 2, ROWS, 4), and what is expected of them: those of paths, and more at some columns."""
    rng = np.random.default_rng(0)
    root = 0.2 * rng.standard_normal((2, 3, 3))
    paths = np.einsum("cij,ncj->nci", root, rng.standard_normal((20000, 2, 3)))
    columns = np.array([0.3, -0.1, -0.3, 0.1]) * rng.standard_normal((20000, 2, 1))
    # What columns err by goes with the mean displacement, too.
    columns = columns + np.array([0.5, -0.5, 0.5, -0.5]) * paths[..., :1]
    errors = (paths @ FUNCTIONS.T)[..., None] + columns[:, :, None]
    mean = errors.mean(axis=(2, 3))
    covariance = np.einsum("nci,ncj->cij", paths, paths) / len(paths)
    both = np.einsum("nchw,nc->chw", errors, mean) / len(mean)
    path = FramePath(FUNCTIONS, covariance, np.ones((2, 3)))
    return errors, paths, Errors(np.square(errors).mean(axis=0), both, path)


def test_where_the_mean_displacement_is_known_the_rest_is_left():
    errors, _, expected = drawn()
    left = errors - errors.mean(axis=(2, 3), keepdims=True)
    rms = np.sqrt(np.square(left).mean(axis=(0, 1)))
    np.testing.assert_allclose(expected.length(np.ones(2)), np.sqrt(np.pi / 2) * rms, rtol=1e-4)


def test_with_better_paths_places_err_less():
    _, paths, expected = drawn()
    better = expected.with_path(np.zeros((2, 3, 3)))
    flat = Errors(expected.place, expected.both, expected.path).with_path(expected.path.errors)
    np.testing.assert_allclose(flat.place, expected.place)
    less = expected.place - better.place
    of_paths = np.square(paths @ FUNCTIONS.T).mean(axis=0)
    np.testing.assert_allclose(less, np.repeat(of_paths[..., None], 4, axis=2), rtol=1e-6)
    assert not better.mean.any()


@pytest.mark.parametrize("excess", [-0.5, 0.0, 2.0])
def test_errors_may_be_smaller_or_larger_than_expected(excess):
    visible, rng = np.geomspace(0.5, 50, 30), np.random.default_rng(1)
    own = np.broadcast_to(np.linspace(0.05, 0.45, 30), (2000, 30))
    size = np.sqrt(visible * (1 - own + excess * own))
    assert measure_excess(size * rng.standard_normal(own.shape), own, visible) == pytest.approx(
        excess, abs=0.15
    )
