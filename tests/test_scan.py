"""Every other row beside the others, as scanning forth and back may leave it."""

import numpy as np
import pytest
from commands import run
from drawn_samples import samples_of
from truth import end_point_error

import moco_dl
from moco_dl.errors import NrcorrectError
from moco_dl.learning.synth import SyntheticMovie, movie_options
from moco_dl.sampled.scan import measure_row_offset, straightened

OFFSETS = (-3, -1, 1, 2)


def recorded(frames, offset):
    """Frames whose second, fourth, ... rows lie `offset` px to the right."""
    displaced = frames.copy()
    displaced[:, 1::2] = np.roll(frames[:, 1::2], offset, axis=2)
    return displaced


def measured(frames):
    return measure_row_offset(samples_of(frames))


@pytest.mark.parametrize("height", [16, 17])
@pytest.mark.parametrize("offset", OFFSETS)
def test_rows_are_taken_back_and_ends_repeat_the_row_above(height, offset):
    frames = np.random.default_rng(0).integers(0, 99, (3, height, 20), np.uint8)
    straight = straightened(recorded(frames, offset), offset)
    inside = np.s_[:, :, : 20 - offset] if offset > 0 else np.s_[:, :, -offset:]
    np.testing.assert_array_equal(straight[inside], frames[inside])
    outside = np.s_[:, :, 20 - offset :] if offset > 0 else np.s_[:, :, :-offset]
    above = straight[:, 0::2][:, : height // 2]
    np.testing.assert_array_equal(straight[:, 1::2][outside], above[outside])
    np.testing.assert_array_equal(straight[:, 0::2], frames[:, 0::2])


def test_some_frames_are_left_as_they_are():
    frames = np.random.default_rng(0).random((4, 16, 16), np.float32)
    left = np.array([False, True, False, True])
    straight = straightened(frames, 2, left)
    np.testing.assert_array_equal(straight[left], frames[left])
    np.testing.assert_array_equal(straight[~left], straightened(frames[~left], 2))


@pytest.mark.parametrize("offset", (*OFFSETS, 0))
def test_an_offset_is_found_although_the_tissue_moves(known_movie, offset):
    assert measured(recorded(known_movie[0], offset)) == offset


def test_an_offset_is_found_where_pixels_are_missing(known_movie):
    frames = recorded(known_movie[0], 2).astype(np.float32)
    frames[:, 20:30, 40:60], frames[3, 50] = np.nan, np.nan
    assert measured(frames) == 2


@pytest.mark.parametrize("size", [(16, 16), (17, 64), (96, 112)])
def test_none_is_found_where_there_is_nothing_to_see(size):
    rng = np.random.default_rng(0)
    for count in (1, 5, 40):
        assert measured(rng.poisson(3.0, (count, *size)).astype(np.uint16)) == 0
        assert measured(np.full((count, *size), 7, np.uint16)) == 0


def test_movies_are_corrected_as_if_rows_had_been_in_place(known_movie):
    frames, truth = known_movie
    others = np.arange(len(frames)) != 7
    displaced = recorded(frames, 2)
    for some in (frames := frames.copy(), displaced):
        some[7], some[7, :5] = 65535, np.arange(112)
    usual, result = moco_dl.correct(frames), moco_dl.correct(displaced)
    errors = [end_point_error(found.fields[:][others], truth[others]) for found in (usual, result)]
    assert errors[1] < 1.03 * errors[0]
    assert result.fields.row_offset == 2
    np.testing.assert_array_equal(result.corrected[7], displaced[7])  # flagged: as recorded
    np.testing.assert_array_equal(moco_dl.apply(displaced, result.fields), result.corrected)


def test_an_offset_may_be_given(known_movie):
    frames = recorded(known_movie[0][:12], 2)
    assert moco_dl.correct(frames, row_offset=0, rigid_only=True).fields.row_offset == 0
    forced = moco_dl.correct(frames, row_offset=2, rigid_only=True)
    measured = moco_dl.correct(frames, rigid_only=True)
    np.testing.assert_array_equal(forced.corrected, measured.corrected)
    with pytest.raises(NrcorrectError, match="row_offset: got -112; wanted less than 112 px"):
        moco_dl.correct(frames, row_offset=-112)
    with pytest.raises(NrcorrectError, match=r"row_offset: got 1\.5; wanted a whole number of pixels"):
        moco_dl.correct(frames, row_offset=1.5)


def test_in_the_shell(tmp_path):
    movie = tmp_path / "m.tif"
    run(
        "synth",
        movie,
        "--movie",
        "--frames",
        12,
        "--size",
        96,
        "--photons",
        20,
        "--row-offset",
        -2,
        "--seed",
        2,
    )
    assert "every other row -2 px" in run("correct", movie, "--rigid-only").stderr
    for name in ("m_truth.h5", "m_fields.h5"):
        assert moco_dl.load_fields(tmp_path / name).row_offset == -2
    assert "every other row" not in run("correct", movie, "--overwrite", "--row-offset", 0).stderr
    wrong = run("correct", movie, "--row-offset", "much", code=2).stderr
    assert "got 'much'; wanted auto, or a whole number of pixels" in wrong
    assert "--row-offset is for movies" in run("synth", tmp_path / "p.h5", "--row-offset", 1, code=2).stderr


def test_synthetic_rows_are_displaced_and_their_truth_is_not():
    plain, displaced = (SyntheticMovie(4, movie_options(frames=3, size=64, row_offset=px)) for px in (0, 3))
    for t in range(3):
        (seen, field), (moved, same) = plain.moved(t), displaced.moved(t)
        np.testing.assert_array_equal(field, same)
        np.testing.assert_array_equal(moved[1::2, 3:], seen[1::2, :-3])
        np.testing.assert_array_equal(moved[0::2], seen[0::2])
