"""HDF5 movies as other tools write them."""

import os
import subprocess
import sys
from contextlib import closing
from itertools import pairwise

import h5py
import numpy as np
import pytest
from commands import run
from drawn_movies import DTYPES, check, frames

from moco_dl.errors import NrcorrectError
from moco_dl.fields import load_fields
from moco_dl.movie import Selection, open_movie


@pytest.mark.parametrize("dtype", [*DTYPES, ">u2"])
def test_hdf5(tmp_path, dtype):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_dataset("mov", data=frames(dtype), compression="gzip", chunks=(4, 20, 24))
    check(tmp_path / "m.h5", frames(np.dtype(dtype).newbyteorder("=")))


def shape_of(path, dataset=None):
    with closing(open_movie(path, Selection(dataset))) as movie:
        return movie.shape


@pytest.mark.parametrize("more", [1, (0, 1), (2, 4), (3, 4)])
def test_hdf5_with_axes_of_length_one(tmp_path, more):
    """As sima writes it (time, plane, y, x, channel), or what denoises with channels."""
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["rois"] = np.zeros((30, 2, 40, 50))
        file["imaging"] = np.expand_dims(frames(), more)
    check(tmp_path / "m.h5", frames())


def test_hdf5_of_one_frame_with_axes_of_length_one(tmp_path):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["mov"] = frames()[None, :1]
    with closing(open_movie(tmp_path / "m.h5")) as movie:
        np.testing.assert_array_equal(movie.read([0]), frames()[:1])


def test_hdf5_link_to_another_file(tmp_path):
    with h5py.File(tmp_path / "raw.h5", "w") as file:
        file["x"] = frames()
    for name, there in (("m", "raw"), ("n", "gone")):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["mov"] = h5py.ExternalLink(f"{there}.h5", "/x")
    check(tmp_path / "m.h5", frames())
    with closing(open_movie(tmp_path / "m.h5")) as movie:
        assert movie.files == {(tmp_path / name).resolve() for name in ("m.h5", "raw.h5")}
    with pytest.raises(NrcorrectError, match=r"no 3-D dataset; found mov \(a link that leads nowhere\)"):
        open_movie(tmp_path / "n.h5")
    with h5py.File(tmp_path / "o.h5", "w") as file:
        file["any"] = h5py.ExternalLink("raw.h5", "/x")
    check(tmp_path / "o.h5", frames())


def test_hdf5_of_frames_in_other_files(tmp_path):
    """Virtual datasets: those of files that are not there are zeros, to the library."""
    parts = [tmp_path / f"part{number}.h5" for number in range(2)]
    layout = h5py.VirtualLayout((14, 20, 24), np.uint16)
    for number, part in enumerate(parts):
        with h5py.File(part, "w") as file:
            file["x"] = frames()
        layout[7 * number : 7 * number + 7] = h5py.VirtualSource(part.name, "x", (7, 20, 24))
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_virtual_dataset("mov", layout)
    check(tmp_path / "m.h5", np.concatenate([frames(), frames()]))
    with closing(open_movie(tmp_path / "m.h5")) as movie:
        assert movie.files == {path.resolve() for path in (tmp_path / "m.h5", *parts)}
    with h5py.File(parts[1], "w") as file:
        file["y"] = frames()
    for spoil in (lambda: None, parts[1].unlink):
        spoil()
        with pytest.raises(
            NrcorrectError, match=r"mov has frames in 1 files that are not there, such as part1\.h5"
        ):
            open_movie(tmp_path / "m.h5")


def virtual(file, name, source, key):
    layout = h5py.VirtualLayout((7, 20, 24), np.uint16)
    layout[:] = h5py.VirtualSource(source, key, (7, 20, 24))
    file.create_virtual_dataset(name, layout)


def test_hdf5_of_frames_elsewhere_in_the_same_file(tmp_path):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["x"] = frames()
        virtual(file, "mov", ".", "x")
    check(tmp_path / "m.h5", frames())


def test_hdf5_of_frames_of_files_of_frames_in_other_files(tmp_path):
    """All of them are inputs; and one that is not there would be zeros in all that lead to it."""
    paths = [tmp_path / f"{name}.h5" for name in "abc"]
    for path, there in pairwise(paths):
        with h5py.File(path, "w") as file:
            virtual(file, "mov", there.name, "mov")
    with h5py.File(paths[-1], "w") as file:
        file["mov"] = frames()
    check(paths[0], frames())
    with closing(open_movie(paths[0])) as movie:
        assert movie.files == {path.resolve() for path in paths}
    paths[-1].unlink()
    with pytest.raises(
        NrcorrectError, match=r"b\.h5: mov has frames in 1 files .*, such as c\.h5 \(mov\); put"
    ):
        open_movie(paths[0])


def test_hdf5_of_frames_in_files_with_signs_in_their_names(tmp_path):
    """Of which the library doubles this one, as others mean numbers."""
    with h5py.File(tmp_path / "50%.h5", "w") as file:
        file["x%b"] = frames()
    with h5py.File(tmp_path / "m.h5", "w") as file:
        virtual(file, "mov", "50%%.h5", "x%%b")
    check(tmp_path / "m.h5", frames())
    with closing(open_movie(tmp_path / "m.h5")) as movie:
        assert movie.files == {(tmp_path / name).resolve() for name in ("m.h5", "50%.h5")}


@pytest.mark.parametrize(
    "where",
    [(".", "mov"), ("m.h5", "mov"), (".", "link"), (".", "other"), ("n.h5", "mov")],
)
def test_hdf5_of_frames_in_itself_is_refused(tmp_path, where):
    """The library would call itself until it crashes; also by ways through others."""
    with h5py.File(tmp_path / "m.h5", "w") as file, h5py.File(tmp_path / "n.h5", "w") as beside:
        virtual(file, "mov", *where)
        virtual(file, "other", ".", "mov")
        file["link"] = h5py.SoftLink("/mov")
        virtual(beside, "mov", "m.h5", "mov")
    with pytest.raises(NrcorrectError, match=r"m\.h5: (mov|link) takes its frames from itself; make it anew"):
        open_movie(tmp_path / "m.h5")


def test_hdf5_of_which_a_frame_is_damaged(tmp_path):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        data = file.create_dataset("mov", data=frames(), chunks=(1, 20, 24), compression="gzip")
        place = data.id.get_chunk_info(3).byte_offset
    with (tmp_path / "m.h5").open("r+b") as file:
        file.seek(place)
        file.write(bytes(40))
    with closing(open_movie(tmp_path / "m.h5")) as movie:
        np.testing.assert_array_equal(movie.read([2, 4]), frames()[[2, 4]])
        for wanted in (range(7), [0, 3]):
            with pytest.raises(NrcorrectError, match=r"m\.h5: damaged HDF5 \(.*\); copy it again"):
                movie.read(wanted)


WRITER = """
import h5py, sys
with h5py.File(sys.argv[1], "w") as file:
    file["mov"] = [0]
    file.flush()
    print(flush=True)
    input()
"""


@pytest.mark.skipif(
    os.environ.get("HDF5_USE_FILE_LOCKING", "TRUE").upper() in ("FALSE", "0"), reason="files are not locked"
)
def test_hdf5_that_is_being_written(tmp_path):
    path = tmp_path / "m.h5"
    pipes = dict.fromkeys(("stdin", "stdout"), subprocess.PIPE)
    with subprocess.Popen([sys.executable, "-c", WRITER, path], **pipes) as writer:
        writer.stdout.readline()
        with pytest.raises(NrcorrectError, match=r"m\.h5: another program writes it; wait until it is closed"):
            open_movie(path)
        writer.communicate(b"\n")


def test_hdf5_that_a_writer_has_left_open(tmp_path):
    """As when it died: the file itself says that it is being written."""
    with h5py.File(tmp_path / "written.h5", "w", libver="latest") as file:
        file["mov"] = frames()
        file.flush()
        (tmp_path / "m.h5").write_bytes((tmp_path / "written.h5").read_bytes())
    with pytest.raises(NrcorrectError, match=r"another program writes it, or .*: h5clear -s .*m\.h5 \(one of"):
        open_movie(tmp_path / "m.h5")


def test_hdf5_behind_something_else(tmp_path):
    """As MATLAB writes it (MAT files 7.3)."""
    with h5py.File(tmp_path / "m.mat", "w", userblock_size=512) as file:
        file["Y"] = frames()
    with (tmp_path / "m.mat").open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64")
    check(tmp_path / "m.mat", frames())


@pytest.fixture
def compressed(tmp_path):
    """A file with a filter that is private, so that no library has it."""
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_chunk((1, 20, 24))
    plan.set_filter(32767, h5py.h5z.FLAG_OPTIONAL)
    with h5py.File(tmp_path / "m.h5", "w") as file:
        space = h5py.h5s.create_simple((7, 20, 24))
        data = h5py.h5d.create(file.id, b"mov", h5py.h5t.NATIVE_UINT16, space, plan)
        for t, frame in enumerate(frames()):
            data.write_direct_chunk((t, 0, 0), frame.tobytes())
    return tmp_path / "m.h5"


def test_compression_that_the_library_lacks(compressed):
    with pytest.raises(NrcorrectError, match=r"mov is compressed with filter 32767.*pip install hdf5plugin"):
        open_movie(compressed)


def test_compression_that_a_plugin_knows(compressed, monkeypatch):
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda number: False)
    knows_all = "import h5py\nh5py.h5z.filter_avail = lambda number: True\n"
    (compressed.parent / "hdf5plugin.py").write_text(knows_all)
    monkeypatch.syspath_prepend(compressed.parent)
    monkeypatch.delitem(sys.modules, "hdf5plugin", raising=False)
    assert shape_of(compressed) == (7, 20, 24)


def test_hdf5_dataset_by_length_then_by_name(tmp_path):
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        file["small"], file["group/large"] = frames(shape=(2, 20, 24)), frames()
        file["image"] = frames()[0]
        file["masks"], file["traces"] = np.zeros((90, 20, 24), bool), frames(shape=(90, 4, 5))  # no movies
    assert shape_of(path) == (7, 20, 24)
    assert shape_of(path, "small") == (2, 20, 24)
    with h5py.File(path, "a") as file:
        file["data"] = frames(shape=(3, 20, 24))
    several = (
        r"m\.h5: holds 3 datasets that may be the movie, data \(3, 20, 24\), .*; choose one with --dataset"
    )
    with pytest.raises(NrcorrectError, match=several):
        open_movie(path)
    for name in ("data", "mov"):
        with h5py.File(path, "a") as file:
            file.pop("data", None)
            file["data"] = frames(shape=(8, 20, 24))
            if name == "mov":
                file["mov"] = frames(shape=(8, 20, 24))
        with closing(open_movie(path)) as movie:
            assert movie.dataset == name
            assert movie.notes == (f"taken from dataset {name!r}, one of {3 if name == 'data' else 4}",)


def test_hdf5_of_movies_alike(tmp_path):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["red"], file["green"] = frames(), frames()
    with pytest.raises(NrcorrectError, match=r"holds 2 datasets .*, green \(7, 20, 24\), red .*; choose one"):
        open_movie(tmp_path / "m.h5")


def test_hdf5_of_a_name_that_is_not_utf8(tmp_path, known_movie):
    """It is named as the shell names files of such names."""
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_dataset(b"5 \xb5m", data=known_movie[0][:9])
        file["other"] = known_movie[0][:4]
    told = r"taken from dataset '5 \udcb5m', one of 2"
    assert told in run("correct", tmp_path / "m.h5", "--rigid-only", "--report").stderr
    assert load_fields(tmp_path / "m_fields.h5").metadata["input"]["dataset"] == "5 \udcb5m"
    run("correct", tmp_path / "m.h5", "--rigid-only", "--overwrite", "--dataset", "5 \udcb5m")
    told = r"no dataset 'x'; found '5 \udcb5m' (9, 96, 112), other (4, 96, 112);"
    assert told in run("correct", tmp_path / "m.h5", "--dataset", "x", code=1).stderr


def test_names_of_datasets_are_told_in_a_line(tmp_path):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        for number in range(30):
            file[f"line\n{number:02}"] = frames()[0]
        file["mov"] = frames()
    with pytest.raises(NrcorrectError) as told:
        open_movie(tmp_path / "m.h5", Selection("raw"))
    listed = ", ".join(["mov (7, 20, 24)", *(rf"'line\n{number:02}' (20, 24)" for number in range(5))])
    wanted = f"no dataset 'raw'; found {listed} and 25 more; choose one with --dataset"
    assert str(told.value) == f"{tmp_path / 'm.h5'}: {wanted}"


def test_which_dataset_was_taken_is_told(tmp_path, known_movie):
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        file["raw"], file["other"] = known_movie[0][:9], known_movie[0][:4]
    told = "taken from dataset 'raw', one of 2"
    assert told in run("correct", path, "--rigid-only").stderr
    assert load_fields(tmp_path / "m_fields.h5").metadata["input"]["dataset"] == "raw"
    assert told in run("apply", path, tmp_path / "m_fields.h5", "-o", tmp_path / "again.h5").stderr
    assert f"m.h5: {told}" in run("evaluate", path, tmp_path / "again.h5").stderr
    done = run("correct", path, "--rigid-only", "--dataset", "raw", "-o", tmp_path / "again.tif")
    assert "taken from" not in done.stderr


@pytest.mark.parametrize(("chunks", "apart"), [(None, True), ((1, 20, 24), True), ((4, 10, 24), False)])
def test_whether_reading_a_frame_takes_reading_others(tmp_path, chunks, apart):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_dataset("mov", data=frames(), chunks=chunks)
    with closing(open_movie(tmp_path / "m.h5")) as movie:
        assert movie.frames_apart == apart


def test_hdf5_without_data(tmp_path):
    """Links that lead to one another, and a dataset of nothing."""
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["mov"] = h5py.SoftLink("/mov")
        file["empty"] = h5py.Empty("f")
    for more, told in (
        ((), "no 3-D dataset"),
        (("--dataset", "mov"), "no dataset 'mov'"),
        (("--dataset", "empty"), r"m.h5: empty: has shape ()"),
    ):
        assert told in run("correct", tmp_path / "m.h5", *more, code=1).stderr


@pytest.mark.parametrize("zeros", [(96, 160), (800, 2048)])
def test_damaged_structure(tmp_path, zeros):
    """The library's words for it come as errors of many kinds."""
    path, told = tmp_path / "m.h5", set()
    with h5py.File(path, "w") as file:
        file["mov"] = frames()
    whole = path.read_bytes()
    for place in range(*zeros, 8):
        path.write_bytes(whole[:place] + bytes(8) + whole[place + 8 :])
        try:
            with closing(open_movie(path)) as movie:
                movie.read([0, 5])
        except NrcorrectError as error:
            told.add(str(error).partition(":")[0])
    assert told == {str(path)}
