"""Correct a movie with another tool; compare_tools.py runs this in a process, maybe an environment, of its own.

    python peers.py                   # which tools are installed here, as JSON {name: version or null}
    python peers.py TOOL MOVIE.tif    # correct it; outputs go to the working directory

Nothing of nrcorrect is imported. Tools run with the settings that README.md lists.
"""

import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import tifffile
from baselines import opencv, skimage
from exchange import linear, save_field, shape_of

CHUNK = 100  # frames read at a time
STRIDE, OVERLAP = 48, 24  # px; patches of the piecewise-rigid methods
PATCHES = {
    "pw_rigid": True,
    "strides": (STRIDE, STRIDE),
    "overlaps": (OVERLAP, OVERLAP),
    "max_shifts": (16, 16),  # the default, 6, is less than these movies move
    "max_deviation_rigid": 3,
}


def suite2p(movie: Path, *, block: int) -> None:
    """Registration with blocks of `block` px; leaves data.bin and reg_tif/."""
    import torch
    from suite2p import default_settings, registration_wrapper
    from suite2p.io import BinaryFile
    from suite2p.registration.nonrigid import make_blocks

    count, height, width = shape_of(movie)
    settings = default_settings()["registration"] | {"block_size": (block, block), "reg_tif": True}
    with BinaryFile(height, width, "data.bin", n_frames=count, write=True) as binary:
        for start in range(0, count, CHUNK):
            numbers = range(start, min(start + CHUNK, count))
            frames = tifffile.imread(movie, key=numbers).reshape(-1, height, width)
            binary[start : numbers.stop] = (frames // 2).astype(np.int16)  # as its own readers do
        found = registration_wrapper(binary, save_path=".", settings=settings, device=torch.device("cpu"))
    y_blocks, x_blocks, (ny, nx) = make_blocks(height, width, (block, block))[:3]
    components = (
        found[f"{axis}off"][:, None, None] + np.reshape(found[f"{axis}off1"], (count, ny, nx)) for axis in "yx"
    )
    field = np.stack(list(components), axis=1)
    save_field(field, _block_weights(height, y_blocks[::nx]), _block_weights(width, x_blocks[:nx]))


def _block_weights(size: int, blocks: Sequence[np.ndarray]) -> np.ndarray:
    """(size, blocks): linear between the centres of the first and the last block, constant outside."""
    centres = np.mean(blocks, axis=1).astype(int)
    span = max(centres[-1] - centres[0] - 1, 1)
    return linear((np.arange(size) - centres[0]) * ((len(blocks) - 1) / span), len(blocks))


def jnormcorre(movie: Path) -> None:
    """NoRMCorre's piecewise-rigid method in JAX; leaves data_TIME.tiff."""
    import jax
    from jnormcorre import motion_correction
    from jnormcorre.utils.registrationarrays import TiffArray

    register, shifts = motion_correction.register_frames_to_template_pwrigid, []

    def recorded(*arguments: object) -> tuple:
        corrected, found = register(*arguments)
        shifts.append(np.asarray(found))
        return corrected, found

    # Of the shifts, version 1.0.0 returns those of the first two patches only.
    motion_correction.register_frames_to_template_pwrigid = recorded
    options = PATCHES | {"niter_rig": 4, "frames_per_split": 50, "bigtiff": True}
    motion_correction.MotionCorrect(TiffArray(movie), **options).motion_correct(save_movie=True)
    count, *sizes = shape_of(movie)
    splits = motion_correction.calculate_splits(count, 1000)  # the last may begin inside the one before
    order = np.concatenate([np.arange(split.start, split.stop) for split in splits])
    found = np.empty((count, *shifts[0].shape[1:]), np.float32)
    found[order] = np.concatenate(shifts)
    grid = _patches(sizes)
    pairs = zip(sizes, grid, strict=True)
    weights = (jax.image.resize(np.eye(n, dtype=np.float32), (size, n), "cubic") for size, n in pairs)
    save_field(_patch_field(found, grid), *weights)


def caiman(movie: Path) -> None:
    """CaImAn's piecewise-rigid method in one process; leaves its memory map, the format it goes on with."""
    os.environ["CAIMAN_TEMP"] = str(Path.cwd())
    from caiman.motion_correction import MotionCorrect

    correction = MotionCorrect(str(movie), shifts_opencv=True, border_nan="copy", **PATCHES)
    correction.motion_correct(save_movie=True)
    found = np.stack([correction.x_shifts_els, correction.y_shifts_els], axis=-1)  # its x is the row
    sizes = shape_of(movie)[1:]
    grid = _patches(sizes)
    pairs = zip(sizes, grid, strict=True)
    weights = (linear((np.arange(size) + 0.5) * (n / size) - 0.5, n) for size, n in pairs)
    save_field(_patch_field(found, grid), *weights)


def _patches(sizes: Sequence[int]) -> list[int]:
    """Patches along each axis, as NoRMCorre lays them: one every stride, and one at the end."""
    return [len(range(0, size - STRIDE - OVERLAP, STRIDE)) + 1 for size in sizes]


def _patch_field(shifts: np.ndarray, grid: Sequence[int]) -> np.ndarray:
    """Shifts (T, patches, 2), row by row, that say where content goes -> backward field (T, 2, h, w)."""
    return -np.moveaxis(shifts.reshape(len(shifts), *grid, 2), -1, 1)


def pyflowreg(movie: Path) -> None:
    """PyFlowReg's variational flow; leaves compensated.TIFF."""
    import h5py
    from pyflowreg.motion_correction import OFOptions, compensate_recording

    count, height, width = shape_of(movie)
    options = {"alpha": 4, "quality_setting": "balanced"}  # as in its demos
    options |= {"output_path": ".", "output_format": "TIFF", "output_typename": "uint16", "save_w": True}
    frames = range(min(50, count // 4), min(500, count))  # its default is 50 to 499
    compensate_recording(OFOptions(input_file=str(movie), reference_frames=list(frames), **options))
    field = np.lib.format.open_memmap("field.npy", mode="w+", dtype=np.float32, shape=(count, 2, height, width))
    with h5py.File("w.h5") as found:
        for start in range(0, count, CHUNK):
            some = slice(start, start + CHUNK)
            field[some, 0], field[some, 1] = found["v"][some], found["u"][some]
    field.flush()


@dataclass(frozen=True)
class Peer:
    module: str  # what must be importable
    packages: tuple[str, ...]  # the names it may be installed under
    run: Callable[[Path], None]

    def version(self) -> str | None:
        """Name and version, None if the tool is not installed."""
        try:
            if find_spec(self.module) is None:
                return None
        except ModuleNotFoundError:
            return None
        for package in self.packages:
            try:
                return f"{package} {version(package)}"
            except PackageNotFoundError:
                continue
        return f"{self.packages[0]}, version unknown"


OPENCV = ("opencv-python-headless", "opencv-python", "opencv-contrib-python")
PEERS = {
    "suite2p": Peer("suite2p", ("suite2p",), partial(suite2p, block=128)),
    "suite2p-64": Peer("suite2p", ("suite2p",), partial(suite2p, block=64)),
    "jnormcorre": Peer("jnormcorre", ("jnormcorre",), jnormcorre),
    # The package called caiman that pip finds is something else, without this module.
    "caiman": Peer("caiman.motion_correction", ("caiman",), caiman),
    "pyflowreg": Peer("pyflowreg", ("pyflowreg",), pyflowreg),
    "dis": Peer("cv2", OPENCV, partial(opencv, method="dis", blur=0.0)),
    "farneback": Peer("cv2", OPENCV, partial(opencv, method="farneback", blur=2.0)),
    "skimage": Peer("skimage", ("scikit-image",), skimage),
}

if __name__ == "__main__":
    if len(sys.argv) == 1:
        print(json.dumps({name: peer.version() for name, peer in PEERS.items()}))
    else:
        PEERS[sys.argv[1]].run(Path(sys.argv[2]))
