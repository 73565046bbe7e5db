import logging
import os
from contextlib import closing
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from commands import run
from drawn_movies import DTYPES, check, frames

from moco_dl.errors import NrcorrectError
from moco_dl.formats.pages import damage_reported
from moco_dl.formats.turns import Turn
from moco_dl.movie import WHOLE, Selection, open_movie


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


def two_movies(path, *more):
    with tifffile.TiffWriter(path) as file:
        for movie in (frames(), frames()[::-1], *more):
            file.write(movie, photometric="minisblack")


def test_several_movies_in_a_file_are_one_if_that_is_said(tmp_path):
    two_movies(tmp_path / "m.tif")
    told = run("correct", tmp_path / "m.tif", "--rigid-only", code=1).stderr
    assert "m.tif: holds 2 movies; wanted one: save each on its own, or add --join if they are" in told
    run("correct", tmp_path / "m.tif", "--rigid-only", "--join")
    assert tifffile.imread(tmp_path / "m_corrected.tif").shape == (14, 20, 24)
    run("apply", tmp_path / "m.tif", tmp_path / "m_fields.h5", "-o", tmp_path / "again.tif")
    run("evaluate", tmp_path / "m.tif", tmp_path / "m_corrected.tif")


@pytest.mark.parametrize("name", ["m.tif", "m.ome.tif"])
def test_a_movie_and_its_mean_are_no_movie(tmp_path, name):
    with tifffile.TiffWriter(tmp_path / name) as file:
        for images in (frames(), frames()[0]):
            file.write(images, photometric="minisblack", metadata={"axes": "TYX"[-images.ndim :]})
    told = run("correct", tmp_path / name, "--rigid-only", code=1).stderr
    assert f"{name}: holds a movie and images beside it; wanted one: save each on its own" in told
    with closing(open_movie(tmp_path / name)) as movie:
        assert movie.shape == (8, 20, 24)


def test_images_of_other_sizes_are_told(tmp_path):
    two_movies(tmp_path / "m.tif", frames(shape=(5, 16, 24)), frames(shape=(3, 30, 30)))
    with closing(open_movie(tmp_path / "m.tif")) as movie:
        assert movie.shape == (14, 20, 24) and movie.notes == ("8 images of other sizes were left out",)
    assert movie.notes[0] in run("correct", tmp_path / "m.tif", "--rigid-only", "--join").stderr
    tifffile.imwrite(tmp_path / "n.tif", frames(), photometric="minisblack")
    tifffile.imwrite(tmp_path / "n.tif", frames()[0, :16], append=True)
    with closing(open_movie(tmp_path / "n.tif")) as movie:
        assert movie.shape == (7, 20, 24) and movie.notes == ("1 image of another size was left out",)
    tifffile.imwrite(tmp_path / "r.tif", frames(), photometric="minisblack")
    tifffile.imwrite(tmp_path / "r.tif", frames()[0, :16], append=True, subfiletype=1)  # a thumbnail
    with closing(open_movie(tmp_path / "r.tif")) as movie:
        assert movie.shape == (7, 20, 24) and movie.notes == ()


def one_unlike(path, other, **stored):
    """Frames one page each, of which the sixth is another, or stored in another way."""
    written = [*frames(), *frames(), *frames()]
    written[5] = other(written[5])
    with tifffile.TiffWriter(path) as file:
        for number, frame in enumerate(written):
            options = stored if number == 5 else {}
            file.write(frame, photometric="minisblack", contiguous=False, metadata=None, **options)
    return np.array(written) if written[5].shape == written[0].shape else None


@pytest.mark.parametrize("stored", [{"compression": "zlib"}, {"compression": "zlib", "predictor": 2}])
def test_a_frame_that_is_stored_in_another_way_is_read(tmp_path, stored):
    written = one_unlike(tmp_path / "m.tif", lambda frame: frame, **stored)
    with closing(open_movie(tmp_path / "m.tif")) as movie:
        np.testing.assert_array_equal(movie.read(range(len(written))), written)


def test_frames_stored_in_several_ways_stay_in_their_order(tmp_path):
    with tifffile.TiffWriter(tmp_path / "m.tif") as file:
        for number, frame in enumerate(frames()):
            how = {"compression": "zlib"} if number % 3 else {}
            file.write(frame, photometric="minisblack", contiguous=False, metadata=None, **how)
    for selection in (WHOLE, Selection(joined=False), Selection(channel=Turn(2, 7))):
        with closing(open_movie(tmp_path / "m.tif", selection)) as movie:
            wanted = frames() if selection.channel is None else frames()[1:2]
            np.testing.assert_array_equal(movie.read(range(movie.shape[0])), wanted)


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (lambda frame: frame.astype("uint8"), r"image 5 of the file is uint8 \(20, 24\), others are uint16"),
        (lambda frame: frame.astype("float32"), r"image 5 of the file is float32"),
        (lambda frame: frame[:, :16], "images of several sizes, or stored in several ways"),
    ],
)
def test_another_image_among_frames_is_refused(tmp_path, other, told):
    one_unlike(tmp_path / "m.tif", other)
    with pytest.raises(NrcorrectError, match=told), closing(open_movie(tmp_path / "m.tif")) as movie:
        movie.read(range(movie.shape[0]))
    assert "Traceback" not in run("correct", tmp_path / "m.tif", "--rigid-only", code=1).stderr


def test_no_frame_is_left_out_because_it_is_of_another_type(tmp_path):
    with tifffile.TiffWriter(tmp_path / "m.tif") as file:
        for frame in [*frames(), *frames("uint8")[:3]]:
            file.write(frame, photometric="minisblack")
    with pytest.raises(NrcorrectError, match="frames of several types, uint16 and uint8"):
        open_movie(tmp_path / "m.tif")


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


def truncated_only_page(path):
    """Of which nothing tells but its length."""
    write_tiff(path, frames(), truncate=True)
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
    "pipe": (os.mkfifo, "is a pipe or device; wanted a file"),
    "device": (lambda path: path.symlink_to(os.devnull), "is a pipe or device; wanted a file"),
    "empty": (lambda path: path.touch(), "file is empty; wanted a TIFF or HDF5"),
    "text": (lambda path: path.write_text("frame,dy,dx\n" * 9), "neither TIFF nor HDF5; convert"),
    "grey and alpha": (
        lambda path: write_tiff(path, frames(shape=(7, 20, 24, 2)), extrasamples=["unassalpha"]),
        r"holds grey images with transparency .* \(7, 20, 24, 2\); .* save it without alpha channel",
    ),
    "no page": (lambda path: path.write_bytes(b"II*" + bytes(5)), "it holds no image"),
    "truncated plain": (truncated_plain, "truncated.* copy it again"),
    "truncated single page": (truncated_single_page, "truncated .* copy it again"),
    "truncated only page": (truncated_only_page, r"truncated: \d+ bytes, but its frames end at \d+; copy it"),
    "truncated compressed": (truncated_compressed, "damaged or truncated TIFF .* copy it again"),
    "truncated header": (truncated_header, "damaged TIFF .* copy it again"),
    "rgb": (lambda path: tifffile.imwrite(path, np.zeros((20, 24, 3), "u1"), photometric="rgb"), "RGB"),
    "two channels": (
        lambda path: write_tiff(path, frames(shape=(4, 2, 20, 24)), ome=True, metadata={"axes": "TCYX"}),
        r"axes TCYX \(4, 2, 20, 24\): has 2 channels; .* choose it \(--channel 1 to 2\)",
    ),
    "height first": (
        lambda path: write_tiff(path, frames(), metadata={"axes": "YXT"}),
        r"has axes YXT \(7, 20, 24\); wanted height and width last: convert it",
    ),
    "tiles that are deep": (
        lambda path: write_tiff(path, frames(), tile=(4, 16, 16), volumetric=True),
        "images are 7 deep, and compressed or in tiles; wanted an image a frame: save it anew, with tifffile",
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


@pytest.mark.parametrize(
    ("name", "way_out"),
    [
        ("m.npy", "numpy.load"),
        ("data.bin", "numpy.memmap"),
        ("m.AVI", "in Fiji"),
        ("m.mat", "-v7.3"),
        ("m.xyz", "convert the movie to one of them"),
    ],
)
def test_how_to_convert_is_told(tmp_path, name, way_out):
    (tmp_path / name).write_bytes(b"something else")
    with pytest.raises(NrcorrectError, match=f"{name}: neither TIFF nor HDF5; .*{way_out}"):
        open_movie(tmp_path / name)


def test_wrong_key_lists_what_there_is(tmp_path):
    hdf5(a=frames(), b=frames()[0])(tmp_path / "m.h5")
    with pytest.raises(NrcorrectError, match=r"no dataset 'c'; found a \(7, 20, 24\), b \(20, 24\); choose"):
        open_movie(tmp_path / "m.h5", Selection("c"))
    with pytest.raises(NrcorrectError, match="wanted a movie"):
        open_movie(tmp_path / "m.h5", Selection("b"))
    write_tiff(tmp_path / "m.tif", frames())
    with pytest.raises(NrcorrectError, match="--dataset a is for HDF5"):
        open_movie(tmp_path / "m.tif", Selection("a"))


def test_errors_that_are_only_logged_while_two_files_are_read(caplog):
    """As it is not known which of two it is about, both are damaged, whichever is done first."""
    one, other = damage_reported(Path("one.tif")), damage_reported(Path("other.tif"))
    one.__enter__()
    other.__enter__()
    logging.getLogger("tifffile").error("broken")
    for each in (one, other):
        with pytest.raises(NrcorrectError, match="broken"):
            each.__exit__(None, None, None)
    assert not caplog.records
    logging.getLogger("tifffile").error("of somebody else's file")
    assert len(caplog.records) == 1
