"""Gauss-Newton steps on the network's field: what a frame tells of its motion.

The registered frame differs from the reference by noise, by activity, and by what displacement is left. The
last is read off the reference's gradients (Lucas and Kanade, IJCAI 1981), for the whole field at once, as a sum
of functions of three kinds: a shift of the whole frame; functions of the row, for tissue that moves while a
scanner takes row after row; smooth functions of both coordinates, for the tissue's own deformation. Here are
the normal equations for the unknown factors; what is expected of these is in `prior`, the solution in `track`.
"""

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from moco_dl.device import CPU, settle
from moco_dl.network import STRIDE
from moco_dl.template import Template
from moco_dl.warp import inside, upsample, warp

TISSUE = 30.0  # px, shortest length over which the tissue's displacement is correlated
ROWS = 10.0  # px, the same for what differs from row to row
KEPT = 0.995  # share of the variance of smooth functions that their basis holds
SPECTRUM = 6  # steps in which the tissue's displacement may fall off from long waves to short ones
CELL = 5.0  # px, sigma of the Gaussian over which a change of brightness is averaged
FLASH = 4.0  # standard deviations at which such a change counts half: activity is not motion
PATTERN = 4.0  # px, sigma of the Gaussian within which activity has one brightness
UNLIKE = 2.0  # of activity's variance: what differs from its pattern, counted as noise
GROUPS = 4  # of the template's, kept ready to compare their frames with
BACKGROUND = 14.0  # px, sigma of the local mean that is removed: neuropil and bleaching are not motion
GAIN_PRIOR = 0.5  # expected departure of a frame's brightness from the reference's


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
        self.reference, self.activity, self.others = reference, torch.from_numpy(activity), template.others
        self.against = lru_cache(maxsize=GROUPS)(self._against)
        self.binning, self.cell, self.limit = binning, STRIDE // binning, limit
        self.grid = tuple(-(-size // self.cell) for size in reference.shape)
        self.background = [
            torch.from_numpy(_correlation(n, BACKGROUND / STRIDE)).to(reference) for n in self.grid
        ]
        self.around = [torch.from_numpy(_correlation(n, CELL / STRIDE)).to(reference) for n in self.grid]
        self.near = [torch.from_numpy(_correlation(n, PATTERN / STRIDE)).to(reference) for n in self.grid]
        self.bright = self._nearby(self.weight * self.activity.square()) + 1
        self.gradient = self._gradient(reference)
        gy, gx = self.gradient
        self._choose_basis()
        gy, gx = gy.double(), gx.double()
        self.matrix = self._normal_matrix(torch.stack((gy * gy, gy * gx, gx * gx)))
        self._send(device)  # only now: not every accelerator has float64

    def _send(self, device: torch.device) -> None:
        """Have frames compared with the reference on this device; the unknowns stay on the CPU."""
        self.device = device
        for name in ("reference", "weight", "gradient", "activity", "bright"):
            setattr(self, name, getattr(self, name).to(device))
        for name in ("background", "around", "near"):
            setattr(self, name, [table.to(device) for table in getattr(self, name)])
        self.functions = self.y.T.to(device), self.x.to(device)
        settle(device)

    def _choose_basis(self) -> None:
        """Functions of y and of x, and which products of them the field is made of."""
        smooth = [_smooth_functions(n, TISSUE / STRIDE).to(self.reference) for n in self.grid]
        rows = _smooth_functions(self.grid[0], ROWS / STRIDE).to(self.reference)
        one = [torch.ones(n, 1).to(self.reference) for n in self.grid]
        self.y, self.x = torch.cat((one[0], rows, smooth[0]), dim=1), torch.cat((one[1], smooth[1]), dim=1)
        first = 1 + rows.shape[1]
        tissue = torch.cartesian_prod(torch.arange(first, self.y.shape[1]), torch.arange(1, self.x.shape[1]))
        pairs = torch.cat((torch.tensor([[r, 0] for r in range(first)]), tissue))
        self.pairs = tuple(pairs.T.to(self.reference.device))
        self.unknowns = (slice(None), *self.pairs)
        self.rows = slice(1, first)
        self.inverses = [torch.linalg.pinv(f.double()) for f in (self.y[:, first:], self.x[:, 1:])]

    def tissue_shapes(self) -> list[np.ndarray]:
        """Covariances (k, k) of one component's unknowns, whose mixtures describe a tissue's displacement.

        One whose correlation is Gaussian over twice TISSUE; and uncorrelated unknowns for functions of long
        waves only, down to shorter and shorter ones, so that the mixture can fall off in any way.
        """
        factors = [
            inverse.numpy() @ _correlation(n, 2 * TISSUE / STRIDE) @ inverse.numpy().T
            for inverse, n in zip(self.inverses, self.grid, strict=True)
        ]
        y, x = (functions - first for functions, first in zip(self.pairs, (self.rows.stop, 1), strict=True))
        half_waves = torch.hypot((y + 1) / self.grid[0], (x + 1) / self.grid[1])[y >= 0].log().numpy()
        edges, step = np.linspace(half_waves.min(), half_waves.max(), SPECTRUM, retstep=True)
        return [np.kron(*factors), *(np.diag((1 - (half_waves - edge) / step).clip(0, 1)) for edge in edges)]

    def _normal_matrix(self, products: Tensor) -> Tensor:
        """Products of gradients (3, H, W) -> (2 m, 2 m) float64; unknowns of dy, then those of dx."""
        (i, j), y, x = self.pairs, self.y.double(), self.x.double()
        # In float64 throughout: rounding in float32 can make the matrix indefinite.
        sums = self.cell**2 * self._coarse(self.weight.double() * products)
        yy, xx = ((f[:, :, None] * f[:, None]).flatten(1) for f in (y, x))  # (h, a b), (w, c d)
        shape = (y.shape[1], y.shape[1], x.shape[1], x.shape[1])
        blocks = [(yy.T @ cells @ xx).view(shape) for cells in sums]
        yy, yx, xx = (block[i[:, None], i, j[:, None], j] for block in blocks)
        return torch.cat((torch.cat((yy, yx), dim=1), torch.cat((yx, xx), dim=1)))

    def _gradient(self, reference: Tensor) -> Tensor:
        # Less all that is taken off a frame's difference from the reference, else displacements seem smaller.
        scale = self._coarse(self.weight[None])[0]
        components = [_slope(reference, axis) / self.binning for axis in (0, 1)]
        components = [self._without_background(part, self.weight, scale) for part in components]
        return torch.stack([self._without_activity(part) for part in components])

    def _against(self, group: int | None) -> tuple[Tensor, Tensor]:
        """Reference and its gradient for the frames of a group of the template's; None: for all others."""
        if group is None or self.others is None:
            return self.reference, self.gradient
        reference = torch.from_numpy(self.others[group]).to(self.device)
        return reference, self._gradient(reference)

    def equations(self, frame: Tensor, field: Tensor, group: int | None = None) -> tuple[Tensor, float]:
        """Right-hand side (2 m,) of the normal equations: frame (H, W) moved by `field` (2, H, W), in its px.

        `group` is that of the template's to which the frame belongs, if any.

        And the mean square of the moved frame's difference from the reference, over the expected variance.
        """
        reference, gradient = self.against(group)
        moved = warp(frame[None, None], field[None])[0, 0]
        known = inside(field[None])[0]
        if not bool(torch.isfinite(frame).all()):
            known &= torch.isfinite(moved)
            moved = torch.where(known, moved, 0.0)
        weight = self.weight * known
        scale = self._coarse(weight[None])[0]
        moved, fixed = (self._without_background(image, weight, scale) for image in (moved, reference))
        weighted = weight * fixed
        gain = ((weighted * moved).sum() + GAIN_PRIOR**-2) / ((weighted * fixed).sum() + GAIN_PRIOR**-2)
        difference = self._without_activity(fixed - moved / gain)
        change = weight * difference
        trust = self._trust(self._coarse(change[None])[0], scale)
        sums = self.cell**2 * self._coarse(change * gradient) * trust
        misfit = float((change * difference).sum() / known.sum().clamp_min(1))
        y, x = self.functions
        return (y @ sums @ x).cpu()[self.unknowns].flatten().double(), misfit

    def _without_activity(self, image: Tensor) -> Tensor:
        """Image (H, W) less what, around each place, has the pattern of activity: cells of some brightness."""
        level = self._nearby(self.weight * self.activity * image) / self.bright
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

    def kinds(self) -> dict[str, np.ndarray]:
        """Indicators (2 m,) of the unknowns of each kind: shift, tissue, and rows of either component."""
        kinds = np.zeros((4, 2, len(self.pairs[0])), bool)
        kinds[0, :, 0] = True
        kinds[1, :, self.rows.stop :] = True
        kinds[2, 0, self.rows] = True
        kinds[3, 1, self.rows] = True
        return dict(zip(("shift", "tissue", "rows_y", "rows_x"), kinds.reshape(4, -1), strict=True))

    def unknowns_of(self, rows: Tensor, tissue: Tensor) -> tuple[Tensor, Tensor]:
        """Unknowns (2 m,) float64 that come closest to row motion (2, h); and those for tissue's (2, h, w)."""
        values = torch.zeros(2, 2, len(self.pairs[0]), dtype=torch.float64)
        functions = self.y[:, self.rows].contiguous()  # orthogonal
        values[0, :, self.rows] = (rows @ functions / functions.square().sum(dim=0)).double()
        y, x = self.inverses
        factors = y @ tissue.double() @ x.T
        values[1, :, self.rows.stop :] = factors.flatten(1)
        return values[0].flatten(), values[1].flatten()

    def displacement(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Unknowns (2 m,) -> shift (2,), rows (2, h), tissue's displacement (2, h, w), all float32 px."""
        values, first = values.astype(np.float32).reshape(2, -1), self.rows.stop
        y, x = self.y.numpy(), self.x.numpy()
        sizes = values[:, first:].reshape(2, y.shape[1] - first, x.shape[1] - 1)
        tissue = y[:, first:] @ sizes @ x[:, 1:].T
        return values[:, 0], values[:, self.rows] @ y[:, self.rows].T, tissue

    def _without_background(self, image: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
        """Image (H, W) less its weighted local mean and less each row's mean; `scale` (h, w) mean weights."""
        rows, columns = self.background
        total = rows @ self._coarse((image * weight)[None])[0] @ columns.T
        local = total / (rows @ scale @ columns.T).clamp_min(1e-30)
        return _without_stripes(image - upsample(local[None, None], self.cell, image.shape)[0, 0], weight)

    def _coarse(self, images: Tensor) -> Tensor:
        """Images (n, H, W) -> means over the cells of the coarse grid (n, h, w); outside counts as zero."""
        pad = [n * self.cell - size for n, size in zip(self.grid, self.reference.shape, strict=True)]
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


def _correlation(size: int, length: float) -> np.ndarray:
    """(size, size) Gaussian window around each point."""
    position = np.arange(size)
    return np.exp(-0.5 * ((position[:, None] - position) / length) ** 2)


def _smooth_functions(size: int, length: float) -> Tensor:
    """(size, k): with independent factors of unit variance they add up to a random function of unit variance
    whose correlation falls off as a Gaussian of this length (Karhunen-Loeve)."""
    values, functions = np.linalg.eigh(_correlation(size, length))
    values, functions = values[::-1], functions[:, ::-1]
    count = int(np.searchsorted(np.cumsum(values), KEPT * values.sum())) + 1
    return torch.from_numpy(functions[:, :count] * np.sqrt(values[:count])).float()
