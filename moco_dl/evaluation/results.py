"""What is known of a correction once its frames have been seen: small, whatever the length of the movie."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Traces:
    """One value a frame."""

    correlation_before: np.ndarray  # (T,) float32, with the reference; NaN where it cannot be told
    correlation_after: np.ndarray  # (T,)
    rigid: np.ndarray | None  # (T, 2) float32 px, (dy, dx), backward; None: no fields are known
    nonrigid_mean: np.ndarray | None  # (T,) float32 px, mean length of the field less its mean vector
    nonrigid_max: np.ndarray | None  # (T,) float32 px
    flags: tuple[tuple[str, ...], ...]  # T tuples of words such as "empty", "saturated", "low correlation"


@dataclass(frozen=True)
class Pictures:
    """Images of the movie before and after, same size (H, W), float32, NaN where there is no data."""

    reference: np.ndarray  # (H, W)
    mean_before: np.ndarray  # (H, W)
    mean_after: np.ndarray  # (H, W)
    correlation_before: np.ndarray | None  # (H, W) correlation image: each pixel with its neighbours, in time
    correlation_after: np.ndarray | None


@dataclass(frozen=True)
class Excerpts:
    """A few moments of the movie, evenly spread."""

    preview_frames: np.ndarray  # (k,) at least one: numbers of the first frame of each bin
    preview_before: np.ndarray  # (k, h, w) float32, binned in time and space, for a short loop
    preview_after: np.ndarray  # (k, h, w)
    line: tuple[str, int]  # of the kymographs: ("row", y) or ("column", x)
    line_before: np.ndarray  # (n, L) float32, the line of each frame
    line_after: np.ndarray  # (n, L)
    field_frames: np.ndarray  # (m,) frame numbers; empty when no fields are known
    fields: np.ndarray  # (m, 2, h, w) float32 px, (dy, dx), backward: whole displacement on a coarse grid
    field_step: float  # px between samples of that grid; sample i lies at (i + 0.5) * step - 0.5


@dataclass(frozen=True)
class Row:
    """A line of the table of metrics."""

    key: str  # as in the JSON, e.g. "crispness"
    label: str  # for people
    unit: str  # "", "px", "%", "1/px", "counts/px"
    better: str  # "higher", "lower" or "": neither is better
    note: str  # what it is and whose measure it is, one sentence
    before: float | None = None  # None: does not apply, or cannot be told
    after: float | None = None


@dataclass(frozen=True)
class Verdict:
    """The answer to "can I trust it?"."""

    kind: str  # "better", "no motion", "doubtful" or "worse"
    sentence: str  # plain words
    figures: tuple[tuple[str, str], ...]  # three (label, value with unit) that carry it


@dataclass(frozen=True)
class Evaluation:
    """All that a report shows."""

    shape: tuple[int, int, int]  # (T, H, W)
    traces: Traces
    pictures: Pictures
    excerpts: Excerpts
    table: tuple[Row, ...]
    verdict: Verdict
    provenance: dict  # command, version, weights_sha256, inputs, options: JSON-like; {} in memory
