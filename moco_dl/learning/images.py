"""Images that scenes are made of: a user's own fields of view."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from moco_dl.errors import NrcorrectError, named
from moco_dl.formats.checks import SMALLEST
from moco_dl.image import load_image
from moco_dl.learning.scenes import SHOWN
from moco_dl.movie import WHOLE, Selection, open_movie
from moco_dl.output import HDF5
from moco_dl.reference import mean_of
from moco_dl.sampled.samples import draw_samples, sample_runs, without_infinite
from moco_dl.sampled.usable import refuse_extremes

SAMPLED = 200  # frames of a movie whose mean is made a scene


def read_scene_images(paths: Sequence[Path], selection: Selection) -> dict[str, np.ndarray]:
    """Images by the names of their files, with folders where names are alike; see `read_scene_image`."""
    names = [path.name for path in paths]
    return {
        (path.name if names.count(path.name) == 1 else str(path)): read_scene_image(path, selection)
        for path in paths
    }


def read_scene_image(path: Path, selection: Selection = WHOLE) -> np.ndarray:
    """An image (H, W) float32 to make scenes of: a TIFF or NPY image, or the mean over sampled frames of a
    movie, what `selection` names of a file.

    Raises NrcorrectError if it is neither, or shows nothing.
    """
    try:
        with named(path), closing(open_movie(path, selection)) as movie:
            samples, _ = draw_samples(movie.read, sample_runs(movie.shape[0], SAMPLED), kept=1)
            image = mean_of(samples)
    except NrcorrectError as not_a_movie:
        if path.suffix.lower() in HDF5:
            raise
        try:
            image = load_image(path)
        except NrcorrectError as not_an_image:
            raise (not_a_movie if path.exists() else not_an_image) from None
    return _shown(path, image)


def _shown(path: Path, image: np.ndarray) -> np.ndarray:
    """An image (H, W) as float32, black where it has no data; raises NrcorrectError if it shows nothing."""
    if image.dtype.kind not in "iuf":
        raise NrcorrectError(f"{path}: has pixels of type {image.dtype}; wanted real numbers")
    if min(image.shape) < SMALLEST:
        raise NrcorrectError(f"{path}: is {image.shape}; wanted at least {SMALLEST}x{SMALLEST} pixels")
    image = without_infinite(image)
    known = image[~np.isnan(image)]
    image = np.where(np.isnan(image), np.quantile(known, SHOWN[0]) if known.size else 0, image)
    if np.ptp(np.quantile(image, SHOWN)) == 0:
        raise NrcorrectError(f"{path}: {image.shape} pixels show nothing; wanted an image of a field of view")
    with named(path):
        refuse_extremes(image, "image")
    return image.astype(np.float32)
