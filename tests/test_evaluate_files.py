"""`nrcorrect evaluate`, and the table and the page of `correct`: files in, files out."""

import csv
import json
import sys

import h5py
import numpy as np
import pytest
import tifffile
from commands import run

import moco_dl
from moco_dl.errors import NrcorrectError
from moco_dl.evaluation.truth import load_truth


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
    stored = json.loads((synthetic / "e.json").read_text(encoding="utf-8"))
    assert stored["format"] == "nrcorrect-evaluation-1" and stored["frames"] == 12
    assert stored["verdict"]["kind"] == "better"
    error = stored["metrics"]["end_point_error_interior"]
    assert 0 < error["after"] < 0.3 * error["before"] and error["unit"] == "px"
    assert stored["metrics"]["rigid_mean"]["before"] is None
    about = stored["provenance"]
    assert about["photons"] == 10 and len(about["weights_sha256"]) == 64 and about["fields"] == "m_fields.h5"
    assert [entry["name"] for entry in about["inputs"]] == ["m.tif", "m_corrected.tif"]
    # The same numbers come from the correction itself.
    assert (synthetic / "e.csv").read_text(encoding="utf-8") == (synthetic / "m_motion.csv").read_text(
        encoding="utf-8"
    )
    first = (synthetic / "e.json").read_bytes()
    run(*arguments, "--overwrite", "--threads", 1)
    assert (
        json.loads(first)["metrics"]
        == json.loads((synthetic / "e.json").read_text(encoding="utf-8"))["metrics"]
    )
    assert "e.json: exists" in run(*arguments, code=1).stderr


def test_what_was_left_out_is_not_compared(tmp_path, known_movie):
    """A scale bar: it moves once frames have been moved."""
    frames = known_movie[0][:20].copy()
    frames[:, 80:84, 70:100] = 4095
    tifffile.imwrite(tmp_path / "m.tif", frames, photometric="minisblack")
    assert "; better: " in run("correct", tmp_path / "m.tif", "--report").stderr
    run("correct", tmp_path / "m.tif", "--overwrite")
    arguments = "evaluate", tmp_path / "m.tif", tmp_path / "m_corrected.tif", "--csv", tmp_path / "e.csv"
    found = run(*arguments, "--fields", tmp_path / "m_fields.h5").stdout
    assert found.startswith("better") and not run(*arguments, "--overwrite").stdout.startswith("better")
    run(*arguments, "--fields", tmp_path / "m_fields.h5", "--overwrite")
    assert (tmp_path / "e.csv").read_bytes() == (tmp_path / "m_motion.csv").read_bytes()


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
    metrics = json.loads((files / "e.json").read_text(encoding="utf-8"))["metrics"]
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
    (files / "known" / "meta.json").write_text("[10.0]")
    assert "holds list; wanted a JSON object" in run(*arguments, "--truth", files / "known", code=1).stderr
    (files / "known" / "meta.json").write_text('{"photons": NaN}')
    run(*arguments, "--truth", files / "known", "--json", files / "unknown.json")
    assert json.loads((files / "unknown.json").read_text(encoding="utf-8"))["provenance"]["photons"] is None
    (files / "known" / "meta.json").unlink()
    (files / "known" / "meta.json").mkdir()
    assert (
        "meta.json: cannot read: Is a directory" in run(*arguments, "--truth", files / "known", code=1).stderr
    )
    (files / "known" / "meta.json").rmdir()
    np.save(files / "known" / "gt_field.npy", np.full((3, 2, 4, 4), "x"))
    assert "wanted real numbers" in run(*arguments, "--truth", files / "known", code=1).stderr
    (files / "known" / "gt_field.npy").write_bytes(b"")  # as a copy that was broken off may leave it
    assert "cannot read the true field (EOF" in run(*arguments, "--truth", files / "known", code=1).stderr


def test_which_true_fields_are_meant(tmp_path):
    with pytest.raises(
        NrcorrectError, match=r"holds 0 true fields; wanted a folder with gt_field\.npy, .* wrote$"
    ):
        load_truth(tmp_path, (3, 20, 24))
    for name in "ab":
        (tmp_path / f"{name}_truth.h5").touch()
    with pytest.raises(NrcorrectError, match=r"holds 2 true fields; .*; name one of a_truth\.h5, b_truth\.h5$"):
        load_truth(tmp_path, (3, 20, 24))
    np.save(tmp_path / "any.npy", np.ones((3, 2, 20, 24)))
    assert load_truth(tmp_path / "any.npy", (3, 20, 24)).field(slice(1, 3)).shape == (2, 2, 20, 24)
    with pytest.raises(
        NrcorrectError, match=r"true fields of a movie \(3, 20, 24\), this one is \(4, 20, 24\)"
    ):
        load_truth(tmp_path / "any.npy", (4, 20, 24))


def test_fields_that_were_found_are_no_truth(synthetic):
    names = (synthetic / name for name in ("m.tif", "m_corrected.tif"))
    found = synthetic / "m_fields.h5"
    result = run("evaluate", *names, "--fields", found, "--truth", found, code=1)
    assert "fields that a correction has found; wanted a folder with gt_field.npy" in result.stderr


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
        (["raw.tif", "corrected.tif", "-o", "a.pdf"], 2, "a.pdf: ends in '.pdf'; wanted .html, .htm: the page"),
        (["raw.tif", "corrected.tif", "-o", "a.png", "--png"], 2, "and --png adds its figure"),
        (["raw.tif", "corrected.tif", "--json", "none/a.json"], 1, "no directory none; make it first"),
        (["raw.tif", "corrected.tif", "-o", ".", "--png"], 1, ".: is a directory; name a file"),
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
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    for command in (
        ["evaluate", files / "raw.tif", files / "corrected.tif", "-o", files / "page.html"],
        ["correct", files / "raw.tif", "--report"],
    ):
        assert "pip install matplotlib" in run(*command, "--png", code=1).stderr
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
    assert "<html" in page.read_text(encoding="utf-8")[:500].lower()
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
    row = (tmp_path / "gap_motion.csv").read_text(encoding="utf-8").splitlines()[5]
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
