"""The one exception a user's input can cause; and how memory that runs out is known."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

GPU_IS_FULL = ("out of memory", "_STATUS_ALLOC_FAILED")  # what CUDA, its libraries, and MPS say


class NrcorrectError(Exception):
    """Bad input or a failed write; the message says what was got, what was wanted and the way out."""


def is_about(error: NrcorrectError, path: Path) -> bool:
    """Whether its message begins with the name of this file."""
    return str(error).startswith(tuple(f"{path}{mark}" for mark in ": ,"))


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Have errors of the block name the file that they are about."""
    try:
        yield
    except NrcorrectError as error:
        if is_about(error, path):
            raise
        raise NrcorrectError(f"{path}: {error}") from error


def gpu_is_full(error: BaseException) -> bool:
    """Whether an error of torch's tells that a GPU's memory has run out."""
    full = type(error).__name__ == "OutOfMemoryError"
    return full or (isinstance(error, RuntimeError) and any(words in str(error) for words in GPU_IS_FULL))
