"""Samples that show oblique stripes, a grid or fringes: these are found by whole-frame shifts, before all else.

The network is held by them more than whole-frame shifts are, and what holds motion is mistaken for the scene.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from moco_dl.blocks import repeated
from moco_dl.network import STRIDE
from moco_dl.reference import centred
from moco_dl.sampled.fringes import are_in_place, evened, halved, may_hold
from moco_dl.sampled.pattern import Pattern, fixed_pattern
from moco_dl.sampled.sample_shifts import whole_shifts
from moco_dl.sampled.samples import Samples
from moco_dl.sampled.sampling import RigidFit
from moco_dl.view import View

PASSES = 3  # in which they are estimated, each time with better shifts
EVENED = 3  # in which shifts are freed of them, each time with a better reference
UNSURE = 0.2  # of the variance of such shifts: if more is by chance, chance blurs what moves with the tissue
LEAST = 0.15  # px, so much of which does not


class Cleared(NamedTuple):
    """Samples less a pattern."""

    pattern: Pattern | None  # None: they are as they were
    samples: Samples
    small: Samples  # averaged over `View.factor` pixels a side
    rigid: RigidFit  # these, registered


def without_fringes(view: View, fit: Callable[[Samples], RigidFit], cleared: Cleared) -> Cleared:
    """Samples, less oblique stripes and the like if they show any; `fit` registers `small` ones anew."""
    for _ in range(PASSES):
        shifts, reference = _shifts(view, cleared)
        some = cleared.small.only(cleared.rigid.some)
        if cleared.pattern is None and not are_in_place(some, shifts, reference):
            break
        pattern = _found(view, cleared, shifts, reference)
        if pattern is None:
            break
        samples = replace(cleared.samples, pattern=pattern.image)
        small = replace(cleared.small, pattern=view.smaller(pattern.image))
        cleared = Cleared(pattern, samples, small, fit(small))
    return cleared


def _shifts(view: View, cleared: Cleared) -> tuple[np.ndarray, np.ndarray]:
    """Shifts (n, 2) px of small samples that are registered, and a reference (h, w) made of these.

    If a few frequencies may hold them, they are found anew, to which all frequencies contribute alike, unless
    these tell too little.
    """
    rigid, some = cleared.rigid, cleared.small.only(cleared.rigid.some)
    shifts, reference = rigid.shifts, rigid.reference
    if not may_hold(reference):
        return shifts, reference
    for _ in range(EVENED):
        motion = centred(whole_shifts(some, view.rigid_estimator(evened(reference)), view.mapping))
        shifts, reference = motion[:, :, 0, 0], view.build_reference_at(some, motion, reference)[0]
    return (shifts, reference) if _are_sure(view, some, shifts, reference) else (rigid.shifts, rigid.reference)


def _are_sure(view: View, samples: Samples, shifts: np.ndarray, reference: np.ndarray) -> bool:
    """Whether little of the `shifts` (n, 2) px that an evened `reference` (h, w) shows is by chance.

    Two halves of its frequencies tell of them apart, for every other sample by what those between show: what a
    frame has in a reference by chance would hold it where it was put.
    """
    if len(samples) < 2:
        return False
    turn, found = np.arange(len(samples)) % 2, np.zeros((2, *shifts.shape))
    for these in (turn == 0, turn == 1):
        shown = view.build_reference_at(samples.only(~these), shifts[~these, :, None, None], reference)[0]
        for half, part in enumerate(halved(evened(shown))):
            apart = centred(whole_shifts(samples.only(these), view.rigid_estimator(part), view.mapping))
            found[half, these] = apart[:, :, 0, 0]
    chance, whole = (found[0] - found[1]) / 2, shifts - shifts.mean(axis=0)
    least = len(shifts) * LEAST**2 * np.eye(2)
    return bool(
        np.linalg.eigvals(np.linalg.solve(whole.T @ whole + least, chance.T @ chance)).real.max() < UNSURE
    )


def _found(view: View, cleared: Cleared, shifts: np.ndarray, reference: np.ndarray) -> Pattern | None:
    """Pattern of samples that move by `shifts` (n, 2) of small ones, if motion is another without it."""
    height, width = view.movie.shape[1:]
    some, motion = cleared.samples.only(cleared.rigid.some), view.factor * shifts[:, :, None, None]
    first = repeated(reference, view.factor, (height, width))
    seen = view.build_reference_at(some, motion, first)[0]
    motion = np.tile(motion.astype(np.float32), (1, 1, -(-height // STRIDE), -(-width // STRIDE)))
    pattern = fixed_pattern(replace(some, motion=motion), seen, view.mapping, cleared.pattern, fringed=True)
    if pattern is None or not pattern.differs(None, seen):
        return None
    return None if pattern.grain and not pattern.fringes else pattern
