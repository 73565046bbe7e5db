"""Light that whole rows have in common and that comes and goes: of stimulation, or stripes of interference.

A scanner takes row after row. What happens meanwhile lies on some rows of one frame and on others of the next,
perhaps far brighter than tissue, and would be taken for what moves.
"""

import numpy as np

from moco_dl.sampled.samples import Samples

WANDER = 0.2  # of the variance along rows, that levels of neighbours differ by: most tissue makes up to 0.015
BLOCKS = 4  # of columns
SHARED = 0.9  # of that, in all of them alike: layers and fibres along rows make up to 0.88
GLANCED = 32  # samples, that show the variance along rows
EXPLAINED = 0.5  # times as much is left of that where it is the tissue that moves


def levels_wander(samples: Samples) -> bool:
    """Whether rows differ from their neighbours in some frames, but not in others, by more than in tissue.

    And alike along all of a row.
    """
    if len(samples) < 2:
        return False
    seen, noise = _detail(samples)
    parts = [[_levels(part) for part in np.array_split(frames, BLOCKS, axis=2)] for frames in samples.chunks()]
    parts = np.concatenate(parts, axis=1)  # (BLOCKS, n, H)
    alone = np.mean([_steps(levels) for levels in parts]) - BLOCKS * noise
    whole = _steps(parts.mean(axis=0)) - noise
    alike = (BLOCKS * whole - alone) / (BLOCKS - 1)
    return bool(whole > WANDER * seen and alike > SHARED * alone)


def _detail(samples: Samples) -> tuple[float, float]:
    """Variance along rows that samples share; and variance of a row's level, as pixels differ along it."""
    some, halves, noise = samples.glanced(GLANCED), [], 0.0
    for which in (some[::2], some[1::2]):
        details = np.nan_to_num(which - _levels(which)[..., None].astype(np.float32))
        halves.append(details.mean(axis=0, dtype=np.float64))
        noise += np.square(details).mean(dtype=np.float64) / 2 / details.shape[2]
    return max(float((halves[0] * halves[1]).mean()), noise), noise


def levels_follow(samples: Samples, shifts: np.ndarray) -> bool:
    """Whether levels of rows differ as they do because the tissue has `shifts` (n, 2) px."""
    levels, (_, noise) = _levels_of(samples), _detail(samples)
    moved = np.full_like(levels, np.nan)
    for found, left, shift in zip(levels, moved, -shifts[:, 0].round().astype(int), strict=True):
        here = slice(max(shift, 0), len(found) + min(shift, 0))
        left[here] = found[here.start - shift : here.stop - shift]
    return bool(_steps(moved) - noise < EXPLAINED * (_steps(levels) - noise))


def usual_levels(samples: Samples) -> np.ndarray:
    """(H,) float32: how much brighter each row is than most are, as a rule."""
    levels = _levels_of(samples)
    return np.nan_to_num(known_median(levels - known_median(levels, 1), 0)[0]).astype(np.float32)


def levelled(frames: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """Frames (n, H, W) with rows as bright as is `usual` (H,), over the brightness of each; floats."""
    found = _levels(frames) - usual
    found = np.nan_to_num(found - known_median(found, 1)).astype(np.float32)
    return frames - found[..., None]


def _levels_of(samples: Samples) -> np.ndarray:
    return np.concatenate([_levels(frames) for frames in samples.chunks()])


def _levels(frames: np.ndarray) -> np.ndarray:
    """(n, H) means of rows of frames (n, H, W), in double precision; NaN where nothing is known."""
    with np.errstate(invalid="ignore"):
        found = frames.mean(axis=2, dtype=np.float64)
    for frame, means in zip(frames, found, strict=True):
        if not np.isfinite(means).all():
            known = np.isfinite(frame)
            total, count = np.where(known, frame, 0).sum(axis=1, dtype=np.float64), known.sum(axis=1)
            np.divide(total, count, out=means, where=count > 0)
            means[count == 0] = np.nan
    return found


def known_median(values: np.ndarray, axis: int) -> np.ndarray:
    """Median along an axis, which is kept, of what is known; 0 where nothing is."""
    some = np.isfinite(values).any(axis=axis, keepdims=True)
    return np.nanmedian(np.where(some, values, 0), axis=axis, keepdims=True)


def _steps(levels: np.ndarray) -> float:
    """Half the mean square by which levels (n, H) of neighbours differ otherwise than they usually do."""
    squares = np.square(np.diff(levels - known_median(levels, 0), axis=1))
    known = np.isfinite(squares)
    return float(squares[known].mean()) / 2 if known.any() else 0.0
