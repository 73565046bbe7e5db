"""Two movies of one scene, before and after, whoever corrected them: checked, then seen batch by batch."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from moco_dl.application import stored_motion
from moco_dl.correction import checked_reference
from moco_dl.errors import NrcorrectError
from moco_dl.evaluation.evaluator import Evaluator
from moco_dl.evaluation.gaps import filled
from moco_dl.evaluation.metrics import sharpness
from moco_dl.evaluation.moments import evenly
from moco_dl.evaluation.results import Evaluation
from moco_dl.evaluation.watch import not_compared
from moco_dl.fields import Fields, checked_fields
from moco_dl.motion import Motion
from moco_dl.movie import ArrayMovie, Movie, Progress, read_batches
from moco_dl.parallel import Workers, workers_first
from moco_dl.sampled.usable import why_unusable

BATCH = 16  # frames of each movie in memory at a time
SAMPLED = 60  # frames that a reference is made of


@dataclass(frozen=True)
class Pair:
    """Movies that belong together, what was applied if that is known, and what frames are compared with."""

    raw: Movie  # (T, H, W)
    corrected: Movie  # (T, H, W)
    fields: Fields | None
    reference: np.ndarray  # (H, W) float32
    given: bool  # see `Evaluator`


def evaluate(
    raw: np.ndarray, corrected: np.ndarray, fields: Fields | None = None, reference: np.ndarray | None = None
) -> Evaluation:
    """How good a correction is, of movies in memory.

    `raw` and `corrected` are (T, H, W), of any supported dtypes; `fields` what was applied, if that is known;
    `reference` an image (H, W) that frames are compared with, else that of the fields, or the sharper of both
    mean images. Raises NrcorrectError if they do not belong together.
    """
    movies = ArrayMovie(raw, "raw"), ArrayMovie(corrected, "corrected")
    known = None if fields is None else checked_fields(fields)
    pair = checked_pair(movies, known, reference, ("raw", "corrected", "fields"))
    with workers_first():
        return evaluator_of(pair, lambda done, total: None).finish({})


def evaluator_of(pair: Pair, progress: Progress, threads: int | None = None) -> Evaluator:
    """An evaluator that has seen both movies; `threads` look at batches at a time, see `Workers`."""
    stride, left_out = None, None
    if pair.fields is not None:
        stride, left_out = pair.fields.stride, not_compared(pair.fields.left_out, pair.fields.reach)
    evaluator = Evaluator(pair.raw.shape, pair.reference, stride, given=pair.given, left_out=left_out)
    for observation in Workers(threads).map(lambda part: evaluator.look(*part), _batches(pair)):
        evaluator.add(observation)
        progress(len(observation.notes.reasons), pair.raw.shape[0])
    return evaluator


def checked_pair(
    movies: tuple[Movie, Movie], fields: Fields | None, image: np.ndarray | None, names: tuple[object, ...]
) -> Pair:
    """Movies before and after (T, H, W), their `fields`, and an `image` (H, W) to compare frames with.

    Without an image, it is the reference of the fields, else the sharper of both mean images. Raises
    NrcorrectError unless all belong together; `names` of raw, corrected and fields are for the message.
    """
    raw, corrected = movies
    if corrected.shape != raw.shape:
        raise NrcorrectError(
            f"{names[1]}: is {corrected.shape}, {names[0]} is {raw.shape}; wanted the same number of frames and"
            " frame size: compare with the raw movie that was corrected"
        )
    if fields is not None and fields.shape != raw.shape:
        raise NrcorrectError(
            f"{names[2]}: of a movie {fields.shape}, this one is {raw.shape}; name the fields of this movie"
        )
    if image is not None:
        return Pair(raw, corrected, fields, checked_reference(image, raw), True)
    if fields is not None:
        return Pair(raw, corrected, fields, fields.reference, True)
    return Pair(raw, corrected, fields, choose_reference(raw, corrected), False)


def choose_reference(raw: Movie, corrected: Movie) -> np.ndarray:
    """The sharper of two mean images (H, W) float32, of frames sampled from both; NaN where either has gaps.

    So that neither movie is favoured: what a good correction made is sharper than the raw mean, what a bad one
    made is not. Raises NrcorrectError if no frame can be judged.
    """
    size = raw.shape[1:]
    sums, missing = np.zeros((2, 2, *size)), np.zeros((2, *size), int)  # [before, after][even, odd]
    counts, reasons = [0, 0], []
    for t in evenly(raw.shape[0], SAMPLED).tolist():
        pair = [movie.read([t])[0] for movie in (raw, corrected)]
        if why := why_unusable(pair[0]) or why_unusable(pair[1]):
            reasons.append(why)
            continue
        half = sum(counts) % 2
        counts[half] += 1
        for which, frame in enumerate(pair):
            sums[which, half] += filled(frame)
            missing[which] += ~np.isfinite(frame)
    gaps = (missing > sum(counts) / 2).any(axis=0)
    if counts[0] == 0 or gaps.all():
        found = " or ".join(dict.fromkeys(reasons)) or "without data in one of them"
        raise NrcorrectError(f"no frame can be judged in both movies: all are {found}")
    sums[:, :, gaps] = np.nan
    means = [(both / np.maximum(counts, 1)[:, None, None]) for both in sums]
    before, after = (np.nan_to_num(sharpness(*halves)) for halves in means)
    return (sums[0 if before > after else 1].sum(axis=0) / sum(counts)).astype(np.float32)


def _batches(pair: Pair) -> Iterator[tuple[int, np.ndarray, np.ndarray, Motion | None]]:
    for start, raw in read_batches(pair.raw, BATCH):
        part = slice(start, start + len(raw))
        motion = None if pair.fields is None else stored_motion(pair.fields, part)
        yield start, raw, pair.corrected.read(range(part.start, part.stop)), motion
