"""What is noted of every frame while a movie is corrected or compared: a few numbers, in order."""

from dataclasses import dataclass

import numpy as np

from moco_dl.evaluation.flags import IMPLAUSIBLE, drops, jumps
from moco_dl.evaluation.metrics import (
    correlations,
    interpolated,
    lengths,
    pixels_between,
    with_data,
)
from moco_dl.evaluation.results import Traces
from moco_dl.folding import jacobian
from moco_dl.masks import within
from moco_dl.motion import DOUBTFUL, Motion
from moco_dl.sampled.usable import why_unusable

LEAST_COMPARED = 0.1  # of a frame: if less shows tissue at any time, all of it is
OF_FIELDS = ("dy", "dx", "nonrigid_mean", "nonrigid_max", "folded", "interpolated", "misfit")


def not_compared(hidden: np.ndarray, reach: int) -> np.ndarray | None:
    """(H, W) bool: where frames, moved by up to `reach` px, may show what is `hidden`; None: compare all."""
    if not hidden.any():
        return None
    found = within(hidden, reach)
    return found if found.mean() <= 1 - LEAST_COMPARED else None


@dataclass(frozen=True)
class FrameNotes:
    """What is noted of the frames `start`... of a movie."""

    start: int
    values: dict[str, np.ndarray]  # (n,) float32 each
    reasons: tuple[str, ...]  # n words, "" for frames that can be judged
    # (first, last) pixels with data, (n, 2, h, w) each, see `with_data`; None: no fields
    shown: tuple[np.ndarray, np.ndarray] | None


class Watch:
    """Numbers of every frame of one movie, (T, H, W), beside its correction.

    `look` changes nothing and may run in any thread; `add` takes what it returns.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        reference: np.ndarray,
        stride: int | None,
        left_out: np.ndarray | None,
    ):
        """`reference` (H, W), compared but where it is `left_out` (H, W); `stride` px of the fields' grid, None
        if no fields are known."""
        self.shape, self.reference, self.stride = shape, reference.astype(np.float32), stride
        if left_out is not None:
            self.reference[left_out] = np.nan
        names = ("before", "after", *(OF_FIELDS if stride else ()))
        self.values = {name: np.full(shape[0], np.nan, np.float32) for name in names}
        self.reasons = [""] * shape[0]
        self.pixels = 0  # with data, in all frames together
        self.always = -np.inf, np.inf  # (first, last) pixels with data in each of them, see `with_data`

    def look(self, start: int, raw: np.ndarray, corrected: np.ndarray, motion: Motion | None) -> FrameNotes:
        """Frames `start`... before and after, (n, H, W), and what was applied to them."""
        reasons = tuple(_reason(*pair) for pair in zip(raw, corrected, strict=True))
        if motion is not None:  # what frames suggest may be beyond reckoning, too
            pairs = zip(reasons, motion.flagged, strict=True)
            reasons = tuple(word or ("extreme" if flagged else "") for word, flagged in pairs)
        values = {name: np.full(len(raw), np.nan, np.float32) for name in self.values}
        judged = np.array([not word for word in reasons])
        for name, frames in (("before", raw), ("after", corrected)):
            if judged.any():
                known = frames if judged.all() else frames[judged]  # indexing copies
                values[name][judged] = correlations(known, self.reference)
        shown = None if motion is None else self._fields(motion, values)
        return FrameNotes(start, values, reasons, shown)

    def _fields(self, motion: Motion, values: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        flow = motion.flow.astype(np.float32)
        mean = flow.mean(axis=(2, 3))
        length = lengths(flow - mean[:, :, None, None])
        field = flow + motion.rigid[:, :, None, None]
        values["dy"][:], values["dx"][:] = (motion.rigid + mean).T
        values["nonrigid_mean"][:] = length.mean(axis=(1, 2))
        values["nonrigid_max"][:] = length.max(axis=(1, 2))
        values["folded"][:] = (jacobian(field, self.stride) <= 0).mean(axis=(1, 2, 3))
        values["interpolated"][:] = interpolated(field)
        if motion.misfit is not None:
            values["misfit"][:] = motion.misfit
        return with_data(field, self.stride, self.shape[1:])

    def add(self, notes: FrameNotes) -> None:
        """Keep what was noted."""
        part = slice(notes.start, notes.start + len(notes.reasons))
        for name, values in notes.values.items():
            self.values[name][part] = values
        self.reasons[part] = notes.reasons
        if notes.shown is not None:
            (first, last), (latest, earliest) = notes.shown, self.always
            self.pixels += int(pixels_between(first, last).sum())
            self.always = np.maximum(latest, first.max(axis=0)), np.minimum(earliest, last.min(axis=0))

    def traces(self) -> Traces:
        """All values, and flags for frames that stand out; see `flags.py`."""
        before, after = self.values["before"], self.values["after"]
        marked = {"low correlation": drops(after)}
        rigid = None
        if self.stride:
            rigid = np.stack([self.values["dy"], self.values["dx"]], axis=1)
            marked[IMPLAUSIBLE] = jumps(rigid, before, after)
            marked["poor fit"] = self.values["misfit"] > DOUBTFUL
            marked["folded field"] = self.values["folded"] > 0
        flags = tuple(
            ((word,) if word else ()) + tuple(name for name, where in marked.items() if where[t] and not word)
            for t, word in enumerate(self.reasons)
        )
        nonrigid = [self.values.get(f"nonrigid_{name}") for name in ("mean", "max")]
        return Traces(before, after, rigid, *nonrigid, flags)


def _reason(raw: np.ndarray, corrected: np.ndarray) -> str:
    """Why a frame cannot be compared, or ""."""
    word = why_unusable(raw)
    if not word and (lost := why_unusable(corrected)):
        return f"{lost} when corrected"
    return word
