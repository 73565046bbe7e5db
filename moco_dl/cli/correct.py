"""`nrcorrect correct` and `nrcorrect apply`."""

import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from moco_dl.cli.common import (
    PATH,
    Finite,
    bar,
    device,
    imports,
    in_memory,
    leave_threads_to_workers,
    overwrite,
    part,
    quiet,
    reported,
    tidying,
    which_movie,
)
from moco_dl.errors import NrcorrectError


class Measured(click.ParamType):
    """`auto` (None: measured on the movie) or a number."""

    def __init__(self, number: click.ParamType, unit: str, wanted: str):
        self.number, self.name, self.wanted = number, f"auto|{unit}", wanted

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> float | None:
        try:
            return None if value == "auto" else self.number.convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"got {value!r}; wanted auto, or {self.wanted}", param, ctx)


output = click.option("-o", "--output", "out", type=PATH, help="Name of the corrected movie (one movie only).")
outdir = click.option("--outdir", type=PATH, help="Directory for the outputs [beside each movie].")


@click.command()
@click.argument("movies", nargs=-1, required=True, type=PATH)
@output
@outdir
@click.option(
    "--ref",
    default="median",
    metavar="median|mean|FILE",
    help="Reference: made from the movie, or an image (TIFF, NPY, or that of NAME_fields.h5).",
)
@click.option(
    "--ref-frames",
    type=click.IntRange(1),
    help="Frames sampled to measure motion, and to make the reference [200 to 400, and 100 of these; fewer if"
    " large].",
)
@which_movie
@click.option("--join", is_flag=True, help="MOVIES are files of one recording, in this order: one result.")
@click.option("--weights", type=PATH, help="Weights from nrcorrect train [the shipped ones].")
@device
@click.option(
    "--quality",
    default="fast",
    type=click.Choice(["fast", "best"]),
    help="fast: the network sees every other frame where motion lasts, large ones binned 2x2; best: all,"
    " as they are, at up to 2 times the time.",
)
@click.option(
    "--precision",
    default="float32",
    type=click.Choice(["float32", "float16", "bfloat16"]),
    help="Of the network's products; float16 changes fields by up to 0.03 px, bfloat16 by 0.1.",
)
@click.option(
    "--threads",
    type=click.IntRange(1),
    help="Frames computed at a time [one for each processor, at most 4].",
)
@click.option(
    "--batch-size",
    type=click.IntRange(1),
    help="Frames a thread takes at a time [32, on a GPU 64; fewer if large].",
)
@click.option(
    "--smooth",
    default="auto",
    type=Measured(Finite(0), "FRAMES", "a number of frames from 0"),
    help="Frames over which non-rigid motion is taken to be alike; 0: each frame for itself.",
)
@click.option("--rigid-only", is_flag=True, help="Whole-frame shifts only, without the network.")
@click.option(
    "--max-shift",
    type=Finite(0),
    metavar="PX",
    help="Largest whole-frame shift looked for [15% of the shorter side].",
)
@click.option(
    "--row-offset",
    default="auto",
    type=Measured(click.INT, "PX", "a whole number of pixels"),
    help="Pixels by which every other row lies to the right, as bidirectional scanning may leave it; 0: none.",
)
@click.option("--interpolation", default="bicubic", type=click.Choice(["bilinear", "bicubic"]))
@click.option("--dtype", help="Pixel type of the corrected movie [that of the input].")
@click.option("--no-fields", is_flag=True, help="Do not keep the fields.")
@click.option("--no-csv", is_flag=True, help="Do not write the table of frames.")
@click.option("--report", is_flag=True, help="Also write NAME_report.html: how good is it?")
@click.option("--png", is_flag=True, help="Also NAME_report.png, the page's main figure; needs matplotlib.")
@overwrite
@quiet
def correct(
    movies: tuple[Path, ...], ref: str, out: Path | None, outdir: Path | None, quiet: bool, **options: object
) -> None:
    """Correct MOVIES (TIFF or HDF5), each with its own reference.

    Writes NAME_corrected.EXT, NAME_fields.h5 and NAME_motion.csv (shifts, correlations and flags of each frame)
    beside each movie and prints their paths. The exit status is 0 if all movies were corrected, 1 if some
    failed (the others are still done), 2 for wrong usage.
    """
    leave_threads_to_workers()
    with imports():
        from moco_dl.cli.summary import summary
        from moco_dl.correction import Corrector
        from moco_dl.image import load_image
        from moco_dl.job import correct_file
        from moco_dl.options import CorrectOptions
        from moco_dl.recording import numbered
        from moco_dl.staging import refuse_inputs

    jobs = _plan(movies, out, outdir, options, kinds=_kinds(options), join=options.pop("join"))
    shared = None if ref in ("median", "mean") else Path(ref)
    with reported(usage=True):
        refuse_inputs((path for job in jobs for path in job.outputs), [shared] if shared else [])
        chosen = CorrectOptions(**options, ref="median" if shared else ref)
    with reported():
        reference = None if shared is None else load_image(shared)
        corrector = Corrector(chosen)

    def run(job: "Job", progress: Callable[[int, int], None]) -> str:  # noqa: F821 (imported lazily)
        return summary(correct_file(job, corrector, reference, progress, command=shlex.join(sys.argv)))

    if shared is None and len(jobs) > 1 and numbered(movies) and not quiet:
        click.echo("each movie gets its own reference; if they are files of one recording: --join", err=True)
    _run_all(jobs, run, quiet)


@click.command()
@click.argument("movies", nargs=-1, required=True, type=PATH)
@click.argument("fields", type=PATH)
@output
@outdir
@which_movie
@click.option("--interpolation", type=click.Choice(["bilinear", "bicubic"]), help="[as the fields were made]")
@click.option("--dtype", help="Pixel type of the result [as the fields were made, or that of the input].")
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
    with imports():
        from moco_dl.job import apply_file
        from moco_dl.movie import DTYPES
        from moco_dl.staging import refuse_inputs

    if options["dtype"] not in (None, *DTYPES):
        raise click.UsageError(f"--dtype: got {options['dtype']!r}; wanted one of {', '.join(DTYPES)}")
    jobs = _plan(movies, out, outdir, options, kinds=(), join=True)
    with reported(usage=True):
        refuse_inputs((path for job in jobs for path in job.outputs), [fields])
    _run_all(
        jobs, lambda job, progress: apply_file(job, fields, progress, **options) or "fields applied", quiet
    )


def _kinds(options: dict) -> list[str]:
    """What is wanted beside the corrected movie; takes the options that say so out of `options`."""
    from moco_dl import figures

    unwanted = {"fields": options.pop("no_fields"), "table": options.pop("no_csv")}
    report, png = options.pop("report"), options.pop("png")
    if png and not report:
        raise click.UsageError("--png puts the figure beside the page; add --report")
    if png:
        with reported():
            figures.require()
    wanted = {name: not left_out for name, left_out in unwanted.items()} | {"page": report, "picture": png}
    return [name for name, yes in wanted.items() if yes]


def _plan(
    movies: tuple[Path, ...],
    out: Path | None,
    outdir: Path | None,
    options: dict,
    *,
    kinds: Sequence[str],
    join: bool,
) -> list:
    """Jobs of a command; takes the options that concern files out of `options`."""
    from moco_dl.job import plan

    if out is not None and ((len(movies) > 1 and not join) or outdir is not None):
        raise click.UsageError(
            "-o names the output of one movie; use --outdir for many, --join for one in several files"
        )
    if outdir is not None and not _is_folder(outdir):
        raise click.UsageError(f"--outdir {outdir}: no such directory; make it first")
    with reported(usage=True):
        more = {"part": part(options), "overwrite": options.pop("overwrite")}
        return plan(movies, out, outdir, kinds=kinds, join=join, **more)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except PermissionError:  # of a folder that may not be entered
        return False


def _run_all(jobs: list, run: Callable, quiet: bool) -> None:
    """Run each job, print its outputs, go on after failures, and exit with 1 if there were any."""
    from moco_dl.parallel import workers_first

    failed = []
    for job in jobs:
        try:
            with bar(job.movie.name, quiet) as progress, workers_first(), in_memory("try --threads 1"):
                summary = run(job, tidying(progress))
        except NrcorrectError as error:
            failed.append(job.name)
            named = any(str(path) in str(error) for path in (job.movie, *job.more, *job.outputs))
            click.echo(f"nrcorrect: {error}" if named else f"nrcorrect: {job.movie}: {error}", err=True)
            continue
        click.echo("\t".join(str(path) for path in job.outputs))
        if not quiet:
            click.echo(f"{job.name}: {summary}", err=True)
    if failed and len(jobs) > 1:
        click.echo(f"nrcorrect: {len(failed)} of {len(jobs)} movies failed: {', '.join(failed)}", err=True)
    if failed:
        sys.exit(1)
