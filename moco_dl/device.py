"""Where frames are computed."""

import numpy as np
import torch
from torch import Tensor

from moco_dl.errors import NrcorrectError

CPU = torch.device("cpu")
NEEDED = 1024  # bytes of memory per pixel of a frame that the network takes, rather too many
THREADS = 8  # that may share its memory; if there are more, and it runs out, groups get smaller
LARGEST_GROUP = 64  # frames; more do not make an accelerator faster


def choose_device(name: str) -> torch.device:
    """`auto` takes a GPU if torch sees one. Raises NrcorrectError for a device that is not there."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(device for device in ("cuda", "mps", "cpu") if there[device]))
    if not there.get(name, False):
        found = ", ".join(device for device, has in there.items() if has)
        raise NrcorrectError(f"device {name!r} is not available; found {found}; leave out --device to choose")
    return torch.device(name)


def sent(values: np.ndarray, device: torch.device) -> Tensor:
    """`values` on the device; to a CUDA device from pinned memory, without waiting for it."""
    if device.type == "cuda":
        return torch.from_numpy(values).pin_memory().to(device, non_blocking=True)
    return torch.from_numpy(values).to(device)


def own_stream(device: torch.device) -> None:
    """Have this thread's copies and computations on a CUDA device go on beside those of other threads."""
    if device.type == "cuda":
        torch.cuda.set_stream(torch.cuda.Stream(device))


def settle(device: torch.device) -> None:
    """Wait until all that was begun on a CUDA device is done, so that other streams can use it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def frames_that_fit(device: torch.device, size: tuple[int, int]) -> int:
    """Frames of `size` (H, W) that the network may take at a time on a CUDA device."""
    free, _ = torch.cuda.mem_get_info(device)
    return int(np.clip(free // (THREADS * NEEDED * size[0] * size[1]), 1, LARGEST_GROUP))


def full_device(device: torch.device) -> torch.device:
    """`device` if it can do all that a CPU can, else the CPU."""
    return device if device.type == "cuda" else CPU
