"""How large a pixel is, as TIFFs say it."""

import re

import tifffile

MICROMETRES = {
    "nm": 1e-3,
    "um": 1.0,
    "\u00b5m": 1.0,
    "\u03bcm": 1.0,
    "\\u00b5m": 1.0,  # as ImageJ writes it
    "micron": 1.0,
    "microns": 1.0,
    "mm": 1e3,
    "cm": 1e4,
    "inch": 25400.0,
}
UNITS = {2: "inch", 3: "cm"}  # of plain TIFFs, by the number that stands for them
LIKELY = 1e-3, 1e6  # micrometres


def pixel_size(file: tifffile.TiffFile) -> tuple[float, float] | None:
    """Micrometres (y, x) of a pixel; None if the file does not say, or says what cannot be."""
    try:
        found = _of_ome(file.ome_metadata) if file.is_ome else _of_page(file)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):  # it may say anything
        return None
    return found if all(LIKELY[0] < size < LIKELY[1] for size in found) else None


def _of_page(file: tifffile.TiffFile) -> tuple[float, float]:
    """As ImageJ and plain TIFFs say it: pixels a unit."""
    tags = file.pages.first.tags
    unit = file.imagej_metadata["unit"] if file.is_imagej else UNITS[int(tags["ResolutionUnit"].value)]
    y, x = (tags[f"{axis}Resolution"].value for axis in "YX")
    return tuple(MICROMETRES[unit.lower()] * below / above for above, below in (y, x))


def _of_ome(text: str) -> tuple[float, float]:
    """As OME says it, in the description of the first image."""
    found = []
    for axis in "YX":
        unit = re.search(rf'PhysicalSize{axis}Unit="([^"]*)"', text)
        size = float(re.search(rf'PhysicalSize{axis}="([^"]*)"', text)[1])
        found.append(size * (1.0 if unit is None else MICROMETRES[unit[1].lower()]))
    return tuple(found)
