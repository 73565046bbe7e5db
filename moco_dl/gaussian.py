"""Gaussian windows, and means of what lies within them."""

import numpy as np

NEGLIGIBLE = 1e-7  # of a window's height


def gaussian_window(size: int, length: float) -> np.ndarray:
    """(size, size) Gaussian window, of a sigma of `length`, around each point."""
    position = np.arange(size)
    return np.exp(-0.5 * ((position[:, None] - position) / length) ** 2)


def cut_window(size: int, length: float) -> np.ndarray:
    """The same, zero where it is next to nothing: products with such numbers would be slow."""
    return np.where((window := gaussian_window(size, length)) < NEGLIGIBLE, 0.0, window)


def means_around(values: np.ndarray, known: np.ndarray, lengths: tuple[float, float]) -> np.ndarray:
    """Means of values (n, h, w), zero where not `known` (h, w) bool, within windows of `lengths` in y and x."""
    near_y, near_x = map(gaussian_window, known.shape, lengths)
    return near_y @ values @ near_x / np.maximum(near_y @ known @ near_x, 1e-30)
