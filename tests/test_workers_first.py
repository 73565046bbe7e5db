"""What is set for workers, and put back."""

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from moco_dl import parallel
from moco_dl.parallel import workers_first


def blas_threads():
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


def test_linear_algebra_starts_no_threads_beside_the_workers():
    if max(before := blas_threads(), default=1) == 1:
        pytest.skip("linear algebra has one thread as it is, or threadpoolctl does not know it")
    with workers_first():
        assert set(blas_threads()) == {1}
    assert blas_threads() == before


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
    assert number >= 20  # as many as there are in Python 3.13; other versions have more


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


def test_of_threads_that_overlap_the_last_puts_back_what_was_set():
    def had():
        return sys.getswitchinterval(), blas_threads()

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
            return blas_threads()

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
