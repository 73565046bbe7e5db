"""Where the network runs."""

import torch

from moco_dl.errors import NrcorrectError


def choose_device(name: str) -> torch.device:
    """`auto` takes a GPU if torch sees one. Raises NrcorrectError for a device that is not there."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(device for device in ("cuda", "mps", "cpu") if there[device]))
    if not there.get(name, False):
        found = ", ".join(device for device, has in there.items() if has)
        raise NrcorrectError(f"device {name!r} is not available; found {found}; leave out --device to choose")
    return torch.device(name)
