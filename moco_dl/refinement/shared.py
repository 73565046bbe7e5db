"""What two images of one scene share, and what is noise in either."""

from dataclasses import dataclass

import numpy as np

from moco_dl.spectrum import MARGIN, filtered, frequency, mirrored, padded, shared_power

RINGS = 5  # of frequencies, whose correlation together tells whether a scene is clearer there than below
MORE = 3.0  # times as high it must be
SURE = 5.0  # standard errors by which it must be
UNSEEN = 0.03  # least share of the squares of gradients that is taken to be signal


@dataclass(frozen=True)
class Share:
    """What is let through of each spatial frequency."""

    values: np.ndarray  # (k,), from low frequencies to high
    density: float  # values per cycle/px

    def gain(self, size: tuple[int, int]) -> np.ndarray:
        """(h, w // 2 + 1) float32, for `filtered` of images of `size` (H, W); mirrored, they are (h, w)."""
        places = np.arange(len(self.values)) + 0.5
        return np.interp(frequency(padded(size)) * self.density, places, self.values).astype(np.float32)


def shared_signal(first: np.ndarray, second: np.ndarray) -> Share:
    """What is signal in the mean of two images (H, W) of one scene: not the noise in which they differ.

    A Wiener filter: at each spatial frequency the share of the mean that is signal follows from the correlation
    of the two images there (Fourier ring correlation; Saxton and Baumeister, J. Microscopy 127, 1982).
    """
    size = padded(first.shape)
    a, b = (np.fft.rfft2(mirrored(image)) for image in (first, second))
    density = min(size) / 2
    ring = np.minimum((frequency(size) * density).astype(int), min(size) // 4)
    sums = (np.bincount(ring.ravel(), values.ravel()) for values in shared_power(a, b))
    correlation = falling_correlation(*sums, np.bincount(ring.ravel()))
    return Share(2 * correlation / (1 + correlation), density)


def falling_correlation(both: np.ndarray, power: np.ndarray, count: np.ndarray) -> np.ndarray:
    """(k,) correlation of two images, from the power that they share, and have, at `count` (k,) frequencies.

    It falls from low frequencies to high. Where coarse activity hides the scene in its mean, correlation is
    surely higher at some than at lower ones; it falls from these on.
    """
    each, wide = (
        (some / np.maximum(whole, 1e-30)).clip(0, 1)
        for some, whole in ((both, power), (_sums_around(both), _sums_around(power)))
    )
    falling = np.minimum.accumulate(each)
    surely = wide - SURE * (1 - wide**2) / np.sqrt(_sums_around(count)) - np.minimum.accumulate(wide)
    first = int(surely.argmax())
    if surely[first] <= 0 or wide[first] < MORE * falling[first]:
        return falling
    return np.maximum(falling, np.append(each[:first], np.minimum.accumulate(wide[first:])))


def _sums_around(values: np.ndarray) -> np.ndarray:
    """(k,) of RINGS of them."""
    return np.convolve(values, np.ones(RINGS), "same")


def signal_share(first: np.ndarray, second: np.ndarray, sigma: float) -> np.ndarray:
    """(H, W) share of the squared gradients of the mean of two images (H, W) of one scene that both have, over
    a Gaussian of `sigma` px."""
    along = [np.stack(np.gradient(image)) for image in (first, second)]
    both = blurred((along[0] * along[1]).sum(axis=0), sigma)
    whole = blurred(np.square((along[0] + along[1]) / 2).sum(axis=0), sigma)
    return (both / np.maximum(whole, 1e-30)).clip(UNSEEN, 1).astype(np.float32)


def blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    """Image (H, W) averaged over a Gaussian of `sigma` px: over pixels, as a spectrum cut off would ring."""
    height, width = padded(image.shape)
    pixels = np.arange(-MARGIN, MARGIN + 1)
    window = np.exp(-0.5 * np.square(pixels / sigma))
    rows, columns = (
        np.cos(2 * np.pi * np.outer(along, pixels)) @ window / window.sum()
        for along in (np.fft.fftfreq(height), np.fft.rfftfreq(width))
    )
    return filtered(image, np.outer(rows, columns))
