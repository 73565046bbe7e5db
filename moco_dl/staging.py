"""Outputs: written beside their names first, there whole or not at all, never over what exists."""

import os
import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from moco_dl.errors import NrcorrectError

PART = ".part"
BEGUN = re.compile(r"\.[0-9a-f]{8}" + re.escape(PART))  # what follows the name of an output
WAY_OUT = "choose another output, or --overwrite"


def refuse_existing(paths: Sequence[Path], *, overwrite: bool) -> None:
    """Raise NrcorrectError if one of the outputs is there already, or cannot be written."""
    for path in paths:
        try:
            _refuse_place(path)
        except OSError as error:  # a name that is too long, a folder that may not be entered
            raise NrcorrectError(f"{path}: cannot write: {error.strerror}; choose another output") from error
        if overwrite:
            continue
        if os.path.lexists(path):
            raise NrcorrectError(f"{path}: exists; {WAY_OUT}")
        for part in leftovers(path):
            raise NrcorrectError(
                f"{part}: exists (left by a run that was killed, or still goes on); if none goes on, remove"
                " it, or --overwrite"
            )


def _refuse_place(path: Path) -> None:
    parent = path.parent
    with suppress(FileNotFoundError, NotADirectoryError):
        _part_of(path).lstat()  # the longest of the names
    if path.is_dir():
        raise NrcorrectError(f"{path}: is a directory; name a file")
    if path.is_symlink():
        raise NrcorrectError(f"{path}: is a link; name the file that it leads to, or choose another output")
    if path.exists() and not path.is_file():
        raise NrcorrectError(
            f"{path}: is a device or pipe; wanted a file, which is renamed once it is complete"
        )
    if not parent.is_dir():
        raise NrcorrectError(f"{path}: no directory {parent}; make it first")
    if not os.access(parent, os.W_OK):
        raise NrcorrectError(f"{path}: no permission to write in {parent}; choose another directory")


def refuse_inputs(
    paths: Iterable[Path], inputs: Iterable[Path], way_out: str = "choose another output"
) -> None:
    """Raise NrcorrectError if one of the outputs, or what goes with it if that is replaced, is read."""
    known, begun = {key for path in inputs for key in _keys(path)}, {}
    for path in paths:
        if path.parent not in begun:  # read once: a folder may be that of thousands of outputs
            begun[path.parent] = _begun_in(path.parent)
        beside = _begun_of(path, begun[path.parent])
        if any(not known.isdisjoint(_keys(each)) for each in (path, *beside)):
            raise NrcorrectError(f"{path}: is an input; {way_out}")


def _keys(path: Path) -> list[object]:
    """What two names of one file share: the place that they lead to, or the file itself."""
    keys = [os.path.realpath(path)]
    with suppress(OSError):
        found = path.stat()
        keys += [(found.st_dev, found.st_ino)]
    return keys


def leftovers(path: Path) -> list[Path]:
    """What other runs write, or have left, that was to become `path`."""
    return _begun_of(path, _begun_in(path.parent))


def _begun_in(folder: Path) -> list[str]:
    """Names of all that runs write, or have left, in a folder."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.name.endswith(PART))
    except OSError:  # there is no such folder, or it may not be read
        return []


def _begun_of(path: Path, names: Sequence[str]) -> list[Path]:
    """Those of the `names` in its folder that were to become `path`."""
    begun = (name for name in names if name.startswith(path.name))
    return [path.parent / name for name in begun if BEGUN.fullmatch(name, len(path.name))]


def _part_of(path: Path) -> Path:
    """A name to write to until `path` is complete, that no other run has."""
    return path.parent / f"{path.name}.{secrets.token_hex(4)}{PART}"


@contextmanager
def staged(paths: Sequence[Path], *, overwrite: bool = False) -> Iterator[list[Path]]:
    """Names to write to instead of `paths`; they become `paths` if the block succeeds, else they are removed.

    They are there from the start, so that other runs see them. What is complete stays if it cannot replace one
    of `paths`, as on Windows while another program has that open. Raises NrcorrectError then, as
    `refuse_existing` does, and if a write fails (no space, no permission).
    """
    refuse_existing(paths, overwrite=overwrite)
    try:
        with ExitStack() as made:
            parts = [_made(path, made, overwrite) for path in paths]
            yield parts
            for path, part in zip(paths, parts, strict=True):
                if not part.exists():
                    raise NrcorrectError(f"{part}: was removed while it was written; run it again")
                if not overwrite and os.path.lexists(path):
                    raise NrcorrectError(f"{path}: exists, made by another program in the meantime; {WAY_OUT}")
            _publish(parts, paths, made)
    except OSError as error:
        reason = error.strerror or str(error).splitlines()[0]
        way_out = "free some space or choose another directory"
        if isinstance(error, FileNotFoundError):
            way_out = f"if {paths[0].parent} was removed in the meantime, make it and run it again"
        raise NrcorrectError(f"{paths[0]}: cannot write: {reason}; {way_out}") from error


def _publish(parts: Sequence[Path], paths: Sequence[Path], made: ExitStack) -> None:
    """Give all outputs their names, even if a signal comes in between; what cannot get its own is kept."""
    try:
        with ExitStack() as published:
            for path, part in zip(reversed(paths), reversed(parts), strict=True):
                published.callback(part.replace, path)
    except OSError as error:
        made.pop_all()
        left = {part: path for part, path in zip(parts, paths, strict=True) if part.exists()}
        named = ", ".join(str(path) for path in left.values())
        raise NrcorrectError(
            f"{named}: cannot be replaced: {error.strerror or error}; close what has it open, then rename"
            f" {', '.join(map(str, left))}, which is complete"
        ) from error


def _made(path: Path, made: ExitStack, overwrite: bool) -> Path:
    """A part of `path`, which `made` removes in the end unless it was renamed.

    Others go, if what they were to become may be replaced.
    """
    part = _part_of(path)
    made.callback(part.unlink, missing_ok=True)
    part.touch(exist_ok=False)
    others = [other for other in leftovers(path) if other != part]
    if others and not overwrite:
        raise NrcorrectError(f"{others[0]}: another run has begun to write it; {WAY_OUT}")
    for other in others:
        other.unlink(missing_ok=True)
    return part
