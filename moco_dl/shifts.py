"""How far whole frames are expected to move, where a frame alone does not tell.

In very dim movies noise correlates with the reference as well as the scene does, and the highest peak of a
correlation may lie anywhere. But all frames together show how far they usually are from the reference.
"""

from dataclasses import dataclass, replace

import numpy as np

UPDATES = 30
ANYWHERE = 0.05  # of the frames, which may have moved by any shift that is allowed
LEAST = 0.5  # px, spread along either axis
FAINT = 0.5  # standard deviations, least height of a peak
LOST = 3.5  # standard deviations: peaks that are lower hardly show where a frame is, and nor does what follows


@dataclass(frozen=True)
class Expected:
    """Shifts are normally distributed, but for a few that may be any."""

    height: float  # of a frame's peak, in standard deviations of its correlations
    middle: np.ndarray  # (2,) px, in y and in x
    spread: np.ndarray  # (2,) px
    unsure: float = 0.0  # px, root mean square by which shifts that are found in this way are off

    def times(self, factor: float) -> "Expected":
        """The same in pixels that are so many times smaller."""
        return replace(self, **{name: factor * getattr(self, name) for name in ("middle", "spread", "unsure")})

    @property
    def lost(self) -> float:
        """px by which fields may be off, as frames hardly show where they are; 0: they do."""
        return self.unsure if self.height < LOST else 0.0

    def log_probability(self, limit: tuple[int, int]) -> np.ndarray:
        """(2 my + 1, 2 mx + 1) of shifts by whole pixels up to `limit` (my, mx)."""
        usual = self.usual(limit)
        return np.log((1 - ANYWHERE) * usual + ANYWHERE / usual.size)

    def usual(self, limit: tuple[int, int]) -> np.ndarray:
        """The same of those that are normally distributed, not its logarithm."""
        y, x = (
            np.exp(-0.5 * np.square((np.arange(-most, most + 1) - middle) / spread))
            for most, middle, spread in zip(limit, self.middle, self.spread, strict=True)
        )
        return np.outer(y, x) / max(y.sum() * x.sum(), 1e-30)


@dataclass(frozen=True)
class Allowed:
    """Shifts that whole frames may have."""

    most: float  # px, in y and in x
    expected: Expected | None = None  # None: any alike

    def times(self, factor: float) -> "Allowed":
        """The same in pixels that are so many times smaller."""
        return Allowed(factor * self.most, self.expected and self.expected.times(factor))


def measure_expected(correlations: np.ndarray) -> Expected:
    """From correlations of n frames (n, 2 my + 1, 2 mx + 1), each in its standard deviations, at all shifts.

    By expectation maximisation (Dempster, Laird and Rubin, J. R. Stat. Soc. B 39, 1977); noise is taken to be
    Gaussian, so that a frame is at a shift with a likelihood that grows exponentially with height times
    correlation.
    """
    limit = tuple(n // 2 for n in correlations.shape[1:])
    places = [np.arange(-most, most + 1) for most in limit]
    found = Expected(float(np.median(correlations.max(axis=(1, 2)))), np.zeros(2), np.maximum(limit, 1) / 2)
    for _ in range(UPDATES):
        log_probability = found.log_probability(limit)
        shares = found.height * correlations + log_probability.astype(correlations.dtype)
        shares -= shares.max(axis=(1, 2), keepdims=True)
        np.exp(shares, out=shares)
        shares /= shares.sum(axis=(1, 2), keepdims=True)
        height = max(float((shares * correlations).sum(axis=(1, 2)).mean()), FAINT)
        usual = shares.sum(axis=0) * (1 - ANYWHERE) * found.usual(limit) / np.exp(log_probability)
        squares, middle = _moments(usual / usual.sum(), places)
        found = Expected(height, middle, np.sqrt(squares - np.square(middle) + np.square(LEAST)))
    squares, middles = _moments(shares, places)
    return replace(found, unsure=float(np.sqrt((squares - np.square(middles)).clip(0).sum(axis=-1).mean())))


def _moments(shares: np.ndarray, places: list[np.ndarray]) -> tuple[np.ndarray, ...]:
    """Mean squares of the coordinates (..., 2), and their means, from shares (..., ny, nx) of pixels.

    `places` are the coordinates, in y and in x.
    """
    y, x = shares.sum(axis=-1), shares.sum(axis=-2)
    return tuple(np.stack((y @ places[0] ** n, x @ places[1] ** n), axis=-1) for n in (2, 1))
