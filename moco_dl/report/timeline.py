"""What a report shows over time: charts of the traces, flagged frames, and the values behind them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import numpy as np

from moco_dl.evaluation import Traces
from moco_dl.report.chart import BOX, BinnedTrace, band, bin_starts, bin_trace, limits, line, ticks

LISTED_FLAGS = 60  # runs of flagged frames in the page's list


@dataclass(frozen=True)
class Curve:
    """A line of a chart, and in a long movie the band of what it varies over."""

    key: str
    label: str
    line: str
    band: str


@dataclass(frozen=True)
class Chart:
    """Curves over a common axis."""

    title: str
    unit: str
    note: str
    ticks: tuple[tuple[float, str], ...]  # (per cent from the top, text)
    curves: tuple[Curve, ...]


@dataclass(frozen=True)
class FlagRun:
    """Neighbouring frames flagged for the same reasons."""

    first: int
    last: int
    words: str


class Subject(NamedTuple):
    """What a chart is of."""

    title: str
    unit: str
    note: str
    least: float  # height in that unit, at least
    keys: tuple[str, ...]  # of its curves


SUBJECTS = (
    Subject("Whole-frame shift", "px", "", 1.0, ("dy", "dx")),
    Subject("Non-rigid motion", "px", "beyond the whole-frame shift", 1.0, ("largest", "mean")),
    Subject("Correlation with the reference", "", "", 0.1, ("before", "after")),
)
LABELS = {"dy": "dy, down", "dx": "dx, right"}


def curves_of(traces: Traces) -> dict[str, np.ndarray]:
    """The traces (T,) that are known, by the key of their curve."""
    rigid = (None, None) if traces.rigid is None else traces.rigid.T
    known = {
        "dy": rigid[0],
        "dx": rigid[1],
        "largest": traces.nonrigid_max,
        "mean": traces.nonrigid_mean,
        "before": traces.correlation_before,
        "after": traces.correlation_after,
    }
    return {key: values for key, values in known.items() if values is not None}


def known_subjects(traces: Traces) -> list[tuple[Subject, dict[str, np.ndarray]]]:
    """Subjects of which at least one curve is known, and the traces (T,) of such by key."""
    known = curves_of(traces)
    pairs = [(subject, {key: known[key] for key in subject.keys if key in known}) for subject in SUBJECTS]
    return [(subject, values) for subject, values in pairs if values]


def charts(traces: Traces) -> tuple[Chart, ...]:
    """The charts of which at least one curve is known."""
    made = []
    for subject, values in known_subjects(traces):
        low, high = limits(list(values.values()), subject.least)
        curves = tuple(_curve(key, bin_trace(v), low, high) for key, v in values.items())
        made.append(Chart(subject.title, subject.unit, subject.note, value_ticks(low, high), curves))
    return tuple(made)


def _curve(key: str, trace: BinnedTrace, low: float, high: float) -> Curve:
    area = "" if trace.exact else band(trace, low, high)
    return Curve(key, LABELS.get(key, key), line(trace.mean, low, high), area)


def value_ticks(low: float, high: float) -> tuple[tuple[float, str], ...]:
    """Per cent from the top, and text, of round values of a chart from `low` to `high`."""
    values = ticks(low, high) + 0.0  # no minus zero
    texts = (f"{value:.6g}".replace("-", "\u2212") for value in values)
    return tuple(
        (round(100 * (high - v) / (high - low), 2), text) for v, text in zip(values, texts, strict=True)
    )


def frame_ticks(frames: int) -> tuple[tuple[float, str], ...]:
    """Per cent from the left, and text, of round frame numbers of a movie of `frames`."""
    numbers = [int(v) for v in ticks(0, max(frames - 1, 1), 6) if v == int(v) and v < frames]
    return tuple(
        (round(100 * (number + 0.5) / frames, 2), f"{number:,}".replace(",", " ")) for number in numbers
    )


def flag_runs(flags: Sequence[tuple[str, ...]]) -> list[FlagRun]:
    """The flagged frames among `flags` (one tuple of words a frame), neighbours of the same words together."""
    runs = []
    for words, members in groupby(enumerate(flags), key=lambda item: item[1]):
        numbers = [number for number, _ in members]
        if words:
            runs.append(FlagRun(numbers[0], numbers[-1], ", ".join(words)))
    return runs


def flags_by_bin(flags: Sequence[tuple[str, ...]]) -> dict[int, str]:
    """The words of flagged frames by bin, see `chart.bin_starts`."""
    starts = bin_starts(len(flags))
    words: dict[int, dict[str, None]] = {}
    flagged = np.array([number for number, reasons in enumerate(flags) if reasons], np.int64)
    for number, place in zip(flagged, np.searchsorted(starts, flagged, side="right") - 1, strict=True):
        words.setdefault(int(place), {}).update(dict.fromkeys(flags[number]))
    return {place: ", ".join(reasons) for place, reasons in words.items()}


def flag_marks(by_bin: dict[int, str], bins: int) -> str:
    """The path of a mark over each flagged bin, wide enough to be seen."""
    width = max(BOX / bins, 1.5)
    left = (place * BOX / bins + BOX / bins / 2 - width / 2 for place in by_bin)
    return "".join(f"M{x:.1f},0h{width:.1f}v{BOX}h-{width:.1f}Z" for x in left)


def readings(traces: Traces) -> dict:
    """What the page tells of a frame: JSON-like; one value a frame, or the least and greatest of each bin."""
    by_key = {key: bin_trace(values) for key, values in curves_of(traces).items()}
    return {
        "frames": len(traces.flags),
        "starts": bin_starts(len(traces.flags)).tolist(),
        "flags": flags_by_bin(traces.flags),
        "curves": {
            key: {"low": _numbers(trace.low)} | ({} if trace.exact else {"high": _numbers(trace.high)})
            for key, trace in by_key.items()
        },
    }


def _numbers(values: np.ndarray) -> list[float | None]:
    return [float(f"{v:.3g}") if np.isfinite(v) else None for v in values.tolist()]
