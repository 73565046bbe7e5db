"""The reference image: what every frame is brought onto.

Built from frames sampled evenly over the movie: seeded by the frames that agree best with one another
(as Suite2p does), then estimated again and again from the samples registered to the last estimate.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile

from moco_dl.errors import NrcorrectError

RUN = 10  # consecutive frames of a run, averaged before the median, so that dim movies keep their light
SHORT = 5  # the same if not all frames are taken: the middle position needs many places
LEAST_RUNS = 4  # for a median over runs
SPREAD = (1e-4, 1e12)  # standard deviations within a frame that float32 can be trusted with
OUTLIER = 4.0  # scaled deviations below the median correlation at which a sample is left out

# (frames (n, H, W), reference (H, W)) -> motion (n, 2, h, w) float32 px; h, w may be 1 for a rigid shift.
Estimate = Callable[[np.ndarray, np.ndarray], np.ndarray]
# (frames (n, H, W), motion (n, 2, h, w)) -> frames (n, H, W) float32, NaN where there is no data.
Move = Callable[[np.ndarray, np.ndarray], np.ndarray]


def sample_runs(frames: int, count: int) -> list[range]:
    """About `count` frame numbers of a movie of `frames`: runs of consecutive ones, spread evenly.

    All frames, cut into runs of 10, if the movie is not longer than `count`; else runs of 5. Runs shorten to
    single frames if `count` is small.
    """
    length = min(RUN if frames <= count else SHORT, max(1, count // 10))
    if frames <= count:
        return [range(start, min(start + length, frames)) for start in range(0, frames, length)]
    starts = np.linspace(0, frames - length, max(1, count // length)).round().astype(int)
    return [range(start, start + length) for start in starts.tolist()]


def usable(frames: np.ndarray) -> np.ndarray:
    """`(n,)` bool: False for frames (n, H, W) that are empty, constant, saturated or mostly not finite."""
    return np.array([not why_unusable(frame) for frame in frames], bool)


def why_unusable(frame: np.ndarray) -> str:
    """Why nothing can be told from a frame (H, W): "not finite", "saturated", "empty", "constant", or ""."""
    if frame.dtype.kind == "f":
        finite = frame[np.isfinite(frame)]
        if finite.size <= frame.size / 2:
            return "not finite"
        low, high, top = finite.min(), finite.max(), np.inf
    else:
        low, high, top = frame.min(), frame.max(), np.iinfo(frame.dtype).max
    if high == top and np.count_nonzero(frame == high) > frame.size / 2:
        return "saturated"
    if low == high:
        return "empty" if low == 0 else "constant"
    return ""


def load_image(path: Path) -> np.ndarray:
    """A reference image (H, W) from a TIFF or NPY file.

    Raises NrcorrectError if the file is missing, is neither, or holds something else than one grey image.
    """
    try:
        image = np.load(path, allow_pickle=False) if path.suffix.lower() == ".npy" else tifffile.imread(path)
    except OSError as error:
        raise NrcorrectError(f"{path}: cannot read the image: {error.strerror or error}") from error
    except Exception as error:  # decoders raise whatever the bytes provoke
        raise NrcorrectError(f"{path}: not a TIFF or NPY image ({error}); wanted one grey image") from error
    if not isinstance(image, np.ndarray) or image.squeeze().ndim != 2:
        raise NrcorrectError(f"{path}: has shape {np.shape(image)}; wanted one grey image (height, width)")
    return image.squeeze()


@dataclass(frozen=True)
class Samples:
    """Usable frames sampled from a movie, and what is known of them."""

    frames: np.ndarray  # (n, H, W), native dtype
    runs: np.ndarray  # (n,) number of the run of consecutive frames each belongs to
    numbers: np.ndarray  # (n,) of the frames in the movie
    motion: np.ndarray | None = None  # (n, 2, h, w) float32 px relative to the reference

    def groups(self) -> list[np.ndarray]:
        """Places of the samples of each run; of each sample alone, if there are few runs."""
        runs = self.runs if len(np.unique(self.runs)) >= LEAST_RUNS else np.arange(len(self.runs))
        return [np.flatnonzero(runs == run) for run in np.unique(runs)]


def draw_samples(read: Callable[[list[int]], np.ndarray], runs: Sequence[range]) -> Samples:
    """Read the frames of `runs` and keep those that are usable.

    Raises NrcorrectError if none is.
    """
    numbers = np.concatenate(runs)
    frames = read(numbers.tolist())
    which = np.repeat(np.arange(len(runs)), [len(run) for run in runs])
    good = usable(frames)
    if not good.any():
        raise NrcorrectError("no usable frame to build a reference from: all are empty, constant or saturated")
    if frames.dtype.kind == "f":
        _refuse_extremes(frames[good])
    # Indexing copies, and samples are most of what is in memory.
    return Samples(frames, which, numbers) if good.all() else Samples(frames[good], which[good], numbers[good])


def _refuse_extremes(frames: np.ndarray) -> None:
    spread = max(float(np.nanstd(frame.astype(np.float64), where=np.isfinite(frame))) for frame in frames)
    if not SPREAD[0] <= spread <= SPREAD[1]:
        raise NrcorrectError(
            f"pixel values vary by {spread:.0e}; wanted between {SPREAD[0]:.0e} and {SPREAD[1]:.0e}:"
            " multiply the movie by a constant"
        )


def build_reference(
    samples: Samples,
    kind: str,
    estimates: Sequence[Estimate],
    move: Move,
    mapping: Callable = map,
    first: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Reference `(H, W)` float32 from sampled frames, and their motion when it was made.

    `kind` is "median" or "mean". Each of `estimates` in turn registers the samples to the reference so far;
    what is constant in the motion is taken out, so that the reference stays at the middle position and shape.
    `first` is a reference (H, W) to begin with, else it is the mean of samples that agree. `mapping` is `map`,
    or does the same with several threads.
    """
    frames, groups = samples.frames, samples.groups()
    reference, motion = seed(frames) if first is None else first, np.zeros((len(frames), 2, 1, 1), np.float32)
    for estimate in estimates:
        motion = _centred(estimate(frames, reference))

        def registered(group: np.ndarray) -> Registered:
            return _registered(move(frames[group], motion[group]), reference)  # noqa: B023 (used at once)

        done = list(mapping(registered, groups))
        keep = _agreeing(np.concatenate([part.correlation for part in done]))
        spoilt = [i for i, group in enumerate(groups) if not keep[group].all()]
        for i in spoilt:
            done[i] = registered(groups[i][keep[groups[i]]])
        reference = _combine(done, kind)
    fallback = frames.mean(axis=0, dtype=np.float32)
    return np.where(np.isfinite(reference), reference, fallback).astype(np.float32), motion


def _centred(motion: np.ndarray) -> np.ndarray:
    """Motion (n, 2, h, w) less its middle: the median over time of its rigid part, the mean of the rest.

    The shape must come from the non-rigid part alone: the median of the sum of both is bent wherever the
    rigid path is skewed.
    """
    rigid = motion.mean(axis=(2, 3), keepdims=True)
    rest = motion - rigid
    rest -= rest.mean(axis=0)
    rest += rigid - np.median(rigid, axis=0)
    return rest


def seed(samples: np.ndarray, *, count: int = 20) -> np.ndarray:
    """Mean of the sample that agrees best with others and of the `count` it agrees with, (H, W) float32."""
    small = _thumbnails(samples).reshape(len(samples), -1)
    small = small - small.mean(axis=1, keepdims=True)
    small /= np.maximum(np.linalg.norm(small, axis=1, keepdims=True), 1e-6)
    likeness = small @ small.T  # (n, n)
    order = np.sort(likeness, axis=1)[:, ::-1]
    centre = order[:, : count + 1].mean(axis=1).argmax()
    best = np.sort(np.argsort(-likeness[centre], kind="stable")[: count + 1])
    return np.nan_to_num(samples[best].astype(np.float32)).mean(axis=0)


def _thumbnails(samples: np.ndarray) -> np.ndarray:
    """Frames averaged down to about 64 pixels a side, float32."""
    by, bx = (max(1, size // 64) for size in samples.shape[1:])
    height, width = samples.shape[1] // by, samples.shape[2] // bx
    small = np.empty((len(samples), height, width), np.float32)
    for image, frame in zip(small, samples, strict=True):
        cut = frame[: height * by, : width * bx].astype(np.float32)
        image[...] = np.nan_to_num(cut, copy=False).reshape(height, by, width, bx).mean(axis=(1, 3))
    return small


@dataclass(frozen=True)
class Registered:
    """Frames of one run, moved onto the reference: their sum, and how many there are, at each pixel."""

    total: np.ndarray  # (H, W) float32
    count: np.ndarray  # (H, W)
    correlation: np.ndarray  # (n,) of each frame with the reference


def _registered(moved: np.ndarray, reference: np.ndarray) -> Registered:
    centre = np.nanmean(reference)  # about it, sums are not rounded much
    seen, reference = np.isfinite(reference), np.nan_to_num(reference - centre)
    known = np.isfinite(moved)
    values, count = np.where(known, moved - centre, 0), known.sum(axis=0, dtype=np.uint16)
    correlation = _correlations(values, (known & seen).astype(np.float32), reference)
    return Registered(values.sum(axis=0) + centre * count, count, correlation)


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


def _combine(parts: Sequence[Registered], kind: str) -> np.ndarray:
    """Mean of all frames, or median over the means of runs."""
    if kind == "median":
        return _median(np.stack([_divide(part.total, part.count) for part in parts]))
    return _divide(sum(part.total for part in parts), sum(part.count for part in parts))


def _divide(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)


def _median(stack: np.ndarray) -> np.ndarray:
    """Median over axis 0, NaN left out; several times faster than nanmedian. Sorts `stack`."""
    count = np.isfinite(stack).sum(axis=0)
    for row in range(stack.shape[1]):
        stack[:, row] = np.sort(np.ascontiguousarray(stack[:, row].T), axis=1).T  # NaN last
    low, high = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, len(stack) - 1)
    middle = [np.take_along_axis(stack, i[None], axis=0)[0] for i in (low, high)]
    return np.where(count > 0, (middle[0] + middle[1]) / 2, np.nan)
