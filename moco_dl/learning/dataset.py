"""Data with known fields on disk: `nrcorrect synth` writes it, `nrcorrect train` reads it or draws its own."""

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np
import torch
from torch.utils.data import Dataset

from moco_dl import figures
from moco_dl.errors import NrcorrectError, named
from moco_dl.fields import CONVENTION, ROW_OFFSET, create_fields
from moco_dl.formats.checks import SMALLEST, UNREADABLE
from moco_dl.image import load_image
from moco_dl.learning.pairs import PairOptions, Pairs, ScenePool, draw_pairs
from moco_dl.learning.scenes import SHOWN
from moco_dl.learning.streams import Stream
from moco_dl.learning.synth import SyntheticMovie
from moco_dl.movie import Progress, open_movie
from moco_dl.output import create_hdf5, create_movie, movie_format, refuse_ending, without_ending
from moco_dl.sampled.inplace import mean_of
from moco_dl.sampled.samples import draw_samples, sample_runs, without_infinite
from moco_dl.sampled.usable import refuse_extremes
from moco_dl.staging import refuse_existing, staged

if TYPE_CHECKING:
    from moco_dl.learning.train import TrainOptions


FORMAT = "nrcorrect-pairs-1"
BATCH = 16
PREVIEWED = 6  # pairs
HDF5 = [".h5", ".hdf5"]
SAMPLED = 200  # frames of a movie whose mean is made a scene


def refuse_output(path: Path, *, movie: bool) -> None:
    """Raise NrcorrectError if the name is that of another kind of file than a dataset, or a `movie`."""
    if movie:
        refuse_ending(path)
    else:
        refuse_ending(path, HDF5, otherwise="; for a movie, add --movie")


def write_pairs(
    path: Path,
    count: int,
    options: PairOptions,
    scenes: ScenePool,
    *,
    progress: Progress,
    overwrite: bool = False,
) -> None:
    """Write `count` square pairs of `options.size` pixels; the same arguments give the same bytes.

    `scenes` are of size `options.scene_size`; their seed is the dataset's.

    Datasets: `reference (N, H, W)`, `frame (N, H, W)` (photons, NaN where there is no data) and
    `flow (N, 2, H, W)` (pixels, backward, (dy, dx)), float32.
    """
    refuse_output(path, movie=False)
    size = options.size
    shapes = {"reference": (size, size), "frame": (size, size), "flow": (2, size, size)}
    arrays = {name: ((count, *shape), np.float32) for name, shape in shapes.items()}
    about = {"format": FORMAT, "seed": scenes.seed, "options": json.dumps(asdict(options))}
    about |= {"images": json.dumps(_described(scenes.images))}
    about |= {name: CONVENTION[name] for name in ("units", "components", "sign")}
    with (
        staged([path], overwrite=overwrite) as parts,
        closing(create_hdf5(parts[0], arrays, about)) as file,
    ):
        for start in range(0, count, BATCH):
            n = min(BATCH, count - start)
            pairs = draw_pairs(scenes, start // BATCH, n, options, square=True)
            file.write(start, **{name: values.numpy() for name, values in vars(pairs).items()})
            progress(n, count)


def _described(images: Mapping[str, np.ndarray]) -> list[dict]:
    """What tells whether scenes were made of the same images."""
    return [
        {"name": name, "shape": image.shape, "sha256": hashlib.sha256(image.tobytes()).hexdigest()}
        for name, image in images.items()
    ]


def read_scene_image(path: Path) -> np.ndarray:
    """An image (H, W) float32 to make scenes of: a TIFF or NPY image, or a movie's mean over sampled frames.

    Raises NrcorrectError if it is neither, or shows nothing.
    """
    try:
        with named(path), closing(open_movie(path)) as movie:
            samples, _ = draw_samples(movie.read, sample_runs(movie.shape[0], SAMPLED), kept=1)
            image = mean_of(samples, len(samples))
    except NrcorrectError as not_a_movie:
        if path.suffix.lower() in HDF5:
            raise
        try:
            image = load_image(path)
        except NrcorrectError as not_an_image:
            raise (not_a_movie if path.exists() else not_an_image) from None
    return _shown(path, image)


def _shown(path: Path, image: np.ndarray) -> np.ndarray:
    """An image (H, W) as float32, zero where it has no data; raises NrcorrectError if it shows nothing."""
    if image.dtype.kind not in "iuf":
        raise NrcorrectError(f"{path}: has pixels of type {image.dtype}; wanted real numbers")
    if min(image.shape) < SMALLEST:
        raise NrcorrectError(f"{path}: is {image.shape}; wanted at least {SMALLEST}x{SMALLEST} pixels")
    image = np.nan_to_num(without_infinite(image))
    if np.ptp(np.quantile(image, SHOWN)) == 0:
        raise NrcorrectError(f"{path}: {image.shape} pixels show nothing; wanted an image of a field of view")
    with named(path):
        refuse_extremes(image, "image")
    return image.astype(np.float32)


def preview_possible(picture: Path | None, *, overwrite: bool) -> None:
    """Raise NrcorrectError if `picture` could not be drawn; None always can."""
    if picture is None:
        return
    figures.require()
    if picture.suffix.lower() not in figures.FORMATS:
        raise NrcorrectError(f"{picture}: ends in {picture.suffix!r}; wanted {', '.join(figures.FORMATS)}")
    refuse_existing([picture], overwrite=overwrite)


def preview_pairs(dataset: Path, picture: Path | None, *, overwrite: bool) -> list[Path]:
    """Draw the first pairs of a dataset; returns what was drawn."""
    if picture is None:
        return []
    stored = PairFile(dataset)
    pairs = stored.take(np.arange(min(PREVIEWED, len(stored))))
    with staged([picture], overwrite=overwrite) as parts:
        kind = picture.suffix[1:].lower()
        figures.preview(*(part.numpy() for part in vars(pairs).values()), parts[0], kind)
    return [picture]


def movie_outputs(path: Path) -> list[Path]:
    """What `write_movie` writes: the movie, and its truth NAME_truth.h5."""
    return [path, path.with_name(f"{without_ending(path)}_truth.h5")]


def write_movie(path: Path, movie: SyntheticMovie, *, progress: Progress, overwrite: bool) -> list[Path]:
    """Write a synthetic movie and, as a field file of stride 1, its truth; returns both paths."""
    paths = movie_outputs(path)
    refuse_output(path, movie=True)
    shape = movie.options.shape
    about = {"seed": movie.seed, "options": asdict(movie.options), "images": _described(movie.images)}
    about[ROW_OFFSET] = movie.options.row_offset
    kind = movie_format(path, "tiff")
    with staged(paths, overwrite=overwrite) as parts, ExitStack() as files:
        frames = files.enter_context(closing(create_movie(parts[0], kind, shape, np.uint16)))
        with closing(create_fields(parts[1], shape[0], 1, movie.reference, about, np.float32)) as truth:
            for t, (frame, flow) in enumerate(movie):
                rigid = flow.mean(axis=(1, 2))
                rest = flow - rigid[:, None, None]
                frames.write(t, mov=frame[None])
                known = {"flagged": np.array([False]), "misfit": np.array([np.nan])}
                truth.write(t, rigid=rigid[None], flow=rest[None], **known)
                progress(1, shape[0])
    return paths


class PairFile:
    """Pairs of a dataset, read when taken; `about` tells how they were made."""

    def __init__(self, path: Path):
        self.path = path
        try:
            with h5py.File(path, "r", locking="best-effort") as file:
                if file.attrs.get("format") != FORMAT:
                    raise NrcorrectError(f"{path}: not a dataset of pairs; make one with nrcorrect synth")
                self._count, *size = file["reference"].shape
                shapes = {"reference": size, "frame": size, "flow": (2, *size)}
                for name, shape in shapes.items():
                    if file[name].shape != (self._count, *shape) or file[name].dtype != np.float32:
                        raise ValueError(f"{name} is {file[name].dtype} of shape {file[name].shape}")
                if self._count == 0 or len(size) != 2:
                    raise ValueError("no pairs of images")
                told = {name: json.loads(file.attrs[name]) for name in ("options", "images")}
                some = b"".join(file[name][i].tobytes() for name in shapes for i in (0, self._count - 1))
                told["sample_sha256"] = hashlib.sha256(some).hexdigest()
                self.about = {"pairs": self._count, "seed": int(file.attrs["seed"]), **told}
        except UNREADABLE as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> NrcorrectError:
        number = getattr(error, "errno", None)  # h5py's words would be many
        reason = os.strerror(number) if number else "not a whole dataset of pairs"
        return NrcorrectError(f"{self.path}: cannot read: {reason}; make one with nrcorrect synth")

    def __len__(self) -> int:
        return self._count

    def take(self, numbers: np.ndarray) -> Pairs:
        """The pairs with these numbers, as one batch. Raises NrcorrectError if they cannot be read."""
        try:
            with h5py.File(self.path, "r", locking="best-effort") as file:
                parts = [np.stack([file[name][i] for i in numbers]) for name in ("reference", "frame", "flow")]
        except UNREADABLE as error:
            raise self._unreadable(error) from error
        return Pairs(*(torch.from_numpy(part) for part in parts))


class Batches(Dataset):
    """Batch number i, drawn on the fly; the same i gives the same batch in any worker."""

    def __init__(self, options: "TrainOptions"):
        self.options = options
        self.scenes = ScenePool(options.seed, options.pairs.scene_size)

    def __len__(self) -> int:
        return self.options.steps

    def __getitem__(self, step: int) -> Pairs:
        brighter = 10 ** (1.5 * max(0.0, 1 - step / max(1, self.options.curriculum)))
        return draw_pairs(self.scenes, step, self.options.batch, self.options.pairs, brighter=brighter)


class StoredBatches(Dataset):
    """Batches from a file that `nrcorrect synth` wrote, in an order drawn from the seed."""

    def __init__(self, pairs: "PairFile", options: "TrainOptions"):
        self.options, self.pairs = options, pairs

    def __len__(self) -> int:
        return self.options.steps

    def __getitem__(self, step: int) -> Pairs:
        rng = Stream.ORDER.drawn(self.options.seed, step)
        return self.pairs.take(rng.integers(0, len(self.pairs), self.options.batch))
