"""A training run in a folder: begun or gone on with, logged, saved every now and then."""

import csv
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import torch

from moco_dl import __version__, checkpoint, figures
from moco_dl.device import choose_device
from moco_dl.errors import NrcorrectError, named
from moco_dl.learning.dataset import Batches, PairFile, StoredBatches
from moco_dl.learning.loader import load_batches
from moco_dl.learning.pairs import Pairs
from moco_dl.learning.train import Trainer, TrainOptions, error_name, plain, refuse_validated, validate
from moco_dl.staging import refuse_existing, staged

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LAST = "last.pt"
WRITTEN = (LAST, "weights.pt", "log.csv", "loss.png")


def train(
    trainer: Trainer,
    batches: Iterable[Pairs],
    folder: Path,
    *,
    every: int = 500,
    hours: float | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Train on the batches of the schedule, or for `hours`; returns the final weights `folder/weights.pt`.

    Every `every` steps: a line in `log.csv` (step, seconds, loss, EPE per photon level) and `last.pt`, from
    which a run can be resumed. `progress(1, steps)` is called after each step. Raises NrcorrectError if a step
    leads to weights that are no numbers.
    """
    options, losses, began = trainer.options, [], time.monotonic()
    before = trainer.log[-1]["seconds"] if trainer.log else 0.0
    for pairs in batches:
        losses.append(trainer.learn(pairs))
        progress(1, options.steps)
        late = hours is not None and time.monotonic() - began > 3600 * hours
        if trainer.step % every == 0 or trainer.step == options.steps or late:
            errors = {error_name(light): e for light, e in validate(trainer.network, options).items()}
            seconds = before + time.monotonic() - began
            trainer.log.append(
                {"step": trainer.step, "seconds": seconds, "loss": float(np.mean(losses))} | errors
            )
            checkpoint.save(folder / LAST, trainer.network, _about(trainer), trainer.state())
            write_log(trainer.log, folder / "log.csv")
            losses = []
        if late:
            break
    final = folder / "weights.pt"
    checkpoint.save(final, trainer.network, _about(trainer))
    if trainer.log:
        write_log(trainer.log, folder / "log.csv")  # it may be lost, if a run ended after its last checkpoint
    if trainer.log and figures.available():
        with staged([folder / "loss.png"], overwrite=True) as parts:
            figures.loss_curve(trainer.log, parts[0])
    return final


def _about(trainer: Trainer) -> dict:
    """Where its weights come from."""
    about = {"version": __version__, "torch": str(torch.__version__), "options": plain(trainer.options)}
    return about | {"steps_taken": trainer.step, "data": trainer.data, "ancestor": trainer.ancestor}


def write_log(log: Sequence[dict[str, float]], path: Path) -> None:
    """Write what was logged, a line for each entry, in place of what was there."""
    with staged([path], overwrite=True) as parts, parts[0].open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(log[0])
        for row in log:
            step, seconds, *others = row.values()
            writer.writerow([step, f"{seconds:.0f}", *(f"{value:.4f}" for value in others)])


def train_into(
    folder: Path,
    options: TrainOptions,
    *,
    data: Path | None = None,
    init: Path | None = None,
    resume: bool = False,
    device: str = "auto",
    **how: object,
) -> Path:
    """Begin (with the weights `init`, if they are named) or resume a run in `folder`, which is made if need be.

    `how`: the number of `workers` that draw data, and what `train` takes.

    Raises NrcorrectError if the folder holds another run, or cannot be written, or if a worker is ended.
    """
    _refuse_other(folder, resume)
    pairs = None if data is None else PairFile(data)
    batches = Batches(options) if pairs is None else StoredBatches(pairs, options)
    if pairs is not None:
        with named(data):
            refuse_validated(pairs.about["seed"])
    trainer = Trainer(options, choose_device(device), None if pairs is None else pairs.about)
    workers = how.pop("workers", 1)
    if init is not None and not resume:
        with named(init):
            trainer.begin_with(checkpoint.load(init))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from error
    with _alone_in(folder), _ends_told(folder):
        _refuse_other(folder, resume)  # again: one may have begun or ended meanwhile
        refuse_existing([folder / name for name in WRITTEN], overwrite=True)  # now, not after hours
        if resume:
            with named(folder / LAST):
                trainer.resume(checkpoint.load(folder / LAST))
        return train(trainer, load_batches(batches, trainer.step, workers), folder, **how)


def _refuse_other(folder: Path, resume: bool) -> None:
    """Raise NrcorrectError unless there is a run in `folder` to `resume`, or none if one is to begin."""
    there = []
    for name in WRITTEN:
        try:
            (folder / name).lstat()
            there.append(name)
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as error:
            raise _unwritable(folder, error) from error
    if there and not resume:
        raise NrcorrectError(
            f"{folder / there[0]}: a run began here; go on with --resume, or choose another folder"
        )
    if resume and LAST not in there:
        raise NrcorrectError(f"{folder / LAST}: no such file; begin a run without --resume")


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Raise NrcorrectError if another run goes on in `folder`, where that can be told."""
    with ExitStack() as held:
        try:
            place = os.open(folder, os.O_RDONLY)
            held.callback(os.close, place)
            if fcntl is not None:
                fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise NrcorrectError(f"{folder}: another run goes on here; choose another folder") from error
        except OSError:  # a file system without locks, or a system on which folders are not opened
            pass
        yield


@contextmanager
def _ends_told(folder: Path) -> Iterator[None]:
    """Tell of a worker that was ended, as PyTorch raises wherever the trainer is then."""
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker (pid"):
            raise
        reason = str(error).splitlines()[0].strip(" .")
        raise NrcorrectError(
            f"{folder}: {reason}; if memory is short, take fewer --workers, and go on with --resume"
        ) from error


def _unwritable(folder: Path, error: OSError) -> NrcorrectError:
    return NrcorrectError(f"{folder}: cannot write: {error.strerror or error}; choose another folder")
