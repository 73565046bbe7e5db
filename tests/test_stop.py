"""Runs that are told to stop."""

import os
import shutil
import signal
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import tifffile
from commands import WITHOUT_VALIDATION, command, run

from moco_dl.errors import NrcorrectError
from moco_dl.staging import staged

DEADLINE = 300  # s, for machines that do much else
BEGUN = "import multiprocessing; multiprocessing.set_start_method({!r})\n" + WITHOUT_VALIDATION


def wait_until(there):
    """Poll `there` until it gives something, which is returned."""
    deadline = time.monotonic() + DEADLINE
    while not (found := there()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert found
    return found


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stopped_run_leaves_nothing(tmp_path, known_movie, sent):
    movie = tmp_path / "long.tif"
    tifffile.imwrite(movie, np.tile(known_movie[0], (40, 1, 1)), photometric="minisblack")
    process = subprocess.Popen(
        command("correct", movie, "--ref-frames", "5", heard=[sent]),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    wait_until(lambda: list(tmp_path.glob("long_corrected.tif.*.part")))
    process.send_signal(sent)
    _, errors = process.communicate(timeout=DEADLINE)
    assert process.returncode == 128 + sent and b"Traceback" not in errors
    assert [p.name for p in tmp_path.iterdir()] == ["long.tif"]


def training(folder, first=WITHOUT_VALIDATION):
    """A process that trains, and its workers have begun."""
    options = ("--steps", "5000", "--batch", "1", "--every", "1", "--workers", "2", "--device", "cpu")
    process = subprocess.Popen(
        command("train", folder, *options, first=first, heard=[signal.SIGINT, signal.SIGTERM]),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    wait_until(lambda: (folder / "log.csv").exists() or process.poll() is not None)
    assert process.poll() is None, process.stderr.read()
    return process


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_training_that_is_stopped_with_all_its_workers_ends_quietly(tmp_path, sent):
    process = training(tmp_path / "run")
    os.killpg(process.pid, sent)  # as a terminal does
    _, errors = process.communicate(timeout=DEADLINE)
    assert process.returncode == 128 + sent and b"Traceback" not in errors
    assert not list(tmp_path.rglob("*.part"))


def living(parent=None, among=None):
    """Numbers of processes that run: those of a `parent`, or those `among` some."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=True)
    rows = [line.split() for line in listed.stdout.splitlines()]
    rows = [(int(pid), int(of)) for pid, of, state, *_ in rows if not state.startswith("Z")]
    return {pid for pid, of in rows if (of == parent if among is None else pid in among)}


@pytest.mark.skipif(shutil.which("ps") is None, reason="no list of processes")
@pytest.mark.parametrize("begun", ["fork", "spawn"])
def test_workers_go_when_their_trainer_is_killed(tmp_path, begun):
    process = training(tmp_path / "run", first=BEGUN.format(begun))
    workers = living(parent=process.pid)
    assert len(workers) >= 2
    process.kill()
    process.wait()
    try:
        wait_until(lambda: not living(among=workers))
    finally:
        for worker in living(among=workers):
            os.kill(worker, signal.SIGKILL)
        process.stderr.close()


@pytest.mark.skipif(shutil.which("ps") is None, reason="no list of processes")
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL])
def test_a_worker_that_is_ended_is_told_in_one_line(tmp_path, sent):
    process = training(tmp_path / "run", first=BEGUN.format("spawn"))
    os.kill(max(living(parent=process.pid)), sent)
    _, errors = process.communicate(timeout=DEADLINE)
    (told,) = (line for line in errors.splitlines() if line.startswith(b"nrcorrect: "))
    assert told.endswith(b"if memory is short, take fewer --workers, and go on with --resume")
    assert process.returncode == 1 and b"Traceback" not in errors


def test_a_stop_that_a_library_turned_into_an_error(movie_file, monkeypatch):
    """Signals may arrive inside compiled code that answers an exit with an exception of its own."""

    def swallow(*arguments, **options):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        except SystemExit:
            raise RuntimeError("wrapped by a library") from None

    monkeypatch.setattr("moco_dl.job.correct_file", swallow)
    run("correct", movie_file, code=128 + signal.SIGTERM)


class StopsAsItGoes:
    """Python ignores what is raised while an object is taken apart."""

    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)


def test_a_stop_while_an_object_is_taken_apart(movie_file, monkeypatch):
    went_on = []

    def correct(*arguments, **options):
        StopsAsItGoes()
        for _ in range(500):
            time.sleep(0.01)
        went_on.append(True)

    monkeypatch.setattr("moco_dl.job.correct_file", correct)
    run("correct", movie_file, code=128 + signal.SIGTERM)
    assert not went_on


def test_a_stop_that_is_repeated_leaves_nothing(movie_file, monkeypatch):
    """As Ctrl-C, pressed again while unfinished outputs are removed."""

    def correct(job, *arguments, **options):
        with staged(job.outputs):
            signal.raise_signal(signal.SIGTERM)

    def unlink(path, missing_ok=False, remove=Path.unlink):
        signal.raise_signal(signal.SIGTERM)
        remove(path, missing_ok=missing_ok)

    monkeypatch.setattr("moco_dl.job.correct_file", correct)
    monkeypatch.setattr(Path, "unlink", unlink)
    run("correct", movie_file, code=128 + signal.SIGTERM)
    assert list(movie_file.parent.iterdir()) == [movie_file]


def test_a_stop_that_was_dropped_can_be_repeated_later(movie_file, monkeypatch):
    went_on = []

    def correct(*arguments, **options):
        with suppress(SystemExit):  # as a library might
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        went_on.append(True)

    monkeypatch.setattr("moco_dl.cli.UNDER_WAY", 0.0)
    monkeypatch.setattr("moco_dl.job.correct_file", correct)
    run("correct", movie_file, code=128 + signal.SIGTERM)
    assert not went_on


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no thread can be chosen")
def test_a_stop_that_is_tried_again_wakes_the_main_thread(movie_file, monkeypatch):
    """Whatever it waits for: a signal that another thread gets would be heard once it is done."""
    sent = []

    def correct(*arguments, **options):
        StopsAsItGoes()
        time.sleep(5)

    def kill(thread, number, send=signal.pthread_kill):
        sent.append((thread, number))
        send(thread, number)

    monkeypatch.setattr("moco_dl.job.correct_file", correct)
    monkeypatch.setattr(signal, "pthread_kill", kill)
    run("correct", movie_file, code=128 + signal.SIGTERM)
    assert sent == [(threading.main_thread().ident, signal.SIGTERM)]


def test_what_is_to_be_ignored_does_not_stop_a_run(movie_file, monkeypatch):
    """nohup, and shells for what runs in the background."""
    went_on = []

    def correct(*arguments, **options):
        os.kill(os.getpid(), signal.SIGHUP)
        went_on.append(True)
        raise NrcorrectError("seen")

    monkeypatch.setattr("moco_dl.job.correct_file", correct)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        run("correct", movie_file, code=1)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert went_on
