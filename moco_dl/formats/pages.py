"""Pages of a TIFF file: each as it is stored, and what to tell if it is damaged."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tifffile

from moco_dl.errors import NrcorrectError, memory_is_short, named

UNLIKE = "incompatible keyframe"  # what tifffile says of pages that are not as the first
_READING: dict[int, list[str]] = {}  # errors that tifffile logs, for each file that is read


def _kept(record: logging.LogRecord) -> bool:
    """While files are read, what is logged is not shown. Which of them it is about is not known."""
    for errors in list(_READING.values()):
        if record.levelno >= logging.ERROR:
            errors.append(record.getMessage())
    return not _READING


logging.getLogger("tifffile").addFilter(_kept)


def as_stored(page: tifffile.TiffPage | tifffile.TiffFrame, like: tifffile.TiffPage) -> tifffile.TiffPage:
    """Page as it says itself, if it is not stored like the first; refused if it is another kind of image."""
    if isinstance(page, tifffile.TiffPage) or page.is_virtual:
        return page
    found = page.aspage()
    if (found.shape, found.dtype) != (like.shape, like.dtype):
        raise NrcorrectError(
            f"image {page.index} of the file is {found.dtype} {found.shape}, others are {like.dtype}"
            f" {like.shape}; wanted all alike: save them anew"
        )
    return page if found.hash == like.hash else found


def decode(item: tuple[np.ndarray, tifffile.TiffPage]) -> None:
    """Read a page into a frame (H, W)."""
    frame, page = item
    frame[...] = page.asarray()


@contextmanager
def opened(file: tifffile.FileHandle) -> Iterator[None]:
    """Open a file of many for a while."""
    file.open()
    try:
        yield
    finally:
        file.close()


@contextmanager
def damage_reported(path: Path) -> Iterator[None]:
    """Turn what tifffile raises, and the errors that it only logs, into a NrcorrectError."""
    errors: list[str] = []
    _READING[id(errors)] = errors
    way_out = "copy it again, or save it anew"
    try:
        with named(path):
            yield
    except NrcorrectError:
        raise
    except Exception as error:  # decoders raise whatever the bytes provoke
        if memory_is_short(error):
            raise
        if str(error) == UNLIKE:
            raise NrcorrectError(
                f"{path}: holds images of several sizes, or stored in several ways; wanted all alike: save"
                " them anew"
            ) from error
        raise NrcorrectError(f"{path}: damaged TIFF ({error}); {way_out}") from error
    finally:
        del _READING[id(errors)]
    if errors:
        raise NrcorrectError(f"{path}: damaged or truncated TIFF ({errors[0]}); {way_out}")
