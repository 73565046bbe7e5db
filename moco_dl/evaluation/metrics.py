"""How good a correction is, in numbers: pure functions of images, frames and fields.

Fields are backward, in pixels, (dy, dx). A border of a sixteenth of the shorter side is left out wherever
images are compared: corrected frames have no data there.
"""

from collections.abc import Sequence

import numpy as np

ROUNDING = 1e-3  # px, less than which beyond the edge is none
BORDER = 16  # parts of the shorter side, one of which is left out at each edge
FINE, COARSE = 1.0, 25  # px, sigma and side: what lies between tells of motion, not of noise or shading


def inner(shape: Sequence[int]) -> tuple[slice, slice]:
    """Slices of an image (H, W) without its border."""
    margin = max(1, min(shape) // BORDER)
    return slice(margin, shape[0] - margin), slice(margin, shape[1] - margin)


def band_passed(frames: np.ndarray) -> np.ndarray:
    """Frames (n, h, w) without their border, noise and slow shading filtered out."""
    from scipy.ndimage import gaussian_filter, uniform_filter

    filtered = [gaussian_filter(frame, FINE) - uniform_filter(frame, COARSE) for frame in frames]
    return np.stack(filtered)[(slice(None), *inner(frames.shape[1:]))]


def correlation(frame: np.ndarray, image: np.ndarray) -> float:
    """Pearson's correlation of `frame` and `image`, both (H, W), over the inner pixels that both show; or NaN.

    The measure that NoRMCorre and CaImAn report for each frame and the template (Pnevmatikakis and Giovannucci,
    J. Neurosci. Methods 291, 2017).
    """
    return float(correlations(frame[None], image)[0])


def correlations(frames: np.ndarray, image: np.ndarray) -> np.ndarray:
    """`correlation` of `frames` (n, H, W), each with an image (H, W), at once where possible: (n,) float64."""
    part = inner(image.shape)
    a, b = frames[(..., *part)].astype(np.float32), image[part].astype(np.float32)
    # Decided frame by frame: a frame's value must not depend on what others beside it lack.
    with np.errstate(invalid="ignore"):
        finite = np.isfinite(a.sum(axis=(1, 2))) if frames.dtype.kind == "f" else np.ones(len(a), bool)
    whole = finite & np.isfinite(b.sum())
    found = np.full(len(a), np.nan)
    for i in np.flatnonzero(~whole):
        known = np.isfinite(a[i]) & np.isfinite(b)
        if np.count_nonzero(known) > 1:
            found[i] = _pearson(a[i][known][None, None], b[known][None])[0]
    found[whole] = _pearson(a if whole.all() else a[whole], b)
    return found


def _pearson(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Correlation (n,) of each of `a` (n, h, w), in place, with `b` (h, w); NaN if either is constant."""
    a -= a.mean(axis=(1, 2), keepdims=True)
    b = b - b.mean()
    # Not by a linear-algebra library: those round by where arrays lie in memory. By rows, which rounds less.
    shared = np.einsum("nij,ij->ni", a, b).sum(axis=1, dtype=np.float64)
    power = np.einsum("nij,nij->ni", a, a).sum(axis=1, dtype=np.float64)
    power *= np.square(b, dtype=np.float64).sum()
    return np.divide(shared, np.sqrt(power), out=np.full(len(a), np.nan), where=power > 0)


def correlation_with_others(frames: np.ndarray) -> np.ndarray:
    """Correlation of each frame with the mean of all other frames: (n, h, w) finite float -> (n,) float64.

    Leaving the frame out makes the measure fair: no frame is compared with its own noise, and no movie with an
    image that was made from another. NaN for fewer than two frames, and for constant ones.
    """
    flat = frames.reshape(len(frames), -1).astype(np.float64)
    flat -= flat.mean(axis=1, keepdims=True)
    total = flat.sum(axis=0)
    own = np.einsum("np,np->n", flat, flat)
    shared = flat @ total
    others = total @ total - 2 * shared + own
    power = np.where((own > 0) & (others > 1e-9 * own), own * others, np.nan)
    return (shared - own) / np.sqrt(power)


def crispness(image: np.ndarray) -> float:
    """Frobenius norm of the gradient of an image (H, W), border left out; pixels without data count nothing.

    As NoRMCorre defines it for the mean and the correlation image: motion blurs them (Pnevmatikakis and
    Giovannucci, J. Neurosci. Methods 291, 2017).
    """
    return _gradient_product(image, image) ** 0.5


def sharpness(first: np.ndarray, second: np.ndarray) -> float:
    """Crispness that noise does not raise, over the contrast: 1/px; NaN where nothing is shared or known.

    `first` and `second` (H, W) are means of two halves of a movie's frames. The product of their gradients
    holds what both show, so that a movie whose noise was smoothed by interpolation is not called blurred;
    divided by the product of the images, it does not change with gain and offset.
    """
    part = inner(first.shape)
    a, b = first[part].astype(np.float64), second[part].astype(np.float64)
    if not (np.isfinite(a) & np.isfinite(b)).any():
        return float("nan")
    contrast = float(np.nansum((a - np.nanmean(a)) * (b - np.nanmean(b))))
    edges = _gradient_product(first, second)
    return (edges / contrast) ** 0.5 if contrast > 0 and edges > 0 else float("nan")


def _gradient_product(first: np.ndarray, second: np.ndarray) -> float:
    part = inner(first.shape)
    pairs = zip(*(np.gradient(image[part].astype(np.float64)) for image in (first, second)), strict=True)
    return float(sum(np.nansum(a * b) for a, b in pairs))


def lengths(field: np.ndarray) -> np.ndarray:
    """Length of each vector: (..., 2, h, w) px -> (..., h, w) px."""
    return np.hypot(field[..., 0, :, :], field[..., 1, :, :])


def with_data(field: np.ndarray, step: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """First and last pixel, y and x, of each sample's cell for which a frame of `size` holds data: twice
    (..., 2, h, w), from displacements (..., 2, h, w) px; the last comes first if there is none.

    Cell i holds `step` pixels from `i * step` on, or fewer at the edge; all move as its sample.
    """
    first, last = np.empty((2, *field.shape), np.float32)
    for axis, full in enumerate(size):
        start = np.arange(field.shape[axis - 2]) * step
        end = np.minimum(start + step, full) - 1
        if axis == 0:
            start, end = start[:, None], end[:, None]
        part = np.nan_to_num(field[..., axis, :, :], nan=full)  # beyond the frame
        first[..., axis, :, :] = np.maximum(start, np.ceil(-part - ROUNDING))
        last[..., axis, :, :] = np.minimum(end, np.floor(full - 1 - part + ROUNDING))
    return first, last


def pixels_between(first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """(...) number of pixels between the first and the last (..., 2, h, w) of each cell."""
    pixels = (last - first + 1).clip(0).prod(axis=-3)
    return pixels.sum(axis=(-2, -1), dtype=np.int64)


def interpolated(field: np.ndarray) -> np.ndarray:
    """Share (...) of vectors (..., 2, h, w) that are not whole pixels: values there are interpolated."""
    return (field != np.rint(field)).any(axis=-3).mean(axis=(-2, -1))


def end_point_errors(field: np.ndarray, truth: np.ndarray, border: int = 16) -> dict[str, np.ndarray]:
    """Mean length of the error of each frame's field, px: "whole", "interior", "border", (n,) float64.

    `field` and `truth` (n, 2, H, W) px; "border" is the strip of `border` px at the edges, "interior" the rest
    (NaN if there is none). The usual measure of optical flow (Baker et al., IJCV 92, 2011).
    """
    error = lengths(field - truth)
    height, width = error.shape[1:]
    edge = np.ones((height, width), bool)
    edge[border : max(border, height - border), border : max(border, width - border)] = False
    chosen = {"whole": np.ones_like(edge), "interior": ~edge, "border": edge}
    return {
        name: error[:, mask].mean(axis=1, dtype=np.float64) if mask.any() else np.full(len(error), np.nan)
        for name, mask in chosen.items()
    }
