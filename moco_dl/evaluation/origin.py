"""Whether each corrected frame shows what its own raw frame does, and not what others do."""

import numpy as np

from moco_dl.evaluation.metrics import band_passed
from moco_dl.evaluation.residual import brought_onto
from moco_dl.evaluation.verdict import OWN

LEAST = 4  # frames; of fewer, chance could tell as well
RELATIVE = 1e-5  # of an image: smaller deviations are of rounding
# Of raw deviations, what is left: 0.5 to 1 in movies of up to 100 photons a pixel. In brighter ones, most are
# motion, which a correction takes away.
TELLING = 0.5


def own_shown(before: np.ndarray, after: np.ndarray, max_shift: float) -> float:
    """How often raw frames are more like their own corrected frame than like others: 1 always, 0.5 by chance.

    `before`, `after` (n, h, w) finite; raw frames are brought onto their own by whole px, up to `max_shift`.
    Their means are taken off: noise and activity of a moment tell one frame from another, the scene does not.
    NaN for few frames, and where few do so but corrected ones differ much less than raw ones: in bright movies,
    what raw frames differ by is motion.
    """
    if len(before) < LEAST:
        return np.nan
    moved = np.stack([brought_onto(*pair, max_shift) for pair in zip(before, after, strict=True)])
    (one, sizes), (other, left) = _deviations(moved), _deviations(after)
    if not one.any():
        return np.nan
    alike = one @ other.T
    own = np.diag(alike)[:, None]
    more = (own > alike) + 0.5 * (own == alike)
    share = float(more[~np.eye(len(alike), dtype=bool)].mean())
    return np.nan if share < OWN and np.median(left) < TELLING * np.median(sizes) else share


def _deviations(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of frames (n, h, w) from their mean, (n, pixels) of length 1, or 0 if there are none; and their sizes."""
    flat = band_passed(frames).reshape(len(frames), -1).astype(np.float64)
    least = RELATIVE * np.linalg.norm(flat, axis=1, keepdims=True)
    flat -= flat.mean(axis=0)
    flat -= flat.mean(axis=1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.where(length > least, flat / np.maximum(length, 1e-30), 0), length
