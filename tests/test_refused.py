"""What is no movie, no reference or no option, and how that is told."""

from pathlib import Path

import numpy as np
import pytest

import moco_dl
from moco_dl.application import apply_batches
from moco_dl.errors import NrcorrectError, is_about
from moco_dl.movie import ArrayMovie


def test_masked_arrays_are_refused(known_movie):
    masked = np.ma.masked_less(known_movie[0], 500)
    with pytest.raises(NrcorrectError, match=r'masked; fill what is missing: \.astype\("float32"\)\.filled'):
        moco_dl.correct(masked)
    plain = np.ma.masked_less(known_movie[0], 0)  # hides nothing
    assert moco_dl.correct(plain, rigid_only=True).corrected.shape == plain.shape


@pytest.mark.parametrize("kind", [str, Path])
def test_names_are_no_arrays(known_movie, kind):
    with pytest.raises(NrcorrectError, match=r"got a path, 'm\.tif'; read it first, e\.g\. tifffile\.imread"):
        moco_dl.correct(kind("m.tif"))
    with pytest.raises(NrcorrectError, match=r"reference: got a path, 'day\.tif'; read it first"):
        moco_dl.correct(known_movie[0], kind("day.tif"))
    with pytest.raises(NrcorrectError, match=r"reference: got 'mean'; wanted an image: say ref='mean'"):
        moco_dl.correct(known_movie[0], "mean")


def test_what_cannot_be_applied(known_movie, result):
    with pytest.raises(NrcorrectError, match=r"fields: got str; wanted .* load_fields\(path\)"):
        moco_dl.apply(known_movie[0], "movie_fields.h5")
    with pytest.raises(NrcorrectError, match="interpolation: got 'cubic'; wanted one of bilinear, bicubic"):
        moco_dl.apply(known_movie[0], result.fields, interpolation="cubic")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            [np.zeros((20, 20)), np.zeros((19, 20))],
            r"got list \(.*\); wanted an array \(frames, height",
        ),
        ([np.ma.masked_less(np.eye(20), 1)] * 3, "frames: masked"),
    ],
)
def test_what_is_no_array(value, message):
    with pytest.raises(NrcorrectError, match=message):
        moco_dl.correct(value)


class TooLarge:
    def __array__(self, dtype=None, copy=None):
        raise MemoryError


def test_memory_that_is_short_is_not_taken_for_wrong_input():
    with pytest.raises(MemoryError):
        moco_dl.correct(TooLarge())


def test_fields_are_no_images(known_movie, result):
    with pytest.raises(NrcorrectError, match="frames: got Fields"):
        moco_dl.correct(result.fields, known_movie[0])
    with pytest.raises(NrcorrectError, match="raw: got Fields"):
        moco_dl.evaluate(result.fields, known_movie[0])
    with pytest.raises(NrcorrectError, match="corrected: has shape"):
        moco_dl.evaluate(known_movie[0], result)
    with pytest.raises(NrcorrectError, match="reference: got Fields"):
        moco_dl.correct(known_movie[0], result.fields)
    with pytest.raises(NrcorrectError, match="reference: masked"):
        moco_dl.evaluate(known_movie[0], result.corrected, reference=np.ma.masked_less(result.reference, 500))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ref": "mode"}, "ref: got 'mode'; wanted one of median, mean"),
        ({"interpolation": "nearest"}, "interpolation: got 'nearest'"),
        ({"ref": np.ones((96, 112))}, "ref: wanted median or mean; an image is given as the second argument"),
        ({"batch_size": 0}, "batch_size: got 0; wanted a whole number, at least 1"),
        ({"batch_size": 8.0}, "batch_size: got 8.0; wanted a whole number"),
        ({"ref_frames": 2.5}, "ref_frames: got 2.5; wanted a whole number"),
        ({"threads": True}, "threads: got True; wanted a whole number"),
        ({"row_offset": True}, "row_offset: got True; wanted a whole number of pixels"),
        ({"smooth": "wide"}, "smooth: got 'wide'; wanted a number, 0 or more"),
        ({"smooth": float("nan")}, "smooth: got nan; wanted a number"),
        ({"max_shift": -1}, "max_shift: got -1"),
        ({"dtype": "complex64"}, "dtype: got 'complex64'; wanted one of uint8"),
        ({"device": "tpu"}, "device: got 'tpu'; wanted one of auto, cpu, cuda, mps"),
        ({"device": ["cpu"]}, "device: got .'cpu'.; wanted one of auto, cpu"),
        ({"batch": 0}, "batch: is no option; wanted some of ref, .* batch_size, "),
        ({"weights": "a\0b"}, "cannot read weights: embedded null byte; name a file"),
        ({"rigid_only": "no"}, "rigid_only: got 'no'; wanted True or False"),
        ({"weights": ""}, "weights: got ''; wanted a path"),
        ({"smooth": True}, "smooth: got True; wanted a number"),
        ({"ref_frames": 1}, "ref_frames: got 1; wanted a whole number, at least 2"),
        ({"precision": "int8"}, "precision: got 'int8'; wanted one of float32, float16, bfloat16"),
    ],
)
def test_bad_options(known_movie, options, message):
    with pytest.raises(NrcorrectError, match=message):
        moco_dl.correct(known_movie[0], **options)


@pytest.mark.parametrize("options", [{"rigid_only": True}, {}, "fast"])
def test_options_of_another_kind(options):
    with pytest.raises(NrcorrectError, match=r"wanted moco_dl.CorrectOptions\(...\)"):
        moco_dl.Corrector(options)


def test_interpolation_without_a_name(known_movie, result):
    with pytest.raises(NrcorrectError, match="interpolation: got ''; wanted one of bilinear, bicubic"):
        moco_dl.apply(known_movie[0], result.fields, interpolation="")


@pytest.mark.parametrize(
    ("frames", "reference", "message"),
    [
        (np.zeros((4, 20)), None, r"has shape \(4, 20\); wanted a movie"),
        (np.zeros((4, 20, 20), complex), None, "complex128; convert"),
        (np.zeros((4, 20, 20)), None, "no usable frame"),
        (np.zeros((0, 20, 20)), None, "no frames"),
        (np.ones((4, 20, 20)), np.ones((20, 21)), r"shape \(20, 21\); wanted \(20, 20\)"),
        (np.ones((4, 20, 20)), np.ones((20, 20)), "reference is empty or constant"),
        (np.ones((4, 20, 20)), np.eye(20) > 0, "reference has pixels of type bool; wanted real numbers"),
        (
            np.ones((4, 20, 20)),
            np.where(np.eye(20), np.arange(20.0), np.nan),
            "reference shows 20 pixels",
        ),
    ],
)
def test_bad_arrays(frames, reference, message):
    with pytest.raises(NrcorrectError, match=message):
        moco_dl.correct(frames, reference)


def test_fields_of_another_movie_are_refused(result, known_movie):
    with pytest.raises(NrcorrectError, match="the fields are for a movie"):
        moco_dl.apply(known_movie[0][:-1], result.fields)
    with pytest.raises(NrcorrectError, match="the fields are for a movie"):  # before any frame is wanted
        apply_batches(ArrayMovie(known_movie[0][:-1]), result.fields)
    with pytest.raises(NrcorrectError, match="of 2 channels that take turns, say which with --channel K/2"):
        moco_dl.apply(known_movie[0].repeat(2, 0), result.fields)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_values_of_extreme_size_are_refused(known_movie, scale):
    with pytest.raises(NrcorrectError, match="multiply the movie by a constant"):
        moco_dl.correct(known_movie[0][:12].astype(np.float32) * np.float32(scale))


@pytest.mark.parametrize("dtype", ["int32", "float64"])
def test_values_that_float32_cannot_tell_apart_are_refused(known_movie, dtype):
    frames = known_movie[0][:12].astype(dtype)
    assert np.isfinite(moco_dl.correct(frames + 10**6, rigid_only=True).fields[:]).all()
    with pytest.raises(NrcorrectError, match="subtract a constant from the movie"):
        moco_dl.correct(frames + 10**9)


@pytest.mark.parametrize("rigid_only", [False, True])
def test_rows_that_all_lie_beside_missing_ones_are_refused(known_movie, rigid_only):
    frames = known_movie[0].astype(np.float32)
    frames[:, 1::2] = np.nan
    with pytest.raises(NrcorrectError, match="leave out rows and columns that have none"):
        moco_dl.correct(frames, rigid_only=rigid_only)


@pytest.mark.parametrize(
    ("message", "told"),
    [("a: is small", True), ("a, b: exist", True), ("holds no data", False), ("a.h5: is", False)],
)
def test_an_error_names_its_file(message, told):
    assert is_about(NrcorrectError(message), Path("a")) == told
