"""What the refinement compares frames with: an image whose gradients can be trusted, and each pixel's variance.

A gradient is a difference of neighbours, so noise that does no harm in the reference drowns it in dim movies.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import fft
from scipy.ndimage import binary_dilation, gaussian_filter

from moco_dl.reference import Move, Samples

PART = 4  # frames that are in memory at full precision at a time; even, so that halves stay halves
MARGIN = 16  # px of mirror image around the frame, so that its edges do not show in its spectrum


@dataclass(frozen=True)
class Template:
    """Image, and variance of registered frames about it, both (H, W) float32, in the movie's units."""

    image: np.ndarray
    variance: np.ndarray
    count: int = 0  # frames of which the image is the mean; 0: made of something else
    gain: np.ndarray | None = None  # (H + 2 MARGIN, (W + 2 MARGIN) // 2 + 1) of its spatial frequencies

    def without(self, moved: np.ndarray) -> np.ndarray:
        """The image if `moved` (H, W), registered and NaN where unknown, were not among its frames.

        What a frame has brought into the image agrees with the frame's own noise, and would draw any estimate
        of its motion to where it was put.
        """
        if self.count < 2:
            return self.image
        known = np.isfinite(moved)
        offset = np.mean(moved - self.image, where=known)
        share = filtered(np.where(known, moved - offset, self.image), self.gain)
        return ((self.count * self.image - share) / (self.count - 1)).astype(np.float32)


def build_template(
    samples: Samples, reference: np.ndarray, move: Move, *, own: bool, mapping: Callable = map
) -> Template:
    """Image and variance of registered samples.

    If the reference is the movie's `own`, the image is the mean of its registered samples, freed of noise; else
    the reference scaled to the movie's contrast. The variance holds noise and activity, not changes of the
    whole frame's brightness; it is smoothed by 2 px. Pixels that no sample shows have the mean variance; where
    the reference is not finite it is infinite.
    """
    unknown = ~np.isfinite(reference)
    reference = np.where(unknown, np.nanmean(reference), reference)
    total, count, squares = _statistics(samples, reference.astype(np.float32), move, mapping)
    seen = count.sum(axis=0) > 0
    mean = np.divide(total.sum(axis=0), count.sum(axis=0), where=seen, out=np.zeros(reference.shape))
    variance = np.divide(squares, count.sum(axis=0), where=seen, out=np.zeros(reference.shape))
    variance = (variance - np.square(mean)).clip(0)
    variance[~seen] = variance[seen].mean()
    least = 1e-3 * variance.mean() + 1e-12 * reference.var()
    smooth = gaussian_filter(variance, 2).clip(least).astype(np.float32)
    smooth[binary_dilation(unknown, iterations=2)] = np.inf
    if own and (count > 0).all(axis=0).mean() > 0.5:
        halves = np.divide(total, count, where=count > 0, out=np.broadcast_to(mean, total.shape).copy())
        image, gain = shared_signal(*(reference + half for half in halves))
        return Template(image.astype(np.float32), smooth, len(samples.frames), gain.astype(np.float32))
    centred = reference[seen].astype(np.float64) - reference[seen].mean(dtype=np.float64)
    slope = centred @ (reference[seen] + mean[seen]) / max(centred @ centred, 1e-12)
    return Template((slope * reference).astype(np.float32), smooth)


def _statistics(
    samples: Samples, reference: np.ndarray, move: Move, mapping: Callable
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of registered samples less `reference`: sums, counts (2, H, W) of even and odd ones; squares (H, W)."""

    def of_part(part: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        difference = move(samples.frames[part], samples.motion[part]) - reference
        known = np.isfinite(difference)
        offset = np.mean(difference, axis=(1, 2), keepdims=True, where=known)
        difference -= offset
        difference[~known] = 0
        sums = [difference[half::2].sum(axis=0, dtype=np.float64) for half in (0, 1)]
        counts = [known[half::2].sum(axis=0, dtype=np.int32) for half in (0, 1)]
        return np.stack(sums), np.stack(counts), np.square(difference).sum(axis=0, dtype=np.float64)

    parts = mapping(of_part, (slice(start, start + PART) for start in range(0, len(samples.frames), PART)))
    sums = next(parts)
    for part in parts:
        sums = tuple(one + other for one, other in zip(sums, part, strict=True))
    return sums


def shared_signal(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean of two images (H, W) of one scene, freed of the noise in which they differ; and how: the gain.

    A Wiener filter: at each spatial frequency the share of the mean that is signal follows from the correlation
    of the two images there (Fourier ring correlation; Saxton and Baumeister, J. Microscopy 127, 1982).
    """
    a, b = (_spectrum(image) for image in (first, second))
    height, width = (n + 2 * MARGIN for n in first.shape)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    ring = np.minimum((frequency * min(height, width) / 2).astype(int), min(height, width) // 4)
    both, power = (
        np.bincount(ring.ravel(), values.ravel())
        for values in ((a * b.conj()).real, (np.abs(a) ** 2 + np.abs(b) ** 2) / 2)
    )
    correlation = np.minimum.accumulate((both / np.maximum(power, 1e-30)).clip(0, 1))
    share = 2 * correlation / (1 + correlation)
    gain = np.interp(frequency * min(height, width) / 2, np.arange(len(share)) + 0.5, share)
    return filtered((first + second) / 2, gain), gain


def filtered(image: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """Image (H, W) with its spatial frequencies multiplied by `gain`, as `shared_signal` returns it."""
    size = [n + 2 * MARGIN for n in image.shape]
    return fft.irfft2(gain * _spectrum(image), s=size)[MARGIN:-MARGIN, MARGIN:-MARGIN]


def _spectrum(image: np.ndarray) -> np.ndarray:
    return fft.rfft2(np.pad(image, MARGIN, mode="symmetric"))
