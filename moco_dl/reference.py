"""The reference image: what every frame is brought onto.

Built from frames sampled evenly over the movie: seeded by the frames that agree best with one another
(as Suite2p does), then estimated again and again from the samples registered to the last estimate.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from moco_dl.errors import NrcorrectError
from moco_dl.sampled.samples import TOGETHER, Move, Samples, chunks

ALIKE = 20  # samples that the first reference is made of, beside the one that they are most like
OUTLIER = 4.0  # scaled deviations below the median correlation at which a sample is left out

# (n samples, reference (H, W)) -> their motion (n, 2, h, w) float32 px; h, w may be 1 for a rigid shift.
Estimate = Callable[[Samples, np.ndarray], np.ndarray]


def build_reference(
    samples: Samples,
    kind: str,
    estimates: Sequence[Estimate],
    move: Move,
    mapping: Callable = map,
    *,
    first: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Reference `(H, W)` float32 from n sampled frames; their motion when it was made; `(n,)` which made it.

    `kind` is "median" or "mean". Each of `estimates` in turn registers the samples to the reference so far,
    which is `first` (H, W); if these are `centred`, it stays at the middle position and shape. `mapping` is
    `map`, or does the same with several threads. Raises NrcorrectError if nothing is known of frames once
    they are moved.
    """
    reference, groups = first, samples.groups()
    count = max(TOGETHER // (len(groups[0]) * reference.size), 1)
    few = [groups[i : i + count] for i in range(0, len(groups), count)]
    motion, keep = np.zeros((len(samples), 2, 1, 1), np.float32), np.ones(len(samples), bool)
    for estimate in estimates:
        motion = estimate(samples, reference)

        def registered(some: list[np.ndarray]) -> list[RunSum]:
            together = np.concatenate(some)
            ends = np.cumsum([len(group) for group in some])
            return _registered(move(samples[together], motion[together]), reference, ends)  # noqa: B023 (used at once)

        done = [part for parts in mapping(registered, few) for part in parts]
        keep = _agreeing(np.concatenate([part.correlation for part in done]))
        spoilt = [i for i, group in enumerate(groups) if not keep[group].all()]
        for i in spoilt:
            (done[i],) = registered([groups[i][keep[groups[i]]]])
        reference = _combine(done, kind)
        if not np.isfinite(reference).any():
            raise NrcorrectError(
                "so many pixels have no value that none can be interpolated; leave out rows and columns that"
                " have none"
            )
    if not np.isfinite(reference).all():
        anywhere = sum(frames.sum(axis=0, dtype=np.float32) for frames in samples.chunks()) / len(samples)
        reference = np.where(np.isfinite(reference), reference, anywhere)
    return reference.astype(np.float32), motion, keep


def centred(motion: np.ndarray) -> np.ndarray:
    """Motion (n, 2, h, w) less its middle: the median over time of its rigid part, the mean of the rest.

    The shape must come from the non-rigid part alone: the median of the sum of both is bent wherever the
    rigid path is skewed.
    """
    rigid = motion.mean(axis=(2, 3), keepdims=True)
    rest = motion - rigid
    rest -= rest.mean(axis=0)
    rest += rigid - np.median(rigid, axis=0)
    return rest


def first_reference(samples: Samples) -> np.ndarray:
    """Mean of the sample that agrees best with others and of the ALIKE it agrees with, (H, W) float32.

    NaN where none of these has data.
    """
    small = samples.thumbnails()
    small -= small.mean(axis=1, keepdims=True)
    small /= np.maximum(np.linalg.norm(small, axis=1, keepdims=True), 1e-6)
    likeness = small @ small.T  # (n, n)
    order = np.sort(likeness, axis=1)[:, ::-1]
    centre = order[:, : ALIKE + 1].mean(axis=1).argmax()
    best = np.sort(np.argsort(-likeness[centre], kind="stable")[: ALIKE + 1])
    chosen = samples[best].astype(np.float32)
    known = np.isfinite(chosen)
    total, times = np.where(known, chosen, 0).sum(axis=0), known.sum(axis=0)
    return divided(total, times)


def summed(samples: Samples, motion: np.ndarray, move: Move) -> tuple[np.ndarray, np.ndarray]:
    """Sum (H, W) of samples moved by their motion (n, 2, h, w), and how many have data (H, W)."""
    total = count = 0
    for some in chunks(np.arange(len(samples))):
        moved = move(samples[some], motion[some])
        known = np.isfinite(moved)
        total, count = total + np.where(known, moved, 0).sum(axis=0), count + known.sum(axis=0)
    return total, count


def mean_of(samples: Samples) -> np.ndarray:
    """Mean (h, w) of samples where they were recorded; NaN if none has data."""
    total = count = 0
    for frame in chain.from_iterable(samples.chunks()):
        known = np.isfinite(frame)
        total, count = total + np.where(known, frame, 0).astype(np.float32), count + known
    return divided(total, count)


@dataclass(frozen=True)
class RunSum:
    """Frames of one run, moved onto the reference: their sum, and how many there are, at each pixel."""

    total: np.ndarray  # (H, W) float32
    count: np.ndarray  # (H, W)
    correlation: np.ndarray  # (n,) of each frame with the reference


def _registered(moved: np.ndarray, reference: np.ndarray, ends: Sequence[int]) -> list[RunSum]:
    """Of frames (n, H, W), runs that end before `ends`."""
    centre = np.nanmean(reference)  # about it, sums are not rounded much
    seen, reference = np.isfinite(reference), np.nan_to_num(reference - centre)
    known = np.isfinite(moved)
    values = np.where(known, moved - centre, 0)
    correlation = _correlations(values, (known & seen).astype(np.float32), reference)
    runs = zip(*(np.split(part, ends[:-1]) for part in (values, known, correlation)), strict=True)
    return [_summed(*run, centre) for run in runs]


def _summed(values: np.ndarray, known: np.ndarray, correlation: np.ndarray, centre: float) -> RunSum:
    count = known.sum(axis=0, dtype=np.uint16)
    return RunSum(values.sum(axis=0) + centre * count, count, correlation)


def _agreeing(correlation: np.ndarray) -> np.ndarray:
    """`(n,)` bool: frames whose correlation with the reference is not an outlier."""
    typical = np.median(correlation)
    spread = 1.4826 * np.median(np.abs(correlation - typical)) + 0.01
    return correlation >= typical - OUTLIER * spread


def _correlations(frames: np.ndarray, known: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """(n,) of frames (n, H, W) with the reference (H, W), where `known` (n, H, W) is 1, not 0; both finite, and
    zero where not."""
    ones = np.ones_like(reference)
    pairs = (known, ones), (known, frames), (known * frames, frames)
    pairs += (known, reference), (known, np.square(reference)), (frames, reference)
    sums = (np.einsum("nij,nij->ni", a, np.broadcast_to(b, a.shape)) for a, b in pairs)
    counts, a, aa, b, bb, ab = (rows.sum(axis=1, dtype=np.float64) for rows in sums)
    count = np.maximum(counts, 1)
    power = (aa - a * a / count).clip(0) * (bb - b * b / count).clip(0)
    found = (ab - a * b / count) / np.maximum(np.sqrt(power), 1e-12)
    return np.where(counts > 1, found, -1.0)


def _combine(parts: Sequence[RunSum], kind: str) -> np.ndarray:
    """Mean of all frames, or median over the means of runs."""
    if kind == "median":
        return _median(np.stack([divided(part.total, part.count) for part in parts]))
    count = sum((part.count for part in parts), np.float32(0))  # integers as short as theirs would wrap around
    return divided(sum(part.total for part in parts), count)


def divided(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Means (H, W) float32; NaN where nothing was counted."""
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)


def _median(stack: np.ndarray) -> np.ndarray:
    """Median over axis 0, NaN left out; several times faster than nanmedian. Sorts `stack`."""
    count = np.isfinite(stack).sum(axis=0)
    for row in range(stack.shape[1]):
        stack[:, row] = np.sort(np.ascontiguousarray(stack[:, row].T), axis=1).T  # NaN last
    low, high = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, len(stack) - 1)
    middle = [np.take_along_axis(stack, i[None], axis=0)[0] for i in (low, high)]
    return np.where(count > 0, (middle[0] + middle[1]) / 2, np.nan)
