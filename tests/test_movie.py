import subprocess
import sys
from contextlib import closing

import h5py
import numpy as np
import pytest
import tifffile

from moco_dl.errors import NrcorrectError
from moco_dl.movie import Part, open_movie

DTYPES = ["uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"]


def frames(dtype="uint16", shape=(7, 20, 24)):
    rng = np.random.default_rng(0)
    top = 1000 if np.dtype(dtype).kind == "f" else min(np.iinfo(dtype).max, 2**31)
    return (rng.random(shape) * top).astype(dtype)


def check(path, expected, **options):
    with closing(open_movie(path, **options)) as movie:
        assert movie.shape == expected.shape
        assert movie.dtype == expected.dtype and movie.dtype.isnative
        np.testing.assert_array_equal(movie.read(range(2, 5)), expected[2:5])
        np.testing.assert_array_equal(movie.read([0, 3, 6]), expected[[0, 3, 6]])


@pytest.mark.parametrize("dtype", DTYPES)
def test_plain_tiff(tmp_path, dtype):
    tifffile.imwrite(tmp_path / "m.tif", frames(dtype), photometric="minisblack")
    check(tmp_path / "m.tif", frames(dtype))


@pytest.mark.parametrize(
    "options",
    [
        {"bigtiff": True},
        {"bigtiff": True, "byteorder": ">"},
        {"imagej": True},
        {"imagej": True, "truncate": True},  # one page for all frames, as ImageJ writes over 4 GB
        {"ome": True, "metadata": {"axes": "TYX"}},
        {"compression": "zlib"},
        {"compression": "zlib", "predictor": True},
        {"compression": "lzw"},
        {"compression": "adobe_deflate", "rowsperstrip": 5},
        {"tile": (16, 16)},
        {"metadata": None},
    ],
    ids=str,
)
def test_kinds_of_tiff(tmp_path, options):
    photometric = {} if "imagej" in options else {"photometric": "minisblack"}
    tifffile.imwrite(tmp_path / "m.tif", frames(), **photometric, **options)
    check(tmp_path / "m.tif", frames())


@pytest.mark.parametrize("metadata", [None, {}])
def test_one_page_a_frame(tmp_path, metadata):
    """Frames appended one at a time: one series of pages, or one series a frame."""
    with tifffile.TiffWriter(tmp_path / "m.tif") as writer:
        for frame in frames():
            writer.write(frame, photometric="minisblack", contiguous=False, metadata=metadata)
    check(tmp_path / "m.tif", frames())


@pytest.mark.parametrize("count", [1, 3, 4])
def test_few_frames_are_frames_not_colours(tmp_path, count):
    expected = frames(shape=(count, 20, 24))
    tifffile.imwrite(tmp_path / "m.tif", expected, photometric="minisblack")
    with closing(open_movie(tmp_path / "m.tif")) as movie:
        np.testing.assert_array_equal(movie.read(range(count)), expected)


def test_a_thumbnail_is_not_the_movie(tmp_path):
    with tifffile.TiffWriter(tmp_path / "m.tif") as file:
        file.write(frames()[0, ::2, ::2], photometric="minisblack")
        for frame in frames():
            file.write(frame, photometric="minisblack")
        file.write(np.zeros((30, 40, 3), np.uint8), photometric="rgb")
    check(tmp_path / "m.tif", frames())


def test_no_frame_is_left_out_because_it_is_of_another_type(tmp_path):
    with tifffile.TiffWriter(tmp_path / "m.tif") as file:
        for frame in [*frames(), *frames("uint8")[:3]]:
            file.write(frame, photometric="minisblack")
    with pytest.raises(NrcorrectError, match="frames of several types, uint16 and uint8"):
        open_movie(tmp_path / "m.tif")


@pytest.mark.parametrize("dtype", [*DTYPES, ">u2"])
def test_hdf5(tmp_path, dtype):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_dataset("mov", data=frames(dtype), compression="gzip", chunks=(4, 20, 24))
    check(tmp_path / "m.h5", frames(np.dtype(dtype).newbyteorder("=")))


def shape_of(path, dataset=None):
    with closing(open_movie(path, Part(dataset))) as movie:
        return movie.shape


@pytest.mark.parametrize("more", [1, (0, 1), (2, 4), (3, 4)])
def test_hdf5_with_axes_of_length_one(tmp_path, more):
    """As sima writes it (time, plane, y, x, channel), or what denoises with channels."""
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["rois"] = np.zeros((30, 2, 40, 50))
        file["imaging"] = np.expand_dims(frames(), more)
    check(tmp_path / "m.h5", frames())


def test_hdf5_link_to_another_file(tmp_path):
    with h5py.File(tmp_path / "raw.h5", "w") as file:
        file["x"] = frames()
    for name, there in (("m", "raw"), ("n", "gone")):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["mov"] = h5py.ExternalLink(f"{there}.h5", "/x")
    check(tmp_path / "m.h5", frames())
    with pytest.raises(NrcorrectError, match="no 3-D dataset"):
        open_movie(tmp_path / "n.h5")


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


WRITER = """
import h5py, sys
with h5py.File(sys.argv[1], "w") as file:
    file["mov"] = [0]
    file.flush()
    print(flush=True)
    input()
"""


def test_hdf5_that_is_being_written(tmp_path):
    path = tmp_path / "m.h5"
    pipes = dict.fromkeys(("stdin", "stdout"), subprocess.PIPE)
    with subprocess.Popen([sys.executable, "-c", WRITER, path], **pipes) as writer:
        writer.stdout.readline()
        with pytest.raises(NrcorrectError, match=r"m\.h5: another program writes it; wait until it is closed"):
            open_movie(path)
        writer.communicate(b"\n")


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
    open_movie(compressed).close()


def test_hdf5_dataset_by_name_then_by_size(tmp_path):
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        file["small"], file["group/large"] = frames(shape=(2, 20, 24)), frames()
        file["image"] = frames()[0]
    assert shape_of(path) == (7, 20, 24)
    assert shape_of(path, "small") == (2, 20, 24)
    with h5py.File(path, "a") as file:
        file["data"] = frames(shape=(3, 20, 24))
    assert shape_of(path) == (3, 20, 24)
    with h5py.File(path, "a") as file:
        file["mov"] = frames(shape=(4, 20, 24))
    assert shape_of(path) == (4, 20, 24)


def write_tiff(path, data, **options):
    tifffile.imwrite(path, data, **{"photometric": "minisblack"} | options)


def cut_short(path, share=0.5):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def truncated_plain(path):
    write_tiff(path, frames())
    cut_short(path)


def truncated_single_page(path):
    write_tiff(path, frames(), photometric=None, imagej=True, truncate=True)
    cut_short(path)


def truncated_compressed(path):
    write_tiff(path, frames(), compression="zlib")
    cut_short(path)


def truncated_header(path):
    write_tiff(path, frames(), metadata=None)
    cut_short(path, 0.001)


def hdf5(**datasets):
    def write(path):
        with h5py.File(path, "w") as file:
            for name, data in datasets.items():
                file[name] = data

    return write


def truncated_hdf5(path):
    hdf5(mov=frames())(path)
    cut_short(path)


BAD = {
    "missing": (lambda path: None, "No such file"),
    "directory": (lambda path: path.mkdir(), "is a directory; name the movies in it"),
    "empty": (lambda path: path.touch(), "file is empty; wanted a TIFF or HDF5"),
    "text": (lambda path: path.write_text("frame,dy,dx\n" * 9), "neither TIFF nor HDF5; convert"),
    "no page": (lambda path: path.write_bytes(b"II*" + bytes(5)), "it holds no image"),
    "truncated plain": (truncated_plain, "truncated.* copy it again"),
    "truncated single page": (truncated_single_page, "truncated .* copy it again"),
    "truncated compressed": (truncated_compressed, "damaged or truncated TIFF .* copy it again"),
    "truncated header": (truncated_header, "damaged TIFF .* copy it again"),
    "rgb": (lambda path: tifffile.imwrite(path, np.zeros((20, 24, 3), "u1"), photometric="rgb"), "RGB"),
    "two channels": (
        lambda path: write_tiff(path, frames(shape=(4, 2, 20, 24)), ome=True, metadata={"axes": "TCYX"}),
        r"axes TCYX \(4, 2, 20, 24\): has 2 channels; .* choose it \(--channel 1 to 2\)",
    ),
    "one image": (lambda path: write_tiff(path, frames()[0]), "one image 20x24; wanted a movie"),
    "small": (lambda path: write_tiff(path, frames(shape=(7, 12, 24))), "12x24; wanted at least 16x16"),
    "complex": (lambda path: write_tiff(path, frames("f4").astype("c8")), "complex64; convert them to one of"),
    "no 3-D dataset": (hdf5(image=np.zeros((20, 24))), r"no 3-D dataset; found image \(20, 24\)"),
    "no dataset": (hdf5(), "no 3-D dataset; found nothing"),
    "zero frames": (hdf5(mov=np.zeros((0, 20, 24), "u2")), "no frames; wanted at least one"),
    "complex hdf5": (hdf5(mov=np.zeros((3, 20, 24), "c8")), "complex64; convert"),
    "text hdf5": (hdf5(mov=np.full((3, 20, 24), "x", "S1")), "convert them to one of"),
    "truncated hdf5": (truncated_hdf5, "damaged HDF5 .* copy it again"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_is_named_with_a_way_out(tmp_path, kind):
    make, message = BAD[kind]
    path = tmp_path / "movie"
    make(path)
    with pytest.raises(NrcorrectError, match=message) as caught:
        with closing(open_movie(path)) as movie:
            movie.read(range(movie.shape[0]))
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_wrong_key_lists_what_there_is(tmp_path):
    hdf5(a=frames(), b=frames()[0])(tmp_path / "m.h5")
    with pytest.raises(NrcorrectError, match=r"no dataset 'c'; found a \(7, 20, 24\), b \(20, 24\); choose"):
        open_movie(tmp_path / "m.h5", Part("c"))
    with pytest.raises(NrcorrectError, match="wanted a movie"):
        open_movie(tmp_path / "m.h5", Part("b"))
    write_tiff(tmp_path / "m.tif", frames())
    with pytest.raises(NrcorrectError, match="--dataset a is for HDF5"):
        open_movie(tmp_path / "m.tif", Part("a"))


@pytest.mark.parametrize(("chunks", "apart"), [(None, True), ((1, 20, 24), True), ((4, 10, 24), False)])
def test_whether_reading_a_frame_takes_reading_others(tmp_path, chunks, apart):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_dataset("mov", data=frames(), chunks=chunks)
    with closing(open_movie(tmp_path / "m.h5")) as movie:
        assert movie.frames_apart == apart
