"""Data with known fields on disk: `nrcorrect synth` writes it, `nrcorrect train` reads it or draws its own."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.utils.data import Dataset

from moco_dl import __version__, figures
from moco_dl.errors import NrcorrectError
from moco_dl.fields import CONVENTION, ROW_OFFSET, create_fields
from moco_dl.formats.checks import UNREADABLE
from moco_dl.formats.hdf5_file import open_hdf5
from moco_dl.learning.pairs import PairOptions, Pairs, ScenePool, draw_pairs
from moco_dl.learning.streams import Stream
from moco_dl.learning.synth import SyntheticMovie
from moco_dl.movie import Progress
from moco_dl.output import HDF5, create_hdf5, create_movie, movie_format, refuse_ending, without_ending
from moco_dl.staging import staged

if TYPE_CHECKING:
    from moco_dl.learning.train import TrainOptions


FORMAT = "nrcorrect-pairs-1"
BATCH = 16  # pairs that are drawn together: with other numbers, a seed gives other pairs
PREVIEWED = 6  # pairs


def refuse_outputs(paths: Sequence[Path], *, movie: bool) -> None:
    """Raise NrcorrectError if names are those of other kinds of files than are written: a `movie`, or pairs."""
    if movie:
        refuse_ending(paths[0])
        return
    refuse_ending(paths[0], HDF5, otherwise="; for a movie, add --movie")
    for path in paths[1:]:
        if path.suffix.lower() not in figures.FORMATS:
            raise NrcorrectError(f"{path}: ends in {path.suffix!r}; wanted {', '.join(figures.FORMATS)}")


def write_pairs(
    paths: Sequence[Path],
    count: int,
    options: PairOptions,
    scenes: ScenePool,
    *,
    progress: Progress,
    overwrite: bool = False,
) -> None:
    """Write `count` square pairs of `options.size` pixels; the same arguments give the same bytes.

    `paths` are the dataset's and, if it is wanted, that of a picture of the first pairs; both appear, or none.
    `scenes` are of size `options.scene_size`; their seed is the dataset's.

    Datasets: `reference (N, H, W)`, `frame (N, H, W)` (photons, NaN where there is no data) and
    `flow (N, 2, H, W)` (pixels, backward, (dy, dx)), float32.
    """
    _, *pictures = paths
    refuse_outputs(paths, movie=False)
    if pictures:
        figures.require()
    size = options.size
    shapes = {"reference": (size, size), "frame": (size, size), "flow": (2, size, size)}
    arrays = {name: ((count, *shape), np.float32) for name, shape in shapes.items()}
    about = {"format": FORMAT, "version": __version__, "seed": scenes.seed}
    about |= {"options": json.dumps(asdict(options)), "images": json.dumps(_described(scenes.images))}
    about |= {name: CONVENTION[name] for name in ("units", "components", "sign")}
    with staged(paths, overwrite=overwrite) as (part, *others):
        with closing(create_hdf5(part, arrays, about)) as file:
            for start in range(0, count, BATCH):
                n = min(BATCH, count - start)
                pairs = draw_pairs(scenes, start // BATCH, n, options, square=True)
                file.write(start, **{name: values.numpy() for name, values in vars(pairs).items()})
                progress(n, count)
        for picture, drawn in zip(pictures, others, strict=True):
            _preview(part, drawn, picture.suffix[1:].lower())


def _described(images: Mapping[str, np.ndarray]) -> list[dict]:
    """What tells whether scenes were made of the same images."""
    return [
        {"name": name, "shape": image.shape, "sha256": hashlib.sha256(image.tobytes()).hexdigest()}
        for name, image in images.items()
    ]


def _preview(dataset: Path, picture: Path, kind: str) -> None:
    """Draw the first pairs of a dataset."""
    stored = PairFile(dataset)
    pairs = stored.take(np.arange(min(PREVIEWED, len(stored))))
    figures.preview(*(part.numpy() for part in vars(pairs).values()), picture, kind)


def movie_outputs(path: Path) -> list[Path]:
    """What `write_movie` writes: the movie, and its truth NAME_truth.h5."""
    return [path, path.with_name(f"{without_ending(path)}_truth.h5")]


def write_movie(paths: Sequence[Path], movie: SyntheticMovie, *, progress: Progress, overwrite: bool) -> None:
    """Write a synthetic movie and, as a field file of stride 1, its truth, see `movie_outputs`."""
    refuse_outputs(paths, movie=True)
    shape = movie.options.shape
    about = {"version": __version__, "seed": movie.seed, "options": asdict(movie.options)}
    about |= {"images": _described(movie.images), ROW_OFFSET: movie.options.row_offset}
    kind = movie_format(paths[0], "tiff")
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


class PairFile:
    """Pairs of a dataset, read when taken; `about` tells how they were made."""

    def __init__(self, path: Path):
        self.path = path
        try:
            with open_hdf5(path) as file:
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
            with open_hdf5(self.path) as file:
                parts = [np.stack([file[name][i] for i in numbers]) for name in ("reference", "frame", "flow")]
        except UNREADABLE as error:
            raise self._unreadable(error) from error
        reference, _, flow = parts
        if not (np.isfinite(reference).all() and np.isfinite(flow).all()):
            raise NrcorrectError(
                f"{self.path}: references or fields are not finite; make another with nrcorrect synth"
            )
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

    def __init__(self, pairs: PairFile, options: "TrainOptions"):
        self.options, self.pairs = options, pairs

    def __len__(self) -> int:
        return self.options.steps

    def __getitem__(self, step: int) -> Pairs:
        rng = Stream.ORDER.drawn(self.options.seed, step)
        return self.pairs.take(rng.integers(0, len(self.pairs), self.options.batch))
