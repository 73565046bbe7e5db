"""Fibres so strong that nothing is seen to move behind them.

All frames are alike then, as those of tissue that rests. Without the detail of their mean, what rests shows
nothing clear any more, but what moves behind fibres does.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from moco_dl.sampled.inplace import mean_of
from moco_dl.sampled.samples import Samples

LOOKED_AT = 32  # samples
STILL = 0.3  # px, spread of shifts up to which nothing is seen to move
MOVING = 1.0  # px, the same without the detail, from which on something is
FARTHER = 4.0  # times as far as it is with it: motion that is seen as it is makes up to 2.8
AGREE = 0.85  # correlation of shifts in both halves of frames: where nothing moves, it is up to 0.65
SMOOTH = 4.0  # px, sigma of a Gaussian that leaves no detail

Shifts = Callable[[Samples, np.ndarray], np.ndarray]  # (n samples, reference (h, w)) -> (n, 2, 1, 1) px


def detail_of(samples: Samples) -> np.ndarray:
    """Detail (H, W) float32 of the mean of samples."""
    mean = mean_of(samples, len(samples))
    mean = np.where(np.isfinite(mean), mean, np.nanmean(mean))
    frequency = np.hypot(np.fft.fftfreq(mean.shape[0])[:, None], np.fft.rfftfreq(mean.shape[1]))
    kept = 1 - np.exp(-0.5 * np.square(2 * np.pi * SMOOTH * frequency))
    return np.fft.irfft2(kept * np.fft.rfft2(mean), s=mean.shape).astype(np.float32)


def hide_motion(
    samples: Samples,
    usual: np.ndarray,
    rigidly: Callable[[Samples], tuple[np.ndarray, np.ndarray]],
    shifts: Shifts,
) -> bool:
    """Whether fibres hide how samples move, whose `usual` shifts (n, 2) px are known.

    Where they are not: nothing is seen to move, but something is without what samples show together in detail,
    and it moves alike in both halves of frames. `rigidly` makes a reference of samples and registers them.
    """
    if usual.std() > STILL:
        return False
    some = samples.glanced(LOOKED_AT)
    some = replace(some, pattern=detail_of(some))
    reference, found = rigidly(some)
    if found.std() < max(MOVING, FARTHER * usual.std()):
        return False
    frames, middle = some[np.arange(len(some))], reference.shape[1] // 2
    in_halves = [
        shifts(
            replace(
                some, frames=np.ascontiguousarray(frames[:, :, half]), places=np.arange(len(some)), pattern=None
            ),
            np.ascontiguousarray(reference[:, half]),
        )
        for half in (slice(middle), slice(middle, None))
    ]
    left, right = (each[:, :, 0, 0] - each.mean(axis=0)[:, 0, 0] for each in in_halves)
    return bool((left * right).sum() > AGREE * np.sqrt(np.square(left).sum() * np.square(right).sum()))
