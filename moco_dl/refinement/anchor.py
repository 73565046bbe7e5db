"""How a reference that is given is displaced from what the movie itself shows."""

from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np

from moco_dl.blocks import binned
from moco_dl.gaussian import means_around
from moco_dl.motion import Motion
from moco_dl.moving import move_known
from moco_dl.network import STRIDE
from moco_dl.refinement.basis import eigen, times_both
from moco_dl.refinement.bend import affine
from moco_dl.refinement.equations import linearise
from moco_dl.refinement.refine import Refiner

STEPS = 30  # Gauss-Newton steps, at most
SETTLED = 0.01  # px, by which a step moves any place: it is the last
DETAILS = (0.0, 0.1)  # of a bend's variance that may be of TISSUE's length, and not of twice that
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of what the network sees, that may be true
SIZES = np.geomspace(1e-4, 1e4, 40)  # of what is seen of a bend, over noise, for the mode that is seen best
FARTHEST = 1.5  # px, size of a bend beside what the network sees
INDEPENDENT = 0.3  # of modes: cells that differ are seen in several
SLIGHT = 1e-3  # weight, of the largest, below which an explanation does not count
LEAST = 1e-7  # of the largest, that a mode's information is taken to be
TINY = 1e-30  # where nothing is seen
AROUND = 10.0  # px, sigma of the surroundings that images are compared with


@dataclass(frozen=True)
class Anchor:
    """Where a reference that is given lies beside the movie's own."""

    bend: np.ndarray  # (2, h, w) px, what brings it there
    error: np.ndarray  # (h, w) float32 px that are expected of it


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


@dataclass(frozen=True)
class Registration:
    """Gauss-Newton steps that bring an image onto the refiner's own."""

    image: np.ndarray  # (H, W), NaN where it shows nothing
    refiner: Refiner

    @cached_property
    def _kinds(self) -> tuple[np.ndarray, np.ndarray]:
        """Which unknowns (2 m,) are the shift's, and which the tissue's. Rows do not move."""
        kinds = self.refiner.basis.kinds()
        return kinds["shift"], kinds["tissue"]

    @cached_property
    def _shift(self) -> tuple[np.ndarray, np.ndarray]:
        """Covariance (2, 2) of the shift, and the shifts (2, k) that the tissue's unknowns look like."""
        shift, tissue = self._kinds
        matrix = self.refiner.matrix.numpy()[shift]
        covariance = np.linalg.pinv(matrix[:, shift])
        return covariance, covariance @ matrix[:, tissue]

    @cached_property
    def _modes(self) -> tuple[np.ndarray, ...]:
        """Modes of smooth bends of each of DETAILS (s), whatever the shift is: how much (s, k) they are seen of
        one of variance one, beside noise of as much; what has them from equations, and from unknowns
        (s, k, k); and unknowns (k, s k) of each, times how much it is seen."""
        shift, tissue = self._kinds
        matrix = self.refiner.matrix.numpy()[tissue]
        known = matrix[:, tissue] - matrix[:, shift] @ self._shift[1]
        least = max(LEAST * known.diagonal().max(), TINY)
        root = np.linalg.cholesky(known + least * np.eye(len(known)))
        smooth, _ = self.refiner.basis.tissue_shapes()
        shapes = [(1 - share) * smooth + share * np.eye(len(smooth)) for share in DETAILS]
        found = [eigen(root.T @ times_both(shape, root), self.refiner.device) for shape in shapes]
        visible, modes = (np.stack(each) for each in zip(*found, strict=True))
        from_unknowns = (root @ modes).swapaxes(1, 2)
        from_told = np.stack([np.linalg.solve(root.T, each).T for each in modes])
        unknowns = [times_both(shape, each.T) for shape, each in zip(shapes, from_unknowns, strict=True)]
        return visible.clip(LEAST * visible[:, -1:]), from_told, from_unknowns, np.concatenate(unknowns, axis=1)

    def __call__(self, given: np.ndarray, begun: np.ndarray, far: bool = False) -> Anchor:
        """Of an image `given` (H, W), from where it is `begun` (2, h, w) px, roughly.

        It is looked at as if it were a frame of the movie, in the contrast of the refiner's image. So gradients
        are those of an image that is nearly free of noise, whatever the other is like. But they differ by more
        than noise, as by cells that are active in one of them. By how much is measured, together with how much
        of what is begun is true, turned and stretched as a whole or bent, and how far and how finely tissue is
        bent beside. If it is `far`, it surely is turned and stretched so.
        """
        refiner, basis = self.refiner, self.refiner.basis
        (moved,) = move_known(given[None], begun[None], device=refiner.device)
        seen = np.isfinite(moved) & np.isfinite(self.image)
        slope, offset = _contrast(moved[seen], self.image[seen])
        frame = (slope * given + offset).astype(np.float32)[None]
        whole, turn = begun.mean(axis=(1, 2), keepdims=True), affine(begun)
        sure, unsure = (turn, [begun - turn]) if far else (whole, [turn - whole, begun - turn])
        parts = basis.factors(np.stack(unsure))
        unknowns, matrix = parts.sum(axis=0), refiner.matrix.numpy()
        bend = sure + basis.total(unknowns)
        for _ in range(STEPS):
            rigid = bend.mean(axis=(1, 2), keepdims=True)
            motion = Motion(rigid[None, :, 0, 0], (bend - rigid)[None], flagged=np.zeros(1, bool))
            left = linearise(frame, motion, refiner).left[0]
            unknowns, deviations = self._solved(left + matrix @ unknowns, parts)
            bend, before = sure + basis.total(unknowns), bend
            if np.abs(bend - before).max() < SETTLED:
                break
        variances = [basis.variance(part @ part.T) for part in np.split(deviations, 2)]
        return Anchor(bend, np.sqrt(np.pi / 2 * np.mean(variances, axis=0).clip(0)).astype(np.float32))

    def _solved(self, told: np.ndarray, parts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Unknowns (2 m,), and deviations (2 m, k) that add up to their error.

        They are the mean of all that may be, by how likely that makes what is `told` (2 m,). So may `parts`
        (n, 2 m) of them, or a share of these.
        """
        (shift, tissue), (covariance, alike) = self._kinds, self._shift
        visible, from_told, from_unknowns, modes = self._modes
        seen = from_told @ (told[tissue] - alike.T @ told[shift])
        assumed = np.array(list(product(SHARES, repeat=len(parts)))) @ parts[:, tissue]
        apart = seen[:, None] - assumed @ from_unknowns.swapaxes(1, 2)  # (shapes, shares, k)
        ratios = SIZES / visible[:, -1:]  # of the variance of what is bent, over that of noise
        variances = 1 + ratios[:, :, None, None] * visible[:, None, None]
        noise = np.mean(np.square(apart[:, None]) / variances, axis=3)  # (shapes, sizes, shares) most likely
        likely = -np.log(variances).sum(axis=3) - visible.shape[1] * np.log(noise.clip(TINY))
        likely[:, 1:][(ratios[:, :, None] * noise)[:, 1:] > FARTHEST**2] = -np.inf
        weights = np.exp(INDEPENDENT / 2 * (likely - likely.max()))
        weights = np.where(weights > SLIGHT, weights, 0) / weights[weights > SLIGHT].sum()
        shape, size, share = counted = np.nonzero(weights)
        weights, noise, of_shape = weights[counted], noise[counted], np.eye(len(visible))[shape]
        visible, least = visible[shape], 1 / ratios[shape, size][:, None]
        beside = of_shape[:, :, None] * (apart[shape, share] / (visible + least))[:, None]
        each = assumed[share] + beside.reshape(len(weights), -1) @ modes.T
        bent = weights @ each
        chance = np.sqrt((weights * noise * of_shape.T) @ (1 / (visible * (visible + least)))).ravel()
        deviations = np.concatenate((modes * chance, (np.sqrt(weights)[:, None] * (each - bent)).T), axis=1)
        unknowns, spread = np.zeros(len(told)), np.zeros((len(told), deviations.shape[1]))
        unknowns[tissue], unknowns[shift] = bent, covariance @ told[shift] - alike @ bent
        spread[tissue], spread[shift] = deviations, -alike @ deviations
        return unknowns, spread


def _contrast(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Slope and offset of the line on which values of `other` lie over those of `one`, both (n,)."""
    if not (one != one[:1]).any():
        return 1.0, 0.0
    slope, offset = np.polyfit(one.astype(np.float64), other.astype(np.float64), 1)
    return slope, offset
