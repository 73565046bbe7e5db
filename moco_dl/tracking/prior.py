"""What is expected of a movie's motion before its frames are looked at, measured on sampled frames.

From the normal equations `b = A x + noise` of each frame: noise adds a multiple of `A` to the second moments of
`b`, motion of covariance `C` adds `A C A`. So both can be told apart, and by the moments between one frame and
a later one also how long each lasts: photon noise is new in every frame, tissue moves smoothly, and what lasts
but looks like noise is activity. All variances are the most likely ones, found by multiplicative updates: those
of Fevotte, Bertin and Durrieu, Neural Computation 21, 2009, and the same for covariances.
"""

from dataclasses import dataclass, replace

import numpy as np

from moco_dl.motion import Equations
from moco_dl.network import STRIDE
from moco_dl.refinement.basis import PATH, eigen, times_each
from moco_dl.refinement.refine import Refiner
from moco_dl.tracking.durations import ACTIVE, ANEW, SURE, gaussian_correlations, measure_durations, pieces

UPDATES = 300  # of the expected squares
ROUNDING = 1e-7  # of what a frame tells of its most visible mode
LEAST = 1e-8  # px^2, expected square of any unknown
SHIFT = 0.3  # px, size that what is left of the whole frame's shift is allowed: it is well determined anyway
ROWS = ("rows_y", "rows_x", "wide_rows_y", "wide_rows_x")  # kinds of unknowns beside the tissue's and the shift
PATHS = tuple(f"{degree}_{component}" for degree in PATH for component in "yx")  # more of them
# Of the shorter side, root mean square of unknowns (displacements are about twice as large): if tissue seems to
# move so far beside whole frames, these are not alike.
BEYOND = 0.1
PHOTONS = 0.3  # least share of the noise that is new in each frame


@dataclass(frozen=True)
class Prior:
    """Gaussian, in the unknowns of a Refiner; noise has covariance `noise * A` in the normal equations."""

    common: np.ndarray  # (2 m,) mean right-hand side, of what all frames share: the reference's own error
    noise: float
    other: np.ndarray  # (j,) variances of the unknowns that are not the tissue's, each frame's anew
    tissue: np.ndarray  # (k, k) covariance of one component's unknowns for the tissue
    lasting: tuple[float, ...]  # frames over which motion and activity are correlated; next to 0: anew in each
    motion: np.ndarray  # shares of these in the tissue's motion, adding up to 1
    activity: np.ndarray  # of each of these, relative to the noise
    paths: bool = False  # frames have paths of their own, beside the slow motion of tissue
    unsure: np.ndarray | None = None  # (k, k) covariance of motion that there may be, but is not looked for

    def motion_between(self, lags: np.ndarray) -> np.ndarray:
        """Correlation of the tissue's displacement between frames so many apart."""
        return gaussian_correlations(lags, self.lasting) @ self.motion

    def noise_between(self, lags: np.ndarray) -> np.ndarray:
        """Covariance of the noise between frames so many apart, relative to `noise`."""
        photons = max(1 - self.activity.sum(), PHOTONS)
        return photons * (lags == 0) + gaussian_correlations(lags, self.lasting) @ self.activity

    @property
    def active(self) -> bool:
        """Whether so much of the noise lasts that it may be taken for other motion than is expected."""
        return bool(self.activity.sum() > ACTIVE)

    def tissue_alone(self, refiner: Refiner) -> "Reduced":
        """Equations of frames for the tissue's unknowns alone."""
        return Reduced(refiner.matrix.numpy(), refiner.basis.kinds()["tissue"], self.noise / self.other)

    def with_motion_lasting(self, frames: float) -> "Prior":
        """The same, but motion is correlated over so many frames, and noise is new in each."""
        return replace(self, lasting=(max(frames, ANEW),), motion=np.ones(1), activity=np.zeros(1))


def measure_prior(
    refiner: Refiner,
    equations: Equations,
    runs: np.ndarray,
    trusted: np.ndarray,
    weights: np.ndarray | None = None,
) -> Prior:
    """Prior from the equations of n sampled frames, of those that are `trusted` (n,).

    `runs` (n,) numbers the runs of consecutive frames. If no run is longer than one frame, nothing is known
    about time, and the tissue is taken to move anew in each frame. What all frames share, in the mean with
    their `weights` (n,), None: alike, is taken for the reference's error.
    """
    kinds, matrix = refiner.basis.kinds() | refiner.basis.wide_rows(), refiner.matrix.numpy()
    # Shifts have been taken out, and with them what else moves the whole frame.
    beside = Reduced(matrix, ~kinds["shift"], np.full(2, ROUNDING * matrix.diagonal().max() + 1e-30))
    some = {name: kind[beside.wanted] for name, kind in kinds.items() if name != "shift"}
    left = beside.equations(equations.left)
    squares = np.square(left[trusted]).mean(axis=0)
    noise, sizes = _sizes(beside.matrix, some, squares)
    jerky = trusted.sum() * _gain(beside.matrix, some, squares, (noise, sizes), ROWS) > SURE
    sizes |= _of_rows(beside.matrix, some, sizes, _anew(left, runs, trusted))
    fast = _beside_neighbours(beside.equations(equations.whole), runs, trusted)
    sizes |= _of_paths(beside.matrix, some, fast) | {"shift": SHIFT**2}
    alone = Reduced(matrix, kinds["tissue"], noise / _of_others(kinds, sizes))
    visible, modes = eigen(alone.matrix, refiner.device)
    shown = visible > ROUNDING * visible[-1]
    visible, modes = visible[shown], modes[:, shown]
    mean = np.average(equations.whole[trusted], axis=0, weights=None if weights is None else weights[trusted])
    smooth, falling = refiner.basis.tissue_shapes()
    effects = visible * _diagonals(modes, smooth, falling) / noise
    told = alone.equations(equations.whole - mean) @ modes / np.sqrt(noise * visible)
    paths = max(sizes[name] for name in PATHS) > LEAST
    lasts = measure_durations(effects, *pieces(told, runs, trusted), moves=paths)
    size, motion = lasts.motion.sum(axis=1), lasts.motion.sum(axis=0) / max(lasts.motion.sum(), 1e-12)
    tissue = size[0] * smooth + np.diag(size[1:] @ falling)
    sure, taken = lasts.sure, lasts.taken
    most = (BEYOND * STRIDE * min(refiner.grid)) ** 2 / max(tissue.diagonal().mean(), LEAST)
    if most < 1:  # of it, so that it is no farther
        tissue, sure, taken, paths = most * tissue, 1.0, 0.0, False
        sizes |= dict.fromkeys((*ROWS, *PATHS), LEAST)
    elif sure < 1 and not jerky:
        sizes |= dict.fromkeys(ROWS, LEAST)
    prior = Prior(mean, noise, _of_others(kinds, sizes), tissue, lasts.times, motion, lasts.activity, paths)
    return prior if taken == 1 else replace(prior, tissue=taken * tissue, unsure=(sure - taken) * tissue)


def _of_others(kinds: dict[str, np.ndarray], sizes: dict[str, float]) -> np.ndarray:
    """(j,) expected squares of the unknowns that are not the tissue's."""
    return sum(sizes[name] * kinds[name] for name in kinds if name != "tissue")[~kinds["tissue"]]


class Reduced:
    """Equations for some unknowns, once the others have been found as functions of them (Schur complement)."""

    def __init__(self, matrix: np.ndarray, wanted: np.ndarray, precision: np.ndarray):
        """`matrix` (2 m, 2 m); `wanted` (2 m,) bool; `precision` (j,) of the others' prior, over that of
        noise."""
        self.wanted, self.across = wanted, matrix[np.ix_(~wanted, wanted)]
        self.others = np.linalg.inv(matrix[np.ix_(~wanted, ~wanted)] + np.diag(precision))
        self.matrix = matrix[np.ix_(wanted, wanted)] - self.across.T @ self.others @ self.across

    def equations(self, equations: np.ndarray) -> np.ndarray:
        """Right-hand sides (n, 2 m) -> (n, k)."""
        others = times_each(times_each(equations[:, ~self.wanted], self.others), self.across)
        return equations[:, self.wanted] - others

    def all_unknowns(self, equations: np.ndarray, found: np.ndarray) -> np.ndarray:
        """All unknowns (n, 2 m): those `found` (n, k) and, given them and equations (n, 2 m), the others."""
        unknowns = np.empty_like(equations)
        left = equations[:, ~self.wanted] - times_each(found, self.across.T)
        unknowns[:, self.wanted], unknowns[:, ~self.wanted] = found, times_each(left, self.others.T)
        return unknowns


def _diagonals(modes: np.ndarray, smooth: np.ndarray, falling: np.ndarray) -> np.ndarray:
    """Variances (shapes, j) along `modes` (2 k, j) of unknowns of either component, of covariance `smooth`
    (k, k), and of variances `falling` (shapes - 1, k)."""
    parts = np.split(modes, 2)
    first = sum(np.einsum("ij,ij->j", part, smooth @ part) for part in parts)
    return np.vstack((first, sum(falling @ np.square(part) for part in parts)))


def _anew(seen: np.ndarray, runs: np.ndarray, trusted: np.ndarray) -> np.ndarray:
    """What frames tell (n, k) beyond those before them: (j, k), as large as what does not last."""
    pairs = np.flatnonzero((np.diff(runs) == 0) & trusted[:-1] & trusted[1:])  # frames that another follows
    return (seen[pairs + 1] - seen[pairs]) / np.sqrt(2)


def _beside_neighbours(seen: np.ndarray, runs: np.ndarray, trusted: np.ndarray) -> np.ndarray:
    """What frames tell (n, 2 m), less the mean of what the two beside each tell: (j, 2 m).

    What moves slowly is not in it; what does not last is as large as in a frame.
    """
    follows = (np.diff(runs) == 0) & trusted[1:] & trusted[:-1]
    between = np.flatnonzero(follows[1:] & follows[:-1]) + 1
    return (seen[between] - (seen[between - 1] + seen[between + 1]) / 2) * np.sqrt(2 / 3)


def _of_rows(
    matrix: np.ndarray, kinds: dict[str, np.ndarray], sizes: dict[str, float], anew: np.ndarray
) -> dict[str, float]:
    """Expected squares of rows' motion, no more than is new in frames (j, 2 m): what lasts is activity."""
    if not len(anew):
        return {}
    _, new = _sizes(matrix, kinds, np.square(anew).mean(axis=0))
    return {name: min(sizes[name], new[name]) for name in ROWS}


def _of_paths(matrix: np.ndarray, kinds: dict[str, np.ndarray], anew: np.ndarray) -> dict[str, float]:
    """Expected squares of the degrees of paths, as what is new in frames (j, 2 m) shows them.

    Least ones, if paths do not explain that far better.
    """
    found = dict.fromkeys(PATHS, LEAST)
    if not len(anew):
        return found
    squares = np.square(anew).mean(axis=0)
    fit = _sizes(matrix, kinds, squares)
    gain = _gain(matrix, kinds, squares, fit, PATHS)
    sure = gain * len(anew) / 2 > SURE  # neighbours share half of what they tell
    return {name: fit[1][name] for name in PATHS} if sure else found


def _gain(
    matrix: np.ndarray,
    kinds: dict[str, np.ndarray],
    squares: np.ndarray,
    fit: tuple[float, dict[str, float]],
    names: tuple[str, ...],
) -> float:
    """Log-likelihood of a frame that some kinds of unknowns bring to a `fit`, see `_sizes`, of all."""
    less = {name: kind for name, kind in kinds.items() if name not in names}
    fits = (kinds, fit), (less, _sizes(matrix, less, squares))
    whole, rest = (_expected(matrix, some, found) for some, found in fits)
    return float((np.log(rest / whole) + squares / rest - squares / whole).sum() / 2)


def _expected(
    matrix: np.ndarray, kinds: dict[str, np.ndarray], fit: tuple[float, dict[str, float]]
) -> np.ndarray:
    """(2 m,) mean squares of right-hand sides by a `fit`: see `_sizes`."""
    noise, sizes = fit
    variances = sum(sizes[name] * kind for name, kind in kinds.items())
    return noise * matrix.diagonal() + np.square(matrix) @ variances + 1e-30


def _sizes(
    matrix: np.ndarray, kinds: dict[str, np.ndarray], squares: np.ndarray
) -> tuple[float, dict[str, float]]:
    """Noise, and expected squares of each kind of unknowns, from mean squares (2 m,) of right-hand sides."""
    model = np.column_stack((matrix.diagonal(), np.square(matrix) @ np.stack(list(kinds.values()), axis=1)))
    seen = squares + 1e-12 * squares.max() + 1e-30
    found = seen.mean() / (model.mean(axis=0) + 1e-30) / model.shape[1]
    for _ in range(UPDATES):
        fit = 1 / (model @ found + 1e-30)
        found *= ((seen * fit**2) @ model) / (fit @ model + 1e-30)
    noise, *sizes = found
    sizes = {name: max(size, LEAST) for name, size in zip(kinds, sizes, strict=True)}
    return max(noise, 0.1), sizes
