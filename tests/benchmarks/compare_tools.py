"""Compare nrcorrect with other tools on movies with known motion: speed, memory and error of the fields.

    python compare_tools.py --size 256 --frames 200 --photons 0.5 2 10 --seed 1 2
    python compare_tools.py --movies DIR...        # each with movie.tif and gt_field.npy (T, 2, H, W)
    python compare_tools.py --python PATH          # the peers live in another environment

Every tool corrects every movie in a process of its own, one after another. Prints a markdown table per movie.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from exchange import load_field, shape_of
from measure import NRCORRECT, CommandError, Cost, cost_of, machine, table

import moco_dl

PEERS = Path(__file__).with_name("peers.py")
TRUTHS = ("gt_field.npy", "movie_truth.h5")
BORDER = 16  # px left out of errors: what moved in from outside was never seen
HEADER = (
    "tool",
    "frames/s",
    "speed over nrcorrect's",
    "frames per CPU second",
    "peak memory, MiB",
    "EPE, px",
    "EPE but for a constant field, px",
)
Errors = tuple[float, float]


def end_point_errors(fields: np.ndarray, truth: np.ndarray) -> Errors:
    """Mean end-point error of fields (T, 2, H, W) inside the border, px; then without a field constant in time.

    A reference may lie anywhere: one vector, the median difference, is removed from the whole movie first. The
    constant field is the warp of the reference itself. Where the truth is NaN, nothing is compared.
    """
    inside = (..., slice(BORDER, -BORDER), slice(BORDER, -BORDER))
    known = np.isfinite(truth[inside]).all(axis=(0, 1))
    difference = fields[inside][..., known] - truth[inside][..., known]
    difference -= np.median(difference, axis=(0, 2), keepdims=True)
    still = np.median(difference, axis=0, keepdims=True)
    return _mean_length(difference), _mean_length(difference - still)


def _mean_length(vectors: np.ndarray) -> float:
    return float(np.hypot(vectors[:, 0], vectors[:, 1]).mean())


def truth_of(folder: Path) -> np.ndarray:
    """The known field (T, 2, H, W) of a movie."""
    stored, drawn = (folder / name for name in TRUTHS)
    return np.load(stored) if stored.exists() else moco_dl.load_fields(drawn)[:]


def installed(python: str) -> dict[str, str | None]:
    """Versions of the peers, by name; None for those that are missing."""
    listed = subprocess.run([python, str(PEERS)], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(listed.stdout)


def corrected_by(tool: str, movie: Path, folder: Path, options: argparse.Namespace) -> tuple[Cost, np.ndarray]:
    """Let a tool correct `movie` in `folder`: what it cost, and its fields (T, 2, H, W)."""
    if tool == "nrcorrect":
        command = [*NRCORRECT, "correct", movie, "--outdir", folder, "--device", "cpu"]
        cost = cost_of(command, folder, threads=options.threads)
        return cost, moco_dl.load_fields(folder / f"{movie.stem}_fields.h5")[:]
    cost = cost_of([options.python, PEERS, tool, movie], folder, threads=options.threads)
    return cost, load_field(folder)


def results(
    movie: Path, truth: np.ndarray, scratch: Path, options: argparse.Namespace
) -> Iterator[tuple[str, Cost | None, Errors | None]]:
    """Yield tool, cost and errors as the tools finish; both None if one failed."""
    shifts = np.broadcast_to(np.nanmean(truth, axis=(2, 3), keepdims=True), truth.shape)
    yield "(nothing)", None, end_point_errors(np.zeros_like(truth), truth)
    yield "(true mean shift of each frame)", None, end_point_errors(shifts, truth)
    for tool in options.tools:
        folder = scratch / tool
        folder.mkdir(parents=True)
        try:
            cost, fields = corrected_by(tool, movie, folder, options)
            yield tool, cost, end_point_errors(fields, truth)
        except CommandError as error:
            print(f"{movie}: {tool} failed: {error}", file=sys.stderr)
            yield f"{tool} (failed)", None, None
        finally:
            if not options.keep:
                shutil.rmtree(folder)


def compare(movie: Path, truth: np.ndarray, scratch: Path, options: argparse.Namespace) -> str:
    """The table of one movie."""
    count, *size = shape_of(movie)
    if truth.shape != (count, 2, *size):
        raise SystemExit(f"{movie}: {(count, *size)}, but its truth is {truth.shape}; wanted (T, 2, H, W)")
    found = list(results(movie.resolve(), truth, scratch, options))
    ours = next((cost.seconds for tool, cost, _ in found if tool == "nrcorrect" and cost), None)
    return table(HEADER, [_row(tool, cost, errors, count, ours) for tool, cost, errors in found])


def _row(tool: str, cost: Cost | None, errors: Errors | None, count: int, ours: float | None) -> list[str]:
    speed, scores = ["-"] * 4, ["-"] * 2
    if cost:
        ratio = f"{ours / cost.seconds:.2f}" if ours else "-"
        speed = [
            f"{count / cost.seconds:.1f}",
            ratio,
            f"{count / cost.cpu_seconds:.1f}",
            f"{cost.peak:.0f}",
        ]
    if errors:
        scores = [f"{error:.3f}" for error in errors]
    return [tool, *speed, *scores]


def movies(options: argparse.Namespace, scratch: Path) -> Iterator[tuple[str, Path, np.ndarray]]:
    """Yield name, TIFF and truth of each movie: those given, else new ones."""
    for folder in options.movies:
        yield folder.name, folder / "movie.tif", truth_of(folder)
    if options.movies:
        return
    for seed in options.seed:
        for photons in options.photons:
            folder = scratch / f"seed_{seed}_photons_{photons:g}"
            folder.mkdir(parents=True)
            drawn = {"size": options.size, "frames": options.frames, "photons": photons, "seed": seed}
            chosen = [text for name, value in drawn.items() for text in (f"--{name}", str(value))]
            synth = [*NRCORRECT, "synth", folder / "movie.tif", "--movie", "--quiet", *chosen]
            subprocess.run(synth, stdout=subprocess.DEVNULL, check=True)
            yield folder.name, folder / "movie.tif", truth_of(folder)


@contextmanager
def scratch_folder(keep: Path | None) -> Iterator[Path]:
    if keep:
        keep.mkdir(parents=True)
        yield keep.resolve()
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    add = parser.add_argument
    add("--movies", type=Path, nargs="+", default=[], metavar="DIR", help="folders with movie.tif and truth")
    add("--size", type=int, default=256, help="pixels a side of new movies [256]")
    add("--frames", type=int, default=200, help="their length [200]")
    add("--photons", type=float, nargs="+", default=[2.0], help="mean photons per pixel [2]")
    add("--seed", type=int, nargs="+", default=[0], help="a movie is made for each [0]")
    add_tools(parser)
    options = parser.parse_args(arguments)
    check_tools(options, parser)
    check_movies(options, parser)
    return options


def add_tools(parser: argparse.ArgumentParser) -> None:
    """Add options that say which tools run, and how."""
    add = parser.add_argument
    add("--tools", nargs="+", metavar="NAME", help="nrcorrect and names of peers [all that are installed]")
    add("--python", default=sys.executable, help="interpreter that has the peers [this one]")
    add("--threads", type=int, default=2, help="processors each tool may use [2]")
    add("--keep", type=Path, metavar="DIR", help="new folder for all movies and outputs [none is kept]")


def check_tools(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Complete what `add_tools` added; end with a message if it cannot be followed."""
    if options.keep and options.keep.exists():
        parser.error(f"--keep {options.keep}: exists; name a new folder")
    python = shutil.which(options.python)
    if python is None:
        parser.error(f"--python {options.python}: cannot be run; wanted an interpreter that has the peers")
    options.python = str(Path(python).absolute())  # not resolved: a link is what makes a virtual environment
    versions = {"nrcorrect": f"nrcorrect {moco_dl.__version__}"} | installed(options.python)
    options.tools = options.tools or [name for name, version in versions.items() if version]
    for tool in options.tools:
        if not versions.get(tool):
            there = ", ".join(name for name, version in versions.items() if version)
            parser.error(f"{tool}: not a tool, or not installed in {options.python}; there are {there}")
    options.versions = [versions[tool] for tool in options.tools]


def check_movies(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Complete `--movies`; end with a message if one is not as it should be."""
    options.movies = [folder.resolve() for folder in options.movies]
    if len({folder.name for folder in options.movies}) < len(options.movies):
        parser.error("--movies: two folders have the same name; rename one")
    for folder in options.movies:
        if not (folder / "movie.tif").exists() or not any((folder / name).exists() for name in TRUTHS):
            parser.error(f"{folder}: wanted a folder with movie.tif and {' or '.join(TRUTHS)}")


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    print(f"{', '.join(dict.fromkeys(options.versions))}; {options.threads} threads on {machine()}")
    with scratch_folder(options.keep) as scratch:
        for name, movie, truth in movies(options, scratch):
            print(f"\n### {name}: {truth.shape[0]} frames of {truth.shape[2]}x{truth.shape[3]}\n", flush=True)
            print(compare(movie, truth, scratch / name, options), flush=True)


if __name__ == "__main__":
    main()
