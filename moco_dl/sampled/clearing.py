"""What frames are looked at without: what detector, scanner and stimulation have done to them."""

from dataclasses import dataclass, replace

import numpy as np

from moco_dl.sampled.edges import NONE, Edges, floats
from moco_dl.sampled.haze import Haze
from moco_dl.sampled.levels import levelled
from moco_dl.sampled.samples import less_pattern
from moco_dl.sampled.scan import straightened
from moco_dl.sampled.smear import Smear
from moco_dl.sampled.spikes import without_hot, without_spikes
from moco_dl.sampled.waves import Waves


@dataclass(frozen=True)
class Clearing:
    """What is taken off all frames of a movie, beside their spikes."""

    hot: np.ndarray | None = None  # (k,) pixels that are hot or dead; see `spikes.py`
    edges: Edges = NONE  # that show nothing
    lines: np.ndarray | None = None  # (H, W) float32 that columns and rows add to all frames; see `lines.py`
    usual: np.ndarray | None = None  # (H,) levels of rows, if these come and go; see `levels.py`
    waves: Waves | None = None  # of interference
    row_offset: int = 0  # px by which every other row lies to the right, see `scan.py`
    pattern: np.ndarray | None = None  # (H, W) float32 that adds to all frames, see `pattern.py`
    haze: Haze | None = None  # that stays in place
    smear: Smear | None = None  # of noise over neighbouring pixels

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Frames (n, H, W) as recorded -> as they are looked at: NaN where nothing is known, see `floats`."""
        frames = less_pattern(self.edges(without_spikes(without_hot(frames, self.hot))), self.lines)
        if self.disturbed:
            frames = floats(frames)
        if self.usual is not None:
            frames = levelled(frames, self.usual)
        if self.waves is not None:
            frames = self.waves(frames)
        frames = straightened(frames, self.row_offset)
        if self.haze is not None:
            frames = self.haze(frames)
        if self.smear is not None:
            frames = self.smear(frames)
        return less_pattern(frames, self.pattern)

    @property
    def disturbed(self) -> bool:
        """Whether light on rows, or waves, are taken off."""
        return self.usual is not None or self.waves is not None

    @property
    def floats(self) -> bool:
        """Whether frames become floats."""
        filtered = self.haze is not None or self.smear is not None
        return self.disturbed or bool(self.edges) or self.added is not None or filtered

    @property
    def added(self) -> np.ndarray | None:
        """(H, W) that a detector adds to all frames."""
        parts = [part for part in (self.lines, self.pattern) if part is not None]
        return sum(parts) if parts else None

    def as_recorded(self, reference: np.ndarray) -> np.ndarray:
        """A reference (H, W), of frames as they are looked at, as it is of frames as recorded."""
        if self.smear is not None:
            reference = self.smear.undone(reference)
        return reference if self.haze is None else reference + self.haze.light

    def of_given(self, reference: np.ndarray | None) -> tuple["Clearing", np.ndarray | None]:
        """The same for a reference (H, W) that is given, if any; and this, as frames are looked at."""
        if reference is None:
            return self, None
        haze = None if self.haze is None else self.haze.of(reference)
        looked_at = reference if haze is None else reference - haze.light
        if self.smear is not None:
            (looked_at,) = self.smear(looked_at[None])
        return replace(self, haze=haze), looked_at

    def hiding(self, more: np.ndarray) -> "Clearing":
        """The same without `more` (H, W) bool, of frames as they are looked at."""
        recorded = straightened(more[None], -self.row_offset)[0]
        return replace(self, edges=self.edges.hiding(recorded))
