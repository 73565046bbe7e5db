"""What flows through the stream: a few consecutive frames and their motion."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

DOUBTFUL = 2.5  # times the usual misfit: a corrupt frame; unusual motion or activity stays far below
GAP = 10_000  # frames, farther than anything reaches


@dataclass(frozen=True)
class Motion:
    """Displacement of n frames: `rigid` plus `flow` interpolated from its coarse grid (see `fields.py`).

    While it is being estimated, what differs from row to row stands apart in `rows`.
    """

    rigid: np.ndarray  # (n, 2) float32 px, in the end the mean displacement
    flow: np.ndarray  # (n, 2, h, w) px, the rest; float32, or float16 once it is quantised as it is stored
    flagged: np.ndarray  # (n,) bool: not judged, identity
    rows: np.ndarray | None = None  # (n, 2, h) float32 px, or None: part of flow
    unseen: np.ndarray | None = None  # (n,) bool: flow is not known yet, and zero; None: all are known
    misfit: np.ndarray | None = None  # (n,) float32, difference from the reference over the usual one

    def total(self) -> np.ndarray:
        """(n, 2, h, w): all parts added."""
        rows = 0 if self.rows is None else self.rows[..., None]
        return self.rigid[:, :, None, None] + self.flow + rows

    def merged(self, dtype: np.dtype) -> "Motion":
        """The same with `rows` put into `flow`, which gets this dtype."""
        flow = self.flow if self.rows is None else self.flow + self.rows[..., None]
        return replace(self, flow=flow.astype(dtype), rows=None)

    def stored(self) -> dict[str, np.ndarray]:
        """What a field file holds of merged motion."""
        misfit = np.full(len(self.rigid), np.nan, np.float32) if self.misfit is None else self.misfit
        return {"rigid": self.rigid, "flow": self.flow, "flagged": self.flagged, "misfit": misfit}


@dataclass(frozen=True)
class Batch:
    """Frames `start`... of a movie, (n, H, W), and their motion."""

    start: int
    frames: np.ndarray
    motion: Motion
    seen: object = None  # what was noted of corrected frames, see `Corrector.batches`

    @property
    def stop(self) -> int:
        return self.start + len(self.frames)

    def part(self, chosen: slice) -> "Batch":
        """Some of the frames, numbered as if they were consecutive."""
        arrays = {name: x if x is None else x[chosen] for name, x in vars(self.motion).items()}
        return Batch(self.start, self.frames[chosen], Motion(**arrays))


@dataclass(frozen=True)
class Equations:
    """Normal equations of n frames in the 2 m unknowns of a Refiner, and how well the frames fit so far.

    Both right-hand sides are for the whole row motion and for what is left of the shift.
    """

    left: np.ndarray  # (n, 2 m) float64: right-hand sides for what is left of the tissue's displacement
    seen: np.ndarray  # (n, 2 m): for all of it
    misfit: np.ndarray  # (n,) float32: mean square difference from the reference, over the expected variance


def joined(parts: Iterable[Equations]) -> Equations:
    """Equations of the frames of all parts."""
    columns = zip(*(vars(part).values() for part in parts), strict=True)
    return Equations(*map(np.concatenate, columns))


def runs_apart(batch: Batch, runs: np.ndarray) -> Iterator[Batch]:
    """A batch for each run of consecutive frames; `runs` (n,) says which. Numbers tell that they lie apart."""
    for number, run in enumerate(np.unique(runs)):
        first, last = np.searchsorted(runs, (run, run + 1))
        yield replace(batch.part(slice(first, last)), start=GAP * number)
