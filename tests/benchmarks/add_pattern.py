"""Add what detectors and scanners do to a movie with known motion, for `compare_tools.py --movies`.

    python add_pattern.py DIR NEW_DIR --kind columns --strength 0.2
    python add_pattern.py DIR NEW_DIR --kind rows --strength 2
    python add_pattern.py DIR NEW_DIR --kind round --strength 10 --behind 20
    python add_pattern.py DIR NEW_DIR --kind stripes --strength 0.5

Both folders hold movie.tif and the truth. Every frame gets the same pattern; or its second, fourth, ... rows
are moved to the right, as if a scanner that takes rows forth and back were off; or photons are lost around a
round view, as behind a lens, or in specks of dust, where a miniscope sees much light from behind the scene, or
between the `fibres` of a bundle.
Rows have light that comes and goes: stripes wander, or some rows of every fourth frame are saturated (`lit`).
Or `waves` of interference go through the frames, obliquely. Or a scale bar is burnt into all of them (`bar`),
or every third stretch of ten frames has more light all over, of a stimulus (`flash --behind PHOTONS`), or a
bright `body` crosses the view. Or uneven light from behind stays in place (`haze --behind PHOTONS`). Or frames
and their noise are blurred by a Gaussian of a sigma of some px (`blur`).
"""

import argparse
import math
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile
from compare_tools import TRUTHS, truth_of
from scipy.ndimage import gaussian_filter, gaussian_filter1d

HOT = 12  # pixels
SPECKS = 8
SHADOW = 2.5  # px, sigma along rows
FRINGES = 8.0, 0.35  # px from one to the next, and radians by which they are turned from columns
WAVE = 12, 0.13  # rows, and periods by which stripes wander from frame to frame
EVERY, LIT = 4, (8, 50)  # frames, of which one has so many saturated rows
FLASH = 10, 3  # frames in a row, and stretches of so many, of one of which the frames are lit
BODY = 20  # px, radius
HAZE = 20  # px, sigma of the Gaussian within which it is alike
BAR = 5, 48, 12  # px, height and width of a scale bar, and how far it is from the corner
FIBRES = 4.0, 1.3, 0.5, 0.3  # px apart, sigma, by which they are out of place, and log of their transmission
VIEW = 0.47  # of the shorter side, radius of a round view


def pattern(kind: str, size: tuple[int, int], seed: int) -> np.ndarray:
    """(H, W) of strength 1: columns, shadows along them, pixels or fringes of unit variance, or hot pixels."""
    rng = np.random.default_rng(seed)
    if kind == "hot":
        image = np.zeros(size)
        image.flat[rng.choice(image.size, HOT, replace=False)] = 1
        return image
    if kind == "fringes":
        rows, columns = np.ogrid[: size[0], : size[1]]
        length, angle = FRINGES
        across = columns * np.cos(angle) + rows * np.sin(angle)
        return np.sqrt(2) * np.sin(2 * np.pi * (across / length + rng.random()))
    image = rng.standard_normal(size if kind == "pixels" else size[1:])
    if kind == "shadows":
        image = gaussian_filter1d(image, SHADOW)
        image /= image.std()
    return np.broadcast_to(image, size)


def displaced(frames: np.ndarray, pixels: int) -> np.ndarray:
    """Frames (T, H, W) whose second, fourth, ... rows lie to the right; what that leaves open stays."""
    moved = frames.copy()
    moved[:, 1::2, pixels:] = frames[:, 1::2, : frames.shape[2] - pixels]
    return moved


def waves(shape: tuple[int, int, int], oblique: bool) -> np.ndarray:
    """(T, H, W) of strength 1, as stripes along rows, or `oblique` ones."""
    length, step = WAVE
    times, rows, columns = np.ogrid[: shape[0], : shape[1], : shape[2]]
    return np.sin(2 * np.pi * (rows / length + oblique * columns / (3 * length) + step * times))


def lit(frames: np.ndarray, seed: int) -> np.ndarray:
    """Frames (T, H, W), some of which have saturated rows."""
    rng, added = np.random.default_rng(seed), frames.copy()
    for frame in added[1::EVERY]:
        count = rng.integers(*LIT)
        first = rng.integers(0, len(frame) - count)
        frame[first : first + count] = np.iinfo(frames.dtype).max
    return added


def with_bar(frames: np.ndarray) -> np.ndarray:
    """Frames (T, H, W) with a scale bar in their lower right corner, as bright as their brightest pixel."""
    height, width, away = BAR
    added = frames.copy()
    added[:, -away - height : -away, -away - width : -away] = frames.max()
    return added


def flashed(frames: np.ndarray, options: argparse.Namespace) -> np.ndarray:
    """Frames (T, H, W), some of which have more photons, the same number all over but for their noise."""
    length, turns = FLASH
    lit = np.arange(len(frames)) // length % turns == turns - 1
    rng, added = np.random.default_rng(options.seed), frames.astype(np.float32)
    added[lit] += options.counts * rng.poisson(options.behind, added[lit].shape)
    return added


def hazed(frames: np.ndarray, options: argparse.Namespace) -> np.ndarray:
    """Frames (T, H, W) with coarsely uneven light from behind, of more photons."""
    rng = np.random.default_rng(options.seed)
    uneven = gaussian_filter(rng.standard_normal(frames.shape[1:]), HAZE)
    photons = options.behind * (1 + options.strength * uneven / uneven.std())
    return frames + options.counts * rng.poisson(photons.clip(0), frames.shape)


def crossed(frames: np.ndarray, options: argparse.Namespace) -> np.ndarray:
    """Frames (T, H, W) with a disc that goes from corner to corner, some times as bright as they are."""
    rng, added = np.random.default_rng(options.seed), frames.astype(np.float32)
    photons = options.strength * (frames.mean() - options.offset) / options.counts
    for number, frame in enumerate(added):
        share = number / max(len(added) - 1, 1)
        y, x = (np.arange(n) + BODY - share * (n + 2 * BODY) for n in frame.shape)
        body = np.hypot(y[:, None], x) < BODY
        frame[body] += options.counts * rng.poisson(photons, body.sum())
    return added


def round_view(size: tuple[int, int], rim: float) -> np.ndarray:
    """(H, W) share of the photons that come through: 1 in the view, 0 around it, linear over a `rim` of px."""
    y, x = (np.arange(n) - n / 2 for n in size)
    return np.clip((VIEW * min(size) - np.hypot(y[:, None], x)) / rim, 0, 1)


def specks(size: tuple[int, int], deepest: float, seed: int) -> np.ndarray:
    """(H, W) share of the photons that come through round specks that take up to `deepest` of them."""
    rng, left = np.random.default_rng(seed), np.ones(size)
    for _ in range(SPECKS):
        sigma, depth = rng.uniform(3, 8), deepest * rng.uniform(0.5, 1)
        y, x = (np.arange(n) - rng.uniform(20, n - 20) for n in size)
        left *= 1 - depth * np.exp(-(np.square(y)[:, None] + np.square(x)) / (2 * sigma**2))
    return left


def fibres(size: tuple[int, int], share: float, seed: int) -> np.ndarray:
    """(H, W) share of the photons that come through fibres and, but for a `share` of them, between these."""
    apart, sigma, jitter, unequal = FIBRES
    rng, light = np.random.default_rng(seed), np.zeros(size)
    for row in range(math.ceil(size[0] / apart) + 1):
        for column in range(math.ceil(size[1] / apart) + 1):
            place = np.array([row, column + row % 2 / 2]) * apart + jitter * rng.standard_normal(2)
            y, x = (
                np.exp(-np.square(np.arange(n) - at) / (2 * sigma**2))
                for n, at in zip(size, place, strict=True)
            )
            light += rng.lognormal(sigma=unequal) * y[:, None] * x
    return 1 - share + share * np.minimum(light / np.quantile(light, 0.99), 1)


def shaded(frames: np.ndarray, light: np.ndarray, options: argparse.Namespace) -> np.ndarray:
    """Frames (T, H, W) with more photons from behind, of all of which `light` (H, W) lets through a share."""
    rng = np.random.default_rng(options.seed)
    photons = np.rint((frames - options.offset) / options.counts).clip(0)
    read_noise = frames - options.counts * photons
    photons = rng.binomial((photons + rng.poisson(options.behind, frames.shape)).astype(int), light)
    return read_noise + options.counts * photons


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("source", type=Path, metavar="DIR")
    parser.add_argument("target", type=Path, metavar="NEW_DIR")
    kinds = (
        "hot",
        "columns",
        "shadows",
        "pixels",
        "fringes",
        "rows",
        "round",
        "specks",
        "stripes",
        "waves",
        "lit",
        "bar",
        "flash",
        "fibres",
        "body",
        "haze",
        "blur",
    )
    parser.add_argument("--kind", choices=kinds, default="pixels")
    parser.add_argument(
        "--strength",
        type=float,
        default=0.2,
        help="over the mean brightness; of specks and fibres: share of light; of rows, rims, blur: px [0.2]",
    )
    parser.add_argument("--offset", type=float, default=400.0, help="counts in the dark [400]")
    parser.add_argument("--counts", type=float, default=40.0, help="of a photon [40]")
    parser.add_argument(
        "--behind",
        type=float,
        default=0.0,
        help="more photons a pixel: of dusty or round views, of fibres, flashes, haze [0]",
    )
    parser.add_argument("--seed", type=int, default=3)
    options = parser.parse_args(arguments)
    frames = tifffile.imread(options.source / "movie.tif")
    whole = {
        "rows": lambda: displaced(frames, round(options.strength)),
        "lit": lambda: lit(frames, options.seed),
        "bar": lambda: with_bar(frames),
        "flash": lambda: flashed(frames, options),
        "body": lambda: crossed(frames, options),
        "haze": lambda: hazed(frames, options),
        "blur": lambda: gaussian_filter(frames.astype(np.float32), (0, options.strength, options.strength)),
    }
    if options.kind in whole:
        added = whole[options.kind]()
    elif options.kind in ("round", "specks", "fibres"):
        size = frames.shape[1:]
        if options.kind == "round":
            light = round_view(size, options.strength)
        else:
            light = (specks if options.kind == "specks" else fibres)(size, options.strength, options.seed)
        added = shaded(frames, light, options)
    else:
        strength = options.strength * (frames.mean() - options.offset)
        shape = frames.shape
        if options.kind in ("stripes", "waves"):
            one = waves(shape, oblique=options.kind == "waves")
        else:
            one = pattern(options.kind, shape[1:], options.seed)
        added = frames + strength * one
    limits = np.iinfo(frames.dtype)
    options.target.mkdir(parents=True)
    changed = np.clip(np.rint(added), limits.min, limits.max).astype(frames.dtype)
    tifffile.imwrite(options.target / "movie.tif", changed, photometric="minisblack")
    for name in TRUTHS:
        if (options.source / name).exists():
            shutil.copy(options.source / name, options.target / name)
    if options.kind == "round":
        truth = truth_of(options.source)
        truth[..., light < 1] = np.nan
        np.save(options.target / TRUTHS[0], truth)


if __name__ == "__main__":
    main()
