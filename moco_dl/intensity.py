"""Counts of any detector -> what the network sees."""

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
    clipped = values
    for _ in range(2):
        centre, spread = _moments(clipped, known, count)
        clipped = torch.clamp(clipped, centre - CLIP * spread, centre + CLIP * spread)
    centre, spread = _moments(clipped, known, count)
    scaled = ((values - centre) / spread.clamp_min(1e-6)).clamp(*RANGE)
    return torch.stack((scaled * known, known), dim=1)


def _moments(values: Tensor, known: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (B, 1, 1) of the known values of each image."""
    mean = (values * known).sum((-2, -1), keepdim=True) / count
    square = ((values - mean).square() * known).sum((-2, -1), keepdim=True) / count
    return mean, square.sqrt()
