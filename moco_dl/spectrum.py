"""Spatial frequencies of images."""

import numpy as np

MARGIN = 16  # px of mirror image around an image, so that its edges do not show in its spectrum


def frequency(size: tuple[int, int]) -> np.ndarray:
    """(H, W // 2 + 1) cycles/px."""
    return np.hypot(np.fft.fftfreq(size[0])[:, None], np.fft.rfftfreq(size[1]))


def shared_power(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Power that two spectra (h, w) share, and what either has in the mean."""
    return (first * second.conj()).real, (np.abs(first) ** 2 + np.abs(second) ** 2) / 2


def padded(size: tuple[int, int]) -> tuple[int, int]:
    """That of `mirrored` images of a size (H, W)."""
    return size[0] + 2 * MARGIN, size[1] + 2 * MARGIN


def mirrored(image: np.ndarray) -> np.ndarray:
    """Image (H, W) with a margin that goes on as its mirror image."""
    return np.pad(image, MARGIN, mode="symmetric")


def filtered(image: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """Image (H, W) whose spatial frequencies, once it is `mirrored`, are multiplied by `gain`."""
    spectrum = np.fft.rfft2(mirrored(image))
    spectrum *= gain
    return np.fft.irfft2(spectrum, s=padded(image.shape))[MARGIN:-MARGIN, MARGIN:-MARGIN]
