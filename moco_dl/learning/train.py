"""How the network learns: pairs with known fields in, better weights out."""

import json
import math
from dataclasses import asdict, dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from moco_dl import checkpoint
from moco_dl.errors import NrcorrectError, gpu_is_full
from moco_dl.intensity import network_input
from moco_dl.learning.losses import LOSSES, end_point_error, laplace, mixed_loss
from moco_dl.learning.pairs import PairOptions, Pairs, ScenePool, draw_pairs
from moco_dl.network import STRIDE, NetworkConfig, PyramidFlowNet
from moco_dl.warp import upsample

LEVEL_WEIGHTS = (0.1, 0.2)  # of the loss of coarser levels, from stride 16 on; the last level's is 1
ERROR_WEIGHT = 0.03  # of the likelihood that teaches the network to state its error
VALIDATION_PHOTONS = (0.5, 2.0, 10.0)
VALIDATION_SEED = 1_000_003
VALIDATION_BATCHES = 4  # of 16 pairs
LOGGED = ("step", "seconds", "loss")  # at each validation, beside its errors
MOMENTS = ("exp_avg", "exp_avg_sq")  # of each weight, in the optimiser's state


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
            got = ", ".join(map(repr, self.loss))
            raise NrcorrectError(f"loss: got {got}; wanted {', '.join(LOSSES)}, or a mixture")
        for name, weight in self.loss.items():
            if not 0 < weight < math.inf:
                raise NrcorrectError(f"loss: got {name}:{weight:g}; wanted a finite weight above 0")
        refuse_validated(self.seed)


def refuse_validated(seed: int) -> None:
    """Raise NrcorrectError if pairs of this seed are those that training is judged by."""
    if seed == VALIDATION_SEED:
        raise NrcorrectError(f"pairs of seed {seed} are those that validation draws; wanted another seed")


class Trainer:
    """Network, optimiser and schedule."""

    def __init__(self, options: TrainOptions, device: torch.device, data: dict | None = None):
        """`data` identifies the pairs that are learned from; None: they are drawn as the options say."""
        self.options, self.device, self.data, self.step = options, device, data, 0
        self.ancestor: dict | None = None  # provenance of the weights that training began with
        self.log: list[dict[str, float]] = []  # of each validation: step, seconds, loss, and errors by name
        with torch.random.fork_rng(devices=[]):  # numbers that others draw stay as they are
            torch.default_generator.manual_seed(options.seed)
            network = PyramidFlowNet(options.network)
        self.network = network.to(device, memory_format=torch.channels_last)
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
            "data": self.data,
            "log": self.log,
        }

    def begin_with(self, saved: checkpoint.Checkpoint) -> None:
        """Begin with these weights instead of random ones."""
        if saved.network.config != self.options.network:
            raise NrcorrectError("weights of a network of another size; begin without --init")
        self.network.load_state_dict(saved.network.state_dict())
        self.ancestor = {"sha256": saved.sha256, **saved.provenance}

    def resume(self, saved: checkpoint.Checkpoint) -> None:
        """Go on from a checkpoint that holds training state, with the same options.

        Raises NrcorrectError if it holds none, or other options, or if its state is damaged.
        """
        if saved.training is None:
            raise NrcorrectError("no training state in it; wanted the last.pt of a run")
        try:
            self._go_on(saved)
        except checkpoint.DAMAGED as error:
            if gpu_is_full(error):
                raise
            raise NrcorrectError("the training state is damaged; begin another run with --init") from error

    def _go_on(self, saved: checkpoint.Checkpoint) -> None:
        began = saved.training["options"]
        changed = [
            f"{name} (got {value!r}, began with {began.get(name)!r})"
            for name, value in plain(self.options).items()
            if began.get(name) != value
        ]
        if (data := saved.training.get("data", self.data)) != self.data:
            changed.append(f"data (got {_data(self.data)}, began with {_data(data)})")
        if changed:
            raise NrcorrectError(f"not as the run began: {', '.join(changed)}; repeat its options")
        self.network.load_state_dict(saved.network.state_dict())
        self.optimiser.load_state_dict(saved.training["optimiser"])
        self.schedule.load_state_dict(saved.training["schedule"])
        self.step, self.ancestor = saved.training["step"], saved.training["ancestor"]
        self.log = saved.training.get("log", [])
        logged = (*LOGGED, *map(error_name, VALIDATION_PHOTONS))
        known = all(isinstance(entry[name], int | float) for entry in self.log for name in logged)
        if not (known and isinstance(self.log, list) and isinstance(self.step, int)):
            raise ValueError("a log without what is logged")
        if not 0 <= self.step == self.schedule.last_epoch <= self.options.steps:
            raise ValueError("a step that is none")
        moments = [
            (w, self.optimiser.state[w][m]) for w in self.network.parameters() for m in MOMENTS if self.step
        ]
        if not all(known.shape == w.shape and bool(torch.isfinite(known).all()) for w, known in moments):
            raise ValueError("moments of other weights, or that are no numbers")

    def learn(self, pairs: Pairs) -> float:
        """One optimiser step; returns the loss. Raises NrcorrectError if it or its gradient is no number."""
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
        steep = nn.utils.clip_grad_norm_(self.network.parameters(), 1.0).item()
        if not math.isfinite((value := loss.item()) + steep):
            what = f"loss is {value:g}" if not math.isfinite(value) else f"gradient of the loss is {steep:g}"
            raise NrcorrectError(
                f"the {what} at step {self.step + 1}; try a lower --rate, or smaller weights in --loss"
            )
        self.optimiser.step()
        self.schedule.step()
        self.step += 1
        return value

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
def validate(network: PyramidFlowNet, options: TrainOptions) -> dict[float, float]:
    """Mean end-point error, px, per photon level on pairs that training never draws."""
    network.eval()
    device = next(network.parameters()).device
    scenes = ScenePool(VALIDATION_SEED, options.pairs.scene_size)
    errors = {}
    for photons in VALIDATION_PHOTONS:
        pairs = [
            draw_pairs(scenes, i, 16, PairOptions(**{**vars(options.pairs), "photons": (photons, photons)}))
            for i in range(VALIDATION_BATCHES)
        ]
        errors[photons] = float(np.mean([_error(network, p, device) for p in pairs]))
    return errors


def _error(network: PyramidFlowNet, pairs: Pairs, device: torch.device) -> float:
    reference, frame = (network_input(x.to(device)) for x in (pairs.reference, pairs.frame))
    flow = upsample(predict(network, reference, frame)[0][-1], STRIDE, pairs.flow.shape[-2:])
    return float(end_point_error(flow, pairs.flow.to(device)).mean())


def error_name(photons: float) -> str:
    """Name of a validation's error at a light level, in the log."""
    return f"epe_{photons:g}"


def _data(data: dict | None) -> str:
    """What a run learns from, in words."""
    if data is None:
        return "pairs drawn on the fly"
    return f"{data['pairs']} pairs of seed {data['seed']}, {data['sample_sha256'][:8]}..."


def plain(options: TrainOptions) -> dict:
    """Options as nested dictionaries of plain values, as they are stored in checkpoints."""
    return json.loads(json.dumps(asdict(options)))


def parse_loss(text: str) -> dict[str, float]:
    """`"epe:1,ncc:0.1"` -> `{"epe": 1.0, "ncc": 0.1}`; a name alone has weight 1."""
    try:
        parts = [part.partition(":") for part in text.split(",")]
        found = {name.strip(): float(weight if colon else 1) for name, colon, weight in parts}
        if len(found) < len(parts):
            raise ValueError("a name is there twice")
        return found
    except ValueError as error:
        raise NrcorrectError(f"loss: got {text!r}; wanted NAME:WEIGHT,... such as epe:1,ncc:0.1") from error
