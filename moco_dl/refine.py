"""One Gauss-Newton step on the network's field, at the full resolution of the frames.

The registered frame differs from the reference by noise, by activity, and by what displacement is left. The
last is read off the reference's gradients (Lucas and Kanade, IJCAI 1981), for the whole field at once: as the
most probable sum of smooth functions, given their expected sizes. There are three kinds: a shift of the whole
frame; functions of the row, for tissue that moves while a scanner takes row after row; smooth functions of both
coordinates. How large each kind is expected to be, and how strong the noise is, is measured on the movie.
"""

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import nnls
from torch import Tensor

from moco_dl.network import STRIDE
from moco_dl.warp import inside, upsample, warp

TISSUE = 30.0  # px, length over which the tissue's displacement is correlated
ROWS = 10.0  # px, the same for what differs from row to row
KEPT = 0.995  # share of the variance of smooth functions that their basis holds
BACKGROUND = 8.0  # px, sigma of the local mean that is removed: neuropil and bleaching are not motion
SHIFT = 0.3  # px, least size that the whole frame's shift is allowed: it is well determined anyway
GAIN_PRIOR = 0.5  # expected departure of a frame's brightness from the reference's


class Refiner:
    """Refines fields against one reference; all that does not depend on the frame is computed once."""

    def __init__(self, reference: Tensor, variance: Tensor):
        """`reference` (H, W) float32; `variance` (H, W) of registered frames about it, same units squared.

        The variance holds photon noise and activity alike, so that pixels which flash weigh little.
        """
        self.reference, self.weight = reference, 1 / variance
        self.grid = tuple(-(-size // STRIDE) for size in reference.shape)
        self.background = [_smoother(n, BACKGROUND / STRIDE).to(reference) for n in self.grid]
        self.gradient = _without_stripes(torch.stack(torch.gradient(reference)), self.weight)
        gy, gx = self.gradient
        self._choose_basis()
        gy, gx = gy.double(), gx.double()
        self.matrix = self._normal_matrix(torch.stack((gy * gy, gy * gx, gx * gx)))
        self.expected = [1.0, 0.1, 0.1, 0.0, 0.0]  # noise, then squared px: shift, tissue, rows in y, rows in x

    def _choose_basis(self) -> None:
        """Functions of y and of x, and which products of them the field is made of."""
        smooth = [_smooth_functions(n, TISSUE / STRIDE).to(self.reference) for n in self.grid]
        rows = _smooth_functions(self.grid[0], ROWS / STRIDE).to(self.reference)
        one = [torch.ones(n, 1).to(self.reference) for n in self.grid]
        self.y, self.x = torch.cat((one[0], rows, smooth[0]), dim=1), torch.cat((one[1], smooth[1]), dim=1)
        first = 1 + rows.shape[1]
        tissue = torch.cartesian_prod(torch.arange(first, self.y.shape[1]), torch.arange(1, self.x.shape[1]))
        pairs = torch.cat((torch.tensor([[r, 0] for r in range(first)]), tissue))
        self.pairs = tuple(pairs.T.to(self.reference.device))
        self.unknowns = (slice(None), *self.pairs)
        self.rows = slice(1, first)

    def _normal_matrix(self, products: Tensor) -> Tensor:
        """Products of gradients (3, H, W) -> (2 m, 2 m) float64; unknowns of dy, then those of dx."""
        (i, j), y, x = self.pairs, self.y.double(), self.x.double()
        # In float64 throughout: rounding in float32 can make the matrix indefinite.
        sums = STRIDE**2 * self._coarse(self.weight.double() * products)
        blocks = [torch.einsum("ha,hb,hw,wc,wd->abcd", y, y, cells, x, x) for cells in sums]
        yy, yx, xx = (block[i[:, None], i, j[:, None], j] for block in blocks)
        return torch.cat((torch.cat((yy, yx), dim=1), torch.cat((yx, xx), dim=1)))

    def equations(self, frame: Tensor, field: Tensor) -> Tensor:
        """Right-hand side (2 m,) of the normal equations: frame (H, W) moved by `field` (2, H, W)."""
        moved = warp(frame[None, None], field[None])[0, 0]
        known = inside(field[None])[0] & torch.isfinite(moved)
        weight = torch.where(known, self.weight, 0.0)
        moved, fixed = self._without_background(torch.where(known, moved, 0.0), self.reference, weight)
        gain = ((weight * fixed * moved).sum() + GAIN_PRIOR**-2) / (
            (weight * fixed.square()).sum() + GAIN_PRIOR**-2
        )
        sums = STRIDE**2 * self._coarse(weight * (fixed - moved / gain) * self.gradient)
        return (self.y.T @ sums @ self.x)[self.unknowns].flatten().double()

    def with_rows(self, equations: Tensor, rows: Tensor) -> Tensor:
        """Equations whose unknowns for rows are the whole of them, not what to add to `rows` (2, h)."""
        functions = self.y[:, self.rows].contiguous()  # orthogonal
        have = torch.zeros(2, len(self.pairs[0]), dtype=torch.float64, device=rows.device)
        have[:, self.rows] = (rows @ functions / functions.square().sum(dim=0)).double()
        return equations + self.matrix @ have.flatten()

    def calibrate(self, equations: Tensor, averaged: float = 1.0) -> None:
        """Estimate noise and expected sizes from the equations (n, 2 m) of frames, by their second moments.

        The square of each right-hand side has mean `noise * diag(A) + A^2 sizes`; non-negative least squares,
        weighted by the precision that these values themselves imply. `averaged` is the number of frames over
        which the tissue's displacement is going to be averaged: its noise then matters less.
        """
        squares = equations.square().mean(dim=0).cpu().numpy()
        matrix = self.matrix.cpu().numpy()
        model = np.stack((matrix.diagonal(), *(np.square(matrix) @ kind for kind in self._kinds())), axis=1)
        fit = np.maximum(squares, 1e-12 * squares.max() + 1e-30)
        for _ in range(8):
            self.expected = nnls(model / fit[:, None], squares / fit)[0].tolist()
            fit = np.maximum(model @ self.expected, 1e-6 * fit)
        self.factor = self._factorised(averaged)

    def _kinds(self) -> list[np.ndarray]:
        """Indicators (2 m,) of the unknowns of each kind: shift, tissue, rows in y, rows in x."""
        kinds = np.zeros((4, 2, len(self.pairs[0])))
        kinds[0, :, 0] = 1
        kinds[1, :, self.rows.stop :] = 1
        kinds[2, 0, self.rows] = 1
        kinds[3, 1, self.rows] = 1
        return list(kinds.reshape(4, -1))

    def _factorised(self, averaged: float) -> Tensor:
        noise, shift, tissue, *rows = self.expected
        variances = (max(shift, SHIFT**2), averaged * tissue, *rows)
        size = sum(max(v, 1e-8) * kind for v, kind in zip(variances, self._kinds(), strict=True))
        damping = torch.from_numpy(max(noise, 0.1) / size).to(self.matrix)
        damping = damping + 1e-9 * self.matrix.diagonal().max()
        return torch.linalg.cholesky(self.matrix + torch.diag(damping))

    def solve(self, equations: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(2 m,) equations -> most probable shift (2,), rows (2, h), tissue's displacement (2, h, w), px."""
        values = torch.cholesky_solve(equations[:, None], self.factor)[:, 0].float().unflatten(0, (2, -1))
        sizes = torch.zeros(2, self.y.shape[1], self.x.shape[1]).to(values)
        sizes[self.unknowns] = values
        tissue = self.y[:, self.rows.stop :] @ sizes[:, self.rows.stop :, 1:] @ self.x[:, 1:].T
        return values[:, 0], values[:, self.rows] @ self.y[:, self.rows].T, tissue

    def _without_background(self, moved: Tensor, fixed: Tensor, weight: Tensor) -> Tensor:
        """Images (H, W) less their weighted local mean and less each row's mean, (2, H, W)."""
        images = torch.stack((moved, fixed))
        rows, columns = self.background
        sums = rows @ self._coarse(torch.cat((images * weight, weight[None]))) @ columns.T
        local = upsample((sums[:2] / sums[2:].clamp_min(1e-30))[None], STRIDE, moved.shape)[0]
        return _without_stripes(images - local, weight)

    def _coarse(self, images: Tensor) -> Tensor:
        """Images (n, H, W) -> means over the cells of the coarse grid (n, h, w); outside counts as zero."""
        pad = [n * STRIDE - size for n, size in zip(self.grid, self.reference.shape, strict=True)]
        return F.avg_pool2d(F.pad(images[None], (0, pad[1], 0, pad[0])), STRIDE)[0]


def _without_stripes(images: Tensor, weight: Tensor) -> Tensor:
    """Images (n, H, W) less the mean of each row: stripes of a humming detector do not tell of motion."""
    means = (images * weight).sum(dim=-1, keepdim=True) / weight.sum(dim=-1, keepdim=True).clamp_min(1e-30)
    return images - means


def _smoother(size: int, sigma: float) -> Tensor:
    """(size, size) weights of a Gaussian window around each point."""
    position = torch.arange(size, dtype=torch.float32)
    return torch.exp(-0.5 * ((position[:, None] - position) / sigma).square())


def _smooth_functions(size: int, length: float) -> Tensor:
    """(size, k): with independent factors of unit variance they add up to a random function of unit variance
    whose correlation falls off as a Gaussian of this length (Karhunen-Loeve)."""
    values, functions = np.linalg.eigh(_smoother(size, length).double().numpy())
    values, functions = values[::-1], functions[:, ::-1]
    count = int(np.searchsorted(np.cumsum(values), KEPT * values.sum())) + 1
    return torch.from_numpy(functions[:, :count] * np.sqrt(values[:count])).float()
