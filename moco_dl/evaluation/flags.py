"""Frames that should not be trusted, and why."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

IMPLAUSIBLE = "implausible shift"  # what `jumps` finds

OUTLIER = 8.0  # robust standard deviations below the usual correlation; activity alone makes 5
LEAST = 0.02  # of correlation; smaller drops are never flagged
JUMP = 8.0  # times the usual distance from the neighbours' shift
LEAST_JUMP = 2.0  # px
NEIGHBOURS = 11  # frames, among them the frame itself


def drops(correlation: np.ndarray) -> np.ndarray:
    """`(T,)` bool: frames whose correlation is far below the usual; never those where it is NaN."""
    if not np.isfinite(correlation).any():
        return np.zeros(len(correlation), bool)
    typical, spread = _usual(correlation)
    return correlation < typical - OUTLIER * spread - LEAST


def rescued(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """`(T,)` bool: frames far below the usual correlation before, and among the usual ones after."""
    if not np.isfinite(after).any():
        return np.zeros(len(after), bool)
    typical, spread = _usual(after)
    return drops(before) & (after >= typical - 3 * spread - LEAST)


def _usual(correlation: np.ndarray) -> tuple[float, float]:
    typical = float(np.nanmedian(correlation))
    return typical, 1.4826 * float(np.nanmedian(np.abs(correlation - typical)))


def jumps(rigid: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """`(T,)` bool: shifts (T, 2) px far from those of the frames around after which the frame does not fit.

    `before`, `after` (T,): correlation with the reference. A jump that makes the frame fit is what the animal
    did; one that makes it fit worse, or leaves it far below the usual, is a mistake.
    """
    padded = np.pad(rigid, ((NEIGHBOURS // 2,) * 2, (0, 0)), mode="edge")
    around = np.median(sliding_window_view(padded, NEIGHBOURS, axis=0), axis=2)
    distance = np.hypot(*(rigid - around).T)
    far = distance > max(LEAST_JUMP, JUMP * float(np.median(distance)))
    return far & ((after <= before) | drops(after))
