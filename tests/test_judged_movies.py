"""Movies corrected well, not at all, or wrongly, by this project and by others: the verdict must tell."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from evaluations import values
from scipy.ndimage import gaussian_filter, shift, uniform_filter1d
from truth import turned

import moco_dl
from moco_dl import evaluate
from moco_dl.evaluation.measure import _same_scene
from moco_dl.learning.motion import MotionOptions
from moco_dl.learning.scenes import draw_scene
from moco_dl.learning.synth import MovieOptions, SyntheticMovie, movie_options
from moco_dl.sampled.scan import straightened


def synthetic(seed, **options):
    return np.stack([frame for frame, _ in SyntheticMovie(seed, movie_options(**options))])


@cache
def corrected_movie(photons):
    raw = synthetic(4, frames=40, size=96, photons=photons)
    return raw, moco_dl.correct(raw)


@pytest.mark.parametrize("how", ["turned", "of another movie", "random", "smoothed"])
def test_wrong_corrections_are_worse(movie, how):
    raw, fields = movie
    applied = {
        "turned": turned(fields),
        "of another movie": replace(fields, rigid=fields.rigid[::-1], flow=fields.flow[::-1]),
        "random": replace(
            fields, rigid=np.random.default_rng(0).normal(0, 3, (40, 2)).astype("f4"), flow=0 * fields.flow
        ),
    }.get(how)
    if applied is None:
        corrected = np.stack([gaussian_filter(frame.astype(np.float32), 2) for frame in raw])
        assert evaluate(raw, corrected).verdict.kind == "worse"
    else:
        applied = replace(applied, rigid=applied.rigid.copy(), flow=applied.flow.copy())
        corrected = moco_dl.apply(raw, applied)
        assert evaluate(raw, corrected, applied).verdict.kind == "worse"
        assert evaluate(raw, corrected).verdict.kind == "worse"  # nor does it need the fields


@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("motion", [0.0, 4.0])
def test_frames_that_are_averaged_over_time_are_not_better(count, motion):
    """Noise that frames share looks like detail on which they agree."""
    options = MovieOptions(
        shape=(60, 96, 112), photons=0.5, motion=MotionOptions(rigid=motion, amplitude=0, rows=0)
    )
    frames = np.stack([frame for frame, _ in SyntheticMovie(8, options)])
    verdict = evaluate(frames, uniform_filter1d(frames.astype(np.float32), count, axis=0)).verdict
    assert verdict.kind == "doubtful"
    if not motion:
        assert "as if averaged over time" in verdict.sentence


def test_another_movie_altogether(movie):
    options = MovieOptions(
        shape=(40, 96, 112), photons=10.0, motion=MotionOptions(rigid=0, amplitude=0, rows=0)
    )
    other = np.stack([frame for frame, _ in SyntheticMovie(99, options)])
    verdict = evaluate(movie[0], other).verdict
    assert verdict.kind == "worse" and "same scene" in verdict.sentence


def test_fields_of_another_movie(movie):
    own, other = (moco_dl.correct(frames) for frames in (movie[0], synthetic(99, frames=40, size=112)[:, :96]))
    assert evaluate(movie[0], own.corrected, own.fields).verdict.kind == "better"
    assert evaluate(movie[0], own.corrected, reference=own.reference).verdict.kind == "better"
    for known in ({"fields": other.fields}, {"reference": other.reference}):
        verdict = evaluate(movie[0], own.corrected, **known).verdict
        assert verdict.kind == "doubtful" and "the reference shows another scene" in verdict.sentence


def test_a_movie_that_has_drifted_far_over_the_scene():
    """Then its mean image does not show it."""
    options = MovieOptions(
        shape=(60, 128, 128), photons=5.0, motion=MotionOptions(rigid=1, amplitude=1, rows=0)
    )
    movie = np.stack([frame for frame, _ in SyntheticMovie(1, options)])
    drifted = np.stack([np.roll(frame, (t // 2, -t // 2), (0, 1)) for t, frame in enumerate(movie)])
    assert evaluate(drifted, movie).verdict.kind == "better"


def test_noise_is_no_scene():
    """Brought to where it is most like another movie, it shows some of that."""
    rng = np.random.default_rng(0)
    scenes = (draw_scene((128, 128), rng)[0] for _ in range(2))
    one, other = (0.05 * np.repeat(scene[None], 200, axis=0) for scene in scenes)
    assert _same_scene(rng.poisson(one).astype(np.float32), other) < 0.3


def test_nothing_done_to_a_moving_movie_is_doubtful(movie):
    verdict = evaluate(movie[0], movie[0]).verdict
    assert verdict.kind == "doubtful" and "Hardly anything changed" in verdict.sentence


@pytest.mark.parametrize("photons", [0.5, 10.0])
def test_a_still_movie_has_no_motion(photons):
    still = MotionOptions(rigid=0, amplitude=0, rows=0)
    frames = np.stack(
        [f for f, _ in SyntheticMovie(8, MovieOptions(shape=(40, 96, 112), photons=photons, motion=still))]
    )
    result = moco_dl.correct(frames, rigid_only=True)
    assert evaluate(frames, result.corrected, result.fields).verdict.kind == "no motion"
    assert evaluate(frames, frames).verdict.kind == "no motion"
    shaken = np.stack(
        [shift(f, s, order=1) for f, s in zip(frames, np.tile([[2, 0], [-2, 1]], (20, 1)), strict=True)]
    )
    assert evaluate(frames, shaken).verdict.kind == "worse"


def test_a_movie_that_seldom_moves():
    still = MotionOptions(rigid=0, amplitude=0, rows=0)
    frames = np.stack(
        [f for f, _ in SyntheticMovie(8, MovieOptions(shape=(150, 64, 72), photons=5, motion=still))]
    )
    raw = frames.copy()
    for t in (30, 31, 90):
        raw[t] = np.roll(frames[t], (3, -4), axis=(0, 1))
    verdict = evaluate(raw, frames).verdict
    assert verdict.kind == "better" and "stood out" in verdict.sentence
    assert evaluate(frames, frames).verdict.kind == "no motion"
    assert evaluate(frames, raw).verdict.kind != "better"


@pytest.mark.parametrize("photons", [1.0, 10.0])
@pytest.mark.parametrize("offset", [-1, 2, 12])
def test_every_other_row_moved_away_is_doubtful(photons, offset):
    """Also if the tissue moves up and down, so that no comb is left in the mean image."""
    raw, right = corrected_movie(photons)
    assert evaluate(raw, right.corrected, right.fields).verdict.kind == "better"
    combed = moco_dl.apply(straightened(raw, offset), right.fields)
    found = evaluate(raw, combed, right.fields)
    assert found.verdict.kind == "doubtful" and "every other row was moved by" in found.verdict.sentence
    assert values(found)["rows_moved"][1] == pytest.approx(offset, abs=0.3)


def test_rows_brought_to_where_they_belong_or_left():
    raw = synthetic(4, frames=40, size=96, photons=5, row_offset=2)
    for offset, kind in ((None, "better"), (0, "better"), (-2, "doubtful"), (-6, "doubtful")):
        found = evaluate(raw, moco_dl.correct(raw, row_offset=offset).corrected)
        assert found.verdict.kind == kind, offset
        assert values(found)["rows_moved"][1] == pytest.approx(2 if offset is None else offset, abs=0.1)
        before, after = values(found)["rows_alike"]
        assert (after > before + 0.05) if offset is None else (after < before + 0.01)


@pytest.mark.parametrize("how", ["shuffled", "turned round", "replaced"])
def test_frames_that_are_not_their_own_are_doubtful(how):
    raw, result = corrected_movie(2.0)
    corrected, rng = result.corrected, np.random.default_rng(0)
    mean = corrected.mean(axis=0)
    others = {
        "shuffled": lambda: corrected[rng.permutation(40)],
        "turned round": lambda: corrected[::-1],
        "replaced": lambda: mean + corrected.std(axis=0) * rng.standard_normal(corrected.shape),
    }[how]()
    assert values(evaluate(raw, corrected))["own_frame"][1] > 99
    found = evaluate(raw, others)
    assert found.verdict.kind == "doubtful" and "their own raw frames" in found.verdict.sentence
    assert 30 < values(found)["own_frame"][1] < 68


@pytest.mark.parametrize("photons", [None, 5000])
def test_bright_frames_differ_by_motion(photons):
    rng = np.random.default_rng(3)
    scene, places = draw_scene((128, 128), rng)[0], gaussian_filter(rng.normal(0, 8, (30, 2)), (1.5, 0))
    raw = np.stack([shift(scene, place, order=3, mode="reflect")[16:-16, 16:-16] for place in places])
    raw = raw * 1000 if photons is None else rng.poisson(raw.clip(0) * photons / raw.mean())
    found = evaluate(raw.astype(np.float32), moco_dl.correct(raw.astype(np.float32)).corrected)
    assert found.verdict.kind == "better" and values(found)["own_frame"][1] is None


def test_denoised_frames_are_their_own(movie):
    """The three strongest components of activity and noise, no more."""
    raw, fields = movie
    corrected = moco_dl.apply(raw, fields).astype(np.float32)
    mean = corrected.mean(axis=0)
    left, size, right = np.linalg.svd((corrected - mean).reshape(40, -1), full_matrices=False)
    denoised = mean + ((left[:, :3] * size[:3]) @ right[:3]).reshape(corrected.shape)
    found = evaluate(raw, denoised)
    assert found.verdict.kind == "better" and values(found)["own_frame"][1] > 80


def test_clipped_movies_are_doubtful(movie):
    raw, fields = movie
    corrected = moco_dl.apply(raw, fields)
    assert "at_limits" not in values(evaluate(raw, corrected))
    for share in (10, 45):
        clipped = corrected.clip(*np.percentile(corrected, (share, 100 - share)))
        found = evaluate(raw, clipped)
        assert found.verdict.kind == "doubtful" and "clipped" in found.verdict.sentence
        before, after = values(found)["at_limits"]
        assert before < 0.1 and 2 * share - 10 < after < 2 * share + 10


def test_hot_pixels_are_not_sharpness(movie):
    """They stay in place while the tissue moves, and are smeared when it is brought to rest."""
    raw, fields = movie
    hot = raw.copy()
    hot[(slice(None), *np.random.default_rng(0).integers(8, 88, (2, 12)))] += 10 * raw.mean().astype(raw.dtype)
    found = evaluate(hot, moco_dl.apply(hot, fields))
    assert found.verdict.kind == "better"
    assert values(found)["sharpness"][0] < 1.1 * values(evaluate(raw, raw))["sharpness"][0]


def test_a_moving_edge_of_one_value_is_not_clipping(movie):
    """As of tools that fill what a frame does not show with the least value."""
    raw, fields = movie
    moved = replace(fields, flow=0 * fields.flow)
    corrected = moco_dl.apply(raw, moved)
    for frame, (dy, dx) in zip(corrected, fields.rigid.round().astype(int), strict=True):
        frame[: max(0, -dy) + 8], frame[:, 96 - max(0, dx) :] = 0, 0
    assert "at_limits" not in values(evaluate(raw, corrected))
