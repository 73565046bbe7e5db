"""How far whole frames are expected to move, where a frame alone does not tell.

In very dim movies noise correlates with the reference as well as the scene does, and the highest peak of a
correlation may lie anywhere. But all frames together show how far they usually are from the reference.
"""

from dataclasses import dataclass

import numpy as np

UPDATES = 30  # of what is expected
ANYWHERE = 0.05  # of the frames, which may have moved by any shift that is allowed
LEAST = 0.5  # px, spread along either axis
FAINT = 0.5  # standard deviations of noise, least height of a peak


@dataclass(frozen=True)
class Expected:
    """Shifts are normally distributed and go on from frame to frame, but for a few that may be any."""

    weight: float  # of a frame's correlation with the reference, in the log-likelihood of its shift
    middle: np.ndarray  # (2,) px, in y and in x
    spread: np.ndarray  # (2,) px
    # px, root mean square along either axis from one frame to the next; infinite: each moves for itself.
    step: float = np.inf

    def usual(self, limit: tuple[int, int]) -> np.ndarray:
        """(2 my + 1, 2 mx + 1) probability of shifts by whole px up to `limit` (my, mx), but for the few."""
        y, x = (
            np.exp(-0.5 * np.square((_places(most) - middle) / spread))
            for most, middle, spread in zip(limit, self.middle, self.spread, strict=True)
        )
        return np.outer(y, x) / max(y.sum() * x.sum(), 1e-30)

    def probability(self, limit: tuple[int, int]) -> np.ndarray:
        """The same of all."""
        usual = self.usual(limit)
        return (1 - ANYWHERE) * usual + ANYWHERE / usual.size

    def transitions(self, limit: tuple[int, int]) -> list[np.ndarray]:
        """(2 m + 1, 2 m + 1) in y, and in x: probability of a shift (rows) after another one (columns).

        Of those that are normally distributed: a first-order autoregression.
        """
        found = []
        for most, middle, spread in zip(limit, self.middle, self.spread, strict=True):
            lasts = max(1 - np.square(self.step / spread) / 2, 0)
            mean = middle + lasts * (_places(most) - middle)
            apart = (_places(most)[:, None] - mean) / (spread * np.sqrt(1 - lasts**2))
            steps = np.exp(-0.5 * np.square(apart))
            found.append(steps / np.maximum(steps.sum(axis=0), 1e-30))
        return found


def measure_expected(correlations: np.ndarray, light: np.ndarray) -> Expected:
    """From correlations of n frames (n, 2 my + 1, 2 mx + 1) at all shifts, in standard deviations of noise, and
    their brightness (n,), `light`.

    By expectation maximisation (Dempster, Laird and Rubin, J. R. Stat. Soc. B 39, 1977). At frames' own shifts,
    correlations are normally distributed, about one height, with the variance of noise, or more if frames are
    bent: so log-likelihoods are correlations times height over variance. Light that flickers or fades changes
    the height, and makes shifts no less sure: so what goes with it does not count, and variance is that from
    one frame to the next (von Neumann, Annals of Mathematical Statistics 12, 1941). How shifts follow one
    another is left open.
    """
    limit = tuple(n // 2 for n in correlations.shape[1:])
    lit = light - light.mean()
    lit /= max(np.sqrt(np.square(lit).sum()), 1e-30)
    highest = max(float(np.median(correlations.max(axis=(1, 2)))), FAINT)
    found = Expected(highest, np.zeros(2), np.maximum(limit, 1) / 2)
    for _ in range(UPDATES):
        probability = found.probability(limit)
        shares = likelihoods(correlations, found.weight)
        shares *= probability.astype(shares.dtype)
        shares /= shares.sum(axis=(1, 2), keepdims=True)
        heights = (shares * correlations).sum(axis=(1, 2))
        height = max(float(heights.mean()), FAINT)
        variance = float((shares * np.square(correlations)).sum(axis=(1, 2)).mean() - np.square(heights).mean())
        variance += float(np.square(np.diff(heights - heights @ lit * lit)).sum()) / max(
            2 * len(heights) - 2, 1
        )
        usual = shares.sum(axis=0) * (1 - ANYWHERE) * found.usual(limit) / probability
        middle, squares = moments(usual / usual.sum())
        weight = height / max(variance, 1)
        found = Expected(weight, middle, np.sqrt(squares - np.square(middle) + np.square(LEAST)))
    return found


def likelihoods(correlations: np.ndarray, weight: float) -> np.ndarray:
    """Of shifts (n, ny, nx), the largest 1; see `Expected`."""
    found = weight * (correlations - correlations.max(axis=(1, 2), keepdims=True))
    return np.exp(found, out=found)


def moments(shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean shift (..., 2) px and mean squares (..., 2), from probabilities of shifts (..., ny, nx)."""
    along = [shares.sum(axis=axis) for axis in (-1, -2)]
    mean, squares = (
        np.stack([(each * _places(each.shape[-1] // 2) ** n).sum(axis=-1) for each in along], axis=-1)
        for n in (1, 2)
    )
    return mean, squares


def _places(most: int) -> np.ndarray:
    return np.arange(-most, most + 1)
