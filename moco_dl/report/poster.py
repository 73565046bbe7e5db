"""The main figure of a report as a picture; it needs matplotlib, which comes with the extra `figures`."""

from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np

from moco_dl.evaluation import Evaluation, Excerpts
from moco_dl.report.chart import BinnedTrace, bin_starts, bin_trace
from moco_dl.report.raster import common_limits, grey, shrunk
from moco_dl.report.timeline import LABELS, flags_by_bin, known_subjects

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

IMAGE = 720  # px, longest side of an image in the figure
COLOURS = {
    "before": "#b3541e",
    "after": "#1b6699",
    "dy": "#6d479b",
    "dx": "#1a7a68",
    "largest": "#6d479b",
    "mean": "#1a7a68",
}
LETTERS = 100  # of a line of the heading


def poster(evaluation: Evaluation, title: str) -> "Figure":
    """Verdict, mean images, overlay, traces and kymographs of `evaluation` on one figure, `title` above."""
    from matplotlib.figure import Figure

    shown = known_subjects(evaluation.traces)
    _, height, width = evaluation.shape
    above, beneath = 0.3 + min(6.0, 3 * height / width), 1.15 * (len(shown) + 2)  # inches
    head = _head(evaluation, title)
    heading = 0.25 * (1 + head.count("\n"))
    figure = Figure(figsize=(9, heading + above + beneath), layout="constrained")
    top, below = figure.subfigures(2, 1, height_ratios=(above, beneath))
    figure.suptitle(head, x=0.01, ha="left", fontsize=10.5, linespacing=1.6, parse_math=False)
    _draw_images(top.subplots(1, 3), evaluation)
    axes = below.subplots(len(shown) + 2, 1, sharex=True, squeeze=False)[:, 0]
    starts = bin_starts(evaluation.shape[0])
    for place, (subject, traces) in zip(axes, shown, strict=False):
        for key, values in traces.items():
            _draw_curve(place, starts, bin_trace(values), key)
        name = f"{subject.title}, {subject.unit}" if subject.unit else subject.title
        place.set_title(name, loc="left", fontsize=9)
        place.legend(frameon=False, fontsize=8, ncols=2, loc="lower right", bbox_to_anchor=(1, 0.93))
        place.spines[["top", "right"]].set_visible(False)
    _draw_kymographs(axes[-2:], evaluation.excerpts, evaluation.shape[0])
    _mark_flags(axes[0], starts[list(flags_by_bin(evaluation.traces.flags))])
    axes[-1].xaxis.get_major_locator().set_params(integer=True)
    axes[-1].set(xlim=(-0.5, evaluation.shape[0] - 0.5), xlabel="frame")
    return figure


def _head(evaluation: Evaluation, title: str) -> str:
    frames, height, width = evaluation.shape
    verdict = evaluation.verdict
    lines = [
        f"{title}, {frames} frames of {height} \u00d7 {width}",
        *wrap(f"{verdict.kind.capitalize()}. {verdict.sentence}", LETTERS),
        *wrap(";  ".join(f"{label} {value}" for label, value in verdict.figures), LETTERS),
    ]
    return "\n".join(lines)


def _draw_images(axes: "np.ndarray", evaluation: Evaluation) -> None:
    pictures = evaluation.pictures
    before, after, reference = (
        shrunk(image, IMAGE) for image in (pictures.mean_before, pictures.mean_after, pictures.reference)
    )
    limits = common_limits(before, after)
    red, green = grey(reference, common_limits(reference)), grey(after, limits)
    shown = {
        "mean image before": grey(before, limits),
        "mean image after": green,
        "reference red, after green": np.stack([red, green, np.zeros_like(red)], axis=-1),
    }
    for place, (name, image) in zip(axes, shown.items(), strict=True):
        place.imshow(image, cmap="gray", vmin=0, vmax=255)
        place.set_title(name, loc="left", fontsize=9)
        place.set_axis_off()


def _draw_curve(place: "Axes", starts: np.ndarray, trace: BinnedTrace, key: str) -> None:
    place.plot(starts, trace.mean, color=COLOURS[key], linewidth=0.8, label=LABELS.get(key, key))
    if not trace.exact:
        place.fill_between(starts, trace.low, trace.high, color=COLOURS[key], alpha=0.25, linewidth=0)


def _draw_kymographs(axes: "np.ndarray", excerpts: Excerpts, frames: int) -> None:
    limits = common_limits(excerpts.line_before, excerpts.line_after)
    for place, name, lines in zip(
        axes, ("before", "after"), (excerpts.line_before, excerpts.line_after), strict=True
    ):
        extent = (-0.5, frames - 0.5, lines.shape[1], 0)
        place.imshow(grey(lines, limits).T, cmap="gray", aspect="auto", extent=extent, vmin=0, vmax=255)
        place.set_title(f"{excerpts.line[0]} {excerpts.line[1]} {name}", loc="left", fontsize=9)


def _mark_flags(place: "Axes", flagged: np.ndarray) -> None:
    if len(flagged):
        heights = np.full(len(flagged), 1.0)
        place.plot(flagged, heights, "|", color=COLOURS["before"], transform=place.get_xaxis_transform())
