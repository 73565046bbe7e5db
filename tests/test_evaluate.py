"""Movies corrected well, not at all, or wrongly, by this project and by others: the verdict must tell."""

import csv
import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from scipy.ndimage import gaussian_filter, shift

import moco_dl
from moco_dl import evaluate
from moco_dl.batch import Motion
from moco_dl.cli import main
from moco_dl.evaluation.evaluator import Evaluator
from moco_dl.evaluation.summary import summary
from moco_dl.fields import Fields
from moco_dl.synth import MotionOptions, MovieOptions, SyntheticMovie


def run(*arguments, code=0):
    result = CliRunner().invoke(main, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


@pytest.fixture(scope="module")
def movie(known_movie):
    """Raw frames, and their true fields."""
    frames, truth = known_movie
    rigid = truth.mean(axis=(2, 3))
    return frames, Fields(
        rigid=rigid,
        flow=truth - rigid[:, :, None, None],
        flagged=np.zeros(len(truth), bool),
        misfit=np.ones(len(truth), np.float32),
        expected_error=np.full(truth.shape[2:], np.nan, np.float32),
        stride=1,
        reference=moco_dl.apply(frames, _fields(truth)).mean(axis=0, dtype=np.float32),
        metadata={"options": {}},
    )


def _fields(truth):
    empty = np.zeros(len(truth))
    shape = truth.shape[2:]
    blank = np.zeros(shape, np.float32)
    return Fields(
        np.zeros((len(truth), 2), np.float32), truth, empty > 0, empty, blank, 1, blank, {"options": {}}
    )


def in_batches(raw, corrected, fields, batch):
    evaluator = Evaluator(raw.shape, fields.reference, fields.stride)
    for start in range(0, len(raw), batch):
        part = slice(start, start + batch)
        motion = Motion(fields.rigid[part], fields.flow[part], fields.flagged[part], misfit=fields.misfit[part])
        evaluator.add(evaluator.look(start, raw[part], corrected[part], motion))
    return evaluator.finish({})


def turned(fields):
    return replace(fields, rigid=-fields.rigid, flow=-fields.flow)


def values(evaluation):
    return {row.key: (row.before, row.after) for row in evaluation.table}


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
    name, place = found.samples.line
    line = np.s_[:, place] if name == "row" else np.s_[:, :, place]
    np.testing.assert_array_equal(found.samples.line_before, raw[line])
    assert 0 < table["edge"][1] < 20 and 50 < table["valid"][1] < 100


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


def test_another_movie_altogether(movie):
    options = MovieOptions(
        shape=(40, 96, 112), photons=10.0, motion=MotionOptions(rigid=0, amplitude=0, rows=0)
    )
    other = np.stack([frame for frame, _ in SyntheticMovie(99, options)])
    verdict = evaluate(movie[0], other).verdict
    assert verdict.kind == "worse" and "same scene" in verdict.sentence


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


@pytest.mark.parametrize(("axis", "name"), [(0, "column"), (1, "row")])
def test_the_kymograph_lies_along_the_motion(known_movie, axis, name):
    still = moco_dl.apply(known_movie[0], _fields(known_movie[1]))
    moving = np.stack([np.roll(frame, t % 5, axis=axis) for t, frame in enumerate(still)])
    assert evaluate(moving, still).samples.line[0] == name


def test_another_tool_with_gain_offset_and_place_of_its_own(movie):
    raw, fields = movie
    rigid = np.stack([shift(f.astype(np.float32), -r, order=1) for f, r in zip(raw, fields.rigid, strict=True)])
    found = evaluate(raw, np.roll(rigid / 1000 - 3, (3, -2), axis=(1, 2)))
    assert found.verdict.kind == "better" and found.traces.rigid is None
    assert found.samples.fields.shape[0] == 0 and "rigid_mean" not in values(found)


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


def test_the_batch_size_changes_nothing(movie):
    raw, fields = movie
    corrected = moco_dl.apply(raw, fields)
    one, other = (in_batches(raw, corrected, fields, batch) for batch in (1, 23))
    assert summary(one) == summary(other)
    for kind in ("traces", "pictures", "samples"):
        for name, array in vars(getattr(one, kind)).items():
            np.testing.assert_array_equal(array, getattr(getattr(other, kind), name), err_msg=name)


@pytest.mark.parametrize("frames", [1, 2, 3, 5])
def test_very_short_movies(movie, frames):
    raw, fields = movie[0][:frames].astype(np.float32), movie[1]
    part = replace(fields, rigid=fields.rigid[:frames], flow=fields.flow[:frames])
    part = replace(part, flagged=fields.flagged[:frames], misfit=fields.misfit[:frames])
    raw[0, 40:50] = np.nan
    found = evaluate(raw, moco_dl.apply(raw, part), part)
    assert len(found.traces.flags) == frames and found.samples.preview_before.shape[0] == frames
    if frames == 1:
        assert found.verdict.kind == "doubtful"
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
    monkeypatch.setattr("moco_dl.evaluation.residual.find_spec", lambda name: None)
    row = next(row for row in evaluate(raw, raw).table if row.key == "residual_flow")
    assert row.before is None and row.after is None and "pip install 'nrcorrect[report]'" in row.note


@pytest.mark.parametrize("shape", [(4, 16, 16), (5, 16, 300), (3, 301, 17)])
def test_small_and_oblong_frames(shape):
    frames = gaussian_filter(np.random.default_rng(0).random(shape), (0, 1, 1)).astype(np.float32)
    found = evaluate(frames, frames[:, ::-1].copy(), reference=frames[0])
    assert found.samples.preview_before.shape[0] == shape[0]
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


def test_a_still_movie_stays_still_when_it_gets_a_border():
    still = MotionOptions(rigid=0, amplitude=0, rows=0)
    frames = [f for f, _ in SyntheticMovie(8, MovieOptions(shape=(40, 96, 112), photons=10, motion=still))]
    frames = np.stack(frames)
    for value in (np.nan, 0):
        assert evaluate(bordered(frames, 14, value), frames).verdict.kind == "no motion"
        assert evaluate(frames, bordered(frames, 14, value)).verdict.kind == "no motion"


def test_fields_without_values(movie):
    raw, fields = movie
    nothing = replace(fields, rigid=np.nan * fields.rigid, flow=np.nan * fields.flow)
    found = evaluate(raw, raw, nothing)
    assert values(found)["rigid_max"] == (None, None) and values(found)["nonrigid_mean"] == (None, None)
    json.dumps(summary(found), allow_nan=False)


def test_movies_that_do_not_belong_together(movie):
    raw, fields = movie
    with pytest.raises(moco_dl.NrcorrectError, match=r"corrected: is \(39, .*raw is \(40, "):
        evaluate(raw, raw[:39])
    with pytest.raises(moco_dl.NrcorrectError, match="name the fields of this movie"):
        evaluate(raw[:39], raw[:39], fields)


# The command line


@pytest.fixture
def files(tmp_path, movie):
    """A folder with raw.tif, corrected.tif and the truth as make_movie-like files and as a field file."""
    raw, fields = movie
    tifffile.imwrite(tmp_path / "raw.tif", raw, photometric="minisblack")
    tifffile.imwrite(tmp_path / "corrected.tif", moco_dl.apply(raw, fields), photometric="minisblack")
    (tmp_path / "known").mkdir()
    np.save(tmp_path / "known" / "gt_field.npy", fields[0:40])
    (tmp_path / "known" / "meta.json").write_text('{"photons": 10.0}')
    return tmp_path


@pytest.fixture
def synthetic(tmp_path):
    """m.tif, m_truth.h5 of `nrcorrect synth`, corrected into m_corrected.tif and m_fields.h5."""
    run("synth", tmp_path / "m.tif", "--movie", "--frames", 12, "--size", 96, "--photons", 10)
    run("correct", tmp_path / "m.tif", "--quiet")
    return tmp_path


def test_evaluate_prints_verdict_and_table(files):
    result = run("evaluate", files / "raw.tif", files / "corrected.tif")
    lines = [line.split("\t") for line in result.stdout.splitlines()]
    assert lines[0][0] == "better" and lines[1][0] == "correlation"
    assert all(len(line) == 4 for line in lines[1:])
    assert sorted(p.name for p in files.iterdir()) == ["corrected.tif", "known", "raw.tif"]


def test_evaluate_writes_json_and_csv(synthetic):
    arguments = ["evaluate", synthetic / "m.tif", synthetic / "m_corrected.tif"]
    arguments += ["--fields", synthetic / "m_fields.h5", "--truth", synthetic]
    arguments += ["--json", synthetic / "e.json", "--csv", synthetic / "e.csv"]
    result = run(*arguments)
    assert "wrote" in result.stderr
    stored = json.loads((synthetic / "e.json").read_text())
    assert stored["format"] == "nrcorrect-evaluation-1" and stored["frames"] == 12
    assert stored["verdict"]["kind"] == "better"
    error = stored["metrics"]["end_point_error_interior"]
    assert 0 < error["after"] < 0.3 * error["before"] and error["unit"] == "px"
    assert stored["metrics"]["rigid_mean"]["before"] is None
    about = stored["provenance"]
    assert about["photons"] == 10 and len(about["weights_sha256"]) == 64 and about["fields"] == "m_fields.h5"
    assert [entry["name"] for entry in about["inputs"]] == ["m.tif", "m_corrected.tif"]
    # The same numbers come from the correction itself.
    assert (synthetic / "e.csv").read_text() == (synthetic / "m_motion.csv").read_text()
    first = (synthetic / "e.json").read_bytes()
    run(*arguments, "--overwrite", "--threads", 1)
    assert json.loads(first)["metrics"] == json.loads((synthetic / "e.json").read_text())["metrics"]
    assert "e.json: exists" in run(*arguments, code=1).stderr


def test_truth_from_a_folder_and_its_score(files):
    run("correct", files / "raw.tif", "--rigid-only")
    arguments = [
        "evaluate",
        files / "raw.tif",
        files / "raw_corrected.tif",
        "--fields",
        files / "raw_fields.h5",
    ]
    run(*arguments, "--truth", files / "known", "--json", files / "e.json")
    metrics = json.loads((files / "e.json").read_text())["metrics"]
    truth, found = np.load(files / "known" / "gt_field.npy"), moco_dl.load_fields(files / "raw_fields.h5")
    difference = found[:] - truth
    inside = difference[..., 16:-16, 16:-16].transpose(1, 0, 2, 3).reshape(2, -1)
    error = np.hypot(*(difference - np.median(inside, axis=1)[:, None, None]).transpose(1, 0, 2, 3))
    assert metrics["end_point_error_whole"]["after"] == pytest.approx(error.mean(), rel=0.02)
    assert metrics["end_point_error_interior"]["after"] == pytest.approx(
        error[..., 16:-16, 16:-16].mean(), rel=0.02
    )
    (files / "known" / "meta.json").write_text("{")
    assert "damaged JSON" in run(*arguments, "--truth", files / "known", code=1).stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["raw.tif", "small.tif"], 1, "small.tif: is (40, 90, 112), raw.tif is (40, 96, 112); wanted the same"),
        (["raw.tif", "short.tif"], 1, "short.tif: is (39, 96, 112), raw.tif is (40, 96, 112); wanted the same"),
        (["raw.tif", "none.tif"], 1, "none.tif: cannot read"),
        (["raw.tif", "corrected.tif", "--fields", "raw.tif"], 1, "not a field file"),
        (
            ["raw.tif", "corrected.tif", "--reference", "day.npy"],
            1,
            "reference has shape (20, 20); wanted (96, 112)",
        ),
        (["raw.tif", "corrected.tif", "--truth", "known"], 2, "name them with --fields"),
        (["raw.tif", "corrected.tif", "--json", "raw.tif"], 2, "is an input; choose another output"),
        (["raw.tif", "corrected.tif", "--json", "a", "--csv", "a"], 2, "two outputs have the same name"),
        (["raw.tif", "corrected.tif", "--png"], 2, "name the page with -o"),
        (["raw.tif", "corrected.tif", "--json", "none/a.json"], 1, "no directory none; make it first"),
        (["raw.tif", "black.tif"], 1, "no frame can be judged"),
    ],
)
def test_what_cannot_be_compared_is_told_in_one_line(files, monkeypatch, movie, arguments, code, message):
    monkeypatch.chdir(files)
    raw = movie[0]
    for name, frames in (("small", raw[:, :90]), ("short", raw[:39]), ("black", 0 * raw)):
        tifffile.imwrite(f"{name}.tif", frames, photometric="minisblack")
    np.save("day.npy", np.eye(20))
    before = sorted(files.rglob("*"))
    result = run("evaluate", *arguments, code=code)
    assert message in result.stderr.splitlines()[-1]
    assert sorted(files.rglob("*")) == before


def test_datasets_of_one_file_are_told_apart(tmp_path, movie):
    path = tmp_path / "both.h5"
    with h5py.File(path, "w") as file:
        file["raw"], file["moved"], file["cut"] = movie[0], moco_dl.apply(*movie), movie[0][:, :50]
    result = run("evaluate", path, path, "--dataset", "raw", "--corrected-dataset", "moved")
    assert result.stdout.startswith("better\t")
    result = run("evaluate", path, path, "--dataset", "raw", "--corrected-dataset", "cut", code=1)
    assert (
        "both.h5: cut: is (40, 50, 112)" in result.stderr and "both.h5: raw is (40, 96, 112)" in result.stderr
    )


def test_names_of_files_that_are_not_text(files):
    name = files / "\udcff.tif"
    try:
        (files / "raw.tif").rename(name)
    except (OSError, UnicodeError):
        pytest.skip("the file system wants text")
    outputs = [files / f"e.{kind}" for kind in ("json", "csv", "html")]
    run("evaluate", name, files / "corrected.tif", "--json", outputs[0], "--csv", outputs[1], "-o", outputs[2])
    stored = json.loads(outputs[0].read_text(encoding="utf-8"))
    assert stored["provenance"]["inputs"][0]["name"] == "?.tif" and all(path.exists() for path in outputs)


def test_a_picture_without_matplotlib(files, monkeypatch):
    monkeypatch.setattr("moco_dl.figures.find_spec", lambda name: None)
    for command in (
        ["evaluate", files / "raw.tif", files / "corrected.tif", "-o", files / "page.html"],
        ["correct", files / "raw.tif", "--report"],
    ):
        assert "pip install 'nrcorrect[figures]'" in run(*command, "--png", code=1).stderr
    assert sorted(path.name for path in files.iterdir()) == ["corrected.tif", "known", "raw.tif"]


def test_report_of_several_movies_without_fields(movie_file, tmp_path):
    frames = tifffile.imread(movie_file)
    tifffile.imwrite(tmp_path / "first.tif", frames[:1].astype(np.uint8), photometric="minisblack")
    long = np.tile(frames[:, 40:56], (1, 1, 10)).astype(np.float32)  # 16x1120
    tifffile.imwrite(tmp_path / "long.tif", long, photometric="minisblack")
    tifffile.imwrite(tmp_path / "black.tif", 0 * frames, photometric="minisblack")
    names = [tmp_path / f"{name}.tif" for name in ("first", "long", "black")]
    (tmp_path / "out").mkdir()
    arguments = [*names, "--outdir", tmp_path / "out", "--report", "--no-fields", "--no-csv"]
    result = run("correct", *arguments, code=1)
    assert "1 of 3 movies failed" in result.stderr and "doubtful: " in result.stderr
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == ["first_corrected.tif", "first_report.html", "long_corrected.tif", "long_report.html"]


def test_reference_given(files, movie):
    np.save(files / "day.npy", movie[1].reference)
    result = run("evaluate", files / "raw.tif", files / "corrected.tif", "--reference", files / "day.npy")
    assert result.stdout.startswith("better\t")


def test_the_page(files):
    pytest.importorskip("moco_dl.report")
    page = files / "how_good.html"
    run("evaluate", files / "raw.tif", files / "corrected.tif", "-o", page, "--png")
    assert "<html" in page.read_text()[:500].lower()
    assert (files / "how_good.png").read_bytes()[:4] == b"\x89PNG"


def test_correct_makes_table_and_page_in_one_pass(movie_file):
    result = run("correct", movie_file)
    table = movie_file.with_name("movie_motion.csv")
    assert result.stdout.rstrip("\n").split("\t")[2] == str(table)
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    fields = moco_dl.load_fields(movie_file.with_name("movie_fields.h5"))
    flow = np.asarray(fields.flow[:], np.float32)
    shifts = np.array([[float(row["dy_px"]), float(row["dx_px"])] for row in rows])
    np.testing.assert_allclose(shifts, fields.rigid + flow.mean(axis=(2, 3)), atol=1e-3)
    assert [row["frame"] for row in rows] == [str(t) for t in range(9)]
    assert all(float(row["correlation_after"]) > 0.3 and row["flags"] == "" for row in rows)
    assert max(float(row["nonrigid_max_px"]) for row in rows) < 4


def test_table_does_not_depend_on_batches_and_threads(movie_file, tmp_path):
    for size, threads in ((1, 1), (4, 2), (64, 3)):
        more = ["--batch-size", size, "--threads", threads, "--quiet"]
        run("correct", movie_file, "-o", tmp_path / f"{size}.tif", *more)
    assert len({(tmp_path / f"{size}_motion.csv").read_bytes() for size in (1, 4, 64)}) == 1


def test_no_csv_and_an_empty_frame(movie_file, tmp_path):
    frames = tifffile.imread(movie_file)
    frames[4] = 0
    tifffile.imwrite(tmp_path / "gap.tif", frames, photometric="minisblack")
    run("correct", tmp_path / "gap.tif")
    row = (tmp_path / "gap_motion.csv").read_text().splitlines()[5]
    assert row == "4,0.0000,0.0000,0.0000,0.0000,,,empty"
    run("correct", tmp_path / "gap.tif", "--no-csv", "--overwrite", "-o", tmp_path / "plain.tif")
    assert not (tmp_path / "plain_motion.csv").exists()


def test_correct_with_report(movie_file, tmp_path):
    pytest.importorskip("moco_dl.report")
    run("correct", movie_file, "-o", tmp_path / "plain.tif", "--no-csv")
    result = run("correct", movie_file, "--report", "--png")
    names = [
        "movie_corrected.tif",
        "movie_fields.h5",
        "movie_motion.csv",
        "movie_report.html",
        "movie_report.png",
    ]
    assert result.stdout.rstrip("\n").split("\t") == [str(tmp_path / name) for name in names]
    assert "better: " in result.stderr
    assert (tmp_path / names[0]).read_bytes() == (tmp_path / "plain.tif").read_bytes()


def test_png_needs_the_page(movie_file):
    assert "add --report" in run("correct", movie_file, "--png", code=2).stderr
