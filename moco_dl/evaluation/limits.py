"""How many pixels lie at the least or the greatest value of a movie: many do once it has been clipped."""

import numpy as np


class Limits:
    """Counts over frames (H, W). Only their middle counts: tools fill the edges with a value of their own."""

    def __init__(self, size: tuple[int, int]):
        self.part = tuple(slice(side // 4, side - side // 4) for side in size)
        self.values, self.counts, self.total = [np.inf, -np.inf], [0, 0], 0

    def add(self, frame: np.ndarray) -> None:
        """Another frame (H, W); pixels that are not finite do not count."""
        middle = frame[self.part]
        known = middle[np.isfinite(middle)]
        if known.size == 0:
            return
        self.total += known.size
        for i, (value, outer) in enumerate(((known.min(), min), (known.max(), max))):
            if outer(value, self.values[i]) != self.values[i]:
                self.values[i], self.counts[i] = value, 0
            if value == self.values[i]:
                self.counts[i] += int(np.count_nonzero(known == value))

    @property
    def share(self) -> float:
        """Of all pixels that counted, from 0 to 1; NaN if none did."""
        return sum(self.counts) / self.total if self.total else np.nan
