"""How far off motion is found, judged by the frames that it was found from: Stein's unbiased estimate of risk.

What is expected of errors holds if tissue moves as the prior says; but that is measured on all frames, and
few of them may differ. How far the motion that is found lies from what a frame tells of it is seen, and what of
that is the frame's own noise is known: the rest is error (Stein, Annals of Statistics 9, 1981).
"""

import numpy as np

BLIND = 1e-6  # variance of what a frame tells of a mode, over that of its noise, that is looked at
LARGEST = 0.999  # of what errs by as much as a frame's own noise: nothing is seen of its error
# What is likely before anything is seen: standard deviations of the variance of noise, over what it was taken
# for, and of the excess.
SPREAD = 0.2, 0.5
BOUNDS = -0.75, 8.0  # of the excess


def excess(left: np.ndarray, own: np.ndarray) -> float:
    """Share by which squared errors of modes are larger than expected, where `exceeding` is 1.

    `left` (n, modes) are the differences of what frames tell from what was found, over the standard deviation
    of their noise; `own` (n, modes) are the squares that are expected of the errors of what was found, over the
    variance of that noise. So squares of `left` are expected to be `1 - own`. Where they are not, noise may
    differ everywhere, or errors may by the excess: a regression.
    """
    own = np.minimum(own, LARGEST)
    more = (np.square(left) / (1 - own) - 1).ravel()  # of variance 2
    causes = np.stack((np.ones(more.size), (exceeding(own) * own / (1 - own)).ravel()))
    found = np.linalg.solve(causes @ causes.T + np.diag(2 / np.square(SPREAD)), causes @ more)
    return float(np.clip(found[1], *BOUNDS))


def exceeding(own: np.ndarray) -> np.ndarray:
    """Share of the excess in the errors of modes: less than 1 where most of these is a frame's own noise."""
    return np.minimum(1.0, (1 - own) / np.maximum(own, 0.5))
