"""The command as a process: its streams, exit status, imports and memory."""

import gc
import io
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest
import tifffile
import torch
from commands import WITHOUT_VALIDATION, command, run
from tqdm import tqdm

import moco_dl
from moco_dl.cli import common
from moco_dl.cli.common import heavy_imports, tidying
from moco_dl.errors import NrcorrectError
from moco_dl.movie import open_movie


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
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("could not create a primitive"),
        ImportError("_ufuncs.so: failed to map segment from shared object"),
    ],
)
def test_too_little_memory_is_told(movie_file, monkeypatch, error):
    def correct(*arguments, **options):
        raise error

    monkeypatch.setattr("moco_dl.job.correct_file", correct)
    told = run("correct", movie_file, code=1).stderr
    assert told == f"nrcorrect: {movie_file}: not enough memory; close other programs, or try --threads 1\n"


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError("CUDA ran out"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("MPS backend out of memory (MPS allocated: 9.00 GB, max allowed: 9.07 GB)"),
    ],
)
def test_a_gpu_that_is_full_is_told(movie_file, monkeypatch, error):
    def correct(*arguments, **options):
        raise error

    monkeypatch.setattr("moco_dl.job.correct_file", correct)
    told = "not enough memory on the GPU; end what else runs there, or choose --device cpu"
    assert run("correct", movie_file, code=1).stderr == f"nrcorrect: {movie_file}: {told}\n"


@pytest.mark.parametrize(
    "error",
    [RuntimeError("a bug"), RuntimeError("could not create a primitive descriptor"), ImportError("a bug")],
)
def test_other_errors_of_libraries_are_no_lack_of_memory(error):
    with pytest.raises(type(error)), common.in_memory():
        raise error


def test_too_few_threads_are_told(movie_file, monkeypatch):
    """Frames are decoded in threads, too: it is no damage that one cannot be started."""

    def start(thread):
        raise RuntimeError("can't start new thread")

    tifffile.imwrite(movie_file, tifffile.imread(movie_file), photometric="minisblack", compression="zlib")
    with closing(open_movie(movie_file)) as movie, monkeypatch.context() as patched:
        patched.setattr(Thread, "start", start)
        told = r"no more threads can be started, .* \(ulimit -u\); close other programs, or try --threads 1"
        with pytest.raises(NrcorrectError, match=told), common.in_memory("try --threads 1"):
            movie.read([0, 1])


def test_too_few_threads_for_the_command_are_told(movie_file, monkeypatch):
    def start(thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(Thread, "start", start)
        patched.setattr(tqdm, "monitor_interval", 0)  # a thread, too, but done without
        told = run("correct", movie_file, code=1).stderr
    assert told.startswith(f"nrcorrect: {movie_file}: no more threads can be started") and told.count("\n") == 1


def test_too_little_memory_to_save_weights_is_told():
    """PyTorch closes the file then, and finds it too short."""

    class Full(io.BytesIO):
        def write(self, what):
            if self.tell() + len(what) > 10_000:
                raise MemoryError
            return super().write(what)

    with pytest.raises(NrcorrectError, match="not enough memory"), common.in_memory():
        torch.save({"weights": torch.zeros(10_000)}, Full())


@pytest.mark.parametrize(
    "error", ["MemoryError", "ImportError('x.so: failed to map segment from shared object')"]
)
def test_too_little_memory_for_imports_is_told(tmp_path, movie_file, error):
    first = f"""
import builtins
def without_memory(name, *more, ordinary=builtins.__import__, **options):
    if name == "torch":
        raise {error}
    return ordinary(name, *more, **options)
builtins.__import__ = without_memory"""
    told = "nrcorrect: not enough memory; close other programs, or ask for less\n"
    for arguments in (("correct", movie_file), ("synth", tmp_path / "s.tif", "--movie"), ("train", tmp_path)):
        done = subprocess.run(command(*arguments, first=first), capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (1, told)


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


def test_what_is_imported_is_left_out_of_garbage_collection():
    frozen = gc.get_freeze_count()
    with pytest.raises(ZeroDivisionError), heavy_imports():
        assert not gc.isenabled()
        raise ZeroDivisionError
    assert gc.isenabled() and gc.get_freeze_count() > frozen
    gc.unfreeze()


def test_free_memory_goes_back_every_now_and_then_while_a_movie_is_corrected(monkeypatch):
    now, calls, trimmed = [100.0], [], []
    monkeypatch.setattr(common, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(common, "_of_glibc", {"malloc_trim": trimmed.append}.get)
    progress, seen = tidying(lambda *numbers: calls.append(numbers)), []
    for later in (0.0, 0.9, 0.2, 0.9, 0.2):  # in parts of the time after which it is due
        now[0] += later * common.TIDIED
        progress(8, 100)
        seen.append(len(trimmed))
    assert seen == [0, 0, 1, 1, 2] and trimmed == [0, 0] and calls == 5 * [(8, 100)]


def test_a_library_that_cannot_give_memory_back_is_left_alone():
    assert common._of_glibc("malloc_trim")(0) in (0, 1)
    assert common._of_glibc("no_such_function")(0) == 0
