"""Equations of frames, drawn from the model that is expected of them."""

from itertools import starmap

import numpy as np

from moco_dl.gaussian import gaussian_window
from moco_dl.learning.scenes import draw_scene
from moco_dl.motion import Equations, Motion
from moco_dl.refinement.basis import root
from moco_dl.refinement.misfit import BANDS, Usual
from moco_dl.refinement.refine import Refiner
from moco_dl.refinement.template import Template
from moco_dl.stream import Batch, filter_batches

SIZE = (64, 72)
RUN = 10
AS_EXPECTED = Usual(1.0, 0.0, np.ones(BANDS), 0.0)


def textured_refiner():
    scene = draw_scene(SIZE, np.random.default_rng(4))[0]
    return Refiner(Template(100 * scene, np.full(SIZE, 40.0, np.float32)))


def draw(refiner, frames, *, tissue=0.0, lasting=4.0, rows=0.0, slope=0.0, noise=1.0, activity=0.0, seed=0):
    """Unknowns and right-hand sides (frames, 2 m): sizes in px, `activity` a share of the noise."""
    rng, steep = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    kinds, matrix = refiner.basis.kinds(), refiner.matrix.numpy()
    slow = root(gaussian_window(frames, lasting))
    unknowns = tissue * kinds["tissue"] * (slow @ rng.standard_normal((frames, len(matrix))))
    unknowns += rows * kinds["rows_x"] * rng.standard_normal((frames, len(matrix)))
    unknowns += slope * kinds["slope_x"] * steep.standard_normal((frames, 1))
    errors, lasting_errors = rng.standard_normal((2, frames, len(matrix)))
    errors = (1 - activity) ** 0.5 * errors + activity**0.5 * (slow @ lasting_errors)
    return unknowns, unknowns @ matrix + noise**0.5 * errors @ root(matrix).T


def equations_of(told, misfit=1.0, *, brightness=1.0, soft=1.0, grain=1.0):
    """Of frames that tell so much (frames, 2 m); what is not said of them is as expected."""
    each = (np.broadcast_to(some, len(told)) for some in (misfit, brightness, soft))
    return Equations(told, told, *each, np.broadcast_to(grain, (len(told), BANDS)))


def batches(equations, size, flagged=(), doubtful=(), misfit=1.0, brightness=1.0):
    for start in range(0, len(equations), size):
        part = equations[start : start + size]
        count = len(part)
        marks = np.isin(np.arange(start, start + count), flagged)
        flow = np.zeros((count, 2, 16, 18), np.float32)
        usual = np.broadcast_to(misfit, len(equations))[start : start + count]
        bad = np.isin(np.arange(start, start + count), doubtful)
        known = equations_of(part, np.where(bad, 9.0, usual), brightness=np.where(bad, brightness, 1.0))
        yield (
            Batch(start, np.zeros((count, 1, 1)), Motion(np.zeros((count, 2), np.float32), flow, marks)),
            known,
        )


def motions(equations, size, tracker, **marks):
    done = list(filter_batches(starmap(tracker.told, batches(equations, size, **marks)), tracker))
    assert [batch.start for batch in done] == list(range(0, len(equations), size))
    return np.concatenate([batch.motion.total() for batch in done])
