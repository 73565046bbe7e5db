"""What follows the last step: motion as it is told, each frame in the light of those around it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from moco_dl.stream import Batch, filter_batches
from moco_dl.tracking.prior import SHIFT
from moco_dl.tracking.risk import Errors
from moco_dl.tracking.steady import Steadiness
from moco_dl.tracking.strays import Strays
from moco_dl.tracking.trajectory import PathFilter


@dataclass(frozen=True)
class Finish:
    """What samples show of motion after the last step."""

    constant: np.ndarray  # px (2, h, w), taken off all flows: what they share, or where tissue in bouts rests
    share_told: float  # share of a small displacement that frames tell of in the last step
    errors: Errors  # of the last step's fields
    strays: Strays  # frames that show nothing of the scene
    trajectory: PathFilter | None = None  # of frames' paths; None: they stay as they are found
    steadiness: Steadiness = field(default_factory=Steadiness)  # of the whole frame's shift

    def shown(self, batch: Batch) -> Batch:
        """`batch` less the constant; frames without noise may be beyond reckoning, and are flagged then."""
        motion = batch.less(self.constant).motion
        within = np.abs(motion.total()) <= max(batch.frames.shape[1:])  # nor is what is not finite
        lost = motion.flagged | ~within.all(axis=(1, 2, 3))
        rigid = np.where(lost[:, None], 0, motion.rigid)
        rows, flow = motion.rows, motion.flow
        if lost.any():
            rows, flow = np.where(lost[:, None, None], 0, rows), np.where(lost[:, None, None, None], 0, flow)
        return replace(batch, motion=replace(motion, rigid=rigid, flow=flow, rows=rows, flagged=lost))

    def filtered(self, batches: Iterator[Batch], mapping: Callable) -> Iterator[Batch]:
        """Batches that are `shown`, in the light of one another; some frames late."""
        batches = filter_batches(batches, self.strays)
        if self.trajectory is not None:
            batches = filter_batches(batches, self.trajectory, mapping)
        if self.steadiness.shares is not None:
            batches = filter_batches(batches, self.steadiness)
        return batches

    @property
    def expected_error(self) -> np.ndarray:
        """(h, w) float32 px, see `Tracker.errors`.

        If frames tell of less than a displacement, then noise stands for more of it, and so does motion.
        """
        return self.errors.length(self.steadiness.removed) / self.share_told

    @property
    def untold(self) -> float:
        """Share of a shift that the last step leaves as it is, as frames do not tell of it."""
        return min(float(self.errors.mean.mean()) / SHIFT**2, 1.0)
