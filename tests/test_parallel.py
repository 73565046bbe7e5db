import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import get_ident
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

import moco_dl
from moco_dl import parallel
from moco_dl.blocks import binned
from moco_dl.learning.synth import SyntheticMovie, movie_options
from moco_dl.parallel import Workers, _wait_for_ends, available_processors, workers_first


def blas_threads():
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


def test_linear_algebra_starts_no_threads_beside_the_workers():
    if max(before := blas_threads(), default=1) == 1:
        pytest.skip("linear algebra has one thread as it is, or threadpoolctl does not know it")
    with workers_first():
        assert set(blas_threads()) == {1}
    assert blas_threads() == before


def test_results_come_in_order_and_little_is_taken_ahead():
    taken = []

    def items():
        for i in range(20):
            taken.append(i)
            yield i

    def slow_first(i):
        time.sleep(0.05 if i == 0 else 0)
        return 2 * i

    results = Workers(3).map(slow_first, items())
    assert next(results) == 0 and len(taken) <= 5
    assert list(results) == list(range(2, 40, 2))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_one_is_computed_while_another_is_handled(threads):
    taken = []
    results = Workers(threads).map(lambda item: item, (taken.append(i) or i for i in range(9)))
    assert next(results) == 0
    assert len(taken) == max(threads, 2)


def test_an_error_reaches_the_caller():
    with pytest.raises(ZeroDivisionError):
        list(Workers(2).map(lambda i: 1 / i, [1, 0, 2]))


@pytest.mark.parametrize(("processors", "threads"), [(1, 1), (2, 2), (4, 4), (64, 4)])
def test_processors_are_used_unless_told_but_not_too_many(monkeypatch, processors, threads):
    assert available_processors() >= 1
    monkeypatch.setattr("moco_dl.parallel.available_processors", lambda: processors)
    assert Workers().threads == threads
    assert Workers(5).threads == 5


def test_threads_do_not_change_a_bit(known_movie):
    frames = known_movie[0][:20]
    one, three = (moco_dl.correct(frames, threads=n, ref_frames=8) for n in (1, 3))
    np.testing.assert_array_equal(one.corrected, three.corrected)
    np.testing.assert_array_equal(one.fields.flow[:], three.fields.flow[:])


def interrupted_at(number, work):
    """Break `work` off, as Ctrl-C does, at a call that parallel.py makes or gets; False: there are fewer."""
    left = number

    def profile(frame, event, _):
        nonlocal left
        if frame.f_code.co_filename == parallel.__file__ and event in ("call", "c_return"):
            left -= 1
            if left < 0:
                sys.setprofile(None)
                raise KeyboardInterrupt

    sys.setprofile(profile)
    with suppress(KeyboardInterrupt):
        work()
    sys.setprofile(None)
    return left < 0


def test_what_is_set_for_workers_does_not_stay_after_an_interrupt(monkeypatch):
    """Wherever it comes: as in a notebook, where the process goes on."""

    def work():
        with workers_first():
            pass

    def settings():
        return torch.get_num_threads(), sys.getswitchinterval(), blas_threads(), threading.active_count()

    monkeypatch.setattr(parallel, "PROMPTLY", 0.05)
    before, number = settings(), 0
    while interrupted_at(number, work):
        number += 1
        monkeypatch.setattr(parallel, "_setting", parallel._Setting())  # as when a process begins
        deadline = time.monotonic() + 60
        while settings() != before and time.monotonic() < deadline:  # a thread may be about to end
            time.sleep(0.001)
        assert settings() == before, number
    assert number > 20


def test_the_next_correction_puts_back_what_interrupts_have_left(monkeypatch):
    """As several of them, while the first puts things back."""
    before = torch.get_num_threads(), sys.getswitchinterval(), blas_threads()

    def leave(visit):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(parallel._setting, "leave", leave)
        with workers_first():
            pass
    assert sys.getswitchinterval() < before[1]
    with workers_first():
        pass
    assert (torch.get_num_threads(), sys.getswitchinterval(), blas_threads()) == before


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


@pytest.fixture(scope="module")
def large():
    movie = SyntheticMovie(1, movie_options(frames=20, size=250, photons=10.0))
    frames, truth = (np.stack(part) for part in zip(*movie, strict=True))
    return frames, truth


def test_fast_is_nearly_as_good(large):
    frames, truth = large

    def error(**options):
        difference = moco_dl.correct(frames, **options).fields[:] - truth
        return np.hypot(
            *(difference - np.median(difference, axis=(0, 2, 3), keepdims=True)).swapaxes(0, 1)
        ).mean()

    assert error(quality="fast") < 1.3 * error(quality="best") < 0.3


def test_fast_does_not_depend_on_batches_either(large):
    one, other = (moco_dl.correct(large[0], quality="fast", batch_size=n, ref_frames=9) for n in (2, 16))
    np.testing.assert_array_equal(one.corrected, other.corrected)


def test_binning_averages_and_keeps_missing_pixels_missing():
    frames = np.arange(30.0).reshape(1, 5, 6)
    frames[0, 0, 0] = np.nan
    small = binned(frames, 2)
    assert small.shape == (1, 3, 3) and small.dtype == np.float32
    assert np.isnan(small[0, 0, 0]) and small[0, 0, 1] == frames[0, :2, 2:4].mean()
    assert small[0, 2, 2] == frames[0, 4, 4:].mean()


def test_of_threads_that_overlap_the_last_puts_back_what_was_set():
    def had():
        blas = [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]
        return sys.getswitchinterval(), blas

    before, threads = had(), [ThreadPoolExecutor(1) for _ in range(2)]
    threads[0].submit(torch.set_num_threads, 3).result()  # the second is new to torch
    entered = [workers_first(), workers_first()]
    for thread, one in zip(threads, entered, strict=False):
        thread.submit(one.__enter__).result()
    assert threads[1].submit(torch.get_num_threads).result() == 1
    threads[0].submit(entered[0].__exit__, None, None, None).result()
    assert sys.getswitchinterval() < 0.002 and set(had()[1]) <= {1}
    assert threads[1].submit(torch.get_num_threads).result() == 1
    threads[1].submit(entered[1].__exit__, None, None, None).result()
    assert had() == before
    assert [thread.submit(torch.get_num_threads).result() for thread in threads] == [3, 3]
    torch.set_num_threads(torch.get_num_threads())  # for threads that are new to torch


def test_afterwards_other_threads_may_limit_linear_algebra():
    def limited():
        with threadpool_limits(1, "blas"):
            return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]

    with workers_first():
        pass
    with ThreadPoolExecutor(1) as other:
        assert set(other.submit(limited).result()) <= {1}


def test_what_fails_to_limit_linear_algebra_is_not_waited_for(monkeypatch):
    def limits(*_):
        raise MemoryError

    def work():
        with workers_first():
            worked.append(torch.get_num_threads())

    worked, thread = [], threading.Thread(target=work, daemon=True)
    monkeypatch.setattr(parallel, "threadpool_limits", limits)
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    monkeypatch.setattr(parallel, "PROMPTLY", 1e3)
    thread.start()
    thread.join(60)
    assert not thread.is_alive() and worked == [1]


def test_what_was_set_stays_until_the_outer_one_leaves():
    before = torch.get_num_threads()
    with workers_first():
        with workers_first():
            pass
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


def test_each_thread_gets_back_what_it_had_set():
    threads, kept = [ThreadPoolExecutor(1) for _ in range(2)], [workers_first() for _ in range(3)]

    def of_torch(place):
        return threads[place].submit(torch.get_num_threads).result()

    for place, number in ((0, 2), (1, 3)):
        assert of_torch(place)  # or the first time, torch has what others have set
        threads[place].submit(torch.set_num_threads, number).result()
    for place, one in zip((0, 1, 0), kept, strict=True):  # the first enters twice
        threads[place].submit(one.__enter__).result()
    for place, one in zip((0, 1, 0), kept[::-1], strict=True):
        threads[place].submit(one.__exit__, None, None, None).result()
    assert [of_torch(place) for place in (0, 1)] == [2, 3]
    torch.set_num_threads(torch.get_num_threads())  # for threads that are new to torch


def test_what_the_process_had_set_comes_back():
    before = torch.get_num_threads(), sys.getswitchinterval()
    with pytest.raises(ValueError), workers_first():
        assert torch.get_num_threads() == 1 and sys.getswitchinterval() < 0.002
        raise ValueError
    assert (torch.get_num_threads(), sys.getswitchinterval()) == before
