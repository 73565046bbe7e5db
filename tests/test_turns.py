"""Files that hold several channels or planes."""

from contextlib import closing

import h5py
import numpy as np
import pytest
import tifffile
from commands import run

from moco_dl.errors import NrcorrectError
from moco_dl.fields import load_fields
from moco_dl.formats.turns import Turn, along_axes
from moco_dl.movie import Selection, open_movie

T, Z, C = 4, 3, 2
FRAMES = np.random.default_rng(0).integers(0, 60000, (T, Z, C, 20, 24), np.uint16)  # in ImageJ's order
SECOND, THIRD = Selection(channel=Turn(2)), Selection(plane=Turn(3))


def read(path, selection):
    with closing(open_movie(path, selection)) as movie:
        return movie.read(range(movie.shape[0]))


@pytest.mark.parametrize(
    "options",
    [
        {"imagej": True},
        {"imagej": True, "truncate": True},  # one page for all frames
        {"ome": True, "photometric": "minisblack"},
        {"ome": True, "photometric": "minisblack", "compression": "zlib"},
    ],
    ids=str,
)
@pytest.mark.parametrize(
    ("axes", "frames", "selection", "expected"),
    [
        ("TCYX", FRAMES[:, 0], SECOND, FRAMES[:, 0, 1]),
        ("TZYX", FRAMES[:, :, 0], THIRD, FRAMES[:, 2, 0]),
        ("TZCYX", FRAMES, Selection(channel=Turn(2), plane=Turn(3, 3)), FRAMES[:, 2, 1]),
    ],
)
def test_axes_of_the_file(tmp_path, options, axes, frames, selection, expected):
    tifffile.imwrite(tmp_path / "m.tif", frames, metadata={"axes": axes}, **options)
    np.testing.assert_array_equal(read(tmp_path / "m.tif", selection), expected)


def test_channels_one_after_another(tmp_path):
    """Axes in another order: all frames of a channel before those of the next."""
    frames = FRAMES[:, 0].swapaxes(0, 1)
    tifffile.imwrite(tmp_path / "m.tif", frames, ome=True, photometric="minisblack", metadata={"axes": "CTYX"})
    np.testing.assert_array_equal(read(tmp_path / "m.tif", SECOND), frames[1])


@pytest.mark.parametrize("metadata", [None, {}], ids=["one series", "one series a frame"])
def test_frames_in_turn(tmp_path, metadata):
    """Channels take turns fastest, then planes, where the file does not say so."""
    with tifffile.TiffWriter(tmp_path / "m.tif") as writer:
        for frame in FRAMES.reshape(-1, 20, 24):
            writer.write(frame, photometric="minisblack", contiguous=False, metadata=metadata)
    selection = Selection(channel=Turn(2, C), plane=Turn(1, Z))
    np.testing.assert_array_equal(read(tmp_path / "m.tif", selection), FRAMES[:, 0, 1])


def test_an_axis_in_the_file_and_another_in_turn(tmp_path):
    frames = FRAMES.reshape(T * Z, C, 20, 24)
    tifffile.imwrite(tmp_path / "m.tif", frames, imagej=True, metadata={"axes": "TCYX"})
    selection = Selection(channel=Turn(1), plane=Turn(2, Z))
    np.testing.assert_array_equal(read(tmp_path / "m.tif", selection), FRAMES[:, 1, 0])


def test_the_only_axis_may_be_that_of_channels(tmp_path):
    """As in a file for each time point; in others, of one channel, that one is meant."""
    tifffile.imwrite(tmp_path / "m.tif", FRAMES[0, 0], imagej=True, metadata={"axes": "CYX"})
    with closing(open_movie(tmp_path / "m.tif", SECOND, image=True)) as movie:
        np.testing.assert_array_equal(movie.read([0]), FRAMES[0, 0, 1:2])
    assert along_axes("TC", (4, 1), {"channel": Turn(1), "plane": None})[0].tolist() == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="has one channel: leave out --channel 2"):
        along_axes("TC", (4, 1), {"channel": Turn(2), "plane": None})


@pytest.mark.parametrize(
    ("axes", "shape", "channel", "plane", "expected", "left"),
    [
        ("TC", (4, 1), None, None, [0, 1, 2, 3], None),
        ("C", (4,), None, None, [0, 1, 2, 3], None),
        ("TZC", (2, 3, 1), None, Turn(2), [1, 4], None),
        ("TC", (4, 1), Turn(2, 2), None, [0, 1, 2, 3], Turn(2, 2)),  # of two that the file does not tell of
    ],
)
def test_axes_that_leave_no_choice(axes, shape, channel, plane, expected, left):
    numbers, turns = along_axes(axes, shape, {"channel": channel, "plane": plane})
    assert numbers.tolist() == expected and turns == {"channel": left, "plane": None}


@pytest.mark.parametrize(
    ("axes", "frames", "selection", "message"),
    [
        (
            "TZYX",
            FRAMES[:, :, 0],
            Selection(),
            r"has 3 planes; wanted one: choose it \(--plane 1 to 3\), or split",
        ),
        ("TZCYX", FRAMES, SECOND, "has 3 planes"),
        ("TCYX", FRAMES[:, 0], Selection(channel=Turn(3)), "has 2 channels, not 3: choose --channel 1 to 2"),
        ("TCYX", FRAMES[:, 0], Selection(channel=Turn(1, 4)), "has 2 channels, not 4: leave out /4"),
        ("TYX", FRAMES[:, 0, 0], SECOND, "does not say how many channels it has: say it, --channel 2/2"),
        ("QTYX", FRAMES[:, 0], Selection(), "wanted one axis of frames: split the file"),
        (
            "TYX",
            FRAMES[:, 0, 0],
            Selection(plane=Turn(1, 3)),
            "holds 4 frames, which 3 that take turns do not divide",
        ),
    ],
)
def test_what_is_not_there_is_told(tmp_path, axes, frames, selection, message):
    path = tmp_path / "m.tif"
    kind = {"photometric": "minisblack"} if "Q" in axes else {"imagej": True}
    tifffile.imwrite(path, frames, metadata={"axes": axes}, **kind)
    with pytest.raises(NrcorrectError, match=message) as caught:
        open_movie(path, selection)
    assert str(caught.value).startswith(f"{path}: axes {axes}")


def test_channels_are_of_tiff(tmp_path):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["mov"] = FRAMES[:, 0, 0]
    with pytest.raises(NrcorrectError, match=r"--plane is for TIFF; .* choose a dataset"):
        open_movie(tmp_path / "m.h5", THIRD)


@pytest.mark.parametrize("value", ["0", "3/2", "red", "1/", "1/0", "-1/2"])
def test_wrong_numbers(value):
    assert "wanted a number" in run("correct", "movie.tif", "--channel", value, code=2).stderr


def test_a_recording_of_two_channels(tmp_path, known_movie):
    """What is done with a channel of a file is what is done with one in a file of its own."""
    frames, _ = known_movie
    dim = (frames // 2).astype(frames.dtype)
    tifffile.imwrite(tmp_path / "one.tif", frames, photometric="minisblack")
    tifffile.imwrite(tmp_path / "two.tif", dim, photometric="minisblack")
    both = np.stack((dim, frames), axis=1)
    tifffile.imwrite(tmp_path / "both.tif", both, imagej=True, metadata={"axes": "TCYX"})
    run("correct", tmp_path / "one.tif")
    run("correct", tmp_path / "both.tif", "--channel", 2)
    run("apply", tmp_path / "two.tif", tmp_path / "one_fields.h5")
    run(
        "apply",
        tmp_path / "both.tif",
        tmp_path / "both_fields.h5",
        "--channel",
        "1/2",
        "-o",
        tmp_path / "c1.tif",
    )
    for expected, found in (("one_corrected.tif", "both_corrected.tif"), ("two_corrected.tif", "c1.tif")):
        assert (tmp_path / expected).read_bytes() == (tmp_path / found).read_bytes()
    input_ = load_fields(tmp_path / "both_fields.h5").metadata["input"]
    assert input_["channel"] == {"number": 2, "of": None} and "plane" not in input_
    table = run(
        "evaluate",
        tmp_path / "both.tif",
        tmp_path / "both_corrected.tif",
        "--channel",
        2,
        "--fields",
        tmp_path / "both_fields.h5",
    )
    assert table.stdout.startswith("better\t")
