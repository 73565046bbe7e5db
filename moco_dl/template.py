"""What the refinement compares frames with: an image whose gradients can be trusted, and each pixel's variance.

A gradient is a difference of neighbours, so noise that does no harm in the reference drowns it in dim movies.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

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
    share: "Share | None" = None  # of the mean's spatial frequencies that is in the image

    def without(self, moved: np.ndarray) -> np.ndarray:
        """The image if `moved` (H, W), registered and NaN where unknown, were not among its frames.

        What a frame has brought into the image agrees with the frame's own noise, and would draw any estimate
        of its motion to where it was put.
        """
        if self.count < 2:
            return self.image
        known = np.isfinite(moved)
        offset = np.mean(moved - self.image, where=known)
        part = filtered(np.where(known, moved - offset, self.image), self._gain)
        return ((self.count * self.image - part) / (self.count - 1)).astype(np.float32)

    @cached_property
    def _gain(self) -> np.ndarray:
        return self.share.gain(self.image.shape)


@dataclass(frozen=True)
class Share:
    """What is let through of each spatial frequency."""

    values: np.ndarray  # (k,), from low frequencies to high
    density: float  # values per cycle/px

    def gain(self, size: tuple[int, int]) -> np.ndarray:
        """(H + 2 MARGIN, (W + 2 MARGIN) // 2 + 1) float32, for `filtered` of images of `size` (H, W)."""
        frequency = _frequency(*(n + 2 * MARGIN for n in size))
        places = np.arange(len(self.values)) + 0.5
        return np.interp(frequency * self.density, places, self.values).astype(np.float32)

    def binned(self, factor: int) -> "Share":
        """The same for images averaged over `factor` x `factor` pixels."""
        return replace(self, density=self.density / factor)


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
        share = shared_signal(*(reference + half for half in halves))
        image = filtered(reference + halves.mean(axis=0), share.gain(reference.shape))
        return Template(image.astype(np.float32), smooth, len(samples.frames), share)
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


def shared_signal(first: np.ndarray, second: np.ndarray) -> Share:
    """What is signal in the mean of two images (H, W) of one scene: not the noise in which they differ.

    A Wiener filter: at each spatial frequency the share of the mean that is signal follows from the correlation
    of the two images there (Fourier ring correlation; Saxton and Baumeister, J. Microscopy 127, 1982).
    """
    size = [n + 2 * MARGIN for n in first.shape]
    a, b = (fft.rfft2(np.pad(image, MARGIN, mode="symmetric")) for image in (first, second))
    density = min(size) / 2
    ring = np.minimum((_frequency(*size) * density).astype(int), min(size) // 4)
    both, power = (
        np.bincount(ring.ravel(), values.ravel())
        for values in ((a * b.conj()).real, (np.abs(a) ** 2 + np.abs(b) ** 2) / 2)
    )
    correlation = np.minimum.accumulate((both / np.maximum(power, 1e-30)).clip(0, 1))
    return Share(2 * correlation / (1 + correlation), density)


def filtered(image: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """Image (H, W) with its spatial frequencies multiplied by `gain`, see `Share`."""
    spectrum = fft.rfft2(np.pad(image, MARGIN, mode="symmetric"))
    spectrum *= gain
    return fft.irfft2(spectrum, s=[n + 2 * MARGIN for n in image.shape])[MARGIN:-MARGIN, MARGIN:-MARGIN]


def _frequency(height: int, width: int) -> np.ndarray:
    """(height, width // 2 + 1) cycles/px."""
    return np.hypot(fft.fftfreq(height)[:, None], fft.rfftfreq(width))
