"""How to correct."""

from dataclasses import dataclass
from numbers import Integral
from pathlib import Path

from moco_dl.errors import NrcorrectError
from moco_dl.movie import DTYPES


@dataclass(frozen=True)
class CorrectOptions:
    """How to correct."""

    ref: str = "median"  # or "mean": how registered samples are combined
    ref_frames: int | None = None  # frames sampled; None: 200 to 400, fewer if large
    quality: str = "fast"  # the network sees not every frame, and large ones binned; or "best": all as they are
    smooth: float | None = None  # frames over which non-rigid motion is taken to be alike; None: measured
    rigid_only: bool = False  # whole-frame shifts, no network
    row_offset: int | None = None  # px by which every other row lies to the right; None: measured
    max_shift: float | None = None  # px, largest rigid shift; None: 15 % of the frame's shorter side
    interpolation: str = "bicubic"  # or "bilinear"
    dtype: str | None = None  # of the corrected movie; None: as it came in
    batch_size: int | None = None  # frames a thread takes at a time; None: 32, on a GPU 64, fewer if large
    device: str = "auto"  # auto, cpu, cuda, mps
    precision: str = "float32"  # of the network's products; or "float16", "bfloat16"
    threads: int | None = None  # frames computed at a time; None: as many as there are processors, at most 4
    weights: Path | None = None  # None: the shipped ones

    def __post_init__(self) -> None:
        for name, allowed in (
            ("ref", ("median", "mean")),
            ("interpolation", ("bilinear", "bicubic")),
            ("quality", ("fast", "best")),
            ("precision", ("float32", "float16", "bfloat16")),
        ):
            if getattr(self, name) not in allowed:
                raise NrcorrectError(f"{name}: got {getattr(self, name)!r}; wanted one of {', '.join(allowed)}")
        for name in ("ref_frames", "batch_size", "threads"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise NrcorrectError(f"{name}: got {getattr(self, name)}; wanted at least 1")
        for name in ("max_shift", "smooth"):
            if getattr(self, name) is not None and not getattr(self, name) >= 0:
                raise NrcorrectError(f"{name}: got {getattr(self, name)}; wanted 0 or more")
        if self.row_offset is not None and not isinstance(self.row_offset, Integral):
            raise NrcorrectError(f"row_offset: got {self.row_offset!r}; wanted a whole number of pixels")
        if self.dtype is not None and self.dtype not in DTYPES:
            raise NrcorrectError(f"dtype: got {self.dtype!r}; wanted one of {', '.join(DTYPES)}")
