"""Motion from another image: a reference that is given may be displaced and bent beside what the movie shows.

A bend (2, h, w), px on the coarse grid, leads from an image to another: `image[y] = other[y + bend(y)]`.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch

from moco_dl.motion import Motion
from moco_dl.network import STRIDE
from moco_dl.warp import invert, warp


@dataclass(frozen=True)
class Bends:
    """Between the movie's own reference, onto which frames are brought first, and one that is given."""

    from_given: np.ndarray  # (2, h, w) px, to the movie's own
    error: np.ndarray  # (h, w) px, that is expected of this, constant in time
    likeness: float  # correlation of the given reference with what the movie shows


def inverse(bend: np.ndarray) -> np.ndarray:
    """The bend (2, h, w) that leads back."""
    return STRIDE * invert(torch.from_numpy(bend[None] / STRIDE))[0].numpy()


def bent(values: np.ndarray, bend: np.ndarray) -> np.ndarray:
    """Values (n, c, h, w) of places in the other image, at those of the image."""
    places = torch.from_numpy(bend / np.float32(STRIDE)).expand(len(values), -1, -1, -1)
    return warp(torch.from_numpy(values), places).numpy()


def composed(displacement: np.ndarray, bend: np.ndarray) -> np.ndarray:
    """Displacements (n, 2, h, w) px from an image, given those from the other one."""
    return bend + bent(displacement, bend)


def rebased(motion: Motion, bend: np.ndarray) -> Motion:
    """The same of motion. What is not known yet, or not judged, stays zero."""
    rigid = motion.rigid + bend.mean(axis=(1, 2))
    flow = composed(motion.total().astype(np.float32), bend) - rigid[:, :, None, None]
    rigid[motion.flagged] = 0
    flow[motion.flagged if motion.unseen is None else motion.flagged | motion.unseen] = 0
    return replace(motion, rigid=rigid, flow=flow, rows=None)


def affine(bend: np.ndarray) -> np.ndarray:
    """The shift, turn, stretch and shear (2, h, w) float32 that is most like a bend (2, h, w)."""
    y, x = (np.linspace(-1, 1, n) for n in bend.shape[1:])
    functions = np.stack(np.broadcast_arrays(1.0, y[:, None], x), axis=-1)
    factors = np.linalg.lstsq(functions.reshape(-1, 3), bend.reshape(2, -1).T)[0]
    return np.moveaxis(functions @ factors, -1, 0).astype(np.float32)
