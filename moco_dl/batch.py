"""What flows through the stream: a few consecutive frames and their motion."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

GAP = 10_000  # frames, farther than anything reaches


@dataclass(frozen=True)
class Motion:
    """Displacement of n frames: `rigid` plus `flow` interpolated from its coarse grid (see `fields.py`).

    While it is being estimated, what differs from row to row stands apart in `rows`.
    """

    rigid: np.ndarray  # (n, 2) float32 px, the mean displacement
    flow: np.ndarray  # (n, 2, h, w) px, the rest; float32, or float16 once it is quantised as it is stored
    flagged: np.ndarray  # (n,) bool: not judged, identity
    rows: np.ndarray | None = None  # (n, 2, h) float32 px, or None: part of flow

    def total(self) -> np.ndarray:
        """(n, 2, h, w): all parts added."""
        rows = 0 if self.rows is None else self.rows[..., None]
        return self.rigid[:, :, None, None] + self.flow + rows

    def merged(self, dtype: np.dtype) -> "Motion":
        """The same with `rows` put into `flow`, which gets this dtype."""
        flow = self.flow if self.rows is None else self.flow + self.rows[..., None]
        return Motion(self.rigid, flow.astype(dtype), self.flagged)

    def stored(self) -> dict[str, np.ndarray]:
        """What a field file holds of merged motion."""
        return {"rigid": self.rigid, "flow": self.flow, "flagged": self.flagged}


@dataclass(frozen=True)
class Batch:
    """Frames `start`... of a movie, (n, H, W), and their motion."""

    start: int
    frames: np.ndarray
    motion: Motion

    @property
    def stop(self) -> int:
        return self.start + len(self.frames)

    def part(self, chosen: slice) -> "Batch":
        """Some of the frames, numbered as if they were consecutive."""
        arrays = {name: x if x is None else x[chosen] for name, x in vars(self.motion).items()}
        return Batch(self.start, self.frames[chosen], Motion(**arrays))


def runs_apart(batch: Batch, runs: np.ndarray) -> Iterator[Batch]:
    """A batch for each run of consecutive frames; `runs` (n,) says which. Numbers tell that they lie apart."""
    for number, run in enumerate(np.unique(runs)):
        first, last = np.searchsorted(runs, (run, run + 1))
        yield replace(batch.part(slice(first, last)), start=GAP * number)
