"""The fields of a few frames as a report shows them: arrows and colours, on scales that hold for all frames."""

from dataclasses import dataclass

import numpy as np

from moco_dl.evaluation import Excerpts
from moco_dl.evaluation.moments import evenly
from moco_dl.report.arrows import arrow_path, lattice, magnification
from moco_dl.report.raster import direction_colours, png, shrink_factor, shrunk

MOST = 12  # frames shown
FINEST = 56  # places of the grid along its longer side
LEAST_SCALE = 0.5  # px; what is small should look small


@dataclass(frozen=True)
class Drawing:
    """A field drawn."""

    arrows: str  # path in pixels of the image
    colours: str  # address of a picture that covers the grid


@dataclass(frozen=True)
class FieldView:
    """The field of one frame."""

    frame: int
    words: str
    whole: Drawing
    shape: Drawing  # less the mean vector


@dataclass(frozen=True)
class Scale:
    """How a kind of drawing is to be read."""

    largest: float  # px of full colour
    times: float  # how much longer than the motion arrows are


@dataclass(frozen=True)
class FieldViews:
    """All that the page's section of fields shows."""

    views: tuple[FieldView, ...]
    whole: Scale
    shape: Scale
    extent: tuple[float, float]  # px (height, width) that the grid covers
    first: int  # which view to begin with: the one that deforms most


def field_views(excerpts: Excerpts) -> FieldViews | None:
    """Draw the fields of `excerpts`; None if there are none."""
    if not len(excerpts.field_frames):
        return None
    chosen = evenly(len(excerpts.field_frames), MOST)
    whole = shrunk(np.asarray(excerpts.fields[chosen], np.float32), FINEST)  # (m, 2, h, w)
    step = excerpts.field_step * shrink_factor(excerpts.fields.shape[2:], FINEST)
    means = np.stack([[_mean(part) for part in field] for field in whole])  # (m, 2)
    shape = whole - means[:, :, None, None]
    place = lattice(whole.shape[2:], step)
    drawn, scales = [], []
    for fields in (whole, shape):
        largest = _largest(fields)
        times = magnification(largest, place.spacing)
        scales.append(Scale(largest, times))
        drawn.append([Drawing(arrow_path(f, place, times), png(direction_colours(f, largest))) for f in fields])
    beyond = [_longest(field) for field in shape]
    views = [
        FieldView(int(excerpts.field_frames[i]), _words(means[n], _longest(whole[n]), beyond[n]), a, b)
        for n, (i, a, b) in enumerate(zip(chosen, *drawn, strict=True))
    ]
    extent = (whole.shape[2] * step, whole.shape[3] * step)
    return FieldViews(tuple(views), *scales, extent, int(np.argmax(beyond)))


def _mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else 0.0


def _lengths(field: np.ndarray) -> np.ndarray:
    lengths = np.hypot(*np.moveaxis(field, -3, 0))
    return lengths[np.isfinite(lengths)]


def _longest(field: np.ndarray) -> float:
    return float(_lengths(field).max(initial=0.0))


def _largest(fields: np.ndarray) -> float:
    """A round number, in px, near the longest displacements."""
    lengths = _lengths(fields)
    found = float(np.percentile(lengths, 99.5)) if len(lengths) else 0.0
    return max(LEAST_SCALE, float(f"{found:.1g}" if found < 1 else f"{found:.2g}"))


def _words(mean: np.ndarray, longest: float, beyond: float) -> str:
    dy, dx = (f"{v:+.2f}".replace("-", "\u2212") for v in mean)
    return f"mean dy {dy}, dx {dx} px; longest {longest:.2f} px; beyond the mean up to {beyond:.2f} px"
