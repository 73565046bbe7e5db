"""How a reference that is given is displaced from what the movie itself shows where it lies."""

from dataclasses import replace

import numpy as np

from moco_dl.batch import Motion
from moco_dl.equations import linearise
from moco_dl.refine import Refiner

STEPS = 3  # Gauss-Newton steps
SIZE = 0.3  # px, expected displacement: what the network leaves
LEAST_NOISE = 0.01  # of the variance of the movie's frames


def displacement(given: np.ndarray, image: np.ndarray, refiner: Refiner) -> tuple[np.ndarray, np.ndarray]:
    """Mean (2,) and rest (2, h, w), px, of what brings a reference `given` (H, W) onto the refiner's `image`.

    It is looked at as if it were a frame of the movie, in the contrast of `image`. So gradients are those of an
    image that is nearly free of noise, whatever the reference is like, and cells that it shows in another
    brightness count little.
    """
    seen = np.isfinite(given)
    slope, offset = np.polyfit(given[seen].astype(np.float64), image[seen].astype(np.float64), 1)
    frame = (slope * given + offset).astype(np.float32)[None]
    kinds, matrix = refiner.basis.kinds(), refiner.matrix.numpy()
    sizes = np.where(kinds["shift"] | kinds["tissue"], SIZE**2, 0.0)
    nothing = np.zeros((1, 2, *refiner.grid), np.float32)
    motion = Motion(np.zeros((1, 2), np.float32), nothing, flagged=np.zeros(1, bool))
    for _ in range(STEPS):
        equations = linearise(frame, motion, refiner)
        noise = max(float(equations.misfit[0]), LEAST_NOISE)
        unknowns = sizes * np.linalg.solve(matrix * sizes + noise * np.eye(len(matrix)), equations.seen[0])
        shift, _, tissue = refiner.basis.displacement(unknowns[None])
        motion = replace(motion, rigid=motion.rigid + shift, flow=tissue)
    (shift,), (rest,) = motion.rigid, motion.flow
    mean = rest.mean(axis=(1, 2))
    return shift + mean, rest - mean[:, None, None]
