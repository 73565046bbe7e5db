"""Where frames are computed."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from moco_dl.errors import NrcorrectError, gpu_is_full
from moco_dl.parallel import MOST

CPU = torch.device("cpu")
NEEDED = 64  # bytes of a GPU's memory per pixel of a frame that the network takes
LARGEST_BATCH = 64  # frames that a thread takes at a time on a GPU
LARGEST_GROUP = LARGEST_BATCH // 2  # frames that the network sees at a time there: mostly every other one
EXACT_IN_FLOAT32 = ("uint8", "int8", "uint16", "int16", "float16", "float32")
TOGETHER = 2**19  # pixels that a CPU computes at a time: few operations, small enough for the caches
MANY = 2**23  # the same for a GPU: enough to keep it busy while the next operation is sent

Result = TypeVar("Result")


def choose_device(name: str) -> torch.device:
    """`auto` takes a CUDA GPU if torch sees one. Raises NrcorrectError for a device that is not there."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = "cuda" if there["cuda"] else "cpu"
    if not there.get(name, False):
        found = ", ".join(device for device, has in there.items() if has)
        raise NrcorrectError(f"device {name!r} is not available; found {found}; leave out --device to choose")
    if name == "cuda":  # else products of float32 are rounded to 10 bits, and fields differ from a CPU's
        torch.backends.cudnn.allow_tf32 = False
    return torch.device(name)


def sent(values: np.ndarray, device: torch.device) -> Tensor:
    """Floating-point numbers of `values` on the device: float64 of these and of 32-bit integers, else float32.

    To a CUDA device from pinned memory, without waiting for it; they become numbers there.
    """
    kind = np.float32 if values.dtype.name in EXACT_IN_FLOAT32 else np.float64
    if device.type == "cuda":
        return on_cuda(values, device).to(torch.float32 if kind is np.float32 else torch.float64)
    return torch.from_numpy(values.astype(kind, copy=False)).to(device)


def on_cuda(values: np.ndarray, device: torch.device) -> Tensor:
    """Values of any type on a CUDA device; not all of torch knows unsigned ones."""
    signed = {"uint16": (np.int16, torch.int32), "uint32": (np.int32, torch.int64)}.get(values.dtype.name)
    if signed is None:
        return torch.from_numpy(values).pin_memory().to(device, non_blocking=True)
    kind, wider = signed
    limits = np.iinfo(values.dtype)
    return on_cuda(values.view(kind), device).to(wider).bitwise_and_(limits.max)


def received(values: Tensor) -> np.ndarray:
    """`values` from the device, by pinned memory if that is a CUDA device."""
    if values.device.type != "cuda":
        return values.cpu().numpy()
    pinned = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    return pinned.copy_(values).numpy()


def own_stream(device: torch.device) -> None:
    """Have this thread's copies and computations on a CUDA device go on beside those of other threads."""
    if device.type == "cuda":
        torch.cuda.set_stream(torch.cuda.Stream(device))


def settle(device: torch.device) -> None:
    """Wait until all that was begun on a CUDA device is done, so that other streams can use it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def frames_that_fit(device: torch.device, pixels: int) -> int:
    """Frames of so many pixels that the network takes at a time in each of MOST threads, on a CUDA device."""
    free, _ = torch.cuda.mem_get_info(device)
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # kept by torch for more
    return int(np.clip(free // (MOST * NEEDED * pixels), 1, LARGEST_GROUP))


def frames_at_once(device: torch.device, size: int) -> int:
    """Frames of so many pixels that are computed at a time."""
    return max((MANY if device.type == "cuda" else TOGETHER) // size, 1)


def in_parts(
    compute: Callable[[np.ndarray], Result], frames: np.ndarray, size: int, device: torch.device
) -> Iterator[tuple[np.ndarray, Result]]:
    """Parts of `frames` (n,), of `size` pixels each, and what `compute` makes of them, see `frames_at_once`."""
    count = frames_at_once(device, size)
    for start in range(0, len(frames), count):
        yield from halved(compute, frames[start : start + count], device)


def halved(
    compute: Callable[[np.ndarray], Result], frames: np.ndarray, device: torch.device
) -> Iterator[tuple[np.ndarray, Result]]:
    """`frames` (n,) and what `compute` makes of them; if memory runs out, of one half and then of the other."""
    try:
        found = compute(frames)
    except RuntimeError as error:
        if not gpu_is_full(error):
            raise
        if len(frames) == 1:
            raise no_memory(device) from error
    else:
        yield frames, found
        return
    release(device)
    for half in np.array_split(frames, 2):
        yield from halved(compute, half, device)


def no_memory(device: torch.device) -> NrcorrectError:
    """What is told of a device on which not even one frame can be computed."""
    return NrcorrectError(
        f"no memory left on {device}, not even for one frame; end what else runs there, or choose --device cpu"
    )


def threads_on(device: torch.device, threads: int | None) -> int | None:
    """Of the `threads` that are wanted, how many may compute there: on MPS, torch aborts if two do."""
    return 1 if device.type == "mps" else threads


def release(device: torch.device) -> None:
    """Give memory back that is free on a CUDA device."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


def full_device(device: torch.device) -> torch.device:
    """`device` if it can do all that a CPU can, else the CPU."""
    return device if device.type == "cuda" else CPU
