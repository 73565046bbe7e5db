"""What `correct` and `apply` share: jobs are planned, and done one after another."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import click

from moco_dl.cli.common import PATH, bar, in_memory, pop_selection, reported, say, tell, tidying
from moco_dl.errors import NrcorrectError, is_about

skip_existing = click.option(
    "--skip-existing",
    is_flag=True,
    help="Leave out movies whose outputs are all there, and results that are named among MOVIES; with"
    " --overwrite, do the others anew.",
)
output = click.option(
    "-o", "--output", "out", type=PATH, help="Name of the corrected movie; others are named after it."
)
outdir = click.option("--outdir", type=PATH, help="Existing directory for the outputs [beside each movie].")


def planned(
    movies: tuple[Path, ...],
    out: Path | None,
    outdir: Path | None,
    options: dict,
    *,
    kinds: Sequence[str],
    join: bool,
) -> list:
    """Jobs of a command; takes the options that concern files out of `options`."""
    from moco_dl.jobs import plan_jobs

    if out is not None and outdir is not None:
        raise click.UsageError("-o says where the result goes, and --outdir, too; leave one of them out")
    if out is not None and len(movies) > 1 and not join:
        raise click.UsageError(
            "-o names the output of one movie; use --outdir for many, --join for one in several files"
        )
    if outdir is not None and not _is_folder(outdir):
        raise click.UsageError(f"--outdir {outdir}: no such directory; make it first")
    with reported(usage=True):
        more = {
            "selection": replace(pop_selection(options), joined=join),
            "overwrite": options.pop("overwrite"),
            "skip_existing": options.pop("skip_existing"),
        }
        jobs, left_out = plan_jobs(movies, out, outdir, kinds=kinds, join=join, **more)
    for line in left_out:
        tell(line)
    return jobs


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except PermissionError:  # of a folder that may not be entered
        return False


def run_all(jobs: list, run: Callable, quiet: bool) -> None:
    """Run each job, print its outputs, go on after failures, and exit with 1 if there were any."""
    from moco_dl.jobs import files_of_recording, is_done, left_out_as_done, left_out_as_named
    from moco_dl.parallel import workers_first

    failed, known, unprinted = [], set(), None
    for job in jobs:
        if job.real in known:
            tell(left_out_as_named(job))
            continue
        if job.skip_existing and is_done(job):  # by another run, in the meantime
            tell(left_out_as_done(job))
            continue
        try:
            with bar(job.movie.name, quiet) as progress, in_memory("try --threads 1"), workers_first():
                known |= files_of_recording(job) if len(jobs) > 1 else set()
                summary = run(job, tidying(progress))
        except NrcorrectError as error:
            failed.append(job.name)
            named = any(is_about(error, path) for path in (job.movie, *job.more, *job.outputs))
            tell(f"nrcorrect: {error}" if named else f"nrcorrect: {job.movie}: {error}")
            continue
        unprinted = _unprinted("\t".join(str(path) for path in job.outputs)) or unprinted
        if not quiet:
            tell(f"{job.name}: {summary}")
    if failed and len(jobs) > 1:
        tell(f"nrcorrect: {len(failed)} of {len(jobs)} movies failed: {', '.join(failed)}")
    if unprinted is not None:
        raise unprinted
    if failed:
        sys.exit(1)


def _unprinted(line: str) -> OSError | None:
    """Print a line; returns what went wrong."""
    try:
        say(line)
    except OSError as error:
        return error
    return None
