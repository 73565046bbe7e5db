"""How to correct."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from numbers import Integral, Real
from pathlib import Path

import numpy as np

from moco_dl.errors import NrcorrectError
from moco_dl.formats.checks import DTYPES

INTERPOLATIONS = ("bilinear", "bicubic")
CHOICES = {
    "ref": ("median", "mean"),
    "interpolation": INTERPOLATIONS,
    "quality": ("fast", "best"),
    "device": ("auto", "cpu", "cuda", "mps"),
    "precision": ("float32", "float16", "bfloat16"),
    "dtype": (None, *DTYPES),
}
USUAL = 0.15  # of the shorter side: whole-frame shifts that are looked for
AUTO = ("smooth", "row_offset")  # may be given as "auto", as in the command: None


@dataclass(frozen=True)
class CorrectOptions:
    """How to correct."""

    ref: str = "median"  # or "mean": how registered samples are combined
    ref_frames: int | None = None  # frames sampled; None: 200 to 400, fewer if large
    quality: str = "fast"  # the network sees not every frame, and large ones binned; or "best": all as they are
    smooth: float | None = None  # frames over which non-rigid motion is taken to be alike; None: measured
    rigid_only: bool = False  # whole-frame shifts, no network
    row_offset: int | None = None  # px by which every other row lies to the right; None: measured
    max_shift: float | None = None  # px, largest rigid shift; None: `farthest`, and others if they fit better
    interpolation: str = "bicubic"  # or "bilinear"
    dtype: str | None = None  # of the corrected movie; None: as it came in
    batch_size: int | None = None  # frames a thread takes at a time; None: 32, on a GPU 64, fewer if large
    device: str = "auto"  # where the network runs: auto, cpu, cuda, mps
    precision: str = "float32"  # of the network's products; or "float16", "bfloat16"
    threads: int | None = None  # frames computed at a time; None: as many as there are processors, at most 4
    weights: Path | None = None  # None: the shipped ones

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name in AUTO and isinstance(value, str) and value == "auto":
                object.__setattr__(self, name, None)
            elif isinstance(value, np.generic):  # JSON does not know them
                plain = float if isinstance(value, np.floating) else np.generic.item
                object.__setattr__(self, name, plain(value))
        if isinstance(self.dtype, type | np.dtype):
            object.__setattr__(self, "dtype", np.dtype(self.dtype).name)
        self._check_choices()
        self._check_numbers()

    def farthest(self, size: tuple[int, int]) -> float:
        """px up to which whole-frame shifts are looked for in frames of `size` (H, W)."""
        return USUAL * min(size) if self.max_shift is None else self.max_shift

    def _check_choices(self) -> None:
        if not isinstance(self.ref, str):
            raise NrcorrectError(
                "ref: wanted median or mean; an image is given as the second argument, reference"
            )
        for name, allowed in CHOICES.items():
            if not isinstance(value := getattr(self, name), str | None) or value not in allowed:
                wanted = ", ".join(filter(None, allowed))
                raise NrcorrectError(f"{name}: got {value!r}; wanted one of {wanted}")

    def _check_numbers(self) -> None:
        given = {name: value for name, value in vars(self).items() if value is not None}
        if not isinstance(self.rigid_only, bool):
            raise NrcorrectError(f"rigid_only: got {self.rigid_only!r}; wanted True or False")
        if "weights" in given and not (isinstance(self.weights, str | Path) and str(self.weights)):
            raise NrcorrectError(f"weights: got {self.weights!r}; wanted a path")
        for name, least in {"ref_frames": 2, "batch_size": 1, "threads": 1}.items():
            if name in given and (not _whole(given[name]) or given[name] < least):
                raise NrcorrectError(f"{name}: got {given[name]!r}; wanted a whole number, at least {least}")
        for name in ("max_shift", "smooth"):
            if name in given and not (_real(given[name]) and given[name] >= 0):
                raise NrcorrectError(f"{name}: got {given[name]!r}; wanted a number, 0 or more")
        if "row_offset" in given and not _whole(given["row_offset"]):
            raise NrcorrectError(f"row_offset: got {given['row_offset']!r}; wanted a whole number of pixels")


def options_of(given: Mapping[str, object]) -> CorrectOptions:
    """CorrectOptions of what is `given` by name. Raises NrcorrectError if a name or a value is not known."""
    known = [field.name for field in fields(CorrectOptions)]
    for name in given:
        if name not in known:
            raise NrcorrectError(f"{name}: is no option; wanted some of {', '.join(known)}")
    return CorrectOptions(**given)


def _whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _real(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
