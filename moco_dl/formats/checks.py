"""What a file must hold to be a movie; it is closed if it does not."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import numpy as np

from moco_dl.errors import NrcorrectError

SMALLEST = 16  # px, shortest side the network can see anything in
DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float16", "float32", "float64")


class Closable(Protocol):
    """A file of any library."""

    def close(self) -> None: ...


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
