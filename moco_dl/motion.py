"""Motion of frames and the equations that they give for it; frames chosen, put together, and told apart."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

DOUBTFUL = 2.5  # times the usual misfit: a corrupt frame; unusual motion or activity stays far below

Arrays = TypeVar("Arrays")  # a dataclass of arrays (n, ...), or None


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
    misfit: np.ndarray | None = None  # (n,) float32, mean square difference from the reference over the usual
    brightness: np.ndarray | None = None  # (n,) of the reference's detail in them, 0: none; after the last step

    def total(self) -> np.ndarray:
        """(n, 2, h, w): all parts added."""
        rows = 0 if self.rows is None else self.rows[..., None]
        return self.rigid[:, :, None, None] + self.flow + rows

    @property
    def trusted(self) -> np.ndarray:
        """(n,) bool: frames that were judged and fit; after the last step."""
        return ~self.flagged & (self.misfit <= DOUBTFUL)

    def merged(self, dtype: np.dtype) -> "Motion":
        """The same with `rows` put into `flow`, which gets this dtype."""
        flow = self.flow if self.rows is None else self.flow + self.rows[..., None]
        return replace(self, flow=flow.astype(dtype), rows=None)

    def stored(self) -> dict[str, np.ndarray]:
        """What a field file holds of merged motion."""
        misfit = np.full(len(self.rigid), np.nan, np.float32) if self.misfit is None else self.misfit
        return {"rigid": self.rigid, "flow": self.flow, "flagged": self.flagged, "misfit": misfit}


@dataclass(frozen=True)
class Equations:
    """Normal equations of n frames in the 2 m unknowns of a Refiner, and how well the frames fit so far.

    Both right-hand sides are for the whole row motion and for what is left of the shift.
    """

    left: np.ndarray  # (n, 2 m) float64: right-hand sides for what is left of the tissue's displacement
    whole: np.ndarray  # (n, 2 m): for all of it
    misfit: np.ndarray  # (n,) float32: mean square difference from the reference, over the expected variance
    brightness: np.ndarray  # (n,) float32, of the reference's detail in each, 0: none
    soft: np.ndarray  # (n,) share of white noise's variance that moving left in each
    grain: np.ndarray  # (n, bands) of white noise in each, see `graininess`
    # (n, h, w) float32, share of each cell that the frame has no data for, where `whole` tells of the motion so
    # far; None: it tells of the most probable motion there.
    missing: np.ndarray | None = None


def concatenate(parts: Iterable[Arrays]) -> Arrays:
    """Motion, equations or samples of the frames of all parts."""
    first, *others = parts
    columns = {name: [x, *(getattr(part, name) for part in others)] for name, x in vars(first).items()}
    return type(first)(**{name: None if x[0] is None else np.concatenate(x) for name, x in columns.items()})


def take(whole: Arrays, which: slice | np.ndarray) -> Arrays:
    """Motion, equations or samples of some frames."""
    return type(whole)(**{name: None if x is None else x[which] for name, x in vars(whole).items()})


def run_slices(runs: np.ndarray) -> list[slice]:
    """Where each run is; `runs` (n,) says which a frame belongs to."""
    starts = np.flatnonzero(np.diff(runs, prepend=runs[0] - 1)).tolist()
    return [slice(*ends) for ends in zip(starts, [*starts[1:], len(runs)], strict=True)]


def closed_up(numbers: np.ndarray, reach: int) -> np.ndarray:
    """Places (n,), from 0, of frames of increasing numbers (n,); long gaps are `reach` frames long."""
    return np.cumsum(np.minimum(np.diff(numbers, prepend=numbers[0]), reach + 1))
