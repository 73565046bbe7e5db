"""The functions that a field is made of."""

import numpy as np
import pytest
import torch

from moco_dl.gaussian import gaussian_window
from moco_dl.network import STRIDE
from moco_dl.refinement.basis import (
    LARGE,
    MOST,
    PATH,
    ROWS,
    TISSUE,
    Basis,
    eigen,
    root,
    sandwich,
    smooth_functions,
)

GRIDS = pytest.mark.parametrize("grid", [(16, 16), (12, 33)])


@GRIDS
def test_products_of_functions(grid):
    basis, weights = Basis(grid), np.random.default_rng(0).random(grid)
    (i, j), y, x = basis.pairs, basis.y.double().numpy(), basis.x.double().numpy()
    functions = (y[:, None, i] * x[None, :, j]).reshape(weights.size, -1)
    expected = functions.T @ (weights.reshape(-1, 1) * functions)
    np.testing.assert_allclose(basis.products(weights), expected, rtol=1e-9, atol=1e-9)


@GRIDS
def test_variance_of_a_displacement_from_the_covariance_of_its_unknowns(grid):
    basis, rng = Basis(grid), np.random.default_rng(0)
    functions, factors = basis.path()
    roots = rng.normal(size=(3, factors.shape[1]))  # each a way in which unknowns vary
    total = basis.total(np.concatenate((roots, np.zeros_like(roots)), axis=1))
    along_y, along_x = np.moveaxis(total, 1, 0)
    assert not along_x.any()
    np.testing.assert_allclose(basis.variance(roots.T @ roots), np.square(along_y).sum(axis=0), rtol=1e-3)
    path, *_ = np.linalg.lstsq(functions, along_y.mean(axis=2).T)
    np.testing.assert_allclose(roots @ factors.T, path.T, atol=1e-4)
    np.testing.assert_allclose(path[0], along_y.mean(axis=(1, 2)), atol=1e-5)


@GRIDS
def test_kinds_are_all_unknowns_once(grid):
    kinds = Basis(grid).kinds()
    assert (sum(kind.astype(int) for kind in kinds.values()) == 1).all()


@GRIDS
def test_paths_are_straight_and_bent_lines_down_the_frame(grid):
    basis, line = Basis(grid), np.linspace(-1, 1, grid[0])
    for name, path in (("slope", line), ("bend", (3 * line**2 - 1) / 2)):
        for component, letter in enumerate("yx"):
            shift, rows, tissue = basis.displacement(basis.kinds()[f"{name}_{letter}"].astype(float))
            np.testing.assert_allclose(rows[component], path, atol=1e-6)
            assert not rows[1 - component].any() and not shift.any() and not tissue.any()


def test_wide_rows_are_rows_that_are_correlated_twice_as_far():
    basis = Basis((64, 30))
    functions, kinds = basis.y[:, basis.rows].double().numpy()[:, len(PATH) :], basis.kinds()
    for letter in "yx":
        wide = basis.wide_rows()[f"wide_rows_{letter}"]
        assert not wide[~kinds[f"rows_{letter}"]].any()
        covariance = functions @ np.diag(wide[kinds[f"rows_{letter}"]]) @ functions.T
        middle = np.s_[16:48, 16:48]
        np.testing.assert_allclose(covariance[middle], gaussian_window(64, 2 * ROWS / STRIDE)[middle], atol=0.1)


def test_large_frames_have_no_more_functions():
    """The time to solve for all of them grows with the third power of their number."""
    basis = Basis((100, 400))
    along_x, along_y = basis.x.shape[1] - 1, basis.y.shape[1] - basis.rows.stop
    assert along_x == MOST < smooth_functions(400, TISSUE / STRIDE).shape[1]
    assert along_y == smooth_functions(100, TISSUE / STRIDE).shape[1] < MOST
    assert len(basis.pairs[0]) == basis.rows.stop + along_x * along_y


def test_a_gpu_takes_large_matrices_apart(gpu):
    matrix = np.random.default_rng(0).normal(size=(LARGE, LARGE))
    matrix @= matrix.T.copy()
    device = torch.device("cuda")
    values, vectors = eigen(matrix, device)
    np.testing.assert_allclose(values, eigen(matrix)[0], atol=1e-9 * values[-1])
    np.testing.assert_allclose(vectors * values @ vectors.T, matrix, atol=1e-9 * values[-1])
    factor = root(matrix, device)
    np.testing.assert_allclose(factor @ factor.T, matrix, atol=1e-9 * values[-1])


@pytest.mark.parametrize("outputs", [(7, 9), (12, 13)])
def test_products_are_rounded_alike_at_each_place_of_a_batch(outputs):
    rng = torch.Generator().manual_seed(0)
    left, right = torch.randn(outputs[0], 18, generator=rng), torch.randn(16, outputs[1], generator=rng)
    found = sandwich(left, torch.randn(1, 18, 16, generator=rng).repeat(16, 1, 1), right)
    assert all(torch.equal(one, found[0]) for one in found)


@GRIDS
def test_shapes_of_tissue_are_covariances(grid):
    basis = Basis(grid)
    count = int(basis.kinds()["tissue"].sum()) // 2
    sizes = []
    smooth, falling = basis.tissue_shapes()
    for shape in (smooth, *map(np.diag, falling)):
        assert shape.shape == (count, count)
        assert np.linalg.eigvalsh(shape).min() > -1e-9
        sizes.append(np.trace(shape))
    np.testing.assert_array_equal(falling[-1], np.ones(count))
    assert sizes[1:] == sorted(sizes[1:])


def test_smooth_functions_make_the_covariance():
    functions = smooth_functions(50, 6.0).double()
    position = torch.arange(50.0, dtype=torch.float64)
    truth = torch.exp(-0.5 * ((position[:, None] - position) / 6.0).square())
    assert (functions @ functions.T - truth).abs().max() < 0.02
    assert functions.shape[1] < 20
