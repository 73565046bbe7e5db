"""How a reference that is given is displaced from what the movie itself shows."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from moco_dl.blocks import binned
from moco_dl.device import sent
from moco_dl.gaussian import means_around
from moco_dl.infer import Estimator
from moco_dl.motion import Motion
from moco_dl.moving import move_known
from moco_dl.network import STRIDE
from moco_dl.refinement.basis import eigen
from moco_dl.refinement.bend import composed, inverse
from moco_dl.refinement.equations import linearise
from moco_dl.refinement.nearer import GivenReference, continued
from moco_dl.refinement.refine import Refiner

LOOKS = 4  # of the network, at most
BETTER = 0.975  # of what is unlike: else noise
STEPS = 5  # Gauss-Newton steps
SIZE = 0.3  # px, expected displacement: what the network leaves
SLIGHT = 0.15  # px, the same of a reference that is hardly bent
STRONG, MORE = 0.6, 15  # px, and steps, for one that had to be brought near
AROUND = 10.0  # px, sigma of the surroundings that images are compared with
LEAST_NOISE = 0.01  # of the variance of the movie's frames


@dataclass(frozen=True)
class Anchor:
    """Where a reference that is given lies beside the movie's own."""

    bend: np.ndarray  # (2, h, w) px, what brings it there
    error: np.ndarray  # (h, w) float32 px that are expected of it
    unlike: float  # what both images lack of a `likeness` of one then


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    """Correlation of two images (H, W), without what is finer than cells or smoother than AROUND.

    It is nearly 1 for the same field of view, also in dim movies, and hardly above 0 for another.
    """
    cells = binned(np.stack((one, other)), STRIDE)
    known = np.isfinite(cells).all(axis=0)
    if not known.any():
        return 0.0
    left = np.where(known, cells, 0)
    left -= means_around(left, known, (AROUND / STRIDE,) * 2)
    first, second = left[:, known] - left[:, known].mean(axis=1, keepdims=True)
    size = np.linalg.norm(first) * np.linalg.norm(second)
    return float(first @ second / size) if size > 0 else 0.0


def anchored(
    given: GivenReference, image: np.ndarray, refiner: Refiner, estimator: Estimator, begun: np.ndarray
) -> Anchor:
    """What brings a reference that is `given` onto the refiner's `image` (H, W), NaN where it shows nothing.

    Roughly it is `begun` (2, h, w) px, from where that was brought near.

    The network, in an `estimator` of motion from what is given, looks again from where that has led to, as long
    as it then fits better: it sees no farther at once than tissue moves within a movie. If all that fits hardly
    better than what is displaced as a whole, and bent by steps alone, then that is more likely.
    """
    registered, near = Registration(image, refiner), given.nearer
    found = registered(near, begun)
    for _ in range(LOOKS):
        there = inverse(found.bend)
        moved = move_known(image[None], there[None], device=refiner.device)
        (more,) = estimator(moved).total()
        more = continued(more, moved[0], near)
        farther = registered(near, inverse(composed(there[None], more)[0]))
        if farther.unlike > BETTER * found.unlike:
            break
        found = farther
    whole = np.broadcast_to(begun.mean(axis=(1, 2), keepdims=True), begun.shape).copy()
    straight = registered(near, whole, SLIGHT)
    if found.unlike > BETTER * straight.unlike:
        found = replace(straight, error=found.error)  # that it is hardly bent is not sure
    if given.bend is None:
        return found
    (bend,) = composed(given.bend[None], found.bend)
    return registered(given.image, bend, STRONG, MORE)


@dataclass(frozen=True)
class Registration:
    """Gauss-Newton steps that bring an image onto the refiner's own."""

    image: np.ndarray  # (H, W)
    refiner: Refiner

    @cached_property
    def _modes(self) -> tuple[np.ndarray, np.ndarray]:
        """How well modes of a displacement are seen (j,), and modes (2 m, j): all but motion of rows."""
        kinds = self.refiner.basis.kinds()
        wanted = kinds["shift"] | kinds["tissue"]
        values, vectors = eigen(self.refiner.matrix.numpy()[np.ix_(wanted, wanted)], self.refiner.device)
        modes = np.zeros((len(wanted), len(values)))
        modes[wanted] = vectors
        return values.clip(0), modes

    def __call__(self, given: np.ndarray, begun: np.ndarray, size: float = SIZE, steps: int = STEPS) -> Anchor:
        """Of an image `given` (H, W), by `steps` from `begun` (2, h, w), from where `size` px are expected.

        It is looked at as if it were a frame of the movie, in the contrast of the refiner's image. So gradients
        are those of an image that is nearly free of noise, whatever the other is like, and cells count little
        that it shows in another brightness.
        """
        refiner, (visible, modes) = self.refiner, self._modes
        (moved,) = move_known(given[None], begun[None], device=refiner.device)
        seen = np.isfinite(moved) & np.isfinite(self.image)
        slope, offset = _contrast(moved[seen], self.image[seen])
        frame = (slope * given + offset).astype(np.float32)[None]
        turn = affine(begun)
        rest = turn + refiner.basis.smoothed(begun - turn)
        shift = rest.mean(axis=(1, 2))
        rest -= shift[:, None, None]
        known = refiner.effect(sent(rest, refiner.device)).numpy()
        motion = Motion(shift[None], rest[None], flagged=np.zeros(1, bool))
        for _ in range(steps):
            equations = linearise(frame, motion, refiner)
            noise = max(float(equations.misfit[0]), LEAST_NOISE)
            told = (equations.whole[0] - known) @ modes
            unknowns = modes @ (told / (visible + noise / size**2))
            shift, _, tissue = refiner.basis.displacement(unknowns[None])
            motion = replace(motion, rigid=motion.rigid + shift, flow=rest + tissue)
        bend = motion.total().astype(np.float32)[0]
        left = modes * np.sqrt(noise / (visible + noise / size**2))
        variances = [refiner.basis.variance(part @ part.T) for part in np.split(left, 2)]
        error = np.sqrt(np.pi / 2 * np.mean(variances, axis=0).clip(0)).astype(np.float32)
        (moved,) = move_known(given[None], bend[None], device=refiner.device)
        return Anchor(bend, error, 1 - likeness(moved, self.image))


def _contrast(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Slope and offset of the line on which values of `other` lie over those of `one`, both (n,)."""
    if not (one != one[:1]).any():
        return 1.0, 0.0
    slope, offset = np.polyfit(one.astype(np.float64), other.astype(np.float64), 1)
    return slope, offset


def affine(bend: np.ndarray) -> np.ndarray:
    """The shift, turn, stretch and shear (2, h, w) float32 that is most like a bend (2, h, w)."""
    y, x = (np.linspace(-1, 1, n) for n in bend.shape[1:])
    functions = np.stack(np.broadcast_arrays(1.0, y[:, None], x), axis=-1)
    factors = np.linalg.lstsq(functions.reshape(-1, 3), bend.reshape(2, -1).T)[0]
    return np.moveaxis(functions @ factors, -1, 0).astype(np.float32)
