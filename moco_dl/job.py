"""One movie file in, its output files out: check them, stream, rename when complete."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from moco_dl.application import apply_batches
from moco_dl.correction import Corrector, metadata
from moco_dl.errors import NrcorrectError
from moco_dl.evaluation import Verdict
from moco_dl.evaluation.evaluator import Evaluator
from moco_dl.evaluation.motion_table import write_motion_table
from moco_dl.evaluation.watch import Watch, not_compared
from moco_dl.fields import Fields, create_fields
from moco_dl.jobs import Job
from moco_dl.movie import Movie, Progress, fingerprint
from moco_dl.network import STRIDE
from moco_dl.output import create_movie, movie_format
from moco_dl.plan import Plan
from moco_dl.recording import open_recording
from moco_dl.staging import refuse_inputs, staged
from moco_dl.stream import Batch

LEVELS = "light on whole rows comes and goes (stimulation, stripes): no motion was read from it"
WAVES = "waves of interference go through the frames: no motion was read from them"
HIDDEN = "activity outshines the tissue by far: only shifts of whole frames were found"
UNJUDGED = "could not be judged"  # flag of frames where no more is known
CLIPPED = 0.01  # of all pixels: less, as by what interpolation adds to bright ones, is not told


@dataclass(frozen=True)
class Outcome:
    """What is told of a corrected movie."""

    rigid: np.ndarray  # (T, 2) px, mean displacements that were applied, from the reference
    verdict: Verdict | None  # None: no page was wanted
    row_offset: int = 0  # px by which every other row lay to the right
    kinds: int = 1  # of frames that take turns: they are no movie
    off: float = 0.0  # px by which fields may be off, as frames do not show where they are
    likeness: float | None = None  # correlation of a given reference with what the movie shows
    left_out: float = 0.0  # share of the frame, as it shows no tissue in any
    notes: tuple[str, ...] = ()  # of how the movie was read, and what became of its values
    flags: tuple[tuple[str, ...], ...] = ()  # T tuples of words on each frame, see `Traces`; or none
    listed: Path | None = None  # where these are; None: they are those that could not be judged


def correct_file(
    job: Job, corrector: Corrector, reference: np.ndarray | None, progress: Progress, **provenance: object
) -> Outcome:
    """Correct one movie file. `provenance` goes into the field file and the page.

    Raises NrcorrectError and leaves no output behind if anything is wrong with the movie or the disk.
    """
    alone = reference is not None  # one image may be brought onto another
    with open_recording((job.movie, *job.more), job.selection, image=alone) as (movie, described):
        refuse_inputs(job.outputs, movie.files)
        with staged(job.outputs, overwrite=job.overwrite) as parts:
            staged_at = dict(zip(job.outputs, parts, strict=True))
            described["sha256"] = fingerprint(movie)
            plan = corrector.prepare(movie, reference)
            about = metadata(corrector, plan, input=described, **provenance)
            watch = _watch(job, movie, plan)
            look = None if watch is None else watch.look
            dtype = np.dtype(corrector.options.dtype or movie.dtype)
            with _writers(job, staged_at, movie, dtype, plan, about) as write:
                batches = corrector.batches(movie, plan, look)
                rigid, unjudged, clipped = _drain(batches, write, watch, movie.shape[0], progress)
            _refuse_changed(job, movie, described["sha256"])
            verdict, flags = None, tuple((UNJUDGED,) if flagged else () for flagged in unjudged)
            if watch is not None:
                verdict, flags = _conclude(job, staged_at, watch, about)
    clearing = plan.clearing
    seen = {LEVELS: clearing.usual is not None, WAVES: clearing.waves is not None, HIDDEN: plan.hidden}
    told = [what for what, is_so in seen.items() if is_so]
    notes = *movie.notes, *told, *_clipping(clipped, movie, dtype)
    return Outcome(
        rigid,
        verdict,
        row_offset=clearing.row_offset,
        kinds=plan.kinds,
        off=plan.off,
        likeness=plan.likeness,
        left_out=clearing.edges.share,
        notes=notes,
        flags=flags,
        listed=job.table or job.page,
    )


def _refuse_changed(job: Job, movie: Movie, known: str) -> None:
    """Raise NrcorrectError if some frames are not those by which a movie was `known` when it was begun."""
    if fingerprint(movie) != known:
        raise NrcorrectError(f"{job.movie}: has changed while it was read; wait until it is complete")


def _watch(job: Job, movie: Movie, plan: Plan) -> Watch | Evaluator | None:
    left_out = not_compared(plan.left_out, plan.reach)
    if job.page is not None:
        return Evaluator(movie.shape, plan.reference, STRIDE, left_out=left_out)
    return Watch(movie.shape, plan.reference, STRIDE, left_out=left_out) if job.table is not None else None


def _conclude(
    job: Job, staged_at: dict[Path, Path], watch: Watch | Evaluator, about: dict
) -> tuple[Verdict | None, tuple[tuple[str, ...], ...]]:
    """Write what is known once all frames have been seen; returns their flags, too."""
    evaluation = None if job.page is None else watch.finish(about | {"inputs": [about["input"]]})
    traces = watch.traces() if evaluation is None else evaluation.traces
    if job.table is not None:
        write_motion_table(staged_at[job.table], traces)
    if evaluation is None:
        return None, traces.flags
    from moco_dl.report import write_page

    write_page(evaluation, staged_at[job.page], staged_at.get(job.picture))
    return evaluation.verdict, traces.flags


def _drain(
    batches: Iterator[Batch],
    write: Callable[[Batch], None],
    watch: Watch | Evaluator | None,
    total: int,
    progress: Progress,
) -> tuple[np.ndarray, np.ndarray, int]:
    """Shifts (T, 2) px, which frames could not be judged (T,), and how many pixels were clipped."""
    rigid, flagged, clipped = [], [], 0
    for batch in batches:
        write(batch)
        if watch is not None:
            watch.add(batch.notes)
        rigid.append(batch.motion.rigid)
        flagged.append(batch.motion.flagged)
        clipped += batch.clipped
        progress(len(batch.frames), total)
    return np.concatenate(rigid), np.concatenate(flagged), clipped


@contextmanager
def _writers(
    job: Job, staged_at: dict[Path, Path], movie: Movie, dtype: np.dtype, plan: Plan, about: dict
) -> Iterator[Callable[[Batch], None]]:
    """A function that stores a batch in the job's movie and field file, which are `staged_at` other names."""
    with ExitStack() as files:
        kind = movie_format(job.corrected, movie.format)
        source = about["input"]["sha256"]
        output = create_movie(staged_at[job.corrected], kind, movie.shape, dtype, movie.pixel, source)
        corrected = files.enter_context(closing(output))
        fields = None
        if job.fields is not None:
            fields = create_fields(staged_at[job.fields], movie.shape[0], STRIDE, plan.reference, about)
            files.enter_context(closing(fields))
            fields.write(0, expected_error=plan.expected_error, left_out=plan.left_out)

        def write(batch: Batch) -> None:
            corrected.write(batch.start, mov=batch.frames)
            if fields is not None:
                fields.write(batch.start, **batch.motion.stored())

        yield write


def apply_file(
    job: Job, fields: Fields, progress: Progress, *, dtype: str | None = None, **options: str | int | None
) -> Sequence[str]:
    """Apply fields to a movie file; returns what a user should know.

    `dtype`: None for that which the fields were made with, or of the movie; `options`: see `apply_batches`.

    Raises NrcorrectError and leaves no output behind if movie and fields do not fit, or the disk is full.
    """
    with open_recording((job.movie, *job.more), job.selection, image=len(fields) == 1) as (movie, _):
        kept = np.dtype(dtype or fields.options.get("dtype") or movie.dtype)
        batches = apply_batches(movie, fields, dtype=kept.name, **options)
        kind = movie_format(job.corrected, movie.format)
        refuse_inputs(job.outputs, movie.files)
        with staged(job.outputs, overwrite=job.overwrite) as parts:
            known = fingerprint(movie)
            with closing(create_movie(parts[0], kind, movie.shape, kept, movie.pixel, known)) as corrected:
                beyond = 0
                for batch in batches:
                    corrected.write(batch.start, mov=batch.frames)
                    beyond += batch.clipped
                    progress(len(batch.frames), movie.shape[0])
            _refuse_changed(job, movie, known)
        return *movie.notes, *_clipping(beyond, movie, kept)


def _clipping(pixels: int, movie: Movie, dtype: np.dtype) -> Iterator[str]:
    """What to tell of a number of clipped pixels."""
    if (share := pixels / math.prod(movie.shape)) > CLIPPED:
        yield f"{share:.0%} of pixels were clipped to {dtype.name}: choose a wider --dtype"
