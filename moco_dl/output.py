"""Writing movies: a file whose space is taken at once, and whose arrays are filled piece by piece."""

import errno
import math
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import h5py
import numpy as np
import tifffile

from moco_dl.errors import NrcorrectError
from moco_dl.formats.checks import UNREADABLE
from moco_dl.formats.hdf5_file import open_hdf5
from moco_dl.formats.pages import damage_reported

HDF5 = (".h5", ".hdf5")
SUFFIXES = dict.fromkeys((".tif", ".tiff", ".btf"), "tiff") | dict.fromkeys(HDF5, "hdf5")
SOURCE = "source_sha256"  # in a movie file, see `made_from`


@dataclass(frozen=True)
class Place:
    """Where an array lies in a file, uncompressed and in one piece."""

    offset: int  # bytes
    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def row(self) -> int:
        """Bytes of one entry of the first axis."""
        return int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize


class ArrayFile:
    """Arrays of a file that are filled piece by piece.

    The file's space is taken at once, so that a full disk shows before the work. The arrays are written by
    plain file operations: the HDF5 library cannot be trusted on a full disk (it may crash, or succeed in
    appearance).
    """

    def __init__(self, path: Path, places: dict[str, Place]):
        self._places = places
        self._file = path.open("r+b")
        end = max(place.offset + place.row * place.shape[0] for place in places.values())
        try:
            _reserve(self._file, max(end, path.stat().st_size))
        except OSError:
            self._file.close()
            raise

    def write(self, start: int, **arrays: np.ndarray) -> None:
        """Store each array (n, ...) as entries `start`... of the array of that name."""
        for name, values in arrays.items():
            place = self._places[name]
            if values.shape[1:] != place.shape[1:] or start + len(values) > place.shape[0]:
                raise ValueError(f"{name}: {values.shape} at {start} does not fit into {place.shape}")
            self._file.seek(place.offset + start * place.row)
            self._file.write(np.ascontiguousarray(values, place.dtype).data)

    def close(self) -> None:
        self._file.close()


def _reserve(file: BinaryIO, size: int) -> None:
    if size > sys.maxsize:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)


def create_tiff(
    path: Path,
    shape: tuple[int, int, int],
    dtype: np.dtype,
    pixel: tuple[float, float] | None = None,
    **about: str,
) -> ArrayFile:
    """A greyscale TIFF of `shape` (T, H, W), BigTIFF if it needs to be; the file's array is `mov`.

    `pixel` is the size of one, micrometres (y, x), if it is known; `about` stands in the description, too.
    """
    # minisblack: movies of 3 or 4 frames become RGB otherwise.
    options = {"photometric": "minisblack", "metadata": {"axes": "TYX", **about}}
    if pixel is not None:
        options |= {"resolution": (1e4 / pixel[1], 1e4 / pixel[0]), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, shape=shape, dtype=dtype, **options)
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.series[0].dataoffset
    return ArrayFile(path, {"mov": Place(offset, shape, np.dtype(dtype))})


def create_hdf5(path: Path, arrays: dict[str, tuple[tuple[int, ...], np.dtype]], attributes: dict) -> ArrayFile:
    """An HDF5 file with datasets of the given shapes and dtypes, each contiguous, and root attributes."""
    size = sum(math.prod(shape) * np.dtype(dtype).itemsize for shape, dtype in arrays.values())
    with path.open("wb") as file:
        _reserve(file, size + 2**16)  # room for the structure, so that the library meets no full disk
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    layout.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    layout.set_obj_track_times(False)  # the same data give the same bytes at any time
    places = {}
    with h5py.File(path, "w") as file:
        for name, value in attributes.items():
            file.attrs[name] = value
        for name, (shape, dtype) in arrays.items():
            kind = h5py.h5t.py_create(np.dtype(dtype), logical=True)
            data = h5py.h5d.create(file.id, name.encode(), kind, h5py.h5s.create_simple(shape), layout)
            places[name] = Place(data.get_offset(), shape, np.dtype(dtype))
    return ArrayFile(path, places)


def create_movie(
    path: Path,
    kind: str,
    shape: tuple[int, int, int],
    dtype: np.dtype,
    pixel: tuple[float, float] | None = None,
    source: str | None = None,
) -> ArrayFile:
    """A movie file, `kind` "tiff" or "hdf5"; the file's array is `mov` (T, H, W). For `pixel`, see TIFFs.

    `source` is the fingerprint of the movie that it is made from, see `made_from`.
    """
    about = {} if source is None else {SOURCE: source}
    if kind == "hdf5":
        return create_hdf5(path, {"mov": (shape, dtype)}, about)
    return create_tiff(path, shape, dtype, pixel, **about)


def made_from(path: Path) -> str | None:
    """Fingerprint of the movie that a movie file is made from; None: it does not say so."""
    found = None
    with suppress(NrcorrectError, *UNREADABLE):  # a damaged file may tell it all the same
        if h5py.is_hdf5(path):
            with open_hdf5(path) as file:
                found = file.attrs.get(SOURCE)
        else:
            with damage_reported(path), tifffile.TiffFile(path) as tiff:
                found = (tiff.shaped_metadata or [{}])[0].get(SOURCE)
    return found if isinstance(found, str) else None


def ending(path: Path) -> str:
    """Of a name, with its dot, or ""; what begins with a digit is none (`power_2.5mW`)."""
    return path.suffix if path.suffix[1:2].isalpha() else ""


def without_ending(path: Path) -> str:
    """The name of a file without folder and ending."""
    return path.name.removesuffix(ending(path))


def refuse_ending(path: Path, endings: Iterable[str] = SUFFIXES, *, otherwise: str = "") -> None:
    """Raise NrcorrectError if the name is that of another kind of file than those with these `endings`."""
    if ending(path) and path.suffix.lower() not in endings:
        raise NrcorrectError(
            f"{path}: ends in {path.suffix!r}; wanted {', '.join(filter(None, endings))}{otherwise}"
        )


def movie_format(path: Path, default: str) -> str:
    """ "tiff" or "hdf5", as the name of the file says, else `default`."""
    return SUFFIXES.get(path.suffix.lower(), default)
