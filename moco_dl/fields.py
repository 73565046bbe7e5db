"""The field file: what was applied to each frame, small enough to keep and exact enough to apply again.

Displacement of a pixel = `rigid[t]` + `flow[t]` interpolated bilinearly from its coarse grid. Both are in
pixels, backward, (dy, dx): `corrected[y, x] = raw[y + dy, x + dx]`. Coarse sample i of stride s sits at
`(i + 0.5) * s - 0.5` pixels; the grid may overhang the frame at the bottom and right.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from moco_dl.errors import NrcorrectError
from moco_dl.formats.checks import DTYPES, UNREADABLE
from moco_dl.formats.hdf5_file import open_hdf5
from moco_dl.output import ArrayFile, create_hdf5
from moco_dl.stored import StoredFlow, slice_of_one

FORMAT = "nrcorrect-fields-1"
FLOW_DTYPE = np.float16  # costs at most 0.002 px for residuals below 4 px
ROW_OFFSET = "row_offset_px"  # in the metadata, see `Fields.row_offset`
REACH = "reach_px"  # in the metadata, see `Fields.reach`
CONVENTION = {
    "format": FORMAT,
    "units": "pixels",
    "components": "dy, dx",
    "sign": "backward: corrected[y, x] = raw[y + dy, x + dx]",
    "field": "rigid[t] + flow[t], flow interpolated bilinearly; sample i at (i + 0.5) * stride - 0.5",
    "rows": "raw[1::2] is taken row_offset_px to the left before",
}


@dataclass(frozen=True, eq=False)
class Fields:
    """Fields of a movie.

    `len(fields)` is the number of frames; `fields[a:b]` is their full-resolution displacement,
    `(n, 2, H, W)` float32 pixels, (dy, dx), backward, and `fields[t]` that of one, `(2, H, W)`.
    """

    rigid: np.ndarray  # (T, 2) float32 px: the frame's mean displacement
    flow: np.ndarray | StoredFlow  # (T, 2, h, w) px: the rest, on the coarse grid
    flagged: np.ndarray  # (T,) bool: frames that could not be judged and were left as they are
    misfit: np.ndarray  # (T,) float32: mean square difference from the reference over the usual one, or NaN
    expected_error: np.ndarray  # (h, w) float32 px: expected length of the field's error, or NaN
    stride: int  # px between coarse samples
    reference: np.ndarray  # (H, W) float32: what the frames were brought onto
    left_out: np.ndarray  # (H, W) bool: what shows no tissue in any raw frame; no motion was read from it
    metadata: dict  # how the fields were made

    def __len__(self) -> int:
        return len(self.rigid)

    def __repr__(self) -> str:
        frames, height, width = self.shape
        return (
            f"<Fields of {frames} frames of {height}x{width} pixels, {np.count_nonzero(self.flagged)} flagged>"
        )

    @property
    def options(self) -> dict:
        """With which they were made, as far as that is known."""
        return self.metadata.get("options", {})

    @property
    def row_offset(self) -> int:
        """px by which the second, fourth, ... rows of raw frames lie to the right: taken back first."""
        return int(self.metadata.get(ROW_OFFSET, 0))

    @property
    def reach(self) -> int:
        """px by which sampled frames were moved at most: so far from its place may lie what is `left_out`."""
        return int(self.metadata.get(REACH, 0))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape (T, H, W) of the movie that the fields belong to."""
        return (len(self.rigid), *self.reference.shape)

    def __getitem__(self, frames: slice | int) -> np.ndarray:
        if not isinstance(frames, slice):
            return self[slice_of_one(frames, len(self))][0]
        flow = np.asarray(self.flow[frames], np.float32)
        rows, columns = (
            _interpolation(full, coarse, self.stride)
            for full, coarse in zip(self.reference.shape, flow.shape[2:], strict=True)
        )
        return rows @ flow @ columns.T + self.rigid[frames, :, None, None]

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        raise TypeError("fields may be large: say of which frames, fields[a:b], or fields[:]")


def checked_fields(fields: Fields) -> Fields:
    """`fields`; raises NrcorrectError if they are something else."""
    if not isinstance(fields, Fields):
        raise NrcorrectError(
            f"fields: got {type(fields).__name__}; wanted those that correct has returned, or load_fields(path)"
        )
    return fields


def _interpolation(full: int, coarse: int, stride: int) -> np.ndarray:
    """(full, coarse) float32 weights of linear interpolation, constant beyond the outermost samples."""
    position = np.clip((np.arange(full) + 0.5) / stride - 0.5, 0, coarse - 1)
    weights = 1 - np.abs(position[:, None] - np.arange(coarse))
    return np.clip(weights, 0, None).astype(np.float32)


def load_fields(path: str | Path) -> Fields:
    """Open a field file that `nrcorrect correct` wrote; the flow itself is read when sliced.

    Raises NrcorrectError if the file is missing, damaged or not a field file.
    """
    way_out = "wanted a NAME_fields.h5 that nrcorrect correct wrote"
    if not isinstance(path, str | Path):
        raise NrcorrectError(f"fields: got {type(path).__name__}; {way_out}")
    path = Path(path)
    try:
        with open_hdf5(path) as file:
            if file.attrs.get("format") != FORMAT:
                raise NrcorrectError(f"{path}: not a field file; {way_out}")
            reference = file["reference"][:]
            return _fitting(
                Fields(
                    rigid=file["rigid"][:],
                    flow=StoredFlow(path, file),
                    flagged=file["flagged"][:],
                    misfit=file["misfit"][:],
                    expected_error=file["expected_error"][:],
                    stride=int(file.attrs["stride"]),
                    reference=reference,
                    # First versions did not tell.
                    left_out=file["left_out"][:] if "left_out" in file else np.zeros(reference.shape, bool),
                    metadata=json.loads(file.attrs["metadata"]),
                )
            )
    except FileNotFoundError as error:
        raise NrcorrectError(f"{path}: no such file; {way_out}") from error
    except IsADirectoryError as error:
        raise NrcorrectError(f"{path}: is a directory; {way_out}") from error
    except UNREADABLE as error:
        why = str(error).partition("\n")[0]
        raise NrcorrectError(f"{path}: damaged, or not a field file ({why}); {way_out}") from error


def is_field_file(path: Path) -> bool:
    """Whether `load_fields` would know it."""
    try:
        with open_hdf5(path) as file:
            return np.array_equal(file.attrs.get("format"), FORMAT)  # which may be an array, of others
    except UNREADABLE:
        return False


def _fitting(fields: Fields) -> Fields:
    """`fields`; raises ValueError if their parts do not fit together."""
    size, stride = fields.reference.shape, fields.stride
    if len(size) != 2 or stride < 1:
        raise ValueError(f"its reference has shape {size}, its stride is {stride}")
    frames, grid = len(fields), tuple(-(-n // stride) for n in size)
    shapes = {
        "rigid": (frames, 2),
        "flow": (frames, 2, *grid),
        "flagged": (frames,),
        "misfit": (frames,),
        "expected_error": grid,
        "reference": size,
        "left_out": size,
    }
    for name, wanted in shapes.items():
        part, kind = getattr(fields, name), "b" if name in ("flagged", "left_out") else "f"
        if part.shape != wanted:
            raise ValueError(f"its {name} has shape {part.shape}; wanted {wanted}")
        if part.dtype.kind != kind:
            raise ValueError(f"its {name} has values of type {part.dtype}")
    if not np.isfinite(fields.rigid).all():
        raise ValueError("its rigid displacements are not finite")
    if not np.isfinite(fields.reference).any():
        raise ValueError("its reference shows nothing")
    about = fields.metadata
    if not isinstance(about, dict) or not isinstance(about.get("options", {}), dict):
        raise ValueError("its metadata are no JSON object")
    whole = all(isinstance(about.get(name, 0), int) for name in (ROW_OFFSET, REACH))
    if not whole or fields.options.get("dtype") not in (None, *DTYPES):
        raise ValueError("its metadata hold a row offset, a reach or a pixel type that is none")
    return fields


def create_fields(
    path: Path, frames: int, stride: int, reference: np.ndarray, metadata: dict, dtype: np.dtype = FLOW_DTYPE
) -> ArrayFile:
    """A field file to be filled: `write(start, rigid=(n, 2), flow=(n, 2, h, w), flagged=(n,), misfit=(n,))`.

    Once for all frames, `expected_error=(h, w)` and `left_out=(H, W)`; else the first is NaN, the second False.

    `reference` (H, W) gives the frame size; the grid of `stride` px covers it, in `dtype`.
    """
    grid = tuple(-(-size // stride) for size in reference.shape)
    arrays = {
        "reference": (reference.shape, np.float32),
        "rigid": ((frames, 2), np.float32),
        "flagged": ((frames,), np.bool_),
        "misfit": ((frames,), np.float32),
        "expected_error": (grid, np.float32),
        "left_out": (reference.shape, np.bool_),
        "flow": ((frames, 2, *grid), dtype),
    }
    about = CONVENTION | {"stride": stride, "metadata": json.dumps(metadata)}
    about[ROW_OFFSET] = metadata.get(ROW_OFFSET, 0)
    file = create_hdf5(path, arrays, about)
    nothing = np.zeros(reference.shape, bool)
    file.write(0, reference=reference, expected_error=np.full(grid, np.nan), left_out=nothing)
    return file
