"""A reference that is given may be turned, stretched or bent much farther than tissue moves within a movie."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from moco_dl.blocks import binned
from moco_dl.gaussian import means_around
from moco_dl.infer import Estimator
from moco_dl.moving import move_known
from moco_dl.network import STRIDE
from moco_dl.refinement.bend import affine, composed, inverse

FAR = 4.0  # px of an image that the network is shown: displaced by less, it is seen well at once
TURNS = 6  # at each size but the finest, to turn and stretch the whole
LOOKS = 2  # at each size, to bend it
LESS = 0.8  # of what does not fit: else what is seen is taken for chance
REACH = 1 / 8  # of a side, sigma of the Gaussian over which a bend is continued to where nothing is seen
SMALLEST = 60  # px, shorter side of an image that shows enough


@dataclass(frozen=True)
class GivenReference:
    """A reference (H, W) that is given."""

    image: np.ndarray
    begun: np.ndarray  # (2, h, w) px, from what the movie shows to that, roughly
    far: bool  # turned, stretched or bent so much that it had to be brought near


def sizes(shape: tuple[int, int]) -> list[int]:
    """Pixels a side over which images of `shape` are averaged to be looked at, from coarse to fine."""
    found = [1]
    while min(shape) >= 2 * SMALLEST * found[-1]:
        found.append(2 * found[-1])
    return found[::-1]


def bend_to(given: np.ndarray, image: np.ndarray, looks: Sequence[Estimator]) -> np.ndarray | None:
    """Bend (2, h, w) px from `image` (H, W), what a movie shows, to one that is `given` (H, W), roughly.

    From coarse to fine, by estimators of motion from what is given: what is far in a large image is near in a
    small one. What is turned or stretched much is so as a whole, first: what bends follow by chance adds up.
    None if it is near already but for a shift, or if it is not seen for sure.
    """

    def nearer(found: np.ndarray, look: Estimator) -> np.ndarray:
        moved = move_known(image[None], found[None])
        (more,) = look(moved).total()
        return composed(found[None], continued(more, moved[0], given))[0]

    def unlike(bend: np.ndarray) -> float:
        return _unlike(given, image, bend, looks[0].binning)

    as_it_is = whole = np.zeros((2, *looks[0].coarse), np.float32)
    for look in np.repeat(looks[:-1] or looks, TURNS):
        whole = affine(nearer(whole, look))
    bends = [reduce(nearer, np.repeat(looks, LOOKS), begun) for begun in (as_it_is, whole)]
    found = min(bends, key=unlike)
    shift = np.broadcast_to(found.mean(axis=(1, 2), keepdims=True), found.shape)
    if np.hypot(*(found - shift)).max() < FAR:
        return None
    return inverse(found) if unlike(found) < LESS * min(map(unlike, (shift, as_it_is))) else None


def continued(bend: np.ndarray, *images: np.ndarray) -> np.ndarray:
    """A bend (2, h, w) that was found from `images` (H, W), continued to where one of them shows nothing."""
    seen = np.isfinite(binned(np.stack(images), STRIDE)).all(axis=0)
    if seen.all() or not seen.any():
        return bend
    around = means_around(bend * seen, seen, tuple(REACH * size for size in seen.shape))
    return np.where(seen, bend, around).astype(np.float32)


def _unlike(given: np.ndarray, image: np.ndarray, bend: np.ndarray, binning: int) -> float:
    """Share of the variance of one image that the other, moved, does not explain; averaged images of both."""
    images = binned(np.stack((given, move_known(image[None], bend[None])[0])), binning)
    one, other = images[:, np.isfinite(images).all(axis=0)]
    if (one == one[:1]).all() or (other == other[:1]).all():  # nothing is seen where they overlap, if they do
        return 1.0
    return 1 - np.corrcoef(one, other)[0, 1] ** 2
