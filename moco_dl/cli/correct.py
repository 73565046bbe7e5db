"""`nrcorrect correct`."""

from collections.abc import Callable
from pathlib import Path

import click

from moco_dl.cli.common import (
    PATH,
    Finite,
    command_line,
    device,
    heavy_imports,
    leave_threads_to_workers,
    overwrite,
    quiet,
    reported,
    tell,
    which_movie,
)
from moco_dl.cli.jobs import outdir, output, planned, run_all, skip_existing

MADE = ("median", "mean")  # references, of the movie


class AutoOr(click.ParamType):
    """`auto` (None: measured on the movie) or a number."""

    def __init__(self, number: click.ParamType, unit: str, wanted: str):
        self.number, self.name, self.wanted = number, f"auto|{unit}", wanted

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> float | None:
        try:
            return None if value == "auto" else self.number.convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"got {value!r}; wanted auto, or {self.wanted}", param, ctx)


@click.command()
@click.argument("movies", nargs=-1, required=True, type=PATH)
@output
@outdir
@click.option(
    "--ref",
    default="median",
    callback=lambda ctx, param, ref: ref if ref in MADE else str(PATH.convert(ref, param, ctx)),
    metavar="median|mean|FILE",
    help="Reference: made from the movie, or an image (TIFF, NPY, or that of NAME_fields.h5).",
)
@click.option(
    "--ref-frames",
    type=click.IntRange(2),
    help="Frames sampled to measure motion, and to make the reference [200 to 400, and 100 of these; of 512x512"
    " pixels, 100 to 200, and 64].",
)
@which_movie
@click.option(
    "--join", is_flag=True, help="MOVIES are files of one recording, in this order, or its frames: one result."
)
@click.option("--weights", type=PATH, help="Weights from nrcorrect train [the shipped ones].")
@device
@click.option(
    "--quality",
    default="fast",
    type=click.Choice(["fast", "best"]),
    help="fast: the network sees every other frame where motion lasts, those from 240 pixels a side"
    " binned 2x2; best: all, as they are, at up to 2 times the time.",
)
@click.option(
    "--precision",
    default="float32",
    type=click.Choice(["float32", "float16", "bfloat16"]),
    help="Number type of the network's products; float16 changes fields by up to 0.03 px, bfloat16 by 0.1.",
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
    type=AutoOr(Finite(0), "FRAMES", "a number of frames from 0"),
    help="Frames over which non-rigid motion is taken to be alike (whole-frame shifts are then left as"
    " found); 0: each frame for itself.",
)
@click.option("--rigid-only", is_flag=True, help="Whole-frame shifts only, without the network.")
@click.option(
    "--max-shift",
    type=Finite(0),
    metavar="PX",
    help="Largest whole-frame shift looked for; the steps that follow may add to it [15% of the shorter side;"
    " 45% if frames fit better there].",
)
@click.option(
    "--row-offset",
    default="auto",
    type=AutoOr(click.INT, "PX", "a whole number of pixels"),
    help="Whole pixels by which the second, fourth, ... rows lie to the right, as bidirectional scanning may"
    " leave them; 0: none.",
)
@click.option(
    "--interpolation",
    default="bicubic",
    type=click.Choice(["bilinear", "bicubic"]),
    help="How frames are resampled; bilinear blurs.",
)
@click.option("--dtype", help="Pixel type of the corrected movie, such as float32 [that of the input].")
@click.option("--no-fields", is_flag=True, help="Do not keep the fields.")
@click.option("--no-csv", is_flag=True, help="Do not write the table of frames.")
@click.option("--report", is_flag=True, help="Also write NAME_report.html: how good is it?")
@click.option(
    "--png", is_flag=True, help="Also NAME_report.png, its main figure; needs --report and matplotlib."
)
@skip_existing
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
    with heavy_imports():
        from moco_dl.cli.summary import summary
        from moco_dl.correction import Corrector
        from moco_dl.image import load_image
        from moco_dl.job import correct_file
        from moco_dl.jobs import files_of_recording
        from moco_dl.options import CorrectOptions
        from moco_dl.recording import numbered
        from moco_dl.staging import refuse_inputs

    kinds, join = _kinds(options), options.pop("join")
    jobs = planned(movies, out, outdir, options, kinds=kinds, join=join)
    if not jobs:
        return
    shared = None if ref in MADE else Path(ref)
    with reported(usage=True):
        refuse_inputs((path for job in jobs for path in job.outputs), [shared] if shared else [])
        chosen = CorrectOptions(**options, ref="median" if shared else ref)
    with reported():
        reference = None if shared is None else load_image(shared)
        corrector = Corrector(chosen)

    def run(job: "Job", progress: Callable[[int, int], None]) -> str:  # noqa: F821 (imported lazily)
        return summary(correct_file(job, corrector, reference, progress, command=command_line()))

    alone = not quiet and shared is None and len(jobs) > 1 and numbered(movies)
    if alone and jobs[1].real not in files_of_recording(jobs[0]):
        tell("each movie gets its own reference; if they are files of one recording: --join")
    run_all(jobs, run, quiet)


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
