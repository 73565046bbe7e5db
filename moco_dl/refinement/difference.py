"""What is left of a frame's difference from the reference once that is taken off which is not motion.

Not motion are stripes, the background, the frame's brightness, and cells that flash. The first two are taken
off the pixels, the others off sums over cells of the coarse grid, so that few operations are over all pixels.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from moco_dl.cached import cached
from moco_dl.device import CPU, settle
from moco_dl.gaussian import cut_window
from moco_dl.network import STRIDE
from moco_dl.refinement.basis import sandwich
from moco_dl.refinement.template import NO_PART, Template
from moco_dl.warp import between, nth_between

CELL = 5.0  # px, sigma of the Gaussian over which a change of brightness is averaged
FLASH = 4.0  # standard deviations at which such a change counts half: activity is not motion
PATTERN = 4.0  # px, sigma of the Gaussian within which activity has one brightness
UNLIKE = 2.0  # of activity's variance: what differs from its pattern, counted as noise
READY = 3  # parts of the template, with which their frames can be compared at once
GAIN_PRIOR = 0.5  # expected departure of a frame's brightness from the reference's
UNEVEN = 0.05  # difference of brightness that edges of much detail are looked at without
RIMMED = 1.3  # times as much detail as elsewhere, squared: a lens lights them less
DARK = 0.1  # of the reference's brightness: a frame that has less may show nothing of the scene
SHOWN = 0.01  # variance of its detail over that of noise, from which on it shows the scene: chance makes 0.008
FAINT = 0.02  # least brightness, of the reference's, that a frame is taken to have
CHANCE = 0.1  # of the photon noise that a frame of so little light has; if less of it is seen, that is chance
DETAIL, ACTIVE = 3, 4  # places among a view's factors, after the weight and both gradients


@dataclass(frozen=True)
class CutTemplate:
    """What frames are compared with, cut into cells: see `Difference.cut`."""

    reference: Tensor  # (c, c, h, w)
    # (k, c, c, h, w) the weight times what differences from the reference are multiplied with: one, both
    # gradients, the reference's detail (it less its background), and the pattern of activity, if there is any.
    factors: Tensor
    detail: Tensor  # (k, h, w) sums of the products of these with the reference's detail, over cells
    pattern: Tensor  # (k, h, w) and with the pattern of activity


class Difference:
    """Differences of frames from one template; all that does not depend on the frame is computed once."""

    def __init__(self, template: Template, binning: int, background: float):
        """See `Refiner`."""
        activity = np.zeros_like(template.noise) if template.activity is None else template.activity
        variance = template.noise + UNLIKE * np.square(activity)
        signal = np.ones_like(variance) if template.signal is None else template.signal
        self.binning, self.side, self.others = binning, STRIDE // binning, template.others
        self.size, self.striped, self.forgotten = template.image.shape, template.striped, False
        self.grid = tuple(-(-n // self.side) for n in self.size)
        self.background, self.around, self.near = (
            [torch.from_numpy(cut_window(n, length / STRIDE)).float() for n in self.grid]
            for length in (background, CELL, PATTERN)
        )
        self.active = bool(activity.any())
        self.activity = self.cut(torch.from_numpy(activity))
        self.weight = self.cut(torch.from_numpy(signal / variance))
        self.bright = _blurred((self.weight * self.activity.square()).sum((0, 1)), self.near) + 1
        self.pixels = self.cut(torch.ones(self.size, dtype=torch.float32)).sum((0, 1))
        self.counted = float(signal.mean())  # of a pixel, on average
        variance = _blurred(self.weight.sum((0, 1)), tuple(table.square() for table in self.around))
        self.allowed = FLASH * variance.clamp_min(1e-30).sqrt()
        self.view = self._view(torch.from_numpy(template.image))
        squares = self.view.detail[DETAIL]
        self.strength = float(squares.sum() / (self.counted * self.pixels.sum()))  # mean square over variance
        inner = squares[1:-1, 1:-1]
        outer = (squares.sum() - inner.sum()) / (squares.numel() - inner.numel())
        self.rimmed = bool(outer > RIMMED * squares.mean())
        self._views = cached(self._against, READY)
        self.places = torch.ones(self.grid, dtype=torch.float32)  # how much each counts
        self.device = CPU

    def to(self, device: torch.device) -> None:
        """Have frames compared with the reference on this device."""
        self.device = device
        self.view = CutTemplate(**{name: values.to(device) for name, values in vars(self.view).items()})
        for name in ("weight", "activity", "bright", "allowed", "pixels", "places"):
            setattr(self, name, getattr(self, name).to(device))
        for name in ("background", "around", "near"):
            setattr(self, name, [table.to(device) for table in getattr(self, name)])
        settle(device)

    def forget_parts(self) -> None:
        """To save memory, once the frames of the template's parts have been compared with it."""
        self.forgotten, self.others = self.forgotten or self.others is not None, None
        self._views.cache_clear()

    def information(self) -> Tensor:
        """(3, h, w) float64 per px^2: sums over cells of the gradients' weighted products yy, yx, xx."""
        weight, along_y, along_x = self.view.factors[:3].cpu().double()
        products = torch.stack((along_y * along_y, along_y * along_x, along_x * along_x))
        return (products / weight.clamp_min(1e-300)).sum((1, 2)) * self.places.cpu()

    def cut(self, images: Tensor) -> Tensor:
        """Images (..., H, W) -> (..., c, c, h, w): row and column within a cell, row and column of the cell.

        Zero where cells overhang the image.
        """
        return self._cells(images).contiguous()

    def _cells(self, images: Tensor) -> Tensor:
        """The same, but not in order in memory."""
        pad = [n * self.side - size for n, size in zip(self.grid, self.size, strict=True)]
        images = F.pad(images, (0, pad[1], 0, pad[0])) if any(pad) else images
        cells = images.unflatten(-1, (-1, self.side)).unflatten(-3, (-1, self.side))
        return cells.movedim((-3, -1), (-4, -3))

    def _view(self, reference: Tensor) -> CutTemplate:
        slopes = [_slope(reference, axis) / self.binning for axis in (0, 1)]
        parts, known = self.cut(torch.stack([*slopes, reference])), self.weight.new_ones(1, *self.grid)
        *gradient, detail = self._without_background(parts.clone(), known.expand_as(parts), known)
        if self.active:
            flash = [self._flash((self.weight * self.activity * part).sum((0, 1))) for part in gradient]
            gradient = [part - self.activity * level for part, level in zip(gradient, flash, strict=True)]
        others = [*gradient, detail, self.activity] if self.active else [*gradient, detail]
        factors = self.weight * torch.stack([torch.ones_like(detail), *others])
        detail, pattern = ((factors * values).sum((1, 2)) for values in (detail, self.activity))
        return CutTemplate(parts[2], factors, detail, pattern)

    def _without_background(self, values: Tensor, known: Tensor, share: Tensor) -> Tensor:
        """Values (n, c, c, h, w), in place, less each row's mean, a humming detector's stripes, and less their
        local mean; zero where not `known` (n, c, c, h, w), in cells of which `share` (n, h, w) is."""
        weight = self.weight.sum(1) * share[:, None]  # of rows of cells (n, c, h, w)
        sums = torch.zeros_like(values[:, :, 0])
        for value, seen, column in zip(values.unbind(2), known.unbind(2), self.weight.unbind(1), strict=True):
            value.mul_(seen)
            if self.striped:
                means = (value * column).sum((1, 2), keepdim=True)
                means /= (seen * column).sum((1, 2), keepdim=True).clamp_min(1e-30)
                value.sub_(means).mul_(seen)
            sums.addcmul_(value, column)
        stripes = sums.sum(-1, keepdim=True) / weight.sum(-1, keepdim=True).clamp_min(1e-30)
        level = _blurred((sums - weight * stripes).sum(1), self.background)
        level /= _blurred(weight.sum(1), self.background).clamp_min(1e-30)
        rows = between(F.pad(level, (1, 1, 1, 1), mode="replicate"), self.side, -2, -3) + stripes
        for i, (value, seen) in enumerate(zip(values.unbind(2), known.unbind(2), strict=True)):
            value.sub_(nth_between(rows, i, self.side, -1)).mul_(seen)
        return values

    def _flash(self, sums: Tensor) -> Tensor:
        """Brightness (..., h, w) of active cells around each place from sums of values times the pattern."""
        return _blurred(sums, self.near) / self.bright

    def _against(self, part: int) -> CutTemplate:
        """What the frames of a part of the template are compared with: all others."""
        if self.forgotten:
            raise RuntimeError("parts of the template are forgotten: a frame would be compared with itself")
        if self.others is None:
            return self.view
        view = self._view(torch.from_numpy(self.others[part]).to(self.device))
        settle(self.device)  # other threads will use it
        return view

    def __call__(self, moved: Tensor, known: Tensor, part: int = NO_PART) -> tuple[Tensor, ...]:
        """Sums (n, 2, h, w) over cells of frames' differences from the reference times its weighted gradients.

        `moved` (n, H, W) are frames moved so far, finite, `known` (n, H, W) 1 where they have data, else 0.
        `part` is that of the template to which the frames belong, or NO_PART. The difference is the reference
        less the frame, its brightness undone. And mean squares (n,) of these, over the expected variance;
        brightnesses (n,), how strongly frames show the reference's detail, zero if too dark to tell; and the
        share (n, h, w) of each cell's pixels that have data.
        """
        view, known = self.view if part == NO_PART else self._views(part), self.cut(known)
        sums, misfit, gain, share = self._compared(moved, known, view)
        again = ((gain - 1).abs() > UNEVEN).nonzero()[:, 0] if self.rimmed else ()
        if len(again):  # in their own brightness, edges leave them alike, however much of these is known
            even = moved[again] / gain[again, None, None]
            sums[again], misfit[again], left, _ = self._compared(even, known[again], view)
            gain[again] *= left
        detail = view.detail[DETAIL].sum() / (self.pixels.sum() * self.binning**2)
        dark = (gain < DARK) & ((detail < SHOWN * misfit) | (gain <= FAINT))
        least = torch.where(dark, 1.0, CHANCE * (gain < DARK))  # of photon noise
        misfit = misfit.maximum(least / gain)
        trust = self.places * self._trust(sums[:, 0])
        return sums[:, 1:3] * trust[:, None], misfit, gain.masked_fill(dark, 0), share

    def _compared(self, moved: Tensor, known: Tensor, view: CutTemplate) -> tuple[Tensor, ...]:
        """All sums (n, k, h, w), and the others that are returned; of what is `known` (n, c, c, h, w)."""
        pixels = known.sum((1, 2))  # (n, h, w)
        share = pixels / self.pixels
        apart = torch.sub(self._cells(moved), view.reference, out=torch.empty_like(known))
        there = known[:, 0, 0]  # of light that is added all over, cells at edges would keep a little
        apart -= (_total(apart[:, 0, 0] * there) / _total(there).clamp_min(1))[:, None, None, None, None]
        apart = self._without_background(apart, known, share)
        sums, square = self._products(view.factors, apart)
        seen, whole = _total(sums[:, DETAIL]), _total(view.detail[DETAIL] * share)
        gain = (1 + seen / (whole + GAIN_PRIOR**-2)).clamp_min(FAINT)
        more = 1 - 1 / gain  # of the reference's detail in the difference
        square = square / gain.square() + more * (more * whole - 2 * seen / gain)
        sums *= (-1 / gain)[:, None, None, None]
        sums.addcmul_((more[:, None, None] * share)[:, None], view.detail)
        if self.active:
            flash, pattern = self._flash(sums[:, ACTIVE]), view.pattern[ACTIVE] * share
            square -= _total(flash * (2 * sums[:, ACTIVE] - flash * pattern))
            sums.addcmul_((flash * share)[:, None], view.pattern, value=-1)
        misfit = (square / (self.counted * _total(pixels)).clamp_min(1)).clamp_min(0)
        return sums, misfit, gain, share

    def _products(self, factors: Tensor, apart: Tensor) -> tuple[Tensor, Tensor]:
        """Differences (n, c, c, h, w) times factors (k, c, c, h, w), summed over cells: (n, k, h, w); and their
        weighted squares, over all of them: (n,).

        Pixel by pixel of all cells, so that what is added to stays in the cache.
        """
        sums = apart.new_zeros(len(apart), len(factors), *self.grid)
        squares = torch.zeros_like(sums[:, 0])
        for value, factor in zip(apart.flatten(1, 2).unbind(1), factors.flatten(1, 2).unbind(1), strict=True):
            sums.addcmul_(value[:, None], factor)
            squares.addcmul_(value * factor[0], value)
        return sums, _total(squares)

    def _trust(self, change: Tensor) -> Tensor:
        """(n, h, w) how much each place of the coarse grid counts: little where noise does not explain its
        brightness.

        `change` (n, h, w): sums of the weighted difference from the reference.
        """
        trust = 1 / (1 + (_blurred(change, self.around) / self.allowed).square())
        return trust / trust.mean((-2, -1), keepdim=True)  # noise takes a little from all of them


def _blurred(values: Tensor, tables: tuple[Tensor, Tensor]) -> Tensor:
    """Values (..., h, w) summed over a window along each axis."""
    return sandwich(tables[0], values, tables[1].T)


def _total(values: Tensor) -> Tensor:
    return values.flatten(1).sum(1)


def _slope(image: Tensor, axis: int) -> Tensor:
    """Derivative of an image (H, W) along an axis: differences of fourth order, which fit fine detail, too."""
    size, padded = image.shape[axis], F.pad(image[None], (2, 2, 2, 2), mode="replicate")[0]
    padded = padded.narrow(1 - axis, 2, image.shape[1 - axis])
    near, far = (
        padded.narrow(axis, 2 + reach, size) - padded.narrow(axis, 2 - reach, size) for reach in (1, 2)
    )
    return (8 * near - far) / 12
