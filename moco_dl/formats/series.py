"""Series of a TIFF: which of them are the movie."""

import math
from collections.abc import Sequence

import tifffile


def largest(
    series: Sequence[tifffile.TiffPageSeries],
) -> tuple[list[tifffile.TiffPageSeries], list[tifffile.TiffPageSeries]]:
    """Those that look alike and have most frames together, and the others; ValueError if there are none."""
    if not series:
        raise ValueError("it holds no image")
    kinds: dict[tuple, list[tifffile.TiffPageSeries]] = {}
    for one in series:
        kinds.setdefault((one.axes[-2:], one.shape[-2:], one.dtype), []).append(one)
    alike = max(kinds.values(), key=lambda kind: sum(frames_of(one) for one in kind))
    return alike, [one for kind in kinds.values() if kind is not alike for one in kind]


def says_where(series: tifffile.TiffPageSeries) -> bool:
    """Whether it is said of each frame in which file it is, and where."""
    return series.kind == "ome" or series.is_multifile


def loose(series: Sequence[tifffile.TiffPageSeries]) -> bool:
    """Whether they are pages of a file, sorted by how these are stored."""
    return all(one.kind == "generic" for one in series)


def frames_of(series: tifffile.TiffPageSeries) -> int:
    """How many images of a height and width it holds."""
    return math.prod(series.shape[: max(series.axes.find("Y"), 0)])


def left_out(
    others: Sequence[tifffile.TiffPageSeries], movie: Sequence[tifffile.TiffPageSeries]
) -> tuple[str, ...]:
    """What to tell of `others` beside the movie: nothing of thumbnails that say what they are."""
    sizes = [one for one in others if one.shape[-2:] != movie[0].shape[-2:] and not one.keyframe.is_reduced]
    count = sum(map(frames_of, sizes))
    if count == 1:
        return ("1 image of another size was left out",)
    return (f"{count} images of other sizes were left out",) if count else ()
