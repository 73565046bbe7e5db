"""Means over blocks of pixels."""

import numpy as np


def block_means(images: np.ndarray, block: tuple[int, int]) -> np.ndarray:
    """Means of `images` (..., H, W) over blocks of (rows, columns), NaN pixels left out.

    Block i covers the pixels i * size to (i + 1) * size; the last one may overhang the image.
    """
    if block == (1, 1):
        return images
    count = np.isfinite(images)
    total = np.where(count, images, 0)
    for axis, size in zip((-2, -1), block, strict=True):
        starts = np.arange(0, images.shape[axis], size)
        count = np.add.reduceat(count, starts, axis=axis, dtype=np.float32)
        total = np.add.reduceat(total, starts, axis=axis, dtype=np.float32)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def shrink(frame: np.ndarray, factor: int) -> np.ndarray:
    """Frame (H, W) averaged over `factor` x `factor` pixels, float32; the rest at the far edges is cut off."""
    height, width = (size // factor for size in frame.shape)
    cut = frame[: height * factor, : width * factor].astype(np.float32)
    # Sums of strided parts are several times faster than a mean over two axes.
    rows = sum(cut[i::factor] for i in range(factor))
    return sum(rows[:, i::factor] for i in range(factor)) * np.float32(factor**-2)
