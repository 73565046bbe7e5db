"""Two movie files, before and after; whoever corrected them: open, check, stream, write what was found."""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from moco_dl.batch import Motion
from moco_dl.correction import checked_reference
from moco_dl.errors import NrcorrectError
from moco_dl.evaluation import Evaluation
from moco_dl.evaluation.evaluator import Evaluator
from moco_dl.evaluation.metrics import sharpness
from moco_dl.evaluation.moments import evenly
from moco_dl.evaluation.motion_table import write_motion_table
from moco_dl.evaluation.summary import as_json, write_page
from moco_dl.evaluation.tally import filled
from moco_dl.evaluation.truth import Truth, load_truth, score
from moco_dl.fields import Fields, load_fields
from moco_dl.job import Progress, describe
from moco_dl.movie import ArrayMovie, Movie, open_movie
from moco_dl.output import refuse_existing, staged
from moco_dl.parallel import Workers
from moco_dl.reference import load_image, usable

BATCH = 16  # frames of each movie in memory at a time
SAMPLED = 60  # frames that a reference is made of


@dataclass(frozen=True)
class Comparison:
    """What is compared, and where the results go; None: not known, not wanted."""

    raw: Path
    corrected: Path
    fields: Path | None = None
    reference: Path | None = None
    truth: Path | None = None
    datasets: tuple[str | None, str | None] = (None, None)  # of HDF5 movies
    page: Path | None = None
    picture: Path | None = None
    summary: Path | None = None  # JSON
    table: Path | None = None  # CSV
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.truth is not None and self.fields is None:
            raise NrcorrectError("--truth is compared with fields; name them with --fields")
        inputs = [self.raw, self.corrected, self.fields, self.reference, self.truth]
        known = {path.resolve() for path in inputs if path is not None}
        for path in self.outputs:
            if path.resolve() in known:
                raise NrcorrectError(f"{path}: is an input; choose another output")
        if len({path.resolve() for path in self.outputs}) < len(self.outputs):
            raise NrcorrectError("two outputs have the same name; choose another")

    @property
    def outputs(self) -> list[Path]:
        paths = (self.page, self.picture, self.summary, self.table)
        return [path for path in paths if path is not None]


@dataclass(frozen=True)
class Opened:
    """The inputs of a comparison, checked to belong together."""

    raw: Movie
    corrected: Movie
    fields: Fields | None
    truth: Truth | None
    reference: np.ndarray  # (H, W) float32
    given: bool  # see `Evaluator`


def compare_files(
    comparison: Comparison, progress: Progress, *, threads: int | None = None, **provenance: object
) -> Evaluation:
    """Evaluate a corrected movie beside its raw one and write the outputs.

    Raises NrcorrectError and leaves no output behind if the movies differ in size, or fields, reference or
    truth do not belong to them.
    """
    refuse_existing(comparison.outputs, overwrite=comparison.overwrite)
    with ExitStack() as files:
        opened = _open(comparison, files)
        fields, truth = opened.fields, opened.truth
        evaluator = _compared(opened, progress, threads)
        about = _provenance(comparison, opened) | provenance
        more = (lambda: score(fields.__getitem__, truth)) if truth else list
        evaluation = evaluator.finish(about, more)
    with staged(comparison.outputs) as parts:
        _write(comparison, evaluation, dict(zip(comparison.outputs, parts, strict=True)))
    return evaluation


def evaluate(
    raw: np.ndarray, corrected: np.ndarray, fields: Fields | None = None, reference: np.ndarray | None = None
) -> Evaluation:
    """How good a correction is, of movies in memory.

    `raw` and `corrected` are (T, H, W), of any supported dtypes; `fields` what was applied, if that is known;
    `reference` an image (H, W) that frames are compared with, else that of the fields, or the sharper of both
    mean images. Raises NrcorrectError if they do not belong together.
    """
    movies = ArrayMovie(np.asarray(raw)), ArrayMovie(np.asarray(corrected))
    _check(*movies, fields, ("corrected", "raw", "fields"))
    opened = Opened(*movies, fields, None, *_reference(*movies, fields, reference))
    return _compared(opened, lambda done, total: None, None).finish({})


def _compared(opened: Opened, progress: Progress, threads: int | None) -> Evaluator:
    """An evaluator that has seen both movies."""
    shape, fields = opened.raw.shape, opened.fields
    stride = fields.stride if fields else None
    evaluator = Evaluator(shape, opened.reference, stride, given=opened.given)
    for seen in Workers(threads).map(lambda part: evaluator.look(*part), _batches(opened)):
        evaluator.add(seen)
        progress(len(seen.look.reasons), shape[0])
    return evaluator


def _write(comparison: Comparison, evaluation: Evaluation, part: dict[Path, Path]) -> None:
    if comparison.page is not None:
        write_page(evaluation, part[comparison.page], part.get(comparison.picture))
    if comparison.summary is not None:
        part[comparison.summary].write_text(as_json(evaluation), encoding="utf-8")
    if comparison.table is not None:
        write_motion_table(part[comparison.table], evaluation.traces)


def _open(comparison: Comparison, files: ExitStack) -> Opened:
    paths = (comparison.raw, comparison.corrected)
    movies = [
        files.enter_context(closing(open_movie(path, key)))
        for path, key in zip(paths, comparison.datasets, strict=True)
    ]
    fields = None if comparison.fields is None else load_fields(comparison.fields)
    _check(*movies, fields, (comparison.corrected, comparison.raw, comparison.fields))
    truth = None if comparison.truth is None else load_truth(comparison.truth, movies[0].shape)
    image = None if comparison.reference is None else load_image(comparison.reference)
    return Opened(*movies, fields, truth, *_reference(*movies, fields, image))


def _check(raw: Movie, corrected: Movie, fields: Fields | None, names: tuple[object, ...]) -> None:
    """Raise NrcorrectError unless all are of one shape; `names` of corrected, raw and fields."""
    if corrected.shape != raw.shape:
        raise NrcorrectError(
            f"{names[0]}: is {corrected.shape}, {names[1]} is {raw.shape}; wanted the same number of frames and"
            " frame size: compare with the raw movie that was corrected"
        )
    if fields is not None and fields.shape != raw.shape:
        raise NrcorrectError(
            f"{names[2]}: of a movie {fields.shape}, this one is {raw.shape}; name the fields of this movie"
        )


def _reference(
    raw: Movie, corrected: Movie, fields: Fields | None, image: np.ndarray | None
) -> tuple[np.ndarray, bool]:
    """The reference (H, W), and whether it was given."""
    if image is not None:
        return checked_reference(np.asarray(image), raw), True
    if fields is not None:
        return fields.reference, True
    return choose_reference(raw, corrected), False


def choose_reference(raw: Movie, corrected: Movie) -> np.ndarray:
    """The sharper of two mean images (H, W) float32, of frames sampled from both movies.

    So that neither movie is favoured: what a good correction made is sharper than the raw mean, what a bad one
    made is not. Raises NrcorrectError if no frame can be judged.
    """
    numbers, size = evenly(raw.shape[0], SAMPLED).tolist(), raw.shape[1:]
    sums, counts = np.zeros((2, 2, *size)), [0, 0]  # [before, after][even, odd]
    for t in numbers:
        pair = [movie.read([t])[0] for movie in (raw, corrected)]
        if all(usable(frame[None])[0] for frame in pair):
            half = sum(counts) % 2
            counts[half] += 1
            for which, frame in enumerate(pair):
                sums[which, half] += filled(frame)
    if counts[0] == 0:
        raise NrcorrectError("no frame can be judged in both movies: all are empty, constant or saturated")
    means = [(both / np.maximum(counts, 1)[:, None, None]) for both in sums]
    before, after = (np.nan_to_num(sharpness(*halves)) for halves in means)
    return (sums[0 if before > after else 1].sum(axis=0) / sum(counts)).astype(np.float32)


def _batches(opened: Opened) -> Iterator[tuple[int, np.ndarray, np.ndarray, Motion | None]]:
    frames, fields = opened.raw.shape[0], opened.fields
    for start in range(0, frames, BATCH):
        part = slice(start, min(start + BATCH, frames))
        motion = None
        if fields is not None:
            motion = Motion(
                fields.rigid[part], fields.flow[part], fields.flagged[part], misfit=fields.misfit[part]
            )
        numbers = range(part.start, part.stop)
        yield start, opened.raw.read(numbers), opened.corrected.read(numbers), motion


def _provenance(comparison: Comparison, opened: Opened) -> dict:
    from moco_dl import __version__

    movies = ((comparison.raw, opened.raw), (comparison.corrected, opened.corrected))
    about = {"version": __version__, "inputs": [describe(*pair) for pair in movies]}
    for name in ("fields", "reference", "truth"):
        path = getattr(comparison, name)
        if path is not None:
            about[name] = path.name
    if opened.fields is not None:
        made = opened.fields.metadata
        about["options"], about["weights_sha256"] = made.get("options"), made.get("weights_sha256")
    if opened.truth is not None:
        about["photons"] = opened.truth.photons
    return about
