"""PyramidFlowNet: a shared feature pyramid, and one residual field a level, coarse to fine.

The manner of LiteFlowNet (Hui et al., CVPR 2018): frame and reference pass the same encoder; the coarsest
level predicts a field for the whole view, each finer level warps the frame's features by what is known so
far, correlates them with the reference's, and adds a residual. Each level's first guess is the expected
displacement under a softmax over the locally averaged cost volume, which a convolutional head corrects.
"""

from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moco_dl.warp import warp

STRIDE = 4  # of the field
COARSEST = 16  # stride of the level that predicts first


@dataclass(frozen=True)
class NetworkConfig:
    """Widths of PyramidFlowNet; lists end with stride 16, each entry before has half the stride."""

    stem: int = 8  # channels at stride 2
    widths: tuple[int, ...] = (20, 40, 96)  # encoder channels, from stride 4
    match: tuple[int, ...] = (16, 24)  # channels that are correlated: one entry a level of the decoder
    radius: tuple[int, ...] = (3, 4)  # of the cost volume, in pixels of the level
    hidden: tuple[int, ...] = (48, 80)  # first decoder layer
    state: tuple[int, ...] = (24, 40)  # second decoder layer, handed on to the next level

    def as_dict(self) -> dict:
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict) -> "NetworkConfig":
        return cls(**{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()})


class PyramidFlowNet(nn.Module):
    """Field from a frame to a reference.

    `encode` turns network inputs (B, 2, H, W) into features; `forward` turns two sets of features into
    fields. The reference is encoded once for a movie; its features may have batch size 1.
    """

    def __init__(self, config: NetworkConfig = NetworkConfig()):
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        states = (*config.state[1:], 0)  # what comes down from the coarser level
        self.levels = nn.ModuleList(
            Level(config.match[i], config.radius[i], config.hidden[i], config.state[i], states[i])
            for i in range(len(config.match))
        )

    def encode(self, images: Tensor) -> list[Tensor]:
        """Network inputs (B, 2, H, W), any size -> features of each level, fine to coarse, each (B, C, h, w).

        The image is padded at the bottom and right to a multiple of 16 with invalid pixels.
        """
        height, width = images.shape[-2:]
        return self.encoder(F.pad(images, (0, -width % COARSEST, 0, -height % COARSEST)))

    def forward(self, reference: list[Tensor], frames: list[Tensor]) -> tuple[list[Tensor], Tensor]:
        """Features of reference and frames -> flows and the error expected of the last.

        Flows (B, 2, h, w) of each level, from stride 16 on, the last enlarged to stride 4, and the mean
        end-point error (B, h, w) that the network expects of this; all in pixels of the full frame.
        """
        flow, state, flows = None, None, []
        stride = COARSEST
        for level, fixed, moving in zip(self.levels[::-1], reference[::-1], frames[::-1], strict=True):
            if flow is None:
                # In float32 even where features are not: displacements add up over the levels.
                size = len(moving), 2, *moving.shape[-2:]
                flow = torch.zeros(size, dtype=torch.float32, device=moving.device)
            else:
                flow = 2.0 * _double(flow)
                state = _double(state)
            flow, log_error, state = level(fixed.expand_as(moving), moving, flow, state)
            flows.append(flow * stride)
            stride //= 2
        while flows[-1].shape[-1] * STRIDE < COARSEST * flows[0].shape[-1]:
            flows[-1], log_error = _double(flows[-1]), _double(log_error[:, None])[:, 0]
        return flows, log_error.exp()


class Encoder(nn.Module):
    """Bottom-up convolutions, top-down additions, a projection to the channels that are correlated."""

    def __init__(self, config: NetworkConfig):
        super().__init__()
        widths = config.widths
        self.stem = nn.Sequential(_convolution(2, config.stem, 5, 2), _convolution(config.stem, config.stem))
        self.down = nn.ModuleList(
            nn.Sequential(_convolution(before, after, 3, 2), _convolution(after, after))
            for before, after in zip((config.stem, *widths), widths, strict=False)
        )
        self.finest = len(widths) - len(config.match)  # that is correlated
        widths = widths[self.finest :]
        self.lateral = nn.ModuleList(nn.Conv2d(above, here, 1) for here, above in pairwise(widths))
        self.project = nn.ModuleList(
            nn.Conv2d(here, match, 1) for here, match in zip(widths, config.match, strict=True)
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        x, pyramid = self.stem(images), []
        for down in self.down:
            x = down(x)
            pyramid.append(x)
        pyramid = pyramid[self.finest :]
        for i in reversed(range(len(self.lateral))):
            pyramid[i] = pyramid[i] + _double(self.lateral[i](pyramid[i + 1]))
        return [_contrast(project(x)) for project, x in zip(self.project, pyramid, strict=True)]


class Level(nn.Module):
    """One level: warp, correlate, expected displacement, residual head."""

    def __init__(self, channels: int, radius: int, hidden: int, state: int, incoming: int):
        super().__init__()
        self.radius = radius
        self.log_temperature = nn.Parameter(torch.tensor(15.0).log())
        shifts = (2 * radius + 1) ** 2
        self.body = nn.Sequential(
            _convolution(shifts + channels + 4 + incoming, hidden), _convolution(hidden, state)
        )
        # dy, dx, trust in the expected displacement, log of the expected error
        self.head = nn.Conv2d(state, 4, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        self.head.bias.data = torch.tensor([0.0, 0.0, 2.0, 0.0])

    def forward(
        self, reference: Tensor, frame: Tensor, flow: Tensor, state: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Features (B, C, h, w), flow (B, 2, h, w) in this level's pixels -> better flow, log error, state."""
        cost = cost_volume(reference, warp(frame, flow, padding="zeros"), self.radius)
        step = self.expected(box_mean(cost, 2))
        inputs = [cost, reference, flow, step] + ([] if state is None else [state])
        state = self.body(torch.cat(inputs, dim=1))
        head = self.head(state)
        return flow + head[:, 2:3].sigmoid() * step + head[:, :2], head[:, 3], state

    def expected(self, cost: Tensor) -> Tensor:
        """Mean displacement (B, 2, h, w) under a softmax over the shifts of `cost` (B, n * n, h, w)."""
        side = 2 * self.radius + 1
        weight = torch.softmax(cost * self.log_temperature.exp(), dim=1).unflatten(1, (side, side))
        offsets = torch.arange(-self.radius, self.radius + 1, device=cost.device, dtype=cost.dtype)
        dy = torch.einsum("byhw,y->bhw", weight.sum(2), offsets)
        dx = torch.einsum("bxhw,x->bhw", weight.sum(1), offsets)
        return torch.stack((dy, dx), dim=1)


def cost_volume(reference: Tensor, frame: Tensor, radius: int) -> Tensor:
    """Mean product over channels of `reference` and each shift of `frame`: (B, (2 radius + 1)^2, h, w).

    Channel `(dy + radius) * (2 radius + 1) + dx + radius` holds `<reference[y, x], frame[y + dy, x + dx]>`.
    """
    side, (count, channels, height, width) = 2 * radius + 1, frame.shape
    padded = F.pad(frame, [radius] * 4).permute(0, 2, 3, 1).contiguous()  # (B, h + 2 radius, w + 2 radius, C)
    # Each row of the reference with the rows around it in the frame, all pixels with all: products that nobody
    # needs, too, but those of matrices are faster.
    wide, (batch, row, pixel, _) = padded.shape[2], padded.stride()
    around = padded.as_strided((count, height, side * wide, channels), (batch, row, pixel, 1))
    fixed = reference.permute(0, 2, 3, 1) / channels
    products = torch.matmul(fixed, around.mT).contiguous()  # (B, h, w, (dy, x))
    batch, row, pixel, _ = products.stride()
    cost = products.as_strided((count, height, width, side, side), (batch, row, pixel + 1, wide, 1))
    return cost.flatten(-2).permute(0, 3, 1, 2)


def box_mean(x: Tensor, radius: int) -> Tensor:
    """Mean over a (2 radius + 1)^2 window, over what lies inside the image at its edges; (B, C, h, w)."""
    rows, columns = (_window(size, radius).to(x) for size in x.shape[-2:])
    return rows @ x @ columns.T  # faster than pooling, and than sums of shifted views


@lru_cache(maxsize=32)
@torch.inference_mode(False)  # a table made in inference serves in training, too
def _window(size: int, radius: int) -> Tensor:
    """(size, size): means over each point's neighbours along a side."""
    place = torch.arange(size)
    near = ((place[:, None] - place).abs() <= radius).float()
    return near / near.sum(1, keepdim=True)


def _contrast(features: Tensor) -> Tensor:
    """Local mean (9x9) removed, local energy (9x9, all channels) set to one."""
    features = features - box_mean(features, 4)
    energy = box_mean(features.square().mean(1, keepdim=True), 4)
    return features * torch.rsqrt(energy + 1e-4)


def _convolution(before: int, after: int, side: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, side, stride, padding=side // 2), nn.LeakyReLU(0.1, inplace=True)
    )


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
