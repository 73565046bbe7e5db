"""The command as a process: its streams, exit status and imports."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import WITHOUT_VALIDATION, command

import moco_dl


def test_help_and_version_do_not_import_torch():
    for option in ("--help", "--version"):
        code = f"import sys; from moco_dl.cli import main; main(['{option}'], standalone_mode=False)"
        code += "; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
        subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_what_the_package_offers_is_shown_before_it_is_loaded():
    code = "import sys, moco_dl; print({*moco_dl.__all__} <= {*dir(moco_dl)}, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "True False\n", done.stderr
    assert all(getattr(moco_dl, name) for name in moco_dl.__all__)
    assert {*moco_dl.__all__} == {*moco_dl._HOME, "__version__"}


def test_what_a_correction_does_not_need_is_not_imported(movie_file):
    arguments = ["correct", str(movie_file)]
    code = f"import sys; from moco_dl.cli import main; main({arguments}, standalone_mode=False)"
    code += "; sys.exit('torch' not in sys.modules or 'scipy' in sys.modules or 'matplotlib' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_progress_is_silent_when_not_a_terminal(movie_file):
    done = subprocess.run(command("correct", movie_file, "--quiet"), capture_output=True, check=True)
    assert done.stderr == b"" and done.stdout.count(b"\n") == 1
    assert Path(done.stdout.decode().split("\t")[0]).exists()


def test_the_package_is_the_command_too():
    done = subprocess.run(
        [sys.executable, "-m", "moco_dl", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == subprocess.run(command("--version"), capture_output=True, text=True).stdout
    refused = subprocess.run([sys.executable, "-m", "moco_dl", "--what"], capture_output=True, text=True)
    assert refused.returncode == 2 and "moco_dl" in refused.stderr


def test_exit_status_of_a_process(tmp_path):
    for arguments, status in ((["--version"], 0), (["correct", tmp_path / "none.tif"], 1), (["--what"], 2)):
        done = subprocess.run(command(*arguments), capture_output=True, text=True)
        assert done.returncode == status
        assert (done.stderr if status else done.stdout).count(
            "\n"
        ) >= 1  # through a pipe, that is not flushed line by line
    reader, writer = os.pipe()
    os.close(reader)
    assert (
        subprocess.run(command("--help"), stdout=writer, stderr=subprocess.PIPE).stderr.count(b"Traceback") == 0
    )
    os.close(writer)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
def test_what_cannot_be_printed_is_told(movie_file):
    for arguments in (["--help"], ["correct", movie_file, "--quiet", "--rigid-only"]):
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(command(*arguments), stdout=full, stderr=subprocess.PIPE, text=True)
        told = "nrcorrect: standard output (what was written to files is whole): [Errno 28] No space left"
        assert done.returncode == 1 and done.stderr.startswith(told)


@pytest.mark.parametrize("stream", ["| true", ">/dev/full"])
def test_work_goes_on_if_results_cannot_be_printed(movie_file, stream):
    """Whoever reads a pipeline may leave, as `head` does."""
    if "full" in stream and not Path("/dev/full").exists():
        pytest.skip("needs a device that is full")
    movies = [movie_file.with_name(name) for name in ("movie.tif", "other.tif", "third.tif")]
    for path in movies[1:]:
        path.write_bytes(movie_file.read_bytes())
    waiting = '{ sleep 0.1; "$@"; echo $? >&2; }'  # until nobody reads
    arguments = [
        "sh",
        "-c",
        f"{waiting} {stream}",
        "sh",
        *command("correct", *movies, "--rigid-only", "--quiet"),
    ]
    told = subprocess.run(arguments, stderr=subprocess.PIPE, text=True).stderr.splitlines()
    assert all(path.with_name(f"{path.stem}_corrected.tif").exists() for path in movies)
    assert told[-1] == ("1" if "full" in stream else "0") and len(told) == (2 if "full" in stream else 1)


def test_whoever_reads_results_may_leave(tmp_path, movie_file):
    reader, writer = os.pipe()
    os.close(reader)
    synth = "synth", tmp_path / "s.tif", "--movie", "--frames", 3, "--size", 32
    for arguments in (("evaluate", movie_file, movie_file, "-o", tmp_path / "page.html"), synth):
        done = subprocess.run(command(*arguments), stdout=writer, stderr=subprocess.PIPE, text=True)
        assert done.returncode == 0 and "Traceback" not in done.stderr
    assert subprocess.run(command("synth"), stdout=writer, stderr=writer).returncode == 2  # what is made?
    os.close(writer)
    assert (tmp_path / "page.html").exists() and (tmp_path / "s.tif").exists()


@pytest.mark.parametrize("closed", [">&-", "2>&-"])
def test_streams_that_are_closed(closed):
    assert subprocess.run(["sh", "-c", f'"$@" {closed}', "sh", *command("--version")]).returncode == 0


@pytest.mark.parametrize("closed", ["2>&-", "<&- 2>&-", "<&- >&- 2>&-"])
def test_libraries_may_write_to_streams_that_are_closed(tmp_path, closed):
    """What they write does not get into files that are opened later."""
    out = tmp_path / "out.txt"
    first = f"""
import os, sys, moco_dl.cli as cli
def main():
    with open({str(out)!r}, "w") as file:
        sys.stderr.write("told")
        sys.stderr.flush()
        os.write(2, b"told by C")
        file.write("whole")
cli.main = main"""
    assert subprocess.run(["sh", "-c", f'"$@" {closed}', "sh", *command(first=first)]).returncode == 0
    assert out.read_text() == "whole"


@pytest.mark.parametrize("stream", ["2>&-", "2>/dev/full"])
def test_work_goes_on_if_messages_cannot_be_printed(tmp_path, movie_file, stream):
    if "full" in stream and not Path("/dev/full").exists():
        pytest.skip("needs a device that is full")

    def status(*arguments, first=""):
        return subprocess.run(
            ["sh", "-c", f'"$@" {stream}', "sh", *command(*arguments, first=first)]
        ).returncode

    movies = [movie_file.with_name(name) for name in ("none.tif", "movie.tif", "other.tif")]
    movies[2].write_bytes(movie_file.read_bytes())
    assert status("correct", *movies, "--rigid-only") == 1
    corrected = [path.with_name(f"{path.stem}_corrected.tif") for path in movies[1:]]
    assert all(path.exists() for path in corrected)
    page = tmp_path / "page.html"
    assert status("evaluate", movie_file, corrected[0], "-o", page) == 0 and page.exists()
    assert status("synth", tmp_path / "s.tif", "--movie", "--frames", 3, "--size", 32) == 0
    options = ("--steps", 1, "--batch", 1, "--workers", 0)
    assert status("train", tmp_path / "run", *options, first=WITHOUT_VALIDATION) == 0


@pytest.mark.parametrize(
    ("name", "encoding", "printed"),
    [
        (b"5 \xb5m.tif", "utf-8:strict", b"5 \xb5m.tif"),  # of a system that wrote Latin 1
        ("5 \u00b5m.tif".encode(), "utf-8:strict", "5 \u00b5m.tif".encode()),
        ("\u2192.tif".encode(), "cp1252", rb"\u2192.tif"),
    ],
)
def test_any_name_is_printed(tmp_path, name, encoding, printed):
    movie = os.fsencode(tmp_path) + b"/" + name
    arguments = command("synth", "--movie", "--frames", "3", "--size", "32", "--quiet")
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    done = subprocess.run([*arguments, movie], env=environment, capture_output=True)
    if done.returncode == 1 and b"cannot write" in done.stderr:
        pytest.skip("this file system takes UTF-8 only")
    assert done.stderr == b"" and done.returncode == 0
    assert done.stdout.split(b"\n")[0].rpartition(b"/")[2] == printed and Path(os.fsdecode(movie)).exists()
