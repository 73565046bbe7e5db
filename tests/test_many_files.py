"""OME recordings in many files, as microscopes write them: the first one says what is in the others."""

import warnings

import numpy as np
import pytest
import tifffile

from moco_dl.errors import NrcorrectError
from moco_dl.movie import WHOLE, Part, open_movie
from moco_dl.recording import open_recording
from moco_dl.turns import Turn

FRAMES = np.random.default_rng(0).integers(0, 60000, (12, 2, 20, 24), np.uint16)
OME = '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="{uuid}">{content}</OME>'


def write(folder, together, channels=2, **options):
    """`together` frames of a channel in each file; returns the files, those of a time one after another."""
    times, _, height, width = FRAMES.shape
    files = {
        (time, channel): folder / f"t{time:02d}_c{channel}.ome.tif"
        for time in range(0, times, together)
        for channel in range(channels)
    }
    where = "".join(
        f'<TiffData IFD="{time % together}" PlaneCount="1" FirstZ="0" FirstC="{channel}" FirstT="{time}">'
        f'<UUID FileName="{files[time // together * together, channel].name}">'
        f"urn:uuid:{time // together * together}-{channel}</UUID></TiffData>"
        for time in range(times)
        for channel in range(channels)
    )
    first = (
        f'<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" SizeX="{width}"'
        f' SizeY="{height}" SizeZ="1" SizeC="{channels}" SizeT="{times}">{where}</Pixels></Image>'
    )
    for (time, channel), path in files.items():
        rest = '<BinaryOnly MetadataFile="t00_c0.ome.tif" UUID="urn:uuid:0-0"/>'
        ome = OME.format(
            uuid=f"urn:uuid:{time}-{channel}", content=first if (time, channel) == (0, 0) else rest
        )
        with tifffile.TiffWriter(path) as writer:
            for place, frame in enumerate(FRAMES[time : time + together, channel]):
                about = {"description": ome if place == 0 else None, "metadata": None, "contiguous": False}
                writer.write(frame, photometric="minisblack", **about, **options)
    return list(files.values())


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}], ids=str)
@pytest.mark.parametrize("together", [1, 4])
def test_frames_of_all_files(tmp_path, together, options):
    files = write(tmp_path, together, **options)
    movie = open_movie(files[0], Part(channel=Turn(2)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for wanted in (list(range(12)), [11, 3, 4, 4, 0]):
            np.testing.assert_array_equal(movie.read(wanted), FRAMES[wanted, 1])
    movie.close()
    assert movie.files == {path.resolve() for path in (files[0], *files[1::2])}


def test_a_file_that_is_not_there(tmp_path):
    files = write(tmp_path, 4)
    files[3].unlink()
    with pytest.raises(
        NrcorrectError, match=r"4 of its 12 frames, from number 4, are in files that are not there; put all"
    ) as told:
        open_movie(files[0], Part(channel=Turn(2)))
    assert "\n" not in str(told.value)
    open_movie(files[0], Part(channel=Turn(1))).close()


def test_files_that_are_known_already(tmp_path):
    files = write(tmp_path, 4, channels=1)
    with open_recording(files[:1], WHOLE) as (movie, _):
        assert movie.shape == (12, 20, 24)
    with pytest.raises(NrcorrectError, match="holds the frames of the others, too; name this file only"):
        with open_recording(files, WHOLE):
            pass
