"""Means over blocks of pixels."""

import numpy as np

THUMBNAIL = 64  # pixels a side at least, if frames have as many


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


def shrink(frame: np.ndarray, block: tuple[int, int]) -> np.ndarray:
    """Frame (H, W) averaged over blocks of (rows, columns), float32; the rest at the far edges is cut off."""
    height, width = (size // by for size, by in zip(frame.shape, block, strict=True))
    with np.errstate(over="ignore"):  # of float64, which may be far beyond float32
        cut = frame[: height * block[0], : width * block[1]].astype(np.float32)
    # Sums of strided parts are several times faster than a mean over two axes.
    rows = sum(cut[i :: block[0]] for i in range(block[0]))
    return sum(rows[:, i :: block[1]] for i in range(block[1])) * np.float32(1 / (block[0] * block[1]))


def binned(frames: np.ndarray, factor: int) -> np.ndarray:
    """Frames (n, H, W) averaged over `factor` x `factor` pixels, float32; where one is not finite, none is.

    What is missing at the far edges repeats the last pixel.
    """
    height, width = (-(-size // factor) for size in frames.shape[1:])
    if factor == 1:
        return frames.astype(np.float32)
    small = np.empty((len(frames), height, width), np.float32)
    pad = [(0, n * factor - size) for n, size in zip((height, width), frames.shape[1:], strict=True)]
    for image, frame in zip(small, frames, strict=True):
        whole = np.pad(frame, pad, mode="edge") if any(map(any, pad)) else frame
        image[...] = shrink(whole, (factor, factor))
    return small


def repeated(image: np.ndarray, factor: int, size: tuple[int, int]) -> np.ndarray:
    """Image (h, w) of what was `binned` -> (H, W), that of the frames, of this size."""
    return image.repeat(factor, 0).repeat(factor, 1)[: size[0], : size[1]]


def thumbnails(frames: np.ndarray) -> np.ndarray:
    """Frames averaged down to about 64 pixels a side, float32; what has no data is as bright as what has."""
    block = tuple(max(1, size // THUMBNAIL) for size in frames.shape[1:])
    found = []
    for frame in frames:
        known = np.isfinite(frame)
        if not known.all():
            frame = np.where(known, frame, frame[known].mean() if known.any() else 0)
        found.append(shrink(frame, block))
    return np.stack(found)
