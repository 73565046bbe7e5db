"""Raw and corrected frames in, batch by batch; an `Evaluation` out. Memory does not grow with the movie."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from moco_dl.blocks import block_means, shrink
from moco_dl.evaluation.gaps import blank_gaps, filled
from moco_dl.evaluation.metrics import inner
from moco_dl.evaluation.moments import choose_moments, lines_of_most_detail, place_in
from moco_dl.evaluation.results import Evaluation, Excerpts, Pictures, Row
from moco_dl.evaluation.rows import Rows
from moco_dl.evaluation.tally import Tally
from moco_dl.evaluation.verdict import judge
from moco_dl.evaluation.watch import FrameNotes, Watch
from moco_dl.motion import Motion

FIELD_SIDE = 32  # samples on the longer side of fields that are kept


@dataclass(frozen=True)
class Observation:
    """What is to be summed of a batch."""

    notes: FrameNotes
    images: tuple[np.ndarray, np.ndarray]  # before, after: (n, H, W)
    small: dict[int, tuple[np.ndarray, np.ndarray]]  # frame number -> binned frame before, after
    fields: dict[int, np.ndarray]  # frame number -> (2, h, w) px
    rows: list[np.ndarray]  # see `Rows.look`


class Evaluator:
    """Streaming comparison of a movie (T, H, W) with its correction.

    `look` changes nothing and may run in any thread; `add` takes what it returns, in order.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        reference: np.ndarray,
        stride: int | None,
        *,
        given: bool = True,
        left_out: np.ndarray | None = None,
    ):
        """`reference` (H, W): what frames are compared with; `stride` px of the fields' grid, None without.

        `given` says that the reference is what frames were brought onto, or should have been; else it is only
        one of the mean images. What is `left_out` (H, W) bool is not compared.
        """
        self.given = given
        self.watch, self.moments = Watch(shape, reference, stride, left_out=left_out), choose_moments(shape)
        self.left_out = left_out
        self.places = lines_of_most_detail(self.watch.reference, inner(shape[1:]))
        self.tallies = tuple(Tally(shape, self.moments, self.places) for _ in range(2))
        self.rows = Rows(shape[1:])
        self.fields: dict[int, np.ndarray] = {}
        self.pool = max(1, -(-max(shape[1:]) // ((stride or 1) * FIELD_SIDE)))

    def look(
        self, start: int, raw: np.ndarray, corrected: np.ndarray, motion: Motion | None = None
    ) -> Observation:
        """Frames `start`... before and after, (n, H, W), and what was applied, if that is known."""
        notes = self.watch.look(start, raw, corrected, motion)
        raw, corrected = self._compared(raw), self._compared(corrected)
        small, fields, rows = {}, {}, []
        for i, word in enumerate(notes.reasons):
            if not word and self.moments.needs_binned(start + i):
                pair = [filled(frames[i]) for frames in (raw, corrected)]
                small[start + i] = tuple(shrink(frame, (self.moments.factor,) * 2) for frame in pair)
                if place_in(self.moments.rows, start + i) is not None:
                    rows.append(self.rows.look(*pair))
            if motion is not None and place_in(self.moments.fields, start + i) is not None:
                field = motion.flow[i].astype(np.float32) + motion.rigid[i][:, None, None]
                fields[start + i] = block_means(field, (self.pool, self.pool))
        return Observation(notes, (raw, corrected), small, fields, rows)

    def _compared(self, frames: np.ndarray) -> np.ndarray:
        """Frames (n, H, W), NaN where they are left out."""
        return frames if self.left_out is None else np.where(self.left_out, np.float32(np.nan), frames)

    def add(self, observation: Observation) -> None:
        """Add an observation to the sums; batches come in order."""
        self.watch.add(observation.notes)
        self.fields |= observation.fields
        for each in observation.rows:
            self.rows.add(each)
        for tally, images, which in zip(self.tallies, observation.images, (0, 1), strict=True):
            for i, word in enumerate(observation.notes.reasons):
                t = observation.notes.start + i
                if not word:
                    tally.add(t, images[i], observation.small[t][which] if t in observation.small else None)

    def finish(self, provenance: dict, more: Sequence[Row] = ()) -> Evaluation:
        """The evaluation. `provenance`: see `Evaluation`; `more`: further lines of the table."""
        from moco_dl.evaluation.measure import measure
        from moco_dl.evaluation.table import build_table

        traces = self.watch.traces()
        figures = measure(self, traces)
        return Evaluation(
            shape=self.watch.shape,
            traces=traces,
            pictures=self._pictures(),
            excerpts=self._excerpts(),
            table=(*build_table(self, figures, traces), *more),
            verdict=judge(figures.evidence),
            provenance=provenance,
        )

    def _pictures(self) -> Pictures:
        means, pairs = [], []
        for tally in self.tallies:
            means.append(blank_gaps(tally.gaps, tally.mean))
            pairs.append(blank_gaps(tally.gaps, tally.pairs.image()))
        return Pictures(self.watch.reference, *means, *pairs)

    def _excerpts(self) -> Excerpts:
        before, after = self.tallies
        numbers = np.array(sorted(self.fields), int)
        fields = [self.fields[t] for t in numbers.tolist()]
        name = "row" if _gain(before.rows, after.rows) > _gain(before.columns, after.columns) else "column"
        lines = [tally.rows if name == "row" else tally.columns for tally in self.tallies]
        return Excerpts(
            preview_frames=self.moments.preview.starts,
            preview_before=before.preview_means,
            preview_after=after.preview_means,
            line=(name, self.places[name]),
            line_before=lines[0],
            line_after=lines[1],
            field_frames=numbers,
            fields=np.stack(fields) if fields else np.zeros((0, 2, 1, 1), np.float32),
            field_step=float(self.pool * (self.watch.stride or 1)),
        )


def _gain(before: np.ndarray, after: np.ndarray) -> float:
    """By how much of its variance a line (n, L) became steadier over time; 0 if that is unknown."""
    known = np.isfinite(before).all(axis=1) & np.isfinite(after).all(axis=1)
    if not known.any():
        return 0.0
    unsteady = [lines[known].var(axis=0).mean() / max(lines[known].var(), 1e-12) for lines in (before, after)]
    return float(unsteady[0] - unsteady[1])
