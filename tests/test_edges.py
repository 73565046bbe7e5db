"""Edges of frames that show nothing."""

import numpy as np
import pytest
from truth import end_point_error

import moco_dl
from moco_dl.correction import checked_reference
from moco_dl.movie import ArrayMovie
from moco_dl.sampled.edges import NONE, blank_edges, filled_corners, measure_edges
from moco_dl.sampled.samples import draw_samples


def edges_of(frames):
    samples, _ = draw_samples(lambda numbers: frames[numbers], [range(len(frames))], kept=len(frames))
    return measure_edges(samples)


def filled(frames, top=0, bottom=0, left=0, right=0, value=0):
    frames, (height, width) = frames.copy(), frames.shape[1:]
    for lines in np.s_[:, :top], np.s_[:, height - bottom :], np.s_[:, :, :left], np.s_[:, :, width - right :]:
        frames[lines] = value
    return frames


@pytest.fixture
def frames():
    return np.random.default_rng(0).poisson(5, (12, 40, 50)).astype(np.uint16)


@pytest.mark.parametrize("edges", [(3, 0, 0, 0), (0, 2, 0, 0), (0, 0, 4, 1), (1, 2, 3, 4)])
@pytest.mark.parametrize("value", [0, 700])
def test_lines_of_one_value_are_seen(frames, edges, value):
    found, (top, bottom, left, right) = filled(frames, *edges, value), edges
    assert edges_of(found).filled
    inside = np.s_[:, top : 40 - bottom, left : 50 - right]
    known = blank_edges(found)
    np.testing.assert_array_equal(known[inside], frames[inside])
    assert np.isfinite(known).sum() == known[inside].size
    (image,) = blank_edges(found.mean(axis=0)[None])
    np.testing.assert_array_equal(np.isfinite(image), np.isfinite(known[0]))


def test_what_is_no_edge_stays(frames):
    inside, once = frames.copy(), frames.copy()
    inside[:, 10:14] = 0  # not at the edge
    once[3, :5] = 0  # in one frame only
    for movie in (frames, inside, once, filled(frames, top=20)):  # the last shows too little without
        assert not edges_of(movie).filled
    for movie in (frames, inside, filled(frames, top=20), filled(frames, top=40)):
        np.testing.assert_array_equal(blank_edges(movie), movie)
    assert NONE(frames) is frames and not edges_of(frames)


def burnt_in(frames, value, box=None):
    """A scale bar, in a box."""
    frames = frames.copy()
    if box is not None:
        frames[:, 28:34, 10:30] = box
    frames[:, 30:32, 12:28] = value
    return frames


def test_a_scale_bar_is_seen_and_the_box_around_it():
    frames = np.random.default_rng(0).poisson(5, (20, 40, 50)).astype(np.uint16)
    expected = burnt_in(np.zeros((1, 40, 50)), 1)[0] > 0
    np.testing.assert_array_equal(edges_of(burnt_in(frames, 255)).hidden, expected)
    expected = burnt_in(np.zeros((1, 40, 50)), 1, 1)[0] > 0
    for kind in (np.uint16, np.float32):
        found = burnt_in(frames, 255, 0).astype(kind)
        if kind is np.float32:
            found[3, 5:9] = np.nan
        np.testing.assert_array_equal(edges_of(found).hidden, expected)


def test_what_only_looks_like_one_is_left_alone():
    """As hot pixels, few frames, tissue that is brighter at a time, or most of the frame."""
    frames = np.random.default_rng(0).poisson(5, (20, 40, 50)).astype(np.uint16)
    flash, still = burnt_in(frames, 255), np.repeat(frames[:1], 20, axis=0)
    flash[13, 3, 4] = 300
    still[:, :8] = frames[:, :8]
    hot = frames.copy()
    hot[:, 20, 20:24] = 255
    for movie in (hot, burnt_in(frames, 255)[:9], flash, still, burnt_in(frames, 5)):
        assert edges_of(movie).hidden is None


def test_a_scale_bar_holds_no_motion(known_movie, result):
    frames, truth = known_movie
    fields = moco_dl.correct(burnt_in(frames, 4095, 0)).fields
    errors = [end_point_error(each, truth) for each in (fields[:], result.fields[:])]
    assert errors[0] < 1.15 * errors[1]
    np.testing.assert_array_equal(fields.left_out, burnt_in(np.ones_like(frames[:1]), 0, 0)[0] == 0)


def round_view(size):
    y, x = np.mgrid[: size[0], : size[1]]
    return np.hypot(y - size[0] / 2, x - size[1] / 2) > 0.48 * max(size)


@pytest.mark.parametrize("value", [0, 40])
def test_what_surrounds_a_round_view(frames, value):
    outside, seen = round_view((40, 50)), frames.copy()
    seen[:, outside] = value
    seen[:, 18:24, 20:26] = value  # not at the border
    edges = edges_of(seen)
    np.testing.assert_array_equal(edges.hidden, outside)
    floats = seen.astype(np.float32)
    known = edges(floats)
    assert np.isnan(known[:, outside]).all()
    np.testing.assert_array_equal(floats, seen)  # they are not changed themselves
    np.testing.assert_array_equal(known[:, ~outside], seen[:, ~outside])
    seen[7, 0, 0] += 1  # where it is not always so, and beside that, it is not hidden
    assert edges_of(seen).hidden.sum() < outside.sum()
    seen[:, :, 15:] = value  # too much
    assert edges_of(seen).hidden is None


def test_a_view_that_is_round_does_no_harm(known_movie):
    frames = known_movie[0]
    outside, missing = round_view(frames.shape[1:]), frames.astype(np.float32)
    missing[:, outside] = np.nan
    dark = frames.copy()
    dark[:, outside] = 0
    found, expected = (moco_dl.correct(movie).fields[:] for movie in (dark, missing))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "float16", "float32", "float64"])
def test_numbers_of_any_type(frames, dtype):
    known = blank_edges(filled(frames.astype(dtype), left=4))
    assert known.dtype.kind == "f" and np.isnan(known[:, :, :4]).all()
    np.testing.assert_array_equal(known[:, :, 4:], frames[:, :, 4:])


@pytest.mark.parametrize("row_offset", [None, 2])
@pytest.mark.parametrize("value", [0, 400])
def test_a_strip_that_stays_does_no_harm(known_movie, row_offset, value):
    """It is as if there were no data."""
    frames, truth = known_movie
    missing = filled(frames.astype(np.float32), left=10, value=np.nan)
    expected = moco_dl.correct(missing, row_offset=row_offset).fields
    found = moco_dl.correct(filled(frames, left=10, value=value), row_offset=row_offset).fields
    np.testing.assert_array_equal(found[:], expected[:])
    np.testing.assert_array_equal(found.reference, expected.reference)
    if row_offset is None:
        whole = moco_dl.correct(frames).fields[:]
        assert end_point_error(found[:], truth) < 1.2 * end_point_error(whole, truth)


def test_a_movie_that_another_tool_has_shifted(known_movie):
    """By whole pixels, and zeros have come in."""
    frames, truth = known_movie
    shifts = truth.mean(axis=(2, 3)).round().astype(int)
    size = frames.shape[1:]
    shifted = np.stack(
        [
            np.pad(frame, 9)[9 + y : 9 + y + size[0], 9 + x : 9 + x + size[1]]
            for frame, (y, x) in zip(frames, shifts, strict=True)
        ]
    )
    left = truth - shifts[:, :, None, None]
    found, whole = moco_dl.correct(shifted).fields[:], moco_dl.correct(frames).fields[:]
    inner = np.s_[..., 12:-12, 12:-12]
    errors = [
        end_point_error((field - np.median(field - true, axis=0))[inner], true[inner])
        for field, true in ((found, left), (whole, truth))
    ]
    assert errors[0] < 1.2 * errors[1]


def test_a_reference_too(frames):
    movie, image = ArrayMovie(frames), frames.mean(axis=0)
    found = checked_reference(filled(image[None], right=5, value=3.5)[0], movie)
    assert np.isnan(found[:, -5:]).all() and np.isfinite(found[:, :-5]).all()


@pytest.mark.parametrize("value", [0, 9.25])
def test_corners_of_a_turned_image(frames, value):
    image = frames.mean(axis=0)
    y, x = np.mgrid[:40, :50]
    corners = (y + x < 15) | (y - x > 25) | (x - y > 35)
    image[corners] = value
    image[20:26, 20:26] = value  # not at the border
    found = filled_corners(image)
    assert not (found & ~corners).any() and found.sum() > 0.75 * corners.sum()
    assert np.isnan(checked_reference(image, ArrayMovie(frames))[found]).all()
    assert not filled_corners(frames.mean(axis=0)).any()
    assert filled_corners(np.full((16, 20), np.nan)).sum() == 0
