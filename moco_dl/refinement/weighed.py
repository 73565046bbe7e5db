"""What samples tell of the motion that is left, and how much each place counts in that.

Cells may change in another way than the pattern of activity says: what is left of them would be taken for
motion, of the whole frame if they are bright. But there, samples tell of far more than noise explains.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from moco_dl.gaussian import cut_window
from moco_dl.motion import Equations, Motion, concatenate, take
from moco_dl.network import STRIDE
from moco_dl.refinement.equations import with_squares
from moco_dl.refinement.refine import Refiner
from moco_dl.refinement.template import NO_PART
from moco_dl.sampled.samples import Samples

AROUND = 8.0  # px, sigma of the Gaussian within which squares of what is told are averaged
OUTSTANDS = 2.0  # times the usual ones, from which on a place counts less


def weighed_equations(
    refiner: Refiner, samples: Samples, motion: Motion, trusted: np.ndarray, mapping: Callable = map
) -> Equations:
    """Equations of samples at their motion so far, with places weighed: in `refiner`, too, from now on.

    Weights are those which the samples that are `trusted` (n,) show. Motion that is left varies, too, and where
    tissue is clear it may outweigh noise: little of it should be left.
    """
    equations, squares = _looked_at(refiner, samples, motion, trusted, mapping)
    seen = trusted.sum() - np.einsum("n,nhw->hw", trusted, equations.missing)
    weights = place_weights(refiner, squares, seen)
    if bool((weights == 1).all()):
        return equations
    refiner.weigh(weights)
    return sample_equations(refiner, samples, motion, trusted, mapping)


def sample_equations(
    refiner: Refiner, samples: Samples, motion: Motion, trusted: np.ndarray, mapping: Callable = map
) -> Equations:
    """Equations of samples, the template of which is that of those which are `trusted` (n,)."""
    return _looked_at(refiner, samples, motion, trusted, mapping)[0]


def _looked_at(
    refiner: Refiner, samples: Samples, motion: Motion, trusted: np.ndarray, mapping: Callable
) -> tuple[Equations, np.ndarray]:
    """The same; and squares (h, w) of what those tell, summed. One part of the template is seen at a time."""
    numbers = part_numbers(samples, trusted)
    parts = np.unique(numbers)
    places = [np.flatnonzero(numbers == part) for part in parts]
    found = mapping(
        lambda some: with_squares(samples[some], take(motion, some), refiner, numbers[some]), places
    )
    equations, squares = zip(*found, strict=True)
    told = sum((some for part, some in zip(parts, squares, strict=True) if part != NO_PART), 0 * squares[0])
    equations = concatenate(equations)  # before they are put in order, to save memory
    return take(equations, np.argsort(np.concatenate(places))), told


def part_numbers(samples: Samples, trusted: np.ndarray) -> np.ndarray:
    """(n,) part of the template that each sample is in; NO_PART if it is not `trusted` (n,)."""
    numbers = np.full(len(trusted), NO_PART)
    for number, part in enumerate(samples.only(trusted).parts()):
        numbers[np.flatnonzero(trusted)[part]] = number
    return numbers


def place_weights(refiner: Refiner, squares: np.ndarray, seen: np.ndarray) -> Tensor:
    """(h, w) how much each place of the coarse grid should count, at most 1.

    From `squares` (h, w) of what samples tell there, summed, and how many have `seen` it (h, w). It is less
    where these are more than usual, over the noise that is expected; usual is what they are at the half of the
    places that tell most.
    """
    near = [cut_window(n, AROUND / STRIDE) for n in refiner.grid]
    shown = refiner.information[[0, 2]].sum(0).cpu().double().numpy()
    varies, noise = (near[0] @ some @ near[1] for some in (squares, shown * seen))
    varies /= np.maximum(noise, 1e-30)
    most = OUTSTANDS * np.median(varies[shown >= np.median(shown)])
    weights = np.divide(most, varies, where=(varies > most) & (most > 0), out=np.ones_like(varies))
    return torch.from_numpy(weights).float()
