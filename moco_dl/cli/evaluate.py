"""`nrcorrect evaluate`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from moco_dl.cli.common import (
    PATH,
    bar,
    command_line,
    heavy_imports,
    leave_threads_to_workers,
    overwrite,
    pop_selection,
    quiet,
    reported,
    say,
    tell,
    which_movie,
)

if TYPE_CHECKING:
    from moco_dl.evaluation import Evaluation

corrected_dataset = click.option(
    "--corrected-dataset",
    metavar="KEY",
    help="--dataset of CORRECTED; --dataset, --channel and --plane are of RAW.",
)


@click.command()
@click.argument("raw", nargs=-1, required=True, type=PATH)
@click.argument("corrected", type=PATH)
@click.option("--fields", type=PATH, help="What was applied: the NAME_fields.h5 of nrcorrect correct.")
@click.option(
    "--reference",
    type=PATH,
    help="Image that frames are compared with [that of the fields, or the sharper mean].",
)
@click.option(
    "--truth",
    type=PATH,
    metavar="DIR|FILE",
    help="True fields of a synthetic movie, NAME_truth.h5, an NPY file, or a folder with either"
    " (gt_field.npy); needs --fields.",
)
@click.option("-o", "--output", "page", type=PATH, metavar="REPORT.html", help="Write a page to look at.")
@click.option("--png", is_flag=True, help="Also the page's main figure, REPORT.png; needs -o and matplotlib.")
@click.option("--json", "summary", type=PATH, metavar="OUT.json", help="Write the figures for programs.")
@click.option("--csv", "table", type=PATH, metavar="OUT.csv", help="Write the values of each frame.")
@which_movie
@corrected_dataset
@click.option(
    "--threads", type=click.IntRange(1), help="Frames compared at a time [one a processor, at most 4]."
)
@overwrite
@quiet
def evaluate(
    raw: tuple[Path, ...], corrected: Path, page: Path | None, png: bool, quiet: bool, **options: object
) -> None:
    """Tell how good a correction is: RAW and CORRECTED movie, whichever tool corrected it.

    Several RAW are files of one recording, in this order.

    Prints a verdict (better, no motion, doubtful or worse; tab; a sentence) and a table (key, before, after,
    unit). The exit status is 0 whatever the verdict, 1 if the movies cannot be compared, 2 for wrong usage.
    """
    leave_threads_to_workers()
    with heavy_imports():
        from moco_dl import figures
        from moco_dl.comparison import Comparison, compare_files
        from moco_dl.movie import Selection
        from moco_dl.output import without_ending

    if png and page is None:
        raise click.UsageError("--png puts the figure beside the page; name the page with -o REPORT.html")
    threads, dataset = options.pop("threads"), options.pop("corrected_dataset")
    selections = pop_selection(options), Selection(dataset, option="--corrected-dataset")
    picture = page.parent / f"{without_ending(page)}.png" if png else None
    with reported(usage=True):
        wanted = Comparison(
            raw[0], corrected, more=raw[1:], page=page, picture=picture, selections=selections, **options
        )
    with reported(), bar(corrected.name, quiet) as progress:
        if png:
            figures.require()
        found = compare_files(wanted, progress, threads=threads, command=command_line())
    say("\n".join(lines(found)))
    if not quiet:
        for movie in found.provenance["inputs"]:
            for note in movie.get("notes", ()):
                tell(f"{movie['name']}: {note}")
        for path in wanted.outputs:
            tell(f"wrote {path}")


def lines(evaluation: "Evaluation") -> list[str]:
    """The verdict, then a line a metric."""
    table = [
        "\t".join((row.key, _number(row.before), _number(row.after), row.unit)) for row in evaluation.table
    ]
    return [f"{evaluation.verdict.kind}\t{evaluation.verdict.sentence}", *table]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
