"""Batches that other processes draw while the trainer learns; they go when it does."""

import os
import signal
import warnings
from collections.abc import Iterator
from multiprocessing import parent_process
from threading import Thread, Timer

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from moco_dl.errors import NrcorrectError
from moco_dl.learning.pairs import Pairs

SOON = 10.0  # s, in which a trainer that was told to stop has sent its workers away


def load_batches(batches: Dataset, start: int, workers: int) -> Iterator[Pairs]:
    """Batches from number `start` on, drawn by so many `workers`; 0: by this process, when they are wanted.

    Raises NrcorrectError if workers cannot be started, or batches not be read.
    """
    order = range(start, len(batches))
    how = {"num_workers": workers, "worker_init_fn": _stay_with_trainer if workers else None}
    try:
        with warnings.catch_warnings():  # more workers than processors may be wanted
            warnings.filterwarnings("ignore", "This DataLoader will create")
            loader = DataLoader(batches, batch_size=None, sampler=order, collate_fn=_to_arrays, **how)
            drawn = iter(loader)
    except OSError as error:
        raise NrcorrectError(
            f"cannot start workers: {error.strerror or error}; they need room in shared memory (/dev/shm), or"
            " take --workers 0"
        ) from error
    try:
        for arrays in drawn:
            yield Pairs(*map(torch.from_numpy, arrays))
    except NrcorrectError as error:  # a worker's comes with its traceback
        raise NrcorrectError(str(error).strip().rpartition("NrcorrectError: ")[2]) from error
    except RuntimeError as error:  # what a worker's error of memory comes as
        if "MemoryError" in str(error):
            raise MemoryError from error
        raise


def _to_arrays(pairs: Pairs) -> tuple[np.ndarray, ...]:
    """Of a batch what goes through a pipe.

    Tensors go through shared memory, which containers are short of, and a thread that complains if a parent is
    gone.
    """
    return tuple(part.numpy() for part in (pairs.reference, pairs.frame, pairs.flow))


def _stay_with_trainer(_: int) -> None:
    """Have a worker go when the trainer is gone, and not before it if all of them are told to stop.

    A worker that goes first looks like a failure; one that waits for room in a pipe that nobody reads would
    stay for ever.
    """
    trainer = parent_process()

    def follow() -> None:
        trainer.join()
        _end()

    def end_soon(*_: object) -> None:
        late = Timer(SOON, _end)
        late.daemon = True
        late.start()

    Thread(target=follow, daemon=True).start()
    for name, answer in (("SIGINT", signal.SIG_IGN), ("SIGHUP", signal.SIG_IGN), ("SIGTERM", end_soon)):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), answer)


def _end() -> None:
    """End this process at once, whatever its threads wait for."""
    os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
