"""How badly frames fit the reference, over what is usual.

Brought onto the reference by fractions of a pixel, a frame is a mean of neighbours, and white noise in it is
left with a quarter to all of its variance; noise that is alike in neighbours, as of a slow detector, with more.
What a frame tells of its motion does not depend on that: gradients of tissue are coarser than pixels.

Light that is added to a frame, as of a stimulus, brings its own photon noise. Such a frame fits worse, but is
no other scene: all of it is noisier from pixel to pixel.
"""

from dataclasses import dataclass

import numpy as np

from moco_dl.motion import DOUBTFUL, Equations, Motion

ALIKE = 0.25  # of the reference's detail in a frame: one that differs by less shows the scene beyond doubt
LEAST = 0.01  # of the expected variance; frames that are all alike leave next to nothing
CAREFUL = 4.0  # a power whose standard error is one shrinks to a fifth
BANDS = 4  # of rows of a frame, all of which must be noisier
STEP = 4  # rows, of which two are looked at
SHOWN = 0.5  # of the reference's brightness: frames that have less may be noisy for another reason
FARTHEST = 1.0  # logarithm of a misfit over the usual, beyond which it is something else than interpolation


@dataclass(frozen=True)
class Usual:
    """The misfit that frames usually have."""

    level: float  # of frames that are moved by whole pixels
    power: float  # of the variance that white noise would be left with: 1 if noise is white, 0 if smooth
    grain: np.ndarray  # (bands,) of white noise
    strength: float  # mean square of the reference's detail, over the expected variance

    def misfit(self, equations: Equations) -> np.ndarray:
        """(n,) of frames, over that."""
        return equations.misfit / (self.level * equations.soft**self.power)

    def doubt(self, equations: Equations) -> np.ndarray:
        """The same, of frames so bright and noisy, as photon noise grows when little light is made up for."""
        bright = equations.brightness
        darker = np.where(bright == 0, 1.0, np.minimum(bright, 1.0))
        return self.beyond_doubt(darker * self.misfit(equations) / self._noisier(equations), equations)

    def beyond_doubt(self, misfit: np.ndarray, equations: Equations) -> np.ndarray:
        """A `misfit` (n,) over the usual, but no more than DOUBTFUL of frames that show the scene beyond doubt.

        In a bright movie, fractions of a pixel make frames far more unlike the reference than noise does.
        """
        shown = self.strength * np.square(equations.brightness)
        differs = equations.misfit / np.maximum(ALIKE * shown, 1e-30)
        return np.minimum(misfit, DOUBTFUL * np.maximum(differs, 1))

    def _noisier(self, equations: Equations) -> np.ndarray:
        """(n,) times as much white noise as usual, at least once, all over frames that show the scene."""
        times = (equations.grain / np.maximum(self.grain, 1e-30)).min(axis=1).clip(1)
        return np.where(equations.brightness > SHOWN, times, 1.0)


def measure_usual(equations: Equations, strength: float) -> Usual:
    """From those of samples; see `Usual`."""
    log, soft = np.log(np.maximum(equations.misfit, LEAST)), np.log(equations.soft)
    apart = (log - np.median(log)).clip(-FARTHEST, FARTHEST)
    soft_apart = soft - soft.mean()
    unsure = max(CAREFUL * apart.var(), 1e-30)  # where frames hardly differ in it, nothing is told
    power = float(np.clip((apart @ soft_apart) / (soft_apart @ soft_apart + unsure), 0, 1))
    level = max(float(np.exp(np.median(log - power * soft))), LEAST)
    return Usual(level, power, np.median(equations.grain, axis=0), strength)


def graininess(frames: np.ndarray) -> np.ndarray:
    """(n, BANDS) variance of white noise, over bands of rows of frames (n, H, W); but for a factor.

    Of what neighbouring pixels differ by along one diagonal and the other, in which tissue hardly is.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # of frames that cannot be judged
        upper, lower = (frames[:, row : row + 1 - STEP : STEP].astype(np.float32) for row in (0, 1))
        squares = np.square(upper[..., 1:] - upper[..., :-1] - lower[..., 1:] + lower[..., :-1])
    known = np.isfinite(squares)
    squares = np.where(known, squares, 0)
    parts = zip(*(np.array_split(some.sum(axis=2), BANDS, axis=1) for some in (squares, known)), strict=True)
    return np.stack([total.sum(axis=1) / np.maximum(count.sum(axis=1), 1) for total, count in parts], axis=1)


def softness(motion: Motion, binning: int = 1) -> np.ndarray:
    """(n,) share of the variance of white noise that bilinear interpolation leaves in frames with this motion.

    They are averaged over `binning` x `binning` pixels before.
    """
    places = motion.total() / binning
    places -= np.floor(places)
    return (1 - 2 * places * (1 - places)).prod(axis=1).mean(axis=(1, 2), dtype=np.float64)
