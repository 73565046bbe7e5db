"""How far off the motion that is found is expected to be.

That follows from the prior, if tissue moves as it says; but it is measured on all frames, and few of them may
differ. How far what is found lies from what a frame tells of its motion is seen, and what of that is noise of
its own is known: the rest is error (Stein's unbiased estimate of risk, Annals of Statistics 9, 1981).
"""

from dataclasses import dataclass, replace

import numpy as np

from moco_dl.tracking.trajectory import FramePath

BLIND = 1e-6  # variance of what a frame tells of a mode, over that of its noise, that is looked at
LARGEST = 0.999  # of what errs by as much as a frame's own noise: nothing is seen of its error
# What is likely before anything is seen: standard deviations of the variance of noise, over what it was taken
# for, and of the excess.
SPREAD = 0.2, 0.5
BOUNDS = -0.75, 8.0  # of the excess


@dataclass(frozen=True)
class Errors:
    """What is expected of the errors of a frame's field, px^2."""

    place: np.ndarray  # (2, h, w) variance
    both: np.ndarray  # (2, h, w) covariance with that of the mean displacement
    path: FramePath

    @property
    def mean(self) -> np.ndarray:
        """(2, 1, 1) variance of the mean displacement."""
        return self.path.errors[:, 0, 0, None, None]

    def with_path(self, errors: np.ndarray) -> "Errors":
        """The same, once those of paths have become these, (2, 3, 3)."""
        functions, less = self.path.functions, self.path.errors - errors
        place = self.place - ((functions @ less) * functions).sum(axis=-1)[..., None]
        both = self.both - (less[:, 0] @ functions.T)[..., None]
        return Errors(place, both, replace(self.path, errors=errors))

    def length(self, removed: np.ndarray | float = 0.0) -> np.ndarray:
        """(h, w) float32 px: expected length.

        `removed` (2,) is the share of the variance of the mean displacement that is taken off afterwards.
        """
        variance = self.place - np.reshape(removed, (-1, 1, 1)) * (2 * self.both - self.mean)
        return np.sqrt(np.pi / 2 * variance.mean(axis=0).clip(0)).astype(np.float32)


def measure_excess(left: np.ndarray, own: np.ndarray, visible: np.ndarray) -> float:
    """Share by which squared errors of modes are larger than expected, where `exceeding` is 1.

    `left` (n, modes) are the differences of what frames tell from what was found, with noise of variance
    `visible` (modes,); `own` (n, modes) are the squared errors that are expected of what was found, over those
    of each frame alone. So squares of `left`, over `visible`, are expected to be `1 - own`. Where they are not,
    noise may differ everywhere, or errors may by the excess: a regression.
    """
    shown = visible > BLIND
    own = np.minimum(own[:, shown], LARGEST)
    more = (np.square(left[:, shown]) / visible[shown] / (1 - own) - 1).ravel()  # of variance 2
    causes = np.stack((np.ones(more.size), (exceeding(own) * own / (1 - own)).ravel()))
    found = np.linalg.solve(causes @ causes.T + np.diag(2 / np.square(SPREAD)), causes @ more)
    return float(np.clip(found[1], *BOUNDS))


def exceeding(own: np.ndarray) -> np.ndarray:
    """Share of the excess in the errors of modes: less than 1 where most of these is a frame's own noise."""
    return np.minimum(1.0, (1 - own) / np.maximum(own, 0.5))
