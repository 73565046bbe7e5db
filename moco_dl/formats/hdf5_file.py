"""HDF5 files that are read: movies, fields, pairs."""

from pathlib import Path

import h5py


def open_hdf5(path: Path, **options: int) -> h5py.File:
    """The file, to be read and closed again; `options` are h5py's.

    Others may not write it meanwhile, where the file system can lock it: many network drives cannot, and by
    default their files would not be opened at all.
    """
    return h5py.File(path, "r", locking="best-effort", **options)
