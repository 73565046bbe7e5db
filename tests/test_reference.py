import numpy as np
import pytest
import tifffile

from moco_dl.errors import NrcorrectError
from moco_dl.reference import _median, build_reference, load_image, sample_indices, seed, usable


def test_samples_are_spread_evenly():
    assert sample_indices(5, 200) == [0, 1, 2, 3, 4]
    assert sample_indices(1, 200) == [0]
    indices = sample_indices(1001, 11)
    assert indices == list(range(0, 1001, 100))


def test_unusable_frames():
    good = np.arange(400, dtype=np.uint16).reshape(20, 20)
    saturated = np.full((20, 20), 65535, np.uint16)
    saturated[0, 0] = 7
    frames = np.stack([good, np.zeros_like(good), np.full_like(good, 9), saturated])
    assert usable(frames).tolist() == [True, False, False, False]
    missing = good.astype(np.float32)
    missing[:15] = np.nan
    assert usable(np.stack([good.astype(np.float32), missing])).tolist() == [True, False]


def no_motion(frames, reference):
    return np.zeros((len(frames), 2, 1, 1), np.float32)


def stay(frames, motion):
    return frames.astype(np.float32)


@pytest.mark.parametrize("kind", ["median", "mean"])
@pytest.mark.parametrize("count", [1, 9, 60])
def test_reference_of_a_still_movie_is_its_average(kind, count):
    rng = np.random.default_rng(0)
    scene = rng.uniform(50, 200, (24, 30))
    frames = rng.poisson(scene, (count, 24, 30)).astype(np.uint16)
    reference = build_reference(frames, kind, [no_motion] * 2, stay)
    assert np.abs(reference - frames.mean(0)).mean() < 8 / np.sqrt(count) * (kind == "median") + 1e-3 * 200


def test_corrupt_frames_are_left_out():
    rng = np.random.default_rng(0)
    scene = rng.uniform(50, 200, (24, 30))
    frames = rng.poisson(scene, (40, 24, 30)).astype(np.uint16)
    frames[7], frames[20] = rng.integers(0, 5000, (2, 24, 30))
    frames[30] = 0
    reference = build_reference(frames, "mean", [no_motion] * 2, stay)
    assert np.abs(reference - scene).mean() < 3


def test_position_is_the_median_of_the_motion():
    """Every sample displaced alike: nothing to correct, so nothing is moved."""
    seen = []

    def displaced(frames, reference):
        return np.full((len(frames), 2, 1, 1), 3.0, np.float32)

    def record(frames, motion):
        seen.append(np.abs(motion).max())
        return frames.astype(np.float32)

    frames = np.random.default_rng(0).poisson(9, (10, 20, 20)).astype(np.uint16)
    build_reference(frames, "median", [displaced], record)
    assert max(seen) == 0


def test_no_usable_frame():
    with pytest.raises(NrcorrectError, match="no usable frame"):
        build_reference(np.zeros((4, 20, 20), np.uint8), "median", [no_motion], stay)


def test_median_ignores_missing_values():
    stack = np.random.default_rng(0).random((9, 8, 7)).astype(np.float32)
    stack[np.random.default_rng(1).random(stack.shape) < 0.3] = np.nan
    np.testing.assert_allclose(_median(stack), np.nanmedian(stack, axis=0))


def test_seed_comes_from_frames_that_agree():
    rng = np.random.default_rng(0)
    scene, other = rng.uniform(0, 100, (2, 32, 32))
    frames = np.stack([scene + rng.normal(0, 1, scene.shape) for _ in range(30)] + [other] * 5)
    assert np.corrcoef(seed(frames).ravel(), scene.ravel())[0, 1] > 0.99


def test_reference_files(tmp_path):
    image = np.random.default_rng(0).random((20, 24)).astype(np.float32)
    np.save(tmp_path / "r.npy", image)
    tifffile.imwrite(tmp_path / "r.tif", image)
    np.testing.assert_array_equal(load_image(tmp_path / "r.npy"), image)
    np.testing.assert_array_equal(load_image(tmp_path / "r.tif"), image)
    np.save(tmp_path / "stack.npy", np.stack([image, image]))
    (tmp_path / "text.tif").write_text("no")
    for name, message in {
        "stack.npy": "has shape .*; wanted one grey image",
        "text.tif": "not a TIFF or NPY image .*; wanted a reference image",
        "none.npy": "cannot read the reference: No such file",
    }.items():
        with pytest.raises(NrcorrectError, match=message):
            load_image(tmp_path / name)
