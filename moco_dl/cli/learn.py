"""`nrcorrect synth` and `nrcorrect train`."""

from pathlib import Path

import click

from moco_dl.cli.common import (
    PATH,
    Finite,
    bar,
    device,
    heavy_imports,
    overwrite,
    pop_selection,
    quiet,
    reported,
    say,
    which_movie,
)

FARTHEST = 1000.0  # px
SPREAD, NOT_NEGATIVE = Finite(1, FARTHEST), Finite(0, FARTHEST)
OF_MOVIES = ("frames", "calm", "running", "beat", "bleach", "flicker", "pattern", "row_offset")
SEED, COUNT = click.IntRange(0, 2**63 - 1), click.IntRange(1, 10**9)


@click.command()
@click.argument("out", type=PATH)
@click.option("--movie", is_flag=True, help="A movie OUT and its true fields OUT_truth.h5, instead of pairs.")
@click.option("--pairs", type=COUNT, help="Number of pairs [6000].")
@click.option("--frames", type=COUNT, help="Frames of the movie [200].")
@click.option("--size", type=click.IntRange(32, 10**5), help="Pixels a side [pairs 128, movie 256].")
@click.option(
    "--photons",
    type=Finite(0, 1e6, min_open=True),
    help="Mean photons per pixel of scenes, before cells flash [pairs 0.3 to 60, movie 2].",
)
@click.option("--vectors", type=click.IntRange(1, 1000), help="Random vectors a field is made of [10].")
@click.option(
    "--spread", type=SPREAD, nargs=2, help="Sigma of their Gaussians, from and to, px [12 60, movie 20 60]."
)
@click.option("--amplitude", type=NOT_NEGATIVE, help="Largest non-rigid displacement, px [8, movie 4].")
@click.option(
    "--rigid",
    type=NOT_NEGATIVE,
    help="Whole-frame shifts: the largest, of pairs two deviations, px [2, movie 6].",
)
@click.option("--rows", type=NOT_NEGATIVE, help="Largest row-by-row displacement, px [4, movie 0.5].")
@click.option(
    "--calm",
    type=Finite(0, 1),
    help="Movies that move in bouts: motion between them, over that in them [1, always alike].",
)
@click.option(
    "--running",
    type=NOT_NEGATIVE,
    help="Movies of a running animal: how far tissue swings, px [0].",
)
@click.option(
    "--beat",
    type=Finite(1, 1e6),
    help="Movies of a heart that bends the tissue, too: frames from beat to beat [none].",
)
@click.option(
    "--bleach",
    type=Finite(0, 1, max_open=True),
    help="Movies that fade: share of the light that is lost by the last frame, exponentially [0].",
)
@click.option(
    "--flicker",
    type=Finite(0, 1),
    help="Movies whose light wanders from frame to frame: by what share of it [0].",
)
@click.option(
    "--pattern",
    type=Finite(0, 10),
    help="Movies of a detector with hot pixels and stripes: these over the scene's contrast [0, neither].",
)
@click.option(
    "--row-offset",
    type=click.IntRange(-10, 10),
    help="Movies of rows taken forth and back: how far every other one lies to the right, px [0].",
)
@click.option(
    "--images",
    type=PATH,
    multiple=True,
    metavar="FILE",
    help="Make scenes of this mean image or corrected movie; may be repeated [scenes are invented].",
)
@which_movie
@click.option("--seed", default=0, type=SEED, help="The same seed and version give the same bytes.")
@click.option("--preview", type=PATH, help="Also draw the first pairs: a picture (PNG, PDF, SVG).")
@overwrite
@quiet
def synth(
    out: Path, movie: bool, images: tuple[Path, ...], preview: Path | None, quiet: bool, **options: object
) -> None:
    """Make a dataset of synthetic pairs OUT (HDF5) with known fields, or a movie OUT (TIFF, HDF5)."""
    with heavy_imports():
        from threadpoolctl import threadpool_limits

        from moco_dl.learning.dataset import movie_outputs, refuse_outputs, write_movie, write_pairs
        from moco_dl.learning.images import read_scene_images
        from moco_dl.learning.pairs import ScenePool, pair_options
        from moco_dl.learning.synth import SyntheticMovie, movie_options
        from moco_dl.movie import WHOLE
        from moco_dl.staging import refuse_existing, refuse_inputs

    count, seed, replace = (options.pop(name) for name in ("pairs", "seed", "overwrite"))
    of_movies = {name: options.pop(name) for name in OF_MOVIES}
    if movie and count is not None:
        raise click.UsageError("--pairs is for datasets; leave it out with --movie")
    if movie and preview is not None:
        raise click.UsageError("--preview is for datasets; leave it out with --movie")
    for name, value in of_movies.items():
        if not movie and value is not None:
            raise click.UsageError(f"--{name.replace('_', '-')} is for movies; add --movie")
    if (which := pop_selection(options)) != WHOLE and not images:
        raise click.UsageError("--dataset, --channel and --plane are for --images; leave them out without")
    outputs = movie_outputs(out) if movie else [out, *filter(None, [preview])]
    with reported(usage=True):
        refuse_outputs(outputs, movie=movie)
        refuse_inputs(outputs, images)
        wanted = movie_options(**of_movies, **options) if movie else pair_options(**options)
    # Products of matrices that several threads share are rounded otherwise.
    with reported(), threadpool_limits(1, "blas"), bar(out.name, quiet) as progress:
        refuse_existing(outputs, overwrite=replace)
        shown = read_scene_images(images, which)
        if movie:
            scene = SyntheticMovie(seed, wanted, shown)
            write_movie(outputs, scene, progress=progress, overwrite=replace)
        else:
            scenes = ScenePool(seed, wanted.scene_size, shown)
            write_pairs(outputs, count or 6000, wanted, scenes, progress=progress, overwrite=replace)
    say("\n".join(map(str, outputs)))


@click.command()
@click.argument("folder", type=PATH)
@click.option("--data", type=PATH, help="Pairs from nrcorrect synth [drawn on the fly].")
@click.option("--steps", default=12000, type=COUNT, help="Optimiser steps; the schedule ends with them.")
@click.option("--batch", default=16, type=click.IntRange(1, 10**6), help="Pairs a step.")
@click.option("--rate", default=1e-3, type=Finite(0, 1, min_open=True), help="Peak learning rate.")
@click.option(
    "--curriculum",
    type=click.IntRange(0, 10**9),
    help="Steps from bright frames to the full range, of pairs drawn on the fly [1500].",
)
@click.option("--loss", default="epe:1", metavar="NAME:WEIGHT,...", help="Mixture of epe, mse and ncc.")
@click.option("--seed", default=0, type=SEED, help="The same seed gives the same weights, on one machine.")
@click.option("--every", default=500, type=COUNT, help="Steps between checkpoints and validations.")
@click.option("--workers", default=1, type=click.IntRange(0, 1000), help="Processes that draw the data.")
@click.option("--init", type=PATH, help="Weights to begin with (fine-tuning) [random ones].")
@click.option("--hours", type=Finite(0, min_open=True), help="Stop after this time even if steps are left.")
@click.option("--resume", is_flag=True, help="Go on from FOLDER/last.pt; repeat the other options, but --init.")
@device
@quiet
def train(folder: Path, quiet: bool, **options: object) -> None:
    """Train the network; FOLDER gets log.csv, last.pt (to resume from) and, at the end, weights.pt."""
    with heavy_imports():
        from moco_dl.learning.run import train_into
        from moco_dl.learning.train import TrainOptions, parse_loss

    recipe = {name: options.pop(name) for name in ("steps", "batch", "rate", "curriculum", "loss", "seed")}
    if recipe["curriculum"] is None:
        del recipe["curriculum"]
    elif options["data"] is not None:
        raise click.UsageError("--curriculum is for pairs drawn on the fly; leave it out with --data")
    if options["resume"] and options["init"] is not None:
        raise click.UsageError("--init is for a run that begins; leave it out with --resume")
    with reported(usage=True):
        choices = TrainOptions(**recipe | {"loss": parse_loss(recipe["loss"])})
    with reported(), bar(folder.name, quiet, unit="step") as progress:
        weights = train_into(folder, choices, progress=progress, **options)
    say(str(weights))
