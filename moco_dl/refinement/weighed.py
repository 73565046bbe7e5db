"""What samples tell of the motion that is left, and how much each place counts in that.

Cells may change in another way than the pattern of activity says: what is left of them would be taken for
motion, of the whole frame if they are bright. But there, samples tell of far more than noise explains.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from moco_dl.gaussian import cut_window
from moco_dl.motion import Equations, Motion, concatenate, take
from moco_dl.network import STRIDE
from moco_dl.refinement.equations import linearise
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
    equations = sample_equations(refiner, samples, motion, trusted, mapping, squares=True)
    weights = place_weights(refiner, take(equations, trusted))
    if bool((weights == 1).all()):
        return replace(equations, squares=None)
    refiner.weigh(weights)
    return sample_equations(refiner, samples, motion, trusted, mapping)


def sample_equations(
    refiner: Refiner,
    samples: Samples,
    motion: Motion,
    trusted: np.ndarray,
    mapping: Callable = map,
    *,
    squares: bool = False,
) -> Equations:
    """Equations of samples; those in one part of the template are looked at together. See `linearise`."""
    parts = part_numbers(samples, trusted)
    places = [np.flatnonzero(parts == part) for part in np.unique(parts)]
    found = mapping(
        lambda some: linearise(samples[some], take(motion, some), refiner, parts[some], squares=squares), places
    )
    return take(concatenate(found), np.argsort(np.concatenate(places)))


def part_numbers(samples: Samples, trusted: np.ndarray) -> np.ndarray:
    """(n,) part of the template that each sample is in; NO_PART if it is not `trusted` (n,)."""
    numbers = np.full(len(trusted), NO_PART)
    for number, part in enumerate(samples.only(trusted).parts()):
        numbers[np.flatnonzero(trusted)[part]] = number
    return numbers


def place_weights(refiner: Refiner, equations: Equations) -> Tensor:
    """(h, w) how much each place of the coarse grid should count, at most 1, by `equations` with squares.

    Less where what is told varies more than usual, over the noise that is expected; usual is what it does at
    the half of the places that tell most.
    """
    near = [cut_window(n, AROUND / STRIDE) for n in refiner.grid]
    shown = refiner.information[[0, 2]].sum(0).cpu().double().numpy()
    seen = (1 - equations.missing).sum(axis=0, dtype=float)
    squares, noise = (
        near[0] @ some @ near[1] for some in (equations.squares.sum(0, dtype=float), shown * seen)
    )
    varies = squares / np.maximum(noise, 1e-30)
    most = OUTSTANDS * np.median(varies[shown >= np.median(shown)])
    return torch.from_numpy(
        np.divide(most, varies, where=(varies > most) & (most > 0), out=np.ones_like(varies))
    ).float()
