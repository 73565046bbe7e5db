"""Too little memory, too few threads; and what the command does to need less."""

import gc
import io
import subprocess
from contextlib import closing
from threading import Thread
from types import SimpleNamespace

import pytest
import tifffile
import torch
from commands import command, run
from tqdm import tqdm

from moco_dl.cli import common
from moco_dl.cli.common import heavy_imports, tidying
from moco_dl.errors import NrcorrectError
from moco_dl.movie import open_movie


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
