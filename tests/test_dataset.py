"""Datasets of pairs, and images that scenes are made of."""

import h5py
import numpy as np
import pytest

from moco_dl.errors import NrcorrectError
from moco_dl.learning.dataset import PairFile, write_pairs
from moco_dl.learning.images import read_scene_image
from moco_dl.learning.pairs import PairOptions, ScenePool
from moco_dl.movie import Selection


@pytest.fixture
def pairs(tmp_path):
    options = PairOptions(size=32)
    scenes = ScenePool(0, options.scene_size)
    write_pairs([tmp_path / "p.h5"], 4, options, scenes, progress=lambda done, total: None)
    return tmp_path / "p.h5"


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("frame", np.zeros((4, 32, 48), np.float32)),
        ("frame", np.zeros((3, 32, 32), np.float32)),
        ("frame", np.zeros((4, 32, 32), complex)),
        ("reference", np.zeros((4, 32, 32), "S3")),
        ("reference", np.zeros((0, 32, 32), np.float32)),
        ("reference", np.zeros(4, np.float32)),
        ("flow", np.zeros((4, 3, 32, 32), np.float32)),
        ("flow", np.float32(3)),
        ("flow", None),
    ],
)
def test_datasets_whose_parts_do_not_fit_are_refused(pairs, name, values):
    with h5py.File(pairs, "r+") as file:
        del file[name]
        if values is None:
            file.create_group(name)
        else:
            file[name] = values
    with pytest.raises(NrcorrectError, match="not a whole dataset of pairs; make one with nrcorrect synth"):
        PairFile(pairs)


def test_datasets_with_odd_attributes_are_refused(pairs):
    with h5py.File(pairs, "r+") as file:
        file.attrs["options"] = 3
    with pytest.raises(NrcorrectError, match="not a whole dataset of pairs"):
        PairFile(pairs)


def test_other_pixels_make_another_dataset(pairs):
    before = PairFile(pairs).about
    assert PairFile(pairs).about == before
    with h5py.File(pairs, "r+") as file:
        file["frame"][...] = file["frame"][...][::-1]
    assert PairFile(pairs).about != before


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.ones((40, 40), complex), "has pixels of type complex128; wanted real numbers"),
        (np.arange(64.0).reshape(8, 8), r"is \(8, 8\); wanted at least 16x16 pixels"),
        (np.arange(1600.0).reshape(40, 40) * 1e300, "multiply the image by a constant"),
        (np.full((40, 40), np.nan), "show nothing"),
        (np.where(np.arange(10000).reshape(100, 100) % 2000, np.nan, np.arange(100)), "show nothing"),
        (np.zeros((3, 40, 40)), "neither TIFF nor HDF5"),
    ],
)
def test_images_that_make_no_scene(tmp_path, image, message):
    np.save(tmp_path / "i.npy", image)
    with pytest.raises(NrcorrectError, match=rf"i\.npy: .*{message}"):
        read_scene_image(tmp_path / "i.npy")


@pytest.mark.parametrize("offset", [0, 1000, -1000])
def test_what_is_not_finite_is_black(tmp_path, offset):
    image = offset + np.random.default_rng(0).random((40, 40))
    image[3, 5], image[7] = np.inf, np.nan
    np.save(tmp_path / "i.npy", image)
    found = read_scene_image(tmp_path / "i.npy")
    assert found[3, 5] == found[7].max() == pytest.approx(np.nanquantile(image[8:], 0.005), abs=0.01)
    assert np.isfinite(found).all() and found.max() < offset + 1


def test_images_of_several_channels_and_datasets(tmp_path):
    images = np.random.default_rng(0).random((2, 40, 40)).astype(np.float32)
    with h5py.File(tmp_path / "two.h5", "w") as file:
        file["a"], file["b"] = images[:1], images[1:]
    with pytest.raises(NrcorrectError, match="choose one with --dataset"):
        read_scene_image(tmp_path / "two.h5")
    assert np.allclose(read_scene_image(tmp_path / "two.h5", Selection(dataset="b")), images[1])
    np.save(tmp_path / "c.npy", images[0])  # has none
    assert np.allclose(read_scene_image(tmp_path / "c.npy", Selection(dataset="b")), images[0])


def test_fields_that_are_not_finite_are_refused(pairs):
    with h5py.File(pairs, "r+") as file:
        file["flow"][2, 1, 5, 5] = np.nan
    with pytest.raises(NrcorrectError, match=r"p\.h5: references or fields are not finite"):
        PairFile(pairs).take(np.array([0, 2]))
    assert PairFile(pairs).take(np.array([0, 1])).flow.shape == (2, 2, 32, 32)


def test_a_movie_that_makes_no_scene_is_named(tmp_path):
    with h5py.File(tmp_path / "dark.h5", "w") as file:
        file["mov"] = np.zeros((5, 40, 40), np.uint16)
    with pytest.raises(NrcorrectError, match=r"dark\.h5: no usable frame"):
        read_scene_image(tmp_path / "dark.h5")
