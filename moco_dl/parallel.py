"""Work on several frames at a time, results in order.

Every frame is computed by one thread alone, so that results do not depend on the number of threads; torch's own
threads would split small operations and spend more time waiting for one another than working.
"""

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Lock, Thread, current_thread, get_ident
from typing import TypeVar
from weakref import WeakSet, ref

import numpy as np
import torch
from threadpoolctl import threadpool_limits

TURN = 5e-4  # s that a thread keeps the interpreter if others wait: a tenth of what Python has
USUAL = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}  # NumPy's own, of errors
MOST = 4  # threads that get on; more wait for their turn at the interpreter, and all take longer
PROMPTLY = 1.0  # s, in which limits are lifted; it may be that there is no thread that would
PATIENCE = 10.0  # s that a fork waits for threads that end

Item = TypeVar("Item")
Result = TypeVar("Result")


def available_processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Keeper:
    """Has linear algebra start no threads: only the thread that has limited OpenBLAS may lift that.

    What Ctrl-C breaks off is done by that thread all the same.
    """

    def __init__(self):
        self._limited, self._enough, self._lifted = Event(), Event(), Event()

    def limit(self) -> None:
        Thread(target=self._keep, daemon=True).start()
        self._limited.wait()

    def lift(self) -> None:
        self._enough.set()
        self._lifted.wait(PROMPTLY)

    def _keep(self) -> None:
        try:
            with threadpool_limits(1, "blas"):
                self._limited.set()
                self._enough.wait()
        finally:  # nobody waits for what failed
            self._limited.set()
            self._lifted.set()


class _Visit:
    """One to `workers_first`, which ends with it at the latest."""

    def __init__(self):
        self.thread = get_ident()


class _Setting:
    """What `workers_first` sets; most is the whole process's, and the last thread to leave puts that back.

    Either method may be broken off anywhere, by Ctrl-C; `leave`, called again, then puts all back.
    """

    def __init__(self):
        self._lock, self._inside = Lock(), WeakSet()  # visits
        self._keeper: _Keeper | None = None
        self._threads: dict[int, int] = {}  # of torch, that each had before

    def enter(self, visit: _Visit) -> None:
        with self._lock:
            self._inside.add(visit)
            if self._keeper is None:
                self._interval = sys.getswitchinterval()
                self._keeper = _Keeper()
                self._keeper.limit()
                sys.setswitchinterval(TURN)
            if visit.thread not in self._threads:  # one that is new to torch has what others have set
                self._threads[visit.thread] = max(torch.get_num_threads(), *self._threads.values(), 1)
                torch.set_num_threads(1)

    def leave(self, visit: _Visit) -> None:
        with self._lock:
            self._inside.discard(visit)
            others = [other.thread for other in self._inside]
            if visit.thread not in others and visit.thread in self._threads:
                torch.set_num_threads(self._threads[visit.thread])
                del self._threads[visit.thread]
            if not others and self._keeper is not None:
                sys.setswitchinterval(self._interval)
                self._keeper.lift()
                self._keeper = None


_setting = _Setting()


@contextmanager
def workers_first() -> Iterator[None]:
    """Operations of torch in this thread, and of linear algebra in all, start no threads, see above; threads
    take turns quickly.

    Workers need the interpreter for moments only, between long operations that do without it. Idle threads of
    linear algebra would keep the processors busy with waiting; and a process that is forked once torch has
    started threads waits for them for ever. What the caller has set for computing elsewhere does not hold here.
    """
    visit = _Visit()
    try:
        _setting.enter(visit)
        with np.errstate(**USUAL), torch.autocast("cpu", enabled=False), torch.device("cpu"):
            yield
    finally:
        try:
            _setting.leave(visit)
        except BaseException:
            _setting.leave(visit)
            raise


_started: "dict[Thread, ref[Workers]]" = {}  # by whom each thread was


def _there(thread: Thread) -> bool:
    """Whether `thread` runs still; Linux shows those that have done with Python, too."""
    return thread.is_alive() or Path("/proc/self/task", str(thread.native_id)).exists()


def _wait_for_ends() -> None:
    """Until threads whose workers are gone have ended.

    What libraries keep for a thread they free at its end, MKL under a lock that it spins for: a process that is
    forked in that moment has the lock, and nobody who opens it.
    """
    late = time.monotonic() + PATIENCE
    for thread, workers in _started.copy().items():
        while workers() is None and thread is not current_thread() and _there(thread):
            if time.monotonic() > late:
                return
            time.sleep(TURN)


if hasattr(os, "register_at_fork"):
    # Threads that have set something, or were about to, are not there in the forked process.
    os.register_at_fork(before=_wait_for_ends, after_in_child=_setting.__init__)


class Workers:
    """Threads that map functions over streams."""

    def __init__(self, threads: int | None = None, start: Callable[[], None] = lambda: None):
        """`threads`: None for as many as there are processors, up to MOST. Each calls `start` first."""

        me = ref(self)

        def prepared() -> None:
            for ended in [thread for thread in _started.copy() if not _there(thread)]:
                _started.pop(ended, None)
            _started[current_thread()] = me
            torch.set_num_threads(1)
            start()

        self.threads = threads or min(available_processors(), MOST)
        self._pool = ThreadPoolExecutor(self.threads, initializer=prepared)

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """`function` of each item, in order; a few items are taken ahead."""
        waiting: deque[Future[Result]] = deque()
        ahead = max(self.threads, 2)  # of which the caller may handle one while another is computed
        try:
            for item in items:
                waiting.append(self._pool.submit(function, item))
                if len(waiting) >= ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
