"""Training losses; each takes flows `(B, 2, H, W)` in pixels and gives a scalar."""

import torch
import torch.nn.functional as F
from torch import Tensor

from moco_dl.warp import warp


def end_point_error(flow: Tensor, truth: Tensor) -> Tensor:
    """Euclidean distance per pixel, `(B, H, W)`; the root is kept differentiable at zero."""
    return (flow - truth).square().sum(1).add(1e-6).sqrt()


def robust_epe(flow: Tensor, truth: Tensor) -> Tensor:
    """Mean end-point error, weighted by 1 / (1 + 0.3 |truth|): large fields must not drown small ones."""
    return (end_point_error(flow, truth) / (1 + 0.3 * end_point_error(truth, truth.new_zeros(())))).mean()


def laplace(error: Tensor, expected: Tensor) -> Tensor:
    """Negative log-likelihood of end-point errors under a Laplace density whose mean is `expected`, both px.

    For f(u) ~ exp(-|u| / b) in the plane the mean of |u| is 2 b. The errors are taken as given: their gradient
    would pay the network for being wrong where it is unsure.
    """
    return (2 * error.detach() / expected + 2 * expected.log()).mean()


def mse(flow: Tensor, reference: Tensor, frame: Tensor) -> Tensor:
    """Mean squared difference of the warped frame `(B, 1, H, W)` and the reference."""
    return F.mse_loss(warp(frame, flow), reference)


def ncc(flow: Tensor, reference: Tensor, frame: Tensor) -> Tensor:
    """One minus the mean squared local correlation over 9 x 9 windows (VoxelMorph's NCC)."""

    def local(x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 9, 1, 4, count_include_pad=False)

    moved = warp(frame, flow)
    covariance = local(moved * reference) - local(moved) * local(reference)
    variance = (local(moved.square()) - local(moved).square()) * (
        local(reference.square()) - local(reference).square()
    )
    return 1 - (covariance.square() / (variance.clamp_min(0) + 1e-3)).mean()


LOSSES = {"epe": robust_epe, "mse": mse, "ncc": ncc}


def mixed_loss(
    weights: dict[str, float], flow: Tensor, truth: Tensor, reference: Tensor, frame: Tensor
) -> Tensor:
    """Weighted sum of the losses named in `weights` (keys of LOSSES); images `(B, 1, H, W)`."""
    total = torch.zeros((), device=flow.device)
    for name, weight in weights.items():
        loss = LOSSES[name](flow, truth) if name == "epe" else LOSSES[name](flow, reference, frame)
        total = total + weight * loss
    return total
