"""Which frames of a movie are kept for a closer look: their number does not grow with the movie."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

KEPT = 120  # single frames, binned, that are compared with one another
LINES = 600  # frames that a kymograph shows
PREVIEW, PREVIEW_LENGTH = 40, 5  # moments of the preview, and frames averaged for each
FLOW, FLOW_LENGTH = 4, 10  # moments at which residual flow is measured, and frames averaged for each
FIELDS = 24  # fields that are kept
ROWS = 24  # frames of which every other row is looked at
PAIRED = 1000  # frames of the correlation image
SMALL, LEAST = 128, 16  # px, longer side of binned frames, at most, and shorter side, at least


@dataclass(frozen=True)
class Bins:
    """Means of `length` consecutive frames, beginning at `starts`; they do not overlap."""

    starts: np.ndarray  # (k,)
    length: int

    def bin_of(self, frame: int) -> int | None:
        """Number of the bin that `frame` belongs to."""
        i = int(np.searchsorted(self.starts, frame, side="right")) - 1
        return i if i >= 0 and frame < self.starts[i] + self.length else None


@dataclass(frozen=True)
class Moments:
    """The frames that are looked at more closely, evenly spread over the movie."""

    kept: np.ndarray  # (n,)
    lines: np.ndarray
    fields: np.ndarray
    rows: np.ndarray
    preview: Bins
    flow: Bins
    paired_step: int  # every so many frames, one goes into the correlation image
    factor: int  # pixels a side over which binned frames are averaged

    def needs_binned(self, frame: int) -> bool:
        """Whether `frame` is needed in binned form."""
        return place_in(self.kept, frame) is not None or self.preview.bin_of(frame) is not None


def choose_moments(shape: tuple[int, int, int]) -> Moments:
    """Moments of a movie (T, H, W)."""
    frames = shape[0]
    return Moments(
        kept=evenly(frames, KEPT),
        lines=evenly(frames, LINES),
        fields=evenly(frames, FIELDS),
        rows=evenly(frames, ROWS),
        preview=_bins(frames, PREVIEW, PREVIEW_LENGTH),
        flow=_bins(frames, FLOW, FLOW_LENGTH),
        paired_step=-(-frames // PAIRED),
        factor=max(1, min(-(-max(shape[1:]) // SMALL), min(shape[1:]) // LEAST)),
    )


def evenly(frames: int, count: int) -> np.ndarray:
    """At most `count` of `frames` frame numbers, first and last among them."""
    return np.linspace(0, frames - 1, min(frames, count)).round().astype(int)


def place_in(numbers: np.ndarray, frame: int) -> int | None:
    """Where `frame` is among the ordered `numbers`; None: it is none of them."""
    i = int(np.searchsorted(numbers, frame))
    return i if i < len(numbers) and numbers[i] == frame else None


def _bins(frames: int, count: int, length: int) -> Bins:
    count = min(frames, count)
    length = min(length, frames // count)
    return Bins(np.linspace(0, frames - length, count).round().astype(int), length)


def lines_of_most_detail(image: np.ndarray, border: Sequence[slice]) -> dict[str, int]:
    """The "row" y and the "column" x of an image (H, W) along which its brightness changes most."""
    known = np.nan_to_num(image, nan=float(np.nanmean(image)))
    found = {}
    for name, axis in (("row", 1), ("column", 0)):
        # Averaged over three neighbours, so that noise does not choose.
        smooth = sum(np.roll(known, by, axis=1 - axis) for by in (-1, 0, 1))
        detail = np.square(np.diff(smooth, axis=axis)).mean(axis=axis)
        part = border[1 - axis]
        found[name] = int(detail[part].argmax()) + part.start
    return found
