"""Gauss-Newton steps on the network's field: what a frame tells of its motion.

The registered frame differs from the reference by noise, by activity, and by what displacement is left. The
last is read off the reference's gradients (Lucas and Kanade, IJCAI 1981), for the whole field at once. Here are
the normal equations for the factors of the functions that the field is made of (`basis`); what is expected of
these is in `prior`, the solution in `track`.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from moco_dl.basis import Basis, correlation
from moco_dl.device import CPU, settle
from moco_dl.network import STRIDE
from moco_dl.template import Template
from moco_dl.warp import upsample

CELL = 5.0  # px, sigma of the Gaussian over which a change of brightness is averaged
FLASH = 4.0  # standard deviations at which such a change counts half: activity is not motion
PATTERN = 4.0  # px, sigma of the Gaussian within which activity has one brightness
UNLIKE = 2.0  # of activity's variance: what differs from its pattern, counted as noise
GROUPS = 4  # of the template's, kept ready to compare their frames with
BACKGROUND = 14.0  # px, sigma of the local mean that is removed: neuropil and bleaching are not motion
GAIN_PRIOR = 0.5  # expected departure of a frame's brightness from the reference's


@dataclass(frozen=True)
class View:
    """What frames are compared with."""

    reference: Tensor  # (H, W)
    gradient: Tensor  # (2, H, W) per px
    detail: Tensor  # (H, W) the reference less its background, times the weight


class Refiner:
    """Normal equations against one reference; all that does not depend on the frame is computed once.

    The 2 m unknowns are those of dy, then those of dx: m factors of products of a function of y and one of x.
    """

    def __init__(self, template: Template, binning: int = 1, limit: float = FLASH, device: torch.device = CPU):
        """Pixels weigh by how little they vary: those which flash weigh little.

        Template and frames may have been averaged over `binning` x `binning` pixels; the unknowns stay px.
        Places whose brightness differs from the reference's by `limit` standard deviations count half.
        """
        activity = np.zeros_like(template.noise) if template.activity is None else template.activity
        variance = template.noise + UNLIKE * np.square(activity)
        reference, self.weight = torch.from_numpy(template.image), torch.from_numpy(1 / variance)
        self.size, self.activity, self.others = reference.shape, torch.from_numpy(activity), template.others
        self.against = lru_cache(maxsize=GROUPS)(self._against)
        self.binning, self.cell, self.limit = binning, STRIDE // binning, limit
        self.grid = tuple(-(-size // self.cell) for size in reference.shape)
        self.background, self.around, self.near = (
            [torch.from_numpy(correlation(n, length / STRIDE)).float() for n in self.grid]
            for length in (BACKGROUND, CELL, PATTERN)
        )
        self.lit = bool(self.activity.any())
        self.pattern = self.weight * self.activity
        self.bright = self._nearby(self.weight * self.activity.square()) + 1
        self.view = self._view(reference)
        gy, gx = self.view.gradient
        self.basis = Basis(self.grid)
        gy, gx = gy.double(), gx.double()
        # In float64 throughout: rounding in float32 can make the matrix indefinite.
        products = self.weight.double() * torch.stack((gy * gy, gy * gx, gx * gx))
        self.information = self.cell**2 * self._coarse(products)  # (3, h, w) per px^2
        self.precise = self.basis.y.T.double(), self.basis.x.double()
        self.matrix = self._normal_matrix()
        self._send(device)  # only now: not every accelerator has float64

    def _send(self, device: torch.device) -> None:
        """Have frames compared with the reference on this device; the unknowns stay on the CPU."""
        self.device = device
        self.view = View(**{name: values.to(device) for name, values in vars(self.view).items()})
        for name in ("weight", "activity", "bright", "pattern"):
            setattr(self, name, getattr(self, name).to(device))
        for name in ("background", "around", "near"):
            setattr(self, name, [table.to(device) for table in getattr(self, name)])
        self.functions = self.basis.y.T.to(device), self.basis.x.to(device)
        settle(device)

    def _normal_matrix(self) -> Tensor:
        """(2 m, 2 m) float64; unknowns of dy, then those of dx."""
        (i, j), y, x = self.basis.pairs, self.precise[0].T, self.precise[1]
        yy, xx = ((f[:, :, None] * f[:, None]).flatten(1) for f in (y, x))  # (h, a b), (w, c d)
        shape = (y.shape[1], y.shape[1], x.shape[1], x.shape[1])
        blocks = [(yy.T @ cells @ xx).view(shape) for cells in self.information]
        yy, yx, xx = (block[i[:, None], i, j[:, None], j] for block in blocks)
        return torch.cat((torch.cat((yy, yx), dim=1), torch.cat((yx, xx), dim=1)))

    def _view(self, reference: Tensor) -> View:
        # Less all that is taken off a frame's difference from the reference, else displacements seem smaller.
        scale = self._coarse(self.weight[None])[0]
        components = [_slope(reference, axis) / self.binning for axis in (0, 1)]
        components = [self._without_background(part, self.weight, scale) for part in components]
        gradient = torch.stack([self._without_activity(part) for part in components])
        detail = self.weight * self._without_background(reference, self.weight, scale)
        return View(reference, gradient, detail)

    def _against(self, group: int | None) -> View:
        """What the frames of a group of the template's are compared with; None: all others."""
        if group is None or self.others is None:
            return self.view
        view = self._view(torch.from_numpy(self.others[group]).to(self.device))
        settle(self.device)  # other threads will use it
        return view

    def equations(self, moved: Tensor, known: Tensor, group: int | None = None) -> tuple[Tensor, float]:
        """Right-hand side (2 m,) of the normal equations of a frame moved so far: `moved` (H, W), finite.

        `known` (H, W): 1 where the frame has data, else 0. `group` is that of the template's to which the frame
        belongs, if any.

        And the mean square of the moved frame's difference from the reference, over the expected variance.
        """
        view = self.against(group)
        weight, detail = self.weight * known, view.detail * known
        gain = _dot(detail, moved) + GAIN_PRIOR**-2
        gain = gain / (_dot(detail, view.reference) + GAIN_PRIOR**-2)
        scale = self._coarse(weight[None])[0]
        difference = self._without_background(view.reference - moved / gain, weight, scale)
        difference = self._without_activity(difference)
        change = weight * difference
        trust = self._trust(self._coarse(change[None])[0], scale)
        sums = self.cell**2 * self._coarse(change * view.gradient) * trust
        misfit = float(_dot(change, difference) / known.sum().clamp_min(1))
        y, x = self.functions
        return (y @ sums @ x).cpu()[self.basis.unknowns].flatten().double(), misfit

    def effect(self, field: Tensor) -> Tensor:
        """Right-hand side (2 m,) that stands for a displacement (2, h, w) px, float64, on the coarse grid."""
        (yy, yx, xx), (dy, dx) = self.information, field
        told = torch.stack((yy * dy + yx * dx, yx * dy + xx * dx))
        return (self.precise[0] @ told @ self.precise[1])[self.basis.unknowns].flatten()

    def _without_activity(self, image: Tensor) -> Tensor:
        """Image (H, W) less what, around each place, has the pattern of activity: cells of some brightness."""
        if not self.lit:
            return image
        level = self._nearby(self.pattern * image) / self.bright
        return image - self.activity * upsample(level[None, None], self.cell, image.shape)[0, 0]

    def _nearby(self, image: Tensor) -> Tensor:
        """Image (H, W) -> sums over a Gaussian window around each place (h, w)."""
        rows, columns = self.near
        return self.cell**2 * (rows @ self._coarse(image[None])[0] @ columns.T)

    def _trust(self, change: Tensor, scale: Tensor) -> Tensor:
        """(h, w) how much each place of the coarse grid counts: little where noise does not explain its
        brightness.

        `change` and `scale` (h, w): means of the weighted difference from the reference, and of the weights.
        """
        rows, columns = self.around
        change, scale = rows @ change @ columns.T, rows.square() @ scale @ columns.square().T
        deviations = self.cell * change / scale.clamp_min(1e-30).sqrt()
        trust = 1 / (1 + (deviations / self.limit).square())
        return trust / trust.mean()  # noise takes a little from all of them

    def _without_background(self, image: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
        """Image (H, W) less its weighted local mean and less each row's mean; `scale` (h, w) mean weights."""
        rows, columns = self.background
        total = rows @ self._coarse((image * weight)[None])[0] @ columns.T
        local = total / (rows @ scale @ columns.T).clamp_min(1e-30)
        return _without_stripes(image - upsample(local[None, None], self.cell, image.shape)[0, 0], weight)

    def _coarse(self, images: Tensor) -> Tensor:
        """Images (n, H, W) -> means over the cells of the coarse grid (n, h, w); outside counts as zero."""
        pad = [n * self.cell - size for n, size in zip(self.grid, self.size, strict=True)]
        padded = F.pad(images, (0, pad[1], 0, pad[0])) if any(pad) else images
        return F.avg_pool2d(padded[None], self.cell)[0]


def _without_stripes(images: Tensor, weight: Tensor) -> Tensor:
    """Images (n, H, W) less the mean of each row: stripes of a humming detector do not tell of motion."""
    means = (images * weight).sum(dim=-1, keepdim=True) / weight.sum(dim=-1, keepdim=True).clamp_min(1e-30)
    return images - means


def _slope(image: Tensor, axis: int) -> Tensor:
    """Derivative of an image (H, W) along an axis: differences of fourth order, which fit fine detail, too."""
    size, padded = image.shape[axis], F.pad(image[None], (2, 2, 2, 2), mode="replicate")[0]
    padded = padded.narrow(1 - axis, 2, image.shape[1 - axis])
    near, far = (
        padded.narrow(axis, 2 + reach, size) - padded.narrow(axis, 2 - reach, size) for reach in (1, 2)
    )
    return (8 * near - far) / 12


def _dot(first: Tensor, second: Tensor) -> Tensor:
    return (first * second).sum()  # torch.dot rounds by where its operands lie in memory
