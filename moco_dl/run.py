"""A training run in a folder: begun or gone on with, logged, saved every now and then."""

import csv
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from moco_dl import __version__, checkpoint, figures
from moco_dl.dataset import Batches, PairFile, StoredBatches
from moco_dl.device import choose_device
from moco_dl.errors import NrcorrectError
from moco_dl.pairs import Pairs
from moco_dl.train import Trainer, TrainOptions, plain, validate

WRITTEN = ("last.pt", "weights.pt", "log.csv", "loss.png")


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
    which a run can be resumed. `progress(1, steps)` is called after each step.
    """
    options, losses, began = trainer.options, [], time.monotonic()
    for pairs in batches:
        losses.append(trainer.learn(pairs))
        progress(1, options.steps)
        late = hours is not None and time.monotonic() - began > 3600 * hours
        if trainer.step % every == 0 or trainer.step == options.steps or late:
            errors = validate(trainer.network, options)
            checkpoint.save(folder / "last.pt", trainer.network, _about(trainer), trainer.state())
            _log(folder / "log.csv", trainer.step, time.monotonic() - began, float(np.mean(losses)), errors)
            losses = []
        if late:
            break
    final = folder / "weights.pt"
    checkpoint.save(final, trainer.network, _about(trainer))
    if figures.available():
        figures.loss_curve(folder / "log.csv", folder / "loss.png")
    return final


def _about(trainer: Trainer) -> dict:
    """Where its weights come from."""
    about = {"version": __version__, "torch": str(torch.__version__), "options": plain(trainer.options)}
    return about | {"steps_taken": trainer.step, "data": trainer.data, "ancestor": trainer.ancestor}


def _load(batches: Dataset, start: int, workers: int) -> Iterator[Pairs]:
    order = range(start, len(batches))
    return iter(DataLoader(batches, batch_size=None, sampler=order, num_workers=workers))


def _log(path: Path, step: int, seconds: float, loss: float, errors: dict[float, float]) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(["step", "seconds", "loss", *(f"epe_{photons:g}" for photons in errors)])
        writer.writerow([step, f"{seconds:.0f}", f"{loss:.4f}", *(f"{e:.4f}" for e in errors.values())])


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
    """Begin (with the weights `init`) or resume a run in `folder`, which is made if need be.

    `how`: the number of `workers` that draw data, and what `train` takes.

    Raises NrcorrectError if the folder holds another run, or cannot be written.
    """
    last = folder / "last.pt"
    there = [] if resume else [name for name in WRITTEN if (folder / name).exists()]
    if there:
        raise NrcorrectError(
            f"{folder / there[0]}: a run began here; go on with --resume, or choose another folder"
        )
    pairs = None if data is None else PairFile(data)
    batches = Batches(options) if pairs is None else StoredBatches(pairs, options)
    trainer = Trainer(options, choose_device(device), pairs and pairs.about)
    workers = how.pop("workers", 1)
    if resume:
        trainer.resume(checkpoint.load(last))
    elif init is not None:
        trainer.begin_with(checkpoint.load(init))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return train(trainer, _load(batches, trainer.step, workers), folder, **how)
    except OSError as error:
        raise NrcorrectError(f"{folder}: cannot write: {error.strerror or error}") from error
