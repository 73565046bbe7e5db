"""OME recordings in many files, as microscopes write them: the first one says what is in the others."""

import warnings

import numpy as np
import pytest
import tifffile
from commands import run

from moco_dl.errors import NrcorrectError
from moco_dl.formats.turns import Turn
from moco_dl.movie import WHOLE, Selection, open_movie
from moco_dl.recording import open_recording

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
    movie = open_movie(files[0], Selection(channel=Turn(2)))
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
        open_movie(files[0], Selection(channel=Turn(2)))
    assert "\n" not in str(told.value)
    open_movie(files[0], Selection(channel=Turn(1))).close()
    files[-1].unlink()  # as if the last ones had not been taken
    files[3].write_bytes(files[1].read_bytes())
    with pytest.raises(
        NrcorrectError, match="4 of its 12 frames, from number 8, are in files that are not there"
    ):
        open_movie(files[0], Selection(channel=Turn(2)))


def test_files_that_are_known_already(tmp_path):
    files = write(tmp_path, 4, channels=1)
    with open_recording(files[:1], WHOLE) as (movie, _):
        assert movie.shape == (12, 20, 24)
    with pytest.raises(NrcorrectError, match="holds the frames of the others, too; name this file only"):
        with open_recording(files, WHOLE):
            pass


def test_each_file_of_a_recording_is_named(tmp_path):
    """It is corrected once, in a later run, too."""
    files = write(tmp_path, 4, channels=1)
    first = files[0].with_name("t00_c0.ome_corrected.tif")
    done = run("correct", *files, "--rigid-only")
    told = [f"{path}: left out, as its frames are in a recording that was named before" for path in files[1:]]
    assert done.stdout.startswith(f"{first}\t") and done.stdout.count("\n") == 1
    assert "--join" not in done.stderr and all(line in done.stderr for line in told)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / first.name).touch()
    done = run("correct", *files, "--rigid-only", "--outdir", tmp_path / "out", code=1)
    assert "1 of 3 movies failed" in done.stderr and all(line in done.stderr for line in told)
    done = run("correct", *files, "--rigid-only", "--skip-existing")
    assert done.stdout == "" and all(line in done.stderr for line in told)


def test_no_file_of_a_recording_is_overwritten(tmp_path):
    """Also one that is not named."""
    files = write(tmp_path, 4, channels=1)
    before = [path.read_bytes() for path in files]
    run("correct", files[0], "--rigid-only", "-o", tmp_path / "done.tif")
    for command in (
        ("correct", files[0], "-o"),
        ("apply", files[0], tmp_path / "done_fields.h5", "-o"),
        ("evaluate", files[0], tmp_path / "done.tif", "--json"),
    ):
        told = run(*command, files[2], "--overwrite", code=1).stderr
        assert f"{files[2].name}: is an input; choose another output" in told
    assert [path.read_bytes() for path in files] == before


def two_images(folder, second):
    """Two movies, of places say, that one file tells of: the first one in it, the other one in `second`."""
    files = [folder / "a.ome.tif", folder / second]
    there = {path: [number for number in (0, 1) if files[number] == path] for path in files}
    images = "".join(
        f'<Image ID="Image:{number}"><Pixels ID="Pixels:{number}" DimensionOrder="XYCZT" Type="uint16"'
        f' SizeX="24" SizeY="20" SizeZ="1" SizeC="1" SizeT="12">'
        f'<TiffData IFD="{12 * there[path].index(number)}"'
        f' PlaneCount="12"><UUID FileName="{path.name}">urn:uuid:{path.name}</UUID></TiffData></Pixels></Image>'
        for number, path in enumerate(files)
    )
    for path, numbers in there.items():
        about = {"description": OME.format(uuid=f"urn:uuid:{path.name}", content=images)}
        with tifffile.TiffWriter(path) as writer:
            for frame in np.concatenate(FRAMES[:, numbers].swapaxes(0, 1)):
                writer.write(frame, photometric="minisblack", metadata=None, contiguous=False, **about)
                about = {}
    return files


def test_of_several_images_that_of_the_file_is_the_movie(tmp_path):
    for channel, path in enumerate(two_images(tmp_path, "b.ome.tif")):
        movie = open_movie(path)
        np.testing.assert_array_equal(movie.read(range(12)), FRAMES[:, channel])
        assert movie.shape[0] == 12 and movie.files == {path.resolve()}
        movie.close()


def test_several_images_in_one_file_are_refused(tmp_path):
    files = two_images(tmp_path, "a.ome.tif")
    with pytest.raises(NrcorrectError, match="holds 2 of 2 OME images of 12 frames; wanted one movie a file"):
        open_movie(files[0])


def test_all_frames_in_another_file(tmp_path):
    """As if the file that says what there is held none of it; the same place in itself is something else."""
    first, second = two_images(tmp_path, "b.ome.tif")
    told = tifffile.tiffcomment(first).replace(
        'FileName="a.ome.tif">urn:uuid:a.ome.tif', 'FileName="b.ome.tif">urn:uuid:b.ome.tif', 1
    )
    told = told[: told.index('<Image ID="Image:1"')] + "</OME>"
    tifffile.tiffcomment(first, told.encode())
    with open_recording([first], WHOLE) as (movie, _):
        np.testing.assert_array_equal(movie.read([3, 0, 11]), FRAMES[[3, 0, 11], 1])
        assert movie.files == {first.resolve(), second.resolve()}


def test_frames_that_were_planned_and_not_taken(tmp_path):
    path = two_images(tmp_path, "b.ome.tif")[0]
    told = tifffile.tiffcomment(path).replace('SizeT="12"', 'SizeT="20"')
    tifffile.tiffcomment(path, (told[: told.index('<Image ID="Image:1"')] + "</OME>").encode())
    movie = open_movie(path)
    np.testing.assert_array_equal(movie.read(range(movie.shape[0])), FRAMES[:, 0])
    movie.close()
