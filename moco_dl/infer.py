"""Frames in, motion out: the rigid stage, then the network on what is left."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from copy import copy
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from moco_dl.blocks import binned
from moco_dl.device import frames_that_fit, halved, received, release, sent, settle
from moco_dl.errors import gpu_is_full
from moco_dl.intensity import network_input
from moco_dl.motion import Motion
from moco_dl.network import STRIDE, PyramidFlowNet
from moco_dl.rigid import RigidRegistration
from moco_dl.warp import shift_whole, upsample

Result = TypeVar("Result")

GROUP = 2**18  # pixels per network call on the CPU: many small images at a time, few large ones


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
        precision: torch.dtype = torch.float32,
    ):
        """`reference` (H, W) float32 counts; without a network only rigid shifts are found.

        Frames and reference are averaged over `binning` x `binning` pixels first; `max_shift` is in full px.
        `precision` is that of the network's products.
        """
        self.network, self.device, self.binning = network, device, binning
        self.precision, pixels = precision, reference.size // binning**2
        fit = device.type == "cuda"
        self.group = frames_that_fit(device, pixels) if fit else min(max(GROUP // pixels, 4), 16)
        image = sent(binned(reference[None], binning), device)
        self.rigid = RigidRegistration(image[0], max_shift / binning)
        self.coarse = tuple(-(-size // STRIDE) for size in reference.shape)
        if network is not None:
            with torch.inference_mode(), self._autocast():
                self.features = network.encode(_channels_last(network_input(image)))
        settle(device)

    @torch.inference_mode()
    def __call__(
        self,
        frames: np.ndarray,
        judged: np.ndarray | None = None,
        seen: np.ndarray | None = None,
        shifts: np.ndarray | None = None,
    ) -> Motion:
        """Motion of `frames` (n, H, W) of any supported dtype: the whole frame's shift, and the rest as flow.

        Those not `judged` (n,) are flagged and stay where they are. The network looks at those that are `seen`
        (n,); of the others the flow is zero. None: all. `shifts` (n, 2) px of whole frames, if they are known.
        """
        judged = np.ones(len(frames), bool) if judged is None else judged
        seen = judged if seen is None else judged & seen
        rigid = np.zeros((len(frames), 2), np.float32)
        flow = np.zeros((len(frames), 2, *self.coarse), np.float32)

        def estimated(some: np.ndarray) -> None:
            images = sent_binned(frames[some] if len(some) < len(frames) else frames, self.binning, self.device)
            known = None if shifts is None else sent(shifts[some] / np.float32(self.binning), self.device)
            shift, residual = self._estimate(images, torch.from_numpy(seen[some]), known)
            rigid[some] = self.binning * shift.cpu().numpy()
            if len(residual):
                flow[some[seen[some]]] = received(enlarged(residual, self.binning, self.coarse))

        if judged.any():
            list(halved(estimated, np.flatnonzero(judged), self.device))
        return Motion(rigid, flow, ~judged)

    def correlation_maps(self, frames: np.ndarray) -> np.ndarray:
        """(n, 2 my + 1, 2 mx + 1) of frames (n, H, W) at all shifts, see `RigidRegistration`."""
        return self._of_each(self.rigid.correlation_maps, frames)

    def power(self, frames: np.ndarray) -> np.ndarray:
        """(n, RINGS) of frames (n, H, W), see `RigidRegistration`."""
        return self._of_each(self.rigid.power, frames)

    @torch.inference_mode()
    def clutter_of(self, power: np.ndarray) -> np.ndarray:
        """(RINGS,) in frames of a mean power (RINGS,), see `RigidRegistration`."""
        return self.rigid.clutter_of(power)

    @torch.inference_mode()
    def outshone(self, power: np.ndarray, size: float) -> bool:
        """Whether activity outshines the reference in frames of a mean power (RINGS,)."""
        return self.rigid.outshone(power, size)

    @torch.inference_mode()
    def through(self, clutter: np.ndarray) -> "Estimator":
        """The same, whose correlation maps are of frames with clutter (RINGS,), see `RigidRegistration`."""
        other = copy(self)
        other.rigid = self.rigid.through(clutter)
        return other

    def expecting(self, power: np.ndarray) -> "Estimator":
        """The same, whose correlation maps are of frames of a mean power (RINGS,)."""
        return self.through(self.clutter_of(power))

    @torch.inference_mode()
    def _of_each(self, function: Callable[[Tensor], Tensor], frames: np.ndarray) -> np.ndarray:
        def found(some: np.ndarray) -> np.ndarray:
            images = sent_binned(frames[some[0] : some[-1] + 1], self.binning, self.device)
            return self._in_groups(lambda size: _grouped(function, size, images)).cpu().numpy()

        parts = [part for _, part in halved(found, np.arange(len(frames)), self.device)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _estimate(self, images: Tensor, seen: Tensor, known: Tensor | None) -> tuple[Tensor, Tensor]:
        """Images (n, H, W) float32 -> shifts (n, 2), flow (k, 2, h, w) of those `seen` (n,), in px of these.

        Shifts may be `known`.
        """

        def estimated(size: int) -> tuple[Tensor, Tensor]:
            shift = _grouped(self.rigid.shifts, size, images) if known is None else known
            if self.network is None or not seen.any():
                return shift, shift[:0, :, None, None]
            some = seen.to(images.device)
            return shift, _grouped(self._network_flow, size, images[some], shift[some])

        return self._in_groups(estimated)

    def _in_groups(self, compute: Callable[[int], Result]) -> Result:
        """What is computed in groups of some size; of smaller ones if memory runs out."""
        while True:
            size = self.group
            try:
                return compute(size)
            except RuntimeError as error:
                if size == 1 or not gpu_is_full(error):
                    raise
            self.group = min(self.group, size // 2)
            release(self.device)

    def _network_flow(self, images: Tensor, shift: Tensor) -> Tensor:
        """What is left (n, 2, h, w) of the motion of images (n, H, W) after their shifts (n, 2)."""
        whole = shift.round()
        images = shift_whole(images, whole.int())
        height, width = images.shape[1:]
        with self._autocast():
            features = self.network.encode(_channels_last(network_input(images)))
            flow = self.network([f.expand(len(images), -1, -1, -1) for f in self.features], features)[0][-1]
        flow = flow[..., : -(-height // STRIDE), : -(-width // STRIDE)].float()
        return flow + (whole - shift)[:, :, None, None]

    def _autocast(self) -> AbstractContextManager:
        if self.precision == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.precision)


def sent_binned(frames: np.ndarray, factor: int, device: torch.device) -> Tensor:
    """`binned` frames on the device; a GPU computes them itself."""
    if device.type == "cuda":
        return averaged(sent(frames, device), factor)
    return sent(binned(frames, factor), device)


def averaged(images: Tensor, factor: int) -> Tensor:
    """The same of images (n, H, W) that are there already, float32."""
    height, width = (-size % factor for size in images.shape[1:])
    padded = F.pad(images.float()[:, None], (0, width, 0, height), mode="replicate")
    return F.avg_pool2d(padded, factor)[:, 0]


def enlarged(flow: Tensor, factor: int, size: tuple[int, int]) -> Tensor:
    """Coarse flow (n, 2, h, w) of frames binned by `factor` -> that of the full frames (n, 2, *size)."""
    if flow.shape[2:] == (1, 1) or factor == 1:
        return factor * flow.expand(-1, -1, *size)
    return upsample(factor * flow, factor, size)


def _channels_last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)


def _grouped(function: Callable[..., Tensor], size: int, *inputs: Tensor) -> Tensor:
    """`function` of inputs (n, ...) in groups of `size`, the last filled up with its last row: how results are
    rounded depends on how many there are."""
    found = []
    for parts in zip(*(values.split(size) for values in inputs), strict=True):
        count = len(parts[0])
        if count < size:
            parts = [torch.cat((x, x[-1:].expand(size - count, *x.shape[1:]))) for x in parts]
        found.append(function(*parts)[:count])
    return torch.cat(found)
