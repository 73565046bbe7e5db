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
GAIN_PRIOR = 0.5  # expected departure of a frame's brightness from the reference's


class GaussNewton:
    """Refines fields against one reference; its gradients are computed once."""

    def __init__(self, reference: Tensor, variance: Tensor):
        """`reference` (H, W) float32; `variance` (H, W) of registered frames about it, same units squared.

        The variance holds photon noise and activity alike, so that pixels which flash weigh little.
        """
        self.size = reference.shape
        self.grid = tuple(-(-size // STRIDE) for size in self.size)
        self.window = [_smoother(n, WINDOW / STRIDE).to(reference) for n in self.grid]
        self.background = [_smoother(n, BACKGROUND / STRIDE).to(reference) for n in self.grid]
        self.reference, self.weight = reference, 1 / variance
        gy, gx = torch.gradient(reference)
        self.gradient = torch.stack((gy, gx))
        self.products = torch.stack((gy * gy, gy * gx, gx * gx))  # (3, H, W)

    def step(self, frame: Tensor, field: Tensor) -> Tensor:
        """What to add to the coarse field (2, h, w): frame (H, W) moved by `field` (2, H, W)."""
        moved = warp(frame[None, None], field[None])[0, 0]
        known = inside(field[None])[0] & torch.isfinite(moved)
        weight = torch.where(known, self.weight, 0.0)
        moved, fixed = self._without_background(torch.where(known, moved, 0.0), self.reference, weight)
        gain = ((weight * fixed * moved).sum() + GAIN_PRIOR**-2) / (
            (weight * fixed.square()).sum() + GAIN_PRIOR**-2
        )
        force = gain * self._pooled(weight * (gain * fixed - moved) * self.gradient, self.window)
        a, b, c = gain.square() * self._pooled(weight * self.products, self.window)
        damping = 1 / (4 * pi * WINDOW**2 * PRIOR**2)
        a, c = a + damping, c + damping
        y, x = force
        return torch.stack((c * y - b * x, a * x - b * y)) / (a * c - b * b)

    def _without_background(self, moved: Tensor, fixed: Tensor, weight: Tensor) -> Tensor:
        """Images (H, W) less their weighted local mean, (2, H, W)."""
        images = torch.stack((moved, fixed))
        sums = self._pooled(torch.cat((images * weight, weight[None])), self.background)
        return images - upsample((sums[:2] / sums[2:].clamp_min(1e-30))[None], STRIDE, self.size)[0]

    def _pooled(self, images: Tensor, smoothers: list[Tensor]) -> Tensor:
        """Images (n, H, W) -> weighted means around the points of the coarse grid, (n, h, w)."""
        rows, columns = smoothers
        pad = [n * STRIDE - size for n, size in zip(self.grid, self.size, strict=True)]
        coarse = F.avg_pool2d(F.pad(images[None], (0, pad[1], 0, pad[0])), STRIDE)[0]
        return rows @ coarse @ columns.T


def _smoother(size: int, sigma: float) -> Tensor:
    """(size, size) Gaussian weights; rows sum to one, to less at the edges, where less is known."""
    position = torch.arange(size, dtype=torch.float32)
    weights = torch.exp(-0.5 * ((position[:, None] - position) / sigma).square())
    return weights / ((2 * pi) ** 0.5 * sigma)
