"""Weights that know themselves: format, architecture, state and provenance in one file."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import torch

from moco_dl.errors import NrcorrectError
from moco_dl.network import NetworkConfig, PyramidFlowNet
from moco_dl.staging import staged

FORMAT = "nrcorrect-weights-1"
ARCHITECTURE = "PyramidFlowNet-1"
DEFAULT_NAME = "pyramid.pt"
WAY_OUT = "name a file that nrcorrect train wrote"
# What values raise that are not as they were written.
DAMAGED = (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError)


@dataclass(frozen=True)
class Checkpoint:
    """A network ready for use, and where it came from."""

    network: PyramidFlowNet
    provenance: dict  # how it was trained
    sha256: str  # of the file
    training: dict | None  # optimiser state and step, in files that training can resume from


def default_weights() -> Path:
    """The shipped weights: beside the package in a wheel, in weights/ in a checkout."""
    package = Path(__file__).resolve().parent
    inside = package / "weights" / DEFAULT_NAME
    return inside if inside.exists() else package.parent / "weights" / DEFAULT_NAME


def save(path: Path, network: PyramidFlowNet, provenance: dict, training: dict | None = None) -> None:
    """Write a checkpoint; the file appears whole or not at all."""
    content = {
        "format": FORMAT,
        "architecture": ARCHITECTURE,
        "config": network.config.as_dict(),
        "state": network.state_dict(),
        "provenance": provenance,
    }
    if training is not None:
        content["training"] = training
    packed = io.BytesIO()  # given a path, its name would be written into the file
    torch.save(content, packed)
    with staged([path], overwrite=True) as parts:
        parts[0].write_bytes(packed.getvalue())


def load(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises NrcorrectError if the file is missing, is not a checkpoint of this tool, or holds an architecture
    this version does not know.
    """
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: no file could have that name
        why = getattr(error, "strerror", None) or error
        raise NrcorrectError(f"{path}: cannot read weights: {why}; {WAY_OUT}") from error
    content = _unpack(path, data)
    if content.get("architecture") != ARCHITECTURE:
        raise NrcorrectError(
            f"{path}: holds architecture {content.get('architecture')!r}; this version knows"
            f" {ARCHITECTURE!r}; use the weights that came with it"
        )
    try:
        with torch.random.fork_rng(devices=[]):  # numbers that others draw stay as they are
            network = PyramidFlowNet(NetworkConfig.from_dict(content["config"])).float()
        network.load_state_dict(content["state"])
        provenance = dict(content["provenance"])
        if not all(bool(torch.isfinite(values).all()) for values in network.state_dict().values()):
            raise ValueError("not all are numbers")
    except DAMAGED as error:
        raise NrcorrectError(f"{path}: damaged weights; {WAY_OUT}") from error
    digest = hashlib.sha256(data).hexdigest()
    return Checkpoint(network.eval(), provenance, digest, content.get("training"))


def _unpack(path: Path, data: bytes) -> dict:
    try:
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever the bytes provoke
        raise NrcorrectError(f"{path}: not a weights file; {WAY_OUT}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise NrcorrectError(f"{path}: not weights of this tool; {WAY_OUT}")
    return content
