"""Movies corrected well, not at all, or wrongly, by this project and by others: the verdict must tell."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, shift, uniform_filter1d

import moco_dl
from moco_dl import evaluate
from moco_dl.evaluation.measure import _same_scene
from moco_dl.motion import MotionOptions
from moco_dl.scenes import draw_scene
from moco_dl.synth import MovieOptions, SyntheticMovie


def turned(fields):
    return replace(fields, rigid=-fields.rigid, flow=-fields.flow)


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
