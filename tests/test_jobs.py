"""What a command is to do, and what is done already."""

import pytest
import tifffile
from commands import run


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


def test_the_way_out_of_a_second_run_is_told(two):
    correct("movie.tif")
    told = correct("movie.tif", "movie_corrected.tif", code=2).stderr
    assert "is an input; choose another output, or leave out what is corrected: --skip-existing" in told


def test_results_are_kept_or_replaced(two):
    for name in ("correct", "apply"):
        told = run(name, "movie.tif", "other.tif", "--skip-existing", "--overwrite", code=2).stderr
        assert "--skip-existing keeps outputs that exist, --overwrite replaces them; choose one" in told


def test_what_was_applied_before_is_left_out(two):
    correct("movie.tif")
    for count in (1, 0):
        done = run("apply", "other.tif", "movie_fields.h5", "--skip-existing")
        assert done.stdout.count("\n") == count
    assert "other.tif: left out, as its results are there" in done.stderr
