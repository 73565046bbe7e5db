"""What a file must hold to be a movie; it is closed if it does not."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np

from moco_dl.errors import NrcorrectError

SMALLEST = 16  # px, shortest side the network can see anything in
DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float16", "float32", "float64")
# What reading a file raises that is gone, damaged, or holds something else.
UNREADABLE = (OSError, KeyError, ValueError, TypeError, AttributeError, IndexError, OverflowError, RuntimeError)


class Closable(Protocol):
    """A file of any library."""

    def close(self) -> None: ...


def as_array(name: str, value: object, wanted: str) -> np.ndarray:
    """`value`, whatever holds numbers, as an array. Raises NrcorrectError if it is none, or masked."""
    if isinstance(value, str | Path):
        raise NrcorrectError(f"{name}: got a path, {str(value)!r}; read it first, e.g. tifffile.imread(path)")
    parts = value if isinstance(value, list | tuple) else [value]
    if any(np.ma.is_masked(part) for part in parts):
        raise NrcorrectError(f'{name}: masked; fill what is missing: .astype("float32").filled(np.nan)')
    try:
        return np.asarray(value)
    except MemoryError:
        raise
    except Exception as error:  # what is no array raises whatever it likes
        raise NrcorrectError(f"{name}: got {type(value).__name__} ({error}); wanted {wanted}") from error


def check_movie(name: str, shape: Sequence[int], dtype: np.dtype) -> None:
    """Raise NrcorrectError unless `shape` and `dtype` are those of a movie that can be corrected."""
    if len(shape) != 3:
        raise NrcorrectError(f"{name}: has shape {tuple(shape)}; wanted a movie (frames, height, width)")
    if shape[0] == 0:
        raise NrcorrectError(f"{name}: holds no frames; wanted at least one")
    if min(shape[1:]) < SMALLEST:
        raise NrcorrectError(
            f"{name}: frames are {shape[1]}x{shape[2]}; wanted at least {SMALLEST}x{SMALLEST} pixels"
        )
    if np.dtype(dtype).name not in DTYPES:
        raise NrcorrectError(
            f"{name}: pixels are {np.dtype(dtype).name}; convert them to one of {', '.join(DTYPES)}"
        )


@contextmanager
def closed_on_error(file: Closable) -> Iterator[None]:
    """Close `file` if the block fails."""
    try:
        yield
    except BaseException:
        file.close()
        raise
