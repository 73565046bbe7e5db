"""Frames moved by their motion: once, for what is written, or roughly, to look at what they show together."""

import math

import numpy as np
import torch

from moco_dl.device import CPU, in_parts, received, sent
from moco_dl.intensity import counts
from moco_dl.motion import Motion
from moco_dl.network import STRIDE
from moco_dl.warp import blank_outside, places, places_coarse, sample


@torch.inference_mode()
def move(
    frames: np.ndarray,
    motion: Motion,
    stride: int,
    mode: str,
    dtype: np.dtype | None = None,
    device: torch.device = CPU,
) -> np.ndarray:
    """Warp frames (n, H, W) once by their motion; rounded and clipped to `dtype`, None: that of the frames.

    Frames whose motion is exactly zero come back exactly. Pixels from outside the frame repeat its edge.
    32-bit integers and float64 are warped in float64, the rest in float32. `mode`: bilinear or bicubic.
    """
    dtype = np.dtype(dtype or frames.dtype)
    moved = np.empty(frames.shape, dtype)
    moves = np.any(motion.rigid, axis=1) | np.any(motion.flow, axis=(1, 2, 3))

    def pulled(part: np.ndarray) -> np.ndarray:
        images = sent(frames[part], device)
        if dtype.kind in "iu" and dtype.itemsize > 2:
            images = images.double()
        if moves[part[0]]:
            total = sent(motion.flow[part] + motion.rigid[part, :, None, None], device).to(images.dtype)
            images = sample(images[:, None], places_coarse(total, stride, frames.shape[1:]), mode=mode)[:, 0]
        return received(counts(images, dtype))

    for kind in (moves, ~moves):
        for part, found in in_parts(pulled, np.flatnonzero(kind), frames[0].size, device):
            moved[part] = found
    return moved


@torch.inference_mode()
def move_known(
    frames: np.ndarray, motion: np.ndarray, stride: int = STRIDE, device: torch.device = CPU
) -> np.ndarray:
    """Like `move`, but bilinear, float32, and NaN where the frame has no data.

    `motion` is a coarse field (n, 2, h, w) of this stride, or a shift (n, 2, 1, 1).
    """
    size, whole = frames.shape[1:], motion.shape[2:] == (1, 1)
    moved = np.empty(frames.shape, np.float32)

    def pulled(part: np.ndarray) -> np.ndarray:
        flow, images = sent(motion[part], device), sent(frames[part], device).float()
        where = places(flow.expand(-1, -1, *size)) if whole else places_coarse(flow, stride, size)
        reach = math.ceil(float(np.abs(motion[part]).max()))
        return received(blank_outside(sample(images[:, None], where)[:, 0], where, reach, torch.nan))

    for part, found in in_parts(pulled, np.arange(len(frames)), math.prod(size), device):
        moved[part] = found
    return moved


def displaced(image: np.ndarray, by: np.ndarray, device: torch.device = CPU) -> np.ndarray:
    """Image (H, W), displaced by (2, h, w) px; so is where it has no data, NaN, which does not grow."""
    known, nowhere = np.isfinite(image), np.zeros((2, 2), np.float32)
    if not known.any():
        return image
    both = np.stack([np.where(known, image, image[known].mean()), known]).astype(np.float32)
    motion = Motion(nowhere, np.stack([by, by]), flagged=np.zeros(2, bool))
    moved, seen = move(both, motion, STRIDE, "bicubic", device=device)
    return np.where(seen > 0.5, moved, np.float32(np.nan))
