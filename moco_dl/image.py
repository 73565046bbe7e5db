"""Images on disk: a reference, or a scene."""

from pathlib import Path

import h5py
import numpy as np
import tifffile

from moco_dl.errors import NrcorrectError
from moco_dl.fields import load_fields


def load_image(path: Path) -> np.ndarray:
    """An image (H, W) from a TIFF or NPY file, or the reference of a field file.

    Raises NrcorrectError if the file is missing, is none of these, or holds something else than one grey image.
    """
    try:
        path.open("rb").close()
    except OSError as error:
        raise NrcorrectError(f"{path}: cannot read the image: {error.strerror or error}") from error
    if h5py.is_hdf5(path):
        return load_fields(path).reference
    try:
        image = (
            np.load(path, mmap_mode="r", allow_pickle=False) if path.suffix.lower() == ".npy" else _tiff(path)
        )
    except Exception as error:  # decoders raise whatever the bytes provoke
        raise NrcorrectError(f"{path}: not a TIFF or NPY image ({error}); wanted one grey image") from error
    if not isinstance(image, np.ndarray) or image.squeeze().ndim != 2:
        raise NrcorrectError(f"{path}: has shape {np.shape(image)}; wanted one grey image (height, width)")
    return np.array(image.squeeze())


def _tiff(path: Path) -> np.ndarray:
    """The image in a TIFF, but for thumbnails; of a movie, which may be long, its shape is enough."""
    with tifffile.TiffFile(path) as tiff:
        first, *more = tiff.series
        shape = first.shape
        if others := [one for one in more if one.shape == shape and not one.keyframe.is_reduced]:
            shape = (1 + len(others), *shape)
        one = sum(size > 1 for size in shape) <= 2
        return first.asarray() if one else np.broadcast_to(np.zeros((), first.dtype), shape)
