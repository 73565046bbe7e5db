"""Frames, moved so far, compared with the reference: what they tell of the motion that is left."""

import math
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from moco_dl.batch import Batch, Equations
from moco_dl.device import sent
from moco_dl.infer import binned
from moco_dl.refine import Refiner
from moco_dl.warp import inside, places_coarse, sample

STEP = 0.2  # px of the compared images, by which they are displaced to see what they tell of it


@torch.inference_mode()
def linearise(batch: Batch, refiner: Refiner, groups: Mapping[int, int]) -> Equations:
    """Normal equations of the frames of a batch, at its motion so far; zero for flagged frames.

    `groups` are those of the frames in the refiner's template, by number.
    """
    left = np.zeros((len(batch.frames), len(refiner.matrix)))
    seen, misfit = np.zeros_like(left), np.zeros(len(left), np.float32)
    total = batch.motion.total().astype(np.float32)
    for together, _, sums, squares in _compared(batch, total, refiner, groups):
        equations, misfit[together] = refiner.unknowns(sums), squares.cpu()
        flow = torch.from_numpy(batch.motion.flow[together])
        if batch.motion.rows is not None:
            rows = torch.from_numpy(batch.motion.rows[together])
            equations += refiner.effect(rows[..., None].expand_as(flow))
        left[together], seen[together] = equations, equations + refiner.effect(flow)
    return Equations(left, seen, misfit)


@torch.inference_mode()
def response(batch: Batch, refiner: Refiner, groups: Mapping[int, int]) -> np.ndarray:
    """What the frames of a batch tell of a displacement that they are given, and what they ought to tell: (2,).

    It is less than the template's gradients promise: these are not free of noise, and frames are blurred when
    they are moved. Frames go along one diagonal and the other, by turns.
    """
    numbers, step = np.arange(batch.start, batch.stop), STEP * refiner.binning
    ways = np.stack((np.ones(len(numbers)), 1 - 2 * (numbers % 2)), axis=1).astype(np.float32)
    told = expected = 0.0
    for sign in (-1, 1):
        total = batch.motion.total().astype(np.float32) + sign * step * ways[..., None, None]
        for together, known, sums, _ in _compared(batch, total, refiner, groups):
            seen = (refiner.difference.share(known).cpu() * refiner.information[[0, 2]].sum(0)).sum()
            told -= sign * float((torch.from_numpy(ways[together]) * sums.cpu().sum((2, 3))).sum())
            expected += step * float(seen)
    return np.array([told, expected])


def _compared(
    batch: Batch, total: np.ndarray, refiner: Refiner, groups: Mapping[int, int]
) -> Iterator[tuple[np.ndarray, Tensor, Tensor, Tensor]]:
    """Frames (n,) by place, where they have data, sums and mean squares: see `Difference`. Not flagged ones.

    `total` (all frames, 2, h, w) px is their motion.
    """
    total = total / refiner.binning
    judged = np.flatnonzero(~batch.motion.flagged)
    for together in refiner.gathered(judged, [groups.get(batch.start + int(i)) for i in judged]):
        frames = sent(binned(batch.frames[together], refiner.binning), refiner.device)
        where = places_coarse(sent(total[together], refiner.device), refiner.cell, frames.shape[1:])
        reach = math.ceil(float(np.abs(total[together]).max()))
        moved, known = pulled(frames, where, reach)
        yield together, known, *refiner.difference(moved, known, groups.get(batch.start + int(together[0])))


def pulled(frames: Tensor, where: Tensor, reach: int) -> tuple[Tensor, Tensor]:
    """Frames (n, H, W) at places (n, H, W, 2), 0 if not finite; and 1 where they have data, else 0 (n, H, W).

    No place is more than `reach` px away from its pixel.
    """
    moved, known = sample(frames[:, None], where)[:, 0], torch.ones(frames.shape, device=frames.device)
    near, far = slice(0, reach), slice(-reach, None)
    if reach:
        for strip in ((..., near, slice(None)), (..., far, slice(None)), (..., near), (..., far)):
            known[strip] = inside(where[(*strip, slice(None))]).float()
    if not bool(torch.isfinite(moved.sum())):
        finite = torch.isfinite(moved)
        known, moved = known * finite, torch.where(finite, moved, 0.0)
    return moved, known
