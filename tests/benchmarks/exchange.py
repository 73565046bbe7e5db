"""What every peer reads and leaves: a TIFF movie, and a field in one convention.

A field is float32 pixels, (dy, dx), backward: `corrected[y, x] = raw[y + dy, x + dx]`. `field.npy` (T, 2, h, w)
holds it; if the tool interpolates a coarse field, `rows.npy` (H, h) and `columns.npy` (W, w) are the weights
with which it does: dense field = rows @ field @ columns.T.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile


def frames_of(movie: Path) -> Iterator[np.ndarray]:
    """The frames (H, W) of a TIFF movie, one at a time."""
    with tifffile.TiffFile(movie) as tiff:
        for page in tiff.pages:
            yield page.asarray()


def shape_of(movie: Path) -> tuple[int, int, int]:
    with tifffile.TiffFile(movie) as tiff:
        return (len(tiff.pages), *tiff.pages[0].shape)


def linear(position: np.ndarray, count: int) -> np.ndarray:
    """(n, count) weights of linear interpolation at `position` (n,) among `count` samples, constant outside."""
    position = np.clip(position, 0, count - 1)
    return np.clip(1 - np.abs(position[:, None] - np.arange(count)), 0, None)


def save_field(field: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> None:
    """Leave a coarse field and its weights in the working directory."""
    np.save("field.npy", np.asarray(field, np.float32))
    save_weights(rows, columns)


def save_weights(rows: np.ndarray, columns: np.ndarray) -> None:
    np.save("rows.npy", np.asarray(rows, np.float32))
    np.save("columns.npy", np.asarray(columns, np.float32))


def save_corrected(frames: Iterator[tuple[np.ndarray, np.ndarray]], shape: tuple[int, int, int]) -> None:
    """Leave corrected.tif and field.npy in the working directory, from frames (H, W) and fields (2, h, w).

    `shape` (T, h, w) is that of all fields.
    """
    count, *sizes = shape
    header = {"descr": "<f4", "fortran_order": False, "shape": (count, 2, *sizes)}
    with tifffile.TiffWriter("corrected.tif") as tiff, Path("field.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for frame, field in frames:
            tiff.write(frame, contiguous=True, photometric="minisblack")
            file.write(field.astype("<f4").tobytes())


def load_field(folder: Path) -> np.ndarray:
    """The dense field (T, 2, H, W) that a peer left in `folder`."""
    field = np.load(folder / "field.npy")
    if not (folder / "rows.npy").exists():
        return field
    return np.load(folder / "rows.npy") @ field @ np.load(folder / "columns.npy").T
