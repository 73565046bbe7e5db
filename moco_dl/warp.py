"""The flow algebra, and the only grid_sample.

A flow is `(B, 2, H, W)` float32 in pixels, backward (pull), component order (dy, dx):

    corrected[y, x] = frame[y + dy, x + dx]

Pixel centres sit on integers (`align_corners=True`). A coarse flow of stride s has its samples at
`(i + 0.5) * s - 0.5` pixels and its values are pixels of the full frame.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def warp(images: Tensor, flow: Tensor, *, mode: str = "bilinear", padding: str = "border") -> Tensor:
    """Pull `images` (B, C, H, W) through `flow` (B, 2, H, W); returns (B, C, H, W).

    `mode` is bilinear or bicubic. `padding` says what lies outside the image: "border" repeats the
    nearest edge pixel, "zeros" is black. Differentiable in both arguments (for bicubic as well).
    """
    # grid_sample wants (x, y) in [-1, 1]; this is the only place that knows.
    grid = torch.stack((_unit(flow[:, 1], -1), _unit(flow[:, 0], -2)), dim=-1)  # (B, H, W, 2)
    return F.grid_sample(images, grid, mode=mode, padding_mode=padding, align_corners=True)


def _unit(displacement: Tensor, dim: int) -> Tensor:
    """Where displacements (B, H, W) along `dim` lead to, from -1 to 1."""
    size = displacement.shape[dim]
    if size == 1:
        return torch.zeros_like(displacement)
    place = torch.arange(size, dtype=displacement.dtype, device=displacement.device) * (2.0 / (size - 1)) - 1.0
    return torch.add(place if dim == -1 else place[:, None], displacement, alpha=2.0 / (size - 1))


def inside(flow: Tensor) -> Tensor:
    """True where the frame holds data for the reference's pixel; flow (B, 2, H, W) -> bool (B, H, W)."""
    height, width = flow.shape[-2:]
    y = torch.arange(height, dtype=flow.dtype, device=flow.device)[:, None] + flow[:, 0]
    x = torch.arange(width, dtype=flow.dtype, device=flow.device) + flow[:, 1]
    return (y >= 0) & (y <= height - 1) & (x >= 0) & (x <= width - 1)


def upsample(flow: Tensor, stride: int, size: tuple[int, int]) -> Tensor:
    """Coarse flow (B, 2, h, w) at `stride` -> (B, 2, H, W) for a frame of `size` = (H, W), bilinear.

    The coarse grid may overhang the frame at the bottom and right; the overhang is cut off.
    """
    full = F.interpolate(flow, scale_factor=stride, mode="bilinear", align_corners=False)
    return full[..., : size[0], : size[1]]


def invert(flow: Tensor, *, iterations: int = 12) -> Tensor:
    """The field g with `g(x) = -flow(x + g(x))`, by fixed-point iteration; flow (B, 2, H, W), smooth."""
    inverse = -flow
    for _ in range(iterations):
        inverse = -warp(flow, inverse)
    return inverse


def shift_whole(images: Tensor, shift: Tensor) -> Tensor:
    """Shift by whole pixels: `out[y, x] = image[y + dy, x + dx]`, NaN where that is outside.

    images (B, H, W) float, shift (B, 2) integer (dy, dx).
    """
    shifted = torch.full_like(images, torch.nan)
    height, width = images.shape[-2:]
    for out, image, (dy, dx) in zip(shifted, images, shift.tolist(), strict=True):
        rows = slice(max(0, -dy), max(0, min(height, height - dy)))
        columns = slice(max(0, -dx), max(0, min(width, width - dx)))
        out[rows, columns] = image[max(0, dy) :, max(0, dx) :][
            : rows.stop - rows.start, : columns.stop - columns.start
        ]
    return shifted
