"""What a command is to do, and what is done already."""

import os

import h5py
import numpy as np
import pytest
import tifffile
from commands import run

from moco_dl import jobs
from moco_dl.movie import ArrayMovie, fingerprint


@pytest.fixture
def two(movie_file, tmp_path, monkeypatch):
    (tmp_path / "other.tif").write_bytes(movie_file.read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def correct(*arguments, code=0):
    return run("correct", *arguments, "--rigid-only", code=code)


def test_a_second_run_does_what_is_left(two):
    done = correct("movie.tif", "--skip-existing")
    assert "left out" not in done.stderr
    made = (two / "movie_corrected.tif").read_bytes()
    done = correct("movie.tif", "movie_corrected.tif", "other.tif", "--skip-existing")
    assert done.stdout == "other_corrected.tif\tother_fields.h5\tother_motion.csv\n"
    assert "movie.tif: left out, as its results are there\n" in done.stderr
    assert "movie_corrected.tif: left out, as it is a result of movie.tif\n" in done.stderr
    everything = sorted(path.name for path in two.glob("*.tif"))
    before = sorted(two.iterdir())
    assert correct(*everything, "--skip-existing").stdout == "" and sorted(two.iterdir()) == before
    assert (two / "movie_corrected.tif").read_bytes() == made


def test_a_copy_of_a_movie_gives_the_same_bytes(two):
    made = []
    for time in (1e9, 1.1e9):
        os.utime("movie.tif", (time, time))
        correct("movie.tif", "--overwrite")
        made.append([path.read_bytes() for path in sorted(two.glob("movie_*"))])
    assert made[0] == made[1] and len(made[0]) == 3


def test_a_link_that_leads_to_itself_holds_up_no_other(two):
    (two / "other2.tif").symlink_to("other2.tif")
    done = correct("other.tif", "other2.tif", code=1)  # as if they were files of one recording
    assert "other2.tif: cannot read: " in done.stderr and "1 of 2 movies failed: other2.tif" in done.stderr
    assert (two / "other_corrected.tif").exists() and "Traceback" not in done.stderr
    assert "other2.tif: cannot read: " in correct("other2.tif", "other.tif", "--skip-existing", code=1).stderr


def test_what_is_there_in_part_is_refused(two):
    (two / "movie_corrected.tif").write_bytes((two / "movie.tif").read_bytes())
    done = correct("movie.tif", "movie_corrected.tif", "other.tif", "--skip-existing", code=1)
    assert "movie_corrected.tif: exists; choose another output" in done.stderr
    assert (two / "other_corrected.tif").exists() and not (two / "movie_fields.h5").exists()


def test_what_is_left_out_has_results_of_its_own(two):
    for name in ("a", "b"):
        (two / name).mkdir()
        (two / name / "movie.tif").write_bytes((two / "movie.tif").read_bytes())
    run("correct", "a/movie.tif", "--outdir", ".", "--rigid-only")
    told = correct("a/movie.tif", "b/movie.tif", "--outdir", ".", "--skip-existing", code=2).stderr
    assert "movie_corrected.tif: output of both a/movie.tif and b/movie.tif" in told
    options = ("--no-fields", "--no-csv", "--skip-existing")
    assert "is an input" in correct("movie.tif", "-o", "movie.tif", *options, code=2).stderr
    (two / "other_corrected.tif").mkdir()
    assert "is a directory; name a file" in correct("other.tif", *options, code=1).stderr


def test_names_too_long_are_told_of_what_is_left_to_do_too(two):
    (two / f"{240 * 'm'}.tif").write_bytes((two / "movie.tif").read_bytes())
    told = correct(f"{240 * 'm'}.tif", "--skip-existing", code=1).stderr
    assert "cannot write: File name too long; choose another output" in told


def test_a_recording_that_goes_on_is_not_done(two):
    (two / "third.tif").write_bytes((two / "movie.tif").read_bytes())
    correct("movie.tif", "other.tif", "--join")
    assert "as its results" in correct("movie.tif", "other.tif", "--join", "--skip-existing").stderr
    told = correct("movie.tif", "other.tif", "third.tif", "--join", "--skip-existing", code=1).stderr
    assert "movie_corrected.tif: exists; choose another output" in told


def test_results_of_another_movie_are_not_taken_for_its_own(two):
    """As of recordings of one name from several days."""
    movie = tifffile.imread("movie.tif")
    for name, frames in (("a", movie), ("b", movie[:7]), ("c", movie[::-1])):
        (two / name).mkdir()
        tifffile.imwrite(two / name / "movie.tif", frames, photometric="minisblack")
    with (two / "c" / "movie.tif").open("ab") as file:
        file.write(b"\0")
    (two / "out").mkdir()
    options = ("--outdir", "out", "--skip-existing")
    for name, code in (("a", 0), ("b", 1), ("c", 1), ("a", 0)):
        told = correct(f"{name}/movie.tif", *options, code=code).stderr
        assert ("out/movie_corrected.tif: exists; choose another output" in told) == bool(code)
    assert "left out, as its results are there" in told
    correct("movie.tif", "other.tif", "--join")
    assert "exists; choose" in correct("movie.tif", "--skip-existing", code=1).stderr


@pytest.mark.parametrize("name", ["movie_corrected.tif", "movie_fields.h5"])
@pytest.mark.parametrize("share", [0, 0.5])
def test_damaged_results_are_not_taken_for_done(two, name, share):
    """As those of a copy that was interrupted."""
    correct("movie.tif")
    whole = (two / name).read_bytes()
    (two / name).write_bytes(whole[: int(share * len(whole))])
    assert "exists; choose another output" in correct("movie.tif", "--skip-existing", code=1).stderr


@pytest.mark.parametrize("command", ["correct", "apply"])
def test_movies_whose_files_look_alike_are_told_apart(two, command):
    """Scanners give recordings of every day the same names and sizes."""
    movie = tifffile.imread("movie.tif")
    correct("movie.tif")
    for name in ("a", "b"):
        (two / name).mkdir()
        frames = movie if name == "a" else movie[:, ::-1]
        tifffile.imwrite(two / name / "same.tif", frames, photometric="minisblack")
        os.utime(two / name / "same.tif", (1e9, 1e9))
    (two / "out").mkdir()
    more = ("--rigid-only", "--no-fields", "--no-csv") if command == "correct" else ("movie_fields.h5",)
    options = (*more, "--outdir", "out", "--skip-existing")
    for name, code in (("a", 0), ("b", 1), ("a", 0)):
        told = run(command, f"{name}/same.tif", *options, code=code).stderr
        assert ("out/same_corrected.tif: exists; choose another output" in told) == bool(code)
    assert "left out, as its results are there" in told


@pytest.mark.parametrize("ending", [".tif", ".h5"])
def test_a_result_knows_the_movie_that_it_is_of_wherever_that_lies(two, ending):
    correct("movie.tif", "-o", f"one{ending}")
    (two / "movie.tif").rename("renamed.tif")
    told = correct("renamed.tif", "-o", f"one{ending}", "--skip-existing").stderr
    assert "renamed.tif: left out, as its results are there" in told


def test_what_a_file_of_a_recording_was_corrected_to_is_none_of_its_files(two):
    (two / "rec_2.tif").write_bytes((two / "movie.tif").read_bytes())
    (two / "movie.tif").rename("rec_1.tif")
    (two / "out").mkdir()
    for options in ((), ("--outdir", "out")):
        correct("rec_1.tif", *options)
        (result,) = two.rglob("rec_1_corrected.tif")
        for command, fields in (("correct --join -o whole.tif", ()), ("apply", ("rec_1_fields.h5",))):
            told = run(*command.split(), "rec_1.tif", result, "rec_2.tif", *fields, code=2).stderr
            assert f"{result}: is what rec_1.tif was corrected to; leave it out" in told
        result.rename("elsewhere.tif")
    correct("rec_1.tif", "rec_2.tif", "--join", "-o", "whole.tif")


def test_the_way_out_of_a_second_run_is_told(two):
    correct("movie.tif")
    told = correct("movie.tif", "movie_corrected.tif", code=2).stderr
    assert "is an input; choose another output, or leave out what is corrected: --skip-existing" in told


def test_what_is_not_whole_is_replaced_if_that_is_said(two):
    """A batch goes on after it was killed, with one command."""
    correct("movie.tif", "other.tif")
    kept = (two / "movie_corrected.tif").stat().st_ino
    (two / "other_fields.h5").unlink()
    (two / "other_corrected.tif.1234abcd.part").touch()
    everything = sorted(path.name for path in two.glob("*.tif"))
    assert "exists; choose another output" in correct(*everything, "--skip-existing", code=1).stderr
    done = correct(*everything, "--skip-existing", "--overwrite")
    assert done.stdout == "other_corrected.tif\tother_fields.h5\tother_motion.csv\n"
    assert (two / "movie_corrected.tif").stat().st_ino == kept and not list(two.glob("*.part"))


def test_what_is_named_is_not_replaced_unless_it_is_a_result(two):
    """A movie may have the name of another one's result."""
    (two / "other.tif").rename("movie_corrected.tif")
    raw = (two / "movie_corrected.tif").read_bytes()
    told = correct("movie.tif", "movie_corrected.tif", "--skip-existing", "--overwrite", code=2).stderr
    assert "movie_corrected.tif: is an input, and no result; choose another output" in told
    assert (two / "movie_corrected.tif").read_bytes() == raw and not list(two.glob("*_fields.h5"))
    with h5py.File("one_fields.h5", "w") as file:
        file["mov"] = tifffile.imread("movie.tif")
    (two / "movie_corrected.tif").rename("one.tif")
    correct("one.tif", "--no-fields")
    told = correct("one.tif", "one_fields.h5", "--skip-existing", "--overwrite", code=2).stderr
    assert "one_fields.h5: is an input, and no result; choose another output" in told


def test_results_of_which_one_is_gone_are_replaced_though_named(two):
    correct("movie.tif", "-o", "movie_corrected.h5")
    (two / "movie_corrected.h5").unlink()
    done = correct("movie.tif", "movie_fields.h5", "--skip-existing", "--overwrite")
    assert "movie_corrected.tif\tmovie_fields.h5" in done.stdout
    (two / "movie_fields.h5").unlink()
    everything = sorted(path.name for path in two.iterdir())
    assert correct(*everything, "--skip-existing", "--overwrite").stdout.count("\n") == 2
    (two / "movie_corrected.tif").write_bytes((two / "movie_corrected.tif").read_bytes()[:-5000])
    assert correct("movie.tif", "movie_corrected.tif", "--skip-existing", "--overwrite").stdout


def test_a_damaged_file_that_is_named_is_told_in_one_line(two, caplog):
    correct("movie.tif")
    (two / "movie_corrected.tif").write_bytes((two / "movie_corrected.tif").read_bytes()[:300])
    told = correct("movie.tif", "movie_corrected.tif", "--skip-existing", "--overwrite", code=2).stderr
    assert "movie_corrected.tif: is an input, and no result" in told and not caplog.records


def test_fields_of_another_movie_are_not_taken_for_its_own(two):
    other = tifffile.imread("movie.tif")[:, ::-1]
    tifffile.imwrite("other.tif", other, photometric="minisblack")
    for name, options in (("movie.tif", ()), ("other.tif", ("--no-fields", "--no-csv"))):
        correct(name, "-o", "one.tif", "--overwrite", *options)
    assert "exists; choose" in correct("other.tif", "-o", "one.tif", "--skip-existing", code=1).stderr


@pytest.mark.parametrize("content", [b"none", None])
def test_a_movie_that_cannot_be_read_is_not_done(two, content):
    correct("movie.tif")
    whole = (two / "movie.tif").read_bytes()
    (two / "movie.tif").write_bytes(whole[: len(whole) // 2] if content is None else content)
    assert "left out" not in correct("movie.tif", "--skip-existing", code=1).stderr


def test_results_that_a_killed_run_was_about_to_replace_are_not_done(two):
    correct("movie.tif")
    (two / "movie_fields.h5.1234abcd.part").touch()
    assert "exists; choose" in correct("movie.tif", "--skip-existing", code=1).stderr
    assert correct("movie.tif", "--skip-existing", "--overwrite").stdout and not list(two.glob("*.part"))


@pytest.mark.parametrize("frames", [26, 52, 100])
def test_a_movie_is_known_by_frames_in_no_rhythm(frames):
    rng = np.random.default_rng(0)
    for period in (2, 3):
        movie = rng.integers(0, 99, (frames, 16, 16)).astype(np.uint16)
        other = np.where((np.arange(frames) % period == 1)[:, None, None], movie[:, ::-1], movie)
        assert fingerprint(ArrayMovie(movie)) == fingerprint(ArrayMovie(movie.copy()))
        assert fingerprint(ArrayMovie(movie)) != fingerprint(ArrayMovie(other))


@pytest.mark.parametrize("told", [np.array(["a", "b"], "S1"), 3.0])
def test_what_says_nothing_that_is_understood_is_not_done(two, told):
    correct("movie.tif", "-o", "one.h5")
    with h5py.File("one.h5", "a") as file:
        file.attrs["source_sha256"] = told
    assert "exists; choose" in correct("movie.tif", "-o", "one.h5", "--skip-existing", code=1).stderr


def test_what_another_run_has_done_in_the_meantime_is_left_out(two, monkeypatch):
    correct("other.tif")
    made = {path: path.read_bytes() for path in two.glob("other_*")}
    for path in made:
        path.unlink()
    real = jobs.files_of_recording

    def meanwhile(job):
        for path, content in made.items():
            path.write_bytes(content)
        return real(job)

    monkeypatch.setattr(jobs, "files_of_recording", meanwhile)
    done = correct("movie.tif", "other.tif", "--skip-existing")
    assert done.stdout.startswith("movie_corrected.tif") and done.stdout.count("\n") == 1
    assert "other.tif: left out, as its results are there" in done.stderr


def test_what_was_applied_before_is_left_out(two):
    correct("movie.tif")
    for count in (1, 0):
        done = run("apply", "other.tif", "movie_fields.h5", "--skip-existing")
        assert done.stdout.count("\n") == count
    assert "other.tif: left out, as its results are there" in done.stderr
