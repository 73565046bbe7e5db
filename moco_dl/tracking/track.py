"""The most probable motion of a movie, given the normal equations of its frames and what is expected.

Motion and noise are Gaussian in space and time, and the tissue's covariance is one of space times one of time.
In the basis in which the tissue's prior and what a frame tells are both diagonal, each mode is then a time
series of its own: well visible ones hardly need their neighbours, others are averaged over many frames (a
Wiener filter for each mode). Shift and row motion differ from frame to frame and are found along the way.
"""

from dataclasses import replace
from functools import cached_property
from threading import Lock

import numpy as np

from moco_dl.device import sent
from moco_dl.motion import DOUBTFUL, Equations, Motion
from moco_dl.refinement.basis import eigen, matrix_of_combinations, root, times_both, times_each
from moco_dl.refinement.misfit import Usual
from moco_dl.refinement.refine import Refiner
from moco_dl.stream import Batch, Messages, surroundings
from moco_dl.tracking.durations import SURE, SURE_ACTIVE
from moco_dl.tracking.outburst import Outbursts
from moco_dl.tracking.prior import Prior
from moco_dl.tracking.risk import Errors, measure_excess
from moco_dl.tracking.timefilter import TimeFilter
from moco_dl.tracking.trajectory import FramePath
from moco_dl.tracking.vigour import Vigour, measure_vigour

Linearised = tuple[Batch, Equations, Messages]  # a batch, its equations, and what these tell of each mode

LEAST_NOISE = 0.2  # variance that frames are taken to have at least, over the usual
DESCENTS = 1  # steps to what is most probable where frames have no data


class Tracker:
    """Finds the most probable motion of frames of one movie, given the equations of those around each.

    Frames that fit the reference far worse than usual do not tell of the others; they are moved as these are.
    Flagged frames neither give nor take. The result does not depend on how frames are batched.
    """

    def __init__(self, refiner: Refiner, prior: Prior, usual: Usual, *, uneven: bool = False):
        """`usual` is the misfit that frames usually have; `uneven`: they are as noisy as they misfit."""
        self.refiner, self.prior, self.usual, self.uneven = refiner, prior, usual, uneven
        self.alone = prior.tissue_alone(refiner)
        factor = root(prior.tissue, refiner.device)
        visible, axes = eigen(matrix_of_combinations(factor, self.alone.matrix) / prior.noise, refiner.device)
        self.visible, self.modes = visible.clip(0), times_both(factor, axes)
        self._turn = Lock()
        self.follow(None)

    def follow(self, vigour: Vigour | None, outbursts: Outbursts | None = None) -> None:
        """Expect the tissue to move as strongly at a time as this says; None: alike, but for outbursts."""
        self.vigour, sizes = vigour, np.square(self.modes).sum(axis=0)
        self.in_time = TimeFilter(self.prior, self.visible, sizes, vigour or outbursts)

    def follow_samples(self, equations: np.ndarray, clear: np.ndarray) -> None:
        """The same, as equations (n, 2 m) of samples show, whose noise is 1 / `clear` (n,) times the usual one.

        Where cells that are active make it so, they look like bouts, and tell but of where tissue rests.
        """
        vigour = measure_vigour(clear[:, None] * self.in_modes(equations), self.visible, clear)
        if self.uneven and self.prior.active:
            self.vigour = vigour
        elif vigour is not None:
            self.follow(vigour)
        else:  # a frame in so many may move otherwise, if it is as sure to do so as motion has to be
            unlikely = np.exp(-SURE - SURE_ACTIVE * self.prior.activity.sum())
            self.follow(None, Outbursts(unlikely / (len(clear) + 2)))

    @cached_property
    def _inverse(self) -> np.ndarray:
        """(2 m, 2 m) float32: equations times this are a frame's unknowns, other frames left aside."""
        alone = self.alone
        tissue = self.modes / (self.visible + 1) @ self.modes.T / self.prior.noise
        across = alone.others @ alone.across @ tissue
        found = np.empty((len(alone.wanted),) * 2, np.float32)
        found[np.ix_(alone.wanted, alone.wanted)] = tissue
        found[np.ix_(~alone.wanted, alone.wanted)] = -across
        found[np.ix_(alone.wanted, ~alone.wanted)] = -across.T
        others = alone.others + across @ (alone.others @ alone.across).T
        found[np.ix_(~alone.wanted, ~alone.wanted)] = others
        return found

    def filled(self, equations: Equations, motion: Motion) -> Equations:
        """The same, but where frames have no data, these tell of what is most probable there.

        Else they would tell that motion is there what it was taken for so far. It is approached by steepest
        descent, preconditioned by the solution for whole frames.
        """
        some = np.flatnonzero(equations.missing.any(axis=(1, 2)))
        if not len(some):
            return replace(equations, missing=None)
        with self._turn:  # the first thread computes it for all
            inverse = self._inverse
        missing, filled = equations.missing[some, None], equations.whole.copy()

        def effect(displacement: np.ndarray) -> np.ndarray:
            return self.refiner.effect(sent(missing * displacement, self.refiner.device)).numpy()

        def solution(told: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            unknowns = times_each(told.astype(np.float32), inverse)
            return unknowns, self.refiner.basis.total(unknowns)

        so_far = motion.flow[some] if motion.rows is None else motion.flow[some] + motion.rows[some, ..., None]
        _, probable = solution(filled[some] - self.prior.common)
        left = effect(probable - so_far)
        filled[some] += left
        for _ in range(DESCENTS):
            unknowns, displacement = solution(left)
            there = effect(displacement)
            slope = left - there
            length = _dots(left, unknowns) / np.maximum(_dots(slope, unknowns), 1e-30)
            filled[some] += length * there
            left -= length * slope
        return replace(equations, whole=filled, missing=None)

    def errors(self, excess: float = 0.0) -> Errors:
        """Of a frame's field, far from the ends of the movie.

        What is constant in time, the reference's own error, is not in it. `excess` is that of the tissue.
        """
        basis, covariances = self.refiner.basis, self._covariances(excess)
        functions, factors = basis.path()
        place = np.stack([basis.variance(covariance) for covariance in covariances])
        with_mean = basis.total((covariances @ factors[0]).ravel())
        first, other = basis.rows.stop, self.prior.other.reshape(2, -1)
        sizes = other @ np.square(factors[:, :first]).T
        sizes += ((factors[:, first:] @ self.prior.tissue) * factors[:, first:]).sum(axis=1)
        sizes[:, 0] = np.inf
        return Errors(place, with_mean, FramePath(functions, factors @ covariances @ factors.T, sizes))

    def _covariances(self, excess: float) -> np.ndarray:
        """(2, m, m) of the errors of the unknowns, far from the ends of the movie: of dy, and of dx."""
        alone, unsure = self.alone, self.prior.unsure
        modes = self.modes * np.sqrt(self.in_time.unknown(excess))
        if unsure is not None:
            modes = np.hstack((modes, times_both(root(unsure), np.eye(2 * len(unsure)))))
        ways = np.empty((modes.shape[1], len(alone.wanted)))  # how all unknowns err when a mode does
        ways[:, alone.wanted] = modes.T
        ways[:, ~alone.wanted] = -(alone.others @ alone.across @ modes).T
        others = np.zeros((ways.shape[1], ways.shape[1]))
        others[np.ix_(~alone.wanted, ~alone.wanted)] = self.prior.noise * alone.others
        halves = slice(len(others) // 2), slice(len(others) // 2, None)
        return np.stack([ways[:, half].T @ ways[:, half] + others[half, half] for half in halves])

    def trusts(self, equations: Equations) -> np.ndarray:
        """(n,) bool: frames that fit as they should, for as bright as they are."""
        return self.usual.doubt(equations) <= DOUBTFUL

    def clarity(self, equations: Equations) -> np.ndarray:
        """(n,) usual standard deviation of the noise, over that in frames."""
        times = self.usual.misfit(equations)
        return np.where(self.uneven | (times > DOUBTFUL), clarity(times), 1.0)

    def in_modes(self, equations: np.ndarray) -> np.ndarray:
        """What frames' equations (n, 2 m) tell of each mode: (n, modes)."""
        told = self.alone.equations(equations - self.prior.common)
        return times_each(told, self.modes) / self.prior.noise

    def unknowns(self, equations: np.ndarray, modes: np.ndarray, known: np.ndarray) -> np.ndarray:
        """All unknowns (n, 2 m) of frames from their modes and, where `known` (n,), their equations."""
        tissue = times_each(modes, self.modes.T)
        found = np.zeros_like(equations)
        found[:, self.alone.wanted] = tissue
        found[known] = self.alone.all_unknowns(equations[known] - self.prior.common, tissue[known])
        return found

    @property
    def reach(self) -> int:
        """Frames on either side that are needed."""
        return self.in_time.lookahead

    def told(self, batch: Batch, equations: Equations) -> Linearised:
        """What frames tell of each mode, by number."""
        known = np.flatnonzero(~batch.motion.flagged & self.trusts(equations))
        clear = self.clarity(equations)[known, None]
        told = np.hstack((clear * self.in_modes(equations.whole[known]), clear))
        return batch, equations, dict(zip((batch.start + known).tolist(), told, strict=True))

    def announce(self, item: Linearised) -> tuple[Batch, Messages]:
        """See `Filter`."""
        batch, _, told = item
        return batch, told

    def excess(self, items: list[Linearised]) -> float:
        """Share by which motion errs more than is expected, see `risk.py`, in the frames of all items."""
        messages = {number: told for *_, some in items for number, told in some.items()}
        left, own = [], []
        for batch, *_ in items:
            told, known, modes, noise = self._modes(batch, messages)
            shows = told[known, -1:] * self.visible
            left.append(told[known, :-1] - shows * modes[known])
            own.append(shows * noise[known])
        return measure_excess(np.concatenate(left), np.concatenate(own), self.visible)

    def _modes(self, batch: Batch, messages: Messages) -> tuple[np.ndarray, ...]:
        """What frames tell, which of them are known, their modes, and how much of their noise is in these."""
        nothing = np.append(np.zeros(len(self.visible)), 1.0)
        near, there = surroundings(batch.numbers, self.reach, messages, nothing)
        here = slice(self.reach, len(near) - self.reach)
        return near[here], there[here], *self.in_time(near[:, :-1], there, near[:, -1])

    def __call__(self, item: Linearised, told: Messages) -> Batch:
        """The batch with its most probable motion."""
        batch, equations, _ = item
        motion = batch.motion
        _, known, modes, _ = self._modes(batch, told)
        unknowns = self.unknowns(equations.whole, modes, known)
        unknowns[motion.flagged] = 0
        shift, rows, flow = self.refiner.basis.displacement(unknowns)
        of_rows, of_flow = rows.mean(axis=2), flow.mean(axis=(2, 3))
        rigid = motion.rigid + (shift + of_rows + of_flow)
        rows, flow = rows - of_rows[..., None], flow - of_flow[:, :, None, None]
        misfit = np.where(motion.flagged, np.nan, self.usual.doubt(equations)).astype(np.float32)
        found = {"rigid": rigid, "flow": flow, "rows": rows, "misfit": misfit}
        return replace(batch, motion=replace(motion, brightness=equations.brightness, **found))


def clarity(misfit: np.ndarray) -> np.ndarray:
    """(n,) usual standard deviation of noise, over that in frames of so many times the usual misfit (n,)."""
    return np.maximum(misfit, LEAST_NOISE) ** -0.5


def _dots(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(n, 1) products of rows (n, k)."""
    return (one * other).sum(axis=1, keepdims=True)
