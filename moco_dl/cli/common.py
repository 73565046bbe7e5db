"""What the commands share: options, the progress bar, how failures are told."""

import ctypes
import gc
import math
import os
import re
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from moco_dl.errors import NO_THREAD, NrcorrectError, gpu_is_full, memory_is_short

if TYPE_CHECKING:
    from moco_dl.formats.turns import Turn
    from moco_dl.movie import Selection


# Numbers are those of glibc's malloc.h.
MALLOC = {
    -8: 1,  # arenas, for all threads together
    -3: 4 * 2**20,  # bytes, from which a block is one of the system's own and leaves no hole
    -1: 64 * 2**20,  # free bytes that are kept
}
TIDIED = 0.5  # s, after which free memory between used blocks is given back


class FileName(click.Path):
    """A name; what is behind it is looked at later, so that what cannot be read fails by itself."""

    def __init__(self) -> None:
        super().__init__(path_type=Path, readable=False)

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        if value == "":
            self.fail("got no name; is a variable empty?", param, ctx)
        if value == "-":
            self.fail("got '-'; wanted a name: movies do not go through pipes", param, ctx)
        return super().convert(value, param, ctx)


PATH = FileName()


class Finite(click.FloatRange):
    """Numbers of a range; "nan" and "inf", which click lets pass, are none."""

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"got {value!r}; wanted a finite number", param, ctx)
        return number


class OneOf(click.ParamType):
    """K or K/N: number K, from 1, of those that a file says it has, or of N that take turns."""

    name = "K|K/N"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> "Turn":
        from moco_dl.formats.turns import Turn

        found = re.fullmatch(r"([1-9][0-9]*)(?:/([1-9][0-9]*))?", value)
        number, of = (count and int(count) for count in (found.groups() if found else (None, None)))
        if number is None or number > (of or number):
            self.fail(
                f"got {value!r}; wanted a number from 1, such as 2, or 2/3: the second of three", param, ctx
            )
        return Turn(number, of)


def which_movie(command: Callable) -> Callable:
    """Options that say which movie of a file is meant, see `pop_selection`."""
    for option in (
        click.option("--plane", type=OneOf(), help="Which plane, in the same way."),
        click.option(
            "--channel",
            type=OneOf(),
            help="Which channel of a TIFF of several, from 1; 1/2: the first of two that take turns, if the"
            " file does not say so.",
        ),
        click.option(
            "--dataset",
            metavar="KEY",
            help="Dataset of an HDF5 movie [the 3-D one with most frames; if several have as many, mov, else"
            " data].",
        ),
    ):
        command = option(command)
    return command


def pop_selection(options: dict) -> "Selection":
    """What of a file is the movie; takes the options that say so out of `options`."""
    from moco_dl.movie import Selection

    return Selection(*(options.pop(name) for name in ("dataset", "channel", "plane")))


device = click.option(
    "--device",
    default="auto",
    type=click.Choice(["auto", "cpu", "cuda", "mps"]),
    help="Where the network runs; auto: an NVIDIA GPU if there is one, else the CPU.",
)
overwrite = click.option("--overwrite", is_flag=True, help="Replace outputs that exist.")
quiet = click.option("--quiet", is_flag=True, help="No progress bar, no summary; errors are still shown.")


def leave_threads_to_workers() -> None:
    """For commands that compute frames in threads of their own; to be called before numpy or torch is imported.

    Numerical libraries start threads for every product of matrices, and these wait for more by spinning: they
    take processors from those who work. And the workers shall share what memory they free; by default, glibc
    keeps it for each of them alone.
    """
    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")
    mallopt = _of_glibc("mallopt")
    for setting, value in MALLOC.items():
        mallopt(setting, value)


def _of_glibc(name: str) -> Callable[..., int]:
    """A function of the C library; of another one that does not have it, one that does nothing."""
    try:
        return getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):
        return lambda *_: 0


def tidying(progress: Callable[[int, int], None]) -> Callable[[int, int], None]:
    """The same, but every now and then it gives free memory back to the system.

    Else blocks that come and go leave more and more holes between those that stay, the longer a movie is.
    """
    trim, last = _of_glibc("malloc_trim"), time.monotonic()

    def progressed(done: int, total: int) -> None:
        nonlocal last
        progress(done, total)
        if time.monotonic() - last > TIDIED:
            trim(0)
            last = time.monotonic()

    return progressed


@contextmanager
def heavy_imports() -> Iterator[None]:
    """What imports make stays to the end, and is not searched for garbage, not even then."""
    gc.disable()
    try:
        with reported():
            yield
    finally:
        gc.freeze()
        gc.enable()


def command_line() -> str:
    """What was typed, wherever the program lies."""
    return shlex.join(["nrcorrect", *sys.argv[1:]])


def tell(message: str) -> None:
    """A line on stderr; if it is closed or full, work goes on without."""
    with suppress(OSError):
        click.echo(message, err=True)


def say(lines: str) -> None:
    """Results, on stdout; whoever reads them may leave, as `head` does."""
    with suppress(BrokenPipeError):
        click.echo(lines)


@contextmanager
def bar(name: str, quiet: bool, unit: str = "frame") -> Iterator[Callable[[int, int], None]]:
    """A progress function `(just done, in all)`, drawn on stderr when that is a terminal."""
    from tqdm import tqdm

    hidden = quiet or None  # None: unless it is a terminal
    with tqdm(desc=name, unit=unit, disable=hidden, leave=False) as drawn:

        def progress(done: int, total: int) -> None:
            drawn.total = total
            drawn.update(done)

        yield progress


@contextmanager
def in_memory(way_out: str = "ask for less") -> Iterator[None]:
    """Memory that is not enough becomes a NrcorrectError."""
    try:
        yield
    except (MemoryError, RuntimeError, ImportError) as error:
        if gpu_is_full(error):
            told = "not enough memory on the GPU; end what else runs there, or choose --device cpu"
            raise NrcorrectError(told) from error
        if not memory_is_short(error):
            raise
        limited = "no more threads can be started, for lack of memory or by a limit of the system (ulimit -u)"
        told = limited if NO_THREAD in str(error) else "not enough memory"
        raise NrcorrectError(f"{told}; close other programs, or {way_out}") from error


@contextmanager
def reported(*, usage: bool = False) -> Iterator[None]:
    """One line on stderr and exit status 1 (2: wrong usage) instead of a traceback."""
    try:
        with in_memory():
            yield
    except NrcorrectError as error:
        if usage:
            raise click.UsageError(str(error)) from error
        tell(f"nrcorrect: {error}")
        sys.exit(1)
