"""What ScanImage writes into its files about the frames in them."""

import re
from typing import BinaryIO

import numpy as np
import tifffile

CHANNELS = "SI.hChannels.channelSave"
STACKS = ("SI.hFastZ.enable", "SI.hStackManager.enable")
AT_ONCE = "SI.hStackManager.framesPerSlice"
# Frames of a volume, with those taken while the focus flies back; as newer and as older versions have it.
VOLUME = ("SI.hStackManager.numFramesPerVolumeWithFlyback", "SI.hFastZ.numFramesPerVolume")

# Of a page, in a recording that may have begun in another file.
NUMBERS = re.compile(r"^frameNumber(?:Acquisition|s) = ([1-9][0-9]*)\s*$", re.MULTILINE)


def axes_of(file: BinaryIO, count: int, description: str) -> tuple[str, tuple[int, ...], range]:
    """Axes of the `count` frames of a file, their sizes, and which of the frames of this shape are in the file.

    The first volume may have begun in the file before, as the number of the first frame tells, which is in its
    `description`, and the last one may go on in the next. How many frames there are is not taken from what the
    file says: that is planned before the first one is taken, for all files of a recording. A last cycle of
    channels that is not complete is left out. Versions before 2016 say nothing.
    """
    try:
        told = tifffile.read_scanimage_metadata(file)[0]
    except ValueError:
        told = {}
    channels = np.size(told.get(CHANNELS, 1))
    planes = 1
    if any(told.get(key) for key in STACKS) and told.get(AT_ONCE) == 1:
        planes = next((told[key] for key in VOLUME if isinstance(told.get(key), int)), 1)
    if not 1 <= planes * channels <= count:
        return "T", (count,), range(count)
    numbers = NUMBERS.findall(description)
    before = (int(numbers[-1]) - 1) % planes if numbers else 0
    behind = before + count // channels
    return "TZC", (-(-behind // planes), planes, channels), range(before * channels, behind * channels)
