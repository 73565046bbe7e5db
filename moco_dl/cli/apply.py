"""`nrcorrect apply`."""

from collections.abc import Callable
from pathlib import Path

import click

from moco_dl.cli.common import (
    PATH,
    heavy_imports,
    leave_threads_to_workers,
    overwrite,
    quiet,
    reported,
    which_movie,
)
from moco_dl.cli.jobs import outdir, output, planned, run_all, skip_existing


@click.command()
@click.argument("movies", nargs=-1, required=True, type=PATH)
@click.argument("fields", type=PATH)
@output
@outdir
@which_movie
@click.option(
    "--interpolation",
    type=click.Choice(["bilinear", "bicubic"]),
    help="How frames are resampled [as the fields were made].",
)
@click.option("--dtype", help="Pixel type of the result [as the fields were made, or that of the input].")
@click.option("--threads", type=click.IntRange(1), help="Frames moved at a time [one a processor, at most 4].")
@skip_existing
@overwrite
@quiet
def apply(
    movies: tuple[Path, ...],
    fields: Path,
    out: Path | None,
    outdir: Path | None,
    quiet: bool,
    **options: object,
) -> None:
    """Apply the FIELDS of one movie to another of the same size and length, such as a second channel.

    Several MOVIES are files of one recording, in this order.
    """
    leave_threads_to_workers()
    with heavy_imports():
        from moco_dl.errors import NrcorrectError
        from moco_dl.fields import is_field_file, load_fields
        from moco_dl.formats.checks import DTYPES
        from moco_dl.job import apply_file
        from moco_dl.staging import refuse_inputs

    if options["dtype"] not in (None, *DTYPES):
        raise click.UsageError(f"--dtype: got {options['dtype']!r}; wanted one of {', '.join(DTYPES)}")
    with reported():
        if is_field_file(movies[0]):
            raise NrcorrectError(
                f"{movies[0]}: is a field file; the movie comes first: nrcorrect apply MOVIE FIELDS"
            )
        known = load_fields(fields)
    jobs = planned(movies, out, outdir, options, kinds=(), join=True)
    with reported(usage=True):
        refuse_inputs((path for job in jobs for path in job.outputs), [fields])

    def run(job: "Job", progress: Callable[[int, int], None]) -> str:  # noqa: F821 (imported lazily)
        return "; ".join(["fields applied", *apply_file(job, known, progress, **options)])

    run_all(jobs, run, quiet)
