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
    return torch.stack([_standardise(image) for image in images])  # one by one: no dependence on the batch


def _standardise(image: Tensor) -> Tensor:
    valid = torch.isfinite(image)
    values = image if bool(valid.all()) else image[valid]
    if values.numel() == 0:
        return torch.zeros(2, *image.shape, device=image.device)
    for _ in range(2):
        centre, spread = values.mean(), values.std(correction=0)
        values = values.clamp(centre - CLIP * spread, centre + CLIP * spread)
    scaled = (image - values.mean()) / values.std(correction=0).clamp_min(1e-6)
    scaled = torch.where(valid, scaled.clamp(*RANGE), 0.0)
    return torch.stack((scaled, valid.to(scaled.dtype)))
