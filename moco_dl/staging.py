"""Outputs: written beside their names first, there whole or not at all, never over what exists."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from moco_dl.errors import NrcorrectError

try:
    import fcntl
except ImportError:  # Windows, where files that are open can be neither removed nor replaced
    fcntl = None

WAY_OUT = "choose another output, or --overwrite"


def refuse_existing(paths: Sequence[Path], *, overwrite: bool) -> None:
    """Raise NrcorrectError if one of the outputs is there already, or cannot be written."""
    for path in paths:
        try:
            _refuse_place(path)
        except OSError as error:  # a name that is too long, a folder that may not be entered
            raise NrcorrectError(f"{path}: cannot write: {error.strerror}; choose another output") from error
        for existing in (path, part_of(path)):
            if os.path.lexists(existing) and not overwrite:
                rest = " (left by a run that was killed, or still goes on)" if existing != path else ""
                raise NrcorrectError(f"{existing}: exists{rest}; {WAY_OUT}")


def _refuse_place(path: Path) -> None:
    parent = path.parent
    with suppress(FileNotFoundError, NotADirectoryError):
        part_of(path).lstat()  # the longer of the names
    if path.is_dir():
        raise NrcorrectError(f"{path}: is a directory; name a file")
    if not parent.is_dir():
        raise NrcorrectError(f"{path}: no directory {parent}; make it first")
    if not os.access(parent, os.W_OK):
        raise NrcorrectError(f"{path}: no permission to write in {parent}; choose another directory")


def refuse_inputs(paths: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Raise NrcorrectError if one of the outputs, or what it is written as until it is complete, is read."""
    known = {path.resolve() for path in inputs}
    for path in paths:
        if not known.isdisjoint((path.resolve(), part_of(path).resolve())):
            raise NrcorrectError(f"{path}: is an input; choose another output")


def part_of(path: Path) -> Path:
    """Where `path` is written until it is complete."""
    return path.parent / f"{path.name}.part"


@contextmanager
def staged(paths: Sequence[Path], *, overwrite: bool = False) -> Iterator[list[Path]]:
    """Names to write to instead of `paths`; they become `paths` if the block succeeds, else they are removed.

    They are there from the start, and no other run gets them. Raises NrcorrectError as `refuse_existing` does,
    and if a write fails (no space, no permission).
    """
    refuse_existing(paths, overwrite=overwrite)
    try:
        with ExitStack() as claims:
            parts = [claims.enter_context(_claimed(path, overwrite)) for path in paths]
            yield [part.path for part in parts]
            for path, part in zip(paths, parts, strict=True):
                if not part.is_there():
                    raise NrcorrectError(f"{part.path}: was removed while it was written; run it again")
                if not overwrite and os.path.lexists(path):
                    raise NrcorrectError(f"{path}: exists, made by another program in the meantime; {WAY_OUT}")
            with ExitStack() as published:  # all of them, even if a signal comes in between
                for path, part in zip(reversed(paths), reversed(parts), strict=True):
                    published.callback(part.path.replace, path)
    except OSError as error:
        reason = error.strerror or str(error).splitlines()[0]
        raise NrcorrectError(
            f"{paths[0]}: cannot write: {reason}; free some space or choose another directory"
        ) from error


@dataclass(frozen=True)
class _Part:
    """A file that this run made."""

    path: Path
    made: os.stat_result

    def is_there(self) -> bool:
        try:
            return os.path.samestat(self.path.lstat(), self.made)
        except FileNotFoundError:
            return False


@contextmanager
def _claimed(path: Path, overwrite: bool) -> Iterator[_Part]:
    """The part of `path`, made here, and removed in the end unless it was renamed.

    It stays locked, so that another run does not take it for one that was left, and overwrite it.
    """
    how = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | (0 if overwrite else os.O_EXCL)
    try:
        file = os.open(part_of(path), how, 0o666)
    except FileExistsError as error:
        raise NrcorrectError(f"{part_of(path)}: another run has begun to write it; {WAY_OUT}") from error
    part = _Part(part_of(path), os.fstat(file))
    with ExitStack() as end:
        if fcntl is None:
            os.close(file)
        else:
            end.callback(os.close, file)
            if not (_locked(file) and part.is_there()):
                raise NrcorrectError(f"{part.path}: another run writes it; wait, or choose another output")
        try:
            yield part
        finally:
            if part.is_there():
                part.path.unlink()


def _locked(file: int) -> bool:
    """Whether the file could be locked, or lies where that is not possible."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
