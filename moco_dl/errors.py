"""The one exception a user's input can cause; and how memory that runs out is known."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

GPU_IS_FULL = ("out of memory", "_STATUS_ALLOC_FAILED")  # what CUDA, its libraries, and MPS say
NO_THREAD = "can't start new thread"  # what Python says
# What torch, C++, oneDNN, and the system's loader say of memory, on its own or beside other words.
NO_MEMORY = re.compile(
    f"can't allocate memory|bad_alloc|could not create a primitive$|failed to map segment|{NO_THREAD}"
)


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


def memory_is_short(error: BaseException) -> bool:
    """Whether an error tells that the computer's memory, in which threads are started, too, has run out."""
    told = isinstance(error, RuntimeError | ImportError) and NO_MEMORY.search(str(error))
    met = error, error.__context__  # torch.save complains of the file if it had no memory to write it
    return any(isinstance(each, MemoryError) for each in met) or bool(told)
