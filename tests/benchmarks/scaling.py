"""How the time and memory of `nrcorrect correct` grow with the length of a movie, its size and the threads.

    python scaling.py                                  # may take an hour
    python scaling.py --lengths 200 800 --sizes 128 256 --threads 1 --frames 100

Movies repeat a synthetic block, forwards and backwards by turns so that motion stays continuous: what a frame
shows does not matter here, and drawing thousands would take longer than correcting them. They lie in a
temporary folder (TMPDIR), with room for two movies and the fields: 2.5 GB for 8000 frames of 256x256.
"""

import argparse
import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from measure import NRCORRECT, Cost, cost_of, machine, table

import moco_dl
from moco_dl.output import create_tiff
from moco_dl.synth import SyntheticMovie, movie_options

BLOCK = 100  # frames that are drawn, at most
MEASURES = ("seconds", "frames/s", "Mpixel/s", "frames per CPU second", "peak memory, MiB")


def draw_block(frames: int, size: int, photons: float) -> np.ndarray:
    """(n, size, size) uint16, n up to BLOCK."""
    movie = SyntheticMovie(0, movie_options(frames=min(frames, BLOCK), size=size, photons=photons))
    return np.stack([frame for frame, _ in movie])


def write_repeated(path: Path, block: np.ndarray, frames: int) -> None:
    """Write a TIFF of `frames` frames: the block forwards, backwards, forwards and so on."""
    with closing(create_tiff(path, (frames, *block.shape[1:]), block.dtype)) as stream:
        for turn, start in enumerate(range(0, frames, len(block))):
            part = block[:: -1 if turn % 2 else 1]
            stream.write(start, mov=part[: frames - start])


class Bench:
    """Runs `nrcorrect correct` on movies of any length and size; a size is drawn once."""

    def __init__(self, folder: Path, options: argparse.Namespace):
        self._folder, self._options = folder, options
        self._blocks: dict[tuple[int, int], np.ndarray] = {}

    def cost(self, frames: int, size: int, threads: int) -> Cost:
        """Of the whole command, from start to end."""
        drawn = (min(frames, BLOCK), size)
        if drawn not in self._blocks:
            self._blocks = {drawn: draw_block(*drawn, self._options.photons)}
        folder = self._folder / f"{frames}_{size}_{threads}"
        folder.mkdir()
        write_repeated(folder / "movie.tif", self._blocks[drawn], frames)
        try:
            command = [*NRCORRECT, "correct", folder / "movie.tif", "--device", "cpu"]
            return cost_of(command, folder, threads=threads)
        finally:
            shutil.rmtree(folder)


def row(label: str, cost: Cost, frames: int, size: int) -> list[str]:
    return [
        label,
        f"{cost.seconds:.1f}",
        f"{frames / cost.seconds:.1f}",
        f"{frames * size**2 / cost.seconds / 1e6:.2f}",
        f"{frames / cost.cpu_seconds:.1f}",
        f"{cost.peak:.0f}",
    ]


def report(title: str, label: str, rows: list[list[str]]) -> None:
    if rows:
        print(f"\n### {title}\n\n{table((label, *MEASURES), rows)}", flush=True)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    cores = os.cpu_count() or 1
    counts = sorted({1, 2, cores} & set(range(1, cores + 1)))
    add = parser.add_argument
    add("--lengths", type=int, nargs="*", default=[500, 2000, 8000], help="frames [500 2000 8000]")
    add("--sizes", type=int, nargs="*", default=[128, 256, 512, 1024], help="pixels a side [128 256 512 1024]")
    add("--threads", type=int, nargs="*", default=counts, help=f"processors {counts}; none skips a table")
    add("--frames", type=int, default=200, help="frames in the tables of sizes and threads [200]")
    add("--size", type=int, default=256, help="pixels a side in those of lengths and threads [256]")
    add("--photons", type=float, default=2.0, help="mean photons per pixel [2]")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    frames, size, most = options.frames, options.size, max(options.threads, default=1)
    print(f"nrcorrect {moco_dl.__version__}; {machine()}", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(Path(scratch), options)
        report(
            f"Length: {size}x{size}, {most} threads",
            "frames",
            [row(str(n), bench.cost(n, size, most), n, size) for n in options.lengths],
        )
        report(
            f"Size: {frames} frames, {most} threads",
            "pixels a side",
            [row(str(side), bench.cost(frames, side, most), frames, side) for side in options.sizes],
        )
        report(
            f"Threads: {frames} frames of {size}x{size}",
            "threads",
            [row(str(n), bench.cost(frames, size, n), frames, size) for n in options.threads],
        )


if __name__ == "__main__":
    main()
