"""HDF5 movies."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import h5py
import numpy as np

from moco_dl.errors import NrcorrectError
from moco_dl.formats.checks import DTYPES, SMALLEST, UNREADABLE, check_movie, closed_on_error
from moco_dl.formats.hdf5_file import open_hdf5
from moco_dl.formats.hdf5_sources import shown, sources, text

PREFERRED_KEYS = ("mov", "data")
LISTED = 6  # datasets in a message
BEGUN = "already open for write"  # what the library says of a file that says so itself


def _missing_filters(dataset: h5py.Dataset) -> list[str]:
    """What the dataset is compressed with that cannot be undone, even with hdf5plugin, if that is installed."""
    plan = dataset.id.get_create_plist()
    filters = [plan.get_filter(i) for i in range(plan.get_nfilters())]
    if not all(h5py.h5z.filter_avail(number) for number, *_ in filters):
        with suppress(ImportError):
            import hdf5plugin  # noqa: F401 (it makes its filters known)
    lacking = ((number, name) for number, *_, name in filters if not h5py.h5z.filter_avail(number))
    return [name.decode(errors="replace").split(";")[0] or f"filter {number}" for number, name in lacking]


def _axes(dataset: h5py.Dataset) -> tuple[int, ...]:
    """Which axes are those of a movie: of more than three, those longer than one, and if few are, others."""
    axes = tuple(range(dataset.ndim))
    if len(axes) <= 3:
        return axes
    long = [axis for axis in axes if dataset.shape[axis] > 1]
    short = [axis for axis in axes[:-2] if axis not in long]
    return tuple(sorted([*long, *short[: max(3 - len(long), 0)]]))


def _usable(dataset: h5py.Dataset) -> bool:
    """Whether what looks like a movie could be corrected."""
    frames, *size = (dataset.shape[axis] for axis in _axes(dataset))
    return frames > 0 and min(size) >= SMALLEST and dataset.dtype.name in DTYPES


def _sized(datasets: dict[str, h5py.Dataset]) -> list[str]:
    return [f"{shown(name)} {item.shape}" for name, item in datasets.items()]


def _few(items: list[str]) -> str:
    """The first of many."""
    more = f" and {len(items) - LISTED} more" if len(items) > LISTED else ""
    return ", ".join(items[:LISTED]) + more


def _damaged(path: Path, error: Exception) -> NrcorrectError:
    why = " ".join(str(error.args[0] if isinstance(error, KeyError) and error.args else error).split())
    return NrcorrectError(f"{path}: damaged HDF5 ({why}); copy it again")


@contextmanager
def _damage_reported(path: Path) -> Iterator[None]:
    """Turn what h5py raises of damaged files, which is of many kinds, into a NrcorrectError."""
    try:
        yield
    except UNREADABLE as error:
        raise _damaged(path, error) from error


class Hdf5Movie:
    """One 3-D dataset of an HDF5 file; it may have more axes, of length one."""

    format, pixel = "hdf5", None
    notes: tuple[str, ...] = ()

    def __init__(self, path: Path, dataset: str | None, option: str):
        """`dataset`: None for that which is most like a movie; `option` is how a user names it."""
        self.path, self.files, self._option = path, {path.resolve()}, option
        try:
            self._file = open_hdf5(path, rdcc_nbytes=2**26)
        except BlockingIOError as error:
            raise NrcorrectError(f"{path}: another program writes it; wait until it is closed") from error
        except OSError as error:
            if BEGUN not in str(error):
                raise _damaged(path, error) from error
            raise NrcorrectError(
                f"{path}: another program writes it, or has not closed it; wait until it has; if none writes it"
                f" any more: h5clear -s {path} (one of HDF5's own programs)"
            ) from error
        with closed_on_error(self._file), _damage_reported(path):
            self._inspect(dataset)

    def _inspect(self, dataset: str | None) -> None:
        key = dataset if dataset is not None else self._guess()
        found = self._at(key)
        if not isinstance(found, h5py.Dataset):
            raise NrcorrectError(
                f"{self.path}: no dataset {key!r}; found {self._listing()}; choose one with {self._option}"
            )
        axes = _axes(found)
        shape = tuple(found.shape[axis] for axis in axes) if len(axes) == 3 else found.shape or ()
        check_movie(f"{self.path}: {shown(key)}", shape, found.dtype)
        if missing := _missing_filters(found):
            raise NrcorrectError(
                f"{self.path}: {shown(key)} is compressed with {', '.join(missing)}, which the HDF5 library"
                " lacks; pip install hdf5plugin"
            )
        self.files |= sources(self.path, found)
        self._data, self._axes, self.dataset = found, axes, key
        self.shape, self.dtype = shape, found.dtype.newbyteorder("=")
        self.frames_apart = found.chunks is None or found.chunks[axes[0]] == 1

    def _at(self, key: str) -> object:
        """What is there, or None; links may lead to one another."""
        try:
            return self._file.get(key.encode(errors="surrogateescape"))
        except RuntimeError:
            return None

    def _datasets(self) -> dict[str, h5py.Dataset]:
        found: dict[str, h5py.Dataset] = {}

        def visit(name: str | bytes, item: object) -> None:
            if isinstance(item, h5py.Dataset):
                found[text(name)] = item

        self._file.visititems(visit)
        return found

    def _guess(self) -> str:
        """The dataset with most frames; of several, one of a known name, which no other may exceed."""
        linked = {key: item for key in PREFERRED_KEYS if isinstance(item := self._at(key), h5py.Dataset)}
        found = linked | self._datasets() or self._linked()
        movies = {name: item for name, item in found.items() if len(_axes(item)) == 3}
        if not movies:
            raise NrcorrectError(
                f"{self.path}: no 3-D dataset; found {self._listing()}; wanted (frames, height, width)"
            )
        movies = {name: item for name, item in movies.items() if _usable(item)} or movies
        lengths = {name: item.shape[_axes(item)[0]] for name, item in movies.items()}
        longest = [name for name, length in lengths.items() if length == max(lengths.values())]
        known = [key for key in PREFERRED_KEYS if key in movies]
        chosen = [key for key in known if key in longest][:1] or ([] if known else longest)
        if len(chosen) != 1:
            raise NrcorrectError(
                f"{self.path}: holds {len(movies)} datasets that may be the movie, {_few(_sized(movies))};"
                f" choose one with {self._option}"
            )
        if len(movies) > 1:
            self.notes = (f"taken from dataset {chosen[0]!r}, one of {len(movies)}",)
        return chosen[0]

    def _linked(self) -> dict[str, h5py.Dataset]:
        """What links at the top lead to, wherever that is."""
        found = {key: self._at(key) for key in map(text, self._file)}
        return {key: item for key, item in found.items() if isinstance(item, h5py.Dataset)}

    def _listing(self) -> str:
        """What there is, first what has the axes of a movie."""
        keys = map(text, self._file)
        lost = [f"{shown(key)} (a link that leads nowhere)" for key in keys if self._at(key) is None]
        found = (self._linked() | self._datasets()).items()
        likely = dict(sorted(found, key=lambda entry: len(_axes(entry[1])) != 3))
        return _few([*_sized(likely), *lost]) or "nothing"

    def read(self, indices: Sequence[int]) -> np.ndarray:
        first, last = indices[0], indices[-1]
        with _damage_reported(self.path):
            if list(indices) == list(range(first, last + 1)):
                return np.asarray(self._data[self._where(slice(first, last + 1))], self.dtype)
            return np.stack([np.asarray(self._data[self._where(i)], self.dtype) for i in indices])

    def _where(self, frames: slice | int) -> tuple[slice | int, ...]:
        """Index of these frames in the dataset."""
        which = dict(zip(self._axes, (frames, slice(None), slice(None)), strict=True))
        return tuple(which.get(axis, 0) for axis in range(self._data.ndim))

    def close(self) -> None:
        self._file.close()
