"""What flows through the stream: a few consecutive frames and their motion."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Motion:
    """Displacement of n frames: `rigid` plus `flow` interpolated from its coarse grid (see `fields.py`)."""

    rigid: np.ndarray  # (n, 2) float32 px, the mean displacement
    flow: np.ndarray  # (n, 2, h, w) px, the rest; float32, or float16 once it is quantised as it is stored
    flagged: np.ndarray  # (n,) bool: not judged, identity


@dataclass(frozen=True)
class Batch:
    """Frames `start`... of a movie, (n, H, W), and their motion."""

    start: int
    frames: np.ndarray
    motion: Motion

    @property
    def stop(self) -> int:
        return self.start + len(self.frames)
