"""The figures of an evaluation as a table: what each is called, whose measure it is, what is better."""

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from moco_dl.evaluation.measure import Figures, finite_mean
from moco_dl.evaluation.metrics import pixels_between
from moco_dl.evaluation.residual import flow_possible
from moco_dl.evaluation.results import Row, Traces

if TYPE_CHECKING:
    from moco_dl.evaluation.evaluator import Evaluator

INSTALL = "pip install opencv-python-headless"

HIGH, LOW = "higher", "lower"
CORRELATION = Row(
    "correlation",
    "Correlation with the reference",
    "",
    HIGH,
    "Mean over the frames; as NoRMCorre and CaImAn report it.",
)
AGREEMENT = Row(
    "agreement",
    "Agreement with the other frames",
    "",
    HIGH,
    "Mean correlation of each frame with the mean of the others, noise and slow shading filtered out.",
)
SHARPNESS = Row(
    "sharpness",
    "Sharpness of the mean image",
    "1/px",
    HIGH,
    "Gradients that the means of even and odd frames share, over the contrast they share; free of noise, and of"
    " hot pixels.",
)
CRISPNESS = Row(
    "crispness",
    "Crispness of the mean image",
    "counts/px",
    HIGH,
    "Norm of the gradient, after NoRMCorre; noise counts, so that in dim movies interpolation lowers it.",
)
CRISPNESS_CORRELATION = Row(
    "crispness_correlation_image",
    "Crispness of the correlation image",
    "1/px",
    HIGH,
    "The same of each pixel's correlation with its neighbours in time; interpolation makes neighbours alike.",
)
FLOW = Row(
    "residual_flow",
    "Residual optical flow",
    "px",
    LOW,
    "Mean length of Farneback's flow from the reference to frames averaged over time; CaImAn's protocol.",
)
SHIFT = Row(
    "residual_shift",
    "Residual shift",
    "px",
    LOW,
    "Mean distance of whole frames from their middle position; noise adds to it.",
)
COMPONENTS = Row(
    "component_shift",
    "Shift along principal components",
    "px",
    LOW,
    "Mean shift between the frames at both ends of the first components, after Suite2p.",
)
OWN = Row(
    "own_frame",
    "Frames like their own raw frame",
    "%",
    HIGH,
    "How often a raw frame is more like its own corrected frame than like another: 50 % by chance.",
)
ROWS_MOVED = Row(
    "rows_moved",
    "Every other row moved",
    "px",
    "",
    "By so much to the left against those between, by the correction; right if rows are more alike then.",
)
ROWS_ALIKE = Row(
    "rows_alike",
    "Likeness of every other row",
    "",
    HIGH,
    "In raw frames, with the rows above and below, where it lay and where the correction has put it.",
)
LIMITS = Row(
    "at_limits",
    "Pixels at the least or greatest value",
    "%",
    LOW,
    "In the middle of the frame; clipping puts many there.",
)
RIGID = Row("rigid_mean", "Whole-frame shift, mean", "px", "", "Length of each frame's mean displacement.")
RIGID_MAX = Row("rigid_max", "Whole-frame shift, largest", "px", "", "The longest of them.")
NONRIGID = Row(
    "nonrigid_mean", "Non-rigid displacement, mean", "px", "", "What is left of the field without its mean."
)
NONRIGID_MAX = Row(
    "nonrigid_max", "Non-rigid displacement, largest", "px", "", "The longest anywhere in the movie."
)
FOLDED = Row(
    "folded",
    "Folded pixels",
    "%",
    LOW,
    "Where the Jacobian determinant of the field is not positive; should be none.",
)
INTERPOLATED = Row(
    "interpolated", "Interpolated pixels", "%", "", "Displaced by other than whole pixels; the rest was copied."
)
EDGE = Row("edge", "Pixels from outside the frame", "%", LOW, "They repeat the frame's edge.")
VALID = Row("valid", "Pixels with data in every frame", "%", HIGH, "What can be analysed without gaps.")
FLAGGED = Row("flagged", "Flagged frames", "%", LOW, "See the flags of single frames.")


def build_table(evaluator: "Evaluator", figures: Figures, traces: Traces) -> list[Row]:
    """The table's lines: how well frames agree, how sharp images are, what moves, what was applied."""
    evidence, watch = figures.evidence, evaluator.watch
    rows = [
        _row(line, pair)
        for line, pair in (
            (CORRELATION, figures.correlation),
            (AGREEMENT, evidence.agreement),
            (SHARPNESS, evidence.sharpness),
            (CRISPNESS, figures.crispness),
            (CRISPNESS_CORRELATION, figures.correlation_image),
            (FLOW, figures.flow),
            (SHIFT, figures.shift),
            (COMPONENTS, figures.components),
            (OWN, (np.nan, 100 * evidence.own)),
            (ROWS_MOVED, (np.nan, evidence.rows[0])),
            (ROWS_ALIKE, evidence.rows[1:]),
        )
    ]
    if evidence.clipped:
        rows.append(_row(LIMITS, tuple(100 * share for share in evidence.limits)))
    if watch.stride:
        length = np.hypot(*traces.rigid.T)
        applied = {
            RIGID: finite_mean(length),
            RIGID_MAX: np.fmax.reduce(length),
            NONRIGID: finite_mean(traces.nonrigid_mean),
            NONRIGID_MAX: np.fmax.reduce(traces.nonrigid_max),
            FOLDED: 100 * evidence.folded,
            INTERPOLATED: 100 * finite_mean(watch.values["interpolated"]),
            EDGE: 100 * (1 - watch.pixels / math.prod(watch.shape)),
            VALID: 100 * pixels_between(*watch.always) / math.prod(watch.shape[1:]),
        }
        rows += [_row(line, (np.nan, value)) for line, value in applied.items()]
    return [*rows, _row(FLAGGED, (np.nan, 100 * evidence.flagged))]


def _row(line: Row, pair: tuple[float, float]) -> Row:
    before, after = (float(value) if np.isfinite(value) else None for value in pair)
    note = line.note
    if line is FLOW and not flow_possible():
        note += f" Left out: it needs OpenCV, {INSTALL}."
    return replace(line, before=before, after=after, note=note)
