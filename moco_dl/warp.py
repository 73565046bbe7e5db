"""The flow algebra, and the only grid_sample.

A flow is `(B, 2, H, W)` float32 in pixels, backward (pull), component order (dy, dx):

    corrected[y, x] = frame[y + dy, x + dx]

Pixel centres sit on integers (`align_corners=True`). A coarse flow of stride s has its samples at
`(i + 0.5) * s - 0.5` pixels and its values are pixels of the full frame.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

ROUNDING = 1e-6  # of places that are on the edge


def warp(images: Tensor, flow: Tensor, *, mode: str = "bilinear", padding: str = "border") -> Tensor:
    """Pull `images` (B, C, H, W) through `flow` (B, 2, H, W); returns (B, C, H, W).

    `mode` is bilinear or bicubic. `padding` says what lies outside the image: "border" repeats the
    nearest edge pixel, "zeros" is black. Differentiable in both arguments (for bicubic as well).
    """
    return sample(images, places(flow), mode=mode, padding=padding)


def sample(images: Tensor, where: Tensor, *, mode: str = "bilinear", padding: str = "border") -> Tensor:
    """Values (B, C, H, W) of `images` at places (B, H, W, 2), see `places`; otherwise like `warp`."""
    return F.grid_sample(images, where, mode=mode, padding_mode=padding, align_corners=True)


def places(flow: Tensor) -> Tensor:
    """Where `flow` (B, 2, H, W) leads to: (B, H, W, 2), (x, y) from -1 to 1 inside the image.

    This and `places_coarse` are the only ones to know that grid_sample wants it so.
    """
    parts = []
    for axis, component in ((-1, flow[:, 1]), (-2, flow[:, 0])):
        size = component.shape[axis]
        place = _unit(_count(size, flow), size)
        place = place if axis == -1 else place[:, None]
        parts.append(torch.add(place, component, alpha=_scale(size)))
    return torch.stack(parts, dim=-1)


def places_coarse(flow: Tensor, stride: int, size: tuple[int, int]) -> Tensor:
    """`places` (B, H, W, 2) of a coarse flow (B, 2, h, w) of this stride, for frames of `size` (H, W)."""
    height, width = size
    scales = flow.new_tensor([_scale(width), _scale(height)])
    flow = F.pad(flow.flip(1) * scales[:, None, None], (1, 1, 1, 1), mode="replicate")
    wide = between(flow, stride, -1, -1).flatten(-2)[..., :width]
    # The pixels' own places are linear, too, and may be added before.
    wide[:, 0] += _unit(_count(width, flow), width)
    rows = _count(wide.shape[2], flow) - 1
    wide[:, 1] += _unit(rows * stride + (stride - 1) / 2, height)[:, None]
    return between(wide, stride, -2, -2).flatten(-3, -2)[..., :height, :].permute(0, 2, 3, 1)


def between(values: Tensor, count: int, axis: int, into: int) -> Tensor:
    """`count` values for each one along `axis`, linear in between; the first and the last are not kept.

    They get an axis of their own, number `into` of the result. Axes count from the last, -1.
    """
    shape = list(values.shape)
    shape[axis] -= 2
    shape.insert(len(shape) + into + 1, count)
    dense = values.new_empty(shape)
    for place in range(count):
        nth_between(values, place, count, axis, out=dense.select(into, place))
    return dense


def nth_between(values: Tensor, place: int, count: int, axis: int, out: Tensor | None = None) -> Tensor:
    """One of the `count` values that `between` finds for each."""
    offset, size = (place + 0.5) / count - 0.5, values.shape[axis] - 2
    neighbour = values.narrow(axis, 0 if offset < 0 else 2, size)
    return torch.lerp(values.narrow(axis, 1, size), neighbour, abs(offset), out=out)


def _scale(size: int) -> float:
    return 2.0 / (size - 1) if size > 1 else 0.0


def _count(size: int, like: Tensor) -> Tensor:
    return torch.arange(size, dtype=like.dtype, device=like.device)


def _unit(place: Tensor, size: int) -> Tensor:
    """Places of pixels along a side of this size, from -1 to 1."""
    return place * _scale(size) - 1.0 if size > 1 else torch.zeros_like(place)


def inside(where: Tensor) -> Tensor:
    """True where places (B, H, W, 2) are inside the image, which then holds data: bool (B, H, W)."""
    return torch.maximum(where[..., 0].abs(), where[..., 1].abs()) <= 1.0 + ROUNDING


def blank_outside(images: Tensor, where: Tensor, reach: int, value: float) -> Tensor:
    """Images (B, H, W), in place, with `value` where places (B, H, W, 2) are outside.

    No place is more than `reach` px away from its pixel: all others need not be looked at.
    """
    near, far = slice(0, reach), slice(-reach, None)
    for strip in ((..., near, slice(None)), (..., far, slice(None)), (..., near), (..., far)) if reach else ():
        images[strip].masked_fill_(~inside(where[(*strip, slice(None))]), value)
    return images


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
