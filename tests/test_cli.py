import os
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from commands import digest, run

import moco_dl
from moco_dl.job import apply_file
from moco_dl.jobs import Job
from moco_dl.parallel import Workers

COMMANDS = ["correct", "apply", "evaluate", "synth", "train"]


def test_correct_writes_movie_and_fields_beside_the_input(movie_file):
    before = digest(movie_file)
    result = run("correct", movie_file)
    corrected, fields = movie_file.with_name("movie_corrected.tif"), movie_file.with_name("movie_fields.h5")
    assert result.stdout == f"{corrected}\t{fields}\t{movie_file.with_name('movie_motion.csv')}\n"
    assert "9 frames, rigid shifts up to" in result.stderr
    raw, moved = tifffile.imread(movie_file), tifffile.imread(corrected)
    assert moved.shape == raw.shape and moved.dtype == raw.dtype
    assert digest(movie_file) == before
    stored = moco_dl.load_fields(fields)
    in_memory = moco_dl.correct(raw)
    np.testing.assert_array_equal(moved, in_memory.corrected)
    np.testing.assert_array_equal(stored[:], in_memory.fields[:])
    for name in ("flagged", "misfit", "expected_error", "reference", "left_out"):
        np.testing.assert_array_equal(getattr(stored, name), getattr(in_memory.fields, name))
    assert np.isfinite(stored.expected_error).all()
    assert stored.metadata["input"]["name"] == "movie.tif" and stored.metadata["input"]["shape"] == list(
        raw.shape
    )
    assert stored.metadata["version"] == moco_dl.__version__ and "command" in stored.metadata
    assert len(stored.metadata["weights_sha256"]) == 64


def test_same_command_same_bytes(movie_file, tmp_path):
    for size in (1, 4, 64):
        run("correct", movie_file, "-o", tmp_path / f"{size}.tif", "--batch-size", size, "--quiet")
    assert len({digest(tmp_path / f"{size}.tif") for size in (1, 4, 64)}) == 1
    fields = [moco_dl.load_fields(tmp_path / f"{size}_fields.h5")[:] for size in (1, 4, 64)]
    assert all(np.array_equal(fields[0], f) for f in fields)


def test_apply_repeats_correct_bit_for_bit(movie_file, tmp_path):
    for options in ([], ["--interpolation", "bilinear", "--dtype", "float32"]):
        run("correct", movie_file, *options, "--overwrite")
        run("apply", movie_file, tmp_path / "movie_fields.h5", "-o", tmp_path / "again.tif", "--overwrite")
        assert digest(tmp_path / "again.tif") == digest(tmp_path / "movie_corrected.tif")


def test_apply_may_be_told_otherwise(movie_file, tmp_path):
    other = ("--interpolation", "bilinear", "--dtype", "float32")
    run("correct", movie_file, "--rigid-only", *other, "-o", tmp_path / "other.tif")
    run("correct", movie_file, "--rigid-only")
    run("apply", movie_file, tmp_path / "movie_fields.h5", *other, "-o", tmp_path / "again.tif")
    assert digest(tmp_path / "again.tif") == digest(tmp_path / "other.tif")


def test_fields_are_applied_without_a_word_on_pixels(movie_file, tmp_path):
    """Pixels come out as when the fields were made."""
    run("correct", movie_file, "--rigid-only", "--dtype", "float32")
    job = Job(movie_file, tmp_path / "again.tif")
    assert not apply_file(job, moco_dl.load_fields(tmp_path / "movie_fields.h5"), lambda done, total: None)
    assert digest(tmp_path / "again.tif") == digest(tmp_path / "movie_corrected.tif")


def test_apply_takes_as_many_threads_as_it_is_told(movie_file, tmp_path, monkeypatch):
    run("correct", movie_file, "--rigid-only")
    told = []
    monkeypatch.setattr("moco_dl.application.Workers", lambda threads: told.append(threads) or Workers(threads))
    for threads in (1, 3):
        run(
            "apply",
            movie_file,
            tmp_path / "movie_fields.h5",
            "-o",
            tmp_path / f"{threads}.tif",
            "--threads",
            threads,
        )
    assert told == [1, 3]
    assert digest(tmp_path / "1.tif") == digest(tmp_path / "3.tif") == digest(tmp_path / "movie_corrected.tif")


def test_fields_in_the_place_of_the_movie(movie_file, tmp_path):
    run("correct", movie_file, "--rigid-only")
    told = run("apply", tmp_path / "movie_fields.h5", movie_file, code=1).stderr
    assert told.endswith("fields.h5: is a field file; the movie comes first: nrcorrect apply MOVIE FIELDS\n")


def test_hdf5_in_hdf5_out_and_conversion(tmp_path, known_movie):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["raw/stack"] = known_movie[0][:6]
    run("correct", tmp_path / "m.h5", "--dataset", "raw/stack", "--no-fields")
    assert not (tmp_path / "m_fields.h5").exists()
    run("correct", tmp_path / "m.h5", "-o", tmp_path / "out.tif")
    with h5py.File(tmp_path / "m_corrected.h5") as file:
        assert file["mov"].dtype == np.uint16
        np.testing.assert_array_equal(file["mov"][:], tifffile.imread(tmp_path / "out.tif"))


def test_many_movies_and_one_failure(movie_file, tmp_path):
    (tmp_path / "bad.tif").write_text("no movie")
    (tmp_path / "out").mkdir()
    result = run("correct", tmp_path / "bad.tif", movie_file, "--outdir", tmp_path / "out", code=1)
    assert (tmp_path / "out" / "movie_corrected.tif").exists()
    assert "bad.tif: neither TIFF nor HDF5" in result.stderr and "1 of 2 movies failed: " in result.stderr
    names = ["movie_corrected.tif", "movie_fields.h5", "movie_motion.csv"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == names


def test_failures_name_the_movie(movie_file, tmp_path):
    tifffile.imwrite(tmp_path / "dark.tif", np.zeros((5, 32, 32), np.uint16), photometric="minisblack")
    stderr = run("correct", tmp_path / "dark.tif", movie_file, code=1).stderr
    assert f"nrcorrect: {tmp_path / 'dark.tif'}: no usable frame" in stderr and stderr.count("dark.tif") == 2


def test_shared_reference(movie_file, tmp_path, known_movie):
    np.save(tmp_path / "ref.npy", known_movie[0].mean(0))
    run("correct", movie_file, "--ref", tmp_path / "ref.npy")
    stored = moco_dl.load_fields(tmp_path / "movie_fields.h5")
    np.testing.assert_allclose(stored.reference, known_movie[0].mean(0), rtol=1e-6)
    np.save(tmp_path / "small.npy", np.eye(20))
    result = run("correct", movie_file, "--ref", tmp_path / "small.npy", "--overwrite", code=1)
    assert "reference has shape (20, 20); wanted (96, 112)" in result.stderr


def test_nothing_is_overwritten(movie_file, tmp_path):
    precious = tmp_path / "movie_fields.h5"
    precious.write_text("precious")
    result = run("correct", movie_file, code=1)
    assert "movie_fields.h5: exists; choose another output, or --overwrite" in result.stderr
    assert (
        precious.read_text(encoding="utf-8") == "precious" and not (tmp_path / "movie_corrected.tif").exists()
    )
    result = run("correct", movie_file, "-o", movie_file, "--overwrite", code=2)
    assert "is an input; choose another output" in result.stderr
    run("correct", movie_file, "--overwrite")
    assert len(moco_dl.load_fields(precious)) == 9


def test_no_input_is_overwritten(movie_file, tmp_path):
    other, unfinished, fields = (
        tmp_path / name for name in ("day.tif", "whole.tif.12345678.part", "movie_fields.h5")
    )
    run("correct", movie_file, "--rigid-only")
    truth, picture = tmp_path / "x_truth.h5", tmp_path / "picture.png"
    for path in (other, unfinished, truth, picture):
        path.write_bytes(movie_file.read_bytes())
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for arguments in (
        ("correct", unfinished, "-o", tmp_path / "whole.tif"),  # what was left of it is removed
        ("correct", movie_file, "--ref", other, "-o", other),
        ("apply", movie_file, fields, "-o", fields),
        ("synth", other, "--movie", "--images", other),
        ("synth", tmp_path / "x.tif", "--movie", "--images", truth),
        ("synth", tmp_path / "x.h5", "--images", other, "--images", picture, "--preview", picture),
    ):
        assert "is an input; choose another output" in run(*arguments, "--overwrite", code=2).stderr
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.tif", "b.tif", "-o", "c.tif"], "-o names the output of one movie"),
        (["x/m.tif", "y/m.tif", "--outdir", "."], "output of both x/m.tif and y/m.tif"),
        (["a.tif", "b.tif", "./a.tif"], "a.tif: is named twice; name it once"),
        (["a.tif", "./a.tif", "--join"], "a.tif: is named twice; name it once"),
        (["a.tif", "--ref", ""], "--ref': got no name; is a variable empty?"),
        (["a.tif", "--outdir", ""], "--outdir': got no name; is a variable empty?"),
        (["a.tif", "-o", "-"], "'-o' / '--output': got '-'; wanted a name: movies do not go through pipes"),
        (["-"], "got '-'; wanted a name"),
        (["a.tif", "--outdir", "none"], "no such directory; make it first"),
        (["a.tif", "--outdir", ".", "-o", "b.tif"], "and --outdir, too; leave one of them out"),
        (["a.tif", "--dtype", "complex64"], "dtype: got 'complex64'; wanted one of"),
        (["a.tif", "--batch-size", "0"], "0 is not in the range"),
        (["a.tif", "--max-shift", "inf"], "--max-shift': got 'inf'; wanted a finite number"),
        (["a.tif", "--interpolation", "nearest"], "'nearest' is not one of"),
        ([], "Missing argument"),
    ],
)
def test_wrong_usage(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    result = run("correct", *arguments, code=2)
    assert message in result.stderr and list(tmp_path.iterdir()) == []


def test_pixel_types_that_apply_does_not_know(tmp_path):
    told = run("apply", tmp_path / "a.tif", tmp_path / "f.h5", "--dtype", "complex64", code=2).stderr
    assert "--dtype: got 'complex64'; wanted one of uint8, int8" in told


def test_weights_that_are_not_ours(movie_file, tmp_path):
    (tmp_path / "w.pt").write_text("no weights")
    result = run("correct", movie_file, "--weights", tmp_path / "w.pt", code=1)
    assert "not a weights file; name a file that nrcorrect train wrote" in result.stderr
    assert not (tmp_path / "movie_corrected.tif").exists()


def test_unwritable_directory(movie_file, tmp_path, monkeypatch):
    monkeypatch.setattr("moco_dl.staging.os.access", lambda path, mode: mode != os.W_OK)
    result = run("correct", movie_file, code=1)
    assert "no permission to write in" in result.stderr


def test_what_may_not_be_read_is_no_wrong_usage(movie_file, tmp_path, monkeypatch):
    def opened(path, *arguments, **options):
        if path.stem == "locked":
            raise PermissionError(13, "Permission denied")
        return usual(path, *arguments, **options)

    locked = tmp_path / "locked.tif"
    locked.write_bytes(movie_file.read_bytes())
    usual = Path.open
    monkeypatch.setattr(Path, "open", opened)
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.R_OK)
    (tmp_path / "out").mkdir()  # which may not be listed
    result = run("correct", locked, movie_file, "--rigid-only", "--outdir", tmp_path / "out", code=1)
    assert f"nrcorrect: {locked}: cannot read: Permission denied" in result.stderr
    assert (tmp_path / "out" / "movie_corrected.tif").exists()
    told = run("correct", movie_file, "--ref", locked, code=1).stderr
    assert told == f"nrcorrect: {locked}: cannot read the image: Permission denied\n"


def test_training_in_a_folder_that_may_not_be_entered(tmp_path, monkeypatch):
    def there(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "lstat", there)
    told = run("train", tmp_path / "run", code=1).stderr
    assert told == f"nrcorrect: {tmp_path / 'run'}: cannot write: Permission denied; choose another folder\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command(name):
    assert "Usage: " in run(name, "--help").output


def test_help_tells_what_a_largest_shift_limits():
    told = " ".join(run("correct", "--help").output.split())
    assert "Largest whole-frame shift looked for; the steps that follow may add to it" in told


def test_any_width_of_smoothing(movie_file, tmp_path):
    """Also one of which no window would fit into memory."""
    for number, width in enumerate(("1e12", "1e300")):
        run("correct", movie_file, "--smooth", width, "-o", tmp_path / f"{number}.tif")
    assert (tmp_path / "0.tif").read_bytes() == (tmp_path / "1.tif").read_bytes()


def test_one_image_is_brought_onto_another(tmp_path, monkeypatch, known_movie):
    monkeypatch.chdir(tmp_path)
    scene = known_movie[0][:40].mean(axis=0).astype(np.uint16)
    for name, image in (("old", scene[4:, 3:]), ("new", scene[:-4, :-3])):
        tifffile.imwrite(f"{name}.tif", image, photometric="minisblack")
    refused = run("correct", "new.tif", code=1)
    assert "to bring it onto another image: nrcorrect correct --ref IMAGE" in refused.stderr
    done = run("correct", "new.tif", "--ref", "old.tif", "--report")
    assert "1 frame, rigid shifts up to 4.0 px; better:" in done.stderr
    fields = moco_dl.load_fields("new_fields.h5")
    assert np.abs(fields[0][:, 10:-10, 10:-10].mean((1, 2)) - (4, 3)).max() < 0.05
    run("apply", "new.tif", "new_fields.h5", "-o", "again.tif")
    np.testing.assert_array_equal(tifffile.imread("again.tif"), tifffile.imread("new_corrected.tif"))
    for known in (["--fields", "new_fields.h5"], ["--reference", "old.tif"]):
        assert run("evaluate", "new.tif", "again.tif", *known).stdout.startswith("better")
    run("evaluate", "new.tif", "again.tif", code=1)
