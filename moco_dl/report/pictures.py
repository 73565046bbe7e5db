"""The images of a report: the same black and white before and after, no larger than a page needs."""

from dataclasses import dataclass

import numpy as np

from moco_dl.blocks import block_means
from moco_dl.evaluation import Excerpts, Pictures
from moco_dl.evaluation.moments import evenly
from moco_dl.report.raster import (
    common_limits,
    contact_sheet,
    grey,
    jpeg,
    png,
    shrink_factor,
    shrunk,
)

IMAGE = 720  # px, longest side of an image in the page
CORRELATION_IMAGE = 512
MOMENTS, MOMENT = 40, 160  # number of pictures of a preview, and their longest side in px
LINES, LINE = 700, 224  # of a kymograph: lines, and their length in px


@dataclass(frozen=True)
class Image:
    """An encoded image and the pixels (height, width) of the movie that it covers; it may overhang them."""

    address: str
    extent: tuple[int, int]


@dataclass(frozen=True)
class Preview:
    """Moments of the movie before and after, each in a contact sheet of cells of `size` (h, w)."""

    before: str
    after: str
    frames: tuple[int, ...]  # first frame of each moment
    columns: int
    rows: int
    size: tuple[int, int]
    scale: float  # of the movie's pixels to those of a cell


@dataclass(frozen=True)
class Kymographs:
    """A line through the image over time, before and after; time runs to the right."""

    before: str
    after: str
    line: tuple[str, int]


def images(pictures: Pictures) -> dict[str, Image]:
    """The reference and the images before and after by name, correlation images only if they are known."""
    before, after = (shrunk(i, IMAGE) for i in (pictures.mean_before, pictures.mean_after))
    limits = common_limits(before, after)
    reference = shrunk(pictures.reference, IMAGE)
    shape = pictures.reference.shape
    made = {
        "reference": _image(reference, common_limits(reference), shape, IMAGE),
        "mean-before": _image(before, limits, shape, IMAGE),
        "mean-after": _image(after, limits, shape, IMAGE),
    }
    pair = [pictures.correlation_before, pictures.correlation_after]
    if not any(image is None for image in pair):
        pair = [shrunk(image, CORRELATION_IMAGE) for image in pair]
        limits = common_limits(*pair)
        names = ("correlation-before", "correlation-after")
        for name, image in zip(names, pair, strict=True):
            made[name] = _image(image, limits, shape, CORRELATION_IMAGE)
    return made


def _image(image: np.ndarray, limits: tuple[float, float], shape: tuple[int, int], largest: int) -> Image:
    factor = shrink_factor(shape, largest)
    return Image(png(grey(image, limits)), (image.shape[0] * factor, image.shape[1] * factor))


def preview(excerpts: Excerpts, shape: tuple[int, int]) -> Preview:
    """The moments of `excerpts` of a movie of frames of `shape` (H, W)."""
    chosen = evenly(len(excerpts.preview_frames), MOMENTS)
    pair = [shrunk(cells[chosen], MOMENT) for cells in (excerpts.preview_before, excerpts.preview_after)]
    limits = common_limits(*pair)
    sheets = [contact_sheet(grey(cells, limits)) for cells in pair]
    size = pair[0].shape[1:]
    # By the longer side: of a short one, what is cut off is a large part.
    binning = round(max(shape) / max(excerpts.preview_before.shape[1:]))
    return Preview(
        before=jpeg(sheets[0][0]),
        after=jpeg(sheets[1][0]),
        frames=tuple(int(frame) for frame in excerpts.preview_frames[chosen]),
        columns=sheets[0][1],
        rows=-(-len(chosen) // sheets[0][1]),
        size=(int(size[0]), int(size[1])),
        scale=1 / (binning * shrink_factor(excerpts.preview_before.shape[1:], MOMENT)),
    )


def kymographs(excerpts: Excerpts) -> Kymographs:
    """The lines of `excerpts` as pictures, position downwards."""
    count, length = excerpts.line_before.shape
    block = (-(-count // LINES), -(-length // LINE))
    pair = [block_means(lines, block).T for lines in (excerpts.line_before, excerpts.line_after)]  # (L, n)
    limits = common_limits(*pair)
    before, after = (png(grey(image, limits)) for image in pair)
    return Kymographs(before, after, excerpts.line)
