"""Places of a movie without data: frames filled there, images blank, what is left between such edges."""

import numpy as np

from moco_dl.evaluation.moments import LEAST

SPAN = 11  # px in a line, that lack data together; single ones may see no photon by chance


def filled(frame: np.ndarray) -> np.ndarray:
    """Frame (H, W) as float32, with its mean where it is not finite."""
    image = frame.astype(np.float32)
    known = np.isfinite(image)
    if not known.all():
        image[~known] = image[known].mean(dtype=np.float64) if known.any() else 0
    return image


def in_lines(pixels: np.ndarray) -> np.ndarray:
    """(H, W) bool: those of some `pixels` (H, W) that are SPAN or more in a row or column."""
    from scipy.ndimage import binary_opening

    along = np.ones((1, SPAN), bool)
    return binary_opening(pixels, along) | binary_opening(pixels, along.T)


def blank_gaps(gaps: np.ndarray, image: np.ndarray | None) -> np.ndarray | None:
    """The image (H, W) with NaN where `gaps` (H, W) says that there is no data; None stays None."""
    return image if image is None or not gaps.any() else np.where(gaps, np.float32(np.nan), image)


def shared_part(gaps: np.ndarray, factor: int) -> tuple[slice, slice]:
    """Slices of frames binned by `factor` that leave out rows and columns at the edges that are mostly gaps.

    `gaps` (H, W) bool, of frames before binning. Everything, if little would be left.
    """
    found = []
    for axis, size in enumerate(gaps.shape):
        shown = np.flatnonzero(gaps.mean(axis=1 - axis) < 0.5)
        first, last = (shown[0], shown[-1] + 1) if len(shown) else (0, size)
        found.append(slice(int(-(-first // factor)), int(last // factor)))
    return tuple(found) if min(part.stop - part.start for part in found) >= LEAST else (slice(None),) * 2
