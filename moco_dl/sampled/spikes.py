"""Single pixels of a frame that show no light: a cosmic ray, a discharge, a number that has wrapped around.

One of them may outweigh all else that a frame shows. Hot pixels, which are there in all frames, are in
`pattern.py`.
"""

import numpy as np

SHARE = 0.1  # of a frame's variance, that one pixel of a cell never has
LINES = 8  # rows of which one is looked at first
LIMIT = 10.0  # standard deviations of the others, that are left of a spike
PASSES = 4  # in which spikes are looked for: the largest hide others


def without_spikes(frames: np.ndarray) -> np.ndarray:
    """Frames (n, H, W) with spikes clipped; as they are, if there are none."""
    with np.errstate(over="ignore", invalid="ignore"):  # of frames that cannot be judged
        spiked = [t for t, frame in enumerate(frames) if _may_have_spikes(frame)]
        if spiked:
            frames = frames.copy()
            for t in spiked:
                _clip(frames[t])
    return frames


def _may_have_spikes(frame: np.ndarray) -> bool:
    low, high, some = float(frame.min()), float(frame.max()), frame[::LINES].astype(np.float64)
    if not np.isfinite(high - low):
        known, some = frame[np.isfinite(frame)], some[np.isfinite(some)]
        if not len(known) or not len(some):
            return False
        low, high = float(known.min()), float(known.max())
    middle = some.mean()
    return max(high - middle, middle - low) > np.sqrt(SHARE * frame.size) * some.std()


def _clip(frame: np.ndarray) -> None:
    """Clip spikes of a frame (H, W) in place."""
    known = np.isfinite(frame)
    values = frame[known].astype(np.float64)
    spikes = np.zeros(len(values), bool)
    for _ in range(PASSES):
        middle, spread = values[~spikes].mean(), values[~spikes].std()
        more = np.abs(values - middle) > np.sqrt(SHARE * len(values)) * spread
        if spread == 0 or not (more & ~spikes).any():
            break
        spikes |= more
    if spread > 0:
        values[spikes] = values[spikes].clip(middle - LIMIT * spread, middle + LIMIT * spread)
        frame[known] = values
