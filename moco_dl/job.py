"""One movie file in, its output files out: plan the names, check them, stream, rename when complete."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from moco_dl.batch import Batch
from moco_dl.correction import Corrector, apply_batches, metadata
from moco_dl.errors import NrcorrectError
from moco_dl.evaluation import Verdict
from moco_dl.evaluation.evaluator import Evaluator
from moco_dl.evaluation.motion_table import write_motion_table
from moco_dl.evaluation.watch import Watch, not_compared
from moco_dl.fields import create_fields, load_fields
from moco_dl.movie import WHOLE, Movie, Part, Progress
from moco_dl.network import STRIDE
from moco_dl.output import SUFFIXES, create_movie, ending, movie_format, refuse_ending, without_ending
from moco_dl.plan import Plan
from moco_dl.recording import open_recording
from moco_dl.staging import refuse_inputs, staged


@dataclass(frozen=True)
class Job:
    """A movie and where its results go; None: not wanted."""

    movie: Path
    corrected: Path
    fields: Path | None = None
    table: Path | None = None  # what happened to each frame, see `motion_table.py`
    page: Path | None = None  # the evaluation, to look at
    picture: Path | None = None  # the page's main figure
    more: tuple[Path, ...] = ()  # files in which it goes on
    part: Part = WHOLE  # of each file that is the movie
    overwrite: bool = False

    @property
    def name(self) -> str:
        return f"{self.movie} and {len(self.more)} more" if self.more else str(self.movie)

    @property
    def outputs(self) -> list[Path]:
        paths = (self.corrected, self.fields, self.table, self.page, self.picture)
        return [path for path in paths if path is not None]


PLAIN = {".mat": ".h5", ".nwb": ".h5"}  # what is more than HDF5, and what is written instead
NAMES = {"fields": "fields.h5", "table": "motion.csv", "page": "report.html", "picture": "report.png"}


def plan_jobs(
    movies: Sequence[Path],
    out: Path | None,
    outdir: Path | None,
    *,
    kinds: Sequence[str],
    join: bool = False,
    **options: object,
) -> list[Job]:
    """Jobs for `movies`: NAME_corrected.EXT and `kinds` beside each, in `outdir`, or named after `out`.

    EXT is that of the movie, see PLAIN.

    `kinds` are keys of NAMES. With `join`, the movies are files of one recording, and there is one job, named
    after the first of them. Raises NrcorrectError if two movies would have the same output, an output is one of
    the movies, or `out` ends like a file of another kind.
    """
    if out is not None:
        refuse_ending(out, dict.fromkeys([*SUFFIXES, *(_ending(movie).lower() for movie in movies)]))
    jobs, more = [], tuple(movies[1:]) if join else ()
    for movie in movies[:1] if join else movies:
        folder = outdir or movie.parent
        corrected = out or folder / f"{without_ending(movie)}_corrected{_ending(movie)}"
        stem = without_ending(out or movie)
        beside = {kind: corrected.parent / f"{stem}_{NAMES[kind]}" for kind in kinds}
        jobs.append(Job(movie, corrected, **beside, more=more, **options))
    _refuse_repeated(movies)
    refuse_inputs((path for job in jobs for path in job.outputs), movies)
    _refuse_clashes(jobs)
    return jobs


def _ending(movie: Path) -> str:
    """Of what is made of a movie."""
    return PLAIN.get(movie.suffix.lower(), ending(movie))


def _refuse_repeated(movies: Sequence[Path]) -> None:
    seen = set()
    for movie in movies:
        if (place := os.path.abspath(movie)) in seen:  # noqa: PTH100 (resolve would follow links)
            raise NrcorrectError(f"{movie}: is named twice; name it once")
        seen.add(place)


def _refuse_clashes(jobs: Sequence[Job]) -> None:
    seen: dict[str, Path] = {}
    for job in jobs:
        for path in job.outputs:
            place = os.path.realpath(path)
            if place in seen:
                raise NrcorrectError(
                    f"{path}: output of both {seen[place]} and {job.movie}; correct them into"
                    " different directories"
                )
            seen[place] = job.movie


@dataclass(frozen=True)
class Done:
    """What is told of a corrected movie."""

    rigid: np.ndarray  # (T, 2) px, mean displacements that were applied, from the reference
    verdict: Verdict | None  # None: no page was wanted
    row_offset: int = 0  # px by which every other row lay to the right
    kinds: int = 1  # of frames that take turns: they are no movie
    off: float = 0.0  # px by which fields may be off, as frames do not show where they are
    likeness: float | None = None  # correlation of a given reference with what the movie shows
    left_out: float = 0.0  # share of the frame, as it shows no tissue in any


def correct_file(
    job: Job, corrector: Corrector, reference: np.ndarray | None, progress: Progress, **provenance: object
) -> Done:
    """Correct one movie file. `provenance` goes into the field file and the page.

    Raises NrcorrectError and leaves no output behind if anything is wrong with the movie or the disk.
    """
    with open_recording((job.movie, *job.more), job.part) as (movie, described):
        refuse_inputs(job.outputs, movie.files)
        with staged(job.outputs, overwrite=job.overwrite) as parts:
            part = dict(zip(job.outputs, parts, strict=True))
            found = corrector.prepare(movie, reference)
            about = metadata(corrector, found, input=described, **provenance)
            watch = _watch(job, movie, found)
            look = None if watch is None else watch.look
            dtype = np.dtype(corrector.options.dtype or movie.dtype)
            with _writers(job, part, (movie, dtype), found, about) as write:
                batches = corrector.batches(movie, found, look)
                rigid = _drain(batches, write, watch, movie.shape[0], progress)
            verdict = None if watch is None else _conclude(job, part, watch, about)
    return Done(rigid, verdict, found.row_offset, found.kinds, found.off, found.likeness, found.edges.share)


def _watch(job: Job, movie: Movie, found: Plan) -> Watch | Evaluator | None:
    about = movie.shape, found.reference, STRIDE
    left_out = not_compared(found.edges.hidden, found.reach) if found.edges.share else None
    if job.page is not None:
        return Evaluator(*about, left_out=left_out)
    return Watch(*about, left_out) if job.table is not None else None


def _conclude(job: Job, part: dict[Path, Path], watch: Watch | Evaluator, about: dict) -> Verdict | None:
    """Write what is known once all frames have been seen."""
    if isinstance(watch, Watch):
        write_motion_table(part[job.table], watch.traces())
        return None
    evaluation = watch.finish(about | {"inputs": [about["input"]]})
    if job.table is not None:
        write_motion_table(part[job.table], evaluation.traces)
    from moco_dl.report import write_page

    write_page(evaluation, part[job.page], part.get(job.picture))
    return evaluation.verdict


def _drain(
    batches: Iterator[Batch],
    write: Callable[[Batch], None],
    watch: Watch | Evaluator | None,
    total: int,
    progress: Progress,
) -> np.ndarray:
    rigid = []
    for batch in batches:
        write(batch)
        if watch is not None:
            watch.add(batch.notes)
        rigid.append(batch.motion.rigid)
        progress(len(batch.frames), total)
    return np.concatenate(rigid)


@contextmanager
def _writers(
    job: Job, part: dict[Path, Path], source: tuple[Movie, np.dtype], plan: Plan, about: dict
) -> Iterator[Callable[[Batch], None]]:
    """A function that stores a batch in the job's movie and field file; `part`: where each is written."""
    movie, dtype = source
    with ExitStack() as streams:
        kind = movie_format(job.corrected, movie.format)
        stream = create_movie(part[job.corrected], kind, movie.shape, dtype, movie.pixel)
        corrected = streams.enter_context(closing(stream))
        fields = None
        if job.fields is not None:
            fields = create_fields(part[job.fields], movie.shape[0], STRIDE, plan.reference, about)
            streams.enter_context(closing(fields)).write(0, expected_error=plan.expected_error)

        def write(batch: Batch) -> None:
            corrected.write(batch.start, mov=batch.frames)
            if fields is not None:
                fields.write(batch.start, **batch.motion.stored())

        yield write


def apply_file(job: Job, fields_path: Path, progress: Progress, **options: str | None) -> None:
    """Apply a field file to a movie file. `options`: interpolation and dtype, by default those of the fields.

    Raises NrcorrectError and leaves no output behind if movie and fields do not fit, or the disk is full.
    """
    fields = load_fields(fields_path)
    with open_recording((job.movie, *job.more), job.part) as (movie, _):
        dtype = np.dtype(options.get("dtype") or fields.options.get("dtype") or movie.dtype)
        batches = apply_batches(movie, fields, interpolation=options.get("interpolation"), dtype=dtype.name)
        kind = movie_format(job.corrected, movie.format)
        refuse_inputs(job.outputs, movie.files)
        with staged(job.outputs, overwrite=job.overwrite) as parts:
            with closing(create_movie(parts[0], kind, movie.shape, dtype, movie.pixel)) as corrected:
                for start, frames in batches:
                    corrected.write(start, mov=frames)
                    progress(len(frames), movie.shape[0])
