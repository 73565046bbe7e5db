"""Movies and their corrections seen batch by batch: what is measured of them."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from evaluations import values
from scipy.ndimage import gaussian_filter, shift

import moco_dl
from moco_dl import evaluate
from moco_dl.evaluation.evaluator import Evaluator
from moco_dl.evaluation.gaps import in_lines
from moco_dl.evaluation.summary import summary
from moco_dl.learning.motion import MotionOptions
from moco_dl.learning.synth import MovieOptions, SyntheticMovie
from moco_dl.motion import Motion


def in_batches(raw, corrected, fields, batch):
    evaluator = Evaluator(raw.shape, fields.reference, fields.stride)
    for start in range(0, len(raw), batch):
        part = slice(start, start + batch)
        motion = Motion(fields.rigid[part], fields.flow[part], fields.flagged[part], misfit=fields.misfit[part])
        evaluator.add(evaluator.look(start, raw[part], corrected[part], motion))
    return evaluator.finish({})


def test_numerical_threads_are_as_before(movie):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        evaluate(movie[0], movie[0])
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(torch.get_num_threads).result() == torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_good_correction_is_better(movie):
    raw, fields = movie
    found = evaluate(raw, moco_dl.apply(raw, fields), fields)
    assert found.verdict.kind == "better", found.verdict
    table = values(found)
    for key in ("correlation", "agreement", "sharpness"):
        assert table[key][1] > table[key][0], key
    for key in ("residual_shift", "component_shift"):
        assert table[key][1] < 0.3 * table[key][0], key
    assert table["folded"] == (None, 0) and table["flagged"] == (None, 0)
    np.testing.assert_allclose(found.traces.rigid, fields.rigid, atol=1e-5)
    name, place = found.excerpts.line
    line = np.s_[:, place] if name == "row" else np.s_[:, :, place]
    np.testing.assert_array_equal(found.excerpts.line_before, raw[line])
    assert 0 < table["edge"][1] < 20 and 50 < table["valid"][1] < 100


@pytest.mark.parametrize(("axis", "name"), [(0, "column"), (1, "row")])
def test_the_kymograph_lies_along_the_motion(movie, axis, name):
    still = moco_dl.apply(*movie)
    moving = np.stack([np.roll(frame, t % 5, axis=axis) for t, frame in enumerate(still)])
    assert evaluate(moving, still).excerpts.line[0] == name


def test_another_tool_with_gain_offset_and_place_of_its_own(movie):
    raw, fields = movie
    rigid = np.stack([shift(f.astype(np.float32), -r, order=1) for f, r in zip(raw, fields.rigid, strict=True)])
    found = evaluate(raw, np.roll(rigid / 1000 - 3, (3, -2), axis=(1, 2)))
    assert found.verdict.kind == "better" and found.traces.rigid is None
    assert found.excerpts.fields.shape[0] == 0 and "rigid_mean" not in values(found)


def test_folded_fields_are_told(movie):
    raw, fields = movie
    x = np.arange(raw.shape[2])
    flow = fields.flow.copy()
    flow[:, 1] += 6 * np.sin(x / 3)
    bad = replace(fields, flow=flow)
    found = evaluate(raw, moco_dl.apply(raw, bad), bad)
    assert values(found)["folded"][1] > 5 and found.verdict.kind == "worse"
    assert all("folded field" in words for words in found.traces.flags)


def test_frames_that_cannot_be_judged_are_flagged_and_do_no_harm(movie):
    raw, fields = movie
    good = evaluate(raw, moco_dl.apply(raw, fields), fields)
    spoilt = raw.copy()
    spoilt[3], spoilt[20] = 0, 65535
    flagged = fields.flagged.copy()
    flagged[[3, 20]] = True
    known = replace(fields, flagged=flagged)
    found = evaluate(spoilt, moco_dl.apply(spoilt, known), known)
    assert found.traces.flags[3] == ("empty",) and found.traces.flags[20] == ("saturated",)
    assert np.isnan(found.traces.correlation_after[[3, 20]]).all()
    assert found.verdict.kind == "better"
    assert values(found)["sharpness"][1] == pytest.approx(values(good)["sharpness"][1], rel=0.03)


def test_every_other_frame_may_show_nothing(movie):
    raw, corrected = movie[0].copy(), moco_dl.apply(*movie)
    good = evaluate(raw, corrected)
    raw[1::2], corrected[1::2] = 0, 0
    found = evaluate(raw, corrected)
    assert "50 % of the frames are flagged" in found.verdict.sentence
    for before_or_after in (0, 1):
        whole, half = (values(each)["sharpness"][before_or_after] for each in (good, found))
        assert half == pytest.approx(whole, rel=0.1)


def test_the_batch_size_changes_nothing(movie):
    raw, fields = movie
    corrected = moco_dl.apply(raw, fields)
    one, other = (in_batches(raw, corrected, fields, batch) for batch in (1, 23))
    assert summary(one) == summary(other)
    for kind in ("traces", "pictures", "excerpts"):
        for name, array in vars(getattr(one, kind)).items():
            np.testing.assert_array_equal(array, getattr(getattr(other, kind), name), err_msg=name)


@pytest.mark.parametrize("frames", [1, 2, 3, 5])
def test_very_short_movies(movie, frames):
    raw, fields = movie[0][:frames].astype(np.float32), movie[1]
    part = replace(fields, rigid=fields.rigid[:frames], flow=fields.flow[:frames])
    part = replace(part, flagged=fields.flagged[:frames], misfit=fields.misfit[:frames])
    raw[0, 40:50] = np.nan
    found = evaluate(raw, moco_dl.apply(raw, part), part)
    assert len(found.traces.flags) == frames and found.excerpts.preview_before.shape[0] == frames
    assert found.excerpts.preview_before.dtype == found.excerpts.preview_after.dtype == np.float32
    if frames == 1:  # it is brought onto the reference of the whole movie
        assert found.verdict.sentence == "The image fits the reference better than before."
    json.dumps(summary(found), allow_nan=False)


def test_memory_does_not_grow_with_the_movie():
    reference = np.random.default_rng(0).random((64, 80), np.float32)

    def held(frames):
        evaluator = Evaluator((frames, 64, 80), reference, 4)
        arrays = [
            a for tally in evaluator.tallies for a in (*vars(tally).values(), *vars(tally.pairs).values())
        ]
        pictures = sum(a.nbytes for a in arrays if isinstance(a, np.ndarray))
        return pictures, sum(a.nbytes for a in evaluator.watch.values.values())

    short, long = held(2000), held(200_000)
    assert long[0] == short[0] and long[1] <= 36 * 200_000


def test_without_opencv_the_line_says_how_to_get_it(movie, monkeypatch):
    raw = movie[0][:6]
    monkeypatch.setitem(sys.modules, "cv2", None)  # as if it, or a library that it needs, were missing
    row = next(row for row in evaluate(raw, raw).table if row.key == "residual_flow")
    assert row.before is None and row.after is None and "pip install opencv-python-headless" in row.note


@pytest.mark.parametrize("shape", [(4, 16, 16), (5, 16, 300), (3, 301, 17)])
def test_small_and_oblong_frames(shape):
    frames = gaussian_filter(np.random.default_rng(0).random(shape), (0, 1, 1)).astype(np.float32)
    found = evaluate(frames, frames[:, ::-1].copy(), reference=frames[0])
    assert found.excerpts.preview_before.shape[0] == shape[0]
    json.dumps(summary(found), allow_nan=False)


def test_movies_in_which_nothing_can_be_seen():
    image = np.random.default_rng(0).random((40, 50))
    for value in (0, 255):
        black = np.full((6, 40, 50), value, np.uint8)
        found = evaluate(black, black, reference=image)
        assert found.verdict.kind == "doubtful" and "Too little" in found.verdict.sentence
        json.dumps(summary(found), allow_nan=False)


def test_frames_that_a_tool_lost(movie):
    raw, fields = movie
    corrected = moco_dl.apply(raw, fields).astype(np.float32)
    corrected[5], corrected[6] = 0, np.nan
    flags = evaluate(raw, corrected, fields).traces.flags
    assert flags[5] == ("empty when corrected",) and flags[6] == ("not finite when corrected",)
    assert not any(flags[t] for t in range(40) if t not in (5, 6))


def bordered(frames, width, value=np.nan):
    """The frames with one value at the border, as tools leave it that mark what they have no data for."""
    framed = np.full(frames.shape, value, np.float32)
    part = np.s_[:, width:-width, width:-width]
    framed[part] = frames[part]
    return framed


@pytest.mark.parametrize("value", [np.nan, 0])
def test_a_border_without_data_is_not_sharpness(movie, value):
    raw, fields = movie
    corrected = moco_dl.apply(raw, fields)
    whole, framed = evaluate(raw, corrected), evaluate(raw, bordered(corrected, 14, value))
    gains = [after / before for before, after in (values(found)["sharpness"] for found in (whole, framed))]
    assert framed.verdict.kind == "better" and gains[1] == pytest.approx(gains[0], rel=0.1)
    assert np.isnan(framed.pictures.mean_after[:14]).all() and np.isfinite(framed.pictures.mean_before).all()
    for pair in ((raw, bordered(raw, 14, value)), (bordered(raw, 14, value), raw)):
        found = evaluate(*pair)
        assert found.verdict.kind == "doubtful" and "Hardly anything changed" in found.verdict.sentence
        for key in ("agreement", "sharpness", "crispness", "residual_shift"):
            assert values(found)[key][0] == pytest.approx(values(found)[key][1], rel=0.02), key


def test_pixels_that_see_no_photon_are_no_gaps():
    rng = np.random.default_rng(1)
    light = gaussian_filter(rng.standard_normal((96, 96)), 1.5)
    light = (light - light.min()) ** 3
    counts = rng.poisson(np.broadcast_to(0.1 * light / light.mean(), (25, 96, 96))).astype(np.uint8)
    places = rng.integers(-3, 4, (25, 2))
    raw = np.stack([np.roll(*each, (0, 1)) for each in zip(counts, places, strict=True)])
    found = evaluate(raw, counts)
    assert (counts.max(axis=0) == 0).mean() > 0.1 and found.verdict.kind == "better"
    assert np.isnan(found.pictures.mean_after).mean() < 0.01


def test_a_border_is_a_gap_however_thin():
    border = np.zeros((24, 40), bool)
    border[:, :2], border[-1] = True, True
    chance = border.copy()
    chance[5:14, 20:29] = True  # or what is dark, as a vessel
    np.testing.assert_array_equal(in_lines(chance), border)


def test_a_still_movie_stays_still_when_it_gets_a_border():
    still = MotionOptions(rigid=0, amplitude=0, rows=0)
    frames = [f for f, _ in SyntheticMovie(8, MovieOptions(shape=(40, 96, 112), photons=10, motion=still))]
    frames = np.stack(frames)
    for value in (np.nan, 0):
        assert evaluate(bordered(frames, 14, value), frames).verdict.kind == "no motion"
        assert evaluate(frames, bordered(frames, 14, value)).verdict.kind == "no motion"


def test_fields_without_values(movie):
    raw, fields = movie
    for name in ("rigid", "flow"):
        nothing = replace(fields, **{name: np.nan * getattr(fields, name)[:]})
        for use in (lambda known: evaluate(raw, raw, known), lambda known: moco_dl.apply(raw, known)):
            with pytest.raises(moco_dl.NrcorrectError, match=r"the fields of frames 0 to \d+ are not finite"):
                use(nothing)


def test_movies_that_do_not_belong_together(movie):
    raw, fields = movie
    with pytest.raises(moco_dl.NrcorrectError, match=r"corrected: is \(39, .*raw is \(40, "):
        evaluate(raw, raw[:39])
    with pytest.raises(moco_dl.NrcorrectError, match="name the fields of this movie"):
        evaluate(raw[:39], raw[:39], fields)
