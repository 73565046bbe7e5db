"""Files as ScanImage writes them: what is planned in their header is not always what is in them."""

import struct
from contextlib import closing

import numpy as np
import pytest
import tifffile

from moco_dl.errors import NrcorrectError
from moco_dl.formats.turns import Turn
from moco_dl.movie import Selection, open_movie
from moco_dl.recording import open_recording

FRAMES = np.random.default_rng(0).integers(-500, 30000, (12, 20, 24), np.int16)
FIRST, SECOND = Selection(channel=Turn(1)), Selection(channel=Turn(2))
FAST = {"hFastZ.enable": "true", "hStackManager.framesPerSlice": 1}


def write(path, frames, told, first=1):
    """A BigTIFF: a header of text behind the file's own, then pages, all of the same length, with a number."""
    text = "".join(f"SI.{name} = {value}\n" for name, value in told.items()).encode() + b"\0"
    header = struct.pack("<IIII", 117637889, 4, len(text), 3) + text + b"{}\0"
    software, description = (
        b"SI.VERSION_MAJOR = 2020\0",
        f"frameNumbers = {first}\nframeTimestamps_sec = 0\0".encode(),
    )
    (height, width), size = frames.shape[1:], frames[0].nbytes
    at = start = 16 + len(header)
    pages = []
    for left in reversed(range(len(frames))):
        behind = at + 8 + 12 * 20 + 8
        tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 16), (259, 3, 1, 1), (262, 3, 1, 1)]
        tags += [(270, 2, len(description), behind + len(software))]
        tags += [(273, 16, 1, behind + len(software) + len(description)), (277, 3, 1, 1), (278, 4, 1, height)]
        tags += [(279, 16, 1, size), (305, 2, len(software), behind), (339, 3, 1, 2)]
        page = struct.pack("<Q", len(tags)) + b"".join(struct.pack("<HHQQ", *tag) for tag in tags)
        after = behind + len(software) + len(description) + size
        page += struct.pack("<Q", after if left else 0) + software + description
        pages.append(page + frames[len(pages)].astype("<i2").tobytes())
        at = after
    path.write_bytes(struct.pack("<2sHHHQ", b"II", 43, 8, 0, start) + header + b"".join(pages))


def read(path, selection=FIRST):
    with closing(open_movie(path, selection)) as movie:
        return movie.read(range(movie.shape[0]))


@pytest.mark.parametrize("planned", ["12", "Inf", "1000", "5", "1"])
def test_all_frames_that_are_there(tmp_path, planned):
    """Of a recording over many files, or one that was stopped."""
    told = {"hChannels.channelSave": "1", "hStackManager.framesPerSlice": planned}
    write(tmp_path / "m.tif", FRAMES, told)
    np.testing.assert_array_equal(read(tmp_path / "m.tif", Selection()), FRAMES)


@pytest.mark.parametrize("planned", ["6", "Inf", "1000", "4", "1"])
@pytest.mark.parametrize("channels", ["[1;2]", "[2 4]"])
def test_channels(tmp_path, planned, channels):
    told = {"hChannels.channelSave": channels, "hStackManager.framesPerSlice": planned}
    write(tmp_path / "m.tif", FRAMES[:11], told)
    np.testing.assert_array_equal(read(tmp_path / "m.tif", SECOND), FRAMES[1:10:2])
    np.testing.assert_array_equal(read(tmp_path / "m.tif", FIRST), FRAMES[0:10:2])
    with pytest.raises(NrcorrectError, match=r"axes TZCYX \(5, 1, 2, 20, 24\): has 2 channels"):
        open_movie(tmp_path / "m.tif")


@pytest.mark.parametrize(
    "planes", [{"hStackManager.numFramesPerVolumeWithFlyback": 3}, {"hFastZ.numFramesPerVolume": 3}]
)
def test_planes_of_volumes(tmp_path, planes):
    write(tmp_path / "m.tif", FRAMES, {"hChannels.channelSave": "[1;2]"} | FAST | planes)
    selection = Selection(channel=Turn(2), plane=Turn(3))
    np.testing.assert_array_equal(read(tmp_path / "m.tif", selection), FRAMES.reshape(2, 3, 2, 20, 24)[:, 2, 1])
    with pytest.raises(NrcorrectError, match="has 3 planes; wanted one"):
        open_movie(tmp_path / "m.tif", FIRST)


@pytest.mark.parametrize(("channels", "planes", "cuts"), [(1, 3, [0, 4, 8, 12]), (2, 2, [0, 3, 6])])
def test_volumes_that_go_on_in_the_next_file(tmp_path, channels, planes, cuts):
    told = {"hChannels.channelSave": "[1;2]" if channels == 2 else "1", "hFastZ.numFramesPerVolume": planes}
    taken = FRAMES.reshape(-1, channels, 20, 24)
    files = [tmp_path / f"m_{number}.tif" for number in range(len(cuts) - 1)]
    for path, start, stop in zip(files, cuts, cuts[1:], strict=False):
        write(path, np.concatenate(taken[start:stop]), told | FAST, first=start + 1)
    for plane in range(planes):
        selection = Selection(channel=Turn(2) if channels == 2 else None, plane=Turn(plane + 1))
        with open_recording(files, selection) as (movie, _):
            np.testing.assert_array_equal(movie.read(range(movie.shape[0])), taken[plane::planes, channels - 1])


@pytest.mark.parametrize("odd", ["Inf", "[]", "0", "[3 3]", "1000"])
def test_odd_numbers_are_not_believed(tmp_path, odd):
    write(tmp_path / "m.tif", FRAMES, FAST | {"hStackManager.numFramesPerVolumeWithFlyback": odd})
    np.testing.assert_array_equal(read(tmp_path / "m.tif", Selection()), FRAMES)


def test_planes_that_are_not_scanned(tmp_path):
    """A number that was left from another recording."""
    told = {"hStackManager.enable": "false", "hStackManager.numFramesPerVolumeWithFlyback": 3}
    write(tmp_path / "m.tif", FRAMES, FAST | told | {"hFastZ.enable": "false"})
    np.testing.assert_array_equal(read(tmp_path / "m.tif", Selection()), FRAMES)


def test_the_last_frame_of_old_files(tmp_path):
    """Where frames are is not concluded from where the first ones are."""
    with tifffile.TiffWriter(tmp_path / "m.tif") as writer:
        for frame in FRAMES:
            writer.write(frame, photometric="minisblack", software="SI.5", contiguous=False, metadata=None)
    np.testing.assert_array_equal(read(tmp_path / "m.tif", Selection()), FRAMES)
    np.testing.assert_array_equal(read(tmp_path / "m.tif", Selection(channel=Turn(1, 2))), FRAMES[::2])
