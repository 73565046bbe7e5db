"""One Gauss-Newton step on the network's field, at the full resolution of the frames.

The registered frame differs from the reference by noise, by activity, and by what displacement is left. The
last is read off the reference's gradients by weighted least squares over a Gaussian window (Lucas and Kanade,
IJCAI 1981), damped by a prior on its size.
"""

from math import pi

import torch
import torch.nn.functional as F
from torch import Tensor

from moco_dl.network import STRIDE
from moco_dl.warp import inside, upsample, warp

WINDOW = 16.0  # px, sigma of the window over which one displacement is estimated
BACKGROUND = 8.0  # px, sigma of the local mean that is removed: neuropil and bleaching are not motion
PRIOR = 0.3  # px, expected size of what the network left over


class GaussNewton:
    """Refines fields against one reference; gradients and normal matrices are computed once."""

    def __init__(self, reference: Tensor, variance: Tensor):
        """`reference` (H, W) float32; `variance` (H, W) of registered frames about it, same units squared.

        The variance holds photon noise and activity alike, so that pixels which flash weigh little.
        """
        self.size = reference.shape
        self.grid = tuple(-(-size // STRIDE) for size in self.size)
        self.window = [_smoother(n, WINDOW / STRIDE).to(reference) for n in self.grid]
        self.background = [_smoother(n, BACKGROUND / STRIDE).to(reference) for n in self.grid]
        self.weight = 1 / variance
        self.gradient = torch.stack(torch.gradient(reference))  # (2, H, W)
        self.reference = self._without_background(reference)
        self.norm = (self.weight * self.reference.square()).sum()
        gy, gx = self.gradient
        self.matrix = self._pooled(self.weight * torch.stack((gy * gy, gy * gx, gx * gx)))  # (3, h, w)
        self.damping = 1 / (4 * pi * WINDOW**2 * PRIOR**2)

    def step(self, frame: Tensor, field: Tensor) -> Tensor:
        """What to add to the coarse field (2, h, w): frame (H, W) moved by `field` (2, H, W)."""
        moved = warp(frame[None, None], field[None])[0, 0]
        known = inside(field[None])[0] & torch.isfinite(moved)
        moved = torch.where(known, moved, self.reference.mean())
        moved = self._without_background(moved)
        gain = (self.weight * self.reference * moved).sum() / self.norm
        residual = torch.where(known, gain * self.reference - moved, 0.0)
        force = gain * self._pooled(self.weight * residual * self.gradient)  # (2, h, w)
        a, b, c = gain.square() * self.matrix
        a, c = a + self.damping, c + self.damping
        y, x = force
        return torch.stack((c * y - b * x, a * x - b * y)) / (a * c - b * b)

    def _coarse(self, images: Tensor) -> Tensor:
        """Images (n, H, W) -> means over the cells of the coarse grid (n, h, w), cut cells included."""
        pad = [n * STRIDE - size for n, size in zip(self.grid, self.size, strict=True)]
        return F.avg_pool2d(F.pad(images[None], (0, pad[1], 0, pad[0])), STRIDE)[0]

    def _pooled(self, images: Tensor) -> Tensor:
        rows, columns = self.window
        return rows @ self._coarse(images) @ columns.T

    def _without_background(self, image: Tensor) -> Tensor:
        rows, columns = self.background
        sums = rows @ self._coarse(torch.stack((image * self.weight, self.weight))) @ columns.T
        return image - upsample((sums[:1] / sums[1:])[None], STRIDE, self.size)[0, 0]


def _smoother(size: int, sigma: float) -> Tensor:
    """(size, size) Gaussian weights whose rows sum to one."""
    position = torch.arange(size, dtype=torch.float32)
    weights = torch.exp(-0.5 * ((position[:, None] - position) / sigma).square())
    return weights / weights.sum(dim=1, keepdim=True)
