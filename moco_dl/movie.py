"""Reading movies frame by frame, whatever their length: TIFF, HDF5, or an array."""

import hashlib
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from moco_dl.errors import NrcorrectError
from moco_dl.formats.checks import Closable, as_array, check_movie
from moco_dl.formats.turns import Turn, Turns

KNOWN_BY = 16  # frames
VIDEO = "save it as TIFF, in Fiji with File, Save As"
CONVERT = {
    ".npy": 'in Python, tifffile.imwrite("movie.tif", numpy.load("movie.npy"), photometric="minisblack")',
    ".mat": 'in MATLAB, save it anew with save(..., "-v7.3"), which is HDF5',
    ".bin": "if it is Suite2p's, its frames are numpy.memmap(path, 'int16', shape=(frames, Ly, Lx)): save them"
    " with tifffile.imwrite",
} | dict.fromkeys((".avi", ".mp4", ".mov", ".mkv"), VIDEO)
Progress = Callable[[int, int], None]  # (frames just done, frames in all)


class Movie(Closable, Protocol):
    """`(T, H, W)` frames in their native dtype, read on demand."""

    shape: tuple[int, int, int]
    dtype: np.dtype
    format: str  # "tiff", "hdf5" or "array"
    frames_apart: bool  # reading a frame does not take reading others
    files: set[Path]  # that frames are in
    pixel: tuple[float, float] | None  # micrometres (y, x), where that is known
    dataset: str | None  # of an HDF5 file
    notes: tuple[str, ...]  # what a user should know of how it is read

    def read(self, indices: Sequence[int]) -> np.ndarray:
        """Frames `indices` as one array (n, H, W), native byte order."""
        ...


@dataclass(frozen=True)
class Selection:
    """What of a file is the movie; None: that is not in question."""

    dataset: str | None = None  # of an HDF5 file
    channel: Turn | None = None  # of a TIFF, as is
    plane: Turn | None = None
    joined: bool = True  # several movies in a TIFF go on in one another; False: they are refused
    option: str = "--dataset"  # by which a user names that

    @property
    def turns(self) -> Turns:
        return {"channel": self.channel, "plane": self.plane}

    def described(self) -> dict:
        """What is known, by name."""
        known = asdict(self)
        return {name: known[name] for name in ("dataset", "channel", "plane") if known[name] is not None}


WHOLE = Selection()


def open_movie(path: Path, selection: Selection = WHOLE, *, image: bool = False) -> Movie:
    """Open what `selection` names of a TIFF or HDF5 file, told apart by their content, not by name.

    A TIFF of one `image` is a movie only if that is said.

    Raises NrcorrectError if there is no such file, it is neither format, it is damaged, or what it holds is
    not one movie of real numbers.
    """
    try:
        if stat.S_ISFIFO(kind := path.stat().st_mode) or stat.S_ISCHR(kind) or stat.S_ISSOCK(kind):
            raise NrcorrectError(
                f"{path}: is a pipe or device; wanted a file, as movies are read more than once"
            )
        with path.open("rb") as file:
            magic = file.read(8)
    except IsADirectoryError as error:
        raise NrcorrectError(f"{path}: is a directory; name the movies in it, e.g. {path}/*.tif") from error
    except OSError as error:
        raise NrcorrectError(f"{path}: cannot read: {error.strerror or error}") from error
    from h5py import is_hdf5

    from moco_dl.formats.hdf5 import Hdf5Movie
    from moco_dl.formats.tiff import TiffMovie

    if not magic:
        raise NrcorrectError(f"{path}: the file is empty; wanted a TIFF or HDF5 movie")
    if magic[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        if selection.dataset is not None:
            raise NrcorrectError(
                f"{path}: {selection.option} {selection.dataset} is for HDF5; this is a TIFF: leave it out"
            )
        return TiffMovie(path, selection.turns, image=image, joined=selection.joined)
    if is_hdf5(path):  # something else may come first in it, as in MATLAB's files
        for name, turn in selection.turns.items():
            if turn is not None:
                raise NrcorrectError(
                    f"{path}: --{name} is for TIFF; this is HDF5: choose a dataset, {selection.option}"
                )
        return Hdf5Movie(path, selection.dataset, selection.option)
    how = CONVERT.get(path.suffix.lower(), "convert the movie to one of them")
    raise NrcorrectError(f"{path}: neither TIFF nor HDF5; {how}")


class ArrayMovie:
    """A movie that is already in memory."""

    format, frames_apart, pixel = "array", True, None
    dataset, notes = None, ()

    def __init__(self, frames: np.ndarray, name: str = "frames"):
        """`name` is what a caller knows them by, for messages."""
        frames = as_array(name, frames, "an array (frames, height, width)")
        check_movie(name, frames.shape, frames.dtype)
        self.files: set[Path] = set()
        self.frames, self.shape, self.dtype = frames, frames.shape, frames.dtype.newbyteorder("=")

    def read(self, indices: Sequence[int]) -> np.ndarray:
        return self.frames[list(indices)].astype(self.dtype, copy=False)

    def close(self) -> None:
        pass


def read_batches(movie: Movie, size: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (number of the first frame, frames (n, H, W)) over the whole movie."""
    for start in range(0, movie.shape[0], size):
        yield start, movie.read(range(start, min(start + size, movie.shape[0])))


def fingerprint(movie: Movie) -> str:
    """SHA-256 of some frames, by which a movie is known, however its file is named, and wherever it lies."""
    known = f"{movie.shape} {movie.dtype.name}"
    # As good as random, so that what comes and goes in a rhythm is among them.
    numbers = (int(hashlib.sha256(f"{known} {i}".encode()).hexdigest(), 16) for i in range(KNOWN_BY))
    frames = movie.read(sorted({number % movie.shape[0] for number in numbers}))
    digest = hashlib.sha256(known.encode())
    digest.update(np.ascontiguousarray(frames).data)
    return digest.hexdigest()


def describe(paths: Sequence[Path], movie: Movie, selection: Selection) -> dict:
    """Name of an input and what was selected of it, shape, dtype, size in bytes; of several files, that of all.

    And what a user should know of how it is read.
    """
    about = {
        "name": paths[0].name,
        "shape": list(movie.shape),
        "dtype": movie.dtype.name,
        "bytes": sum(path.stat().st_size for path in paths),
    }
    several = {"files": len(paths), "last": paths[-1].name} if len(paths) > 1 else {}
    more = {"dataset": movie.dataset, "notes": list(movie.notes) or None}
    known = selection.described() | {name: value for name, value in more.items() if value is not None}
    return about | known | several
