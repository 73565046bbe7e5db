"""Compare tools on real movies, whose motion nobody knows: known shifts, seen in other noise, must be found.

    python compare_windows.py MOVIE... --python PATH

The light of each frame is dealt out to two movies as in compare_halves.py. Of one, a window is cut out that
stays in place; of the other, one that wanders by whole pixels, as if all that is seen had moved so much more.
Fields of the two must differ by just that. What they differ by otherwise is error: their noise is independent.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile
from compare_halves import BORDER, add_movies, halves, means
from compare_tools import add_tools, check_tools, corrected_by, scratch_folder
from measure import CommandError, machine, table

from moco_dl.fields import load_fields

STEP = 1.2  # px, standard deviation of the way from frame to frame
JITTER = 0.5  # px, the same of what is each frame's own
HEADER = ("tool", "error, px", "but for what is constant in time, px", "of whole frames, px", "expected, px")


def wandering(frames: int, reach: int, rng: np.random.Generator) -> np.ndarray:
    """(T, 2) whole pixels, at most `reach`: where the window lies in each frame."""
    path = np.cumsum(rng.normal(0, STEP, (frames, 2)), axis=0)
    path = reach * np.tanh((path - path.mean(axis=0)) / reach) + rng.normal(0, JITTER, (frames, 2))
    return np.rint(path).clip(-reach, reach).astype(int)


def window(frames: np.ndarray, path: np.ndarray, reach: int) -> np.ndarray:
    """(T, H - 2 reach, W - 2 reach) of frames (T, H, W), `path` (T, 2) away from the middle."""
    height, width = frames.shape[1] - 2 * reach, frames.shape[2] - 2 * reach
    corners = path + reach
    return np.stack([f[y : y + height, x : x + width] for f, (y, x) in zip(frames, corners, strict=True)])


def errors_of(still: np.ndarray, moved: np.ndarray, path: np.ndarray) -> list[float]:
    """The first columns of the table, from the fields (T, 2, H, W) of both windows.

    Differences of two errors that are independent are as large as one of them times the root of two.
    """
    difference = (moved - still + path[:, :, None, None])[..., BORDER:-BORDER, BORDER:-BORDER] / np.sqrt(2)
    difference -= np.median(difference, axis=(0, 2, 3), keepdims=True)
    beside = difference - np.median(difference, axis=0)
    parts = difference, beside, difference.mean(axis=(2, 3))
    return [float(np.linalg.norm(part, axis=1).mean()) for part in parts]


def expected_in(folder: Path) -> float:
    """The error that a tool expects, if it tells, inside the border; mean over the window."""
    stored = folder / "movie_fields.h5"
    if not stored.exists():
        return np.nan
    fields = load_fields(stored)
    inside = (slice(BORDER // fields.stride, -BORDER // fields.stride),) * 2
    return float(np.nanmean(fields.expected_error[inside]))


def compared(
    frames: np.ndarray, seed: int, scratch: Path, options: argparse.Namespace
) -> dict[str, list[float]]:
    """Columns of the table by tool, of one movie (T, H, W) whose halves are dealt out by a seed."""
    rng, found = np.random.default_rng(seed), {}
    path = wandering(len(frames), options.reach, rng)
    paths = (np.zeros_like(path), path)
    movies = [window(half, p, options.reach) for half, p in zip(halves(frames, rng), paths, strict=True)]
    for tool in options.tools:
        fields, expected = [], []
        try:
            for number, movie in enumerate(movies):
                folder = scratch / f"{tool}_{number}"
                folder.mkdir(parents=True)
                tifffile.imwrite(folder / "movie.tif", movie, photometric="minisblack")
                fields.append(corrected_by(tool, (folder / "movie.tif").resolve(), folder, options)[1])
                expected.append(expected_in(folder))
                if not options.keep:
                    shutil.rmtree(folder)
        except CommandError as error:
            print(f"{tool} failed: {error}", file=sys.stderr)
            fields, expected = [np.full((len(path), 2, *movies[0].shape[1:]), np.nan)] * 2, [np.nan]
        found[tool] = [*errors_of(*fields, path), float(np.mean(expected))]
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    add_movies(parser)
    parser.add_argument("--reach", type=int, default=4, help="px, how far the window wanders at most [4]")
    add_tools(parser)
    options = parser.parse_args(arguments)
    check_tools(options, parser)
    print(f"{', '.join(dict.fromkeys(options.versions))}; {options.threads} threads on {machine()}")
    with scratch_folder(options.keep) as scratch:
        for number, path in enumerate(options.movies):
            print(f"\n### {path.name}\n", flush=True)
            print(table(HEADER, means(path, compared, scratch / str(number), options)), flush=True)


if __name__ == "__main__":
    main()
