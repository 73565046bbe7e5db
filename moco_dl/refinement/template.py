"""What the refinement compares frames with: an image whose gradients can be trusted, and each pixel's variance.

A gradient is a difference of neighbours, so noise that does no harm in the reference drowns it in dim movies.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from moco_dl.refinement.shared import Share, blurred, shared_signal, signal_share
from moco_dl.sampled.samples import Move, Samples, pixel_chunks
from moco_dl.spectrum import filtered

LEAST = 1e-2  # of the image's variance: that of noise is not less
ANYWAY = 0.1  # is let through of what one image alone does not show to be signal: it may be fine detail
BLUR = 2.0  # px, sigma of the Gaussian that variances are averaged with
AROUND = 2.5  # times as wide a Gaussian, within which gradients are signal or noise
SURE = 5.0  # standard errors by which a variance must exceed that of what is new in each frame: activity
NO_PART = -1  # of a frame that is in none
PAIRED = 0.25  # least share of the samples that another follows, for the two to be told apart


@dataclass(frozen=True)
class Template:
    """What frames are compared with; all (H, W) float32, in the movie's units."""

    image: np.ndarray
    noise: np.ndarray  # variance of registered frames about it: of what is new in each
    activity: np.ndarray | None = None  # standard deviation of what lasts for some frames; None: part of noise
    # (parts, H, W): the image without the frames of each part of the samples. What a frame has brought into the
    # image agrees with the frame's own noise, and would draw any estimate of its motion to where it was put.
    others: np.ndarray | None = None
    striped: bool = False  # the detector's columns may differ: their means tell nothing of motion
    # Share of the image's squared gradients, around each pixel, that is signal and not noise; None: all. Where
    # nothing is to be seen, noise in them would make believe that frames tell of no motion there.
    signal: np.ndarray | None = None


def build_template(
    samples: Samples,
    reference: np.ndarray,
    move: Move,
    *,
    mapping: Callable = map,
    blur: float = BLUR,
) -> Template:
    """Image and variances of registered samples; variances are averaged over a Gaussian of `blur` pixels.

    The image is the mean of registered samples, freed of noise; if these leave most places unseen, it is the
    reference in their contrast. One sample alone shows its noise in how neighbours differ. Changes of the whole
    frame's brightness are neither noise nor activity. Pixels that no sample shows have the mean variance; where
    the reference is not finite it is infinite.
    """
    unknown, striped = ~np.isfinite(reference), samples.striped
    reference = np.where(unknown, np.nanmean(reference), reference).astype(np.float32)
    sums, parts = {}, []
    for found in mapping(lambda part: _statistics(samples, part, reference, move), samples.parts()):
        parts.append((found["total"].sum(axis=0), found["count"].sum(axis=0)))
        sums = {name: np.add(sums.get(name, 0.0), values, dtype=np.float64) for name, values in found.items()}
    noise, activity = _variances(sums, len(samples), LEAST * reference.var(), blur)
    if unknown.any():  # gradients beside it are made of it, too
        noise[sliding_window_view(np.pad(unknown, 2), (5, 5)).any(axis=(2, 3))] = np.inf
    total, count = sums["total"], sums["count"]
    mean = _divided(total.sum(axis=0), count.sum(axis=0))
    if len(samples) == 1:
        return _of_one((reference + mean).astype(np.float32), noise, blur, striped)
    if (count > 0).all(axis=0).mean() > 0.5 * (count > 0).any(axis=0).mean():
        halves = np.where(count > 0, _divided(total, count), mean)
        halves = [(reference + half).astype(np.float32) for half in halves]
        gain = shared_signal(*halves).gain(reference.shape)
        signal = signal_share(*mapping(lambda half: filtered(half, gain), halves), AROUND * blur)
        total, count = total.sum(axis=0), count.sum(axis=0)
        left_out = [(0, 0), *parts]  # without any part, without each; one by one, to save memory
        means = (reference + _divided(total - part, count - some) for part, some in left_out)
        image, *others = mapping(lambda mean: filtered(mean.astype(np.float32), gain), means)
        others = np.stack(others) if len(others) > 1 else None
        return Template(image, noise, activity, others, striped, signal)
    seen = count.sum(axis=0) > 0
    centred = reference[seen].astype(np.float64) - reference[seen].mean(dtype=np.float64)
    slope = centred @ (reference[seen] + mean[seen]) / max(centred @ centred, 1e-12)
    return Template((slope * reference).astype(np.float32), noise, activity, striped=striped)


def _of_one(image: np.ndarray, least: np.ndarray, blur: float, striped: bool) -> Template:
    """From the only sample, an image (H, W); its noise has at least the variances `least` (H, W).

    The diagonals of 2x2 pixels are two images of the same places, with noise of their own.
    """
    height, width = (n // 2 for n in image.shape)
    (a, b), (c, d) = image[: 2 * height, : 2 * width].reshape(height, 2, width, 2).transpose(1, 3, 0, 2)
    diagonals = (a + d) / 2, (b + c) / 2
    share = shared_signal(*diagonals)
    gain = Share(share.values, 2 * share.density).gain(image.shape)
    noise = blurred(np.square(np.subtract(*diagonals)), blur).repeat(2, axis=0).repeat(2, axis=1)
    noise = np.pad(noise, [(0, n % 2) for n in image.shape], mode="edge").astype(np.float32)
    return Template(filtered(image, gain.clip(ANYWAY)), np.maximum(noise, least), striped=striped)


def _divided(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Means; zero where nothing was counted."""
    return np.divide(total, count, where=count > 0, out=np.zeros(np.broadcast(total, count).shape))


def _statistics(samples: Samples, part: np.ndarray, reference: np.ndarray, move: Move) -> dict[str, np.ndarray]:
    """Sums over a part of the samples, registered, less `reference` and the brightness of the frame.

    total, count (2, H, W): of half of all samples each, at random. moments (2, H, W): of what is not the
    frame's contrast either, first and second. anew, pairs (H, W): squared differences of that between
    consecutive frames, and how many.
    """
    size = reference.shape
    half = np.random.default_rng(0).permutation(len(samples)) % 2  # has some of all kinds that may take turns
    sums = {name: np.zeros((2, *size), np.float32) for name in ("total", "count", "moments")}
    sums |= {name: np.zeros(size, np.float32) for name in ("anew", "pairs")}
    first = part[:1] - 1  # the sample before these; of all, the last: none follows it
    follows = (np.diff(samples.numbers, prepend=-1) == 1) & (np.diff(samples.runs, prepend=-1) == 0)
    squares, found = np.empty(size, np.float32), _differences(samples, np.append(first, part), reference, move)
    *_, last, seen = next(found)
    for place, difference, steady, known in found:
        sums["total"][half[place]] += difference
        sums["count"][half[place]] += known
        sums["moments"][0] += steady
        sums["moments"][1] += np.square(steady, out=squares)
        if follows[place]:
            change = np.subtract(steady, last, out=last)
            np.copyto(change, 0, where=~(known & seen))
            sums["anew"] += np.square(change, out=squares)
            sums["pairs"] += known & seen
        last, seen = steady, known
    return sums


def _differences(
    samples: Samples, part: np.ndarray, reference: np.ndarray, move: Move
) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
    """For one sample after another its place; the registered frame less `reference` and its brightness; the
    same less its contrast, too; both (H, W) float32, zero where nothing is seen; and where something is (H, W).
    """
    contrast = reference - reference.mean()
    squares = np.square(contrast)
    for some in pixel_chunks(part, reference.size):
        for place, difference in zip(some.tolist(), move(samples[some], samples.motion[some]), strict=True):
            difference -= reference
            known = np.isfinite(difference)
            unknown = ~known
            np.copyto(difference, 0, where=unknown)
            difference -= np.float32(_total(difference) / max(np.count_nonzero(known), 1))
            np.copyto(difference, 0, where=unknown)
            along = np.einsum("ij,ij->i", difference, contrast).sum(dtype=np.float64)
            whole = _total(squares) - squares[unknown].sum(dtype=np.float64)
            steady = contrast * np.float32(along / max(whole, 1e-30))
            np.copyto(steady, 0, where=unknown)
            yield place, difference, np.subtract(difference, steady, out=steady), known


def _total(image: np.ndarray) -> float:
    """Sum of an image (H, W) float32."""
    return image.sum(axis=1).sum(dtype=np.float64)


def _variances(
    sums: dict[str, np.ndarray], frames: int, least: float, blur: float
) -> tuple[np.ndarray, np.ndarray | None]:
    """Variance of what is new in each frame, standard deviation of what lasts, both (H, W) float32.

    Photons are new in each frame, activity is not. `least`: no variance is smaller.
    """
    count = sums["count"].sum(axis=0)
    first, second = (_divided(moment, count) for moment in sums["moments"])
    variance = (second - np.square(first)).clip(0)
    variance[count == 0] = variance[count > 0].mean()
    least += 1e-3 * variance.mean()
    smooth = blurred(variance, blur).clip(least)
    if sums["pairs"].mean() < PAIRED * frames:
        return smooth.astype(np.float32), None
    noise = np.where(sums["pairs"] > 0, _divided(sums["anew"], 2 * sums["pairs"]), variance)
    noise = np.minimum(blurred(noise, blur).clip(least), smooth)
    chance = noise * np.sqrt(2 / (frames * 4 * np.pi * blur**2))  # standard error of an average so wide
    # What is clear counts almost in full (non-negative garrote; Breiman, Technometrics 37, 1995).
    surely = SURE * chance
    more = np.maximum(smooth - noise, surely)
    activity = np.sqrt((more - np.square(surely) / more).clip(0))
    return noise.astype(np.float32), activity.astype(np.float32)
