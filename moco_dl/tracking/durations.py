"""How long motion and noise last, from what consecutive frames tell of the same modes of motion.

Photon noise is new in every frame, tissue moves smoothly, and what lasts but looks like noise is activity. All
variances are the most likely ones, found by multiplicative updates for covariances (see `prior.py`).
"""

from dataclasses import dataclass

import numpy as np

# Frames over which motion is correlated: some mixture of these.
LASTING = (1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0, 16.0)
ANEW = 0.01  # frames: stands for motion that is new in each
LONGEST = 10  # frames that are looked at together
TURNS = 1, 2, 3  # frames, of which one alone may be trusted
LASTS = 0.3  # share of the noise that is taken to last, to begin with
LEAST = 1e-3  # size of motion, to begin with
UPDATES = 30  # of the shares
ACTIVE = 0.3  # of the noise: where more of it lasts, patterns of active cells would be taken for motion
EVEN = 20.0  # pieces; as if so many had shown that activity is as strong in a mode as in others
# Activity is uneven if uneven motion brings hardly more log-likelihood to it than it brings to uneven motion.
# Else motion may be stronger in some modes than is expected, as tissue moves in few ways.
HARDLY = 0.2
FASTER = 1.5  # power of an update: below 2 they still settle (Badeau, Bertin and Vincent, IEEE TNN 21, 2010)
QUIET = 0.01  # of the noise that was expected: frames that are all alike show none
# Log-likelihood by which motion must explain frames better than noise alone does. So must paths and, in still
# tissue, rows: see `prior.py`.
SURE = 14.0
# More of it, over the share of the noise that lasts: unlike noise, activity is stronger in some modes.
SURE_ACTIVE = 200.0
SHAKES = 0.05  # share of motion that is new in each frame, from which that is looked into
# Log-likelihood of a mode in a piece that this must bring, over the share of the noise that lasts: cells that
# begin to flash look like it. In still tissue that was up to 0.3, with a beat of three frames 1 to 20.
SHAKEN = 0.5


@dataclass(frozen=True)
class Durations:
    """How long motion and noise last."""

    times: tuple[float, ...]  # frames
    motion: np.ndarray  # (shapes, times) of each of the shapes of motion, how much lasts so long
    activity: np.ndarray  # (times,) what share of the noise does; not all of it lasts
    sure: float  # 1: there is motion, as noise alone, activity with it, explains frames far worse; 0: no worse

    @property
    def taken(self) -> float:
        """Share of the motion that is looked for: none of what is hardly likelier than noise alone."""
        return max(2 * self.sure - 1, 0.0)


def gaussian_correlations(lags: np.ndarray, lasting: tuple[float, ...]) -> np.ndarray:
    """Gaussian correlations (..., len(lasting)) at these lags."""
    return np.exp(-0.5 * (lags[..., None] / np.array(lasting)) ** 2)


def pieces(values: np.ndarray, runs: np.ndarray, trusted: np.ndarray) -> tuple[np.ndarray, int]:
    """Values (n, k) of frames as (pieces, length, k): trusted ones that follow one another in a run.

    And how many frames these are apart: one, unless frames of two or three kinds take turns, one of them alone
    trusted. Pieces are as long as half of the trusted frames are still in them, at most LONGEST. `runs` (n,)
    numbers the runs of frames, in order.
    """
    every_so_many = ((_pieces(values, runs, trusted, apart), apart) for apart in TURNS)
    longer = (found for found in every_so_many if found[0].shape[1] > 1)
    return next(longer, None) or (_pieces(values, runs, trusted, 1), 1)


def _pieces(values: np.ndarray, runs: np.ndarray, trusted: np.ndarray, apart: int) -> np.ndarray:
    """See `pieces`; of frames `apart` from one another."""
    turns = apart * runs + (np.arange(len(runs)) - np.searchsorted(runs, runs)) % apart
    order = np.argsort(turns, kind="stable")
    breaks = np.flatnonzero((np.diff(turns[order]) != 0) | ~(trusted[order][1:] & trusted[order][:-1])) + 1
    stretches = [part for part in np.split(order, breaks) if trusted[part[0]]]
    sizes = np.array([len(part) for part in stretches])
    length = max(n for n in range(1, LONGEST + 1) if 2 * (sizes // n * n).sum() >= sizes.sum())
    starts = [part[i : i + length] for part in stretches for i in range(0, len(part) - length + 1, length)]
    return values[np.array(starts)]


def measure_durations(effects: np.ndarray, pieces: np.ndarray, apart: int, *, moves: bool = False) -> Durations:
    """From `pieces` (p, length, k), right-hand sides of modes whose noise has unit variance, `apart` frames
    from one another.

    `effects` (shapes, k) are the variances that motion of unit size adds. What is new in each frame has shares,
    too, but as other things look like that as well, it is no motion unless frames are explained far better so.
    `moves`: it is known that there is motion.
    """
    count, length, modes = pieces.shape
    if not modes:  # nothing is seen
        times = LASTING if length > 1 else (ANEW,)
        return Durations(times, np.full((len(effects), len(times)), LEAST), np.zeros(len(times)), float(moves))
    times = (*LASTING, ANEW) if length > 1 else (ANEW,)
    seen = np.moveaxis(pieces, 2, 0)
    seen = seen.mT @ seen / count  # (k, length, length)
    lags = apart * np.abs(np.subtract.outer(np.arange(length), np.arange(length)))
    between = np.moveaxis(gaussian_correlations(lags, times), -1, 0)
    motion, noise, likely = _most_likely(effects, seen, between)
    _, still, unmoved = _most_likely(effects[:0, :1], seen.mean(axis=0, keepdims=True), between)
    still /= still.sum()
    needed = SURE + SURE_ACTIVE * still[:-1].sum()
    sure = 1.0 if moves else float(np.clip(count * modes * (likely - unmoved) / needed, 0, 1))
    noise = noise / noise.sum() if sure == 1 else still
    if length == 1:
        return Durations(times, motion, 0 * noise, sure)
    if noise[:-1].sum() > ACTIVE:
        motion = _beside_activity(motion, effects, seen, between, shown=count / EVEN)
    if motion[:, -1].sum() > SHAKES * motion.sum():
        _, _, lasting = _most_likely(effects, seen, between, shakes=False)
        if likely - lasting > max(SHAKEN * noise[:-1].sum(), SURE / (count * modes)):
            return Durations(times, motion, np.append(noise[:-1], 0), sure)
    return Durations(LASTING, motion[:, :-1], noise[:-1], sure)


def _beside_activity(
    motion: np.ndarray, effects: np.ndarray, seen: np.ndarray, between: np.ndarray, shown: float
) -> np.ndarray:
    """Shares of `motion` or, if activity is uneven, of what that does not explain; see `_most_likely`."""
    kinds = ("activity",), ("motion",), ("activity", "motion")
    fits = [_most_likely(effects, seen, between, uneven=kind, shown=shown) for kind in kinds]
    flashing, bending, both = (likely for _, _, likely in fits)
    return fits[0][0] if both - flashing < HARDLY * (both - bending) else motion


def _most_likely(
    effects: np.ndarray,
    seen: np.ndarray,
    between: np.ndarray,
    *,
    shakes: bool = True,
    uneven: tuple[str, ...] = (),
    shown: float = 1.0,
) -> tuple[np.ndarray, np.ndarray, float]:
    """Shares of motion and noise that last for each of some times, with correlations `between` (times, length,
    length) the frames of a piece, of modes whose pieces have covariances `seen` (k, length, length); and how
    likely they are: mean log-likelihood of a mode in a piece, but for a constant. Unless it `shakes`, motion
    does not last for the last of the times.

    Photon noise is alike in all modes. Activity may be `uneven`, as cells that flash seem to grow and shrink,
    far more than they move, and so may motion: `shown` is what pieces show of that, over what is expected.
    """
    modes, length, _ = seen.shape
    times, between = len(between), between.reshape(len(between), -1)
    size = max((np.trace(seen, axis1=1, axis2=2) / length - 1).sum(), LEAST) / (effects.sum() + 1e-30)
    shares = np.full((len(effects), times), size / times) * np.append(np.ones(times - 1), shakes)
    noise = np.append(np.full(times - 1, LASTS / times), 1 - LASTS)
    noise[-2:-1] = 0  # what lasts longest is not activity
    far, each = np.ones((modes, 1)), np.ones((modes, times))  # motion and noise in each mode, over the usual
    power = FASTER - 1 if "motion" in uneven else FASTER  # `far` is updated, too

    def model() -> np.ndarray:
        return ((far * (effects.T @ shares) + each * noise) @ between).reshape(seen.shape)

    for _ in range(UPDATES):
        inverse = np.linalg.inv(model())
        found = (inverse @ seen @ inverse).reshape(modes, -1) @ between.T
        expected = inverse.reshape(modes, -1) @ between.T
        moves, lasts = effects.T @ shares, np.append(noise[:-1], 0)
        shares *= ((effects @ (far * found)) / (effects @ (far * expected) + 1e-30)) ** power
        noise *= (each * found).sum(axis=0) / (each * expected).sum(axis=0)
        if "motion" in uneven:
            far *= _stronger(far, shown * moves, found, expected)
        if "activity" in uneven:
            each[:, :-1] *= _stronger(each[:, :1], shown * lasts, found, expected)
        noise[-1] = max(noise[-1], QUIET)
    fit = np.trace(np.linalg.solve(model(), seen), axis1=1, axis2=2)
    odd = sum(float((np.log(some) + 1 / some - 1).mean()) for some in (far, each[:, :1])) / shown
    return shares, noise, -0.5 * (float((np.linalg.slogdet(model())[1] + fit).mean()) + odd)


def _stronger(strength: np.ndarray, usual: np.ndarray, found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """By how much a `strength` (modes, 1) of what is `usual` grows in an update."""
    more, less = ((sums * usual).sum(axis=1, keepdims=True) for sums in (found, expected))
    return (more + 1 / strength**2) / (less + 1 / strength)
