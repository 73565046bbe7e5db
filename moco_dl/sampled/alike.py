"""How well registered samples agree, part of the frame by part.

A bright body that crosses the view may tell more than the scene behind it, and frames be shifted as it moves.
But it is in few parts of the frame, and all others disagree then.
"""

from collections.abc import Callable

import numpy as np

from moco_dl.agreement import agreement_of_parts
from moco_dl.reference import divided, summed
from moco_dl.sampled.samples import Move, Samples, chunks

SEEN = 0.5  # of the samples, at least, in which a pixel is seen that is compared


def mean_agreement(samples: Samples, shifts: np.ndarray, move: Move, mapping: Callable = map) -> float:
    """Mean correlation of parts of each of n samples with the mean of all others, moved by shifts (n, 2) px.

    By whole px, as interpolation would take noise away from some. Parts count by what is seen of them, whatever
    their contrast.
    """
    motion = np.rint(shifts)[:, :, None, None]
    total, count = summed(samples, motion, move)
    usual = count >= SEEN * len(samples)

    def compared(places: np.ndarray) -> tuple[float, int]:
        moved = move(samples[places], motion[places])
        known = np.isfinite(moved)
        values = np.where(known, moved, 0)
        others = [divided(*rest) for rest in zip(total - values, count - known, strict=True)]
        pairs = zip(values, others, usual & known & (count > 1), strict=True)
        return tuple(sum(each) for each in zip(*(agreement_of_parts(*pair) for pair in pairs), strict=True))

    found, seen = zip(*mapping(compared, chunks(np.arange(len(samples)))), strict=True)
    return sum(found) / max(sum(seen), 1)
