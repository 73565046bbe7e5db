"""What ScanImage writes into its files about the frames in them."""

from typing import BinaryIO

import numpy as np
import tifffile

CHANNELS = "SI.hChannels.channelSave"
STACKS = ("SI.hFastZ.enable", "SI.hStackManager.enable")
AT_ONCE = "SI.hStackManager.framesPerSlice"
# Frames of a volume, with those taken while the focus flies back; as newer and as older versions have it.
VOLUME = ("SI.hStackManager.numFramesPerVolumeWithFlyback", "SI.hFastZ.numFramesPerVolume")


def axes_of(file: BinaryIO, count: int) -> tuple[str, tuple[int, ...]]:
    """Axes of the `count` frames of a file, and their sizes.

    How many frames there are is not taken from what the file says: that is planned before the first one is
    taken, for all files of a recording. A last cycle of channels and planes that is not complete is left out.
    Versions before 2016 say nothing.
    """
    try:
        told = tifffile.read_scanimage_metadata(file)[0]
    except ValueError:
        told = {}
    channels = np.size(told.get(CHANNELS, 1))
    planes = 1
    if any(told.get(key) for key in STACKS) and told.get(AT_ONCE) == 1:
        planes = next((told[key] for key in VOLUME if isinstance(told.get(key), int)), 1)
    kinds = planes * channels
    return ("TZC", (count // kinds, planes, channels)) if 1 <= kinds <= count else ("T", (count,))
