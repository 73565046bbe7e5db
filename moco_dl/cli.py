"""The command line: the only file that prints, exits, or knows click. Heavy imports live in the commands."""

import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from moco_dl import __version__
from moco_dl.errors import NrcorrectError

PATH = click.Path(path_type=Path)


class Smoothing(click.ParamType):
    """`auto` (None: chosen from the movie) or a number of frames."""

    name = "auto|FRAMES"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> float | None:
        return None if value == "auto" else click.FloatRange(0).convert(value, param, ctx)


device = click.option("--device", default="auto", type=click.Choice(["auto", "cpu", "cuda", "mps"]))
overwrite = click.option("--overwrite", is_flag=True, help="Replace outputs that exist.")
quiet = click.option("--quiet", is_flag=True, help="No progress bar, no summary; errors are still shown.")
dataset = click.option(
    "--dataset", metavar="KEY", help="Dataset of an HDF5 movie [mov, data, or the largest 3-D one]."
)
output = click.option("-o", "--output", "out", type=PATH, help="Name of the corrected movie (one movie only).")
outdir = click.option("--outdir", type=PATH, help="Directory for the outputs [beside each movie].")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(__version__, prog_name="nrcorrect")
def main() -> None:
    """Remove motion from calcium-imaging movies with a pretrained pyramid flow network."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that unfinished outputs are removed


@main.command()
@click.argument("movies", nargs=-1, required=True, type=PATH)
@output
@outdir
@click.option(
    "--ref",
    default="median",
    metavar="median|mean|FILE",
    help="Reference: made from the movie, or an image (TIFF, NPY).",
)
@click.option(
    "--ref-frames", default=200, type=click.IntRange(1), help="Frames sampled to build the reference."
)
@dataset
@click.option("--weights", type=PATH, help="Weights from nrcorrect train [the shipped ones].")
@device
@click.option("--batch-size", default=16, type=click.IntRange(1), help="Frames in memory at a time.")
@click.option(
    "--smooth",
    default="auto",
    type=Smoothing(),
    help="Smoothing of non-rigid motion in time, sigma in frames; 0 for none.",
)
@click.option("--rigid-only", is_flag=True, help="Whole-frame shifts only, without the network.")
@click.option(
    "--max-shift", type=click.FloatRange(0), metavar="PX", help="Largest rigid shift [15% of the shorter side]."
)
@click.option("--interpolation", default="bicubic", type=click.Choice(["bilinear", "bicubic"]))
@click.option("--dtype", help="Pixel type of the corrected movie [that of the input].")
@click.option("--no-fields", is_flag=True, help="Do not keep the fields.")
@overwrite
@quiet
def correct(
    movies: tuple[Path, ...], ref: str, out: Path | None, outdir: Path | None, quiet: bool, **options: object
) -> None:
    """Correct MOVIES (TIFF or HDF5), each with its own reference.

    Writes NAME_corrected.EXT and NAME_fields.h5 beside each movie and prints their paths. The exit status is
    0 if all movies were corrected, 1 if some failed (the others are still done), 2 for wrong usage.
    """
    from moco_dl.correction import CorrectOptions, Corrector
    from moco_dl.job import correct_file
    from moco_dl.reference import load_image

    jobs = _plan(movies, out, outdir, options, fields=not options.pop("no_fields"))
    shared = None if ref in ("median", "mean") else Path(ref)
    with _reported(usage=True):
        choices = CorrectOptions(**options, ref="median" if shared else ref)
    with _reported():
        reference = None if shared is None else load_image(shared)
        corrector = Corrector(choices)

    def run(job: "Job", progress: Callable[[int, int], None]) -> str:  # noqa: F821 (imported lazily)
        rigid = correct_file(job, corrector, reference, progress, command=shlex.join(sys.argv))
        return f"{len(rigid)} frames, rigid shifts up to {abs(rigid).max():.1f} px"

    _run_all(jobs, run, quiet)


@main.command()
@click.argument("movie", type=PATH)
@click.argument("fields", type=PATH)
@output
@outdir
@dataset
@click.option("--interpolation", type=click.Choice(["bilinear", "bicubic"]), help="[as the fields were made]")
@click.option("--dtype", help="Pixel type of the result [as the fields were made, or that of the input].")
@overwrite
@quiet
def apply(
    movie: Path, fields: Path, out: Path | None, outdir: Path | None, quiet: bool, **options: object
) -> None:
    """Apply the FIELDS of one movie to another MOVIE of the same size and length, such as a second channel."""
    from moco_dl.job import apply_file
    from moco_dl.movie import DTYPES

    if options["dtype"] not in (None, *DTYPES):
        raise click.UsageError(f"--dtype: got {options['dtype']!r}; wanted one of {', '.join(DTYPES)}")
    jobs = _plan((movie,), out, outdir, options, fields=False)
    _run_all(
        jobs, lambda job, progress: apply_file(job, fields, progress, **options) or "fields applied", quiet
    )


@main.command()
@click.argument("out", type=PATH)
@click.option("--movie", is_flag=True, help="A movie OUT and its true fields OUT_truth.h5, instead of pairs.")
@click.option("--pairs", type=click.IntRange(1), help="Number of pairs [6000].")
@click.option("--frames", type=click.IntRange(1), help="Frames of the movie [200].")
@click.option("--size", type=click.IntRange(32), help="Pixels a side [pairs 128, movie 256].")
@click.option(
    "--photons",
    type=click.FloatRange(0, min_open=True),
    help="Mean photons per pixel [pairs 0.3 to 60, movie 2].",
)
@click.option("--seed", default=0, type=click.IntRange(0), help="The same seed gives the same bytes.")
@overwrite
@quiet
def synth(out: Path, movie: bool, quiet: bool, **options: object) -> None:
    """Make a dataset of synthetic pairs OUT (HDF5) with known fields, or a movie OUT (TIFF, HDF5)."""
    from moco_dl.dataset import write_movie, write_pairs
    from moco_dl.synth import SyntheticMovie, movie_options, pair_options

    count, frames, seed, replace = (options.pop(name) for name in ("pairs", "frames", "seed", "overwrite"))
    if movie and count is not None:
        raise click.UsageError("--pairs is for datasets; leave it out with --movie")
    if not movie and frames is not None:
        raise click.UsageError("--frames is for movies; add --movie")
    with _reported(), _bar(out.name, quiet) as progress:
        if movie:
            scene = SyntheticMovie(seed, movie_options(frames=frames, **options))
            written = write_movie(out, scene, progress=progress, overwrite=replace)
        else:
            write_pairs(out, count or 6000, pair_options(**options), seed, progress=progress, overwrite=replace)
            written = [out]
    click.echo("\n".join(map(str, written)))


@main.command()
@click.argument("folder", type=PATH)
@click.option("--data", type=PATH, help="Pairs from nrcorrect synth [drawn on the fly].")
@click.option(
    "--steps", default=12000, type=click.IntRange(1), help="Optimiser steps; the schedule ends with them."
)
@click.option("--batch", default=16, type=click.IntRange(1), help="Pairs a step.")
@click.option("--rate", default=1e-3, type=click.FloatRange(0, min_open=True), help="Peak learning rate.")
@click.option("--loss", default="epe:1", metavar="NAME:WEIGHT,...", help="Mixture of epe, mse and ncc.")
@click.option("--seed", default=0, type=click.IntRange(0))
@click.option("--every", default=500, type=click.IntRange(1), help="Steps between checkpoints and validations.")
@click.option("--workers", default=1, type=click.IntRange(0), help="Processes that draw the data.")
@click.option("--resume", is_flag=True, help="Go on from FOLDER/last.pt; repeat the other options.")
@device
@quiet
def train(folder: Path, quiet: bool, **options: object) -> None:
    """Train the network; FOLDER gets log.csv, last.pt (to resume from) and, at the end, weights.pt."""
    from moco_dl.train import TrainOptions, parse_loss, train_into

    recipe = {name: options.pop(name) for name in ("steps", "batch", "rate", "loss", "seed")}
    with _reported(usage=True):
        choices = TrainOptions(**recipe | {"loss": parse_loss(recipe["loss"])})
    with _reported(), _bar(folder.name, quiet, unit="step") as progress:
        weights = train_into(folder, choices, progress, **options)
    click.echo(weights)


def _plan(
    movies: tuple[Path, ...], out: Path | None, outdir: Path | None, options: dict, *, fields: bool
) -> list:
    """Jobs of a command; takes the options that concern files out of `options`."""
    from moco_dl.job import plan

    if out is not None and (len(movies) > 1 or outdir is not None):
        raise click.UsageError("-o names the output of one movie; use --outdir for many, and not both")
    if outdir is not None and not outdir.is_dir():
        raise click.UsageError(f"--outdir {outdir}: no such directory; make it first")
    with _reported(usage=True):
        more = {name: options.pop(name) for name in ("dataset", "overwrite")}
        return plan(movies, out, outdir, fields=fields, **more)


def _run_all(jobs: list, run: Callable, quiet: bool) -> None:
    """Run each job, print its outputs, go on after failures, and exit with 1 if there were any."""
    failed = []
    for job in jobs:
        try:
            with _bar(job.movie.name, quiet) as progress:
                summary = run(job, progress)
        except NrcorrectError as error:
            failed.append(job.movie)
            click.echo(f"nrcorrect: {error}", err=True)
            continue
        click.echo("\t".join(str(path) for path in job.outputs))
        if not quiet:
            click.echo(f"{job.movie}: {summary}", err=True)
    if failed and len(jobs) > 1:
        names = ", ".join(str(movie) for movie in failed)
        click.echo(f"nrcorrect: {len(failed)} of {len(jobs)} movies failed: {names}", err=True)
    if failed:
        sys.exit(1)


@contextmanager
def _bar(name: str, quiet: bool, unit: str = "frame") -> Iterator[Callable[[int, int], None]]:
    """A progress function `(just done, in all)`, drawn on stderr when that is a terminal."""
    from tqdm import tqdm

    with tqdm(desc=name, unit=unit, disable=True if quiet else None, leave=False) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done)

        yield progress


@contextmanager
def _reported(*, usage: bool = False) -> Iterator[None]:
    """One line on stderr and exit status 1 (2: wrong usage) instead of a traceback."""
    try:
        yield
    except NrcorrectError as error:
        if usage:
            raise click.UsageError(str(error)) from error
        click.echo(f"nrcorrect: {error}", err=True)
        sys.exit(1)
