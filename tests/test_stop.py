"""Runs that are told to stop."""

import os
import signal
import subprocess
import time

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from commands import command

from moco_dl.cli import main
from moco_dl.errors import NrcorrectError


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stopped_run_leaves_nothing(tmp_path, known_movie, sent):
    movie = tmp_path / "long.tif"
    tifffile.imwrite(movie, np.tile(known_movie[0], (40, 1, 1)), photometric="minisblack")
    process = subprocess.Popen(
        command("correct", movie, "--ref-frames", "5"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(sent, signal.SIG_DFL),  # a shell's background ignores some
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("long_corrected.tif.*.part")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(sent)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + sent and b"Traceback" not in errors
    assert [p.name for p in tmp_path.iterdir()] == ["long.tif"]


def test_training_that_is_stopped_with_all_its_workers_ends_quietly(tmp_path):
    options = ("--steps", "500", "--batch", "1", "--every", "1", "--workers", "2", "--device", "cpu")
    process = subprocess.Popen(
        command("train", tmp_path / "run", *options),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "run" / "log.csv").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGINT and b"Traceback" not in errors
    assert not list(tmp_path.rglob("*.part"))


def test_a_stop_that_a_library_turned_into_an_error(movie_file, monkeypatch):
    """Signals may arrive inside compiled code that answers an exit with an exception of its own."""

    def swallow(*arguments, **options):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        except SystemExit:
            raise RuntimeError("wrapped by a library") from None

    monkeypatch.setattr("moco_dl.job.correct_file", swallow)
    assert CliRunner().invoke(main, ["correct", str(movie_file)]).exit_code == 128 + signal.SIGTERM


def test_a_stop_while_an_object_is_taken_apart(movie_file, monkeypatch):
    """Python ignores what is raised then."""
    went_on = []

    class Thing:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)

    def correct(*arguments, **options):
        Thing()
        for _ in range(500):
            time.sleep(0.01)
        went_on.append(True)

    monkeypatch.setattr("moco_dl.job.correct_file", correct)
    assert CliRunner().invoke(main, ["correct", str(movie_file)]).exit_code == 128 + signal.SIGTERM
    assert not went_on


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
        assert CliRunner().invoke(main, ["correct", str(movie_file)]).exit_code == 1
    finally:
        signal.signal(signal.SIGHUP, before)
    assert went_on
