"""A recording in several files."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from commands import run

from moco_dl.errors import NrcorrectError
from moco_dl.fields import load_fields
from moco_dl.movie import WHOLE
from moco_dl.recording import OPEN, open_recording

FRAMES = np.random.default_rng(0).integers(0, 60000, (11, 20, 24), np.uint16)


def write(folder, frames, ends):
    paths = [folder / f"part_{number}.tif" for number in range(8, 8 + len(ends))]
    for path, part in zip(paths, np.split(frames, ends[:-1]), strict=True):
        tifffile.imwrite(path, part, photometric="minisblack")
    return paths


def open_files():
    """How many this process has open, where the system tells."""
    files = Path("/proc/self/fd")
    return len(list(files.iterdir())) if files.exists() else 0


def test_frames_of_all_files(tmp_path):
    paths = write(tmp_path, FRAMES, (4, 5, 11))
    with open_recording(paths, WHOLE) as (movie, about):
        assert movie.shape == FRAMES.shape and movie.dtype == FRAMES.dtype
        for wanted in (range(11), [10, 3, 4, 4, 0], [7]):
            np.testing.assert_array_equal(movie.read(wanted), FRAMES[list(wanted)])
    assert about["shape"] == [11, 20, 24]
    assert (about["name"], about["files"], about["last"]) == ("part_8.tif", 3, "part_10.tif")
    assert about["bytes"] == sum(path.stat().st_size for path in paths)


def test_a_file_a_frame(tmp_path):
    """More of them than can be open at a time."""
    paths = write(tmp_path, np.concatenate([FRAMES] * 3), range(1, 34))
    before = open_files()
    with open_recording(paths, WHOLE) as (movie, _):
        assert movie.shape == (33, 20, 24)
        for wanted in (range(33), range(32, -1, -1), [5, 30, 5]):
            np.testing.assert_array_equal(movie.read(wanted), FRAMES[np.array(wanted) % 11])
            assert open_files() <= before + OPEN
    assert open_files() <= before


def test_a_file_that_grows(tmp_path):
    paths = write(tmp_path, np.concatenate([FRAMES] * 3), range(1, 34))
    with open_recording(paths, WHOLE) as (movie, _):
        tifffile.imwrite(paths[2], FRAMES, photometric="minisblack")
        with pytest.raises(NrcorrectError, match=r"part_10\.tif: has changed while it was read"):
            movie.read(range(33))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda paths: paths.reverse(), "part_10.tif comes before .*part_9.tif; name the files .* sort -V"),
        (lambda paths: paths[1].unlink(), "part_9.tif: cannot read: No such file"),
        (lambda paths: tifffile.imwrite(paths[2], FRAMES[:, 1:]), "frames are 19x24 uint16, in .* 20x24"),
        (lambda paths: tifffile.imwrite(paths[1], FRAMES.astype("i4")), "frames are 20x24 int32, in .* uint16"),
        (lambda paths: one_unlike(paths[1]), "part_9.tif: image 5 of the file is int16"),
        (lambda paths: link(paths[2], paths[0]), "part_10.tif: leads to a file that is named as well"),
    ],
)  # fmt: skip
def test_files_that_do_not_belong_together(tmp_path, spoil, message):
    paths = write(tmp_path, FRAMES, (4, 5, 11))
    spoil(paths)
    with pytest.raises(NrcorrectError, match=message), open_recording(paths, WHOLE) as (movie, _):
        movie.read(range(movie.shape[0]))


def one_unlike(path):
    with tifffile.TiffWriter(path) as file:
        for number in range(21):
            frame = FRAMES[0].view("i2" if number == 5 else "u2")
            file.write(frame, photometric="minisblack", contiguous=False, metadata=None)


def link(path, to):
    path.unlink()
    path.symlink_to(to)


def test_what_is_told_of_later_files(tmp_path):
    """Of their datasets, those of the first one's name are meant."""
    paths = [tmp_path / f"part_{number}.h5" for number in range(3)]
    for path, names in zip(paths, (["green"], ["red", "green"], ["red"]), strict=True):
        with h5py.File(path, "w") as file:
            for number, name in enumerate(names):
                file[name] = FRAMES[number : number + 5 - number]
    with open_recording(paths, WHOLE) as (movie, about):
        np.testing.assert_array_equal(movie.read(range(5, 9)), FRAMES[1:5])
        assert about["notes"] == ["taken from datasets 'green', 'red'"]
    for path, name in zip(paths, "abc", strict=True):
        with h5py.File(path, "w") as file:
            file[name] = FRAMES
    with h5py.File(tmp_path / "part_3.h5", "w") as file:
        file["d"] = FRAMES
    with open_recording([*paths, tmp_path / "part_3.h5"], WHOLE) as (movie, _):
        assert movie.notes == ("taken from datasets 'a', 'b', 'c' and 1 more",)
    (alone,) = write(tmp_path, FRAMES, (11,))
    with open_recording([alone, paths[0]], WHOLE) as (movie, _):
        assert movie.notes == ()
    first, second = write(tmp_path, FRAMES, (4, 11))
    tifffile.imwrite(second, FRAMES[0, :16], append=True)
    with open_recording([first, second], WHOLE) as (movie, _):
        assert movie.notes == ("1 image of another size was left out",)


def test_one_result(tmp_path, known_movie, monkeypatch):
    """The same as that of all frames in one file."""
    monkeypatch.chdir(tmp_path)
    frames = known_movie[0]
    paths = write(Path(), frames, (7, 30, 40))
    tifffile.imwrite("whole.tif", frames, photometric="minisblack")
    run("correct", "whole.tif", "--no-csv")
    done = run("correct", *paths, "--join", "--no-csv")
    assert done.stdout == "part_8_corrected.tif\tpart_8_fields.h5\n"
    assert "part_8.tif and 2 more: 40 frames" in done.stderr
    whole = Path("whole_corrected.tif").read_bytes()
    assert Path("part_8_corrected.tif").read_bytes() == whole
    fields = load_fields("part_8_fields.h5")
    np.testing.assert_array_equal(fields[:], load_fields("whole_fields.h5")[:])
    assert fields.metadata["input"]["files"] == 3
    found = run("evaluate", *paths, "part_8_corrected.tif", "--fields", "part_8_fields.h5").stdout
    assert found == run("evaluate", "whole.tif", "whole_corrected.tif", "--fields", "whole_fields.h5").stdout
    run("apply", *paths, "part_8_fields.h5", "-o", "again.tif")
    assert Path("again.tif").read_bytes() == whole


def test_an_output_that_is_a_later_file(tmp_path):
    paths = write(tmp_path, FRAMES, (4, 5, 11))
    assert "is an input" in run("correct", *paths, "--join", "-o", paths[2], "--overwrite", code=2).stderr


def test_files_that_look_like_one_recording(tmp_path, known_movie):
    """Each for itself, images would jump from file to file: that is said."""
    hint, paths = "if they are files of one recording: --join", write(tmp_path, known_movie[0][:20], (10, 20))
    first, second = (
        path.rename(tmp_path / name) for path, name in zip(paths, ("a1.tif", "a2.tif"), strict=True)
    )
    assert hint in run("correct", first, second, "--rigid-only").stderr
    other = second.rename(tmp_path / "b2.tif")
    assert hint not in run("correct", first, other, "--rigid-only", "--overwrite").stderr
    shared = ("--ref", (tmp_path / "a1_fields.h5").rename(tmp_path / "day.h5"))
    assert (
        hint not in run("correct", first, other.rename(second), "--rigid-only", *shared, "--overwrite").stderr
    )
