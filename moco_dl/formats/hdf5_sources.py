"""Where HDF5 datasets have their frames: in their own file, in raw ones beside it, or in those of others."""

import os
import re
from pathlib import Path

import h5py

from moco_dl.errors import NrcorrectError
from moco_dl.formats.hdf5_file import open_hdf5


def sources(path: Path, dataset: h5py.Dataset, above: tuple[tuple[Path, int], ...] = ()) -> set[Path]:
    """Files in which a dataset has its frames, all those through which virtual ones lead to them, too.

    Of files that are not there, a virtual dataset would show zeros. `path`: the movie's, for
    messages; `above`: places of those that led here.
    """
    named = {source[1:3] for source in dataset.virtual_sources()} if dataset.is_virtual else set()
    its_key, lost = text(dataset.name).strip("/"), []
    own, folder = Path(dataset.file.filename).resolve(), Path(dataset.file.filename).parent
    place = own, h5py.h5o.get_info(dataset.id).addr
    if place in above:  # the library would crash
        raise NrcorrectError(
            f"{path}: {shown(its_key)} takes its frames from itself; make it anew from the files that have them"
        )
    found = {own}  # a link may have led here
    found |= {Path(name).resolve() for name, *_ in dataset.external or ()}  # bytes of its own, elsewhere
    for name, key in sorted(named):
        if "%b" in name:  # as many as there are
            like = re.compile(re.escape(Path(name).name).replace("%b", "[0-9]+"))
            beside = (folder / Path(name)).parent
            found |= {p.resolve() for p in beside.glob("*") if like.fullmatch(p.name)}
        if "%b" in f"{name} {key}".replace("%%", ""):
            continue
        name, key = (each.replace("%%", "%") for each in (name, key))
        beside = folder / Path(name).name if Path(name).is_absolute() else folder / name
        places = [Path(os.environ.get("HDF5_VDS_PREFIX", ".")) / name, beside, Path(name)]
        there = next((each for each in ([own] if name == "." else places) if _holds(each, key)), None)
        if there is None:
            lost.append(f"{own.name if name == '.' else name} ({shown(key)})")
            continue
        with open_hdf5(there) as file:
            found |= {there.resolve()} | sources(path, file[key], (*above, place))
    if lost:
        raise NrcorrectError(
            f"{own if above else path}: {shown(its_key)} has frames in {len(lost)} files that are not"
            f" there, such as {lost[0]}; put them beside it"
        )
    return found


def _holds(path: Path, key: str) -> bool:
    """Whether there is such a dataset in such a file."""
    try:
        with open_hdf5(path) as file:
            return isinstance(file.get(key), h5py.Dataset)
    except (OSError, RuntimeError):
        return False


def text(name: str | bytes) -> str:
    """A name in a file: h5py leaves those that are not UTF-8 as bytes."""
    return name if isinstance(name, str) else name.decode(errors="surrogateescape")


def shown(name: str) -> str:
    """As it stands in a message of one line."""
    return name if name.isprintable() else repr(name)
