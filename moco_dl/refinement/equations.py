"""Frames, moved so far, compared with the reference: what they tell of the motion that is left."""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from moco_dl.device import in_parts, sent
from moco_dl.motion import Equations, Motion, run_slices, take
from moco_dl.refinement.misfit import graininess, softness
from moco_dl.refinement.refine import Refiner
from moco_dl.refinement.template import NO_PART
from moco_dl.sampled.samples import Samples
from moco_dl.warp import blank_outside, places_coarse, sample

CALIBRATING = 2  # runs of samples, from which it is seen how much frames tell of a displacement
LEAST_TOLD = 0.25  # that an expected error is corrected for
STEP = 0.2  # px of the compared images, by which they are displaced to see what they tell of it


def linearise(
    frames: np.ndarray, motion: Motion, refiner: Refiner, parts: np.ndarray | None = None
) -> Equations:
    """Normal equations of frames (n, H, W), at their motion so far; zero for flagged frames.

    Frames are averaged over as many pixels as the refiner compares. `parts` (n,) are those of its template that
    each is in, or NO_PART; None: they are in none.
    """
    return with_squares(frames, motion, refiner, parts)[0]


@torch.inference_mode()
def with_squares(
    frames: np.ndarray, motion: Motion, refiner: Refiner, parts: np.ndarray | None = None
) -> tuple[Equations, np.ndarray]:
    """The same; and squares (h, w) float64 of what cells tell of dy and dx, summed over frames."""
    parts = np.full(len(frames), NO_PART) if parts is None else parts
    left = np.zeros((len(frames), len(refiner.matrix)))
    seen, (misfit, brightness) = np.zeros_like(left), np.zeros((2, len(left)), np.float32)
    missing = np.zeros((len(left), *refiner.grid), np.float32)
    squares = np.zeros(refiner.grid)
    for together, sums, apart, bright, share in _compared(frames, motion, refiner, parts):
        equations = refiner.unknowns(sums)
        misfit[together], brightness[together] = apart.cpu(), bright.cpu()
        missing[together] = 1 - share.cpu()
        squares += sums.square().sum(dim=1).cpu().double().sum(dim=0).numpy()
        flow = sent(motion.flow[together], refiner.device)
        if motion.rows is not None:
            rows = sent(motion.rows[together], refiner.device)
            equations += refiner.effect(rows[..., None].expand_as(flow))
        left[together], seen[together] = equations, equations + refiner.effect(flow)
    soft, grain = softness(motion, refiner.binning), graininess(frames)
    return Equations(left, seen, misfit, brightness, soft, grain, missing), squares


@torch.inference_mode()
def response(frames: np.ndarray, motion: Motion, refiner: Refiner, parts: np.ndarray) -> np.ndarray:
    """What frames (n, H, W) tell of a displacement that they are given, and what they ought to tell: (2,).

    Frames are as for `linearise`. It is less than the template's gradients promise: these are not free of
    noise, and frames are blurred when they are moved. Frames go along one diagonal and the other, by turns.
    """
    step = STEP * refiner.binning
    ways = np.stack((np.ones(len(frames)), 1 - 2 * (np.arange(len(frames)) % 2)), axis=1).astype(np.float32)
    told = expected = 0.0
    for sign in (-1, 1):
        displaced = replace(motion, rigid=motion.rigid + sign * step * ways)
        for together, sums, *_, share in _compared(frames, displaced, refiner, parts):
            way, (yy, yx, xx) = torch.from_numpy(ways[together]), refiner.information
            across = way.prod(dim=1)[:, None, None].to(refiner.device)
            told -= sign * float((way * sums.cpu().sum((2, 3))).sum())
            expected += step * float((share * (yy + xx + 2 * across * yx)).sum())
    return np.array([told, expected])


def share_told(refiner: Refiner, samples: Samples, motion: Motion, parts: np.ndarray) -> float:
    """Share of a small displacement that samples, at their motion so far, tell of; see `response`."""
    some = run_slices(samples.runs)
    some = some[:: max(len(some) // CALIBRATING, 1)]
    told, expected = sum(response(samples[run], take(motion, run), refiner, parts[run]) for run in some)
    return float(np.clip(told / expected, LEAST_TOLD, 1.0)) if expected > 0 else 1.0


def _compared(
    frames: np.ndarray, motion: Motion, refiner: Refiner, parts: np.ndarray
) -> Iterator[tuple[np.ndarray | Tensor, ...]]:
    """Frames (n,) by place; and what `Difference` makes of these. Not flagged ones."""
    total = motion.total().astype(np.float32) / refiner.binning
    judged, device = np.flatnonzero(~motion.flagged), refiner.device

    def compared(some: np.ndarray) -> tuple[Tensor, ...]:
        images = sent(frames[some], device).float()
        where = places_coarse(sent(total[some], device), refiner.cell, images.shape[1:])
        moved, known = pulled(images, where, math.ceil(float(np.abs(total[some]).max())))
        return refiner.difference(moved, known, int(parts[some[0]]))

    for part in np.unique(parts[judged]):
        together = judged[parts[judged] == part]
        for some, found in in_parts(compared, together, math.prod(refiner.difference.size), device):
            yield some, *found


def pulled(frames: Tensor, where: Tensor, reach: int) -> tuple[Tensor, Tensor]:
    """Frames (n, H, W) at places (n, H, W, 2), 0 if not finite; and 1 where they have data, else 0 (n, H, W).

    No place is more than `reach` px away from its pixel.
    """
    moved = sample(frames[:, None], where)[:, 0]
    known = blank_outside(torch.ones_like(moved), where, reach, 0.0)
    if not bool(torch.isfinite(moved.sum())):
        finite = torch.isfinite(moved)
        known, moved = known * finite, torch.where(finite, moved, 0.0)
    return moved, known
