"""Compare tools on real movies, whose motion nobody knows: what moves half of the light must suit the rest.

    python compare_halves.py MOVIE... --python PATH

Each frame is dealt out to two movies of half the light, whose noise is independent. Tools see the first; their
fields move both. What a tool has followed of the noise in the frames that it saw makes their mean image crisp,
but no other; and noise that two mean images do not share is no detail of either.
"""

import argparse
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tifffile
from compare_tools import add_tools, check_tools, corrected_by, scratch_folder
from measure import CommandError, machine, table
from scipy.ndimage import convolve1d, gaussian_filter, map_coordinates

from moco_dl.movie import open_movie

BORDER = 16  # px left out: what moved in from outside
SMOOTH = 3.0  # px, over which brightness and noise are averaged
LEAST = 0.5  # of the first percentile of the noise's variance, that every pixel has
LEVELS = 60000  # of the values that are written
HEADER = ("tool", "frames that it saw", "other half", "what both share")


def noise_of(frames: np.ndarray) -> tuple[float, float, tuple[float, float]]:
    """Variance of the noise in frames (T, H, W): what it grows by with brightness, and what it has in the dark.

    And how far noise is correlated between pixels above each other, and beside each other. Second differences
    along rows, and of these the difference between frames that follow one another, show hardly anything else.
    """
    change = np.diff(frames, axis=0)
    fine = change - gaussian_filter(change, (0, SMOOTH, SMOOTH))
    pairs = ((fine[:, 1:], fine[:, :-1]), (fine[..., 1:], fine[..., :-1]), (fine[..., 2:], fine[..., :-2]))
    down, across, further = (float((one * other).mean() / np.square(fine).mean()) for one, other in pairs)
    down, across, further = max(down, 0.0), max(across, 0.0), max(further, 0.0)
    size = 12 - 16 * across + 4 * further  # of their variance, over that of noise correlated so
    variance = np.square(np.median(np.abs(np.diff(change, 2, axis=2)), axis=0) / 0.6745) / size
    bright = frames.mean(axis=0)[:, 1:-1]
    slope, dark = np.polyfit(*(gaussian_filter(image, SMOOTH).ravel() for image in (bright, variance)), 1)
    return float(slope), float(dark), (down, across)


def halves(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Two movies (2, T, H, W) uint16 of half the light of frames (T, H, W), whose noise is independent.

    What is Gaussian of variance v, plus and minus noise of the same variance, is independent (Rasines and
    Young, Biometrika 110, 2023). Photons are taken to be many enough, or read noise large enough, for that.
    """
    slope, dark, correlated = noise_of(frames)
    variance = slope * gaussian_filter(frames, (0, SMOOTH, SMOOTH)) + dark
    variance = np.maximum(variance, LEAST * np.percentile(variance, 1).clip(0))
    noise = rng.standard_normal(frames.shape)
    for axis, share in enumerate(correlated, start=1):
        noise = convolve1d(noise, [share / 2, 1, share / 2], axis=axis, mode="wrap")
    noise *= np.sqrt(variance.clip(0)) / noise.std()
    both = np.stack([frames + noise, frames - noise])
    both -= both.min()
    return np.rint(both * (LEVELS / both.max())).astype(np.uint16)


def gradients(frames: np.ndarray, field: np.ndarray) -> np.ndarray:
    """(2, h, w) of the mean image of frames (T, H, W) moved by a field (T, 2, H, W), without the border."""
    grid, total = np.indices(frames.shape[1:], dtype=np.float32), np.zeros(frames.shape[1:])
    for frame, displacement in zip(frames, field, strict=True):
        total += map_coordinates(frame.astype(np.float32), grid + displacement, order=3, mode="nearest")
    return np.stack(np.gradient(total[BORDER:-BORDER, BORDER:-BORDER] / len(frames)))


def crispness(
    frames: np.ndarray, seed: int, scratch: Path, options: argparse.Namespace
) -> dict[str, np.ndarray]:
    """Columns of the table (3,) by tool, of one movie (T, H, W) whose halves are dealt out by a seed."""
    seen, other = halves(frames, np.random.default_rng(seed))
    scratch.mkdir(parents=True)
    movie, found = scratch / "movie.tif", {}
    tifffile.imwrite(movie, seen, photometric="minisblack")
    still = np.zeros((len(frames), 2, *frames.shape[1:]), np.float32)
    raw = [gradients(half, still) for half in (seen, other)]
    for tool in options.tools:
        folder = scratch / tool
        folder.mkdir()
        try:
            _, field = corrected_by(tool, movie.resolve(), folder, options)
        except CommandError as error:
            print(f"{tool} failed: {error}", file=sys.stderr)
            found[tool] = np.full(3, np.nan)
            continue
        moved = [gradients(half, field) for half in (seen, other)]
        pairs = ((0, 0), (1, 1), (0, 1))
        found[tool] = np.sqrt([np.vdot(moved[i], moved[j]) / np.vdot(raw[i], raw[j]) for i, j in pairs])
        if not options.keep:
            shutil.rmtree(folder)
    return found


def means(path: Path, measured: Callable, scratch: Path, options: argparse.Namespace) -> list[list[str]]:
    """Rows of the table of a movie: what is `measured` as by `crispness`, in the mean over all seeds."""
    movie = open_movie(path)
    frames = movie.read(range(min(options.frames or movie.shape[0], movie.shape[0]))).astype(np.float64)
    movie.close()
    each = [measured(frames, seed, scratch / str(seed), options) for seed in options.seed]
    found = {tool: np.mean([one[tool] for one in each], axis=0) for tool in options.tools}
    return [[tool, *(f"{value:.3f}" for value in values)] for tool, values in found.items()]


def add_movies(parser: argparse.ArgumentParser) -> None:
    """Add options that say which movies are seen, and how often."""
    add = parser.add_argument
    add("movies", type=Path, nargs="+", metavar="MOVIE")
    add("--seed", type=int, nargs="+", default=[0], help="of how noise is dealt out; means of all [0]")
    add("--frames", type=int, help="of each movie, the first so many [all]")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    add_movies(parser)
    add_tools(parser)
    options = parser.parse_args(arguments)
    check_tools(options, parser)
    print(f"{', '.join(dict.fromkeys(options.versions))}; {options.threads} threads on {machine()}")
    with scratch_folder(options.keep) as scratch:
        for number, path in enumerate(options.movies):
            print(f"\n### {path.name}: crispness of the mean image, over raw\n", flush=True)
            print(table(HEADER, means(path, crispness, scratch / str(number), options)), flush=True)


if __name__ == "__main__":
    main()
