"""How badly frames fit the reference, over what is usual.

Brought onto the reference by fractions of a pixel, a frame is a mean of neighbours, and white noise in it is
left with a quarter to all of its variance; noise that is alike in neighbours, as of a slow detector, with more.
What a frame tells of its motion does not depend on that: gradients of tissue are coarser than pixels.
"""

from dataclasses import dataclass

import numpy as np

from moco_dl.batch import Equations, Motion

DARK = 0.1  # of the reference's brightness: a frame that has less may show something else
LEAST = 0.01  # of the expected variance; frames that are all alike leave next to nothing
CAREFUL = 4.0  # a power whose standard error is one shrinks to a fifth
FARTHEST = 1.0  # logarithm of a misfit over the usual, beyond which it is something else than interpolation


@dataclass(frozen=True)
class Usual:
    """The misfit that frames usually have."""

    level: float = 1.0  # of frames that are moved by whole pixels
    power: float = 0.0  # of the variance that white noise would be left with: 1 if noise is white, 0 if smooth

    def misfit(self, equations: Equations) -> np.ndarray:
        """(n,) of frames, over that."""
        return equations.misfit / self._expected(equations)

    def doubt(self, equations: Equations) -> np.ndarray:
        """The same, of frames so bright, as photon noise grows when little light is made up for."""
        bright = 1.0 if equations.brightness is None else equations.brightness
        return np.where(bright < DARK, 1.0, np.minimum(bright, 1.0)) * self.misfit(equations)

    def _expected(self, equations: Equations) -> np.ndarray | float:
        return self.level if equations.soft is None else self.level * equations.soft**self.power


AS_EXPECTED = Usual()


def measure_usual(equations: Equations) -> Usual:
    """From those of samples."""
    log, soft = np.log(np.maximum(equations.misfit, LEAST)), np.log(equations.soft)
    apart = (log - np.median(log)).clip(-FARTHEST, FARTHEST)
    soft_apart = soft - soft.mean()
    unsure = max(CAREFUL * apart.var(), 1e-30)  # where frames hardly differ in it, nothing is told
    power = float(np.clip((apart @ soft_apart) / (soft_apart @ soft_apart + unsure), 0, 1))
    return Usual(max(float(np.exp(np.median(log - power * soft))), LEAST), power)


def softness(motion: Motion, binning: int = 1) -> np.ndarray:
    """(n,) share of the variance of white noise that bilinear interpolation leaves in frames with this motion.

    They are averaged over `binning` x `binning` pixels before.
    """
    places = motion.total() / binning
    places -= np.floor(places)
    return (1 - 2 * places * (1 - places)).prod(axis=1).mean(axis=(1, 2), dtype=np.float64)
