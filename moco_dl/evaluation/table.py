"""The figures of an evaluation: measured once from the sums, shown as a table, judged by the verdict."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter, uniform_filter

from moco_dl.evaluation.flags import rescued
from moco_dl.evaluation.metrics import correlation, correlation_with_others, crispness, inner, sharpness
from moco_dl.evaluation.residual import component_shifts, flow_possible, residual_flow, shifts
from moco_dl.evaluation.results import Row, Traces
from moco_dl.evaluation.tally import Tally
from moco_dl.evaluation.verdict import Measured

if TYPE_CHECKING:
    from moco_dl.evaluation.evaluator import Evaluator

MAX_SHIFT = 0.15  # of the shorter side
FINE, COARSE = 1.0, 25  # binned px, sigma and side: what lies between tells of motion, not of noise or shading


INSTALL = "pip install 'nrcorrect[report]'"


@dataclass(frozen=True)
class Line:
    """A line of the table, without its values: see `Row`."""

    key: str
    label: str
    unit: str
    better: str
    note: str


HIGH, LOW = "higher", "lower"
CORRELATION = Line(
    "correlation",
    "Correlation with the reference",
    "",
    HIGH,
    "Mean over the frames; as NoRMCorre and CaImAn report it.",
)
AGREEMENT = Line(
    "agreement",
    "Agreement with the other frames",
    "",
    HIGH,
    "Mean correlation of each frame with the mean of the others, noise and slow shading filtered out.",
)
SHARPNESS = Line(
    "sharpness",
    "Sharpness of the mean image",
    "1/px",
    HIGH,
    "Gradients that the means of even and odd frames share, over the contrast they share; free of noise.",
)
CRISPNESS = Line(
    "crispness",
    "Crispness of the mean image",
    "counts/px",
    HIGH,
    "Norm of the gradient, after NoRMCorre; noise counts, so that in dim movies interpolation lowers it.",
)
CRISPNESS_CORRELATION = Line(
    "crispness_correlation_image",
    "Crispness of the correlation image",
    "1/px",
    HIGH,
    "The same of each pixel's correlation with its neighbours in time; interpolation makes neighbours alike.",
)
FLOW = Line(
    "residual_flow",
    "Residual optical flow",
    "px",
    LOW,
    "Mean length of Farneback's flow from the reference to frames averaged over time; CaImAn's protocol.",
)
SHIFT = Line(
    "residual_shift",
    "Residual shift",
    "px",
    LOW,
    "Mean distance of whole frames from their middle position; noise adds to it.",
)
COMPONENTS = Line(
    "component_shift",
    "Shift along principal components",
    "px",
    LOW,
    "Mean shift between the frames at both ends of the first components, after Suite2p.",
)
RIGID = Line("rigid_mean", "Whole-frame shift, mean", "px", "", "Length of each frame's mean displacement.")
RIGID_MAX = Line("rigid_max", "Whole-frame shift, largest", "px", "", "The longest of them.")
NONRIGID = Line(
    "nonrigid_mean", "Non-rigid displacement, mean", "px", "", "What is left of the field without its mean."
)
NONRIGID_MAX = Line(
    "nonrigid_max", "Non-rigid displacement, largest", "px", "", "The longest anywhere in the movie."
)
FOLDED = Line(
    "folded",
    "Folded pixels",
    "%",
    LOW,
    "Where the Jacobian determinant of the field is not positive; should be none.",
)
INTERPOLATED = Line(
    "interpolated", "Interpolated pixels", "%", "", "Displaced by other than whole pixels; the rest was copied."
)
EDGE = Line("edge", "Pixels from outside the frame", "%", LOW, "They repeat the frame's edge.")
VALID = Line("valid", "Pixels with data in every frame", "%", HIGH, "What can be analysed without gaps.")
FLAGGED = Line("flagged", "Flagged frames", "%", LOW, "See the flags of single frames.")


@dataclass(frozen=True)
class Figures:
    """Single figures of both movies, (before, after)."""

    correlation: tuple[float, float]  # with the reference
    crispness: tuple[float, float]
    correlation_image: tuple[float, float]
    shift: tuple[float, float]  # px
    components: tuple[float, float]  # px
    flow: tuple[float, float]  # px
    measured: Measured


def measure(evaluator: "Evaluator", traces: Traces) -> Figures:
    """Figures of both movies from what an `Evaluator` has summed up."""
    known = [np.isfinite(tally.kept).all(axis=(1, 2)) for tally in evaluator.tallies]
    kept = [tally.kept[known[0] & known[1]] for tally in evaluator.tallies]
    shift = _pair(_rigid_motion, kept, evaluator.moments.factor)
    components = _pair(_component_motion, kept, evaluator.moments.factor)
    watch, fit = evaluator.watch, _pair(_mean, (traces.correlation_before, traces.correlation_after))
    measured = Measured(
        sharpness=_pair(lambda tally: sharpness(*tally.half_means), evaluator.tallies),
        # What is less: noise adds to either, activity to the components.
        motion=tuple(float(np.fmin(*both)) for both in zip(shift, components, strict=True)),
        fit=fit if evaluator.given else (np.nan, np.nan),
        agreement=_pair(_agreement, kept),
        scene=_same_scene(*kept),
        folded=_mean(watch.values["folded"]) if watch.stride else 0.0,
        rescued=int(rescued(traces.correlation_before, traces.correlation_after).sum()),
        flagged=float(np.mean([bool(words) for words in traces.flags])),
    )
    images = [tally.pairs.image() for tally in evaluator.tallies]
    return Figures(
        fit,
        _pair(lambda tally: crispness(tally.mean), evaluator.tallies),
        _pair(lambda image: np.nan if image is None else crispness(image), images),
        shift,
        components,
        _pair(_flow, evaluator.tallies, watch.reference),
        measured,
    )


def _mean(values: np.ndarray) -> float:
    """Mean of what is finite, or NaN."""
    return np.mean(values[np.isfinite(values)]) if np.isfinite(values).any() else np.nan


def _pair(function: Callable, both: Sequence, *more: object) -> tuple[float, float]:
    return tuple(float(function(one, *more)) for one in both)


def _rigid_motion(kept: np.ndarray, factor: int) -> float:
    """Mean distance of frames (n, h, w) from their middle position, in full px, against their own mean."""
    if len(kept) < 2:
        return np.nan
    found = factor * shifts(kept, kept.mean(axis=0), MAX_SHIFT * min(kept.shape[1:]))
    return np.hypot(*(found - np.median(found, axis=0)).T).mean()


def _component_motion(kept: np.ndarray, factor: int) -> float:
    found = component_shifts(kept, MAX_SHIFT * min(kept.shape[1:]))
    return factor * found.mean() if len(found) else np.nan


def _flow(tally: Tally, reference: np.ndarray) -> float:
    if not flow_possible() or not tally.flow_means:
        return np.nan
    image = np.nan_to_num(reference, nan=float(np.nanmean(reference)))
    return np.mean([residual_flow(mean, image) for mean in tally.flow_means])


def _banded(frames: np.ndarray) -> np.ndarray:
    filtered = [gaussian_filter(frame, FINE) - uniform_filter(frame, COARSE) for frame in frames]
    return np.stack(filtered)[(slice(None), *inner(frames.shape[1:]))]


def _agreement(kept: np.ndarray) -> float:
    return _mean(correlation_with_others(_banded(kept))) if len(kept) > 1 else np.nan


def _same_scene(before: np.ndarray, after: np.ndarray) -> float:
    """Correlation of the mean images of frames (n, h, w), the second shifted onto the first by whole px."""
    if len(before) == 0:
        return np.nan
    means = [frames.mean(axis=0) for frames in (before, after)]
    dy, dx = shifts(means[1][None], means[0], MAX_SHIFT * min(means[0].shape))[0].round().astype(int)
    first, second = _banded(np.stack([means[0], np.roll(means[1], (-dy, -dx), (0, 1))]))
    return correlation(first, second)


def build_table(evaluator: "Evaluator", figures: Figures, traces: Traces) -> list[Row]:
    """The table's lines: how well frames agree, how sharp images are, what moves, what was applied."""
    measured, watch = figures.measured, evaluator.watch
    rows = [
        _row(line, pair)
        for line, pair in (
            (CORRELATION, figures.correlation),
            (AGREEMENT, measured.agreement),
            (SHARPNESS, measured.sharpness),
            (CRISPNESS, figures.crispness),
            (CRISPNESS_CORRELATION, figures.correlation_image),
            (FLOW, figures.flow),
            (SHIFT, figures.shift),
            (COMPONENTS, figures.components),
        )
    ]
    if watch.stride:
        length = np.hypot(*traces.rigid.T)
        covered = watch.covered / watch.shape[0]
        applied = {
            RIGID: np.nanmean(length),
            RIGID_MAX: np.nanmax(length),
            NONRIGID: np.nanmean(traces.nonrigid_mean),
            NONRIGID_MAX: np.nanmax(traces.nonrigid_max),
            FOLDED: 100 * measured.folded,
            INTERPOLATED: 100 * np.nanmean(watch.values["interpolated"]),
            EDGE: 100 * (1 - covered.mean()),
            VALID: 100 * (covered == 1).mean(),
        }
        rows += [_row(line, (np.nan, value)) for line, value in applied.items()]
    return [*rows, _row(FLAGGED, (np.nan, 100 * measured.flagged))]


def _row(line: Line, pair: tuple[float, float]) -> Row:
    before, after = (float(value) if np.isfinite(value) else None for value in pair)
    note = line.note
    if line is FLOW and not flow_possible():
        note += f" Left out: it needs OpenCV, {INSTALL}."
    return Row(line.key, line.label, line.unit, before, after, line.better, note)
