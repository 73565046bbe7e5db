"""What stays of samples as recorded, once the reference is moved to where each has seen it and taken off."""

from collections.abc import Callable

import numpy as np
import torch

from moco_dl.network import STRIDE
from moco_dl.sampled.samples import Samples, chunks, pixel_chunks
from moco_dl.warp import blank_outside, invert, places_coarse, sample

NEAR = 1.0  # px between places of the tissue that show fine details alike
SEEN = 0.5  # of the samples, in which the reference covers a pixel at least
BACK = 3  # iterations to invert a field


def inverse_density(shifts: np.ndarray) -> np.ndarray:
    """Weights (n,), one on average, with which all places that tissue moves to by its `shifts` count alike.

    These are (n, 2) px; how many there are around each is seen through a Gaussian. Where tissue mostly rests,
    the mean of samples shows the scene as sharp as a pattern.
    """
    apart = np.square(shifts[:, None] - shifts).sum(axis=2)
    weights = 1 / np.exp(-0.5 * apart / NEAR**2).sum(axis=1)
    return weights / weights.mean()


def unexplained(samples: Samples, reference: np.ndarray, weights: np.ndarray, mapping: Callable) -> np.ndarray:
    """(2, H, W): means over even and odd samples of what a reference (H, W) does not explain.

    Samples count by their `weights` (n,), one on average. Zero where few samples tell.
    """

    def sums(some: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return _sums(samples, some, reference, weights)

    found = mapping(sums, chunks(np.arange(len(samples))))
    totals, counts = (sum(parts) for parts in zip(*found, strict=True))
    return np.where(counts > SEEN / 2 * len(samples), totals / np.maximum(counts, 1), 0.0)


@torch.inference_mode()
def _sums(
    samples: Samples, some: np.ndarray, reference: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Sums over even and odd samples, as recorded, of what the reference does not explain; and how many.

    Both (2, H, W), of some samples, each of which counts by its weight, of `weights` (n,).
    """
    sums, image = np.zeros((2, 2, *reference.shape)), torch.from_numpy(reference)
    for places in pixel_chunks(some, reference.size):
        frames = torch.from_numpy(samples.frames[samples.places[places]].astype(np.float32))
        back = STRIDE * invert(torch.from_numpy(samples.motion[places]) / STRIDE, iterations=BACK)
        where = places_coarse(back, STRIDE, reference.shape)
        rest = frames - sample(image.expand(len(places), 1, -1, -1), where)[:, 0]
        blank_outside(rest, where, int(back.abs().max().ceil()), torch.nan)
        rest -= rest.nanmean((1, 2), keepdim=True)
        for half in (0, 1):
            of_half = places % 2 == half
            part, weight = rest[of_half], torch.from_numpy(weights[places[of_half]])[:, None, None]
            sums[0, half] += (weight * part).nansum(0).numpy()
            sums[1, half] += (weight * part.isfinite()).sum(0).numpy()
    return tuple(sums)
