"""What a command is to do: movies, where their results go, and which of them are still to be done."""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from moco_dl.errors import NrcorrectError
from moco_dl.fields import is_field_file, load_fields
from moco_dl.movie import WHOLE, Selection, fingerprint
from moco_dl.output import SUFFIXES, ending, made_from, refuse_ending, without_ending
from moco_dl.recording import open_recording
from moco_dl.staging import leftovers, refuse_inputs

PLAIN = {".mat": ".h5", ".nwb": ".h5"}  # what is more than HDF5, and what is written instead
NAMES = {"fields": "fields.h5", "table": "motion.csv", "page": "report.html", "picture": "report.png"}


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
    selection: Selection = WHOLE  # of each file that is the movie
    overwrite: bool = False
    skip_existing: bool = False  # leave it out if it is done

    @property
    def name(self) -> str:
        return f"{self.movie} and {len(self.more)} more" if self.more else str(self.movie)

    @property
    def real(self) -> Path:
        """Where links lead to from `movie`, or as far as they lead: `Path.resolve` fails on some."""
        return Path(os.path.realpath(self.movie))

    @property
    def outputs(self) -> list[Path]:
        paths = (self.corrected, self.fields, self.table, self.page, self.picture)
        return [path for path in paths if path is not None]


def plan_jobs(
    movies: Sequence[Path],
    out: Path | None,
    outdir: Path | None,
    *,
    kinds: Sequence[str],
    join: bool = False,
    skip_existing: bool = False,
    **options: object,
) -> tuple[list[Job], list[str]]:
    """Jobs for `movies`: NAME_corrected.EXT and `kinds` beside each, in `outdir`, or named after `out`.

    EXT is that of the movie, see PLAIN.

    `kinds` are keys of NAMES. With `join`, the movies are files of one recording, and there is one job, named
    after the first of them. With `skip_existing`, only what is `still_to_do` is to be done; what is left out is
    told in the second result, a line each.

    Raises NrcorrectError if two movies would have the same output, an output is one of the movies, one file of
    a recording is the result of another, or `out` ends like a file of another kind.
    """
    if out is not None:
        refuse_ending(out, dict.fromkeys([*SUFFIXES, *(_ending(movie).lower() for movie in movies)]))
    jobs, more = [], tuple(movies[1:]) if join else ()
    for movie in movies[:1] if join else movies:
        corrected = out or (outdir or movie.parent) / _corrected(movie)
        stem = without_ending(out or movie)
        beside = {kind: corrected.parent / f"{stem}_{NAMES[kind]}" for kind in kinds}
        jobs.append(Job(movie, corrected, **beside, more=more, skip_existing=skip_existing, **options))
    _refuse_repeated(movies)
    if join:
        _refuse_results(movies)
    _refuse_clashes(jobs)
    for job in jobs:
        refuse_inputs(job.outputs, (job.movie, *job.more))
    left_out = []
    if skip_existing:
        jobs, left_out = still_to_do(jobs)
        _refuse_others(jobs, movies)
    inputs = [path for job in jobs for path in (job.movie, *job.more)]
    many = len(jobs) > 1 and not skip_existing
    hint = ", or leave out what is corrected: --skip-existing" if many else ""
    refuse_inputs((path for job in jobs for path in job.outputs), inputs, f"choose another output{hint}")
    return jobs, left_out


def _corrected(movie: Path) -> str:
    return f"{without_ending(movie)}_corrected{_ending(movie)}"


def _ending(movie: Path) -> str:
    """Of what is made of a movie."""
    return PLAIN.get(movie.suffix.lower(), ending(movie))


def still_to_do(jobs: Sequence[Job]) -> tuple[list[Job], list[str]]:
    """Those that are to be done, and why others are not.

    Of these the results are there, or the movie is a result of another one, or has its frames in one that is
    done.
    """
    results = {os.path.realpath(path): job.movie for job in jobs for path in job.outputs}
    sources = [results.get(os.path.realpath(job.movie), job.movie) for job in jobs]
    there = [job for job in jobs if is_done(job)]
    known = {path for job in there for path in files_of_recording(job)}
    wanted, left_out = [], []
    for job, source in zip(jobs, sources, strict=True):
        if source != job.movie:
            left_out.append(f"{job.movie}: left out, as it is a result of {source}")
        elif job in there:
            left_out.append(left_out_as_done(job))
        elif job.real in known:
            left_out.append(left_out_as_named(job))
        else:
            wanted.append(job)
    return wanted, left_out


def is_done(job: Job) -> bool:
    """Whether its results are there, whole, and not those of another movie that would have the same names."""
    if not all(os.path.isfile(path) for path in job.outputs):  # noqa: PTH113 (no error of names too long)
        return False
    if any(leftovers(path) for path in job.outputs):
        return False
    try:
        with open_recording((job.corrected,), WHOLE, image=True):
            sources = {made_from(job.corrected)}
        if job.fields is not None:
            about = load_fields(job.fields).metadata.get("input")
            sources.add(about.get("sha256") if isinstance(about, dict) else None)
        with open_recording((job.movie, *job.more), job.selection, image=True) as (movie, _):
            return sources == {fingerprint(movie)}
    except NrcorrectError:  # damaged, or something else
        return False


def left_out_as_done(job: Job) -> str:
    """What to tell of a movie that is done."""
    return f"{job.name}: left out, as its results are there"


def files_of_recording(job: Job) -> set[Path]:
    """Files that a recording in several, named by one of them, has its frames in; of others, none."""
    files = (job.movie, *job.more), job.selection
    with suppress(NrcorrectError), open_recording(*files, image=True) as (movie, _):
        if movie.format == "tiff" and len(movie.files) > 1:
            return movie.files
    return set()


def left_out_as_named(job: Job) -> str:
    """What to tell of a movie that is in a recording named before."""
    return f"{job.movie}: left out, as its frames are in a recording that was named before"


def _refuse_others(jobs: Sequence[Job], movies: Sequence[Path]) -> None:
    """Of what is to be replaced and might be a movie, what is named must be a result of some movie."""
    named = {os.path.realpath(movie) for movie in movies}
    replaced = (
        path for job in jobs if job.overwrite for path in (job.corrected, job.fields) if path is not None
    )
    for path in replaced:
        a_result = not os.path.lexists(path) or is_field_file(path) or made_from(path) is not None
        if os.path.realpath(path) in named and not a_result:
            raise NrcorrectError(f"{path}: is an input, and no result; choose another output")


def _refuse_repeated(movies: Sequence[Path]) -> None:
    seen = set()
    for movie in movies:
        if (place := os.path.abspath(movie)) in seen:  # noqa: PTH100 (resolve would follow links)
            raise NrcorrectError(f"{movie}: is named twice; name it once")
        seen.add(place)


def _refuse_results(movies: Sequence[Path]) -> None:
    """Of a recording: `rec_*.tif` also names what one of its files was corrected to."""
    results = {_corrected(movie): movie for movie in movies}
    for movie in movies:
        if movie.name in results:
            raise NrcorrectError(f"{movie}: is what {results[movie.name]} was corrected to; leave it out")


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
