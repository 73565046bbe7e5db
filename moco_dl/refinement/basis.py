"""The functions that a field is made of.

Their sum is of three kinds: a shift of the whole frame; functions of the row, for tissue that moves while a
scanner takes row after row, along a smooth path or by jerks; smooth functions of both coordinates, for the
tissue's own deformation.
"""

import numpy as np
import torch
from torch import Tensor

from moco_dl.device import CPU
from moco_dl.gaussian import gaussian_window
from moco_dl.network import STRIDE

TISSUE = 30.0  # px, shortest length over which the tissue's displacement is correlated
ROWS = 10.0  # px, the same for what differs from row to row
PATH = ("slope", "bend")  # degrees of the polynomial that tissue follows while a frame is taken
LOST = 2**-16  # share of the variance of smooth functions, for each place, that their basis does not hold
MOST = 40  # smooth functions along an axis: from 1300 px on, the shortest waves are longer
LARGE = 500  # rows of a matrix that is worth sending to a GPU
SPECTRUM = 6  # steps in which the tissue's displacement may fall off from long waves to short ones


class Basis:
    """Products of a function of y and one of x, on the coarse grid (h, w) of a frame.

    The 2 m unknowns are the factors of dy, then those of dx.
    """

    def __init__(self, grid: tuple[int, int]):
        self.grid = grid
        smooth = [smooth_functions(n, TISSUE / STRIDE)[:, :MOST] for n in self.grid]
        path = np.polynomial.legendre.legvander(np.linspace(-1, 1, self.grid[0]), len(PATH))[:, 1:]
        rows = torch.cat((torch.from_numpy(path).float(), smooth_functions(self.grid[0], ROWS / STRIDE)), dim=1)
        one = [torch.ones(n, 1, dtype=torch.float32) for n in self.grid]
        # Functions of y (h, a): one, those of the row, the tissue's; of x (w, b): one, the tissue's.
        self.y, self.x = torch.cat((one[0], rows, smooth[0]), dim=1), torch.cat((one[1], smooth[1]), dim=1)
        first = 1 + rows.shape[1]
        tissue = torch.cartesian_prod(torch.arange(first, self.y.shape[1]), torch.arange(1, self.x.shape[1]))
        pairs = torch.cat((torch.tensor([[r, 0] for r in range(first)]), tissue))
        self.pairs = tuple(pairs.T)  # twice (m,): which function of y, and of x, each unknown is a factor of
        self.rows = slice(1, first)  # of functions of y, and of unknowns: those of the row

    def path(self) -> tuple[np.ndarray, np.ndarray]:
        """Functions (h, 3) of the row that a frame's path is made of: one; slope and bend, of mean zero.

        And the factors (3, m) with which a component's unknowns add to these in the mean over columns; first,
        those of the mean displacement.
        """
        y, x = self.y.double().numpy(), self.x.double().numpy()
        functions, (rows, columns) = y[:, : self.rows.start + len(PATH)].copy(), self.pairs
        functions[:, 1:] -= functions[:, 1:].mean(axis=0)
        return functions, np.linalg.pinv(functions) @ (y[:, rows] * x.mean(axis=0)[columns])

    def tissue_shapes(self) -> tuple[np.ndarray, np.ndarray]:
        """Covariances of one component's unknowns, whose mixtures describe a tissue's displacement.

        One (k, k) whose correlation is Gaussian over twice TISSUE; and variances (SPECTRUM, k) of uncorrelated
        unknowns, for functions of long waves only, down to shorter and shorter ones, so that the mixture can
        fall off in any way.
        """
        functions = self.y[:, self.rows.stop :], self.x[:, 1:]
        factors = [factors_of(f, 2 * TISSUE / STRIDE) for f in functions]
        y, x = (functions - first for functions, first in zip(self.pairs, (self.rows.stop, 1), strict=True))
        half_waves = torch.hypot((y + 1) / self.grid[0], (x + 1) / self.grid[1])[y >= 0].log().numpy()
        edges, step = np.linspace(half_waves.min(), half_waves.max(), SPECTRUM, retstep=True)
        return np.kron(*factors), (1 - (half_waves - edges[:, None]) / step).clip(0, 1)

    def wide_rows(self) -> dict[str, np.ndarray]:
        """Variances (2 m,) of uncorrelated unknowns for row motion that is correlated over twice ROWS.

        For either component, as in `rows_y` of `kinds`; alike, these unknowns make it correlated over ROWS.
        """
        kinds, first = self.kinds(), self.rows.start + len(PATH)
        shares = factors_of(self.y[:, first : self.rows.stop], 2 * ROWS / STRIDE).diagonal()
        found = {letter: np.zeros(2 * len(self.pairs[0])) for letter in "yx"}
        for letter, variances in found.items():
            variances[kinds[f"rows_{letter}"]] = shares
        return {f"wide_rows_{letter}": variances for letter, variances in found.items()}

    def products(self, weights: np.ndarray) -> np.ndarray:
        """(m, m) products of functions with one another, summed over the grid with weights (h, w)."""
        lines, y, x = self._parts()
        between = lines.T @ (y[:, :, None] * (weights @ x)[:, None]).reshape(len(y), -1)
        rows, columns = _squares(y), _squares(x)
        tissue = (rows.T @ weights @ columns).reshape(*[y.shape[1]] * 2, *[x.shape[1]] * 2)
        tissue = tissue.swapaxes(1, 2).reshape(between.shape[1], -1)
        return np.block([[lines.T @ (weights.sum(axis=1)[:, None] * lines), between], [between.T, tissue]])

    def variance(self, covariance: np.ndarray) -> np.ndarray:
        """(h, w) of one component of displacement, whose unknowns have a covariance (m, m)."""
        lines, y, x = self._parts()
        first, rows, columns = self.rows.stop, _squares(y), _squares(x)
        between = (lines @ covariance[:first, first:]).reshape(*y.shape, -1)  # (h, functions of y, of x)
        between = np.einsum("ia,iab->ib", y, between) @ x.T
        tissue = covariance[first:, first:].reshape(2 * (y.shape[1], x.shape[1])).swapaxes(1, 2)
        tissue = rows @ tissue.reshape(rows.shape[1], -1) @ columns.T
        lines = np.einsum("ia,ia->i", lines @ covariance[:first, :first], lines)
        return lines[:, None] + 2 * between + tissue

    def _parts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Functions of the row alone (h, k); of y (h, a) and of x (w, b), whose products are the tissue's."""
        y, x = self.y.double().numpy(), self.x.double().numpy()
        return y[:, : self.rows.stop], y[:, self.rows.stop :], x[:, 1:]

    def kinds(self) -> dict[str, np.ndarray]:
        """Indicators (2 m,) of the unknowns of each kind: shift, tissue, and for either component, as in
        `rows_y`, rows and the degrees of the path."""
        first = self.rows.start + len(PATH)
        columns = {"rows": slice(first, self.rows.stop)}
        columns |= {name: self.rows.start + degree for degree, name in enumerate(PATH)}

        def kind(components: int | slice, which: int | slice) -> np.ndarray:
            indicator = np.zeros((2, len(self.pairs[0])), bool)
            indicator[components, which] = True
            return indicator.ravel()

        kinds = {"shift": kind(slice(None), 0), "tissue": kind(slice(None), slice(self.rows.stop, None))}
        return kinds | {
            f"{name}_{letter}": kind(component, which)
            for name, which in columns.items()
            for component, letter in enumerate("yx")
        }

    def displacement(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Unknowns (..., 2 m) -> shift (..., 2), rows (..., 2, h), tissue's displacement (..., 2, h, w), all
        float32 px."""
        values, first = values.astype(np.float32).reshape(*values.shape[:-1], 2, -1), self.rows.stop
        y, x = self.y.numpy(), self.x.numpy()
        sizes = values[..., first:].reshape(*values.shape[:-1], y.shape[1] - first, x.shape[1] - 1)
        tissue = y[:, first:] @ sizes @ x[:, 1:].T
        return values[..., 0], values[..., self.rows] @ y[:, self.rows].T, tissue

    def total(self, values: np.ndarray) -> np.ndarray:
        """The same, all of it added: (..., 2, h, w)."""
        shift, rows, tissue = self.displacement(values)
        return shift[..., None, None] + rows[..., None] + tissue

    def factors(self, displacement: np.ndarray) -> np.ndarray:
        """The tissue's unknowns (n, 2 m) of displacements (n, 2, h, w): least squares."""
        _, y, x = self._parts()
        unknowns = np.zeros((len(displacement), 2, len(self.pairs[0])))
        found = np.linalg.pinv(y) @ displacement @ np.linalg.pinv(x).T
        unknowns[:, :, self.rows.stop :] = found.reshape(len(found), 2, -1)
        return unknowns.reshape(len(found), -1)


def _squares(functions: np.ndarray) -> np.ndarray:
    """Products of functions (n, k) with one another: (n, k k)."""
    return (functions[:, :, None] * functions[:, None]).reshape(len(functions), -1)


def factors_of(functions: Tensor, length: float) -> np.ndarray:
    """(k, k) covariance of the factors with which functions (size, k) add up to random ones, correlated so."""
    inverse = torch.linalg.pinv(functions.double()).numpy()
    return inverse @ gaussian_window(len(functions), length) @ inverse.T


def smooth_functions(size: int, length: float) -> Tensor:
    """(size, k): with independent factors of unit variance they add up to a random function of unit variance
    whose correlation falls off as a Gaussian of this length (Karhunen-Loeve), but for LOST of its variance.

    More is lost of large frames: what is scanned finely moves smoothly from pixel to pixel, and the time that
    it takes to solve for all functions grows with the sixth power of their number along an axis.
    """
    values, functions = np.linalg.eigh(gaussian_window(size, length))
    values, functions = values[::-1], functions[:, ::-1]
    count = int(np.searchsorted(np.cumsum(values), (1 - LOST * size) * values.sum())) + 1
    return torch.from_numpy(functions[:, :count] * np.sqrt(values[:count])).float()


def eigen(matrix: np.ndarray, device: torch.device = CPU) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues (k,) of a symmetric matrix (k, k), ascending, and eigenvectors: its columns.

    If it is large, a CUDA device finds them faster.
    """
    if device.type != "cuda" or len(matrix) < LARGE:
        return np.linalg.eigh(matrix)
    values, vectors = torch.linalg.eigh(torch.from_numpy(matrix).to(device))
    return values.cpu().numpy(), vectors.cpu().numpy()


def root(covariance: np.ndarray, device: torch.device = CPU) -> np.ndarray:
    """A matrix whose product with its transpose is `covariance`, which need not be of full rank."""
    values, vectors = eigen(covariance, device)
    return vectors * np.sqrt(values.clip(0))


def times_both(matrix: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """`matrix` (j, k) times both components, the halves of columns (2 k, n): (2 j, n)."""
    return (matrix @ columns.reshape(2, matrix.shape[1], -1)).reshape(2 * len(matrix), -1)


def matrix_of_combinations(functions: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """A symmetric `matrix` (2 k, 2 k) for combinations (k, j) of either component's unknowns: (2 j, 2 j)."""
    return times_both(functions.T, times_both(functions.T, matrix).T)


def times_each(rows: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """`row @ matrix` for each of `rows` (n, j), each for itself: else rounding would depend on their number."""
    return np.matmul(rows[:, None], matrix)[:, 0]


def sandwich(left: Tensor, values: Tensor, right: Tensor) -> Tensor:
    """`left @ v @ right` for each matrix v of `values` (..., h, w).

    Each for itself: a product of all at once would be rounded by how many there are.
    """
    each = values.reshape(-1, *values.shape[-2:])
    left, right = (matrix.expand(len(each), -1, -1) for matrix in (left, right))
    found = torch.bmm(torch.bmm(left, each), right)
    return found.view(*values.shape[:-2], *found.shape[1:])
