"""Processes that are forked, and threads that end before."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from threading import get_ident
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from moco_dl import parallel
from moco_dl.parallel import Workers, _wait_for_ends, workers_first


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
@pytest.mark.parametrize("before", ["correct", "apply", "evaluate"])
def test_a_forked_process_corrects_as_well(known_movie, tmp_path, before):
    """Had torch started threads in the first process, the second would wait for them for ever."""
    np.save(tmp_path / "frames.npy", known_movie[0][:9])
    code = f"""
import multiprocessing, sys
import numpy as np, torch, moco_dl
torch.set_num_threads(2)
frames = np.load(sys.argv[1])
def work(names):
    done = moco_dl.correct(frames)
    jobs = {{"apply": lambda: moco_dl.apply(frames, done.fields),
            "evaluate": lambda: moco_dl.evaluate(frames, done.corrected, done.fields)}}
    for name in names:
        jobs.get(name, lambda: None)()
work(["{before}"])
child = multiprocessing.get_context("fork").Process(target=work, args=(["apply", "evaluate"],))
child.start(); child.join(60)
print(child.exitcode)
child.kill()
"""
    command = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path / "frames.npy")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout == "0\n", done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of threads, which the child has no use for
def test_a_fork_waits_for_threads_that_end():
    """Else the second process has the locks that they hold while they end, and nobody who opens them."""
    started, ended, kept = [], [], threading.local()

    class Last:
        def __init__(self):
            started.append(get_ident())

        def __del__(self):
            time.sleep(0.2)
            ended.append(get_ident())

    workers = Workers(2, start=lambda: setattr(kept, "last", Last()))
    assert list(workers.map(abs, [-1, -2])) == [1, 2]
    del workers
    if not (child := os.fork()):
        os._exit(0)
    still = len(started) - len(ended)
    assert started and not still and os.waitpid(child, 0)[1] == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_process_that_is_forked_while_a_thread_begins_or_ends_works():
    """As workers of `multiprocessing.Pool` are, which are replaced at any time."""
    with parallel._setting._lock:  # as another thread has it for moments
        if not (child := os.fork()):
            signal.alarm(30)  # ends it
            with suppress(BaseException), workers_first():
                os._exit(torch.get_num_threads() - 1)
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0


def test_a_fork_does_not_wait_for_threads_that_may_work_on(monkeypatch):
    workers = Workers(2)
    assert list(workers.map(abs, [-1, -2])) == [1, 2]
    _wait_for_ends()  # of other tests' threads
    monkeypatch.setattr("moco_dl.parallel.time.sleep", lambda _: pytest.fail("waits"))
    _wait_for_ends()


def test_a_thread_is_there_until_the_system_has_none_of_it():
    """What libraries keep for it they free once Python has done with it; not every system shows its threads."""

    def there(alive, number):
        return parallel._there(SimpleNamespace(is_alive=lambda: alive, native_id=number))

    assert there(True, -1) and not there(False, -1)
    if Path("/proc/self/task").exists():
        assert there(False, threading.get_native_id())


def test_a_fork_does_not_wait_for_ever_nor_a_thread_for_itself(monkeypatch):
    _wait_for_ends()  # of other tests' threads
    monkeypatch.setattr("moco_dl.parallel.time.sleep", lambda _: pytest.fail("waits"))
    begun, done, told = threading.Event(), threading.Event(), []

    def work(item):
        if item:
            told.append(threading.current_thread())
            begun.set()
            done.wait()
            _wait_for_ends()
            told.append("has forked")

    results = Workers(1).map(work, [0, 1])
    next(results)
    begun.wait()
    results.close()  # while the second is waited for
    del results
    with monkeypatch.context() as patched:
        patched.setattr("moco_dl.parallel.PATIENCE", -1.0)
        try:
            _wait_for_ends()
        finally:
            patched.undo()
            done.set()
            told[0].join()
    assert told[1:] == ["has forked"]


def test_threads_may_begin_while_a_fork_waits(monkeypatch):
    def there(thread):
        parallel._started[threading.Thread()] = lambda: None
        return False

    monkeypatch.setattr(parallel, "_started", {threading.Thread(): lambda: None})
    monkeypatch.setattr(parallel, "_there", there)
    _wait_for_ends()


def test_threads_that_have_ended_are_forgotten(monkeypatch):
    """Else there were more with each movie that is corrected."""

    def thread_of(workers):
        return next(workers.map(lambda _: threading.current_thread(), [0]))

    ended = thread_of(Workers(1))
    _wait_for_ends()
    with monkeypatch.context() as patched:
        patched.setattr(parallel, "_there", lambda thread: True)  # not quite
        kept = Workers(1)
        assert thread_of(kept) in parallel._started and ended in parallel._started
    more = Workers(1)
    assert {thread_of(kept), thread_of(more)} <= parallel._started.keys() and ended not in parallel._started
