"""Smoothing of the network's fields in time: tissue deforms smoothly, the error of each field is its own.

Only the non-rigid part is smoothed here; rigid jitter is frame by frame and stays. The window is a Gaussian of
fourth order (Wand and Schucany, Canadian J. Statistics 18, 1990), which leaves the motion as it is up to third
powers of time. Its width is chosen for each movie from its own fields by leave-one-out cross-validation.
"""

from dataclasses import replace
from math import ceil

import numpy as np

from moco_dl.motion import run_slices
from moco_dl.stream import Batch, Messages, messages_of, surroundings

WIDTHS = (0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0, 11.0)  # frames, sigmas to choose from
REACH = 3.0  # sigmas at which the window ends
CACHED = 4096  # values of a frame that are added up at a time, so that those of a window stay in the cache
LEAST = 0.5  # sum of a frame's weights, over its own
LEAST_OF_OTHERS = 0.1  # the same of a frame that has no flow of its own


def choose_width(flow: np.ndarray, runs: np.ndarray) -> float:
    """Sigma in frames that predicts each field best from its neighbours; 0 if there are none.

    `flow` (n, 2, h, w) holds non-rigid fields, `runs` (n,) the number of the run of consecutive frames that
    each belongs to. For a linear smoother with weights S the leave-one-out error of frame t is
    `(f_t - (S f)_t) / (1 - S_tt)` (Wahba, Spline Models for Observational Data, 1990, section 4.2).
    """
    series = [flow[run].reshape(run.stop - run.start, -1) for run in run_slices(runs)]
    long = [s for s in series if len(s) > 2]
    if not long:
        return 0.0
    products = {}  # of what a run's frames hold, added over all runs of the same length
    for s in long:
        products[len(s)] = products.get(len(s), 0.0) + (s @ s.T).astype(np.float64)
    errors = [sum(_left_out_error(p, sigma) for p in products.values()) for sigma in WIDTHS]
    return WIDTHS[int(np.argmin(errors))]


def _left_out_error(products: np.ndarray, sigma: float) -> float:
    """Sum of squares, of series of T values; `products` (T, T) of these, each with each."""
    time = np.arange(len(products))
    apart = np.abs(time[:, None] - time)
    weights = np.where(apart > max(1, ceil(REACH * sigma)), 0, _window(apart, sigma))
    weights /= weights.sum(axis=1, keepdims=True)
    left = (np.eye(len(time)) - weights) / (1 - np.diag(weights))[:, None]
    return float(np.sum((left @ products) * left))


def _weights(sigma: float) -> np.ndarray:
    """(2 reach + 1,) float32, of any sum; one alone for no smoothing."""
    reach = ceil(REACH * sigma)
    return _window(np.arange(-reach, reach + 1), max(sigma, 1e-6)).astype(np.float32)


def _window(distance: np.ndarray, sigma: float) -> np.ndarray:
    square = (distance / sigma) ** 2
    return (1.5 - 0.5 * square) * np.exp(-0.5 * square)


class Smoothing:
    """Smooths flow over `sigma` frames.

    The mean of each flow is handed over to `rigid`. What smoothing takes away of each row's mean is kept as
    `rows`: a scanner takes row after row, so that fast motion differs from row to row and from frame to frame.
    Flagged frames neither give nor take, `unseen` ones only take. The result does not depend on how frames are
    batched.
    """

    def __init__(self, sigma: float):
        self._weights = _weights(sigma)
        self.reach = len(self._weights) // 2

    def announce(self, batch: Batch) -> tuple[Batch, Messages]:
        """See `Filter`."""
        return batch, messages_of(batch, _known(batch), batch.motion.flow)

    def __call__(self, batch: Batch, flows: Messages) -> Batch:
        """`batch` with smoothed flow."""
        own, known = batch.motion.flow, _known(batch)
        near, there = surroundings(batch.numbers, self.reach, flows, np.zeros_like(own[0]))
        flow = _windowed(near.reshape(len(near), -1), self._weights).reshape(own.shape)
        total = _windowed(there[:, None].astype(np.float32), self._weights)[:, 0]
        # Too little around it: the window's negative rims would outweigh it.
        enough = total >= np.where(known, LEAST, LEAST_OF_OTHERS) * self._weights[self.reach]
        flow[enough] /= total[enough, None, None, None]
        flow[~enough] = own[~enough]
        flow[batch.motion.flagged] = 0
        mean = flow.mean(axis=(2, 3))
        flow -= mean[:, :, None, None]
        kept = np.where(known[:, None], own.mean(axis=(2, 3)), mean)
        rows = (own - flow).mean(axis=3) - kept[..., None]
        rows[~known] = 0
        rigid = batch.motion.rigid + kept
        return replace(batch, motion=replace(batch.motion, rigid=rigid, flow=flow, rows=rows, unseen=None))


def _windowed(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted sums over windows of values (n + k - 1, m), for k weights: (n, m).

    Each for itself: a product of matrices would be rounded by how many there are.
    """
    count, columns = len(values) - len(weights) + 1, values.shape[1]
    found = np.empty((count, columns), values.dtype)
    for start in range(0, columns, CACHED):
        part = slice(start, start + CACHED)
        for window in range(count):
            found[window, part] = weights @ values[window : window + len(weights), part]
    return found


def _known(batch: Batch) -> np.ndarray:
    """(n,) bool: frames whose flow is known."""
    known = ~batch.motion.flagged
    return known if batch.motion.unseen is None else known & ~batch.motion.unseen
