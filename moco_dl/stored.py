"""The coarse flow of a field file, which may be too large for memory."""

from pathlib import Path

import h5py
import numpy as np

from moco_dl.errors import NrcorrectError
from moco_dl.formats.hdf5_file import open_hdf5


def slice_of_one(frame: int, count: int) -> slice:
    """One frame of `count`, which may be counted from the end."""
    try:
        frame = range(count)[frame]
    except TypeError as error:
        kind = type(frame).__name__
        raise TypeError(f"fields are taken as fields[a:b] or fields[t], not with {kind}") from error
    except IndexError as error:
        raise IndexError(f"fields of {count} frames have none of number {frame}") from error
    return slice(frame, frame + 1)


class StoredFlow:
    """The coarse flow of a field file, read when sliced."""

    def __init__(self, path: Path, file: h5py.File):
        self.path, self.shape, self.dtype = path.absolute(), file["flow"].shape, file["flow"].dtype
        self._rigid = file["rigid"][:]  # by which the file is known again

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or self.dtype, copy=False)

    def __getitem__(self, frames: slice | int) -> np.ndarray:
        if not isinstance(frames, slice):
            return self[slice_of_one(frames, len(self))][0]
        forth = range(self.shape[0])[frames]
        back = forth.step < 0  # which HDF5 does not know
        forth = forth[::-1] if back else forth
        part = slice(forth.start, forth.stop, forth.step)
        try:
            with open_hdf5(self.path) as file:
                rigid = file["rigid"]  # of these frames: all, each time, would take the square of their number
                if rigid.shape != self._rigid.shape or not np.array_equal(rigid[part], self._rigid[part]):
                    raise NrcorrectError(
                        f"{self.path}: holds other fields than when it was loaded; load it again"
                    )
                return file["flow"][part][:: -1 if back else 1]
        except (OSError, KeyError) as error:
            raise NrcorrectError(f"{self.path}: cannot read the fields any more ({error})") from error
