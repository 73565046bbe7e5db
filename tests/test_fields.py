from contextlib import closing

import h5py
import numpy as np
import pytest

from moco_dl import load_fields
from moco_dl.errors import NrcorrectError
from moco_dl.fields import create_fields, is_field_file


@pytest.fixture
def stored(tmp_path):
    rng = np.random.default_rng(0)
    rigid = rng.normal(size=(5, 2)).astype(np.float32)
    flow = rng.normal(size=(5, 2, 6, 5)).astype(np.float16)
    flagged = np.array([False, True, False, False, False])
    reference = rng.random((21, 18)).astype(np.float32)
    with closing(create_fields(tmp_path / "f.h5", 5, 4, reference, {"version": "x", "options": {}})) as writer:
        for part in (slice(0, 3), slice(3, 5)):
            known = {"flagged": flagged[part], "misfit": np.array([1.0, np.nan, 3.0, 1.0, 1.0])[part]}
            writer.write(part.start, rigid=rigid[part], flow=flow[part], **known)
    return tmp_path / "f.h5", rigid, flow, flagged, reference


def test_what_is_written_is_read(stored):
    path, rigid, flow, flagged, reference = stored
    fields = load_fields(path)
    assert len(fields) == 5 and fields.shape == (5, 21, 18) and fields.stride == 4
    np.testing.assert_array_equal(fields.rigid, rigid)
    np.testing.assert_array_equal(fields.flow[1:4], flow[1:4])
    np.testing.assert_array_equal(fields.flagged, flagged)
    np.testing.assert_array_equal(fields.reference, reference)
    np.testing.assert_array_equal(fields.misfit, [1, np.nan, 3, 1, 1])
    assert fields.expected_error.shape == (6, 5) and np.isnan(fields.expected_error).all()
    assert not fields.left_out.any() and fields.left_out.shape == reference.shape
    assert fields.metadata == {"version": "x", "options": {}}


def test_fields_are_described_in_a_line(stored):
    fields = load_fields(stored[0])
    frames, height, width = fields.shape
    marked = int(fields.flagged.sum())
    assert repr(fields) == f"<Fields of {frames} frames of {height}x{width} pixels, {marked} flagged>"


def test_files_of_first_versions_are_read(stored):
    """Which did not tell what they had left out."""
    with h5py.File(stored[0], "a") as file:
        del file["left_out"]
    fields = load_fields(stored[0])
    assert not fields.left_out.any() and fields.left_out.shape == (21, 18) and fields.reach == 0


def test_slices_are_full_resolution_displacements(stored):
    path, rigid, flow, *_ = stored
    dense = load_fields(path)[1:4]
    assert dense.shape == (3, 2, 21, 18) and dense.dtype == np.float32
    middle = flow[2, :, 2, 3].astype(np.float32)  # coarse sample (2, 3) sits at (9.5, 13.5)
    np.testing.assert_allclose(dense[1, :, 9:11, 13:15].mean((1, 2)), middle + rigid[2], atol=0.35)
    flat = np.zeros_like(flow)
    with h5py.File(path, "a") as file:
        file["flow"][...] = flat
    np.testing.assert_allclose(load_fields(path)[:], np.broadcast_to(rigid[:, :, None, None], (5, 2, 21, 18)))
    fields = load_fields(path)
    np.testing.assert_array_equal(fields[-2], fields[3:4][0])
    np.testing.assert_array_equal(list(fields), fields[:])
    np.testing.assert_array_equal(np.asarray(fields.flow), fields.flow[:])
    np.testing.assert_array_equal(fields.flow[2], fields.flow[2:3][0])
    for wrong, error in ((5, IndexError), (1.0, TypeError), (None, TypeError)):
        for whole in (fields, fields.flow):
            with pytest.raises(error, match=r"fields of 5 frames have none of number 5|fields are taken as"):
                whole[wrong]
    with pytest.raises(TypeError, match=r"fields\[:\]"):
        np.asarray(fields)
    assert fields == fields and fields != load_fields(path)


def test_a_file_is_read_where_it_was_loaded(stored, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").mkdir()
    fields = load_fields("f.h5")
    whole = fields[:]
    monkeypatch.chdir(tmp_path / "other")
    np.testing.assert_array_equal(fields[:], whole)


@pytest.mark.parametrize("frames", [5, 4])
def test_another_file_in_its_place_is_not_taken_for_it(stored, tmp_path, frames):
    path, rigid, flow, flagged, reference = stored
    fields = load_fields(path)
    with closing(create_fields(path, frames, 4, reference, {})) as writer:
        kept = slice(0, frames)
        writer.write(0, rigid=rigid[kept] + 1, flow=flow[kept], flagged=flagged[kept], misfit=rigid[kept, 0])
    with pytest.raises(NrcorrectError, match="load it again"):
        fields[:2]


def test_the_file_says_its_conventions(stored):
    with h5py.File(stored[0]) as file:
        assert file.attrs["units"] == "pixels" and file.attrs["components"] == "dy, dx"
        assert file.attrs["sign"] == "backward: corrected[y, x] = raw[y + dy, x + dx]"
        assert file.attrs["stride"] == 4


def test_other_files_are_refused(tmp_path):
    with pytest.raises(NrcorrectError, match=r"no such file; wanted a NAME_fields\.h5"):
        load_fields(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("no")
    with pytest.raises(NrcorrectError, match="damaged, or not a field file"):
        load_fields(tmp_path / "text.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["mov"] = 1
    with pytest.raises(NrcorrectError, match="not a field file; wanted"):
        load_fields(tmp_path / "other.h5")
    with h5py.File(tmp_path / "other.h5", "r+") as file:
        file.attrs["format"] = [1, 2]
    assert not is_field_file(tmp_path / "other.h5")


def test_what_is_no_path_to_fields_is_told():
    with pytest.raises(NrcorrectError, match=r"fields: got int; wanted a NAME_fields\.h5"):
        load_fields(5)


def test_a_field_file_whose_links_lead_in_a_circle_is_refused(stored):
    with h5py.File(stored[0], "r+") as file:
        del file["misfit"]
        file["misfit"], file["other"] = h5py.SoftLink("/other"), h5py.SoftLink("/misfit")
    with pytest.raises(NrcorrectError, match="damaged, or not a field file"):
        load_fields(stored[0])


def test_a_field_file_that_goes_while_it_is_read(stored):
    fields = load_fields(stored[0])
    stored[0].unlink()
    with pytest.raises(NrcorrectError, match=r"f\.h5: cannot read the fields any more"):
        fields[0:2]


DAMAGES = {
    "flow": (np.zeros((5, 2, 4, 4), np.float16), r"its flow has shape \(5, 2, 4, 4\); wanted \(5, 2, 6, 5\)"),
    "rigid": (np.zeros((5, 3), np.float32), r"its rigid has shape \(5, 3\)"),
    "misfit": (np.zeros(3, np.float32), r"its misfit has shape \(3,\)"),
    "expected_error": (np.zeros((2, 2), np.float32), "its expected_error has shape"),
    "reference": (np.zeros(3, np.float32), "its reference has shape"),
    "flagged": (np.zeros(5, np.float32), "its flagged has values of type float32"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_field_file_whose_parts_do_not_fit_is_refused(stored, name):
    values, message = DAMAGES[name]
    with h5py.File(stored[0], "r+") as file:
        del file[name]
        file[name] = values
    with pytest.raises(NrcorrectError, match=rf"damaged, or not a field file \({message}"):
        load_fields(stored[0])


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"metadata": "[]"}, "no JSON object"),
        ({"metadata": '{"options": 3}'}, "no JSON object"),
        ({"metadata": '{"row_offset_px": "x"}'}, "row offset"),
        ({"metadata": '{"options": {"dtype": "zz"}}'}, "pixel type"),
        ({"metadata": 5}, "JSON"),
        ({"stride": 0}, "stride"),
        ({"stride": np.array([4, 4])}, ""),
        ({"stride": np.inf}, "infinity"),
    ],
)
def test_a_field_file_with_odd_attributes_is_refused(stored, about, message):
    with h5py.File(stored[0], "r+") as file:
        file.attrs.update(about)
    with pytest.raises(NrcorrectError, match=f"damaged, .*{message}"):
        load_fields(stored[0])


def test_a_field_file_of_displacements_that_are_not_finite_is_refused(stored):
    with h5py.File(stored[0], "r+") as file:
        file["rigid"][3, 0] = np.nan
    with pytest.raises(NrcorrectError, match=r"damaged, .*not finite"):
        load_fields(stored[0])


def test_a_field_file_whose_reference_shows_nothing_is_refused(stored):
    with h5py.File(stored[0], "r+") as file:
        file["reference"][...] = np.nan
    with pytest.raises(NrcorrectError, match=r"damaged, .*its reference shows nothing"):
        load_fields(stored[0])


@pytest.mark.parametrize("name", ["rigid", "flow", "misfit", "expected_error", "reference"])
@pytest.mark.parametrize("values", ["bytes", "complex", "group"])
def test_a_field_file_of_something_else_is_refused(stored, name, values):
    with h5py.File(stored[0], "r+") as file:
        shape = file[name].shape
        del file[name]
        if values == "group":
            file.create_group(name)
        else:
            file[name] = np.zeros(shape, "S3" if values == "bytes" else complex)
    with pytest.raises(NrcorrectError, match="damaged, or not a field file"):
        load_fields(stored[0])


def test_what_is_no_field_file_is_told_in_one_line(tmp_path):
    with pytest.raises(NrcorrectError, match="is a directory; wanted a NAME_fields"):
        load_fields(tmp_path)
    (tmp_path / "a.h5").write_bytes(b"no")
    with pytest.raises(NrcorrectError, match="damaged, or not a field file") as caught:
        load_fields(tmp_path / "a.h5")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "part", [slice(None, None, -1), slice(4, 1, -2), slice(3, 1), slice(-2, None), slice(0, 9, 3)]
)
def test_fields_are_sliced_as_arrays_are(stored, part):
    fields = load_fields(stored[0])
    np.testing.assert_array_equal(fields[part], fields[:][part])
