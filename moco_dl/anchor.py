"""How a reference that is given is displaced from what the movie itself shows."""

from dataclasses import replace

import numpy as np

from moco_dl.batch import Motion
from moco_dl.bend import composed, inverse
from moco_dl.device import sent
from moco_dl.equations import linearise
from moco_dl.infer import Estimator, move_known
from moco_dl.refine import Refiner

LOOKS = 4  # of the network, at most
BETTER = 0.975  # of the misfit: else noise
STEPS = 5  # Gauss-Newton steps
SIZE = 0.3  # px, expected displacement: what the network leaves
SLIGHT = 0.15  # px, the same of a reference that is hardly bent
LEAST_NOISE = 0.01  # of the variance of the movie's frames


def anchored(
    given: np.ndarray, image: np.ndarray, refiner: Refiner, estimator: Estimator, begun: np.ndarray
) -> np.ndarray:
    """What brings a reference `given` (H, W) onto the refiner's `image`: (2, h, w) px; roughly it is `begun`.

    The network, in an `estimator` of motion from what is given, looks again from where that has led to, as long
    as it then fits better: it sees no farther at once than tissue moves within a movie. If all that fits hardly
    better than what is displaced as a whole, and bent by steps alone, then that is more likely.
    """
    found, misfit = displacement(given, image, refiner, begun)
    for _ in range(LOOKS):
        there = inverse(found)
        moved = move_known(image[None], there[None], device=refiner.device)
        (more,) = estimator(moved).total()
        farther, other = displacement(given, image, refiner, inverse(composed(there[None], more)[0]))
        if other > BETTER * misfit:
            break
        found, misfit = farther, other
    whole = np.broadcast_to(begun.mean(axis=(1, 2), keepdims=True), begun.shape).copy()
    straight, other = displacement(given, image, refiner, whole, SLIGHT)
    return found if misfit < BETTER * other else straight


def displacement(
    given: np.ndarray, image: np.ndarray, refiner: Refiner, begun: np.ndarray, size: float = SIZE
) -> tuple[np.ndarray, float]:
    """The same by steps from `begun`, from where `size` px are expected; and how badly they then fit, over the
    expected variance.

    It is looked at as if it were a frame of the movie, in the contrast of `image`. So gradients are those of an
    image that is nearly free of noise, whatever the reference is like, and cells that it shows in another
    brightness count little.
    """
    (moved,) = move_known(given[None], begun[None], device=refiner.device)
    seen = np.isfinite(moved)
    slope, offset = np.polyfit(moved[seen].astype(np.float64), image[seen].astype(np.float64), 1)
    frame = (slope * given + offset).astype(np.float32)[None]
    kinds, matrix = refiner.basis.kinds(), refiner.matrix.numpy()
    sizes = np.where(kinds["shift"] | kinds["tissue"], size**2, 0.0)
    shift = begun.mean(axis=(1, 2))
    rest = refiner.basis.smoothed(begun - shift[:, None, None])
    known = refiner.effect(sent(rest, refiner.device)).numpy()
    motion = Motion(shift[None], rest[None], flagged=np.zeros(1, bool))
    for _ in range(STEPS):
        equations = linearise(frame, motion, refiner)
        noise = max(float(equations.misfit[0]), LEAST_NOISE)
        told = equations.seen[0] - known
        unknowns = sizes * np.linalg.solve(matrix * sizes + noise * np.eye(len(matrix)), told)
        shift, _, tissue = refiner.basis.displacement(unknowns[None])
        motion = replace(motion, rigid=motion.rigid + shift, flow=rest + tissue)
    return motion.total()[0], float(linearise(frame, motion, refiner).misfit[0])
