"""Lines over time as paths of SVG, short whatever the number of frames.

Paths live in a box of 1000 x 1000: frame i of T covers i/T to (i+1)/T of its width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BOX = 1000  # units of the paths
FINEST = 2000  # frames up to which each is drawn for itself
BINS = 1000  # else so many bins, with least and greatest value


@dataclass(frozen=True)
class BinnedTrace:
    """A trace in bins; one frame a bin if it is short. NaN where a bin has no value."""

    low: np.ndarray  # (n,)
    mean: np.ndarray  # (n,)
    high: np.ndarray  # (n,)
    exact: bool  # one frame a bin


def bin_starts(frames: int) -> np.ndarray:
    """First frame of each bin of a movie of `frames`."""
    if frames <= FINEST:
        return np.arange(frames)
    return np.arange(BINS) * frames // BINS


def bin_trace(values: np.ndarray) -> BinnedTrace:
    """Least, mean and greatest of the finite ones of `values` (T,) in each bin of `bin_starts`."""
    values = np.where(np.isfinite(values), values, np.nan).astype(np.float64)
    if len(values) <= FINEST:
        return BinnedTrace(values, values, values, True)
    starts = bin_starts(len(values))
    valid = ~np.isnan(values)
    count = np.add.reduceat(valid, starts, dtype=np.int64)
    mean = np.add.reduceat(np.where(valid, values, 0), starts) / np.maximum(count, 1)
    mean[count == 0] = np.nan
    return BinnedTrace(np.fmin.reduceat(values, starts), mean, np.fmax.reduceat(values, starts), False)


def ticks(low: float, high: float, count: int = 3) -> np.ndarray:
    """Round numbers from `low` to `high`, 1, 2 or 5 apart, about `count` of them."""
    raw = max((high - low) / count, 1e-9)
    power = 10.0 ** np.floor(np.log10(raw))
    step = power * min((1, 2, 5, 10), key=lambda multiple: abs(np.log(multiple * power / raw)))
    return np.arange(np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9) + 1) * step


def limits(traces: Sequence[np.ndarray], least: float) -> tuple[float, float]:
    """Bottom and top of a chart that holds all finite values of `traces`, and spans at least `least`.

    So what does not change looks as if it did not.
    """
    finite = np.concatenate([trace[np.isfinite(trace)] for trace in traces])
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
    margin = max(0.05 * (high - low), (least - (high - low)) / 2)
    return low - margin, high + margin


def line(values: np.ndarray, low: float, high: float) -> str:
    """The path through `values` (n,), `low` at the bottom `high` at the top, broken where there are none."""
    x, y = _places(values, low, high)
    pieces = (f"M{_joined(x[run], y[run])}{'h0' if len(run) == 1 else ''}" for run in _runs(values))
    return "".join(pieces)


def band(trace: BinnedTrace, low: float, high: float) -> str:
    """The path around the area from the least to the greatest value of each bin."""
    x, top = _places(trace.high, low, high)
    bottom = _places(trace.low, low, high)[1]
    pieces = []
    for run in _runs(trace.low):
        back = run[::-1]
        around = np.concatenate([x[run], x[back]]), np.concatenate([top[run], bottom[back]])
        pieces.append(f"M{_joined(*around)}Z")
    return "".join(pieces)


def _places(values: np.ndarray, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    x = (np.arange(len(values)) + 0.5) * (BOX / len(values))
    return x, BOX * (high - values) / (high - low)


def _runs(values: np.ndarray) -> list[np.ndarray]:
    """Indices of the stretches of `values` that are finite."""
    valid = np.flatnonzero(np.isfinite(values))
    if not len(valid):
        return []
    return np.split(valid, np.flatnonzero(np.diff(valid) > 1) + 1)


def _joined(x: np.ndarray, y: np.ndarray) -> str:
    return "L".join(f"{a:.1f},{b:.0f}" for a, b in zip(x.tolist(), y.tolist(), strict=True))
