"""Frames in, motion out: the rigid stage, then the network on what is left."""

import math
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor

from moco_dl.batch import Motion
from moco_dl.blocks import shrink
from moco_dl.device import CPU, frames_that_fit, sent, settle
from moco_dl.errors import NrcorrectError
from moco_dl.intensity import network_input
from moco_dl.network import STRIDE, PyramidFlowNet
from moco_dl.reference import usable
from moco_dl.refine import TOGETHER
from moco_dl.rigid import RigidRegistration
from moco_dl.warp import inside, places, places_coarse, sample, shift_whole, upsample

GROUP = 2**18  # pixels per network call on the CPU: many small images at a time, few large ones
EXACT_IN_FLOAT32 = ("uint8", "int8", "uint16", "int16", "float16", "float32")


class Estimator:
    """Motion of frames against one reference; the reference is transformed and encoded once."""

    def __init__(
        self,
        reference: np.ndarray,
        network: PyramidFlowNet | None,
        *,
        max_shift: float,
        device: torch.device,
        binning: int = 1,
        precision: torch.dtype | None = None,
    ):
        """`reference` (H, W) float32 counts; without a network only rigid shifts are found.

        Frames and reference are averaged over `binning` x `binning` pixels first; `max_shift` is in full px.
        `precision` of the network's products: None for float32, on a CUDA device float16.
        """
        self.network, self.device, self.binning = network, device, binning
        cuda = device.type == "cuda"
        self.precision = precision or (torch.float16 if cuda else torch.float32)
        pixels = reference.size // binning**2
        self.group = frames_that_fit(device, reference.shape) if cuda else min(max(GROUP // pixels, 4), 16)
        image = sent(binned(reference[None], binning), device)
        self.rigid = RigidRegistration(image[0], max_shift / binning)
        self.coarse = tuple(-(-size // STRIDE) for size in reference.shape)
        if network is not None:
            with torch.inference_mode(), self._autocast():
                self.features = network.encode(_channels_last(network_input(image)))
        settle(device)

    @torch.inference_mode()
    def __call__(self, frames: np.ndarray, known: np.ndarray | None = None) -> Motion:
        """Motion of `frames` (n, H, W) of any supported dtype; zero for those that are `known` (n,) already."""
        judged = usable(frames)
        good = judged if known is None else judged & ~known
        rigid = np.zeros((len(frames), 2), np.float32)
        flow = np.zeros((len(frames), 2, *self.coarse), np.float32)
        if good.any():
            shift, residual = self._estimate(sent(binned(frames[good], self.binning), self.device))
            rigid[good] = self.binning * shift.cpu().numpy()
            flow[good] = enlarged(residual, self.binning, self.coarse).cpu().numpy()
        return Motion(rigid, flow, ~judged)

    def _estimate(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images (n, H, W) float32 -> rigid (n, 2), flow (n, 2, h, w) with zero mean, in their own pixels.

        In groups; smaller ones if memory runs out.
        """
        while True:
            size = self.group
            try:
                rigid, flow = zip(*(self._grouped(part, size) for part in images.split(size)), strict=True)
                return torch.cat(rigid), torch.cat(flow)
            except torch.cuda.OutOfMemoryError as error:
                if size == 1:
                    raise NrcorrectError(
                        f"no memory left on {self.device} for a frame of {images.shape[1]}x{images.shape[2]};"
                        " end what else runs there, or choose --device cpu"
                    ) from error
            self.group = min(self.group, size // 2)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    def _grouped(self, images: Tensor, size: int) -> tuple[Tensor, Tensor]:
        """The same of at most `size` images, always computed for so many: rounding depends on it."""
        count = len(images)
        if count < size:
            images = torch.cat((images, images[-1:].expand(size - count, -1, -1)))
        shift = self.rigid.shifts(images)
        if self.network is None:
            return shift[:count], torch.zeros(count, 2, 1, 1)
        whole = shift.round()
        rigid, flow = _split(whole, self._network_flow(shift_whole(images, whole.int())))
        return rigid[:count], flow[:count]

    def _network_flow(self, images: Tensor) -> Tensor:
        """Residual flow (n, 2, h, w) of images (n, H, W)."""
        height, width = images.shape[1:]
        with self._autocast():
            features = self.network.encode(_channels_last(network_input(images)))
            flow = self.network([f.expand(len(images), -1, -1, -1) for f in self.features], features)[0][-1]
        return flow[..., : -(-height // STRIDE), : -(-width // STRIDE)].float()

    def _autocast(self) -> AbstractContextManager:
        if self.precision == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.precision)


def binned(frames: np.ndarray, factor: int) -> np.ndarray:
    """Frames (n, H, W) averaged over `factor` x `factor` pixels, float32; where one is not finite, none is.

    What is missing at the far edges repeats the last pixel.
    """
    height, width = (-(-size // factor) for size in frames.shape[1:])
    if factor == 1:
        return frames.astype(np.float32)
    small = np.empty((len(frames), height, width), np.float32)
    pad = [(0, n * factor - size) for n, size in zip((height, width), frames.shape[1:], strict=True)]
    for image, frame in zip(small, frames, strict=True):
        whole = np.pad(frame, pad, mode="edge") if any(map(any, pad)) else frame
        image[...] = shrink(whole, factor)
    return small


def enlarged(flow: Tensor, factor: int, size: tuple[int, int]) -> Tensor:
    """Coarse flow (n, 2, h, w) of frames binned by `factor` -> that of the full frames (n, 2, *size)."""
    if flow.shape[2:] == (1, 1) or factor == 1:
        return factor * flow.expand(-1, -1, *size)
    return upsample(factor * flow, factor, size)


def _channels_last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)


def _split(rigid: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    """Hand the mean of flow (n, 2, h, w) over to rigid (n, 2)."""
    mean = flow.mean(dim=(2, 3))
    return rigid + mean, flow - mean[:, :, None, None]


@torch.inference_mode()
def move(frames: np.ndarray, motion: Motion, stride: int, mode: str, device: torch.device = CPU) -> np.ndarray:
    """Warp frames (n, H, W) once by their motion; returns float values (n, H, W), unrounded.

    Frames whose motion is exactly zero come back exactly. Pixels from outside the frame repeat its edge.
    32-bit integers and float64 are warped in float64, the rest in float32. `mode`: bilinear or bicubic.
    """
    precise = np.float32 if frames.dtype.name in EXACT_IN_FLOAT32 else np.float64
    moved = frames.astype(precise)
    moving = np.flatnonzero(np.any(motion.rigid, axis=1) | np.any(motion.flow, axis=(1, 2, 3)))
    count = max(TOGETHER // frames[0].size, 1)
    for start in range(0, len(moving), count):  # a few at a time, so that what is needed stays in the cache
        part = moving[start : start + count]
        total = motion.flow[part].astype(precise) + motion.rigid[part, :, None, None]
        where = places_coarse(sent(total, device), stride, frames.shape[1:])
        found = sample(sent(moved[part], device)[:, None], where, mode=mode)
        moved[part] = found[:, 0].cpu().numpy()
    return moved


@torch.inference_mode()
def move_known(frames: np.ndarray, motion: np.ndarray, stride: int = STRIDE) -> np.ndarray:
    """Like `move`, but bilinear, float32, and NaN where the frame has no data.

    `motion` is a coarse field (n, 2, h, w) of this stride, or a shift (n, 2, 1, 1).
    """
    moved, size, whole = torch.empty(frames.shape), frames.shape[1:], motion.shape[2:] == (1, 1)
    count = max(TOGETHER // math.prod(size), 1)
    for start in range(0, len(frames), count):
        part = slice(start, start + count)
        flow, images = torch.from_numpy(motion[part]), torch.from_numpy(frames[part].astype(np.float32))
        where = places(flow.expand(-1, -1, *size)) if whole else places_coarse(flow, stride, size)
        found = sample(images[:, None], where)[:, 0]
        moved[part] = found.masked_fill_(~inside(where), torch.nan)
    return moved.numpy()
