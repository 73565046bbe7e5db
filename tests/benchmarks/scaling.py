"""How the time and memory of `nrcorrect correct` grow with the length of a movie, its size and the threads.

    python scaling.py                                  # may take an hour
    python scaling.py --lengths 200 800 --sizes 128 256 --threads 1 --frames 100
    python scaling.py --device cuda --threads 8

Movies repeat a synthetic block, forwards and backwards by turns so that motion stays continuous, each time with
other noise: moving the scene thousands of times would take longer than correcting them. They lie in a temporary
folder (TMPDIR), with room for two movies and the fields: 2.5 GB for 8000 frames of 256x256.
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
from moco_dl.learning.synth import SyntheticMovie, movie_options
from moco_dl.output import create_tiff

BLOCK = 100  # frames that are drawn, at most
MEASURES = ("seconds", "frames/s", "Mpixel/s", "frames per CPU second", "peak memory, MiB")


class Block:
    """A synthetic movie that can be written at any length."""

    def __init__(self, frames: int, size: int, photons: float):
        """Of `frames`, up to BLOCK, of `size` x `size` pixels, with `photons` per pixel."""
        self._movie = SyntheticMovie(0, movie_options(frames=min(frames, BLOCK), size=size, photons=photons))
        self._clean = [self._movie.moved(t)[0] for t in range(self._movie.options.shape[0])]

    def write(self, path: Path, frames: int) -> None:
        """Write a TIFF: the block forwards, backwards, forwards and so on, each time with other noise."""
        _, *size = self._movie.options.shape
        order = [*range(len(self._clean)), *reversed(range(len(self._clean)))]
        rng = np.random.default_rng(0)
        with closing(create_tiff(path, (frames, *size), np.dtype(np.uint16))) as stream:
            for t in range(frames):
                clean = self._clean[order[t % len(order)]]
                stream.write(t, mov=self._movie.recorded(clean, rng)[None])


class Bench:
    """Runs `nrcorrect correct` on movies of any length and size; a size is drawn once."""

    def __init__(self, folder: Path, options: argparse.Namespace):
        self._folder, self._options = folder, options
        self._blocks: dict[tuple[int, int], Block] = {}

    def cost(self, frames: int, size: int, threads: int) -> Cost:
        """Of the whole command, from start to end."""
        drawn = (min(frames, BLOCK), size)
        if drawn not in self._blocks:
            self._blocks = {drawn: Block(*drawn, self._options.photons)}
        folder = self._folder / f"{frames}_{size}_{threads}"
        folder.mkdir()
        self._blocks[drawn].write(folder / "movie.tif", frames)
        try:
            device = self._options.device
            command = [*NRCORRECT, "correct", folder / "movie.tif", "--device", device]
            return cost_of(command, folder, threads=threads, gpu=device != "cpu")
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
    add("--device", default="cpu", help="where frames are computed: cpu, cuda, mps [cpu]")
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
