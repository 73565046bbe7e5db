"""Frames of which nothing can be told."""

from collections.abc import Callable

import numpy as np

from moco_dl.errors import NrcorrectError

LEAST_FINITE = 0.3  # of a frame: a small round view may be all that is
SPREAD = (1e-4, 1e12)  # standard deviations within a frame that float32 can be trusted with
LEVEL = 2e-6  # of the largest value, the least that they may be: float32 has 24 bits


def usable(frames: np.ndarray) -> np.ndarray:
    """`(n,)` bool: False for frames (n, H, W) of which nothing can be told; see `why_unusable`."""
    return np.array([not why_unusable(frame) for frame in frames], bool)


def why_unusable(frame: np.ndarray) -> str:
    """Why nothing can be told from a frame (H, W), or "".

    "not finite", "saturated", "empty", "constant", or "extreme": it varies by too little or too much.
    """
    if frame.dtype.kind == "f":
        finite = frame[np.isfinite(frame)]
        if finite.size <= LEAST_FINITE * frame.size:
            return "not finite"
        low, high, top = finite.min(), finite.max(), np.inf
    else:
        low, high, top = frame.min(), frame.max(), np.iinfo(frame.dtype).max
    if high == top and np.count_nonzero(frame == high) > frame.size / 2:
        return "saturated"
    if low == high:
        return "empty" if low == 0 else "constant"
    return "extreme" if _extreme(frame) else ""


def _extreme(frame: np.ndarray, what: str = "frame") -> str:
    """How a frame (H, W), of `what` is named, varies too little or too much, or ""; small integers never do."""
    if frame.dtype.kind != "f" and frame.dtype.itemsize <= 2:
        return ""
    values = frame[np.isfinite(frame)]
    most = max(abs(float(values.min())), abs(float(values.max())))
    with np.errstate(over="ignore", invalid="ignore"):
        spread = float(values.std(dtype=np.float64))  # NaN or infinite if float64 cannot hold their squares
    if not SPREAD[0] <= spread <= SPREAD[1]:
        return (
            f"vary by {spread:.0e}; wanted between {SPREAD[0]:.0e} and {SPREAD[1]:.0e}: multiply the {what} by"
            " a constant, or make NaN of what is missing"
        )
    if spread < LEVEL * most:
        return (
            f"of up to {most:.0e} vary by {spread:.0e}; wanted at least {LEVEL * most:.0e}: subtract a constant"
            f" from the {what}"
        )
    return ""


def refuse_extremes(image: np.ndarray, what: str) -> None:
    """Raise NrcorrectError if values of an image (H, W), of `what` is named, are too small or too large."""
    if how := _extreme(image, what):
        raise NrcorrectError(f"pixel values {how}")


def refuse_unusable(words: np.ndarray, frame: Callable[[int], np.ndarray]) -> None:
    """Raise NrcorrectError if samples are no movie, by their `words` (n,); `frame` reads one of them."""
    good, extreme = words == "", words == "extreme"
    if extreme.sum() > good.sum():
        refuse_extremes(frame(int(extreme.argmax())), "movie")
    if not good.any():
        found = " or ".join(dict.fromkeys(words))
        raise NrcorrectError(f"no usable frame to build a reference from: all are {found}; take another movie")
