"""Known fields applied to movies: once more, or to another channel."""

from collections.abc import Iterator

import numpy as np

from moco_dl.errors import NrcorrectError
from moco_dl.fields import Fields, checked_fields
from moco_dl.intensity import clipped
from moco_dl.memory import frames_together
from moco_dl.motion import Motion
from moco_dl.movie import ArrayMovie, Movie, read_batches
from moco_dl.moving import move
from moco_dl.options import INTERPOLATIONS
from moco_dl.parallel import Workers, workers_first
from moco_dl.sampled.scan import straightened
from moco_dl.stream import Batch, gathered

CHANNELS = 4  # at most, that are thought of if a movie is longer than its fields


def apply(frames: np.ndarray, fields: Fields, *, interpolation: str | None = None) -> np.ndarray:
    """Apply known fields to a movie (T, H, W) of the same size and length; the dtype stays.

    `interpolation` defaults to what the fields were made with. Raises NrcorrectError if the shapes differ, or
    if there is no such interpolation.
    """
    movie = ArrayMovie(frames)
    batches = apply_batches(movie, checked_fields(fields), interpolation=interpolation)
    with workers_first():
        parts = ((batch.start, {"frames": batch.frames}) for batch in batches)
        return gathered(parts, movie.shape[0])["frames"]


def apply_batches(
    movie: Movie,
    fields: Fields,
    *,
    interpolation: str | None = None,
    dtype: str | None = None,
    threads: int | None = None,
) -> Iterator[Batch]:
    """Frames moved by their fields, in `dtype` or the movie's, batch by batch, each by one of `threads`.

    Raises NrcorrectError at once if they do not fit the movie, later if they are not finite.
    """
    if fields.shape != movie.shape:
        turns, more = divmod(movie.shape[0], fields.shape[0])
        several = 1 < turns <= CHANNELS and not more and fields.shape[1:] == movie.shape[1:]
        hint = f": of {turns} channels that take turns, say which with --channel K/{turns}" if several else ""
        raise NrcorrectError(
            f"the fields are for a movie {fields.shape}, this one is {movie.shape}; wanted the same"
            f" number of frames and frame size{hint}"
        )
    made_with = fields.options.get("interpolation", "bicubic")
    mode = made_with if interpolation is None else interpolation
    if mode not in INTERPOLATIONS:
        raise NrcorrectError(f"interpolation: got {mode!r}; wanted one of {', '.join(INTERPOLATIONS)}")
    kind = np.dtype(dtype or movie.dtype)

    def moved(part: tuple[int, np.ndarray]) -> Batch:
        start, frames = part
        motion = stored_motion(fields, slice(start, start + len(frames)))
        straight = straightened(frames, fields.row_offset, motion.flagged)
        corrected = move(straight, motion, fields.stride, mode, kind)
        return Batch(start, corrected, motion, clipped=clipped(frames, kind))

    return Workers(threads).map(moved, read_batches(movie, frames_together(movie)))


def stored_motion(fields: Fields, part: slice) -> Motion:
    """Motion of some frames, as it is stored. Raises NrcorrectError if it is not finite."""
    rigid, flow = fields.rigid[part], fields.flow[part]
    if not (np.isfinite(rigid).all() and np.isfinite(flow).all()):
        which = f"{part.start} to {part.stop - 1}"
        raise NrcorrectError(f"the fields of frames {which} are not finite; wanted a whole field file")
    return Motion(rigid, flow, fields.flagged[part], misfit=fields.misfit[part])
