"""How well two images agree, part by part: what outweighs all else in a part counts no more than that part."""

import numpy as np

PARTS = 8  # along each side


def agreement_of_parts(a: np.ndarray, b: np.ndarray, known: np.ndarray) -> tuple[float, int]:
    """Correlations of parts of two images (H, W), summed over pixels `known` (H, W); and how many these are."""
    a, b = (np.where(known, image, 0) for image in (a, b))
    count, sum_a, sum_b, aa, bb, ab = (_summed(image) for image in (known, a, b, a * a, b * b, a * b))
    each = np.maximum(count, 1)
    power = (aa - sum_a**2 / each).clip(0) * (bb - sum_b**2 / each).clip(0)
    correlation = (ab - sum_a * sum_b / each) / np.maximum(np.sqrt(power), 1e-12)
    return float((count * correlation.clip(-1, 1)).sum()), int(count.sum())  # a few pixels may be all alike


def _summed(image: np.ndarray) -> np.ndarray:
    """Sums (PARTS, PARTS) of an image (H, W) over each part."""
    for axis, size in enumerate(image.shape):
        starts = np.arange(PARTS) * size // PARTS
        image = np.add.reduceat(image, starts, axis=axis, dtype=np.float64)
    return image
