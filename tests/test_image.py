import h5py
import numpy as np
import pytest
import tifffile
from commands import run

from moco_dl.errors import NrcorrectError
from moco_dl.fields import load_fields
from moco_dl.image import load_image


def test_reference_files(tmp_path):
    image = np.random.default_rng(0).random((20, 24)).astype(np.float32)
    np.save(tmp_path / "r.npy", image)
    tifffile.imwrite(tmp_path / "r.tif", image)
    np.testing.assert_array_equal(load_image(tmp_path / "r.npy"), image)
    np.testing.assert_array_equal(load_image(tmp_path / "r.tif"), image)
    np.save(tmp_path / "stack.npy", np.stack([image, image]))
    for name, kind in (("two", 0), ("thumbnail", 1)):
        tifffile.imwrite(tmp_path / f"{name}.tif", image)
        tifffile.imwrite(tmp_path / f"{name}.tif", image[::-1], append=True, subfiletype=kind)
    np.testing.assert_array_equal(load_image(tmp_path / "thumbnail.tif"), image)
    (tmp_path / "text.tif").write_text("no")
    for name, message in {
        "two.tif": r"has shape \(2, 20, 24\); wanted one grey image",
        "stack.npy": "has shape .*; wanted one grey image",
        "text.tif": "not a TIFF or NPY image .*; wanted one grey image",
        "none.npy": "cannot read the image: No such file",
    }.items():
        with pytest.raises(NrcorrectError, match=message):
            load_image(tmp_path / name)


def test_a_movie_is_not_loaded_to_see_that_it_is_no_image(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "m.tif", np.zeros((9, 20, 24), np.uint16), photometric="minisblack")
    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", lambda *_: pytest.fail("loaded"))
    with pytest.raises(NrcorrectError, match=r"has shape \(9, 20, 24\); wanted one grey image"):
        load_image(tmp_path / "m.tif")


def test_a_recording_in_several_files(tmp_path, known_movie):
    """The reference of the first one is a file's among its fields."""
    first, second = tmp_path / "1.tif", tmp_path / "2.tif"
    tifffile.imwrite(first, known_movie[0][:20], photometric="minisblack")
    tifffile.imwrite(second, known_movie[0][20:], photometric="minisblack")
    run("correct", first)
    reference = load_fields(tmp_path / "1_fields.h5").reference
    run("correct", second, "--ref", tmp_path / "1_fields.h5")
    np.testing.assert_array_equal(load_fields(tmp_path / "2_fields.h5").reference, reference)
    np.save(tmp_path / "r.npy", reference)
    run("correct", second, "--ref", tmp_path / "r.npy", "-o", tmp_path / "again.tif")
    assert (tmp_path / "again.tif").read_bytes() == (tmp_path / "2_corrected.tif").read_bytes()


def test_hdf5_that_is_no_field_file(tmp_path):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["mov"] = np.zeros((3, 20, 24))
    with pytest.raises(NrcorrectError, match=r"m\.h5: not a field file; wanted a NAME_fields\.h5"):
        load_image(tmp_path / "m.h5")
