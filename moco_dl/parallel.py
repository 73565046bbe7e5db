"""Work on several frames at a time, results in order.

Every frame is computed by one thread alone, so that results do not depend on the number of threads; torch's own
threads would split small operations and spend more time waiting for one another than working.
"""

import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch
from threadpoolctl import threadpool_limits

TURN = 5e-4  # s
MOST = 4  # threads that get on; more wait for their turn at the interpreter, and all take longer

Item = TypeVar("Item")
Result = TypeVar("Result")


def available() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def workers_first() -> Iterator[None]:
    """Operations of torch in this thread, and of linear algebra in all, start no threads, see above; threads
    take turns quickly.

    Workers need the interpreter for moments only, between long operations that do without it. Idle threads of
    linear algebra would keep the processors busy with waiting.
    """
    threads, interval = torch.get_num_threads(), sys.getswitchinterval()
    torch.set_num_threads(1)
    sys.setswitchinterval(TURN)
    try:
        with threadpool_limits(1, "blas"):
            yield
    finally:
        torch.set_num_threads(threads)
        sys.setswitchinterval(interval)


class Workers:
    """Threads that map functions over streams."""

    def __init__(self, threads: int | None = None, start: Callable[[], None] = lambda: None):
        """`threads`: None for as many as there are processors, up to MOST. Each calls `start` first."""

        def prepared() -> None:
            torch.set_num_threads(1)
            start()

        self.threads = threads or min(available(), MOST)
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
