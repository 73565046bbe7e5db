"""The training loop: pairs with known fields in, a checkpoint out."""

import csv
import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from moco_dl import __version__, checkpoint, figures
from moco_dl.dataset import Batches, PairFile, StoredBatches
from moco_dl.device import choose_device
from moco_dl.errors import NrcorrectError
from moco_dl.intensity import network_input
from moco_dl.losses import LOSSES, end_point_error, laplace, mixed_loss
from moco_dl.network import STRIDE, NetworkConfig, PyramidFlowNet
from moco_dl.pairs import PairOptions, Pairs, ScenePool, draw_pairs
from moco_dl.warp import upsample

LEVEL_WEIGHTS = (0.1, 0.2)  # of the loss of coarser levels, from stride 16 on; the last level's is 1
ERROR_WEIGHT = 0.03  # of the likelihood that teaches the network to state its error
VALIDATION_PHOTONS = (0.5, 2.0, 10.0)
VALIDATION_SEED = 1_000_003


@dataclass(frozen=True)
class TrainOptions:
    """How to train; everything that decides the outcome."""

    steps: int = 12_000
    batch: int = 16
    rate: float = 1e-3  # peak learning rate
    warmup: int = 200  # steps
    curriculum: int = 1500  # steps over which frames become as dim as the data says
    loss: dict[str, float] = field(default_factory=lambda: {"epe": 1.0})
    seed: int = 0
    pairs: PairOptions = field(default_factory=PairOptions)
    network: NetworkConfig = field(default_factory=NetworkConfig)

    def __post_init__(self) -> None:
        unknown = set(self.loss) - set(LOSSES)
        if unknown or not self.loss:
            raise NrcorrectError(f"loss: got {', '.join(self.loss)}; wanted {', '.join(LOSSES)}, or a mixture")


class Trainer:
    """Network, optimiser and schedule; `run` trains to the end of the schedule."""

    def __init__(self, options: TrainOptions, device: torch.device):
        torch.manual_seed(options.seed)
        self.options, self.device, self.step = options, device, 0
        self.ancestor: dict | None = None  # provenance of the weights that training began with
        self.network = PyramidFlowNet(options.network).to(device, memory_format=torch.channels_last)
        self.optimiser = torch.optim.AdamW(self.network.parameters(), options.rate, weight_decay=1e-4)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimiser, self._rate)

    def _rate(self, step: int) -> float:
        warm = min(1.0, (step + 1) / max(1, self.options.warmup))
        return warm * max(0.0, 1 - step / self.options.steps) ** 0.9

    def state(self) -> dict:
        return {
            "step": self.step,
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "options": plain(self.options),
            "ancestor": self.ancestor,
        }

    def begin_with(self, saved: checkpoint.Checkpoint) -> None:
        """Begin with these weights instead of random ones."""
        if saved.network.config != self.options.network:
            raise NrcorrectError("init: these weights are of a network of another size; train from scratch")
        self.network.load_state_dict(saved.network.state_dict())
        self.ancestor = {"sha256": saved.sha256, **saved.provenance}

    def resume(self, saved: checkpoint.Checkpoint) -> None:
        """Go on from a checkpoint that holds training state, with the same options."""
        if saved.training is None:
            raise NrcorrectError("these weights hold no training state; resume from a last.pt of train")
        began = saved.training["options"]
        changed = [name for name, value in plain(self.options).items() if began.get(name) != value]
        if changed:
            raise NrcorrectError(
                f"resume: {', '.join(changed)} differ from how the run began; repeat its options"
            )
        self.network.load_state_dict(saved.network.state_dict())
        self.optimiser.load_state_dict(saved.training["optimiser"])
        self.schedule.load_state_dict(saved.training["schedule"])
        self.step, self.ancestor = saved.training["step"], saved.training["ancestor"]

    def learn(self, pairs: Pairs) -> float:
        """One optimiser step; returns the loss."""
        self.network.train()
        reference, frame = (
            network_input(x.to(self.device)).contiguous(memory_format=torch.channels_last)
            for x in (pairs.reference, pairs.frame)
        )
        truth = pairs.flow.to(self.device)
        flows, expected = predict(self.network, reference, frame)
        loss = self._loss(flows, truth, reference[:, :1], frame[:, :1])
        error = end_point_error(upsample(flows[-1], STRIDE, truth.shape[-2:]), truth)
        loss = loss + ERROR_WEIGHT * laplace(error, upsample(expected[:, None], STRIDE, truth.shape[-2:])[:, 0])
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        self.schedule.step()
        self.step += 1
        return loss.item()

    def _loss(self, flows: list[Tensor], truth: Tensor, reference: Tensor, frame: Tensor) -> Tensor:
        total = torch.zeros((), device=self.device)
        size = truth.shape[-2:]
        for flow, weight in zip(flows, (*LEVEL_WEIGHTS[: len(flows) - 1], 1.0), strict=True):
            stride = STRIDE * flows[-1].shape[-1] // flow.shape[-1]
            full = upsample(flow, stride, size)
            total = total + weight * mixed_loss(self.options.loss, full, truth, reference, frame)
        return total


def predict(network: PyramidFlowNet, reference: Tensor, frame: Tensor) -> tuple[list[Tensor], Tensor]:
    """Flows at every level and expected error for inputs `(B, 2, H, W)`; both images encoded in one pass."""
    features = network.encode(torch.cat((reference, frame)))
    count = len(reference)
    return network([f[:count] for f in features], [f[count:] for f in features])


@torch.no_grad()
def validate(network: PyramidFlowNet, options: TrainOptions, *, batches: int = 4) -> dict[float, float]:
    """Mean end-point error, px, per photon level on pairs that training never draws."""
    network.eval()
    device = next(network.parameters()).device
    scenes = ScenePool(VALIDATION_SEED, options.pairs.scene_size)
    errors = {}
    for photons in VALIDATION_PHOTONS:
        pairs = [
            draw_pairs(scenes, i, 16, PairOptions(**{**vars(options.pairs), "photons": (photons, photons)}))
            for i in range(batches)
        ]
        errors[photons] = float(np.mean([_error(network, p, device) for p in pairs]))
    return errors


def _error(network: PyramidFlowNet, pairs: Pairs, device: torch.device) -> float:
    reference, frame = (network_input(x.to(device)) for x in (pairs.reference, pairs.frame))
    flow = upsample(predict(network, reference, frame)[0][-1], STRIDE, pairs.flow.shape[-2:])
    return float(end_point_error(flow, pairs.flow.to(device)).mean())


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
    about = {"version": __version__, "torch": str(torch.__version__), "options": plain(options)}
    about["ancestor"] = trainer.ancestor
    for pairs in batches:
        losses.append(trainer.learn(pairs))
        progress(1, options.steps)
        late = hours is not None and time.monotonic() - began > 3600 * hours
        if trainer.step % every == 0 or trainer.step == options.steps or late:
            errors = validate(trainer.network, options)
            _log(folder / "log.csv", trainer.step, time.monotonic() - began, float(np.mean(losses)), errors)
            losses = []
            checkpoint.save(folder / "last.pt", trainer.network, about, trainer.state())
        if late:
            break
    final = folder / "weights.pt"
    checkpoint.save(final, trainer.network, about)
    if figures.available():
        figures.loss_curve(folder / "log.csv", folder / "loss.png")
    return final


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


def plain(options: TrainOptions) -> dict:
    """Options as nested dictionaries of plain values, as they are stored in checkpoints."""
    return json.loads(json.dumps(asdict(options)))


def parse_loss(text: str) -> dict[str, float]:
    """`"epe:1,ncc:0.1"` -> `{"epe": 1.0, "ncc": 0.1}`; a name alone has weight 1."""
    try:
        parts = (part.partition(":") for part in text.split(","))
        return {name.strip(): float(weight or 1) for name, _, weight in parts}
    except ValueError as error:
        raise NrcorrectError(f"loss: got {text!r}; wanted NAME:WEIGHT,... such as epe:1,ncc:0.1") from error


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
    if last.exists() and not resume:
        raise NrcorrectError(f"{last}: a run began here; go on with --resume, or choose another folder")
    batches = Batches(options) if data is None else StoredBatches(PairFile(data), options)
    trainer, workers = Trainer(options, choose_device(device)), how.pop("workers", 1)
    if resume:
        trainer.resume(checkpoint.load(last))
    elif init is not None:
        trainer.begin_with(checkpoint.load(init))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return train(trainer, _load(batches, trainer.step, workers), folder, **how)
    except OSError as error:
        raise NrcorrectError(f"{folder}: cannot write: {error.strerror or error}") from error
