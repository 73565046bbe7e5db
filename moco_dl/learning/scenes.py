"""Synthetic fields of view: what a microscope would see if nothing moved and there were no noise.

A scene is `(1 + groups, H, W)` float32: the resting image (mean 1), then one image per group of cells that
is active together. `layers[0] + (activity[:, None, None] * layers[1:]).sum(0)` is what a frame shows.
Scenes range from textured neuropil with somata to dense honeycombs, and to a few cells on black.
"""

import math
from collections.abc import Mapping

import numpy as np
from scipy.ndimage import gaussian_filter

from moco_dl.errors import NrcorrectError

SHOWN = (0.005, 0.999)  # quantiles of an image that are black and white in a scene
MARGIN = 24  # px of scene around a crop, at least
RESAMPLED = 8  # px, of these, that blur and resampling reach


def draw_scene(shape: tuple[int, int], rng: np.random.Generator, *, groups: int = 4) -> np.ndarray:
    """A random scene, `(1 + groups, H, W)` float32; the same generator state gives the same scene."""
    resting = _neuropil(shape, rng)
    if rng.random() < 0.5:
        resting += _fibres(shape, rng)
    if rng.random() < 0.7:
        resting *= _vessels(shape, rng)
    layers = np.concatenate([resting[None], np.zeros((groups, *shape), np.float32)])
    _add_cells(layers, rng)
    if rng.random() < 0.4:
        layers[0] += 10 ** rng.uniform(-0.7, 0.8) * layers[0].mean()  # light from out of focus: low contrast
    layers *= _vignette(shape, rng)
    layers = gaussian_filter(layers, (0, *[rng.uniform(0.3, 1.6)] * 2))
    return (layers / layers[0].mean()).astype(np.float32)


def image_scene(
    image: np.ndarray, shape: tuple[int, int], rng: np.random.Generator, *, groups: int = 4
) -> np.ndarray:
    """A scene like those of `draw_scene` from a real mean image (H, W): a random piece of it is what rests.

    Its darkest half per cent counts as black; hot pixels are cut off. Images smaller than `shape` go on as in a
    mirror. Cells that are dark at rest are added, so that something is active.
    """
    low, high = np.quantile(image, SHOWN)
    resting = np.clip(image.astype(np.float32) - low, 0, max(high - low, 1e-6))
    missing = [max(0, want - have) for want, have in zip(shape, image.shape, strict=True)]
    resting = np.pad(resting, [(n // 2, n - n // 2) for n in missing], mode="symmetric")
    y, x = (int(rng.integers(0, have - want + 1)) for have, want in zip(resting.shape, shape, strict=True))
    layers = np.zeros((1 + groups, *shape), np.float32)
    _add_cells(layers, rng)
    piece = gaussian_filter(resting[y : y + shape[0], x : x + shape[1]], 0.5)
    layers[0] = piece / max(piece.mean(), 1e-6 * resting.max())
    return layers


def scene_margin(farthest: float) -> int:
    """Pixels of scene around a crop, so that what moves in by `farthest` pixels exists."""
    return max(MARGIN, math.ceil(farthest) + RESAMPLED)


def refuse_far(farthest: float, side: int) -> None:
    """Raise NrcorrectError if tissue moves `farthest` pixels in frames whose shorter side is less."""
    if farthest > side:
        raise NrcorrectError(
            f"got motion of up to {farthest:g} px in frames of {side}; wanted less of it (--amplitude, --rows,"
            " --rigid, --running), or a larger --size"
        )


def some_scene(
    shape: tuple[int, int], rng: np.random.Generator, images: Mapping[str, np.ndarray], groups: int = 4
) -> np.ndarray:
    """A scene (1 + groups, H, W) from one of `images`, or an invented one if there are none."""
    if not images:
        return draw_scene(shape, rng, groups=groups)
    return image_scene(list(images.values())[rng.integers(len(images))], shape, rng, groups=groups)


def expose(image: np.ndarray, read_noise: float, rng: np.random.Generator) -> np.ndarray:
    """Expected photons (H, W) -> detected ones, float32: Poisson plus Gaussian read noise."""
    detected = rng.poisson(np.clip(image, 0, None)) + read_noise * rng.standard_normal(image.shape)
    return detected.astype(np.float32)


def add_stripes(image: np.ndarray, axis: int, rms: float, rng: np.random.Generator) -> None:
    """Add a level of its own to each row (`axis` 0) or column (1) of an image (H, W)."""
    shape = (len(image), 1) if axis == 0 else (1, image.shape[1])
    image += rms * rng.standard_normal(shape, np.float32)


def add_hot_pixels(image: np.ndarray, spread: float, rng: np.random.Generator) -> None:
    """Make some pixels of an image (H, W) brighter than its mean by 5 to 50 times `spread`, its contrast."""
    hot = rng.integers(0, image.size, rng.integers(1, 2 + image.size // 2000))
    image.flat[hot] = image.mean() + rng.uniform(5, 50) * spread


def smooth_noise(shape: tuple[int, int], sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Stationary Gaussian noise, correlated over about `sigma` pixels, unit variance; `shape` float32."""
    rows, columns = (_bumps(size, sigma) for size in shape)
    weights = rng.standard_normal((rows.shape[1], columns.shape[1]), np.float32)
    return rows @ weights @ columns.T


def _bumps(size: int, sigma: float) -> np.ndarray:
    """(size, knots) Gaussians one sigma apart, rows of unit norm."""
    knots = np.arange(-3 * sigma, size + 3 * sigma + 1, sigma)
    bumps = np.exp(-0.5 * ((np.arange(size)[:, None] - knots) / sigma) ** 2).astype(np.float32)
    return bumps / np.linalg.norm(bumps, axis=1, keepdims=True)


def _neuropil(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Log-normal texture over several scales, from rich to almost black."""
    log = sum(rng.uniform(0, 0.35) * smooth_noise(shape, sigma, rng) for sigma in (1.0, 2.0, 4.0, 10.0, 30.0))
    level = 1.0 if rng.random() < 0.7 else 10 ** rng.uniform(-1.5, -0.3)
    return level * np.exp(log)


def _ridges(shape: tuple[int, int], rng: np.random.Generator, spacing: float, width: float) -> np.ndarray:
    """Lines along the zero set of smooth noise: 1 on a line, falling off over `width` pixels."""
    noise = smooth_noise(shape, spacing, rng)
    slope = np.hypot(*np.gradient(noise)) + 0.02 / spacing
    return np.exp(-0.5 * (noise / (slope * width)) ** 2)


def _fibres(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Bright processes that come and go along their length."""
    fibres = np.zeros(shape, np.float32)
    for _ in range(rng.integers(1, 4)):
        ridges = _ridges(shape, rng, rng.uniform(8, 30), rng.uniform(0.6, 1.5))
        gate = 1 / (1 + np.exp(-4 * (smooth_noise(shape, rng.uniform(6, 20), rng) - 0.5)))
        fibres += rng.uniform(0.3, 2.5) * ridges * gate
    return fibres


def _vessels(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Dark vessels as a factor between 0 and 1."""
    factor = np.ones(shape, np.float32)
    for _ in range(rng.integers(1, 3)):
        ridges = _ridges(shape, rng, rng.uniform(25, 70), rng.uniform(1.5, 8))
        factor *= 1 - rng.uniform(0.3, 0.9) * ridges
    return factor


def _vignette(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    if rng.random() < 0.6:
        return np.ones(shape, np.float32)
    centre = [rng.uniform(0.3, 0.7) * size for size in shape]
    y, x = np.ogrid[: shape[0], : shape[1]]
    distance = ((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / (rng.uniform(0.4, 1.0) * max(shape)) ** 2
    return np.exp(-distance).astype(np.float32)


def _add_cells(layers: np.ndarray, rng: np.random.Generator) -> None:
    """Add rings and discs: their resting light to layer 0, what activity adds to one of the others."""
    shape, radius = layers.shape[1:], 10 ** rng.uniform(0.3, 0.95)
    disc_share, contrast = rng.random(), rng.lognormal(0.2, 0.5)
    for y, x in _positions(shape, radius, rng):
        size = radius * rng.uniform(0.8, 1.25)
        window, footprint = _cell(shape, (y, x), size, rng.random() < disc_share, rng)
        layers[0][window] += contrast * rng.lognormal(0, 0.7) * footprint
        if len(layers) > 1:
            group = rng.integers(1, len(layers))
            layers[group][window] += contrast * rng.lognormal(0.4, 0.7) * footprint


def _positions(shape: tuple[int, int], radius: float, rng: np.random.Generator) -> np.ndarray:
    """(n, 2) cell centres: scattered, or packed like a honeycomb."""
    area = shape[0] * shape[1]
    if rng.random() < 0.25:
        pitch = radius * rng.uniform(2.0, 3.0)
        y, x = np.mgrid[0 : shape[0] : pitch, 0 : shape[1] : pitch]
        x = x + 0.5 * pitch * (np.arange(len(x)) % 2)[:, None]
        centres = np.stack([y.ravel(), x.ravel()], axis=1)
        return centres + rng.normal(0, 0.15 * pitch, centres.shape)
    cover = 10 ** rng.uniform(-1.8, -0.3)
    count = int(np.clip(cover * area / (np.pi * radius**2), 3, 400))
    return rng.uniform(0, 1, (count, 2)) * shape


def _cell(
    shape: tuple[int, int], centre: tuple[float, float], radius: float, disc: bool, rng: np.random.Generator
) -> tuple[tuple[slice, slice], np.ndarray]:
    """Window and footprint of one soft-edged ellipse, filled (`disc`) or with a dark nucleus."""
    reach = int(1.4 * radius + 4)
    window = tuple(
        slice(max(0, int(c) - reach), max(0, min(size, int(c) + reach + 1)))
        for c, size in zip(centre, shape, strict=True)
    )
    y, x = np.ogrid[window]
    angle, stretch = rng.uniform(0, np.pi), rng.uniform(0.75, 1.3)
    along = (np.cos(angle) * (x - centre[1]) + np.sin(angle) * (y - centre[0])) * stretch
    across = (np.cos(angle) * (y - centre[0]) - np.sin(angle) * (x - centre[1])) / stretch
    distance = np.hypot(along, across)
    footprint = 1 / (1 + np.exp(np.clip((distance - radius) / 0.5, -30, 30)))
    if not disc:
        nucleus = 1 / (1 + np.exp(np.clip((distance - 0.55 * radius) / 0.5, -30, 30)))
        footprint = footprint - rng.uniform(0.4, 0.95) * nucleus
    return window, np.clip(footprint, 0, None).astype(np.float32)
