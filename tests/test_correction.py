"""End to end on arrays, with the shipped weights."""

import json
import tracemalloc
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from truth import INTERIOR, end_point_error

import moco_dl
from moco_dl.checkpoint import default_weights
from moco_dl.learning.scenes import draw_scene
from moco_dl.movie import ArrayMovie
from moco_dl.options import CorrectOptions
from moco_dl.stream import gathered


def test_known_motion_is_found(result, known_movie):
    frames, truth = known_movie
    nothing = end_point_error(np.zeros_like(truth), truth)
    rigid = moco_dl.correct(frames, rigid_only=True)
    assert nothing > 1.5
    assert end_point_error(rigid.fields[:], truth) < 0.6 * nothing
    assert end_point_error(result.fields[:], truth) < 0.45 * end_point_error(rigid.fields[:], truth)


@contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    yield
    torch.set_default_dtype(before)


@pytest.mark.parametrize(
    ("setting", "nearly"),
    [
        (lambda: np.errstate(all="raise"), 0),
        (lambda: torch.autocast("cpu", dtype=torch.bfloat16), 0),
        (lambda: torch.device("meta"), 0),
        (lambda: default_dtype(torch.float64), 1e-3),
        (lambda: default_dtype(torch.float16), 1e-3),
    ],
)
def test_what_the_caller_has_set_for_computing_does_not_matter(known_movie, setting, nearly):
    frames = known_movie[0][:20]
    plain = moco_dl.correct(frames)
    state = torch.get_rng_state()
    with setting():
        found = moco_dl.correct(frames)
        again = moco_dl.apply(frames, found.fields)
        moco_dl.evaluate(frames, again, found.fields)
    np.testing.assert_allclose(found.fields[:], plain.fields[:], rtol=0, atol=nearly)
    np.testing.assert_array_equal(again, found.corrected)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("photons", "largest"), [(2, 0.09), (5, 0.07), (20, 0.04)])
def test_motion_while_a_frame_is_taken_is_found(photons, largest):
    """Tissue runs to one side while rows are taken one after another, in each frame as far as it likes."""
    rng, size = np.random.default_rng(0), (96, 112)
    scene = draw_scene(size, rng)[0]
    paths = 2 * rng.standard_normal((40, 1)) * np.linspace(-1, 1, size[0])
    columns = np.arange(size[1])
    moving = np.array(
        [[np.interp(columns - x, columns, row) for x, row in zip(path, scene, strict=True)] for path in paths]
    )
    fields = moco_dl.correct(rng.poisson(photons * moving / scene.mean()).astype("uint16")).fields
    truth = np.zeros_like(fields[:])
    truth[:, 1] = paths[..., None]
    assert end_point_error(fields[:], truth) < largest
    np.testing.assert_allclose(
        fields.flow.astype(np.float32).mean(axis=(2, 3)), 0, atol=1e-3
    )  # it is in `rigid`


def test_result_has_the_shape_and_dtype_of_the_input(result, known_movie):
    frames = known_movie[0]
    assert result.corrected.shape == frames.shape and result.corrected.dtype == frames.dtype
    assert result.reference.shape == frames.shape[1:] and result.reference.dtype == np.float32
    assert result.fields.rigid.shape == (len(frames), 2) and not result.fields.flagged.any()
    assert result.fields[3:5].shape == (2, 2, *frames.shape[1:])
    assert moco_dl.correct(frames[:2], dtype="float32").corrected.dtype == np.float32


def test_mean_image_is_crisper(result, known_movie):
    def crispness(movie):
        return np.linalg.norm(np.gradient(movie.mean(0)[INTERIOR]))

    assert crispness(result.corrected) > 1.2 * crispness(known_movie[0])


def test_apply_gives_what_correct_gave(result, known_movie):
    np.testing.assert_array_equal(moco_dl.apply(known_movie[0], result.fields), result.corrected)
    inverted = 60_000 - known_movie[0]
    other = moco_dl.apply(inverted, result.fields)
    assert np.abs(60_000.0 - other - result.corrected).max() <= 2


@pytest.mark.parametrize("size", [1, 7, 16, 64])
def test_batch_size_does_not_change_a_bit(known_movie, size):
    """Nor where frames are no samples."""
    result, again = (moco_dl.correct(known_movie[0], ref_frames=16, batch_size=n) for n in (None, size))
    np.testing.assert_array_equal(again.corrected, result.corrected)
    np.testing.assert_array_equal(again.fields.flow[:], result.fields.flow[:])
    np.testing.assert_array_equal(again.fields.rigid, result.fields.rigid)


@pytest.mark.parametrize("count", [1, 3, 4, 15, 16, 17, 33])
def test_lengths_around_the_batch(known_movie, count):
    frames = known_movie[0][:count]
    result = moco_dl.correct(frames, known_movie[0].mean(0))
    assert result.corrected.shape == frames.shape and len(result.fields) == count
    again = moco_dl.correct(frames, known_movie[0].mean(0), batch_size=count)
    np.testing.assert_array_equal(result.corrected, again.corrected)


@pytest.mark.parametrize("shape", [(16, 16), (17, 31), (243, 30), (63, 128)])
def test_odd_small_and_oblong_frames(known_movie, shape):
    rows, columns = (np.resize(np.r_[0:n, n - 2 : 0 : -1], m) for n, m in zip((96, 112), shape, strict=True))
    frames = known_movie[0][:5][:, rows][:, :, columns]
    result = moco_dl.correct(frames)
    assert result.corrected.shape == frames.shape
    assert result.fields[:].shape == (5, 2, *shape) and np.isfinite(result.fields[:]).all()


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "uint32", "float32", "float64"])
def test_pixel_types_agree(result, known_movie, dtype):
    frames = known_movie[0][:6]
    scale = 1 / 32 if dtype == "uint8" else 1
    corrected = moco_dl.correct((frames * scale).astype(dtype), result.reference * scale).corrected
    assert corrected.dtype == dtype
    expected = moco_dl.correct(frames, result.reference).corrected * scale
    assert np.abs(corrected.astype(float) - expected).mean() < (3 if dtype == "uint8" else 1)


def test_top_of_the_range_does_not_wrap(known_movie):
    frames = known_movie[0][:8]
    for dtype, top, unit in (("uint16", 2**16 - 1, 1), ("int16", 2**15 - 1, 1), ("uint32", 2**32 - 1, 2**20)):
        high = np.minimum((frames.astype(np.int64) - 2000) * unit + top, top).astype(dtype)
        corrected = moco_dl.correct(high).corrected
        assert corrected.min() > top - 4000 * unit


def test_a_still_movie_stays_still():
    rng = np.random.default_rng(0)
    from moco_dl.learning.scenes import draw_scene

    scene = 400 * draw_scene((96, 96), rng)[0]
    frames = rng.poisson(np.broadcast_to(scene, (30, 96, 96))).astype(np.uint16)
    result = moco_dl.correct(frames)
    assert np.abs(result.fields[:]).mean() < 1e-3
    assert (result.corrected == frames).mean() > 0.99


def test_flashing_cells_are_not_motion():
    from moco_dl.learning.scenes import draw_scene

    rng = np.random.default_rng(3)
    layers = 10 * draw_scene((128, 128), rng, groups=8)
    flashes = 3 * (rng.random((40, 8)) < 0.3).astype(np.float32)
    frames = rng.poisson(layers[0] + np.tensordot(flashes, layers[1:], 1)).astype(np.uint16)
    fields = moco_dl.correct(frames).fields[:]
    assert np.hypot(fields[:, 0], fields[:, 1]).mean() < 0.25


def test_unusable_frames_are_left_alone_and_flagged(known_movie):
    frames = known_movie[0].copy()
    frames[5], frames[9], frames[11] = 0, 777, 65535
    result = moco_dl.correct(frames)
    bad = [5, 9, 11]
    assert np.flatnonzero(result.fields.flagged).tolist() == bad
    np.testing.assert_array_equal(result.corrected[bad], frames[bad])
    assert not result.fields[:][bad].any()
    good = [i for i in range(len(frames)) if i not in bad]
    clean = moco_dl.correct(known_movie[0][good])
    assert np.abs(result.fields.rigid[good] - clean.fields.rigid).mean() < 0.1


def test_missing_pixels_in_float_movies(known_movie):
    frames = known_movie[0][:10].astype(np.float32)
    whole = moco_dl.correct(frames, known_movie[0].mean(0))
    frames[:, :, :4] = np.nan
    result = moco_dl.correct(frames, known_movie[0].mean(0))
    assert not result.fields.flagged.any()
    assert np.abs(result.fields[:] - whole.fields[:])[..., 20:].mean() < 0.2


def test_a_given_reference_sets_the_position(known_movie, result):
    shifted = np.roll(result.reference, (2, -3), (0, 1))  # shows at (y, x) what was at (y - 2, x + 3)
    fields = moco_dl.correct(known_movie[0], shifted).fields
    moved = fields.rigid - result.fields.rigid
    np.testing.assert_allclose(np.median(moved, axis=0), [-2, 3], atol=0.2)


def test_options_may_be_given_as_in_the_command_and_types_as_in_numpy():
    named = CorrectOptions(smooth="auto", row_offset="auto", dtype="float32")
    assert named == CorrectOptions(dtype=np.float32) == CorrectOptions(dtype=np.dtype("<f4"))


def test_frames_in_foreign_byte_order(known_movie):
    frames = known_movie[0][:12]
    swapped = ArrayMovie(frames.astype(">u2"))
    assert swapped.dtype.isnative and swapped.read([3]).dtype.isnative
    np.testing.assert_array_equal(swapped.read([3, 5]), frames[[3, 5]])


def test_max_shift_is_a_limit(known_movie):
    for most in (0, 1, 1.3):
        fields = moco_dl.correct(known_movie[0], rigid_only=True, max_shift=most).fields
        assert np.abs(fields.rigid).max() == np.float32(most)


def test_parts_are_put_together_without_keeping_them():
    def parts():
        for start in range(0, 64, 16):
            yield start, {"frames": np.full((16, 2**14), start, ">u2"), "flagged": np.full(16, start > 0)}

    tracemalloc.start()
    whole = gathered(parts(), 64)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.7 * whole["frames"].nbytes  # it, and up to two parts
    expected = {name: np.concatenate([part[name] for _, part in parts()]) for name in whole}
    for name, values in expected.items():
        np.testing.assert_array_equal(whole[name], values)
        assert whole[name].dtype == values.dtype and whole[name].dtype.isnative


def test_the_shipped_weights_are_of_the_documented_size():
    from moco_dl.checkpoint import load

    count = sum(p.numel() for p in load(default_weights()).network.parameters())
    assert 300_000 <= count <= 1_000_000


def missing_rows(frames):
    frames = frames.astype(np.float32)
    frames[:, :20] = np.nan
    return frames


def one_spot(frames):
    frames = np.zeros_like(frames, dtype=np.uint8)
    frames[:, 10:14, 20:25] = 200
    return frames


@pytest.mark.parametrize("make", [missing_rows, one_spot, lambda frames: np.repeat(frames[:1], 12, axis=0)])
def test_odd_movies_give_finite_fields(known_movie, make):
    result = moco_dl.correct(make(known_movie[0][:12]))
    assert np.isfinite(result.fields[:]).all()


def test_reference_with_missing_pixels(known_movie):
    frames = known_movie[0][:12]
    image = moco_dl.correct(frames).reference
    whole = moco_dl.correct(frames, image).fields[:]
    image = image.copy()
    image[:15, :30] = np.nan
    part = moco_dl.correct(frames, image).fields[:]
    assert np.isfinite(part).all() and np.abs(part - whole)[:, :, 50:].mean() < 0.1


@pytest.mark.parametrize("scale", [1e-5, 1e8])
def test_units_make_no_difference(known_movie, scale):
    frames = known_movie[0][:12].astype(np.float32)
    fields = moco_dl.correct(frames).fields[:]
    assert np.abs(moco_dl.correct(frames * np.float32(scale)).fields[:] - fields).max() < 0.02


def test_options_may_be_numbers_of_numpy(known_movie):
    options = {
        "rigid_only": np.bool_(True),
        "row_offset": np.int64(1),
        "max_shift": np.float32(6),
        "smooth": np.longdouble(2),
    }
    about = moco_dl.correct(known_movie[0][:4], **options).fields.metadata
    assert json.loads(json.dumps(about)) == about and about["options"] == vars(CorrectOptions(**options))
