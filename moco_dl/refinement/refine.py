"""Gauss-Newton steps on the network's field: what a frame tells of its motion.

The registered frame differs from the reference by noise, by activity, and by what displacement is left. The
last is read off the reference's gradients (Lucas and Kanade, IJCAI 1981), for the whole field at once. Here are
the normal equations for the factors of the functions that the field is made of (`basis`); what is expected of
these is in `prior`, the solution in `track`.
"""

import torch
from torch import Tensor

from moco_dl.device import CPU
from moco_dl.refinement.basis import Basis, sandwich
from moco_dl.refinement.difference import Difference
from moco_dl.refinement.template import Template

BACKGROUND = 14.0  # px, sigma of the local mean that is removed: neuropil and bleaching are not motion
MOST = 0.5  # of what a frame tells of its shift


class Refiner:
    """Normal equations against one reference; all that does not depend on the frame is computed once.

    The 2 m unknowns are those of dy, then those of dx: m factors of products of a function of y and one of x.
    """

    def __init__(
        self, template: Template, binning: int = 1, device: torch.device = CPU, background: float = BACKGROUND
    ):
        """Pixels weigh by how little they vary: those which flash weigh little.

        Template and frames may have been averaged over `binning` x `binning` pixels; the unknowns stay px.
        A local mean is removed from both, of a sigma of `background` px of the movie.
        """
        self.difference = Difference(template, binning, background)
        self.binning, self.cell, self.grid = binning, self.difference.side, self.difference.grid
        self.basis, self.device = Basis(self.grid), device
        self.weigh(self.difference.places)
        self.difference.to(device)
        self._functions = self.basis.y.T.to(device), self.basis.x.to(device)

    def weigh(self, places: Tensor) -> None:
        """Have places of the coarse grid count by these weights (h, w)."""
        self.difference.places = places.to(self.difference.device)
        information = self.difference.information()
        self.matrix = self._normal_matrix(information)
        self.shown = float(information[[0, 2]].sum())
        self.information = information.float().to(self.device)  # only now: not every accelerator has float64

    def _normal_matrix(self, information: Tensor) -> Tensor:
        """(2 m, 2 m) float64, as rounding could make it indefinite; unknowns of dy, then those of dx."""
        yy, yx, xx = (torch.from_numpy(self.basis.products(cells)) for cells in information.numpy())
        return torch.cat((torch.cat((yy, yx), dim=1), torch.cat((yx, xx), dim=1)))

    def unknowns(self, sums: Tensor) -> Tensor:
        """Right-hand sides (..., 2 m) float64 of the normal equations, from sums over cells (..., 2, h, w)."""
        y, x = self._functions
        return sandwich(y, sums, x).cpu()[(..., *self.basis.pairs)].flatten(-2).double()

    def effect(self, field: Tensor) -> Tensor:
        """Right-hand sides (..., 2 m) that stand for displacements (..., 2, h, w) px on the coarse grid."""
        (yy, yx, xx), (dy, dx) = self.information, field.unbind(-3)
        return self.unknowns(torch.stack((yy * dy + yx * dx, yx * dy + xx * dx), dim=-3))


def refiner_of(template: Template, background: float, binning: int, device: torch.device) -> Refiner:
    """A refiner that removes a local mean of a sigma of `background` px, not of the usual one.

    But only if that leaves most of what tissue shows.
    """
    usual = Refiner(template, binning, device)
    if background == BACKGROUND:
        return usual
    other = Refiner(template, binning, device, background)
    return other if other.shown > MOST * usual.shown else usual
