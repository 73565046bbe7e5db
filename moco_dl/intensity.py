"""Counts of any detector -> what the network sees; and moved ones -> counts."""

import numpy as np
import torch
from torch import Tensor

CLIP = 4.0  # standard deviations kept when the spread is estimated: hot pixels must not set it
RANGE = (-3.0, 8.0)  # what is left after scaling


def network_input(images: Tensor) -> Tensor:
    """Images (B, H, W) float32 in counts -> (B, 2, H, W): standardised intensity and validity.

    Intensity has zero mean and unit standard deviation over the valid pixels (estimated after clipping
    outliers) and is limited to [-3, 8]. Validity is 1 where the count is finite, else 0, and intensity is
    0 there: the same as what convolutions pad with, so that a missing strip looks like the outside.
    """
    valid = torch.isfinite(images)
    known, values = valid.to(images.dtype), torch.where(valid, images, 0.0)
    count = known.sum((-2, -1), keepdim=True).clamp_min(1)
    centre, deviations, spread = _standardised(values, known, count)
    for _ in range(2):
        more, deviations, spread = _standardised(deviations.clamp_(-CLIP * spread, CLIP * spread), known, count)
        centre = centre + more
    scaled = values.sub_(centre).div_(spread.clamp_min(1e-6)).clamp_(*RANGE)
    return torch.stack((scaled.mul_(known), known), dim=1)


def _standardised(values: Tensor, known: Tensor, count: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (B, 1, 1), deviations from it and their standard deviation, of values that are 0 where not known."""
    mean = values.sum((-2, -1), keepdim=True) / count
    deviations = (values - mean).mul_(known)
    return mean, deviations, (deviations.square().sum((-2, -1), keepdim=True) / count).sqrt()


def counts(values: Tensor, dtype: np.dtype) -> Tensor:
    """`values` as they are stored as `dtype`: clipped, and of integers rounded, 0 for NaN.

    So they never wrap, and none becomes infinite. 32-bit integers need float64 values: float32 cannot hold
    their limits.
    """
    if dtype.kind == "f":
        most = float(np.finfo(dtype).max)
        if most >= torch.finfo(values.dtype).max:
            return values
        return torch.where(torch.isfinite(values), values.clamp(-most, most), values)
    limits = np.iinfo(dtype)
    return values.nan_to_num(0.0).round_().clamp_(limits.min, limits.max)


def clipped(frames: np.ndarray, dtype: np.dtype) -> int:
    """How many values of `frames` (n, H, W) `counts` clips as they are beyond the range of `dtype`."""
    low, high = _limits(dtype)
    least, most = _limits(frames.dtype)
    if low <= least and most <= high:
        return 0
    exactly = "dd->?"  # as float64: shorter types cannot hold all limits
    beyond = np.less(frames, low, signature=exactly) | np.greater(frames, high, signature=exactly)
    return int(np.count_nonzero(beyond & np.isfinite(frames) if dtype.kind == "f" else beyond))


def _limits(dtype: np.dtype) -> tuple[float, float]:
    if dtype.kind == "f":
        return float(np.finfo(dtype).min), float(np.finfo(dtype).max)
    return np.iinfo(dtype).min, np.iinfo(dtype).max
