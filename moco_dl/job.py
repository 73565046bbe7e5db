"""One movie file in, its output files out: plan the names, check them, stream, rename when complete."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from moco_dl.batch import Batch
from moco_dl.correction import Corrector, apply_batches, metadata
from moco_dl.errors import NrcorrectError
from moco_dl.fields import create_fields, load_fields
from moco_dl.movie import Movie, open_movie
from moco_dl.network import STRIDE
from moco_dl.output import create_movie, movie_format, refuse_existing, staged
from moco_dl.plan import Plan

Progress = Callable[[int, int], None]  # (frames just done, frames in all)


@dataclass(frozen=True)
class Job:
    """A movie and where its results go."""

    movie: Path
    corrected: Path
    fields: Path | None = None  # None: not kept
    dataset: str | None = None  # HDF5 dataset of the movie
    overwrite: bool = False

    @property
    def outputs(self) -> list[Path]:
        return [path for path in (self.corrected, self.fields) if path is not None]


def plan(
    movies: Sequence[Path], out: Path | None, outdir: Path | None, *, fields: bool, **more: object
) -> list[Job]:
    """Jobs for `movies`: NAME_corrected.EXT and NAME_fields.h5 beside each, in `outdir`, or named after `out`.

    Raises NrcorrectError if two movies would have the same output, or an output is one of the movies.
    """
    jobs = []
    for movie in movies:
        folder = outdir or movie.parent
        corrected = out or folder / f"{movie.stem}_corrected{movie.suffix}"
        stem = corrected.stem if out else movie.stem
        jobs.append(Job(movie, corrected, corrected.parent / f"{stem}_fields.h5" if fields else None, **more))
    inputs = {movie.resolve() for movie in movies}
    seen: dict[Path, Path] = {}
    for job in jobs:
        for path in job.outputs:
            if path.resolve() in inputs:
                raise NrcorrectError(f"{path}: is an input; choose another output")
            if path.resolve() in seen:
                raise NrcorrectError(
                    f"{path}: output of both {seen[path.resolve()]} and {job.movie}; correct them into"
                    " different directories"
                )
            seen[path.resolve()] = job.movie
    return jobs


def correct_file(
    job: Job, corrector: Corrector, reference: np.ndarray | None, progress: Progress, **provenance: object
) -> np.ndarray:
    """Correct one movie file; returns its rigid shifts (T, 2). `provenance` goes into the field file.

    Raises NrcorrectError and leaves no output behind if anything is wrong with the movie or the disk.
    """
    refuse_existing(job.outputs, overwrite=job.overwrite)
    with closing(open_movie(job.movie, job.dataset)) as movie:
        found = corrector.prepare(movie, reference)
        about = metadata(corrector, found, input=describe(job.movie, movie), **provenance)
        dtype = corrector.options.dtype or movie.dtype
        with _writers(job, movie, np.dtype(dtype), found, about) as write:
            return _drain(corrector.batches(movie, found), write, movie.shape[0], progress)


def _drain(
    batches: Iterator[Batch], write: Callable[[Batch], None], total: int, progress: Progress
) -> np.ndarray:
    rigid = []
    for batch in batches:
        write(batch)
        rigid.append(batch.motion.rigid)
        progress(len(batch.frames), total)
    return np.concatenate(rigid)


@contextmanager
def _writers(
    job: Job, movie: Movie, dtype: np.dtype, plan: Plan, about: dict
) -> Iterator[Callable[[Batch], None]]:
    """A function that stores a batch in all of the job's outputs, which appear when the block succeeds."""
    with staged(job.outputs) as parts, ExitStack() as streams:
        kind = movie_format(job.corrected, movie.format)
        corrected = streams.enter_context(closing(create_movie(parts[0], kind, movie.shape, dtype)))
        fields = None
        if job.fields is not None:
            fields = create_fields(parts[1], movie.shape[0], STRIDE, plan.reference, about)
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
    refuse_existing(job.outputs, overwrite=job.overwrite)
    fields = load_fields(fields_path)
    with closing(open_movie(job.movie, job.dataset)) as movie:
        dtype = np.dtype(options.get("dtype") or fields.metadata["options"].get("dtype") or movie.dtype)
        batches = apply_batches(movie, fields, interpolation=options.get("interpolation"), dtype=dtype.name)
        kind = movie_format(job.corrected, movie.format)
        with staged(job.outputs) as parts:
            with closing(create_movie(parts[0], kind, movie.shape, dtype)) as corrected:
                for start, frames in batches:
                    corrected.write(start, mov=frames)
                    progress(len(frames), movie.shape[0])


def describe(path: Path, movie: Movie) -> dict:
    """What identifies an input file: name, shape, dtype, size in bytes, time of last change."""
    stat = path.stat()
    return {
        "name": path.name,
        "shape": list(movie.shape),
        "dtype": movie.dtype.name,
        "bytes": stat.st_size,
        "mtime": stat.st_mtime,
    }
